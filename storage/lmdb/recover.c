/* recover.c: what a start does before anything is served; see recover.h and docs/disk-format.md.
 *
 * Nothing is believed before it was synced: a killed process leaves pages and names in the kernel's cache that no disk has,
 * and acting on them now would be wrong after a power cut later.
 *
 * Failures:    a file the manifest names is missing, or two segments leave a gap: refused, with its name. A file that
 *              nothing names: put aside. A checksum of a committed entry: refused, for LMDB shows a commit only after
 *              its data is synced, so it is never a torn write. */
#include "storage/lmdb/recover.h"

#include "base/check.h"
#include "storage/entry.h"
#include "storage/lmdb/background.h"
#include "storage/lmdb/state.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REOPEN_SIZE_MAX (64u << 20)

/* ---- the manifest against the files ---- */

static int check_files(const struct recovery *recovery, char *error, size_t error_size)
{
    for (size_t i = 0; i < recovery->manifest.count; i++) {
        const struct segment_row *row = &recovery->manifest.rows[i];
        struct path path = folder_segment(recovery->folder, row->number, row->generation);
        if ((row->state == SEGMENT_ACTIVE || row->state == SEGMENT_SEALED) && !path_exists(&path)) {
            (void)snprintf(error, error_size, "%s is missing" FOLDER_REPAIR, path.text,
                           FOLDER_REPAIR_OF(recovery->folder));
            return STORE_ECORRUPT;
        }
    }
    return 0;
}

static int by_segment(const void *a, const void *b)
{
    const struct segment_row *left = a, *right = b;
    if (left->number != right->number)
        return left->number < right->number ? -1 : 1;
    return left->generation < right->generation ? -1 : left->generation > right->generation;
}

/* Is it a file of a segment in the manifest, whose rows are in order? */
static bool manifest_names(const struct meta_manifest *manifest, const char *name)
{
    static const char *const suffixes[] = {".mdb", ".mdb-lock", ".idx"};
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        const char *suffix = strstr(name, suffixes[i]);
        if (!suffix || strcmp(suffix, suffixes[i]) != 0)
            continue;
        char segment[NAME_MAX + 8];
        (void)snprintf(segment, sizeof(segment), "%.*s.mdb", (int)(suffix - name), name);
        struct segment_row row = {0};
        return folder_parse_segment(segment, &row.number, &row.generation) && manifest->count > 0 &&
               bsearch(&row, manifest->rows, manifest->count, sizeof(row), by_segment);
    }
    return false;
}

static bool explained(const struct recovery *recovery, const char *name)
{
    return name[0] == '.' || strncmp(name, "quarantine-", 11) == 0 || state_owns(name) ||
           manifest_names(&recovery->manifest, name);
}

static void quarantine_unexplained(const struct recovery *recovery)
{
    DIR *dir = opendir(recovery->folder->shard);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (explained(recovery, entry->d_name))
            continue;
        int rc = folder_quarantine(recovery->folder, entry->d_name, "nothing in the manifest explains it");
        if (rc != 0)
            LOG_ERROR(recovery->folder->log, "STORE-QUARANTINE", "cannot put %s aside: %s", entry->d_name,
                      strerror(rc));
    }
    closedir(dir);
}

static void remove_files(const struct recovery *recovery, uint64_t number, uint32_t generation)
{
    struct path path = folder_segment(recovery->folder, number, generation);
    (void)unlink(path.text);
    path = folder_index(recovery->folder, number, generation);
    (void)unlink(path.text);
}

/* NEW and DEAD segments: file first, then row; a crash in between finds the row again. */
static int remove_leftovers(const struct recovery *recovery)
{
    size_t count = 0;
    struct segment_row *gone = calloc(recovery->manifest.count + 1, sizeof(*gone));
    if (!gone)
        return ENOMEM;
    for (size_t i = 0; i < recovery->manifest.count; i++) {
        const struct segment_row *row = &recovery->manifest.rows[i];
        if (row->state != SEGMENT_NEW && row->state != SEGMENT_DEAD)
            continue;
        remove_files(recovery, row->number, row->generation);
        gone[count++] = (struct segment_row){.number = row->number, .generation = row->generation};
    }
    int rc = 0;
    if (count > 0 && (rc = folder_sync(recovery->folder->shard_fd)) == 0) {
        struct meta_change change = {.rows = gone, .count = count};
        rc = meta_commit(recovery->meta, &change);
    }
    free(gone);
    return rc;
}

/* ---- opening ---- */

