/* state.c: state.mdb; see state.h and docs/disk-format.md.
 *
 * Happy path:  state_begin → state_open → state_load (replay gives the rest) → state_flush about every second → state_copy at rolls
 * Failures:    a row with a bad CRC or a broken tree: the file is put into quarantine, the newest good copy takes its
 *              place and replay starts further back. A failed flush leaves the file at the F before. */
#include "storage/lmdb/state.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STATE_MAP_SIZE   ((uint64_t)4 << 30) /* address space only */
#define COPY_STEP        (512u << 10)
#define STATE_COPIES_MAX 16 /* more than this in the folder: the oldest are not looked at */

/* ---- rows ---- */

static int put_row(MDB_txn *txn, MDB_dbi table, const void *key, size_t key_size, const void *value,
                   size_t value_size)
{
    MDB_val k = {key_size, (void *)(uintptr_t)key}, v = {value_size + STATE_CRC_SIZE, NULL};
    int rc = mdb_put(txn, table, &k, &v, MDB_RESERVE);
    if (rc != 0)
        return rc;
    if (value_size)
        memcpy(v.mv_data, value, value_size);
    le32_put((uint8_t *)v.mv_data + value_size, state_row_crc(key, key_size, value, value_size));
    return 0;
}

static int put_cut(MDB_txn *txn, MDB_dbi table, uint64_t flushed_index)
{
    uint8_t value[STATE_CUT_SIZE - STATE_CRC_SIZE];
    le32_put(value, STATE_VERSION);
    le32_put(value + 4, 0);
    le64_put(value + 8, flushed_index);
    return put_row(txn, table, (uint8_t[]){STATE_KEY_CUT}, 1, value, sizeof(value));
}

/* ---- files ---- */

int state_check(const struct path *path, uint64_t *ret_flushed_index)
{
    return path_exists(path) ? state_read(path->text, NULL, ret_flushed_index) : ENOENT;
}

/* Gives a complete, synced draft its name. */
static int publish(const struct folder *folder, const struct path *draft, const struct path *path)
{
    int rc = path_sync(draft);
    if (rc == 0 && rename(draft->text, path->text) < 0)
        rc = errno;
    return rc == 0 ? folder_sync(folder->shard_fd) : rc;
}

static int make_empty(const struct folder *folder, const struct path *path)
{
    struct path draft = folder_shard_file(folder, "state.mdb.new");
    (void)unlink(draft.text);
    struct env *env;
    int rc = env_open(draft.text, ENV_TABLE, STATE_MAP_SIZE, &env);
    if (rc != 0)
        return rc;
    MDB_txn *txn;
    if ((rc = mdb_txn_begin(env->mdb, NULL, 0, &txn)) == 0) {
        if ((rc = put_cut(txn, env->table, 0)) == 0)
            rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    env_unref(env);
    return rc == 0 ? publish(folder, &draft, path) : rc;
}

/* This step begins to be written out, the one before has been. Without a commit of the file system: that comes once, at the end.
 * An error is told here only. 0 or an errno. */
static int write_behind(int fd, uint64_t at, size_t size)
{
    const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    int rc = sync_file_range(fd, (off_t)at, (off_t)size, SYNC_FILE_RANGE_WRITE);
    if (rc == 0 && at > 0)
        rc = sync_file_range(fd, (off_t)(at - COPY_STEP), COPY_STEP, all);
    return rc == 0 || errno == ENOSYS ? 0 : errno;
}

/* The pages in use; nobody writes meanwhile. They leave for the disk step by step: commits of the log go there too, and would
 * wait for all of a large copy at its end. */
static int write_pages(const struct env *env, int fd, const struct state_pause *pause)
{
    uint64_t end = env_used_bytes(env);
    uint8_t *bytes = malloc(COPY_STEP);
    int rc = bytes ? 0 : ENOMEM;
    for (uint64_t at = 0; rc == 0 && at < end; at += COPY_STEP) {
        size_t size = end - at < COPY_STEP ? (size_t)(end - at) : COPY_STEP;
        if ((rc = env_pread(env, bytes, size, at)) == 0)
            rc = path_write_all(fd, bytes, size);
        if (rc == 0)
            rc = write_behind(fd, at, size);
        if (pause)
            pause->fn(pause->ctx);
    }
    free(bytes);
    return rc;
}

static int write_copy(const struct folder *folder, struct env *env, const struct path *path,
                      const struct state_pause *pause)
{
    struct path draft = folder_shard_file(folder, "state.mdb.new");
    (void)unlink(draft.text);
    int fd = open(draft.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int rc = write_pages(env, fd, pause);
    if (close(fd) < 0 && rc == 0)
        rc = errno;
    if (rc == 0)
        rc = publish(folder, &draft, path);
    if (rc != 0)
        (void)unlink(draft.text);
    return rc;
}

static bool parse_copy(const char *name, uint64_t *ret_index)
{
    int end = 0;
    return sscanf(name, "state-%20" SCNu64 ".mdb%n", ret_index, &end) == 1 && end > 0 && !name[end];
}

bool state_owns(const char *name)
{
    uint64_t index;
    return strcmp(name, "state.mdb") == 0 || strcmp(name, "state.mdb.new") == 0 || parse_copy(name, &index);
}

struct path state_copy_path(const struct folder *folder, uint64_t index)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "state-%020" PRIu64 ".mdb", index);
    return folder_shard_file(folder, name);
}

