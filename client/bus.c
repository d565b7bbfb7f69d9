/* bus.c: a bus's life and its emits: crier_open to crier_close, bus_emit, crier_flush, crier_stats.
 *
 * Role:     the public API's side of the lock; the other side is loop.c, on the I/O thread.
 * Thread:   any, as crier.h says. Blocking calls wait on one condition variable, or run the caller's loop meanwhile.
 * Owns:     struct crier, from crier_open to crier_close.
 *
 * Happy path:  crier_open -> I/O thread connects -> bus_emit: engine_emit under the lock, a wake-up when one is needed
 *              -> crier_close: no new emits -> settled -> stop -> stopped -> freed
 * Failures:    opening: everything is taken down again in reverse order. Closing takes too long: what is left is given
 *              up with CRIER_ECLOSED or CRIER_EUNKNOWN, each emit still told, and CRIER_ETIMEDOUT returned. */
#include "client/bus_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/thread.h"
#include "client/emitter.h"
#include "client/handles.h"
#include "client/scheme.h"
#include "client/struct_size.h"
#include "client/topic_name.h"
#include "crier/atomic.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- threads ---- */

bool bus_in_callback(crier *bus)
{
    return atomic_load_explicit(&bus->in_turn, memory_order_relaxed) &&
           pthread_equal(atomic_load_explicit(&bus->loop_thread, memory_order_relaxed), pthread_self());
}

void bus_wake(crier *bus)
{
    uint64_t one = 1;

    if (bus_in_callback(bus)) {
        bus->again = true;
    } else if (write(bus->wake_fd, &one, sizeof(one)) < 0) {
        /* the counter is full: the loop is awake as can be */
    }
}

/* Is it this thread that has to run the loop, because it is the caller's? */
static bool loop_is_ours_to_run(crier *bus)
{
    return !bus->own_thread &&
           pthread_equal(atomic_load_explicit(&bus->loop_thread, memory_order_relaxed), pthread_self());
}

