/* strikes.h: the five ways to be interrupted that are tried on everything a broker does (matrix_rounds.c).
 *
 * Each function strikes, waits for evidence, and heals; the broker serves again when it returns. 1: it hit; 0: it did not,
 * or what must hold meanwhile did not; -1: not on this machine, and *ret_why says why. Thread: the main thread. */
#ifndef CRIER_TESTS_TORTURE_STRIKES_H
#define CRIER_TESTS_TORTURE_STRIKES_H

#include "tests/torture/arena.h"

#define STRIKES 5

struct strike {
    const char *name;
    /* The broker is at work. reads: it is a read that has to be hit. */
    int (*running)(struct arena *arena, bool reads, const char **ret_why);
    /* It does not run; the strike starts it, and hits before it serves. */
    int (*starting)(struct arena *arena, const char **ret_why);
};
extern const struct strike strikes[STRIKES];

#endif
