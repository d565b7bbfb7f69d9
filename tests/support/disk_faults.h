/* disk_faults.h: disks that fail where a test says so.
 *
 * A test program that links disk_faults.c has its own pwrite, writev, write, pread, fdatasync, fsync and fallocate; the
 * dynamic linker gives them to every library in it, LMDB included. Nothing of this exists in the product.
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
};

#define DISK_SHORT                                                                                           \
    -1 /* instead of an errno: half of the bytes are written, as when the last block is taken */

/* The nth call (1: the next) of this kind on a file whose path contains `part` fails, and every one after it. */
void disk_fail(const char *part, enum disk_op op, unsigned nth, int error);
/* The nth only. */
void disk_fail_once(const char *part, enum disk_op op, unsigned nth, int error);
void disk_heal(void);
unsigned disk_struck(void); /* how many calls have failed since it was armed */

#endif
