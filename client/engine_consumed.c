/* engine_consumed.c: atomic emits that are made from events: the positions of groups that they move. See atomic.h.
 *
 * Role:     a listener with commits_atomically commits nothing by itself. Each assignment of a partition to it has a number,
 *           which its events carry; an atomic emit names them, and its EMIT moves the position from where the emit before it
 *           in the assignment left it. The broker stores both or neither.
 * Thread:   the I/O thread; consumed_continue outside of the emit lock.
 * Owns:     listen_partition.step_next, the chain of positions of an assignment.
 *
 * Happy path:  event.assignment -> crier_emit_atomic -> consumed_bind (its turn to be sent) -> EMIT -> consumed_settled
 * Failures:    an emit fails for good, or the assignment is over (the partition has gone to another member, the connection was
 *              lost): what stands on it fails too, CRIER_EREVOKED, here or at the broker. If the listener still has the
 *              partition it leaves and joins anew, so that what was not handled comes again. So it does when its handler
 *              fails, once what was emitted before has its outcome.
 * Pace:        with half of buffer_size_max emitted and without outcome, the listener hears no more until a quarter is left.
 * A listener that ends does so when what was emitted before has its outcome, so that the last events count, too. */
#include "client/atomic.h"

#include "client/engine_internal.h"
#include "proto/error.h"

/* The partition as it was assigned under this number, if it still is. */
static struct listen_partition *assignment_find(const struct engine *engine, uint32_t assignment,
                                                struct crier_listener **ret_listener)
{
    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        for (size_t i = 0; listener->commits_atomically && i < listener->partition_count; i++)
            if (listener->partitions[i]->assignment == assignment) {
                *ret_listener = listener;
                return listener->partitions[i];
            }
    }
    return NULL;
}

uint32_t consumed_assignment_take(struct engine *engine)
{
    if (++engine->assignment == 0)
        engine->assignment = 1; /* 0 is none */
    return engine->assignment;
}

int consumed_bind(struct engine *engine, struct atomic_emit *atomic)
{
    for (uint32_t i = 0; i < atomic->consumed_count; i++) {
        struct atomic_consumed *consumed = &atomic->consumed[i];
        struct crier_listener *listener;
        struct listen_partition *partition;
        if (atomic->maybe_stored)
            return 0; /* only the broker knows */
        if (!(partition = assignment_find(engine, consumed->assignment, &listener)))
            return CRIER_EREVOKED;
        if (atomic->bound)
            continue;
        if (engine->feature_level < ENGINE_LEVEL_CONSUMED)
            return CRIER_ENOTSUP;
        if (consumed->position <= partition->step_next || partition->step == atomic->position)
            return CRIER_EINVAL;
        consumed->listener = listener->id;
        consumed->generation = listener->generation;
        consumed->partition = partition->id;
        consumed->previous = partition->step_next;
        partition->step_next = consumed->position;
        partition->step = atomic->position;
    }
    atomic->bound = true;
    return 0;
}

void consumed_settled(struct engine *engine, const struct atomic_emit *atomic, int code)
{
    struct crier_listener *listener;

    for (uint32_t i = 0; code < 0 && i < atomic->consumed_count; i++)
        if (assignment_find(engine, atomic->consumed[i].assignment, &listener))
            listener->restart_now = true;
    if (atomic->consumed_count > 0 && (code < 0 || engine->consumed_waits))
        engine->consumed_due = true;
}

/* Something of the listener's events is emitted and has no outcome yet. */
static bool is_pending(const struct engine *engine, const struct crier_listener *listener)
{
    for (struct list *link = engine->atomics.next; link != &engine->atomics; link = link->next) {
        const struct atomic_emit *atomic = LIST_ENTRY(link, struct atomic_emit, link);
        for (uint32_t i = 0; i < atomic->consumed_count; i++) {
            struct crier_listener *other = NULL;
            if (atomic->bound
                    ? atomic->consumed[i].listener == listener->id
                    : assignment_find(engine, atomic->consumed[i].assignment, &other) && other == listener)
                return true;
        }
    }
    return false;
}

bool consumed_is_waited_for(struct engine *engine, struct crier_listener *listener)
{
    if (!listener->commits_atomically || listener->steps_done || engine->listeners_dropped)
        return false;
    engine->consumed_due = engine->consumed_waits = true;
    return true;
}

void consumed_handler_failed(struct engine *engine, struct crier_listener *listener)
{
    listener->restart_wanted = true;
    engine->consumed_due = engine->consumed_waits = true;
    deliveries_forget(engine, listener);
}

/* ---- how much is emitted ---- */

/* Of what may be emitted without outcome a half is there: it hears no more. What is on an iterator is paused there. */
void consumed_pause(struct engine *engine, struct crier_listener *listener)
{
    if (!listener->commits_atomically || listener->divert ||
        engine->pending_seen <= engine->config.options.buffer_size_max / 2)
        return;
    listener->paused = engine->consumed_paused = true;
}

static void consumed_resume(struct engine *engine)
{
    if (!engine->consumed_paused || engine->pending_seen > engine->config.options.buffer_size_max / 4)
        return;
    engine->consumed_paused = false;
    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        if (listener->commits_atomically && !listener->divert)
            engine_resume(engine, listener);
    }
}

/* ---- outside of the lock ---- */

void consumed_continue(struct engine *engine)
{
    consumed_resume(engine);
    if (!engine->consumed_due)
        return;
    engine->consumed_due = false;
    for (struct list *link = engine->listeners.next, *next; link != &engine->listeners; link = next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        next = link->next;
        if (listener->restart_now || (listener->restart_wanted && !is_pending(engine, listener)))
            listen_restart(engine, listener);
        if (!listener->commits_atomically || !listener->finish_wanted || listener->taken_count > 0 ||
            is_pending(engine, listener))
            continue;
        listener->steps_done = true;
        listen_finish_one(engine, listener, listener->end_code, listener->end_text);
    }
}
