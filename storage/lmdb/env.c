/* env.c: one LMDB environment; see env.h. */
#include "storage/lmdb/env.h"

#include "base/bytes.h"
#include "base/check.h"
#include "storage/lmdb/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_STEP_MIN (64u << 10) /* a small folder stays small */
#define RESERVE_STEP_MAX (16u << 20) /* and a large one asks seldom */
#define KEY_SIZE         8
#define LOCK_FILE_SIZE   (16u << 10) /* LMDB's 126 readers take 8 KiB */

static const unsigned role_flags[] = {
    [ENV_TABLE] = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOLOCK,
    [ENV_ACTIVE] = MDB_NOSUBDIR | MDB_NOTLS,
};

/* LMDB moves a value out of its leaf when the node would not leave room for two in a page. */
static size_t inline_max_of(size_t page_size)
{
    size_t node_max = (((page_size - PAGE_HEADER_SIZE) / 2) & ~(size_t)1) - sizeof(uint16_t);
    return node_max - PAGE_NODE_SIZE - KEY_SIZE;
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

/* LMDB maps its lock file and stores through the map. On a full disk a page that has no block yet would end the process
 * there (SIGBUS); so all of them get their blocks before, and LMDB keeps the size it finds. The folder is ours alone. */
static int make_lock_file(const struct env *env)
{
    static const uint8_t zeros[LOCK_FILE_SIZE];
    char *path;
    if (asprintf(&path, "%s-lock", env->path) < 0)
        return ENOMEM;
    int rc = 0, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t written = fd < 0 ? -1 : pwrite(fd, zeros, sizeof(zeros), 0);
    if (written < 0)
        rc = errno;
    else if ((size_t)written < sizeof(zeros))
        rc = ENOSPC;
    if (fd >= 0)
        close(fd);
    if (rc != 0)
        (void)unlink(path);
    free(path);
    return rc;
}

static int open_mdb(struct env *env, uint64_t map_size)
{
    int rc = env->role == ENV_ACTIVE ? make_lock_file(env) : 0;
    if (rc != 0 || (rc = mdb_env_create(&env->mdb)) != 0)
        return rc;
    if ((rc = mdb_env_set_mapsize(env->mdb, map_size)) != 0)
        return rc;
    if ((rc = mdb_env_open(env->mdb, env->path, role_flags[env->role], 0600)) != 0)
        return rc;
    if ((rc = mdb_env_get_fd(env->mdb, &env->fd)) != 0)
        return rc;
    if ((rc = open_table(env)) != 0)
        return rc;
    MDB_envinfo info; /* LMDB raises the map to what a file holds already */
    CHECK(mdb_env_info(env->mdb, &info) == 0);
    env->pages_max = info.me_mapsize / env->page_size;
    return find_length(env);
}

static int open_sealed(struct env *env)
{
    env->page_size = (size_t)sysconf(_SC_PAGESIZE);
    env->fd = open(env->path, O_RDONLY | O_CLOEXEC);
    if (env->fd < 0)
        return errno;
    (void)posix_fadvise(env->fd, 0, 0, POSIX_FADV_RANDOM); /* no read-ahead: commits would wait for it */
    struct page_meta meta;
    int rc = page_read_newest(env->fd, env->page_size, &meta);
    env->pages_max = rc == 0 ? meta.pages : 0;
    return rc;
}

static void env_close(struct env *env)
{
    if (env->mdb)
        mdb_env_close(env->mdb);
    else if (env->fd >= 0)
        close(env->fd);
    free(env->path);
    free(env);
}

int env_open(const char *path, enum env_role role, uint64_t map_size, struct env **ret_env)
{
    int rc = role == ENV_SEALED ? 0 : pages_check(path, role == ENV_TABLE);
    return rc == 0 ? env_open_checked(path, role, map_size, ret_env) : rc;
}

int env_open_checked(const char *path, enum env_role role, uint64_t map_size, struct env **ret_env)
{
    struct env *env = calloc(1, sizeof(*env));
    if (!env)
        return ENOMEM;
    atomic_init(&env->refs, 1);
    env->role = role;
    env->fd = -1;
    int rc = ENOMEM;
    if ((env->path = strdup(path)))
        rc = role == ENV_SEALED ? open_sealed(env) : open_mdb(env, map_size);
    if (rc != 0) {
        env_close(env);
        return rc;
    }
    env->inline_max = inline_max_of(env->page_size);
    *ret_env = env;
    return 0;
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
    char *lock_path = NULL;
    if (env->role == ENV_ACTIVE && asprintf(&lock_path, "%s-lock", env->path) < 0)
        lock_path = NULL; /* a stale one does no harm: it is made anew by whoever opens exclusively */
    env_close(env);
    if (lock_path)
        (void)unlink(lock_path);
    free(lock_path);
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
    case EMFILE: /* met before anything was begun, and gone when some connections are */
    case ENFILE:
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
    if (!env->mdb)
        return env->pages_max - 1;
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
    if (env->role == ENV_SEALED)
        page_fetch_block(env->fd, position, position + size);
    return page_read(env->fd, to, size, position);
}

/* ---- cursors ---- */

/* Tells which commit a read transaction holds by reading its meta page. LMDB writes them in turns, so it may only be on its
 * way to this page once the next commit can be seen: if that is not so afterwards, what was read was at rest. */
static int meta_of_txn(struct env *env, MDB_txn *txn, bool *ret_at_rest, struct page_meta *ret_meta)
{
    struct page_meta metas[2];
    size_t id = mdb_txn_id(txn);
    int rc = page_read_metas(env->fd, env->page_size, metas);
    MDB_envinfo info;
    CHECK(mdb_env_info(env->mdb, &info) == 0);
    *ret_at_rest = info.me_last_txnid == id;
    if (!*ret_at_rest)
        return 0; /* even a meta page that looked wrong: it was being written */
    *ret_meta = metas[id & 1];
    return rc != 0 || ret_meta->txn == id ? rc : MDB_CORRUPTED;
}

/* Each time the transaction is too old the writer has made a commit, so this ends. */
static int hold_commit(struct env *env, MDB_txn **ret_txn, struct page_meta *ret_meta)
{
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, ret_txn);
    if (rc == MDB_PANIC)
        atomic_store(&env->failed, true);
    if (rc != 0)
        return rc;
    bool at_rest = false;
    while ((rc = meta_of_txn(env, *ret_txn, &at_rest, ret_meta)) == 0 && !at_rest) {
        mdb_txn_reset(*ret_txn);
        if ((rc = mdb_txn_renew(*ret_txn)) != 0)
            break;
    }
    if (rc != 0)
        mdb_txn_abort(*ret_txn);
    return rc;
}

