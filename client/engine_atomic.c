/* engine_atomic.c: atomic emits on their way out, and what became of them. See atomic.h.
 *
 * Thread:   the I/O thread; atomic_collect with the emit lock.
 * Owns:     engine.atomics, in the order of their positions: [those in flight][unsent ...][not built ...].
 *
 * Happy path:  atomic_collect (built) -> atomic_frame_build -> output -> atomic_emitted -> done
 * Failures, all so that the order of the source is kept: after a refusal or an unknown outcome nothing more goes until
 * everything in flight has an outcome, then what is left goes again, from the oldest.
 *   refused, retriable      the same again, after a delay
 *   refused for good        it fails; what stood on it (CRIER_ESEQUENCE) goes again. CRIER_ENOTOPIC: its topics are asked
 *                           for anew
 *   unknown, or the connection is lost    the same bytes again: the broker tells by the position what it has stored
 *   made from what is another's by now    it fails (engine_consumed.c)
 *   fenced                  with a name: ask HELLO, whose answer is definite; then everything fails, and the bus goes on
 *                           without its name
 * No memory while one is built: it fails with CRIER_ENOMEM. For a frame: the connection is dropped, nothing else. */
#include "client/atomic.h"

#include "base/check.h"
#include "client/emit_internal.h"

#include <stdlib.h>

#define ATOMIC_HEADER_SIZE_MAX 64 /* of Emit, without its parts */
#define ATOMIC_PART_SIZE_MAX   40 /* an EmitPart with an expected offset, its own tag and length */
#define ATOMIC_MOVE_SIZE_MAX   48 /* an EmitPosition, the same */

void atomics_init(struct engine *engine)
{
    list_init(&engine->atomics);
    list_init(&engine->atomics_settled);
}

static struct atomic_emit *atomic_of(struct list *link)
{
    return LIST_ENTRY(link, struct atomic_emit, link);
}

static struct atomic_emit *atomic_after(struct engine *engine, struct atomic_emit *atomic)
{
    return atomic->link.next == &engine->atomics ? NULL : atomic_of(atomic->link.next);
}

static struct atomic_emit *atomic_first(struct engine *engine)
{
    return list_is_empty(&engine->atomics) ? NULL : atomic_of(engine->atomics.next);
}

static void settled_release(struct engine *engine)
{
    struct list *link;

    while ((link = list_take(&engine->atomics_settled)))
        stage_atomic_release(&engine->stage, atomic_of(link));
}

void atomics_finish(struct engine *engine)
{
    struct list *places[] = {&engine->atomics_settled, &engine->atomics, &engine->stage.atomics_fresh};
    struct list *link;

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        while ((link = list_take(places[i])))
            stage_atomic_release(&engine->stage, atomic_of(link));
}

/* ---- telling ---- */

static void settle(struct engine *engine, struct atomic_emit *atomic, int code, int64_t base_offset,
                   const char *text)
{
    if (engine->atomic_unsent == atomic)
        engine->atomic_unsent = atomic_after(engine, atomic);
    list_remove(&atomic->link);
    list_append(&engine->atomics_settled, &atomic->link);
    consumed_settled(engine, atomic, code);
    if (code == 0)
        engine->acked += atomic->event_count;
    else
        engine->failed += atomic->event_count;
    if (atomic->done)
        atomic->done(engine->config.bus, code, base_offset < 0 ? UINT64_MAX : (uint64_t)base_offset,
                     atomic->ctx);
    else if (code < 0)
        engine_error(engine, code, "an atomic emit of %u event%s failed: %s", atomic->event_count,
                     atomic->event_count == 1 ? "" : "s", text && *text ? text : error_text(code));
}

static int code_of(const struct atomic_emit *atomic, int code)
{
    return atomic->in_flight || atomic->maybe_stored ? CRIER_EUNKNOWN : code;
}

