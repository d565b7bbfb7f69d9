/* failures.h: one call that fails, of all that a run makes: see failures.c. */
#ifndef CRIER_SIM_FAILURES_H
#define CRIER_SIM_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

enum failure_kind {
    FAIL_NOTHING,
    FAIL_ALLOCATION,
    FAIL_COMMIT,
    FAIL_FLUSH,
    FAIL_READ,
    FAIL_LINK,
    FAILURE_KINDS
};

struct failure {
    enum failure_kind kind;
    uint64_t nth; /* 1: the first */
    bool
        for_ever; /* and all after it, until all heals; a disk's commits fail so by themselves: it is read-only then */
    void (*heal)(void); /* called then; NULL: nothing to do */
};

#endif
