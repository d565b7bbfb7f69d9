/* segment.c: the segments of a shard in order; see segment.h.
 *
 * Happy path:  segments_push → segments_extend at each commit → segments_seal → segments_env, segments_index for readers
 * Failures:    a sealed segment whose .idx is missing or damaged is read instead, starting from the nearest earlier
 *              index that is good, and the files are written again. A segment that cannot be opened fails the one request
 *              that needed it, and says so in the log. */
#include "storage/lmdb/segment.h"

#include "base/check.h"
#include "storage/entry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int segments_init(struct segments *segments, const struct folder *folder, struct health *health,
                  uint64_t map_size)
{
    *segments = (struct segments){
        .folder = folder, .health = health, .map_size = map_size, .index_size = SEGMENTS_INDEX_SIZE};
    if (pthread_mutex_init(&segments->lock, NULL) != 0)
        return STORE_ENOMEM;
    if (pthread_mutex_init(&segments->open_lock, NULL) != 0)
        goto destroy_lock;
    pthread_rwlockattr_t
        attributes; /* readers that follow each other closely must not keep the cleaner out for ever */
    (void)pthread_rwlockattr_init(&attributes);
    (void)pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int rc = pthread_rwlock_init(&segments->shape, &attributes);
    (void)pthread_rwlockattr_destroy(&attributes);
    if (rc == 0)
        return 0;
    pthread_mutex_destroy(&segments->open_lock);
destroy_lock:
    pthread_mutex_destroy(&segments->lock);
    return STORE_ENOMEM;
}

void segments_finish(struct segments *segments)
{
    for (size_t i = 0; i < segments->count; i++)
        segment_destroy(segments->rows[i]);
    free(segments->rows);
    pthread_rwlock_destroy(&segments->shape);
    pthread_mutex_destroy(&segments->open_lock);
    pthread_mutex_destroy(&segments->lock);
}

struct segment *segment_create(uint64_t number, uint32_t generation)
{
    struct segment *segment = calloc(1, sizeof(*segment));
    if (!segment)
        return NULL;
    segment->number = number;
    segment->generation = generation;
    segment->file = (struct index_file){.number = number, .generation = generation};
    return segment;
}

void segment_destroy(struct segment *segment)
{
    if (!segment)
        return;
    env_unref(segment->env);
    index_unref(segment->index);
    free(segment);
}

struct segment_row segment_row(const struct segment *segment, enum segment_state state)
{
    struct segment_row row = {.number = segment->number, .generation = segment->generation, .state = state};
    if (state == SEGMENT_SEALED) {
        row.first_index = segment->first_index;
        row.last_index = segment->last_index;
        row.first_time_us = segment->first_time_us;
        row.last_time_us = segment->last_time_us;
    }
    return row;
}

/* ---- the list ---- */

int segments_reserve(struct segments *segments)
{
    int rc = 0;
    pthread_mutex_lock(&segments->lock);
    if (segments->count == segments->capacity) {
        size_t capacity = segments->capacity ? segments->capacity * 2 : 16;
        struct segment **rows = realloc(segments->rows, capacity * sizeof(*rows));
        if (rows) {
            segments->rows = rows;
            segments->capacity = capacity;
        } else {
            rc = STORE_ENOMEM;
        }
    }
    pthread_mutex_unlock(&segments->lock);
    return rc;
}

void segments_push(struct segments *segments, struct segment *segment)
{
    pthread_mutex_lock(&segments->lock);
    CHECK(segments->count < segments->capacity);
    CHECK(segments->count == 0 || segments->rows[segments->count - 1]->number < segment->number);
    segments->rows[segments->count++] = segment;
    pthread_mutex_unlock(&segments->lock);
    atomic_fetch_add(&segments->health->segments, 1);
}

size_t segments_count(struct segments *segments)
{
    pthread_mutex_lock(&segments->lock);
    size_t count = segments->count;
    pthread_mutex_unlock(&segments->lock);
    return count;
}

struct segment *segments_at(struct segments *segments, size_t position)
{
    pthread_mutex_lock(&segments->lock);
    CHECK(position < segments->count);
    struct segment *segment = segments->rows[position];
    pthread_mutex_unlock(&segments->lock);
    return segment;
}

size_t segments_position_of(struct segments *segments, uint64_t index)
{
    pthread_mutex_lock(&segments->lock);
    size_t low = 0, high = segments->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct segment *segment = segments->rows[middle];
        /* A segment without entries is the last one. */
        if (segment->last_index >= index || segment->last_index == 0)
            high = middle;
        else
            low = middle + 1;
    }
    pthread_mutex_unlock(&segments->lock);
    return low;
}

