/* emitter.h: the emitter of a bus of local: Node's EventEmitter, synchronous, in C.
 *
 *   emitter.c          listeners come and go         emitter_lock.h   who may use the bus just now
 *   emitter_emit.c     emit: the hot path, "error"   topic_table.h    topics by name
 *   emitter_bus.c      the bus: open, close, and what the public calls of every kind of bus mean here
 *   emitter_listen.c   listen, off, ... of a local bus; looking at its listeners
 *   emitter_loop.c     the loop, once it is needed   emitter_crew.c   handlers on a worker pool
 *   emitter_name.c     local:NAME: one emitter for all who open that name
 *   emitter_atomic.c   several events as one; how far a source is
 *
 * THE LISTENERS OF A TOPIC stand in one array, oldest first. An emit walks the array as it is when it begins; nothing
 * that happens meanwhile disturbs it:
 *   - who joins is put behind the end that the walk has noted; if the array has no room, or it is to be the first, a new
 *     array takes its place, and the old one is kept (topic.retired) until no emit of the topic is under way;
 *   - who leaves is only marked, with the number of its leaving; emits that begin later pass it by. The marked slots are
 *     taken out when no emit of the topic is under way. So leaving needs no memory and cannot fail.
 * A plain listener is nothing but its slot; what more there is to one (once, counts, `released`) has an emitter_listener.
 *
 * A HANDLER THAT FAILS becomes an event on "error", as with Node's captureRejections: when the outermost call has run its
 * handlers, as Node's is on the next tick.
 *
 * EVENTS THAT WAIT, for a pool or in an iterator, wait in a bounded place. A topic with such a listener is special: its emits
 * ask first whether there is room everywhere, and return CRIER_EAGAIN before anybody was called if there is not.
 *
 * MORE THAN ONE BUS. The buses of a local:NAME share one emitter, and each of them is the `bus` of its own listeners. So there
 * every listener is more than its slot, and leaves with its bus.
 *
 * Thread: the holder of the lock. Failures: no memory for a new listener: CRIER_ENOMEM, and nothing has changed. */
#ifndef CRIER_CLIENT_EMITTER_H
#define CRIER_CLIENT_EMITTER_H

#include "client/emitter_lock.h"
#include "client/topic_table.h"
#include "crier/atomic.h"
#include "crier/crier.h"

#define EMITTER_LIVE UINT64_MAX /* slot.left: it has not */

struct emitter_listener {
    crier *bus;                /* first, as in every crier_listener */
    struct crier_topic *topic; /* NULL: it has left */
    crier_handler *handler;
    void *ctx;
    uint64_t count;  /* events to go; EMITTER_ENDLESS: no end */
    char *group;     /* NULL: none */
    uint64_t active; /* of a group: since when it is the member that is called; EMITTER_LIVE: another is */
    void (*released)(void *ctx, int code, const char *text);
    void (*assigned)(void *ctx, uint32_t partition, bool given);
    _Atomic uint64_t delivered, failed; /* only whoever holds the lock counts; anybody reads */
    struct emitter_listener *next;      /* among those to be released */
    /* Bounded: is there room for so many events more, or is it empty? Asked before any handler of an emit is called; NULL:
     * always */
    bool (*has_room)(void *room_ctx, size_t events);
    void *room_ctx;
    struct emitter_crew
        *crew; /* emitter_crew.c: its handler runs on a pool; NULL: where the event is emitted */
};

#define EMITTER_ENDLESS UINT64_MAX

/* With the lock: so no locked instruction is needed. */
static inline void emitter_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

struct emitter_slot {
    crier_handler *handler;
    void *ctx;
    struct emitter_listener *listener; /* NULL: a plain one */
    uint64_t left;                     /* the number of its leaving */
};

struct emitter_array {
    struct emitter_array *next; /* among the retired */
    uint32_t count, capacity;
    bool marked; /* somebody has left */
    struct emitter_slot slots[];
};

struct emitter_failure; /* a handler failed: waits to become an "error" event */
struct emitter_source;  /* how far a named producer is: emitter_atomic.c */
struct emitter_name;    /* emitter_name.c */

struct emitter {
    struct emitter_lock lock; /* first, so that an emit needs no pointer of its own for it */
    crier *bus; /* of local:NAME one that nobody else knows, which lives as long as the emitter */
    struct emitter_name *name; /* NULL: local: */
    struct list buses;         /* those that are open, by crier.among */
    struct emitter_source *sources;
    atomic_bool refused;         /* an emit did not fit; until there is room */
    bool attention;              /* there are failures, or one that nobody heard: see emitter_exit */
    uint64_t changes;            /* numbers leavings and takeovers */
    uint64_t emitted, delivered; /* events; calls of handlers */
    struct topic_table topics;
    struct crier_topic *error, *monitor, *joined, *left, *warning; /* pinned */
    int listeners_max;                                             /* of one topic; 0: no limit */
    int unheard;  /* a failure nobody heard of, until the outermost call ends; 0: none */
    int kept;     /* the same, for crier_flush() or crier_close() */
    bool telling; /* failures are being told */
    struct emitter_failure *failures, **failures_end;
};

