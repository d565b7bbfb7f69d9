/* matrix_rounds.c: each thing a broker does, times each way to be interrupted: what no single test of a fault can promise.
 *
 * Role:     four producers emit, a witness reads; beside them everything else goes on at once (bustle.h). For each cell the
 *           fault strikes at a moment when that operation has just gone a step further; afterwards events flow, and the
 *           operation goes on. The operation "restart" is a broker that has not said yet that it serves.
 * Usage:    matrix_rounds [--rounds N] [--seed N] [--only OPERATION/FAULT]
 * Promises: I1-I5, I7, I8 as counted in verdict.h, I9, I10 and order beside them (bustle.h), I13: everything goes on within
 *           15 s. A cell whose fault did not hit fails.
 * Prints:   a table of how often each was hit, what power cuts tore, the verdict; status 1 for any offence. Without a file
 *           system of its own and the shims (sanitizers) the cells that need them are named. */
#include "tests/torture/arena.h"
#include "tests/torture/bustle.h"
#include "tests/torture/judge.h"
#include "tests/torture/strikes.h"

#include "base/clock.h"

#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESTART        BUSTLE_OPS /* the last row */
#define OPERATIONS     (BUSTLE_OPS + 1)
#define AWAIT_MS       60000 /* a segment has to be filled, on a busy machine */
#define END_TIMEOUT_MS 120000
#define DELAY_US       3000 /* at most, from the operation's step to the fault */

struct matrix {
    struct arena arena;
    struct bustle bustle;
    uint64_t rounds, seed;
    const char *only;
    uint64_t hits[OPERATIONS][STRIKES];
    const char *impossible[STRIKES];
};

static const char *operation_name(size_t op)
{
    return op == RESTART ? "restart" : bustle_names[op];
}

static void parse(struct matrix *matrix, int argc, char **argv)
{
    static const struct option rows[] = {{"rounds", required_argument, NULL, 'r'},
                                         {"seed", required_argument, NULL, 's'},
                                         {"only", required_argument, NULL, 'o'},
                                         {0}};
    matrix->rounds = 1;
    matrix->seed = (uint64_t)clock_wall_us();
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'r')
            matrix->rounds = strtoull(optarg, NULL, 10);
        else if (c == 's')
            matrix->seed = strtoull(optarg, NULL, 10);
        else if (c == 'o')
            matrix->only = optarg;
        else
            errx(2, "usage: matrix_rounds [--rounds N] [--seed N] [--only OPERATION/FAULT]");
    }
}

static bool wanted(const struct matrix *matrix, size_t op, size_t fault)
{
    char name[64];
    snprintf(name, sizeof(name), "%s/%s", operation_name(op), strikes[fault].name);
    return matrix->only == NULL || strcmp(matrix->only, name) == 0;
}

/* Everything there is goes on. */
static bool goes_on(struct matrix *matrix, size_t op)
{
    if (!arena_flows(&matrix->arena)) {
        fprintf(stderr, "no event within %d ms\n", ARENA_RESUME_MS);
        return false;
    }
    if (op != RESTART && !bustle_await(&matrix->bustle, (enum bustle_op)op, AWAIT_MS)) {
        fprintf(stderr, "the operation does not go on\n");
        return false;
    }
    return true;
}

/* False: a promise is broken, or the fault did not hit. */
static bool run_cell(struct matrix *matrix, size_t op, size_t fault)
{
    struct arena *arena = &matrix->arena;
    const struct strike *strike = &strikes[fault];
    if (!goes_on(matrix, op)) {
        fprintf(stderr, "%s is not under way\n", operation_name(op));
        return false;
    }
    int hit;
    if (op == RESTART) {
        broker_kill(arena->broker);
        hit = strike->starting(arena, &matrix->impossible[fault]);
        if (hit < 0)
            broker_restart(arena->broker);
    } else {
        bustle_await(&matrix->bustle, (enum bustle_op)op, AWAIT_MS);
        arena_wait_us((int)random_below(&arena->random, DELAY_US));
        hit = strike->running(arena, op == BUSTLE_REPLAY, &matrix->impossible[fault]);
    }
    bool good = hit != 0 && goes_on(matrix, op);
    if (!good)
        fprintf(stderr, "%s / %s: %s\n", operation_name(op), strike->name,
                hit == 0 ? "did not hit" : "what must go on did not");
    matrix->hits[op][fault] += hit > 0;
    printf("%s / %s, %" PRIu64 " events seen\n", operation_name(op), strike->name,
           witness_count(&arena->witness));
    fflush(stdout);
    return good;
}

