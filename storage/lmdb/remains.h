/* remains.h: files that have no name any more, given back to the disk bit by bit.
 *
 * Freeing a segment of 256 MiB in one call takes 60 to 130 ms (its pages in the kernel's cache, its extents), and the
 * background thread's other jobs, the next segment among them, would wait that long. So a file is opened, unlinked, and
 * cut from its end in steps. A crash in between costs nothing: a file without a name goes with its last descriptor.
 *
 * Thread: the background thread's. */
#ifndef CRIER_STORAGE_LMDB_REMAINS_H
#define CRIER_STORAGE_LMDB_REMAINS_H

#include <stdbool.h>
#include <stdint.h>

#define REMAINS_MAX        16u         /* files waiting; more are freed at once */
#define REMAINS_STEP_BYTES (16u << 20) /* freed by a step: a few milliseconds */

struct remains {
    struct {
        int fd;
        uint64_t size;
    } files[REMAINS_MAX];
    unsigned count;
};

/* Unlinks the file; what it held is freed by the steps. A file that is not there is none. */
void remains_unlink(struct remains *remains, const char *path);
bool remains_step(struct remains *remains); /* false: nothing is left */
void remains_finish(struct remains *remains);

#endif
