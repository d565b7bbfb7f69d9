/* engine.h: the client's protocol engine: bytes, calls and ticks in; bytes, callbacks and due times out.
 *
 * The engine is pure: it has no socket, thread, clock, lock or random source of its own. Time is passed in, randomness
 * is seeded, and whoever drives it moves the bytes. crier's own I/O thread (loop.c), a caller's libevent loop and the
 * simulator all drive this very code.
 *
 *     engine_create -> engine_start -> ops.connect -> engine_connected -> HELLO .. WELCOME -> ops.connection(true)
 *
 *     one turn of a driver:  engine_collect         take what was emitted            (under the emit lock)
 *                            engine_output          write it, engine_output_consumed
 *                            engine_input           read into it, engine_received
 *                            engine_dispatch        run handlers, a few at a time
 *                            engine_tick            when engine_due has come
 *
 * THREADS. A driver has one I/O thread. Every function is for that thread, without any lock held, except two kinds:
 *   [emit lock]  touches only what emitting threads share with the engine (the stage): the driver serialises these with
 *                one lock of its own; any thread. They are short and call nothing back.
 *   [any]        safe anywhere, any time.
 * A single-threaded driver (the simulator) needs no lock at all.
 *
 * CALLBACKS run inside engine_received, engine_dispatch, engine_tick, engine_disconnected, engine_listen, engine_unlisten,
 * engine_close and engine_drop. They may call [emit lock] and [any] functions (with the lock); anything else only after
 * the engine call they were made from has returned. ops.connect and ops.disconnect must not call back at once either:
 * the driver notes the wish and acts when the engine call has returned.
 *
 * OWNERSHIP. A batch is built where it is sent from: engine_output hands out pointers into it, and its bytes never move
 * or change until its outcome is known. Received bytes stay in the buffer they were received into until the last
 * handler has seen them; unhandled ones are bounded by the listeners' credit. */
#ifndef CRIER_CLIENT_ENGINE_H
#define CRIER_CLIENT_ENGINE_H

#include "base/list.h"
#include "crier/atomic.h"
#include "crier/crier.h"
#include "crier/schedule.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define ENGINE_PROTOCOL_VERSION 1
#define ENGINE_FEATURE_LEVEL    3
#define ENGINE_LEVEL_CONSUMED   3         /* from here on an EMIT may move positions of groups */
#define ENGINE_NEVER            INT64_MAX /* engine_due: no timer is set */
#define ENGINE_IN_FLIGHT_MAX    32 /* sequenced batches of one partition: what the broker's window remembers */

struct engine;
struct listen_partition;
struct delivery;

/* What the engine asks of its driver. Each is called on the I/O thread; none may be NULL. */
struct engine_ops {
    /* Connect to this endpoint (0 .. endpoint_count - 1); engine_connected or engine_disconnected answers. */
    void (*connect)(void *ctx, unsigned endpoint);
    /* Drop the connection, or the attempt: the engine has already forgotten it; engine_disconnected is not called. */
    void (*disconnect)(void *ctx);
    /* WELCOME arrived (code 0), a ready connection was lost, or an attempt failed (connected false, code and why). */
    void (*connection)(void *ctx, bool connected, int code, const char *text);
    /* There is room again after engine_emit returned CRIER_EAGAIN. */
    void (*drain)(void *ctx);
    /* The listener is about to be freed; its user's `released` has run. */
    void (*released)(void *ctx, crier_listener *listener);
};

struct engine_config {
    crier *bus; /* handed to handlers and to `done` as is; may be NULL */
    struct crier_options
        options;          /* name is copied; base, drain, connection and ctx are the driver's, unused here */
    uint8_t instance[16]; /* random: who this client is, for its whole life */
    uint64_t seed;        /* of the jitter in delays */
    unsigned endpoint_count; /* >= 1; tried in turn */
};

/* config: copied. ops: borrowed for the engine's life. NULL: out of memory. */
struct engine *engine_create(const struct engine_config *config, const struct engine_ops *ops, void *ctx);
/* Frees everything, calling nobody back but `released` of listeners that are left. Accepts NULL. */
void engine_destroy(struct engine *engine);

/* ---- the connection ---- */

