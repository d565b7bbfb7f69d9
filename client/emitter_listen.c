/* emitter_listen.c: the calls about listeners, on a bus of local:.
 *
 * Thread:   any; each takes the lock for itself.
 * Failures: as crier.h and crier/emitter.h say. What handlers of "newListener" and "removeListener" fail with, and nobody
 *           hears, waits for crier_flush() or crier_close(). */
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/handles.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdlib.h>

#define GROUP_NAME_MAX 255

static bool options_are_valid(const struct crier_listen_options *options)
{
    return (!options->group || text_is_valid(options->group, GROUP_NAME_MAX)) && options->from_value >= 0;
}

/* Does the listener need more than a slot? */
static bool is_plain(const crier *bus, const struct crier_listen_options *options, bool handle)
{
    return !bus->emitter->name && !handle && options->count == 0 && !options->group && !options->released &&
           !options->pool;
}

static int listener_make(crier *bus, const struct crier_listen_options *options, crier_handler *handler,
                         void *ctx, struct emitter_listener **ret_listener)
{
    struct emitter_listener *listener = calloc(1, sizeof(*listener));

    if (!listener || (options->group && !(listener->group = text_copy(options->group)))) {
        free(listener);
        return CRIER_ENOMEM;
    }
    handle_made(&listener_handles, listener);
    listener->bus = bus;
    listener->handler = handler;
    listener->ctx = ctx;
    listener->count = options->count ? options->count : EMITTER_ENDLESS;
    listener->active = options->group ? EMITTER_LIVE : 0;
    listener->released = options->released;
    listener->assigned = options->group ? options->assigned : NULL;
    *ret_listener = listener;
    return 0;
}

static int listen_check(crier *bus, const char *topic, const struct crier_listen_options *options)
{
    if (!topic || !options_are_valid(options))
        return CRIER_EINVAL;
    if (!topic_name_is_local(topic) && !topic_name_is_valid(topic))
        return topic_pattern_is_valid(topic) || topic_name_is_presence(topic) ? CRIER_ENOTSUP : CRIER_EINVAL;
    if (options->shared)
        return options->group ? CRIER_ENOTSUP
                              : CRIER_EINVAL; /* there is nothing that an event could come again from */
    if (options->commits_atomically)
        return options->group ? CRIER_ENOTSUP : CRIER_EINVAL; /* nor is a position */
    if (options->from > CRIER_EARLIEST)
        return options->from > CRIER_TIME ? CRIER_EINVAL
                                          : CRIER_ENOTSUP; /* nothing is kept that could be replayed */
    return options->pool ? bus_loop_need(bus) : 0;
}

/* It was never a listener: `released` is not called. */
static void listener_unused(struct emitter_listener *listener)
{
    listener->released = NULL;
    listener->assigned = NULL;
    emitter_listener_free(listener);
}

static int listener_join(crier *bus, struct emitter_join *join, const struct crier_listen_options *options,
                         crier_listener **ret_listener)
{
    unsigned before = emitter_enter(bus->emitter);
    int rc;

    join->first = options->first;
    if (ret_listener)
        *ret_listener = (crier_listener *)(void *)join->listener;
    rc = bus->closing ? CRIER_ECLOSED : emitter_join(bus->emitter, join);
    if (rc < 0 && join->listener)
        listener_unused(join->listener);
    else if (rc == 0 && options->listening)
        options->listening(join->ctx);
    emitter_exit_keep(bus->emitter, before);
    return rc;
}

int emitter_bus_listen(crier *bus, const char *topic, const struct crier_listen_options *options,
                       crier_handler *handler, void *ctx, crier_listener **ret_listener)
{
    struct crier_listen_options copy = crier_listen_options_default();
    struct emitter_join join = {.topic = topic, .handler = handler, .ctx = ctx};
    int rc = 0;

    if (!handler || !struct_take(&copy, sizeof(copy), options))
        return CRIER_EINVAL;
    if (topic_name_is_local(topic))
        copy.pool = NULL; /* what happens on this bus is told where it happens */
    if ((rc = listen_check(bus, topic, &copy)) < 0)
        return rc;
    if (!is_plain(bus, &copy, ret_listener) &&
        (rc = listener_make(bus, &copy, handler, ctx, &join.listener)) < 0)
        return rc;
    if (copy.pool && (rc = emitter_crew_make(join.listener, copy.pool, copy.pool_events_max)) < 0) {
        listener_unused(join.listener);
        return rc;
    }
    return listener_join(bus, &join, &copy, ret_listener);
}

