/* groups.c: groups: who may read under a name, and the positions stored for it.
 *
 * Membership is volatile: one member per (group, topic) so far, fenced by a generation {broker epoch, counter} that no
 * earlier life or member can share. Positions are commands, coalesced to one per entry: each position keeps its newest
 * value, written when the entry is sealed. A position never goes back (a later offset wins).
 *
 * JOIN:   takes the place, commits a first position for every partition that has none, and is answered when everything
 *         prepared for these positions is durable: so a new owner never starts before what the old one committed. */
#include "broker/core/shard_internal.h"
#include "proto/state.pb-c.h"

struct group *group_find(struct shard *shard, const char *name)
{
    struct group *group = NULL;
    HASH_FIND_STR(shard->groups, name, group);
    return group;
}

struct group *group_get(struct shard *shard, const char *name)
{
    struct group *group = group_find(shard, name);
    if (group)
        return group;
    group = core_alloc(sizeof(*group));
    group->row.kind = ROW_GROUP;
    group->name = core_strdup(name);
    HASH_ADD_KEYPTR(hh, shard->groups, group->name, strlen(group->name), group);
    return group;
}

static struct position_key position_key(struct group *group, uint64_t partition)
{
    struct position_key key;
    memset(&key, 0, sizeof(key));
    key.partition = partition;
    key.group = group;
    return key;
}

struct group_position *position_find(struct shard *shard, struct group *group, uint64_t partition)
{
    struct position_key key = position_key(group, partition);
    struct group_position *position = NULL;
    HASH_FIND(hh, shard->positions, &key, sizeof(key), position);
    return position;
}

struct group_position *position_get(struct shard *shard, struct group *group, uint64_t partition)
{
    struct group_position *position = position_find(shard, group, partition);
    if (position)
        return position;
    position = core_alloc(sizeof(*position));
    position->row.kind = ROW_POSITION;
    position->key = position_key(group, partition);
    HASH_ADD(hh, shard->positions, key, sizeof(position->key), position);
    return position;
}

static void position_prepare(struct shard *shard, struct group *group, uint64_t partition, uint64_t offset)
{
    struct group_position *position = position_get(shard, group, partition);
    if (position->exists_prepared && position->offset_prepared >= offset)
        return;
    position->exists_prepared = true;
    position->offset_prepared = offset;
    struct shard_entry *entry = shard_gather(shard);
    if (position->entry == entry->number)
        return;
    position->entry = entry->number;
    entry->positions = core_grow(entry->positions, entry->position_count, &entry->position_capacity,
                                 sizeof(struct group_position *));
    entry->positions[entry->position_count++] = position;
}

void positions_encode(struct shard *shard, struct shard_entry *entry)
{
    size_t count = entry->position_count;
    if (count == 0)
        return;
    State__CommitPosition *items = core_alloc(count * sizeof(*items));
    State__CommitPosition **pointers = core_alloc(count * sizeof(State__CommitPosition *));
    for (size_t i = 0; i < count; i++) {
        const struct group_position *position = entry->positions[i];
        state__commit_position__init(&items[i]);
        items[i].group = position->key.group->name;
        items[i].partition = position->key.partition;
        items[i].offset = position->offset_prepared;
        pointers[i] = &items[i];
    }
    State__CommitPositions command = STATE__COMMIT_POSITIONS__INIT;
    command.positions = pointers;
    command.n_positions = count;
    size_t size = state__commit_positions__get_packed_size(&command);
    uint8_t *bytes = core_alloc(size);
    state__commit_positions__pack(&command, bytes);
    shard_add_command(shard, COMMAND_COMMIT_POSITIONS, bytes, size);
    free(bytes);
    free(pointers);
    free(items);
}

void positions_set_back(struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->position_count; i++) {
        struct group_position *position = entry->positions[i];
        position->exists_prepared = position->exists;
        position->offset_prepared = position->offset;
        position->entry = 0;
    }
}

void group_free_all(struct shard *shard)
{
    struct group_position *position, *next_position;
    HASH_ITER (hh, shard->positions, position, next_position) {
        HASH_DEL(shard->positions, position);
        free(position);
    }
    struct group *group, *next;
    HASH_ITER (hh, shard->groups, group, next) {
        while (group->members) {
            struct member *member = group->members;
            group->members = member->next;
            free(member);
        }
        HASH_DEL(shard->groups, group);
        free(group->name);
        free(group);
    }
}

/* ---- requests ---- */

static struct member **member_slot(struct group *group, const struct topic *topic)
{
    struct member **slot = &group->members;
    while (*slot && (*slot)->topic != topic)
        slot = &(*slot)->next;
    return slot;
}

