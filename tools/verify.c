/* verify.c: `crier verify`: is everything in a data folder what was written? And `--repair`: make it start again.
 *
 * Thread:      main.
 * Happy path:  without a folder: the broker looks (live.c). Else: the folder's lock → names of topics → every entry, every row → a line for each fault → a summary.
 * Failures:    a fault: exit 1, and the commands that lead on. A folder in use: exit 1. */
#include "tools/command.h"
#include "tools/live.h"
#include "tools/text.h"
#include "tools/watch.h"

#include "base/check.h"

#include <stdio.h>

#define SCAN_TIMEOUT_MS 600000 /* for one segment; a large one on a slow disk */

struct verify_options {
    const char *url;
    bool repair;
};

static const struct option_row verify_rows[] = {
    COMMAND_URL_ROW(struct verify_options),
    {"repair", 0, NULL, NULL, NULL, "Make damaged segments again without what is lost.", options_flag,
     offsetof(struct verify_options, repair)},
};

static int verify_folder(const char *folder, const struct offline_watch *watch)
{
    struct offline_summary summary;
    char error[512], text[TEXT_SIZE];
    if (offline_verify(folder, watch, &summary, error, sizeof(error)) < 0)
        return command_failed("%s", error);
    watch_print_summary(&summary);
    if (summary.faults == 0) {
        puts(": all good");
        return STATUS_DONE;
    }
    printf(": %s damaged\n", text_count(summary.faults, text));
    printf("To bring it back from a backup:      crier restore BACKUP %s\n"
           "To go on without what is damaged:    crier verify --repair %s\n",
           folder, folder);
    return STATUS_FAILED;
}

static int repair_folder(const char *folder, const struct offline_watch *watch)
{
    struct offline_summary summary;
    char error[512], text[2][TEXT_SIZE];
    if (offline_repair(folder, watch, &summary, error, sizeof(error)) < 0)
        return command_failed("%s", error);
    if (summary.mended == 0)
        puts("nothing to repair");
    else
        printf("%s segments made again, %s entries lost; the damaged files are kept as quarantine-...\n",
               text_count(summary.mended, text[0]), text_count(summary.lost, text[1]));
    return STATUS_DONE;
}

static int verify_broker(const char *url)
{
    struct crier_options bus_options = command_bus_options("crier verify");
    bool lost = false;
    crier *bus;
    bus_options.connection = command_connection;
    bus_options.ctx = &lost;
    bus_options.request_timeout_ms = SCAN_TIMEOUT_MS;
    int status = command_open(url, &bus_options, &bus);
    return status != STATUS_DONE ? status : command_close(bus, live_verify(bus));
}

static int verify_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct verify_options options = {.url = url};
    int first, status;
    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first > 1)
        return command_usage_error(command, "one data folder, or none");
    if (argc == first && options.repair)
        return command_usage_error(command,
                                   "--repair is for the folder of a broker that does not run: which?");
    if (argc == first)
        return verify_broker(options.url);
    struct watch watch = watch_create(argv[first]);
    struct offline_watch of = watch_of(&watch);
    status = options.repair ? repair_folder(argv[first], &of) : verify_folder(argv[first], &of);
    watch_finish(&watch);
    return status;
}

const struct command verify_command = {
    .name = "verify",
    .arguments = "[DIR]",
    .summary = "Check a broker's log against its checksums",
    .text = "Reads everything in the data folder of a broker that does not run, or in a\n"
            "backup, and names each fault: file, segment, entries, topic and offset.\n"
            "Without DIR the broker at --url looks through its log while it runs.\n"
            "Exit status 1 if there is one. Nothing is changed without --repair, which\n"
            "keeps the damaged files aside; bringing them back from a backup loses less:\n"
            "see crier restore --help.\n"
            "\n"
            "Examples:\n"
            "  crier verify\n"
            "  crier verify /var/lib/crier\n"
            "  crier verify --repair /var/lib/crier",
    .rows = verify_rows,
    .row_count = ARRAY_SIZE(verify_rows),
    .run = verify_run,
};
