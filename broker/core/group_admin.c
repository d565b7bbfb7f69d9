/* group_admin.c: groups for people: list, describe, seek, delete.
 *
 * Seek and delete change what members stand on, so they are refused (CRIER_EBUSY) while there are any; and they wait for
 * commits that are still on their way, so that nothing older lands on top of them. */
#include "broker/core/shard_internal.h"

static void groups_reply(struct shard *shard, const struct shard_request *request,
                         const struct group_info *infos, size_t count, bool more)
{
    struct shard_reply reply = {.kind = SHARD_GROUPS,
                                .request_kind = request->kind,
                                .token = request->token,
                                .groups = infos,
                                .group_count = count,
                                .more = more};
    shard->output->reply(shard->output_ctx, &reply);
}

static uint32_t group_members(const struct group *group)
{
    uint32_t count = 0;
    for (const struct crew *crew = group->crews; crew; crew = crew->next)
        count += crew->member_count;
    return count;
}

static bool group_shown(const struct group *group)
{
    return group->id || group->crews;
}

/* ---- list ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct group *const *)a)->name, (*(struct group *const *)b)->name);
}

static void group_list(struct shard *shard, const struct shard_request *request)
{
    struct group **groups = core_alloc((HASH_COUNT(shard->groups) + 1) * sizeof(struct group *));
    size_t count = 0;
    for (struct group *group = shard->groups; group; group = group->hh.next)
        if (group_shown(group) && strcmp(group->name, request->name) > 0)
            groups[count++] = group;
    qsort(groups, count, sizeof(struct group *), by_name);
    size_t shown = count < request->partitions ? count : request->partitions;
    struct group_info *infos = core_alloc((shown + 1) * sizeof(*infos));
    for (size_t i = 0; i < shown; i++)
        infos[i] = (struct group_info){
            .name = groups[i]->name, .members = group_members(groups[i]), .kind = groups[i]->kind};
    groups_reply(shard, request, infos, shown, shown < count);
    free(infos);
    free(groups);
}

/* ---- describe ---- */

static size_t group_topics(struct shard *shard, const struct group *group, const char **to, size_t max)
{
    size_t count = 0;
    for (const struct group_position *position = group->positions; position && count < max;
         position = position->next) {
        const struct partition *partition = partition_find(shard, position->key.partition);
        bool seen = false;
        for (size_t i = 0; i < count && partition && !seen; i++)
            seen = to[i] == partition->topic->name;
        if (partition && !seen)
            to[count++] = partition->topic->name;
    }
    return count;
}

static void group_describe(struct shard *shard, const struct shard_request *request)
{
    const char *topics[GROUP_TOPICS_MAX];
    struct group *group = group_find(shard, request->group);
    if (!group || !group_shown(group)) {
        shard_reply_code(shard, request, WIRE_CRIER_EINVAL);
        return;
    }
    struct topic *topic = request->name[0] ? topic_find(shard, request->name) : NULL;
    if (request->name[0] && (!topic || !topic->applied)) {
        shard_reply_code(shard, request, WIRE_CRIER_ENOTOPIC);
        return;
    }
    uint32_t first = request->partitions;
    uint32_t left = topic && first < topic->partition_count ? topic->partition_count - first : 0;
    uint32_t count = left < GROUP_PARTITIONS_MAX ? left : GROUP_PARTITIONS_MAX;
    const struct crew *crew = topic ? crew_find(group, topic) : NULL;
    struct group_partition *partitions = core_alloc((count + 1) * sizeof(*partitions));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id = topic->partitions[first + i];
        const struct group_position *position = position_find(shard, group, id);
        const struct slot *slot = crew ? crew_slot(crew, id) : NULL;
        bool stored = position && position->exists;
        partitions[i] = (struct group_partition){.partition = id,
                                                 .has_position = stored,
                                                 .position = stored ? position->offset : 0,
                                                 .high_watermark = partition_find(shard, id)->next,
                                                 .member = slot && slot->owner ? slot->owner->name : NULL};
        if (stored)
            shared_describe(position, &partitions[i]);
    }
    struct group_info info = {.name = group->name,
                              .members = group_members(group),
                              .topics = topics,
                              .topic_count = group_topics(shard, group, topics, GROUP_TOPICS_MAX),
                              .partitions = partitions,
                              .partition_count = count,
                              .kind = group->kind};
    groups_reply(shard, request, &info, 1, count < left);
    free(partitions);
}

/* ---- seek and delete ---- */

