/* rows_load.c: the rows of state.mdb become the state again (rows.c writes them).
 *
 * Tables are numbered so that what others refer to is loaded before them. A start loads every row there is, so what one costs
 * counts: topics, partitions, producers and positions are read in line (proto/state_rows.h); what that does not know, and
 * the rest, is unpacked by the library, small rows on the stack. */
#include "base/bytes.h"
#include "broker/core/shard_internal.h"
#include "proto/arena.h"
#include "proto/state_rows.h"

enum { ROW_SMALL = 512, ROW_UNPACKED_MAX = 8 << 10, PREFETCH_AHEAD = 8 };

static int load_shard(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    State__ShardRow *value = state__shard_row__unpack(memory, row->value_size, row->value);
    if (!value || value->next_partition_id > PARTITION_IDS_MAX + 1) {
        if (value)
            state__shard_row__free_unpacked(value, memory);
        return STORE_ECORRUPT;
    }
    shard->self.next_partition_id = value->next_partition_id;
    if (shard->self.next_partition_id_prepared < value->next_partition_id)
        shard->self.next_partition_id_prepared = value->next_partition_id;
    shard->self.next_producer_id = value->next_producer_id;
    shard->self.next_group_id = value->next_group_id;
    if (value->next_source_id > 0) /* else written before there were any */
        shard->self.next_source_id = value->next_source_id;
    shard->self.broker_epoch = value->broker_epoch;
    shard->self.time_us = value->time_us;
    shard->self.schedules = value->schedules;
    state__shard_row__free_unpacked(value, memory);
    return 0;
}

static int topic_load(struct shard *shard, const struct store_row *row, const State__TopicRow *value)
{
    if (row->key_size != 1 + TOPIC_ID_SIZE || !value->settings || topic_find(shard, value->name) ||
        !partition_ids_free(shard, value->partitions, value->n_partitions))
        return STORE_ECORRUPT;
    struct topic *topic = topic_add(shard, value->name, row->key + 1, value->partitions, value->n_partitions,
                                    value->settings->durability, value->created_us);
    topic->retention = retention_unpack(value->settings);
    topic->ephemeral = value->settings->ephemeral;
    topic->quota = quota_unpack(value->settings);
    topic->max_listeners = value->settings->max_listeners;
    struct retry_policy retry = retry_policy_unpack(value->settings);
    retry_policy_set(topic, &retry);
    topic_applied(shard, topic);
    return 0;
}

static int load_topic(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    State__TopicRow read;
    struct topic_row_parts parts;
    if (topic_row_read(row->value, row->value_size, &read, &parts))
        return topic_load(shard, row, &read);
    State__TopicRow *value = state__topic_row__unpack(memory, row->value_size, row->value);
    int rc = value ? topic_load(shard, row, value) : STORE_ECORRUPT;
    if (value)
        state__topic_row__free_unpacked(value, memory);
    return rc;
}

static int partition_load(struct shard *shard, const struct store_row *row, const State__PartitionRow *value)
{
    uint64_t id = row->key_size == 9 ? be64_get(row->key + 1) : 0; /* nobody has 0 */
    struct partition *partition = partition_find(shard, id);
    if (!partition)
        return STORE_ECORRUPT;
    __builtin_prefetch(partition_find(shard, id + PREFETCH_AHEAD),
                       1); /* partitions lie in the order of topics */
    partition->next = partition->next_prepared = value->next_offset;
    partition->log_start = partition->log_start_prepared = value->log_start;
    partition->bytes = value->bytes;
    return 0;
}

static int load_partition(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    State__PartitionRow read;
    if (partition_row_read(row->value, row->value_size, &read))
        return partition_load(shard, row, &read);
    State__PartitionRow *value = state__partition_row__unpack(memory, row->value_size, row->value);
    int rc = value ? partition_load(shard, row, value) : STORE_ECORRUPT;
    if (value)
        state__partition_row__free_unpacked(value, memory);
    return rc;
}

static int producer_row_load(struct shard *shard, const struct store_row *row,
                             const State__ProducerRow *value)
{
    if (row->key_size != 17)
        return STORE_ECORRUPT;
    const struct producer_key key = {be64_get(row->key + 1), be64_get(row->key + 9)};
    const struct producer_state state = {.epoch = (int16_t)value->epoch,
                                         .last_sequence = (int32_t)value->last_sequence,
                                         .last_base_sequence = (int32_t)value->last_base_sequence,
                                         .last_base_offset = value->last_base_offset};
    if (!idle_add(&shard->idle, &key, &state, value->last_used_us))
        return STORE_ECORRUPT; /* rows are in the order of their keys */
    for (size_t i = 0; i < value->n_recent; i++)
        producer_schedule_add(
            producer_find(shard, (int64_t)key.producer_id, key.partition),
            &(struct recent_schedule){(int32_t)value->recent[i]->base_sequence,
                                      {value->recent[i]->due_us, value->recent[i]->number}});
    return 0;
}

