/* store_memory.c: the store's twin without a disk; see store_memory.h.
 *
 * Three kinds of work are under way at most: one commit, one flush, and reads and lookups, each with the virtual moment at
 * which it ends. store_memory_advance() ends what is due, in order of time. Whatever ends goes to a list, and poll()
 * hands it out: a `done` never runs inside another call, as with threads. */
#include "storage/store_memory_internal.h"

#include "base/check.h"
#include "storage/entry.h"

#include <stdlib.h>
#include <string.h>

struct store_memory_image {
    struct memory_disk disk;
};

/* ---- small things ---- */

static void list_push(struct list *list, struct queue_node *node)
{
    node->next = NULL;
    if (list->last)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
    list->count++;
}

static struct queue_node *list_pop(struct list *list)
{
    struct queue_node *node = list->first;
    list->first = node->next;
    if (!list->first)
        list->last = NULL;
    list->count--;
    return node;
}

static int64_t draw(struct store_memory *store, struct store_memory_delay delay)
{
    CHECK(delay.us_max >= delay.us_min && delay.us_min >= 0);
    return delay.us_min + (int64_t)random_below(&store->random, (uint64_t)(delay.us_max - delay.us_min) + 1);
}

/* Counts down to a fault: true when it is its turn. */
static bool strikes(uint64_t *countdown)
{
    return *countdown > 0 && --*countdown == 0;
}

static void finish(struct store_memory *store, struct queue_node *node, enum tag tag)
{
    node->weight = tag;
    list_push(&store->finished, node);
}

static void finish_append(struct store_memory *store, struct store_append *append, int status)
{
    append->status = status;
    if (status == STORE_EFULL || status == STORE_EREFUSED || status == STORE_EREADONLY)
        store->stats.refused++;
    finish(store, &append->node, TAG_APPEND);
}

static void fail(struct store_memory *store)
{
    store->read_only = true;
    store->stats.errors++;
}

/* ---- commits ---- */

/* True: the append was refused and is finished. */
static bool refused(struct store_memory *store, struct store_append *append)
{
    if (store->read_only) {
        finish_append(store, append, STORE_EREADONLY);
    } else if (store->refused_any && append->epoch <= store->refused_epoch) {
        finish_append(store, append, STORE_EREFUSED);
    } else if (store->full) {
        store->refused_any = true;
        store->refused_epoch = append->epoch;
        store->stats.full = true;
        finish_append(store, append, STORE_EFULL);
    } else {
        return false;
    }
    return true;
}

/* Begins a commit with what is queued, if none is under way. */
static void begin_commit(struct store_memory *store)
{
    if (store->committing)
        return;
    size_t bytes = 0;
    while (store->queued.first) {
        struct store_append *append = (struct store_append *)store->queued.first;
        size_t size = append->node.weight;
        if (store->written.count > 0 && bytes + size > store->options.commit_bytes_max)
            break;
        list_pop(&store->queued);
        if (refused(store, append))
            continue;
        bytes += size;
        append->index = store->disk.entries.count + store->written.count + 1;
        memory_entries_add(&store->written, append, append->index);
        if (store->options.complete_before_durable)
            finish_append(store, append, STORE_OK);
        else
            list_push(&store->commit, &append->node);
    }
    if (store->written.count == 0)
        return;
    store->committing = true;
    store->commit_fails = strikes(&store->fail_commit);
    store->commit_due_us = store->now_us + draw(store, store->options.commit);
    if (store->slow_count > 0) {
        store->slow_count--;
        store->commit_due_us += store->slow_us;
    }
}

static void end_commit(struct store_memory *store)
{
    int status = STORE_OK;
    store->committing = false;
    if (store->commit_fails) {
        fail(store);
        status = STORE_EIO;
        store->limbo = store->written;
        store->written = (struct memory_entries){0};
    } else {
        store->stats.commits++;
        store->stats.entries += store->written.count;
        for (size_t i = 0; i < store->written.count; i++)
            store->stats.bytes += store->written.list[i].size;
        store->stats.full = false;
        memory_disk_commit(&store->disk, &store->written);
        store->stats.last_index = store->disk.entries.count;
    }
    while (store->commit.first)
        finish_append(store, (struct store_append *)list_pop(&store->commit), status);
    begin_commit(store);
}

