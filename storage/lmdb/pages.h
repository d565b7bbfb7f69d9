/* pages.h: are the pages of an LMDB file what they should be? Asked before LMDB looks at them.
 *
 * LMDB 0.9 has no checksums and believes its pages: a bit flipped in one sends it anywhere in the map, and the process
 * with it. This walks both trees (rows and free pages) with pread, so that damage is an answer and not a signal: every
 * page where and what its parent says, every node inside its page, keys ascending, no page used twice or free as well.
 * The contents of values are not looked at; they have checksums of their own.
 *
 * Thread: any; the file is not written meanwhile. */
#ifndef CRIER_STORAGE_LMDB_PAGES_H
#define CRIER_STORAGE_LMDB_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* values: also the headers of pages that hold large values, which LMDB reads when it replaces one.
 * 0 (also for an empty file), MDB_CORRUPTED, MDB_INVALID (not an LMDB file), or an errno. */
int pages_check(const char *path, bool values);

/* A row of a good page, borrowed for the call. Not 0: a code that ends the check. */
typedef int pages_row_fn(void *ctx, const void *key, size_t key_size, const void *value, size_t value_size);
/* The same with values, and each row is handed out as it is met: in order, but before what follows it was looked at, so what
 * was handed out is worth nothing when this returns a code. */
int pages_check_rows(const char *path, pages_row_fn *fn, void *ctx);

#endif
