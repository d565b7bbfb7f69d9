/* bench_emit.c: `crier bench emit`: how fast are emits acknowledged, and how long does one take?
 *
 * Role:    the command's row, and the count of what the broker holds in the end. bench_closed.c is the load.
 * Thread:  main. */
#include "tools/bench.h"
#include "tools/command.h"

#include "base/check.h"
#include "base/clock.h"

#include <time.h>

static const struct option_row emit_rows[] = {
    BENCH_ROWS,
    {"connections", 'c', NULL, "N", "1", "Connections of each producer.", options_uint64,
     offsetof(struct bench_options, connections)},
    {"in-flight", 'i', NULL, "N", "1", "Events in flight on each: the next leaves when one is acked.",
     options_uint64, offsetof(struct bench_options, in_flight)},
};

static void note_high_watermark(void *ctx, const struct crier_topic_info *info)
{
    uint64_t *count = ctx;
    for (uint32_t i = 0; i < info->partition_count; i++)
        *count += info->partitions[i].high_watermark;
}

static int high_watermark(const struct bench *bench, uint64_t least, uint64_t *ret_count)
{
    struct crier_options options = command_bus_options("crier bench");
    const struct timespec pause = {.tv_nsec = 10000000};
    int64_t give_up_us = clock_monotonic_us() + bench->options->patience_us;
    crier *bus;

    int status = command_open(bench->options->url, &options, &bus);
    if (status != STATUS_DONE)
        return status;
    for (;;) { /* memory emits are acked some milliseconds before they are there */
        *ret_count = 0;
        int rc = crier_topic_describe(bus, bench->topic, note_high_watermark, ret_count);
        if (rc < 0) {
            status = command_failed("cannot describe topic '%s': %s", bench->topic, crier_strerror(rc));
            break;
        }
        if (*ret_count >= least || clock_monotonic_us() > give_up_us)
            break;
        nanosleep(&pause, NULL);
    }
    return command_close(bus, status);
}

static int prepare(struct bench *bench)
{
    int status = bench_topic_create(bench);
    return status == STATUS_DONE ? high_watermark(bench, 0, &bench->stored_before) : status;
}

static int stored(struct bench *bench, uint64_t *ret_count)
{
    uint64_t acked = 0, count;

    for (uint64_t i = 0; i < bench->options->producers; i++)
        acked += bench->results->producers[i].acked;
    int status = high_watermark(bench, bench->stored_before + acked, &count);
    *ret_count = count - bench->stored_before;
    return status;
}

static const struct bench_workload emit = {
    .name = "emit",
    .prepare = prepare,
    .producer = bench_closed_run,
    .stored = stored,
};

static int emit_run(const struct command *command, const char *url, int argc, char **argv)
{
    return bench_command(command, url, argc, argv, &emit);
}

const struct command bench_emit_command = {
    .name = "bench emit",
    .arguments = "",
    .summary = "Measure acks a second, and how long one takes",
    .text = "A closed loop: each connection keeps so many events in flight, and the next one\n"
            "leaves when one is acknowledged. With the defaults it is one lone event at a\n"
            "time, and the latency is that of one durable emit. In the end the broker is\n"
            "asked how many it holds: less than was acked is lost, more is duplicated.\n"
            "\n"
            "Examples:\n"
            "  crier bench emit --events 10000\n"
            "  crier bench emit --connections 256 --events 500000\n"
            "  crier bench emit --in-flight 10000 --events 10000000 --json",
    .rows = emit_rows,
    .row_count = ARRAY_SIZE(emit_rows),
    .run = emit_run,
};