static int memory_append(struct store *base, struct store_append *append)
{
    struct store_memory *store = store_memory_self(base);
    if (!store->started || store->stopping || store->queued.count >= store->options.append_queue_max)
        return STORE_EAGAIN;
    append->node.weight = entry_size(append->parts, append->part_count);
    list_push(&store->queued, &append->node);
    begin_commit(store);
    return 0;
}

/* ---- flushes ---- */

static int memory_flush(struct store *base, struct store_flush *flush)
{
    struct store_memory *store = store_memory_self(base);
    if (!store->started || store->stopping || store->flush)
        return STORE_EAGAIN;
    store->flush = flush;
    store->flush_index = flush->applied_index;
    store->flush_fails = strikes(&store->fail_flush);
    store->flush_due_us = store->now_us + draw(store, store->options.flush);
    memory_rows_copy(&store->flush_rows, flush);
    return 0;
}

static void end_flush(struct store_memory *store)
{
    struct store_flush *flush = store->flush;
    store->flush = NULL;
    if (store->read_only) {
        flush->status = STORE_EREADONLY;
    } else if (store->flush_fails) {
        fail(store);
        flush->status = STORE_EIO;
    } else {
        memory_disk_flush(&store->disk, &store->flush_rows, store->flush_index);
        store->stats.flushed_index = store->flush_index;
        memory_disk_clean(&store->disk, &store->starts);
        flush->status = STORE_OK;
    }
    memory_rows_clear(&store->flush_rows);
    finish(store, &flush->node, TAG_FLUSH);
}

static int memory_trim(struct store *base, uint64_t partition, uint64_t log_start)
{
    return log_starts_raise(&store_memory_self(base)->starts, partition, log_start);
}

/* ---- reads ---- */

static int begin_read(struct store_memory *store, struct queue_node *node, enum tag tag, bool corrupt)
{
    if (!store->started || store->stopping || store->read_count >= store->options.read_queue_max)
        return STORE_EAGAIN;
    store->reads[store->read_count++] =
        (struct pending_read){.node = node,
                              .tag = tag,
                              .due_us = store->now_us + draw(store, store->options.read),
                              .corrupt = corrupt};
    return 0;
}

static int memory_read(struct store *base, struct store_read *read)
{
    struct store_memory *store = store_memory_self(base);
    if (store->read_count >= store->options.read_queue_max)
        return STORE_EAGAIN;
    return begin_read(store, &read->node, TAG_READ, strikes(&store->fail_read));
}

static int memory_lookup(struct store *base, struct store_lookup *lookup)
{
    return begin_read(store_memory_self(base), &lookup->node, TAG_LOOKUP, false);
}

static int memory_range(struct store *base, struct store_range *range)
{
    struct store_memory *store = store_memory_self(base);
    int rc = begin_read(store, &range->node, TAG_RANGE, false);
    /* the earliest moment there is; else it will be the latest */
    if (rc == 0 && random_below(&store->random, 2)) {
        struct pending_read *pending = &store->reads[store->read_count - 1];
        memory_disk_range(&store->disk, range);
        pending->taken = true;
        pending->rows = range->rows;
        pending->count = range->count;
        range->rows = NULL;
    }
    return rc;
}

static int run_read(struct store_memory *store, struct store_read *read, bool corrupt)
{
    if (corrupt) {
        store->stats.errors++;
        return STORE_ECORRUPT;
    }
    uint64_t bytes = 0;
    int rc = memory_disk_read(&store->disk, read, &bytes);
    while (rc < 0 && read->count > 0)
        slice_unref(&read->batches[--read->count].batch);
    store->stats.read_bytes += bytes;
    return rc;
}

static void end_read(struct store_memory *store, unsigned position)
{
    struct pending_read pending = store->reads[position];
    store->read_count--;
    memmove(&store->reads[position], &store->reads[position + 1],
            (store->read_count - position) * sizeof(*store->reads));
    if (pending.tag == TAG_READ) {
        struct store_read *read = (struct store_read *)pending.node;
        read->count = 0;
        read->status = run_read(store, read, pending.corrupt);
        if (read->status == 0 && read->digest)
            read->digest(read);
        store->stats.reads++;
    } else if (pending.tag == TAG_RANGE) {
        struct store_range *range = (struct store_range *)pending.node;
        if (!pending.taken) {
            memory_disk_range(&store->disk, range);
        } else {
            range->status = STORE_OK;
            range->rows = pending.rows;
            range->count = pending.count;
        }
    } else {
        struct store_lookup *lookup = (struct store_lookup *)pending.node;
        memory_disk_lookup(&store->disk, lookup);
        lookup->status = STORE_OK;
    }
    finish(store, pending.node, pending.tag);
}

