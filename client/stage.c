/* stage.c: events become batches, under the emit lock. See stage.h.
 *
 * Role:     the hot path of emitting: find the topic, choose the lane, append to its open batch. Nothing here waits,
 *           allocates per event (a batch's memory grows in steps) or calls anybody back.
 * Thread:   any, with the emit lock.
 * Called:   engine_emit (emitting threads), engine_collect (I/O thread).
 *
 * Happy path:  stage_emit -> stage_topic_get -> lane_choose -> event_append -> lane becomes fresh -> wake
 * Failures:    too much pending: CRIER_EAGAIN, and `drain_wanted`. No memory: CRIER_ENOMEM, nothing was emitted. */
#include "client/stage_internal.h"

#include "base/check.h"
#include "client/atomic.h"
#include "client/topic_name.h"
#include "proto/murmur2.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN     16
#define COMPLETIONS_MIN 8
#define BATCH_CHARGE    (sizeof(struct emit_batch) + BATCH_HEADER_SIZE) /* of an empty one */

/* A header of the API has the shape of a pair of the batch, so that an array of them needs no copy. */
_Static_assert(sizeof(crier_header) == sizeof(struct batch_pair), "crier_header is a batch_pair");
_Static_assert(offsetof(crier_header, name_size) == offsetof(struct batch_pair, key_size), "same order");
_Static_assert(offsetof(crier_header, value) == offsetof(struct batch_pair, value), "same order");
_Static_assert(offsetof(crier_header, value_size) == offsetof(struct batch_pair, value_size), "same order");

void stage_init(struct stage *stage, const struct crier_options *options)
{
    *stage = (struct stage){.batch_size_max = options->batch_size_max,
                            .buffer_size_max = options->buffer_size_max,
                            .event_size_max = STAGE_EVENT_SIZE_MAX,
                            .partitioner = options->partitioner,
                            .partitioner_ctx = options->partitioner_ctx,
                            .ticket_next = 1};
    list_init(&stage->batches);
    list_init(&stage->fresh);
    list_init(&stage->atomics);
    list_init(&stage->atomics_fresh);
    stage->named = options->producer_name != NULL;
}

/* ---- batches ---- */

/* alone: nothing joins its event. as_old_as: the batch its events come from, for which flushes already wait; NULL: they are new. */
static struct emit_batch *batch_create(struct stage *stage, struct emit_lane *lane, size_t size_needed,
                                       bool alone, struct emit_batch *as_old_as)
{
    struct emit_batch *batch = calloc(1, sizeof(*batch));
    size_t capacity =
        !alone && lane->size_hint > STAGE_BATCH_SIZE_MIN ? lane->size_hint : STAGE_BATCH_SIZE_MIN;
    uint8_t *data;

    if (capacity > stage->batch_size_max / 4) /* the full size, so that buffers can be used again */
        capacity = stage->batch_size_max;
    if (capacity < BATCH_HEADER_SIZE + size_needed)
        capacity = BATCH_HEADER_SIZE + size_needed;
    if (capacity == stage->batch_size_max && stage->spare_count > 0)
        data = stage->spares[--stage->spare_count];
    else
        data = malloc(capacity);
    if (!batch || !data) {
        free(batch);
        free(data);
        return NULL;
    }
    batch_builder_init(&batch->builder, data, capacity);
    batch->lane = lane;
    batch->topic = lane->topic;
    batch->ticket = as_old_as ? as_old_as->ticket : stage->ticket_next++;
    batch->charged = BATCH_CHARGE;
    batch->route = LANE_UNROUTED;
    stage->pending_bytes += batch->charged;
    list_init(&batch->link);
    list_insert_before(as_old_as ? &as_old_as->age : &stage->batches, &batch->age);
    return batch;
}

void stage_batch_release(struct stage *stage, struct emit_batch *batch)
{
    struct batch_builder *builder = &batch->builder;

    if (batch->data != builder->data)
        free(batch->data);
    if (builder->capacity == stage->batch_size_max && stage->spare_count < STAGE_SPARES_MAX)
        stage->spares[stage->spare_count++] = builder->data;
    else
        free(builder->data);
    list_remove(&batch->age);
    stage->pending_bytes -= batch->charged;
    free(batch->completions);
    free(batch);
}

void stage_spares_free(struct stage *stage)
{
    while (stage->spare_count > 0)
        free(stage->spares[--stage->spare_count]);
}

