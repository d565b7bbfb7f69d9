/* shared_read.c: what shared groups need to see of events: their keys, and dead ones whole.
 *
 * The store's reader threads do the work on the bytes (store_read.digest): they decompress, hash keys, and build the batch for
 * the dead-letter topic. The core only takes the results.
 *
 * Keys:        behind the frontier, some at a time → shared_pass: first of its key, or behind another
 * A dead one:  DYING → its topic is there → read, built → DATA and "done" in one entry
 * Failures:    what cannot be read now is tried again later; of keys that is said once, and the group waits there, as listeners do
 *              that come again.
 * Thread: the core's; the digests any. Pure. */
#include "broker/core/shared_internal.h"

#include <stdio.h>

#define KEYS_MAX         2048u
#define KEYS_BYTES       (256u * 1024)
#define UNCOMPRESSED_MAX (64u << 20)
#define DYING_LOOK       16u      /* at so many a turn */
#define DEAD_RETRY_US    10000000 /* what could not be read */
#define KEYS_RETRY_US    1000000  /* the same, of keys: a group waits for them */

struct known_key {
    uint64_t offset, key;
};
struct key_read {
    struct store_read read;
    struct key_read *prev, *next;
    struct shard *shard;
    struct shared *shared; /* NULL: gone */
    int status;
    uint64_t seen; /* everything below was looked at */
    uint32_t count;
    struct known_key keys[KEYS_MAX];
};

/* FNV-1a, 64 bits; 0 is no key's. */
static uint64_t key_hash(struct batch_string key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    if (!key.data)
        return 0;
    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ key.data[i]) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

/* ---- keys ---- */

static int keys_of_batch(struct key_read *job, const struct store_batch *batch)
{
    struct batch_iterator iterator;
    struct batch_record record;
    int rc = batch_iterator_init(&iterator, batch->batch.data, batch->batch.size, UNCOMPRESSED_MAX);
    if (rc < 0)
        return rc;
    while (job->count < KEYS_MAX && (rc = batch_iterator_next(&iterator, &record)) > 0) {
        if ((uint64_t)record.offset < job->read.offset)
            continue;
        job->keys[job->count++] = (struct known_key){(uint64_t)record.offset, key_hash(record.key)};
        job->seen = (uint64_t)record.offset + 1;
    }
    if (rc == 0)
        job->seen = batch->base_offset + batch->span;
    batch_iterator_finish(&iterator);
    return rc < 0 ? rc : 0;
}

static void keys_digest(struct store_read *read)
{
    struct key_read *job = read->ctx;
    job->seen = read->count ? read->offset : read->until;
    for (uint32_t i = 0; i < read->count && job->count < KEYS_MAX && job->status == 0; i++)
        job->status = keys_of_batch(job, &read->batches[i]);
}

/* There is nothing between the frontier and `offset`. */
static void nothing_until(struct shard *shard, struct shared *shared, uint64_t offset)
{
    if (shared->frontier >= offset)
        return;
    shared_mark_none(shard, shared, shared->frontier, offset);
    shared->frontier = offset;
}

static void keys_pass(const struct key_read *job)
{
    struct shard *shard = job->shard;
    struct shared *shared = job->shared;
    uint32_t i = 0;
    for (; i < job->count && shared_room(shared); i++) {
        if (job->keys[i].offset < shared->frontier)
            continue;
        nothing_until(shard, shared, job->keys[i].offset);
        (void)shared_pass(shard, shared, job->keys[i].offset, job->keys[i].key);
    }
    if (i == job->count)
        nothing_until(shard, shared, job->seen);
}

static void batches_unref(struct store_read *read)
{
    for (uint32_t i = 0; i < read->count; i++)
        slice_unref(&read->batches[i].batch);
}

static void keys_again(struct shard *shard, const struct shared *shared)
{
    if (shared->keys_due_us < shard->shared->keys_due_us)
        shard->shared->keys_due_us = shared->keys_due_us;
}

