/* positions.c: groups and their durable positions: the part of groups that is state.
 *
 * Positions are commands, coalesced to one per entry: each position keeps its newest prepared value, which is written when
 * the entry is sealed. A commit never moves a position back; only a seek does. A group has a number from its first stored
 * position on: keys never hold names. */
#include "broker/core/shard_internal.h"

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

static bool position_is(const void *position, const void *key, size_t size)
{
    return memcmp(&((const struct group_position *)position)->key, key, size) == 0;
}

struct group_position *position_find(struct shard *shard, struct group *group, uint64_t partition)
{
    struct position_key key = position_key(group, partition);
    return table_find(&shard->positions, table_hash(&key, sizeof(key)), position_is, &key, sizeof(key));
}

struct group_position *position_get(struct shard *shard, struct group *group, uint64_t partition)
{
    struct group_position *position = position_find(shard, group, partition);
    if (position)
        return position;
    position = core_alloc(sizeof(*position));
    position->row.kind = ROW_POSITION;
    position->key = position_key(group, partition);
    table_add(&shard->positions, table_hash(&position->key, sizeof(position->key)), position);
    DL_APPEND(group->positions, position);
    return position;
}

void position_prepare(struct shard *shard, struct group *group, uint64_t partition, uint64_t offset)
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

uint64_t position_depends(const struct shard *shard, const struct group_position *position)
{
    return position && !position->deleted && position->entry > shard->entry_done ? position->entry : 0;
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

void positions_set_back(struct shard *shard, struct shard_entry *entry)
{
    for (size_t i = 0; i < entry->position_count; i++) {
        struct group_position *position = entry->positions[i];
        position->exists_prepared = position->exists;
        position->offset_prepared = position->offset;
        position->entry = 0;
    }
    entry->position_count = 0;
    for (struct group *group = shard->groups; group; group = group->hh.next)
        if (group->entry == entry->number)
            group->entry = 0;
}

static void delete_position(struct shard *shard, struct group_position *position)
{
    if (position->deleted)
        return; /* with its topic, and waits for the flush */
    shared_forget(shard, position);
    shard_row_will_change(shard, &position->row);
    table_remove(&shard->positions, table_hash(&position->key, sizeof(position->key)), position);
    position->deleted = true;
}

void position_delete(struct shard *shard, struct group *group, uint64_t partition)
{
    struct group_position *position = position_find(shard, group, partition);
    if (position)
        delete_position(shard, position);
}

void group_delete(struct shard *shard, struct group *group)
{
    struct group_position *position, *next;
    DL_FOREACH_SAFE (group->positions, position, next)
        delete_position(shard, position);
    shard_row_will_change(shard, &group->row);
    HASH_DEL(shard->groups, group);
    group->deleted = true;
}

static void position_free(struct group_position *position)
{
    DL_DELETE(position->key.group->positions, position);
    shared_free(position->shared);
    free(position);
}

void group_bury(struct row *row)
{
    if (row->kind == ROW_POSITION) {
        position_free((struct group_position *)row);
        return;
    }
    struct group *group = (struct group *)row;
    CHECK(!group->positions && !group->crews);
    free(group->name);
    free(group);
}

void group_free_all(struct shard *shard)
{
    uint32_t at = 0;
    for (struct group_position *position; (position = table_next(&shard->positions, &at));)
        position_free(position);
    table_finish(&shard->positions);
    struct group *group, *next;
    HASH_ITER (hh, shard->groups, group, next) {
        while (group->crews)
            crew_free(shard, group->crews);
        HASH_DEL(shard->groups, group);
        free(group->name);
        free(group);
    }
}
