/* engine_leased.c: a shared group's events, from DELIVER to handlers.
 *
 * Role:     a DELIVER names ranges that are leased to this member, in batches that have others', too. The last batch of each
 *           partition stays here, since further ranges of it may come without bytes; where the walk through it stood
 *           stays as well, so that a batch is walked (and decompressed) once, however many ranges it comes in.
 * Thread:   the I/O thread.
 * Owns:     struct shared, shared_partition, shared_ranges.
 *
 * Happy path:  listen_deliver -> leased_arrived -> engine_dispatch -> leased_run -> the handler -> leased_outcome ->
 *              settle_add (engine_settle.c)
 * Failures:    a handler fails: NACK. A batch is damaged: the same, for all of its events; another member may have better luck,
 *              and if not they die. The connection goes: what has arrived is kept and named to the broker (settle_held). */
#include "client/leased.h"

#include "client/engine_internal.h"
#include "client/event_internal.h"
#include "client/struct_size.h"
#include "proto/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNCOMPRESSED_SIZE_MAX (64u * 1024 * 1024) /* of one batch */

/* ---- making one ---- */

bool leased_options_are_valid(const struct crier_shared_options *options)
{
    struct crier_shared_options copy = crier_shared_options_default();

    return struct_take(&copy, sizeof(copy), options) && copy.lease_ms <= CRIER_LEASE_MS_MAX &&
           copy.max_in_flight <= CRIER_IN_FLIGHT_MAX;
}

struct shared *leased_make(const struct crier_shared_options *options)
{
    struct shared *shared = calloc(1, sizeof(*shared));

    if (!shared)
        return NULL;
    shared->options = crier_shared_options_default();
    (void)struct_take(&shared->options, sizeof(shared->options), options);
    list_init(&shared->unsent);
    shared->extend_due = ENGINE_NEVER;
    return shared;
}

static void walk_leave(struct shared_partition *partition)
{
    if (!partition->walk_buffer)
        return;
    batch_iterator_finish(&partition->walk);
    buffer_unref(partition->walk_buffer);
    partition->walk_buffer = NULL;
    partition->walked = NULL;
}

static void last_forget(struct shared_partition *partition)
{
    if (partition->buffer)
        buffer_unref(partition->buffer);
    partition->buffer = NULL;
    partition->last = NULL;
}

void leased_partition_free(struct shared_partition *partition)
{
    if (!partition)
        return;
    walk_leave(partition);
    last_forget(partition);
    free(partition->later);
    free(partition);
}

bool leased_partitions_kept(struct crier_listener *listener, const Wire__Listening *listening)
{
    if (listener->partition_count != listening->n_partitions)
        return false;
    for (size_t i = 0; i < listening->n_partitions; i++)
        if (listener->partitions[i]->id != listening->partitions[i]->partition)
            return false;
    for (size_t i = 0; i < listening->n_partitions; i++)
        last_forget(listener->partitions[i]->shared); /* the broker has forgotten what it sent before */
    return listening->n_partitions > 0;
}

/* ---- in ---- */

static bool ranges_read(struct shared_ranges *ranges, const Wire__Deliver *deliver)
{
    uint64_t next = 0;

    for (size_t i = 0; i < deliver->n_ranges; i++) {
        const Wire__Range *from = deliver->ranges[i];
        uint64_t offset = deliver->base_offset + from->delta;
        if (deliver->base_offset > INT64_MAX || from->count == 0 || from->attempt == 0 || offset < next ||
            from->count > CRIER_IN_FLIGHT_MAX)
            return false;
        next = offset + from->count;
        ranges->range[i] = (struct shared_range){offset, from->count, from->attempt};
    }
    return true;
}

struct shared_ranges *leased_ranges_make(struct engine *engine, const Wire__Deliver *deliver)
{
    size_t size = sizeof(struct shared_ranges) + deliver->n_ranges * sizeof(struct shared_range);
    struct shared_ranges *ranges = malloc(size);

    if (!ranges) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for a delivery");
        return NULL;
    }
    ranges->at = 0;
    ranges->count = deliver->n_ranges;
    if (deliver->n_ranges > 0 && ranges_read(ranges, deliver))
        return ranges;
    free(ranges);
    engine_fail(engine, CRIER_EPROTO, "a delivery to a shared group's member that makes no sense");
    return NULL;
}

