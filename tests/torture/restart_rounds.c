/* restart_rounds.c: a broker that is restarted again and again, killed or asked to stop, while four clients emit and listen.
 *
 * Role:     each client is a process with one bus: it emits numbered events without a pause (producers.h), reads the whole
 *           topic from its start with a listener that lives through all restarts (witness.h), and arms a `once` for every
 *           round, which waits across the restart and then meets three events.
 * Usage:    restart_rounds [--restarts N] [--seed N]     about every second restart is a SIGKILL, the others SIGTERM.
 * Promises: nothing lost, stored twice, reordered or changed (I1-I5); each listener saw each event exactly once and in
 *           order (I7, I8), for the whole of its life; each `once` fired exactly once; events flow again within 10 s.
 * Prints:   the time from signal to serving, the counts, one line of verdict; status 1 for any offence.
 *
 * A client and this process talk over a socket pair: a byte each way. arm: armed; (three events): fired; end: its logs are
 * written. Threads: in a client main emits, the bus's thread hears, and one more reads the orders. */
#include "tests/torture/verdict.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "tests/support/broker_fixture.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICKS            "ticks" /* the topic of the onces */
#define TICKS_PER_ROUND  3
#define ANSWER_MS        30000
#define RESUME_MS        10000 /* I13, and then some for a busy machine */
#define RESTART_AFTER_MS 60    /* at most, once everybody is ready for it */
#define END_TIMEOUT_MS   60000

enum order { ORDER_ARM = 'a', ORDER_END = 'e' };
enum answer { ANSWER_ARMED = 'A', ANSWER_FIRED = 'F', ANSWER_FLUSHED = 'f', ANSWER_WRITTEN = 'W' };

struct client {      /* made before the processes are, so that each finds its own */
    int here, there; /* the ends of the socket pair: this process's, the client's */
    crier *bus;
    struct witness witness;
    pthread_t orders;
};

struct rounds {
    uint64_t restarts, seed, kills;
    struct random random;
    struct broker *broker;
    struct producers producers;
    struct client clients[PRODUCERS];
    crier *bus; /* of the ticks */
    char directory[64];
    int64_t *ready_us; /* per restart */
};

static void witness_path(const struct rounds *rounds, uint32_t client, char *to, size_t size)
{
    snprintf(to, size, "%s/witness-%" PRIu32 ".log", rounds->directory, client);
}

/* ---- in a client ---- */

static void answer(const struct client *client, enum answer what)
{
    char byte = (char)what;
    if (write(client->there, &byte, 1) != 1)
        _exit(1); /* whoever asked is gone */
}

static int on_tick(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)event;
    answer(ctx, ANSWER_FIRED);
    return 0;
}

static void on_armed(void *ctx)
{
    answer(ctx, ANSWER_ARMED); /* and again after each reconnect */
}

static int arm(struct client *client)
{
    struct crier_listen_options once = crier_listen_options_default();
    once.count = 1;
    once.listening = on_armed;
    return crier_listen(client->bus, TICKS, &once, on_tick, client, NULL);
}

/* Until the order to end, or until nobody is there to give any. */
static void *take_orders(void *ctx)
{
    struct client *client = ctx;
    char order;
    while (read(client->there, &order, 1) == 1 && order != ORDER_END) {
        if (arm(client) < 0)
            _exit(1);
    }
    return NULL;
}

static int client_begin(crier *bus, uint32_t number, void *ctx)
{
    struct rounds *rounds = ctx;
    struct client *client = &rounds->clients[number];
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        close(rounds->clients[i].here); /* so that it ends with its owner */
        if (i != number)
            close(rounds->clients[i].there);
    }
    client->bus = bus;
    int rc = witness_listen(&client->witness, bus);
    if (rc == 0 && pthread_create(&client->orders, NULL, take_orders, client) != 0)
        rc = CRIER_ENOMEM;
    return rc;
}

/* Everybody flushes before anybody looks for the end. */
static int client_end(crier *bus, uint32_t number, void *ctx)
{
    struct rounds *rounds = ctx;
    struct client *client = &rounds->clients[number];
    char path[128];
    (void)bus;
    answer(client, ANSWER_FLUSHED);
    pthread_join(client->orders, NULL);
    if (!witness_wait_end(&client->witness, END_TIMEOUT_MS)) {
        fprintf(stderr, "client %" PRIu32 " did not see the end\n", number);
        return CRIER_ETIMEDOUT;
    }
    witness_path(rounds, number, path, sizeof(path));
    int rc = witness_write(&client->witness, path) == 0 ? 0 : CRIER_EIO;
    if (rc == 0)
        answer(client, ANSWER_WRITTEN);
    return rc;
}

/* ---- talking to them ---- */

