/* bench_shared.c: `crier bench shared`: how many events a second do the members of a shared group settle, one by one?
 *
 * Role:    the command's row, and the question what is not settled in the end. bench_listener.c is a member, bench_group.c
 *          what all of them note.
 * Thread:  main. */
#include "tools/bench.h"
#include "tools/command.h"

#include "base/check.h"

#define MEMBERS_DEFAULT 8

static const struct option_row shared_rows[] = {
    BENCH_ROWS,
    {"listeners", 'l', NULL, "N", "8", "Members of the group, a process each.", options_uint64,
     offsetof(struct bench_options, listeners)},
    {"in-flight", 'i', NULL, "N", "256", "Events that a member has at a time, at most 4096.", options_uint64,
     offsetof(struct bench_options, in_flight)},
    {"key-ordered", 'k', NULL, NULL, NULL, "One event of a key at a time, in order.", options_flag,
     offsetof(struct bench_options, key_ordered)},
    {"keys", 0, NULL, "N", "10000", "With --key-ordered: so many keys, in turn.", options_uint64,
     offsetof(struct bench_options, keys)},
};

static void add_lag(void *ctx, const struct crier_group_info *info)
{
    uint64_t *lag = ctx;

    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct crier_group_partition *partition = &info->partitions[i];
        *lag += partition->high_watermark - partition->position - partition->done;
    }
}

/* The members have ended: what they had settled is durable. */
static int unsettled(struct bench *bench, uint64_t *ret_count)
{
    struct crier_options options = command_bus_options("crier bench");
    crier *bus;

    int status = command_open(bench->options->url, &options, &bus);
    if (status != STATUS_DONE)
        return status;
    *ret_count = 0;
    int rc = crier_group_describe(bus, bench->topic, bench->topic, add_lag, ret_count);
    if (rc < 0)
        status = command_failed("cannot describe group '%s': %s", bench->topic, crier_strerror(rc));
    return command_close(bus, status);
}

static const struct bench_workload shared = {
    .name = "shared",
    .group = true,
    .prepare = bench_topic_create,
    .producer = bench_producer_run,
    .listener = bench_member_run,
    .unsettled = unsettled,
};

static int shared_run(const struct command *command, const char *url, int argc, char **argv)
{
    return bench_command(command, url, argc, argv, &shared);
}

const struct command bench_shared_command = {
    .name = "bench shared",
    .arguments = "",
    .summary = "Measure events a second, acknowledged one by one",
    .text = "Producers emit as fast as the broker takes it; each event goes to one member of a\n"
            "shared group, which acknowledges it by itself. The time runs from the first emit\n"
            "until the last event has been received and everything is acked. Every event is\n"
            "numbered: what is lost or comes twice is counted, with --key-ordered also what\n"
            "comes before an earlier one of its key; in the end the broker is asked which\n"
            "events it has no acknowledgement for. Any of it makes the exit status 1. The\n"
            "topic it makes, and the group of the same name, stay.\n"
            "\n"
            "Examples:\n"
            "  crier bench shared --events 1000000\n"
            "  crier bench shared --listeners 2 --in-flight 16\n"
            "  crier bench shared --key-ordered --keys 500 --json",
    .rows = shared_rows,
    .row_count = ARRAY_SIZE(shared_rows),
    .run = shared_run,
};