int emitter_bus_listen_bounded(crier *bus, const char *topic, const struct crier_listen_options *options,
                               crier_handler *handler, bool (*has_room)(void *ctx, size_t events), void *ctx,
                               crier_listener **ret_listener)
{
    struct emitter_join join = {.topic = topic, .handler = handler, .ctx = ctx};
    int rc;

    if ((rc = listen_check(bus, topic, options)) < 0 ||
        (rc = listener_make(bus, options, handler, ctx, &join.listener)) < 0)
        return rc;
    join.listener->has_room = has_room;
    join.listener->room_ctx = ctx;
    return listener_join(bus, &join, options, ret_listener);
}

int emitter_bus_off(crier *bus, const char *topic, crier_handler *handler, void *ctx)
{
    bool found;
    unsigned before;

    before = emitter_enter(bus->emitter);
    found = emitter_leave_newest(bus->emitter, topic, handler, ctx);
    emitter_exit_keep(bus->emitter, before);
    return found ? 0 : CRIER_EINVAL;
}

int emitter_bus_unlisten(crier_listener *handle)
{
    struct emitter_listener *listener = (struct emitter_listener *)(void *)handle;
    crier *bus = listener->bus;
    unsigned before;

    before = emitter_enter(bus->emitter);
    emitter_leave_listener(bus->emitter, listener);
    emitter_exit_keep(bus->emitter, before);
    return 0;
}

void emitter_bus_listener_stats(const crier_listener *handle, struct crier_listener_stats *ret_stats)
{
    const struct emitter_listener *listener = (const struct emitter_listener *)(const void *)handle;

    *ret_stats = (struct crier_listener_stats){
        .delivered = atomic_load_explicit(&listener->delivered, memory_order_relaxed),
        .failed = atomic_load_explicit(&listener->failed, memory_order_relaxed)};
}

int emitter_bus_remove_all(crier *bus, const char *topic)
{
    unsigned before;

    before = emitter_enter(bus->emitter);
    emitter_leave_all(bus->emitter, topic);
    emitter_exit_keep(bus->emitter, before);
    return 0;
}

/* ---- looking ---- */

int emitter_bus_event_names(crier *bus, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct emitter *emitter = bus->emitter;
    struct crier_topic **topics;
    size_t count = 0;
    unsigned before;

    before = emitter_enter(emitter);
    if (!(topics = malloc((emitter->topics.count + 1) * sizeof(struct crier_topic *)))) {
        emitter_exit_keep(emitter, before);
        return CRIER_ENOMEM;
    }
    for (struct list *link = emitter->topics.active.next; link != &emitter->topics.active;
         link = link->next) {
        topics[count] = LIST_ENTRY(link, struct crier_topic, active);
        topic_hold(topics[count++]);
    }
    for (size_t i = 0; i < count; i++)
        each(ctx, topics[i]->name);
    for (size_t i = 0; i < count; i++)
        topic_release(topics[i], topics[i]->running - 1);
    free(topics);
    emitter_exit_keep(emitter, before);
    return 0;
}

int emitter_bus_listeners(crier *bus, const char *name, bool raw,
                          void (*each)(void *ctx, const crier_listener_info *info), void *ctx)
{
    struct emitter *emitter = bus->emitter;
    const struct emitter_array *array;
    struct crier_topic *topic;
    uint64_t began;
    unsigned before;

    before = emitter_enter(emitter);
    if ((topic = topic_table_find(&emitter->topics, name)) && (array = topic->array)) {
        uint32_t count = array->count;
        began = emitter->changes;
        uint32_t held = topic_hold(topic);
        for (uint32_t i = 0; i < count; i++) {
            crier_listener_info info = emitter_info(topic, &array->slots[i]);
            if (raw && info.count > 0) {
                info.handler = emitter_once_run;
                info.ctx = array->slots[i].listener;
            }
            if (array->slots[i].left > began)
                each(ctx, &info);
        }
        topic_release(topic, held);
    }
    emitter_exit_keep(emitter, before);
    return 0;
}

int emitter_bus_listener_count(crier *bus, const char *name, crier_handler *handler, const void *ctx)
{
    struct emitter *emitter = bus->emitter;
    const struct crier_topic *topic;
    int count = 0;
    unsigned before;

    before = emitter_enter(emitter);
    if ((topic = topic_table_find(&emitter->topics, name)) && topic->array) {
        count = handler ? 0 : (int)topic->count;
        for (uint32_t i = 0; handler && i < topic->array->count; i++)
            count += emitter_slot_matches(&topic->array->slots[i], handler, ctx);
    }
    emitter_exit_keep(emitter, before);
    return count;
}
