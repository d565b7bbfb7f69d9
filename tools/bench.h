/* bench.h: what the processes of a measurement share: the options, the results, and how an event is numbered.
 *
 *   parent  prepares the topic, forks the workers, says go, shows progress, reports.     bench_run.c, bench_workers.c
 *   producers, one process each, emit their share of the events and wait for the acks.   bench_producer.c, bench_closed.c
 *   listeners, one process each, get every event and check that history.                 bench_listener.c, bench_check.c
 *   members, the same, share the events of a shared group and check what comes to all.   bench_listener.c, bench_group.c
 *
 * A workload says which of these there are: `bench e2e`, `bench emit`, `bench replay` are one table row and a few lines
 * each. Nothing in bench_run.c, _check.c, _report.c and _workers.c knows crier, so that bench/peers/ measures other
 * products by the same clock and the same judge.
 *
 * Results lie in one anonymous shared mapping: a worker writes its own part only, the parent reads the counters while
 * it runs, and everything once it has ended. The members of a shared group write one history together: bench_group.c.
 *
 * An event's first 16 bytes say whose it is and when it left:
 *
 *   | offset | size | meaning (little-endian)                                        |
 *   |--------|------|----------------------------------------------------------------|
 *   | 0      | 8    | run (16 bits), producer (8 bits), sequence from 0 (40 bits)    |
 *   | 8      | 8    | monotonic time in microseconds of a sampled event, 0: not sampled | */
#ifndef CRIER_TOOLS_BENCH_H
#define CRIER_TOOLS_BENCH_H

#include "base/histogram.h"
#include "tools/flush_time.h"
#include "tools/history.h"

#include "client/include/crier/crier.h"
#include "client/include/crier/request.h"

#include "base/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_PRODUCERS_MAX  256 /* their number has 8 bits in an event */
#define BENCH_LISTENERS_MAX  64  /* each has 300 KB of results */
#define BENCH_EVENTS_MAX     (UINT64_C(1) << 40)
#define BENCH_EVENT_SIZE_MIN 16
#define BENCH_KEYS_MAX       (UINT64_C(1) << 20) /* of a producer */
#define BENCH_TOPIC_SIZE     (CRIER_TOPIC_NAME_MAX + 1)

struct bench_options {
    const char *url, *topic, *folder;
    uint64_t event_size, events, producers, listeners, batch_size;
    uint64_t connections, in_flight; /* of each producer, in a closed loop */
    uint64_t rate;    /* events per second of all producers together; 0: as fast as they are taken */
    bool key_ordered; /* a shared group: events have keys, and one of a key is out at a time */
    uint64_t keys;    /* then: so many of each producer, in turn */
    enum crier_durability durability;
    int64_t patience_us;
    bool ephemeral;
    bool json;
};

