/* sweep.c: see sweep.h.
 *
 * Commands are left out with everything else: what they did is in every state that a start may go back to, for only segments
 * below the oldest kept copy are swept.
 *
 * Failures:    a damaged entry, no space, no memory: the sweep is given up and the old generation stays. An I/O error is one
 *              anywhere: the shard is read-only. */
#include "storage/lmdb/sweep.h"

#include "base/bytes.h"
#include "base/check.h"
#include "storage/entry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sweep {
    struct sweep_place place;
    struct segment *from, *to;
    struct env *source, *target;
    struct index *index; /* of the new generation */
    uint64_t *starts;    /* as they were when it began, so that all of it goes by the same */
    size_t start_count;
    uint64_t next_index;
    struct entry_part *parts;
    uint32_t part_capacity;
    uint64_t kept_bytes;
};

/* rc: an LMDB code. */
static int failed(struct sweep *sweep, const char *what, int rc)
{
    struct path path = folder_segment(sweep->place.folder, sweep->from->number, sweep->from->generation);
    int code = env_code(rc);
    if (code == STORE_EIO)
        health_fail(sweep->place.health, what, path.text, rc);
    else
        LOG_WARN(sweep->place.health->log, "STORE-SWEEP", "cannot %s %s: %s; it stays as it is", what,
                 path.text, env_text(rc));
    return code;
}

static int write_row(struct meta *meta, const struct segment_row *rows, size_t count)
{
    return meta_commit(meta, &(struct meta_change){.rows = rows, .count = count});
}

int segment_erase(const struct sweep_place *place, uint64_t number, uint32_t generation)
{
    struct path path = folder_segment(place->folder, number, generation);
    remains_unlink(place->remains, path.text);
    path = folder_index(place->folder, number, generation);
    (void)unlink(path.text);
    int rc = folder_sync(place->folder->shard_fd);
    const struct segment_row gone = {.number = number, .generation = generation, .state = SEGMENT_GONE};
    if (rc == 0)
        rc = write_row(place->meta, &gone, 1);
    return rc;
}

/* ---- beginning ---- */

static uint64_t start_of(const struct sweep *sweep, uint64_t partition)
{
    return partition < sweep->start_count ? sweep->starts[partition] : 0;
}

static int copy_starts(struct sweep *sweep)
{
    struct log_starts *starts = sweep->place.starts;
    pthread_mutex_lock(&starts->lock);
    sweep->start_count = starts->count;
    sweep->starts = malloc((starts->count + 1) * sizeof(*sweep->starts));
    if (sweep->starts && starts->count)
        memcpy(sweep->starts, starts->rows, starts->count * sizeof(*sweep->starts));
    pthread_mutex_unlock(&starts->lock);
    return sweep->starts ? 0 : ENOMEM;
}

static int keep_start(void *ctx, uint64_t partition, uint64_t next_offset)
{
    struct sweep *sweep = ctx;
    return start_of(sweep, partition) == STORE_DELETED
               ? 0
               : index_set_start(sweep->index, partition, next_offset);
}

/* A run keeps its size and its ends, also where it loses its first batches: sums over runs do not change. */
static int keep_run(void *ctx, const struct index_run *run)
{
    struct sweep *sweep = ctx;
    return run->next_offset > start_of(sweep, run->partition) ? index_set_run(sweep->index, run) : 0;
}

static int make_index(struct sweep *sweep)
{
    struct index *old;
    int rc = segments_index(sweep->place.segments, sweep->from, &old);
    if (rc < 0)
        return rc;
    rc = STORE_ENOMEM;
    if ((sweep->index = index_create()))
        rc = index_each_start(old, keep_start, sweep);
    if (rc == 0)
        rc = index_each_run(old, keep_run, sweep);
    if (rc == 0)
        index_set_covers(sweep->index, index_covers(old));
    index_unref(old);
    return rc;
}

