/* limit.c: the bare pipeline, without a line of crier: what the machine could do if features cost nothing.
 *
 * Role:     the number `crier bench e2e` is divided by. Three processes, as in the real thing: a producer writes each
 *           event into a batch; this one, the broker, receives the batch into its final buffer, commits it with LMDB
 *           (default sync), then acknowledges it and sends it on; a consumer reads each event back and checks its number.
 *           No checksums, names, groups, credits or offsets: what those cost is the distance to this.
 * Threads:  three. receive (main), write and deliver hand batches on through queues, in a circle:
 *           spare -> received -> committed -> spare. The spare batches are all there are: the bound on what is in flight.
 * Failures: whatever fails ends the process with a sentence and status 1; the others see their peer go. */
#include <endian.h>
#include <err.h>
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

#define FLIGHT_BYTES (32u << 20) /* sent and not acknowledged; as crier's buffer_size_max */
#define COMMIT_BYTES (2u << 20)  /* of one transaction: 2 MiB stay in the caches; 8 MiB took a third longer */
#define BATCH_BYTES  (256u << 10)
#define BATCH_HEADER 8 /* size and count travel and are stored in front of the records */

struct batch {
    struct batch *next;
    uint32_t size, count; /* of the records: bytes, events */
    uint8_t records[];    /* u32 length, value; one behind the other */
};

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct batch *first, **end;
};

#define QUEUE(name)                                                                                          \
    {                                                                                                        \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &(name).first                             \
    }

static uint64_t event_size, event_count;
static struct queue spare = QUEUE(spare), received = QUEUE(received), committed = QUEUE(committed);
static struct {
    int64_t start_us, end_us;
} * times; /* shared by the processes */
static MDB_env *env;
static MDB_dbi table;
static int producer, consumer;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void check(int rc, const char *what)
{
    if (rc != 0)
        errx(1, "%s: %s", what, mdb_strerror(rc));
}

static void read_all(int fd, void *to, size_t size)
{
    for (ssize_t n; size > 0; to = (uint8_t *)to + n, size -= (size_t)n)
        if ((n = recv(fd, to, size, MSG_WAITALL)) <= 0)
            errx(1, "the other end went away");
}

static void write_all(int fd, const void *from, size_t size)
{
    for (ssize_t n; size > 0; from = (const uint8_t *)from + n, size -= (size_t)n)
        if ((n = send(fd, from, size, MSG_NOSIGNAL)) < 0)
            err(1, "send");
}

static struct batch *batch_create(void)
{
    struct batch *batch = calloc(1, sizeof(*batch) + BATCH_BYTES);
    if (batch == NULL)
        err(1, "a batch");
    return batch;
}

/* ---- queues ---- */

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

/* ---- the broker's threads ---- */