static void order_all(struct rounds *rounds, enum order what)
{
    char byte = (char)what;
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        if (write(rounds->clients[i].here, &byte, 1) != 1)
            warn("client %" PRIu32, i); /* it is missed when its answer is */
    }
}

/* The answer of each client, over repetitions of `past` (0: none). False: another one came, or none. */
static bool await_all(struct rounds *rounds, enum answer what, char past)
{
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        struct pollfd wait = {rounds->clients[i].here, POLLIN, 0};
        char byte = past;
        while (byte == past) {
            if (poll(&wait, 1, ANSWER_MS) <= 0 || read(wait.fd, &byte, 1) != 1) {
                fprintf(stderr, "client %" PRIu32 ": no answer '%c'\n", i, what);
                return false;
            }
        }
        if (byte != (char)what) {
            fprintf(stderr, "client %" PRIu32 ": '%c' where '%c' was due%s\n", i, byte, what,
                    byte == ANSWER_FIRED ? ": a once fired twice" : "");
            return false;
        }
    }
    return true;
}

static int emit_ticks(struct rounds *rounds)
{
    int rc = 0;
    for (int i = 0; i < TICKS_PER_ROUND && rc == 0; i++)
        rc = crier_emit(rounds->bus, TICKS, "tick", 4);
    return rc == 0 ? crier_flush(rounds->bus, RESUME_MS) : rc;
}

/* ---- a round ---- */

static bool restart(struct rounds *rounds, uint64_t round)
{
    bool kill = random_below(&rounds->random, 2) == 0;
    poll(NULL, 0,
         (int)random_below(&rounds->random, RESTART_AFTER_MS)); /* the moment: the fault, not a wait */
    int64_t start_us = clock_monotonic_us();
    if (kill)
        broker_kill(rounds->broker);
    else if (broker_stop(rounds->broker) != 0)
        return false;
    if (!broker_restart(rounds->broker))
        return false;
    rounds->ready_us[round] = clock_monotonic_us() - start_us;
    rounds->kills += kill;
    return true;
}

static bool run_round(struct rounds *rounds, uint64_t round)
{
    order_all(rounds, ORDER_ARM);
    if (!await_all(rounds, ANSWER_ARMED, 0))
        return false;
    if (!restart(rounds, round)) {
        fprintf(stderr, "round %" PRIu64 ": the broker did not stop well, or did not start again\n", round);
        return false;
    }
    int rc = emit_ticks(rounds);
    if (rc < 0)
        fprintf(stderr, "round %" PRIu64 ": ticks: %s\n", round, crier_strerror(rc));
    return rc == 0 && await_all(rounds, ANSWER_FIRED, ANSWER_ARMED);
}

/* ---- judging ---- */

static bool judge_client(const struct rounds *rounds, uint32_t number, const struct witness *truth,
                         struct verdict *verdict)
{
    struct completion *log;
    struct witness seen;
    uint64_t count;
    char path[128];
    if (producers_log(&rounds->producers, number, &log, &count) < 0)
        return false;
    verdict_producer(verdict, truth, number, log, count);
    free(log);
    witness_path(rounds, number, path, sizeof(path));
    bool good = witness_read(&seen, path) == 0;
    if (good)
        verdict_listener(verdict, truth, &seen);
    witness_finish(&seen);
    return good;
}

static bool judge(const struct rounds *rounds, struct verdict *verdict)
{
    struct witness truth;
    int rc = witness_start(&truth, broker_url(rounds->broker));
    bool good = rc == 0 && witness_wait_end(&truth, END_TIMEOUT_MS);
    witness_stop(&truth);
    if (good)
        verdict_truth(verdict, &truth);
    for (uint32_t i = 0; good && i < PRODUCERS; i++)
        good = judge_client(rounds, i, &truth, verdict);
    witness_finish(&truth);
    if (!good)
        fprintf(stderr, "a client left no log, or the topic could not be read\n");
    return good;
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_verdict(struct rounds *rounds, const struct verdict *verdict)
{
    qsort(rounds->ready_us, rounds->restarts, sizeof(*rounds->ready_us), compare_int64);
    if (rounds->restarts > 0)
        printf("from signal to serving: p50 %.1f ms, max %.1f ms\n",
               (double)rounds->ready_us[rounds->restarts / 2] / 1e3,
               (double)rounds->ready_us[rounds->restarts - 1] / 1e3);
    printf("%" PRIu64 " restarts (%" PRIu64 " SIGKILL), %" PRIu64 " emitted, %" PRIu64
           " acknowledged, %" PRIu64 " stored, each seen by %d listeners, %" PRIu64 " onces fired\n",
           rounds->restarts, rounds->kills, verdict->emitted, verdict->acknowledged, verdict->stored,
           PRODUCERS, rounds->restarts * PRODUCERS);
    printf("%" PRIu64 " lost, %" PRIu64 " reordered, %" PRIu64 " duplicated, %" PRIu64 " phantom, %" PRIu64
           " changed, %" PRIu64 " gaps, %" PRIu64 " missed\n",
           verdict->lost, verdict->reordered, verdict->duplicated, verdict->phantom, verdict->changed,
           verdict->gaps, verdict->missed);
}

/* ---- the run ---- */

static bool finish_clients(struct rounds *rounds)
{
    atomic_store(rounds->producers.stop, true);
    bool good = await_all(rounds, ANSWER_FLUSHED, 0);
    order_all(rounds, ORDER_END);
    good = good && await_all(rounds, ANSWER_WRITTEN, 0);
    return producers_stop(&rounds->producers) == 0 && good;
}

static void start_clients(struct rounds *rounds)
{
    const struct producers_hooks hooks = {client_begin, client_end, rounds};
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
            err(1, "a socket pair");
        rounds->clients[i].here = ends[0];
        rounds->clients[i].there = ends[1];
    }
    int rc = producers_start(&rounds->producers, broker_url(rounds->broker), rounds->directory, &hooks);
    if (rc < 0)
        errx(1, "the clients: %s", strerror(-rc));
    for (uint32_t i = 0; i < PRODUCERS; i++)
        close(rounds->clients[i].there);
}

