/* env.h: one LMDB environment: opened the way its role asks, allocated ahead, read at byte positions.
 *
 * What has to be known about LMDB 0.9 to read the rest of this folder is written here once:
 *   - a commit is synced before it can be seen; a commit that fails left the file at the commit before;
 *   - after an allocation failure (MDB_MAP_FULL) only abort is legal; mdb_txn_commit frees the transaction in any case;
 *   - a pointer into a read transaction is good until its end, one into a write transaction until the next update;
 *   - the file is never resized while open (the map size is fixed) and never shrinks by itself;
 *   - one process opens an environment with a lock file at most once: closing any descriptor of the lock file would
 *     drop its fcntl locks. Environments opened without lock file do not have this problem.
 *
 * Rows are read by position (tree.h), not through LMDB's map: a bad sector or a cut file is an error, not a signal. Of the
 * map only what LMDB's own write transactions follow is used, in files whose pages were all read when they were opened.
 *
 * Thread: a write transaction begins and ends in one thread; reads anywhere. env_ref/unref: any. */
#ifndef CRIER_STORAGE_LMDB_ENV_H
#define CRIER_STORAGE_LMDB_ENV_H

#include "storage/lmdb/tree.h"
#include "storage/store.h"

#include <lmdb.h>
#include <stdatomic.h>

enum env_role {
    ENV_TABLE,  /* meta.mdb, state.mdb: one thread at a time, no lock file */
    ENV_ACTIVE, /* the segment being written: a writer and readers, with lock file */
    ENV_SEALED, /* a file nobody writes any more: one descriptor, nothing of LMDB */
};

struct env {
    _Atomic uint32_t refs;
    enum env_role role;
    MDB_env *mdb; /* NULL: sealed */
    MDB_dbi table;
    int fd; /* for pread and fallocate; LMDB's own unless sealed */
    size_t page_size;
    size_t inline_max;   /* a larger value with an 8-byte key gets pages of its own */
    uint64_t pages_max;  /* what the map holds */
    uint64_t allocated;  /* bytes of the file known to be there; writer only */
    _Atomic bool failed; /* LMDB refuses even to read: after a meta page that could not be written */
    char *path;
};

/* Opens, creating the file if the role writes. What LMDB will look at is checked first, page by page (pages.h); a sealed
 * file's pages are checked when they are read. Returns 0 with one reference, or an LMDB code (see env_code, env_text). */
int env_open(const char *path, enum env_role role, uint64_t map_size, struct env **ret_env);
/* The same for a file whose pages the caller has just checked, and whose rows it has seen. */
int env_open_checked(const char *path, enum env_role role, uint64_t map_size, struct env **ret_env);
struct env *env_ref(struct env *env);
/* The last one closes, and removes the lock file if there is one. Accepts NULL. */
void env_unref(struct env *env);

/* An LMDB or errno code as ours. ENOSPC, EDQUOT, EFBIG and a full map are STORE_EFULL; ENOMEM, EMFILE and ENFILE STORE_ENOMEM. */
int env_code(int rc);
const char *env_text(int rc);

/* Makes sure the first `end` bytes are allocated, growing in steps of the file's own size up to 16 MiB, so that a full
 * disk is met here and not in the middle of a commit. 0 or an errno. Where the file system cannot: 0. */
int env_reserve(struct env *env, uint64_t end);
uint64_t env_last_page(const struct env *env); /* the last page in use, as of the last commit */
uint64_t env_used_bytes(const struct env *env);
/* Can a write transaction still begin? False after a failure LMDB itself calls fatal. */
bool env_writable(const struct env *env);
int env_sync_file(int fd); /* fdatasync; 0 or an errno */

/* Where an entry lies. */
struct env_value {
    uint64_t index; /* its key */
    size_t size;
    uint64_t position;   /* in the file, if it has pages of its own; else 0 */
    const uint8_t *data; /* else it is here, until the cursor moves or ends */
};

/* The rows of one commit, in order, read by position. */
struct env_cursor {
    struct env *env;
    MDB_txn *txn; /* ENV_ACTIVE: holds the commit against the writer */
    struct tree_cursor tree;
    uint8_t *buffer; /* env_value_read */
    size_t buffer_size;
};

/* These return 0, MDB_NOTFOUND (no such row) or an LMDB code. After a failed begin nothing is open; MDB_PANIC: the file is
 * good, but has to be opened anew, to read only (segments_env does). */
int env_cursor_begin(struct env_cursor *cursor, struct env *env);
void env_cursor_end(struct env_cursor *cursor);
int env_cursor_seek(struct env_cursor *cursor, uint64_t index,
                    struct env_value *ret_value); /* first key >= index */
int env_cursor_next(struct env_cursor *cursor, struct env_value *ret_value);
int env_cursor_last(struct env_cursor *cursor, struct env_value *ret_value);
/* The whole value, until the cursor moves, ends, or reads another one. */
int env_value_read(struct env_cursor *cursor, const struct env_value *value, const uint8_t **ret_data);
/* Its first `size` bytes, at most all of them. */
int env_value_head(const struct env_cursor *cursor, const struct env_value *value, void *to, size_t size);

/* Rows of any key and of values inside leaf pages, as in meta.mdb and state.mdb; larger values are read too. */
int env_row_first(struct env_cursor *cursor, MDB_val *ret_key, MDB_val *ret_value);
int env_row_seek(struct env_cursor *cursor, const void *key, size_t key_size, MDB_val *ret_key,
                 MDB_val *ret_value); /* first key >= key */
int env_row_next(struct env_cursor *cursor, MDB_val *ret_key, MDB_val *ret_value);
int env_row_find(struct env_cursor *cursor, const void *key, size_t key_size, MDB_val *ret_value);

/* All of it: 0, an errno, or MDB_CORRUPTED: the file ends before. */
int env_pread(const struct env *env, void *to, size_t size, uint64_t position);

#endif
