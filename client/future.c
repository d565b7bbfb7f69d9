/* future.c: the public face of futures: crier/future.h over base/future.h, and the bus as their loop.
 *
 * Role:     translates handles, codes and structs; makes futures of emits and timers; lets base/agenda.h drive ticks,
 *           continuations and timers inside loop_turn.
 * Thread:   any; bus_agenda_*: as bus_internal.h says.
 *
 * Happy path:  crier_emit_future -> `done` on the I/O thread -> future_settle -> loop_turn: agenda_drain -> continuation
 * Failures:    the bus is closed: agenda_close rejects what is pending; afterwards every call that needs the loop says
 *              CRIER_ECLOSED, and what is settled can still be looked at. */
#include "crier/future.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/future.h"
#include "client/bus_internal.h"
#include "client/future_internal.h"
#include "client/handles.h"
#include "client/struct_size.h"

#include <errno.h>
#include <stdlib.h>

/* A crier_result is a future_result, seen from outside. */
_Static_assert(sizeof(crier_result) == sizeof(struct future_result) &&
                   offsetof(crier_result, code) == offsetof(struct future_result, code) &&
                   offsetof(crier_result, text) == offsetof(struct future_result, text) &&
                   offsetof(crier_result, number) == offsetof(struct future_result, number) &&
                   offsetof(crier_result, pointer) == offsetof(struct future_result, pointer) &&
                   offsetof(crier_result, size) == offsetof(struct future_result, size),
               "arrays of results are shown as they are");

static struct future *inner(crier_future *future)
{
    return (struct future *)future;
}

crier_future *future_public(struct future *future)
{
    return (crier_future *)future;
}

int future_error(int rc)
{
    switch (rc) {
    case -ENOMEM:
        return CRIER_ENOMEM;
    case -EPIPE:
        return CRIER_ECLOSED;
    case -EINVAL:
        return CRIER_EINVAL;
    default:
        return rc;
    }
}

/* ---- the bus as a loop ---- */

static void on_wake(void *ctx)
{
    bus_wake(ctx);
}

struct wait {
    bool (*done)(const void *arg);
    const void *arg;
};

static bool wait_is_done(crier *bus, const void *ctx)
{
    const struct wait *wait = ctx;

    (void)bus;
    return wait->done(wait->arg);
}

static int on_wait(void *ctx, bool (*done)(const void *arg), const void *arg, int64_t deadline_us)
{
    struct wait wait = {.done = done, .arg = arg};
    crier *bus = ctx;
    int rc;

    pthread_mutex_lock(&bus->lock);
    rc = bus_wait(bus, wait_is_done, &wait, deadline_us);
    pthread_mutex_unlock(&bus->lock);
    return rc;
}

static void on_unhandled(void *ctx, int code, const char *text)
{
    crier *bus = ctx;
    const char *words = text ? text : crier_strerror(code);

    if (bus->emitter)
        emitter_loop_error(bus, code, words);
    else
        engine_tell_error(bus->engine, code, words);
}

struct agenda *bus_agenda_create(crier *bus)
{
    static const struct agenda_ops ops = {.wake = on_wake, .wait = on_wait, .unhandled = on_unhandled};
    static const struct agenda_codes codes = {.canceled = CRIER_ECANCELED,
                                              .closed = CRIER_ECLOSED,
                                              .no_memory = CRIER_ENOMEM,
                                              .invalid = CRIER_EINVAL};

    return agenda_create(&ops, &codes, bus);
}

/* ---- where futures come from ---- */

static int made(crier *bus, struct future *future, crier_future **ret_future)
{
    if (!future)
        return agenda_is_closed(bus->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    *ret_future = future_public(future);
    return 0;
}

int crier_future_create(crier *bus, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    int rc;

    if (!bus || !ret_future)
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    return made(bus, future_create(bus->agenda, 0), ret_future);
}

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct future *future = ctx;

    (void)bus;
    future_settle(future, &(struct future_result){.code = code, .number = offset}, NULL);
    future_release(future);
}