uint64_t stage_oldest_ticket(const struct stage *stage)
{
    uint64_t ticket = stage->ticket_next;

    if (!list_is_empty(&stage->batches))
        ticket = LIST_ENTRY(stage->batches.next, struct emit_batch, age)->ticket;
    if (!list_is_empty(&stage->atomics) &&
        LIST_ENTRY(stage->atomics.next, struct atomic_emit, age)->ticket < ticket)
        ticket = LIST_ENTRY(stage->atomics.next, struct atomic_emit, age)->ticket;
    return ticket;
}

/* More memory for a batch that has not reached batch_size_max. false: it is as large as it may be, or no memory. */
static bool batch_grow(const struct stage *stage, struct emit_batch *batch, size_t size_needed)
{
    struct batch_builder *builder = &batch->builder;
    size_t capacity = 4 * builder->capacity;
    uint8_t *data;

    if (capacity < builder->size + size_needed)
        capacity = builder->size + size_needed;
    if (capacity > stage->batch_size_max)
        capacity = stage->batch_size_max;
    if (capacity < builder->size + size_needed || capacity <= builder->capacity)
        return false;
    if (!(data = realloc(builder->data, capacity)))
        return false;
    builder->data = data;
    builder->capacity = capacity;
    return true;
}

static inline void batch_charge(struct stage *stage, struct emit_batch *batch, size_t size)
{
    batch->charged += size;
    stage->pending_bytes += size;
}

/* Room for one more. */
static bool completion_reserve(struct emit_batch *batch)
{
    int32_t capacity = batch->completion_capacity ? 2 * batch->completion_capacity : COMPLETIONS_MIN;
    struct emit_completion *grown;

    if (batch->completion_count < batch->completion_capacity)
        return true;
    if (!(grown = realloc(batch->completions, (size_t)capacity * sizeof(*grown))))
        return false;
    batch->completions = grown;
    batch->completion_capacity = capacity;
    return true;
}

/* ---- lanes ---- */

static struct emit_lane *lane_create(struct emit_topic *topic, uint32_t partition, bool memory)
{
    struct emit_lane *lane = calloc(1, sizeof(*lane));

    if (!lane)
        return NULL;
    lane->topic = topic;
    lane->partition = partition;
    lane->partition_id = partition == LANE_UNROUTED ? 0 : topic->partition_ids[partition];
    lane->memory = memory;
    struct list *places[] = {&lane->closed,   &lane->fresh,   &lane->batches,   &lane->all,
                             &lane->sendable, &lane->revisit, &lane->lingering, &lane->retrying};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        list_init(places[i]);
    return lane;
}

struct emit_lane *stage_lane_get(struct emit_lane **place, struct emit_topic *topic, uint32_t partition,
                                 bool memory)
{
    if (!*place)
        *place = lane_create(topic, partition, memory);
    return *place;
}

static void batches_free(struct stage *stage, struct list *batches)
{
    struct list *link;

    while ((link = list_take(batches)))
        stage_batch_release(stage, LIST_ENTRY(link, struct emit_batch, link));
}

static void lane_free(struct stage *stage, struct emit_lane *lane)
{
    if (!lane)
        return;
    stage_close_open(lane);
    batches_free(stage, &lane->closed);
    batches_free(stage, &lane->batches);
    free(lane);
}

void stage_close_open(struct emit_lane *lane)
{
    struct emit_batch *batch = lane->open;
    struct emit_topic *topic = lane->topic;

    if (!batch)
        return;
    if (!emit_time_is_set(&batch->time))
        lane->size_hint = batch->builder.size + batch->builder.size / 4;
    lane->open = NULL;
    list_append(&lane->closed, &batch->link);
    if (topic->known && topic->turn == lane->partition) /* one batch, then the next partition's turn */
        topic->turn = (topic->turn + 1) % topic->partition_count;
}

void stage_lane_touch(struct stage *stage, struct emit_lane *lane, bool *ret_wake)
{
    if (!list_is_linked(&lane->fresh))
        list_append(&stage->fresh, &lane->fresh);
    *ret_wake = !stage->woken;
    stage->woken = true;
}

/* Begins a batch that has room for `size_needed`; the one that was open is ended. */
static struct emit_batch *lane_open(struct stage *stage, struct emit_lane *lane, size_t size_needed,
                                    uint32_t route, const struct emit_time *time,
                                    struct emit_batch *as_old_as)
{
    struct emit_batch *batch;

    if (!(batch = batch_create(stage, lane, size_needed, time != NULL, as_old_as)))
        return NULL;
    batch->route = route;
    if (time)
        batch->time = *time;
    stage_close_open(lane);
    lane->open = batch;
    return batch;
}

