/* crier/future.h: values that come later: what promises are in JavaScript, with ECMAScript 2021's rules, in C.
 *
 *     static int on_stored(const crier_result *result, crier_outcome *ret, void *ctx) { ... result->number: the offset ... }
 *
 *     crier_future *stored;
 *     crier_emit_future(bus, "orders.placed", "hello", 5, NULL, &stored);
 *     crier_future_then(stored, on_stored, NULL, ctx, NULL);
 *     crier_future_release(stored);
 *
 * A future is pending, then settled, once and for ever: fulfilled (code 0) or rejected (code < 0). Continuations never run
 * inside the call that settles it: they run on its bus's loop, in the order they were added, exactly once each; what is
 * still pending when the bus is closed is rejected with CRIER_ECLOSED, and told, before crier_close() returns.
 *
 * THE LOOP'S ORDER is Node's (docs/loop.md): after every handler, immediate and timer first the ticks, then the
 * continuations, until there are none (but at most 1024 at a time: a queue that feeds itself cannot keep the others waiting).
 *
 * LOCAL. A bus of local: gets a loop, on a thread of its own unless the options say where, with the first call that needs one.
 * Handlers go on being called inside crier_emit(), never at the same time as a continuation of that bus.
 *
 * THREADS. Any thread may call any function here; continuations run on the loop's thread. crier_future_wait() there
 * returns CRIER_EDEADLK (on a caller's loop, outside its callbacks, it drives the bus meanwhile).
 *
 * OWNERSHIP. A function that returns a future returns one reference: crier_future_release() it, also after `then`. What a
 * result points to belongs to the future that shows it and lives as long as that. A future may outlive its bus.
 *
 * ERRORS. A rejected future that is released without anybody having looked (then, wait, result, a combinator) becomes an
 * "error" event like any other failure: an error is never silent. Not so what was canceled or closed. */
#ifndef CRIER_FUTURE_H
#define CRIER_FUTURE_H

#include <crier/crier.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A value that comes later. Any thread; by reference count. */
typedef struct crier_future crier_future;

/** How a future was settled. */
typedef struct crier_result {
    int code;            /* 0: fulfilled; < 0: rejected, and why */
    const char *text;    /* of a rejection, as long as its future; NULL: what crier_strerror(code) says */
    uint64_t number;     /* of an emit: the offset (UINT64_MAX: not told) */
    const void *pointer; /* a value; of all, all_settled and a failed any: an array of crier_result */
    size_t size;         /* of the value in bytes; of the array: how many */
} crier_result;

/** What a continuation makes of a result: how the future after it settles. Zeroed before the call. */
typedef struct crier_outcome {
    crier_result result;            /* code and text: not looked at */
    void (*destroy)(void *pointer); /* of result.pointer, which is taken with it; NULL: nothing to free */
    crier_future *future;           /* taken: its outcome is the outcome; NULL: `result` is */
} crier_outcome;

/** A continuation. Returns 0, or < 0: the future after it is rejected with that. result: borrowed. */
typedef int crier_continuation(const crier_result *result, crier_outcome *ret, void *ctx);

/* ---- where futures come from ---- */

/** Emits, as crier_emit_with(); fulfilled with the offset when it is acknowledged. options.done must be NULL. Canceling it
 *  does not take the event back. Returns as crier_emit_with(); on an error nothing was emitted, and there is no future. */
CRIER_API int crier_emit_future(crier *bus, const char *topic, const void *value, size_t value_size,
                                const struct crier_emit_options *options, crier_future **ret_future);
/** Fulfilled after delay_us (0 or more), by the loop. Canceling it frees its timer. 0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_after(crier *bus, int64_t delay_us, crier_future **ret_future);
/** A pending one, to be settled by the program. 0, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_future_create(crier *bus, crier_future **ret_future);
/** Settles it: result: copied (code > 0 counts as 0); destroy: of result->pointer, NULL: none; called now if it was settled already.
 *  0, or CRIER_EEXIST (it was). */