int crier_emit_future(crier *bus, const char *topic, const void *value, size_t value_size,
                      const struct crier_emit_options *options, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    struct crier_emit_options copy = crier_emit_options_default();
    struct future *future;
    int rc;

    if (!bus || !ret_future || !struct_take(&copy, sizeof(copy), options) || copy.done)
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    if (!(future = future_create(bus->agenda, 0)))
        return made(bus, future, ret_future);
    copy.done = on_emitted;
    copy.ctx = future_retain(future);
    if ((rc = crier_emit_with(bus, topic, value, value_size, &copy)) < 0) {
        future_cancel(future);
        future_release(future);
        future_release(future);
        return rc;
    }
    *ret_future = future_public(future);
    return 0;
}

int crier_after(crier *bus, int64_t delay_us, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    struct future *future;
    int64_t now = clock_monotonic_us();
    int rc;

    if (!bus || !ret_future || delay_us < 0)
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    rc =
        future_timer(bus->agenda, delay_us < AGENDA_NEVER - now ? now + delay_us : AGENDA_NEVER - 1, &future);
    if (rc == 0)
        *ret_future = future_public(future);
    return future_error(rc);
}

int crier_future_settle(crier_future *future, const crier_result *result, void (*destroy)(void *pointer))
{
    handle_check(&future_handles, future);
    struct future_result copy;

    if (!future || !result)
        return CRIER_EINVAL;
    copy = *(const struct future_result *)(const void *)result;
    if (copy.code > 0)
        copy.code = 0;
    return future_settle(inner(future), &copy, destroy) ? 0 : CRIER_EEXIST;
}

crier_future *crier_future_retain(crier_future *future)
{
    handle_check(&future_handles, future);
    return future ? future_public(future_retain(inner(future))) : NULL;
}

void crier_future_release(crier_future *future)
{
    handle_check(&future_handles, future);
    future_release(inner(future));
}

/* ---- looking and waiting ---- */

int crier_future_result(crier_future *future, crier_result *ret_result)
{
    handle_check(&future_handles, future);
    if (!future || !ret_result)
        return CRIER_EINVAL;
    return future_result(inner(future), (struct future_result *)(void *)ret_result) ? 0 : CRIER_EAGAIN;
}

int crier_future_wait(crier_future *future, int timeout_ms, crier_result *ret_result)
{
    handle_check(&future_handles, future);
    int64_t deadline = timeout_ms < 0 ? AGENDA_NEVER : clock_monotonic_us() + timeout_ms * INT64_C(1000);
    struct future_result result;
    int rc;

    if (!future)
        return CRIER_EINVAL;
    if ((rc = future_wait(inner(future), deadline)) < 0)
        return rc;
    CHECK(future_result(inner(future), &result));
    if (ret_result)
        *(struct future_result *)(void *)ret_result = result;
    return result.code;
}

int crier_future_cancel(crier_future *future)
{
    handle_check(&future_handles, future);
    if (!future)
        return CRIER_EINVAL;
    return future_cancel(inner(future)) ? 0 : CRIER_EEXIST;
}

int crier_future_cancel_on(crier_future *future, crier_future *signal)
{
    handle_check(&future_handles, future);
    handle_check(&future_handles, signal);
    if (!future || !signal)
        return CRIER_EINVAL;
    return future_error(future_cancel_on(inner(future), inner(signal)));
}

/* ---- what follows ---- */

/* The user's continuation, kept with the future that follows. */
struct continuation {
    crier_continuation *on_fulfilled, *on_rejected;
    void *ctx;
    crier *bus; /* whose loop runs it: there when it does */
};

static int continuation_run(const struct continuation *continuation, crier_continuation *call,
                            const struct future_result *result, struct future_outcome *ret)
{
    crier_outcome outcome = {0};
    int rc = call((const crier_result *)(const void *)result, &outcome, continuation->ctx);

    bus_called(continuation->bus, CRIER_LOOP_CONTINUATION, NULL, (void (*)(void))call);
    ret->result = *(struct future_result *)(void *)&outcome.result;
    ret->destroy = outcome.destroy;
    ret->future = inner(outcome.future);
    return rc;
}

static int fulfilled_run(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    const struct continuation *continuation = ctx;

    return continuation_run(continuation, continuation->on_fulfilled, result, ret);
}

static int rejected_run(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    const struct continuation *continuation = ctx;

    return continuation_run(continuation, continuation->on_rejected, result, ret);
}

