/* cleaner.h: gives space back: removes sealed segments in which nothing is wanted any more, and sweeps those in which less
 * than half is. Also says how much space the disk has left.
 *
 * Only sealed segments at or below the oldest kept copy of the state are touched, for a start may replay everything above
 * it; and the last segment with entries stays, for it says where the log ends.
 *
 * How much of a segment is wanted is read from its index only when that may have changed the verdict; in between marks are watched
 * (worth.h).
 *
 * A segment that is dying is not swept: where retention goes on, what is half dead now is wholly dead soon, and copying its
 * rest was for nothing (and what went on meanwhile was not removed). So its live bytes must have stood still for a while.
 *
 * A start has the machine for itself: the first pass comes a while after it, for with many topics the indexes of all
 * segments are more work than the start.
 *
 * Budget: one segment is looked at or one slice swept a step, looking takes about a third of the time at most, a sweep reads at
 * most CLEANER_SWEEP_BYTES_PER_S, and a removed file is freed in steps (remains.h); the background thread's other work goes
 * first, so that neither the writer nor a flush ever waits for more than a slice.
 *
 * Thread: the background thread's; cleaner_init and _finish the owner's. */
#ifndef CRIER_STORAGE_LMDB_CLEANER_H
#define CRIER_STORAGE_LMDB_CLEANER_H

#include "storage/lmdb/state.h"
#include "storage/lmdb/sweep.h"

#define CLEANER_SWEEP_BYTES_PER_S (64u << 20)
#define CLEANER_PASS_US           100000  /* a pass begins this long after the one before at the earliest */
#define CLEANER_REST              2       /* and so many times as long as that one took */
#define CLEANER_RETRY_US          1000000 /* after a full disk */
#define CLEANER_DISK_US           1000000 /* how often the free space is looked at */
#define CLEANER_HALF_FACTOR                                                                                  \
    15 /* less than half for so many times `settle_us`: swept though it still shrinks */
#define CLEANER_PASS_SEGMENTS 64 /* looked at in a pass: half the oldest ones, half of the others in turn */

struct cleaner {
    /* set before use */
    struct sweep_place place;
    const struct state *state;
    int64_t settle_us; /* a segment's live bytes stand still for so long before it is swept */
    /* its own */
    struct remains remains;
    struct sweep *sweep; /* under way, of this segment */
    struct segment *swept;
    unsigned left;   /* segments to look at in this pass; 0: none is under way */
    size_t position; /* of the one looked at next */
    size_t turn;     /* where the next pass goes on behind the oldest ones */
    size_t unseen;   /* behind the oldest ones, since something changed; or it could not be done then */
    uint64_t passed_version; /* the log starts, copies and segments that the last pass knew */
    uint64_t passed_copy;
    size_t passed_count;
    bool again;       /* something waits for the next pass */
    int64_t due_us;   /* of the next pass, or of more of this one; set before use: of the first */
    int64_t pass_us;  /* when this pass began */
    int64_t slice_us; /* of the next slice */
    int64_t disk_us;  /* of the next look at the disk */
};

/* Does what is due, for a few milliseconds; returns the time at which it wants to be called again. */
int64_t cleaner_step(struct cleaner *cleaner, int64_t now_us);
void cleaner_disk(struct cleaner *cleaner, int64_t now_us); /* looks at the free space */
void cleaner_stop(struct cleaner *cleaner);                 /* gives up what is under way */

#endif