/* Nothing was put into the batch just opened. */
static void lane_unopen(struct stage *stage, struct emit_lane *lane)
{
    struct emit_batch *batch = lane->open;

    lane->open = NULL;
    stage_batch_release(stage, batch);
}

int stage_event_append(struct stage *stage, struct emit_lane *lane, const struct stage_event *event,
                       uint32_t route, struct emit_batch *as_old_as, bool *ret_fresh)
{
    struct emit_batch *batch = lane->open;
    bool is_new = false;
    size_t size_before;

    *ret_fresh = false;
    if (batch &&
        (event->time || batch->route != route || batch->heard != event->heard ||
         batch->builder.size >= stage->batch_size_max || (event->done && !completion_reserve(batch))))
        batch = NULL;
    for (;;) {
        if (!batch) {
            if (!(batch = lane_open(stage, lane, event->size_max, route, event->time, as_old_as)))
                return CRIER_ENOMEM;
            is_new = true;
            batch->heard = event->heard;
            *ret_fresh = true;
            if (event->done && !completion_reserve(batch)) {
                lane_unopen(stage, lane);
                return CRIER_ENOMEM;
            }
        }
        size_before = batch->builder.size;
        if (batch_builder_append(&batch->builder, event->timestamp_ms, event->key, event->key_size,
                                 event->value, event->value_size, event->headers, event->header_count) == 0)
            break;
        CHECK(!is_new); /* it was made large enough */
        if (!batch_grow(stage, batch, event->size_max))
            batch = NULL;
    }
    if (event->done)
        batch->completions[batch->completion_count++] =
            (struct emit_completion){batch->builder.count - 1, event->done, event->ctx};
    batch_charge(stage, batch, batch->builder.size - size_before);
    if (event->time)
        stage_close_open(lane); /* nothing joins it */
    return 0;
}

/* ---- topics ---- */

static bool buckets_grow(struct stage *stage)
{
    size_t count = stage->bucket_count ? 2 * stage->bucket_count : BUCKETS_MIN;
    struct emit_topic **buckets = calloc(count, sizeof(*buckets));

    if (!buckets)
        return false;
    for (size_t i = 0; i < stage->bucket_count; i++)
        for (struct emit_topic *topic = stage->buckets[i], *next; topic; topic = next) {
            next = topic->next;
            topic->next = buckets[topic->hash & (count - 1)];
            buckets[topic->hash & (count - 1)] = topic;
        }
    free(stage->buckets);
    stage->buckets = buckets;
    stage->bucket_count = count;
    return true;
}

static int topic_add(struct stage *stage, const char *name, uint32_t hash, struct emit_topic **ret_topic)
{
    size_t size = strlen(name);
    struct emit_topic *topic;

    bool inbox = topic_name_is_inbox(name);

    if (!inbox && !topic_name_is_valid(name))
        return CRIER_EINVAL;
    if (stage->topic_count >= stage->bucket_count && !buckets_grow(stage))
        return CRIER_ENOMEM;
    if (!(topic = calloc(1, sizeof(*topic) + size + 1)))
        return CRIER_ENOMEM;
    memcpy(topic->name, name, size + 1);
    topic->name_size = size;
    topic->hash = hash;
    list_init(&topic->link);
    topic->next = stage->buckets[hash & (stage->bucket_count - 1)];
    stage->buckets[hash & (stage->bucket_count - 1)] = topic;
    stage->topic_count++;
    topic->inbox = inbox;
    stage->inbox_count += inbox;
    *ret_topic = topic;
    return 0;
}

int stage_topic_get(struct stage *stage, const char *name, struct emit_topic **ret_topic)
{
    struct emit_topic *topic = stage->last;
    uint32_t hash;
    int rc;

    if (!topic || strcmp(topic->name, name) != 0) {
        hash = murmur2(name, strlen(name));
        topic = stage->bucket_count ? stage->buckets[hash & (stage->bucket_count - 1)] : NULL;
        while (topic && (topic->hash != hash || strcmp(topic->name, name) != 0))
            topic = topic->next;
        if (!topic && (rc = topic_add(stage, name, hash, &topic)) < 0)
            return rc;
        stage->last = topic;
    }
    if (topic->inbox && !topic->known && (rc = stage_inbox_resolve(topic)) < 0)
        return rc;
    *ret_topic = topic;
    return 0;
}

