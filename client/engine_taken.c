/* engine_taken.c: events whose handler is not the end of it: taken away by the driver, and answered later, in any order.
 *
 * Role:     a worker pool or an iterator has the event; until it is through, the position of its partition stays below it and
 *           the credit of its delivery is not returned. A driver that has enough pauses the listener: what has arrived
 *           is parked, nothing is handed out, and so no credit goes back and the broker stops sending.
 * Thread:   the I/O thread. engine_take and engine_pause inside a handler, the others outside of engine calls.
 * Owns:     the places of struct engine_taken in the partition's list, in order of their offsets; the nodes are the driver's,
 *           from engine_take until `release`.
 *
 * Happy path:  handler: engine_take -> ... -> engine_taken_done -> the first of the list is through: the position moves
 *              -> the last of the delivery: CREDIT
 * Failures:    one failed and nobody listens to "error": the listener ends, the position stays before it. The partition
 *              was taken away meanwhile: its events end here and count for nothing. */
#include "client/engine_internal.h"

#include "base/check.h"
#include "client/leased.h"

enum { TAKEN_OUT, TAKEN_DONE, TAKEN_FAILED };

void engine_take(struct engine *engine, struct engine_taken *taken)
{
    struct delivery *delivery = engine->handing;

    CHECK(delivery && !engine->handed_away);
    engine->handed_away = true;
    taken->listener = delivery->listener;
    taken->partition = delivery->partition;
    taken->delivery = delivery;
    taken->offset = engine->handing_offset;
    taken->attempt = engine->handing_attempt;
    taken->settled = false;
    atomic_init(&taken->waits, false);
    taken->state = TAKEN_OUT;
    list_init(&taken->link);
    list_append(&delivery->partition->taken, &taken->link);
    delivery->taken++;
    delivery->listener->taken_count++;
}

/* The last event it is to have is out: no more is handed out, but what is out is still handled. */
void taken_was_the_last(struct crier_listener *listener)
{
    listener->paused = listener->finish_wanted = true;
    listener->end_code = 0;
    listener->end_text = "";
}

void engine_pause(struct engine *engine)
{
    CHECK(engine->handing && !engine->handed_away);
    engine->handing->listener->paused = true;
}

/* Behind the delivery that is being walked: it has begun. */
void engine_resume(struct engine *engine, crier_listener *listener)
{
    struct list *place = engine->walking ? engine->deliveries.next->next : engine->deliveries.next;

    if (!listener->paused || listener->finish_wanted)
        return;
    listener->paused = false;
    for (struct list *link = engine->parked.next, *next; link != &engine->parked; link = next) {
        next = link->next;
        if (LIST_ENTRY(link, struct delivery, link)->listener != listener)
            continue;
        list_remove(link);
        list_insert_before(place, link);
    }
}

/* What is through, from the front: the position is what is left. */
static void partition_advance(struct listen_partition *partition)
{
    while (!list_is_empty(&partition->taken)) {
        struct engine_taken *first = LIST_ENTRY(partition->taken.next, struct engine_taken, link);
        if (first->state != TAKEN_DONE)
            return;
        list_remove(&first->link);
        first->release(first);
    }
}

/* The driver may still have it: then it is told nothing, and gives it up when it is done. */
static void taken_forget(struct engine_taken *taken)
{
    taken->listener = NULL;
    taken->partition = NULL;
    taken->delivery = NULL;
    list_remove(&taken->link);
    if (taken->state != TAKEN_OUT)
        taken->release(taken);
}

void taken_orphan(struct crier_listener *listener, struct listen_partition *partition)
{
    struct list *link;

    while ((link = list_take(&partition->taken))) {
        struct engine_taken *taken = LIST_ENTRY(link, struct engine_taken, link);
        taken->partition = NULL;
        atomic_store(&taken->revoked, true);
        if (taken->state == TAKEN_OUT && listener)
            list_append(&listener->orphans, link);
        else
            taken_forget(taken);
    }
}

void taken_forget_all(struct crier_listener *listener)
{
    while (!list_is_empty(&listener->orphans))
        taken_forget(LIST_ENTRY(listener->orphans.next, struct engine_taken, link));
}

