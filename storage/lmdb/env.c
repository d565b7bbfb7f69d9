/* env.c: one LMDB environment; see env.h. */
#include "storage/lmdb/env.h"

#include "base/bytes.h"
#include "base/check.h"
#include "storage/lmdb/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_STEP_MIN (64u << 10) /* a small folder stays small */
#define RESERVE_STEP_MAX (16u << 20) /* and a large one asks seldom */
#define PAGE_HEADER_SIZE 16          /* in front of a value with pages of its own */
#define NODE_HEADER_SIZE 8
#define KEY_SIZE         8

static const unsigned role_flags[] = {
    [ENV_TABLE] = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOLOCK,
    [ENV_ACTIVE] = MDB_NOSUBDIR | MDB_NOTLS,
    [ENV_SEALED] = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOLOCK | MDB_RDONLY,
};

/* LMDB moves a value out of its leaf when the node would not leave room for two in a page. */
static size_t inline_max_of(size_t page_size)
{
    size_t node_max = (((page_size - PAGE_HEADER_SIZE) / 2) & ~(size_t)1) - sizeof(uint16_t);
    return node_max - NODE_HEADER_SIZE - KEY_SIZE;
}

static int open_table(struct env *env)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return rc;
    if ((rc = mdb_dbi_open(txn, NULL, 0, &env->table)) != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    MDB_stat stat;
    if ((rc = mdb_stat(txn, env->table, &stat)) == 0)
        env->page_size = stat.ms_psize;
    mdb_txn_abort(txn);
    return rc;
}

static int find_length(struct env *env)
{
    struct stat stat;
    if (fstat(env->fd, &stat) < 0)
        return errno;
    env->allocated = (uint64_t)stat.st_size;
    return 0;
}

int env_open(const char *path, enum env_role role, uint64_t map_size, struct env **ret_env)
{
    int rc = pages_check(path, role == ENV_TABLE);
    if (rc != 0)
        return rc;
    struct env *env = calloc(1, sizeof(*env));
    if (!env)
        return ENOMEM;
    atomic_init(&env->refs, 1);
    env->role = role;
    rc = ENOMEM;
    if (!(env->path = strdup(path)))
        goto free_env;
    if ((rc = mdb_env_create(&env->mdb)) != 0)
        goto free_env;
    if ((rc = mdb_env_set_mapsize(env->mdb, map_size)) != 0)
        goto close_env;
    if ((rc = mdb_env_open(env->mdb, path, role_flags[role], 0600)) != 0)
        goto close_env;
    if ((rc = mdb_env_get_fd(env->mdb, &env->fd)) != 0)
        goto close_env;
    if ((rc = open_table(env)) != 0)
        goto close_env;
    if ((rc = find_length(env)) != 0)
        goto close_env;
    env->inline_max = inline_max_of(env->page_size);
    MDB_envinfo info; /* LMDB raises the map to what a file holds already */
    CHECK(mdb_env_info(env->mdb, &info) == 0);
    env->pages_max = info.me_mapsize / env->page_size;
    *ret_env = env;
    return 0;

close_env:
    mdb_env_close(env->mdb);
free_env:
    free(env->path);
    free(env);
    return rc;
}

struct env *env_ref(struct env *env)
{
    CHECK(atomic_fetch_add(&env->refs, 1) > 0);
    return env;
}

void env_unref(struct env *env)
{
    if (!env || atomic_fetch_sub(&env->refs, 1) > 1)
        return;
    mdb_env_close(env->mdb);
    char *lock_path;
    if (env->role == ENV_ACTIVE && asprintf(&lock_path, "%s-lock", env->path) >= 0) {
        (void)unlink(lock_path); /* a stale one does no harm: it is made anew by whoever opens exclusively */
        free(lock_path);
    }
    free(env->path);
    free(env);
}

int env_code(int rc)
{
    switch (rc) {
    case 0:
        return STORE_OK;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case MDB_MAP_FULL:
        return STORE_EFULL;
    case ENOMEM:
        return STORE_ENOMEM;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_NOTFOUND:
        return STORE_ECORRUPT;
    default:
        return STORE_EIO;
    }
}

const char *env_text(int rc)
{
    return mdb_strerror(rc);
}

