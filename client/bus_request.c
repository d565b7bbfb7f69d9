/* bus_request.c: blocking questions, asked by any thread, answered through the I/O thread; and those about topics, and ping.
 * Those about groups are in bus_group.c.
 *
 * Thread:   any that may block; requests_start and answered: the I/O thread.
 * Owns:     struct bus_request: the asking thread's, until it gives up waiting; then the answer frees it. */
#include "client/bus_request.h"

#include "base/clock.h"
#include "client/emitter.h"
#include "client/handles.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_GRACE_MS                                                                                      \
    1000 /* the engine's own time-out comes first; this is for a loop that does not turn */

void bus_request_free(struct bus_request *request)
{
    for (size_t i = 0; i < request->topic_count; i++) {
        free((char *)(uintptr_t)request->topics[i].info.name);
        free((void *)(uintptr_t)request->topics[i].info.partitions);
        free((void *)(uintptr_t)request->topics[i].info.listeners);
    }
    free(request->topics);
    groups_free(request->groups, request->group_count);
    inspected_free(&request->inspected);
    schedule_copies_free(request);
    free(request->dead_letter);
    free(request->topic);
    free(request->name);
    free(request);
}

/* ---- I/O thread ---- */

/* In one block, the texts behind the array. NULL: no memory, or none of them. */
static struct crier_topic_listener *listeners_copy(const struct crier_topic_info *info)
{
    size_t count = info->listeners_told, size = count * sizeof(*info->listeners);

    for (size_t i = 0; i < count; i++)
        size += strlen(info->listeners[i].client) + strlen(info->listeners[i].address) +
                strlen(info->listeners[i].group) + 3;
    struct crier_topic_listener *copy = count ? malloc(size) : NULL;
    char *at = (char *)(copy + (copy ? count : 0));
    for (size_t i = 0; copy && i < count; i++) {
        copy[i].client = at;
        at = stpcpy(at, info->listeners[i].client) + 1;
        copy[i].address = at;
        at = stpcpy(at, info->listeners[i].address) + 1;
        copy[i].group = at;
        at = stpcpy(at, info->listeners[i].group) + 1;
    }
    return copy;
}

/* The topic's name, and behind it, in the same block, that of its dead letters'; NULL: no memory. */
static char *names_copy(const struct crier_topic_info *info, const char **ret_dead_letter)
{
    char usual[CRIER_TOPIC_NAME_MAX + 1];
    const char *dead_letter = info->dead_letter;

    if (!dead_letter && !info->ephemeral && topic_name_dead_letter(info->name, usual))
        dead_letter = usual;
    size_t size = strlen(info->name) + 1, dead_size = dead_letter ? strlen(dead_letter) + 1 : 0;
    char *names = malloc(size + dead_size);
    if (!names)
        return NULL;
    memcpy(names, info->name, size);
    *ret_dead_letter = dead_letter ? memcpy(names + size, dead_letter, dead_size) : NULL;
    return names;
}

static bool topic_keep(struct bus_request *request, const struct crier_topic_info *info)
{
    size_t size = info->partition_count * sizeof(*info->partitions);
    struct crier_partition_info *partitions;
    struct crier_topic_listener *listeners;
    const char *dead_letter = NULL;
    char *name;

    if (request->topic_count == request->topic_capacity) {
        size_t capacity = request->topic_capacity ? 2 * request->topic_capacity : 4;
        struct topic_copy *grown = realloc(request->topics, capacity * sizeof(*grown));
        if (!grown)
            return false;
        request->topics = grown;
        request->topic_capacity = capacity;
    }
    partitions = malloc(size + 1);
    name = names_copy(info, &dead_letter);
    listeners = listeners_copy(info);
    if (!partitions || !name || (!listeners && info->listeners_told > 0)) {
        free(listeners);
        free(partitions);
        free(name);
        return false;
    }
    memcpy(partitions, info->partitions, size);
    request->topics[request->topic_count].info = *info;
    request->topics[request->topic_count].info.name = name;
    request->topics[request->topic_count].info.dead_letter = dead_letter;
    request->topics[request->topic_count].info.partitions = partitions;
    request->topics[request->topic_count].info.listeners = listeners;
    request->topic_count++;
    return true;
}

