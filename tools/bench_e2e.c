/* bench_e2e.c: `crier bench e2e`: how many events a second go from producers through the broker to listeners.
 *
 * Role:    the command: makes the topic, starts the workers, watches them, reports. bench.h has the picture.
 * Thread:  main.
 * Owns:    struct bench, its shared results and the workers.
 *
 * Happy path:  flush_time -> topic -> fork -> everybody is ready -> go -> everybody has ended -> report.
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

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define SAMPLE_ALL_BELOW     100000 /* events: a short run has too few to leave any out */
#define SAMPLE_INTERVAL      64
#define PROGRESS_INTERVAL_US 200000

static const struct option_row bench_rows[] = {
    COMMAND_URL_ROW(struct bench_options),
    {"size", 's', NULL, "BYTES", "100", "Bytes of an event, at least 16.", options_uint64,
     offsetof(struct bench_options, event_size)},
    {"events", 'n', NULL, "N", "1000000", "How many events, of all producers together.", options_uint64,
     offsetof(struct bench_options, events)},
    {"producers", 'p', NULL, "N", "1", "Processes that emit.", options_uint64,
     offsetof(struct bench_options, producers)},
    {"listeners", 'l', NULL, "N", "1", "Processes that listen; each gets every event.", options_uint64,
     offsetof(struct bench_options, listeners)},
    {"durability", 'd', NULL, "LEVEL", "durable", "durable or memory.", option_durability,
     offsetof(struct bench_options, durability)},
    {"batch", 'b', NULL, "BYTES", "256K", "The largest batch a producer builds: 1K to 8M.", options_uint64,
     offsetof(struct bench_options, batch_size)},
    {"topic", 't', NULL, "TOPIC", NULL, "A topic with one partition. Default: a new one.", options_string,
     offsetof(struct bench_options, topic)},
    {"dir", 0, NULL, "FOLDER", ".", "Where to measure fdatasync: best on the broker's disk.", options_string,
     offsetof(struct bench_options, folder)},
    {"patience", 0, NULL, "DURATION", "10s", "Give up after so long without progress.", options_duration,
     offsetof(struct bench_options, patience_us)},
    {"json", 'j', NULL, NULL, NULL, "Print one JSON object.", options_flag,
     offsetof(struct bench_options, json)},
};

/* ---- while it runs ---- */

struct watch {
    const struct bench *bench;
    bool progress; /* shown */
    int64_t started_us, shown_us;
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

    CHECK(options->listeners > 0);
    for (uint64_t i = 0; i < options->producers; i++)
        emitted += atomic_load(&watch->bench->results->producers[i].emitted);
    for (uint64_t i = 0; i < options->listeners; i++)
        received += atomic_load(&watch->bench->results->listeners[i].received);
    if (emitted + received != watch->seen) {
        watch->seen = emitted + received;
        watch->moved_us = now_us;
    }
    if (watch->progress && now_us - watch->shown_us >= PROGRESS_INTERVAL_US) {
        watch->shown_us = now_us;
        fprintf(stderr, "\r%s of %s events received\033[K",
                text_count(received / options->listeners, counts[0]), text_count(options->events, counts[1]));
    }
    watch->gave_up = now_us - watch->moved_us >= options->patience_us;
    return !watch->gave_up;
}

static int producer_main(void *ctx, uint64_t number, struct worker *worker)
{
    return bench_producer_run(ctx, number, worker);
}

static int listener_main(void *ctx, uint64_t number, struct worker *worker)
{
    return bench_listener_run(ctx, number, worker);
}

/* Runs the workers to their end. STATUS_DONE, or STATUS_FAILED when it was given up or one failed, having said why. */
static int run_workers(struct bench *bench, struct workers *workers)
{
    const struct bench_options *options = bench->options;
    struct watch watch = {
        .bench = bench, .progress = isatty(STDERR_FILENO) == 1, .moved_us = clock_monotonic_us()};
    char patience[TEXT_SIZE];
    int rc = 0;

    for (uint64_t i = 0; i < options->listeners && rc == 0; i++)
        rc = workers_fork(workers, listener_main, bench, i);
    for (uint64_t i = 0; i < options->producers && rc == 0; i++)
        rc = workers_fork(workers, producer_main, bench, i);
    if (rc < 0)
        return command_failed("cannot start a process: %s", strerror(-rc));

    bool ok = workers_wait_ready(workers, watch_tick, &watch);
    if (ok) {
        workers_go(workers);
        watch.moved_us = clock_monotonic_us();
        ok = workers_wait_end(workers, watch_tick, &watch);
    }
    if (watch.shown_us != 0)
        fputs("\r\033[K", stderr);
    if (watch.gave_up)
        return command_failed("no event for %s: gave up; is the broker well? See its log",
                              text_duration(options->patience_us, patience));
    return ok ? STATUS_DONE : STATUS_FAILED;
}

