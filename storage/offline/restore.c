/* restore.c: a backup brought back: whole into an empty folder, or segment by segment into a damaged one; see
 * storage/offline.h.
 *
 * Happy path:  no data folder there → offline_backup() the other way round
 *              else: scan each segment → damaged or missing → the backup's copy, if it reaches as far: checked, renamed into
 *              its place, the damaged one put aside
 * Failures:    a segment the backup does not have, or only a part of: told, and the folder is left as it is for the rest. */
#include "storage/offline/offline_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_STEP (1u << 20)

static void ignore_fault(void *ctx, const struct scan_fault *fault)
{
    (void)ctx;
    (void)fault;
}

/* Looks without telling. UINT64_MAX: out of memory. */
static uint64_t faults_of(const char *path, const struct segment_row *row)
{
    bool sealed = row->state == SEGMENT_SEALED;
    struct scan scan = {.first_index = sealed ? row->first_index : 0,
                        .last_index = sealed ? row->last_index : UINT64_MAX,
                        .contiguous = row->generation == 0,
                        .fault = ignore_fault};
    return scan_file(&scan, path) < 0 ? UINT64_MAX : scan.faults;
}

static const struct segment_row *find_row(const struct offline *backup, const struct segment_row *like)
{
    for (size_t i = 0; i < backup->manifest.count; i++) {
        const struct segment_row *row = &backup->manifest.rows[i];
        if (row->number == like->number && row->generation == like->generation &&
            row->state == SEGMENT_SEALED &&
            (like->state != SEGMENT_SEALED || (row->last_index >= like->last_index)))
            return row;
    }
    return NULL;
}

static int copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint8_t *bytes = malloc(COPY_STEP);
    int rc = in < 0 || out < 0 ? errno : bytes ? 0 : ENOMEM;
    ssize_t got = 1;
    while (rc == 0 && got > 0) {
        got = read(in, bytes, COPY_STEP);
        if (got < 0)
            rc = errno;
        else if (got > 0)
            rc = path_write_all(out, bytes, (size_t)got);
    }
    if (rc == 0 && fsync(out) < 0)
        rc = errno;
    free(bytes);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return rc;
}

/* What is known of a damaged segment: its ends, and when they were appended. */
struct ends {
    uint64_t first_index, last_index;
    int64_t first_time_us, last_time_us;
    bool other; /* somebody else's entries have those indexes */
};

/* A sealed segment's row says it, else its first and last entry that are whole: so far the backup must reach. */
static struct ends ends_of(const char *path, const struct segment_row *row)
{
    if (row->state == SEGMENT_SEALED)
        return (struct ends){row->first_index, row->last_index, row->first_time_us, row->last_time_us, false};
    struct scan scan = {.last_index = UINT64_MAX, .fault = ignore_fault};
    if (scan_file(&scan, path) < 0)
        return (struct ends){.last_index = UINT64_MAX};
    return (struct ends){scan.found_first, scan.found_last, scan.first_time_us, scan.last_time_us, false};
}

static int compare_ends(void *ctx, const struct entry_header *header, const uint8_t *data)
{
    struct ends *ends = ctx;
    (void)data;
    if ((header->index == ends->first_index && header->append_time_us != ends->first_time_us) ||
        (header->index == ends->last_index && header->append_time_us != ends->last_time_us))
        ends->other = true;
    return 0;
}

/* NULL: a copy of the segment `row` in the backup is good and of the same life: after an older backup was restored, others may have
 * its number and its indexes. Or why not. */
static const char *refusal_of(const char *draft, const struct segment_row *row, struct ends *ends)
{
    struct scan scan = {.first_index = row->first_index,
                        .last_index = row->last_index,
                        .contiguous = row->generation == 0,
                        .fault = ignore_fault,
                        .entry = compare_ends,
                        .ctx = ends};
    if (scan_file(&scan, draft) < 0 || scan.faults > 0)
        return "damaged, and in the backup too";
    return ends->other ? "damaged, and the backup has other entries in its place" : NULL;
}

