/* schedule_fire.c: what is due is read ahead of its time, and appended when that comes.
 *
 * Happy path:  WAITING, due in SCHEDULE_AHEAD_US → read (64 events a request, in the order of the log) → READY → due: the
 *              event and the end of its schedule into the open entry → LEAVING → durable: GONE
 * Failures:    an event that cannot be read is named in the log and tried again a minute later. A refused entry gives its
 *              schedules back (schedules.c). While the disk guard refuses emits, and while the broker drains, nothing fires:
 *              it is late, and never lost. Its topic is gone: the schedule ends without an event. */
#include "broker/core/schedules.h"

#define GATHER         STORE_READ_BATCHES_MAX
#define READS_MAX      32u         /* at a time: with 64 in each, a busy machine keeps up too */
#define READ_BYTES     (1u << 20)  /* of events in one request; the rest is asked for again */
#define AHEAD_BYTES    (16u << 20) /* of events in memory, and one request more */
#define FIRED_A_TURN   2048u
#define GATHER_US      50000   /* read with the one whose turn it is: fewer and larger requests */
#define FIRE_STEP_US   1000    /* those due in one step share a turn, and so an entry */
#define TURN_US_MAX    1000000 /* the shard's time may be slewed */
#define BUSY_US        10000
#define DELETING_US    100000
#define DAMAGED_US     60000000
#define UNREAD_TOLD_US 10000000 /* a line of the log at most so often */

struct schedule_read {
    struct store_read read;
    struct schedule_read *prev, *next;
    struct shard *shard;
    size_t count;
    struct schedule_key keys[GATHER]; /* by offset */
    uint64_t offsets[GATHER];
};

static uint64_t offset_of(const struct schedule_key *key)
{
    return key->number >> SCHEDULE_CLASS_BITS;
}

static unsigned class_of(const struct schedule_key *key)
{
    return (unsigned)(key->number & ((1u << SCHEDULE_CLASS_BITS) - 1));
}

/* ---- reading ---- */

static void wait_again(struct shard *shard, const struct schedule_key *key, int64_t delay_us)
{
    struct schedule *schedule = schedule_find(shard, key);
    if (schedule && schedule->place == SCHEDULE_READING)
        schedule_enter(shard, schedule, SCHEDULE_WAITING, shard->time.now_us + delay_us);
}

static void make_ready(struct shard *shard, const struct schedule_key *key, struct slice batch)
{
    struct schedule *schedule = schedule_find(shard, key);
    if (!schedule || schedule->place != SCHEDULE_READING)
        return; /* canceled meanwhile */
    schedule->batch = slice_ref(batch);
    schedule_enter(shard, schedule, SCHEDULE_READY, key->due_us);
}

static void missing(struct shard *shard, const struct schedule_key *key, int status)
{
    struct schedules *schedules = shard->schedules;
    schedules->unread++;
    if (shard->mono_us >= schedules->unread_told_us) { /* a damaged segment may have a million */
        shard_log(
            shard, LOG_LEVEL_ERROR, "SCHEDULE-READ",
            "the event scheduled as %llx-%llx cannot be read (%d); it is tried again in a minute (with it "
            "%llu since this was last said)",
            (unsigned long long)key->due_us, (unsigned long long)key->number, status,
            (unsigned long long)schedules->unread);
        schedules->unread_told_us = shard->mono_us + UNREAD_TOLD_US;
        schedules->unread = 0;
    }
    wait_again(shard, key, DAMAGED_US);
}

static void read_done(struct store_read *read, void *ctx)
{
    struct schedule_read *job = ctx;
    struct shard *shard = job->shard;
    size_t bytes = 0, i = 0;
    for (uint32_t b = 0; read->status == STORE_OK && b < read->count; b++) {
        const struct store_batch *batch = &read->batches[b];
        for (; i < job->count && job->offsets[i] < batch->base_offset; i++)
            missing(shard, &job->keys[i], 0);
        if (i < job->count && job->offsets[i] == batch->base_offset)
            make_ready(shard, &job->keys[i++], batch->batch);
        bytes += batch->batch.size;
        slice_unref(&read->batches[b].batch);
    }
    for (; i < job->count; i++) {
        if (read->status == STORE_ENOMEM || (read->status == STORE_OK && bytes >= READ_BYTES))
            wait_again(shard, &job->keys[i], read->status == STORE_OK ? 0 : BUSY_US);
        else
            missing(shard, &job->keys[i], read->status);
    }
    DL_DELETE(shard->schedules->reads, job);
    shard->schedules->read_count--;
    free(job);
}