static void fail_all(struct engine *engine, int code)
{
    struct atomic_emit *atomic;

    while ((atomic = atomic_first(engine)))
        settle(engine, atomic, code_of(atomic, code), -1, NULL);
    engine->atomic_unsent = engine->atomic_unbuilt = NULL;
    engine->atomic_in_flight = 0;
    engine->atomic_refused = engine->atomic_retry = false;
}

void atomic_callbacks(struct engine *engine)
{
    if (engine->name_lost)
        fail_all(engine, CRIER_EFENCED);
    consumed_continue(engine);
}

/* ---- from the stage ---- */

/* Are all of its topics known? Asks for those that are not. *ret_code: one of them cannot be had. */
static bool topics_known(struct engine *engine, struct atomic_emit *atomic, int *ret_code)
{
    bool known = true;

    for (uint32_t i = 0; i < atomic->event_count; i++) {
        struct emit_topic *topic = atomic->events[i].topic;
        if (topic->known && topic->state != EMIT_TOPIC_ASKED) /* not again, because it was gone */
            continue;
        known = false;
        if (topic->state == EMIT_TOPIC_NEW && atomic->asked && topic->answer_code < 0)
            *ret_code = topic->answer_code;
        else
            emit_topic_want(engine, topic);
    }
    atomic->asked = true;
    return known;
}

/* The oldest that is not built becomes batches. false: it has to wait. */
static bool build_next(struct engine *engine, struct atomic_emit *atomic)
{
    int rc = 0;

    if (atomic->parts || atomic->failure)
        return true;
    if (!topics_known(engine, atomic, &rc) && rc == 0)
        return false;
    if (rc == 0)
        rc = stage_atomic_build(&engine->stage, atomic);
    atomic->failure = rc; /* told outside the lock */
    return true;
}

void atomic_collect(struct engine *engine)
{
    struct list *link;
    struct atomic_emit *atomic;

    settled_release(engine);
    engine->stage.fenced = engine->name_lost;
    while ((link = list_take(&engine->stage.atomics_fresh))) {
        list_append(&engine->atomics, link);
        if (!engine->atomic_unsent)
            engine->atomic_unsent = atomic_of(link);
        if (!engine->atomic_unbuilt)
            engine->atomic_unbuilt = atomic_of(link);
    }
    while ((atomic = engine->atomic_unbuilt) && build_next(engine, atomic))
        engine->atomic_unbuilt = atomic_after(engine, atomic);
}

bool atomic_is_waiting(const struct engine *engine)
{
    return !list_is_empty(&engine->atomics_settled) || engine->stage.fenced != engine->name_lost ||
           (engine->name_lost && !list_is_empty(&engine->atomics)) || engine->consumed_due;
}

/* ---- from emits to frames ---- */

static bool atomic_is_free(const struct engine *engine)
{
    return engine_is_ready(engine) && !engine->atomic_refused && !engine->atomic_retry;
}

static size_t size_needed(const struct atomic_emit *atomic)
{
    return FRAME_PREFIX_SIZE + ATOMIC_HEADER_SIZE_MAX + atomic->part_count * (size_t)ATOMIC_PART_SIZE_MAX +
           atomic->consumed_count * (size_t)ATOMIC_MOVE_SIZE_MAX + atomic->attachment_size;
}

/* The first one that can go; those that cannot ever are settled on the way. NULL: none can now. */
static struct atomic_emit *atomic_next(struct engine *engine)
{
    struct atomic_emit *atomic;
    int rc;

    while (atomic_is_free(engine) && (atomic = engine->atomic_unsent)) {
        if (atomic->failure)
            settle(engine, atomic, code_of(atomic, atomic->failure), -1, NULL);
        else if (!atomic->parts)
            return NULL;
        else if ((rc = consumed_bind(engine, atomic)) < 0)
            settle(engine, atomic, rc, -1, NULL);
        else if (size_needed(atomic) > engine->frame_size_max)
            settle(engine, atomic, code_of(atomic, CRIER_ETOOBIG), -1, NULL);
        else if (emit_has_grant(engine, size_needed(atomic)))
            return atomic;
        else
            return NULL;
    }
    return NULL;
}