/* ---- the report ---- */

struct report {
    const struct bench *bench;
    struct bench_summary summary;
    double cpu_s; /* of the workers */
    int64_t fdatasync_us;
};

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

static int report_json(const struct report *report)
{
    const struct bench_options *options = report->bench->options;
    const struct bench_summary *sum = &report->summary;
    json_t *latency =
        json_pack("{s:I,s:I,s:I,s:I,s:I}", "p50", (json_int_t)histogram_percentile(&sum->latency_us, 0.5),
                  "p99", (json_int_t)histogram_percentile(&sum->latency_us, 0.99), "p999",
                  (json_int_t)histogram_percentile(&sum->latency_us, 0.999), "max",
                  (json_int_t)sum->latency_us.max, "samples", (json_int_t)sum->latency_us.count);
    json_t *json =
        json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:o,s:f,s:I,s:I,s:I,s:I,s:I}",
                  "workload", "e2e", "version", CRIER_VERSION, "topic", report->bench->topic, "durability",
                  durability_name(options->durability), "size", (json_int_t)options->event_size, "events",
                  (json_int_t)options->events, "producers", (json_int_t)options->producers, "listeners",
                  (json_int_t)options->listeners, "batch", (json_int_t)options->batch_size, "elapsed_s",
                  sum->elapsed_s, "events_per_s", sum->events_per_s, "deliveries_per_s",
                  sum->deliveries_per_s, "mb_per_s", sum->mb_per_s, "latency_us", latency, "cpu_s",
                  report->cpu_s, "fdatasync_us", (json_int_t)report->fdatasync_us, "lost",
                  (json_int_t)sum->lost, "duplicated", (json_int_t)sum->duplicated, "reordered",
                  (json_int_t)sum->reordered, "strangers", (json_int_t)sum->strangers);

    if (json == NULL)
        return command_failed("out of memory");
    json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(json);
    return STATUS_DONE;
}

static void report_text(const struct report *report)
{
    const struct bench_options *options = report->bench->options;
    const struct bench_summary *sum = &report->summary;
    const struct histogram *latency = &sum->latency_us;
    char text[5][TEXT_SIZE];

    printf("%s events of %s, %s, %" PRIu64 " producer%s, %" PRIu64 " listener%s\n\n",
           text_count(options->events, text[0]), text_bytes(options->event_size, text[1]),
           durability_name(options->durability), options->producers, options->producers == 1 ? "" : "s",
           options->listeners, options->listeners == 1 ? "" : "s");
    printf("  throughput  %s events/s, %.1f MB/s (%.3f s)\n",
           text_count((uint64_t)sum->events_per_s, text[0]), sum->mb_per_s, sum->elapsed_s);
    printf("  latency     p50 %s, p99 %s, p99.9 %s, max %s (%s samples)\n",
           text_duration((int64_t)histogram_percentile(latency, 0.5), text[0]),
           text_duration((int64_t)histogram_percentile(latency, 0.99), text[1]),
           text_duration((int64_t)histogram_percentile(latency, 0.999), text[2]),
           text_duration((int64_t)latency->max, text[3]), text_count(latency->count, text[4]));
    printf("  cpu         %.2f s in producers and listeners\n", report->cpu_s);
    printf("  fdatasync   %s (median, 4 KiB, in %s)\n", text_duration(report->fdatasync_us, text[0]),
           options->folder);
    printf("  history     %s lost, %s duplicated, %s reordered\n", text_count(sum->lost, text[0]),
           text_count(sum->duplicated, text[1]), text_count(sum->reordered, text[2]));
    if (sum->strangers > 0)
        printf("              %s events of others on the topic\n", text_count(sum->strangers, text[0]));
}

/* ---- the command ---- */

