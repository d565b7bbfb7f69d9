/* rows.c: the state as rows of state.mdb: keys, values, and what a flush writes. rows_load.c reads them.
 *
 * Key: one byte of table, then numbers big-endian (docs/disk-format.md); never a name.
 *
 * A flush is an exact cut: the state at one applied index. With a million dirty rows, putting them into bytes takes longer
 * than a turn may, so all that is dirty is frozen at once, which costs nothing, and put into bytes some rows a turn. A frozen
 * row that is about to change is put into bytes first (shard_row_will_change). The bytes lie in blocks that do not move. If
 * the store refuses them they stay and go with the next flush, in front of what changed since: the later row counts. */
#include "base/bytes.h"
#include "broker/core/shard_internal.h"

enum { BLOCK_ROWS = 512, BLOCK_BYTES = 48 << 10 };

struct block {
    struct store_rows base; /* first */
    size_t size, capacity;
    struct store_row rows[BLOCK_ROWS];
    uint8_t bytes[];
};

struct rows {
    struct block *first, *last;
    size_t count;
    struct row *graves; /* what was deleted: freed when the store has forgotten them too */
};

/* ---- writing ---- */

static struct block *block_with_room(struct rows *rows, size_t size)
{
    struct block *last = rows->last;
    if (last && last->base.count < BLOCK_ROWS && last->capacity - last->size >= size)
        return last;
    size_t capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    struct block *block = malloc(sizeof(*block) + capacity); /* touched as it fills */
    CHECK(block);
    block->base = (struct store_rows){.rows = block->rows};
    block->size = 0;
    block->capacity = capacity;
    if (last)
        last->base.next = &block->base;
    else
        rows->first = block;
    return rows->last = block;
}

/* value NULL: the row is deleted. */
static void rows_add(struct rows *rows, const uint8_t *key, size_t key_size, const ProtobufCMessage *value)
{
    size_t value_size = value ? protobuf_c_message_get_packed_size(value) : 0;
    struct block *block = block_with_room(rows, key_size + value_size);
    uint8_t *at = block->bytes + block->size;
    memcpy(at, key, key_size);
    if (value)
        protobuf_c_message_pack(value, at + key_size);
    block->rows[block->base.count++] = (struct store_row){
        .key = at, .key_size = key_size, .value = value ? at + key_size : NULL, .value_size = value_size};
    block->size += key_size + value_size;
    rows->count++;
}

static void row_shard(struct rows *rows, const struct shard_row *self)
{
    State__ShardRow value = STATE__SHARD_ROW__INIT;
    value.next_partition_id = self->next_partition_id;
    value.next_producer_id = self->next_producer_id;
    value.next_group_id = self->next_group_id;
    value.next_source_id = self->next_source_id;
    value.broker_epoch = self->broker_epoch;
    value.time_us = self->time_us;
    value.schedules = self->schedules;
    rows_add(rows, (uint8_t[]){ROW_SHARD}, 1, &value.base);
}

static void row_topic(struct rows *rows, const struct topic *topic)
{
    uint8_t key[1 + TOPIC_ID_SIZE] = {ROW_TOPIC};
    memcpy(key + 1, topic->id, TOPIC_ID_SIZE);
    State__TopicSettings settings = STATE__TOPIC_SETTINGS__INIT;
    settings.durability = topic->memory;
    settings.ephemeral = topic->ephemeral;
    retention_pack(&topic->retention, &settings);
    quota_pack(&topic->quota, &settings);
    settings.max_listeners = topic->max_listeners;
    retry_policy_pack(&topic->retry, &settings);
    State__TopicRow value = STATE__TOPIC_ROW__INIT;
    value.name = topic->name;
    value.partitions = topic->partitions;
    value.n_partitions = topic->partition_count;
    value.created_us = topic->created_us;
    value.settings = &settings;
    rows_add(rows, key, sizeof(key), topic->deleted ? NULL : &value.base);
}

static void row_partition(struct rows *rows, const struct partition *partition)
{
    uint8_t key[9] = {ROW_PARTITION};
    be64_put(key + 1, partition->id);
    State__PartitionRow value = STATE__PARTITION_ROW__INIT;
    if (partition->deleted) { /* its topic may be gone already */
        rows_add(rows, key, sizeof(key), NULL);
        return;
    }
    value.topic = (ProtobufCBinaryData){TOPIC_ID_SIZE, partition->topic->id};
    value.next_offset = partition->next;
    value.log_start = partition->log_start;
    value.bytes = partition->bytes;
    rows_add(rows, key, sizeof(key), &value.base);
}

