/* verify.c: everything in a folder at rest, against its checksums; see storage/offline.h.
 *
 * Happy path:  lock → manifest → each segment entry by entry → the state and its copies → do they fit together?
 * Failures:    each is told with file, segment, entries and batch; the walk goes on. Only a folder that cannot be opened, or
 *              whose manifest is damaged, ends it. */
#include "storage/lmdb/index_file.h"
#include "storage/lmdb/state.h"
#include "storage/offline/offline_internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- shared ---- */

static uint64_t size_of(const struct path *path)
{
    struct stat file;
    return stat(path->text, &file) == 0 ? (uint64_t)file.st_size : 0;
}

static uint64_t total_bytes(const struct offline *offline)
{
    uint64_t total = 0;
    for (size_t i = 0; i < offline->manifest.count; i++) {
        const struct segment_row *row = &offline->manifest.rows[i];
        struct path path = folder_segment(&offline->folder, row->number, row->generation);
        total += offline_counts(row) ? size_of(&path) : 0;
    }
    return total;
}

int offline_open(struct offline *offline, const char *path, const struct offline_watch *watch, char *error,
                 size_t error_size)
{
    *offline = (struct offline){.watch = watch};
    int rc = folder_open(&offline->folder, path, false, NULL, error, error_size);
    if (rc < 0)
        return rc;
    struct path meta = folder_file(&offline->folder, "meta.mdb");
    if (!path_exists(&meta)) {
        (void)snprintf(error, error_size,
                       "%s is missing: this is no data folder, or restore it from a backup", meta.text);
        rc = STORE_ECORRUPT;
    }
    if (rc == 0 && (rc = meta_open(&offline->meta, &offline->folder, error, error_size)) == 0 &&
        (rc = meta_load(&offline->meta, &offline->manifest, error, error_size)) < 0)
        meta_close(&offline->meta);
    if (rc < 0)
        folder_close(&offline->folder);
    else
        offline->total_bytes = total_bytes(offline);
    return rc;
}

void offline_close(struct offline *offline)
{
    meta_manifest_finish(&offline->manifest);
    meta_close(&offline->meta);
    folder_close(&offline->folder);
}

void offline_tell(struct offline *offline, const struct scan_fault *fault, bool harmless)
{
    offline->summary.faults += !harmless;
    offline->watch->fault(offline->watch->ctx, &(struct offline_fault){.file = offline->file.text,
                                                                       .segment = offline->segment,
                                                                       .first_index = fault->first_index,
                                                                       .last_index = fault->last_index,
                                                                       .partition = fault->partition,
                                                                       .offset = fault->offset,
                                                                       .what = fault->what,
                                                                       .harmless = harmless});
}

void offline_progress(struct offline *offline, uint64_t bytes)
{
    offline->done_bytes += bytes;
    if (offline->done_bytes > offline->total_bytes)
        offline->done_bytes = offline->total_bytes;
    if (offline->watch->progress)
        offline->watch->progress(offline->watch->ctx, offline->file.text, offline->done_bytes,
                                 offline->total_bytes);
}

/* ---- segments ---- */

/* A scan on behalf of a folder: the scan's callbacks get this. */
struct segment_scan {
    struct offline *offline;
    int (*entry)(void *ctx, const struct entry_header *header, const uint8_t *data);
    void *ctx;
};

static void on_fault(void *ctx, const struct scan_fault *fault)
{
    offline_tell(((struct segment_scan *)ctx)->offline, fault, false);
}

static void on_progress(void *ctx, uint64_t bytes)
{
    offline_progress(((struct segment_scan *)ctx)->offline, bytes);
}

static void tell_commands(const struct offline_watch *watch, const struct entry_header *header,
                          const uint8_t *data)
{
    size_t at = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < header->part_count; i++) {
        struct entry_part part;
        int64_t used = entry_part_decode(data + at, header->length - at, &part);
        if (used < 0)
            return; /* the scan has just found it good */
        if (part.kind == PART_COMMAND)
            watch->command(watch->ctx, part.command, part.payload.data, part.payload.size);
        at += (size_t)used;
    }
}

static int on_entry(void *ctx, const struct entry_header *header, const uint8_t *data)
{
    struct segment_scan *segment = ctx;
    if (segment->offline->watch->command)
        tell_commands(segment->offline->watch, header, data);
    return segment->entry ? segment->entry(segment->ctx, header, data) : 0;
}

int offline_scan(struct offline *offline, const struct segment_row *row, struct scan *ret_scan,
                 int (*entry)(void *ctx, const struct entry_header *header, const uint8_t *data), void *ctx)
{
    bool sealed = row->state == SEGMENT_SEALED;
    struct segment_scan segment = {offline, entry, ctx};
    offline->file = folder_segment(&offline->folder, row->number, row->generation);
    offline->segment = row->number;
    *ret_scan = (struct scan){.first_index = sealed ? row->first_index : 0,
                              .last_index = sealed ? row->last_index : UINT64_MAX,
                              .contiguous = row->generation == 0, /* sweeping leaves gaps */
                              .fault = on_fault,
                              .entry = on_entry,
                              .progress = on_progress,
                              .ctx = &segment};
    int rc = scan_file(ret_scan, offline->file.text);
    uint64_t size = size_of(&offline->file);
    offline_progress(offline,
                     size > ret_scan->bytes ? size - ret_scan->bytes : 0); /* pages without entries */
    offline->summary.segments++;
    offline->summary.entries += ret_scan->entries;
    offline->summary.bytes += ret_scan->bytes;
    return rc;
}