static int make_topic(const struct bench *bench)
{
    struct crier_options options = command_bus_options("crier bench");
    struct crier_topic_options topic = {
        .struct_size = sizeof(topic), .partitions = 1, .durability = bench->options->durability};
    crier *bus;

    int status = command_open(bench->options->url, &options, &bus);
    if (status != STATUS_DONE)
        return status;
    int rc = crier_topic_create(bus, bench->topic, &topic);
    if (rc < 0 && !(rc == CRIER_EEXIST && bench->options->topic != NULL))
        status = command_failed("cannot create topic '%s': %s", bench->topic, crier_strerror(rc));
    return command_close(bus, status); /* its thread ends with it: from here on it is safe to fork */
}

static int measure(struct bench *bench)
{
    const struct bench_options *options = bench->options;
    struct report report = {.bench = bench};
    struct workers workers;

    int rc = flush_time_measure(options->folder, &report.fdatasync_us);
    if (rc < 0)
        return command_failed("cannot measure fdatasync in '%s': %s; name another folder with --dir",
                              options->folder, strerror(-rc));
    int status = make_topic(bench);
    if (status != STATUS_DONE)
        return status;
    rc = workers_init(&workers, options->producers + options->listeners);
    if (rc < 0)
        return command_failed("cannot prepare the processes: %s", strerror(-rc));
    status = run_workers(bench, &workers);
    int64_t end_us = clock_monotonic_us();
    workers_finish(&workers);

    report.cpu_s = children_cpu_s();
    bench_sum(bench, end_us, &report.summary);
    if (options->json && report_json(&report) != STATUS_DONE)
        return STATUS_FAILED;
    if (!options->json)
        report_text(&report);
    return bench_summary_ok(&report.summary) ? status : STATUS_FAILED;
}

/* What is wrong with the options, or NULL. */
static const char *complaint(const struct bench_options *options)
{
    if (options->event_size < BENCH_EVENT_SIZE_MIN || options->event_size > 16u * 1024 * 1024)
        return "--size: from 16 to 16M";
    if (options->producers < 1 || options->producers > BENCH_PRODUCERS_MAX)
        return "--producers: from 1 to 256";
    if (options->listeners < 1 || options->listeners > BENCH_LISTENERS_MAX)
        return "--listeners: from 1 to 64";
    if (options->events < options->producers || options->events >= BENCH_EVENTS_MAX)
        return "--events: at least one for each producer, and below a trillion";
    if (options->batch_size < 1024 || options->batch_size > 8u * 1024 * 1024)
        return "--batch: from 1K to 8M";
    if (options->topic != NULL && strlen(options->topic) >= BENCH_TOPIC_SIZE)
        return "--topic: at most 255 bytes";
    return NULL;
}

static int bench_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct bench_options options = {.url = url};
    struct bench bench = {.options = &options};
    uint8_t seed[6];
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first != argc)
        return command_usage_error(command, "what is '%s'? It takes options only", argv[first]);
    const char *wrong = complaint(&options);
    if (wrong != NULL)
        return command_usage_error(command, "%s", wrong);

    int rc = random_system(seed, sizeof(seed));
    if (rc < 0)
        return command_failed("no random numbers: %s", strerror(-rc));
    bench.run = le16_get(seed);
    bench.sample_interval = options.events < SAMPLE_ALL_BELOW ? 1 : SAMPLE_INTERVAL;
    if (options.topic != NULL)
        snprintf(bench.topic, sizeof(bench.topic), "%s", options.topic);
    else
        snprintf(bench.topic, sizeof(bench.topic), "bench.e2e.%08" PRIx32, le32_get(seed + 2));

    bench.results =
        mmap(NULL, sizeof(*bench.results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench.results == MAP_FAILED)
        return command_failed("out of memory");
    status = measure(&bench);
    munmap(bench.results, sizeof(*bench.results));
    return status;
}

const struct command bench_e2e_command = {
    .name = "bench e2e",
    .arguments = "",
    .summary = "Measure events a second, from emit to handler",
    .text = "Producers emit as fast as the broker takes it, listeners receive every event,\n"
            "each in a process of its own. The time runs from the first emit until the last\n"
            "event has been received and everything is acked. Every event is numbered: what\n"
            "is lost, comes twice or comes late is counted, and makes the exit status 1.\n"
            "Latencies are those under this full load. The topic it makes stays.\n"
            "\n"
            "Examples:\n"
            "  crier bench e2e --events 10000000\n"
            "  crier bench e2e --size 1K --producers 4 --listeners 2 --dir /var/lib/crier\n"
            "  crier bench e2e --durability memory --json | jq .events_per_s",
    .rows = bench_rows,
    .row_count = ARRAY_SIZE(bench_rows),
    .run = bench_run,
};
