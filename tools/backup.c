/* backup.c: `crier backup` and `crier restore`: a copy of a data folder, and the way back.
 *
 * Thread:      main.
 * Happy path:  backup: what is new is copied and checked, then the backup's manifest changes in one step.
 *              restore: all of it into an empty folder, or single segments into a damaged one.
 * Failures:    damage at the source, no space, a folder in use: one sentence, exit 1; an older backup stays whole. */
#include "tools/command.h"
#include "tools/text.h"
#include "tools/watch.h"

#include "base/check.h"

#include <stdio.h>

struct nothing {
    char unused;
};

static int two_folders(const struct command *command, int argc, char **argv, const char **ret_from,
                       const char **ret_to)
{
    struct nothing options;
    int first, status;
    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first != 2)
        return command_usage_error(command, "two folders are needed: from, and to");
    *ret_from = argv[first];
    *ret_to = argv[first + 1];
    return -1;
}

static int backup_run(const struct command *command, const char *url, int argc, char **argv)
{
    const char *from, *to;
    (void)url;
    int status = two_folders(command, argc, argv, &from, &to);
    if (status >= 0)
        return status;
    struct watch watch = watch_create(from);
    struct offline_watch of = watch_of(&watch);
    struct offline_summary summary;
    char error[512], text[TEXT_SIZE];
    status = STATUS_DONE;
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

static int restore_run(const struct command *command, const char *url, int argc, char **argv)
{
    const char *from, *to;
    (void)url;
    int status = two_folders(command, argc, argv, &from, &to);
    if (status >= 0)
        return status;
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
    .arguments = "DIR TO",
    .summary = "Copy a data folder, or bring a copy up to date",
    .text = "Copies the data folder of a broker that does not run. TO is a data folder\n"
            "itself: it can be verified, restored, and started. Made again, only what is\n"
            "new is copied; TO is a whole backup at each moment. Every entry is checked.\n"
            "\n"
            "Example:\n"
            "  crier backup /var/lib/crier /backup/crier",
    .rows = NULL,
    .row_count = 0,
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
