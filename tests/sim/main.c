/* main.c: crier_sim: many runs, or one with its trace.
 *
 *   crier_sim --seeds N [--first S]     runs N seeds; exit 1 at the first that breaks a promise, naming it, made small
 *   crier_sim --seed S --trace          what happens in one run, event by event
 *   crier_sim --seed S --hash           the run's hash: two runs are the same if and only if their hashes are
 *   crier_sim ... --plant ack-before-commit
 *                                       with a known bug in the disk: has to be found
 *   crier_sim ... --twice               every seed twice: both runs must be the same
 *   crier_sim ... --no-shrink           a failing seed is only named
 *   crier_sim ... --quiet               no progress
 *   crier_sim ... --covers              fails unless every kind of frame was sent, however few the seeds are
 *   crier_sim ... --off FAULT,... --actions N --clients N --burst N --calm
 *                                       with less than the seed says: what shrinking a failing seed came to
 *
 * A run of 1,000 seeds or more also fails if a fault it claims to simulate struck too rarely to be believed, or if a kind
 * of frame it claims to send was never sent. */
#include "tests/sim/shrink.h"
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COUNTS_FROM_SEEDS 1000

struct arguments {
    uint64_t first, seeds;
    bool trace, hash, plant, twice, quiet, no_shrink, covers;
    struct sim_limits limits;
};

struct totals {
    uint64_t events;
    uint64_t count[TRACE_EVENTS];
    struct tap_world taps;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: crier_sim --seeds N [--first S] [--twice] [--quiet] [--no-shrink] [--covers] [LESS]\n"
            "       crier_sim --seed S [--trace | --hash] [LESS]\n"
            "LESS: --off FAULT,... --actions N --clients N --burst N --calm; --plant ack-before-commit\n");
    return 2;
}

static bool number(const char *text, uint64_t *ret_number)
{
    char *end;
    *ret_number = strtoull(text, &end, 10);
    return *text && !*end;
}

static bool small_number(const char *text, unsigned *ret_number)
{
    uint64_t wide = 0;
    bool good = number(text, &wide) && wide > 0 && wide <= UINT32_MAX;
    *ret_number = (unsigned)wide;
    return good;
}

/* An option that takes a value. Returns whether it is one; *ret_good: and the value makes sense. */
static bool value_read(const char *option, const char *value, struct arguments *ret, bool *ret_good)
{
    struct sim_limits *limits = &ret->limits;
    if (!strcmp(option, "--seeds"))
        *ret_good = number(value, &ret->seeds);
    else if (!strcmp(option, "--first"))
        *ret_good = number(value, &ret->first);
    else if (!strcmp(option, "--seed"))
        *ret_good = number(value, &ret->first) && (ret->seeds = 1);
    else if (!strcmp(option, "--plant"))
        *ret_good = ret->plant = !strcmp(value, "ack-before-commit");
    else if (!strcmp(option, "--off"))
        *ret_good = shrink_faults_read(value, &limits->faults_off);
    else if (!strcmp(option, "--actions"))
        *ret_good = small_number(value, &limits->actions_max);
    else if (!strcmp(option, "--clients"))
        *ret_good = small_number(value, &limits->clients_max);
    else if (!strcmp(option, "--burst"))
        *ret_good = small_number(value, &limits->burst_max);
    else
        return false;
    return true;
}

static bool *flag_find(const char *option, struct arguments *arguments)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--trace", &arguments->trace},      {"--hash", &arguments->hash},
                 {"--twice", &arguments->twice},      {"--quiet", &arguments->quiet},
                 {"--calm", &arguments->limits.calm}, {"--no-shrink", &arguments->no_shrink},
                 {"--covers", &arguments->covers}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (!strcmp(option, flags[i].name))
            return flags[i].flag;
    return NULL;
}

static bool arguments_read(int argc, char **argv, struct arguments *ret)
{
    *ret = (struct arguments){.first = 1};
    for (int i = 1; i < argc; i++) {
        bool *flag = flag_find(argv[i], ret), good = flag != NULL;
        if (flag)
            *flag = true;
        else if (i + 1 < argc && value_read(argv[i], argv[i + 1], ret, &good))
            i++;
        if (!good)
            return false;
    }
    return ret->seeds > 0;
}

static struct sim_options options_of(const struct arguments *arguments, uint64_t seed)
{
    return (struct sim_options){.seed = seed,
                                .print = arguments->trace,
                                .plant_ack_before_commit = arguments->plant,
                                .limits = arguments->limits};
}