void engine_start(struct engine *engine, int64_t now_us);     /* once; calls ops.connect */
void engine_connected(struct engine *engine, int64_t now_us); /* the bytes of HELLO are ready to be sent */
/* The connection or the attempt failed by itself (code: CRIER_ECONNECT, ...; text: borrowed). Reconnects after a delay. */
void engine_disconnected(struct engine *engine, int64_t now_us, int code, const char *text);

/* The bytes to send next, as at most `count` pieces; 0: none. Valid until engine_output_consumed, or until the
 * connection is gone. Builds EMIT frames as far as grant and in-flight limits allow. */
size_t engine_output(struct engine *engine, struct iovec *to, size_t count, int64_t now_us);
void engine_output_consumed(struct engine *engine,
                            size_t size); /* the first `size` of those bytes were sent */

/* Where to receive into (size > 0), or CRIER_ENOMEM: try again later. Valid until engine_received. */
int engine_input(struct engine *engine, struct iovec *ret_space);
/* `size` bytes were put there. Answers, acks and listener events are handled; DELIVERed batches only queued. */
void engine_received(struct engine *engine, size_t size, int64_t now_us);

/* When engine_tick wants to be called next, or ENGINE_NEVER. Changes with every other call. */
int64_t engine_due(const struct engine *engine);
void engine_tick(struct engine *engine, int64_t now_us);

/* ---- emitting ---- */

/* [emit lock] Puts the event into the batch being built. value and options: copied; options NULL: the defaults.
 * timestamp_ms is used when options give none. *ret_wake: the I/O thread has to run engine_collect now; told once until
 * it did. Returns as crier_emit. */
int engine_emit(struct engine *engine, const char *topic, const void *value, size_t value_size,
                const struct crier_emit_options *options, int64_t timestamp_ms, bool *ret_wake);

/* [emit lock] The same, of crier_emit_later. */
int engine_emit_later(struct engine *engine, const char *topic, const void *value, size_t value_size,
                      const struct crier_later_options *later, int64_t timestamp_ms, bool *ret_wake);

/* [emit lock] As engine_emit, of crier_emit_atomic and crier_source_position. */
int engine_emit_atomic(struct engine *engine, const struct crier_atomic_event *events, size_t count,
                       const struct crier_atomic_options *options, int64_t timestamp_ms, bool *ret_wake);
int engine_source_position(const struct engine *engine, uint64_t *ret_position);

/* What engine_collect found, for threads that wait. */
struct engine_progress {
    uint64_t oldest_ticket; /* see engine_flush_ticket */
    size_t pending_bytes;   /* emitted and without outcome */
};
/* [emit lock, I/O thread only] Moves whole batches from the emitting threads to the engine, and room back to them. */
struct engine_progress engine_collect(struct engine *engine, int64_t now_us);

/* [emit lock] Everything emitted so far has an outcome, and its `done` has run, once progress.oldest_ticket is at least
 * the returned value. Also sends partly filled batches without lingering. Wake the I/O thread afterwards. */
uint64_t engine_flush_ticket(struct engine *engine);

/* ---- listening ---- */

/* [any] Checks the arguments and makes a listener that engine_listen then starts. Returns as crier_listen. */
int engine_listener_create(const struct engine *engine, const char *topic,
                           const struct crier_listen_options *options, crier_handler *handler, void *ctx,
                           crier_listener **ret_listener);
void engine_listener_destroy(crier_listener *listener); /* one that engine_listen never saw */
/* From here on the engine owns the listener, until `released` has run. */
void engine_listen(struct engine *engine, crier_listener *listener);
/* [any] No handler call begins after this on the I/O thread. engine_unlisten must follow. */
void engine_listener_stop(crier_listener *listener);
void engine_unlisten(struct engine *engine,
                     crier_listener *listener); /* commits, UNLISTEN; `released` follows */
bool engine_listener_matches(const crier_listener *listener, const char *topic, crier_handler *handler,
                             const void *ctx);              /* [any] made with these? */
crier *engine_listener_bus(const crier_listener *listener); /* [any] config.bus */
/* [any] As users see it, but for listener_count. Borrowed from the listener. */
crier_listener_info engine_listener_info(const crier_listener *listener);
/* Events on local topics: "error" (its monitors first; with nobody else there it is the engine's unheard error), and the
 * others. Not from inside another call. */
