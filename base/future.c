/* future.c: futures: settled once, followed by continuations on a loop. See future.h.
 *
 * Role:    state and reactions of a future; `then`, `finally`, adoption; cancelling; timers.
 * Thread:  any. State is guarded by the agenda's lock; once `settled` is set (release) the result never changes.
 * Owner:   reference-counted. A reaction lives in the extra memory of the future it leads to, so `then` allocates once.
 *
 * Happy path:  future_create -> future_then (a reaction is listed) -> future_settle: reactions to the agenda's queue ->
 *              reaction_run: the continuation -> the next future is settled
 * Failures:    no memory: the call fails, nothing changed. The agenda is closed: it rejects what is pending, continuations
 *              that could not run any more are dropped and what follows them is rejected with codes.closed. */
#include "base/future.h"

#include "base/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct future {
    struct task task; /* to tell the loop of a rejection nobody looked at */
    struct list link; /* agenda_futures, while it is pending; the agenda's lock */
    struct agenda *agenda;
    atomic_uint references;
    atomic_bool settled;
    atomic_bool handled; /* somebody looks after a rejection */
    bool derived;        /* follows another */
    bool quiet;          /* rejected because somebody wanted so: canceled, closed */
    struct future_result result;
    void (*destroy)(void *pointer);
    struct future *keeps; /* whose result it shares; NULL: its own */
    struct list reactions;
    void (*finish)(struct future *future);
    void (*cancel)(struct future *future);
    struct future *signal; /* that cancels it; NULL: none */
    struct reaction abort; /* on the signal */
    _Alignas(max_align_t) unsigned char extra[];
};

#ifdef CRIER_DEBUG
struct handle_kind future_handles = {
    "future", "its last reference was given back; retain one for each who uses it", {0}};
#endif

/* ---- life ---- */

struct future *future_create(struct agenda *agenda, size_t extra)
{
    struct future *future = calloc(1, sizeof(*future) + extra);
    bool closed;

    if (!future)
        return NULL;
    handle_made(&future_handles, future);
    atomic_init(&future->references, 1);
    list_init(&future->link);
    list_init(&future->task.link);
    list_init(&future->reactions);
    list_init(&future->abort.link);
    pthread_mutex_lock(agenda_lock(agenda));
    list_append(agenda_futures(agenda), &future->link);
    pthread_mutex_unlock(agenda_lock(agenda));
    future->agenda = agenda_retain(agenda);
    closed = agenda_is_closed(agenda);
    if (closed)
        future_cancel(future);
    if (closed)
        future_release(future);
    return closed ? NULL : future;
}

void *future_extra(struct future *future)
{
    return future->extra;
}

struct future *future_of_extra(void *extra)
{
    return (struct future *)(void *)((unsigned char *)extra - offsetof(struct future, extra));
}

void future_on_free(struct future *future, void (*finish)(struct future *future))
{
    future->finish = finish;
}

void future_on_cancel(struct future *future, void (*cancel)(struct future *future))
{
    future->cancel = cancel;
}

struct future *future_retain(struct future *future)
{
    atomic_fetch_add_explicit(&future->references, 1, memory_order_relaxed);
    return future;
}

struct agenda *future_agenda(const struct future *future)
{
    return future->agenda;
}

static void future_free(struct future *future)
{
    struct agenda *agenda = future->agenda;
    struct future *keeps = future->keeps;

    pthread_mutex_lock(agenda_lock(agenda));
    list_remove(&future->link);
    pthread_mutex_unlock(agenda_lock(agenda));
    if (future->finish)
        future->finish(future);
    if (future->destroy)
        future->destroy((void *)(uintptr_t)future->result.pointer);
    handle_freed(&future_handles, future);
    free(future);
    future_release(keeps); /* one that keeps nothing itself: see result_share */
    agenda_release(agenda);
}

static void unhandled_run(struct task *task, bool dropped)
{
    struct future *future = (struct future *)(void *)((char *)task - offsetof(struct future, task));

    if (!dropped)
        agenda_unhandled(future->agenda, future->result.code, future->result.text);
    future_free(future);
}