static int read_header(const struct env_cursor *cursor, const struct env_value *value,
                       struct entry_header *ret_header)
{
    uint8_t bytes[ENTRY_HEADER_SIZE];
    int rc = env_value_head(cursor, value, bytes, sizeof(bytes));
    return rc == 0 && entry_header_decode(bytes, sizeof(bytes), ret_header) < 0 ? MDB_CORRUPTED : rc;
}

/* Where the entries of an open segment begin and end; 0 and 0 without entries. 0 or an LMDB code. */
static int read_ends(struct segment *segment)
{
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, segment->env);
    if (rc != 0)
        return rc;
    struct env_value first = {0}, last = {0};
    struct entry_header first_header = {0}, last_header = {0};
    if ((rc = env_cursor_seek(&cursor, 0, &first)) == 0)
        rc = read_header(&cursor, &first, &first_header);
    if (rc == 0 && (rc = env_cursor_last(&cursor, &last)) == 0)
        rc = read_header(&cursor, &last, &last_header);
    env_cursor_end(&cursor);
    if (rc == 0) {
        segment->first_index = first.index;
        segment->last_index = last.index;
        segment->first_time_us = first_header.append_time_us;
        segment->last_time_us = last_header.append_time_us;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Only what a clean stop left is written again, and only while checking every page of it takes no time to speak of (env.h:
 * LMDB believes the pages it follows). All else is read like a sealed segment, and sealed. */
static enum env_role role_of(const struct recovery *recovery, const struct env *env)
{
    bool goes_on = recovery->manifest.clean && env_used_bytes(env) <= REOPEN_SIZE_MAX;
    return goes_on ? ENV_ACTIVE : ENV_SEALED;
}

static int open_synced(struct recovery *recovery, struct segment *segment, const struct path *path)
{
    int rc = path_sync(path);
    if (rc == 0)
        rc = env_open(path->text, ENV_SEALED, recovery->segments->map_size, &segment->env);
    if (rc != 0 || role_of(recovery, segment->env) == ENV_SEALED)
        return rc;
    env_unref(segment->env);
    segment->env = NULL;
    return env_open(path->text, ENV_ACTIVE, recovery->segments->map_size, &segment->env);
}

static int open_active(struct recovery *recovery, struct segment *segment, char *error, size_t error_size)
{
    struct path path = folder_segment(recovery->folder, segment->number, segment->generation);
    struct path lock = path;
    size_t length = strlen(lock.text);
    (void)snprintf(lock.text + length, sizeof(lock.text) - length, "-lock");
    (void)unlink(lock.text); /* of an earlier life: the folder's lock says nobody uses it */
    int rc = open_synced(recovery, segment, &path);
    if (rc == 0)
        rc = read_ends(segment);
    if (rc != 0) {
        (void)snprintf(error, error_size, "%s is damaged: %s" FOLDER_REPAIR, path.text, env_text(rc),
                       FOLDER_REPAIR_OF(recovery->folder));
        return env_code(rc);
    }
    return 0;
}

/* Its entries follow those before; where a segment was given back there is a gap (recover_check_gaps). */
static int add_segment(struct recovery *recovery, struct segment *segment, char *error, size_t error_size)
{
    if (recovery->last_index && segment->first_index <= recovery->last_index) {
        (void)snprintf(error, error_size,
                       "segment %" PRIu64 " of %s begins with entry %" PRIu64
                       ", but the one before ends with %" PRIu64 ": one of them is an older copy",
                       segment->number, recovery->folder->shard, segment->first_index, recovery->last_index);
        return STORE_ECORRUPT;
    }
    if (segments_reserve(recovery->segments) < 0)
        return STORE_ENOMEM;
    if (!recovery->first_index)
        recovery->first_index = segment->first_index;
    recovery->last_index = segment->last_index;
    segments_push(recovery->segments, segment);
    return 0;
}

int recover_check_gaps(const struct recovery *recovery, uint64_t flushed_index, char *error,
                       size_t error_size)
{
    uint64_t before = 0;
    for (size_t i = 0; i < segments_count(recovery->segments); i++) {
        const struct segment *segment = segments_at(recovery->segments, i);
        if (before && segment->first_index != before + 1 && segment->first_index > flushed_index + 1) {
            (void)snprintf(error, error_size,
                           "segment %" PRIu64 " of %s begins with entry %" PRIu64
                           ", but the one before ends with %" PRIu64 ": entries are missing",
                           segment->number, recovery->folder->shard, segment->first_index, before);
            return STORE_ECORRUPT;
        }
        before = segment->last_index;
    }
    return 0;
}

/* Takes the segment in any case. */
static int open_row(struct recovery *recovery, const struct segment_row *row, struct segment *segment,
                    char *error, size_t error_size)
{
    int rc = 0;
    if (row->state == SEGMENT_SEALED) {
        segment->sealed = true;
        segment->first_index = row->first_index;
        segment->last_index = row->last_index;
        segment->first_time_us = row->first_time_us;
        segment->last_time_us = row->last_time_us;
    } else {
        rc = open_active(recovery, segment, error, error_size);
    }
    if (rc == 0 && segment->last_index == 0) {
        recovery->empty[recovery->empty_count++] = segment;
        return 0;
    }
    if (rc == 0)
        rc = add_segment(recovery, segment, error, error_size);
    if (rc < 0)
        segment_destroy(segment);
    return rc;
}

static int open_rows(struct recovery *recovery, char *error, size_t error_size)
{
    recovery->empty = calloc(recovery->manifest.count + 1, sizeof(struct segment *));
    if (!recovery->empty)
        return STORE_ENOMEM;
    int rc = 0;
    for (size_t i = 0; i < recovery->manifest.count && rc == 0; i++) {
        const struct segment_row *row = &recovery->manifest.rows[i];
        recovery->next_number = row->number + 1;
        if (row->state != SEGMENT_ACTIVE && row->state != SEGMENT_SEALED)
            continue;
        struct segment *segment = segment_create(row->number, row->generation);
        rc = segment ? open_row(recovery, row, segment, error, error_size) : STORE_ENOMEM;
    }
    return rc;
}

/* The indexes of segments that are not sealed are needed from the start; entries the files do not know are read now. */
static int load_indexes(struct recovery *recovery, char *error, size_t error_size)
{
    for (size_t i = segments_count(recovery->segments); i-- > 0;) {
        struct segment *segment = segments_at(recovery->segments, i);
        if (segment->sealed)
            break;
        struct index *index;
        int rc = segments_index(recovery->segments, segment, &index);
        if (rc < 0) {
            (void)snprintf(error, error_size,
                           "an entry in segment %" PRIu64 " of %s is damaged; the log names it" FOLDER_REPAIR,
                           segment->number, recovery->folder->shard, FOLDER_REPAIR_OF(recovery->folder));
            return rc;
        }
        index_unref(index);
    }
    return 0;
}

int recover_open(struct recovery *recovery, char *error, size_t error_size)
{
    recovery->next_number = 1;
    int rc = meta_load(recovery->meta, &recovery->manifest, error, error_size);
    if (rc == 0)
        rc = check_files(recovery, error, error_size);
    if (rc == 0)
        rc = open_rows(recovery, error, error_size);
    if (rc == 0)
        rc = load_indexes(recovery, error, error_size);
    if (rc < 0)
        return rc;
    recovery->clean = recovery->manifest.clean && recovery->manifest.clean_last_index == recovery->last_index;
    if (recovery->clean || (rc = folder_sync_names(recovery->folder)) == 0)
        return 0;
    (void)snprintf(error, error_size, "cannot sync %s: %s", recovery->folder->shard, env_text(rc));
    return env_code(rc);
}

int recover_tidy(const struct recovery *recovery, char *error, size_t error_size)
{
    quarantine_unexplained(recovery);
    int rc = remove_leftovers(recovery);
    if (rc != 0) {
        (void)snprintf(error, error_size, "cannot tidy up %s: %s", recovery->folder->shard, env_text(rc));
        return env_code(rc);
    }
    return 0;
}

void recover_finish(struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->empty_count; i++)
        segment_destroy(recovery->empty[i]);
    free(recovery->empty);
    meta_manifest_finish(&recovery->manifest);
    recovery->empty = NULL;
    recovery->empty_count = 0;
}