static struct member *member_by_token(struct group *group, const struct shard_request *request)
{
    for (struct member *member = group->members; member; member = member->next)
        if (member->generation == request->generation &&
            member->token.connection == request->token.connection)
            return member;
    return NULL;
}

static void join_reply(struct shard *shard, const struct shard_request *request, struct group *group)
{
    struct position *positions = core_alloc((request->position_count + 1) * sizeof(*positions));
    for (size_t i = 0; i < request->position_count; i++) {
        uint64_t partition = request->positions[i].partition;
        const struct group_position *position = position_find(shard, group, partition);
        CHECK(position && position->exists);
        positions[i] = (struct position){partition, position->offset};
    }
    struct shard_reply reply = {.kind = SHARD_JOINED,
                                .request_kind = SHARD_JOIN,
                                .token = request->token,
                                .generation = request->generation,
                                .positions = positions,
                                .position_count = request->position_count};
    shard->output->reply(shard->output_ctx, &reply);
    free(positions);
}

/* First positions for partitions without one; returns the entry that everything prepared here depends on, 0: none. */
static uint64_t join_positions(struct shard *shard, const struct shard_request *request, struct group *group)
{
    uint64_t depends_on = 0;
    for (size_t i = 0; i < request->position_count; i++) {
        const struct position *start = &request->positions[i];
        struct group_position *position = position_find(shard, group, start->partition);
        if (!position || !position->exists_prepared) {
            position_prepare(shard, group, start->partition, start->offset);
            position = position_find(shard, group, start->partition);
        }
        if (position->entry > shard->entry_done && position->entry > depends_on)
            depends_on = position->entry;
    }
    return depends_on;
}

static void join(struct shard *shard, const struct shard_request *request)
{
    struct topic *topic = topic_find(shard, request->name);
    if (!topic || !topic->applied) {
        shard_reply_code(shard, request, WIRE_CRIER_ENOTOPIC);
        return;
    }
    if (shard->read_only) {
        shard_reply_code(shard, request, WIRE_CRIER_EIO);
        return;
    }
    struct group *group = group_get(shard, request->group);
    struct shard_request asked = *request;
    struct member **slot = member_slot(group, topic);
    if (!request->generation) { /* the first time round */
        if (*slot) {
            shard_reply_code(shard, request, WIRE_CRIER_EBUSY);
            return;
        }
        struct member *member = core_alloc(sizeof(*member));
        member->topic = topic;
        member->token = request->token;
        member->generation = shard->self.broker_epoch << 32 | ++shard->generation_counter;
        *slot = member;
        asked.generation = member->generation;
    } else if (!*slot || (*slot)->generation != request->generation) {
        return; /* it left while waiting: nobody hears the answer */
    }
    uint64_t depends_on = join_positions(shard, &asked, group);
    if (depends_on)
        shard_park(shard, depends_on, &asked);
    else
        join_reply(shard, &asked, group);
}

/* The member's place is free at once: what it committed is in the log's order before whatever comes next. */
static void leave(struct shard *shard, const struct shard_request *request)
{
    struct group *group = group_find(shard, request->group);
    for (struct member **slot = group ? &group->members : NULL; slot && *slot; slot = &(*slot)->next) {
        struct member *member = *slot;
        if (member->token.connection == request->token.connection &&
            member->token.request == request->token.request) {
            *slot = member->next;
            free(member);
            return;
        }
    }
}

static void commit(struct shard *shard, const struct shard_request *request)
{
    struct group *group = group_find(shard, request->group);
    const struct member *member = group ? member_by_token(group, request) : NULL;
    if (!member) {
        shard_reply_code(shard, request, WIRE_CRIER_EFENCED);
        return;
    }
    for (size_t i = 0; i < request->position_count; i++) {
        const struct partition *partition = partition_find(shard, request->positions[i].partition);
        if (!partition || partition->topic != member->topic ||
            request->positions[i].offset > partition->next) {
            shard_reply_code(shard, request, WIRE_CRIER_EINVAL);
            return;
        }
    }
    uint64_t depends_on = 0;
    for (size_t i = 0; i < request->position_count; i++) {
        const struct position *wanted = &request->positions[i];
        position_prepare(shard, group, wanted->partition, wanted->offset);
        const struct group_position *position = position_find(shard, group, wanted->partition);
        if (position->entry > shard->entry_done && position->entry > depends_on)
            depends_on = position->entry;
    }
    if (depends_on)
        shard_park(shard, depends_on, request);
    else
        shard_reply_code(shard, request, 0);
}

void groups_request(struct shard *shard, const struct shard_request *request)
{
    if (request->kind == SHARD_JOIN)
        join(shard, request);
    else if (request->kind == SHARD_LEAVE)
        leave(shard, request);
    else
        commit(shard, request);
}
