/* ping.c: `crier ping`: round trips to the broker's core and back.
 *
 * Thread:      main.
 * Happy path:  open -> N times crier_ping, one after another -> a line each, then a summary.
 * Failures:    no answer: exit 1. */
#include "base/histogram.h"
#include "tools/command.h"
#include "tools/text.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>

struct ping_options {
    const char *url;
    uint64_t count;
};

static const struct option_row ping_rows[] = {
    COMMAND_URL_ROW(struct ping_options),
    {"count", 'n', NULL, "N", "5", "How many round trips.", options_uint64,
     offsetof(struct ping_options, count)},
};

static int ping_all(crier *bus, const struct ping_options *options)
{
    struct histogram times = {0};
    char text[4][TEXT_SIZE];

    for (uint64_t i = 0; i < options->count; i++) {
        int64_t round_trip_us;
        int rc = crier_ping(bus, &round_trip_us);
        if (rc < 0)
            return command_failed("no answer from %s: %s", options->url, crier_strerror(rc));
        histogram_add(&times, (uint64_t)round_trip_us);
        printf("%s: %s\n", options->url, text_duration(round_trip_us, text[0]));
    }
    printf("%s round trips: p50 %s, p99 %s, max %s\n", text_count(options->count, text[0]),
           text_duration((int64_t)histogram_percentile(&times, 0.5), text[1]),
           text_duration((int64_t)histogram_percentile(&times, 0.99), text[2]),
           text_duration((int64_t)times.max, text[3]));
    return STATUS_DONE;
}

static int ping_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct ping_options options = {.url = url};
    struct crier_options bus_options = command_bus_options("crier ping");
    int first, status;
    crier *bus;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first != argc)
        return command_usage_error(command, "what is '%s'? The broker is named by --url", argv[first]);
    if (options.count == 0)
        return command_usage_error(command, "--count: at least 1");
    status = command_open(options.url, &bus_options, &bus);
    if (status != STATUS_DONE)
        return status;
    return command_close(bus, ping_all(bus, &options));
}

const struct command ping_command = {
    .name = "ping",
    .arguments = "",
    .summary = "Measure round trips to the broker",
    .text = "Sends a question to the broker and waits for the answer, N times.\n"
            "\n"
            "Example:\n"
            "  crier --url crier://broker.example:27437 ping --count 100",
    .rows = ping_rows,
    .row_count = ARRAY_SIZE(ping_rows),
    .run = ping_run,
};
