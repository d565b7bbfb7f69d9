/* disk.c: see disk.h. */
#include "tests/sim/disk.h"

#include "base/check.h"
#include "proto/batch.h"
#include "proto/state.pb-c.h"
#include "storage/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* docs/disk-format.md */
       COMMAND_CREATE_TOPIC = 1,
       COMMAND_COMMIT_POSITIONS = 2,
       COMMAND_SEEK_POSITIONS = 5,
       COMMAND_DELETE_GROUP = 6,
       COMMAND_MOVE_LOG_STARTS = 8
};

/* An append or a read under way: whom to tell. */
struct watch {
    struct watch *prev, *next;
    struct disk *disk;
    void (*done)(struct store_append *append, void *ctx);  /* of an append */
    void (*read_done)(struct store_read *read, void *ctx); /* of a read */
    void *ctx;
};

static struct disk *disk_of(const struct store *store)
{
    return (struct disk *)(uintptr_t)((const char *)store - offsetof(struct disk, store));
}

/* ---- what an entry says ---- */

static void note_topic(struct disk *disk, const struct entry_part *part)
{
    State__CreateTopic *command = state__create_topic__unpack(NULL, part->payload.size, part->payload.data);
    unsigned topic = HISTORY_TOPICS_MAX;
    CHECK(command && sscanf(command->name, "t%u", &topic) == 1 && topic < HISTORY_TOPICS_MAX);
    if (disk->history->partitions[topic])
        report_add(disk->report, 3, "topic %u was created twice", topic);
    disk->history->partitions[topic] = (uint32_t)command->n_partitions;
    for (size_t i = 0; i < command->n_partitions; i++) {
        CHECK(command->partitions[i] < DISK_PARTITIONS_MAX && i < DISK_PLACES_MAX);
        disk->ids[topic][i] = command->partitions[i];
        struct disk_partition *partition = &disk->partitions[command->partitions[i]];
        if (partition->known)
            report_add(disk->report, 3, "partition %llu was created twice",
                       (unsigned long long)command->partitions[i]);
        *partition = (struct disk_partition){.topic = topic, .place = (uint32_t)i, .known = true};
    }
    state__create_topic__free_unpacked(command, NULL);
}

static uint32_t group_number(const char *name)
{
    unsigned group = 0;
    int found = sscanf(name, "g%u", &group);
    CHECK(found == 1);
    return group;
}

static void note_moved(struct disk *disk, enum history_moved moved, State__CommitPosition **positions,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(positions[i]->partition < DISK_PARTITIONS_MAX);
        const struct disk_partition *partition = &disk->partitions[positions[i]->partition];
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
        CHECK(move->partition < DISK_PARTITIONS_MAX);
        struct disk_partition *partition = &disk->partitions[move->partition];
        trace_add(disk->trace, TRACE_TRIMMED, move->partition, move->offset, 0);
        if (move->offset <= partition->log_start || move->offset > partition->next)
            report_add(disk->report, 11,
                       "partition %llu: the log start moved from %llu to %llu, the end is %llu",
                       (unsigned long long)move->partition, (unsigned long long)partition->log_start,
                       (unsigned long long)move->offset, (unsigned long long)partition->next);
        partition->log_start = move->offset;
        history_trim(disk->history, partition->topic, partition->place, move->offset);
    }
    state__move_log_starts__free_unpacked(command, NULL);
}

#define UNCOMPRESSED_MAX (16u << 20)

/* What a later trim takes away from the readers of the truth the checker still knows from here. */
static void note_events(struct disk *disk, const struct disk_partition *partition,
                        const struct entry_part *part)
{
    struct batch_iterator iterator;
    struct batch_record record;
    int rc = batch_iterator_init(&iterator, part->payload.data, part->payload.size, UNCOMPRESSED_MAX);
    CHECK(rc == 0);
    while (batch_iterator_next(&iterator, &record) == 1)
        history_stored(disk->history, partition->topic, partition->place, (uint64_t)record.offset,
                       record.value.data, record.value.size);
    batch_iterator_finish(&iterator);
}

