/* lmdb_faults.c: LMDB answering with the codes that no disk brings about; see lmdb_faults.h. */
#include "tests/support/lmdb_faults.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static char file_part[128];
static enum lmdb_call awaited;
static int answer; /* 0: none is armed */
static unsigned struck, maps_set, maps_set_while_open;

void lmdb_fail(enum lmdb_call call, const char *part, int code)
{
    pthread_mutex_lock(&lock);
    (void)snprintf(file_part, sizeof(file_part), "%s", part);
    awaited = call;
    answer = code;
    struck = 0;
    pthread_mutex_unlock(&lock);
}

static unsigned locked_value(const unsigned *value)
{
    pthread_mutex_lock(&lock);
    unsigned copy = *value;
    pthread_mutex_unlock(&lock);
    return copy;
}

unsigned lmdb_struck(void)
{
    return locked_value(&struck);
}

unsigned lmdb_maps_set(void)
{
    return locked_value(&maps_set);
}

unsigned lmdb_maps_set_while_open(void)
{
    return locked_value(&maps_set_while_open);
}

/* The code this call meets; 0: none. */
static int meet(enum lmdb_call call, MDB_env *env)
{
    const char *path = NULL;
    int code = 0;
    pthread_mutex_lock(&lock);
    if (answer != 0 && awaited == call && mdb_env_get_path(env, &path) == 0 && path &&
        strstr(path, file_part)) {
        code = answer;
        answer = 0;
        struck++;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

int __real_mdb_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags)
{
    int code = meet(LMDB_PUT, mdb_txn_env(txn));
    return code ? code : __real_mdb_put(txn, table, key, value, flags);
}

int __real_mdb_del(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value);
int __wrap_mdb_del(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value);
int __wrap_mdb_del(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value)
{
    int code = meet(LMDB_DELETE, mdb_txn_env(txn));
    return code ? code : __real_mdb_del(txn, table, key, value);
}

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    int code = meet(LMDB_COMMIT, mdb_txn_env(txn));
    if (code == 0)
        return __real_mdb_txn_commit(txn);
    mdb_txn_abort(txn); /* a commit frees its transaction in any case */
    return code;
}

int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    int code = flags & MDB_RDONLY ? meet(LMDB_BEGIN_READ, env) : 0;
    return code ? code : __real_mdb_txn_begin(env, parent, flags, txn);
}

int __real_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *table);
int __wrap_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *table);
int __wrap_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *table)
{
    int code = meet(LMDB_OPEN_TABLE, mdb_txn_env(txn));
    return code ? code : __real_mdb_dbi_open(txn, name, flags, table);
}

int __real_mdb_env_set_mapsize(MDB_env *env, size_t size);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t size);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t size)
{
    const char *path = NULL;
    bool open = mdb_env_get_path(env, &path) == 0 && path != NULL;
    pthread_mutex_lock(&lock);
    maps_set++;
    maps_set_while_open += open;
    pthread_mutex_unlock(&lock);
    return __real_mdb_env_set_mapsize(env, size);
}
