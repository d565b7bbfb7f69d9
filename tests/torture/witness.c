/* witness.c: see witness.h. */
#include "tests/torture/witness.h"

#include "base/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct witness *witness = ctx;
    struct witness_partition *partition = &witness->partitions[event->partition % PRODUCERS_PARTITIONS];
    struct seen seen = {.offset = event->offset, .producer = PRODUCERS};
    uint32_t producer;
    (void)bus;

    if (producers_recognise(event->value, event->value_size, &producer, &seen.number) &&
        producers_partition(seen.number) == event->partition)
        seen.producer = producer;
    pthread_mutex_lock(&witness->mutex);
    if (partition->count == partition->capacity) {
        partition->capacity = partition->capacity ? 2 * partition->capacity : 65536;
        partition->events = realloc(partition->events, partition->capacity * sizeof(*partition->events));
        CHECK(partition->events);
    }
    if (partition->count > 0 && seen.offset <= partition->events[partition->count - 1].offset)
        partition->disorder++;
    partition->events[partition->count++] = seen;
    pthread_cond_signal(&witness->news);
    pthread_mutex_unlock(&witness->mutex);
    return 0;
}

static void on_released(void *ctx, int code, const char *text)
{
    struct witness *witness = ctx;
    (void)text;
    pthread_mutex_lock(&witness->mutex);
    witness->failure = code;
    pthread_cond_signal(&witness->news);
    pthread_mutex_unlock(&witness->mutex);
}

static void init(struct witness *witness)
{
    pthread_condattr_t attributes;
    *witness = (struct witness){.mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&witness->news, &attributes);
    pthread_condattr_destroy(&attributes);
}

static int listen_from_start(struct witness *witness)
{
    struct crier_listen_options listen = crier_listen_options_default();
    listen.from = CRIER_EARLIEST;
    listen.released = on_released;
    return crier_listen(witness->bus, PRODUCERS_TOPIC, &listen, on_event, witness, NULL);
}

int witness_start(struct witness *witness, const char *url)
{
    struct crier_options options = crier_options_default();
    init(witness);
    options.name = "witness";
    int rc = crier_open(url, &options, &witness->bus);
    witness->own_bus = rc == 0;
    return rc < 0 ? rc : listen_from_start(witness);
}

int witness_listen(struct witness *witness, crier *bus)
{
    init(witness);
    witness->bus = bus;
    return listen_from_start(witness);
}

static uint64_t count_locked(const struct witness *witness)
{
    uint64_t count = 0;
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++)
        count += witness->partitions[i].count;
    return count;
}

uint64_t witness_count(struct witness *witness)
{
    pthread_mutex_lock(&witness->mutex);
    uint64_t count = count_locked(witness);
    pthread_mutex_unlock(&witness->mutex);
    return count;
}

static bool at_end_locked(const struct witness *witness)
{
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++) {
        const struct witness_partition *partition = &witness->partitions[i];
        uint64_t next = partition->count ? partition->events[partition->count - 1].offset + 1 : 0;
        if (next < partition->high_watermark)
            return false;
    }
    return true;
}

/* Waits until more than `count` events were seen and, if `end`, the end is reached. */
static bool wait_for(struct witness *witness, uint64_t count, bool end, int timeout_ms)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    pthread_mutex_lock(&witness->mutex);
    bool there = false;
    while (!there && rc == 0 && witness->failure == 0) {
        there = end ? at_end_locked(witness) : count_locked(witness) > count;
        if (!there)
            rc = pthread_cond_timedwait(&witness->news, &witness->mutex, &until);
    }
    pthread_mutex_unlock(&witness->mutex);
    return there;
}

bool witness_wait(struct witness *witness, uint64_t count, int timeout_ms)
{
    return wait_for(witness, count, false, timeout_ms);
}

static void keep_high_watermarks(void *ctx, const struct crier_topic_info *info)
{
    struct witness *witness = ctx;
    pthread_mutex_lock(&witness->mutex);
    for (uint32_t i = 0; i < info->partition_count && i < PRODUCERS_PARTITIONS; i++)
        witness->partitions[i].high_watermark = info->partitions[i].high_watermark;
    pthread_mutex_unlock(&witness->mutex);
}

bool witness_wait_end(struct witness *witness, int timeout_ms)
{
    int rc = crier_topic_describe(witness->bus, PRODUCERS_TOPIC, keep_high_watermarks, witness);
    return rc == 0 && wait_for(witness, 0, true, timeout_ms);
}

void witness_stop(struct witness *witness)
{
    if (witness->own_bus)
        crier_close(witness->bus);
    witness->bus = NULL;
    witness->own_bus = false;
}

int witness_write(const struct witness *witness, const char *path)
{
    FILE *file = fopen(path, "we");
    bool good = file != NULL;
    for (int i = 0; good && i < PRODUCERS_PARTITIONS; i++) {
        const struct witness_partition *partition = &witness->partitions[i];
        good =
            fwrite(&partition->count, sizeof(partition->count), 1, file) == 1 &&
            fwrite(&partition->disorder, sizeof(partition->disorder), 1, file) == 1 &&
            fwrite(partition->events, sizeof(*partition->events), partition->count, file) == partition->count;
    }
    if (file && fclose(file) != 0)
        good = false;
    return good ? 0 : -EIO;
}

int witness_read(struct witness *witness, const char *path)
{
    init(witness);
    FILE *file = fopen(path, "re");
    bool good = file != NULL;
    for (int i = 0; good && i < PRODUCERS_PARTITIONS; i++) {
        struct witness_partition *partition = &witness->partitions[i];
        good =
            fread(&partition->count, sizeof(partition->count), 1, file) == 1 &&
            fread(&partition->disorder, sizeof(partition->disorder), 1, file) == 1 &&
            (partition->events = malloc((partition->count + 1) * sizeof(*partition->events))) != NULL &&
            fread(partition->events, sizeof(*partition->events), partition->count, file) == partition->count;
        if (!good)
            partition->count = 0;
    }
    if (file)
        fclose(file);
    return good ? 0 : -EIO;
}

void witness_finish(struct witness *witness)
{
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++)
        free(witness->partitions[i].events);
    pthread_cond_destroy(&witness->news);
    pthread_mutex_destroy(&witness->mutex);
}