/* The entries of one segment begin where those of the one before end; below the state a segment may have been given back. */
static void check_joint(struct offline *offline, const struct segment_row *row, const struct scan *scan)
{
    bool sealed = row->state == SEGMENT_SEALED;
    uint64_t first = sealed ? row->first_index : scan->found_first;
    uint64_t last = sealed ? row->last_index : scan->found_last;
    if (first == 0)
        return;
    if (offline->summary.last_index > 0 && first > offline->summary.last_index + 1 &&
        first > offline->reach + 1)
        offline_tell(offline,
                     &(struct scan_fault){.first_index = offline->summary.last_index + 1,
                                          .last_index = first - 1,
                                          .what = "missing between two segments"},
                     false);
    if (!offline->summary.first_index)
        offline->summary.first_index = first;
    if (last > offline->summary.last_index)
        offline->summary.last_index = last;
}

static void check_index(struct offline *offline, const struct segment_row *row)
{
    struct index_file file = {.number = row->number, .generation = row->generation};
    struct index *index;
    int rc = index_file_load(&file, &offline->folder, &index);
    if (rc == 0) {
        index_unref(index);
        return;
    }
    offline->file = folder_index(&offline->folder, row->number, row->generation);
    offline_tell(offline, &(struct scan_fault){.what = "missing or damaged; made again when it is needed"},
                 true);
}

/* ---- the state ---- */

static void check_state(struct offline *offline)
{
    uint64_t flushed = 0;
    offline->segment = 0;
    offline->file = folder_shard_file(&offline->folder, "state.mdb");
    int rc = state_check(&offline->file, &flushed);
    if (rc != 0 && offline->summary.last_index > 0)
        offline_tell(offline,
                     &(struct scan_fault){.what = "missing or damaged; the next start makes it again"}, true);
    if (rc == 0 && flushed > offline->summary.last_index)
        offline_tell(offline,
                     &(struct scan_fault){.first_index = offline->summary.last_index + 1,
                                          .last_index = flushed,
                                          .what = "the state is ahead of the log"},
                     false);
    offline->summary.flushed_index = rc == 0 ? flushed : 0;
}

/* How far the newest good state reaches: a start replays what lies above it. */
static uint64_t state_reach(const struct offline *offline)
{
    struct path path = folder_shard_file(&offline->folder, "state.mdb");
    uint64_t reach = 0, flushed;
    if (state_check(&path, &reach) == 0)
        return reach;
    DIR *dir = opendir(offline->folder.shard);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        path = folder_shard_file(&offline->folder, entry->d_name);
        if (state_owns(entry->d_name) && strncmp(entry->d_name, "state-", 6) == 0 &&
            state_check(&path, &flushed) == 0 && flushed > reach)
            reach = flushed;
    }
    if (dir)
        closedir(dir);
    return reach;
}

static void check_copies(struct offline *offline)
{
    DIR *dir = opendir(offline->folder.shard);
    uint64_t flushed;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!state_owns(entry->d_name) || strncmp(entry->d_name, "state-", 6) != 0)
            continue;
        offline->file = folder_shard_file(&offline->folder, entry->d_name);
        if (state_check(&offline->file, &flushed) != 0)
            offline_tell(offline,
                         &(struct scan_fault){.what = "a copy of the state is damaged; others are used"},
                         true);
    }
    if (dir)
        closedir(dir);
}

int offline_verify(const char *path, const struct offline_watch *watch, struct offline_summary *ret_summary,
                   char *error, size_t error_size)
{
    struct offline offline;
    int rc = offline_open(&offline, path, watch, error, error_size);
    if (rc < 0)
        return rc;
    offline.reach = state_reach(&offline);
    for (size_t i = 0; i < offline.manifest.count && rc == 0; i++) {
        const struct segment_row *row = &offline.manifest.rows[i];
        struct scan scan;
        if (!offline_counts(row) || (rc = offline_scan(&offline, row, &scan, NULL, NULL)) < 0)
            continue;
        check_joint(&offline, row, &scan);
        if (row->state == SEGMENT_SEALED)
            check_index(&offline, row);
    }
    if (rc == 0) {
        check_state(&offline);
        check_copies(&offline);
        *ret_summary = offline.summary;
    } else {
        (void)snprintf(error, error_size, "out of memory");
    }
    offline_close(&offline);
    return rc;
}

int offline_rows(const char *path, store_row_fn *fn, void *ctx, char *error, size_t error_size)
{
    static const struct offline_watch nobody = {0};
    struct offline offline;
    struct state state;
    uint64_t flushed;
    int rc = offline_open(&offline, path, &nobody, error, error_size);
    if (rc < 0)
        return rc;
    struct path file = folder_shard_file(&offline.folder, "state.mdb");
    if (state_check(&file, &flushed) == 0) {
        state_begin(&state, &offline.folder);
        if ((rc = state_open(&state, false, error, error_size)) == 0)
            rc = state_load(&state, fn, ctx);
        state_close(&state);
    }
    offline_close(&offline);
    return rc;
}