void taken_move(struct listen_partition *from, struct listen_partition *to)
{
    for (struct list *link = from->taken.next; link != &from->taken; link = link->next)
        LIST_ENTRY(link, struct engine_taken, link)->partition = to;
    list_move_all(&from->taken, &to->taken);
}

/* It failed. true: the listener goes on, and so does its position. */
static bool failure_is_heard(struct engine *engine, const struct engine_taken *taken, int rc)
{
    const struct crier_listener *listener = taken->listener;
    crier_event event = {.topic = taken->partition ? taken->partition->topic : listener->topic,
                         .partition = taken->partition ? taken->partition->index : 0,
                         .offset = taken->offset};

    return failure_tell(engine, &event, rc);
}

/* The listener has nothing out any more: what had to wait for that. */
static void listener_continue(struct engine *engine, struct crier_listener *listener)
{
    if (listener->taken_count > 0)
        return;
    if (listener->release_wanted)
        listener_release(engine, listener, listener->end_code, listener->end_text);
    else if (listener->finish_wanted)
        listen_finish_one(engine, listener, listener->end_code, listener->end_text);
}

/* Of a shared group: it is settled by itself, wherever it stands. */
static void shared_done(struct engine *engine, struct engine_taken *taken, int rc)
{
    struct crier_listener *listener = taken->listener;
    struct shared_range one = {taken->offset, 1, taken->attempt};
    struct delivery *delivery = taken->delivery;

    if (rc != ENGINE_NOT_HANDLED) {
        engine->delivered++;
        atomic_fetch_add_explicit(&listener->delivered, 1, memory_order_relaxed);
    }
    if (rc < 0)
        atomic_fetch_add_explicit(&listener->failed, 1, memory_order_relaxed);
    if (taken->partition && !taken->settled)
        leased_outcome(engine, listener, taken->partition, &one, rc);
    taken->state = TAKEN_DONE;
    taken_forget(taken);
    delivery_taken_done(engine, delivery);
    listener_continue(engine, listener);
    engine_settle(engine);
}

void engine_taken_done(struct engine *engine, struct engine_taken *taken, int rc)
{
    struct crier_listener *listener = taken->listener;
    struct delivery *delivery = taken->delivery;
    struct listen_partition *partition = taken->partition;
    bool unheard = false;

    if (!listener) {
        taken->release(taken);
        return;
    }
    listener->taken_count--;
    if (listener->shared) {
        shared_done(engine, taken, rc);
        return;
    }
    taken->state = rc == 0 ? TAKEN_DONE : TAKEN_FAILED;
    if (rc != ENGINE_NOT_HANDLED) {
        engine->delivered++;
        atomic_fetch_add_explicit(&listener->delivered, 1, memory_order_relaxed);
    }
    if (rc < 0) {
        atomic_fetch_add_explicit(&listener->failed, 1, memory_order_relaxed);
        unheard = !failure_is_heard(engine, taken, rc);
        if (!unheard)
            taken->state = TAKEN_DONE;
    }
    if (partition)
        partition_advance(partition);
    else
        taken_forget(taken);
    delivery_taken_done(engine, delivery);
    position_moved(engine, listener);
    if (unheard && !listener->finish_wanted)
        listen_finish_one(engine, listener, CRIER_EHANDLER,
                          "its handler failed, and nobody listens to \"error\"");
    listener_continue(engine, listener);
    engine_settle(engine);
}

void engine_listener_divert(crier_listener *listener, crier_handler *handler, void (*stopping)(void *ctx),
                            void *ctx)
{
    listener->divert = handler;
    listener->stopping = stopping;
    listener->divert_ctx = ctx;
}

void taken_recall(struct crier_listener *listener)
{
    if (listener->stopping)
        listener->stopping(listener->divert_ctx);
}

void *engine_listener_diverted_by(const crier_listener *listener, crier_handler *handler)
{
    return listener->divert == handler ? listener->divert_ctx : NULL;
}

bool engine_listener_is_stopped(const crier_listener *listener)
{
    return atomic_load_explicit(&listener->stopped, memory_order_relaxed);
}

int engine_listener_call(const crier_listener *listener, const crier_event *event)
{
    return listener->handler(listener->bus, event, listener->ctx);
}
