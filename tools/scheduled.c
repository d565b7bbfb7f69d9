/* scheduled.c: `crier scheduled list` and `cancel`: events that `crier emit --delay` or `--at`, or anybody else, has scheduled.
 *
 * Thread:      main; the blocking calls of libcrier call print_* back on it or on its own thread, while main waits.
 * Happy path:  open -> one request (a cancel: one for each ID) -> print -> close.
 * Failures:    no such schedule: a sentence, exit 1; the others are canceled all the same. */
#include "tools/command.h"
#include "tools/text.h"

#include "base/check.h"

#include <crier/schedule.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

struct scheduled_options {
    const char *url;
    uint64_t count;
    bool json;
};

static const struct option_row list_rows[] = {
    COMMAND_URL_ROW(struct scheduled_options),
    {"count", 'n', NULL, "N", "1000", "So many at most, the next ones first.", options_uint64,
     offsetof(struct scheduled_options, count)},
    {"json", 'j', NULL, NULL, NULL, "Print JSON.", options_flag, offsetof(struct scheduled_options, json)},
};

static const struct option_row cancel_rows[] = {
    COMMAND_URL_ROW(struct scheduled_options),
};

static void print_row(void *ctx, const struct crier_schedule_info *info)
{
    char id[CRIER_SCHEDULE_TEXT_SIZE], due[TEXT_SIZE], size[TEXT_SIZE];
    crier_schedule_to_text(&info->schedule, id);
    printf("%-24s  %-24s  %-32s  %9" PRIu32 "  %10s\n", id, text_time(info->schedule.due_us, due),
           info->topic, info->partition, text_bytes(info->size, size));
    (*(uint64_t *)ctx)++;
}

static void append_json(void *ctx, const struct crier_schedule_info *info)
{
    char id[CRIER_SCHEDULE_TEXT_SIZE];
    crier_schedule_to_text(&info->schedule, id);
    json_array_append_new(ctx, json_pack("{s:s,s:I,s:s,s:I,s:I,s:I}", "id", id, "due_us",
                                         (json_int_t)info->schedule.due_us, "topic", info->topic, "partition",
                                         (json_int_t)info->partition, "bytes", (json_int_t)info->size,
                                         "created_us", (json_int_t)info->created_us));
}

static int list(const struct scheduled_options *options, const char *topic)
{
    struct crier_options bus_options = command_bus_options("crier scheduled");
    struct crier_schedule_list_options which = crier_schedule_list_options_default();
    char listed_text[TEXT_SIZE], pending_text[TEXT_SIZE];
    uint64_t listed = 0, pending = 0;
    json_t *array = json_array();
    crier *bus;
    int rc, status = command_open(options->url, &bus_options, &bus);

    if (status != STATUS_DONE)
        goto out;
    which.topic = topic;
    which.count_max = (uint32_t)options->count;
    if (!options->json)
        printf("%-24s  %-24s  %-32s  %9s  %10s\n", "ID", "DUE", "TOPIC", "PARTITION", "BYTES");
    rc = options->json ? crier_schedule_list(bus, &which, append_json, array, NULL)
                       : crier_schedule_list(bus, &which, print_row, &listed, &pending);
    if (rc == CRIER_EINVAL && topic != NULL) {
        status = command_bad_name(topic, NULL);
    } else if (rc < 0) {
        status = command_failed("the broker at %s did not tell: %s", options->url, crier_strerror(rc));
    } else if (options->json) {
        json_dumpf(array, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        printf("\n%s listed, %s wait in all topics\n", text_count(listed, listed_text),
               text_count(pending, pending_text));
    }
    status = command_close(bus, status);
out:
    json_decref(array);
    return status;
}

static int list_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct scheduled_options options = {.url = url};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first > 1)
        return command_usage_error(command, "one topic only");
    if (options.count == 0 || options.count > UINT32_MAX)
        return command_usage_error(command, "--count is 1 to 4G");
    return list(&options, first < argc ? argv[first] : NULL);
}

static int cancel_one(crier *bus, const char *id)
{
    crier_schedule schedule;
    if (crier_schedule_from_text(id, &schedule) < 0)
        return command_failed("'%s' is no schedule; see: crier scheduled list", id);
    int rc = crier_schedule_cancel(bus, &schedule);
    if (rc == CRIER_ENOSCHEDULE)
        return command_failed("no schedule %s: it has come, was canceled before, or its topic is gone", id);
    if (rc < 0)
        return command_failed("cannot cancel %s: %s", id, crier_strerror(rc));
    printf("canceled %s\n", id);
    return STATUS_DONE;
}

static int cancel_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct scheduled_options options = {.url = url};
    struct crier_options bus_options = command_bus_options("crier scheduled");
    crier *bus;
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first == argc)
        return command_usage_error(command, "which one? see: crier scheduled list");
    if ((status = command_open(options.url, &bus_options, &bus)) != STATUS_DONE)
        return status;
    for (int i = first; i < argc; i++)
        if (cancel_one(bus, argv[i]) != STATUS_DONE)
            status = STATUS_FAILED;
    return command_close(bus, status);
}

const struct command scheduled_list_command = {
    .name = "scheduled list",
    .arguments = "[TOPIC]",
    .summary = "The events that come later, the next one first",
    .text = "Lists the events that were emitted with a delay or a time and have not come\n"
            "yet: of TOPIC, or of all topics.\n"
            "\n"
            "Examples:\n"
            "  crier scheduled list\n"
            "  crier scheduled list cart.reminder --json",
    .rows = list_rows,
    .row_count = ARRAY_SIZE(list_rows),
    .run = list_run,
};

const struct command scheduled_cancel_command = {
    .name = "scheduled cancel",
    .arguments = "ID...",
    .summary = "Cancel events that have not come yet",
    .text = "Cancels events by the IDs that `crier emit --delay` printed, or\n"
            "`crier scheduled list` shows: what it says is canceled will never come.\n"
            "\n"
            "Examples:\n"
            "  crier scheduled cancel 6614a2b0c1f40-23\n"
            "  crier scheduled list cart.reminder --json | jq -r '.[].id' |\n"
            "      xargs crier scheduled cancel",
    .rows = cancel_rows,
    .row_count = ARRAY_SIZE(cancel_rows),
    .run = cancel_run,
};