static int make_target(struct sweep *sweep)
{
    const struct segment *to = sweep->to;
    struct path path = folder_segment(sweep->place.folder, to->number, to->generation);
    const struct segment_row row = {.number = to->number, .generation = to->generation, .state = SEGMENT_NEW};
    int rc = write_row(sweep->place.meta, &row, 1);
    if (rc != 0)
        return rc;
    (void)unlink(path.text); /* an attempt that failed: its row said NEW */
    /* It never gets larger than the old one, which may be larger than segments are made now. */
    uint64_t map_size = sweep->place.segments->map_size, used = env_used_bytes(sweep->source);
    return env_open(path.text, ENV_TABLE, used > map_size ? used : map_size, &sweep->target);
}

int sweep_begin(const struct sweep_place *place, struct segment *segment, struct sweep **ret_sweep)
{
    struct sweep *sweep = calloc(1, sizeof(*sweep));
    if (!sweep)
        return STORE_ENOMEM;
    sweep->place = *place;
    sweep->from = segment;
    sweep->next_index = segment->first_index;
    int code = STORE_ENOMEM;
    if (!(sweep->to = segment_create(segment->number, segment->generation + 1)) || copy_starts(sweep) != 0)
        goto abandon;
    if ((code = make_index(sweep)) < 0 || (code = segments_env(place->segments, segment, &sweep->source)) < 0)
        goto abandon;
    int rc = make_target(sweep);
    if (rc != 0) {
        code = failed(sweep, "begin to sweep", rc);
        goto abandon;
    }
    *ret_sweep = sweep;
    return 0;

abandon:
    sweep_abandon(sweep);
    return code;
}

static void sweep_free(struct sweep *sweep)
{
    env_unref(sweep->source);
    env_unref(sweep->target);
    index_unref(sweep->index);
    segment_destroy(sweep->to);
    free(sweep->starts);
    free(sweep->parts);
    free(sweep);
}

void sweep_abandon(struct sweep *sweep)
{
    bool made = sweep->target != NULL;
    if (made) {
        env_unref(sweep->target);
        sweep->target = NULL;
        if (segment_erase(&sweep->place, sweep->to->number, sweep->to->generation) != 0)
            LOG_WARN(sweep->place.health->log, "STORE-SWEEP",
                     "what was begun of segment %" PRIu64 " is removed by the next start", sweep->to->number);
    }
    sweep_free(sweep);
}

/* ---- copying ---- */

static int parts_reserve(struct sweep *sweep, uint32_t count)
{
    if (count <= sweep->part_capacity)
        return 0;
    struct entry_part *parts = realloc(sweep->parts, count * sizeof(*parts));
    if (!parts)
        return ENOMEM;
    sweep->parts = parts;
    sweep->part_capacity = count;
    return 0;
}

static uint32_t keep_parts(const struct sweep *sweep, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct entry_part *part = &sweep->parts[i];
        if (part->kind == PART_DATA && part->base_offset + part->span > start_of(sweep, part->partition))
            sweep->parts[kept++] = *part;
    }
    return kept;
}

static int put_entry(struct sweep *sweep, MDB_txn *txn, const struct entry_header *header, uint32_t count)
{
    uint8_t key_bytes[8];
    be64_put(key_bytes, header->index);
    MDB_val key = {sizeof(key_bytes), key_bytes}, value = {entry_size(sweep->parts, count), NULL};
    int rc = mdb_put(txn, sweep->target->table, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc != 0)
        return rc;
    entry_encode(value.mv_data, header, sweep->parts, count);
    sweep->kept_bytes += value.mv_size;
    return 0;
}

static int copy_entry(struct sweep *sweep, MDB_txn *txn, const struct env_value *value, const uint8_t *data)
{
    struct entry_header header;
    if (entry_header_decode(data, value->size, &header) < 0 || header.index != value->index)
        return MDB_CORRUPTED;
    int rc = parts_reserve(sweep, header.part_count);
    if (rc != 0)
        return rc;
    if (entry_decode(data, value->size, &header, sweep->parts, sweep->part_capacity) < 0)
        return MDB_CORRUPTED;
    uint32_t kept = keep_parts(sweep, header.part_count);
    return kept > 0 ? put_entry(sweep, txn, &header, kept) : 0;
}

