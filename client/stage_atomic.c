/* stage_atomic.c: an atomic emit is checked, copied and, when its topics are known, built. See atomic.h.
 *
 * Thread:   any, with the emit lock (stage_emit_atomic); the I/O thread in engine_collect, with it too (the rest).
 *
 * Happy path:  stage_emit_atomic -> events_copy -> stage.atomics_fresh -> wake; later stage_atomic_build
 * Failures:    as stage.c: nothing was emitted. A position that does not grow: CRIER_EINVAL. */
#include "client/atomic.h"
#include "client/stage_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* ---- emitting ---- */

/* Bytes of what an event points to. */
static size_t payload_size(const struct stage_event *event)
{
    size_t size = event->key_size + event->value_size + event->header_count * sizeof(struct batch_pair);

    for (size_t i = 0; i < event->header_count; i++)
        size += event->headers[i].key_size + event->headers[i].value_size;
    return size;
}

static const void *bytes_copy(uint8_t **at, const void *from, size_t size)
{
    uint8_t *to = *at;

    if (!from)
        return NULL;
    if (size > 0)
        memcpy(to, from, size);
    *at += size;
    return to;
}

/* headers: where the arrays of pairs go; at: the bytes. Both move on. */
static void event_copy(struct atomic_event *to, const struct stage_event *from, struct batch_pair **headers,
                       uint8_t **at)
{
    to->timestamp_ms = from->timestamp_ms;
    to->size_max = from->size_max;
    to->key_size = from->key_size;
    to->key = bytes_copy(at, from->key, from->key_size);
    to->value_size = from->value_size;
    to->value = bytes_copy(at, from->value, from->value_size);
    to->headers = *headers;
    to->header_count = from->header_count;
    for (size_t i = 0; i < from->header_count; i++) {
        const struct batch_pair *pair = &from->headers[i];
        *(*headers)++ = (struct batch_pair){bytes_copy(at, pair->key, pair->key_size), pair->key_size,
                                            bytes_copy(at, pair->value, pair->value_size), pair->value_size};
    }
}

/* Checks every event; the sizes they need, of which headers and bytes apart. */
static int events_check(struct stage *stage, const struct crier_atomic_event *events, size_t count,
                        int64_t timestamp_ms, size_t *ret_headers, size_t *ret_size)
{
    struct stage_event event;
    struct emit_topic *topic;
    int rc = 0;

    *ret_headers = *ret_size = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct crier_emit_options *options = events[i].options;
        if (!events[i].topic || (options && options->done))
            return CRIER_EINVAL; /* the whole is told, by options of its own */
        if (options && options->durability != CRIER_DURABLE)
            return CRIER_EINVAL;
        rc = stage_event_make(stage, events[i].value, events[i].value_size, options, timestamp_ms, &event);
        if (rc == 0)
            rc = stage_topic_get(stage, events[i].topic, &topic);
        *ret_headers += event.header_count;
        *ret_size += rc == 0 ? payload_size(&event) : 0;
    }
    return rc;
}

static void consumed_copy(struct atomic_emit *atomic, const struct crier_consumed *consumed, size_t count)
{
    atomic->consumed_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        atomic->consumed[i] = (struct atomic_consumed){.assignment = consumed[i].assignment,
                                                       .position = consumed[i].offset + 1};
}

static struct atomic_emit *atomic_copy(struct stage *stage, const struct crier_atomic_event *events,
                                       size_t count, size_t consumed_count, int64_t timestamp_ms,
                                       size_t header_count, size_t size)
{
    struct atomic_emit *atomic = calloc(1, sizeof(*atomic) + count * sizeof(atomic->events[0]) +
                                               consumed_count * sizeof(struct atomic_consumed) + size);
    struct batch_pair *headers;
    uint8_t *at;

    if (!atomic)
        return NULL;
    atomic->consumed = (struct atomic_consumed *)(void *)&atomic->events[count];
    headers = (struct batch_pair *)(void *)(atomic->consumed + consumed_count);
    at = (uint8_t *)(headers + header_count);
    atomic->event_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct crier_emit_options *options = events[i].options;
        struct atomic_event *to = &atomic->events[i];
        struct stage_event event;
        CHECK(stage_event_make(stage, events[i].value, events[i].value_size, options, timestamp_ms, &event) ==
              0);
        CHECK(stage_topic_get(stage, events[i].topic, &to->topic) == 0);
        event_copy(to, &event, &headers, &at);
        to->route = options && options->partition >= 0 ? (uint32_t)options->partition : LANE_UNROUTED;
        to->expects = options && options->expects;
        to->expected_offset = to->expects ? options->expected_offset : 0;
    }
    return atomic;
}

static int position_check(const struct stage *stage, const struct crier_atomic_options *options)
{
    uint64_t position = options ? options->source_position : 0;

    if (stage->fenced)
        return CRIER_EFENCED;
    if (stage->named)
        return position > stage->atomic_last ? 0 : CRIER_EINVAL;
    return position == 0 ? 0 : CRIER_EINVAL;
}

/* Something is emitted, or consumed at least. */
static bool counts_are_valid(size_t count, const struct crier_atomic_options *options)
{
    size_t consumed_count = options ? options->consumed_count : 0;

    if (count > CRIER_ATOMIC_EVENTS_MAX || consumed_count > CRIER_ATOMIC_EVENTS_MAX)
        return false;
    for (size_t i = 0; i < consumed_count; i++)
        if (!options->consumed || options->consumed[i].assignment == 0 ||
            options->consumed[i].offset == UINT64_MAX)
            return false;
    return count > 0 || consumed_count > 0;
}

