/* stage_route.c: events that waited for their topic find their lanes.
 *
 * Role:     when the partitions are known, waiting batches become the batches of a partition: as they are, if there is one
 *           partition or it was asked for, else event by event, by key.
 * Thread:   the I/O thread in engine_collect, with the emit lock.
 *
 * Happy path:  stage_topic_known -> batch_route -> (batch_deal -> record_deal) -> lanes are fresh
 * Failures:    events that cannot go anywhere leave in `ret_failed`, each once; a batch dealt out halfway when memory ends
 *              fails with what is left of it. */
#include "client/stage_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

static void batch_fail(struct emit_batch *batch, int code, struct list *ret_failed)
{
    batch->failure = code;
    batch->lane = NULL;
    list_append(ret_failed, &batch->link);
}

/* The headers of a received or waiting record as an array. NULL: no memory. Freed by the caller. */
static struct batch_pair *headers_collect(const struct batch_record *record)
{
    struct batch_pair *headers = calloc((size_t)record->header_count + 1, sizeof(*headers));
    const uint8_t *cursor = record->headers;
    struct batch_string key, value;

    for (int32_t i = 0; headers && batch_record_header(record, &cursor, &key, &value) > 0; i++)
        headers[i] = (struct batch_pair){key.data, key.size, value.data, value.size};
    return headers;
}

/* Puts one waiting event into the lane of its key. */
static int record_deal(struct stage *stage, struct emit_topic *topic, struct emit_batch *from,
                       const struct batch_record *record, const struct emit_completion *completion)
{
    bool memory = from->lane->memory || topic->memory, fresh, wake;
    uint32_t partition =
        stage_partition_choose(stage, topic, record->key.data, record->key.size, LANE_UNROUTED);
    struct emit_lane *lane = stage_lane_get(&topic->lanes[2 * partition + memory], topic, partition, memory);
    struct batch_pair *headers = headers_collect(record);
    struct stage_event event = {.timestamp_ms = record->timestamp_ms,
                                .key = record->key.data,
                                .key_size = record->key.size,
                                .value = record->value.data,
                                .value_size = record->value.size,
                                .headers = headers,
                                .header_count = (size_t)record->header_count,
                                .heard = from->heard,
                                .time = emit_time_is_set(&from->time) ? &from->time : NULL,
                                .done = completion ? completion->done : NULL,
                                .ctx = completion ? completion->ctx : NULL};
    int rc = CRIER_ENOMEM;

    if (lane && headers) {
        event.size_max = batch_record_size_max(event.key_size, event.value_size, headers, event.header_count);
        rc = stage_event_append(stage, lane, &event, LANE_UNROUTED, from, &fresh);
        if (fresh)
            stage_lane_touch(stage, lane, &wake);
    }
    free(headers);
    return rc;
}

/* Deals the events of one waiting batch out by key. Those that could not be placed for want of memory fail. */
static void batch_deal(struct stage *stage, struct emit_topic *topic, struct emit_batch *from,
                       struct list *ret_failed)
{
    struct batch_iterator walk;
    struct batch_record record;
    int32_t dealt = 0, completion = 0;
    int rc = 0;

    batch_builder_finish(&from->builder, -1, -1, -1);
    CHECK(batch_iterator_init(&walk, from->builder.data, from->builder.size, 0) == 0);
    for (; batch_iterator_next(&walk, &record) > 0; dealt++) {
        bool told = completion < from->completion_count && from->completions[completion].index == dealt;
        if ((rc = record_deal(stage, topic, from, &record, told ? &from->completions[completion] : NULL)) < 0)
            break;
        completion += told;
    }
    batch_iterator_finish(&walk);
    if (rc == 0) {
        stage_batch_release(stage, from);
        return;
    }
    from->builder.count -= dealt;
    from->completion_count -= completion;
    memmove(from->completions, from->completions + completion,
            (size_t)from->completion_count * sizeof(*from->completions));
    batch_fail(from, rc, ret_failed);
}

/* A whole waiting batch finds its lane. */
static void batch_route(struct stage *stage, struct emit_topic *topic, struct emit_batch *batch,
                        struct list *ret_failed)
{
    uint32_t partition = batch->route == LANE_UNROUTED ? 0 : batch->route;
    bool memory = batch->lane->memory || topic->memory, wake;
    struct emit_lane *lane;