static void blame(const struct arguments *arguments, uint64_t seed, const struct report *report)
{
    struct sim_options options = options_of(arguments, seed);
    for (size_t i = 0; i < report->count; i++)
        printf("seed %" PRIu64 " breaks I%d: %s\n", seed, report->violations[i].invariant,
               report->violations[i].text);
    if (!arguments->no_shrink && !arguments->trace)
        printf("made smaller in %u runs\n", shrink(&options));
    printf("to see it happen: crier_sim --seed %" PRIu64 " --trace%s", seed,
           arguments->plant ? " --plant ack-before-commit" : "");
    shrink_print(&options.limits);
    printf("\n");
}

static void totals_add(struct totals *totals, const struct sim_result *result)
{
    totals->events += result->trace.events;
    for (size_t i = 0; i < TRACE_EVENTS; i++)
        totals->count[i] += result->trace.count[i];
    for (int taken = 0; taken < 2; taken++)
        totals->taps.again[taken] += result->taps.again[taken];
    for (size_t kind = 0; kind < TAP_KINDS; kind++)
        for (int direction = 0; direction < 2; direction++)
            totals->taps.frames[direction][kind] += result->taps.frames[direction][kind];
}

/* One seed. Returns whether it kept all promises. */
static bool run(const struct arguments *arguments, uint64_t seed, struct totals *totals)
{
    struct sim_options options = options_of(arguments, seed);
    static struct sim_result result, again; /* large: not on the stack */
    sim_run(&options, &result);
    totals_add(totals, &result);
    if (arguments->hash)
        printf("%016" PRIx64 " %" PRIu64 "\n", result.trace.hash, result.trace.events);
    if (result.report.count) {
        blame(arguments, seed, &result.report);
        return false;
    }
    if (!arguments->twice)
        return true;
    options.print = false;
    sim_run(&options, &again);
    if (again.trace.hash == result.trace.hash && again.trace.events == result.trace.events)
        return true;
    printf("seed %" PRIu64 " ran differently the second time: the simulator is not deterministic\n", seed);
    return false;
}

/* Did everything that is said to happen happen? */
static bool counts_good(const struct totals *totals, uint64_t seeds)
{
    bool good = true;
    for (enum trace_event i = 0; i < TRACE_EVENTS && seeds >= COUNTS_FROM_SEEDS; i++) {
        uint64_t least = trace_minimum(i) * seeds / 10000;
        if (totals->count[i] >= least)
            continue;
        printf("%s happened %" PRIu64 " times, fewer than %" PRIu64 ": this simulation proves too little\n",
               trace_name(i), totals->count[i], least);
        good = false;
    }
    return good;
}

/* An operation is what a client asked for or got: an emit with an outcome, an event handled, a question answered. */
static uint64_t operations(const struct totals *totals)
{
    return totals->count[TRACE_OUTCOME] + totals->count[TRACE_OUTCOME_FAILED] +
           totals->count[TRACE_OUTCOME_UNKNOWN] + totals->count[TRACE_DELIVERED] +
           totals->count[TRACE_HANDLER_FAILS] + totals->count[TRACE_LISTENING] +
           totals->count[TRACE_ANSWERED];
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void totals_print(const struct totals *totals, uint64_t seeds, double took)
{
    for (enum trace_event i = 0; i < TRACE_EVENTS; i++)
        printf("%-20s %12" PRIu64 "%s", trace_name(i), totals->count[i], i % 3 == 2 ? "\n" : "   ");
    printf("\n");
    tap_print(&totals->taps);
    printf("commits that came again: %" PRIu64 " refused, %" PRIu64 " taken\n", totals->taps.again[0],
           totals->taps.again[1]);
    printf("%" PRIu64 " seeds, %" PRIu64 " events, %.1f s, %.0f runs/s; %" PRIu64
           " operations, %.0f per second of CPU time\n",
           seeds, totals->events, took, (double)seeds / took, operations(totals),
           (double)operations(totals) / cpu_seconds());
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct totals totals = {0};
    if (!arguments_read(argc, argv, &arguments))
        return usage();
    mallopt(M_MMAP_THRESHOLD, 64 << 20); /* runs come and go: their large blocks are kept for the next one */
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    double began = seconds(), shown = began;
    bool alone = arguments.trace || arguments.hash;
    bool progress = !arguments.quiet && !alone && isatty(STDOUT_FILENO), good = true;
    uint64_t done = 0;
    while (done < arguments.seeds && good) {
        good = run(&arguments, arguments.first + done, &totals);
        done++;
        if (progress && seconds() - shown > 0.2) {
            shown = seconds();
            printf("\r%" PRIu64 " of %" PRIu64 " seeds", done, arguments.seeds);
            fflush(stdout);
        }
    }
    if (progress)
        printf("\r\033[K");
    if (!alone)
        totals_print(&totals, done, seconds() - began);
    if (good && !arguments.plant)
        good = counts_good(&totals, done) &&
               ((done < COUNTS_FROM_SEEDS && !arguments.covers) || tap_complete(&totals.taps));
    return good ? 0 : 1;
}