/* The last batch of an attachment; NULL: its lengths make no sense. */
static const uint8_t *batch_last(const uint8_t *data, size_t size, size_t *ret_size)
{
    const uint8_t *last = NULL;

    while (size > 0) {
        struct batch_header header;
        int64_t here = batch_header_decode(data, size, &header);
        if (here <= 0)
            return NULL;
        last = data;
        *ret_size = (size_t)here;
        data += here;
        size -= (size_t)here;
    }
    return last;
}

bool leased_arrived(struct engine *engine, struct delivery *delivery, const struct frame *frame, bool held)
{
    struct shared_partition *partition = delivery->partition->shared;

    if (held != (frame->attachment_size == 0) || (held && !partition->last)) {
        engine_fail(engine, CRIER_EPROTO, "a delivery of events whose batch is not here");
        return false;
    }
    if (held) {
        delivery->buffer = buffer_ref(partition->buffer);
        delivery->data = partition->last;
        delivery->size = partition->last_size;
        return true;
    }
    last_forget(partition);
    partition->last = batch_last(frame->attachment, frame->attachment_size, &partition->last_size);
    partition->buffer = partition->last ? buffer_ref(engine->input.buffer) : NULL;
    delivery->buffer = buffer_ref(engine->input.buffer);
    delivery->data = frame->attachment;
    delivery->size = frame->attachment_size;
    return true;
}

/* ---- the walk ---- */

/* Begins with the batch at delivery->data. 0, or why not. */
static int walk_begin(struct delivery *delivery, size_t size)
{
    struct shared_partition *partition = delivery->partition->shared;
    int rc;

    walk_leave(partition);
    if (!batch_crc_matches(delivery->data, size))
        return CRIER_ECORRUPT;
    if ((rc = batch_iterator_init(&partition->walk, delivery->data, size, UNCOMPRESSED_SIZE_MAX)) < 0)
        return rc;
    partition->walk_buffer = buffer_ref(delivery->buffer);
    partition->walked = delivery->data;
    return 0;
}

/* The event at `offset`, in this batch or one of the delivery behind it. 1, 0 (there is none), or CRIER_ECORRUPT, CRIER_ENOMEM, ... */
static int record_find(struct delivery *delivery, uint64_t offset, struct batch_record *ret_record)
{
    struct shared_partition *partition = delivery->partition->shared;
    struct batch_header header;
    int64_t size;
    int rc;

    for (;;) {
        if ((size = batch_header_decode(delivery->data, delivery->size, &header)) <= 0)
            return delivery->size > 0 ? CRIER_ECORRUPT : 0;
        if ((uint64_t)header.base_offset + (uint64_t)header.last_offset_delta >= offset)
            break;
        delivery->data += size;
        delivery->size -= (size_t)size;
    }
    if (offset < (uint64_t)header.base_offset)
        return 0;
    if (partition->walked != delivery->data ||
        (uint64_t)header.base_offset + (uint64_t)(int64_t)partition->walk.delta + 1 > offset)
        if ((rc = walk_begin(delivery, (size_t)size)) < 0)
            return rc;
    while ((rc = batch_iterator_next(&partition->walk, ret_record)) > 0)
        if ((uint64_t)ret_record->offset >= offset)
            return (uint64_t)ret_record->offset == offset;
    return rc;
}

/* ---- handlers ---- */

static void later_add(struct engine *engine, struct shared_partition *partition,
                      const struct shared_range *event)
{
    size_t at = partition->later_count;

    if (partition->later_count == partition->later_capacity) {
        size_t capacity = partition->later_capacity ? 2 * partition->later_capacity : 8;
        struct shared_range *grown = realloc(partition->later, capacity * sizeof(*grown));
        if (!grown) {
            engine_fail(engine, CRIER_ENOMEM, "out of memory for a lease"); /* which runs out, then */
            return;
        }
        partition->later = grown;
        partition->later_capacity = capacity;
    }
    while (at > 0 && partition->later[at - 1].offset > event->offset)
        at--;
    if (at > 0 &&
        partition->later[at - 1].offset == event->offset) { /* an earlier attempt, which has run out */
        partition->later[at - 1] = *event;
        return;
    }
    memmove(&partition->later[at + 1], &partition->later[at], (partition->later_count - at) * sizeof(*event));
    partition->later[at] = *event;
    partition->later_count++;
}

void leased_outcome(struct engine *engine, struct crier_listener *listener,
                    struct listen_partition *partition, const struct shared_range *event, int rc)
{
    struct shared_end end = {.kind = rc < 0 ? FRAME_NACK : FRAME_ACK};
    char reason[64];

