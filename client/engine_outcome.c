/* engine_outcome.c: what became of the batches that were sent: EMITTED, refusals, lost connections.
 *
 * Role:     tells emitters, exactly once per event, and decides what is sent again and how.
 * Thread:   the I/O thread, without the lock; settled batches go back to the stage with the next engine_collect.
 *
 * Happy path:  emit_emitted -> part_outcome OK -> batch_settle -> done callbacks
 * Failures, per lane (so that order is kept, nothing more goes until everything in flight has an outcome; then
 * lane_recover sends what is left, from the oldest):
 *   refused, retriable      the same bytes again, after a delay (the disk is full, ...)
 *   refused for good        its events fail; the batches after it, which the broker refused for the gap, are renumbered
 *   refused for a gap       behind a refused batch: sent again. In front: the broker has lost count: a new producer id
 *   unknown                 the same bytes again; they are never changed, since they may be stored. Behind a refused one they
 *                           are not, whatever the broker says: as refused for a gap
 *   connection lost         what was in flight may be stored: the same bytes again, the broker tells duplicates apart
 * Memory batches carry no numbers: they are sent once, and fail with CRIER_EUNKNOWN when no answer comes. */
#include "client/emit_internal.h"

#include "base/check.h"
#include "client/atomic.h"

#include <stdlib.h>

/* ---- telling ---- */

static void batch_settle(struct engine *engine, struct emit_batch *batch, int code, int64_t base_offset,
                         const char *text)
{
    int32_t untold = batch->time.done ? 0 : batch->builder.count - batch->completion_count;

    list_remove(&batch->link);
    batch->settled = true;
    list_append(&engine->settled, &batch->link);
    if (code == 0)
        engine->acked += (uint64_t)batch->builder.count;
    else
        engine->failed += (uint64_t)batch->builder.count;
    for (int32_t i = 0; i < batch->completion_count; i++) {
        const struct emit_completion *completion = &batch->completions[i];
        uint64_t offset = base_offset < 0 ? UINT64_MAX : (uint64_t)base_offset + (uint64_t)completion->index;
        completion->done(engine->config.bus, code, offset, completion->ctx);
    }
    if (batch->time.done)
        batch->time.done(engine->config.bus, code, code == 0 ? &batch->schedule : NULL, batch->time.ctx);
    if (code < 0 && untold > 0)
        engine_error(engine, code, "%d event%s to %s failed: %s", untold, untold == 1 ? "" : "s",
                     batch->topic->name, text && *text ? text : error_text(code));
}

void emit_callbacks(struct engine *engine)
{
    struct list *link;

    atomic_callbacks(engine);
    while ((link = list_take(&engine->failing))) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        batch_settle(engine, batch, batch->failure, -1, NULL);
    }
    if (engine->drain_due) {
        engine->drain_due = false;
        engine->ops->drain(engine->ops_ctx);
    }
}

/* ---- lanes ---- */

static bool batch_is_first(const struct emit_batch *batch)
{
    return batch->lane->batches.next == &batch->link;
}

static bool batch_is_behind(const struct emit_batch *batch, int32_t sequence)
{
    uint32_t distance = ((uint32_t)batch->base_sequence - (uint32_t)sequence) & INT32_MAX;

    return distance > 0 && distance < INT32_MAX / 2;
}

/* Was it sent after one that was refused, or may have been? Then the broker refuses it for the gap, whatever else it says. */
static bool batch_is_behind_refused(const struct emit_batch *batch)
{
    return batch->lane->refused && batch_is_behind(batch, batch->lane->refused_from);
}

/* Was it sent after one that is not stored? Then it is not either: that would be a gap. */
static bool batch_is_behind_hole(const struct emit_batch *batch)
{
    return batch->lane->hole && batch_is_behind(batch, batch->lane->hole_from);
}

static void lane_refuse(struct emit_lane *lane, const struct emit_batch *batch)
{
    if (!batch_is_behind_refused(batch))
        lane->refused_from = batch->base_sequence;
    lane->refused = true;
}

