/* bus_listen.c: on, once, off, listen: listeners on their way to the I/O thread.
 *
 * Role:     keeps the register of a bus's listeners, by which crier_off finds them, and the list of those that the I/O
 *           thread has to start or end.
 * Thread:   any; listeners_change and listener_released: the I/O thread. */
#include "client/bus_internal.h"
#include "client/emitter.h"

#include "client/handles.h"
#include "client/struct_size.h"

#include <stdlib.h>
#include <string.h>

/* ---- with the lock ---- */

static int register_add(crier *bus, crier_listener *listener)
{
    bool first = engine_listener_link(listener)->first;
    int rc;

    if (bus->listener_count == bus->listener_capacity) {
        size_t capacity = bus->listener_capacity ? 2 * bus->listener_capacity : 8;
        crier_listener **grown = realloc(bus->listeners, capacity * sizeof(crier_listener *));
        if (!grown)
            return CRIER_ENOMEM;
        bus->listeners = grown;
        bus->listener_capacity = capacity;
    }
    if ((rc = listener_count_locked(bus, listener)) < 0)
        return rc;
    if (first)
        memmove(bus->listeners + 1, bus->listeners, bus->listener_count * sizeof(crier_listener *));
    bus->listeners[first ? 0 : bus->listener_count] = listener;
    bus->listener_count++;
    return 0;
}

static bool register_has(const crier *bus, const crier_listener *listener)
{
    for (size_t i = 0; i < bus->listener_count; i++)
        if (bus->listeners[i] == listener)
            return true;
    return false;
}

static void register_remove(crier *bus, const crier_listener *listener)
{
    size_t kept = 0;

    for (size_t i = 0; i < bus->listener_count; i++)
        if (bus->listeners[i] != listener)
            bus->listeners[kept++] = bus->listeners[i];
    bus->listener_count = kept;
}

static void change_add(crier *bus, crier_listener *listener)
{
    struct engine_listener_link *link = engine_listener_link(listener);

    if (link->listed)
        return;
    link->listed = true;
    link->next = NULL;
    *bus->changes_end = listener;
    bus->changes_end = &link->next;
}

static void change_remove(crier *bus, const crier_listener *listener)
{
    crier_listener **at = &bus->changes;

    while (*at && *at != listener)
        at = &engine_listener_link(*at)->next;
    if (!*at)
        return;
    struct engine_listener_link *link = engine_listener_link(*at);
    link->listed = false;
    if (bus->changes_end == &link->next)
        bus->changes_end = at;
    *at = link->next;
}

void listener_stop_locked(crier *bus, crier_listener *listener)
{
    engine_listener_link(listener)->stopping = true;
    listener_uncount_locked(bus, listener);
    engine_listener_stop(listener);
    change_add(bus, listener);
}

/* It never was the engine's. */
static void listener_unused(crier_listener *listener)
{
    listener_leave_pool(listener);
    engine_listener_destroy(listener);
}

/* ---- the API ---- */

/* From here on its handler can run. On failure it is freed. */
static int listener_add(crier *bus, crier_listener *listener, crier_listener **ret_listener)
{
    int rc;

    if (ret_listener)
        *ret_listener = listener; /* before its handler can run */
    pthread_mutex_lock(&bus->lock);
    rc = bus->closing ? CRIER_ECLOSED : register_add(bus, listener);
    if (rc == 0)
        change_add(bus, listener);
    pthread_mutex_unlock(&bus->lock);
    if (rc == 0)
        bus_wake(bus);
    else
        listener_unused(listener);
    return rc;
}

int listener_listen(crier *bus, const char *topic, const struct crier_listen_options *options,
                    crier_handler *handler, void (*stopping)(void *ctx), void *ctx,
                    crier_listener **ret_listener)
{
    crier_listener *listener;
    int rc;

    if ((rc = engine_listener_create(bus->engine, topic, options, handler, ctx, &listener)) < 0)
        return rc;
    engine_listener_divert(listener, handler, stopping, ctx);
    return listener_add(bus, listener, ret_listener);
}

int crier_listen(crier *bus, const char *topic, const struct crier_listen_options *options,
                 crier_handler *handler, void *ctx, crier_listener **ret_listener)
{
    handle_check(&bus_handles, bus);
    struct crier_listen_options copy = crier_listen_options_default();
    crier_listener *listener;
    int rc;

    if (!bus || !struct_take(&copy, sizeof(copy), options))
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_listen(bus, topic, &copy, handler, ctx, ret_listener);
    if ((rc = engine_listener_create(bus->engine, topic, &copy, handler, ctx, &listener)) < 0)
        return rc;
    if (copy.pool && (rc = listener_use_pool(bus, listener, copy.pool, copy.pool_events_max)) < 0) {
        engine_listener_destroy(listener);
        return rc;
    }
    return listener_add(bus, listener, ret_listener);
}