    if (batch->route == LANE_UNROUTED && topic->partition_count > 1) {
        batch_deal(stage, topic, batch, ret_failed);
    } else if (partition >= topic->partition_count) {
        batch_fail(batch, CRIER_EINVAL, ret_failed);
    } else if (!(lane = stage_lane_get(&topic->lanes[2 * partition + memory], topic, partition, memory))) {
        batch_fail(batch, CRIER_ENOMEM, ret_failed);
    } else {
        stage_close_open(lane); /* what was dealt there before goes before */
        batch->lane = lane;
        batch->route = LANE_UNROUTED;
        list_append(&lane->closed, &batch->link);
        stage_lane_touch(stage, lane, &wake);
    }
}

static void unrouted_take(struct emit_topic *topic, bool memory, struct list *to)
{
    struct emit_lane *lane = topic->unrouted[memory];

    list_init(to);
    if (!lane)
        return;
    stage_close_open(lane);
    list_move_all(&lane->closed, to);
    list_remove(&lane->fresh);
}

/* The same topic, asked for again because the broker no longer knew its partitions. */
static void partition_ids_renew(struct emit_topic *topic, const uint64_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < topic->partition_count; i++) {
        topic->partition_ids[i] = ids[i];
        for (uint32_t memory = 0; memory < 2; memory++)
            if (topic->lanes[2 * i + memory])
                topic->lanes[2 * i + memory]->partition_id = ids[i];
    }
}

int stage_topic_known(struct stage *stage, struct emit_topic *topic, uint64_t *ids, uint32_t count,
                      bool memory, struct list *ret_failed)
{
    struct list waiting, *link;

    if (topic->known) {
        partition_ids_renew(topic, ids, count);
        topic->memory = memory;
        free(ids);
        return 0;
    }
    if (!(topic->lanes = calloc(2 * (size_t)count, sizeof(*topic->lanes)))) {
        free(ids);
        return CRIER_ENOMEM;
    }
    topic->partition_ids = ids;
    topic->partition_count = count;
    topic->memory = memory;
    topic->known = true;
    for (int level = 0; level < 2; level++) {
        unrouted_take(topic, level, &waiting);
        while ((link = list_take(&waiting)))
            batch_route(stage, topic, LIST_ENTRY(link, struct emit_batch, link), ret_failed);
        free(topic->unrouted[level]); /* empty for good */
        topic->unrouted[level] = NULL;
    }
    return 0;
}

void stage_topic_failed(struct emit_topic *topic, int code, struct list *ret_failed)
{
    struct list waiting, *link;

    for (int level = 0; level < 2; level++) {
        unrouted_take(topic, level, &waiting);
        while ((link = list_take(&waiting)))
            batch_fail(LIST_ENTRY(link, struct emit_batch, link), code, ret_failed);
    }
}

/* ---- another log ---- */

static void batches_forget(struct list *batches, struct list *ret_failed)
{
    struct list *link;

    while ((link = list_take(batches))) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        batch_fail(batch, batch->maybe_stored ? CRIER_EUNKNOWN : CRIER_ENOTOPIC, ret_failed);
    }
}

static void lane_forget(struct emit_lane *lane, struct list *ret_failed)
{
    struct list *places[] = {&lane->fresh,   &lane->all,       &lane->sendable,
                             &lane->revisit, &lane->lingering, &lane->retrying};

    batches_forget(&lane->batches, ret_failed);
    stage_close_open(lane);
    batches_forget(&lane->closed, ret_failed);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        list_remove(places[i]);
    free(lane);
}

static void topic_forget(struct stage *stage, struct emit_topic *topic, struct list *ret_failed)
{
    bool wake;

    for (uint32_t i = 0; topic->known && i < 2 * topic->partition_count; i++)
        if (topic->lanes[i])
            lane_forget(topic->lanes[i], ret_failed);
    free(topic->lanes);
    free(topic->partition_ids);
    free(topic->answer_ids);
    topic->lanes = NULL;
    topic->partition_ids = topic->answer_ids = NULL;
    topic->partition_count = topic->turn = 0;
    topic->known = topic->memory = false;
    if (topic->state == EMIT_TOPIC_KNOWN || list_is_linked(&topic->link))
        topic->state = EMIT_TOPIC_NEW; /* else the question is still under way, to the new log */
    list_remove(&topic->link);
    for (int level = 0; level < 2; level++)
        if (topic->unrouted[level])
            stage_lane_touch(stage, topic->unrouted[level],
                             &wake); /* these never had a partition: ask again */
}

void stage_forget_topics(struct stage *stage, struct list *ret_failed)
{
    for (size_t i = 0; i < stage->bucket_count; i++)
        for (struct emit_topic *topic = stage->buckets[i]; topic; topic = topic->next)
            topic_forget(stage, topic, ret_failed);
}