/* ---- time ---- */

enum work { WORK_NONE, WORK_COMMIT, WORK_FLUSH, WORK_READ };

/* What ends first; the order in case of a tie is fixed. */
static enum work next_work(const struct store_memory *store, int64_t *ret_due_us, unsigned *ret_read)
{
    enum work work = WORK_NONE;
    int64_t due_us = INT64_MAX;
    if (store->committing && store->commit_due_us < due_us) {
        work = WORK_COMMIT;
        due_us = store->commit_due_us;
    }
    if (store->flush && store->flush_due_us < due_us) {
        work = WORK_FLUSH;
        due_us = store->flush_due_us;
    }
    for (unsigned i = 0; i < store->read_count; i++)
        if (store->reads[i].due_us < due_us) {
            work = WORK_READ;
            due_us = store->reads[i].due_us;
            *ret_read = i;
        }
    *ret_due_us = due_us;
    return work;
}

int64_t store_memory_next_due(const struct store *base)
{
    int64_t due_us;
    unsigned read;
    next_work(store_memory_self(base), &due_us, &read);
    return due_us;
}

void store_memory_advance(struct store *base, int64_t now_us)
{
    struct store_memory *store = store_memory_self(base);
    int64_t due_us;
    unsigned read = 0;
    enum work work;
    while ((work = next_work(store, &due_us, &read)) != WORK_NONE && due_us <= now_us) {
        if (due_us > store->now_us)
            store->now_us = due_us;
        if (work == WORK_COMMIT)
            end_commit(store);
        else if (work == WORK_FLUSH)
            end_flush(store);
        else
            end_read(store, read);
    }
    if (now_us > store->now_us)
        store->now_us = now_us;
}

/* ---- the rest of store.h ---- */

static int memory_load_state(struct store *base, store_row_fn *fn, void *ctx, uint64_t *ret_applied_index)
{
    const struct memory_disk *disk = &store_memory_self(base)->disk;
    int rc = 0, skipped = -1; /* a table */
    for (size_t i = 0; i < disk->rows.count && rc >= 0; i++) {
        const struct memory_row *row = &disk->rows.list[i];
        struct store_row out = {row->key, row->key_size, row->value, row->value_size};
        rc = row->key[0] == skipped ? 0 : fn(ctx, &out);
        if (rc == STORE_NEXT_TABLE)
            skipped = row->key[0];
    }
    if (rc >= 0)
        *ret_applied_index = disk->applied_index;
    return rc < 0 ? rc : 0;
}

static int memory_replay(struct store *base, store_entry_fn *fn, void *ctx)
{
    return memory_disk_replay(&store_memory_self(base)->disk, fn, ctx);
}

static int memory_start(struct store *base)
{
    struct store_memory *store = store_memory_self(base);
    CHECK(!store->started);
    store->started = true;
    store->disk.clean = false;
    return 0;
}

static int memory_completion_fd(const struct store *base)
{
    (void)base;
    return -1;
}

static unsigned memory_poll(struct store *base, unsigned count_max)
{
    struct store_memory *store = store_memory_self(base);
    unsigned count = 0, there = store->finished.count;
    for (; count < there && count < count_max; count++) {
        struct queue_node *node = list_pop(&store->finished);
        switch ((enum tag)node->weight) {
        case TAG_APPEND:
            ((struct store_append *)node)
                ->done((struct store_append *)node, ((struct store_append *)node)->ctx);
            break;
        case TAG_READ:
            ((struct store_read *)node)->done((struct store_read *)node, ((struct store_read *)node)->ctx);
            break;
        case TAG_LOOKUP:
            ((struct store_lookup *)node)
                ->done((struct store_lookup *)node, ((struct store_lookup *)node)->ctx);
            break;
        case TAG_RANGE:
            ((struct store_range *)node)->done((struct store_range *)node, ((struct store_range *)node)->ctx);
            break;
        case TAG_FLUSH:
            ((struct store_flush *)node)->done((struct store_flush *)node, ((struct store_flush *)node)->ctx);
            break;
        }
    }
    return count;
}

