/* limit.c: the bare pipeline, without a line of crier: what the machine could do if features cost nothing.
 *
 * Role:     the number `crier bench e2e` is divided by. Three processes, as in the real thing: a producer writes each
 *           event as a Kafka record into a batch; this one, the broker, receives the batch into its final buffer, commits
 *           it with LMDB (default sync), then acknowledges it and sends it on; a consumer reads each event back.
 *           No checksums, names, groups, credits or offsets: what those cost is the distance to this.
 * Threads:  three. receive (main), write and deliver hand batches on through queues, in a circle:
 *           spare -> received -> committed -> spare. The spare batches are all there are: the bound on what is in flight.
 *
 * Happy path:  fork both ends -> the circle turns until the last batch -> one JSON object on standard output.
 * Failures:    whatever fails ends the process with a sentence and status 1; the other ends see their peer go. */
#include "bench/limit.h"

#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <lmdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMIT_BYTES                                                                                         \
    (2u << 20) /* most bytes of one transaction: 2 MiB stay in the caches; 8 MiB took a third longer */
#define SYNC_ROUNDS 101

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct batch *first, **end;
};

struct broker {
    const struct limit_options *options;
    struct queue spare, received, committed;
    MDB_env *env;
    MDB_dbi table;
    int producer, consumer;
    uint64_t commits;
};

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void lmdb_check(int rc, const char *what)
{
    if (rc != 0)
        errx(1, "%s: %s", what, mdb_strerror(rc));
}

/* ---- queues ---- */

static void queue_init(struct queue *queue)
{
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->filled, NULL);
    queue->first = NULL;
    queue->end = &queue->first;
}

static void queue_put(struct queue *queue, struct batch *batch)
{
    batch->next = NULL;
    pthread_mutex_lock(&queue->mutex);
    *queue->end = batch;
    queue->end = &batch->next;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->mutex);
}

/* The oldest batches, at least one (bytes_max 0: just one), while they fit bytes_max together. */
static struct batch *queue_take(struct queue *queue, size_t bytes_max)
{
    pthread_mutex_lock(&queue->mutex);
    while (queue->first == NULL)
        pthread_cond_wait(&queue->filled, &queue->mutex);
    struct batch *list = queue->first, *last = list;
    size_t bytes = BATCH_HEADER + list->size;
    while (last->next && bytes + BATCH_HEADER + last->next->size <= bytes_max) {
        last = last->next;
        bytes += BATCH_HEADER + last->size;
    }
    queue->first = last->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    last->next = NULL;
    pthread_mutex_unlock(&queue->mutex);
    return list;
}

static void *write_batches(void *argument)
{
    struct broker *broker = argument;
    uint64_t index = 0;
    for (uint64_t stored = 0; stored < broker->options->events; broker->commits++) {
        struct batch *list = queue_take(&broker->received, COMMIT_BYTES);
        MDB_txn *txn;
        lmdb_check(mdb_txn_begin(broker->env, NULL, 0, &txn), "mdb_txn_begin");
        for (struct batch *batch = list; batch; batch = batch->next) {
            uint64_t name = htobe64(++index);
            MDB_val key = {sizeof(name), &name}, value = {BATCH_HEADER + batch->size, NULL};
            lmdb_check(mdb_put(txn, broker->table, &key, &value, MDB_APPEND | MDB_RESERVE), "mdb_put");
            memcpy(value.mv_data, &batch->size, value.mv_size);
            stored += batch->count;
        }
        lmdb_check(mdb_txn_commit(txn), "mdb_txn_commit");
        for (struct batch *next; list; list = next) {
            next = list->next;
            queue_put(&broker->committed, list);
        }
    }
    return NULL;
}

