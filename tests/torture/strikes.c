/* strikes.c: see strikes.h. */
#include "tests/torture/strikes.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRIES         60   /* a start is short */
#define START_US      6000 /* about as long as one takes */
#define CUT_WITHIN    24   /* calls that change the disk */
#define FREEZE_MS     600
#define NO_SHIM       "no shim with sanitizers"
#define FIRST_SEGMENT "/0000000001-" /* nobody reads it but who begins at the earliest event */

/* ---- SIGKILL ---- */

static int kill_running(struct arena *arena, bool reads, const char **ret_why)
{
    (void)reads;
    (void)ret_why;
    broker_kill(arena->broker);
    return broker_restart(arena->broker);
}

static int kill_starting(struct arena *arena, const char **ret_why)
{
    bool hit = false;
    (void)ret_why;
    for (int i = 0; i < TRIES && !hit; i++) {
        if (!broker_launch(arena->broker))
            return 0;
        arena_wait_us(arena_between(arena, 0, START_US));
        hit = !broker_says_anything(arena->broker);
        broker_kill(arena->broker);
    }
    return broker_restart(arena->broker) && hit;
}

/* ---- SIGSTOP ---- */

static int stop_running(struct arena *arena, bool reads, const char **ret_why)
{
    (void)reads;
    (void)ret_why;
    return arena_freeze(arena, broker_pid(arena->broker), arena_between(arena, 100, FREEZE_MS));
}

static int stop_starting(struct arena *arena, const char **ret_why)
{
    (void)ret_why;
    for (int i = 0; i < TRIES; i++) {
        if (!broker_launch(arena->broker))
            return 0;
        arena_wait_us(arena_between(arena, 0, START_US));
        kill(broker_pid(arena->broker), SIGSTOP);
        bool hit = !broker_says_anything(arena->broker);
        if (hit) {
            arena_wait(arena_between(arena, 100, FREEZE_MS));
            hit = !broker_says_anything(arena->broker);
        }
        kill(broker_pid(arena->broker), SIGCONT);
        if (hit)
            return broker_await_ready(arena->broker);
        broker_kill(arena->broker);
    }
    (void)broker_restart(arena->broker); /* whoever looks at it next tells */
    return 0;
}

/* ---- EIO ---- */

static void disk_fails(struct arena *arena, int error)
{
    arena->faults->read_part[0] = '\0';
    atomic_store(&arena->faults->read_error, error);
    atomic_store(&arena->faults->sync_error, error);
}

/* A sync that fails is not repeated, and a read that fails is not believed: the log is read-only until a restart. */
static int eio_running(struct arena *arena, bool reads, const char **ret_why)
{
    if (arena->faults == NULL) {
        *ret_why = NO_SHIM;
        return -1;
    }
    uint64_t seen = broker_log_count(arena->broker, "SHARD-READ-ONLY");
    int64_t calls = atomic_load(reads ? &arena->faults->read_calls : &arena->faults->sync_calls);
    snprintf(arena->faults->read_part, sizeof(arena->faults->read_part), FIRST_SEGMENT);
    if (reads)
        atomic_store(&arena->faults->read_error, EIO);
    else
        atomic_store(&arena->faults->sync_error, EIO);
    bool read_only = arena_await_log(arena, "SHARD-READ-ONLY", seen);
    disk_fails(arena, 0);
    bool nothing = arena_falls_silent(arena); /* the disk is well again, and still nothing is written */
    broker_kill(arena->broker);
    calls = atomic_load(reads ? &arena->faults->read_calls : &arena->faults->sync_calls) - calls;
    if (!read_only || !nothing || calls == 0)
        fprintf(stderr, "EIO: read-only %d, silent %d, calls that failed %d\n", read_only, nothing,
                (int)calls);
    return broker_restart(arena->broker) && read_only && nothing && calls > 0;
}