static struct timespec time_of(int64_t us)
{
    return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

int bus_wait(crier *bus, bool (*done)(crier *bus, const void *ctx), const void *ctx, int64_t deadline_us)
{
    struct timespec deadline = time_of(deadline_us);
    int rc = 0;

    if (bus_in_callback(bus) || (bus->emitter && emitter_lock_is_inside(&bus->emitter->lock)))
        return CRIER_EDEADLK;
    bus->waiters++;
    while (rc == 0 && !done(bus, ctx)) {
        if (deadline_us != ENGINE_NEVER && clock_monotonic_us() >= deadline_us) {
            rc = CRIER_ETIMEDOUT;
        } else if (loop_is_ours_to_run(bus)) {
            pthread_mutex_unlock(&bus->lock);
            rc = poll_pump(bus, deadline_us) ? 0 : CRIER_EDEADLK;
            pthread_mutex_lock(&bus->lock);
        } else if (deadline_us == ENGINE_NEVER) {
            pthread_cond_wait(&bus->changed, &bus->lock);
        } else {
            pthread_cond_timedwait(&bus->changed, &bus->lock, &deadline);
        }
    }
    bus->waiters--;
    return rc;
}

static int64_t deadline_after_ms(int timeout_ms)
{
    return timeout_ms < 0 ? ENGINE_NEVER : clock_monotonic_us() + timeout_ms * INT64_C(1000);
}

/* ---- opening ---- */

static int lock_init(crier *bus)
{
    pthread_condattr_t attributes;
    int rc;

    if (pthread_mutex_init(&bus->lock, NULL) != 0)
        return CRIER_ENOMEM;
    if (pthread_condattr_init(&attributes) != 0) {
        pthread_mutex_destroy(&bus->lock);
        return CRIER_ENOMEM;
    }
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&bus->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (rc != 0)
        pthread_mutex_destroy(&bus->lock);
    return rc == 0 ? 0 : CRIER_ENOMEM;
}

static int engine_make(crier *bus)
{
    struct engine_config config = {
        .bus = bus, .options = bus->options, .endpoint_count = bus->url.endpoint_count};

    if (random_system(config.instance, sizeof(config.instance)) < 0 ||
        random_system(&config.seed, sizeof(config.seed)) < 0)
        return CRIER_ENOMEM;
    if (!(bus->agenda = bus_agenda_create(bus)) ||
        !(bus->engine = engine_create(&config, &loop_engine_ops, bus)))
        return CRIER_ENOMEM;
    atomic_store(&bus->looped, true);
    engine_dispatch_yields_to(bus->engine, agenda_is_drainable(bus->agenda));
    return 0;
}

static void transport_release(const struct bus_transport *transport)
{
    if (transport && transport->release)
        transport->release(transport->ctx);
}

void bus_free(crier *bus)
{
    struct bus_transport transport = bus->transport;

    poll_close(bus);
    engine_destroy(bus->engine);
    agenda_release(bus->agenda);
    bus_monitor_destroy(bus);
    pthread_cond_destroy(&bus->changed);
    pthread_mutex_destroy(&bus->lock);
    local_events_finish(bus);
    asks_destroy(bus->asks);
    free(bus->listeners);
    handle_freed(&bus_handles, bus);
    free(bus);
    transport_release(&transport); /* last: it may end what the bus was connected to */
}

crier *bus_make(const struct crier_options *options)
{
    crier *bus = calloc(1, sizeof(*bus));

    if (!bus || lock_init(bus) < 0) {
        free(bus);
        return NULL;
    }
    handle_made(&bus_handles, bus);
    bus->options = *options;
    bus->options.error_text = NULL; /* borrowed for the call of crier_open() */
    bus->own_thread = !options->base && !options->polled;
    bus->poll_fd = bus->wake_fd = -1;
    socket_init(bus);
    bus->dispatch_budget = 64;
    bus->changes_end = &bus->changes;
    bus->requests_end = &bus->requests;
    local_events_init(bus);
    list_init(&bus->among);
    list_init(&bus->streams);
    atomic_store(&bus->loop_thread, pthread_self());
    return bus;
}

static int bus_create(const struct url *url, const struct bus_transport *transport,
                      const struct crier_options *options, crier **ret_bus)
{
    crier *bus = bus_make(options);
    int rc;

    if (!bus) {
        transport_release(transport);
        return CRIER_ENOMEM;
    }
    if (url)
        bus->url = *url;
    else
        bus->url.endpoint_count = 1;
    if (transport)
        bus->transport = *transport;
    if ((rc = engine_make(bus)) < 0 || (rc = poll_open(bus)) < 0) {
        bus_free(bus);
        return rc;
    }
    *ret_bus = bus;
    return 0;
}

static void *thread_run(void *argument)
{
    poll_run(argument);
    return NULL;
}

/* Somebody is there, and trying again will not make it a broker that understands. */
static bool is_no_broker(int code)
{
    return code == CRIER_EVERSION || code == CRIER_EPROTO;
}

static bool connect_is_decided(crier *bus, const void *ctx)
{
    (void)ctx;
    return bus->was_connected || (bus->url.endpoint_count == 1 && is_no_broker(bus->connect_error));
}

static int connect_wait(crier *bus, const struct crier_options *options)
{
    int rc;

    pthread_mutex_lock(&bus->lock);
    rc = bus_wait(bus, connect_is_decided, NULL, deadline_after_ms(bus->options.connect_timeout_ms));
    if (rc == CRIER_ETIMEDOUT)
        rc = is_no_broker(bus->connect_error) ? bus->connect_error : CRIER_ECONNECT;
    else if (rc == 0 && !bus->was_connected)
        rc = bus->connect_error;
    if (rc < 0 && bus->connect_text[0] != '\0')
        open_error(options, "%s", bus->connect_text);
    pthread_mutex_unlock(&bus->lock);
    return rc;
}

int bus_thread_start(crier *bus)
{
    return thread_start(&bus->thread, "crier", thread_run, bus) == 0 ? 0 : CRIER_ENOMEM;
}

static bool is_stopped(crier *bus, const void *ctx)
{
    (void)ctx;
    return bus->stopped;
}

void bus_loop_end(crier *bus)
{
    pthread_mutex_lock(&bus->lock);
    bus->stop = true;
    pthread_mutex_unlock(&bus->lock);
    if (loop_is_ours_to_run(bus)) {
        loop_turn(bus);
    } else {
        bus_wake(bus);
        pthread_mutex_lock(&bus->lock);
        bus_wait(bus, is_stopped, NULL, ENGINE_NEVER);
        pthread_mutex_unlock(&bus->lock);
    }
    if (bus->own_thread)
        pthread_join(bus->thread, NULL);
    agenda_waits_end(bus->agenda); /* futures are settled: who waited for one is about to leave */
}

/* Takes the loop down, whatever is left, and frees the bus. */
static void bus_stop(crier *bus)
{
    bus_loop_end(bus);
    bus_free(bus);
}

int bus_start(const struct url *url, const struct bus_transport *transport,
              const struct crier_options *options, crier **ret_bus)
{
    crier *bus = NULL;
    int rc = bus_create(url, transport, options, &bus);

    if (rc < 0)
        return rc;
    engine_start(bus->engine, clock_monotonic_us());
    if (bus->own_thread) {
        if ((rc = bus_thread_start(bus)) < 0) {
            bus_free(bus);
            return rc;
        }
    } else {
        loop_turn(bus);
    }
    if (options->connect_timeout_ms > 0 && (rc = connect_wait(bus, options)) < 0) {
        bus_stop(bus);
        return rc;
    }
    *ret_bus = bus;
    return 0;
}

static int network_open(const char *text, const struct crier_options *options, crier **ret_bus)
{
    struct url url;
    int rc = url_parse(text, &url);

    if (rc < 0)
        open_error(options, "\"%s\" is not crier://HOST:PORT[,HOST2:PORT2...] or unix:/PATH", text);
    return rc < 0 ? rc : bus_start(&url, NULL, options, ret_bus);
}

const struct bus_scheme bus_scheme_crier = {.prefix = "crier://", .open = network_open};
const struct bus_scheme bus_scheme_unix = {.prefix = "unix:", .open = network_open};

/* ---- closing ---- */

static bool is_settled(crier *bus, const void *ctx)
{
    (void)ctx;
    return bus->settled;
}

int crier_close(crier *bus)
{
    handle_check(&bus_handles, bus);
    int rc, error;

    if (!bus)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_close(bus);
    if (bus_in_callback(bus) || (loop_is_ours_to_run(bus) && !poll_may_pump(bus)))
        return CRIER_EDEADLK;
    pthread_mutex_lock(&bus->lock);
    engine_emit_close(bus->engine);
    bus->closing = true;
    pthread_mutex_unlock(&bus->lock);
    bus_wake(bus);
    pthread_mutex_lock(&bus->lock);
    rc = bus_wait(bus, is_settled, NULL, deadline_after_ms(bus->options.close_timeout_ms));
    pthread_mutex_unlock(&bus->lock);
    bus_loop_end(bus);
    if (bus->settled) /* in its last turn too: without a timeout there is no other */
        rc = 0;
    error = bus->error;
    bus_free(bus);
    return rc < 0 ? rc : error;
}

/* ---- emitting ---- */

/* Milliseconds are what an event carries: the coarse clock, a few of them off at most, costs a quarter of the exact one. */
static int64_t timestamp_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static bool has_progress(crier *bus, const void *ctx)
{
    (void)ctx;
    return bus->progress.pending_bytes != SIZE_MAX || bus->closing;
}

/* Waits for the I/O thread's next turn, which may have made room, if emits block: true: try again. */
static bool room_wait(crier *bus)
{
    if (!bus->options.emit_blocks)
        return false;
    bus->progress.pending_bytes = SIZE_MAX; /* until it tells */
    return bus_wait(bus, has_progress, NULL, ENGINE_NEVER) == 0;
}

int bus_emit(crier *bus, const char *topic, const void *value, size_t value_size,
             const struct crier_emit_options *options)
{
    int64_t now_ms = options && options->timestamp_ms ? options->timestamp_ms : timestamp_ms();
    bool wake;
    int rc;

    if (options && options->ret_had_listeners)
        return CRIER_ENOTSUP;
    pthread_mutex_lock(&bus->lock);
    do
        rc = engine_emit(bus->engine, topic, value, value_size, options, now_ms, &wake);
    while (rc == CRIER_EAGAIN && room_wait(bus));
    pthread_mutex_unlock(&bus->lock);
    if (wake)
        bus_wake(bus);
    if (rc == CRIER_EINVAL && topic_name_is_local(topic))
        return bus_emit_local(bus, topic, value, value_size, options);
    return rc;
}

int crier_emit_later(crier *bus, const char *topic, const void *value, size_t value_size,
                     const struct crier_later_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_later_options copy = crier_later_options_default();
    struct crier_emit_options emit = crier_emit_options_default();
    bool wake;
    int rc;

    if (!bus || !topic || !struct_take(&copy, sizeof(copy), options) ||
        !struct_take(&emit, sizeof(emit), copy.emit))
        return CRIER_EINVAL;
    if (bus->emitter || emit.ret_had_listeners)
        return CRIER_ENOTSUP;
    copy.emit = &emit;
    pthread_mutex_lock(&bus->lock);
    do
        rc = engine_emit_later(bus->engine, topic, value, value_size, &copy, timestamp_ms(), &wake);
    while (rc == CRIER_EAGAIN && room_wait(bus));
    pthread_mutex_unlock(&bus->lock);
    if (wake)
        bus_wake(bus);
    return rc;
}

/* The options of events that were made for another version, as this library has them. *ret_copies: NULL: none was; else
 * malloc'ed, the events and their options. */
static int events_take(const struct crier_atomic_event *events, size_t count,
                       struct crier_atomic_event **ret_copies)
{
    struct crier_atomic_event *copies;
    struct crier_emit_options *options;
    size_t i = 0;

