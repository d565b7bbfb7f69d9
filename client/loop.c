/* loop.c: the turns of the I/O thread: everything that comes in meets the engine here.
 *
 * Role:     drives the engine on a libevent base, own or the caller's. Whatever woke the loop (socket, timer, eventfd), it
 *           ends in loop_turn(), which lets everything that is due happen and arms socket and timer for the next.
 * Thread:   the I/O thread, or whichever runs the caller's loop; loop_pump for blocking calls there.
 * Owns:     base (if own), wake-up and timer events; the socket is socket.c's.
 *
 * Happy path:  wake -> loop_turn: listeners and requests of other threads -> engine_tick -> engine_dispatch ->
 *              engine_collect (with the lock) -> socket_send -> timer
 * Failures:    none of its own: the engine's wishes to connect and disconnect are done between its calls. */
#include "client/bus_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DISPATCH_BUDGET_MIN 1
#define DISPATCH_BUDGET_MAX 65536
#define DISPATCH_TIME_US    1000 /* handlers run so long between looks at the socket */
#define TURNS_MAX           8    /* without looking at the socket */

/* ---- the engine's wishes ---- */

static void on_connect(void *ctx, unsigned endpoint)
{
    crier *bus = ctx;

    bus->connect_wanted = true;
    bus->connect_endpoint = endpoint;
    bus->again = true;
}

static void on_disconnect(void *ctx)
{
    crier *bus = ctx;

    bus->disconnect_wanted = true;
    bus->connect_wanted = false;
    bus->again = true;
}

/* A change; or that no endpoint has answered ever since the bus was opened: once. */
static bool connection_is_news(crier *bus, bool connected, bool ever)
{
    if (bus->connected != connected)
        return true;
    return !connected && !ever && ++bus->attempts_failed == bus->url.endpoint_count;
}

static void on_connection(void *ctx, bool connected, int code, const char *text)
{
    crier *bus = ctx;

    pthread_mutex_lock(&bus->lock);
    bus->was_connected |= connected;
    bus->connect_error = code;
    snprintf(bus->connect_text, sizeof(bus->connect_text), "%s", text ? text : "");
    bool ever = bus->was_connected;
    pthread_mutex_unlock(&bus->lock);
    if (!connection_is_news(bus, connected, ever))
        return;
    bus->connected = connected;
    if (bus->options.connection)
        bus->options.connection(bus, connected, text, bus->options.ctx);
}

static void on_drain(void *ctx)
{
    crier *bus = ctx;

    if (bus->options.drain)
        bus->options.drain(bus, bus->options.ctx);
}

static void on_released(void *ctx, crier_listener *listener)
{
    listener_released(ctx, listener);
}

const struct engine_ops loop_engine_ops = {.connect = on_connect,
                                           .disconnect = on_disconnect,
                                           .connection = on_connection,
                                           .drain = on_drain,
                                           .released = on_released};

static void wishes_do(crier *bus)
{
    if (bus->disconnect_wanted) {
        bus->disconnect_wanted = false;
        socket_close(bus);
    }
    if (bus->connect_wanted) {
        bus->connect_wanted = false;
        socket_open(bus, bus->connect_endpoint);
    }
}

/* ---- a turn ---- */

/* As many events as take about DISPATCH_TIME_US: learnt from the last time. */
static void handlers_run(crier *bus)
{
    int64_t began, took;
    size_t ran;

    if (!engine_dispatch_pending(bus->engine))
        return;
    began = clock_monotonic_us();
    ran = engine_dispatch(bus->engine, bus->dispatch_budget, began);
    took = clock_monotonic_us() - began;
    if (took > 2 * DISPATCH_TIME_US && bus->dispatch_budget > DISPATCH_BUDGET_MIN)
        bus->dispatch_budget /= 2;
    else if (took < DISPATCH_TIME_US && ran == bus->dispatch_budget &&
             bus->dispatch_budget < DISPATCH_BUDGET_MAX)
        bus->dispatch_budget *= 2;
}

/* What threads wait for is brought up to date, and they are woken. Returns whether there is nothing more to do. */
static bool progress_publish(crier *bus)
{
    int error = engine_error_take(bus->engine);
    bool settled, stop;

    pthread_mutex_lock(&bus->lock);
    bus->progress = engine_collect(bus->engine, clock_monotonic_us());
    settled = bus->close_begun && engine_is_settled(bus->engine);
    bus->settled |= settled;
    if (bus->error == 0)
        bus->error = error;
    stop = bus->stop;
    if (bus->waiters > 0)
        pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
    return stop;
}

static void close_begin(crier *bus)
{
    bool closing;

    pthread_mutex_lock(&bus->lock);
    closing = bus->closing;
    pthread_mutex_unlock(&bus->lock);
    if (!closing || bus->close_begun)
        return;
    bus->close_begun = true;
    engine_close(bus->engine, clock_monotonic_us());
}

/* The last turn: everything is given up that has no outcome yet. Touches nothing of the bus once `stopped` is told:
 * whoever waits for that frees it. */
