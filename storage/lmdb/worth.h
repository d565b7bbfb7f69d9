/* worth.h: how much of a sealed segment is still wanted: weighed once, then watched.
 *
 * Weighing reads the segment's whole offset index, which with 100,000 partitions is tens of milliseconds and a cache of its own; and
 * with steady retention log starts move all the time. So weighing leaves marks: up to WORTH_MARKS runs, evenly spread over the bytes
 * that were wanted, in the order of the index. A mark falls when its run is not wanted any more, which takes no index to see:
 *
 *   weighed    [PPPPPPPPQQQQRRRRRRRRRRSSSSSSSS]    total = live = 32, marks ^
 *                ^   ^   ^   ^   ^   ^   ^   ^
 *   watched      ×   ×   ^   ×   ×   ^   ^   ^     half of the marks have fallen: of 32 about 16 are wanted
 *
 * Exact is: while a mark stands, something is wanted. How much that is, is an estimate until it is weighed again: when the marks say
 * that half of the way is gone to where the verdict changes. Each such way is at most half as long as the one before, so a segment is
 * weighed about log2(WORTH_MARKS) times before it is half dead, and again when all marks have fallen.
 *
 * Thread: the background thread's. Memory: 16 bytes a mark, in the segment. */
#ifndef CRIER_STORAGE_LMDB_WORTH_H
#define CRIER_STORAGE_LMDB_WORTH_H

#include "storage/lmdb/index.h"
#include "storage/log_starts.h"

#define WORTH_MARKS 64

struct worth {
    bool weighed;
    uint64_t total, live;     /* bytes of batches, as they were weighed */
    unsigned taken, standing; /* marks, then and now */
    struct {
        uint64_t partition, next_offset;
    } marks[WORTH_MARKS]; /* the standing ones */
};

/* Exact, and new marks. */
void worth_weigh(struct worth *worth, struct index *index, struct log_starts *starts);
/* Looks which marks still stand. True: one has fallen. */
bool worth_watch(struct worth *worth, struct log_starts *starts);
/* Does another verdict have to be expected of weighing it again? */
bool worth_in_doubt(const struct worth *worth);

/* Less than half is wanted. From then on only whether anything is still wanted is of interest. */
static inline bool worth_mostly_dead(const struct worth *worth)
{
    return worth->live < worth->total / 2;
}

/* Some of it has died since it was weighed, and it was not mostly dead then. */
static inline bool worth_guessed(const struct worth *worth)
{
    return worth->standing < worth->taken && !worth_mostly_dead(worth);
}

#endif
