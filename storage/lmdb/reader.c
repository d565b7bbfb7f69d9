/* reader.c: a thread that reads batches back; see reader.h. What it gets out of one entry is in reader_entry.c.
 *
 * Happy path:  queue_take → the segment (binary search over the partitions' start offsets) → its runs (index_find) →
 *              a cursor in a short read transaction says where entries lie → pread → CRC → completions_post
 * Failures:    a bad checksum: STORE_ECORRUPT and a log line that names the entry. An I/O error: STORE_EIO, and the shard
 *              is read-only. Either way the request carries no batches. */
#include "storage/lmdb/reader.h"

#include "base/check.h"
#include "base/thread.h"
#include "storage/lmdb/reader_entry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define RUNS_AT_A_TIME 16

/* ---- which segment ---- */

/* Where the offset is, seen from a segment. */
enum side { SIDE_BEFORE, SIDE_HERE, SIDE_BEHIND };

/* A side, or a store code. SIDE_BEHIND: or nowhere, in a gap of offsets. */
static int look(struct reader *reader, size_t position, uint64_t partition, uint64_t offset)
{
    struct index *index;
    int rc = segments_index(reader->segments, segments_at(reader->segments, position), &index);
    if (rc < 0)
        return rc;
    rc = index_start_offset(index, partition) > offset  ? SIDE_BEFORE
         : index_next_offset(index, partition) > offset ? SIDE_HERE
                                                        : SIDE_BEHIND;
    index_unref(index);
    return rc;
}

/* Most reads of a partition are in the segment of the one before, and then no other index is needed: those of a large log are
 * not all in memory. */
static bool try_hint(struct reader *reader, uint64_t partition, uint64_t offset, size_t *ret_position)
{
    const struct reader_hint *hint = &reader->hints[partition % READER_HINTS];
    if (hint->first_index == 0 || hint->partition != partition)
        return false;
    size_t position = segments_position_of(reader->segments, hint->first_index);
    if (position == segments_count(reader->segments) ||
        look(reader, position, partition, offset) != SIDE_HERE)
        return false; /* if it could not be read, and is the one, the search says so too */
    *ret_position = position;
    return true;
}

/* Among the segments from a position on: the last one that does not begin behind the offset. A look may have to read an index from
 * its file. The first is at the end: most reads are there. Then, `near`, close to the beginning in steps that double, else in the
 * middle. */
static int search_segment(struct reader *reader, uint64_t partition, uint64_t offset, size_t from, bool near,
                          size_t *ret_position)
{
    size_t low = from, high = segments_count(reader->segments); /* it is in low..high-1 */
    size_t probe = high - 1, step = 0;
    for (bool first = true; high - low > 1; first = false) {
        int side = look(reader, probe, partition, offset);
        if (side < 0)
            return side;
        if (side == SIDE_BEFORE)
            high = probe > low ? probe : low + 1;
        else
            low = probe;
        if (side == SIDE_HERE)
            break;
        near = near && (first || side == SIDE_BEHIND) && low + step < high;
        probe = near ? low + step : low + (high - low) / 2;
        step = step ? 2 * step : 1;
    }
    *ret_position = low;
    return 0;
}

/* The last segment from a position on that begins at or before the partition's offset. What is in memory is looked at first. */
static int find_segment(struct reader *reader, uint64_t partition, uint64_t offset, size_t from, bool near,
                        size_t *ret_position)
{
    if ((try_hint(reader, partition, offset, ret_position) ||
         segments_find_loaded(reader->segments, partition, offset, ret_position)) &&
        *ret_position >= from)
        return 0;
    int rc = search_segment(reader, partition, offset, from, near, ret_position);
    if (rc < 0)
        return rc;
    struct segment_range range =
        segments_range(reader->segments, segments_at(reader->segments, *ret_position));
    reader->hints[partition % READER_HINTS] = (struct reader_hint){partition, range.first_index};
    return 0;
}

/* ---- cursors ---- */

