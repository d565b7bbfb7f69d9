/* bench_replay.c: `crier bench replay`: how fast is what is stored read again?
 *
 * Role:    the command's row. The topic is filled first, off the clock, by one producer in a process of its own; then the
 *          listeners start together at the earliest event.
 * Thread:  main. */
#include "tools/bench.h"
#include "tools/command.h"

#include "base/check.h"

static const struct option_row replay_rows[] = {BENCH_ROWS, BENCH_LISTENERS_ROW};

static int prepare(struct bench *bench)
{
    int status = bench_topic_create(bench);
    return status == STATUS_DONE ? bench_fill(bench, bench_producer_run) : status;
}

static const struct bench_workload replay = {
    .name = "replay",
    .prepare = prepare,
    .listener = bench_replay_run,
};

static int replay_run(const struct command *command, const char *url, int argc, char **argv)
{
    return bench_command(command, url, argc, argv, &replay);
}

const struct command bench_replay_command = {
    .name = "bench replay",
    .arguments = "",
    .summary = "Measure how fast a topic is read from its start",
    .text = "Fills a topic, then lets listeners replay it from the earliest event, all at\n"
            "once. The time runs from their start until each has the last event. What was\n"
            "just written is in the machine's page cache: this is the warm case.\n"
            "\n"
            "Examples:\n"
            "  crier bench replay --events 5000000\n"
            "  crier bench replay --size 1K --events 1000000 --listeners 4 --json",
    .rows = replay_rows,
    .row_count = ARRAY_SIZE(replay_rows),
    .run = replay_run,
};