static void note_batch(struct disk *disk, const struct entry_part *part, int64_t append_time_us)
{
    CHECK(part->partition < DISK_PARTITIONS_MAX);
    struct disk_partition *partition = &disk->partitions[part->partition];
    if (!partition->known || part->base_offset != partition->next)
        report_add(disk->report, 8, "the log has a batch at %llu of partition %llu, which ends at %llu",
                   (unsigned long long)part->base_offset, (unsigned long long)part->partition,
                   (unsigned long long)partition->next);
    partition->next = part->base_offset + part->span;
    note_events(disk, partition, part);
    history_batch(disk->history, &(struct history_batch){partition->topic, partition->place,
                                                         part->base_offset, part->span, append_time_us});
}

/* An entry is durable for the first time. */
static void note(struct disk *disk, const struct entry_part *parts, uint32_t part_count,
                 int64_t append_time_us)
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

/* The entry is on the disk, as somebody says: keeps it, or compares it with what was said before. */
static void keep(struct disk *disk, const struct entry_header *header, const struct entry_part *parts,
                 uint32_t part_count)
{
    size_t size = entry_size(parts, part_count);
    uint8_t *bytes = malloc(size);
    CHECK(bytes);
    entry_encode(bytes, header, parts, part_count);
    uint64_t place = header->index - 1;
    if (place < disk->entry_count) {
        const struct disk_entry *known = &disk->entries[place];
        if (known->size != size || memcmp(known->bytes, bytes, size) != 0)
            report_add(disk->report, 3, "entry %llu has changed", (unsigned long long)header->index);
        free(bytes);
        return;
    }
    if (place > disk->entry_count) {
        report_add(disk->report, 7, "entry %llu follows entry %zu: what was between is gone",
                   (unsigned long long)header->index, disk->entry_count);
        free(bytes);
        return;
    }
    if (disk->entry_count == disk->entry_capacity) {
        disk->entry_capacity = disk->entry_capacity ? 2 * disk->entry_capacity : 64;
        disk->entries = realloc(disk->entries, disk->entry_capacity * sizeof(*disk->entries));
        CHECK(disk->entries);
    }
    disk->entries[disk->entry_count++] = (struct disk_entry){bytes, size};
    note(disk, parts, part_count, header->append_time_us);
}

/* ---- the wrapped calls ---- */

static int wrapped_load_state(struct store *store, store_row_fn *fn, void *ctx, uint64_t *ret_applied_index)
{
    struct disk *disk = disk_of(store);
    int rc = disk->inner->ops->load_state(disk->inner, fn, ctx, ret_applied_index);
    disk->replay_next = *ret_applied_index + 1;
    return rc;
}

struct replay {
    struct disk *disk;
    store_entry_fn *fn;
    void *ctx;
};

static int replay_entry(void *ctx, const struct store_entry *entry)
{
    struct replay *replay = ctx;
    struct disk *disk = replay->disk;
    struct entry_header header = {.type = entry->type,
                                  .index = entry->index,
                                  .term = entry->term,
                                  .append_time_us = entry->append_time_us};
    trace_add(disk->trace, TRACE_REPLAYED, entry->index, 0, 0);
    if (entry->index != disk->replay_next)
        report_add(disk->report, 7, "the replay went from entry %llu to %llu",
                   (unsigned long long)disk->replay_next - 1, (unsigned long long)entry->index);
    disk->replay_next = entry->index + 1;
    keep(disk, &header, entry->parts, entry->part_count);
    return replay->fn(replay->ctx, entry);
}

static int wrapped_replay(struct store *store, store_entry_fn *fn, void *ctx)
{
    struct disk *disk = disk_of(store);
    struct replay replay = {disk, fn, ctx};
    int rc = disk->inner->ops->replay(disk->inner, replay_entry, &replay);
    if (rc == 0 && disk->replay_next <= disk->entry_count)
        report_add(disk->report, 7, "entry %zu was durable, after the restart the log ends at %llu",
                   disk->entry_count, (unsigned long long)disk->replay_next - 1);
    return rc;
}

