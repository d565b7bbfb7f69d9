/* crier/emitter.h: the rest of Node's EventEmitter, in C, on every kind of bus. <crier/crier.h> includes it.
 *
 *     crier_open("local:", NULL, &bus);                        no broker, no thread: an emitter in this process
 *     crier_prepend(bus, "orders.placed", check, NULL);
 *     crier_once(bus, "orders.placed", greet_first, NULL);
 *     crier_emit(bus, "orders.placed", "one umbrella", 12);    returns when every handler has
 *
 *     Node                                   here
 *     on, addListener, once                  crier_on, crier_once
 *     prependListener, prependOnceListener   crier_prepend, crier_prepend_once
 *     off, removeListener                    crier_off
 *     removeAllListeners                     crier_remove_all
 *     emit                                   crier_emit, crier_emit_with (options.ret_had_listeners: Node's boolean)
 *     emit('error', error)                   crier_emit_error
 *     eventNames, listenerCount              crier_event_names, crier_listener_count
 *     listeners, rawListeners                crier_listeners, crier_raw_listeners
 *     setMaxListeners, getMaxListeners       crier_set_max_listeners, crier_get_max_listeners
 *     errorMonitor                           the topic CRIER_ERROR_MONITOR
 *     process.on('warning')                  the topic CRIER_WARNING
 *     'error', 'newListener',                the topics of these names
 *     'removeListener'
 *     captureRejections                      always: a handler that returns < 0 becomes an event on "error"
 *
 * A listener is its topic, handler and ctx, as in Node it is its event and function: the same one may be there twice, and is
 * then called twice; crier_off() takes the newest.
 *
 * LOCAL TOPICS. "error", CRIER_ERROR_MONITOR, "newListener", "removeListener" and CRIER_WARNING are a bus's own and never
 * travel. On "newListener" (before the listener is added) and "removeListener" (after it is gone) event.listener says whose,
 * and the value is its topic's name. On CRIER_WARNING the value is a sentence, told once per topic that gets more listeners
 * than crier_get_max_listeners(), and event.listener->listener_count says how many.
 *
 * LOCAL: A bus of local: calls handlers from inside crier_emit(), one at a time, on the thread that emits. What a handler
 * does to the listeners disturbs no emit under way: who is removed is still called, who is added is not. A handler may emit,
 * also on its own topic. A bus that one thread uses costs it no lock; when another thread comes, calls wait for each other,
 * also crier_off(), so a handler must not wait for a thread that needs the bus. The buses of a process that open one "local:NAME" are
 * one emitter: any of them emits to the listeners of all, and each takes its own along when it is closed. docs/emitter-conformance.md has one table of
 * what else differs between the kinds of bus. */
#ifndef CRIER_EMITTER_H
#define CRIER_EMITTER_H

#include "crier.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CRIER_ERROR_MONITOR "$errorMonitor" /* hears events on "error" first, and counts as nobody */
#define CRIER_WARNING       "$warning"      /* a topic has more listeners than seems right */

/** A listener, as those are shown it who ask. Borrowed for the call, with everything it points to. */
struct crier_listener_info {
    const char *topic;      /* what it listens to */
    crier_handler *handler; /* as it was given, but for crier_raw_listeners() */
    void *ctx;              /* the same */
    uint64_t count;         /* events to go; 0: no end */
    size_t listener_count;  /* of the topic, just now */
};

/** As crier_on() and crier_once(), but before the listeners there are. On the network that is an order among listings
 *  and local topics only: each listener there has a delivery of its own. */
CRIER_API int crier_prepend(crier *bus, const char *topic, crier_handler *handler, void *ctx);
/** The same, for the next event only. */
CRIER_API int crier_prepend_once(crier *bus, const char *topic, crier_handler *handler, void *ctx);
/** Removes every listener of the topic, newest first, or (NULL) of all topics, those of "removeListener" last. Never waits
 *  for a handler on another thread, but on local:. 0, CRIER_EINVAL (no bus). */
CRIER_API int crier_remove_all(crier *bus, const char *topic);

/** Calls each(ctx, name) for the topics that have listeners, in the order in which they got their first. name: borrowed. 0,
 *  CRIER_EINVAL, CRIER_ENOMEM. `each` runs on this thread, over a copy: it may call any function. */
CRIER_API int crier_event_names(crier *bus, void (*each)(void *ctx, const char *name), void *ctx);
/** Calls each(ctx, info) for the topic's listeners, in order; what `each` does to them does not disturb it. 0,
 *  CRIER_EINVAL, CRIER_ENOMEM. */
CRIER_API int crier_listeners(crier *bus, const char *topic,
                              void (*each)(void *ctx, const crier_listener_info *info), void *ctx);
/** The same with the wrappers: on local: those of `once` show a handler and ctx that may be called as any other, or given to
 *  crier_off(), as long as the listener is there: it removes the listener, then calls its handler. */
CRIER_API int crier_raw_listeners(crier *bus, const char *topic,
                                  void (*each)(void *ctx, const crier_listener_info *info), void *ctx);
/** How many listeners the topic has on this bus; with a handler (not NULL), how many with it and this ctx. < 0:
 *  CRIER_EINVAL. */
CRIER_API int crier_listener_count(crier *bus, const char *topic, crier_handler *handler, void *ctx);

/** So many listeners of one topic are no reason to warn; 0: any number; default 10. 0 or CRIER_EINVAL. */
CRIER_API int crier_set_max_listeners(crier *bus, int count);
CRIER_API int crier_get_max_listeners(crier *bus); /* < 0: CRIER_EINVAL */

/**
 * Emit on "error": `code` (< 0) is event.error, `text` (NULL: what crier_strerror says) the value. Handlers run as every
 * handler of the bus does: on local:, and from inside a handler, before this returns. Returns 0, CRIER_EINVAL, CRIER_ENOMEM,
 * CRIER_ECLOSED; with nobody listening `code`, if that is known at once, else crier_flush() or crier_close() returns it.
 */
CRIER_API int crier_emit_error(crier *bus, int code, const char *text);

/* ---- a topic at hand ---- */

/** A topic of a bus, found once instead of at every emit. */
typedef struct crier_topic crier_topic;

/** *ret_topic is valid until crier_close(); the same name gives the same one. 0, CRIER_EINVAL (name), CRIER_ENOMEM. */
CRIER_API int crier_intern(crier *bus, const char *name, crier_topic **ret_topic);
/** As crier_emit(), without looking for the topic. */
CRIER_API int crier_emit_topic(crier_topic *topic, const void *value, size_t value_size);
CRIER_API const char *crier_topic_name(const crier_topic *topic); /* borrowed; valid as long as the topic */

#ifdef __cplusplus
}
#endif

#endif
