/* main.c: crier_sim: many runs, or one with its trace.
 *
 *   crier_sim --seeds N [--first S]     runs N seeds; exit 1 at the first that breaks a promise, naming it
 *   crier_sim --seed S --trace          what happens in one run, event by event
 *   crier_sim ... --plant ack-before-commit
 *                                       with a known bug in the disk: has to be found
 *   crier_sim ... --twice               every seed twice: both runs must be the same
 *   crier_sim ... --quiet               no progress
 *
 * A run of 1,000 seeds or more also fails if a fault it claims to simulate struck too rarely to be believed. */
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
    bool trace, plant, twice, quiet;
};

struct totals {
    uint64_t events;
    uint64_t count[TRACE_EVENTS];
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int usage(void)
{
    fprintf(stderr, "usage: crier_sim --seeds N [--first S] [--plant ack-before-commit] [--twice] [--quiet]\n"
                    "       crier_sim --seed S [--trace] [--plant ack-before-commit]\n");
    return 2;
}

static bool number(const char *text, uint64_t *ret_number)
{
    char *end;
    *ret_number = strtoull(text, &end, 10);
    return *text && !*end;
}

static bool arguments_read(int argc, char **argv, struct arguments *ret)
{
    *ret = (struct arguments){.first = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool takes_value = true, good = true;
        if (!strcmp(argv[i], "--seeds"))
            good = number(value, &ret->seeds);
        else if (!strcmp(argv[i], "--first"))
            good = number(value, &ret->first);
        else if (!strcmp(argv[i], "--seed"))
            good = number(value, &ret->first) && (ret->seeds = 1);
        else if (!strcmp(argv[i], "--plant"))
            good = ret->plant = !strcmp(value, "ack-before-commit");
        else
            takes_value = false;
        if (!takes_value) {
            bool *flag = !strcmp(argv[i], "--trace")   ? &ret->trace
                         : !strcmp(argv[i], "--twice") ? &ret->twice
                         : !strcmp(argv[i], "--quiet") ? &ret->quiet
                                                       : NULL;
            good = flag != NULL;
            if (flag)
                *flag = true;
        }
        if (!good)
            return false;
        i += takes_value;
    }
    return ret->seeds > 0;
}

static void blame(const struct arguments *arguments, uint64_t seed, const struct report *report)
{
    for (size_t i = 0; i < report->count; i++)
        printf("seed %" PRIu64 " breaks I%d: %s\n", seed, report->violations[i].invariant,
               report->violations[i].text);
    printf("to see it happen: crier_sim --seed %" PRIu64 " --trace%s\n", seed,
           arguments->plant ? " --plant ack-before-commit" : "");
}

/* One seed. Returns whether it kept all promises. */
static bool run(const struct arguments *arguments, uint64_t seed, struct totals *totals)
{
    struct sim_options options = {
        .seed = seed, .print = arguments->trace, .plant_ack_before_commit = arguments->plant};
    struct trace trace, again;
    struct report report;
    sim_run(&options, &trace, &report);
    totals->events += trace.events;
    for (size_t i = 0; i < TRACE_EVENTS; i++)
        totals->count[i] += trace.count[i];
    if (report.count) {
        blame(arguments, seed, &report);
        return false;
    }
    if (!arguments->twice)
        return true;
    options.print = false;
    sim_run(&options, &again, &report);
    if (again.hash == trace.hash && again.events == trace.events)
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

static void totals_print(const struct totals *totals, uint64_t seeds, double took)
{
    for (enum trace_event i = 0; i < TRACE_EVENTS; i++)
        printf("%-20s %12" PRIu64 "%s", trace_name(i), totals->count[i], i % 3 == 2 ? "\n" : "   ");
    printf("\n%" PRIu64 " seeds, %" PRIu64 " events, %.1f s, %.0f runs/s\n", seeds, totals->events, took,
           (double)seeds / took);
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
    bool progress = !arguments.quiet && !arguments.trace && isatty(STDOUT_FILENO), good = true;
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
    if (!arguments.trace)
        totals_print(&totals, done, seconds() - began);
    if (good && !arguments.plant)
        good = counts_good(&totals, done);
    return good ? 0 : 1;
}
