/* bus_internal.h: what the files of the bus share: the public API on one side, the engine's driver on the other.
 *
 *   bus.c          open, close, flush, stats, emit        loop.c    the I/O thread's turns: engine, timers, wake-ups
 *   bus_listen.c   on, once, off, listen                  socket.c  the connection: resolve, connect, receive, send
 *   bus_request.c  topics, ping                            bus_group.c  groups
 *   poll.c         what a bus waits for, on whose loop
 *   future.c       futures, ticks, timers: on the bus's agenda (base/agenda.h), which loop.c lets have its turns
 *   bus_monitor.c  is the loop kept waiting, and by whom
 *   bus_emitter.c  local topics, looking at listeners      emitter.h    a bus of local:, which has no engine, and a loop
 *                                                                       only once it is asked for: emitter_loop.c
 *
 * Lock order: there is one lock, `bus.lock`, which is the engine's emit lock too. It is never held while a callback or
 * a system call runs (but for the condition variable's). */
#ifndef CRIER_CLIENT_BUS_INTERNAL_H
#define CRIER_CLIENT_BUS_INTERNAL_H

#include "base/agenda.h"
#include "client/ask.h"
#include "client/engine.h"
#include "client/resolve.h"
#include "client/topic_table.h"
#include "client/transport.h"
#include "client/url.h"
#include "crier/monitor.h"

#include <pthread.h>
#include <stdatomic.h>

struct event;
struct bus_request;
struct bus_monitor;
struct local_event;

/* What poll.c waits for. */
enum bus_watch { WATCH_WAKE, WATCH_SOCKET, WATCH_RESOLVE, WATCHES };

/* And for others. ready: in a turn, before it has begun: it may add to the agenda, and call nobody. */
struct poll_watcher {
    void (*ready)(struct poll_watcher *watcher);
};

/* The connection's socket. I/O thread only. */
struct bus_socket {
    int fd;              /* -1: none */
    bool output_watched; /* while connecting, or while output waits */
    bool connecting;
    struct resolve *resolve; /* a look-up under way */
    struct address addresses[RESOLVE_ADDRESSES_MAX];
    size_t address_count, address_next; /* to be tried */
    struct agenda_timer late;           /* the address that is tried has had its time */
};

struct crier {
    struct emitter *emitter; /* of local:, which is all of the bus but itself; NULL: one with an engine */
    struct list among;       /* emitter.buses; under its lock, as all of the emitter */
    struct emitter_source *source; /* of local:: with a producer_name */

    /* fixed after crier_open */
    struct engine *engine;
    struct crier_options options;
    struct url url;
    struct bus_transport transport; /* connect NULL: the network */
    bool own_thread;
    int poll_fd;           /* epoll: everything the bus waits for */
    int wake_fd;           /* eventfd: there is something for the I/O thread */
    struct agenda *agenda; /* has a lock of its own, inside `lock` and around no other; see bus_loop_need */

    /* under `lock` */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something that threads wait for may have come about */
    unsigned waiters;
    struct engine_progress progress;
    int error;                  /* the first nobody heard */
    int connect_error;          /* of the last attempt */
    char connect_text[128];     /* and in words */
    bool was_connected;         /* once */
    bool closing;               /* crier_close was called */
    bool settled;               /* everything emitted and committed has its outcome */
    bool stop;                  /* the I/O thread is to take the loop down */
    bool stopped;               /* it has */
    crier_listener **listeners; /* all that have not been released, oldest first */
    size_t listener_count, listener_capacity;
    crier_listener *changes, **changes_end; /* listeners the I/O thread has to start or end */
    struct bus_request *requests, **requests_end;
    struct asks *asks;         /* made with the first crier_request() */
    struct list streams;       /* those that have not closed, or that somebody holds */
    size_t outings;            /* events on worker pools */
    struct topic_table topics; /* of the listeners, and what was interned */
    int listeners_max;         /* of one topic, without a warning; 0: no limit */
    struct local_event *local_events, **local_events_end; /* wait for the I/O thread to tell them */