static int load_producer(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    State__ProducerRow read;
    if (producer_row_read(row->value, row->value_size, &read))
        return producer_row_load(shard, row, &read);
    State__ProducerRow *value = state__producer_row__unpack(memory, row->value_size, row->value);
    int rc = value ? producer_row_load(shard, row, value) : STORE_ECORRUPT;
    if (value)
        state__producer_row__free_unpacked(value, memory);
    return rc;
}

static int load_group(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    State__GroupRow *value = state__group_row__unpack(memory, row->value_size, row->value);
    if (!value || row->key_size != 9) {
        if (value)
            state__group_row__free_unpacked(value, memory);
        return STORE_ECORRUPT;
    }
    struct group *group = group_get(shard, value->name);
    group->id = be64_get(row->key + 1);
    group->kind = group->kind_prepared = value->kind;
    state__group_row__free_unpacked(value, memory);
    return 0;
}

static struct group *group_by_id(struct shard *shard, uint64_t id)
{
    /* rows come in key order: groups are in the order of their numbers, and so are the rows of a table that has one per group;
     * the next table begins with the first group again */
    struct group *group = shard->group_loaded;
    if (!group || group->id > id)
        group = shard->groups;
    while (group && group->id < id)
        group = group->hh.next;
    if (group)
        shard->group_loaded = group;
    return group && group->id == id ? group : NULL;
}

static int position_load(struct shard *shard, const struct store_row *row, const State__PositionRow *value)
{
    struct group *group = row->key_size == 17 ? group_by_id(shard, be64_get(row->key + 1)) : NULL;
    if (!group)
        return STORE_ECORRUPT;
    struct group_position *position = position_get(shard, group, be64_get(row->key + 9));
    position->exists = position->exists_prepared = true;
    position->offset = position->offset_prepared = value->offset;
    return 0;
}

static int load_position(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    State__PositionRow read;
    if (position_row_read(row->value, row->value_size, &read))
        return position_load(shard, row, &read);
    State__PositionRow *value = state__position_row__unpack(memory, row->value_size, row->value);
    int rc = value ? position_load(shard, row, value) : STORE_ECORRUPT;
    if (value)
        state__position_row__free_unpacked(value, memory);
    return rc;
}

static int load_shared(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    struct group *group = row->key_size == 17 ? group_by_id(shard, be64_get(row->key + 1)) : NULL;
    struct group_position *position = group ? position_find(shard, group, be64_get(row->key + 9)) : NULL;
    State__SharedRow *value = state__shared_row__unpack(memory, row->value_size, row->value);
    int rc = value && position ? shared_row_load(shard, position, value) : STORE_ECORRUPT;
    if (value)
        state__shared_row__free_unpacked(value, memory);
    return rc;
}

static int load_source(struct shard *shard, const struct store_row *row, ProtobufCAllocator *memory)
{
    State__SourceRow *value = state__source_row__unpack(memory, row->value_size, row->value);
    int rc = STORE_ECORRUPT;
    if (value && row->key_size == 10 && value->producer_id && row->key[1] == (value->name[0] == '\0')) {
        source_load(shard, &(struct source_row){value->name, be64_get(row->key + 2), value->producer_id,
                                                value->position, value->last_used_us});
        rc = 0;
    }
    if (value)
        state__source_row__free_unpacked(value, memory);
    return rc;
}

int rows_load(struct shard *shard, const struct store_row *row)
{
    static int (*const load[])(struct shard *, const struct store_row *, ProtobufCAllocator *) = {
        [ROW_SHARD] = load_shard,       [ROW_TOPIC] = load_topic,       [ROW_PARTITION] = load_partition,
        [ROW_PRODUCER] = load_producer, [ROW_GROUP] = load_group,       [ROW_POSITION] = load_position,
        [ROW_SOURCE] = load_source,     [ROW_SCHEDULE] = schedule_load, [ROW_SHARED] = load_shared};
    if (row->key_size == 0 || row->key[0] >= ARRAY_SIZE(load) || !load[row->key[0]])
        return STORE_ECORRUPT; /* a table of a newer version */
    uint8_t bytes[ROW_UNPACKED_MAX];
    struct arena arena;
    arena_init(&arena, bytes, sizeof(bytes));
    return load[row->key[0]](shard, row, row->value_size <= ROW_SMALL ? &arena.allocator : NULL);
}