void engine_emit_error(struct engine *engine, const crier_event *event);
void engine_tell(struct engine *engine, const crier_event *event);
/* Where a driver may link a listener into a list of its own; NULL at first, not looked at by the engine. */
struct engine_listener_link {
    crier_listener *next;
    bool listed;                 /* in the driver's list of changes */
    bool started;                /* engine_listen has seen it */
    bool stopping;               /* engine_unlisten is to be called */
    bool first;                  /* crier_listen_options.first */
    uint64_t count_wanted;       /* its .count, fixed */
    struct crier_topic *counted; /* it counts among this topic's listeners */
    bool one_too_many;           /* for `count` of them there is to be a warning */
    size_t count;
};
struct engine_listener_link *engine_listener_link(crier_listener *listener);
void engine_listener_stats(const crier_listener *listener,
                           struct crier_listener_stats *ret_stats); /* [any] */

/* Runs handlers for at most `events_max` events of what was received, in the order of arrival. Returns how many ran
 * (failed ones included). engine_dispatch_pending: is there more? */
size_t engine_dispatch(struct engine *engine, size_t events_max, int64_t now_us);
bool engine_dispatch_pending(const struct engine *engine);
/* engine_dispatch returns early, after a handler that left this flag true: what it left behind comes before the next
 * handler. flag: borrowed. */
void engine_dispatch_yields_to(struct engine *engine, const atomic_bool *flag);
/* called: after each handler, on the I/O thread, with engine_create's ctx; NULL: nobody is told. */
void engine_watch(struct engine *engine,
                  void (*called)(void *ctx, const char *topic, crier_handler *handler));
/* I/O thread: tells the listeners on "error"; with nobody there, engine_error_take. text: borrowed. */
void engine_tell_error(struct engine *engine, int code, const char *text);

/* ---- handlers whose end comes later: worker pools, iterators ---- */

/* An event that the driver has taken away. Its memory: the driver's, until `release` is called. */
struct engine_taken {
    void (*release)(struct engine_taken *taken); /* the engine needs it no more; after engine_taken_done */
    struct list link;                            /* from here on the engine's */
    crier_listener *listener;
    struct listen_partition *partition;
    struct delivery *delivery;
    uint64_t offset;
    uint32_t attempt; /* of a shared group */
    bool settled;     /* the same: crier_ack or crier_nack came before its handler's end */
    int state;
    atomic_bool revoked; /* [any] its partition is another's now: better not begun */
    atomic_bool waits; /* [any] its handler has not begun; set after engine_take by who has a queue of them */
};

#define ENGINE_NOT_HANDLED 1 /* engine_taken_done: it was given back; the position stays before it */

/* Events go to this handler instead of the user's. stopping: the listener is to end and waits for what is out; called inside
 * engine calls; NULL: nobody asks. Before engine_listen. */
void engine_listener_divert(crier_listener *listener, crier_handler *handler, void (*stopping)(void *ctx),
                            void *ctx);
/* The ctx, if it was this handler; else NULL. */
void *engine_listener_diverted_by(const crier_listener *listener, crier_handler *handler); /* [any] */
bool engine_listener_is_stopped(const crier_listener *listener);                           /* [any] */
int engine_listener_call(const crier_listener *listener, const crier_event *event); /* [any] the user's */
/* Inside a diverted handler: the event is taken; engine_taken_done must follow, for as long as the engine lives. */
void engine_take(struct engine *engine, struct engine_taken *taken);
/* Inside a diverted handler that did not take: not now. The same event comes again after engine_resume. */
void engine_pause(struct engine *engine);
void engine_resume(struct engine *engine, crier_listener *listener);
/* rc: the handler's, or ENGINE_NOT_HANDLED. A listener is not released while something of it is out. */
void engine_taken_done(struct engine *engine, struct engine_taken *taken, int rc);

/* ---- requests ---- */

/* One answer: code 0 or why not. topics, groups: borrowed; `more`: this callback runs again with further ones (of a
 * group that is described: the same with its further partitions). */