static void *write_batches(void *unused)
{
    (void)unused;
    uint64_t index = 0;
    for (uint64_t stored = 0; stored < event_count;) {
        struct batch *list = queue_take(&received, COMMIT_BYTES);
        MDB_txn *txn;
        check(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
        for (struct batch *batch = list; batch; batch = batch->next) {
            uint64_t name = htobe64(++index);
            MDB_val key = {sizeof(name), &name}, value = {BATCH_HEADER + batch->size, NULL};
            check(mdb_put(txn, table, &key, &value, MDB_APPEND | MDB_RESERVE), "mdb_put");
            memcpy(value.mv_data, &batch->size, value.mv_size);
            stored += batch->count;
        }
        check(mdb_txn_commit(txn), "mdb_txn_commit");
        for (struct batch *next; list; list = next) {
            next = list->next;
            queue_put(&committed, list);
        }
    }
    return NULL;
}

static void *deliver_batches(void *unused)
{
    (void)unused;
    uint64_t acked = 0;
    for (uint64_t delivered = 0; delivered < event_count;) {
        struct batch *batch = queue_take(&committed, 0);
        acked += batch->size;
        write_all(producer, &acked, sizeof(acked));
        write_all(consumer, &batch->size, BATCH_HEADER + batch->size);
        delivered += batch->count;
        queue_put(&spare, batch);
    }
    return NULL;
}

static void receive_batches(void)
{
    for (uint64_t seen = 0; seen < event_count;) {
        struct batch *batch = queue_take(&spare, 0);
        read_all(producer, &batch->size, BATCH_HEADER);
        if (batch->size > BATCH_BYTES)
            errx(1, "a batch of %u bytes", batch->size);
        read_all(producer, batch->records, batch->size);
        seen += batch->count;
        queue_put(&received, batch);
    }
}

/* ---- the two ends, each a process ---- */

static int connect_as(char role, const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        err(1, "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    write_all(fd, &role, 1);
    return fd;
}

static void produce(int fd)
{
    struct batch *batch = batch_create();
    uint8_t *value = calloc(1, event_size);
    uint64_t sent = 0, acked = 0; /* batches' bytes */
    read_all(fd, value, 1);       /* "g": everybody is there */
    times->start_us = now_us();
    for (uint64_t i = 0; i < event_count; i++) {
        uint32_t length = (uint32_t)event_size;
        memcpy(value, &i, sizeof(i));
        memcpy(batch->records + batch->size, &length, sizeof(length));
        memcpy(batch->records + batch->size + sizeof(length), value, event_size);
        batch->size += (uint32_t)(sizeof(length) + event_size);
        batch->count++;
        if (batch->size + sizeof(length) + event_size <= BATCH_BYTES && i + 1 < event_count)
            continue;
        write_all(fd, &batch->size, BATCH_HEADER + batch->size);
        sent += batch->size;
        batch->size = batch->count = 0;
        while (sent - acked > FLIGHT_BYTES || (i + 1 == event_count && acked < sent))
            read_all(fd, &acked, sizeof(acked));
    }
}

static void consume(int fd)
{
    struct batch *batch = batch_create();
    for (uint64_t seen = 0; seen < event_count;) {
        read_all(fd, &batch->size, BATCH_HEADER);
        read_all(fd, batch->records, batch->size);
        for (const uint8_t *at = batch->records, *end = at + batch->size; at < end; seen++) {
            uint32_t length;
            uint64_t number;
            memcpy(&length, at, sizeof(length));
            memcpy(&number, at + sizeof(length), sizeof(number));
            if (number != seen)
                errx(1, "event %ju came as %ju", (uintmax_t)seen, (uintmax_t)number);
            at += sizeof(length) + length;
        }
    }
    times->end_us = now_us();
}

static pid_t fork_end(char role, const struct sockaddr_in *address)
{
    pid_t parent = getpid(), child = fork();
    if (child != 0)
        return child;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(1);
    (role == 'p' ? produce : consume)(connect_as(role, address));
    _exit(0);
}

int main(int argc, char **argv)
{
    char directory[4000], path[4096];
    event_size = argc == 4 ? strtoull(argv[1], NULL, 10) : 0;
    event_count = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
    if (event_size < 8 || event_size > BATCH_BYTES / 2 || event_count == 0)
        errx(2, "usage: crier_limit SIZE EVENTS FOLDER, with SIZE from 8 to %u bytes", BATCH_BYTES / 2);
    snprintf(directory, sizeof(directory), "%s/crier-limit.XXXXXX", argv[3]);
    if (mkdtemp(directory) == NULL)
        err(1, "%s", directory);
    times = mmap(NULL, sizeof(*times), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (times == MAP_FAILED || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 2) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &(socklen_t){sizeof(address)}) < 0)
        err(1, "a listening socket");
    pid_t ends[2] = {fork_end('p', &address), fork_end('c', &address)};

    MDB_txn *txn;
    snprintf(path, sizeof(path), "%s/log.mdb", directory);
    check(mdb_env_create(&env), "mdb_env_create");
    check(mdb_env_set_mapsize(env, event_count * (event_size + 32) * 5 / 4 + (64u << 20)),
          "mdb_env_set_mapsize");
    check(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOMEMINIT | MDB_NOTLS | MDB_NOLOCK, 0600), path);
    check(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
    check(mdb_dbi_open(txn, NULL, 0, &table), "mdb_dbi_open");
    check(mdb_txn_commit(txn), "mdb_txn_commit");
    for (int i = 0; i < 2; i++) {
        char role;
        int fd = accept(listener, NULL, NULL);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        read_all(fd, &role, 1);
        *(role == 'p' ? &producer : &consumer) = fd;
    }
    for (uint64_t bytes = 0; bytes < FLIGHT_BYTES; bytes += BATCH_BYTES)
        queue_put(&spare, batch_create());
    pthread_t writer, deliverer;
    if (pthread_create(&writer, NULL, write_batches, NULL) != 0 ||
        pthread_create(&deliverer, NULL, deliver_batches, NULL) != 0)
        errx(1, "a thread");
    write_all(producer, "g", 1);
    receive_batches();
    pthread_join(writer, NULL);
    pthread_join(deliverer, NULL);
    for (int i = 0, status; i < 2; i++)
        if (waitpid(ends[i], &status, 0) < 0 || status != 0)
            errx(1, "an end failed");
    unlink(path);
    rmdir(directory);

    double seconds = (double)(times->end_us - times->start_us) / 1e6;
    printf("{\"bench\":\"limit\",\"size\":%ju,\"events\":%ju,\"events_per_s\":%.0f,\"mb_per_s\":%.1f}\n",
           (uintmax_t)event_size, (uintmax_t)event_count, (double)event_count / seconds,
           (double)(event_count * event_size) / 1e6 / seconds);
    return 0;
}