static void row_producer(struct rows *rows, const struct producer *producer)
{
    uint8_t key[17] = {ROW_PRODUCER};
    be64_put(key + 1, producer->key.producer_id);
    be64_put(key + 9, producer->key.partition);
    State__ProducerRow value = STATE__PRODUCER_ROW__INIT;
    value.epoch = (uint32_t)producer->state.epoch;
    value.last_sequence = (uint32_t)producer->state.last_sequence;
    value.last_base_sequence = (uint32_t)producer->state.last_base_sequence;
    value.last_base_offset = producer->state.last_base_offset;
    value.last_used_us = producer->used_us;
    State__RecentSchedule recent[RECENT_SCHEDULES_MAX], *pointers[RECENT_SCHEDULES_MAX];
    for (uint32_t i = 0; i < producer->recent_count; i++) {
        state__recent_schedule__init(&recent[i]);
        recent[i].base_sequence = (uint32_t)producer->recent[i].base_sequence;
        recent[i].due_us = producer->recent[i].key.due_us;
        recent[i].number = producer->recent[i].key.number;
        pointers[i] = &recent[i];
    }
    value.recent = pointers;
    value.n_recent = producer->recent_count;
    rows_add(rows, key, sizeof(key), producer->state.exists ? &value.base : NULL);
}

static void row_group(struct rows *rows, const struct group *group)
{
    uint8_t key[9] = {ROW_GROUP};
    be64_put(key + 1, group->id);
    State__GroupRow value = STATE__GROUP_ROW__INIT;
    value.name = group->name;
    value.kind = group->kind;
    rows_add(rows, key, sizeof(key), group->deleted ? NULL : &value.base);
}

static void row_position(struct rows *rows, const struct group_position *position)
{
    uint8_t key[17] = {ROW_POSITION};
    be64_put(key + 1, position->key.group->id);
    be64_put(key + 9, position->key.partition);
    State__PositionRow value = STATE__POSITION_ROW__INIT;
    value.offset = position->offset;
    rows_add(rows, key, sizeof(key), position->deleted ? NULL : &value.base);
}

static void row_shared(struct rows *rows, const struct row *row)
{
    const struct group_position *position = shared_row_position(row);
    uint8_t key[17] = {ROW_SHARED};
    be64_put(key + 1, position->key.group->id);
    be64_put(key + 9, position->key.partition);
    State__SharedRow value = STATE__SHARED_ROW__INIT;
    bool any = shared_row_pack(row, &value);
    rows_add(rows, key, sizeof(key), any ? &value.base : NULL);
    if (any)
        shared_row_packed(&value);
}

static void row_source(struct rows *rows, const struct source *source)
{
    bool named = source->name[0] != '\0';
    uint8_t key[10] = {ROW_SOURCE, !named};
    be64_put(key + 2, named ? source->id : source->owner);
    State__SourceRow value = STATE__SOURCE_ROW__INIT;
    value.name = source->name;
    value.producer_id = source->owner;
    value.position = source->position;
    value.last_used_us = source->used_us;
    rows_add(rows, key, sizeof(key), source->id ? &value.base : NULL);
}

static void row_schedule(struct rows *rows, const struct row *row)
{
    uint8_t key[SCHEDULE_KEY_SIZE];
    State__ScheduleRow value;
    const ProtobufCMessage *message = schedule_row_pack(row, key, &value);
    rows_add(rows, key, sizeof(key), message);
}

static void row_write(struct rows *rows, const struct row *row)
{
    switch (row->kind) { /* the row is the first member of each */
    case ROW_SHARD:
        row_shard(rows, (const struct shard_row *)row);
        break;
    case ROW_TOPIC:
        row_topic(rows, (const struct topic *)row);
        break;
    case ROW_PARTITION:
        row_partition(rows, (const struct partition *)row);
        break;
    case ROW_PRODUCER:
        row_producer(rows, (const struct producer *)row);
        break;
    case ROW_GROUP:
        row_group(rows, (const struct group *)row);
        break;
    case ROW_POSITION:
        row_position(rows, (const struct group_position *)row);
        break;
    case ROW_SOURCE:
        row_source(rows, (const struct source *)row);
        break;
    case ROW_SCHEDULE:
        row_schedule(rows, row);
        break;
    case ROW_SHARED:
        row_shared(rows, row);
        break;
    }
}