void stage_topic_free(struct stage *stage, struct emit_topic *topic)
{
    for (uint32_t i = 0; i < 2; i++)
        lane_free(stage, topic->unrouted[i]);
    for (uint32_t i = 0; topic->lanes && i < 2 * topic->partition_count; i++)
        lane_free(stage, topic->lanes[i]);
    free(topic->lanes);
    free(topic->partition_ids);
    free(topic->answer_ids);
    free(topic);
}

void stage_finish(struct stage *stage)
{
    for (size_t i = 0; i < stage->bucket_count; i++)
        for (struct emit_topic *topic = stage->buckets[i], *next; topic; topic = next) {
            next = topic->next;
            stage_topic_free(stage, topic);
        }
    free(stage->buckets);
    stage_spares_free(stage);
}

uint32_t stage_partition_choose(const struct stage *stage, const struct emit_topic *topic, const void *key,
                                size_t key_size, uint32_t route)
{
    if (route != LANE_UNROUTED)
        return route;
    if (topic->partition_count == 1)
        return 0;
    if (!key)
        return topic->turn;
    if (!stage->partitioner)
        return murmur2_partition(key, key_size, topic->partition_count);
    return stage->partitioner(stage->partitioner_ctx, topic->name, key, key_size, topic->partition_count) %
           topic->partition_count;
}

/* ---- emitting ---- */

/* Field by field: gcc zeroes a whole struct of this size with `rep stos`, which was a fifth of an emit. */
static inline void event_begin(struct stage_event *event, const void *value, size_t value_size,
                               int64_t timestamp_ms)
{
    event->timestamp_ms = timestamp_ms;
    event->key = NULL;
    event->value = value;
    event->key_size = 0;
    event->value_size = value_size;
    event->headers = NULL;
    event->header_count = 0;
    event->size_max = 0;
    event->heard = false;
    event->done = NULL;
    event->ctx = NULL;
    event->time = NULL;
}
_Static_assert(sizeof(void *) != 8 || sizeof(struct stage_event) == 96,
               "a field that is new is set in event_begin() too");

/* Of an event without options: in line, as most are. */
static inline int event_make_plain(const struct stage *stage, const void *value, size_t value_size,
                                   int64_t timestamp_ms, struct stage_event *event)
{
    event_begin(event, value, value_size, timestamp_ms);
    event->size_max = batch_record_size_max(0, value_size, NULL, 0);
    if (!value && value_size > 0)
        return CRIER_EINVAL;
    return value_size > stage->event_size_max ? CRIER_ETOOBIG : 0;
}

int stage_event_make(const struct stage *stage, const void *value, size_t value_size,
                     const struct crier_emit_options *options, int64_t timestamp_ms,
                     struct stage_event *event)
{
    size_t size = value_size, limit = stage->event_size_max;
    int rc;

    if ((rc = event_make_plain(stage, value, value_size, timestamp_ms, event)) < 0)
        return rc;
    if (options) {
        if ((!options->key && options->key_size > 0) || (!options->headers && options->header_count > 0) ||
            options->partition < -1 || (unsigned)options->durability > CRIER_MEMORY)
            return CRIER_EINVAL; /* also a durability of a newer header: more than this library can promise */
        if (options->timestamp_ms != 0)
            event->timestamp_ms = options->timestamp_ms;
        event->key = options->key;
        event->key_size = options->key_size;
        if (event->key_size > limit - size)
            return CRIER_ETOOBIG;
        size += event->key_size;
        event->headers = (const struct batch_pair *)(const void *)options->headers;
        event->header_count = options->header_count;
        event->heard = options->needs_listener;
        for (size_t i = 0; i < event->header_count; i++) {
            const struct batch_pair *header = &event->headers[i];
            if (!header->key || (!header->value && header->value_size > 0))
                return CRIER_EINVAL;
            if (header->key_size > limit - size || header->value_size > limit - size - header->key_size)
                return CRIER_ETOOBIG;
            size += header->key_size + header->value_size;
        }
        event->done = options->done;
        event->ctx = options->ctx;
    }
    event->size_max = batch_record_size_max(event->key_size, value_size, event->headers, event->header_count);
    return 0;
}

void stage_drain_want(struct stage *stage, size_t pending_max)
{
    size_t half = stage->buffer_size_max / 2;

    if (!stage->drain_wanted)
        stage->drain_below = half;
    if (pending_max < stage->drain_below)
        stage->drain_below = pending_max;
    stage->drain_wanted = true;
}

