/* inspect.c: looking into files while the store runs; see inspect.h.
 *
 * Happy path:  queue_take → scan, list, seal or read → completions_post
 * Failures:    damage is what a scan is for. A segment that retention removed meanwhile is not found, its file gone:
 *              STORE_EAGAIN, and whoever asked begins again. */
#include "storage/lmdb/inspect.h"

#include "base/thread.h"
#include "storage/lmdb/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_MAX      16 /* one a connection, and few of those */
#define SCAN_TRIES_MAX 3

/* ---- which segment ---- */

static uint64_t file_size(const struct path *path)
{
    struct stat file;
    return stat(path->text, &file) == 0 ? (uint64_t)file.st_size : 0;
}

/* The first one after the number that has entries. */
static void find(struct inspector *inspector, struct store_inspect *inspect)
{
    struct segments *segments = inspector->segments;
    segments_hold(segments);
    size_t count = segments_count(segments);
    inspect->segments = count;
    inspect->found = false;
    for (size_t i = 0; i < count && !inspect->found; i++) {
        struct segment *segment = segments_at(segments, i);
        struct segment_range range = segments_range(segments, segment);
        if (segment->number <= inspect->after || range.last_index == 0)
            continue;
        struct path path = folder_segment(inspector->folder, segment->number, segment->generation);
        struct path index = folder_index(inspector->folder, segment->number, segment->generation);
        inspect->found = true;
        inspect->segments_left = count - i - 1;
        inspect->segment = (struct store_segment){.number = segment->number,
                                                  .generation = segment->generation,
                                                  .sealed = segments_sealed(segments, segment),
                                                  .first_index = range.first_index,
                                                  .last_index = range.last_index,
                                                  .first_time_us = range.first_time_us,
                                                  .last_time_us = range.last_time_us,
                                                  .size = file_size(&path),
                                                  .index_size = file_size(&index)};
    }
    segments_release(segments);
}

/* ---- scanning ---- */

static void on_fault(void *ctx, const struct scan_fault *fault)
{
    struct store_inspect *inspect = ctx;
    if (inspect->faults < STORE_FAULTS_MAX)
        inspect->fault[inspect->faults] = (struct store_fault){.first_index = fault->first_index,
                                                               .last_index = fault->last_index,
                                                               .partition = fault->partition,
                                                               .offset = fault->offset,
                                                               .what = fault->what};
    inspect->faults++;
}

/* Up to what is durable now. The writer only appends, and copies the right edge of the tree: pages of the commit that is
 * walked may be used again by the one after the next, so a segment being written is walked under its read transaction. */
