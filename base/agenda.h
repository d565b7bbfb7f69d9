/* agenda.h: what a loop has to do besides its I/O, and in which order: Node's.
 *
 *     I/O (handlers)  ->  immediates  ->  timers  ->  I/O ...
 *     and after every single handler, immediate and timer: ticks, then continuations, until both are empty
 *
 * Whoever drives a loop calls agenda_drain() after each of its callbacks, then agenda_immediates() and agenda_timers() once
 * a turn. A drain runs at most AGENDA_DRAIN_MAX tasks: a queue that feeds itself goes on in the next turn, and cannot
 * keep timers and I/O from theirs. Immediates and timers that are added while their phase runs wait for the next turn.
 *
 * An agenda knows no clock and no loop: time is passed in, and `wake` is how it asks for a turn. Tasks are embedded in
 * what they are about, so adding one allocates nothing (but for room in the heap of timers).
 *
 * Threads: adding and removing any; draining, phases and closing the loop's. Tasks run without the lock. */
#ifndef CRIER_BASE_AGENDA_H
#define CRIER_BASE_AGENDA_H

#include "base/heap.h"
#include "base/list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define AGENDA_DRAIN_MAX 1024      /* tasks of one drain */
#define AGENDA_NEVER     INT64_MAX /* agenda_due: there is no timer */

struct task {
    struct list link;
    /* On the loop's thread, unlinked. dropped: the agenda is closed; clean up, and call nobody of the user's (then it may
     * be another thread's turn). */
    void (*run)(struct task *task, bool dropped);
};

struct agenda_timer {
    struct task task;
    struct heap_node node; /* its number counts up: of equals the one added first is first */
};

enum agenda_queue { AGENDA_TICK, AGENDA_CONTINUATION, AGENDA_IMMEDIATE, AGENDA_QUEUES };

struct agenda_ops {
    void (*wake)(
        void *ctx); /* any thread, without the lock: a turn is needed, also to let waiting threads look */
    /* Blocks until done(arg), or the deadline (AGENDA_NEVER: none). 0, or the loop's code for a timeout or for a call
     * on its own thread. NULL: nobody can wait. */
    int (*wait)(void *ctx, bool (*done)(const void *arg), const void *arg, int64_t deadline_us);
    /* A future was rejected and nobody ever looked. The loop's thread. */
    void (*unhandled)(void *ctx, int code, const char *text);
};

/* The codes that futures of this agenda are rejected with where it is not their maker who says. */
struct agenda_codes {
    int canceled, closed, no_memory, invalid;
};

struct agenda;

/* One reference, the loop's. ops: borrowed until agenda_close. NULL: out of memory. */
struct agenda *agenda_create(const struct agenda_ops *ops, const struct agenda_codes *codes, void *ctx);
struct agenda *agenda_retain(struct agenda *agenda);
void agenda_release(struct agenda *agenda); /* accepts NULL */
const struct agenda_codes *agenda_codes(const struct agenda *agenda);
void *agenda_ctx(const struct agenda *agenda); /* what agenda_create was given */

/* ---- any thread ---- */

/* Adds the task at the end of a queue. On a closed agenda it is dropped, before or soon after this returns. */
void agenda_add(struct agenda *agenda, enum agenda_queue queue, struct task *task);
/* Takes it out of its queue, if it is in one. The loop's thread. */
void agenda_remove(struct agenda *agenda, struct task *task);
/* 0, or -ENOMEM, -EPIPE (closed): nothing happened. */
int agenda_timer_add(struct agenda *agenda, struct agenda_timer *timer, int64_t due_us);
/* true: it was there, and will not run. */
bool agenda_timer_remove(struct agenda *agenda, struct agenda_timer *timer);
/* Asks the loop for a turn, if it is not closed. */
void agenda_wake(struct agenda *agenda);
/* Until done(arg): a future of this agenda is settled. 0, codes.closed, or as ops->wait says, which is not called once the agenda is
 * closed. */
int agenda_wait(struct agenda *agenda, bool (*done)(const void *arg), const void *arg, int64_t deadline_us);
void agenda_unhandled(struct agenda *agenda, int code, const char *text); /* the loop's thread */
bool agenda_is_closed(struct agenda *agenda); /* or about to be: there are no new futures and timers */

/* ---- the loop's thread ---- */

/* Is there anything in the queues? Cheap: one atomic load. */
bool agenda_is_pending(const struct agenda *agenda);
/* True while there are ticks or continuations: whoever runs several callbacks stops between two of them, and drains. */
const atomic_bool *agenda_is_drainable(const struct agenda *agenda);
int64_t agenda_due(struct agenda *agenda); /* of the first timer; 0 if anything is pending; AGENDA_NEVER */
void agenda_drain(struct agenda *agenda);  /* ticks, then continuations */
bool agenda_immediates(struct agenda *agenda); /* true: something ran */
bool agenda_timers(struct agenda *agenda, int64_t now_us);
/* The end is near: futures that are pending are rejected, as in agenda_close(), and there are no new ones; tasks still run. For a loop
 * that has to wait, before it closes, for threads that may wait for futures. */
void agenda_end(struct agenda *agenda);
/* The end: what is in the queues runs (so long as it does not feed itself for ever), futures that are still pending are
 * rejected with codes.closed and told, timers are dropped. Nothing of `ops` is called afterwards. */
void agenda_close(struct agenda *agenda);
/* After that, before `ctx` is freed: waits for threads that are still on their way out of ops->wait. Any thread. */
void agenda_waits_end(struct agenda *agenda);

/* ---- for future.c: one lock for an agenda and all its futures ---- */

pthread_mutex_t *agenda_lock(struct agenda *agenda);
struct list *agenda_futures(struct agenda *agenda); /* those that are pending; with the lock */
/* The same as agenda_add, with the lock held. The caller calls agenda_settle when it has let go of it. */
void agenda_add_locked(struct agenda *agenda, enum agenda_queue queue, struct task *task);
void agenda_settle(struct agenda *agenda);
/* future.c's part of agenda_close: rejects those pending; only the roots of chains, or all. */
void agenda_futures_close(struct agenda *agenda, bool roots_only);

#endif
