/* bench_replay.c: `crier bench replay`: how fast is what is stored read again?
 *
 * Role:    the command's row. The topic is filled first, off the clock, by one producer in a process of its own; then the
 *          listeners start together at the earliest event.
 * Thread:  main. */
#include "tools/bench.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/check.h"

#include <string.h>

static const struct option_row replay_rows[] = {BENCH_ROWS, BENCH_LISTENERS_ROW};

static int fill_main(void *ctx, uint64_t number, struct worker *worker)
{
    return bench_producer_run(ctx, number, worker);
}

static bool keep_waiting(void *ctx)
{
    (void)ctx;
    return true;
}

/* What the producers of this run would have emitted, emitted before it. */
static int prepare(struct bench *bench)
{
    struct workers workers;

    int status = bench_topic_create(bench);
    if (status != STATUS_DONE)
        return status;
    bench->sample_interval = 0; /* how old an event is says nothing here */
    int rc = workers_init(&workers, bench->options->producers);
    for (uint64_t i = 0; i < bench->options->producers && rc == 0; i++)
        rc = workers_fork(&workers, fill_main, bench, i);
    if (rc < 0)
        return command_failed("cannot start a process: %s", strerror(-rc));
    bool ok = workers_wait_ready(&workers, keep_waiting, NULL);
    if (ok) {
        workers_go(&workers);
        ok = workers_wait_end(&workers, keep_waiting, NULL);
    }
    workers_finish(&workers);
    memset(bench->results->producers, 0,
           sizeof(bench->results->producers)); /* the clock starts with the replay */
    return ok ? STATUS_DONE : command_failed("the topic could not be filled");
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