/* ---- emitter.c ---- */

int emitter_create(crier *bus, struct emitter **ret_emitter); /* 0 or CRIER_ENOMEM */
void emitter_destroy(struct emitter *emitter); /* accepts NULL; calls `released` of who is left */
void emitter_let_go(struct emitter *emitter);  /* only that: nobody listens any more, without a word */

/* What a new listener is. topic: valid, or local to a bus. */
struct emitter_join {
    const char *topic;
    crier_handler *handler;
    void *ctx;
    bool first;                        /* before the others */
    struct emitter_listener *listener; /* taken on success; NULL: a plain one */
};
int emitter_join(struct emitter *emitter, const struct emitter_join *join);
/* The slot at `index` of the topic leaves, if it is there. */
void emitter_leave(struct emitter *emitter, struct crier_topic *topic, uint32_t index);
/* The newest with this handler and ctx; false: there is none. */
bool emitter_leave_newest(struct emitter *emitter, const char *topic, crier_handler *handler, void *ctx);
void emitter_leave_listener(struct emitter *emitter, struct emitter_listener *listener);
/* All, newest first. topic NULL: of all topics. */
void emitter_leave_all(struct emitter *emitter, const char *topic);
/* All that are this bus's; its own "removeListener" handlers first. */
void emitter_leave_bus(struct emitter *emitter, const crier *bus);
/* What `once` is, as a raw listener: leaves, then calls. ctx: the emitter_listener. */
int emitter_once_run(crier *bus, const crier_event *event, void *ctx);

/* The record of a topic of this bus; NULL: no memory. */
struct crier_topic *emitter_topic_get(struct emitter *emitter, const char *name);
crier_listener_info emitter_info(const struct crier_topic *topic, const struct emitter_slot *slot);
bool emitter_slot_matches(const struct emitter_slot *slot, crier_handler *handler, const void *ctx);
static inline bool emitter_slot_lives(const struct emitter_slot *slot)
{
    return slot->left == EMITTER_LIVE;
}

/* While a call uses the record, nothing of it is freed. Calls end in the opposite order of their beginning: what
 * topic_hold returned is put back. */
static inline uint32_t topic_hold(struct crier_topic *topic)
{
    return topic->running++;
}
void topic_settle(struct crier_topic *topic);
static inline void topic_release(struct crier_topic *topic, uint32_t before)
{
    topic->running = before;
    if (__builtin_expect(topic->settle_due, 0) && before == 0)
        topic_settle(topic);
}

void emitter_listener_free(struct emitter_listener *listener); /* calls `released` */

/* ---- emitter_crew.c ---- */

/* Its handler is to run on the pool: has_room and room_ctx are set too. 0 or CRIER_ENOMEM. */
int emitter_crew_make(struct emitter_listener *listener, crier_pool *pool, uint32_t events_max);
/* The event goes to the pool, as a copy. 0 or CRIER_ENOMEM. */
int emitter_crew_hand_out(struct emitter_crew *crew, const crier_event *event);
void emitter_crew_stop(struct emitter_crew *crew); /* what has not begun is not begun any more */
/* Its listener has left and is to be released. false: not yet, some events are out; the last of them releases it. */
bool emitter_crew_end(struct emitter_crew *crew);
/* Where events of this bus had to wait, there is room again: who was refused is told. In a turn of its loop. */
void emitter_room_made(crier *bus);

/* ---- emitter_name.c: any thread ---- */

/* The emitter of this name, made if there is none; one share of it. 0 or CRIER_ENOMEM. */
int emitter_name_join(const char *name, struct emitter **ret_emitter);
void emitter_name_leave(
    struct emitter *emitter); /* gives the share back; the last one destroys the emitter */

/* ---- emitter_atomic.c ---- */

/* With options.producer_name: this bus is its source from now on. 0 or CRIER_ENOMEM. */
int emitter_source_claim(crier *bus);
void emitter_source_leave(crier *bus);
void emitter_sources_forget(struct emitter *emitter);

/* ---- emitter_emit.c ---- */

