/* backup.c: `crier backup` and `crier restore`: a copy of a data folder, and the way back.
 *
 * Thread:      main.
 * Happy path:  backup: what is new is copied and checked, then the backup's manifest changes in one step.
 *              restore: all of it into an empty folder, or single segments into a damaged one.
 * Failures:    damage at the source, no space, a folder in use: one sentence, exit 1; an older backup stays whole. */
#include "tools/command.h"
#include "tools/live.h"
#include "tools/text.h"
#include "tools/watch.h"

#include "base/check.h"

#include <stdio.h>

#define ANSWER_TIMEOUT_MS 120000 /* sealing copies the state */

struct backup_options {
    const char *url;
};

static const struct option_row backup_rows[] = {COMMAND_URL_ROW(struct backup_options)};

static int backup_broker(const char *url, const char *to)
{
    struct crier_options bus_options = command_bus_options("crier backup");
    bool lost = false;
    crier *bus;
    bus_options.connection = command_connection;
    bus_options.ctx = &lost;
    bus_options.request_timeout_ms = ANSWER_TIMEOUT_MS;
    int status = command_open(url, &bus_options, &bus);
    return status != STATUS_DONE ? status : command_close(bus, live_backup(bus, to));
}

static int backup_folder(const char *from, const char *to)
{
    struct watch watch = watch_create(from);
    struct offline_watch of = watch_of(&watch);
    struct offline_summary summary;
    char error[512], text[TEXT_SIZE];
    int status = STATUS_DONE;
    if (offline_backup(from, to, &of, &summary, error, sizeof(error)) < 0) {
        status = command_failed("%s", error);
    } else {
        fputs("copied ", stdout);
        watch_print_summary(&summary);
        printf("; %s segments were there already\n", text_count(summary.kept, text));
    }
    watch_finish(&watch);
    return status;
}

static int backup_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct backup_options options = {.url = url};
    int first, status;
    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first == 1)
        return backup_broker(options.url, argv[first]);
    if (argc - first != 2)
        return command_usage_error(command, "where to?");
    return backup_folder(argv[first], argv[first + 1]);
}

static int restore_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct backup_options unused; /* there are none */
    int first, status;
    (void)url;
    if (!command_parse(command, argc, argv, &unused, &first, &status))
        return status;
    if (argc - first != 2)
        return command_usage_error(command, "two folders are needed: a backup, and where to");
    const char *from = argv[first], *to = argv[first + 1];
    struct watch watch = watch_create(from);
    struct offline_watch of = watch_of(&watch);
    struct offline_summary summary;
    char error[512], text[TEXT_SIZE];
    status = STATUS_DONE;
    if (offline_restore(from, to, &of, &summary, error, sizeof(error)) < 0) {
        status = command_failed("%s", error);
    } else {
        fputs("restored ", stdout);
        watch_print_summary(&summary);
        printf("; %s segments brought back\n", text_count(summary.mended, text));
        if (summary.faults > 0)
            status = command_failed("not everything is in the backup; what is left: crier verify %s", to);
    }
    watch_finish(&watch);
    return status;
}

const struct command backup_command = {
    .name = "backup",
    .arguments = "[DIR] TO",
    .summary = "Copy a broker's log, or bring a copy up to date",
    .text = "Copies the log of the broker at --url while it runs, or with DIR the data\n"
            "folder of one that does not. TO is a data folder itself: it can be verified,\n"
            "restored, and started. Made again, only what is new is copied; TO is a whole\n"
            "backup at each moment. Every entry is checked. A running broker closes the\n"
            "file it is writing and goes on in the next.\n"
            "\n"
            "Examples:\n"
            "  crier backup /backup/crier\n"
            "  crier backup /var/lib/crier /backup/crier",
    .rows = backup_rows,
    .row_count = ARRAY_SIZE(backup_rows),
    .run = backup_run,
};

const struct command restore_command = {
    .name = "restore",
    .arguments = "BACKUP DIR",
    .summary = "Bring a data folder back from a backup",
    .text = "Into a folder that is empty or not there: all of the backup. Into a damaged\n"
            "data folder: those segments that are missing or damaged; what was there is\n"
            "kept as quarantine-... The broker must not run.\n"
            "\n"
            "Examples:\n"
            "  crier restore /backup/crier /var/lib/crier\n"
            "  crier verify /var/lib/crier",
    .rows = NULL,
    .row_count = 0,
    .run = restore_run,
};
