/* bench_request.c: `crier bench request`: how fast do requests get their replies, and how long does one take?
 *
 * Role:    the command's row. bench_closed.c asks, bench_listener.c replies.
 * Thread:  main. */
#include "tools/bench.h"
#include "tools/command.h"

#include "base/check.h"

static const struct option_row request_rows[] = {
    BENCH_ROWS,
    {"connections", 'c', NULL, "N", "1", "Connections of each producer.", options_uint64,
     offsetof(struct bench_options, connections)},
    {"in-flight", 'i', NULL, "N", "1", "Requests in flight on each: the next leaves when one has its reply.",
     options_uint64, offsetof(struct bench_options, in_flight)},
};

static const struct bench_workload request = {
    .name = "request",
    .ephemeral = true,
    .prepare = bench_topic_create,
    .producer = bench_asker_run,
    .listener = bench_replier_run,
};

static int request_run(const struct command *command, const char *url, int argc, char **argv)
{
    return bench_command(command, url, argc, argv, &request);
}

const struct command bench_request_command = {
    .name = "bench request",
    .arguments = "",
    .summary = "Measure requests a second, and how long a reply takes",
    .text = "A closed loop: each connection keeps so many requests in flight, and the next\n"
            "one leaves when one has its reply. Another process replies with what it got. With\n"
            "the defaults it is one lone request at a time. The latency is that of the whole\n"
            "way, there and back. The topic it makes is ephemeral, and stays.\n"
            "\n"
            "Examples:\n"
            "  crier bench request --events 100000\n"
            "  crier bench request --connections 50 --events 1000000 --json",
    .rows = request_rows,
    .row_count = ARRAY_SIZE(request_rows),
    .run = request_run,
};