static void *deliver_batches(void *argument)
{
    struct broker *broker = argument;
    uint64_t acked = 0;
    for (uint64_t delivered = 0; delivered < broker->options->events;) {
        struct batch *list = queue_take(&broker->committed, SIZE_MAX);
        for (struct batch *batch = list; batch; batch = batch->next)
            acked += batch->size;
        write_all(broker->producer, &acked, sizeof(acked));
        for (struct batch *next; list; list = next) {
            next = list->next;
            write_all(broker->consumer, &list->size, BATCH_HEADER + list->size);
            delivered += list->count;
            queue_put(&broker->spare, list);
        }
    }
    return NULL;
}

static void receive_batches(struct broker *broker)
{
    for (uint64_t received = 0; received < broker->options->events;) {
        struct batch *batch = queue_take(&broker->spare, 0);
        read_all(broker->producer, &batch->size, BATCH_HEADER);
        if (batch->size > broker->options->batch_size)
            errx(1, "a batch of %u bytes", batch->size);
        read_all(broker->producer, batch->records, batch->size);
        received += batch->count;
        queue_put(&broker->received, batch);
    }
}

/* ---- around it ---- */

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Median time of an overwrite of 4 KiB and its fdatasync: what the disk under `directory` charges for a flush. */
static int64_t fdatasync_us(const char *directory)
{
    char path[4096], page[4096] = {0};
    int64_t times[SYNC_ROUNDS];
    snprintf(path, sizeof(path), "%s/sync", directory);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    for (int i = 0; i < SYNC_ROUNDS; i++) {
        int64_t start = now_us();
        if (fd < 0 || pwrite(fd, page, sizeof(page), 0) != sizeof(page) || fdatasync(fd) < 0)
            err(1, "%s", path);
        times[i] = now_us() - start;
    }
    close(fd);
    qsort(times, SYNC_ROUNDS, sizeof(times[0]), compare_int64);
    return times[SYNC_ROUNDS / 2];
}

/* Its pages go back to the system: a machine that has to find new ones for each run measures that. */
static void remove_folder(const char *directory)
{
    static const char *const names[] = {"sync", "log.mdb", "log.mdb-lock"};
    char path[4096];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static void log_open(struct broker *broker, const char *path)
{
    const struct limit_options *options = broker->options;
    size_t bytes = options->events * (options->event_size + 32);
    unsigned flags = MDB_NOSUBDIR | MDB_NOMEMINIT | MDB_NOTLS | (options->no_sync ? MDB_NOSYNC : 0);
    MDB_txn *txn;
    lmdb_check(mdb_env_create(&broker->env), "mdb_env_create");
    lmdb_check(mdb_env_set_mapsize(broker->env, bytes + bytes / 4 + (64u << 20)), "mdb_env_set_mapsize");
    lmdb_check(mdb_env_open(broker->env, path, flags, 0600), path);
    lmdb_check(mdb_txn_begin(broker->env, NULL, 0, &txn), "mdb_txn_begin");
    lmdb_check(mdb_dbi_open(txn, NULL, 0, &broker->table), "mdb_dbi_open");
    lmdb_check(mdb_txn_commit(txn), "mdb_txn_commit");
}

static int listen_on(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 2) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        err(1, "a listening socket");
    *ret_port = address.sin_port;
    return fd;
}

static void accept_ends(struct broker *broker, int listener)
{
    for (int i = 0; i < 2; i++) {
        char role;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            err(1, "accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        read_all(fd, &role, 1);
        *(role == 'p' ? &broker->producer : &broker->consumer) = fd;
    }
}

static void run_broker(struct broker *broker)
{
    pthread_t writer, deliverer;
    queue_init(&broker->spare);
    queue_init(&broker->received);
    queue_init(&broker->committed);
    for (uint64_t bytes = 0; bytes < LIMIT_FLIGHT_BYTES; bytes += broker->options->batch_size)
        queue_put(&broker->spare, batch_create(broker->options));
    if (pthread_create(&writer, NULL, write_batches, broker) != 0 ||
        pthread_create(&deliverer, NULL, deliver_batches, broker) != 0)
        errx(1, "a thread");
    write_all(broker->producer, "g", 1); /* go */
    receive_batches(broker);
    pthread_join(writer, NULL);
    pthread_join(deliverer, NULL);
    for (struct batch *next, *batch = broker->spare.first; batch; batch = next) {
        next = batch->next;
        free(batch);
    }
}

static void wait_for(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) < 0 || status != 0)
        errx(1, "an end failed");
}