static void create_topics(const struct rounds *rounds)
{
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = PRODUCERS_PARTITIONS};
    crier *bus;
    int rc = crier_open(broker_url(rounds->broker), NULL, &bus);
    if (rc == 0) {
        rc = crier_topic_create(bus, PRODUCERS_TOPIC, &options);
        if (rc == 0)
            rc = crier_topic_create(bus, TICKS, NULL);
        crier_close(bus);
    }
    if (rc < 0)
        errx(1, "the topics: %s", crier_strerror(rc));
}

static bool run(struct rounds *rounds)
{
    struct verdict verdict = {0};
    bool good = true;
    create_topics(rounds);
    start_clients(rounds); /* while this process has no thread */
    int rc = crier_open(broker_url(rounds->broker), NULL, &rounds->bus);
    if (rc < 0)
        errx(1, "%s", crier_strerror(rc));
    for (uint64_t round = 0; good && round < rounds->restarts; round++)
        good = run_round(rounds, round);
    good = good && finish_clients(rounds);
    if (good)
        good = judge(rounds, &verdict);
    else
        broker_log_print(rounds->broker);
    producers_kill(&rounds->producers);
    crier_close(rounds->bus);
    print_verdict(rounds, &verdict);
    return good && verdict_offences(&verdict) == 0 && verdict.acknowledged > 0;
}

static void parse(struct rounds *rounds, int argc, char **argv)
{
    static const struct option rows[] = {
        {"restarts", required_argument, NULL, 'r'}, {"seed", required_argument, NULL, 's'}, {0}};
    *rounds = (struct rounds){.restarts = 100, .seed = (uint64_t)clock_wall_us()};
    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'r')
            rounds->restarts = strtoull(optarg, NULL, 10);
        else if (c == 's')
            rounds->seed = strtoull(optarg, NULL, 10);
        else
            errx(2, "usage: restart_rounds [--restarts N] [--seed N]");
    }
    rounds->random = random_seeded(rounds->seed);
    rounds->ready_us = calloc(rounds->restarts + 1, sizeof(*rounds->ready_us));
    snprintf(rounds->directory, sizeof(rounds->directory), "/tmp/crier-restarts.XXXXXX");
    if (rounds->ready_us == NULL || mkdtemp(rounds->directory) == NULL)
        err(1, "%s", rounds->directory);
}

static void remove_logs(const struct rounds *rounds)
{
    char path[128];
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        witness_path(rounds, i, path, sizeof(path));
        unlink(path);
        snprintf(path, sizeof(path), "%s/producer-%" PRIu32 ".log", rounds->directory, i);
        unlink(path);
    }
    rmdir(rounds->directory);
}

int main(int argc, char **argv)
{
    static struct rounds rounds;
    parse(&rounds, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    printf("seed %" PRIu64 ", %" PRIu64 " restarts\n", rounds.seed, rounds.restarts);
    fflush(stdout);
    rounds.broker = broker_start(NULL);
    if (rounds.broker == NULL)
        return 1;
    bool good = run(&rounds);
    int status = broker_destroy(rounds.broker);
    if (good)
        remove_logs(&rounds);
    else
        printf("the logs of the clients are in %s; --seed %" PRIu64 " repeats the moments\n",
               rounds.directory, rounds.seed);
    free(rounds.ready_us);
    return good && status == 0 ? 0 : 1;
}