/* ---- replay ---- */

struct replay {
    store_entry_fn *fn;
    void *ctx;
    struct entry_part *parts;
    uint32_t part_capacity;
    uint64_t expected; /* the next index */
};

static int parts_reserve(struct replay *replay, uint32_t count)
{
    if (count <= replay->part_capacity)
        return 0;
    struct entry_part *parts = realloc(replay->parts, count * sizeof(*parts));
    if (!parts)
        return STORE_ENOMEM;
    replay->parts = parts;
    replay->part_capacity = count;
    return 0;
}

static int replay_entry(struct replay *replay, const struct env_value *value, const uint8_t *data)
{
    struct entry_header header;
    int rc = entry_header_decode(data, value->size, &header);
    if (rc == 0)
        rc = parts_reserve(replay, header.part_count);
    if (rc == 0)
        rc = entry_decode(data, value->size, &header, replay->parts, replay->part_capacity);
    if (rc == 0 && (header.index != value->index || value->index != replay->expected))
        rc = STORE_ECORRUPT;
    if (rc < 0)
        return rc;
    replay->expected++;
    struct store_entry entry = {.type = header.type,
                                .index = header.index,
                                .term = header.term,
                                .append_time_us = header.append_time_us,
                                .parts = replay->parts,
                                .part_count = header.part_count};
    return replay->fn(replay->ctx, &entry);
}

