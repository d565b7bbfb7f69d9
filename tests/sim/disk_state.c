/* disk_state.c: the state that all restarts and flushes left on the disk, against the state one replay of the log gives.
 *
 * A core recovers from a store that has no state rows and the whole log up to the disk's own cut; what it then flushes
 * must be, row by row, what the disk holds. The log's later entries are not replayed: the rows are an exact cut. */
#include "tests/sim/disk.h"

#include "base/check.h"
#include "storage/entry.h"

#include <stdlib.h>
#include <string.h>

struct row {
    struct row *next;
    size_t key_size, value_size;
    uint8_t bytes[]; /* key, value */
};

/* A store that holds the log and nothing else; its first flush is what we are after. */
struct blank {
    struct store store;
    const struct disk *disk;
    uint64_t until; /* the last entry to be replayed */
    struct row *rows;
    bool flushed;
};

static void row_keep(struct row **rows, const struct store_row *row)
{
    struct row *kept = malloc(sizeof(*kept) + row->key_size + row->value_size);
    CHECK(kept);
    *kept = (struct row){.next = *rows, .key_size = row->key_size, .value_size = row->value_size};
    memcpy(kept->bytes, row->key, row->key_size);
    if (row->value_size)
        memcpy(kept->bytes + row->key_size, row->value, row->value_size);
    *rows = kept;
}

static struct row *row_take(struct row **rows, const struct row *like)
{
    for (struct row **at = rows; *at; at = &(*at)->next)
        if ((*at)->key_size == like->key_size && !memcmp((*at)->bytes, like->bytes, like->key_size)) {
            struct row *found = *at;
            *at = found->next;
            return found;
        }
    return NULL;
}

static struct blank *blank_of(struct store *store)
{
    return (struct blank *)store;
}

static int blank_load_state(struct store *store, store_row_fn *fn, void *ctx, uint64_t *ret_applied_index)
{
    (void)store, (void)fn, (void)ctx;
    *ret_applied_index = 0;
    return 0;
}

static int blank_replay(struct store *store, store_entry_fn *fn, void *ctx)
{
    const struct blank *blank = blank_of(store);
    for (size_t i = 0; i < blank->until; i++) {
        const struct disk_entry *entry = &blank->disk->entries[i];
        struct entry_header header;
        int rc = entry_header_decode(entry->bytes, entry->size, &header);
        CHECK(rc == 0);
        struct entry_part *parts = calloc(header.part_count + 1u, sizeof(*parts));
        CHECK(parts);
        rc = entry_decode(entry->bytes, entry->size, &header, parts, header.part_count);
        CHECK(rc == 0);
        struct store_entry out = {.type = header.type,
                                  .index = header.index,
                                  .term = header.term,
                                  .append_time_us = header.append_time_us,
                                  .parts = parts,
                                  .part_count = header.part_count};
        rc = fn(ctx, &out);
        free(parts);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int blank_start(struct store *store)
{
    (void)store;
    return 0;
}

/* The core's first entry of this life stays with us for ever: the state is to stay where the replay left it. */
static int blank_append(struct store *store, struct store_append *append)
{
    (void)store, (void)append;
    return 0;
}

static int blank_flush(struct store *store, struct store_flush *flush)
{
    struct blank *blank = blank_of(store);
    CHECK(flush->applied_index == blank->until && !blank->flushed);
    for (const struct store_rows *some = flush->rows; some; some = some->next)
        for (size_t i = 0; i < some->count; i++)
            if (some->rows[i].value)
                row_keep(&blank->rows, &some->rows[i]);
    blank->flushed = true;
    return 0;
}

static int blank_range(struct store *store, struct store_range *range)
{
    (void)store, (void)range;
    return STORE_EAGAIN;
}

static int blank_trim(struct store *store, uint64_t partition, uint64_t log_start)
{
    (void)store, (void)partition, (void)log_start;
    return 0;
}

static const struct store_ops blank_ops = {.load_state = blank_load_state,
                                           .replay = blank_replay,
                                           .start = blank_start,
                                           .append = blank_append,
                                           .flush = blank_flush,
                                           .range = blank_range,
                                           .trim = blank_trim};

static void no_random(void *ctx, void *to, size_t size)
{
    (void)ctx;
    memset(to, 0, size);
}

static void no_log(void *ctx, enum log_level level, const char *id, const char *text)
{
    (void)ctx, (void)level, (void)id, (void)text;
}

static const struct core_ops lonely_ops = {.random = no_random, .log = no_log}; /* no connection ever comes */

static int disk_row(void *ctx, const struct store_row *row)
{
    row_keep(ctx, row);
    return 0;
}

static void rows_compare(struct disk *disk, struct row *replayed, struct row *stored)
{
    while (replayed) {
        struct row *row = replayed, *other = row_take(&stored, row);
        replayed = row->next;
        if (!other)
            report_add(disk->report, 11, "a replay gives a state row of table %u that the disk lacks",
                       row->bytes[0]);
        else if (row->value_size != other->value_size ||
                 memcmp(row->bytes + row->key_size, other->bytes + row->key_size, row->value_size) != 0)
            report_add(disk->report, 11, "a replay gives another value for a state row of table %u",
                       row->bytes[0]);
        free(row);
        free(other);
    }
    while (stored) {
        struct row *row = stored;
        stored = row->next;
        report_add(disk->report, 11, "the disk has a state row of table %u that a replay does not give",
                   row->bytes[0]);
        free(row);
    }
}

void disk_check_state(struct disk *disk, const struct core_config *config)
{
    struct store_memory_options options = store_memory_options_default(1);
    struct blank blank = {.store.ops = &blank_ops, .disk = disk};
    struct row *stored = NULL;
    char error[256] = "";
    disk_open(disk, &options);
    disk->inner->ops->load_state(disk->inner, disk_row, &stored, &blank.until);
    disk_crash(disk);
    if (blank.until > disk->entry_count) {
        report_add(disk->report, 7, "the state is at entry %llu, the log ends at %zu",
                   (unsigned long long)blank.until, disk->entry_count);
        blank.until = disk->entry_count;
    }
    struct core *core = core_create(config, &lonely_ops, NULL, &blank.store);
    CHECK(core);
    int rc = core_recover(core, 0, 0, error, sizeof(error));
    if (rc < 0) {
        report_add(disk->report, 15, "the log cannot be replayed from its beginning: %s", error);
    } else if (blank.until > 0) {
        for (int64_t turn = 0; !blank.flushed; turn++) { /* some rows a turn */
            core_turn_begin(core, config->flush_interval_us + turn, 0);
            CHECK(core_turn_end(core) <= config->flush_interval_us + turn || blank.flushed);
        }
    }
    core_destroy(core);
    rows_compare(disk, blank.rows, stored);
}
