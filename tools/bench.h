/* bench.h: what the processes of `crier bench e2e` share: the options, the results, and how an event is numbered.
 *
 *   parent  makes the topic, forks the workers, says go, shows progress, reports.        bench_e2e.c, bench_workers.c
 *   producers, one process each, emit their share of the events and wait for the acks.   bench_producer.c
 *   listeners, one process each, get every event and check that history.                 bench_listener.c, bench_check.c
 *
 * Results lie in one anonymous shared mapping: a worker writes its own part only, the parent reads the counters while
 * it runs, and everything once it has ended. An event's first 16 bytes say whose it is and when it left:
 *
 *   | offset | size | meaning (little-endian)                                        |
 *   |--------|------|----------------------------------------------------------------|
 *   | 0      | 8    | run (16 bits), producer (8 bits), sequence from 0 (40 bits)    |
 *   | 8      | 8    | monotonic time in microseconds of a sampled event, 0: not sampled | */
#ifndef CRIER_TOOLS_BENCH_H
#define CRIER_TOOLS_BENCH_H

#include "tools/histogram.h"
#include "tools/history.h"

#include "client/include/crier/crier.h"

#include "base/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_PRODUCERS_MAX  256 /* their number has 8 bits in an event */
#define BENCH_LISTENERS_MAX  64  /* each has 300 KB of results */
#define BENCH_EVENTS_MAX     (UINT64_C(1) << 40)
#define BENCH_EVENT_SIZE_MIN 16
#define BENCH_TOPIC_SIZE     (CRIER_TOPIC_NAME_MAX + 1)

struct bench_options {
    const char *url, *topic, *folder;
    uint64_t event_size, events, producers, listeners, batch_size;
    enum crier_durability durability;
    int64_t patience_us;
    bool json;
};

struct bench_producer {
    atomic_uint_least64_t emitted; /* every so often */
    int64_t started_us;            /* before the first emit */
    int64_t acked_us;              /* all outcomes were known */
};

struct bench_listener {
    atomic_uint_least64_t received; /* each event once */
    int64_t finished_us;            /* the last one had come; 0: it never did */
    uint64_t strangers;             /* events that no producer of this run emitted */
    struct histogram latency_us;
    struct history histories[BENCH_PRODUCERS_MAX];
};

struct bench_results {
    struct bench_producer producers[BENCH_PRODUCERS_MAX];
    struct bench_listener listeners[BENCH_LISTENERS_MAX]; /* untouched ones cost no memory */
};

/* A run. Plain data that the workers inherit. */
struct bench {
    const struct bench_options *options;
    struct bench_results *results;
    char topic[BENCH_TOPIC_SIZE];
    uint16_t run;             /* random: tells this run's events from an earlier one's in the same topic */
    uint64_t sample_interval; /* every so many events carry a time */
};

/* How many events the producer emits: an equal share, the first ones one more. */
static inline uint64_t bench_share(const struct bench_options *options, uint64_t producer)
{
    return options->events / options->producers + (producer < options->events % options->producers ? 1 : 0);
}

static inline void bench_event_put(uint8_t *value, uint16_t run, uint64_t producer, uint64_t sequence,
                                   int64_t time_us)
{
    le64_put(value, (uint64_t)run << 48 | producer << 40 | sequence);
    le64_put(value + 8, (uint64_t)time_us);
}

/* Notes one event that came at about now (now_us is called for sampled events only). True if it was the last one of the
 * run that this listener lacked. */
bool bench_listener_note(const struct bench *bench, struct bench_listener *result, const void *value,
                         size_t size, int64_t (*now_us)(void));

/* What all of it comes to. */
struct bench_summary {
    double elapsed_s; /* first emit -> last event received and last ack */
    double events_per_s, deliveries_per_s, mb_per_s;
    uint64_t received, lost, duplicated, reordered, strangers; /* of all listeners together */
    struct histogram latency_us;
};

/* end_us: when the run was given up, if it was; it counts where a worker has not told its own end. */
void bench_sum(const struct bench *bench, int64_t end_us, struct bench_summary *ret_summary);
/* Every event came to every listener, once, in order. */
bool bench_summary_ok(const struct bench_summary *summary);

/* The workers' main functions: each calls ready() once it is connected, which waits for the start and returns false if
 * there is none. They return an enum exit_status, having said on standard error what went wrong. */
struct worker;
int bench_producer_run(const struct bench *bench, uint64_t number, struct worker *worker);
int bench_listener_run(const struct bench *bench, uint64_t number, struct worker *worker);

#endif