/* What crier_emit_later() adds to an event. 0 is a delay too, and the wire's word for none. */
static int emit_time_make(const struct stage_event *event, const struct crier_emit_options *options,
                          const struct crier_later_options *later, struct emit_time *ret_time)
{
    if (later->delay_us < 0 || later->at_us < 0 || event->done ||
        (options && options->durability == CRIER_MEMORY))
        return CRIER_EINVAL;
    *ret_time = (struct emit_time){.at_us = later->at_us,
                                   .delay_us = later->at_us      ? 0
                                               : later->delay_us ? (uint64_t)later->delay_us
                                                                 : 1,
                                   .done = later->done,
                                   .ctx = later->ctx};
    return 0;
}

/* Nearly every event: without options, of the last one's topic, into a batch that is open and has room. It goes there directly: to
 * write all that an event may have into a stage_event and read it again is a quarter of an emit. false: it is another one, and
 * nothing has happened. */
static inline bool emit_plain(struct stage *stage, const char *name, const void *value, size_t value_size,
                              int64_t timestamp_ms)
{
    const struct emit_topic *topic = stage->last;
    const struct emit_lane *lane;
    struct emit_batch *batch;
    size_t size_before;

    if (stage->closed || !topic || !topic->known || (!value && value_size > 0) ||
        value_size > stage->event_size_max || strcmp(topic->name, name) != 0)
        return false;
    lane = topic->lanes[2 * topic->turn + topic->memory];
    batch = lane ? lane->open : NULL;
    if (!batch || batch->heard || batch->route != LANE_UNROUTED ||
        batch->builder.size >= stage->batch_size_max ||
        stage->pending_bytes + batch_record_size_max(0, value_size, NULL, 0) > stage->buffer_size_max)
        return false;
    size_before = batch->builder.size;
    if (batch_builder_append(&batch->builder, timestamp_ms, NULL, 0, value, value_size, NULL, 0) < 0)
        return false; /* it has to grow, or to end */
    batch_charge(stage, batch, batch->builder.size - size_before);
    stage->stats.emitted++;
    return true;
}

int stage_emit(struct stage *stage, const char *name, const void *value, size_t value_size,
               const struct crier_emit_options *options, const struct crier_later_options *later,
               int64_t timestamp_ms, bool *ret_wake)
{
    uint32_t route = options && options->partition >= 0 ? (uint32_t)options->partition : LANE_UNROUTED;
    struct emit_topic *topic;
    struct emit_lane *lane;
    struct stage_event event;
    struct emit_time time;
    bool memory, fresh;
    size_t needed;
    int rc;

    *ret_wake = false;
    if (!options && !later && emit_plain(stage, name, value, value_size, timestamp_ms))
        return 0;
    if (stage->closed)
        return CRIER_ECLOSED;
    if (options && options->expects)
        return CRIER_EINVAL;
    rc = options ? stage_event_make(stage, value, value_size, options, timestamp_ms, &event)
                 : event_make_plain(stage, value, value_size, timestamp_ms, &event);
    if (rc < 0)
        return rc;
    if (later) {
        if ((rc = emit_time_make(&event, options, later, &time)) < 0)
            return rc;
        event.time = &time;
    }
    needed = event.size_max + BATCH_CHARGE; /* it may begin one */
    if (needed > stage->buffer_size_max)
        return CRIER_ETOOBIG;
    if (stage->pending_bytes > stage->buffer_size_max - needed) {
        stage_drain_want(stage, stage->buffer_size_max - needed);
        return CRIER_EAGAIN;
    }
    if ((rc = stage_topic_get(stage, name, &topic)) < 0)
        return rc;
    memory = !later && (topic->memory || event.heard || (options && options->durability == CRIER_MEMORY));
    if (event.heard && !topic->known)
        atomic_store(&topic->ephemeral, true);
    if (topic->known) {
        uint32_t partition = stage_partition_choose(stage, topic, event.key, event.key_size, route);
        if (partition >= topic->partition_count)
            return CRIER_EINVAL;
        lane = stage_lane_get(&topic->lanes[2 * partition + memory], topic, partition, memory);
        route = LANE_UNROUTED;
    } else {
        lane = stage_lane_get(&topic->unrouted[memory], topic, LANE_UNROUTED, memory);
    }
    if (!lane)
        return CRIER_ENOMEM;
    rc = stage_event_append(stage, lane, &event, route, NULL, &fresh);
    if (fresh)
        stage_lane_touch(stage, lane, ret_wake);
    if (rc == 0)
        stage->stats.emitted++;
    return rc;
}
