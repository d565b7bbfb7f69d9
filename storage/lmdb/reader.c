/* reader.c: a thread that reads batches back; see reader.h. What it gets out of one entry is in reader_entry.c.
 *
 * Happy path:  queue_take → the segment (binary search over the partitions' start offsets) → its runs (index_find) →
 *              a cursor in a short read transaction says where entries lie → pread → CRC → completions_post
 * Failures:    a bad checksum: STORE_ECORRUPT and a log line that names the entry. An I/O error: STORE_EIO, and the shard
 *              is read-only. Either way the request carries no batches. */
#include "storage/lmdb/reader.h"

#include "base/check.h"
#include "storage/lmdb/reader_entry.h"
#include "storage/lmdb/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define RUNS_AT_A_TIME 16

/* ---- which segment ---- */

static int start_offset(struct reader *reader, size_t position, uint64_t partition, uint64_t *ret_offset)
{
    struct index *index;
    int rc = segments_index(reader->segments, segments_at(reader->segments, position), &index);
    if (rc < 0)
        return rc;
    *ret_offset = index_start_offset(index, partition);
    index_unref(index);
    return 0;
}

/* The last segment that begins at or before the partition's offset. */
static int find_segment(struct reader *reader, uint64_t partition, uint64_t offset, size_t *ret_position)
{
    size_t low = 0, high = segments_count(reader->segments); /* the answer is in low..high-1 */
    size_t probe = high - 1;                                 /* most reads are at the end */
    while (high - low > 1) {
        uint64_t start;
        int rc = start_offset(reader, probe, partition, &start);
        if (rc < 0)
            return rc;
        if (start <= offset)
            low = probe;
        else
            high = probe;
        probe = low + (high - low) / 2;
    }
    *ret_position = low;
    return 0;
}

/* ---- reading ---- */

static int read_run(struct read_job *job, struct env_cursor *cursor, const struct index_run *run)
{
    struct env_value value;
    int rc = env_cursor_seek(cursor, run->first_index, &value);
    while (rc == 0 && value.index <= run->last_index && !read_job_done(job)) {
        int code = read_entry(job, cursor->env, &value, run);
        if (code < 0)
            return code;
        rc = env_cursor_next(cursor, &value);
    }
    if (rc == 0 || rc == MDB_NOTFOUND)
        return 0;
    return read_failed(job, cursor->env, run->first_index, env_code(rc), rc);
}

static int read_runs(struct read_job *job, struct env *env, const struct index_run *runs, unsigned count)
{
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, env);
    if (rc != 0)
        return read_failed(job, env, runs[0].first_index, env_code(rc), rc);
    int code = 0;
    for (unsigned i = 0; i < count && code == 0 && !read_job_done(job); i++)
        code = read_run(job, &cursor, &runs[i]);
    env_cursor_end(&cursor);
    return code;
}

/* The segment's batches from job->at on. */
static int read_segment(struct read_job *job, struct segment *segment)
{
    struct segments *segments = job->reader->segments;
    struct index *index;
    int rc = segments_index(segments, segment, &index);
    if (rc < 0)
        return rc;
    struct index_run runs[RUNS_AT_A_TIME];
    unsigned count = index_find(index, job->read->partition, job->at, runs, RUNS_AT_A_TIME);
    while (rc == 0 && count > 0 && !read_job_done(job)) {
        struct env *env;
        if ((rc = segments_env(segments, segment, &env)) < 0)
            break;
        read_job_expect(job, runs, count);
        rc = read_runs(job, env, runs, count);
        env_unref(env);
        if (runs[count - 1].next_offset > job->at)
            job->at = runs[count - 1].next_offset;
        if (rc == 0)
            count = index_find(index, job->read->partition, job->at, runs, RUNS_AT_A_TIME);
    }
    index_unref(index);
    return rc;
}

