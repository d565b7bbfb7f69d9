/* verdict.h: compares what producers were told and a listener saw with the truth: a full replay after the last kill.
 *
 * Counts offences, by the promise that was broken (docs/guarantees.md). Pure. */
#ifndef CRIER_TESTS_TORTURE_VERDICT_H
#define CRIER_TESTS_TORTURE_VERDICT_H

#include "tests/torture/witness.h"

struct verdict {
    uint64_t lost;       /* I1: acknowledged, and not at its offset */
    uint64_t phantom;    /* I2: there, and never emitted, definitely refused, or not whole */
    uint64_t changed;    /* I3, I7: the listener was shown something else at this offset */
    uint64_t reordered;  /* I4: behind a later event of the same producer, or offsets not ascending */
    uint64_t gaps;       /* I4: a later one is there, and this one neither there nor refused */
    uint64_t duplicated; /* I5: there twice */
    uint64_t missed;     /* I8: there, and not shown to the listener, which read from the start to the end */
    uint64_t emitted, acknowledged, stored;
    struct {
        uint64_t number;
        uint32_t producer;
        int32_t code;    /* what its emit was told; 0: that it is stored, or nothing */
    } lost_one, gap_one; /* the first of lost and of gaps, to look for it */
};

/* log: of one producer, by number. Adds to the verdict. */
void verdict_producer(struct verdict *verdict, const struct witness *truth, uint32_t producer,
                      const struct completion *log, uint64_t count);
/* What was stored, and by nobody's hand. Once. */
void verdict_truth(struct verdict *verdict, const struct witness *truth);
/* What a listener saw, from the start to the end. Adds to the verdict. */
void verdict_listener(struct verdict *verdict, const struct witness *truth, const struct witness *listener);
uint64_t verdict_offences(const struct verdict *verdict);

#endif