static void on_answer(void *ctx, const struct engine_answer *answer)
{
    struct bus_request *request = ctx;
    crier *bus = request->bus;
    bool abandoned;

    for (size_t i = 0; i < answer->topic_count && request->code == 0; i++)
        if (!topic_keep(request, &answer->topics[i]))
            request->code = CRIER_ENOMEM;
    for (size_t i = 0; i < answer->group_count && request->code == 0; i++)
        if (!group_keep(request, &answer->groups[i]))
            request->code = CRIER_ENOMEM;
    for (size_t i = 0; i < answer->schedule_count && request->code == 0; i++)
        if (!schedule_keep(request, &answer->schedules[i]))
            request->code = CRIER_ENOMEM;
    request->schedules_pending = answer->schedules_pending;
    request->moved = answer->moved;
    if (answer->inspected && request->code == 0 && !inspected_keep(request, answer->inspected))
        request->code = CRIER_ENOMEM;
    if (answer->more)
        return;
    if (request->canceled) {
        request->canceled(bus, request->code ? request->code : answer->code, request->ctx);
        bus_request_free(request);
        return;
    }
    pthread_mutex_lock(&bus->lock);
    if (request->code == 0)
        request->code = answer->code;
    request->answered_us = clock_monotonic_us();
    request->answered = true;
    abandoned = request->abandoned;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
    if (abandoned)
        bus_request_free(request);
}

static int request_start(crier *bus, struct bus_request *request)
{
    int64_t now = clock_monotonic_us();

    switch (request->kind) {
    case BUS_TOPIC_CREATE:
        return engine_topic_create(bus->engine, request->name,
                                   request->has_options ? &request->options : NULL, on_answer, request, now);
    case BUS_TOPIC_DESCRIBE:
        return engine_topic_describe(bus->engine, request->name, on_answer, request, now);
    case BUS_TOPIC_LIST:
        return engine_topic_list(bus->engine, on_answer, request, now);
    case BUS_TOPIC_ALTER:
        return engine_topic_alter(bus->engine, request->name, &request->changes, on_answer, request, now);
    case BUS_TOPIC_DELETE:
        return engine_topic_delete(bus->engine, request->name, on_answer, request, now);
    case BUS_TOPIC_TRIM:
        return engine_topic_trim(bus->engine, request->name, &request->trim, on_answer, request, now);
    case BUS_GROUP_LIST:
        return engine_group_list(bus->engine, on_answer, request, now);
    case BUS_GROUP_DESCRIBE:
        return engine_group_describe(bus->engine, request->name, request->topic, on_answer, request, now);
    case BUS_GROUP_SEEK:
        return engine_group_seek(bus->engine, request->name, request->topic, &request->seek, on_answer,
                                 request, now);
    case BUS_GROUP_DELETE:
        return engine_group_delete(bus->engine, request->name, on_answer, request, now);
    case BUS_SCHEDULE_CANCEL:
        return engine_schedule_cancel(bus->engine, &request->schedule, on_answer, request, now);
    case BUS_SCHEDULE_LIST:
        return engine_schedule_list(bus->engine, request->name, &request->schedule, request->count_max,
                                    on_answer, request, now);
    case BUS_REDRIVE:
        return engine_redrive(bus->engine, request->name, request->limit, on_answer, request, now);
    case BUS_INSPECT:
        return engine_inspect(bus->engine, &request->inspection, on_answer, request, now);
    default:
        return engine_ping(bus->engine, on_answer, request, now);
    }
}

void requests_start(crier *bus)
{
    struct bus_request *request, *next;
    int rc;

    pthread_mutex_lock(&bus->lock);
    request = bus->requests;
    bus->requests = NULL;
    bus->requests_end = &bus->requests;
    pthread_mutex_unlock(&bus->lock);
    for (; request; request = next) {
        next = request->next;
        if ((rc = request_start(bus, request)) < 0)
            on_answer(request, &(struct engine_answer){.code = rc, .text = ""});
    }
}