static void memory_stats(struct store *base, struct store_stats *ret_stats)
{
    *ret_stats = store_memory_self(base)->stats;
    ret_stats->segments = 1;
    ret_stats->read_only = store_memory_self(base)->read_only;
    ret_stats->disk_free = store_memory_self(base)->disk_free;
}

static void memory_stop(struct store *base)
{
    struct store_memory *store = store_memory_self(base);
    if (!store->started)
        return;
    store->stopping = true;
    for (;;) { /* what is finished may bring more to do */
        if (memory_poll(base, UINT32_MAX) > 0)
            continue;
        int64_t due_us = store_memory_next_due(base);
        if (due_us == INT64_MAX)
            break;
        store_memory_advance(base, due_us);
    }
    store->started = false;
    store->disk.clean = !store->read_only;
}

static void destroy(struct store_memory *store)
{
    memory_entries_clear(&store->written);
    memory_entries_clear(&store->limbo);
    memory_rows_clear(&store->flush_rows);
    memory_disk_finish(&store->disk);
    log_starts_finish(&store->starts);
    for (unsigned i = 0; i < store->read_count; i++)
        free(store->reads[i].rows);
    free(store->reads);
    free(store);
}

static void memory_close(struct store *base)
{
    memory_stop(base);
    destroy(store_memory_self(base));
}

static const struct store_ops memory_ops = {
    .load_state = memory_load_state,
    .replay = memory_replay,
    .start = memory_start,
    .append = memory_append,
    .read = memory_read,
    .lookup = memory_lookup,
    .flush = memory_flush,
    .range = memory_range,
    .trim = memory_trim,
    .completion_fd = memory_completion_fd,
    .poll = memory_poll,
    .stats = memory_stats,
    .stop = memory_stop,
    .close = memory_close,
};

/* ---- lives and faults ---- */

static struct store_memory *create(const struct store_memory_options *options)
{
    struct store_memory *store = calloc(1, sizeof(*store));
    if (!store)
        return NULL;
    store->base.ops = &memory_ops;
    store->options = *options;
    store->disk_free = UINT64_MAX;
    store->random = random_seeded(options->seed);
    store->reads = calloc(options->read_queue_max ? options->read_queue_max : 1, sizeof(*store->reads));
    if (!store->reads || log_starts_init(&store->starts) < 0) {
        free(store->reads);
        free(store);
        return NULL;
    }
    return store;
}

static void begin_life(struct store_memory *store)
{
    memcpy(store->base.cluster_id, store->disk.cluster_id, sizeof(store->base.cluster_id));
    store->base.node_id = store->disk.node_id;
    store->stats.last_index = store->disk.entries.count;
    store->stats.flushed_index = store->disk.applied_index;
}

int store_memory_open(const struct store_memory_options *options, struct store **ret_store)
{
    struct store_memory *store = create(options);
    if (!store)
        return STORE_ENOMEM;
    for (size_t i = 0; i < sizeof(store->disk.cluster_id); i++)
        store->disk.cluster_id[i] = (uint8_t)random_below(&store->random, 256);
    begin_life(store);
    *ret_store = &store->base;
    return 0;
}

int store_memory_reopen(const struct store_memory_options *options, struct store_memory_image *image,
                        struct store **ret_store)
{
    struct store_memory *store = create(options);
    if (!store) {
        store_memory_image_destroy(image);
        return STORE_ENOMEM;
    }
    store->disk = image->disk;
    free(image);
    begin_life(store);
    *ret_store = &store->base;
    return 0;
}

struct store_memory_image *store_memory_crash(struct store *base)
{
    struct store_memory *store = store_memory_self(base);
    struct store_memory_image *image = malloc(sizeof(*image));
    CHECK(image != NULL);
    /* In this order: a flush never reaches beyond the commits that had finished. */
    if (store->flush && !store->flush_fails && !store->read_only && random_below(&store->random, 2))
        memory_disk_flush(&store->disk, &store->flush_rows, store->flush_index);
    struct memory_entries *uncertain = store->limbo.count > 0 ? &store->limbo : &store->written;
    if (uncertain->count > 0 && random_below(&store->random, 2))
        memory_disk_commit(&store->disk, uncertain);
    image->disk = store->disk;
    store->disk = (struct memory_disk){0};
    destroy(store);
    return image;
}

void store_memory_image_destroy(struct store_memory_image *image)
{
    if (!image)
        return;
    memory_disk_finish(&image->disk);
    free(image);
}
