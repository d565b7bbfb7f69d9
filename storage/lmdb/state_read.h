/* state_read.h: the rows of a state file, read and checked in one walk.
 *
 * A start looks at each page before LMDB does, checks each row's checksum, and hands each row to the core: one walk does the
 * first two, and keeps the rows for the third. Leaves of a table that is written again and again lie anywhere in the file:
 * each walk more is a read a page.
 *
 * Thread: any; the file is not written meanwhile. */
#ifndef CRIER_STORAGE_LMDB_STATE_READ_H
#define CRIER_STORAGE_LMDB_STATE_READ_H

#include "storage/store.h"

#include <lmdb.h>

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

uint32_t state_row_crc(const void *key, size_t key_size, const void *value, size_t value_size);
bool state_row_good(const MDB_val *key, const MDB_val *value);

#endif
