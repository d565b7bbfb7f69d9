/* store_lmdb.c: the shard log over LMDB: the parts of this folder put together behind store.h.
 *
 *   owner ──append──▶ writer ──────roll, seal──────▶ background ──▶ meta.mdb, state.mdb
 *     │ ──flush, range─────────────────────────────────▲
 *     │ ──read, lookup──▶ readers (a partition's requests go to the same one)
 *     ◀───────────────── completions ─────── all of them
 *
 * Thread:  all functions here run on the owner's thread. Before start() they may wait for the disk, afterwards only
 *          stop() does.
 * Queues:  bounded; a full one refuses with STORE_EAGAIN. Completions never block. */
#include "base/check.h"
#include "base/clock.h"
#include "storage/lmdb/background.h"
#include "storage/lmdb/inspect.h"
#include "storage/lmdb/reader.h"
#include "storage/lmdb/recover.h"
#include "storage/lmdb/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_QUEUE_MAX     256 /* for each reader; sessions hold one read each and wait for their turn */
#define READER_THREADS_MAX 16
#define SEGMENT_SIZE_MIN   (256u << 10)

/* What a finished node is; its weight on the way back. */
enum tag { TAG_APPEND = 1, TAG_READ, TAG_LOOKUP, TAG_FLUSH, TAG_RANGE, TAG_INSPECT };

struct store_lmdb {
    struct store base; /* first */
    struct store_options options;
    struct folder folder;
    struct health health;
    struct meta meta;
    struct state state;
    uint64_t state_bytes; /* when it was opened */
    struct segments segments;
    struct log_starts starts;
    struct recovery recovery;
    struct background background;
    struct writer writer;
    struct reader readers[READER_THREADS_MAX];
    struct inspector inspector;
    struct completions *completions;
    struct queue_node *ready; /* taken from the completions, not yet handed out */
    struct queue_node
        wake; /* posted when poll() leaves something in `ready`, so that the descriptor says so */
    bool wake_posted;
    bool background_made, writer_made;
    unsigned readers_made;
    bool started;
};

static struct store_lmdb *self(struct store *store)
{
    return (struct store_lmdb *)store;
}

static int store_load_state(struct store *store, store_row_fn *fn, void *ctx, uint64_t *ret_applied_index)
{
    int rc = state_load(&self(store)->state, fn, ctx);
    if (rc == 0)
        *ret_applied_index = self(store)->state.flushed_index;
    return rc;
}

static int store_replay(struct store *store, store_entry_fn *fn, void *ctx)
{
    return recover_replay(&self(store)->recovery, self(store)->state.flushed_index, fn, ctx);
}

/* ---- start and stop ---- */

static int make_background(struct store_lmdb *store, struct segment *next)
{
    store->background =
        (struct background){.folder = &store->folder,
                            .meta = &store->meta,
                            .state = &store->state,
                            .segments = &store->segments,
                            .health = &store->health,
                            .completions = store->completions,
                            .flush_tag = TAG_FLUSH,
                            .range_tag = TAG_RANGE,
                            .next_number = store->recovery.next_number,
                            .next = next,
                            .cleaner = {.place = {.folder = &store->folder,
                                                  .meta = &store->meta,
                                                  .segments = &store->segments,
                                                  .health = &store->health,
                                                  .starts = &store->starts,
                                                  .remains = &store->background.cleaner.remains},
                                        .settle_us = store->options.sweep_settle_us,
                                        .due_us = clock_monotonic_us() + store->options.clean_delay_us,
                                        .state = &store->state}};
    cleaner_disk(&store->background.cleaner, clock_monotonic_us());
    int rc = background_init(&store->background);
    if (rc < 0)
        segment_destroy(next);
    else
        store->background_made = true;
    return rc;
}

static int make_writer(struct store_lmdb *store)
{
    size_t count = segments_count(&store->segments);
    store->writer = (struct writer){.segments = &store->segments,
                                    .background = &store->background,
                                    .health = &store->health,
                                    .completions = store->completions,
                                    .tag = TAG_APPEND,
                                    .commit_bytes_max = store->options.commit_bytes_max,
                                    .segment = segments_at(&store->segments, count - 1),
                                    .next_index = store->recovery.last_index + 1};
    int rc = writer_init(&store->writer, store->options.append_queue_max);
    store->writer_made = rc == 0;
    return rc;
}

