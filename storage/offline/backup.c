/* backup.c: a copy of a folder that is a folder itself, made again cheaply; see storage/offline.h.
 *
 * Happy path:  for each sealed segment that is not there yet: copied under another name → every entry checked → renamed;
 *              then meta.mdb with all of them, in one step; then the state; then what is no longer named is removed
 * Failures:    until meta.mdb is replaced the older backup is whole: segments it does not name are nobody's, and one that grew
 *              still holds what the old row says. A state older than the log is replayed from. A segment that is damaged at
 *              its source stops the backup, with the entry's name. */
#include "storage/lmdb/state.h"
#include "storage/offline/offline_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_STEP (1u << 20)

struct backup {
    struct offline to; /* its manifest: what is there already; none if it is new */
    bool there;
    const struct offline_list *list;
    const struct offline_source *source;
    char *error;
    size_t error_size;
};

static int failed(struct backup *backup, const char *what, const struct path *path, const char *why)
{
    (void)snprintf(backup->error, backup->error_size, "cannot %s %s: %s", what, path->text, why);
    return STORE_EIO;
}

/* ---- the folder it goes to ---- */

static int open_target(struct backup *backup, const char *path)
{
    int rc = folder_open(&backup->to.folder, path, true, NULL, backup->error, backup->error_size);
    if (rc < 0)
        return rc;
    struct path meta = folder_file(&backup->to.folder, "meta.mdb");
    if (!path_exists(&meta))
        return 0;
    rc = meta_open(&backup->to.meta, &backup->to.folder, backup->error, backup->error_size);
    if (rc == 0 &&
        (rc = meta_load(&backup->to.meta, &backup->to.manifest, backup->error, backup->error_size)) < 0)
        meta_close(&backup->to.meta);
    if (rc == 0 && memcmp(backup->to.meta.cluster_id, backup->list->cluster_id, 16) != 0) {
        (void)snprintf(backup->error, backup->error_size,
                       "%s is a backup of another broker: choose another folder", path);
        meta_manifest_finish(&backup->to.manifest);
        meta_close(&backup->to.meta);
        rc = STORE_EIO;
    }
    backup->there = rc == 0;
    if (rc < 0)
        folder_close(&backup->to.folder);
    return rc;
}

static void close_target(struct backup *backup)
{
    if (backup->there)
        offline_close(&backup->to);
    else
        folder_close(&backup->to.folder);
}

/* The same entries: after an older backup was restored, others may have their numbers and indexes, but not their times. */
static bool same_entries(const struct segment_row *row, const struct offline_segment *segment)
{
    return row->number == segment->number && row->generation == segment->generation &&
           row->state == SEGMENT_SEALED && row->first_index == segment->first_index &&
           row->last_index == segment->last_index && row->first_time_us == segment->first_time_us &&
           row->last_time_us == segment->last_time_us;
}

static bool has_already(const struct backup *backup, const struct offline_segment *segment)
{
    struct path path = folder_segment(&backup->to.folder, segment->number, segment->generation);
    struct stat file;
    for (size_t i = 0; i < backup->to.manifest.count; i++) {
        if (same_entries(&backup->to.manifest.rows[i], segment))
            return stat(path.text, &file) == 0 && (uint64_t)file.st_size >= segment->size;
    }
    return false;
}

/* ---- one file ---- */

static int copy_bytes(struct backup *backup, const struct offline_file *file, uint64_t size, int fd)
{
    const struct offline_source *source = backup->source;
    uint8_t *bytes = malloc(COPY_STEP);
    int rc = bytes ? 0 : STORE_ENOMEM;
    for (uint64_t at = 0; rc == 0 && at < size; at += COPY_STEP) {
        size_t step = size - at < COPY_STEP ? (size_t)(size - at) : COPY_STEP;
        if ((rc = source->read(source->ctx, file, at, bytes, step)) == 0 &&
            path_write_all(fd, bytes, step) != 0)
            rc = STORE_EFULL;
        offline_progress(&backup->to, step);
    }
    free(bytes);
    return rc;
}

