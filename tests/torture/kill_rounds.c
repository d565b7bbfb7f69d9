/* kill_rounds.c: kills a broker under load, again and again, and looks whether anything it promised is missing.
 *
 * Role:     four producer processes emit without a pause; each round lets events flow, kills crierd (SIGKILL) at a random
 *           moment and starts it again on the same folder and port. In the end everything is replayed and compared
 *           with what the producers were told and with what a listener that lived through it all was shown.
 * Usage:    kill_rounds [--rounds N] [--seed N]     the moments depend on the seed; what they hit, on the machine.
 * Promises: I1-I8 as counted in verdict.h; I13: events flow again within 5 s of each restart.
 * Prints:   time from exec to `listening on` (p50, max), the counts, and one line of verdict; status 1 for any offence. */
#include "tests/torture/judge.h"

#include "base/clock.h"
#include "base/random.h"
#include "tests/support/broker_fixture.h"

#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESUME_MS       5000 /* I13 */
#define KILL_AFTER_MS   150  /* at most, once events flow */
#define END_TIMEOUT_MS  120000
#define PROGRESS_ROUNDS 100

struct torture {
    uint64_t rounds, seed;
    struct random random;
    struct broker *broker;
    struct producers producers;
    struct witness listener;
    int64_t *ready_us; /* per round */
};

static uint64_t parse_number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end != '\0')
        errx(2, "'%s' is no number", text);
    return value;
}

static void parse(struct torture *torture, int argc, char **argv)
{
    static const struct option rows[] = {
        {"rounds", required_argument, NULL, 'r'}, {"seed", required_argument, NULL, 's'}, {0}};
    torture->rounds = 100;
    torture->seed = (uint64_t)clock_wall_us();
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'r')
            torture->rounds = parse_number(optarg);
        else if (c == 's')
            torture->seed = parse_number(optarg);
        else
            errx(2, "usage: kill_rounds [--rounds N] [--seed N]");
    }
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void create_topic(const char *url)
{
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = PRODUCERS_PARTITIONS};
    crier *bus;
    int rc = crier_open(url, NULL, &bus);
    if (rc == 0) {
        rc = crier_topic_create(bus, PRODUCERS_TOPIC, &options);
        crier_close(bus);
    }
    if (rc < 0)
        errx(1, "topic %s: %s", PRODUCERS_TOPIC, crier_strerror(rc));
}

/* Events flow; a random moment later the broker is gone; then it is back. False: it is not, or nothing flows. */
static bool run_round(struct torture *torture, uint64_t round)
{
    if (!witness_wait(&torture->listener, witness_count(&torture->listener), RESUME_MS)) {
        fprintf(stderr, "round %" PRIu64 ": no event within %d ms of the restart\n", round, RESUME_MS);
        return false;
    }
    poll(NULL, 0,
         (int)random_below(&torture->random, KILL_AFTER_MS)); /* the moment: this is the fault, not a wait */
    broker_kill(torture->broker);
    int64_t start_us = clock_monotonic_us();
    if (!broker_restart(torture->broker)) {
        fprintf(stderr, "round %" PRIu64 ": the broker did not start again\n", round);
        return false;
    }
    torture->ready_us[round] = clock_monotonic_us() - start_us;
    return true;
}

static void print_verdict(const struct torture *torture, const struct verdict *verdict)
{
    qsort(torture->ready_us, torture->rounds, sizeof(*torture->ready_us), compare_int64);
    if (torture->rounds > 0)
        printf("ready after exec: p50 %.1f ms, max %.1f ms\n",
               (double)torture->ready_us[torture->rounds / 2] / 1e3,
               (double)torture->ready_us[torture->rounds - 1] / 1e3);
    printf("%" PRIu64 " kills, %" PRIu64 " emitted, %" PRIu64 " acknowledged, %" PRIu64 " stored\n",
           torture->rounds, verdict->emitted, verdict->acknowledged, verdict->stored);
    judge_print(verdict);
}

/* The broker runs; everything else is started, and ended, here. */
static bool torture_broker(struct torture *torture, const char *directory)
{
    struct verdict verdict;
    bool good = true;
    int rc = producers_start(&torture->producers, broker_url(torture->broker), directory, NULL);
    if (rc < 0)
        errx(1, "the producers: %s", strerror(-rc));
    rc = witness_start(&torture->listener, broker_url(torture->broker));
    if (rc < 0)
        errx(1, "the listener: %s", crier_strerror(rc));
    for (uint64_t round = 0; good && round < torture->rounds; round++) {
        good = run_round(torture, round);
        if ((round + 1) % PROGRESS_ROUNDS == 0) {
            printf("%" PRIu64 " kills, %" PRIu64 " events seen\n", round + 1,
                   witness_count(&torture->listener));
            fflush(stdout);
        }
    }
    if (!good) {
        producers_kill(&torture->producers);
        broker_log_print(torture->broker);
        witness_stop(&torture->listener);
        return false;
    }
    int failed = producers_stop(&torture->producers);
    good = witness_wait_end(&torture->listener, END_TIMEOUT_MS) && failed == 0;
    witness_stop(&torture->listener);
    good = judge(&torture->producers, broker_url(torture->broker), &torture->listener, &verdict) && good;
    print_verdict(torture, &verdict);
    return good && verdict_offences(&verdict) == 0 && verdict.acknowledged > 0;
}

int main(int argc, char **argv)
{
    struct torture torture = {0};
    char directory[] = "/tmp/crier-torture.XXXXXX";
    char path[256];

    parse(&torture, argc, argv);
    torture.random = random_seeded(torture.seed);
    torture.ready_us = calloc(torture.rounds + 1, sizeof(*torture.ready_us));
    if (torture.ready_us == NULL || mkdtemp(directory) == NULL)
        err(1, "%s", directory);
    signal(SIGPIPE, SIG_IGN);
    printf("seed %" PRIu64 ", %" PRIu64 " rounds\n", torture.seed, torture.rounds);
    fflush(stdout);
    torture.broker = broker_start(NULL);
    if (torture.broker == NULL)
        return 1;
    create_topic(broker_url(torture.broker));
    bool good = torture_broker(&torture, directory);
    witness_finish(&torture.listener);
    free(torture.ready_us);

    int status = broker_destroy(torture.broker);
    if (status != 0)
        fprintf(stderr, "the broker ended with status %d\n", status);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        snprintf(path, sizeof(path), "%s/producer-%u.log", directory, i);
        if (good)
            unlink(path);
    }
    if (good)
        rmdir(directory);
    else
        printf("the producers' logs are in %s; --seed %" PRIu64 " repeats the moments\n", directory,
               torture.seed);
    return good && status == 0 ? 0 : 1;
}
