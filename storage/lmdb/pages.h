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

/* values: also the headers of pages that hold large values, which LMDB reads when it replaces one.
 * 0 (also for an empty file), MDB_CORRUPTED, MDB_INVALID (not an LMDB file), or an errno. */
int pages_check(const char *path, bool values);

#endif
