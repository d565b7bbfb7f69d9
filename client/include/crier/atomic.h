/* crier/atomic.h: events to several topics stored as one, and sources that resume without a gap or a repeat.
 *
 *     options.producer_name = "access.log";
 *     crier_open(url, &options, &bus);
 *     crier_source_position(bus, &line);                 lines up to here are stored: read on behind them
 *     ...
 *     step.source_position = ++line;
 *     crier_emit_atomic(bus, events, count, &step);
 *
 * CONSUME, TRANSFORM, PRODUCE, exactly once: events of a group's listener that are done once what was made of them is stored.
 *
 *     listen.group = "billing";
 *     listen.commits_atomically = true;
 *     crier_listen(bus, "orders", &listen, on_order, ctx, NULL);
 *
 *     int on_order(crier *bus, const crier_event *order, void *ctx)
 *     {
 *         struct crier_consumed consumed[] = {crier_consumed_by(order)};
 *         step.consumed = consumed;
 *         step.consumed_count = 1;
 *         return crier_emit_atomic(bus, invoices, count, &step);
 *     }
 *
 * The group's position moves in the same entry of the log as the events. Whoever dies when, and however often something is sent:
 * each order led to its invoices once. Many such emits may be in flight. If one fails for good, so does all that was made from
 * later events of its partition (CRIER_EREVOKED), and these and its own come again; so they do at another member when
 * the partition changes hands. An emit that fails with another code each time would go on like that for ever: `done` is told,
 * and has to see to it. What such a handler does apart from that is at least once.
 *
 * LOCAL. On a bus of local: the events are run one after the other, no other thread's between them, and nothing is kept but the
 * source's position, as long as the bus (or its name, of local:NAME) is open. `expects` and `consumed` are CRIER_ENOTSUP.
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

/* Of an event with which a group's listener (commits_atomically) goes on: it, and all before it in its partition, is done. */
struct crier_consumed {
    uint64_t offset;     /* the event's */
    uint32_t assignment; /* the event's; not 0 */
};

/** The event, also a copy that an iterator gave. */
static inline struct crier_consumed crier_consumed_by(const crier_event *event)
{
    struct crier_consumed consumed;
    memset(&consumed, 0, sizeof(consumed));
    consumed.offset = event->offset;
    consumed.assignment = event->assignment;
    return consumed;
}

/* How to emit several events as one. From crier_atomic_options_default(). */
struct crier_atomic_options {
    size_t struct_size; /* set by crier_atomic_options_default() */
    /* With options.producer_name: 1 or more, beyond that of the emit before; without: 0, the default */
    uint64_t source_position;
    crier_emitted *done; /* told the first event's offset; default NULL: a failure becomes an "error" event */
    void *ctx;           /* for done; kept alive by the caller until then */
    /* What the events were made from: of listeners of this bus, and of each partition once, the last. borrowed for the call;
     * default NULL: nothing */
    const struct crier_consumed *consumed;
    size_t consumed_count; /* up to CRIER_ATOMIC_EVENTS_MAX; default 0 */
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
 * events   copied; 1 .. CRIER_ATOMIC_EVENTS_MAX, all of which fit one frame (16 MiB). With `consumed` also none (NULL): what was
 *          consumed led to nothing
 * options  copied; NULL: the defaults
 *
 * Returns as crier_emit_with, and CRIER_EFENCED; CRIER_EINVAL also for a position that does not grow. The outcome may also be
 * CRIER_EOFFSET, CRIER_EREVOKED (what it was made from is not this listener's any more, or what it stands on failed), or
 * CRIER_EINVAL (a partition that is not there, two offsets expected of one, `consumed` not beyond that of the emit before).
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