CRIER_API int crier_future_settle(crier_future *future, const crier_result *result,
                                  void (*destroy)(void *pointer));

/** One reference more: returned, the same future; NULL: for NULL. */
CRIER_API crier_future *crier_future_retain(crier_future *future);
/** Gives a reference back. Accepts NULL. */
CRIER_API void crier_future_release(crier_future *future);

/* ---- looking and waiting ---- */

/** 0, or CRIER_EAGAIN: pending. ret_result: what it points to lives as long as the future. */
CRIER_API int crier_future_result(crier_future *future, crier_result *ret_result);
/** Waits until it is settled, timeout_ms (-1: no limit): then the result's code (ret_result, which may be NULL, is written).
 *  CRIER_ETIMEDOUT (still pending: crier_future_result() tells the two apart), CRIER_EDEADLK. Blocking. */
CRIER_API int crier_future_wait(crier_future *future, int timeout_ms, crier_result *ret_result);
/** Rejects it with CRIER_ECANCELED; what it was waiting for is given up where that can be. 0, or CRIER_EEXIST (settled). */
CRIER_API int crier_future_cancel(crier_future *future);
/** Cancels `future` when `signal` settles, either way, or at once if it has: one abort signal for many waits is a future that
 *  was given to all of them (crier_after() is one that goes off by itself). 0, or CRIER_EINVAL: it has a signal already. */
CRIER_API int crier_future_cancel_on(crier_future *future, crier_future *signal);

/* ---- what follows ---- */

/** Calls on_fulfilled or on_rejected when it is settled; either may be NULL: the result passes. ret_next (may be NULL): what the
 *  continuation makes of it. ctx: as is. 0, CRIER_ENOMEM, CRIER_ECLOSED (nothing will be called). */
CRIER_API int crier_future_then(crier_future *future, crier_continuation *on_fulfilled,
                                crier_continuation *on_rejected, void *ctx, crier_future **ret_next);
/** The same for rejections alone. */
CRIER_API int crier_future_catch(crier_future *future, crier_continuation *on_rejected, void *ctx,
                                 crier_future **ret_next);
/** Calls `always` either way; then the result passes, unless that returned < 0 or a future that was rejected. */
CRIER_API int crier_future_finally(crier_future *future, crier_continuation *always, void *ctx,
                                   crier_future **ret_next);

/* ---- of many: borrowed, NULL if count is 0; of several buses too. 0, CRIER_ENOMEM, CRIER_ECLOSED ---- */

/** Fulfilled with all results, in order of the inputs, or rejected with the first rejection. Of none: fulfilled. */
CRIER_API int crier_future_all(crier *bus, crier_future *const *futures, size_t count,
                               crier_future **ret_future);
/** Fulfilled when none is pending, with all results in order of the inputs, rejected ones too. */
CRIER_API int crier_future_all_settled(crier *bus, crier_future *const *futures, size_t count,
                                       crier_future **ret_future);
/** As the first that settles. Of none: pending for ever. */
CRIER_API int crier_future_race(crier *bus, crier_future *const *futures, size_t count,
                                crier_future **ret_future);
/** As the first that is fulfilled; if all are rejected: rejected with the code of the first and an array of all the results, in
 *  order of the inputs. Of none: rejected with CRIER_EINVAL. */
CRIER_API int crier_future_any(crier *bus, crier_future *const *futures, size_t count,
                               crier_future **ret_future);

/* ---- the loop ---- */

/** Called on the bus's loop: tick: before continuations and anything else; immediate: after the I/O that is under way. Not
 *  called any more if the bus is closed meanwhile. 0, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_next_tick(crier *bus, void (*call)(crier *bus, void *ctx), void *ctx);
/** The same, after the I/O that is under way. */
CRIER_API int crier_immediate(crier *bus, void (*call)(crier *bus, void *ctx), void *ctx);

#ifdef __cplusplus
}
#endif

#endif