static int make_readers(struct store_lmdb *store)
{
    int rc = 0;
    while (rc == 0 && store->readers_made < store->options.reader_threads) {
        struct reader *reader = &store->readers[store->readers_made];
        *reader = (struct reader){.segments = &store->segments,
                                  .health = &store->health,
                                  .completions = store->completions,
                                  .read_tag = TAG_READ,
                                  .lookup_tag = TAG_LOOKUP};
        if ((rc = reader_init(reader, READ_QUEUE_MAX)) == 0)
            store->readers_made++;
    }
    return rc;
}

static int store_start(struct store *base)
{
    struct store_lmdb *store = self(base);
    CHECK(!store->started);
    struct segment *next = NULL;
    int rc = recover_start(&store->recovery, &next);
    if (rc < 0)
        return rc;
    if ((rc = make_background(store, next)) < 0 || (rc = make_writer(store)) < 0 ||
        (rc = make_readers(store)) < 0)
        return rc;
    store->inspector = (struct inspector){.folder = &store->folder,
                                          .segments = &store->segments,
                                          .writer = &store->writer,
                                          .background = &store->background,
                                          .completions = store->completions,
                                          .tag = TAG_INSPECT};
    rc = background_start(&store->background);
    for (unsigned i = 0; rc == 0 && i < store->readers_made; i++)
        rc = reader_start(&store->readers[i]);
    if (rc == 0)
        rc = writer_start(&store->writer);
    store->started = rc == 0;
    LOG_INFO(store->health.log, "STORE-START",
             "%s: entries %" PRIu64 "..%" PRIu64 " in %zu segments, state at %" PRIu64 ", last stop %s",
             store->folder.path, store->recovery.first_index, store->recovery.last_index,
             segments_count(&store->segments), store->state.flushed_index,
             store->recovery.clean        ? "clean"
             : store->recovery.last_index ? "not clean"
                                          : "none");
    recover_finish(&store->recovery);
    return rc;
}

static unsigned store_poll(struct store *base, unsigned count_max);

static void store_stop(struct store *base)
{
    struct store_lmdb *store = self(base);
    if (store->writer_made)
        writer_stop(&store->writer);
    for (unsigned i = 0; i < store->readers_made; i++)
        reader_stop(&store->readers[i]);
    inspector_stop(&store->inspector);
    if (store->background_made)
        background_stop(&store->background);
    store->started = false;
    while (store_poll(base, UINT_MAX) > 0)
        ;
}

static void store_close(struct store *base)
{
    struct store_lmdb *store = self(base);
    store_stop(base); /* does nothing if the owner did it */
    recover_finish(&store->recovery);
    if (store->writer_made)
        writer_finish(&store->writer);
    for (unsigned i = 0; i < store->readers_made; i++)
        reader_finish(&store->readers[i]);
    inspector_finish(&store->inspector);
    if (store->background_made)
        background_finish(&store->background);
    segments_finish(&store->segments);
    log_starts_finish(&store->starts);
    state_close(&store->state);
    meta_close(&store->meta);
    completions_destroy(store->completions);
    folder_close(&store->folder);
    free(store);
}

/* ---- requests and completions ---- */

static int store_append(struct store *base, struct store_append *append)
{
    return self(base)->started ? writer_append(&self(base)->writer, append) : STORE_EAGAIN;
}

static struct reader *reader_of(struct store_lmdb *store, uint64_t partition)
{
    return &store->readers[partition % store->readers_made];
}

static int store_read(struct store *base, struct store_read *read)
{
    return self(base)->started ? reader_read(reader_of(self(base), read->partition), read) : STORE_EAGAIN;
}

static int store_lookup(struct store *base, struct store_lookup *lookup)
{
    return self(base)->started ? reader_lookup(reader_of(self(base), lookup->partition), lookup)
                               : STORE_EAGAIN;
}

static int store_flush(struct store *base, struct store_flush *flush)
{
    return self(base)->started ? background_flush(&self(base)->background, flush) : STORE_EAGAIN;
}

static int store_range(struct store *base, struct store_range *range)
{
    return self(base)->started ? background_range(&self(base)->background, range) : STORE_EAGAIN;
}