int env_reserve(struct env *env, uint64_t end)
{
    end = (end + env->page_size - 1) / env->page_size * env->page_size;
    if (end <= env->allocated)
        return 0;
    uint64_t step = env->allocated;
    if (step < RESERVE_STEP_MIN)
        step = RESERVE_STEP_MIN;
    if (step > RESERVE_STEP_MAX)
        step = RESERVE_STEP_MAX;
    uint64_t generous = env->allocated + step;
    if (generous > env->pages_max * env->page_size)
        generous = env->pages_max * env->page_size;
    uint64_t wanted = generous > end ? generous : end;
    for (;;) {
        if (fallocate(env->fd, 0, (off_t)env->allocated, (off_t)(wanted - env->allocated)) == 0) {
            env->allocated = wanted;
            return 0;
        }
        if (errno == EINTR)
            continue;
        if (errno == EOPNOTSUPP || errno == ENOSYS) {
            env->allocated = UINT64_MAX; /* not asked again: here a full disk is met by the commit */
            return 0;
        }
        if (wanted == end)
            return errno;
        wanted = end; /* no room for the step; perhaps for what is needed now */
    }
}

uint64_t env_last_page(const struct env *env)
{
    MDB_envinfo info;
    CHECK(mdb_env_info(env->mdb, &info) == 0);
    return info.me_last_pgno;
}

uint64_t env_used_bytes(const struct env *env)
{
    return (env_last_page(env) + 1) * env->page_size;
}

bool env_writable(const struct env *env)
{
    MDB_txn *txn;
    if (mdb_txn_begin(env->mdb, NULL, 0, &txn) != 0)
        return false;
    mdb_txn_abort(txn);
    return true;
}

int env_sync_file(int fd)
{
    return fdatasync(fd) == 0 ? 0 : errno; /* EINTR too: a failed sync is never retried */
}

int env_pread(const struct env *env, void *to, size_t size, uint64_t position)
{
    uint8_t *at = to;
    while (size > 0) {
        ssize_t got = pread(env->fd, at, size, (off_t)position);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            return EIO;
        at += got;
        size -= (size_t)got;
        position += (uint64_t)got;
    }
    return 0;
}

/* ---- cursors ---- */

int env_cursor_begin(struct env_cursor *cursor, struct env *env)
{
    cursor->env = env;
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &cursor->txn);
    if (rc == MDB_PANIC)
        atomic_store(&env->failed, true);
    if (rc != 0)
        return rc;
    if ((rc = mdb_cursor_open(cursor->txn, env->table, &cursor->cursor)) != 0)
        mdb_txn_abort(cursor->txn);
    return rc;
}

void env_cursor_end(struct env_cursor *cursor)
{
    mdb_cursor_close(cursor->cursor);
    mdb_txn_abort(cursor->txn);
}

/* The key lies in a leaf page of the map and that page states its number, which tells where the map begins
 * (mdb_env_info does not); so the value's pages are located without being touched. */
static uint64_t position_of(const struct env *env, const MDB_val *key, const MDB_val *value)
{
    uintptr_t leaf = (uintptr_t)key->mv_data & ~(uintptr_t)(env->page_size - 1);
    uint64_t leaf_number = le64_get((const void *)leaf);
    uintptr_t map = leaf - (uintptr_t)(leaf_number * env->page_size);
    return (uint64_t)((uintptr_t)value->mv_data - map);
}

static int cursor_get(struct env_cursor *cursor, MDB_val *key, MDB_cursor_op op, struct env_value *ret_value)
{
    MDB_val value;
    int rc = mdb_cursor_get(cursor->cursor, key, &value, op);
    if (rc != 0)
        return rc;
    if (key->mv_size != KEY_SIZE)
        return MDB_CORRUPTED;
    struct env *env = cursor->env;
    ret_value->index = be64_get(key->mv_data);
    ret_value->data = value.mv_data;
    ret_value->size = value.mv_size;
    ret_value->position = 0;
    if (value.mv_size > env->inline_max) {
        ret_value->position = position_of(env, key, &value);
        if (ret_value->position % env->page_size != PAGE_HEADER_SIZE ||
            ret_value->position + value.mv_size > env->pages_max * env->page_size)
            return MDB_CORRUPTED;
    }
    return 0;
}

int env_cursor_seek(struct env_cursor *cursor, uint64_t index, struct env_value *ret_value)
{
    uint8_t bytes[KEY_SIZE];
    be64_put(bytes, index);
    MDB_val key = {sizeof(bytes), bytes};
    return cursor_get(cursor, &key, MDB_SET_RANGE, ret_value);
}

int env_cursor_next(struct env_cursor *cursor, struct env_value *ret_value)
{
    MDB_val key;
    return cursor_get(cursor, &key, MDB_NEXT, ret_value);
}

int env_cursor_last(struct env_cursor *cursor, struct env_value *ret_value)
{
    MDB_val key;
    return cursor_get(cursor, &key, MDB_LAST, ret_value);
}