    *ret_copies = NULL;
    while (i < count && (!events[i].options || events[i].options->struct_size == sizeof(*options)))
        i++;
    if (i == count)
        return 0;
    if (!(copies = malloc(count * (sizeof(*copies) + sizeof(*options)))))
        return CRIER_ENOMEM;
    options = (struct crier_emit_options *)(void *)(copies + count);
    for (i = 0; i < count; i++) {
        copies[i] = events[i];
        options[i] = crier_emit_options_default();
        if (!struct_take(&options[i], sizeof(options[i]), events[i].options)) {
            free(copies);
            return CRIER_EINVAL;
        }
        copies[i].options = &options[i];
    }
    *ret_copies = copies;
    return 0;
}

static int bus_emit_atomic(crier *bus, const struct crier_atomic_event *events, size_t count,
                           const struct crier_atomic_options *options)
{
    bool wake;
    int rc;

    pthread_mutex_lock(&bus->lock);
    do
        rc = engine_emit_atomic(bus->engine, events, count, options, timestamp_ms(), &wake);
    while (rc == CRIER_EAGAIN && room_wait(bus));
    pthread_mutex_unlock(&bus->lock);
    if (wake)
        bus_wake(bus);
    return rc;
}

int crier_emit_atomic(crier *bus, const struct crier_atomic_event *events, size_t count,
                      const struct crier_atomic_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_atomic_options copy = crier_atomic_options_default();
    struct crier_atomic_event *copies;
    int rc;

    if (!bus || (!events && count > 0) || !struct_take(&copy, sizeof(copy), options))
        return CRIER_EINVAL;
    if (count > CRIER_ATOMIC_EVENTS_MAX)
        return CRIER_EINVAL;
    if ((rc = events_take(events, count, &copies)) < 0)
        return rc;
    if (copies)
        events = copies;
    rc = bus->emitter ? emitter_bus_emit_atomic(bus, events, count, &copy)
                      : bus_emit_atomic(bus, events, count, &copy);
    free(copies);
    return rc;
}

int crier_source_position(crier *bus, uint64_t *ret_position)
{
    handle_check(&bus_handles, bus);
    uint64_t position;
    int rc;

    if (!bus || !ret_position)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_source_position(bus, ret_position);
    pthread_mutex_lock(&bus->lock);
    rc = engine_source_position(bus->engine, &position);
    if (rc == 0 && !bus->was_connected)
        rc = CRIER_ECONNECT;
    pthread_mutex_unlock(&bus->lock);
    if (rc == 0)
        *ret_position = position;
    return rc;
}

static bool is_flushed(crier *bus, const void *ctx)
{
    const uint64_t *ticket = ctx;

    return bus->progress.oldest_ticket >= *ticket;
}

int crier_flush(crier *bus, int timeout_ms)
{
    handle_check(&bus_handles, bus);
    uint64_t ticket;
    int rc;

    if (!bus)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_flush(bus);
    if (bus_in_callback(bus))
        return CRIER_EDEADLK;
    pthread_mutex_lock(&bus->lock);
    ticket = engine_flush_ticket(bus->engine);
    pthread_mutex_unlock(&bus->lock);
    bus_wake(bus);
    pthread_mutex_lock(&bus->lock);
    rc = bus_wait(bus, is_flushed, &ticket, deadline_after_ms(timeout_ms));
    if (rc == 0) {
        rc = bus->error;
        bus->error = 0;
    }
    pthread_mutex_unlock(&bus->lock);
    return rc;
}

void crier_stats(crier *bus, struct crier_stats *ret_stats)
{
    handle_check(&bus_handles, bus);
    if (!ret_stats)
        return;
    *ret_stats = (struct crier_stats){0};
    if (!bus)
        return;
    if (bus->emitter) {
        emitter_bus_stats(bus, ret_stats);
        return;
    }
    pthread_mutex_lock(&bus->lock);
    engine_stats(bus->engine, ret_stats);
    pthread_mutex_unlock(&bus->lock);
}