int stage_emit_atomic(struct stage *stage, const struct crier_atomic_event *events, size_t count,
                      const struct crier_atomic_options *options, int64_t timestamp_ms, bool *ret_wake)
{
    size_t consumed_count = options ? options->consumed_count : 0;
    size_t header_count, size, charged;
    struct atomic_emit *atomic;
    int rc;

    *ret_wake = false;
    if (stage->closed)
        return CRIER_ECLOSED;
    if (!counts_are_valid(count, options))
        return CRIER_EINVAL;
    if ((rc = position_check(stage, options)) < 0 ||
        (rc = events_check(stage, events, count, timestamp_ms, &header_count, &size)) < 0)
        return rc;
    charged = sizeof(*atomic) + count * (sizeof(atomic->events[0]) + BATCH_HEADER_SIZE) +
              consumed_count * sizeof(struct atomic_consumed) + 2 * size;
    if (charged > stage->buffer_size_max)
        return CRIER_ETOOBIG;
    if (stage->pending_bytes > stage->buffer_size_max - charged) {
        stage_drain_want(stage, stage->buffer_size_max - charged);
        return CRIER_EAGAIN;
    }
    if (!(atomic = atomic_copy(stage, events, count, consumed_count, timestamp_ms, header_count, size)))
        return CRIER_ENOMEM;
    if (consumed_count > 0)
        consumed_copy(atomic, options->consumed, consumed_count);
    atomic->charged = charged;
    atomic->done = options ? options->done : NULL;
    atomic->ctx = options ? options->ctx : NULL;
    atomic->position = stage->named && options ? options->source_position : stage->atomic_last + 1;
    atomic->ticket = stage->ticket_next++;
    stage->atomic_last = atomic->position;
    stage->pending_bytes += charged;
    stage->stats.emitted += count;
    list_append(&stage->atomics, &atomic->age);
    list_append(&stage->atomics_fresh, &atomic->link);
    *ret_wake = !stage->woken;
    stage->woken = true;
    return 0;
}

void stage_atomic_release(struct stage *stage, struct atomic_emit *atomic)
{
    for (uint32_t i = 0; i < atomic->part_count; i++)
        free(atomic->parts[i].data);
    free(atomic->parts);
    list_remove(&atomic->age);
    stage->pending_bytes -= atomic->charged;
    free(atomic);
}

/* ---- building ---- */

/* Events and where they go, while an emit is built. */
struct building {
    const struct stage *stage;
    struct atomic_emit *atomic;
    uint64_t *ids; /* per event */
};

static int events_route(struct building *building)
{
    for (uint32_t i = 0; i < building->atomic->event_count; i++) {
        const struct atomic_event *event = &building->atomic->events[i];
        uint32_t partition =
            stage_partition_choose(building->stage, event->topic, event->key, event->key_size, event->route);
        if (partition >= event->topic->partition_count)
            return CRIER_EINVAL;
        building->ids[i] = event->topic->partition_ids[partition];
    }
    return 0;
}

/* The batch of all events from `first` on that go to its partition. */
static int part_build(const struct building *building, uint32_t first, struct atomic_part *part)
{
    const struct atomic_emit *atomic = building->atomic;
    struct batch_builder builder;
    size_t size = BATCH_HEADER_SIZE;

    part->partition_id = building->ids[first];
    for (uint32_t i = first; i < atomic->event_count; i++) {
        const struct atomic_event *event = &atomic->events[i];
        if (building->ids[i] != part->partition_id)
            continue;
        size += event->size_max;
        if (event->expects && part->expects && event->expected_offset != part->expected_offset)
            return CRIER_EINVAL;
        if (event->expects)
            part->expected_offset = event->expected_offset;
        part->expects |= event->expects;
    }
    if (!(part->data = malloc(size)))
        return CRIER_ENOMEM;
    batch_builder_init(&builder, part->data, size);
    for (uint32_t i = first; i < atomic->event_count; i++) {
        const struct atomic_event *event = &atomic->events[i];
        if (building->ids[i] == part->partition_id)
            CHECK(batch_builder_append(&builder, event->timestamp_ms, event->key, event->key_size,
                                       event->value, event->value_size, event->headers,
                                       event->header_count) == 0);
    }
    part->size = batch_builder_finish(&builder, -1, -1, -1);
    return 0;
}

static bool is_built(const struct atomic_emit *atomic, uint64_t id)
{
    for (uint32_t i = 0; i < atomic->part_count; i++)
        if (atomic->parts[i].partition_id == id)
            return true;
    return false;
}

int stage_atomic_build(const struct stage *stage, struct atomic_emit *atomic)
{
    size_t size = atomic->event_count ? atomic->event_count : 1; /* none: positions alone */
    struct building building = {stage, atomic, malloc(size * sizeof(uint64_t))};
    int rc = CRIER_ENOMEM;

    atomic->parts = calloc(size, sizeof(*atomic->parts));
    if (building.ids && atomic->parts)
        rc = events_route(&building);
    for (uint32_t i = 0; rc == 0 && i < atomic->event_count; i++) {
        if (is_built(atomic, building.ids[i]))
            continue;
        rc = part_build(&building, i, &atomic->parts[atomic->part_count++]);
        atomic->attachment_size += atomic->parts[atomic->part_count - 1].size;
    }
    free(building.ids);
    return rc;
}
