/* repair.c: a folder that refuses to start, made to start without what is damaged; see storage/offline.h.
 *
 * A segment with damage is written again from its good entries as its next generation. Entries are contiguous up to the
 * state's cut and beyond, so what is lost becomes an entry of type NOOP, without parts: its offsets are a gap for readers.
 *
 * Happy path:  scan (any faults?) → new file, entry by entry → synced → one change of the manifest → old file put aside
 * Failures:    before the manifest changes: the new file is nobody's, and removed. After it: the old one is nobody's, and
 *              put aside by the next start. */
#include "storage/lmdb/state.h"
#include "storage/offline/offline_internal.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REPAIR_MAP_SIZE  ((uint64_t)64 << 30) /* address space only */
#define REPAIR_TXN_BYTES (8u << 20)

/* A segment being written again. */
struct rewrite {
    struct env *env;
    MDB_txn *txn; /* NULL: none is open */
    size_t txn_bytes;
    uint64_t first, next; /* 0: nothing yet */
    uint64_t term;
    int64_t first_time_us, time_us;
    bool fills; /* lost entries become NOOP */
    uint64_t lost;
    int rc; /* an LMDB code: the first thing that went wrong */
};

static int commit(struct rewrite *rewrite)
{
    if (!rewrite->txn)
        return 0;
    int rc = mdb_txn_commit(rewrite->txn);
    rewrite->txn = NULL;
    rewrite->txn_bytes = 0;
    return rc;
}

/* Room for one entry; the caller fills it at once. */
static int reserve(struct rewrite *rewrite, uint64_t index, size_t size, uint8_t **ret_to)
{
    int rc = rewrite->txn_bytes >= REPAIR_TXN_BYTES ? commit(rewrite) : 0;
    if (rc == 0 && !rewrite->txn)
        rc = mdb_txn_begin(rewrite->env->mdb, NULL, 0, &rewrite->txn);
    if (rc != 0)
        return rc;
    uint8_t key_bytes[8];
    be64_put(key_bytes, index);
    MDB_val key = {sizeof(key_bytes), key_bytes}, value = {size, NULL};
    rc = mdb_put(rewrite->txn, rewrite->env->table, &key, &value, MDB_APPEND | MDB_RESERVE);
    rewrite->txn_bytes += size;
    *ret_to = value.mv_data;
    return rc;
}

/* Lost entries up to `end`, exclusive. */
static int fill(struct rewrite *rewrite, uint64_t end)
{
    int rc = 0;
    for (; rc == 0 && rewrite->next < end; rewrite->next++) {
        struct entry_header header = {.type = ENTRY_NOOP,
                                      .index = rewrite->next,
                                      .term = rewrite->term,
                                      .append_time_us = rewrite->time_us};
        uint8_t *to;
        if ((rc = reserve(rewrite, rewrite->next, ENTRY_HEADER_SIZE, &to)) == 0)
            entry_encode(to, &header, NULL, 0);
        rewrite->lost++;
    }
    return rc;
}

static int on_entry(void *ctx, const struct entry_header *header, const uint8_t *data)
{
    struct rewrite *rewrite = ctx;
    uint8_t *to = NULL;
    if (!rewrite->first) {
        if (!rewrite->next || !rewrite->fills)
            rewrite->next = header->index;
        rewrite->first = rewrite->next;
        rewrite->first_time_us = rewrite->time_us = header->append_time_us;
    }
    rewrite->term = header->term;
    rewrite->rc = rewrite->fills ? fill(rewrite, header->index) : 0;
    if (rewrite->rc == 0 && (rewrite->rc = reserve(rewrite, header->index, header->length, &to)) == 0)
        memcpy(to, data, header->length);
    rewrite->time_us = header->append_time_us;
    rewrite->next = header->index + 1;
    return rewrite->rc == 0 ? 0 : env_code(rewrite->rc);
}

/* The last entry the segment has to have: what the manifest says, or what comes after it, or the state. */
static uint64_t last_needed(const struct offline *offline, size_t position, uint64_t flushed)
{
    const struct segment_row *row = &offline->manifest.rows[position];
    if (row->state == SEGMENT_SEALED)
        return row->last_index;
    for (size_t i = position + 1; i < offline->manifest.count; i++)
        if (offline->manifest.rows[i].state == SEGMENT_SEALED)
            return offline->manifest.rows[i].first_index - 1;
    return flushed;
}

static int finish_file(struct offline *offline, struct rewrite *rewrite, const struct path *path,
                       uint64_t last)
{
    int rc = rewrite->fills && rewrite->next > 0 ? fill(rewrite, last + 1) : 0;
    if (rc == 0)
        rc = commit(rewrite);
    if (rc == 0)
        rc = path_sync(path);
    return rc == 0 ? folder_sync(offline->folder.shard_fd) : rc;
}