/* Is there room for so many events more with every listener of the topic? */
bool emitter_has_room(const struct emitter *emitter, const struct crier_topic *topic, size_t events);
/* After CRIER_EAGAIN, without the lock: waits for room, if the bus's options say so. false: the emit is not to be tried again. */
bool emitter_room_wait(crier *bus);
/* Runs the handlers of an event on a topic that is not local to the bus, whether there is room or not. name: a topic's. */
void emitter_run(struct emitter *emitter, const char *name, crier_event *event);
/* An event about a listener on "newListener", "removeListener" or "$warning": value is text. */
void emitter_tell(struct emitter *emitter, struct crier_topic *about, const crier_listener_info *info,
                  const char *text);
/* An error without a caller to tell: an event on "error"; with nobody there it waits for crier_flush(). text: borrowed. */
void emitter_tell_error(struct emitter *emitter, int code, const char *text);
/* A handler of the topic returned `rc`: told when the outermost call is through. */
void emitter_failure_note(struct emitter *emitter, const char *topic, int rc);
/* If this is the outermost call, failures are told. Returns one that nobody heard; 0: none. */
int emitter_attend(struct emitter *emitter);
static inline int emitter_attend_if_due(struct emitter *emitter)
{
    return __builtin_expect(emitter->attention, 0) ? emitter_attend(emitter) : 0;
}
void emitter_failures_forget(struct emitter *emitter);

/* The first thing a call does; what it returns is for the last. */
static inline unsigned emitter_enter(struct emitter *emitter)
{
    return emitter_lock_enter(&emitter->lock);
}

/* The last thing a call does that is no emit: what nobody heard waits for crier_flush() or crier_close(). */
static inline void emitter_exit_keep(struct emitter *emitter, unsigned before)
{
    int unheard = emitter_attend_if_due(emitter);

    if (emitter->kept == 0)
        emitter->kept = unheard;
    emitter_lock_leave(&emitter->lock, before);
}

/* The same, if something has failed: out of line, so that nothing of it is in registers on the common way. */
int emitter_exit_attending(struct emitter *emitter, unsigned before, int rc);

/* The last thing an emit does. Returns rc, or what nobody heard. */
static inline int emitter_exit(struct emitter *emitter, unsigned before, int rc)
{
    if (__builtin_expect(rc < 0 || emitter->attention, 0))
        return emitter_exit_attending(emitter, before, rc);
    emitter_lock_leave(&emitter->lock, before);
    return 0;
}

/* ---- emitter_listen.c, emitter_bus.c: public calls, on a bus of local:. bus: not NULL; the rest as the caller gave it ---- */

int emitter_bus_listen(crier *bus, const char *topic, const struct crier_listen_options *options,
                       crier_handler *handler, void *ctx, crier_listener **ret_listener);
/* With events that wait in a place of the caller's: see emitter_listener.has_room. options: complete, without pool. */
int emitter_bus_listen_bounded(crier *bus, const char *topic, const struct crier_listen_options *options,
                               crier_handler *handler, bool (*has_room)(void *ctx, size_t events), void *ctx,
                               crier_listener **ret_listener);
int emitter_bus_off(crier *bus, const char *topic, crier_handler *handler, void *ctx);
int emitter_bus_unlisten(crier_listener *listener);
void emitter_bus_listener_stats(const crier_listener *listener, struct crier_listener_stats *ret_stats);
int emitter_bus_remove_all(crier *bus, const char *topic);
int emitter_bus_event_names(crier *bus, void (*each)(void *ctx, const char *name), void *ctx);
int emitter_bus_listeners(crier *bus, const char *topic, bool raw,
                          void (*each)(void *ctx, const crier_listener_info *info), void *ctx);
int emitter_bus_listener_count(crier *bus, const char *topic, crier_handler *handler, const void *ctx);

/* options: complete; the options of each event: NULL or complete. */
int emitter_bus_emit_atomic(crier *bus, const struct crier_atomic_event *events, size_t count,
                            const struct crier_atomic_options *options);
int emitter_bus_source_position(crier *bus, uint64_t *ret_position);

int emitter_bus_close(crier *bus);
int emitter_bus_flush(crier *bus);
void emitter_bus_stats(crier *bus, struct crier_stats *ret_stats);
int emitter_bus_max_listeners(crier *bus, int count); /* sets it, unless < 0; returns it */
int emitter_bus_intern(crier *bus, const char *name, crier_topic **ret_topic, bool *ret_is_new);
int emitter_bus_topic_create(crier *bus, const char *name);
int emitter_bus_topic_describe(crier *bus, const char *name,
                               void (*each)(void *ctx, const struct crier_topic_info *info), void *ctx);
int emitter_bus_group_describe(crier *bus, const char *name, const char *topic,
                               void (*each)(void *ctx, const struct crier_group_info *info), void *ctx);

#endif