static void keys_failed(struct shard *shard, struct shared *shared, uint64_t offset, int status)
{
    if (!shared->keys_due_us)
        shard_log(
            shard, LOG_LEVEL_ERROR, "SHARED-READ",
            "group \"%s\" waits at offset %llu of topic \"%s\": the log cannot be read there (%d); it is "
            "tried again every second (told once)",
            shared->position->key.group->name, (unsigned long long)offset,
            shared_partition(shard, shared)->topic->name, status);
    shared->keys_due_us = shard->mono_us + KEYS_RETRY_US;
    keys_again(shard, shared);
}

static void keys_done(struct store_read *read, void *ctx)
{
    struct key_read *job = ctx;
    struct shard *shard = job->shard;
    struct shared *shared = job->shared;
    DL_DELETE(shard->shared->key_read_list, job);
    shard->shared->key_reads--;
    batches_unref(read);
    int status = read->status ? read->status : job->status;
    if (shared) {
        shared->key_read = NULL;
        if (status == 0 && shared->open && read->offset == shared->frontier)
            keys_pass(job);
        if (status == 0) {
            shared->keys_due_us = 0;
            shared_stir_position(shard, shared->position);
        } else {
            keys_failed(shard, shared, read->offset, status);
        }
    }
    free(job);
}

void shared_read_keys(struct shard *shard, struct shared *shared)
{
    struct shared_world *world = shard->shared;
    const struct partition *partition = shared_partition(shard, shared);
    if (shared->key_read)
        return;
    if (shard->mono_us < shared->keys_due_us) {
        keys_again(shard, shared);
        return;
    }
    shared_skip_gone(shard, shared);
    size_t place = ranges_find(&shared->done, shared->frontier);
    if (place < shared->done.count && shared->done.at[place].first <= shared->frontier)
        shared->frontier = shared->done.at[place].end;
    if (shared->frontier >= partition->next)
        return;
    if (world->key_reads >= SHARED_READS_MAX) { /* it is looked at again when one is back */
        shared_stir_position(shard, shared->position);
        return;
    }
    struct key_read *job = core_alloc(sizeof(*job));
    job->shard = shard;
    job->shared = shared;
    job->read.done = keys_done;
    job->read.digest = keys_digest;
    job->read.ctx = job;
    job->read.partition = partition->id;
    job->read.offset = shared->frontier;
    job->read.until = partition->next;
    job->read.bytes_max = KEYS_BYTES;
    if (shard->store->ops->read(shard->store, &job->read) < 0) {
        free(job);
        shared_stir_position(shard, shared->position);
        return;
    }
    shared->key_read = job;
    world->key_reads++;
    DL_APPEND(world->key_read_list, job);
}

/* Those that wait for a read to be tried again ask anew; whose time it is not yet stays due. */
void keys_turn(struct shard *shard)
{
    struct shared_world *world = shard->shared;
    struct shared_crew *crew;
    if (shard->mono_us < world->keys_due_us)
        return;
    world->keys_due_us = INT64_MAX;
    DL_FOREACH (world->crews, crew)
        shared_stir(shard, crew->crew);
}

void shared_read_forget(struct shard *shard, struct shared *shared)
{
    (void)shard;
    if (shared->key_read)
        shared->key_read->shared = NULL;
    shared->key_read = NULL;
}

/* ---- dead letters ---- */

struct dead_read {
    struct store_read read;
    struct dead_read *prev, *next;
    struct shard *shard;
    struct item *item; /* NULL: it is not dying any more */
    char *text[DEAD_HEADERS];
    int status;
    struct slice batch;
    uint32_t key_place; /* murmur2 of the key; 0 without one */
};

static void dead_free(struct dead_read *job)
{
    for (size_t i = 0; i < DEAD_HEADERS; i++)
        free(job->text[i]);
    slice_unref(&job->batch);
    free(job);
}

