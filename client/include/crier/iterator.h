/* crier/iterator.h: events by asking for them, instead of by handlers: Node's events.once() and events.on().
 *
 *     crier_future *placed;
 *     crier_once_future(bus, "orders.placed", NULL, &placed);             the next event, as a future
 *
 *     crier_iterator *orders;
 *     crier_iterate(bus, "orders.placed", NULL, &orders);                 all of them, one after the other
 *     for (;;) {
 *         crier_future *next;
 *         crier_iterator_next(orders, &next);
 *         if (crier_future_wait(next, -1, &result) < 0 || result.pointer == NULL)
 *             break;                                                      its end, or why
 *         const crier_event *event = result.pointer;                      lives as long as `next`
 *         ...
 *         crier_future_release(next);
 *     }
 *     crier_iterator_close(orders);
 *
 * CREDIT. Events that nobody has asked for yet wait in the iterator, `high` of them at most: then it takes no more, no credit
 * goes back and the broker stops sending, until only `low` are left. A slow reader costs itself, not the topic, nor memory.
 *
 * POSITIONS. With a group, an event counts as handled when the next one is asked for, as the body of a loop ends. What was
 * not asked for, and what was in hand when the iterator was closed, comes again.
 *
 * LOCAL. On a bus of local: nothing is kept that could be sent later: while `high` events wait, an emit on the topic returns
 * CRIER_EAGAIN before anybody has heard the event (or waits, with options.emit_blocks); options.drain tells when there is room.
 *
 * THREADS. Any. Futures as in crier/future.h. What Node does and this does not: an "error" event of the bus does not reject
 * what is waited for here; the end of the listener does. */
#ifndef CRIER_ITERATOR_H
#define CRIER_ITERATOR_H

#include <crier/future.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The next event of the topic. Fulfilled with pointer: a crier_event, which lives as long as the future; rejected when its
 *  listener ends before. Canceling it removes the listener. options: as of crier_listen(); count, released, pool: not yours.
 *  0, or as crier_listen(). */
CRIER_API int crier_once_future(crier *bus, const char *topic, const struct crier_listen_options *options,
                                crier_future **ret_future);

/** Pulls events, one future after the other. */
typedef struct crier_iterator crier_iterator;

/** How an iterator is to be. From crier_iterator_options_default(). */
struct crier_iterator_options {
    size_t struct_size; /* set by crier_iterator_options_default() */
    /* NULL: the defaults; as above, but for count: so many, then the end */
    const struct crier_listen_options *listen;
    uint32_t high; /* events that wait at most; default 1024; at least 1 */
    uint32_t low;  /* so few are left when it takes more; default 512; below high */
    /* borrowed; when it settles, the iterator ends with CRIER_ECANCELED; default NULL */
    crier_future *signal;
};

static inline struct crier_iterator_options crier_iterator_options_default(void)
{
    struct crier_iterator_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.high = 1024;
    options.low = 512;
    return options;
}

/** Not on a topic that is local to the bus ("error", "newListener", ...): CRIER_EINVAL. 0, or as crier_listen(). ret_iterator: returned, for crier_iterator_close(). */
CRIER_API int crier_iterate(crier *bus, const char *topic, const struct crier_iterator_options *options,
                            crier_iterator **ret_iterator);
/** The next event, now or later; several may be asked for at a time, and come in order. Fulfilled with pointer: a crier_event that
 *  lives as long as the future, or NULL: the end; rejected with the code the listener ended with. One that is canceled takes no event:
 *  who asks next gets it. 0, CRIER_ENOMEM, CRIER_ECLOSED (the bus). */
CRIER_API int crier_iterator_next(crier_iterator *iterator, crier_future **ret_future);
/** Ends the listener and frees; what is still asked for is fulfilled with the end. Never waits. Accepts NULL. Also after its
 *  bus was closed, but not while. */
CRIER_API void crier_iterator_close(crier_iterator *iterator);

#ifdef __cplusplus
}
#endif

#endif