void future_release(struct future *future)
{
    if (!future || atomic_fetch_sub_explicit(&future->references, 1, memory_order_acq_rel) > 1)
        return;
    if (future_is_settled(future) && future->result.code < 0 && !future->quiet &&
        !atomic_load_explicit(&future->handled, memory_order_relaxed)) {
        struct agenda *agenda =
            agenda_retain(future->agenda); /* the loop may be done with it before we are */
        future->task.run = unhandled_run;
        agenda_add(agenda, AGENDA_CONTINUATION, &future->task);
        agenda_release(agenda);
    } else {
        future_free(future);
    }
}

/* ---- settling ---- */

bool future_is_settled(const struct future *future)
{
    return atomic_load_explicit(&future->settled, memory_order_acquire);
}

const struct future_result *future_settled_result(const struct future *future)
{
    CHECK(future_is_settled(future));
    return &future->result;
}

static void reaction_task_run(struct task *task, bool dropped)
{
    struct reaction *reaction = (struct reaction *)(void *)((char *)task - offsetof(struct reaction, task));

    reaction->run(reaction, dropped);
}

/* The signal need not tell any more. What it has told already finds the future settled. */
static void abort_unlink(struct future *future, struct future *signal)
{
    bool there;

    if (!signal)
        return;
    pthread_mutex_lock(agenda_lock(signal->agenda));
    there = list_is_linked(&future->abort.link);
    list_remove(&future->abort.link);
    pthread_mutex_unlock(agenda_lock(signal->agenda));
    if (there) {
        future_release(signal);
        future_release(future); /* the reaction's; whoever settles it has one too */
    }
}

/* keeps: taken: whose result it is, NULL: its own. */
static bool settle(struct future *future, const struct future_result *result, void (*destroy)(void *pointer),
                   struct future *keeps, bool quiet)
{
    struct agenda *agenda = future->agenda;
    struct future *signal;
    struct list *link;

    future_retain(future);
    pthread_mutex_lock(agenda_lock(agenda));
    if (future_is_settled(future)) {
        pthread_mutex_unlock(agenda_lock(agenda));
        if (destroy)
            destroy((void *)(uintptr_t)result->pointer);
        future_release(keeps);
        future_release(future);
        return false;
    }
    future->result = *result;
    future->destroy = destroy;
    future->keeps = keeps;
    future->quiet = quiet;
    atomic_store_explicit(&future->settled, true, memory_order_release);
    list_remove(&future->link);
    signal = future->signal; /* abort_run may give back its reference meanwhile */
    if (signal)
        future_retain(signal);
    while ((link = list_take(&future->reactions)))
        agenda_add_locked(agenda, AGENDA_CONTINUATION, &LIST_ENTRY(link, struct reaction, link)->task);
    pthread_mutex_unlock(agenda_lock(agenda));
    abort_unlink(future, signal);
    future_release(signal);
    agenda_settle(agenda);
    future_release(future);
    return true;
}

bool future_settle(struct future *future, const struct future_result *result, void (*destroy)(void *pointer))
{
    return settle(future, result, destroy, NULL, false);
}

static bool reject(struct future *future, int code)
{
    const struct agenda_codes *codes = agenda_codes(future->agenda);

    return settle(future, &(struct future_result){.code = code}, NULL, NULL,
                  code == codes->canceled || code == codes->closed);
}

bool future_cancel(struct future *future)
{
    bool done = reject(future, agenda_codes(future->agenda)->canceled);

    if (done && future->cancel)
        future->cancel(future);
    return done;
}

/* `future` gets the result of the settled `from`, and keeps whoever owns what it points to. */
static void result_share(struct future *future, struct future *from)
{
    struct future *owner = from->keeps ? from->keeps : from;

    settle(future, &from->result, NULL, future_retain(owner), from->quiet);
}

/* ---- looking ---- */

bool future_result(struct future *future, struct future_result *ret)
{
    if (!future_is_settled(future))
        return false;
    atomic_store_explicit(&future->handled, true, memory_order_relaxed);
    *ret = future->result;
    return true;
}

static bool wait_is_over(const void *arg)
{
    return future_is_settled(arg);
}

int future_wait(struct future *future, int64_t deadline_us)
{
    return agenda_wait(future->agenda, wait_is_over, future, deadline_us);
}

/* ---- reactions ---- */