/* Under the name of a draft, synced. */
static int copy_file(struct backup *backup, const struct offline_file *file, uint64_t size,
                     struct path *ret_draft)
{
    *ret_draft = folder_shard_file(&backup->to.folder, "copy.new");
    (void)unlink(ret_draft->text);
    int fd = open(ret_draft->text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(backup, "create", ret_draft, strerror(errno));
    int rc = copy_bytes(backup, file, size, fd);
    if (rc == 0 && fsync(fd) < 0)
        rc = STORE_EIO;
    if (close(fd) < 0 && rc == 0)
        rc = STORE_EIO;
    if (rc < 0) {
        (void)failed(backup, "copy to", &backup->to.file,
                     rc == STORE_EFULL    ? "no space, or a write error"
                     : rc == STORE_EAGAIN ? "it is gone from its source meanwhile; try again"
                                          : "a read or write error");
        (void)unlink(ret_draft->text);
    }
    return rc;
}

static int publish(struct backup *backup, const struct path *draft, const struct path *path)
{
    if (rename(draft->text, path->text) < 0 || folder_sync(backup->to.folder.shard_fd) != 0)
        return failed(backup, "rename", path, strerror(errno));
    return 0;
}

/* ---- segments ---- */

struct check {
    struct backup *backup;
    uint64_t faults;
};

static void on_fault(void *ctx, const struct scan_fault *fault)
{
    struct check *check = ctx;
    check->faults++;
    offline_tell(&check->backup->to, fault, false);
}

/* What arrived is looked at entry by entry before it becomes part of the backup. */
static int check_draft(struct backup *backup, const struct path *draft, const struct offline_segment *segment)
{
    struct check check = {backup, 0};
    struct scan scan = {.first_index = segment->first_index,
                        .last_index = segment->last_index,
                        .contiguous = segment->generation == 0,
                        .fault = on_fault,
                        .ctx = &check};
    int rc = scan_file(&scan, draft->text);
    backup->to.summary.entries += scan.entries;
    backup->to.summary.bytes += segment->size;
    if (rc == 0 && check.faults > 0) {
        (void)snprintf(backup->error, backup->error_size,
                       "segment %" PRIu64 " is damaged: the backup stays as it was; see crier verify",
                       segment->number);
        rc = STORE_ECORRUPT;
    }
    return rc;
}

/* With it a start need not read the segment. Nobody believes it before its checksums were looked at. */
static int copy_index(struct backup *backup, const struct offline_segment *segment)
{
    struct path draft, path = folder_index(&backup->to.folder, segment->number, segment->generation);
    const struct offline_file file = {OFFLINE_INDEX, segment->number, segment->generation};
    if (segment->index_size == 0) {
        (void)unlink(path.text);
        return 0;
    }
    int rc = copy_file(backup, &file, segment->index_size, &draft);
    return rc < 0 ? rc : publish(backup, &draft, &path);
}

static int copy_segment(struct backup *backup, const struct offline_segment *segment)
{
    const struct offline_file file = {OFFLINE_SEGMENT, segment->number, segment->generation};
    backup->to.file = folder_segment(&backup->to.folder, segment->number, segment->generation);
    backup->to.segment = segment->number;
    if (has_already(backup, segment)) {
        backup->to.summary.kept++;
        offline_progress(&backup->to, segment->size + segment->index_size);
        return 0;
    }
    struct path draft;
    int rc = copy_file(backup, &file, segment->size, &draft);
    if (rc < 0)
        return rc;
    if ((rc = check_draft(backup, &draft, segment)) < 0) {
        (void)unlink(draft.text);
        return rc;
    }
    backup->to.summary.segments++;
    if ((rc = publish(backup, &draft, &backup->to.file)) == 0)
        rc = copy_index(backup, segment);
    return rc;
}

/* ---- the whole ---- */

static int write_manifest(struct backup *backup)
{
    const struct offline_list *list = backup->list;
    struct segment_row *rows = calloc(list->count + 1, sizeof(*rows));
    if (!rows)
        return STORE_ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        const struct offline_segment *segment = &list->segments[i];
        rows[i] = (struct segment_row){.number = segment->number,
                                       .generation = segment->generation,
                                       .state = SEGMENT_SEALED,
                                       .first_index = segment->first_index,
                                       .last_index = segment->last_index,
                                       .first_time_us = segment->first_time_us,
                                       .last_time_us = segment->last_time_us};
    }
    struct meta like = {.node_id = list->node_id, .created_us = list->created_us};
    memcpy(like.cluster_id, list->cluster_id, sizeof(like.cluster_id));
    int rc = meta_replace(&backup->to.folder, &like, rows, list->count);
    free(rows);
    struct path path = folder_file(&backup->to.folder, "meta.mdb");
    return rc == 0 ? 0 : failed(backup, "write", &path, env_text(rc));
}