static int read_all(struct read_job *job)
{
    struct segments *segments = job->reader->segments;
    size_t position = 0, next = 0;
    while (!read_job_done(job) && next < segments_count(segments)) {
        int rc = find_segment(job->reader, job->read->partition, job->at, &position);
        if (rc < 0)
            return rc;
        if (position < next)
            position = next; /* a gap of offsets at the end of the segment before */
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
    read->status = read_all(&job);
    if (read->status < 0)
        while (read->count > 0)
            slice_unref(&read->batches[--read->count].batch);
    buffer_unref(reader->buffer);
    reader->buffer = NULL;
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
static int entry_at_time(struct reader *reader, struct env *env, struct segment_range range, int64_t time_us,
                         uint64_t *ret_index)
{
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, env);
    if (rc != 0)
        return env_code(rc);
    uint64_t low = range.first_index, high = range.last_index + 1;
    int code = 0;
    while (low < high && code == 0) {
        uint64_t middle = low + (high - low) / 2;
        struct env_value value;
        struct entry_header header;
        if ((rc = env_cursor_seek(&cursor, middle, &value)) != 0)
            code = env_code(rc);
        else if ((code = read_entry_header(reader, env, &value, &header)) == 0) {
            if (header.append_time_us >= time_us)
                high = middle;
            else
                low = value.index + 1; /* over a gap */
        }
    }
    env_cursor_end(&cursor);
    *ret_index = low;
    return code;
}

/* The partition's first offset in the run at or after the entry. */
static int offset_in_run(struct reader *reader, struct env *env, uint64_t entry_index,
                         const struct index_run *run, uint64_t *ret_offset)
{
    if (run->first_index >= entry_index) {
        *ret_offset = run->base_offset;
        return 0;
    }
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, env);
    if (rc != 0)
        return env_code(rc);
    struct env_value value;
    int code = STORE_ECORRUPT; /* the index says it is there */
    rc = env_cursor_seek(&cursor, entry_index, &value);
    while (rc == 0 && value.index <= run->last_index) {
        if ((code = read_entry_offset(reader, env, &value, run->partition, ret_offset)) != STORE_EAGAIN)
            break;
        rc = env_cursor_next(&cursor, &value);
    }
    env_cursor_end(&cursor);
    return code == STORE_EAGAIN ? STORE_ECORRUPT : code;
}

static int look_up(struct reader *reader, struct store_lookup *lookup)
{
    struct segments *segments = reader->segments;
    struct segment *segment = segments_at(segments, segment_at_time(reader, lookup->time_us));
    struct segment_range range = segments_range(segments, segment);
    if (range.last_index == 0)
        return 0;
    struct index *index = NULL;
    struct env *env = NULL;
    uint64_t entry_index = 0;
    int rc = segments_index(segments, segment, &index);
    if (rc == 0)
        rc = segments_env(segments, segment, &env);
    if (rc == 0)
        rc = entry_at_time(reader, env, range, lookup->time_us, &entry_index);
    struct index_run run;
    if (rc == 0 && entry_index <= range.last_index &&
        index_find_entry(index, lookup->partition, entry_index, &run)) {
        rc = offset_in_run(reader, env, entry_index, &run, &lookup->offset);
        lookup->found = rc == 0;
    } else if (rc == 0) {
        /* Not in this segment any more: it goes on where the segment ends, if anything follows. */
        struct index *newest = NULL;
        uint64_t next = index_next_offset(index, lookup->partition);
        rc = segments_index(segments, segments_at(segments, segments_count(segments) - 1), &newest);
        lookup->found = rc == 0 && index_next_offset(newest, lookup->partition) > next;
        lookup->offset = next;
        index_unref(newest);
    }
    env_unref(env);
    index_unref(index);
    return rc;
}

static void run_lookup(struct reader *reader, struct store_lookup *lookup)
{
    lookup->found = false;
    lookup->offset = 0;
    lookup->status = look_up(reader, lookup);
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