static int newest_first(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? 1 : left > right ? -1 : 0;
}

/* The copies' F, newest first. Returns how many. */
static size_t list_copies(const struct folder *folder, uint64_t copies[STATE_COPIES_MAX])
{
    DIR *dir = opendir(folder->shard);
    if (!dir)
        return 0;
    size_t count = 0;
    uint64_t index;
    for (struct dirent *entry; count < STATE_COPIES_MAX && (entry = readdir(dir));)
        if (parse_copy(entry->d_name, &index))
            copies[count++] = index;
    closedir(dir);
    qsort(copies, count, sizeof(copies[0]), newest_first);
    return count;
}

static uint64_t oldest_copy(const struct folder *folder)
{
    uint64_t copies[STATE_COPIES_MAX];
    size_t count = list_copies(folder, copies);
    size_t kept = count < STATE_COPIES_KEPT ? count : STATE_COPIES_KEPT;
    return kept ? copies[kept - 1] : 0;
}

/* ---- opening ---- */

/* Puts the newest good copy in the place of state.mdb, or an empty state if there is none. 0 or an LMDB code. */
static int restore(const struct folder *folder, const struct path *path)
{
    uint64_t copies[STATE_COPIES_MAX], flushed_index;
    size_t count = list_copies(folder, copies);
    for (size_t i = 0; i < count; i++) {
        struct path from = state_copy_path(folder, copies[i]);
        struct env *env;
        int rc = state_read(from.text, NULL, &flushed_index);
        if (rc == 0)
            rc = env_open(from.text, ENV_SEALED, STATE_MAP_SIZE, &env);
        if (rc != 0) {
            LOG_ERROR(folder->log, "STORE-STATE", "%s is damaged too: %s", from.text, env_text(rc));
            continue;
        }
        rc = write_copy(folder, env, path, NULL);
        env_unref(env);
        if (rc == 0)
            LOG_WARN(folder->log, "STORE-STATE", "state restored from %s; replaying from entry %" PRIu64,
                     from.text, flushed_index + 1);
        return rc;
    }
    LOG_WARN(folder->log, "STORE-STATE", "no good copy of the state; it is made again from the whole log");
    return make_empty(folder, path);
}

static int replace_damaged(const struct folder *folder, const struct path *path, int why)
{
    LOG_ERROR(folder->log, "STORE-STATE", "%s is damaged: %s", path->text, env_text(why));
    int rc = folder_quarantine(folder, "state.mdb", "damaged");
    return rc == 0 ? restore(folder, path) : rc;
}

void state_begin(struct state *state, const struct folder *folder)
{
    *state = (struct state){.folder = folder};
    struct path path = folder_shard_file(folder, "state.mdb");
    if (path_exists(&path))
        state_ahead_begin(&state->ahead, &path);
}