static int copy_state(struct backup *backup)
{
    backup->to.file = folder_shard_file(&backup->to.folder, "state.mdb");
    backup->to.segment = 0;
    struct path draft;
    int rc =
        copy_file(backup, &(struct offline_file){.kind = OFFLINE_STATE}, backup->list->state_size, &draft);
    uint64_t flushed = 0;
    if (rc == 0 && state_check(&draft, &flushed) != 0) {
        (void)unlink(draft.text);
        return failed(backup, "copy to", &backup->to.file, "the state is damaged at its source");
    }
    return rc < 0 ? rc : publish(backup, &draft, &backup->to.file);
}

static bool listed(const struct backup *backup, const struct segment_row *row)
{
    for (size_t i = 0; i < backup->list->count; i++)
        if (backup->list->segments[i].number == row->number &&
            backup->list->segments[i].generation == row->generation)
            return true;
    return false;
}

/* What the older backup named and this one does not. */
static void remove_old(struct backup *backup)
{
    for (size_t i = 0; i < backup->to.manifest.count; i++) {
        const struct segment_row *row = &backup->to.manifest.rows[i];
        if (listed(backup, row))
            continue;
        struct path path = folder_segment(&backup->to.folder, row->number, row->generation);
        (void)unlink(path.text);
        path = folder_index(&backup->to.folder, row->number, row->generation);
        (void)unlink(path.text);
    }
}

int offline_backup_from(const struct offline_list *list, const struct offline_source *source, const char *to,
                        const struct offline_watch *watch, struct offline_summary *ret_summary, char *error,
                        size_t error_size)
{
    struct backup backup = {
        .to.watch = watch, .list = list, .source = source, .error = error, .error_size = error_size};
    int rc = open_target(&backup, to);
    if (rc < 0)
        return rc;
    backup.to.total_bytes = list->state_size;
    for (size_t i = 0; i < list->count; i++)
        backup.to.total_bytes += list->segments[i].size + list->segments[i].index_size;
    for (size_t i = 0; i < list->count && rc == 0; i++)
        rc = copy_segment(&backup, &list->segments[i]);
    if (rc == 0)
        rc = write_manifest(&backup);
    if (rc == 0 && list->state_size > 0)
        rc = copy_state(&backup);
    if (rc == 0) {
        remove_old(&backup);
        backup.to.summary.flushed_index = list->state_index;
        backup.to.summary.first_index = list->count ? list->segments[0].first_index : 0;
        backup.to.summary.last_index = list->count ? list->segments[list->count - 1].last_index : 0;
        *ret_summary = backup.to.summary;
    }
    close_target(&backup);
    return rc;
}

/* ---- from a folder at rest ---- */

