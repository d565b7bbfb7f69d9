/* apply.c: what a durable entry does to the state: the same code live, in replay and, later, on a replica.
 *
 * Deterministic: it looks at the entry and the state alone, never at a clock, a random source or what is merely
 * prepared. The state it makes is what a flush writes and what a replay must find again. */
#include "broker/core/shard_internal.h"

static int apply_data(struct shard *shard, const struct store_entry *entry, const struct entry_part *part)
{
    struct partition *partition = partition_find(shard, part->partition);
    struct batch_header header;
    if (!partition || part->base_offset < partition->next || part->span == 0 ||
        batch_header_decode(part->payload.data, part->payload.size, &header) != (int64_t)part->payload.size)
        return STORE_ECORRUPT;
    shard_row_will_change(shard, &partition->row);
    partition->next = part->base_offset + part->span;
    partition->bytes += part->payload.size;
    if (partition->next_prepared < partition->next)
        partition->next_prepared = partition->next;
    if (header.producer_id >= 0 && !(part->flags & PART_NO_SEQUENCE))
        producer_apply(shard, &header, part->partition, part->base_offset, entry->append_time_us);
    return 0;
}

static int apply_create_topic(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__CreateTopic *command = state__create_topic__unpack(NULL, size, bytes);
    int rc = STORE_ECORRUPT;
    if (!command || command->id.len != TOPIC_ID_SIZE || command->n_partitions == 0 || !command->settings)
        goto out;
    struct topic *topic = topic_find(shard, command->name);
    if (topic ? topic->applied : !partition_ids_free(shard, command->partitions, command->n_partitions))
        goto out;
    if (!topic)
        topic = topic_add(shard, command->name, command->id.data, command->partitions, command->n_partitions,
                          command->settings->durability, command->created_us);
    topic->retention = retention_unpack(command->settings);
    topic->quota = quota_unpack(command->settings);
    topic->max_listeners = command->settings->max_listeners;
    topic->ephemeral = command->settings->ephemeral;
    struct retry_policy retry = retry_policy_unpack(command->settings);
    retry_policy_set(topic, &retry);
    for (size_t i = 0; i < command->n_partitions; i++) {
        if (command->partitions[i] >= shard->self.next_partition_id)
            shard->self.next_partition_id = command->partitions[i] + 1;
        shard_row_will_change(shard, &partition_find(shard, command->partitions[i])->row);
    }
    shard_row_will_change(shard, &topic->row);
    topic_applied(shard, topic);
    rc = 0;
out:
    if (command)
        state__create_topic__free_unpacked(command, NULL);
    return rc;
}

/* A group has a number from its first stored position on. */
struct group *group_stored(struct shard *shard, const char *name)
{
    struct group *group = group_get(shard, name);
    if (!group->id) {
        shard_row_will_change(shard, &group->row);
        group->id = shard->self.next_group_id++;
    }
    return group;
}

static void apply_position(struct shard *shard, const State__CommitPosition *item)
{
    if (!partition_find(shard, item->partition))
        return; /* its topic has been deleted since this was decided */
    struct group *group = group_stored(shard, item->group);
    struct group_position *position = position_get(shard, group, item->partition);
    shard_row_will_change(shard, &position->row);
    if (!position->exists || item->offset > position->offset)
        position->offset = item->offset;
    position->exists = true;
    if (position->entry <= shard->entry_done) {
        position->exists_prepared = true;
        position->offset_prepared = position->offset;
    }
}

static int apply_commit_positions(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__CommitPositions *command = state__commit_positions__unpack(NULL, size, bytes);
    if (!command)
        return STORE_ECORRUPT;
    for (size_t i = 0; i < command->n_positions; i++)
        apply_position(shard, command->positions[i]);
    state__commit_positions__free_unpacked(command, NULL);
    return 0;
}