static int replay_segment(struct replay *replay, struct env *env, uint64_t last_index)
{
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, env);
    if (rc != 0)
        return env_code(rc);
    struct env_value value;
    const uint8_t *data = NULL;
    int code = 0;
    rc = env_cursor_seek(&cursor, replay->expected, &value);
    while (rc == 0 && value.index <= last_index) {
        if ((rc = env_value_read(&cursor, &value, &data)) != 0 ||
            (code = replay_entry(replay, &value, data)) < 0)
            break;
        rc = env_cursor_next(&cursor, &value);
    }
    env_cursor_end(&cursor);
    if (code == 0 && rc != 0 && rc != MDB_NOTFOUND)
        code = env_code(rc);
    if (code == 0 && replay->expected <= last_index)
        code = STORE_ECORRUPT; /* it ends before the manifest says so */
    return code;
}

int recover_replay(struct recovery *recovery, uint64_t flushed_index, store_entry_fn *fn, void *ctx)
{
    struct segments *segments = recovery->segments;
    struct replay replay = {.fn = fn, .ctx = ctx, .expected = flushed_index + 1};
    int rc = 0;
    size_t position = segments_position_of(segments, replay.expected);
    for (; rc == 0 && replay.expected <= recovery->last_index; position++) {
        struct segment *segment = segments_at(segments, position);
        struct env *env;
        if ((rc = segments_env(segments, segment, &env)) < 0)
            break;
        rc = replay_segment(&replay, env, segment->last_index);
        if (rc == STORE_ECORRUPT)
            LOG_ERROR(recovery->health->log, "STORE-CORRUPT",
                      "entry %" PRIu64 " in %s is damaged or missing" FOLDER_REPAIR, replay.expected,
                      env->path, FOLDER_REPAIR_OF(recovery->folder));
        if (rc == STORE_EIO)
            LOG_ERROR(recovery->health->log, "STORE-EIO",
                      "entry %" PRIu64 " in %s cannot be read" FOLDER_REPAIR, replay.expected, env->path,
                      FOLDER_REPAIR_OF(recovery->folder));
        env_unref(env);
    }
    free(replay.parts);
    return rc;
}

/* ---- putting the folder in order ---- */

/* Seals the unsealed segments at positions below `end`: rows, then tails. The rows are part of `change`. */
static size_t seal_rows(struct recovery *recovery, size_t end, struct segment_row *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < end; i++) {
        const struct segment *segment = segments_at(recovery->segments, i);
        if (!segment->sealed)
            rows[count++] = segment_row(segment, SEGMENT_SEALED);
    }
    return count;
}

static void seal_files(struct recovery *recovery, size_t end)
{
    for (size_t i = 0; i < end; i++) {
        struct segment *segment = segments_at(recovery->segments, i);
        if (segment->sealed)
            continue;
        if (truncate(segment->env->path, (off_t)env_used_bytes(segment->env)) < 0)
            LOG_WARN(recovery->health->log, "STORE-SEAL", "cannot cut %s: %s", segment->env->path,
                     strerror(errno));
        if (index_file_save(&segment->file, recovery->folder, segment->index, false) < 0)
            LOG_WARN(recovery->health->log, "STORE-INDEX", "cannot save the offset index of %s",
                     segment->env->path);
        LOG_INFO(recovery->health->log, "STORE-SEAL",
                 "segment %" PRIu64 " was left open; sealed at entry %" PRIu64, segment->number,
                 segment->last_index);
        segments_seal(recovery->segments, segment);
    }
}

/* An index for a segment that has none: after the segment before it. */
static int give_index(struct recovery *recovery, struct segment *segment)
{
    size_t count = segments_count(recovery->segments);
    struct index *before = NULL;
    int rc = 0;
    if (count > 0)
        rc = segments_index(recovery->segments, segments_at(recovery->segments, count - 1), &before);
    if (rc < 0)
        return rc;
    segment->index = before ? index_create_after(before) : index_create();
    index_unref(before);
    if (!segment->index)
        return STORE_ENOMEM;
    index_set_covers(segment->index, recovery->last_index);
    return 0;
}

