/* state_read.h: the rows of a state file, read and checked in one walk.
 *
 * A start looks at each page before LMDB does, checks each row's checksum, and hands each row to the core: one walk does the
 * first two, and keeps the rows for the third. Leaves of a table that is written again and again lie anywhere in the file:
 * each walk more is a read a page.
 *
 * Thread: any; the file is not written meanwhile. */
#ifndef CRIER_STORAGE_LMDB_STATE_READ_H
#define CRIER_STORAGE_LMDB_STATE_READ_H

#include "storage/lmdb/folder.h"
#include "storage/store.h"

#include <lmdb.h>
#include <pthread.h>

/* The key of the row that says F (docs/disk-format.md), its value, and what ends each value. */
enum { STATE_KEY_CUT = 0, STATE_VERSION = 1, STATE_CUT_SIZE = 20, STATE_CRC_SIZE = 4 };

/* Every row but F's, in order. */
struct state_rows {
    uint8_t *bytes; /* of each: the sizes of key and value, then both; NULL: none */
    size_t size, capacity;
};

/* Checks every page and every row and finds F. The rows are kept in *ret_rows, to be freed, unless that is NULL.
 * 0, or an LMDB code: nothing is kept. */
int state_read(const char *path, struct state_rows *ret_rows, uint64_t *ret_flushed_index);
/* Hands them out until fn returns a negative code, which is returned; STORE_NEXT_TABLE: as store.h says. */
int state_rows_each(const struct state_rows *rows, store_row_fn *fn, void *ctx);
void state_rows_free(struct state_rows *rows); /* there are none afterwards */

/* The file synced and then read, on a thread of its own: a start does other things meanwhile. */
struct state_ahead { /* all zero: not begun */
    bool begun;
    pthread_t thread;
    struct path path;
    struct state_rows rows;
    uint64_t flushed_index;
    int rc;
};
/* Where there is no thread to be had, state_ahead_end() does it. */
void state_ahead_begin(struct state_ahead *ahead, const struct path *path);
/* Waits for it; the path is the same. As state_read(), or the code of the sync. */
int state_ahead_end(struct state_ahead *ahead, const struct path *path, struct state_rows *ret_rows,
                    uint64_t *ret_flushed_index);
void state_ahead_drop(struct state_ahead *ahead); /* waits, and frees; does nothing after state_ahead_end() */

uint32_t state_row_crc(const void *key, size_t key_size, const void *value, size_t value_size);
bool state_row_good(const MDB_val *key, const MDB_val *value);

#endif
