/* reactor.c: the loop: libevent's callbacks, then the core's turn, then the writes.
 *
 * Happy path:  recover → first entry durable → sockets listen → turns → told to stop → GOAWAY, what is in flight ends →
 *              store stopped (clean-stop mark)
 * Failures:    recovery refuses: one sentence, nothing touched. The disk fails before the first entry: likewise. */
#include "broker/reactor_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPLETIONS_TURN_MAX 256
#define STOP_LOOK_US         50000
#define FLUSH_ROUNDS                                                                                         \
    8 /* delivering and writing take turns this often before other sockets are looked at again */

void reactor_turn_begin(struct reactor *reactor)
{
    if (reactor->in_turn)
        return;
    reactor->in_turn = true;
    turn_time_begin(&reactor->turn_time);
    reactor->mono_us = clock_monotonic_us();
    core_turn_begin(reactor->core, reactor->mono_us, clock_wall_us());
}

static void on_store(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    struct reactor *reactor = ctx;
    reactor_turn_begin(reactor);
    reactor->store->ops->poll(reactor->store, COMPLETIONS_TURN_MAX);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what, (void)ctx; /* waking up is all: the turn's end does the work */
}

void reactor_stop(struct reactor *reactor, const char *why)
{
    if (reactor->stopping)
        return;
    LOG_INFO(reactor->log, "STOP", "%s: finishing what is in flight, %u ms at the longest", why,
             reactor->options.drain_ms);
    reactor->stopping = true;
    reactor->stop_by_us = clock_monotonic_us() + reactor->options.drain_ms * INT64_C(1000);
    acceptors_close(reactor);
    core_drain(reactor->core, reactor->options.drain_ms);
}

void reactor_adopt(struct reactor *reactor, int fd, const char *peer)
{
    connection_accept(reactor, fd, peer);
}

static void on_control(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    struct reactor *reactor = ctx;
    reactor_turn_begin(reactor);
    reactor->options.control(reactor->options.control_ctx);
}

/* Writes what the turn produced; what that makes room for is produced and written too. Returns when to wake up. */
static int64_t turn_end(struct reactor *reactor)
{
    int64_t due_us = core_turn_end(reactor->core);
    size_t sent = 0;
    for (int round = 0; reactor->dirty && round < FLUSH_ROUNDS && sent < SEND_TURN_MAX; round++) {
        while (reactor->dirty && sent < SEND_TURN_MAX)
            sent += connection_flush(reactor->dirty);
        due_us = core_turn_end(reactor->core);
    }
    return reactor->dirty ? reactor->mono_us : due_us;
}

static void timer_set(struct reactor *reactor, int64_t due_us)
{
    if (due_us == INT64_MAX) {
        event_del(&reactor->timer);
        return;
    }
    int64_t delay_us = due_us - reactor->mono_us;
    if (delay_us < 0)
        delay_us = 0;
    struct timeval delay = {.tv_sec = delay_us / 1000000, .tv_usec = delay_us % 1000000};
    event_add(&reactor->timer, &delay);
}

static int loop_once(struct reactor *reactor)
{
    int rc = event_base_loop(reactor->base, EVLOOP_ONCE);
    if (rc < 0) {
        LOG_ERROR(reactor->log, "LOOP-FAILED", "the event loop failed");
        return -1;
    }
    return 0;
}

/* While it stops: its deadline must wake us too, and that somebody was the last who waited. */
static int64_t stop_due(const struct reactor *reactor)
{
    int64_t soon_us = reactor->mono_us + STOP_LOOK_US;
    return soon_us < reactor->stop_by_us ? soon_us : reactor->stop_by_us;
}

static void turn_finish(struct reactor *reactor)
{
    reactor_turn_begin(reactor); /* if nothing but the timer woke us */
    int64_t due_us = turn_end(reactor);
    if (reactor->stopping && due_us > stop_due(reactor))
        due_us = stop_due(reactor);
    timer_set(reactor, due_us);
    turn_time_end(&reactor->turn_time);
    reactor->in_turn = false;
}

static int turn(struct reactor *reactor)
{
    if (loop_once(reactor) < 0)
        return -1;
    turn_finish(reactor);
    return 0;
}

static int until_ready(struct reactor *reactor, char *error, size_t error_size)
{
    turn_finish(reactor);
    while (!core_ready(reactor->core)) {
        if (core_read_only(reactor->core)) {
            snprintf(error, error_size, "the data folder cannot be written; the log has the reason");
            return STORE_EREADONLY;
        }
        if (reactor->stopping) {
            error[0] = '\0';
            return STORE_EAGAIN;
        }
        if (turn(reactor) < 0) {
            snprintf(error, error_size, "the event loop failed");
            return STORE_EIO;
        }
    }
    return 0;
}