static bool row_deleted(const struct row *row)
{
    return (row->kind == ROW_TOPIC && ((const struct topic *)row)->deleted) ||
           (row->kind == ROW_PARTITION && ((const struct partition *)row)->deleted) ||
           (row->kind == ROW_GROUP && ((const struct group *)row)->deleted) ||
           (row->kind == ROW_POSITION && ((const struct group_position *)row)->deleted) ||
           (row->kind == ROW_SCHEDULE && schedule_gone(row)) ||
           (row->kind == ROW_SHARED && shared_row_deleted(row));
}

/* What is deleted is kept until the store has forgotten it; a producer is forgotten as soon as that is in bytes. */
static void pack(struct shard *shard, struct row *row)
{
    struct rows *rows = shard->flush_rows;
    DL_DELETE(shard->frozen, row);
    row->flush = 0;
    row_write(rows, row);
    if (row->kind == ROW_PRODUCER) {
        producer_flushed_away(shard, (struct producer *)row); /* may free it */
    } else if (row->kind == ROW_SOURCE) {
        source_flushed_away(shard, (struct source *)row); /* the same */
    } else if (row_deleted(row)) {
        row->next = rows->graves;
        rows->graves = row;
    }
}

void shard_row_will_change(struct shard *shard, struct row *row)
{
    if (row->flush == shard->next_flush)
        return;
    CHECK(!row_deleted(row));
    if (row->flush > 0) {
        DL_DELETE(shard->frozen, row);
        row_write(shard->flush_rows, row);
    }
    row->flush = shard->next_flush;
    DL_APPEND(shard->dirty, row);
}

/* One step, however long the list: a row's number says which list it is in. */
void rows_freeze(struct shard *shard)
{
    CHECK(!shard->frozen);
    if (!shard->flush_rows)
        shard->flush_rows = core_alloc(sizeof(*shard->flush_rows));
    shard->frozen = shard->dirty;
    shard->dirty = NULL;
    shard->next_flush++;
    schedules_flush_begins(shard);
}

bool rows_pack(struct shard *shard, uint32_t count)
{
    for (; shard->frozen && count > 0; count--)
        pack(shard, shard->frozen);
    return !shard->frozen;
}

const struct store_rows *rows_packed(const struct shard *shard, size_t *ret_count)
{
    const struct rows *rows = shard->flush_rows;
    *ret_count = rows->count;
    return rows->first ? &rows->first->base : NULL;
}

/* Positions name their group, partitions lie in their topic, and what shared groups keep belongs to a position: so positions go
 * when all of the list has been seen, groups and topics last. */
static void bury(struct shard *shard, struct row *graves)
{
    struct row *owners = NULL, *positions = NULL;
    while (graves) {
        struct row *row = graves;
        graves = row->next;
        struct row **list = row->kind == ROW_GROUP || row->kind == ROW_TOPIC ? &owners
                            : row->kind == ROW_POSITION                      ? &positions
                                                                             : NULL;
        if (list) {
            row->next = *list;
            *list = row;
        } else if (row->kind == ROW_SCHEDULE) {
            schedule_bury(shard, row);
        }
    }
    while (positions) {
        struct row *row = positions;
        positions = row->next;
        group_bury(row);
    }
    while (owners) {
        struct row *row = owners;
        owners = row->next;
        if (row->kind == ROW_TOPIC)
            topic_bury(row);
        else
            group_bury(row);
    }
}

void rows_stored(struct shard *shard)
{
    struct rows *rows = shard->flush_rows;
    shard->flush_rows = NULL;
    bury(shard, rows->graves);
    for (struct block *block = rows->first, *next; block; block = next) {
        next = (struct block *)(uintptr_t)block->base.next;
        free(block);
    }
    free(rows);
    schedules_flushed(shard);
}

void rows_free_all(struct shard *shard)
{
    if (!shard->frozen)
        rows_freeze(shard);
    (void)rows_pack(shard, UINT32_MAX);
    rows_freeze(shard);
    (void)rows_pack(shard, UINT32_MAX);
    rows_stored(shard);
}