void future_react(struct future *source, struct reaction *reaction, bool handled)
{
    struct agenda *agenda = source->agenda;
    bool settled;

    reaction->task.run = reaction_task_run;
    reaction->source = source;
    if (handled)
        atomic_store_explicit(&source->handled, true, memory_order_relaxed);
    pthread_mutex_lock(agenda_lock(agenda));
    settled = future_is_settled(source);
    list_init(&reaction->link);
    list_init(&reaction->task.link);
    if (settled)
        agenda_add_locked(agenda, AGENDA_CONTINUATION, &reaction->task);
    else
        list_append(&source->reactions, &reaction->link);
    pthread_mutex_unlock(agenda_lock(agenda));
    if (settled)
        agenda_settle(agenda);
}

static void abort_run(struct reaction *reaction, bool dropped)
{
    struct future *future = LIST_ENTRY(reaction, struct future, abort), *signal = reaction->source;

    (void)dropped;
    future_cancel(future);
    future_release(signal);
    future_release(future);
}

int future_cancel_on(struct future *future, struct future *signal)
{
    bool settled, taken;

    pthread_mutex_lock(agenda_lock(future->agenda));
    settled = future_is_settled(future);
    taken = future->signal != NULL;
    if (!settled && !taken && future != signal)
        future->signal = signal;
    pthread_mutex_unlock(agenda_lock(future->agenda));
    if (taken || future == signal)
        return -EINVAL;
    if (settled)
        return 0;
    if (future_is_settled(signal)) {
        future_cancel(future);
        return 0;
    }
    future->abort.run = abort_run;
    future_retain(future);
    future_react(future_retain(signal), &future->abort, true);
    if (future_is_settled(future))
        abort_unlink(future, signal); /* settled by another thread meanwhile */
    return 0;
}

/* ---- then ---- */

/* In the extra memory of the future it leads to. Holds a reference to that and to its source. */
struct then {
    struct reaction reaction;
    future_continuation *on_fulfilled, *on_rejected;
    void *ctx;
    bool passes; /* finally: the source's result passes through */
};

static void follow_run(struct reaction *reaction, bool dropped)
{
    struct future *next = future_of_extra(reaction), *source = reaction->source;

    (void)dropped;
    result_share(next, source);
    future_release(source);
    future_release(next);
}

/* Uses the reaction in the extra memory of `next` a second time, or for the first. */
static void follow(struct future *next, struct future *future)
{
    struct then *then = future_extra(next);

    then->reaction.run = follow_run;
    future_retain(next);
    future_react(future, &then->reaction, true);
}

/* finally, whose continuation gave a future to wait for: then the first result passes, or this one's rejection. */
struct pass {
    struct then then; /* of this step, which settles `next` */
    struct future *first, *next;
};

static void pass_run(struct reaction *reaction, bool dropped)
{
    struct pass *pass = (struct pass *)(void *)reaction;
    struct future *step = future_of_extra(reaction), *source = reaction->source;

    (void)dropped;
    result_share(pass->next, source->result.code < 0 ? source : pass->first);
    reject(step, agenda_codes(step->agenda)->canceled); /* nobody sees it */
    future_release(pass->first);
    future_release(pass->next);
    future_release(source);
    future_release(step);
}

static void pass_after(struct future *next, struct future *first, struct future *waited)
{
    struct future *step = future_create(next->agenda, sizeof(struct pass));
    struct pass *pass;

    if (!step) {
        reject(next, agenda_codes(next->agenda)->no_memory);
        future_release(waited);
        return;
    }
    pass = future_extra(step);
    pass->first = future_retain(first);
    pass->next = future_retain(next);
    pass->then.reaction.run = pass_run;
    future_react(waited, &pass->then.reaction, true);
}

static void outcome_take(struct future *next, struct future *source, bool passes, int rc,
                         struct future_outcome *outcome)
{
    if (rc < 0 || (passes && !outcome->future)) {
        if (outcome->destroy)
            outcome->destroy((void *)(uintptr_t)outcome->result.pointer);
        if (rc < 0)
            reject(next, rc);
        else
            result_share(next, source);
        if (outcome->future)
            future_release(outcome->future);
    } else if (outcome->future == next) {
        reject(next, agenda_codes(next->agenda)->invalid); /* it would wait for itself */
        future_release(next);
    } else if (passes) {
        pass_after(next, source, outcome->future);
    } else if (outcome->future) {
        follow(next, outcome->future);
    } else {
        outcome->result.code = 0;
        settle(next, &outcome->result, outcome->destroy, NULL, false);
    }
}