static int apply_seek_positions(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__SeekPositions *command = state__seek_positions__unpack(NULL, size, bytes);
    if (!command)
        return STORE_ECORRUPT;
    for (size_t i = 0; i < command->n_positions; i++) {
        const State__CommitPosition *item = command->positions[i];
        if (!partition_find(shard, item->partition))
            continue;
        struct group *group = group_stored(shard, item->group);
        struct group_position *position = position_get(shard, group, item->partition);
        shard_row_will_change(shard, &position->row);
        position->exists = position->exists_prepared = true;
        position->offset = position->offset_prepared = item->offset;
        shared_reset(shard, position);
        group->entry = 0;
    }
    state__seek_positions__free_unpacked(command, NULL);
    return 0;
}

static int apply_delete_group(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__DeleteGroup *command = state__delete_group__unpack(NULL, size, bytes);
    if (!command)
        return STORE_ECORRUPT;
    struct group *group = group_find(shard, command->name);
    if (group)
        group_delete(shard, group);
    state__delete_group__free_unpacked(command, NULL);
    return group ? 0 : STORE_ECORRUPT;
}

static int apply_broker_epoch(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__BrokerEpoch *command = state__broker_epoch__unpack(NULL, size, bytes);
    if (!command)
        return STORE_ECORRUPT;
    shard->self.broker_epoch = command->epoch;
    state__broker_epoch__free_unpacked(command, NULL);
    return 0;
}

static int apply_allocate_producer(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__AllocateProducer *command = state__allocate_producer__unpack(NULL, size, bytes);
    if (!command)
        return STORE_ECORRUPT;
    producer_ids_applied(shard, command->producer_id);
    state__allocate_producer__free_unpacked(command, NULL);
    return 0;
}

static int apply_command(struct shard *shard, const struct entry_part *part, int64_t time_us)
{
    const uint8_t *bytes = part->payload.data;
    size_t size = part->payload.size;
    switch ((enum command)part->command) {
    case COMMAND_CREATE_TOPIC:
        return apply_create_topic(shard, bytes, size);
    case COMMAND_COMMIT_POSITIONS:
        return apply_commit_positions(shard, bytes, size);
    case COMMAND_BROKER_EPOCH:
        return apply_broker_epoch(shard, bytes, size);
    case COMMAND_ALLOCATE_PRODUCER:
        return apply_allocate_producer(shard, bytes, size);
    case COMMAND_SEEK_POSITIONS:
        return apply_seek_positions(shard, bytes, size);
    case COMMAND_DELETE_GROUP:
        return apply_delete_group(shard, bytes, size);
    case COMMAND_SOURCE_POSITION:
        return source_apply(shard, bytes, size, time_us);
    case COMMAND_MOVE_LOG_STARTS:
        return apply_move_log_starts(shard, bytes, size);
    case COMMAND_ALTER_TOPIC:
        return apply_alter_topic(shard, bytes, size);
    case COMMAND_DELETE_TOPIC:
        return apply_delete_topic(shard, bytes, size);
    case COMMAND_SCHEDULE:
        return apply_schedules(shard, bytes, size, time_us);
    case COMMAND_FIRE:
    case COMMAND_CANCEL_SCHEDULES:
        return apply_end_schedules(shard, bytes, size);
    case COMMAND_SHARED_PROGRESS:
        return apply_shared_progress(shard, bytes, size);
    case COMMAND_SHARED_GROUP:
        return apply_shared_group(shard, bytes, size);
    }
    return STORE_ECORRUPT; /* written by a newer version: never skipped silently */
}

int shard_apply(struct shard *shard, const struct store_entry *entry)
{
    shard_row_will_change(shard, &shard->self.row);
    for (uint32_t i = 0; i < entry->part_count; i++) {
        const struct entry_part *part = &entry->parts[i];
        int rc = part->kind == PART_DATA ? apply_data(shard, entry, part)
                                         : apply_command(shard, part, entry->append_time_us);
        if (rc < 0)
            return rc;
        shard->bytes_since_flush += part->payload.size;
    }
    producers_expire(shard, entry->append_time_us);
    sources_expire(shard, entry->append_time_us);
    if (entry->append_time_us > shard->self.time_us)
        shard->self.time_us = entry->append_time_us;
    shard->applied_index = entry->index;
    return 0;
}