static int open_env(struct state *state, const struct path *path)
{
    return env_open_checked(path->text, ENV_TABLE, STATE_MAP_SIZE, &state->env);
}

static int open_found(struct state *state, const struct path *path)
{
    int rc = state_ahead_end(&state->ahead, path, &state->rows, &state->flushed_index);
    return rc == 0 ? open_env(state, path) : rc;
}

static int open_made(struct state *state, const struct path *path)
{
    int rc = state_read(path->text, &state->rows, &state->flushed_index);
    return rc == 0 ? open_env(state, path) : rc;
}

int state_open(struct state *state, bool log_is_empty, char *error, size_t error_size)
{
    const struct folder *folder = state->folder;
    struct path path = folder_shard_file(folder, "state.mdb");
    int rc = 0;
    if (path_exists(&path)) {
        rc = open_found(state, &path);
        if (env_code(rc) == STORE_ECORRUPT && (rc = replace_damaged(folder, &path, rc)) == 0)
            rc = open_made(state, &path);
    } else {
        if (!log_is_empty)
            LOG_ERROR(folder->log, "STORE-STATE", "%s is missing", path.text);
        rc = log_is_empty ? make_empty(folder, &path) : restore(folder, &path);
        if (rc == 0)
            rc = open_made(state, &path);
    }
    if (rc != 0)
        (void)snprintf(error, error_size, "cannot open %s: %s", path.text, env_text(rc));
    else
        state->copied_index = oldest_copy(folder);
    return env_code(rc);
}

void state_close(struct state *state)
{
    state_ahead_drop(&state->ahead);
    state_rows_free(&state->rows);
    env_unref(state->env);
    state->env = NULL;
}

int state_load(struct state *state, store_row_fn *fn, void *ctx)
{
    uint64_t flushed_index;
    int rc = state->rows.bytes ? 0 : state_read(state->env->path, &state->rows, &flushed_index);
    if (rc != 0) {
        LOG_ERROR(state->folder->log, "STORE-STATE", "cannot read %s: %s", state->env->path, env_text(rc));
        return env_code(rc);
    }
    rc = state_rows_each(&state->rows, fn, ctx);
    state_rows_free(&state->rows);
    return rc;
}

/* ---- a range of rows ---- */

struct range_rows {
    struct store_row *rows; /* then the bytes: keys and values */
    size_t size, capacity;  /* of the bytes */
};

static bool range_reserve(struct range_rows *out, const struct store_range *range, size_t size)
{
    size_t head = range->count_max * sizeof(struct store_row);
    if (out->rows && out->capacity - out->size >= size)
        return true;
    size_t capacity = 2 * out->capacity + size + (16u << 10);
    struct store_row *grown = realloc(out->rows, head + capacity);
    if (!grown)
        return false;
    out->rows = grown;
    out->capacity = capacity;
    return true;
}

/* Until the end, the block may move: pointers are places in it. */
static bool range_add(struct range_rows *out, struct store_range *range, const MDB_val *key,
                      const MDB_val *value)
{
    size_t value_size = value->mv_size - STATE_CRC_SIZE;
    if (!range_reserve(out, range, key->mv_size + value_size))
        return false;
    uint8_t *bytes = (uint8_t *)(out->rows + range->count_max) + out->size;
    memcpy(bytes, key->mv_data, key->mv_size);
    memcpy(bytes + key->mv_size, value->mv_data, value_size);
    out->rows[range->count++] = (struct store_row){.key_size = key->mv_size, .value_size = value_size};
    out->size += key->mv_size + value_size;
    return true;
}

static void range_settle(const struct range_rows *out, struct store_range *range)
{
    const uint8_t *at = (const uint8_t *)(out->rows + range->count_max);
    for (size_t i = 0; i < range->count; i++) {
        out->rows[i].key = at;
        out->rows[i].value = at + out->rows[i].key_size;
        at += out->rows[i].key_size + out->rows[i].value_size;
    }
    range->rows = out->rows;
}

