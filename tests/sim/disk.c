/* disk.c: see disk.h. */
#include "tests/sim/disk.h"

#include "base/check.h"
#include "storage/entry.h"
#include "tests/sim/ledger.h"

#include <stdlib.h>
#include <string.h>

/* An append or a read under way: whom to tell. */
struct watch {
    struct watch *prev, *next;
    struct disk *disk;
    void (*done)(struct store_append *append, void *ctx);  /* of an append */
    void (*read_done)(struct store_read *read, void *ctx); /* of a read */
    void (*digest)(struct store_read *read);               /* the same; NULL: none */
    void *ctx;
};

static struct disk *disk_of(const struct store *store)
{
    return (struct disk *)(uintptr_t)((const char *)store - offsetof(struct disk, store));
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
    disk->entries[disk->entry_count++] = (struct disk_entry){bytes, size, ++disk->history->clock};
    disk_note(disk, parts, part_count, header->append_time_us);
    if (disk->ledger)
        ledger_note(disk->ledger, parts, part_count);
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
    read->digest = watch->digest;
    read->ctx = watch->ctx;
    watch_drop(&disk->read_watches, watch);
    if (read->status < 0)
        trace_add(disk->trace, TRACE_READ_FAILED, read->partition, 0, 0);
    read->done(read, read->ctx);
}

/* A digest knows its ctx. */
static void read_digest(struct store_read *read)
{
    struct watch *watch = read->ctx;
    read->ctx = watch->ctx;
    watch->digest(read);
    read->ctx = watch;
}

static int wrapped_read(struct store *store, struct store_read *read)
{
    struct disk *disk = disk_of(store);
    trace_add(disk->trace, TRACE_READ, read->partition, read->offset, 0);
    struct watch *watch = watch_add(disk, &disk->read_watches, read->ctx);
    watch->read_done = read->done;
    watch->digest = read->digest;
    read->done = read_done;
    read->digest = watch->digest ? read_digest : NULL;
    read->ctx = watch;
    int rc = disk->inner->ops->read(disk->inner, read);
    if (rc < 0) {
        read->done = watch->read_done;
        read->digest = watch->digest;
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

static int wrapped_inspect(struct store *store, struct store_inspect *inspect)
{
    return disk_inspect(disk_of(store), inspect);
}

static int wrapped_completion_fd(const struct store *store)
{
    (void)store;
    return -1;
}

static unsigned wrapped_poll(struct store *store, unsigned count_max)
{
    struct disk *disk = disk_of(store);
    unsigned polled = disk->inner->ops->poll(disk->inner, count_max);
    return polled < count_max ? polled + disk_inspect_answer(disk) : polled;
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
                                             .inspect = wrapped_inspect,
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
    disk->inspect_count = 0; /* nobody waits any more */
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

void disk_each_part(const struct disk *disk, disk_part_fn *fn, void *ctx)
{
    for (size_t i = 0; i < disk->entry_count; i++) {
        struct entry_header header;
        int rc = entry_header_decode(disk->entries[i].bytes, disk->entries[i].size, &header);
        CHECK(rc == 0);
        struct entry_part *parts = calloc(header.part_count + 1u, sizeof(*parts));
        CHECK(parts);
        rc = entry_decode(disk->entries[i].bytes, disk->entries[i].size, &header, parts, header.part_count);
        CHECK(rc == 0);
        for (uint32_t k = 0; k < header.part_count; k++)
            fn(ctx, &(struct disk_part){&parts[k], header.append_time_us, disk->entries[i].at, i});
        free(parts);
    }
}