/* Appends a segment without entries to the list; takes it. */
static int push_empty(struct recovery *recovery, struct segment *segment)
{
    int rc = give_index(recovery, segment);
    if (rc == 0)
        rc = segments_reserve(recovery->segments);
    if (rc < 0) {
        segment_destroy(segment);
        return rc;
    }
    segments_push(recovery->segments, segment);
    return 0;
}

static struct segment *take_empty(struct recovery *recovery)
{
    if (recovery->empty_count == 0)
        return NULL;
    struct segment *segment = recovery->empty[0];
    recovery->empty_count--;
    memmove(recovery->empty, recovery->empty + 1, recovery->empty_count * sizeof(*recovery->empty));
    return segment;
}

/* What was prepared for a life that did not end well is not trusted: nobody knows what its last commit left in it. Its
 * rows go back to NEW, so that the files may go. */
static size_t renew_rows(const struct recovery *recovery, struct segment_row *rows)
{
    for (size_t i = 0; i < recovery->empty_count; i++)
        rows[i] = segment_row(recovery->empty[i], SEGMENT_NEW);
    return recovery->empty_count;
}

/* After the rows are durable. */
static void drop_empty(struct recovery *recovery)
{
    for (struct segment *segment; (segment = take_empty(recovery));) {
        uint64_t number = segment->number;
        uint32_t generation = segment->generation;
        segment_destroy(segment);
        remove_files(recovery, number, generation);
    }
}

/* After a clean stop the last segment goes on being written, if it was. */
static bool last_goes_on(const struct recovery *recovery)
{
    size_t count = segments_count(recovery->segments);
    if (!recovery->clean || count == 0)
        return false;
    const struct segment *last = segments_at(recovery->segments, count - 1);
    return !last->sealed && last->env->role == ENV_ACTIVE;
}

/* How many segments from the front must be sealed, those that are already included. */
static size_t count_to_seal(const struct recovery *recovery)
{
    return segments_count(recovery->segments) - (last_goes_on(recovery) ? 1 : 0);
}

/* The number of the segment to make, if one has to be made: that of a dropped one, or a new one. 0: none. */
static uint64_t number_to_make(struct recovery *recovery)
{
    if (!recovery->clean && recovery->empty_count > 0)
        return recovery->empty[0]->number;
    bool there = last_goes_on(recovery) || (recovery->clean && recovery->empty_count > 0);
    return there ? 0 : recovery->next_number++;
}

static int start_failed(const struct recovery *recovery, int rc)
{
    LOG_ERROR(recovery->health->log, "STORE-START", "cannot begin to write in %s: %s",
              recovery->folder->shard, env_text(rc));
    return env_code(rc);
}

/* One change of the manifest: what was left open is sealed, the mark goes, what is to be made is announced. */
static int write_manifest(struct recovery *recovery, size_t to_seal, uint64_t number)
{
    struct segment_row *rows = calloc(recovery->manifest.count + 2, sizeof(*rows));
    if (!rows)
        return ENOMEM;
    struct meta_change change = {.rows = rows, .mark = META_MARK_CLEAR};
    change.count = seal_rows(recovery, to_seal, rows);
    if (!recovery->clean)
        change.count += renew_rows(recovery, rows + change.count);
    if (number > 0)
        rows[change.count++] = (struct segment_row){.number = number, .state = SEGMENT_NEW};
    int rc = meta_commit(recovery->meta, &change);
    free(rows);
    return rc;
}

int recover_start(struct recovery *recovery, struct segment **ret_next)
{
    struct segments *segments = recovery->segments;
    size_t to_seal = count_to_seal(recovery);
    bool goes_on = last_goes_on(recovery);
    uint64_t number = number_to_make(recovery);
    int rc = write_manifest(recovery, to_seal, number);
    if (rc != 0)
        return start_failed(recovery, rc);
    seal_files(recovery, to_seal);
    if (!recovery->clean)
        drop_empty(recovery);

    struct segment *made = NULL;
    if (number > 0) {
        rc = segment_make(recovery->meta, recovery->folder, segments->map_size, number, false, &made);
        if (rc != 0)
            return start_failed(recovery, rc);
    } else if (!goes_on) {
        made = take_empty(recovery);
    }
    if (made && (rc = push_empty(recovery, made)) < 0)
        return rc;
    *ret_next = take_empty(recovery);
    return 0;
}