void segments_hold(struct segments *segments)
{
    CHECK(pthread_rwlock_rdlock(&segments->shape) == 0);
}

void segments_release(struct segments *segments)
{
    CHECK(pthread_rwlock_unlock(&segments->shape) == 0);
}

/* by NULL: its row goes. */
static void reshape(struct segments *segments, struct segment *segment, struct segment *by)
{
    CHECK(pthread_rwlock_wrlock(&segments->shape) == 0);
    pthread_mutex_lock(&segments->lock);
    size_t at = 0;
    while (at < segments->count && segments->rows[at] != segment)
        at++;
    CHECK(at < segments->count && segment->sealed);
    if (by)
        segments->rows[at] = by;
    else
        memmove(&segments->rows[at], &segments->rows[at + 1],
                (--segments->count - at) * sizeof(*segments->rows));
    pthread_mutex_unlock(&segments->lock);
    CHECK(pthread_rwlock_unlock(&segments->shape) == 0);
    segment_destroy(segment);
}

void segments_remove(struct segments *segments, struct segment *segment)
{
    reshape(segments, segment, NULL);
    atomic_fetch_sub(&segments->health->segments, 1);
}

void segments_replace(struct segments *segments, struct segment *segment, struct segment *by)
{
    reshape(segments, segment, by);
}

void segments_extend(struct segments *segments, struct segment *segment, uint64_t first_index,
                     uint64_t last_index, int64_t first_time_us, int64_t last_time_us)
{
    pthread_mutex_lock(&segments->lock);
    if (segment->first_index == 0) {
        segment->first_index = first_index;
        segment->first_time_us = first_time_us;
    }
    segment->last_index = last_index;
    segment->last_time_us = last_time_us;
    pthread_mutex_unlock(&segments->lock);
}

bool segments_sealed(struct segments *segments, const struct segment *segment)
{
    pthread_mutex_lock(&segments->lock);
    bool sealed = segment->sealed;
    pthread_mutex_unlock(&segments->lock);
    return sealed;
}

struct segment_range segments_range(struct segments *segments, const struct segment *segment)
{
    pthread_mutex_lock(&segments->lock);
    struct segment_range range = {segment->first_index, segment->last_index, segment->first_time_us,
                                  segment->last_time_us};
    pthread_mutex_unlock(&segments->lock);
    return range;
}

/* ---- what is open ---- */

/* The least recently used sealed segment but `keep` that has an environment (or an index), if those are too many. */
static struct segment *env_to_close_locked(struct segments *segments, const struct segment *keep)
{
    struct segment *oldest = NULL;
    unsigned open = 0;
    for (size_t i = 0; i < segments->count; i++) {
        struct segment *segment = segments->rows[i];
        if (!segment->sealed || !segment->env)
            continue;
        open++;
        if (segment != keep && (!oldest || segment->used_at < oldest->used_at))
            oldest = segment;
    }
    return open > SEGMENTS_OPEN_MAX ? oldest : NULL;
}

static struct segment *index_to_drop_locked(struct segments *segments, const struct segment *keep)
{
    struct segment *oldest = NULL;
    size_t size = 0, loaded = 0;
    for (size_t i = 0; i < segments->count; i++) {
        struct segment *segment = segments->rows[i];
        if (!segment->sealed || !segment->index)
            continue;
        size += index_memory(segment->index);
        loaded++;
        if (segment != keep && (!oldest || segment->used_at < oldest->used_at))
            oldest = segment;
    }
    return size > segments->index_size && loaded > SEGMENTS_INDEXES_KEPT ? oldest : NULL;
}

/* Lets go of what has been opened beyond the limits. Who still uses it holds a reference. */
static void trim(struct segments *segments, const struct segment *keep)
{
    struct segment *victim;
    do {
        struct env *env = NULL;
        struct index *index = NULL;
        pthread_mutex_lock(&segments->lock);
        if ((victim = env_to_close_locked(segments, keep))) {
            env = victim->env;
            victim->env = NULL;
        } else if ((victim = index_to_drop_locked(segments, keep))) {
            index = victim->index;
            victim->index = NULL;
        }
        pthread_mutex_unlock(&segments->lock);
        env_unref(env);
        index_unref(index);
    } while (victim);
}

static struct env *env_if_open(struct segments *segments, struct segment *segment)
{
    pthread_mutex_lock(&segments->lock);
    struct env *env = NULL;
    if (segment->env && !atomic_load(&segment->env->failed))
        env = env_ref(segment->env);
    segment->used_at = ++segments->tick;
    pthread_mutex_unlock(&segments->lock);
    return env;
}

