/* bus_emitter.c: what is local to a bus, and the calls of crier/emitter.h on every kind of bus.
 *
 * Role:     on a bus of local: those are emitter_bus.c's and emitter_listen.c's. On one with an engine, what is asked of
 *           listeners is answered from the bus's register, and events on local topics wait in a queue for the I/O thread,
 *           where all handlers run.
 * Thread:   any; local_events_run and listener_tell_joined: the I/O thread.
 * Owns:     struct local_event, until it is told; the bus's records of topics.
 *
 * Happy path:  crier_on -> "newListener" on the I/O thread -> LISTEN ... released -> "removeListener", queued
 * Failures:    no memory for a queued event: the emit's code, or (nobody emitted it) the bus's unheard error. */
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/handles.h"
#include "client/topic_name.h"

#include <stdio.h>
#include <stdlib.h>

#define LISTENERS_MAX_DEFAULT 10 /* as Node's */

struct local_event {
    struct local_event *next;
    const char *topic; /* static */
    int error;
    bool about; /* a listener: the value is its topic */
    crier_listener_info info;
    size_t value_size;
    char value[]; /* and a NUL */
};

void local_events_init(crier *bus)
{
    topic_table_init(&bus->topics);
    bus->listeners_max = LISTENERS_MAX_DEFAULT;
    bus->local_events_end = &bus->local_events;
}

void local_events_finish(crier *bus)
{
    struct local_event *event;

    while ((event = bus->local_events)) {
        bus->local_events = event->next;
        free(event);
    }
    topic_table_finish(&bus->topics);
}

/* ---- events on local topics ---- */

static struct local_event *local_event_make(const char *topic, const void *value, size_t value_size)
{
    struct local_event *event = calloc(1, sizeof(*event) + value_size + 1);

    if (!event)
        return NULL;
    event->topic = topic_name_local(topic);
    event->value_size = value_size;
    if (value_size > 0)
        memcpy(event->value, value, value_size);
    return event;
}

static void local_event_add_locked(crier *bus, struct local_event *event)
{
    *bus->local_events_end = event;
    bus->local_events_end = &event->next;
}

static void local_event_tell(crier *bus, struct local_event *queued)
{
    crier_event event = {.topic = queued->topic,
                         .value = queued->value,
                         .value_size = queued->value_size,
                         .error = queued->error,
                         .listener = queued->about ? &queued->info : NULL};

    queued->info.topic = queued->value;
    if (strcmp(queued->topic, "error") == 0)
        engine_emit_error(bus->engine, &event);
    else
        engine_tell(bus->engine, &event);
}

void local_events_run(crier *bus)
{
    struct local_event *event;

    for (;;) {
        pthread_mutex_lock(&bus->lock);
        if ((event = bus->local_events) && !(bus->local_events = event->next))
            bus->local_events_end = &bus->local_events;
        pthread_mutex_unlock(&bus->lock);
        if (!event)
            return;
        local_event_tell(bus, event);
        free(event);
    }
}

int bus_emit_local(crier *bus, const char *topic, const void *value, size_t value_size,
                   const struct crier_emit_options *options)
{
    int error = options && options->error ? options->error : CRIER_EHANDLER;
    struct local_event *event;
    bool closing;

    if ((!value && value_size > 0) || error > 0 || (options && options->done))
        return CRIER_EINVAL;
    if (!(event = local_event_make(topic, value, value_size)))
        return CRIER_ENOMEM;
    event->error = strcmp(topic, "error") == 0 ? error : 0;
    pthread_mutex_lock(&bus->lock);
    if (!(closing = bus->closing))
        local_event_add_locked(bus, event);
    pthread_mutex_unlock(&bus->lock);
    if (closing) {
        free(event);
        return CRIER_ECLOSED;
    }
    bus_wake(bus);
    return 0;
}

/* ---- listeners come and go ---- */

int listener_count_locked(crier *bus, crier_listener *listener)
{
    struct engine_listener_link *link = engine_listener_link(listener);
    struct crier_topic *topic = topic_table_get(&bus->topics, bus, engine_listener_info(listener).topic);

    if (!topic)
        return CRIER_ENOMEM;
    link->counted = topic;
    if (topic->count++ == 0)
        list_append(&bus->topics.active, &topic->active);
    if (bus->listeners_max == 0 || topic->count < 2 || topic->warned ||
        topic->count <= (uint32_t)bus->listeners_max)
        return 0;
    topic->warned = link->one_too_many = true;
    link->count = topic->count;
    return 0;
}