/* Copies into the transaction until a slice is full. 0 or an LMDB code; *ret_end: the last entry has been seen. */
static int copy_some(struct sweep *sweep, MDB_txn *txn, uint64_t *ret_bytes, bool *ret_end)
{
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, sweep->source);
    if (rc != 0)
        return rc;
    struct env_value value;
    const uint8_t *data;
    rc = env_cursor_seek(&cursor, sweep->next_index, &value);
    while (rc == 0 && value.index <= sweep->from->last_index && *ret_bytes < SWEEP_SLICE_BYTES) {
        if ((rc = env_value_read(&cursor, &value, &data)) != 0 ||
            (rc = copy_entry(sweep, txn, &value, data)) != 0)
            break;
        *ret_bytes += value.size;
        sweep->next_index = value.index + 1;
        rc = env_cursor_next(&cursor, &value);
    }
    *ret_end = rc == MDB_NOTFOUND || (rc == 0 && value.index > sweep->from->last_index);
    env_cursor_end(&cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int sweep_slice(struct sweep *sweep, uint64_t *ret_bytes)
{
    struct env *target = sweep->target;
    bool end = false;
    *ret_bytes = 0;
    /* The largest entry may follow a slice that is nearly full. */
    uint64_t room = 2 * (uint64_t)SWEEP_SLICE_BYTES + 32 * target->page_size;
    int rc = env_reserve(target, env_used_bytes(target) + room);
    MDB_txn *txn;
    if (rc == 0 && (rc = mdb_txn_begin(target->mdb, NULL, 0, &txn)) == 0) {
        if ((rc = copy_some(sweep, txn, ret_bytes, &end)) == 0)
            rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (rc != 0)
        return failed(sweep, "sweep", rc);
    return end ? 0 : 1;
}

/* ---- the swap ---- */

static int settle_file(struct sweep *sweep)
{
    struct env *target = sweep->target;
    if (ftruncate(target->fd, (off_t)env_used_bytes(target)) < 0 || fsync(target->fd) < 0)
        return errno;
    if (index_file_save(&sweep->to->file, sweep->place.folder, sweep->index, true) < 0)
        LOG_WARN(sweep->place.health->log, "STORE-INDEX",
                 "cannot save the offset index of %s; it is made again when needed", target->path);
    env_unref(target);
    sweep->target = NULL;
    return folder_sync(sweep->place.folder->shard_fd);
}

static int swap_rows(struct sweep *sweep)
{
    struct segment *from = sweep->from, *to = sweep->to;
    to->sealed = true;
    to->first_index = from->first_index;
    to->last_index = from->last_index;
    to->first_time_us = from->first_time_us;
    to->last_time_us = from->last_time_us;
    const struct segment_row rows[] = {segment_row(to, SEGMENT_SEALED), segment_row(from, SEGMENT_DEAD)};
    return write_row(sweep->place.meta, rows, 2);
}

int sweep_finish(struct sweep *sweep)
{
    const struct sweep_place place = sweep->place;
    uint64_t number = sweep->from->number;
    uint32_t generation = sweep->from->generation;
    int rc = settle_file(sweep);
    if (rc == 0)
        rc = swap_rows(sweep);
    if (rc != 0) {
        int code = failed(sweep, "finish sweeping", rc);
        sweep_free(sweep); /* its row says NEW, unless the disk failed: then the next start sees which */
        return code;
    }
    struct segment *to = sweep->to;
    to->index = index_ref(sweep->index);
    sweep->to = NULL;
    atomic_fetch_add(&place.health->swept, 1);
    atomic_fetch_add(&place.health->swept_bytes, sweep->kept_bytes);
    segments_replace(place.segments, sweep->from, to);
    sweep_free(sweep);
    return env_code(segment_erase(&place, number, generation));
}