static void lane_hole(struct emit_lane *lane, const struct emit_batch *batch)
{
    if (!batch_is_behind_hole(batch))
        lane->hole_from = batch->base_sequence;
    lane->hole = true;
}

static void lane_forgive(struct emit_lane *lane)
{
    lane->refused = lane->hole = false;
}

void emit_retry_arm(struct engine *engine)
{
    if (engine->retry_due != ENGINE_NEVER)
        return;
    engine->retry_due = engine->now + engine->retry_delay / 2 +
                        (int64_t)random_below(&engine->random, (uint64_t)engine->retry_delay / 2 + 1);
    engine->retry_delay = time_min(2 * engine->retry_delay, ENGINE_RETRY_DELAY_US_MAX);
}

/* Answers come in any order: what is stored may be ahead of an older batch that still waits for its answer. */
static int32_t sequence_not_before(int32_t sequence, int32_t stored)
{
    uint32_t ahead = ((uint32_t)stored - (uint32_t)sequence) & INT32_MAX;

    return ahead < INT32_MAX / 2 ? stored : sequence;
}

/* Numbers what is left without gaps behind what is stored; bytes that may be stored keep theirs. */
static void lane_number(const struct engine *engine, struct emit_lane *lane)
{
    int32_t sequence = lane->stored_sequence;

    for (struct list *link = lane->batches.next; link != &lane->batches; link = link->next) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        if (batch->size == 0)
            break; /* and none after it: numbered when they are finished */
        sequence =
            batch->maybe_stored ? batch->base_sequence : sequence_not_before(sequence, lane->stored_sequence);
        if (!batch->maybe_stored)
            batch_renumber(batch->data, batch->size, (int64_t)engine->producer_id,
                           (int16_t)engine->producer_epoch, sequence);
        batch->base_sequence = sequence;
        sequence = sequence_after(sequence, batch->builder.count);
    }
    lane->next_sequence = sequence_not_before(sequence, lane->stored_sequence);
}

static void lane_rewind(struct emit_lane *lane)
{
    lane->unsent =
        list_is_empty(&lane->batches) ? NULL : LIST_ENTRY(lane->batches.next, struct emit_batch, link);
}

/* A memory batch carries no numbers, so the broker could not tell that it comes twice: it is sent once, and without a
 * clear answer its outcome is unknown. */
static void memory_lane_disconnected(struct engine *engine, struct emit_lane *lane)
{
    for (struct list *link = lane->batches.next, *next; link != &lane->batches; link = next) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        next = link->next;
        if (batch->in_flight)
            batch_settle(engine, batch, CRIER_EUNKNOWN, -1, NULL);
    }
}

/* Everything that was in flight has an outcome: send what is left, from the oldest. */
static void lane_recover(struct engine *engine, struct emit_lane *lane)
{
    lane_forgive(lane);
    if (!lane->memory)
        lane_number(engine, lane);
    lane_rewind(lane);
    if (lane->retry) {
        list_append(&engine->retrying, &lane->retrying);
        emit_retry_arm(engine);
    }
}

void emit_lane_disconnected(struct engine *engine, struct emit_lane *lane)
{
    if (lane->memory)
        memory_lane_disconnected(engine, lane);
    for (struct list *link = lane->batches.next; link != &lane->batches; link = link->next) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        if (batch->in_flight && !batch_is_behind_hole(batch))
            batch->maybe_stored = true;
        batch->in_flight = false;
    }
    lane->in_flight = 0;
    lane->retry = false;
    if (lane->refused && !lane->memory)
        lane_number(engine, lane); /* one that failed for good may have left a gap */
    lane_forgive(lane);
    lane_rewind(lane);
}