/* A cursor over the segment, with a reference to its environment. 0 or a store code (logged). */
static int open_cursor(struct reader *reader, struct segment *segment, struct env_cursor *cursor)
{
    int rc = MDB_PANIC;
    for (int tries = 0; rc == MDB_PANIC && tries < 2; tries++) {
        struct env *env;
        int code = segments_env(reader->segments, segment, &env);
        if (code < 0)
            return code;
        if ((rc = env_cursor_begin(cursor, env)) == 0)
            return 0;
        env_unref(env);
    }
    struct path path = folder_segment(reader->segments->folder, segment->number, segment->generation);
    if (env_code(rc) == STORE_EIO)
        health_fail(reader->health, "read", path.text, rc);
    return env_code(rc);
}

static void close_cursor(struct env_cursor *cursor)
{
    env_cursor_end(cursor);
    env_unref(cursor->env);
}

/* ---- reading ---- */

/* Every entry of the run is there: a segment nobody has swept has no gaps, so a missing one is damage and not silence. Of
 * one that was swept the last one is: it has the run's newest batch, else the run would be gone too. */
static int read_run(struct read_job *job, struct env_cursor *cursor, const struct index_run *run, bool swept)
{
    struct env_value value;
    for (uint64_t expected = run->first_index; expected <= run->last_index && !read_job_done(job);
         expected++) {
        if (job->at >= run->next_offset)
            return 0; /* what is wanted next is elsewhere */
        int rc = expected == run->first_index ? env_cursor_seek(cursor, expected, &value)
                                              : env_cursor_next(cursor, &value);
        if (rc != 0)
            return read_failed(job, cursor->env, expected, env_code(rc), rc);
        if (swept && value.index <= run->last_index)
            expected = value.index;
        if (value.index != expected)
            return read_failed(job, cursor->env, expected, STORE_ECORRUPT, 0);
        int code = read_entry(job, cursor->env, &value, run);
        if (code < 0)
            return code;
    }
    return 0;
}

static int read_runs(struct read_job *job, struct segment *segment, const struct index_run *runs,
                     unsigned count)
{
    struct env_cursor cursor;
    int rc = open_cursor(job->reader, segment, &cursor);
    if (rc < 0)
        return rc;
    read_job_expect(job, runs, count);
    for (unsigned i = 0; i < count && rc == 0 && !read_job_done(job); i++)
        if (runs[i].next_offset > job->at)
            rc = read_run(job, &cursor, &runs[i], segment->generation > 0);
    close_cursor(&cursor);
    if (runs[count - 1].next_offset > job->at)
        read_job_skip(job, runs[count - 1].next_offset);
    return rc;
}

/* The segment's batches from job->at on. */
static int read_segment(struct read_job *job, struct segment *segment)
{
    struct index *index;
    int rc = segments_index(job->reader->segments, segment, &index);
    if (rc < 0)
        return rc;
    struct index_run runs[RUNS_AT_A_TIME];
    unsigned count = 1;
    while (rc == 0 && count > 0 && !read_job_done(job)) {
        count = index_find(index, job->read->partition, job->at, runs, RUNS_AT_A_TIME);
        if (count > 0)
            rc = read_runs(job, segment, runs, count);
    }
    index_unref(index);
    return rc;
}

static int read_all(struct read_job *job)
{
    struct segments *segments = job->reader->segments;
    size_t position = 0, next = 0;
    while (!read_job_done(job) && next < segments_count(segments)) {
        int rc = find_segment(job->reader, job->read->partition, job->at, next, next > 0, &position);
        if (rc < 0)
            return rc;
        if ((rc = read_segment(job, segments_at(segments, position))) < 0)
            return rc;
        next = position + 1;
    }
    return 0;
}

static void run_read(struct reader *reader, struct store_read *read)
{
    read->count = 0;
    struct read_job job = {.reader = reader, .read = read, .at = read->offset};
    segments_hold(reader->segments);
    read->status = read_all(&job);
    segments_release(reader->segments);
    if (read->status < 0)
        while (read->count > 0)
            slice_unref(&read->batches[--read->count].batch);
    buffer_unref(reader->buffer);
    reader->buffer = NULL;
    if (read->status == 0 && read->digest)
        read->digest(read);
    atomic_fetch_add(&reader->health->reads, 1);
    atomic_fetch_add(&reader->health->read_bytes, job.bytes);
    read->node.weight = reader->read_tag;
    completions_post(reader->completions, &read->node);
}