static int follow(crier_future *future, struct continuation *continuation, bool passes,
                  crier_future **ret_next)
{
    struct future *next = NULL;
    int rc;

    if (!future)
        return CRIER_EINVAL;
    continuation->bus = agenda_ctx(future_agenda(inner(future)));
    rc = future_then_copy(inner(future), continuation->on_fulfilled ? fulfilled_run : NULL,
                          continuation->on_rejected ? rejected_run : NULL, passes, continuation,
                          sizeof(*continuation), ret_next ? &next : NULL);
    if (rc == 0 && ret_next)
        *ret_next = future_public(next);
    return future_error(rc);
}

int crier_future_then(crier_future *future, crier_continuation *on_fulfilled, crier_continuation *on_rejected,
                      void *ctx, crier_future **ret_next)
{
    handle_check(&future_handles, future);
    struct continuation continuation = {.on_fulfilled = on_fulfilled, .on_rejected = on_rejected, .ctx = ctx};

    return follow(future, &continuation, false, ret_next);
}

int crier_future_catch(crier_future *future, crier_continuation *on_rejected, void *ctx,
                       crier_future **ret_next)
{
    handle_check(&future_handles, future);
    return crier_future_then(future, NULL, on_rejected, ctx, ret_next);
}

int crier_future_finally(crier_future *future, crier_continuation *always, void *ctx, crier_future **ret_next)
{
    handle_check(&future_handles, future);
    struct continuation continuation = {.on_fulfilled = always, .on_rejected = always, .ctx = ctx};

    return follow(future, &continuation, true, ret_next);
}

/* ---- of many ---- */

static int combine(crier *bus, enum future_combinator how, crier_future *const *futures, size_t count,
                   crier_future **ret_future)
{
    struct future *future;
    int rc;

    if (!bus || !ret_future || (!futures && count > 0))
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        if (!futures[i])
            return CRIER_EINVAL;
    rc = future_combine(bus->agenda, how, (struct future *const *)(const void *)futures, count, &future);
    if (rc == 0)
        *ret_future = future_public(future);
    return future_error(rc);
}

int crier_future_all(crier *bus, crier_future *const *futures, size_t count, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    return combine(bus, FUTURE_ALL, futures, count, ret_future);
}

int crier_future_all_settled(crier *bus, crier_future *const *futures, size_t count,
                             crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    return combine(bus, FUTURE_ALL_SETTLED, futures, count, ret_future);
}

int crier_future_race(crier *bus, crier_future *const *futures, size_t count, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    return combine(bus, FUTURE_RACE, futures, count, ret_future);
}

int crier_future_any(crier *bus, crier_future *const *futures, size_t count, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    return combine(bus, FUTURE_ANY, futures, count, ret_future);
}

/* ---- the loop ---- */

struct call {
    struct task task;
    crier *bus;
    void (*call)(crier *bus, void *ctx);
    void *ctx;
    enum crier_loop_kind kind;
};

static void call_run(struct task *task, bool dropped)
{
    struct call call = *LIST_ENTRY(task, struct call, task);

    free(LIST_ENTRY(task, struct call, task));
    if (dropped)
        return;
    call.call(call.bus, call.ctx);
    bus_called(call.bus, call.kind, NULL, (void (*)(void))call.call);
}

static int call_add(crier *bus, enum agenda_queue queue, void (*function)(crier *bus, void *ctx), void *ctx)
{
    struct call *call;
    int rc;

    if (!bus || !function)
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    if (agenda_is_closed(bus->agenda))
        return CRIER_ECLOSED;
    if (!(call = malloc(sizeof(*call))))
        return CRIER_ENOMEM;
    *call = (struct call){.task.run = call_run,
                          .bus = bus,
                          .call = function,
                          .ctx = ctx,
                          .kind = queue == AGENDA_TICK ? CRIER_LOOP_TICK : CRIER_LOOP_IMMEDIATE};
    list_init(&call->task.link);
    agenda_add(bus->agenda, queue, &call->task);
    return 0;
}

int crier_next_tick(crier *bus, void (*call)(crier *bus, void *ctx), void *ctx)
{
    handle_check(&bus_handles, bus);
    return call_add(bus, AGENDA_TICK, call, ctx);
}

int crier_immediate(crier *bus, void (*call)(crier *bus, void *ctx), void *ctx)
{
    handle_check(&bus_handles, bus);
    return call_add(bus, AGENDA_IMMEDIATE, call, ctx);
}
