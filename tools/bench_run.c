/* bench_run.c: one measurement, whatever the workload: prepare, start the workers together, watch them, report.
 *
 * Role:    the parent's side of every `crier bench`; bench.h has the picture. Knows no product: what a worker does, and
 *          how a topic is made, is the workload's.
 * Thread:  main.
 * Owns:    struct bench, its shared results and the workers.
 *
 * Happy path:  flush_time -> prepare -> fork -> everybody is ready -> go -> everybody has ended -> report.
 * Failures:    lost, duplicated or reordered events: the report says how many, exit 1. No progress for --patience: the
 *              workers are ended and what is missing counts as lost. */
#include "tools/bench.h"
#include "tools/bench_workers.h"
#include "tools/command.h"
#include "tools/flush_time.h"
#include "tools/text.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define SAMPLE_ALL_BELOW     100000 /* events: a short run has too few to leave any out */
#define SAMPLE_INTERVAL      64
#define PROGRESS_INTERVAL_US 200000

/* ---- while it runs ---- */

struct watch {
    const struct bench *bench;
    bool progress; /* shown */
    bool filling;  /* before the clock runs: nobody listens yet */
    int64_t shown_us;
    uint64_t seen;    /* the counters' sum when they last moved */
    int64_t moved_us; /* and when that was */
    bool gave_up;
};

static bool watch_tick(void *ctx)
{
    struct watch *watch = ctx;
    const struct bench_options *options = watch->bench->options;
    uint64_t emitted = 0, received = 0;
    int64_t now_us = clock_monotonic_us();
    char counts[2][TEXT_SIZE];

    for (uint64_t i = 0; i < options->producers; i++)
        emitted += atomic_load(&watch->bench->results->producers[i].emitted);
    for (uint64_t i = 0; i < options->listeners; i++)
        received += atomic_load(&watch->bench->results->listeners[i].received);
    if (emitted + received != watch->seen) {
        watch->seen = emitted + received;
        watch->moved_us = now_us;
    }
    if (watch->progress && watch->filling && now_us - watch->shown_us >= PROGRESS_INTERVAL_US) {
        watch->shown_us = now_us;
        fprintf(stderr, "\r%s events to be read later emitted\033[K", text_count(emitted, counts[0]));
    } else if (watch->progress && now_us - watch->shown_us >= PROGRESS_INTERVAL_US) {
        uint64_t each =
            watch->bench->group != NULL ? 1 : options->listeners; /* listeners that get an event */
        uint64_t done = options->listeners > 0 ? received / each : emitted;
        watch->shown_us = now_us;
        fprintf(stderr, "\r%s of %s events %s\033[K", text_count(done, counts[0]),
                text_count(options->events, counts[1]), options->listeners > 0 ? "received" : "emitted");
    }
    watch->gave_up = now_us - watch->moved_us >= options->patience_us;
    return !watch->gave_up;
}

struct run {
    struct bench *bench;
    const struct bench_workload *workload;
};

static int producer_main(void *ctx, uint64_t number, struct worker *worker)
{
    const struct run *run = ctx;
    return run->workload->producer(run->bench, number, worker);
}

static int listener_main(void *ctx, uint64_t number, struct worker *worker)
{
    const struct run *run = ctx;
    return run->workload->listener(run->bench, number, worker);
}

static int fork_workers(struct run *run, struct workers *workers)
{
    const struct bench_options *options = run->bench->options;
    int rc = 0;

    for (uint64_t i = 0; i < options->listeners && run->workload->listener != NULL && rc == 0; i++)
        rc = workers_fork(workers, listener_main, run, i);
    for (uint64_t i = run->workload->backlog;
         i < options->producers && run->workload->producer != NULL && rc == 0;
         i += run->workload->backlog ? 2 : 1)
        rc = workers_fork(workers, producer_main, run, i);
    return rc;
}

/* The workers, from when they are forked to their end. STATUS_DONE, or STATUS_FAILED when it was given up or one failed, having
 * said why. */
static int watch_workers(struct bench *bench, struct workers *workers, bool filling)
{
    struct watch watch = {.bench = bench,
                          .progress = isatty(STDERR_FILENO) == 1,
                          .filling = filling,
                          .moved_us = clock_monotonic_us()};
    char patience[TEXT_SIZE];

    bool ok = workers_wait_ready(workers, watch_tick, &watch);
    if (ok) {
        bench->started_us = clock_monotonic_us();
        workers_go(workers);
        watch.moved_us = bench->started_us;
        ok = workers_wait_end(workers, watch_tick, &watch);
    }
    if (watch.shown_us != 0)
        fputs("\r\033[K", stderr);
    if (watch.gave_up)
        return command_failed("no event for %s: gave up; is the broker well? See its log",
                              text_duration(bench->options->patience_us, patience));
    return ok ? STATUS_DONE : STATUS_FAILED;
}

