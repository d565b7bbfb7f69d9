/* disk_note.c: what an entry says that is durable for the first time: topics, batches, positions and log starts of what the
 * history is about go there; of the others only the log's own rules are checked. See disk.h. */
#include "tests/sim/disk.h"

#include "base/check.h"
#include "proto/batch.h"
#include "proto/state.pb-c.h"

#include <stdio.h>

enum { /* docs/disk-format.md */
       COMMAND_CREATE_TOPIC = 1,
       COMMAND_COMMIT_POSITIONS = 2,
       COMMAND_SEEK_POSITIONS = 5,
       COMMAND_DELETE_GROUP = 6,
       COMMAND_MOVE_LOG_STARTS = 8
};

/* Of the topics that the history is about; HISTORY_NONE: another one. */
static uint32_t topic_number(const char *name)
{
    unsigned topic = HISTORY_NONE;
    CHECK(name[0] != 't' || (sscanf(name, "t%u", &topic) == 1 && topic < HISTORY_TOPICS_MAX));
    return topic;
}

static void note_topic(struct disk *disk, const struct entry_part *part)
{
    State__CreateTopic *command = state__create_topic__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    uint32_t topic = topic_number(command->name);
    if (topic != HISTORY_NONE && disk->history->partitions[topic])
        report_add(disk->report, 3, "topic %u was created twice", topic);
    if (topic != HISTORY_NONE)
        disk->history->partitions[topic] = (uint32_t)command->n_partitions;
    for (size_t i = 0; i < command->n_partitions; i++) {
        CHECK(command->partitions[i] < HISTORY_PARTITION_IDS);
        CHECK(topic == HISTORY_NONE || i < DISK_PLACES_MAX);
        if (topic != HISTORY_NONE)
            disk->ids[topic][i] = command->partitions[i];
        struct disk_partition *partition = &disk->partitions[command->partitions[i]];
        if (partition->known)
            report_add(disk->report, 3, "partition %llu was created twice",
                       (unsigned long long)command->partitions[i]);
        *partition = (struct disk_partition){.topic = topic, .place = (uint32_t)i, .known = true};
    }
    state__create_topic__free_unpacked(command, NULL);
}

/* HISTORY_NONE: one that the history is not about. */
static uint32_t group_number(const char *name)
{
    unsigned group = HISTORY_NONE;
    CHECK(name[0] != 'g' || sscanf(name, "g%u", &group) == 1);
    return group;
}

static void note_moved(struct disk *disk, enum history_moved moved, State__CommitPosition **positions,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(positions[i]->partition < HISTORY_PARTITION_IDS);
        const struct disk_partition *partition = &disk->partitions[positions[i]->partition];
        if (partition->topic == HISTORY_NONE)
            continue;
        history_position(disk->history, &(struct history_position){.moved = moved,
                                                                   .group = group_number(positions[i]->group),
                                                                   .topic = partition->topic,
                                                                   .partition = partition->place,
                                                                   .offset = positions[i]->offset});
    }
}

static void note_positions(struct disk *disk, const struct entry_part *part)
{
    State__CommitPositions *command =
        state__commit_positions__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    note_moved(disk, HISTORY_COMMITTED, command->positions, command->n_positions);
    state__commit_positions__free_unpacked(command, NULL);
}

static void note_seek(struct disk *disk, const struct entry_part *part)
{
    State__SeekPositions *command =
        state__seek_positions__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    trace_add(disk->trace, TRACE_SOUGHT, command->n_positions, 0, 0);
    note_moved(disk, HISTORY_SOUGHT, command->positions, command->n_positions);
    state__seek_positions__free_unpacked(command, NULL);
}

static void note_delete_group(struct disk *disk, const struct entry_part *part)
{
    State__DeleteGroup *command = state__delete_group__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    uint32_t group = group_number(command->name);
    trace_add(disk->trace, TRACE_FORGOTTEN, group, 0, 0);
    history_position(disk->history, &(struct history_position){.moved = HISTORY_FORGOTTEN, .group = group});
    state__delete_group__free_unpacked(command, NULL);
}

