/* disk_faults.h: disks that fail, or take their time, where a test says so.
 *
 * A test program that links disk_faults.c has its own open, pwrite, writev, write, pread, fdatasync, fsync and fallocate;
 * the dynamic linker gives them to every library in it, LMDB included. Nothing of this exists in the product.
 *
 *   disk_fail("shard-0/0000000001-0.mdb", DISK_SYNC, 1, EIO);      the next sync of that file fails
 *   ...
 *   cr_assert_eq(disk_struck(), 1);                               a test whose fault was never met proves nothing
 *   disk_heal();
 *
 * Thread: any; one fault is armed at a time. */
#ifndef CRIER_TESTS_DISK_FAULTS_H
#define CRIER_TESTS_DISK_FAULTS_H

enum disk_op {
    DISK_WRITE,    /* of data: pwrite, writev, write, but for those below */
    DISK_META,     /* pwrite on a descriptor opened O_DSYNC: LMDB's meta page */
    DISK_READ,     /* pread */
    DISK_SYNC,     /* fdatasync, fsync */
    DISK_ALLOCATE, /* fallocate */
    DISK_OPEN,     /* open, of a file or folder */
    DISK_WRITEV,   /* writev alone */
};

#define DISK_SHORT                                                                                           \
    -1 /* instead of an errno: half of the bytes are written, as when the last block is taken */

/* The nth call (1: the next) of this kind on a file whose path contains `part` fails, and every one after it. */
void disk_fail(const char *part, enum disk_op op, unsigned nth, int error);
/* The nth only. */
void disk_fail_once(const char *part, enum disk_op op, unsigned nth, int error);
/* So many from the next on. */
void disk_fail_times(const char *part, enum disk_op op, unsigned times, int error);
/* As disk_fail, on the file or folder with exactly this path. */
void disk_fail_folder(const char *path, enum disk_op op, int error);
/* The next call of this kind waits, and whoever makes it, until disk_heal() or until another fault is armed. */
void disk_hold(const char *part, enum disk_op op);
void disk_await_held(void); /* waits until one waits */
void disk_heal(void);
unsigned disk_struck(void); /* how many calls have failed since it was armed */

#endif