/* The manifest from the damaged file to the new one, and the damaged one out of the way. */
static int swap(struct offline *offline, const struct segment_row *old, const struct rewrite *rewrite)
{
    struct segment_row rows[2] = {*old, *old};
    rows[0].state = SEGMENT_GONE;
    rows[1].generation++;
    rows[1].state = SEGMENT_SEALED;
    rows[1].first_index = rewrite->first ? rewrite->first : old->first_index;
    rows[1].last_index = rewrite->next - 1;
    rows[1].first_time_us = rewrite->first ? rewrite->first_time_us : old->first_time_us;
    rows[1].last_time_us = rewrite->time_us;
    struct meta_change change = {.rows = rows, .count = rewrite->next > 0 ? 2 : 1};
    int rc = meta_commit(&offline->meta, &change);
    struct path path = folder_segment(&offline->folder, old->number, old->generation);
    const char *name = strrchr(path.text, '/') + 1;
    if (rc == 0 && path_exists(&path))
        rc = folder_quarantine(&offline->folder, name, "damaged");
    path = folder_index(&offline->folder, old->number, old->generation);
    (void)unlink(path.text);
    return rc;
}

static int rewrite_segment(struct offline *offline, size_t position, uint64_t flushed)
{
    struct segment_row row = offline->manifest.rows[position];
    bool sealed = row.state == SEGMENT_SEALED;
    struct rewrite rewrite = {.next = sealed ? row.first_index : 0,
                              .term = 1,
                              .time_us = row.first_time_us,
                              .fills = row.generation == 0};
    struct path path = folder_segment(&offline->folder, row.number, row.generation + 1);
    (void)unlink(path.text);
    int rc = env_open(path.text, ENV_TABLE, REPAIR_MAP_SIZE, &rewrite.env);
    if (rc != 0)
        return rc;
    struct scan scan;
    uint64_t faults = offline->summary.faults;
    if (offline_scan(offline, &row, &scan, on_entry, &rewrite) < 0)
        rc = rewrite.rc ? rewrite.rc : ENOMEM;
    uint64_t last = last_needed(offline, position, flushed);
    if (rc == 0)
        rc = finish_file(offline, &rewrite, &path, last > scan.seen_last ? last : scan.seen_last);
    if (rewrite.txn)
        mdb_txn_abort(rewrite.txn);
    env_unref(rewrite.env);
    if (rc == 0 && offline->summary.faults > faults) {
        if ((rc = swap(offline, &row, &rewrite)) == 0) {
            offline->summary.mended++;
            offline->summary.lost += rewrite.lost;
        }
        if (rewrite.next > 0)
            return rc;
    }
    (void)unlink(path.text);
    return rc;
}

/* Is anything wrong with it? Told only when it is written again. */
static void count_fault(void *ctx, const struct scan_fault *fault)
{
    (void)fault;
    ++*(uint64_t *)ctx;
}

static int damaged(const struct offline *offline, size_t position, uint64_t flushed, bool *ret_damaged)
{
    const struct segment_row *row = &offline->manifest.rows[position];
    bool sealed = row->state == SEGMENT_SEALED;
    struct path path = folder_segment(&offline->folder, row->number, row->generation);
    uint64_t faults = 0, needed = last_needed(offline, position, flushed);
    struct scan scan = {.first_index = sealed ? row->first_index : 0,
                        .last_index = sealed ? row->last_index : UINT64_MAX,
                        .contiguous = row->generation == 0,
                        .fault = count_fault,
                        .ctx = &faults};
    int rc = scan_file(&scan, path.text);
    *ret_damaged = faults > 0 || (scan.entries > 0 && scan.found_last < needed);
    return rc;
}

int offline_repair(const char *path, const struct offline_watch *watch, struct offline_summary *ret_summary,
                   char *error, size_t error_size)
{
    struct offline offline;
    int rc = offline_open(&offline, path, watch, error, error_size), lmdb_rc = 0;
    if (rc < 0)
        return rc;
    uint64_t flushed = 0;
    struct path state = folder_shard_file(&offline.folder, "state.mdb");
    if (state_check(&state, &flushed) != 0)
        flushed = 0; /* made again from the log, or from a copy of its own */
    for (size_t i = 0; i < offline.manifest.count && rc == 0 && lmdb_rc == 0; i++) {
        bool wanted = false;
        if (offline_counts(&offline.manifest.rows[i]) && (rc = damaged(&offline, i, flushed, &wanted)) == 0 &&
            wanted)
            lmdb_rc = rewrite_segment(&offline, i, flushed);
    }
    if (lmdb_rc != 0)
        rc = env_code(lmdb_rc);
    if (rc < 0)
        (void)snprintf(error, error_size, "cannot repair %s: %s", offline.file.text,
                       lmdb_rc ? env_text(lmdb_rc) : "out of memory");
    else
        *ret_summary = offline.summary;
    offline_close(&offline);
    return rc;
}
