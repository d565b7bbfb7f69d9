/* index_file.h: the offset index between memory and its .idx file (docs/disk-format.md).
 *
 * The file is derived data: written without ceremony, checked by CRC, and replaced whenever it does not convince.
 *
 * Thread: whoever holds the segment's file: the owner at a start, then the background thread; for sealed segments the
 * loader under the list's open lock. */
#ifndef CRIER_STORAGE_LMDB_INDEX_FILE_H
#define CRIER_STORAGE_LMDB_INDEX_FILE_H

#include "storage/lmdb/folder.h"
#include "storage/lmdb/index.h"

/* How far the file is good. */
struct index_file {
    uint64_t number;
    uint32_t generation;
    uint64_t end;    /* of the last good block; 0: nothing yet */
    uint64_t covers; /* the last entry it knows */
};

/* Reads what is good of the file. 0 with one reference (index_covers() says how far it goes), STORE_ECORRUPT (missing,
 * another segment's, or not even a good start block), STORE_ENOMEM or STORE_EIO. */
int index_file_load(struct index_file *file, const struct folder *folder, struct index **ret_index);

/* Appends what changed in the index since it was last saved or loaded; the whole index if the file is not begun.
 * 0 or a store code; after an error the next call begins the file anew. sync: on the disk on return. */
int index_file_save(struct index_file *file, const struct folder *folder, struct index *index, bool sync);

#endif