static int store_trim(struct store *base, uint64_t partition, uint64_t log_start)
{
    struct store_lmdb *store = self(base);
    int rc = log_starts_raise(&store->starts, partition, log_start);
    if (rc == 0 && store->started)
        background_trimmed(&store->background);
    return rc;
}

static int store_inspect(struct store *base, struct store_inspect *inspect)
{
    return self(base)->started ? inspector_ask(&self(base)->inspector, inspect) : STORE_EAGAIN;
}

static int store_completion_fd(const struct store *base)
{
    return completions_fd(((const struct store_lmdb *)base)->completions);
}

/* The node is the first field of each request. */
static void hand_out(struct queue_node *node)
{
    switch ((enum tag)node->weight) {
    case TAG_APPEND: {
        struct store_append *append = (struct store_append *)node;
        append->done(append, append->ctx);
        return;
    }
    case TAG_READ: {
        struct store_read *read = (struct store_read *)node;
        read->done(read, read->ctx);
        return;
    }
    case TAG_LOOKUP: {
        struct store_lookup *lookup = (struct store_lookup *)node;
        lookup->done(lookup, lookup->ctx);
        return;
    }
    case TAG_FLUSH: {
        struct store_flush *flush = (struct store_flush *)node;
        flush->done(flush, flush->ctx);
        return;
    }
    case TAG_RANGE: {
        struct store_range *range = (struct store_range *)node;
        range->done(range, range->ctx);
        return;
    }
    case TAG_INSPECT: {
        struct store_inspect *inspect = (struct store_inspect *)node;
        inspect->done(inspect, inspect->ctx);
        return;
    }
    }
    CHECK(!"a node of no kind");
}

/* Everything finished so far, without our own wake-up among it: that one may be needed again before the list is done. */
static void take_finished(struct store_lmdb *store)
{
    store->ready = completions_take(store->completions);
    struct queue_node **at = &store->ready;
    while (store->wake_posted && *at) {
        if (*at == &store->wake) {
            *at = store->wake.next;
            store->wake_posted = false;
        } else {
            at = &(*at)->next;
        }
    }
}

static unsigned store_poll(struct store *base, unsigned count_max)
{
    struct store_lmdb *store = self(base);
    unsigned count = 0;
    if (!store->ready)
        take_finished(store);
    for (; store->ready && count < count_max; count++) {
        struct queue_node *node = store->ready;
        store->ready = node->next; /* before `done`, which may queue the node again */
        hand_out(node);
    }
    if (store->ready && !store->wake_posted) {
        store->wake_posted = true;
        completions_post(store->completions, &store->wake);
    }
    return count;
}

static void store_stats(struct store *base, struct store_stats *ret_stats)
{
    const struct health *health = &self(base)->health;
    *ret_stats = (struct store_stats){.last_index = atomic_load(&health->last_index),
                                      .flushed_index = atomic_load(&health->flushed_index),
                                      .commits = atomic_load(&health->commits),
                                      .entries = atomic_load(&health->entries),
                                      .bytes = atomic_load(&health->bytes),
                                      .segments = atomic_load(&health->segments),
                                      .reads = atomic_load(&health->reads),
                                      .read_bytes = atomic_load(&health->read_bytes),
                                      .refused = atomic_load(&health->refused),
                                      .errors = atomic_load(&health->errors),
                                      .commit_us_last = atomic_load(&health->commit_us_last),
                                      .commit_us_max = atomic_load(&health->commit_us_max),
                                      .read_only = atomic_load(&health->read_only),
                                      .full = atomic_load(&health->full),
                                      .disk_free = atomic_load(&health->disk_free),
                                      .removed = atomic_load(&health->removed),
                                      .swept = atomic_load(&health->swept),
                                      .swept_bytes = atomic_load(&health->swept_bytes),
                                      .indexes_read = atomic_load(&health->indexes_read),
                                      .weighed = atomic_load(&health->weighed),
                                      .state_bytes = self(base)->state_bytes};
}

/* ---- opening ---- */

