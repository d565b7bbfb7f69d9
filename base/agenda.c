/* agenda.c: the loop's order: ticks, continuations, immediates, timers. See agenda.h.
 *
 * Role:    three queues and a heap of timers under one lock, and the rules in which order they are emptied.
 * Thread:  as agenda.h says. Tasks run with the lock released.
 * Owner:   reference-counted: the loop has one, every future has one. Tasks are their makers'.
 *
 * Happy path:  agenda_add -> wake -> the loop's turn -> agenda_drain / _immediates / _timers -> task.run
 * Failures:    no memory for the heap: -ENOMEM, nothing happened. Closed: tasks are dropped (run with dropped true), by
 *              whichever thread adds them; `dropping` keeps that from recursing. */
#include "base/agenda.h"

#include "base/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define CLOSE_DRAINS_MAX 64 /* what is still feeding itself then is dropped */

struct agenda {
    atomic_uint references;
    const struct agenda_ops *ops;
    void *ctx;
    struct agenda_codes codes;
    atomic_bool pending;   /* some queue has something; written with the lock */
    atomic_bool drainable; /* ticks or continuations; the same */
    atomic_bool woken;     /* wake was called, and no turn has begun since */

    pthread_mutex_t lock;
    struct list queues[AGENDA_QUEUES];
    struct list futures;
    struct heap timers;
    uint64_t timer_number;
    bool ending; /* no futures and timers any more */
    bool closed, dropping;
    bool gone;             /* agenda_close has returned, or is about to: everything is settled */
    unsigned waiting;      /* threads in ops->wait */
    pthread_cond_t waited; /* the last of them has left */
};

struct agenda *agenda_create(const struct agenda_ops *ops, const struct agenda_codes *codes, void *ctx)
{
    struct agenda *agenda = calloc(1, sizeof(*agenda));

    if (!agenda || pthread_cond_init(&agenda->waited, NULL) != 0) {
        free(agenda);
        return NULL;
    }
    if (pthread_mutex_init(&agenda->lock, NULL) != 0) {
        pthread_cond_destroy(&agenda->waited);
        free(agenda);
        return NULL;
    }
    atomic_init(&agenda->references, 1);
    agenda->ops = ops;
    agenda->ctx = ctx;
    agenda->codes = *codes;
    for (size_t i = 0; i < AGENDA_QUEUES; i++)
        list_init(&agenda->queues[i]);
    list_init(&agenda->futures);
    return agenda;
}

struct agenda *agenda_retain(struct agenda *agenda)
{
    atomic_fetch_add_explicit(&agenda->references, 1, memory_order_relaxed);
    return agenda;
}

void agenda_release(struct agenda *agenda)
{
    if (!agenda || atomic_fetch_sub_explicit(&agenda->references, 1, memory_order_acq_rel) > 1)
        return;
    CHECK(agenda->timers.count == 0 && list_is_empty(&agenda->futures));
    pthread_cond_destroy(&agenda->waited);
    pthread_mutex_destroy(&agenda->lock);
    heap_finish(&agenda->timers);
    free(agenda);
}

const struct agenda_codes *agenda_codes(const struct agenda *agenda)
{
    return &agenda->codes;
}

void *agenda_ctx(const struct agenda *agenda)
{
    return agenda->ctx;
}

pthread_mutex_t *agenda_lock(struct agenda *agenda)
{
    return &agenda->lock;
}

struct list *agenda_futures(struct agenda *agenda)
{
    return &agenda->futures;
}

/* ---- queues ---- */

static void pending_update_locked(struct agenda *agenda)
{
    bool drainable =
        !list_is_empty(&agenda->queues[AGENDA_TICK]) || !list_is_empty(&agenda->queues[AGENDA_CONTINUATION]);
    bool pending = drainable || !list_is_empty(&agenda->queues[AGENDA_IMMEDIATE]);

    atomic_store_explicit(&agenda->drainable, drainable, memory_order_relaxed);
    atomic_store_explicit(&agenda->pending, pending, memory_order_relaxed);
}

/* The next of the drain, as Node's: ticks until there are none, then continuations until there are none, and so on. *queue: which of
 * the two it is at. */
static struct task *drain_take(struct agenda *agenda, enum agenda_queue *queue)
{
    struct list *link;

    pthread_mutex_lock(&agenda->lock);
    link = list_take(&agenda->queues[*queue]);
    if (!link) {
        *queue = *queue == AGENDA_TICK ? AGENDA_CONTINUATION : AGENDA_TICK;
        link = list_take(&agenda->queues[*queue]);
    }
    pending_update_locked(agenda);
    pthread_mutex_unlock(&agenda->lock);
    return link ? LIST_ENTRY(link, struct task, link) : NULL;
}