/* The positions it moves, as the message has them; freed by the caller, with what they point to. */
static Wire__EmitPosition **moves_make(const struct atomic_emit *atomic, Wire__EmitPosition **ret_block)
{
    Wire__EmitPosition *moves = calloc(atomic->consumed_count + 1, sizeof(*moves));
    Wire__EmitPosition **pointers = calloc(atomic->consumed_count + 1, sizeof(Wire__EmitPosition *));

    for (uint32_t i = 0; moves && pointers && i < atomic->consumed_count; i++) {
        const struct atomic_consumed *consumed = &atomic->consumed[i];
        wire__emit_position__init(&moves[i]);
        moves[i].generation = consumed->generation;
        moves[i].partition = consumed->partition;
        moves[i].offset = consumed->position;
        moves[i].previous = consumed->previous;
        pointers[i] = &moves[i];
    }
    *ret_block = moves;
    return pointers;
}

static uint8_t *head_make(const struct engine *engine, const struct atomic_emit *atomic, size_t *ret_size)
{
    Wire__EmitPart *parts = calloc(atomic->part_count + 1, sizeof(*parts));
    Wire__EmitPart **pointers = calloc(atomic->part_count + 1, sizeof(Wire__EmitPart *));
    Wire__EmitPosition *moves, **move_pointers = moves_make(atomic, &moves);
    bool made = parts && pointers && moves && move_pointers;
    Wire__Emit emit = WIRE__EMIT__INIT;
    uint8_t *head = NULL;

    emit.request = engine->emit_request + 1;
    emit.atomic = true;
    emit.source_position = atomic->position;
    emit.source_previous = atomic->previous;
    emit.n_parts = atomic->part_count;
    emit.parts = pointers;
    emit.n_positions = atomic->consumed_count;
    emit.positions = move_pointers;
    for (uint32_t i = 0; made && i < atomic->part_count; i++) {
        wire__emit_part__init(&parts[i]);
        parts[i].partition = atomic->parts[i].partition_id;
        parts[i].size = (uint32_t)atomic->parts[i].size;
        parts[i].expects = atomic->parts[i].expects;
        parts[i].expected_offset = atomic->parts[i].expected_offset;
        pointers[i] = &parts[i];
    }
    if (made) {
        size_t size = wire__emit__get_packed_size(&emit);
        *ret_size = FRAME_PREFIX_SIZE + size;
        if ((head = malloc(*ret_size))) {
            frame_prefix_encode(head, FRAME_EMIT, size, atomic->attachment_size);
            wire__emit__pack(&emit, head + FRAME_PREFIX_SIZE);
        }
    }
    free(parts);
    free(pointers);
    free(moves);
    free(move_pointers);
    return head;
}

bool atomic_frame_build(struct engine *engine)
{
    struct atomic_emit *atomic = atomic_next(engine);
    struct emit_frame *frame;
    uint8_t *head = NULL;
    size_t head_size;

    if (!atomic)
        return false;
    atomic->previous =
        atomic->link.previous == &engine->atomics ? 0 : atomic_of(atomic->link.previous)->position;
    frame = calloc(1, sizeof(*frame));
    if (!frame || output_reserve(&engine->output, 1 + atomic->part_count) < 0 ||
        !(head = head_make(engine, atomic, &head_size))) {
        free(frame);
        engine_fail(engine, CRIER_ENOMEM, "out of memory for an EMIT frame");
        return false;
    }
    frame->atomic = atomic;
    frame->part_count = atomic->part_count ? atomic->part_count : 1; /* of its answer */
    output_add(&engine->output, head, head_size, head);
    for (uint32_t i = 0; i < atomic->part_count; i++)
        output_add(&engine->output, atomic->parts[i].data, atomic->parts[i].size, NULL);
    emit_frame_sent(engine, frame, head_size + atomic->attachment_size);
    atomic->in_flight = true;
    engine->atomic_in_flight++;
    engine->atomic_unsent = atomic_after(engine, atomic);
    return true;
}

/* ---- outcomes ---- */