int crier_on(crier *bus, const char *topic, crier_handler *handler, void *ctx)
{
    handle_check(&bus_handles, bus);
    return crier_listen(bus, topic, NULL, handler, ctx, NULL);
}

int crier_once(crier *bus, const char *topic, crier_handler *handler, void *ctx)
{
    handle_check(&bus_handles, bus);
    struct crier_listen_options options = crier_listen_options_default();

    options.count = 1;
    return crier_listen(bus, topic, &options, handler, ctx, NULL);
}

int crier_prepend(crier *bus, const char *topic, crier_handler *handler, void *ctx)
{
    handle_check(&bus_handles, bus);
    struct crier_listen_options options = crier_listen_options_default();

    options.first = true;
    return crier_listen(bus, topic, &options, handler, ctx, NULL);
}

int crier_prepend_once(crier *bus, const char *topic, crier_handler *handler, void *ctx)
{
    handle_check(&bus_handles, bus);
    struct crier_listen_options options = crier_listen_options_default();

    options.first = true;
    options.count = 1;
    return crier_listen(bus, topic, &options, handler, ctx, NULL);
}

int crier_off(crier *bus, const char *topic, crier_handler *handler, void *ctx)
{
    handle_check(&bus_handles, bus);
    crier_listener *found = NULL;

    if (!bus || !topic)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_off(bus, topic, handler, ctx);
    pthread_mutex_lock(&bus->lock);
    for (size_t i = bus->listener_count; i > 0 && !found; i--)
        if (engine_listener_matches(bus->listeners[i - 1], topic, handler, ctx) &&
            !engine_listener_link(bus->listeners[i - 1])->stopping)
            found = bus->listeners[i - 1];
    if (found)
        listener_stop_locked(bus, found);
    pthread_mutex_unlock(&bus->lock);
    if (!found)
        return CRIER_EINVAL;
    bus_wake(bus);
    return 0;
}

int crier_unlisten(crier_listener *listener)
{
    handle_check(&listener_handles, listener);
    crier *bus;

    if (!listener)
        return CRIER_EINVAL;
    bus = engine_listener_bus(listener);
    if (bus->emitter)
        return emitter_bus_unlisten(listener);
    pthread_mutex_lock(&bus->lock);
    if (!engine_listener_link(listener)->stopping)
        listener_stop_locked(bus, listener);
    pthread_mutex_unlock(&bus->lock);
    bus_wake(bus);
    return 0;
}

int crier_listener_stats(crier_listener *listener, struct crier_listener_stats *ret_stats)
{
    handle_check(&listener_handles, listener);
    if (!listener || !ret_stats)
        return CRIER_EINVAL;
    if (engine_listener_bus(listener)->emitter)
        emitter_bus_listener_stats(listener, ret_stats);
    else
        engine_listener_stats(listener, ret_stats);
    return 0;
}

/* ---- I/O thread ---- */

/* The next listener with something to do, and what; NULL: none. */
static crier_listener *change_take(crier *bus, bool *ret_start, bool *ret_stop)
{
    crier_listener *listener;

    pthread_mutex_lock(&bus->lock);
    if ((listener = bus->changes)) {
        struct engine_listener_link *link = engine_listener_link(listener);
        change_remove(bus, listener);
        *ret_start = !link->started;
        *ret_stop = link->stopping;
        link->started = true;
    }
    pthread_mutex_unlock(&bus->lock);
    return listener;
}

static bool listener_is_there(crier *bus, const crier_listener *listener)
{
    bool there;

    pthread_mutex_lock(&bus->lock);
    there = register_has(bus, listener);
    pthread_mutex_unlock(&bus->lock);
    return there;
}

void listeners_change(crier *bus)
{
    crier_listener *listener;
    bool start, stop;

    while ((listener = change_take(bus, &start, &stop))) {
        if (start)
            listener_tell_joined(bus, listener);
        if (start)
            engine_listen(bus->engine, listener);
        if (stop && listener_is_there(bus, listener)) /* starting it may have been its end */
            engine_unlisten(bus->engine, listener);
    }
}

void listener_released(crier *bus, crier_listener *listener)
{
    pthread_mutex_lock(&bus->lock);
    change_remove(bus, listener);
    register_remove(bus, listener);
    listener_uncount_locked(bus, listener);
    listener_left_locked(bus, listener);
    pthread_mutex_unlock(&bus->lock);
    listener_leave_pool(listener);
}