void listener_uncount_locked(crier *bus, crier_listener *listener)
{
    struct engine_listener_link *link = engine_listener_link(listener);
    struct crier_topic *topic = link->counted;

    if (!topic)
        return;
    link->counted = NULL;
    if (--topic->count <= 1)
        topic->warned = false;
    if (topic->count > 0)
        return;
    list_remove(&topic->active);
    topic_table_drop(&bus->topics, topic);
}

void listener_tell_joined(crier *bus, const crier_listener *listener)
{
    const struct engine_listener_link *link = engine_listener_link((crier_listener *)(uintptr_t)listener);
    crier_listener_info info = engine_listener_info(listener);
    crier_event event = {.topic = "newListener", .value = info.topic, .listener = &info};
    char text[CRIER_TOPIC_NAME_MAX + 128];

    event.value_size = strlen(info.topic);
    engine_tell(bus->engine, &event);
    if (!link->one_too_many)
        return;
    snprintf(text, sizeof(text),
             "%zu listeners of %s on one bus: a leak? crier_set_max_listeners() sets the limit", link->count,
             info.topic);
    info.listener_count = link->count;
    event =
        (crier_event){.topic = CRIER_WARNING, .value = text, .value_size = strlen(text), .listener = &info};
    engine_tell(bus->engine, &event);
}

void listener_left_locked(crier *bus, const crier_listener *listener)
{
    const struct crier_topic *left = topic_table_find(&bus->topics, "removeListener");
    crier_listener_info info = engine_listener_info(listener);
    struct local_event *event;

    if (!left || left->count == 0 || bus->closing || topic_name_is_inbox(info.topic))
        return;
    if (!(event = local_event_make("removeListener", info.topic, strlen(info.topic)))) {
        bus->error = bus->error ? bus->error : CRIER_ENOMEM;
        return;
    }
    event->about = true;
    event->info = info;
    local_event_add_locked(bus, event);
    bus->again = true; /* this is the I/O thread */
}

/* ---- looking: the API ---- */

static bool register_matches(const crier_listener *listener, const char *topic)
{
    return engine_listener_link((crier_listener *)(uintptr_t)listener)->counted &&
           (!topic || strcmp(engine_listener_info(listener).topic, topic) == 0);
}

static void stop_all(crier *bus, const char *topic)
{
    pthread_mutex_lock(&bus->lock);
    for (size_t i = bus->listener_count; i-- > 0;)
        if (register_matches(bus->listeners[i], topic))
            listener_stop_locked(bus, bus->listeners[i]);
    pthread_mutex_unlock(&bus->lock);
    bus_wake(bus);
}

int crier_remove_all(crier *bus, const char *topic)
{
    handle_check(&bus_handles, bus);
    if (!bus)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_remove_all(bus, topic);
    stop_all(bus, topic);
    return 0;
}

/* The names of topics with listeners, one after the other, each with its NUL. NULL: no memory. */
static char *names_copy_locked(const crier *bus, size_t *ret_size)
{
    size_t size = 0;
    char *names;

    for (struct list *link = bus->topics.active.next; link != &bus->topics.active; link = link->next)
        size += LIST_ENTRY(link, struct crier_topic, active)->name_size + (size_t)1;
    if (!(names = malloc(size + 1)))
        return NULL;
    *ret_size = 0;
    for (struct list *link = bus->topics.active.next; link != &bus->topics.active; link = link->next) {
        const struct crier_topic *topic = LIST_ENTRY(link, struct crier_topic, active);
        memcpy(names + *ret_size, topic->name, topic->name_size + (size_t)1);
        *ret_size += topic->name_size + (size_t)1;
    }
    return names;
}

int crier_event_names(crier *bus, void (*each)(void *ctx, const char *name), void *ctx)
{
    handle_check(&bus_handles, bus);
    size_t size = 0;
    char *names;

    if (!bus || !each)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_event_names(bus, each, ctx);
    pthread_mutex_lock(&bus->lock);
    names = names_copy_locked(bus, &size);
    pthread_mutex_unlock(&bus->lock);
    if (!names)
        return CRIER_ENOMEM;
    for (const char *name = names; name < names + size; name += strlen(name) + 1)
        each(ctx, name);
    free(names);
    return 0;
}