static struct index *index_if_loaded(struct segments *segments, struct segment *segment)
{
    pthread_mutex_lock(&segments->lock);
    struct index *index = segment->index ? index_ref(segment->index) : NULL;
    segment->used_at = ++segments->tick;
    pthread_mutex_unlock(&segments->lock);
    return index;
}

/* With open_lock held. Only sealed segments are ever found closed; an active one whose environment failed will never be
 * written again in this life, so it is read like a sealed one. */
static int env_open_locked(struct segments *segments, struct segment *segment, struct env **ret_env)
{
    struct env *env = env_if_open(segments, segment);
    if (!env) {
        struct path path = folder_segment(segments->folder, segment->number, segment->generation);
        int rc = env_open(path.text, ENV_SEALED, segments->map_size, &env);
        if (rc != 0) {
            atomic_fetch_add(&segments->health->errors, 1);
            LOG_ERROR(segments->health->log, "STORE-OPEN", "cannot open %s: %s", path.text, env_text(rc));
            return env_code(rc);
        }
        pthread_mutex_lock(&segments->lock);
        struct env *failed = segment->env;
        segment->env = env_ref(env);
        pthread_mutex_unlock(&segments->lock);
        env_unref(failed);
        trim(segments, segment);
    }
    *ret_env = env;
    return 0;
}

int segments_env(struct segments *segments, struct segment *segment, struct env **ret_env)
{
    if ((*ret_env = env_if_open(segments, segment)))
        return 0;
    pthread_mutex_lock(&segments->open_lock);
    int rc = env_open_locked(segments, segment, ret_env);
    pthread_mutex_unlock(&segments->open_lock);
    return rc;
}

void segments_seal(struct segments *segments, struct segment *segment)
{
    pthread_mutex_lock(&segments->lock);
    struct env *env = segment->env;
    segment->env = NULL;
    segment->sealed = true;
    pthread_mutex_unlock(&segments->lock);
    env_unref(env);
    trim(segments, NULL);
}

/* ---- indexes ---- */

static int index_entry(struct index *index, const struct env_value *value, const uint8_t *data)
{
    struct entry_header header;
    if (entry_header_decode(data, value->size, &header) < 0 || header.length != value->size ||
        header.index != value->index)
        return STORE_ECORRUPT;
    size_t at = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < header.part_count; i++) {
        struct entry_part part;
        int64_t used = entry_part_decode(data + at, value->size - at, &part);
        if (used < 0)
            return STORE_ECORRUPT;
        if (index_reserve(index, &part, 1) < 0)
            return STORE_ENOMEM;
        index_add(index, &part, 1, header.index, 0);
        at += (size_t)used;
    }
    index_add(index, NULL, 0, header.index, header.length);
    return 0;
}

int segments_index_entries(struct env *env, struct index *index, uint64_t from, uint64_t to,
                           uint64_t *ret_bad_index)
{
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, env);
    if (rc != 0)
        return env_code(rc);
    struct env_value value;
    const uint8_t *data = NULL;
    int code = 0;
    *ret_bad_index = from;
    for (rc = env_cursor_seek(&cursor, from, &value); rc == 0 && value.index <= to && code == 0;
         rc = env_cursor_next(&cursor, &value)) {
        *ret_bad_index = value.index;
        if ((rc = env_value_read(&cursor, &value, &data)) != 0)
            break;
        code = index_entry(index, &value, data);
        if (code == 0)
            *ret_bad_index = value.index + 1;
    }
    env_cursor_end(&cursor);
    if (code == 0 && rc != 0 && rc != MDB_NOTFOUND)
        code = env_code(rc);
    return code;
}

/* Reads the entries that the index does not know and saves it. */
static int complete_index(struct segments *segments, struct segment *segment, struct index *index)
{
    struct segment_range range = segments_range(segments, segment);
    uint64_t from = index_covers(index) + 1;
    if (from > range.last_index)
        return 0;
    struct env *env;
    int rc = env_open_locked(segments, segment, &env);
    if (rc < 0)
        return rc;
    uint64_t bad = 0;
    rc = segments_index_entries(env, index, from, range.last_index, &bad);
    if (rc < 0) {
        atomic_fetch_add(&segments->health->errors, 1);
        LOG_ERROR(segments->health->log, rc == STORE_EIO ? "STORE-EIO" : "STORE-CORRUPT",
                  "entry %" PRIu64 " in %s %s" FOLDER_REPAIR, bad, env->path,
                  rc == STORE_EIO ? "cannot be read" : "is damaged", FOLDER_REPAIR_OF(segments->folder));
    } else if (index_file_save(&segment->file, segments->folder, index, false) < 0) {
        LOG_WARN(segments->health->log, "STORE-INDEX",
                 "cannot save the offset index of %s; it is made again when needed", env->path);
    }
    env_unref(env);
    return rc;
}