/* What it cannot be sure of it does not serve. */
static int eio_starting(struct arena *arena, const char **ret_why)
{
    if (arena->faults == NULL) {
        *ret_why = NO_SHIM;
        return -1;
    }
    int64_t calls = atomic_load(&arena->faults->sync_calls) + atomic_load(&arena->faults->read_calls);
    disk_fails(arena, EIO);
    bool refused =
        broker_launch(arena->broker) && arena_await_death(arena) && !broker_says_anything(arena->broker);
    disk_fails(arena, 0);
    broker_kill(arena->broker);
    calls = atomic_load(&arena->faults->sync_calls) + atomic_load(&arena->faults->read_calls) - calls;
    return broker_restart(arena->broker) && refused && calls > 0;
}

/* ---- ENOSPC ---- */

static int enospc_running(struct arena *arena, bool reads, const char **ret_why)
{
    (void)reads;
    if (!arena->own_disk) {
        *ret_why = "no file system of its own";
        return -1;
    }
    int ballast = arena_ballast(arena);
    bool full = ballast >= 0 && arena_fill_disk(arena, ballast);
    if (ballast >= 0)
        close(ballast);
    return full && !broker_has_died(arena->broker);
}

/* It serves, and takes nothing, or does not start: both until there is room. */
static int enospc_starting(struct arena *arena, const char **ret_why)
{
    if (!arena->own_disk) {
        *ret_why = "no file system of its own";
        return -1;
    }
    int ballast = arena_ballast(arena);
    if (ballast < 0)
        return 0;
    arena_take_space(ballast);
    bool serves = broker_launch(arena->broker) && broker_await_ready(arena->broker);
    bool full = !serves || arena_fill_disk(arena, ballast);
    close(ballast);
    return (serves || broker_restart(arena->broker)) && full;
}

/* ---- a power cut ---- */

/* The broker is told to lose its power at that call. */
static void cut_order(struct arena *arena, uint64_t at)
{
    struct power_shim *power = arena->power;
    snprintf(power->image, sizeof(power->image), "%s/image",
             arena->folder); /* on another disk: this one has no room */
    power->seed = random_next(&arena->random);
    atomic_store(&power->cut_at, at);
}

/* It has lost it: what the disk holds takes the folder's place. */
static bool cut_take(struct arena *arena)
{
    struct power_shim *power = arena->power;
    atomic_store(&power->cut_at, 0);
    broker_kill(arena->broker);
    arena->power_torn += power->torn;
    arena->power_lost += power->lost;
    arena->power_lengths += power->lengths;
    arena->power_names += power->names;
    char copy[640];
    snprintf(copy, sizeof(copy), "cp -r --sparse=always %s %s", power->image, power->folder);
    arena_remove(power->folder);
    bool good = system(copy) == 0;
    arena_remove(power->image);
    return good;
}

static int power_running(struct arena *arena, bool reads, const char **ret_why)
{
    (void)reads;
    if (arena->power == NULL) {
        *ret_why = NO_SHIM;
        return -1;
    }
    cut_order(arena, atomic_load(&arena->power->calls) + 1 + random_below(&arena->random, CUT_WITHIN));
    return arena_await_death(arena) && cut_take(arena) && broker_restart(arena->broker);
}

static int power_starting(struct arena *arena, const char **ret_why)
{
    uint64_t within = CUT_WITHIN;
    if (arena->power == NULL) {
        *ret_why = NO_SHIM;
        return -1;
    }
    for (int i = 0; i < TRIES; i++) {
        cut_order(arena, 1 + random_below(&arena->random, within));
        if (!broker_launch(arena->broker))
            return 0;
        while (!broker_has_died(arena->broker) && !broker_says_anything(arena->broker))
            arena_wait(1);
        if (!broker_says_anything(arena->broker))
            return arena_await_death(arena) && cut_take(arena) && broker_restart(arena->broker);
        atomic_store(&arena->power->cut_at, 0); /* a start of fewer calls */
        broker_kill(arena->broker);
        within = within > 2 ? within / 2 : 1;
    }
    (void)broker_restart(arena->broker); /* whoever looks at it next tells */
    return 0;
}

const struct strike strikes[STRIKES] = {
    {"kill", kill_running, kill_starting},       {"EIO", eio_running, eio_starting},
    {"ENOSPC", enospc_running, enospc_starting}, {"power cut", power_running, power_starting},
    {"SIGSTOP", stop_running, stop_starting},
};