static int wrapped_start(struct store *store)
{
    struct disk *disk = disk_of(store);
    return disk->inner->ops->start(disk->inner);
}

static enum trace_event event_of(int status)
{
    switch (status) {
    case STORE_OK:
        return TRACE_STORED;
    case STORE_EFULL:
        return TRACE_REFUSED_FULL;
    case STORE_EREFUSED:
        return TRACE_REFUSED_EPOCH;
    case STORE_EREADONLY:
        return TRACE_REFUSED_READ_ONLY;
    default:
        return TRACE_STORED_UNKNOWN;
    }
}

static struct watch *watch_add(struct disk *disk, struct watch **list, void *ctx)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    CHECK(watch);
    watch->disk = disk;
    watch->ctx = ctx;
    watch->next = *list;
    if (watch->next)
        watch->next->prev = watch;
    *list = watch;
    return watch;
}

static void watch_drop(struct watch **list, struct watch *watch)
{
    if (watch->prev)
        watch->prev->next = watch->next;
    else
        *list = watch->next;
    if (watch->next)
        watch->next->prev = watch->prev;
    free(watch);
}

static void append_done(struct store_append *append, void *ctx)
{
    struct watch *watch = ctx;
    struct disk *disk = watch->disk;
    append->done = watch->done;
    append->ctx = watch->ctx;
    watch_drop(&disk->watches, watch);
    trace_add(disk->trace, event_of(append->status), append->status == STORE_OK ? append->index : 0,
              append->part_count, 0);
    struct entry_header header = {.type = append->type,
                                  .index = append->index,
                                  .term = append->term,
                                  .append_time_us = append->append_time_us};
    if (append->status == STORE_OK)
        keep(disk, &header, append->parts, append->part_count);
    disk->failed |= append->status == STORE_EIO;
    append->done(append, append->ctx);
}

static int wrapped_append(struct store *store, struct store_append *append)
{
    struct disk *disk = disk_of(store);
    struct watch *watch = watch_add(disk, &disk->watches, append->ctx);
    watch->done = append->done;
    append->done = append_done;
    append->ctx = watch;
    int rc = disk->inner->ops->append(disk->inner, append);
    if (rc < 0) {
        append->done = watch->done;
        append->ctx = watch->ctx;
        watch_drop(&disk->watches, watch);
    }
    return rc;
}

static void read_done(struct store_read *read, void *ctx)
{
    struct watch *watch = ctx;
    struct disk *disk = watch->disk;
    read->done = watch->read_done;
    read->ctx = watch->ctx;
    watch_drop(&disk->read_watches, watch);
    if (read->status < 0)
        trace_add(disk->trace, TRACE_READ_FAILED, read->partition, 0, 0);
    read->done(read, read->ctx);
}

static int wrapped_read(struct store *store, struct store_read *read)
{
    struct disk *disk = disk_of(store);
    trace_add(disk->trace, TRACE_READ, read->partition, read->offset, 0);
    struct watch *watch = watch_add(disk, &disk->read_watches, read->ctx);
    watch->read_done = read->done;
    read->done = read_done;
    read->ctx = watch;
    int rc = disk->inner->ops->read(disk->inner, read);
    if (rc < 0) {
        read->done = watch->read_done;
        read->ctx = watch->ctx;
        watch_drop(&disk->read_watches, watch);
    }
    return rc;
}

static int wrapped_lookup(struct store *store, struct store_lookup *lookup)
{
    struct disk *disk = disk_of(store);
    trace_add(disk->trace, TRACE_LOOKUP, lookup->partition, 0, 0);
    return disk->inner->ops->lookup(disk->inner, lookup);
}

static void flush_done(struct store_flush *flush, void *ctx)
{
    struct disk *disk = ctx;
    if (flush->status == STORE_OK)
        trace_add(disk->trace, TRACE_FLUSHED, flush->applied_index, flush->row_count, 0);
    else
        trace_add(disk->trace, TRACE_FLUSH_FAILED, (uint64_t)-flush->status, 0, 0);
    flush->done = disk->flush_done;
    flush->ctx = disk->flush_ctx;
    flush->done(flush, flush->ctx);
}

