/* scan.h: everything that is in a segment's file, also behind damage: for verifying, repairing and copying.
 *
 * The tree is walked by position, page by page. Where one cannot be read or is not what its parent says, the entries below
 * it are told as a fault and the walk goes on with the next; so does a walk over an entry whose checksum is wrong.
 *
 * Thread: any; the file is not written meanwhile (a sealed segment, or a stopped folder's). */
#ifndef CRIER_STORAGE_LMDB_SCAN_H
#define CRIER_STORAGE_LMDB_SCAN_H

#include "storage/entry.h"

struct scan_fault {
    uint64_t first_index, last_index; /* the entries it touches */
    uint64_t partition, offset;       /* the batch; partition 0: not known, or all of the entry's */
    const char *what;                 /* borrowed; "checksum of the batch", ... */
};

struct scan {
    /* set before */
    uint64_t first_index; /* of the first entry; 0: whichever is there */
    uint64_t last_index;  /* of the last one; entries above do not exist; UINT64_MAX: not known */
    bool contiguous;      /* a missing entry is a fault */
    void (*fault)(void *ctx, const struct scan_fault *fault);
    /* May be NULL. A good entry, borrowed; a negative result ends the scan and is returned. */
    int (*entry)(void *ctx, const struct entry_header *header, const uint8_t *data);
    void (*progress)(void *ctx, uint64_t bytes); /* may be NULL: so many more have been looked at */
    void *ctx;
    /* found */
    uint64_t entries, bytes, faults;
    uint64_t found_first, found_last; /* good entries; 0: none */
    uint64_t seen_last;               /* of all whose key was there, good or not */
    int64_t first_time_us, last_time_us;
};

/* 0: it went to the end, whatever it found; STORE_ENOMEM; or what `entry` returned. A file that is missing or no LMDB file
 * at all is one fault over the whole range. */
int scan_file(struct scan *scan, const char *path);

/* One entry that was read elsewhere (data NULL: it could not be): checked and counted as scan_file does. */
void scan_value(struct scan *scan, uint64_t index, const uint8_t *data, size_t size);

#endif