/* ---- lookup by time ---- */

/* The first segment that has an entry appended at or after the time, or the last segment. */
static size_t segment_at_time(struct reader *reader, int64_t time_us)
{
    struct segments *segments = reader->segments;
    size_t low = 0, high = segments_count(segments) - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (segments_range(segments, segments_at(segments, middle)).last_time_us >= time_us)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The first entry of the segment appended at or after the time; range.last_index + 1 if none. */
static int entry_at_time(struct reader *reader, struct env_cursor *cursor, struct segment_range range,
                         int64_t time_us, uint64_t *ret_index)
{
    uint64_t low = range.first_index, high = range.last_index + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct env_value value;
        struct entry_header header;
        int rc = env_cursor_seek(cursor, middle, &value);
        if (rc == MDB_NOTFOUND) { /* swept: nothing is left of the last entries */
            high = middle;
            continue;
        }
        if (rc != 0)
            return env_code(rc);
        if ((rc = read_entry_header(reader, cursor->env, &value, &header)) < 0)
            return rc;
        if (header.append_time_us >= time_us)
            high = middle;
        else
            low = value.index + 1; /* over a gap */
    }
    *ret_index = low;
    return 0;
}

/* The partition's first offset in the run at or after the entry. */
static int offset_in_run(struct reader *reader, struct env_cursor *cursor, uint64_t entry_index,
                         const struct index_run *run, uint64_t *ret_offset)
{
    if (run->first_index >= entry_index) {
        *ret_offset = run->base_offset;
        return 0;
    }
    struct env_value value;
    int rc = env_cursor_seek(cursor, entry_index, &value);
    while (rc == 0 && value.index <= run->last_index) {
        int code = read_entry_offset(reader, cursor->env, &value, run->partition, ret_offset);
        if (code != STORE_EAGAIN)
            return code;
        rc = env_cursor_next(cursor, &value);
    }
    return STORE_ECORRUPT; /* the index says it is there */
}

/* In this segment: true in *ret_here if it has the answer. */
static int look_up_in(struct reader *reader, struct store_lookup *lookup, struct segment *segment,
                      struct index *index, bool *ret_here)
{
    struct segment_range range = segments_range(reader->segments, segment);
    struct env_cursor cursor;
    struct index_run run;
    uint64_t entry_index = 0;
    int rc = open_cursor(reader, segment, &cursor);
    if (rc < 0)
        return rc;
    rc = entry_at_time(reader, &cursor, range, lookup->time_us, &entry_index);
    *ret_here = rc == 0 && entry_index <= range.last_index &&
                index_find_entry(index, lookup->partition, entry_index, &run);
    if (*ret_here)
        rc = offset_in_run(reader, &cursor, entry_index, &run, &lookup->offset);
    close_cursor(&cursor);
    return rc;
}

/* The partition's next batch after a segment's end, if there is one. */
static int look_up_behind(struct reader *reader, struct store_lookup *lookup, struct index *index)
{
    struct segments *segments = reader->segments;
    struct index *newest;
    int rc = segments_index(segments, segments_at(segments, segments_count(segments) - 1), &newest);
    if (rc < 0)
        return rc;
    lookup->offset = index_next_offset(index, lookup->partition);
    lookup->found = index_next_offset(newest, lookup->partition) > lookup->offset;
    index_unref(newest);
    return 0;
}

static int look_up(struct reader *reader, struct store_lookup *lookup)
{
    struct segments *segments = reader->segments;
    struct segment *segment = segments_at(segments, segment_at_time(reader, lookup->time_us));
    if (segments_range(segments, segment).last_index == 0)
        return 0;
    struct index *index;
    int rc = segments_index(segments, segment, &index);
    if (rc < 0)
        return rc;
    rc = look_up_in(reader, lookup, segment, index, &lookup->found);
    if (rc == 0 && !lookup->found)
        rc = look_up_behind(reader, lookup, index);
    index_unref(index);
    return rc;
}

/* ---- lookup of a prefix ---- */