static int wrapped_flush(struct store *store, struct store_flush *flush)
{
    struct disk *disk = disk_of(store);
    disk->flush_done = flush->done;
    disk->flush_ctx = flush->ctx;
    flush->done = flush_done;
    flush->ctx = disk;
    int rc = disk->inner->ops->flush(disk->inner, flush);
    if (rc < 0) {
        flush->done = disk->flush_done;
        flush->ctx = disk->flush_ctx;
    }
    return rc;
}

static int wrapped_range(struct store *store, struct store_range *range)
{
    struct disk *disk = disk_of(store);
    return disk->inner->ops->range(disk->inner, range);
}

static int wrapped_completion_fd(const struct store *store)
{
    (void)store;
    return -1;
}

static unsigned wrapped_poll(struct store *store, unsigned count_max)
{
    struct disk *disk = disk_of(store);
    return disk->inner->ops->poll(disk->inner, count_max);
}

static void wrapped_stats(struct store *store, struct store_stats *ret_stats)
{
    struct disk *disk = disk_of(store);
    disk->inner->ops->stats(disk->inner, ret_stats);
}

static int wrapped_trim(struct store *store, uint64_t partition, uint64_t log_start)
{
    struct disk *disk = disk_of(store);
    return disk->inner->ops->trim(disk->inner, partition, log_start);
}

static void wrapped_stop(struct store *store)
{
    struct disk *disk = disk_of(store);
    disk->inner->ops->stop(disk->inner);
}

static void wrapped_close(struct store *store)
{
    disk_crash(disk_of(store));
}

static const struct store_ops wrapped_ops = {.load_state = wrapped_load_state,
                                             .replay = wrapped_replay,
                                             .start = wrapped_start,
                                             .append = wrapped_append,
                                             .read = wrapped_read,
                                             .lookup = wrapped_lookup,
                                             .flush = wrapped_flush,
                                             .range = wrapped_range,
                                             .trim = wrapped_trim,
                                             .completion_fd = wrapped_completion_fd,
                                             .poll = wrapped_poll,
                                             .stats = wrapped_stats,
                                             .stop = wrapped_stop,
                                             .close = wrapped_close};

/* ---- lives ---- */

void disk_init(struct disk *disk, struct trace *trace, struct history *history, struct report *report)
{
    *disk = (struct disk){.trace = trace, .history = history, .report = report};
}

struct store *disk_open(struct disk *disk, const struct store_memory_options *options)
{
    CHECK(!disk->inner);
    int rc = disk->image ? store_memory_reopen(options, disk->image, &disk->inner)
                         : store_memory_open(options, &disk->inner);
    CHECK(rc == 0);
    disk->image = NULL;
    disk->failed = false;
    disk->store = *disk->inner;
    disk->store.ops = &wrapped_ops;
    return &disk->store;
}

void disk_crash(struct disk *disk)
{
    disk->image = store_memory_crash(disk->inner);
    disk->inner = NULL;
    while (disk->watches)
        watch_drop(&disk->watches, disk->watches);
    while (disk->read_watches)
        watch_drop(&disk->read_watches, disk->read_watches);
}

void disk_finish(struct disk *disk)
{
    if (disk->inner)
        disk_crash(disk);
    store_memory_image_destroy(disk->image);
    for (size_t i = 0; i < disk->entry_count; i++)
        free(disk->entries[i].bytes);
    free(disk->entries);
}

uint64_t disk_end(const struct disk *disk, uint32_t topic, uint32_t place)
{
    return disk->partitions[disk->ids[topic][place]].next; /* 0: no partition has this id */
}

uint64_t disk_kept(const struct disk *disk, uint32_t topic, uint32_t place)
{
    const struct disk_partition *partition = &disk->partitions[disk->ids[topic][place]];
    return partition->next - partition->log_start;
}