    if (rc == ENGINE_NOT_HANDLED)
        return; /* given back with UNLISTEN */
    if (rc == CRIER_LATER) {
        later_add(engine, partition->shared, event);
        return;
    }
    if (rc < 0) {
        snprintf(reason, sizeof(reason), "its handler returned %d", rc);
        end.reason = reason;
    }
    settle_add(engine, listener, partition->id, event, &end);
}

bool leased_taken_settle(struct listen_partition *partition, const struct crier_lease *lease)
{
    for (struct list *link = partition->taken.next; link != &partition->taken; link = link->next) {
        struct engine_taken *taken = LIST_ENTRY(link, struct engine_taken, link);
        if (taken->offset == lease->offset && taken->attempt == lease->attempt && !taken->settled)
            return taken->settled = true;
    }
    return false;
}

static void counted(struct engine *engine, struct crier_listener *listener, int rc)
{
    engine->delivered++;
    atomic_fetch_add_explicit(&listener->delivered, 1, memory_order_relaxed);
    if (rc < 0)
        atomic_fetch_add_explicit(&listener->failed, 1, memory_order_relaxed);
}

/* The first event of the first range is handed out, or will never be. */
static void range_step(struct shared_ranges *ranges)
{
    struct shared_range *range = &ranges->range[ranges->at];

    range->offset++;
    if (--range->count == 0)
        ranges->at++;
}

/* Gives one event to its handler, or to who has them instead. false: it was not taken, or it was the last. */
static bool event_hand(struct engine *engine, struct delivery *delivery, const crier_event *event)
{
    struct crier_listener *listener = delivery->listener;
    struct shared_range one = {event->offset, 1, event->attempt};
    int rc;

    if (listener->divert) {
        if (!engine_divert(engine, delivery, event))
            return false;
        range_step(delivery->ranges);
    } else {
        range_step(delivery->ranges);
        rc = listener->handler(listener->bus, event, listener->ctx);
        engine_called(engine, listener, event);
        counted(engine, listener, rc);
        leased_outcome(engine, listener, delivery->partition, &one, rc);
    }
    if (event->offset >= delivery->partition->next)
        delivery->partition->next = event->offset + 1;
    if (listener->count == UINT64_MAX || --listener->count > 0)
        return true;
    if (listener->divert)
        taken_was_the_last(listener);
    else
        listen_finish_one(engine, listener, 0, "");
    return false;
}

/* What is left of the range cannot be read: it has failed; or was never there: it is done. */
static void range_end(struct engine *engine, struct delivery *delivery, int rc)
{
    struct shared_ranges *ranges = delivery->ranges;
    struct shared_end end = {.kind = rc < 0 ? FRAME_NACK : FRAME_ACK,
                             .reason = rc < 0 ? error_text(rc) : NULL};

    if (rc < 0)
        engine_error(engine, rc, "%s partition %u offset %" PRIu64 " cannot be read: %s",
                     delivery->partition->topic, delivery->partition->index, ranges->range[ranges->at].offset,
                     error_text(rc));
    settle_add(engine, delivery->listener, delivery->partition->id, &ranges->range[ranges->at], &end);
    ranges->at++;
}

size_t leased_run(struct engine *engine, struct delivery *delivery, size_t events_max, bool *ret_done)
{
    struct crier_listener *listener = delivery->listener;
    struct shared_ranges *ranges = delivery->ranges;
    struct batch_record record;
    crier_event event = {.topic = delivery->partition->topic,
                         .partition = delivery->partition->index,
                         .assignment = delivery->partition->assignment,
                         .high_watermark = delivery->partition->high_watermark,
                         .internal = &record};
    size_t ran = 0;
    int rc;

    *ret_done = true;
    while (ranges->at < ranges->count && !atomic_load_explicit(&listener->stopped, memory_order_relaxed)) {
        const struct shared_range *range = &ranges->range[ranges->at];
        if (ran == events_max || (ran > 0 && engine_is_to_yield(engine))) {
            *ret_done = false;
            return ran;
        }
        if ((rc = record_find(delivery, range->offset, &record)) <= 0) {
            range_end(engine, delivery, rc);
            continue;
        }
        event_fill(&event, &record);
        event.attempt = range->attempt;
        ran++;
        if (!event_hand(engine, delivery, &event)) {
            *ret_done = ranges->at == ranges->count || !delivery->listener || delivery->listener->stopped;
            return ran;
        }
    }
    return ran;
}