/* Adds runs of one segment to the prefix. 1: it ends here, 0: it goes on behind the segment, or a store code. */
static int add_runs(struct reader *reader, struct store_lookup *lookup, struct segment *segment)
{
    struct index *index;
    int rc = segments_index(reader->segments, segment, &index);
    if (rc < 0)
        return rc;
    struct index_run runs[RUNS_AT_A_TIME];
    unsigned count = RUNS_AT_A_TIME;
    while (rc == 0 && count == RUNS_AT_A_TIME) {
        count = index_find(index, lookup->partition, lookup->offset, runs, RUNS_AT_A_TIME);
        for (unsigned i = 0; i < count && rc == 0; i++) {
            if (runs[i].next_offset > lookup->until) {
                lookup->offset = lookup->until;
                rc = 1;
            } else if (lookup->bytes_max - lookup->bytes < runs[i].bytes) {
                rc = 1;
            } else {
                lookup->bytes += runs[i].bytes;
                lookup->offset = runs[i].next_offset;
            }
        }
    }
    index_unref(index);
    return rc;
}

/* A look at so many segments at a time: reads wait in the same line. */
#define PREFIX_SEGMENTS 32

static int look_up_prefix(struct reader *reader, struct store_lookup *lookup)
{
    struct segments *segments = reader->segments;
    size_t position, next = 0, count = segments_count(segments);
    int rc = 0;
    for (unsigned seen = 0; rc == 0 && next < count && seen < PREFIX_SEGMENTS; seen++) {
        if ((rc = find_segment(reader, lookup->partition, lookup->offset, next, true, &position)) < 0)
            break;
        rc = add_runs(reader, lookup, segments_at(segments, position));
        next = position + 1;
    }
    if (rc == 0 && next < count && lookup->offset > lookup->from)
        lookup->more = true;
    else if (rc == 0)
        lookup->offset = lookup->until;
    return rc < 0 ? rc : 0;
}

static void run_lookup(struct reader *reader, struct store_lookup *lookup)
{
    lookup->found = lookup->more = false;
    lookup->offset = lookup->kind == LOOKUP_PREFIX ? lookup->from : 0;
    lookup->bytes = 0;
    segments_hold(reader->segments);
    lookup->status = lookup->kind == LOOKUP_PREFIX ? look_up_prefix(reader, lookup) : look_up(reader, lookup);
    segments_release(reader->segments);
    if (lookup->status < 0)
        lookup->found = false;
    lookup->node.weight = reader->lookup_tag;
    completions_post(reader->completions, &lookup->node);
}

/* ---- the thread ---- */

static void *run(void *ctx)
{
    struct reader *reader = ctx;
    struct queue_node *node;
    while ((node = queue_take(reader->queue, 0, -1, NULL))) { /* weight 0: one at a time */
        if (node->weight == reader->read_tag)
            run_read(reader, (struct store_read *)node);
        else
            run_lookup(reader, (struct store_lookup *)node);
    }
    return NULL;
}

int reader_init(struct reader *reader, unsigned queue_max)
{
    reader->queue = queue_create(queue_max);
    reader->pool = buffer_pool_create(READER_BUFFER_SIZE, READER_BUFFERS_KEPT);
    if (reader->queue && reader->pool)
        return 0;
    reader_finish(reader);
    return STORE_ENOMEM;
}

int reader_start(struct reader *reader)
{
    if (thread_start(&reader->thread, "crier-reader", run, reader) != 0)
        return STORE_ENOMEM;
    reader->running = true;
    return 0;
}

int reader_read(struct reader *reader, struct store_read *read)
{
    read->node.weight = reader->read_tag;
    return queue_push(reader->queue, &read->node) == 0 ? 0 : STORE_EAGAIN;
}

int reader_lookup(struct reader *reader, struct store_lookup *lookup)
{
    lookup->node.weight = reader->lookup_tag;
    return queue_push(reader->queue, &lookup->node) == 0 ? 0 : STORE_EAGAIN;
}

void reader_stop(struct reader *reader)
{
    if (!reader->running)
        return;
    queue_close(reader->queue);
    pthread_join(reader->thread, NULL);
    reader->running = false;
}

void reader_finish(struct reader *reader)
{
    CHECK(!reader->running);
    queue_destroy(reader->queue);
    buffer_pool_destroy(reader->pool);
    free(reader->scratch);
    reader->queue = NULL;
    reader->pool = NULL;
    reader->scratch = NULL;
}
