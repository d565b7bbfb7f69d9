/* atomic.h: atomic emits: events to any topics that are stored together or not at all, each a step of a source.
 *
 * Role:    crier_emit_atomic() copies its events into one struct atomic_emit. When their topics are known these become one
 *          batch per partition; all go out in one EMIT, in the order of the steps, many in flight, and are answered as one.
 * Thread:  stage_atomic.c: any, with the emit lock. engine_atomic.c: the I/O thread, as engine_emit.c.
 * Owns:    struct atomic_emit, from the call until engine_collect after its outcome.
 *
 * They are beside the lanes: among themselves in order, and told from their repetition by their source position, so the
 * batches carry no sequences (docs/protocol.md, "Sources and atomic emits"). */
#ifndef CRIER_CLIENT_ATOMIC_H
#define CRIER_CLIENT_ATOMIC_H

#include "base/list.h"
#include "client/stage.h"
#include "crier/atomic.h"

struct atomic_event {
    struct emit_topic *topic;
    int64_t timestamp_ms;
    const void *key, *value; /* in the emit's own memory, as all it points to */
    size_t key_size, value_size;
    const struct batch_pair *headers;
    size_t header_count, size_max;
    uint32_t route; /* the partition that was asked for, or LANE_UNROUTED */
    bool expects;
    uint64_t expected_offset;
};

struct atomic_part {
    uint64_t partition_id;
    uint8_t *data; /* the batch; malloc'ed */
    size_t size;
    bool expects;
    uint64_t expected_offset;
};

/* A position that moves with it. */
struct atomic_consumed {
    uint32_t assignment;
    uint32_t listener; /* from here on: see consumed_bind */
    uint64_t position; /* behind what was consumed */
    uint64_t generation, partition, previous;
};

struct atomic_emit {
    struct list link; /* stage.atomics_fresh, engine.atomics or engine.atomics_settled */
    struct list age;  /* stage.atomics: everything without outcome, oldest first */
    uint64_t ticket, position;
    size_t charged; /* bytes of stage.pending_bytes */
    crier_emitted *done;
    void *ctx;
    /* engine */
    struct atomic_part *parts; /* NULL: not built */
    uint32_t part_count;
    size_t attachment_size;
    int failure;       /* why it could not be built */
    bool asked;        /* its topics have been asked for */
    bool in_flight;    /* in a frame without EMITTED */
    bool maybe_stored; /* was sent, and the outcome is not known */
    uint64_t previous; /* as it was sent */
    bool bound;        /* `consumed` says what is sent */
    uint32_t consumed_count;
    struct atomic_consumed *consumed; /* in the emit's own memory */
    uint32_t event_count;
    struct atomic_event events[];
};

struct engine;

/* ---- stage_atomic.c ---- */

/* As crier_emit_atomic. */
int stage_emit_atomic(struct stage *stage, const struct crier_atomic_event *events, size_t count,
                      const struct crier_atomic_options *options, int64_t timestamp_ms, bool *ret_wake);
void stage_atomic_release(struct stage *stage, struct atomic_emit *atomic); /* in no list but by age */
/* One batch per partition, in the order in which the partitions first come; their topics are known. 0, CRIER_EINVAL (a
 * partition that is not there, or two offsets expected of one) or CRIER_ENOMEM. */
int stage_atomic_build(const struct stage *stage, struct atomic_emit *atomic);

/* ---- engine_atomic.c ---- */

struct emit_frame;
void atomics_init(struct engine *engine);
void atomics_finish(struct engine *engine);
void atomic_collect(struct engine *engine);     /* from engine_collect, with the lock */
bool atomic_frame_build(struct engine *engine); /* false: nothing can go now */
void atomic_emitted(struct engine *engine, struct emit_frame *frame, int outcome, int code,
                    int64_t base_offset, const char *text);
void atomic_disconnected(struct engine *engine);
/* WELCOME; another: the producer id is a new one. */
void atomic_ready(struct engine *engine, bool another, uint64_t position);
void atomic_forget(struct engine *engine);    /* the log is another one */
void atomic_retry(struct engine *engine);     /* retry_due has come */
void atomic_fenced(struct engine *engine);    /* another client has the name, for good */
void atomic_callbacks(struct engine *engine); /* what came after that */
void atomic_drop(struct engine *engine, int code);
bool atomic_is_waiting(const struct engine *engine); /* engine_collect has something to do */

/* ---- engine_consumed.c ---- */

struct crier_listener;
uint32_t consumed_assignment_take(struct engine *engine); /* a number for one, never 0 */
/* It is the emit's turn to be sent, maybe again: which positions it moves, from where, is found the first time. 0, CRIER_EREVOKED (the assignment is over),
 * CRIER_EINVAL (not beyond the emit before it), CRIER_ENOTSUP (the broker). */
int consumed_bind(struct engine *engine, struct atomic_emit *atomic);
void consumed_settled(struct engine *engine, const struct atomic_emit *atomic, int code);
/* The listener is to end: true: not before what was emitted has its outcome; consumed_continue sees to it. */
bool consumed_is_waited_for(struct engine *engine, struct crier_listener *listener);
/* An event was not handled: it has to come again. */
void consumed_handler_failed(struct engine *engine, struct crier_listener *listener);
/* Before an event is handed out: if much is emitted already, the listener is paused. */
void consumed_pause(struct engine *engine, struct crier_listener *listener);
void consumed_continue(struct engine *engine); /* not from inside engine calls that walk listeners */

#endif