static int dead_build(struct dead_read *job, const struct batch_record *record)
{
    size_t count;
    struct batch_pair *headers = event_headers(record, DEAD_HEADERS, &count);
    if (!headers)
        return WIRE_CRIER_ENOMEM;
    for (size_t i = 0; i < DEAD_HEADERS; i++)
        headers[count++] = (struct batch_pair){dead_header_names[i], strlen(dead_header_names[i]),
                                               job->text[i], strlen(job->text[i])};
    job->batch = event_build(record, headers, count);
    if (record->key.data)
        job->key_place = murmur2(record->key.data, record->key.size) & INT32_MAX;
    free(headers);
    return job->batch.data ? 0 : WIRE_CRIER_ENOMEM;
}

static void dead_digest(struct store_read *read)
{
    struct dead_read *job = read->ctx;
    struct batch_iterator iterator;
    struct batch_record record;
    if (read->count == 0)
        return; /* it is gone */
    const struct slice *batch = &read->batches[0].batch;
    int rc = batch_iterator_init(&iterator, batch->data, batch->size, UNCOMPRESSED_MAX);
    if (rc < 0) {
        job->status = rc;
        return;
    }
    while ((rc = batch_iterator_next(&iterator, &record)) > 0) {
        if ((uint64_t)record.offset < read->offset)
            continue;
        if ((uint64_t)record.offset == read->offset)
            rc = dead_build(job, &record);
        break;
    }
    job->status = rc < 0 ? rc : 0;
    batch_iterator_finish(&iterator);
}

void event_prepare(struct shard *shard, struct partition *partition, struct slice batch)
{
    (void)shard_add_batch(shard, partition, batch, 1, PART_NO_SEQUENCE);
}

/* Both in one entry: it is a dead letter, and done. */
static void dead_write(struct dead_read *job, const struct topic *topic)
{
    struct shard *shard = job->shard;
    if (job->batch.data) {
        uint64_t id = topic->partitions[job->key_place % topic->partition_count];
        (void)entry_make_room(shard, job->batch.size, 1);
        event_prepare(shard, partition_find(shard, id), job->batch);
    }
    shared_mark_done(shard, job->item);
}

/* 0 and the dead-letter topic of the item's, or NULL: not yet; else why it has none as things are. */
static int dead_topic(struct shard *shard, const struct item *item, const struct topic **ret_topic)
{
    char name[TOPIC_NAME_MAX + 1];
    *ret_topic = NULL;
    if (!dead_letter_name(shared_partition(shard, item->shared)->topic, name) || topic_name_reserved(name))
        return WIRE_CRIER_EINVAL;
    const struct topic *topic = topic_find(shard, name);
    if (topic && topic->ephemeral)
        return WIRE_CRIER_ENOTSUP;
    if (!topic && !shard->read_only) {
        struct shard_request request = {.kind = SHARD_TOPIC_CREATE, .name = name};
        shard->ops->random(shard->ops_ctx, request.topic_id, TOPIC_ID_SIZE);
        (void)topic_create(shard, &request);
    }
    if (topic && topic->applied && !topic->deleting)
        *ret_topic = topic;
    return 0;
}

/* It stays what it is, and is tried again. status 0: there is nothing to tell. */
static void dead_later(struct shard *shard, struct item *item, int status)
{
    struct shared_world *world = shard->shared;
    if (status && shard->mono_us >= world->dead_told_us) {
        world->dead_told_us = shard->mono_us + DEAD_RETRY_US;
        shard_log(shard, LOG_LEVEL_WARN, "SHARED-DEAD",
                  "offset %llu of topic \"%s\" cannot be made a dead letter now (%d); it is tried again",
                  (unsigned long long)item->offset, shared_partition(shard, item->shared)->topic->name,
                  status);
    }
    item_close(shard, item);
    item_wait(shard, item, shard->mono_us + DEAD_RETRY_US);
}

static void dead_done(struct store_read *read, void *ctx)
{
    struct dead_read *job = ctx;
    struct shard *shard = job->shard;
    struct item *item = job->item;
    DL_DELETE(shard->shared->dead_read_list, job);
    shard->shared->dead_reads--;
    batches_unref(read);
    int status = read->status ? read->status : job->status;
    const struct topic *topic = NULL;
    if (item && status == 0 && !shard->read_only && !shard->guarded)
        status = dead_topic(shard, item, &topic);
    if (topic)
        dead_write(job, topic);
    else if (item)
        dead_later(shard, item, status);
    dead_free(job);
}