static int listeners_copy_locked(const crier *bus, const char *topic, crier_listener_info **ret_infos,
                                 size_t *ret_count)
{
    crier_listener_info *infos = calloc(bus->listener_count + 1, sizeof(*infos));
    size_t count = 0;

    if (!infos)
        return CRIER_ENOMEM;
    for (size_t i = 0; i < bus->listener_count; i++)
        if (register_matches(bus->listeners[i], topic)) {
            infos[count] = engine_listener_info(bus->listeners[i]);
            infos[count++].topic = topic;
        }
    for (size_t i = 0; i < count; i++)
        infos[i].listener_count = count;
    *ret_infos = infos;
    *ret_count = count;
    return 0;
}

static int listeners_tell(crier *bus, const char *topic, bool raw,
                          void (*each)(void *ctx, const crier_listener_info *info), void *ctx)
{
    crier_listener_info *infos;
    size_t count;
    int rc;

    if (!bus || !topic || !each)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_listeners(bus, topic, raw, each, ctx);
    pthread_mutex_lock(&bus->lock);
    rc = listeners_copy_locked(bus, topic, &infos, &count);
    pthread_mutex_unlock(&bus->lock);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        each(ctx, &infos[i]);
    free(infos);
    return 0;
}

int crier_listeners(crier *bus, const char *topic, void (*each)(void *ctx, const crier_listener_info *info),
                    void *ctx)
{
    handle_check(&bus_handles, bus);
    return listeners_tell(bus, topic, false, each, ctx);
}

int crier_raw_listeners(crier *bus, const char *topic,
                        void (*each)(void *ctx, const crier_listener_info *info), void *ctx)
{
    handle_check(&bus_handles, bus);
    return listeners_tell(bus, topic, true, each, ctx);
}

int crier_listener_count(crier *bus, const char *topic, crier_handler *handler, void *ctx)
{
    handle_check(&bus_handles, bus);
    const struct crier_topic *record;
    int count = 0;

    if (!bus || !topic)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_listener_count(bus, topic, handler, ctx);
    pthread_mutex_lock(&bus->lock);
    if (!handler && (record = topic_table_find(&bus->topics, topic)))
        count = (int)record->count;
    for (size_t i = 0; handler && i < bus->listener_count; i++)
        count += register_matches(bus->listeners[i], topic) &&
                 engine_listener_matches(bus->listeners[i], topic, handler, ctx);
    pthread_mutex_unlock(&bus->lock);
    return count;
}

/* ---- the rest of the API ---- */

int crier_set_max_listeners(crier *bus, int count)
{
    handle_check(&bus_handles, bus);
    if (!bus || count < 0)
        return CRIER_EINVAL;
    if (bus->emitter) {
        (void)emitter_bus_max_listeners(bus, count);
        return 0;
    }
    pthread_mutex_lock(&bus->lock);
    bus->listeners_max = count;
    pthread_mutex_unlock(&bus->lock);
    return 0;
}

int crier_get_max_listeners(crier *bus)
{
    handle_check(&bus_handles, bus);
    int count;

    if (!bus)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_max_listeners(bus, -1);
    pthread_mutex_lock(&bus->lock);
    count = bus->listeners_max;
    pthread_mutex_unlock(&bus->lock);
    return count;
}

int crier_emit_error(crier *bus, int code, const char *text)
{
    handle_check(&bus_handles, bus);
    struct crier_emit_options options = crier_emit_options_default();

    if (code >= 0)
        return CRIER_EINVAL;
    options.error = code;
    if (!text)
        text = crier_strerror(code);
    return crier_emit_with(bus, "error", text, strlen(text), &options);
}

int crier_intern(crier *bus, const char *name, crier_topic **ret_topic)
{
    handle_check(&bus_handles, bus);
    struct crier_topic *topic;
    bool is_new;

    if (!bus || !name || !ret_topic)
        return CRIER_EINVAL;
    if (bus->emitter &&
        !bus->emitter->name) /* of local:NAME a bus has topics of its own, found by name at each emit */
        return emitter_bus_intern(bus, name, ret_topic, &is_new);
    if (!topic_name_is_valid(name) && !topic_name_is_local(name))
        return CRIER_EINVAL;
    pthread_mutex_lock(&bus->lock);
    if ((topic = topic_table_get(&bus->topics, bus, name)))
        topic->pinned = true;
    pthread_mutex_unlock(&bus->lock);
    if (!topic)
        return CRIER_ENOMEM;
    *ret_topic = topic;
    return 0;
}

const char *crier_topic_name(const crier_topic *topic)
{
    handle_check(&topic_handles, topic);
    return topic ? topic->name : NULL;
}
