/* sweep.h: writes a sealed segment anew without what nobody wants any more: the same indexes, terms and times, fewer parts,
 * in the next generation of the same number.
 *
 *   manifest:  old SEALED              old SEALED, new NEW       new SEALED, old DEAD        new SEALED
 *   files:     old              ──▶    old, new (growing)  ──▶   old, new          ──▶       new
 *                                                          one transaction
 *
 * A crash at any point leaves one SEALED generation, whole; the other is removed by the next start. Readers go on with the
 * old one until the swap, and whoever reads then is waited for (segments_replace).
 *
 * Thread: the background thread's. */
#ifndef CRIER_STORAGE_LMDB_SWEEP_H
#define CRIER_STORAGE_LMDB_SWEEP_H

#include "storage/lmdb/meta.h"
#include "storage/lmdb/remains.h"
#include "storage/lmdb/segment.h"
#include "storage/log_starts.h"

#define SWEEP_SLICE_BYTES (2u << 20) /* of entries read at a time: one synced transaction */

struct sweep;

struct sweep_place {
    const struct folder *folder;
    struct meta *meta;
    struct segments *segments;
    struct health *health;
    struct log_starts *starts;
    struct remains *remains; /* of files that go */
};

/* Announces and makes the next generation. 0, or a store code; then there is nothing left of it but a row NEW perhaps. */
int sweep_begin(const struct sweep_place *place, struct segment *segment, struct sweep **ret_sweep);
/* Copies some entries. 1: there are more, 0: that was all, or a store code. *ret_bytes: read and written by this call. */
int sweep_slice(struct sweep *sweep, uint64_t *ret_bytes);
/* All is copied: the new generation takes the old one's place, whose files go. Frees the sweep in any case. */
int sweep_finish(struct sweep *sweep);
void sweep_abandon(struct sweep *sweep); /* the old generation stays; frees the sweep */

/* Removes the files of a segment whose row is DEAD or NEW, then the row. 0 or an LMDB code. */
int segment_erase(const struct sweep_place *place, uint64_t number, uint32_t generation);

#endif