static int seek_check(struct shard *shard, struct group *group, const struct topic *topic,
                      const struct shard_request *request)
{
    if (!topic || !topic->applied || topic->deleting)
        return WIRE_CRIER_ENOTOPIC;
    if (topic->ephemeral)
        return WIRE_CRIER_ENOTSUP;
    if (request->position_count == 0) /* nothing would ever end it */
        return WIRE_CRIER_EINVAL;
    if (group && crew_find(group, topic))
        return WIRE_CRIER_EBUSY;
    for (size_t i = 0; i < request->position_count; i++) {
        const struct partition *partition = partition_find(shard, request->positions[i].partition);
        if (!partition || partition->topic != topic || request->positions[i].offset > partition->next)
            return WIRE_CRIER_EINVAL;
    }
    return shard->read_only ? WIRE_CRIER_EIO : 0;
}

static void seek_prepare(struct shard *shard, const struct shard_request *request)
{
    size_t count = request->position_count;
    State__CommitPosition *items = core_alloc((count + 1) * sizeof(*items));
    State__CommitPosition **pointers = core_alloc((count + 1) * sizeof(State__CommitPosition *));
    for (size_t i = 0; i < count; i++) {
        state__commit_position__init(&items[i]);
        items[i].group = (char *)request->group;
        items[i].partition = request->positions[i].partition;
        items[i].offset = request->positions[i].offset;
        pointers[i] = &items[i];
    }
    State__SeekPositions command = STATE__SEEK_POSITIONS__INIT;
    command.positions = pointers;
    command.n_positions = count;
    size_t size = state__seek_positions__get_packed_size(&command);
    uint8_t *bytes = core_alloc(size + 1);
    state__seek_positions__pack(&command, bytes);
    shard_add_command(shard, COMMAND_SEEK_POSITIONS, bytes, size);
    free(bytes);
    free(pointers);
    free(items);
}

/* The entry that still changes a position of the group; 0: none. */
static uint64_t group_depends(const struct shard *shard, const struct group *group)
{
    uint64_t depends_on = shared_depends(shard, group);
    if (group->entry > depends_on)
        depends_on = group->entry;
    for (const struct group_position *position = group->positions; position; position = position->next) {
        uint64_t number = position_depends(shard, position);
        if (number > depends_on)
            depends_on = number;
    }
    return depends_on;
}

/* A request that has been written is answered when its entry is durable: it is then told apart by its generation. */
#define ADMIN_WRITTEN 1u

static void park_written(struct shard *shard, const struct shard_request *request)
{
    struct shard_request written = *request;
    written.generation = ADMIN_WRITTEN;
    shard_park(shard, shard->gathering->number, &written);
}

static void group_seek(struct shard *shard, const struct shard_request *request)
{
    if (request->generation == ADMIN_WRITTEN) {
        groups_reply(shard, request, NULL, 0, false);
        return;
    }
    struct group *group = group_find(shard, request->group);
    int code = seek_check(shard, group, topic_find(shard, request->name), request);
    if (code) {
        shard_reply_code(shard, request, code);
        return;
    }
    uint64_t depends_on = group ? group_depends(shard, group) : 0;
    if (depends_on) {
        shard_park(shard, depends_on, request);
        return;
    }
    seek_prepare(shard, request);
    group_get(shard, request->group)->entry = shard->gathering->number; /* nobody joins on what was before */
    park_written(shard, request);
}

static void group_delete_request(struct shard *shard, const struct shard_request *request)
{
    if (request->generation == ADMIN_WRITTEN) {
        groups_reply(shard, request, NULL, 0, false);
        return;
    }
    struct group *group = group_find(shard, request->group);
    int code = !group || !group_shown(group) ? WIRE_CRIER_EINVAL
               : group->crews                ? WIRE_CRIER_EBUSY
               : shard->read_only            ? WIRE_CRIER_EIO
                                             : 0;
    if (code) {
        shard_reply_code(shard, request, code);
        return;
    }
    uint64_t depends_on = group_depends(shard, group);
    if (depends_on) {
        shard_park(shard, depends_on, request);
        return;
    }
    State__DeleteGroup command = STATE__DELETE_GROUP__INIT;
    command.name = group->name;
    uint8_t bytes[GROUP_NAME_MAX + 16];
    size_t size = state__delete_group__pack(&command, bytes);
    shard_add_command(shard, COMMAND_DELETE_GROUP, bytes, size);
    group->entry = shard->gathering->number;
    park_written(shard, request);
}

void group_admin_request(struct shard *shard, const struct shard_request *request)
{
    if (request->kind == SHARD_GROUP_LIST)
        group_list(shard, request);
    else if (request->kind == SHARD_GROUP_DESCRIBE)
        group_describe(shard, request);
    else if (request->kind == SHARD_GROUP_SEEK)
        group_seek(shard, request);
    else
        group_delete_request(shard, request);
}
