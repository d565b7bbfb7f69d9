/* meta.c: meta.mdb; see meta.h and docs/disk-format.md.
 *
 * The file is made under another name and renamed when it is complete and synced, so a folder has either no meta.mdb
 * or a whole one. A folder with segments and without meta.mdb is damaged, and never taken for a new one. */
#include "storage/lmdb/meta.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "proto/crc32c.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define META_RESERVE                                                                                         \
    (256u                                                                                                    \
     << 10) /* allocated ahead, if there is room: a full disk must not keep segments from being given back */
#define META_MAP_SIZE (64u << 20) /* 500,000 segments */

enum { FORMAT_SIZE = 36, SEGMENT_SIZE = 44, MARK_SIZE = 12, SEGMENT_KEY_SIZE = 17, VALUE_SIZE_MAX = 64 };

static const uint8_t key_format[1] = {'F'};
static const uint8_t key_mark[1] = {'C'};

/* ---- rows and bytes ---- */

static uint32_t row_crc(const void *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    return crc32c(crc32c(0, key, key_size), value, value_size - 4);
}

static int put(MDB_txn *txn, MDB_dbi table, const void *key, size_t key_size, uint8_t *value,
               size_t value_size)
{
    le32_put(value + value_size - 4, row_crc(key, key_size, value, value_size));
    MDB_val k = {key_size, (void *)(uintptr_t)key}, v = {value_size, value};
    return mdb_put(txn, table, &k, &v, 0);
}

static bool row_good(const MDB_val *key, const MDB_val *value, size_t size)
{
    const uint8_t *bytes = value->mv_data;
    return value->mv_size == size &&
           le32_get(bytes + size - 4) == row_crc(key->mv_data, key->mv_size, bytes, size);
}

static void segment_key(uint8_t to[SEGMENT_KEY_SIZE], const struct segment_row *row)
{
    to[0] = 'S';
    be32_put(to + 1, META_SHARD);
    be64_put(to + 5, row->number);
    be32_put(to + 13, row->generation);
}

static int put_segment(MDB_txn *txn, MDB_dbi table, const struct segment_row *row)
{
    uint8_t key[SEGMENT_KEY_SIZE], value[SEGMENT_SIZE] = {0};
    segment_key(key, row);
    if (row->state == SEGMENT_GONE) {
        MDB_val k = {sizeof(key), key};
        return mdb_del(txn, table, &k, NULL);
    }
    value[0] = (uint8_t)row->state;
    le64_put(value + 8, row->first_index);
    le64_put(value + 16, row->last_index);
    le64_put(value + 24, (uint64_t)row->first_time_us);
    le64_put(value + 32, (uint64_t)row->last_time_us);
    return put(txn, table, key, sizeof(key), value, sizeof(value));
}

static bool get_segment(const MDB_val *key, const MDB_val *value, struct segment_row *ret_row)
{
    if (key->mv_size != SEGMENT_KEY_SIZE || !row_good(key, value, SEGMENT_SIZE))
        return false;
    const uint8_t *k = key->mv_data, *v = value->mv_data;
    if (be32_get(k + 1) != META_SHARD || v[0] < SEGMENT_NEW || v[0] > SEGMENT_DEAD)
        return false;
    *ret_row = (struct segment_row){.number = be64_get(k + 5),
                                    .generation = be32_get(k + 13),
                                    .state = (enum segment_state)v[0],
                                    .first_index = le64_get(v + 8),
                                    .last_index = le64_get(v + 16),
                                    .first_time_us = (int64_t)le64_get(v + 24),
                                    .last_time_us = (int64_t)le64_get(v + 32)};
    return true;
}

/* ---- making and opening ---- */

