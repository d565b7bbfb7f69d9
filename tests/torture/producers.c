/* producers.c: see producers.h.
 *
 * Threads:    in a producer's process: main emits, the bus's thread hears the answers (on_emitted). The window's mutex
 *             guards all they share.
 * Happy path: emit -> answer -> ... -> stop -> flush -> the log is written.
 * Failures:   a definite refusal is written down and is no failure of the producer; a bus that gives up is. */
#include "tests/torture/producers.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define VALUE_HEADER     12   /* producer and number */
#define VALUE_SIZE_SMALL 200  /* most events */
#define VALUE_SIZE_LARGE 8000 /* one in sixteen */
#define FLUSH_TIMEOUT_MS 30000

struct producer {
    uint32_t index;
    atomic_bool *stop;
    crier *bus;
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    unsigned unanswered;
    struct completion *log; /* by number */
    uint64_t count, capacity;
};

struct emitted { /* an event without an answer */
    struct producer *producer;
    uint64_t number;
};

/* The size and the bytes of an event follow from who emits it and its number. */
static size_t value_write(uint32_t producer, uint64_t number, uint8_t *to)
{
    struct random random = random_seeded((uint64_t)producer << 48 ^ number);
    size_t limit = random_below(&random, 16) == 0 ? VALUE_SIZE_LARGE : VALUE_SIZE_SMALL;
    size_t size = VALUE_HEADER + random_below(&random, limit - VALUE_HEADER);
    be32_put(to, producer);
    be64_put(to + 4, number);
    for (size_t i = VALUE_HEADER; i < size; i++)
        to[i] = (uint8_t)(number + i * 31);
    return size;
}

bool producers_recognise(const void *value, size_t size, uint32_t *ret_producer, uint64_t *ret_number)
{
    uint8_t expected[VALUE_SIZE_LARGE];
    if (size < VALUE_HEADER || be32_get(value) >= PRODUCERS)
        return false;
    *ret_producer = be32_get(value);
    *ret_number = be64_get((const uint8_t *)value + 4);
    return value_write(*ret_producer, *ret_number, expected) == size && memcmp(value, expected, size) == 0;
}

static enum outcome outcome_of(int code)
{
    if (code == 0)
        return OUTCOME_OK;
    bool refused = code == CRIER_EFULL || code == CRIER_ETOOBIG || code == CRIER_EINVAL ||
                   code == CRIER_ESEQUENCE || code == CRIER_EIO;
    return refused ? OUTCOME_REFUSED : OUTCOME_UNKNOWN;
}

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct emitted *emitted = ctx;
    struct producer *producer = emitted->producer;
    (void)bus;
    pthread_mutex_lock(&producer->mutex);
    producer->log[emitted->number] = (struct completion){offset, outcome_of(code), code};
    producer->unanswered--;
    pthread_cond_signal(&producer->answered);
    pthread_mutex_unlock(&producer->mutex);
    free(emitted);
}

/* Room in the window and in the log. The number of the next event. */
static uint64_t next_number(struct producer *producer)
{
    pthread_mutex_lock(&producer->mutex);
    while (producer->unanswered == PRODUCERS_WINDOW)
        pthread_cond_wait(&producer->answered, &producer->mutex);
    if (producer->count == producer->capacity) {
        producer->capacity = producer->capacity ? 2 * producer->capacity : 65536;
        producer->log = realloc(producer->log, producer->capacity * sizeof(*producer->log));
        CHECK(producer->log);
    }
    producer->unanswered++;
    producer->log[producer->count] = (struct completion){UINT64_MAX, OUTCOME_UNKNOWN, 0};
    uint64_t number = producer->count++;
    pthread_mutex_unlock(&producer->mutex);
    return number;
}

