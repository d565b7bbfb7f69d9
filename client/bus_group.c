/* bus_group.c: groups: the API's blocking questions about them, and the copies their answers arrive in.
 *
 * Thread:   any that may block; group_keep: the I/O thread.
 * Owns:     struct group_copy, as a part of its request. See bus_request.c for how a question travels. */
#include "client/bus_request.h"

#include "client/emitter.h"
#include "client/handles.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdlib.h>
#include <string.h>

/* Everything an info points to, malloc'ed. */
struct group_copy {
    char *name;
    uint32_t member_count;
    char **topics;
    size_t topic_count;
    struct crier_group_partition *partitions; /* each `member` too */
    uint32_t partition_count;
    bool shared;
};

/* ---- copies ---- */

static void group_free(struct group_copy *group)
{
    for (size_t i = 0; i < group->topic_count; i++)
        free(group->topics[i]);
    for (uint32_t i = 0; i < group->partition_count; i++)
        free((char *)(uintptr_t)group->partitions[i].member);
    free(group->topics);
    free(group->partitions);
    free(group->name);
}

void groups_free(struct group_copy *groups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        group_free(&groups[i]);
    free(groups);
}

static bool topics_add(struct group_copy *group, const struct crier_group_info *info)
{
    if (!(group->topics = calloc(info->topic_count + 1, sizeof(char *))))
        return false;
    for (; group->topic_count < info->topic_count; group->topic_count++)
        if (!(group->topics[group->topic_count] = text_copy(info->topics[group->topic_count])))
            return false;
    return true;
}

static bool partitions_add(struct group_copy *group, const struct crier_group_info *info)
{
    size_t count = (size_t)group->partition_count + info->partition_count;
    struct crier_group_partition *grown = realloc(group->partitions, (count + 1) * sizeof(*grown));

    if (!grown)
        return false;
    group->partitions = grown;
    for (uint32_t i = 0; i < info->partition_count; i++) {
        struct crier_group_partition *partition = &grown[group->partition_count];
        *partition = info->partitions[i];
        if (partition->member && !(partition->member = text_copy(partition->member)))
            return false;
        group->partition_count++;
    }
    return true;
}

static struct group_copy *group_add(struct bus_request *request)
{
    if (request->group_count == request->group_capacity) {
        size_t capacity = request->group_capacity ? 2 * request->group_capacity : 4;
        struct group_copy *grown = realloc(request->groups, capacity * sizeof(*grown));
        if (!grown)
            return NULL;
        request->groups = grown;
        request->group_capacity = capacity;
    }
    request->groups[request->group_count] = (struct group_copy){0};
    return &request->groups[request->group_count++];
}

bool group_keep(struct bus_request *request, const struct crier_group_info *info)
{
    struct group_copy *group;

    if (request->kind == BUS_GROUP_DESCRIBE && request->group_count > 0)
        return partitions_add(&request->groups[0], info);
    if (!(group = group_add(request)) || !(group->name = text_copy(info->name)))
        return false;
    group->member_count = info->member_count;
    group->shared = info->shared;
    return topics_add(group, info) && partitions_add(group, info);
}

/* ---- the API ---- */

/* Runs the request and hands out what came; frees it. */
static int groups_tell(crier *bus, struct bus_request *request,
                       void (*each)(void *ctx, const struct crier_group_info *info), void *ctx)
{
    int rc = bus_request_run(bus, request);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < request->group_count; i++) {
        const struct group_copy *group = &request->groups[i];
        struct crier_group_info info = {.name = group->name,
                                        .member_count = group->member_count,
                                        .topics = (const char *const *)group->topics,
                                        .topic_count = group->topic_count,
                                        .partition_count = group->partition_count,
                                        .partitions = group->partitions,
                                        .shared = group->shared};
        each(ctx, &info);
    }
    bus_request_free(request);
    return 0;
}

int crier_group_list(crier *bus, void (*each)(void *ctx, const struct crier_group_info *info), void *ctx)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;

    if (!bus || !each)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_GROUP_LIST, NULL)))
        return CRIER_ENOMEM;
    return groups_tell(bus, request, each, ctx);
}

/* A request about a group and one of its topics. NULL: no memory. */
static struct bus_request *topic_request_make(crier *bus, enum bus_request_kind kind, const char *name,
                                              const char *topic)
{
    struct bus_request *request = bus_request_make(bus, kind, name);

    if (request && !(request->topic = text_copy(topic))) {
        bus_request_free(request);
        return NULL;
    }
    return request;
}

int crier_group_describe(crier *bus, const char *name, const char *topic,
                         void (*each)(void *ctx, const struct crier_group_info *info), void *ctx)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;

    if (!bus || !name || !each)
        return CRIER_EINVAL;
    if (bus->emitter)
        return emitter_bus_group_describe(bus, name, topic, each, ctx);
    if (!(request = topic_request_make(bus, BUS_GROUP_DESCRIBE, name, topic ? topic : "")))
        return CRIER_ENOMEM;
    return groups_tell(bus, request, each, ctx);
}

int crier_group_seek(crier *bus, const char *name, const char *topic,
                     const struct crier_group_seek_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_group_seek_options copy = crier_group_seek_options_default();
    struct bus_request *request;
    int rc;

    if (!bus || !name || !topic || !struct_take(&copy, sizeof(copy), options))
        return CRIER_EINVAL;
    if (!(request = topic_request_make(bus, BUS_GROUP_SEEK, name, topic)))
        return CRIER_ENOMEM;
    request->seek = copy;
    if ((rc = bus_request_run(bus, request)) == 0)
        bus_request_free(request);
    return rc;
}

int crier_group_delete(crier *bus, const char *name)
{
    handle_check(&bus_handles, bus);
    struct bus_request *request;
    int rc;

    if (!bus || !name)
        return CRIER_EINVAL;
    if (!(request = bus_request_make(bus, BUS_GROUP_DELETE, name)))
        return CRIER_ENOMEM;
    if ((rc = bus_request_run(bus, request)) == 0)
        bus_request_free(request);
    return rc;
}