static int bring_back(struct offline *to, const struct offline *backup, const struct segment_row *row)
{
    const struct segment_row *copy = find_row(backup, row);
    struct path from = folder_segment(&backup->folder, row->number, row->generation);
    struct path draft = folder_shard_file(&to->folder, "copy.new");
    struct ends ends = ends_of(to->file.text, row);
    if (!copy || copy->last_index < ends.last_index) {
        offline_tell(to, &(struct scan_fault){.what = "damaged, and the backup does not have all of it"},
                     false);
        return 0;
    }
    (void)unlink(draft.text);
    int rc = copy_file(from.text, draft.text);
    const char *refusal = rc == 0 ? refusal_of(draft.text, copy, &ends) : NULL;
    if (refusal) {
        offline_tell(to, &(struct scan_fault){.what = refusal}, false);
        (void)unlink(draft.text);
        return 0;
    }
    if (rc == 0 && path_exists(&to->file))
        rc = folder_quarantine(&to->folder, strrchr(to->file.text, '/') + 1, "damaged");
    if (rc == 0 && rename(draft.text, to->file.text) < 0)
        rc = errno;
    if (rc == 0)
        rc = folder_sync(to->folder.shard_fd);
    struct path index = folder_index(&to->folder, row->number, row->generation);
    (void)unlink(index.text);
    to->summary.mended += rc == 0;
    return rc;
}

static int mend(struct offline *to, const struct offline *backup, char *error, size_t error_size)
{
    if (memcmp(to->meta.cluster_id, backup->meta.cluster_id, 16) != 0) {
        (void)snprintf(error, error_size, "%s is a backup of another broker than %s", backup->folder.path,
                       to->folder.path);
        return STORE_EIO;
    }
    for (size_t i = 0; i < to->manifest.count; i++) {
        const struct segment_row *row = &to->manifest.rows[i];
        if (!offline_counts(row))
            continue;
        to->file = folder_segment(&to->folder, row->number, row->generation);
        to->segment = row->number;
        to->summary.segments++;
        uint64_t faults = faults_of(to->file.text, row);
        offline_progress(to, 0);
        int rc = faults == UINT64_MAX ? ENOMEM : faults > 0 ? bring_back(to, backup, row) : 0;
        if (rc != 0) {
            (void)snprintf(error, error_size, "cannot bring back %s: %s", to->file.text, env_text(rc));
            return env_code(rc);
        }
    }
    return 0;
}

static int restore_into(const char *backup_path, const char *path, const struct offline_watch *watch,
                        struct offline_summary *ret_summary, char *error, size_t error_size)
{
    struct offline to, backup;
    int rc = offline_open(&to, path, watch, error, error_size);
    if (rc < 0)
        return rc;
    if ((rc = offline_open(&backup, backup_path, watch, error, error_size)) == 0) {
        rc = mend(&to, &backup, error, error_size);
        offline_close(&backup);
    }
    if (rc == 0)
        *ret_summary = to.summary;
    offline_close(&to);
    return rc;
}

int offline_restore(const char *backup, const char *to, const struct offline_watch *watch,
                    struct offline_summary *ret_summary, char *error, size_t error_size)
{
    struct path meta;
    (void)snprintf(meta.text, sizeof(meta.text), "%s/meta.mdb", to);
    if (path_exists(&meta))
        return restore_into(backup, to, watch, ret_summary, error, error_size);
    (void)snprintf(meta.text, sizeof(meta.text), "%s/shard-0", to);
    if (path_exists(&meta) && rmdir(meta.text) < 0) {
        (void)snprintf(error, error_size,
                       "%s has segments but no meta.mdb: move it away and restore into an empty folder", to);
        return STORE_EIO;
    }
    return offline_backup(backup, to, watch, ret_summary, error, error_size);
}