static int write_first(struct env *env, const struct meta *meta, const struct segment_row *rows, size_t count)
{
    uint8_t value[FORMAT_SIZE];
    le32_put(value, META_FORMAT_VERSION);
    le32_put(value + 4, meta->node_id);
    memcpy(value + 8, meta->cluster_id, sizeof(meta->cluster_id));
    le64_put(value + 24, (uint64_t)meta->created_us);
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = put(txn, env->table, key_format, sizeof(key_format), value, sizeof(value));
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = put_segment(txn, env->table, &rows[i]);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

static bool shard_has_files(const struct folder *folder)
{
    DIR *dir = opendir(folder->shard);
    if (!dir)
        return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(dir));)
        found = entry->d_name[0] != '.';
    closedir(dir);
    return found;
}

int meta_replace(const struct folder *folder, const struct meta *like, const struct segment_row *rows,
                 size_t count)
{
    struct path draft = folder_file(folder, "meta.mdb.new"), path = folder_file(folder, "meta.mdb");
    (void)unlink(draft.text); /* from a start that did not come this far */
    struct env *env;
    int rc = env_open(draft.text, ENV_TABLE, META_MAP_SIZE, &env);
    if (rc != 0)
        return rc;
    rc = write_first(env, like, rows, count);
    env_unref(env);
    if (rc == 0)
        rc = path_sync(&draft);
    if (rc == 0 && rename(draft.text, path.text) < 0)
        rc = errno;
    if (rc == 0)
        rc = folder_sync(folder->fd);
    return rc;
}

static int make_file(const struct folder *folder)
{
    struct meta meta = {.created_us = clock_wall_us()};
    if (random_system(meta.cluster_id, sizeof(meta.cluster_id)) < 0)
        return EIO;
    return meta_replace(folder, &meta, NULL, 0);
}

static int read_format(struct meta *meta, const struct path *path, char *error, size_t error_size)
{
    struct env_cursor cursor;
    MDB_val key = {sizeof(key_format), (void *)(uintptr_t)key_format}, value;
    int rc = env_cursor_begin(&cursor, meta->env);
    if (rc == 0 && (rc = env_row_find(&cursor, key_format, sizeof(key_format), &value)) != 0)
        env_cursor_end(&cursor);
    if (rc != 0) {
        (void)snprintf(error, error_size, "%s is damaged: %s", path->text, env_text(rc));
        return env_code(rc);
    }
    const uint8_t *bytes = value.mv_data;
    uint32_t version = value.mv_size >= 4 ? le32_get(bytes) : 0;
    if (!row_good(&key, &value, FORMAT_SIZE)) {
        (void)snprintf(error, error_size,
                       "%s is damaged or of another version (%u); this program reads version %d", path->text,
                       version, META_FORMAT_VERSION);
        rc = STORE_ECORRUPT;
    } else if (version != META_FORMAT_VERSION) {
        (void)snprintf(error, error_size, "%s has format version %u; this program reads version %d",
                       path->text, version, META_FORMAT_VERSION);
        rc = STORE_ECORRUPT;
    } else {
        meta->node_id = le32_get(bytes + 4);
        memcpy(meta->cluster_id, bytes + 8, sizeof(meta->cluster_id));
        meta->created_us = (int64_t)le64_get(bytes + 24);
    }
    env_cursor_end(&cursor);
    return rc;
}

int meta_open(struct meta *meta, const struct folder *folder, char *error, size_t error_size)
{
    *meta = (struct meta){0};
    struct path path = folder_file(folder, "meta.mdb");
    int rc = 0;
    if (!path_exists(&path)) {
        if (shard_has_files(folder)) {
            (void)snprintf(error, error_size, "%s is missing, but %s has files: restore it from a backup",
                           path.text, folder->shard);
            return STORE_ECORRUPT;
        }
        rc = make_file(folder);
    } else {
        rc = path_sync(&path); /* what a killed process wrote last may not be on the disk yet */
    }
    if (rc == 0)
        rc = env_open(path.text, ENV_TABLE, META_MAP_SIZE, &meta->env);
    if (rc != 0) {
        (void)snprintf(error, error_size, "cannot open %s: %s", path.text, env_text(rc));
        return env_code(rc);
    }
    if ((rc = read_format(meta, &path, error, error_size)) < 0)
        meta_close(meta);
    return rc;
}