void emit_lane_renumber(struct engine *engine, struct emit_lane *lane)
{
    for (struct list *link = lane->batches.next, *next; link != &lane->batches; link = next) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        next = link->next;
        if (batch->maybe_stored)
            batch_settle(engine, batch, CRIER_EUNKNOWN, -1, NULL);
    }
    lane->stored_sequence = 0;
    lane_number(engine, lane);
    lane_rewind(lane);
}

/* What is behind what has been sent. */
static struct emit_batch *lane_first_unsent(struct emit_lane *lane)
{
    for (struct list *link = lane->batches.next; link != &lane->batches; link = link->next)
        if (!LIST_ENTRY(link, struct emit_batch, link)->in_flight)
            return LIST_ENTRY(link, struct emit_batch, link);
    return NULL;
}

static void lane_moved(struct engine *engine, struct emit_lane *lane)
{
    struct list *link = lane->batches.next, *next;

    for (; link != &lane->batches; link = next) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, link);
        next = link->next;
        if (!batch->maybe_stored || batch->in_flight)
            continue;
        batch->failure = CRIER_EUNKNOWN;
        list_remove(&batch->link);
        list_append(&engine->failing, &batch->link);
    }
    if (lane->in_flight == 0) {
        lane->stored_sequence = 0;
        lane_number(engine, lane);
    }
    lane->unsent = lane_first_unsent(lane);
    if (!lane->unsent)
        list_remove(&lane->sendable);
    emit_lane_changed(engine, lane);
}

void emit_topic_moved(struct engine *engine, const struct emit_topic *topic, const uint64_t *ids,
                      uint32_t count)
{
    for (uint32_t i = 0; topic->known && i < count && i < topic->partition_count; i++) {
        struct emit_lane *lane = topic->lanes[2 * i]; /* memory batches have no numbers */
        if (lane && lane->partition_id != ids[i])
            lane_moved(engine, lane);
    }
}

/* ---- outcomes ---- */

/* What a refusal means for the batch. */
enum verdict {
    RESEND,       /* nothing wrong with it: it stood behind a refused one */
    RESEND_LATER, /* the same bytes, after a delay */
    RENEW,        /* the broker has lost count of this producer */
    FAIL,
    FAIL_UNKNOWN /* it was sent before, and that outcome will never be known */
};

static enum verdict refusal_judge(const struct emit_batch *batch, int code)
{
    bool sequenced = !batch->lane->memory;

    if (sequenced && code == CRIER_ESEQUENCE && (!batch_is_first(batch) || batch_is_behind_refused(batch)))
        return RESEND;
    if (error_retriable(code) || (batch->maybe_stored && code == CRIER_EIO))
        return RESEND_LATER; /* EIO says nothing about the time before it: after a restart the broker knows more */
    if (batch->maybe_stored && sequenced)
        return FAIL_UNKNOWN;
    return sequenced && code == CRIER_ESEQUENCE ? RENEW : FAIL;
}

/* Everything before `after` is stored. Answers come in any order: it never goes back. */
static void lane_stored(struct emit_lane *lane, int32_t after)
{
    uint32_t distance = ((uint32_t)after - (uint32_t)lane->stored_sequence) & INT32_MAX;

    if (distance < INT32_MAX / 2)
        lane->stored_sequence = after;
}

void emit_topic_again(struct engine *engine, struct emit_topic *topic)
{
    enum emit_topic_state state = topic->state;

    if (state == EMIT_TOPIC_ASKED || topic->inbox)
        return;
    topic->state = EMIT_TOPIC_ASKED;
    if (request_topic(engine, topic) < 0)
        topic->state = state;
}

static void batch_refused(struct engine *engine, struct emit_batch *batch, int code, const char *text)
{
    struct emit_lane *lane = batch->lane;

    lane_refuse(lane, batch);
    if (!batch->maybe_stored)
        lane_hole(lane, batch);
    switch (refusal_judge(batch, code)) {
    case RESEND:
        break;
    case RESEND_LATER:
        lane->retry = true;
        break;
    case RENEW:
        engine->producer_renew = true;
        break;
    case FAIL_UNKNOWN:
        engine->producer_renew =
            true; /* whether its numbers are taken is not known either: nobody else gets them, */
        lane_stored(lane, sequence_after(batch->base_sequence,
                                         batch->builder.count)); /* also if the new epoch is put off */
        batch_settle(engine, batch, CRIER_EUNKNOWN, -1, text);
        break;
    case FAIL:
        if (code == CRIER_ENOTOPIC)
            emit_topic_again(engine, lane->topic);
        batch_settle(engine, batch, code, -1, text);
        break;
    }
}