struct bench_producer {
    atomic_uint_least64_t emitted; /* every so often */
    int64_t started_us;            /* before the first emit */
    int64_t acked_us;              /* all outcomes were known */
    uint64_t acked;                /* outcome ok; only a closed loop counts them */
    struct histogram latency_us;   /* emit to ack; only in a closed loop */
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

/* What comes to all members of a shared group together: each event is for one of them. All of them write it. */
struct bench_group {
    atomic_uint_least64_t received; /* each event once */
    atomic_uint_least64_t duplicated, reordered;
    atomic_int_least64_t finished_us; /* the last one had come; 0: it never did */
    atomic_uint_least64_t
        *highest;               /* of a producer and a key: one above the highest sequence that has come */
    atomic_uint_least8_t *seen; /* a bit per event, by sequence and producer */
    size_t size;                /* of the mapping */
};

/* A run. Plain data that the workers inherit. */
struct bench {
    const struct bench_options *options;
    int64_t started_us;     /* the workers were told to go */
    uint64_t stored_before; /* events in the topic before it */
    struct bench_results *results;
    struct bench_group *group; /* NULL: every listener gets every event */
    char topic[BENCH_TOPIC_SIZE];
    uint16_t run;             /* random: tells this run's events from an earlier one's in the same topic */
    uint64_t sample_interval; /* every so many events carry a time; 0: none does */
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

/* Makes the history of a shared group, which the workers inherit. 0 or -errno. bench_group_finish: NULL is fine. */
int bench_group_init(struct bench *bench);
void bench_group_finish(struct bench *bench);
/* Notes an event of this run, that came at about now_us() to one of the members. True if no member had it before. */
bool bench_group_note(const struct bench *bench, uint64_t producer, uint64_t sequence,
                      int64_t (*now_us)(void));
/* Has every event come to some member? */
bool bench_group_finished(const struct bench *bench);

/* What all of it comes to. */
struct bench_summary {
    double elapsed_s; /* first emit -> last event received and last ack */
    double events_per_s, deliveries_per_s, mb_per_s;
    uint64_t acked;                                            /* of all producers; in a closed loop */
    uint64_t received, lost, duplicated, reordered, strangers; /* of all listeners together */
    uint64_t unsettled; /* of a shared group: the broker knows of no acknowledgement */
    struct histogram latency_us;
};

/* end_us: when the run was given up, if it was; it counts where a worker has not told its own end. */
void bench_sum(const struct bench *bench, int64_t end_us, struct bench_summary *ret_summary);
/* Every event came to every listener, once, in order; without listeners: was acked and is stored, once; of a shared group: came
 * to one member, once, and is settled; key-ordered: in the order of its key. */
bool bench_summary_ok(const struct bench_summary *summary);

/* ---- a workload, and its run ---- */

struct worker;
/* A worker's main function: */
typedef int bench_worker(const struct bench *bench, uint64_t number, struct worker *worker);

struct bench_workload {
    const char *name; /* "e2e"; also in the JSON object and in the name of the topic */
    bool ephemeral;   /* its topic is */
    bool group;       /* its listeners are members of a shared group */
    bool backlog;     /* the even producers' share is there before the clock runs; the odd ones emit then */
    bench_worker *producer; /* NULL: nobody emits while the clock runs */
    bench_worker *listener; /* NULL: nobody listens, and what was acked is what counts */
    /* Before any worker is there: makes the topic, fills it. No thread may be left when it returns. */
    int (*prepare)(struct bench *bench);
    /* After all: how many events of this run the broker holds; NULL: not asked. An enum exit_status. */
    int (*stored)(struct bench *bench, uint64_t *ret_count);
    /* After all: for how many events of the topic the broker has no acknowledgement; NULL: not asked. Likewise. */
    int (*unsettled)(struct bench *bench, uint64_t *ret_count);
};

/* Fills in what is not an option (run, topic, samples), runs it, reports. Returns an enum exit_status. */
int bench_run(struct bench_options *options, const struct bench_workload *workload);
/* For prepare(): what the producers of this run would have emitted, emitted before it, off the clock. */
int bench_fill(struct bench *bench, bench_worker *producer);
/* Likewise, of a workload with a backlog: only what the even producers emit. */
int bench_fill_backlog(struct bench *bench, bench_worker *producer);
/* What is wrong with the options, or NULL. */
const char *bench_complaint(const struct bench_options *options);
/* A command's run() is this: parse, complain, run. The rows fill a struct bench_options. */
struct command;
int bench_command(const struct command *command, const char *url, int argc, char **argv,
                  const struct bench_workload *workload);
/* Makes the topic (an existing one, if it was named, will do). */
int bench_topic_create(struct bench *bench);

struct bench_report {
    const struct bench *bench;
    const char *workload;
    struct bench_summary summary;
    double cpu_s; /* of the workers */
    struct flush_time fdatasync;
};
int bench_report_json(const struct bench_report *report); /* an enum exit_status */
void bench_report_text(const struct bench_report *report);

/* The rows that every `bench` command has. */
#define BENCH_ROWS                                                                                           \
    COMMAND_URL_ROW(struct bench_options), {"size",         's',                                             \
                                            NULL,           "BYTES",                                         \
                                            "100",          "Bytes of an event, at least 16.",               \
                                            options_uint64, offsetof(struct bench_options, event_size)},     \
        {"events",       'n',                                                                                \
         NULL,           "N",                                                                                \
         "1000000",      "How many events, of all producers together.",                                      \
         options_uint64, offsetof(struct bench_options, events)},                                            \
        {"producers",                                                                                        \
         'p',                                                                                                \
         NULL,                                                                                               \
         "N",                                                                                                \
         "1",                                                                                                \
         "Processes that emit.",                                                                             \
         options_uint64,                                                                                     \
         offsetof(struct bench_options, producers)},                                                         \
        {"durability",                                                                                       \
         'd',                                                                                                \
         NULL,                                                                                               \
         "LEVEL",                                                                                            \
         "durable",                                                                                          \
         "durable or memory.",                                                                               \
         option_durability,                                                                                  \
         offsetof(struct bench_options, durability)},                                                        \
        {"batch",        'b',                                                                                \
         NULL,           "BYTES",                                                                            \
         "256K",         "The largest batch a producer builds: 1K to 8M.",                                   \
         options_uint64, offsetof(struct bench_options, batch_size)},                                        \
        {"topic",        't',                                                                                \
         NULL,           "TOPIC",                                                                            \
         NULL,           "A topic with one partition. Default: a new one.",                                  \
         options_string, offsetof(struct bench_options, topic)},                                             \
        {"dir",                                                                                              \
         0,                                                                                                  \
         NULL,                                                                                               \
         "FOLDER",                                                                                           \
         ".",                                                                                                \
         "Where to measure fdatasync: best on the broker's disk.",                                           \
         options_string,                                                                                     \
         offsetof(struct bench_options, folder)},                                                            \
        {"patience",                                                                                         \
         0,                                                                                                  \
         NULL,                                                                                               \
         "DURATION",                                                                                         \
         "10s",                                                                                              \
         "Give up after so long without progress.",                                                          \
         options_duration,                                                                                   \
         offsetof(struct bench_options, patience_us)},                                                       \
    {                                                                                                        \
        "json", 'j', NULL, NULL, NULL, "Print one JSON object.", options_flag,                               \
            offsetof(struct bench_options, json)                                                             \
    }
#define BENCH_LISTENERS_ROW                                                                                  \
    {                                                                                                        \
        "listeners", 'l', NULL, "N", "1", "Processes that listen; each gets every event.", options_uint64,   \
            offsetof(struct bench_options, listeners)                                                        \
    }

/* The workers' main functions: each calls ready() once it is connected, which waits for the start and returns false if
 * there is none. They return an enum exit_status, having said on standard error what went wrong. */
bench_worker bench_producer_run; /* as fast as the broker takes it, or at a rate */
bench_worker bench_closed_run;   /* so many connections, each with so many events in flight */
bench_worker bench_listener_run; /* from now on */
bench_worker bench_member_run;   /* from now on, and settles each event */
bench_worker bench_replay_run;   /* from the earliest event */
bench_worker bench_asker_run;    /* as bench_closed_run, of requests */
bench_worker bench_replier_run;  /* as bench_listener_run, and replies with what it got */

#endif