    /* any thread */
    atomic_bool looped;                    /* there is a loop, and an agenda */
    _Atomic(pthread_t) loop_thread;        /* who ran the last turn */
    atomic_bool in_turn;                   /* it is running one: callbacks are made from inside */
    _Atomic(struct bus_monitor *) monitor; /* made with the first crier_loop_monitor_start() */

    /* I/O thread only */
    pthread_t thread;       /* own_thread */
    bool connected;         /* as the user was told */
    size_t attempts_failed; /* before the first connection */
    bool again;             /* another turn right away */
    bool close_begun;       /* engine_close was called */
    bool down;              /* stop was done */
    size_t dispatch_budget;
    struct bus_monitor *watched;           /* the monitor, in a turn that it measures; else NULL */
    struct event *base_event, *base_timer; /* on the caller's base; NULL: there is none */
    struct event *base_socket;             /* likewise, while there is a socket */
    int64_t base_timer_due;
    struct bus_socket socket;
    bool disconnect_wanted, connect_wanted; /* the engine's wishes, done when its call has returned */
    unsigned connect_endpoint;
};

/* ---- bus.c ---- */

bool bus_in_callback(crier *bus); /* does the caller stand in a callback of this bus? */
void bus_wake(crier *bus);        /* any thread, without the lock */
/* Waits, with the lock held, until done(bus, ctx) or the deadline (ENGINE_NEVER: none). On a caller's loop this runs the
 * loop. 0, CRIER_ETIMEDOUT or CRIER_EDEADLK (a callback of this thread's loop is running). */
int bus_wait(crier *bus, bool (*done)(crier *bus, const void *ctx), const void *ctx, int64_t deadline_us);

/* The rest of opening and closing, shared with a bus of local: (emitter_bus.c). */
crier *bus_make(const struct crier_options *options); /* NULL: no memory */
int bus_thread_start(crier *bus);                     /* its own thread: 0 or CRIER_ENOMEM */
void bus_loop_end(crier *bus);                        /* the last turn, whosever it is; waits for it */
void bus_free(crier *bus);

/* ---- emitter_loop.c: the loop of a bus of local: ---- */

int emitter_loop_make(crier *bus); /* if it has none; 0 or CRIER_ENOMEM */
void emitter_loop_turn(crier *bus);
void emitter_loop_error(crier *bus, int code, const char *text); /* in a turn: what nobody has looked at */
/* The first thing a call does that needs a loop. A bus of local: gets its loop with the first of them. */
static inline int bus_loop_need(crier *bus)
{
    return atomic_load_explicit(&bus->looped, memory_order_acquire) ? 0 : emitter_loop_make(bus);
}

/* ---- future.c ---- */

struct agenda *bus_agenda_create(crier *bus); /* NULL: no memory */

/* A listener whose events are diverted to this handler (engine.h); options: complete. 0, or as crier_listen. */
int listener_listen(crier *bus, const char *topic, const struct crier_listen_options *options,
                    crier_handler *handler, void (*stopping)(void *ctx), void *ctx,
                    crier_listener **ret_listener);

/* ---- stream.c ---- */

bool bus_on_loop_thread(crier *bus);
void streams_close(crier *bus);  /* I/O thread: the bus is being closed: destroys them */
void streams_finish(crier *bus); /* I/O thread: after agenda_close: lets go of what is left */

/* ---- bus_pool.c ---- */

/* Its handler is to run on the pool. Before engine_listen. 0 or CRIER_ENOMEM. */
int listener_use_pool(crier *bus, crier_listener *listener, crier_pool *pool, uint32_t events_max);
void listener_leave_pool(crier_listener *listener); /* it is about to be freed; also if it uses none */
void outings_wait(crier *bus);                      /* I/O thread: until no pool has an event of ours */
/* As crier_emit_with, on a bus with an engine. options: whole, or NULL. */
int bus_emit(crier *bus, const char *topic, const void *value, size_t value_size,
             const struct crier_emit_options *options);

/* ---- loop.c ---- */