static void part_outcome(struct engine *engine, struct emit_batch *batch, const Wire__EmittedPart *part,
                         const char *text)
{
    struct emit_lane *lane = batch->lane;

    batch->in_flight = false;
    lane->in_flight--;
    switch (part->outcome) {
    case WIRE__OUTCOME__OK:
        if (!lane->memory)
            lane_stored(lane, sequence_after(batch->base_sequence, batch->builder.count));
        engine->retry_delay = ENGINE_RETRY_DELAY_US;
        batch->schedule = (crier_schedule){part->due_us, part->schedule};
        batch_settle(engine, batch, 0, lane->memory ? -1 : part->base_offset, NULL);
        break;
    case WIRE__OUTCOME__REFUSED:
        batch_refused(engine, batch, part->code < 0 ? part->code : CRIER_EPROTO, text);
        break;
    default: /* UNKNOWN, and whatever a later version says */
        if (lane->memory) {
            batch_settle(engine, batch, CRIER_EUNKNOWN, -1, text);
            break;
        }
        batch->maybe_stored = batch->maybe_stored || !batch_is_behind_hole(batch);
        lane_refuse(lane, batch);
        lane->retry = true;
        break;
    }
    if (lane->refused && lane->in_flight == 0)
        lane_recover(engine, lane);
    emit_lane_changed(engine, lane);
}

void emit_emitted(struct engine *engine, const Wire__Emitted *emitted)
{
    struct emit_frame *frame = NULL;

    for (struct list *link = engine->unanswered.next; link != &engine->unanswered && !frame;
         link = link->next)
        if (LIST_ENTRY(link, struct emit_frame, link)->request == emitted->request)
            frame = LIST_ENTRY(link, struct emit_frame, link);
    if (!frame || emitted->n_parts != frame->part_count || frame->end > engine->output.consumed) {
        engine_fail(engine, CRIER_EPROTO, "the broker answered an EMIT that was not sent like that");
        return;
    }
    list_remove(&frame->link);
    engine->unanswered_count--;
    if (frame->atomic)
        atomic_emitted(engine, frame, (int)emitted->parts[0]->outcome, emitted->parts[0]->code,
                       emitted->parts[0]->base_offset, emitted->text);
    for (uint32_t i = 0; !frame->atomic && i < frame->part_count; i++)
        part_outcome(engine, frame->parts[i], emitted->parts[i], emitted->text);
    free(frame);
}

void emit_refuse_unsent(struct engine *engine, struct emit_batch *batch, int code)
{
    struct emit_lane *lane = batch->lane;

    lane->unsent =
        batch->link.next == &lane->batches ? NULL : LIST_ENTRY(batch->link.next, struct emit_batch, link);
    batch_refused(engine, batch, code, NULL);
    if (lane->in_flight == 0)
        lane_recover(engine, lane);
    emit_lane_changed(engine, lane);
}

void emit_drop(struct engine *engine, int code)
{
    atomic_drop(engine, code);
    for (struct list *link = engine->stage.batches.next; link != &engine->stage.batches; link = link->next) {
        struct emit_batch *batch = LIST_ENTRY(link, struct emit_batch, age);
        if (batch->settled)
            continue;
        if (batch->lane && batch->lane->open == batch)
            batch->lane->open = NULL;
        batch_settle(engine, batch, batch->in_flight || batch->maybe_stored ? CRIER_EUNKNOWN : code, -1,
                     NULL);
    }
}