struct engine_answer {
    int code;
    const char *text; /* never NULL */
    const struct crier_topic_info *topics;
    size_t topic_count;
    const struct crier_group_info *groups;
    size_t group_count;
    const struct crier_inspected *inspected; /* NULL: it was not that question */
    const struct crier_schedule_info *schedules;
    size_t schedule_count;
    uint64_t schedules_pending;
    uint64_t moved; /* REDRIVE */
    bool more;
};
typedef void engine_answered(void *ctx, const struct engine_answer *answer);

/* All: 0, or CRIER_ENOMEM, CRIER_EINVAL, CRIER_ECLOSED (then `answered` is not called). Without a connection they wait
 * for one; CRIER_ETIMEDOUT after options.request_timeout_ms. What changes something (create, alter, trim, seek, delete) and whose
 * answer was lost ends with CRIER_EUNKNOWN. */
int engine_topic_create(struct engine *engine, const char *name, const struct crier_topic_options *options,
                        engine_answered *answered, void *ctx, int64_t now_us);
int engine_topic_describe(struct engine *engine, const char *name, engine_answered *answered, void *ctx,
                          int64_t now_us);
int engine_topic_list(struct engine *engine, engine_answered *answered, void *ctx, int64_t now_us);
int engine_inspect(struct engine *engine, const struct crier_inspection *inspection,
                   engine_answered *answered, void *ctx, int64_t now_us);
int engine_topic_alter(struct engine *engine, const char *name, const struct crier_topic_changes *changes,
                       engine_answered *answered, void *ctx, int64_t now_us);
int engine_topic_delete(struct engine *engine, const char *name, engine_answered *answered, void *ctx,
                        int64_t now_us);
/* name "": the broker's clock is right. */
int engine_topic_trim(struct engine *engine, const char *name, const struct crier_topic_trim_options *options,
                      engine_answered *answered, void *ctx, int64_t now_us);
int engine_group_list(struct engine *engine, engine_answered *answered, void *ctx, int64_t now_us);
/* topic: "": none. */
int engine_group_describe(struct engine *engine, const char *name, const char *topic,
                          engine_answered *answered, void *ctx, int64_t now_us);
int engine_group_seek(struct engine *engine, const char *name, const char *topic,
                      const struct crier_group_seek_options *options, engine_answered *answered, void *ctx,
                      int64_t now_us);
int engine_group_delete(struct engine *engine, const char *name, engine_answered *answered, void *ctx,
                        int64_t now_us);
int engine_schedule_cancel(struct engine *engine, const crier_schedule *schedule, engine_answered *answered,
                           void *ctx, int64_t now_us);
/* topic "": all. At most count_max after `after`, page by page (answer.more). */
int engine_schedule_list(struct engine *engine, const char *topic, const crier_schedule *after,
                         uint32_t count_max, engine_answered *answered, void *ctx, int64_t now_us);
/* limit 0: all. CRIER_ENOTSUP is answered if the broker is too old. */
int engine_redrive(struct engine *engine, const char *topic, uint64_t limit, engine_answered *answered,
                   void *ctx, int64_t now_us);
int engine_ping(struct engine *engine, engine_answered *answered, void *ctx, int64_t now_us);

/* ---- closing and looking ---- */

/* [emit lock] engine_emit returns CRIER_ECLOSED from now on. */
void engine_emit_close(struct engine *engine);
/* No handler runs from now on; listeners commit and end; emits and commits go on until engine_is_settled. */
void engine_close(struct engine *engine, int64_t now_us);
bool engine_is_settled(
    const struct engine *engine); /* nothing emitted, committed or asked for is without an outcome */
/* Gives up everything without an outcome: emits fail with `code` (CRIER_EUNKNOWN for those that were sent), requests
 * too. The connection is dropped. What listeners have taken may come back yet; then engine_drop. */
void engine_give_up(struct engine *engine, int code);
/* The same, if it was not done; listeners are released. Only engine_destroy and engine_collect may follow. */
void engine_drop(struct engine *engine, int code);

/* The first error that nobody heard (no listener on "error"), or 0; taking it clears it. */
int engine_error_take(struct engine *engine);
/* [emit lock] As of the last engine_collect, `emitted` as of now. */
void engine_stats(const struct engine *engine, struct crier_stats *ret_stats);

#endif