static void read_begin(struct shard *shard, struct schedule *const *list, size_t count)
{
    struct schedules *schedules = shard->schedules;
    struct schedule_read *job = core_alloc(sizeof(*job));
    job->shard = shard;
    job->count = count;
    for (size_t i = 0; i < count; i++) {
        job->keys[i] = list[i]->key;
        job->offsets[i] = offset_of(&list[i]->key);
        schedule_enter(shard, list[i], SCHEDULE_READING, 0);
    }
    job->read = (struct store_read){.done = read_done,
                                    .ctx = job,
                                    .partition = schedule_topic(shard)->partitions[class_of(&job->keys[0])],
                                    .offset = job->offsets[0],
                                    .until = job->offsets[count - 1] + 1,
                                    .bytes_max = READ_BYTES,
                                    .offsets = job->offsets,
                                    .offset_count = count};
    if (shard->store->ops->read(shard->store, &job->read) < 0) {
        for (size_t i = 0; i < count; i++)
            wait_again(shard, &job->keys[i], BUSY_US);
        free(job);
        return;
    }
    DL_APPEND(schedules->reads, job);
    schedules->read_count++;
}

static int by_place(const void *a, const void *b)
{
    const struct schedule_key *left = &(*(struct schedule *const *)a)->key;
    const struct schedule_key *right = &(*(struct schedule *const *)b)->key;
    if (class_of(left) != class_of(right))
        return class_of(left) < class_of(right) ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

/* The next ones to be read, once it is time for the first, as many as there is room for, in the order of the log: neighbours
 * share an entry. */
static size_t gather(struct shard *shard, struct schedule **list, size_t count_max)
{
    struct schedules *schedules = shard->schedules;
    size_t count = 0, bytes = schedules->ahead_bytes;
    int64_t until_us = shard->time.now_us;
    for (struct heap_node *next; count < count_max && bytes < AHEAD_BYTES &&
                                 (next = heap_first(&schedules->waiting)) && next->due_us <= until_us;) {
        until_us = shard->time.now_us + GATHER_US;
        heap_remove(&schedules->waiting, next);
        list[count++] = schedule_of(next);
        bytes += schedule_of(next)->size;
    }
    /* they are WAITING until a request takes them; there is room for them */
    for (size_t i = 0; i < count; i++)
        heap_add(&schedules->waiting, &list[i]->timer);
    qsort(list, count, sizeof(list[0]), by_place);
    return count;
}

static void read_ahead(struct shard *shard)
{
    struct schedule *list[READS_MAX * GATHER];
    unsigned free_reads = READS_MAX - shard->schedules->read_count;
    size_t count = free_reads ? gather(shard, list, free_reads * GATHER) : 0;
    for (size_t from = 0, until; from < count && shard->schedules->read_count < READS_MAX; from = until) {
        until = from + 1;
        while (until < count && until - from < GATHER &&
               class_of(&list[until]->key) == class_of(&list[from]->key))
            until++;
        read_begin(shard, list + from, until - from);
    }
}

void schedule_reads_free(struct schedules *schedules)
{
    struct schedule_read *job, *next;
    DL_FOREACH_SAFE (schedules->reads, job, next)
        free(job);
}

/* ---- firing ---- */

static void fire(struct shard *shard, struct schedule *schedule)
{
    struct partition *partition = partition_find(shard, schedule->partition);
    if (partition && partition->topic->deleting) { /* whatever comes of that decides */
        schedule_enter(shard, schedule, SCHEDULE_WAITING, shard->time.now_us + DELETING_US);
        return;
    }
    struct batch_header header;
    if (partition && batch_header_decode(schedule->batch.data, schedule->batch.size, &header) ==
                         (int64_t)schedule->batch.size)
        (void)shard_add_batch(shard, partition, schedule->batch, (uint32_t)header.last_offset_delta + 1,
                              PART_NO_SEQUENCE);
    schedule_leave(shard, schedule, true);
    shard->count_fired++;
}

static void fire_due(struct shard *shard)
{
    struct heap_node *next;
    for (unsigned i = 0; i < FIRED_A_TURN && (next = heap_first(&shard->schedules->ready)); i++) {
        if (next->due_us > shard->time.now_us || !entry_make_room(shard, schedule_of(next)->size, 1))
            return;
        fire(shard, schedule_of(next));
    }
}

static int64_t soonest(const struct schedules *schedules)
{
    int64_t wake_us = INT64_MAX;
    const struct heap_node *waiting = heap_first(&schedules->waiting), *ready = heap_first(&schedules->ready);
    if (waiting && schedules->read_count < READS_MAX && schedules->ahead_bytes < AHEAD_BYTES)
        wake_us = waiting->due_us;
    if (ready && ready->due_us < wake_us) /* later rather than earlier */
        wake_us = (ready->due_us + FIRE_STEP_US - 1) / FIRE_STEP_US * FIRE_STEP_US;
    return wake_us;
}

int64_t schedules_turn(struct shard *shard)
{
    if (!shard->ready || shard->read_only || shard->draining)
        return INT64_MAX;
    if (shard->self.schedules == 0)
        return INT64_MAX;
    if (shard->guarded)
        return shard->mono_us + TURN_US_MAX;
    schedule_window_fill(shard);
    read_ahead(shard);
    fire_due(shard);
    int64_t wake_us = soonest(shard->schedules), now_us = shard->time.now_us;
    if (wake_us - now_us > TURN_US_MAX)
        return shard->mono_us + TURN_US_MAX;
    if (wake_us > now_us)
        return shard->mono_us + (wake_us - now_us);
    return shard_has_room(shard) ? shard->mono_us : shard->mono_us + BUSY_US;
}
