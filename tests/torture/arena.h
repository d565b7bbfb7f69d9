/* arena.h: where faults happen: a broker under load on a disk, a network and a clock of its own, and what happens to it.
 *
 *   arena.c    the place: mount and network namespaces, tmpfs, the shim for clock and disk; whether events flow
 *   nemesis.c  the faults, one function each
 *   fault_rounds.c  which of them when, and the verdict
 *
 * Thread: the main thread. */
#ifndef CRIER_TESTS_TORTURE_ARENA_H
#define CRIER_TESTS_TORTURE_ARENA_H

#include "base/random.h"
#include "tests/support/broker_fixture.h"
#include "tests/torture/witness.h"

#define ARENA_DISK_SIZE (UINT64_C(2) << 30) /* bytes of the tmpfs, where there is one */
#define ARENA_RESUME_MS 15000               /* I13, with clients that wait up to 2 s, and a busy machine */

struct arena_faults { /* as tests/support/fault_shim.c has it */
    _Atomic int64_t clock_seconds, clock_calls;
    _Atomic int64_t sync_error, sync_calls;
};

struct arena {
    struct random random;
    char folder[128];            /* of everything: the disk, logs */
    char disk[160];              /* the data folder's file system */
    bool own_disk;               /* a tmpfs of the arena's; false: the machine does not let us */
    bool own_network;            /* a network namespace of the arena's: as above */
    struct arena_faults *faults; /* NULL: the broker runs without the shim */
    char preload[512], fault_file[256];
    const char *wrapper[4]; /* of the broker */
    uint32_t connections;   /* how many the nemesis of many connections opens */
    struct broker *broker;
    struct producers producers;
    struct witness witness;
};

/* Enters the namespaces that the machine allows, and makes the folder. While the process has one thread. False: no folder. */
bool arena_enter(struct arena *arena);
/* Starts broker, producers, witness. False: told on standard error. */
bool arena_start(struct arena *arena);
/* More events arrive than there are now. False: not within ARENA_RESUME_MS. */
bool arena_flows(struct arena *arena);
/* The same of one producer. */
bool arena_flows_from(struct arena *arena, uint32_t producer);
/* Counts what arrives in so many ms. */
uint64_t arena_arrivals(struct arena *arena, int ms);
void arena_wait(int ms); /* the length of a fault: nothing is waited for */
void arena_leave(struct arena *arena);

/* ---- nemesis.c ---- */

struct nemesis {
    const char *name, *text;
    /* Strikes and heals. 1: it hit, and there is evidence for that; 0: it did not hit; -1: it cannot be done on this
     * machine, and *ret_why says why. */
    int (*strike)(struct arena *arena, const char **ret_why);
};
extern const struct nemesis nemeses[];
extern const size_t nemesis_count;

#endif
