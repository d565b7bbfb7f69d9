/* bench_drain.c: `crier bench drain`: how fast does a listener catch up while a producer goes on?
 *
 * Role:    the command's row. Half of the producers fill the topic before the clock runs, half emit while it does.
 * Thread:  main. */
#include "tools/bench.h"
#include "tools/command.h"

#include "base/check.h"

static const struct option_row drain_rows[] = {
    BENCH_ROWS,
    BENCH_LISTENERS_ROW,
};

static int prepare(struct bench *bench)
{
    int status = bench_topic_create(bench);
    return status == STATUS_DONE ? bench_fill_backlog(bench, bench_producer_run) : status;
}

static const struct bench_workload drain = {
    .name = "drain",
    .backlog = true,
    .prepare = prepare,
    .producer = bench_producer_run,
    .listener = bench_replay_run,
};

static int drain_run(const struct command *command, const char *url, int argc, char **argv)
{
    return bench_command(command, url, argc, argv, &drain);
}

const struct command bench_drain_command = {
    .name = "bench drain",
    .arguments = "",
    .summary = "Measure how fast a backlog is read beside a producer",
    .text = "Half of the producers fill a topic; then listeners replay it from the earliest\n"
            "event while the other half emits as much again, as fast as the broker takes it.\n"
            "The time runs from there until every listener has every event. With the\n"
            "defaults there is one producer of each kind.\n"
            "\n"
            "Examples:\n"
            "  crier bench drain --events 4000000\n"
            "  crier bench drain --size 1K --events 1000000 --json",
    .rows = drain_rows,
    .row_count = ARRAY_SIZE(drain_rows),
    .run = drain_run,
};