static pid_t fork_end(void)
{
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        err(1, "fork");
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
        _exit(1);
    return child;
}

static uint64_t parse_count(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < min || value > max)
        errx(2, "'%s' is not a number from %ju to %ju", text, (uintmax_t)min, (uintmax_t)max);
    return value;
}

static void parse(int argc, char **argv, struct limit_options *options)
{
    static const struct option rows[] = {
        {"size", 1, 0, 's'},    {"events", 1, 0, 'n'}, {"batch", 1, 0, 'b'}, {"dir", 1, 0, 'd'},
        {"no-sync", 0, 0, 'x'}, {"json", 0, 0, 'j'},   {"help", 0, 0, 'h'},  {0}};
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 's')
            options->event_size = parse_count(optarg, 8, 1 << 20);
        else if (c == 'n')
            options->events = parse_count(optarg, 1, UINT32_MAX);
        else if (c == 'b')
            options->batch_size = parse_count(optarg, 4096, 8 << 20);
        else if (c == 'd')
            options->directory = optarg;
        else if (c == 'x')
            options->no_sync = true;
        else if (c !=
                 'j') { /* JSON is the only format; the option is there for scripts that ask every bench */
            fprintf(c == 'h' ? stdout : stderr,
                    "usage: crier_limit [--size BYTES] [--events N] [--batch BYTES] "
                    "[--dir DIR] [--no-sync] [--json]\n");
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (options->batch_size < 2 * options->event_size)
        errx(2, "--batch: at least two events of --size");
}

int main(int argc, char **argv)
{
    struct limit_options options = {
        .event_size = 100, .events = 5000000, .batch_size = 256 << 10, .directory = "/tmp"};
    struct broker broker = {.options = &options};
    char directory[4000], path[4096];
    uint16_t port;

    parse(argc, argv, &options);
    snprintf(directory, sizeof(directory), "%s/crier-limit.XXXXXX", options.directory);
    if (mkdtemp(directory) == NULL)
        err(1, "%s", directory);
    struct limit_times *times =
        mmap(NULL, sizeof(*times), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (times == MAP_FAILED)
        err(1, "mmap");
    int64_t sync_us = fdatasync_us(directory);
    int listener = listen_on(&port);
    pid_t producer = fork_end();
    if (producer == 0)
        limit_produce(&options, port, times);
    pid_t consumer = fork_end();
    if (consumer == 0)
        limit_consume(&options, port, times);

    snprintf(path, sizeof(path), "%s/log.mdb", directory);
    log_open(&broker, path);
    accept_ends(&broker, listener);
    run_broker(&broker);
    wait_for(producer);
    wait_for(consumer);
    mdb_env_close(broker.env);
    remove_folder(directory);

    double seconds = (double)(times->end_us - times->start_us) / 1e6;
    printf("{\"bench\":\"limit\",\"size\":%ju,\"events\":%ju,\"events_per_s\":%.0f,\"mb_per_s\":%.1f,"
           "\"seconds\":%.3f,\"commits\":%ju,\"batch\":%ju,\"sync\":%s,\"fdatasync_us\":%jd}\n",
           (uintmax_t)options.event_size, (uintmax_t)options.events, (double)options.events / seconds,
           (double)(options.events * options.event_size) / 1e6 / seconds, seconds, (uintmax_t)broker.commits,
           (uintmax_t)options.batch_size, options.no_sync ? "false" : "true", (intmax_t)sync_us);
    return 0;
}