static void print_matrix(const struct matrix *matrix)
{
    printf("%-16s", "");
    for (size_t fault = 0; fault < STRIKES; fault++)
        printf("%10s", strikes[fault].name);
    printf("\n");
    for (size_t op = 0; op < OPERATIONS; op++) {
        printf("%-16s", operation_name(op));
        for (size_t fault = 0; fault < STRIKES; fault++)
            printf("%10" PRIu64, matrix->hits[op][fault]);
        printf("\n");
    }
    for (size_t fault = 0; fault < STRIKES; fault++)
        if (matrix->impossible[fault])
            printf("%s: not on this machine: %s\n", strikes[fault].name, matrix->impossible[fault]);
    const struct arena *arena = &matrix->arena;
    printf("power cuts: %" PRIu64 " writes torn, %" PRIu64 " lost, %" PRIu64 " lengths and %" PRIu64
           " names not there yet\n",
           arena->power_torn, arena->power_lost, arena->power_lengths, arena->power_names);
}

/* From the next start on the broker's folder is a disk that can lose its power. */
static bool power_on(struct arena *arena)
{
    if (arena->power == NULL)
        return true;
    snprintf(arena->power->folder, sizeof(arena->power->folder), "%s", broker_data(arena->broker));
    broker_kill(arena->broker);
    return broker_restart(arena->broker);
}

static bool run_cells(struct matrix *matrix, size_t op)
{
    for (uint64_t round = 0; round < matrix->rounds; round++)
        for (size_t fault = 0; fault < STRIKES; fault++)
            if (wanted(matrix, op, fault) && !run_cell(matrix, op, fault))
                return false;
    return true;
}

/* What was done is compared with what was told. */
static bool end_row(struct matrix *matrix)
{
    struct arena *arena = &matrix->arena;
    struct verdict verdict = {0};
    bool good = bustle_stop(&matrix->bustle) == 0;
    good = producers_stop(&arena->producers) == 0 && good;
    good = witness_wait_end(&arena->witness, END_TIMEOUT_MS) && good;
    witness_stop(&arena->witness);
    good = judge(&arena->producers, broker_url(arena->broker), &arena->witness, &verdict) && good;
    printf("  %" PRIu64 " emitted, %" PRIu64 " acknowledged, %" PRIu64 " stored; ", verdict.emitted,
           verdict.acknowledged, verdict.stored);
    judge_print(&verdict);
    fflush(stdout);
    return good && verdict_offences(&verdict) == 0 && verdict.acknowledged > 0;
}

/* One operation and every fault, in a world of its own: the disk holds what four producers emit in a minute or two. */
static bool run_row(struct matrix *matrix, size_t op)
{
    struct arena *arena = &matrix->arena;
    if (!arena_start(arena) || !power_on(arena))
        return false;
    int rc = bustle_start(&matrix->bustle, broker_url(arena->broker), broker_data(arena->broker));
    if (rc < 0)
        fprintf(stderr, "what else goes on: %s\n", crier_strerror(rc));
    bool good = rc == 0 && run_cells(matrix, op);
    if (!good) {
        producers_kill(&arena->producers);
        broker_log_print(arena->broker);
        if (rc == 0)
            bustle_stop(&matrix->bustle);
        return false;
    }
    good = end_row(matrix);
    witness_finish(&arena->witness);
    int status = broker_destroy(arena->broker);
    arena->broker = NULL;
    return arena_clean(arena) && good && status == 0;
}

static bool run(struct matrix *matrix)
{
    bool good = true;
    for (size_t op = 0; op < OPERATIONS && good; op++) {
        bool any = false;
        for (size_t fault = 0; fault < STRIKES; fault++)
            any = any || wanted(matrix, op, fault);
        good = !any || run_row(matrix, op);
    }
    print_matrix(matrix);
    return good;
}

int main(int argc, char **argv)
{
    static struct matrix matrix;
    parse(&matrix, argc, argv);
    struct arena *arena = &matrix.arena;
    arena->random = random_seeded(matrix.seed);
    signal(SIGPIPE, SIG_IGN);
    printf("seed %" PRIu64 ", %" PRIu64 " rounds\n", matrix.seed, matrix.rounds);
    fflush(stdout);
    if (!arena_enter(arena))
        err(1, "%s", arena->folder);
    arena->cache_size = "128K"; /* replays are to read the disk */
    bool good = run(&matrix);
    if (arena->witness.bus)
        witness_stop(&arena->witness);
    broker_destroy(arena->broker);
    arena_leave(arena);
    if (!good)
        printf("--seed %" PRIu64 " repeats the moments\n", matrix.seed);
    return good ? 0 : 1;
}