static void then_run(struct reaction *reaction, bool dropped)
{
    struct then *then = (struct then *)(void *)reaction;
    struct future *next = future_of_extra(then), *source = reaction->source;
    future_continuation *call = source->result.code < 0 ? then->on_rejected : then->on_fulfilled;
    struct future_outcome outcome = {0};

    if (dropped)
        reject(next, agenda_codes(next->agenda)->closed);
    else if (!call)
        result_share(next, source);
    else
        outcome_take(next, source, then->passes, call(then->ctx, &source->result, &outcome), &outcome);
    future_release(source);
    future_release(next);
}

/* ctx_size: the context is copied behind the reaction. */
static int then_add(struct future *future, const struct then *from, size_t ctx_size, struct future **ret_next)
{
    struct future *next = future_create(future->agenda, sizeof(*from) + ctx_size);
    struct then *then;

    if (!next)
        return agenda_is_closed(future->agenda) ? -EPIPE : -ENOMEM;
    then = future_extra(next);
    *then = *from;
    if (ctx_size > 0) {
        memcpy(then + 1, from->ctx, ctx_size);
        then->ctx = then + 1;
    }
    next->derived = true;
    if (ret_next)
        *ret_next = future_retain(next); /* the first reference is the reaction's */
    future_react(future_retain(future), &then->reaction, true);
    return 0;
}

int future_then_copy(struct future *future, future_continuation *on_fulfilled,
                     future_continuation *on_rejected, bool passes, const void *ctx, size_t size,
                     struct future **ret_next)
{
    struct then then = {.reaction.run = then_run,
                        .on_fulfilled = on_fulfilled,
                        .on_rejected = on_rejected,
                        .ctx = (void *)(uintptr_t)ctx,
                        .passes = passes};

    return then_add(future, &then, size, ret_next);
}

int future_then(struct future *future, future_continuation *on_fulfilled, future_continuation *on_rejected,
                void *ctx, struct future **ret_next)
{
    return future_then_copy(future, on_fulfilled, on_rejected, false, ctx, 0, ret_next);
}

int future_finally(struct future *future, future_continuation *always, void *ctx, struct future **ret_next)
{
    return future_then_copy(future, always, always, true, ctx, 0, ret_next);
}

/* ---- timers ---- */

static void timer_run(struct task *task, bool dropped)
{
    struct agenda_timer *timer = (struct agenda_timer *)(void *)task;
    struct future *future = future_of_extra(timer);

    if (!dropped)
        settle(future, &(struct future_result){0}, NULL, NULL, false);
    future_release(future);
}

static void timer_cancel(struct future *future)
{
    if (agenda_timer_remove(future->agenda, future_extra(future)))
        future_release(future); /* the heap's */
}

int future_timer(struct agenda *agenda, int64_t due_us, struct future **ret)
{
    struct future *future = future_create(agenda, sizeof(struct agenda_timer));
    struct agenda_timer *timer;
    int rc;

    if (!future)
        return agenda_is_closed(agenda) ? -EPIPE : -ENOMEM;
    timer = future_extra(future);
    list_init(&timer->task.link);
    timer->task.run = timer_run;
    timer->node.place = HEAP_NOWHERE;
    future->cancel = timer_cancel;
    future_retain(future);
    if ((rc = agenda_timer_add(agenda, timer, due_us)) < 0) {
        future->cancel = NULL;
        future_release(future);
        future_release(future);
        return rc;
    }
    *ret = future;
    return 0;
}

/* ---- the loop is closed ---- */

/* One at a time, for rejecting lets others come and go. */
static struct future *pending_take(struct agenda *agenda, bool roots_only)
{
    struct list *futures = agenda_futures(agenda);
    struct future *found = NULL;

    pthread_mutex_lock(agenda_lock(agenda));
    for (struct list *link = futures->next; link != futures && !found; link = link->next) {
        struct future *future = LIST_ENTRY(link, struct future, link);
        unsigned references = atomic_load_explicit(&future->references, memory_order_relaxed);
        if (roots_only && future->derived)
            continue;
        while (references > 0 && !found) /* 0: it is being freed by another thread */
            if (atomic_compare_exchange_weak(&future->references, &references, references + 1))
                found = future;
    }
    pthread_mutex_unlock(agenda_lock(agenda));
    return found;
}

void agenda_futures_close(struct agenda *agenda, bool roots_only)
{
    struct future *future;

    while ((future = pending_take(agenda, roots_only))) {
        if (reject(future, agenda_codes(agenda)->closed) && future->cancel)
            future->cancel(future);
        future_release(future);
    }
}