static const struct store_ops lmdb_ops = {
    .load_state = store_load_state,
    .replay = store_replay,
    .start = store_start,
    .append = store_append,
    .read = store_read,
    .lookup = store_lookup,
    .flush = store_flush,
    .range = store_range,
    .trim = store_trim,
    .inspect = store_inspect,
    .completion_fd = store_completion_fd,
    .poll = store_poll,
    .stats = store_stats,
    .stop = store_stop,
    .close = store_close,
};

/* The log must reach the state, and begin where the state ends or before. */
static int check_reach(const struct store_lmdb *store, char *error, size_t error_size)
{
    const struct recovery *recovery = &store->recovery;
    uint64_t flushed = store->state.flushed_index;
    if (flushed > recovery->last_index) {
        (void)snprintf(error, error_size,
                       "the log in %s ends at entry %" PRIu64 ", but the state was written at entry %" PRIu64
                       ": a segment was replaced by an older copy" FOLDER_REPAIR,
                       store->folder.shard, recovery->last_index, flushed, FOLDER_REPAIR_OF(&store->folder));
        return STORE_ECORRUPT;
    }
    if (recovery->first_index > flushed + 1) {
        (void)snprintf(error, error_size,
                       "the state in %s ends at entry %" PRIu64 ", but the log begins with entry %" PRIu64
                       ": restore state.mdb from a backup",
                       store->folder.shard, flushed, recovery->first_index);
        return STORE_ECORRUPT;
    }
    return recover_check_gaps(recovery, flushed, error, error_size);
}

static int open_files(struct store_lmdb *store, char *error, size_t error_size)
{
    state_begin(&store->state, &store->folder);
    int rc = meta_open(&store->meta, &store->folder, error, error_size);
    if (rc < 0)
        return rc;
    memcpy(store->base.cluster_id, store->meta.cluster_id, sizeof(store->base.cluster_id));
    store->base.node_id = store->meta.node_id;
    store->base.created_us = store->meta.created_us;
    store->recovery = (struct recovery){.folder = &store->folder,
                                        .meta = &store->meta,
                                        .segments = &store->segments,
                                        .health = &store->health};
    if ((rc = recover_open(&store->recovery, error, error_size)) < 0)
        return rc;
    if ((rc = state_open(&store->state, store->recovery.last_index == 0, error, error_size)) < 0)
        return rc;
    store->state_bytes = env_used_bytes(store->state.env);
    atomic_store(&store->health.last_index, store->recovery.last_index);
    atomic_store(&store->health.flushed_index, store->state.flushed_index);
    if ((rc = check_reach(store, error, error_size)) < 0)
        return rc;
    return recover_tidy(&store->recovery, error, error_size);
}

static void options_tidy(struct store_options *options)
{
    options->segment_size = options->segment_size / 65536 * 65536; /* a multiple of any page size */
    if (options->segment_size < SEGMENT_SIZE_MIN)
        options->segment_size = SEGMENT_SIZE_MIN;
    if (options->reader_threads < 1)
        options->reader_threads = 1;
    if (options->reader_threads > READER_THREADS_MAX)
        options->reader_threads = READER_THREADS_MAX;
    if (options->append_queue_max < 1)
        options->append_queue_max = 1;
}

int store_lmdb_open(const struct store_options *options, struct store **ret_store, char *error,
                    size_t error_size)
{
    struct store_lmdb *store = calloc(1, sizeof(*store));
    int rc = STORE_ENOMEM;
    (void)snprintf(error, error_size, "out of memory");
    if (!store)
        return rc;
    store->base.ops = &lmdb_ops;
    store->options = *options;
    options_tidy(&store->options);
    store->health.log = options->log;
    if (!(store->completions = completions_create()))
        goto free_store;
    if ((rc = log_starts_init(&store->starts)) < 0)
        goto destroy_completions;
    if ((rc = segments_init(&store->segments, &store->folder, &store->health, store->options.segment_size)) <
        0)
        goto finish_starts;
    if ((rc = folder_open(&store->folder, options->path, options->create, options->log, error, error_size)) <
        0)
        goto finish_segments;
    if ((rc = open_files(store, error, error_size)) < 0) {
        store_close(&store->base);
        return rc;
    }
    *ret_store = &store->base;
    return 0;

finish_segments:
    segments_finish(&store->segments);
finish_starts:
    log_starts_finish(&store->starts);
destroy_completions:
    completions_destroy(store->completions);
free_store:
    free(store);
    return rc;
}