/* A prefix goes: forwards, and never beyond the end. */
static void note_trim(struct disk *disk, const struct entry_part *part)
{
    State__MoveLogStarts *command =
        state__move_log_starts__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_moves; i++) {
        const State__MoveLogStart *move = command->moves[i];
        CHECK(move->partition < HISTORY_PARTITION_IDS);
        struct disk_partition *partition = &disk->partitions[move->partition];
        trace_add(disk->trace, TRACE_TRIMMED, move->partition, move->offset, 0);
        if (move->offset <= partition->log_start || move->offset > partition->next)
            report_add(disk->report, 11,
                       "partition %llu: the log start moved from %llu to %llu, the end is %llu",
                       (unsigned long long)move->partition, (unsigned long long)partition->log_start,
                       (unsigned long long)move->offset, (unsigned long long)partition->next);
        partition->log_start = move->offset;
        if (partition->topic != HISTORY_NONE)
            history_trim(disk->history, partition->topic, partition->place, move->offset);
    }
    state__move_log_starts__free_unpacked(command, NULL);
}

#define UNCOMPRESSED_MAX (16u << 20)

/* In crier_sim_failures only; elsewhere nothing fails on purpose. */
long allocation_suspend(void) __attribute__((weak));
void allocation_resume(long suspended) __attribute__((weak));

void disk_events(const struct entry_part *part, struct batch_iterator *ret_iterator)
{
    long suspended = allocation_suspend ? allocation_suspend() : 0;
    int rc = batch_iterator_init(ret_iterator, part->payload.data, part->payload.size, UNCOMPRESSED_MAX);
    CHECK(rc == 0);
    if (allocation_resume)
        allocation_resume(suspended);
}

/* What a later trim takes away from the readers of the truth the checker still knows from here. */
static void note_events(struct disk *disk, const struct disk_partition *partition,
                        const struct entry_part *part)
{
    struct batch_iterator iterator;
    struct batch_record record;
    disk_events(part, &iterator);
    while (batch_iterator_next(&iterator, &record) == 1)
        history_stored(disk->history, partition->topic, partition->place, (uint64_t)record.offset,
                       record.value.data, record.value.size);
    batch_iterator_finish(&iterator);
}

static void note_batch(struct disk *disk, const struct entry_part *part, int64_t append_time_us)
{
    CHECK(part->partition < HISTORY_PARTITION_IDS);
    struct disk_partition *partition = &disk->partitions[part->partition];
    if (!partition->known || part->base_offset != partition->next)
        report_add(disk->report, 8, "the log has a batch at %llu of partition %llu, which ends at %llu",
                   (unsigned long long)part->base_offset, (unsigned long long)part->partition,
                   (unsigned long long)partition->next);
    partition->next = part->base_offset + part->span;
    if (partition->topic == HISTORY_NONE)
        return;
    note_events(disk, partition, part);
    history_batch(disk->history, &(struct history_batch){partition->topic, partition->place,
                                                         part->base_offset, part->span, append_time_us});
}

void disk_note(struct disk *disk, const struct entry_part *parts, uint32_t part_count, int64_t append_time_us)
{
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].kind == PART_DATA)
            note_batch(disk, &parts[i], append_time_us);
        else if (parts[i].command == COMMAND_CREATE_TOPIC)
            note_topic(disk, &parts[i]);
        else if (parts[i].command == COMMAND_COMMIT_POSITIONS)
            note_positions(disk, &parts[i]);
        else if (parts[i].command == COMMAND_SEEK_POSITIONS)
            note_seek(disk, &parts[i]);
        else if (parts[i].command == COMMAND_DELETE_GROUP)
            note_delete_group(disk, &parts[i]);
        else if (parts[i].command == COMMAND_MOVE_LOG_STARTS)
            note_trim(disk, &parts[i]);
    }
}