int state_range(const struct state *state, struct store_range *range)
{
    struct env_cursor cursor;
    struct range_rows out = {0};
    MDB_val key, value;
    range->count = 0;
    range->rows = NULL;
    int rc = env_cursor_begin(&cursor, state->env);
    if (rc != 0)
        return rc;
    for (rc = env_row_seek(&cursor, range->from, range->from_size, &key, &value);
         rc == 0 && range->count < range->count_max && *(const uint8_t *)key.mv_data == range->from[0];
         rc = env_row_next(&cursor, &key, &value)) {
        if (!state_row_good(&key, &value))
            rc = MDB_CORRUPTED;
        else if (!range_add(&out, range, &key, &value))
            rc = ENOMEM;
        if (rc != 0)
            break;
    }
    env_cursor_end(&cursor);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        free(out.rows);
        range->count = 0;
        return rc;
    }
    if (out.rows)
        range_settle(&out, range);
    return 0;
}

/* ---- flushing ---- */

/* Bytes a flush can add at most: each row copies one leaf, there are not more leaves than the tree has, and new rows
 * fill pages at least by half. */
static uint64_t worst_case(const struct state *state, const struct store_flush *flush)
{
    MDB_stat stat;
    CHECK(mdb_env_stat(state->env->mdb, &stat) == 0);
    uint64_t touched = stat.ms_leaf_pages + stat.ms_branch_pages;
    if (touched > flush->row_count * 2)
        touched = flush->row_count * 2;
    uint64_t bytes = 0;
    for (const struct store_rows *some = flush->rows; some; some = some->next)
        for (size_t i = 0; i < some->count; i++) {
            bytes += (some->rows[i].key_size + some->rows[i].value_size + 32) * 2;
            if (some->rows[i].value_size > state->env->inline_max)
                bytes += 2 * state->env->page_size;
        }
    return bytes + (touched + 32) * state->env->page_size;
}

static int write_row(MDB_txn *txn, MDB_dbi table, const struct store_row *row)
{
    CHECK(row->key_size > 0 && row->key_size <= STORE_KEY_SIZE_MAX && row->key[0] != STATE_KEY_CUT);
    if (row->value)
        return put_row(txn, table, row->key, row->key_size, row->value, row->value_size);
    MDB_val key = {row->key_size, (void *)(uintptr_t)row->key};
    int rc = mdb_del(txn, table, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_rows(MDB_txn *txn, MDB_dbi table, const struct store_flush *flush)
{
    int rc = 0;
    for (const struct store_rows *some = flush->rows; some && rc == 0; some = some->next)
        for (size_t i = 0; i < some->count && rc == 0; i++)
            rc = write_row(txn, table, &some->rows[i]);
    return rc == 0 ? put_cut(txn, table, flush->applied_index) : rc;
}

int state_flush(struct state *state, const struct store_flush *flush)
{
    CHECK(flush->applied_index >= state->flushed_index);
    int rc = env_reserve(state->env, env_used_bytes(state->env) + worst_case(state, flush));
    if (rc != 0)
        return rc;
    MDB_txn *txn;
    if ((rc = mdb_txn_begin(state->env->mdb, NULL, 0, &txn)) != 0)
        return rc;
    if ((rc = write_rows(txn, state->env->table, flush)) != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    if ((rc = mdb_txn_commit(txn)) == 0)
        state->flushed_index = flush->applied_index;
    return rc;
}

int state_copy(struct state *state, const struct state_pause *pause)
{
    struct path path = state_copy_path(state->folder, state->flushed_index);
    if (!path_exists(&path)) {
        int rc = write_copy(state->folder, state->env, &path, pause);
        if (rc != 0)
            return rc;
    }
    uint64_t copies[STATE_COPIES_MAX];
    size_t count = list_copies(state->folder, copies);
    for (size_t i = STATE_COPIES_KEPT; i < count; i++) {
        struct path old = state_copy_path(state->folder, copies[i]);
        (void)unlink(old.text);
    }
    state->copied_index = oldest_copy(state->folder);
    return 0;
}