static int emit_until_stop(struct producer *producer)
{
    struct crier_emit_options options = crier_emit_options_default();
    uint8_t value[VALUE_SIZE_LARGE];
    options.done = on_emitted;
    while (!atomic_load(producer->stop)) {
        struct emitted *emitted = malloc(sizeof(*emitted));
        CHECK(emitted);
        *emitted = (struct emitted){producer, next_number(producer)};
        size_t size = value_write(producer->index, emitted->number, value);
        options.partition = (int32_t)producers_partition(emitted->number);
        options.ctx = emitted;
        int rc = crier_emit_with(producer->bus, PRODUCERS_TOPIC, value, size, &options);
        if (rc < 0) {
            fprintf(stderr, "producer %u: emit: %s\n", producer->index, crier_strerror(rc));
            return rc;
        }
    }
    int rc = crier_flush(producer->bus, FLUSH_TIMEOUT_MS);
    if (rc < 0)
        fprintf(stderr, "producer %u: flush: %s\n", producer->index, crier_strerror(rc));
    return rc;
}

static void log_path(const char *directory, uint32_t producer, char *to, size_t size)
{
    snprintf(to, size, "%s/producer-%u.log", directory, producer);
}

static int write_log(const struct producer *producer, const char *directory)
{
    char path[512];
    log_path(directory, producer->index, path, sizeof(path));
    FILE *file = fopen(path, "we");
    bool good =
        file && fwrite(producer->log, sizeof(*producer->log), producer->count, file) == producer->count;
    if (file && fclose(file) != 0)
        good = false;
    if (!good)
        perror(path);
    return good ? 0 : -EIO;
}

static int produce(uint32_t index, const char *url, const char *directory, atomic_bool *stop,
                   const struct producers_hooks *hooks)
{
    struct producer producer = {.index = index,
                                .stop = stop,
                                .mutex = PTHREAD_MUTEX_INITIALIZER,
                                .answered = PTHREAD_COND_INITIALIZER};
    struct crier_options options = crier_options_default();
    char name[32];
    snprintf(name, sizeof(name), "producer %u", index);
    options.name = name;
    options.emit_blocks = true;
    int rc = crier_open(url, &options, &producer.bus);
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", name, crier_strerror(rc));
        return rc;
    }
    if (hooks->begin)
        rc = hooks->begin(producer.bus, index, hooks->ctx);
    if (rc == 0)
        rc = emit_until_stop(&producer);
    if (rc == 0 && hooks->end)
        rc = hooks->end(producer.bus, index, hooks->ctx);
    crier_close(producer.bus); /* what it could tell, flush has told */
    int written = write_log(&producer, directory);
    free(producer.log);
    return rc < 0 ? rc : written;
}

int producers_start(struct producers *producers, const char *url, const char *directory,
                    const struct producers_hooks *hooks)
{
    static const struct producers_hooks none;
    *producers = (struct producers){0};
    snprintf(producers->directory, sizeof(producers->directory), "%s", directory);
    producers->stop =
        mmap(NULL, sizeof(*producers->stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (producers->stop == MAP_FAILED)
        return -errno;
    fflush(NULL);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        pid_t parent = getpid(), pid = fork();
        if (pid < 0)
            return -errno;
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            int rc = produce(i, url, directory, producers->stop, hooks ? hooks : &none);
            _exit(getppid() == parent && rc == 0 ? 0 : 1);
        }
        producers->pids[i] = pid;
    }
    return 0;
}

int producers_stop(struct producers *producers)
{
    int failed = 0;
    atomic_store(producers->stop, true);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        int status;
        if (waitpid(producers->pids[i], &status, 0) < 0 || status != 0)
            failed++;
        producers->pids[i] = 0;
    }
    return failed;
}

void producers_kill(struct producers *producers)
{
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        if (producers->pids[i] > 0) {
            kill(producers->pids[i], SIGKILL);
            waitpid(producers->pids[i], NULL, 0);
        }
    }
}

int producers_log(const struct producers *producers, uint32_t producer, struct completion **ret_log,
                  uint64_t *ret_count)
{
    char path[512];
    int rc = 0;
    log_path(producers->directory, producer, path, sizeof(path));
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    struct completion *log = malloc(size + 1);
    if (log == NULL || fread(log, 1, size, file) != size) {
        free(log);
        rc = -EIO;
    } else {
        *ret_log = log;
        *ret_count = size / sizeof(*log);
    }
    fclose(file);
    return rc;
}
