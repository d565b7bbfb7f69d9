/* checker_internal.h: what the checker's two files share: the truth table. */
#ifndef CRIER_SIM_CHECKER_INTERNAL_H
#define CRIER_SIM_CHECKER_INTERNAL_H

#include "tests/sim/checker.h"

#define PARTITIONS_MAX 8 /* of a topic in the simulation */

/* What a partition holds, by offset. */
struct truth_partition {
    uint32_t *emits; /* indexes; HISTORY_NONE: bytes nobody emitted, or a hole */
    size_t count, capacity;
};

/* Where an emit is. */
struct place {
    uint32_t times, partition;
    uint64_t offset; /* the first time */
};

struct truth {
    struct truth_partition partitions[HISTORY_TOPICS_MAX][PARTITIONS_MAX];
};

struct check {
    const struct history *history;
    struct report *report;
    struct truth first, second;
    struct place *places; /* by emit */
};

/* checker_steps.c: I4, I5 of atomic emits. */
void check_steps(struct check *check);

/* checker_made.c: I1, I2, I5 of events made from others. */
void check_made(struct check *check);

/* checker_listen.c: I8, I9, I11 (counts), I13. */
void check_listeners(struct check *check);

#endif