/* Closed: what was added goes at once. A task that is dropped may add others, which are then found here too. */
static void drop_all(struct agenda *agenda)
{
    struct list *link;

    pthread_mutex_lock(&agenda->lock);
    if (agenda->dropping) {
        pthread_mutex_unlock(&agenda->lock);
        return;
    }
    agenda->dropping = true;
    for (;;) {
        link = NULL;
        for (size_t i = 0; i < AGENDA_QUEUES && !link; i++)
            link = list_take(&agenda->queues[i]);
        if (!link)
            break;
        pthread_mutex_unlock(&agenda->lock);
        struct task *task = LIST_ENTRY(link, struct task, link);
        task->run(task, true);
        pthread_mutex_lock(&agenda->lock);
    }
    agenda->dropping = false;
    pending_update_locked(agenda);
    pthread_mutex_unlock(&agenda->lock);
}

void agenda_add_locked(struct agenda *agenda, enum agenda_queue queue, struct task *task)
{
    list_append(&agenda->queues[queue], &task->link);
    pending_update_locked(agenda);
}

static bool drops_tasks(struct agenda *agenda)
{
    bool closed;

    pthread_mutex_lock(&agenda->lock);
    closed = agenda->closed;
    pthread_mutex_unlock(&agenda->lock);
    return closed;
}

void agenda_settle(struct agenda *agenda)
{
    if (drops_tasks(agenda)) {
        agenda_retain(agenda); /* the last future may go in here */
        drop_all(agenda);
        agenda_release(agenda);
    } else {
        agenda_wake(agenda);
    }
}

void agenda_add(struct agenda *agenda, enum agenda_queue queue, struct task *task)
{
    pthread_mutex_lock(&agenda->lock);
    agenda_add_locked(agenda, queue, task);
    pthread_mutex_unlock(&agenda->lock);
    agenda_settle(agenda);
}

void agenda_remove(struct agenda *agenda, struct task *task)
{
    pthread_mutex_lock(&agenda->lock);
    list_remove(&task->link);
    pending_update_locked(agenda);
    pthread_mutex_unlock(&agenda->lock);
}

/* The lock is held over `wake`: it keeps agenda_close from going on, and with it what ctx points to. */
void agenda_wake(struct agenda *agenda)
{
    if (atomic_exchange_explicit(&agenda->woken, true, memory_order_acq_rel))
        return;
    pthread_mutex_lock(&agenda->lock);
    if (!agenda->closed)
        agenda->ops->wake(agenda->ctx);
    pthread_mutex_unlock(&agenda->lock);
}

bool agenda_is_closed(struct agenda *agenda)
{
    bool closed;

    pthread_mutex_lock(&agenda->lock);
    closed = agenda->closed || agenda->ending;
    pthread_mutex_unlock(&agenda->lock);
    return closed;
}

/* Is there still somebody to wait with? Then agenda_waits_end() waits for us. */
static bool wait_begin(struct agenda *agenda)
{
    bool gone;

    pthread_mutex_lock(&agenda->lock);
    gone = agenda->gone;
    agenda->waiting += !gone;
    pthread_mutex_unlock(&agenda->lock);
    return !gone;
}

static void wait_end(struct agenda *agenda)
{
    pthread_mutex_lock(&agenda->lock);
    if (--agenda->waiting == 0)
        pthread_cond_broadcast(&agenda->waited);
    pthread_mutex_unlock(&agenda->lock);
}

int agenda_wait(struct agenda *agenda, bool (*done)(const void *arg), const void *arg, int64_t deadline_us)
{
    int rc;

    if (done(arg))
        return 0;
    CHECK(agenda->ops->wait);
    if (!wait_begin(agenda))
        return done(arg) ? 0 : agenda->codes.closed;
    rc = agenda->ops->wait(agenda->ctx, done, arg, deadline_us);
    wait_end(agenda);
    return rc;
}

void agenda_waits_end(struct agenda *agenda)
{
    pthread_mutex_lock(&agenda->lock);
    while (agenda->waiting > 0)
        pthread_cond_wait(&agenda->waited, &agenda->lock);
    pthread_mutex_unlock(&agenda->lock);
}

void agenda_unhandled(struct agenda *agenda, int code, const char *text)
{
    agenda->ops->unhandled(agenda->ctx, code, text);
}

const atomic_bool *agenda_is_drainable(const struct agenda *agenda)
{
    return &agenda->drainable;
}

bool agenda_is_pending(const struct agenda *agenda)
{
    return atomic_load_explicit(&agenda->pending, memory_order_relaxed);
}

/* An adder that finds `woken` set relies on the turn to come: so it is cleared before the queues are looked at, by an
 * exchange, which sees what the adder did before. */
static void woken_clear(struct agenda *agenda)
{
    if (atomic_load_explicit(&agenda->woken, memory_order_relaxed))
        atomic_exchange_explicit(&agenda->woken, false, memory_order_acq_rel);
}