int env_cursor_begin(struct env_cursor *cursor, struct env *env)
{
    *cursor = (struct env_cursor){.env = env};
    struct page_meta meta;
    int rc = env->role == ENV_ACTIVE ? hold_commit(env, &cursor->txn, &meta)
                                     : page_read_newest(env->fd, env->page_size, &meta);
    if (rc == 0)
        tree_begin(&cursor->tree, env->fd, env->role == ENV_SEALED, env->page_size, &meta);
    return rc;
}

void env_cursor_end(struct env_cursor *cursor)
{
    tree_end(&cursor->tree);
    free(cursor->buffer);
    if (cursor->txn)
        mdb_txn_abort(cursor->txn);
}

static int value_of(const struct tree_row *row, struct env_value *ret_value)
{
    if (row->key_size != KEY_SIZE)
        return MDB_CORRUPTED;
    *ret_value = (struct env_value){
        .index = be64_get(row->key), .size = row->size, .position = row->position, .data = row->value};
    return 0;
}

int env_cursor_seek(struct env_cursor *cursor, uint64_t index, struct env_value *ret_value)
{
    uint8_t key[KEY_SIZE];
    be64_put(key, index);
    struct tree_row row;
    int rc = tree_seek(&cursor->tree, key, sizeof(key), &row);
    return rc != 0 ? rc : value_of(&row, ret_value);
}

int env_cursor_next(struct env_cursor *cursor, struct env_value *ret_value)
{
    struct tree_row row;
    int rc = tree_next(&cursor->tree, &row);
    return rc != 0 ? rc : value_of(&row, ret_value);
}

int env_cursor_last(struct env_cursor *cursor, struct env_value *ret_value)
{
    struct tree_row row;
    int rc = tree_last(&cursor->tree, &row);
    return rc != 0 ? rc : value_of(&row, ret_value);
}

static int read_large(struct env_cursor *cursor, size_t size, uint64_t position)
{
    if (size > cursor->buffer_size) {
        uint8_t *buffer = realloc(cursor->buffer, size);
        if (!buffer)
            return ENOMEM;
        cursor->buffer = buffer;
        cursor->buffer_size = size;
    }
    return env_pread(cursor->env, cursor->buffer, size, position);
}

int env_value_read(struct env_cursor *cursor, const struct env_value *value, const uint8_t **ret_data)
{
    int rc = value->data ? 0 : read_large(cursor, value->size, value->position);
    if (rc == 0)
        *ret_data = value->data ? value->data : cursor->buffer;
    return rc;
}

int env_value_head(const struct env_cursor *cursor, const struct env_value *value, void *to, size_t size)
{
    if (size > value->size)
        return MDB_CORRUPTED;
    if (!value->data)
        return env_pread(cursor->env, to, size, value->position);
    memcpy(to, value->data, size);
    return 0;
}

/* ---- rows ---- */

static int row_of(struct env_cursor *cursor, const struct tree_row *row, MDB_val *ret_key, MDB_val *ret_value)
{
    int rc = row->value ? 0 : read_large(cursor, row->size, row->position);
    if (rc != 0)
        return rc;
    const uint8_t *data = row->value ? row->value : cursor->buffer;
    *ret_key = (MDB_val){row->key_size, (void *)(uintptr_t)row->key};
    *ret_value = (MDB_val){row->size, (void *)(uintptr_t)data};
    return 0;
}

int env_row_first(struct env_cursor *cursor, MDB_val *ret_key, MDB_val *ret_value)
{
    struct tree_row row;
    int rc = tree_first(&cursor->tree, &row);
    return rc != 0 ? rc : row_of(cursor, &row, ret_key, ret_value);
}

int env_row_seek(struct env_cursor *cursor, const void *key, size_t key_size, MDB_val *ret_key,
                 MDB_val *ret_value)
{
    struct tree_row row;
    int rc = tree_seek(&cursor->tree, key, key_size, &row);
    return rc != 0 ? rc : row_of(cursor, &row, ret_key, ret_value);
}

int env_row_next(struct env_cursor *cursor, MDB_val *ret_key, MDB_val *ret_value)
{
    struct tree_row row;
    int rc = tree_next(&cursor->tree, &row);
    return rc != 0 ? rc : row_of(cursor, &row, ret_key, ret_value);
}

int env_row_find(struct env_cursor *cursor, const void *key, size_t key_size, MDB_val *ret_value)
{
    struct tree_row row;
    MDB_val found;
    int rc = tree_seek(&cursor->tree, key, key_size, &row);
    if (rc == 0)
        rc = row_of(cursor, &row, &found, ret_value);
    if (rc == 0 && (found.mv_size != key_size || memcmp(found.mv_data, key, key_size) != 0))
        rc = MDB_NOTFOUND;
    return rc;
}
