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
#include "tests/support/fault_shim.h"
#include "tests/support/power_shim.h"
#include "tests/torture/witness.h"

#define ARENA_DISK_SIZE (UINT64_C(2) << 30) /* bytes of the tmpfs, where there is one */
#define ARENA_RESUME_MS 15000               /* I13, with clients that wait up to 2 s, and a busy machine */

struct arena {
    struct random random;
    char folder[128];          /* of everything: the disk, logs */
    char disk[160];            /* the data folder's file system */
    char spare[160];           /* another one, for images of it */
    bool own_disk;             /* a tmpfs of the arena's; false: the machine does not let us */
    bool own_network;          /* a network namespace of the arena's: as above */
    struct fault_shim *faults; /* NULL: the broker runs without the shim */
    char preload[1100], fault_file[256];
    const char *wrapper[8];   /* of the broker */
    struct power_shim *power; /* matrix_rounds; NULL: as faults */
    char power_file[256];
    const char *cache_size;                                      /* of the broker; NULL: its default */
    uint64_t power_torn, power_lost, power_lengths, power_names; /* of all cuts */
    uint32_t connections; /* how many the nemesis of many connections opens */
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
/* What was on its way has arrived, and nothing more comes. False: it does, for 10 s. */
bool arena_falls_silent(struct arena *arena);
void arena_wait(int ms); /* the length of a fault: nothing is waited for */
void arena_wait_us(int us);
/* The broker's log has more lines with this text than it had. False: not within 10 s. */
bool arena_await_log(const struct arena *arena, const char *text, uint64_t more_than);
/* low .. high - 1 */
int arena_between(struct arena *arena, int low, int high);
bool arena_await_death(const struct arena *arena); /* of the broker; the same */
/* A process does nothing for a while. False: events arrived. */
bool arena_freeze(struct arena *arena, pid_t pid, int ms);
/* A file on the disk, without a name: closing it gives its space back. -1: none. Needs own_disk. */
int arena_ballast(const struct arena *arena);
void arena_take_space(int ballast); /* to the disk's last page */
/* The same, until nothing arrives any more. False: something still does. */
bool arena_fill_disk(struct arena *arena, int ballast);
void arena_remove(const char *folder); /* and everything in it */
bool arena_clean(struct arena *arena); /* the broker is gone, and so is all that was on its disk */
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
