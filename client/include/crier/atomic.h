/* crier/atomic.h: events to several topics stored as one, and sources that resume without a gap or a repeat.
 *
 *     options.producer_name = "access.log";
 *     crier_open(url, &options, &bus);
 *     crier_source_position(bus, &line);                 lines up to here are stored: read on behind them
 *     ...
 *     step.source_position = ++line;
 *     crier_emit_atomic(bus, events, count, &step);
 *
 * LOCAL. On a bus of local: the events are run one after the other, no other thread's between them, and nothing is kept but the
 * source's position, as long as the bus (or its name, of local:NAME) is open. `expects` is CRIER_ENOTSUP.
 *
 * THREADS. Any thread may call any function here.
 *
 * OWNERSHIP. What a call is given is borrowed for the call and copied. */
#ifndef CRIER_ATOMIC_H
#define CRIER_ATOMIC_H

#include <crier/crier.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CRIER_ATOMIC_EVENTS_MAX 1024 /* of one atomic emit */

/* One event of an atomic emit. */
struct crier_atomic_event {
    const char *topic;                        /* borrowed for the call, as all of it */
    const void *value;                        /* NULL: none */
    size_t value_size;                        /* bytes */
    const struct crier_emit_options *options; /* NULL: the defaults; without `done`, and durable */
};

/* How to emit several events as one. From crier_atomic_options_default(). */
struct crier_atomic_options {
    size_t struct_size; /* set by crier_atomic_options_default() */
    /* With options.producer_name: 1 or more, beyond that of the emit before; without: 0, the default */
    uint64_t source_position;
    crier_emitted *done; /* told the first event's offset; default NULL: a failure becomes an "error" event */
    void *ctx;           /* for done; kept alive by the caller until then */
};

/** The defaults; see the fields. */
static inline struct crier_atomic_options crier_atomic_options_default(void)
{
    struct crier_atomic_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    return options;
}

/**
 * Emit events to any topics as one: all are stored, or none is; across lost connections and broker crashes, once. Many may
 * be in flight; among themselves they are stored in the order of the calls (not among other emits of the bus). If one fails
 * for good, those after it go on.
 *
 * A named producer says with each how far it is in what it reads: its source position, a line number for example. That is
 * stored with the events, so after any end it goes on at crier_source_position() + 1, without a gap or a repeat. What is at
 * or below that position succeeds and is not stored again. When another bus opens with the same name, this one has lost it:
 * what has no outcome fails with CRIER_EFENCED (or CRIER_EUNKNOWN, if it was sent), and so does every call from then on.
 *
 * events   copied; 1 .. CRIER_ATOMIC_EVENTS_MAX, all of which fit one frame (16 MiB)
 * options  copied; NULL: the defaults
 *
 * Returns as crier_emit_with, and CRIER_EFENCED; CRIER_EINVAL also for a position that does not grow. The outcome may also be
 * CRIER_EOFFSET, or CRIER_EINVAL (a partition that is not there, or two offsets expected of one).
 */
CRIER_API int crier_emit_atomic(crier *bus, const struct crier_atomic_event *events, size_t count,
                                const struct crier_atomic_options *options);
/** How far the source of a named producer is stored: as the broker told at the last connection, or acknowledged since; 0:
 *  nothing yet. 0, CRIER_EINVAL (no producer_name), CRIER_ECONNECT (not connected yet), CRIER_EFENCED. */
CRIER_API int crier_source_position(crier *bus, uint64_t *ret_position);

#ifdef __cplusplus
}
#endif

#endif