static int read_folder(void *ctx, const struct offline_file *file, uint64_t position, void *to, size_t size)
{
    const struct folder *folder = &((const struct offline *)ctx)->folder;
    struct path path;
    switch (file->kind) {
    case OFFLINE_SEGMENT:
        path = folder_segment(folder, file->number, file->generation);
        break;
    case OFFLINE_INDEX:
        path = folder_index(folder, file->number, file->generation);
        break;
    default:
        path = folder_shard_file(folder, "state.mdb");
        break;
    }
    int fd = open(path.text, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? errno : page_read(fd, to, size, position);
    if (fd >= 0)
        close(fd);
    return env_code(rc);
}

static uint64_t used_size(const struct path *path)
{
    struct env *env;
    if (env_open(path->text, ENV_SEALED, 0, &env) != 0)
        return 0;
    uint64_t size = env_used_bytes(env);
    env_unref(env);
    return size;
}

/* An active segment is taken as far as it goes. */
static int list_segment(struct offline *from, const struct segment_row *row, struct offline_list *list)
{
    struct path path = folder_segment(&from->folder, row->number, row->generation);
    struct path index = folder_index(&from->folder, row->number, row->generation);
    struct stat index_file;
    struct offline_segment segment = {.number = row->number,
                                      .generation = row->generation,
                                      .first_index = row->first_index,
                                      .last_index = row->last_index,
                                      .first_time_us = row->first_time_us,
                                      .last_time_us = row->last_time_us,
                                      .size = used_size(&path)};
    if (stat(index.text, &index_file) == 0)
        segment.index_size = (uint64_t)index_file.st_size;
    if (row->state == SEGMENT_ACTIVE) {
        struct scan scan;
        int rc = offline_scan(from, row, &scan, NULL, NULL);
        if (rc < 0)
            return rc;
        segment.first_index = scan.found_first;
        segment.last_index = scan.found_last;
        segment.first_time_us = scan.first_time_us;
        segment.last_time_us = scan.last_time_us;
    }
    if (segment.last_index > 0)
        list->segments[list->count++] = segment;
    return 0;
}

static int list_folder(struct offline *from, struct offline_list *list, char *error, size_t error_size)
{
    *list = (struct offline_list){.node_id = from->meta.node_id, .created_us = from->meta.created_us};
    memcpy(list->cluster_id, from->meta.cluster_id, sizeof(list->cluster_id));
    list->segments = calloc(from->manifest.count + 1, sizeof(*list->segments));
    int rc = list->segments ? 0 : STORE_ENOMEM;
    for (size_t i = 0; i < from->manifest.count && rc == 0; i++)
        if (offline_counts(&from->manifest.rows[i]))
            rc = list_segment(from, &from->manifest.rows[i], list);
    if (rc < 0) {
        (void)snprintf(error, error_size, "out of memory");
    } else if (from->summary.faults > 0) {
        (void)snprintf(error, error_size, "%s is damaged: see crier verify", from->folder.path);
        rc = STORE_ECORRUPT;
    }
    struct path state = folder_shard_file(&from->folder, "state.mdb");
    if (rc == 0 && state_check(&state, &list->state_index) == 0)
        list->state_size = used_size(&state);
    return rc;
}

int offline_backup(const char *from_path, const char *to, const struct offline_watch *watch,
                   struct offline_summary *ret_summary, char *error, size_t error_size)
{
    struct offline from;
    struct offline_list list = {0};
    const struct offline_watch faults_only = {.fault = watch->fault, .ctx = watch->ctx};
    int rc = offline_open(&from, from_path, &faults_only, error, error_size);
    if (rc < 0)
        return rc;
    struct offline_source source = {read_folder, &from};
    if ((rc = list_folder(&from, &list, error, error_size)) == 0)
        rc = offline_backup_from(&list, &source, to, watch, ret_summary, error, error_size);
    free(list.segments);
    offline_close(&from);
    return rc;
}
