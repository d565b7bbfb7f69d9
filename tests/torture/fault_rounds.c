/* fault_rounds.c: everything that can happen to a broker under load, one fault after another; then the verdict.
 *
 * Role:     four producers emit, a witness reads from the start; each round one fault strikes (nemesis.c), in an order that
 *           is shuffled anew when all have struck; after it has healed, events must flow again.
 * Usage:    fault_rounds [--faults N] [--seed N] [--only NAME] [--connections N] [--list]
 * Promises: I1-I5, I7, I8 as counted in verdict.h; I13: events flow again within 15 s after each fault; the broker ends
 *           only if a fault may end it (no memory); each fault that this machine allows did hit.
 * Prints:   a line for each fault: how often it struck, and how long until events flowed; the verdict; status 1 for any
 *           offence. What cannot be done on this machine is named. */
#include "tests/torture/arena.h"
#include "tests/torture/judge.h"

#include "base/clock.h"

#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEMESES_MAX    32
#define END_TIMEOUT_MS 120000

struct tally {
    uint64_t struck, missed;
    int64_t resume_us_max;
    const char *impossible; /* why it cannot be done here; NULL: it can */
};

struct options {
    uint64_t faults, seed;
    uint32_t connections;
    const char *only;
};

static struct tally tallies[NEMESES_MAX];

static void list_nemeses(void)
{
    for (size_t i = 0; i < nemesis_count; i++)
        printf("  %-14s %s\n", nemeses[i].name, nemeses[i].text);
}

static void parse(struct options *options, int argc, char **argv)
{
    static const struct option rows[] = {
        {"faults", required_argument, NULL, 'f'}, {"seed", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},   {"connections", required_argument, NULL, 'c'},
        {"list", no_argument, NULL, 'l'},         {0}};
    *options =
        (struct options){.faults = nemesis_count, .seed = (uint64_t)clock_wall_us(), .connections = 10000};
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'f')
            options->faults = strtoull(optarg, NULL, 10);
        else if (c == 's')
            options->seed = strtoull(optarg, NULL, 10);
        else if (c == 'o')
            options->only = optarg;
        else if (c == 'c')
            options->connections = (uint32_t)strtoul(optarg, NULL, 10);
        else {
            fprintf(stderr, "usage: fault_rounds [--faults N] [--seed N] [--only NAME] [--connections N]\n");
            list_nemeses();
            exit(c == 'l' ? 0 : 2);
        }
    }
}

/* The next of a deck that is shuffled whenever it is through (Fisher and Yates); or always the one that was asked for. */
static size_t draw(struct arena *arena, const struct options *options, uint64_t round)
{
    static size_t deck[NEMESES_MAX];
    for (size_t i = 0; options->only && i < nemesis_count; i++) {
        if (strcmp(nemeses[i].name, options->only) == 0)
            return i;
    }
    if (options->only)
        errx(2, "there is no fault '%s'; --list names them", options->only);
    for (size_t i = 0; round % nemesis_count == 0 && i < nemesis_count; i++) {
        size_t j = random_below(&arena->random, i + 1);
        deck[i] = deck[j];
        deck[j] = i;
    }
    return deck[round % nemesis_count];
}

/* False: a promise is broken. */
static bool strike(struct arena *arena, const struct nemesis *nemesis, struct tally *tally)
{
    int hit = nemesis->strike(arena, &tally->impossible);
    int64_t healed_us = clock_monotonic_us();
    if (hit < 0)
        return true;
    tally->struck++;
    tally->missed += hit == 0;
    if (hit == 0)
        fprintf(stderr, "%s did not hit, or what must go on did not\n", nemesis->name);
    if (broker_has_died(arena->broker)) {
        fprintf(stderr, "%s: the broker has ended\n", nemesis->name);
        return false;
    }
    if (!arena_flows(arena)) {
        fprintf(stderr, "%s: no event within %d ms of its end\n", nemesis->name, ARENA_RESUME_MS);
        return false;
    }
    int64_t resume_us = clock_monotonic_us() - healed_us;
    if (resume_us > tally->resume_us_max)
        tally->resume_us_max = resume_us;
    return hit != 0;
}

static void print_tallies(void)
{
    for (size_t i = 0; i < nemesis_count; i++) {
        const struct tally *tally = &tallies[i];
        if (tally->impossible)
            printf("  %-14s not on this machine: %s\n", nemeses[i].name, tally->impossible);
        else if (tally->struck)
            printf("  %-14s %3" PRIu64 " times, events again after %6.1f ms at most%s\n", nemeses[i].name,
                   tally->struck, (double)tally->resume_us_max / 1e3, tally->missed ? "  DID NOT HIT" : "");
    }
}

static void print_verdict(const struct verdict *verdict)
{
    printf("%" PRIu64 " emitted, %" PRIu64 " acknowledged, %" PRIu64 " stored\n", verdict->emitted,
           verdict->acknowledged, verdict->stored);
    judge_print(verdict);
}

static bool run(struct arena *arena, const struct options *options)
{
    struct verdict verdict = {0};
    bool good = arena_start(arena);
    for (uint64_t round = 0; good && round < options->faults; round++) {
        size_t which = draw(arena, options, round);
        good = strike(arena, &nemeses[which], &tallies[which]);
    }
    if (!good) {
        producers_kill(&arena->producers);
        if (arena->broker)
            broker_log_print(arena->broker);
        print_tallies();
        return false;
    }
    int failed = producers_stop(&arena->producers);
    good = witness_wait_end(&arena->witness, END_TIMEOUT_MS) && failed == 0;
    witness_stop(&arena->witness);
    good = judge(&arena->producers, broker_url(arena->broker), &arena->witness, &verdict) && good;
    print_tallies();
    print_verdict(&verdict);
    return good && verdict_offences(&verdict) == 0 && verdict.acknowledged > 0;
}

int main(int argc, char **argv)
{
    static struct arena arena;
    struct options options;
    parse(&options, argc, argv);
    arena.random = random_seeded(options.seed);
    arena.connections = options.connections;
    signal(SIGPIPE, SIG_IGN);
    printf("seed %" PRIu64 ", %" PRIu64 " faults\n", options.seed, options.faults);
    fflush(stdout);
    if (!arena_enter(&arena))
        err(1, "%s", arena.folder);
    bool good = run(&arena, &options);
    if (arena.witness.bus)
        witness_stop(&arena.witness);
    int status = broker_destroy(arena.broker);
    arena_leave(&arena);
    if (!good)
        printf("--seed %" PRIu64 " repeats the order of the faults\n", options.seed);
    return good && status == 0 ? 0 : 1;
}
