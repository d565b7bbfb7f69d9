/* future.h: a value that comes later: what a promise is in JavaScript, with ECMAScript 2021's rules.
 *
 * A future is pending, then settled once and for ever: fulfilled (code 0) or rejected (code < 0). What follows from it (its
 * continuations) never runs inside the call that settles it, but on the loop of its agenda, in the order they were
 * added; exactly once each, at the latest when the loop is closed.
 *
 *     struct future *offset = future_create(agenda, 0);            pending, one reference
 *     future_then(offset, on_offset, on_failure, ctx, &next);      next: what the continuation makes of it
 *     future_settle(offset, &(struct future_result){.number = 42}, NULL);
 *
 * OWNERSHIP. A function that returns a future returns one reference. What a result points to belongs to its future and
 * lives as long as that does; `destroy` frees it. Combinators hold their inputs until they themselves are freed.
 * A future that was rejected and freed without anybody having looked is told to the agenda (unhandled), unless it was
 * canceled: an error is never silent.
 *
 * Threads: any, unless said otherwise. Continuations and `unhandled`: the loop's. */
#ifndef CRIER_BASE_FUTURE_H
#define CRIER_BASE_FUTURE_H

#include "base/agenda.h"
#include "base/handle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct future;
#ifdef CRIER_DEBUG
extern struct handle_kind future_handles;
#endif

struct future_result {
    int code;            /* 0: fulfilled; < 0: rejected, and why */
    const char *text;    /* static, or as long as what `pointer` points to; NULL: what the code says */
    uint64_t number;     /* an offset, an index, a count */
    const void *pointer; /* a value; of combinators an array of future_result */
    size_t size;         /* its bytes; of combinators the number of results */
};

/* What a continuation makes of a result: the outcome of the future that follows it. */
struct future_outcome {
    struct future_result result;    /* code: not looked at */
    void (*destroy)(void *pointer); /* of result.pointer, taken; NULL: nothing to free */
    struct future *future;          /* taken: the outcome is this one's; NULL: `result` is it */
};

/* Returns 0, or < 0: the next future is rejected with that. outcome: zeroed. result: borrowed for the call. */
typedef int future_continuation(void *ctx, const struct future_result *result, struct future_outcome *ret);

/* A pending one. extra: bytes of zeroed memory that belong to it (future_extra), for whoever makes it. NULL: out of memory, or
 * the agenda is closed. */
struct future *future_create(struct agenda *agenda, size_t extra);
void *future_extra(struct future *future);
struct future *future_of_extra(void *extra);
/* Called when it is freed, on any thread. Set before the future is shown to anybody. */
void future_on_free(struct future *future, void (*finish)(struct future *future));
/* Called when it was canceled before it was settled: whatever would have settled it need not. Any thread. Set as above. */
void future_on_cancel(struct future *future, void (*cancel)(struct future *future));
struct future *future_retain(struct future *future);
void future_release(struct future *future); /* accepts NULL */
struct agenda *future_agenda(const struct future *future);

/* result: copied. destroy: of result->pointer, now or when the future is freed. false: it was settled already. */
bool future_settle(struct future *future, const struct future_result *result, void (*destroy)(void *pointer));
/* Rejects it with codes.canceled, and calls what future_on_cancel said. false: it was settled already. */
bool future_cancel(struct future *future);
/* Cancels `future` when `signal` settles, either way; at once if it has. One signal per future: 0, or -EINVAL. */
int future_cancel_on(struct future *future, struct future *signal);

bool future_is_settled(const struct future *future);
/* false: pending. A rejection counts as looked at. Borrowed: see OWNERSHIP. */
bool future_result(struct future *future, struct future_result *ret);
/* Waits until it is settled: 0, or as agenda_ops.wait says. */
int future_wait(struct future *future, int64_t deadline_us);

/* Calls on_fulfilled or on_rejected (either may be NULL: the result passes through) when it is settled. ret_next: NULL:
 * nobody wants it. 0, -ENOMEM, -EPIPE (the agenda is closed). */
int future_then(struct future *future, future_continuation *on_fulfilled, future_continuation *on_rejected,
                void *ctx, struct future **ret_next);
/* Calls `always` either way; the result passes through, unless that returns < 0. ret->future: waited for; its rejection wins. */
int future_finally(struct future *future, future_continuation *always, void *ctx, struct future **ret_next);
/* The same two with a context of `size` bytes, copied: it lives as long as the next future. passes: as finally. */
int future_then_copy(struct future *future, future_continuation *on_fulfilled,
                     future_continuation *on_rejected, bool passes, const void *ctx, size_t size,
                     struct future **ret_next);

/* Fulfilled at due_us, by the loop's clock. 0, -ENOMEM, -EPIPE. */
int future_timer(struct agenda *agenda, int64_t due_us, struct future **ret);

/* ---- future_combine.c: of `count` futures, borrowed; more of ES2021's rules there ---- */

enum future_combinator {
    FUTURE_ALL,         /* all fulfilled: the results, in order of the inputs; or the first rejection */
    FUTURE_ALL_SETTLED, /* fulfilled when none is pending: results in order of the inputs, rejected ones too */
    FUTURE_RACE,        /* as the first that settles; of none: pending for ever (until canceled) */
    FUTURE_ANY /* as the first that is fulfilled; or rejected with all the reasons, in order of the inputs */
};
/* A result's number is, for race and any, passed through from its input. 0, -ENOMEM, -EPIPE. */
int future_combine(struct agenda *agenda, enum future_combinator how, struct future *const *inputs,
                   size_t count, struct future **ret);

/* ---- for future_combine.c ---- */

/* A step of what follows a future: runs as a continuation of `source`, on its agenda's loop. */
struct reaction {
    struct task task;
    struct list link; /* source.reactions */
    struct future *source;
    void (*run)(struct reaction *reaction, bool dropped);
};
/* source: borrowed, must live until it has run. handled: it takes care of a rejection. */
void future_react(struct future *source, struct reaction *reaction, bool handled);
/* The result of a settled one, without a lock. */
const struct future_result *future_settled_result(const struct future *future);

#endif
