/* recover.h: what a start does before anything is served: checks the files against the manifest, replays, and puts the
 * folder in order.
 *
 *   recover_open    reads only, and syncs what it found
 *   recover_tidy    once everything has been understood: removes what the manifest says is dead
 *   recover_replay  hands out the entries above F
 *   recover_start   seals what an unclean end left open, and finds or makes the segment to write to
 *
 * Thread: the owner, before the store's threads run. */
#ifndef CRIER_STORAGE_LMDB_RECOVER_H
#define CRIER_STORAGE_LMDB_RECOVER_H

#include "storage/lmdb/segment.h"

struct recovery {
    /* set before recover_open */
    const struct folder *folder;
    struct meta *meta;
    struct segments *segments;
    struct health *health;
    /* found by it */
    struct meta_manifest manifest;
    bool clean;                       /* the last life ended with a clean stop */
    uint64_t first_index, last_index; /* of the log; 0: it is empty */
    uint64_t next_number;             /* of the next segment */
    struct segment **empty;           /* ACTIVE segments without entries, in order */
    size_t empty_count;
};

/* 0, or a store code with a sentence in error. */
int recover_open(struct recovery *recovery, char *error, size_t error_size);
int recover_tidy(const struct recovery *recovery, char *error, size_t error_size);
/* Segments are given back only below the state: above it every entry has to be there. The same. */
int recover_check_gaps(const struct recovery *recovery, uint64_t flushed_index, char *error,
                       size_t error_size);
int recover_replay(struct recovery *recovery, uint64_t flushed_index, store_entry_fn *fn, void *ctx);
/* Afterwards the last segment of the list is the one to write to; *ret_next is one in reserve, or NULL. */
int recover_start(struct recovery *recovery, struct segment **ret_next);
void recover_finish(struct recovery *recovery);

#endif