void loop_enter(crier *bus);  /* before anything that may call back; loop_turn ends it */
void loop_leave(crier *bus);  /* for who writes a turn */
void loop_turn(crier *bus);   /* I/O thread: lets everything that is due happen */
int64_t loop_due(crier *bus); /* when the next turn is, ENGINE_NEVER: when something happens. I/O thread */
extern const struct engine_ops loop_engine_ops;

/* ---- bus_monitor.c: I/O thread ---- */

void bus_monitor_turn_begin(crier *bus);
void bus_monitor_turn_end(crier *bus);
void bus_monitor_destroy(crier *bus); /* nobody measures any more */
/* Measures what has been called since the call before. name: borrowed; NULL: what kind says. */
void bus_monitor_called(crier *bus, enum crier_loop_kind kind, const char *name, void (*function)(void));
static inline void bus_called(crier *bus, enum crier_loop_kind kind, const char *name, void (*function)(void))
{
    if (__builtin_expect(bus->watched != NULL, 0))
        bus_monitor_called(bus, kind, name, function);
}

/* ---- poll.c ---- */

int poll_open(crier *bus);                                /* 0 or CRIER_ENOMEM; poll_close in either case */
void poll_close(crier *bus);                              /* after the last turn */
int poll_watch(crier *bus, int fd, enum bus_watch watch); /* for input. 0, or -1 and errno */
void poll_watch_output(crier *bus, int fd, bool output);  /* the socket, also for output */
void poll_unwatch(crier *bus, int fd);
/* Waits once until the descriptor, which is not the bus's, is ready for one of these; then `ready`. Armed again it is as asked last.
 * 0, or -1 and errno. I/O thread. The watcher is the caller's, and stays until it is disarmed, before the descriptor is closed. */
int poll_arm_watcher(crier *bus, int fd, struct poll_watcher *watcher, bool input, bool output);
void poll_disarm_watcher(crier *bus, int fd);
int64_t poll_timeout_us(crier *bus);            /* until loop_due() */
void poll_step(crier *bus, int64_t timeout_us); /* waits so long at most, and takes a turn */
void poll_run(crier *bus);                      /* own thread: until stop */
void poll_arm(crier *bus);                      /* the timer on the caller's base, after a turn */
void poll_leave_base(crier *bus);
/* On the thread that drives a bus without a thread of its own: may a blocking call do so? Not in callbacks of the caller's
 * base. */
bool poll_may_pump(crier *bus);
bool poll_pump(crier *bus, int64_t deadline_us); /* one step. false: it may not */

/* ---- socket.c ---- */

void socket_init(crier *bus);
void socket_open(crier *bus, unsigned endpoint); /* engine_connected or engine_disconnected follows */
void socket_close(crier *bus);
/* A descriptor of ours is ready. watch: WATCH_SOCKET or WATCH_RESOLVE. In a turn */
void socket_ready(crier *bus, enum bus_watch watch, bool input, bool output);
void socket_send(crier *bus); /* what the engine has to send, as far as the kernel takes it */

/* ---- bus_listen.c: I/O thread ---- */

void listeners_change(crier *bus);
void listener_released(crier *bus, crier_listener *listener);

/* ---- bus_emitter.c: what is local to a bus with an engine ---- */

void local_events_init(crier *bus);
void local_events_finish(crier *bus);
void local_events_run(crier *bus); /* I/O thread */
/* An event on a local topic, told soon on the I/O thread. */
int bus_emit_local(crier *bus, const char *topic, const void *value, size_t value_size,
                   const struct crier_emit_options *options);
/* I/O thread: "newListener", before the listener starts; and "$warning", if it is one too many. */
void listener_tell_joined(crier *bus, const crier_listener *listener);
/* With the lock: of the same listener, "removeListener", soon. */
void listener_left_locked(crier *bus, const crier_listener *listener);
/* With the lock: the listener counts from now on; CRIER_ENOMEM. And no longer, if it did. */
int listener_count_locked(crier *bus, crier_listener *listener);
void listener_uncount_locked(crier *bus, crier_listener *listener);

/* ---- bus_listen.c: with the lock ---- */

void listener_stop_locked(crier *bus, crier_listener *listener);

/* ---- bus_request.c: I/O thread ---- */

void requests_start(crier *bus);

#endif
