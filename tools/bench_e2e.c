/* bench_e2e.c: `crier bench e2e`: how many events a second go from producers through the broker to listeners.
 *
 * Role:    the command's row; bench_run.c does the work, bench.h has the picture.
 * Thread:  main. */
#include "tools/bench.h"
#include "tools/command.h"

#include "base/check.h"

static const struct option_row bench_rows[] = {
    BENCH_ROWS,
    BENCH_LISTENERS_ROW,
    {"rate", 'r', NULL, "N", "0", "Emit so many a second, on time; 0: as fast as they are taken.",
     options_uint64, offsetof(struct bench_options, rate)},
    {"ephemeral", 'e', NULL, NULL, NULL,
     "On an ephemeral topic: nothing is written, and what a listener was too slow for is lost.", options_flag,
     offsetof(struct bench_options, ephemeral)},
};

static const struct bench_workload e2e = {
    .name = "e2e",
    .prepare = bench_topic_create,
    .producer = bench_producer_run,
    .listener = bench_listener_run,
};

static int e2e_run(const struct command *command, const char *url, int argc, char **argv)
{
    return bench_command(command, url, argc, argv, &e2e);
}

const struct command bench_e2e_command = {
    .name = "bench e2e",
    .arguments = "",
    .summary = "Measure events a second, from emit to handler",
    .text = "Producers emit as fast as the broker takes it, listeners receive every event,\n"
            "each in a process of its own. The time runs from the first emit until the last\n"
            "event has been received and everything is acked. Every event is numbered: what\n"
            "is lost, comes twice or comes late is counted, and makes the exit status 1.\n"
            "Latencies are those under this full load or, with --rate, at that one: counted\n"
            "from when an event should have left, so that a stall is not hidden by waiting\n"
            "for it. The topic it makes stays.\n"
            "\n"
            "Examples:\n"
            "  crier bench e2e --events 10000000\n"
            "  crier bench e2e --size 1K --producers 4 --listeners 2 --dir /var/lib/crier\n"
            "  crier bench e2e --ephemeral --size 128 --listeners 8\n"
            "  crier bench e2e --rate 100000 --events 1000000\n"
            "  crier bench e2e --durability memory --json | jq .events_per_s",
    .rows = bench_rows,
    .row_count = ARRAY_SIZE(bench_rows),
    .run = e2e_run,
};