void agenda_drain(struct agenda *agenda)
{
    enum agenda_queue queue = AGENDA_TICK;
    struct task *task;

    woken_clear(agenda);
    if (!atomic_load_explicit(&agenda->drainable, memory_order_relaxed))
        return;
    for (int i = 0; i < AGENDA_DRAIN_MAX && (task = drain_take(agenda, &queue)); i++)
        task->run(task, false);
}

bool agenda_immediates(struct agenda *agenda)
{
    struct list now, *link;
    bool ran = false;

    if (!agenda_is_pending(agenda))
        return false;
    list_init(&now);
    pthread_mutex_lock(&agenda->lock);
    list_move_all(&agenda->queues[AGENDA_IMMEDIATE], &now);
    pending_update_locked(agenda);
    pthread_mutex_unlock(&agenda->lock);
    while ((link = list_take(&now))) {
        struct task *task = LIST_ENTRY(link, struct task, link);
        task->run(task, false);
        agenda_drain(agenda);
        ran = true;
    }
    return ran;
}

/* ---- timers ---- */

int agenda_timer_add(struct agenda *agenda, struct agenda_timer *timer, int64_t due_us)
{
    int rc;
    bool first = false;

    pthread_mutex_lock(&agenda->lock);
    rc = agenda->closed || agenda->ending ? -EPIPE : heap_reserve(&agenda->timers) ? 0 : -ENOMEM;
    if (rc == 0) {
        timer->node.due_us = due_us;
        timer->node.number = agenda->timer_number++;
        heap_add(&agenda->timers, &timer->node);
        first = heap_first(&agenda->timers) == &timer->node;
    }
    pthread_mutex_unlock(&agenda->lock);
    if (first)
        agenda_wake(agenda); /* the loop sleeps until a later one */
    return rc;
}

bool agenda_timer_remove(struct agenda *agenda, struct agenda_timer *timer)
{
    bool there;

    pthread_mutex_lock(&agenda->lock);
    there = timer->node.place != HEAP_NOWHERE;
    if (there)
        heap_remove(&agenda->timers, &timer->node);
    pthread_mutex_unlock(&agenda->lock);
    return there;
}

int64_t agenda_due(struct agenda *agenda)
{
    int64_t due;

    if (agenda_is_pending(agenda))
        return 0;
    pthread_mutex_lock(&agenda->lock);
    due = agenda->timers.count > 0 ? heap_first(&agenda->timers)->due_us : AGENDA_NEVER;
    pthread_mutex_unlock(&agenda->lock);
    return due;
}

/* The first timer that is due and was there when the phase began. */
static struct agenda_timer *timer_take(struct agenda *agenda, int64_t now_us, uint64_t before)
{
    pthread_mutex_lock(&agenda->lock);
    struct heap_node *node = heap_first(&agenda->timers);
    if (node && (node->due_us > now_us || node->number >= before))
        node = NULL;
    if (node)
        heap_remove(&agenda->timers, node);
    pthread_mutex_unlock(&agenda->lock);
    return node ? LIST_ENTRY(node, struct agenda_timer, node) : NULL;
}

bool agenda_timers(struct agenda *agenda, int64_t now_us)
{
    struct agenda_timer *timer;
    uint64_t before;
    bool ran = false;

    pthread_mutex_lock(&agenda->lock);
    before = agenda->timer_number;
    pthread_mutex_unlock(&agenda->lock);
    while ((timer = timer_take(agenda, now_us, before))) {
        timer->task.run(&timer->task, false);
        agenda_drain(agenda);
        ran = true;
    }
    return ran;
}

/* ---- the end ---- */

static void run_what_is_left(struct agenda *agenda)
{
    for (int i = 0; i < CLOSE_DRAINS_MAX && agenda_is_pending(agenda); i++) {
        agenda_drain(agenda);
        agenda_immediates(agenda);
    }
}

static void reject_what_is_left(struct agenda *agenda)
{
    run_what_is_left(agenda);
    agenda_futures_close(agenda, true);
    run_what_is_left(agenda);
    agenda_futures_close(agenda, false);
    run_what_is_left(agenda);
}

void agenda_end(struct agenda *agenda)
{
    pthread_mutex_lock(&agenda->lock);
    agenda->ending = true;
    pthread_mutex_unlock(&agenda->lock);
    reject_what_is_left(agenda);
}

void agenda_close(struct agenda *agenda)
{
    struct agenda_timer *timer;

    reject_what_is_left(agenda);
    pthread_mutex_lock(&agenda->lock);
    agenda->closed = true;
    pthread_mutex_unlock(&agenda->lock);
    while ((timer = timer_take(agenda, INT64_MAX, UINT64_MAX)))
        timer->task.run(&timer->task, true);
    agenda_futures_close(agenda, false); /* made by the last that ran */
    drop_all(agenda);
    pthread_mutex_lock(&agenda->lock);
    agenda->gone = true;
    pthread_mutex_unlock(&agenda->lock);
}
