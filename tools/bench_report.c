/* bench_report.c: what a measurement came to, for people and for programs.
 *
 * Thread:    main.
 * Failures:  out of memory: said, exit 1. */
#include "tools/bench.h"
#include "tools/command.h"
#include "tools/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const char *level_name(const struct bench_options *options)
{
    return options->ephemeral ? "ephemeral" : durability_name(options->durability);
}

int bench_report_json(const struct bench_report *report)
{
    const struct bench_options *options = report->bench->options;
    const struct bench_summary *sum = &report->summary;
    json_t *latency =
        json_pack("{s:I,s:I,s:I,s:I,s:I}", "p50", (json_int_t)histogram_percentile(&sum->latency_us, 0.5),
                  "p99", (json_int_t)histogram_percentile(&sum->latency_us, 0.99), "p999",
                  (json_int_t)histogram_percentile(&sum->latency_us, 0.999), "max",
                  (json_int_t)sum->latency_us.max, "samples", (json_int_t)sum->latency_us.count);
    json_t *json = json_pack(
        "{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:o,s:f,s:I,s:I,s:I,s:I,s:I,s:I}",
        "workload", report->workload, "version", CRIER_VERSION, "topic", report->bench->topic, "durability",
        level_name(options), "size", (json_int_t)options->event_size, "events", (json_int_t)options->events,
        "producers", (json_int_t)options->producers, "listeners", (json_int_t)options->listeners,
        "connections", (json_int_t)options->connections, "in_flight", (json_int_t)options->in_flight, "rate",
        (json_int_t)options->rate, "batch", (json_int_t)options->batch_size, "elapsed_s", sum->elapsed_s,
        "events_per_s", sum->events_per_s, "deliveries_per_s", sum->deliveries_per_s, "mb_per_s",
        sum->mb_per_s, "latency_us", latency, "cpu_s", report->cpu_s, "fdatasync_us",
        (json_int_t)report->fdatasync.p50_us, "fdatasync_p99_us", (json_int_t)report->fdatasync.p99_us,
        "lost", (json_int_t)sum->lost, "duplicated", (json_int_t)sum->duplicated, "reordered",
        (json_int_t)sum->reordered, "strangers", (json_int_t)sum->strangers);

    if (json != NULL && report->bench->group != NULL)
        json_object_update_new(json,
                               json_pack("{s:b,s:I,s:I}", "key_ordered", options->key_ordered, "keys",
                                         (json_int_t)options->keys, "unsettled", (json_int_t)sum->unsettled));
    if (json == NULL)
        return command_failed("out of memory");
    json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(json);
    return STATUS_DONE;
}

static void print_number(uint64_t number, const char *what, const char *after)
{
    printf("%" PRIu64 " %s%s%s", number, what, number == 1 ? "" : "s", after);
}

void bench_report_text(const struct bench_report *report)
{
    const struct bench_options *options = report->bench->options;
    const struct bench_summary *sum = &report->summary;
    const struct histogram *latency = &sum->latency_us;
    char text[5][TEXT_SIZE];

    printf("%s events of %s, %s, ", text_count(options->events, text[0]),
           text_bytes(options->event_size, text[1]), level_name(options));
    print_number(options->producers, "producer", ", ");
    if (options->listeners > 0) {
        print_number(options->listeners, "listener", "\n\n");
    } else {
        print_number(options->connections, "connection", ", ");
        printf("%" PRIu64 " in flight\n\n", options->in_flight);
    }
    printf("  throughput  %s events/s, %.1f MB/s (%.3f s)\n",
           text_count((uint64_t)sum->events_per_s, text[0]), sum->mb_per_s, sum->elapsed_s);
    if (latency->count > 0)
        printf("  latency     p50 %s, p99 %s, p99.9 %s, max %s (%s samples)\n",
               text_duration((int64_t)histogram_percentile(latency, 0.5), text[0]),
               text_duration((int64_t)histogram_percentile(latency, 0.99), text[1]),
               text_duration((int64_t)histogram_percentile(latency, 0.999), text[2]),
               text_duration((int64_t)latency->max, text[3]), text_count(latency->count, text[4]));
    printf("  cpu         %.2f s in producers and listeners\n", report->cpu_s);
    printf("  fdatasync   p50 %s, p99 %s (4 KiB, in %s)\n", text_duration(report->fdatasync.p50_us, text[0]),
           text_duration(report->fdatasync.p99_us, text[1]), options->folder);
    printf("  history     %s lost, %s duplicated, %s reordered\n", text_count(sum->lost, text[0]),
           text_count(sum->duplicated, text[1]), text_count(sum->reordered, text[2]));
    if (sum->unsettled > 0)
        printf("              %s without an acknowledgement\n", text_count(sum->unsettled, text[0]));
    if (sum->strangers > 0)
        printf("              %s events of others on the topic\n", text_count(sum->strangers, text[0]));
}