/* ---- the asking thread ---- */

static bool is_answered(crier *bus, const void *ctx)
{
    const struct bus_request *request = ctx;

    (void)bus;
    return request->answered;
}

int bus_request_begin(crier *bus, struct bus_request *request)
{
    bool closing = false;

    if (!bus->emitter) {
        pthread_mutex_lock(&bus->lock);
        if (!(closing = bus->closing)) {
            *bus->requests_end = request;
            bus->requests_end = &request->next;
        }
        pthread_mutex_unlock(&bus->lock);
    }
    if (bus->emitter || closing) {
        bus_request_free(request);
        return bus->emitter ? CRIER_ENOTSUP : CRIER_ECLOSED;
    }
    bus_wake(bus);
    return 0;
}

int bus_request_run(crier *bus, struct bus_request *request)
{
    int64_t timeout_ms = (int64_t)bus->options.request_timeout_ms + ANSWER_GRACE_MS;
    int rc;

    if (!bus->emitter && bus_in_callback(bus)) {
        bus_request_free(request);
        return CRIER_EDEADLK;
    }
    if ((rc = bus_request_begin(bus, request)) < 0)
        return rc;
    pthread_mutex_lock(&bus->lock);
    rc = bus_wait(bus, is_answered, request, clock_monotonic_us() + timeout_ms * 1000);
    request->abandoned = rc < 0;
    if (rc == 0)
        rc = request->code;
    else
        request = NULL;
    pthread_mutex_unlock(&bus->lock);
    if (request && rc < 0)
        bus_request_free(request);
    return rc;
}

struct bus_request *bus_request_make(crier *bus, enum bus_request_kind kind, const char *name)
{
    struct bus_request *request = calloc(1, sizeof(*request));

    if (!request || !(request->name = text_copy(name ? name : ""))) {
        free(request);
        return NULL;
    }
    request->bus = bus;
    request->kind = kind;
    return request;
}

bool bus_request_dead_letter(struct bus_request *request, const char **name)
{
    if (!*name || (request->dead_letter = text_copy(*name))) {
        *name = request->dead_letter;
        return true;
    }
    bus_request_free(request);
    return false;
}

int crier_topic_create(crier *bus, const char *name, const struct crier_topic_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_topic_options copy = {.struct_size = sizeof(copy)};
    struct bus_request *request;
    int rc;

    if (!bus || !name || !struct_take(&copy, sizeof(copy), options))
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_topic_create(bus, name);
    if (!(request = bus_request_make(bus, BUS_TOPIC_CREATE, name)))
        return CRIER_ENOMEM;
    request->options = copy;
    request->has_options = options != NULL;
    if (!bus_request_dead_letter(request, &request->options.dead_letter))
        return CRIER_ENOMEM;
    if ((rc = bus_request_run(bus, request)) == 0)
        bus_request_free(request);
    return rc;
}

int crier_topic_describe(crier *bus, const char *name,
                         void (*each)(void *ctx, const struct crier_topic_info *info), void *ctx)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;
    int rc;

    if (!bus || !each)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_topic_describe(bus, name, each, ctx);
    if (!(request = bus_request_make(bus, name ? BUS_TOPIC_DESCRIBE : BUS_TOPIC_LIST, name)))
        return CRIER_ENOMEM;
    if ((rc = bus_request_run(bus, request)) < 0)
        return rc;
    for (size_t i = 0; i < request->topic_count; i++)
        each(ctx, &request->topics[i].info);
    bus_request_free(request);
    return 0;
}

int crier_ping(crier *bus, int64_t *ret_round_trip_us)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;
    int64_t began = clock_monotonic_us();
    int rc;

    if (!bus || !ret_round_trip_us)
        return CRIER_EINVAL;
    if (bus->emitter) {
        *ret_round_trip_us = 0;
        return 0;
    }
    if (!(request = bus_request_make(bus, BUS_PING, NULL)))
        return CRIER_ENOMEM;
    if ((rc = bus_request_run(bus, request)) < 0)
        return rc;
    *ret_round_trip_us = request->answered_us - began;
    bus_request_free(request);
    return 0;
}