static void keep_index(struct segments *segments, struct segment *segment, struct index *index)
{
    pthread_mutex_lock(&segments->lock);
    if (!segment->index)
        segment->index = index_ref(index);
    pthread_mutex_unlock(&segments->lock);
    trim(segments, segment);
}

/* The index from memory or file, whole; STORE_ECORRUPT: neither. */
static int find_index(struct segments *segments, struct segment *segment, struct index **ret_index)
{
    struct index *index = index_if_loaded(segments, segment);
    if (!index) {
        atomic_fetch_add(&segments->health->indexes_read, 1);
        int rc = index_file_load(&segment->file, segments->folder, &index);
        if (rc == 0 && (rc = complete_index(segments, segment, index)) < 0)
            index_unref(index);
        if (rc < 0)
            return rc;
        keep_index(segments, segment, index);
    }
    *ret_index = index;
    return 0;
}

/* Makes the segment's index after the one before it, by reading the segment. */
static int make_index(struct segments *segments, struct segment *segment, struct index *before,
                      struct index **ret_index)
{
    LOG_WARN(segments->health->log, "STORE-INDEX",
             "the offset index of segment %" PRIu64 " is missing or damaged; made again from its entries",
             segment->number);
    struct index *index = before ? index_create_after(before) : index_create();
    if (!index)
        return STORE_ENOMEM;
    struct segment_range range = segments_range(segments, segment);
    index_set_covers(index, range.first_index - 1);
    segment->file.end = 0;
    int rc = complete_index(segments, segment, index);
    if (rc < 0) {
        index_unref(index);
        return rc;
    }
    keep_index(segments, segment, index);
    *ret_index = index;
    return 0;
}

/* What every partition's next offset was at a segment's start only the segments before it know: so it begins at the
 * nearest one whose index is good, and makes those up to the one wanted. */
static int load_locked(struct segments *segments, struct segment *segment, struct index **ret_index)
{
    int rc = find_index(segments, segment, ret_index);
    if (rc != STORE_ECORRUPT)
        return rc;
    size_t wanted = segments_position_of(segments, segments_range(segments, segment).first_index);
    size_t from = wanted;
    struct index *before = NULL;
    while (from > 0 &&
           (rc = find_index(segments, segments_at(segments, from - 1), &before)) == STORE_ECORRUPT)
        from--;
    if (rc < 0 && rc != STORE_ECORRUPT)
        return rc;
    for (rc = 0; from <= wanted && rc == 0; from++) {
        struct index *made = NULL;
        rc = make_index(segments, segments_at(segments, from), before, &made);
        index_unref(before);
        before = made;
    }
    if (rc == 0)
        *ret_index = before;
    return rc;
}

int segments_index(struct segments *segments, struct segment *segment, struct index **ret_index)
{
    if ((*ret_index = index_if_loaded(segments, segment)))
        return 0;
    pthread_mutex_lock(&segments->open_lock);
    int rc = load_locked(segments, segment, ret_index);
    pthread_mutex_unlock(&segments->open_lock);
    return rc;
}

/* The nearest index in memory before a position, with a reference; *position: whose. NULL: there is none. */
static struct index *loaded_before(struct segments *segments, size_t *position)
{
    struct index *index = NULL;
    pthread_mutex_lock(&segments->lock);
    while (!index && *position > 0)
        if ((index = segments->rows[--*position]->index))
            (void)index_ref(index);
    pthread_mutex_unlock(&segments->lock);
    return index;
}

/* Most reads are at the end. An index is asked without the list's lock: it may be busy for milliseconds, and the writer wants both. */
bool segments_find_loaded(struct segments *segments, uint64_t partition, uint64_t offset,
                          size_t *ret_position)
{
    size_t position = segments_count(segments);
    bool found = false;
    for (struct index *index; !found && (index = loaded_before(segments, &position)); index_unref(index))
        found = index_holds(index, partition, offset);
    if (!found)
        return false;
    index_unref(index_if_loaded(segments, segments_at(segments, position))); /* it is in use */
    *ret_position = position;
    return true;
}