static int run_workers(struct run *run, struct workers *workers)
{
    int rc = fork_workers(run, workers);
    return rc < 0 ? command_failed("cannot start a process: %s", strerror(-rc))
                  : watch_workers(run->bench, workers, false);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double children_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/* ---- a run ---- */

/* By every step-th producer. */
static int fill(struct bench *bench, bench_worker *producer, uint64_t step)
{
    const struct bench_workload filling = {.producer = producer};
    struct run run = {.bench = bench, .workload = &filling};
    struct workers workers;

    bench->sample_interval = 0; /* how old an event is says nothing here */
    int rc = workers_init(&workers, bench->options->producers);
    for (uint64_t i = 0; i < bench->options->producers && rc == 0; i += step)
        rc = workers_fork(&workers, producer_main, &run, i);
    if (rc < 0)
        return command_failed("cannot start a process: %s", strerror(-rc));
    int status = watch_workers(bench, &workers, true);
    workers_finish(&workers);
    memset(bench->results->producers, 0,
           sizeof(bench->results->producers)); /* the clock starts with the replay */
    return status == STATUS_DONE ? status : command_failed("the topic could not be filled");
}

int bench_fill(struct bench *bench, bench_worker *producer)
{
    return fill(bench, producer, 1);
}

int bench_fill_backlog(struct bench *bench, bench_worker *producer)
{
    return fill(bench, producer, 2);
}

/* Asks the broker what it holds, once all is over. */
static int count_stored(struct run *run, struct bench_summary *sum)
{
    uint64_t stored;

    if (run->workload->stored == NULL)
        return STATUS_DONE;
    int status = run->workload->stored(run->bench, &stored);
    if (status != STATUS_DONE)
        return status;
    if (stored < sum->acked)
        sum->lost += sum->acked - stored;
    if (stored > sum->acked)
        sum->duplicated += stored - sum->acked;
    return STATUS_DONE;
}

static int ask_broker(struct run *run, struct bench_summary *sum)
{
    int status = count_stored(run, sum);

    if (status == STATUS_DONE && run->workload->unsettled != NULL)
        status = run->workload->unsettled(run->bench, &sum->unsettled);
    return status;
}

static int measure(struct run *run)
{
    struct bench *bench = run->bench;
    const struct bench_options *options = bench->options;
    struct bench_report report = {.bench = bench, .workload = run->workload->name};
    struct workers workers;

    int rc = flush_time_measure(options->folder, &report.fdatasync);
    if (rc < 0)
        return command_failed("cannot measure fdatasync in '%s': %s; name another folder with --dir",
                              options->folder, strerror(-rc));
    int status = run->workload->prepare(bench);
    if (status != STATUS_DONE)
        return status;
    rc = workers_init(&workers, options->producers + options->listeners);
    if (rc < 0)
        return command_failed("cannot prepare the processes: %s", strerror(-rc));
    status = run_workers(run, &workers);
    int64_t end_us = clock_monotonic_us();
    workers_finish(&workers);

    report.cpu_s = children_cpu_s();
    bench_sum(bench, end_us, &report.summary);
    if (status == STATUS_DONE)
        status = ask_broker(run, &report.summary);
    if (options->json && bench_report_json(&report) != STATUS_DONE)
        return STATUS_FAILED;
    if (!options->json)
        bench_report_text(&report);
    return bench_summary_ok(&report.summary) ? status : STATUS_FAILED;
}

const char *bench_complaint(const struct bench_options *options)
{
    if (options->event_size < BENCH_EVENT_SIZE_MIN || options->event_size > 16u * 1024 * 1024)
        return "--size: from 16 to 16M";
    if (options->producers < 1 || options->producers > BENCH_PRODUCERS_MAX)
        return "--producers: from 1 to 256";
    if (options->listeners > BENCH_LISTENERS_MAX)
        return "--listeners: from 1 to 64";
    if (options->events < options->producers || options->events >= BENCH_EVENTS_MAX)
        return "--events: at least one for each producer, and below a trillion";
    if (options->key_ordered && (options->keys < 1 || options->keys > BENCH_KEYS_MAX))
        return "--keys: from 1 to 1048576";
    if (options->batch_size < 1024 || options->batch_size > 8u * 1024 * 1024)
        return "--batch: from 1K to 8M";
    if (options->topic != NULL && strlen(options->topic) >= BENCH_TOPIC_SIZE)
        return "--topic: at most 255 bytes";
    return NULL;
}

int bench_run(struct bench_options *options, const struct bench_workload *workload)
{
    struct bench bench = {.options = options};
    struct run run = {.bench = &bench, .workload = workload};
    uint8_t seed[6];

    if (workload->backlog && options->producers < 2)
        options->producers = 2; /* one of each kind */
    int rc = random_system(seed, sizeof(seed));
    if (rc < 0)
        return command_failed("no random numbers: %s", strerror(-rc));
    bench.run = le16_get(seed);
    bench.sample_interval = options->events < SAMPLE_ALL_BELOW ? 1 : SAMPLE_INTERVAL;
    if (options->topic != NULL)
        snprintf(bench.topic, sizeof(bench.topic), "%s", options->topic);
    else
        snprintf(bench.topic, sizeof(bench.topic), "bench.%s.%08" PRIx32, workload->name, le32_get(seed + 2));

    bench.results =
        mmap(NULL, sizeof(*bench.results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench.results == MAP_FAILED)
        return command_failed("out of memory");
    rc = workload->group ? bench_group_init(&bench) : 0;
    int status = rc == 0 ? measure(&run) : command_failed("no memory for the history: %s", strerror(-rc));
    bench_group_finish(&bench);
    munmap(bench.results, sizeof(*bench.results));
    return status;
}
