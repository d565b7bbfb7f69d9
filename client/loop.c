/* loop.c: the turns of the I/O thread: everything that comes in meets the engine here.
 *
 * Role:     drives the engine. Whatever woke the bus (socket, timer, another thread; see poll.c), it ends in loop_turn(),
 *           which lets everything that is due happen and says when it has to be called again.
 * Thread:   the I/O thread, or whichever runs the caller's loop.
 *
 * Happy path:  poll_step -> loop_turn: listeners and requests of other threads -> engine_tick -> engine_dispatch ->
 *              engine_collect (with the lock) -> socket_send
 * Order:       Node's, by base/agenda.h: ticks and continuations after every handler, and where a turn begins (for what
 *              the socket brought); then immediates, then timers. docs/loop.md tells users.
 * Failures:    none of its own: the engine's wishes to connect and disconnect are done between its calls. */
#include "client/bus_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

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
    size_t ran = 0, now;

    if (!engine_dispatch_pending(bus->engine))
        return;
    began = clock_monotonic_us();
    do { /* more than once if a handler left ticks or continuations behind: they come before the next */
        now = engine_dispatch(bus->engine, bus->dispatch_budget - ran, began);
        ran += now;
        agenda_drain(bus->agenda);
        took = clock_monotonic_us() - began;
    } while (now > 0 && ran < bus->dispatch_budget && took < DISPATCH_TIME_US &&
             engine_dispatch_pending(bus->engine));
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
    settled = bus->close_begun && !bus->down && engine_is_settled(bus->engine);
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
    streams_close(bus);
    engine_close(bus->engine, clock_monotonic_us());
}

/* Handlers on pools that are not through by now may wait for what has no outcome yet, and this thread for them: it is given up first. */
static void outings_end(crier *bus)
{
    bool out;

    pthread_mutex_lock(&bus->lock);
    out = bus->outings > 0;
    pthread_mutex_unlock(&bus->lock);
    if (out) {
        requests_start(bus);
        engine_give_up(bus->engine, CRIER_ECLOSED);
        asks_close(bus);
        agenda_end(bus->agenda);
        (void)progress_publish(bus); /* who waits looks again */
        outings_wait(bus);
    }
    agenda_immediates(bus->agenda); /* their outcomes */
}

/* The last turn: everything is given up that has no outcome yet. Touches nothing of the bus once `stopped` is told:
 * whoever waits for that frees it. */
static void loop_stop(crier *bus)
{
    pthread_mutex_lock(&bus->lock);
    engine_emit_close(bus->engine);
    bus->closing = true;
    pthread_mutex_unlock(&bus->lock);
    agenda_immediates(bus->agenda); /* outcomes of handlers on pools, above all */
    close_begin(bus);
    (void)progress_publish(bus); /* is there anything to give up? */
    outings_end(bus);
    engine_drop(bus->engine, CRIER_ECLOSED);
    asks_close(bus);
    agenda_close(bus->agenda); /* after every emit was told; before the last errors are counted */
    streams_finish(bus);
    wishes_do(bus);
    socket_close(bus);
    poll_leave_base(bus);
    bus->down = true;
    (void)progress_publish(bus); /* batches go back, and errors of the last moment */
    atomic_store_explicit(&bus->in_turn, false, memory_order_relaxed);
    pthread_mutex_lock(&bus->lock);
    bus->stopped = true;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

int64_t loop_due(crier *bus)
{
    int64_t engine, agenda = agenda_due(bus->agenda);

    if (!bus->engine)
        return bus->again ? 0 : agenda;
    engine = engine_due(bus->engine);
    if (engine_dispatch_pending(bus->engine) || bus->again)
        return 0;
    return engine < agenda ? engine : agenda;
}

void loop_enter(crier *bus)
{
    atomic_store_explicit(&bus->loop_thread, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&bus->in_turn, true, memory_order_relaxed);
    bus_monitor_turn_begin(bus);
}

void loop_leave(crier *bus)
{
    bus_monitor_turn_end(bus);
    atomic_store_explicit(&bus->in_turn, false, memory_order_relaxed);
}

static void engine_turn(crier *bus)
{
    int64_t now = clock_monotonic_us();
    bool stop = false;

    loop_enter(bus);
    if (bus->down) {
        loop_leave(bus);
        return;
    }
    bus->again = true;
    for (int turns = 0; bus->again && turns < TURNS_MAX && !stop; turns++) {
        bus->again = false;
        agenda_drain(bus->agenda);
        listeners_change(bus);
        local_events_run(bus);
        requests_start(bus);
        close_begin(bus);
        if (engine_due(bus->engine) <= now)
            engine_tick(bus->engine, now);
        wishes_do(bus);
        bus_called(bus, CRIER_LOOP_CALLBACK, NULL, NULL);
        if (turns == 0)
            handlers_run(bus);
        wishes_do(bus);
        asks_start(bus);
        stop = progress_publish(bus);
        socket_send(bus);
        wishes_do(bus);
        bus_called(bus, CRIER_LOOP_CALLBACK, NULL, NULL);
        if (turns == 0) {
            bool ran = agenda_immediates(bus->agenda);
            ran |= agenda_timers(bus->agenda, clock_monotonic_us());
            bus->again |= ran; /* the engine may have something to send now */
        }
    }
    if (stop) {
        loop_stop(bus);
        return;
    }
    poll_arm(bus);
    loop_leave(bus);
}

void loop_turn(crier *bus)
{
    if (bus->emitter)
        emitter_loop_turn(bus);
    else
        engine_turn(bus);
}
