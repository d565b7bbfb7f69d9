/* state.h: state.mdb: the core's rows at exactly one applied index F, and the copies to fall back to.
 *
 * Thread: the owner while opening and loading (the file is read on one of its own meanwhile), then the background thread alone. */
#ifndef CRIER_STORAGE_LMDB_STATE_H
#define CRIER_STORAGE_LMDB_STATE_H

#include "storage/lmdb/env.h"
#include "storage/lmdb/folder.h"
#include "storage/lmdb/state_read.h"

#define STATE_COPIES_KEPT 2

struct state {
    struct env *env;
    struct state_ahead ahead; /* from state_begin() to state_open() */
    struct state_rows rows;   /* from there to state_load() */
    const struct folder *folder;
    uint64_t flushed_index; /* F */
    uint64_t copied_index;  /* F of the oldest kept copy: a start may go back to there. 0: there is none */
};

/* Begins to read state.mdb, if it is there, beside what the caller does until state_open(). state_close() ends it too. */
void state_begin(struct state *state, const struct folder *folder);
/* Opens state.mdb, synced and with every row checked; makes it first if this is a new log. A missing or damaged file
 * is replaced by the newest good copy, at worst by nothing (F = 0), loudly. 0, or a store code with a sentence in error. */
int state_open(struct state *state, bool log_is_empty, char *error, size_t error_size);
/* Checks every page and every row of a state file that nobody writes. 0 and its F, or an LMDB code. */
int state_check(const struct path *path, uint64_t *ret_flushed_index);
bool state_owns(const char *name); /* is this file of shard-0 one of ours? */
void state_close(struct state *state);
/* Hands out the rows that state_open() has read, and forgets them; asked again, it reads them again. 0, or a store code. */
int state_load(struct state *state, store_row_fn *fn, void *ctx);
/* Fills the range's rows. 0 or an LMDB code. Where state_flush runs. */
int state_range(const struct state *state, struct store_range *range);
/* Rows and F in one synced transaction. 0 or an LMDB code (see env_code). */
int state_flush(struct state *state, const struct store_flush *flush);
/* Called now and then while a copy is made, on the same thread: it may read the state, not write it. */
struct state_pause {
    void (*fn)(void *ctx);
    void *ctx;
};
/* Keeps a copy of the file as it is, and only the newest STATE_COPIES_KEPT. 0 or an LMDB code. */
int state_copy(struct state *state, const struct state_pause *pause);
struct path state_copy_path(const struct folder *folder, uint64_t index);

#endif