static void connections_close(struct reactor *reactor)
{
    while (reactor->connections)
        connection_destroy(reactor->connections, "the broker stops");
}

static bool drained(const struct reactor *reactor)
{
    return core_drained(reactor->core) || clock_monotonic_us() >= reactor->stop_by_us;
}

static void serve_until_drained(struct reactor *reactor)
{
    while (!reactor->stopping || !drained(reactor)) {
        if (turn(reactor) < 0)
            break;
    }
    if (!core_drained(reactor->core))
        LOG_WARN(reactor->log, "STOP-DEADLINE",
                 "not everything was answered in time; clients will ask again");
}

static void reactor_end(struct reactor *reactor)
{
    connections_close(reactor);
    acceptors_close(reactor);
    event_del(&reactor->store_event);
    event_del(&reactor->timer);
    core_stop(reactor->core);
}

int reactor_start(struct reactor *reactor, char *error, size_t error_size)
{
    int64_t begun_us = clock_monotonic_us();
    reactor->mono_us = begun_us;
    int rc = core_recover(reactor->core, begun_us, clock_wall_us(), error, error_size);
    if (rc < 0)
        return rc;
    event_assign(&reactor->store_event, reactor->base, reactor->store->ops->completion_fd(reactor->store),
                 EV_READ | EV_PERSIST, on_store, reactor);
    event_add(&reactor->store_event, NULL);
    if ((rc = until_ready(reactor, error, error_size)) < 0) {
        reactor_end(reactor);
        return rc;
    }
    acceptors_start(reactor);
    return 0;
}

void reactor_addresses(const struct reactor *reactor, void (*each)(void *ctx, const char *address), void *ctx)
{
    for (const struct acceptor *acceptor = reactor->acceptors; acceptor; acceptor = acceptor->next)
        each(ctx, acceptor->address);
}

void reactor_serve(struct reactor *reactor)
{
    serve_until_drained(reactor);
    reactor_end(reactor);
    const struct turn_time *time = &reactor->turn_time;
    LOG_INFO(reactor->log, "TURNS",
             "%" PRIu64 " turns; CPU time of one in %d: p50 %" PRId64 " us, p99 %" PRId64 " us, max %" PRId64
             " us",
             time->turns, TURN_TIME_EVERY, turn_time_permille_us(time, 500), turn_time_permille_us(time, 990),
             time->max_us);
    LOG_INFO(reactor->log, "STOPPED", "clean stop");
}

int reactor_listen(struct reactor *reactor, const char *address, char *error, size_t error_size)
{
    return acceptor_open(reactor, address, error, error_size);
}

void reactor_reconfigure(struct reactor *reactor, const struct reactor_options *options)
{
    reactor->options.connections_max = options->connections_max;
    reactor->options.drain_ms = options->drain_ms;
    core_reconfigure(reactor->core, &options->core);
}

int reactor_create(const struct reactor_options *options, struct store *store, struct log *log,
                   struct reactor **ret_reactor, char *error, size_t error_size)
{
    struct reactor *reactor = calloc(1, sizeof(*reactor));
    if (!reactor)
        goto no_memory;
    reactor->options = *options;
    reactor->store = store;
    reactor->log = log;
    struct event_config *config = event_config_new();
    if (config) {
        event_config_set_flag(config,
                              EVENT_BASE_FLAG_NOLOCK); /* one thread: nobody else ever touches this base */
        reactor->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    reactor->slabs = buffer_pool_create(SLAB_SIZE, 2);
    reactor->controls = buffer_pool_create(CONTROL_SIZE, 64);
    reactor->core = core_create(&options->core, &reactor_core_ops, reactor, store);
    if (!reactor->base || !reactor->slabs || !reactor->controls || !reactor->core)
        goto no_memory;
    event_assign(&reactor->timer, reactor->base, -1, 0, on_timer, reactor);
    if (options->control_fd >= 0) {
        event_assign(&reactor->control_event, reactor->base, options->control_fd, EV_READ | EV_PERSIST,
                     on_control, reactor);
        event_add(&reactor->control_event, NULL);
    }
    *ret_reactor = reactor;
    return 0;
no_memory:
    snprintf(error, error_size, "out of memory");
    reactor_destroy(reactor);
    return STORE_ENOMEM;
}

void reactor_destroy(struct reactor *reactor)
{
    if (!reactor)
        return;
    if (reactor->core) {
        connections_close(reactor);
        acceptors_close(reactor);
        core_destroy(reactor->core);
    }
    if (reactor->base) {
        if (reactor->control_event.ev_base)
            event_del(&reactor->control_event);
        event_base_free(reactor->base);
    }
    buffer_unref(reactor->slab);
    buffer_pool_destroy(reactor->slabs);
    buffer_pool_destroy(reactor->controls);
    free(reactor);
}