static void refused(struct engine *engine, struct atomic_emit *atomic, int code, const char *text)
{
    bool stood_on_another = code == CRIER_ESEQUENCE && atomic->previous > 0;

    engine->atomic_refused = true;
    if (stood_on_another) {
        atomic->maybe_stored = false; /* what is stored ends before it */
        return;
    }
    if (code == CRIER_EFENCED && engine->producer_name[0]) {
        engine_fail(engine, code, "%s", text && *text ? text : error_text(code));
    } else if (error_retriable(code) || (atomic->maybe_stored && code == CRIER_EIO)) {
        engine->atomic_retry = true; /* EIO says nothing about the time before it */
    } else {
        for (uint32_t i = 0; code == CRIER_ENOTOPIC && i < atomic->event_count; i++)
            emit_topic_again(engine, atomic->events[i].topic);
        settle(engine, atomic, code, -1, text); /* the position tells: it is not stored */
    }
}

/* Everything that was in flight has an outcome: what is left goes again, from the oldest. */
static void recover(struct engine *engine)
{
    engine->atomic_refused = false;
    engine->atomic_unsent = atomic_first(engine);
    if (engine->atomic_retry)
        emit_retry_arm(engine);
}

void atomic_emitted(struct engine *engine, struct emit_frame *frame, int outcome, int code,
                    int64_t base_offset, const char *text)
{
    struct atomic_emit *atomic = frame->atomic;

    atomic->in_flight = false;
    engine->atomic_in_flight--;
    switch (outcome) {
    case WIRE__OUTCOME__OK:
        engine->retry_delay = ENGINE_RETRY_DELAY_US;
        if (engine->producer_name[0] && atomic->position > atomic_load(&engine->source_position))
            atomic_store(&engine->source_position, atomic->position);
        settle(engine, atomic, 0, base_offset, NULL);
        break;
    case WIRE__OUTCOME__REFUSED:
        refused(engine, atomic, code < 0 ? code : CRIER_EPROTO, text);
        break;
    default: /* UNKNOWN, and whatever a later version says */
        atomic->maybe_stored = true;
        engine->atomic_refused = engine->atomic_retry = true;
        break;
    }
    if (engine->atomic_refused && engine->atomic_in_flight == 0)
        recover(engine);
}

void atomic_retry(struct engine *engine)
{
    engine->atomic_retry = false;
}

/* ---- the connection ---- */

void atomic_disconnected(struct engine *engine)
{
    for (struct list *link = engine->atomics.next; link != &engine->atomics; link = link->next) {
        atomic_of(link)->maybe_stored |= atomic_of(link)->in_flight;
        atomic_of(link)->in_flight = false;
    }
    engine->atomic_in_flight = 0;
    engine->atomic_refused = engine->atomic_retry = false;
    engine->atomic_unsent = atomic_first(engine);
}

/* What may be stored is known by the name, or by the producer id: with neither it would be stored twice. */
static void fail_maybe_stored(struct engine *engine)
{
    for (struct list *link = engine->atomics.next, *next; link != &engine->atomics; link = next) {
        next = link->next;
        if (atomic_of(link)->maybe_stored)
            settle(engine, atomic_of(link), CRIER_EUNKNOWN, -1, NULL);
    }
}

void atomic_ready(struct engine *engine, bool another, uint64_t position)
{
    if (engine->producer_name[0])
        atomic_store(&engine->source_position, position);
    else if (another)
        fail_maybe_stored(engine);
}

void atomic_forget(struct engine *engine)
{
    fail_all(engine, CRIER_ENOTOPIC);
    atomic_store(&engine->source_position, 0);
}

void atomic_fenced(struct engine *engine)
{
    engine->name_lost = true;
    engine->producer_name[0] = '\0';
    engine->producer_known = false; /* the id is the name's */
    fail_all(engine, CRIER_EFENCED);
}

void atomic_drop(struct engine *engine, int code)
{
    list_move_all(&engine->stage.atomics_fresh, &engine->atomics);
    fail_all(engine, code);
}