void meta_close(struct meta *meta)
{
    env_unref(meta->env);
    meta->env = NULL;
}

/* ---- the manifest ---- */

static int manifest_add(struct meta_manifest *manifest, size_t *capacity, const struct segment_row *row)
{
    if (manifest->count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 64;
        struct segment_row *rows = realloc(manifest->rows, wanted * sizeof(*rows));
        if (!rows)
            return STORE_ENOMEM;
        manifest->rows = rows;
        *capacity = wanted;
    }
    manifest->rows[manifest->count++] = *row;
    return 0;
}

static int load_row(struct meta_manifest *manifest, size_t *capacity, const MDB_val *key,
                    const MDB_val *value)
{
    struct segment_row row;
    switch (key->mv_size > 0 ? *(const uint8_t *)key->mv_data : 0) {
    case 'F':
        return 0; /* read_format was here */
    case 'C':
        if (!row_good(key, value, MARK_SIZE))
            return STORE_ECORRUPT;
        manifest->clean = true;
        manifest->clean_last_index = le64_get(value->mv_data);
        return 0;
    case 'S':
        return get_segment(key, value, &row) ? manifest_add(manifest, capacity, &row) : STORE_ECORRUPT;
    default:
        return STORE_ECORRUPT;
    }
}

int meta_load(const struct meta *meta, struct meta_manifest *ret_manifest, char *error, size_t error_size)
{
    struct meta_manifest manifest = {0};
    size_t capacity = 0;
    struct env_cursor cursor;
    int rc = env_cursor_begin(&cursor, meta->env);
    if (rc != 0) {
        (void)snprintf(error, error_size, "cannot read %s: %s", meta->env->path, env_text(rc));
        return env_code(rc);
    }
    MDB_val key, value;
    int code = 0;
    for (rc = env_row_first(&cursor, &key, &value); rc == 0 && code == 0;
         rc = env_row_next(&cursor, &key, &value))
        code = load_row(&manifest, &capacity, &key, &value);
    env_cursor_end(&cursor);
    if (code == 0 && rc != MDB_NOTFOUND)
        code = env_code(rc);
    if (code < 0) {
        (void)snprintf(error, error_size, "%s has a damaged row: restore it from a backup", meta->env->path);
        free(manifest.rows);
        return code;
    }
    *ret_manifest = manifest;
    return 0;
}

void meta_manifest_finish(struct meta_manifest *manifest)
{
    free(manifest->rows);
    *manifest = (struct meta_manifest){0};
}

static int put_mark(MDB_txn *txn, MDB_dbi table, const struct meta_change *change)
{
    if (change->mark == META_MARK_SET) {
        uint8_t value[MARK_SIZE];
        le64_put(value, change->last_index);
        return put(txn, table, key_mark, sizeof(key_mark), value, sizeof(value));
    }
    if (change->mark == META_MARK_CLEAR) {
        MDB_val key = {sizeof(key_mark), (void *)(uintptr_t)key_mark};
        int rc = mdb_del(txn, table, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    return 0;
}

int meta_commit(struct meta *meta, const struct meta_change *change)
{
    /* A few pages; allocated beforehand so that a full disk cannot stop a transaction half-way. */
    (void)env_reserve(meta->env, env_used_bytes(meta->env) + META_RESERVE); /* for when the disk is full */
    int rc = env_reserve(meta->env, env_used_bytes(meta->env) + 16 * meta->env->page_size);
    if (rc != 0)
        return rc;
    MDB_txn *txn;
    if ((rc = mdb_txn_begin(meta->env->mdb, NULL, 0, &txn)) != 0)
        return rc;
    for (size_t i = 0; i < change->count && rc == 0; i++)
        rc = put_segment(txn, meta->env->table, &change->rows[i]);
    if (rc == 0)
        rc = put_mark(txn, meta->env->table, change);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}