static char *number_text(uint64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return core_strdup(text);
}

static struct dead_read *dead_read_create(struct shard *shard, struct item *item)
{
    const struct partition *partition = shared_partition(shard, item->shared);
    const struct retry *retry = retry_find(item->shared, item->offset);
    struct dead_read *job = core_alloc(sizeof(*job));
    job->shard = shard;
    job->item = item;
    job->text[DEAD_REASON] = core_strdup(retry && retry->reason ? retry->reason : "it failed");
    job->text[DEAD_ATTEMPTS] = number_text(item->attempts);
    job->text[DEAD_GROUP] = core_strdup(item->shared->position->key.group->name);
    job->text[DEAD_TOPIC] = core_strdup(partition->topic->name);
    job->text[DEAD_PARTITION] = number_text(partition->id - partition->topic->partitions[0]);
    job->text[DEAD_OFFSET] = number_text(item->offset);
    job->read.done = dead_done;
    job->read.digest = dead_digest;
    job->read.ctx = job;
    job->read.partition = partition->id;
    job->read.offset = item->offset;
    job->read.until = item->offset + 1;
    job->read.bytes_max = 1;
    return job;
}

static void dead_begin(struct shard *shard, struct item *item)
{
    struct shared_world *world = shard->shared;
    struct dead_read *job = dead_read_create(shard, item);
    if (shard->store->ops->read(shard->store, &job->read) < 0) {
        dead_free(job);
        return;
    }
    item->reading = true;
    world->dead_reads++;
    DL_APPEND(world->dead_read_list, job);
}

/* What is left on the disk is for what goes on: positions, retention. Or the open entry is full, and the store has no room for it:
 * it tells when there is some. */
static bool dying_waits(const struct shard *shard)
{
    return shard->guarded ||
           (shard->gathering && shard->gathering->size >= SHARD_ENTRY_SIZE && !shard_has_room(shard));
}

void dying_turn(struct shard *shard)
{
    struct shared_world *world = shard->shared;
    struct item *item, *next;
    const struct topic *topic;
    unsigned looked = 0;
    if (dying_waits(shard))
        return;
    DL_FOREACH_SAFE (world->dying, item, next) {
        if (world->dead_reads >= SHARED_READS_MAX || looked++ >= DYING_LOOK)
            return;
        if (item->reading)
            continue;
        int status = dead_topic(shard, item, &topic);
        if (status) {
            dead_later(shard, item, status);
        } else if (topic) {
            dead_begin(shard, item);
        } else { /* others need not wait with it */
            DL_DELETE(world->dying, item);
            DL_APPEND(world->dying, item);
        }
    }
}

void dying_resume(struct shard *shard, struct shared *shared)
{
    for (size_t i = 0; i < shared->retry_count; i++) {
        const struct retry *retry = &shared->retries[i];
        if (!retry->dead)
            continue;
        shared_open(shard, shared, shared->position->key.group->kind == GROUP_KEY_ORDERED);
        if (!item_find(shared, retry->offset))
            item_open(shard, item_create(shard, shared, retry->offset));
    }
}

void shared_recovered(struct shard *shard)
{
    for (struct group *group = shard->groups; group; group = group->hh.next)
        for (struct group_position *position = group->positions; position; position = position->next)
            if (!position->deleted && position->exists && position->shared)
                dying_resume(shard, position->shared);
}

void dying_forget(struct shard *shard, const struct item *item)
{
    struct dead_read *job;
    DL_FOREACH (shard->shared->dead_read_list, job)
        if (job->item == item)
            job->item = NULL;
}

void shared_reads_free(struct shard *shard)
{
    struct key_read *keys, *next_keys;
    DL_FOREACH_SAFE (shard->shared->key_read_list, keys, next_keys)
        free(keys);
    struct dead_read *dead, *next_dead;
    DL_FOREACH_SAFE (shard->shared->dead_read_list, dead, next_dead)
        dead_free(dead);
}
