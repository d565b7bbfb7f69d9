/* disk_power.h: a disk whose power can be cut: what was written since the last sync survives in part, or not at all.
 *
 * A test program that links disk_power.c has its own open, mkdir, rename, unlink, ftruncate, fallocate, pwrite, write,
 * writev, fdatasync and fsync; the dynamic linker gives them to every library in it, LMDB included. The calls do their
 * work, and everything below one folder is noted as a disk would see it:
 *
 *   - bytes written are durable after fdatasync or fsync of their file, or at once through an O_DSYNC descriptor;
 *     before, any 512-byte sector of them may be on the disk or not;
 *   - a file's length is durable after fdatasync or fsync; before, changes of it survive up to some moment;
 *   - names (created, renamed, removed) are durable after fsync of their directory; before, all changes of names survive
 *     up to some moment, in the order they were made.
 *
 * disk_power_image() writes the folder as it might be found if the power failed right now.
 *
 * Thread: any; calls below the folder take turns. One folder at a time. */
#ifndef CRIER_TESTS_DISK_POWER_H
#define CRIER_TESTS_DISK_POWER_H

#include "base/random.h"

#include <stdint.h>

/* A call that changes something in the folder, before it is made. */
struct disk_power_call {
    uint64_t number;  /* how many there were, this one included */
    const char *path; /* below the folder; "": the folder itself */
    const char *name; /* "create", "write", "sync", "truncate", "allocate", "rename", "remove" */
};

/* What the images of a program had: a test whose power cuts tore nothing proves nothing. */
struct disk_power_losses {
    uint64_t torn;    /* writes of which some sectors survived and some did not */
    uint64_t lost;    /* writes that did not survive */
    uint64_t lengths; /* changes of a file's length that did not */
    uint64_t names;   /* names created, renamed or removed whose change did not */
};

/* Everything in the folder now is durable, unless it is from disk_power_killed(). on_call is called before each such call, while all others wait; only there
 * disk_power_image() may be called. */
void disk_power_begin(const char *folder, void (*on_call)(void *ctx, const struct disk_power_call *call),
                      void *ctx);
/* Makes `image`, a folder that does not exist yet. What survives is drawn from `random`. */
void disk_power_image(const char *image, struct random *random);
/* The same, but what a process leaves that is killed right now: all of it is there. disk_power_begin() on it goes on with what was
 * durable by then and what was not. */
void disk_power_killed(const char *image);
struct disk_power_losses disk_power_losses(void); /* of all images so far */
uint64_t disk_power_end(void);                    /* forgets everything; returns the number of calls */

#endif
