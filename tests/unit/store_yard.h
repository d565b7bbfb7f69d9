/* store_yard.h: the parts of a store without its threads, over a folder that a store has filled: a test does their work step by step,
 * in a time of its own, and counts it.
 *
 * Thread: the test's. */
#ifndef CRIER_TESTS_STORE_YARD_H
#define CRIER_TESTS_STORE_YARD_H

#include "storage/lmdb/cleaner.h"
#include "storage/lmdb/recover.h"
#include "tests/unit/store_fixture.h"

#define YARD_PARTITIONS 50   /* from 1 on */
#define YARD_OFFSETS    24   /* of each, a batch for each */
#define YARD_SIZE       4000 /* of a batch: about 35 to a segment of 256 KiB */
#define YARD_SETTLE_US  2000000

struct yard {
    struct fixture *f; /* has filled the folder */
    struct folder folder;
    struct health health;
    struct meta meta;
    struct state state;
    struct segments segments;
    struct log_starts starts;
    struct recovery recovery;
    struct cleaner cleaner;
    int64_t now_us;
    char error[512];
};

/* `turns`: the partitions' batches one after the other in turns, else each partition's together. Fails the test if it cannot. */
struct yard *yard_open(bool turns);
void yard_close(struct yard *yard);

#endif