static int scan_active(struct inspector *inspector, struct store_inspect *inspect, struct scan *scan)
{
    struct env *env;
    struct env_cursor cursor;
    segments_hold(inspector->segments);
    size_t position = segments_position_of(inspector->segments, inspect->segment.first_index);
    int rc = position == segments_count(inspector->segments)
                 ? STORE_EAGAIN
                 : segments_env(inspector->segments, segments_at(inspector->segments, position), &env);
    segments_release(inspector->segments);
    if (rc < 0)
        return rc;
    if ((rc = env_cursor_begin(&cursor, env)) == 0) {
        struct env_value value;
        const uint8_t *data = NULL;
        for (rc = env_cursor_seek(&cursor, inspect->segment.first_index, &value);
             rc == 0 && value.index <= inspect->segment.last_index; rc = env_cursor_next(&cursor, &value))
            scan_value(scan, value.index, env_value_read(&cursor, &value, &data) == 0 ? data : NULL,
                       value.size);
        env_cursor_end(&cursor);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        on_fault(inspect, &(struct scan_fault){.first_index = scan->seen_last + 1,
                                               .last_index = inspect->segment.last_index,
                                               .what = "a page of the tree"});
    env_unref(env);
    return 0;
}

static int scan_found(struct inspector *inspector, struct store_inspect *inspect)
{
    const struct store_segment *segment = &inspect->segment;
    struct scan scan = {.first_index = segment->first_index,
                        .last_index = segment->last_index,
                        .contiguous = segment->generation == 0,
                        .fault = on_fault,
                        .ctx = inspect};
    struct path path = folder_segment(inspector->folder, segment->number, segment->generation);
    inspect->faults = 0;
    int rc = segment->sealed ? scan_file(&scan, path.text) : scan_active(inspector, inspect, &scan);
    inspect->entries = scan.entries;
    return rc;
}

/* A fault of a segment that was swept or removed meanwhile is none. */
static int run_scan(struct inspector *inspector, struct store_inspect *inspect)
{
    for (unsigned tries = 0; tries < SCAN_TRIES_MAX; tries++) {
        find(inspector, inspect);
        struct store_segment before = inspect->segment;
        int rc = inspect->found ? scan_found(inspector, inspect) : 0;
        if (rc < 0 || !inspect->found || inspect->faults == 0)
            return rc;
        find(inspector, inspect);
        if (inspect->found && inspect->segment.number == before.number &&
            inspect->segment.generation == before.generation)
            return 0;
    }
    return STORE_EAGAIN;
}

/* ---- sealing and reading ---- */

/* The copy first: it must not be ahead of what is sealed. */
static int run_seal(struct inspector *inspector, struct store_inspect *inspect)
{
    int rc = background_copy_state(inspector->background, &inspect->state_index);
    if (rc == 0)
        rc = writer_roll(inspector->writer);
    if (rc == 0)
        rc = background_await_seals(inspector->background);
    struct path path = state_copy_path(inspector->folder, inspect->state_index);
    inspect->state_size = rc == 0 ? file_size(&path) : 0;
    return rc;
}

static struct path path_of(const struct inspector *inspector, const struct store_inspect *inspect)
{
    switch (inspect->file) {
    case STORE_FILE_SEGMENT:
        return folder_segment(inspector->folder, inspect->number, inspect->generation);
    case STORE_FILE_INDEX:
        return folder_index(inspector->folder, inspect->number, inspect->generation);
    default:
        return state_copy_path(inspector->folder, inspect->number);
    }
}

static int run_file(struct inspector *inspector, struct store_inspect *inspect)
{
    struct path path = path_of(inspector, inspect);
    size_t size = inspect->size < INSPECT_BYTES_MAX ? inspect->size : INSPECT_BYTES_MAX;
    struct buffer *buffer = buffer_create(size > 0 ? size : 1);
    if (!buffer)
        return STORE_ENOMEM;
    int fd = open(path.text, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? errno : page_read(fd, buffer->data, size, inspect->position);
    if (fd >= 0)
        close(fd);
    if (rc != 0) {
        buffer_unref(buffer);
        return rc == ENOENT || !path_exists(&path) ? STORE_EAGAIN : env_code(rc); /* removed meanwhile */
    }
    inspect->bytes = (struct slice){buffer, buffer->data, size};
    return 0;
}

/* ---- the thread ---- */

static int run_one(struct inspector *inspector, struct store_inspect *inspect)
{
    switch (inspect->what) {
    case STORE_SCAN:
        return run_scan(inspector, inspect);
    case STORE_LIST:
        find(inspector, inspect);
        return 0;
    case STORE_SEAL:
        return run_seal(inspector, inspect);
    default:
        return run_file(inspector, inspect);
    }
}

static void *run(void *ctx)
{
    struct inspector *inspector = ctx;
    struct queue_node *node;
    while ((node = queue_take(inspector->queue, 0, -1, NULL))) { /* weight 0: one at a time */
        struct store_inspect *inspect = (struct store_inspect *)node;
        inspect->status = run_one(inspector, inspect);
        node->weight = inspector->tag;
        completions_post(inspector->completions, node);
    }
    return NULL;
}

int inspector_ask(struct inspector *inspector, struct store_inspect *inspect)
{
    if (!inspector->queue && !(inspector->queue = queue_create(QUEUE_MAX)))
        return STORE_ENOMEM;
    if (!inspector->running) {
        if (thread_start(&inspector->thread, "crier-inspect", run, inspector) != 0)
            return STORE_ENOMEM;
        inspector->running = true;
    }
    inspect->node.weight = 1;
    return queue_push(inspector->queue, &inspect->node) == 0 ? 0 : STORE_EAGAIN;
}

void inspector_stop(struct inspector *inspector)
{
    if (!inspector->running)
        return;
    queue_close(inspector->queue);
    pthread_join(inspector->thread, NULL);
    inspector->running = false;
}

void inspector_finish(struct inspector *inspector)
{
    queue_destroy(inspector->queue);
    inspector->queue = NULL;
}