static void loop_stop(crier *bus)
{
    pthread_mutex_lock(&bus->lock);
    engine_emit_close(bus->engine);
    bus->closing = true;
    pthread_mutex_unlock(&bus->lock);
    engine_drop(bus->engine, CRIER_ECLOSED);
    wishes_do(bus);
    socket_close(bus);
    event_free(bus->wake_event);
    event_free(bus->timer);
    bus->wake_event = bus->timer = NULL;
    bus->down = true;
    (void)progress_publish(bus); /* batches go back, and errors of the last moment */
    if (bus->own_thread)
        event_base_loopbreak(bus->base);
    atomic_store_explicit(&bus->in_turn, false, memory_order_relaxed);
    pthread_mutex_lock(&bus->lock);
    bus->stopped = true;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

static void timer_arm(crier *bus)
{
    int64_t due = engine_dispatch_pending(bus->engine) || bus->again ? 0 : engine_due(bus->engine), delay;
    struct timeval interval;

    if (due >= bus->timer_due)
        return; /* it fires early and is armed anew: cheaper than moving it with every byte received */
    bus->timer_due = due;
    delay = due - clock_monotonic_us();
    if (delay < 0)
        delay = 0;
    interval = (struct timeval){.tv_sec = delay / 1000000, .tv_usec = delay % 1000000};
    event_add(bus->timer, &interval);
}

void loop_enter(crier *bus)
{
    atomic_store_explicit(&bus->loop_thread, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&bus->in_turn, true, memory_order_relaxed);
}

void loop_turn(crier *bus)
{
    int64_t now = clock_monotonic_us();
    bool stop = false;

    if (bus->down)
        return;
    loop_enter(bus);
    bus->again = true;
    for (int turns = 0; bus->again && turns < TURNS_MAX && !stop; turns++) {
        bus->again = false;
        listeners_change(bus);
        requests_start(bus);
        close_begin(bus);
        if (engine_due(bus->engine) <= now)
            engine_tick(bus->engine, now);
        wishes_do(bus);
        if (turns == 0)
            handlers_run(bus);
        wishes_do(bus);
        stop = progress_publish(bus);
        socket_send(bus);
        wishes_do(bus);
    }
    if (stop) {
        loop_stop(bus);
        return;
    }
    timer_arm(bus);
    atomic_store_explicit(&bus->in_turn, false, memory_order_relaxed);
}

/* ---- libevent ---- */

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) < 0) {
        /* somebody else's turn took it: nothing is lost by another look */
    }
    loop_turn(ctx);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    crier *bus = ctx;

    (void)fd;
    (void)what;
    bus->timer_due = ENGINE_NEVER; /* it has fired: arm it anew */
    loop_turn(bus);
}

static struct event_base *base_create(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(config); /* one thread touches it: no locks */
    if (config)
        event_config_free(config);
    return base;
}

int loop_open(crier *bus)
{
    bus->socket.fd = -1;
    bus->timer_due = ENGINE_NEVER;
    bus->dispatch_budget = 64;
    bus->base = bus->own_thread ? base_create() : bus->options.base;
    if ((bus->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 || !bus->base)
        return CRIER_ENOMEM;
    bus->wake_event = event_new(bus->base, bus->wake_fd, EV_READ | EV_PERSIST, on_wake, bus);
    bus->timer = event_new(bus->base, -1, 0, on_timer, bus);
    if (!bus->wake_event || !bus->timer || event_add(bus->wake_event, NULL) < 0)
        return CRIER_ENOMEM;
    return 0;
}

void loop_close(crier *bus)
{
    if (bus->wake_event)
        event_free(bus->wake_event);
    if (bus->timer)
        event_free(bus->timer);
    if (bus->own_thread && bus->base)
        event_base_free(bus->base);
    if (bus->wake_fd >= 0)
        close(bus->wake_fd);
}

void loop_run(crier *bus)
{
    loop_turn(bus);
    while (!bus->down)
        event_base_loop(bus->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx; /* that the loop came round was the point */
}

/* libevent tells nobody whether a loop is running (event_base_get_running_event() crashes when it is not), but in its
 * callbacks the cached time stands still. Where that cache was turned off, event_base_loop() refuses, with a warning. */
bool loop_can_run(crier *bus)
{
    struct timeval before, after;
    int64_t began;

    event_base_gettimeofday_cached(bus->base, &before);
    began = clock_monotonic_us();
    while (clock_monotonic_us() < began + 3)
        continue;
    event_base_gettimeofday_cached(bus->base, &after);
    return before.tv_sec != after.tv_sec || before.tv_usec != after.tv_usec;
}

bool loop_pump(crier *bus, int64_t deadline_us)
{
    int64_t left = deadline_us - clock_monotonic_us();
    struct timeval interval = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};
    struct event *deadline = NULL;
    int rc;

    if (!loop_can_run(bus))
        return false;
    if (deadline_us != ENGINE_NEVER && left > 0 &&
        (deadline = event_new(bus->base, -1, 0, on_deadline, NULL)))
        event_add(deadline, &interval);
    rc = event_base_loop(bus->base, EVLOOP_ONCE);
    if (deadline)
        event_free(deadline);
    return rc >= 0;
}
