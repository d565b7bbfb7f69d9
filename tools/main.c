/* main.c: `crier`, the command for people and scripts: finds the command and hands it the rest of the line.
 *
 * Role:      the table of commands, and the options that stand before a command (--url, --help, --version).
 * Thread:    main. Commands that stream have libcrier's I/O thread beside it.
 * Exit:      0 done, 1 failed, 2 wrong use (see enum exit_status).
 *
 * Happy path:  options before the command -> longest name that matches ("topic create" before "topic") -> run().
 * Failures:    no or an unknown command: the list of commands on standard error, exit 2. */
#include "tools/command.h"

#include "base/check.h"
#include "base/standard_fds.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
    &emit_command,
    &on_command,
    &once_command,
    &peek_command,
    &request_command,
    &topic_create_command,
    &topic_list_command,
    &topic_describe_command,
    &topic_alter_command,
    &topic_delete_command,
    &topic_trim_command,
    &topic_purge_command,
    &topic_confirm_command,
    &group_list_command,
    &group_describe_command,
    &group_seek_command,
    &group_redrive_command,
    &group_delete_command,
    &listeners_command,
    &scheduled_list_command,
    &scheduled_cancel_command,
    &ping_command,
    &bench_e2e_command,
    &bench_emit_command,
    &bench_replay_command,
    &bench_request_command,
    &bench_drain_command,
    &bench_shared_command,
    &verify_command,
    &backup_command,
    &restore_command,
};

struct global_options {
    const char *url;
};

static const struct option_row global_rows[] = {
    {"url", 'u', "CRIER_URL", "URL", "crier://127.0.0.1:27437", "Where the broker is.", options_string,
     offsetof(struct global_options, url)},
};

/* The commands whose name starts with `group`; NULL: all. */
static void list_commands(const char *group, FILE *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (group == NULL || strncmp(commands[i]->name, group, strlen(group)) == 0)
            fprintf(out, "  %-16s  %s\n", commands[i]->name, commands[i]->summary);
    }
}

static void help(FILE *out)
{
    fputs("usage: crier [--url URL] COMMAND [OPTION]... [ARGUMENT]...\n\n"
          "Emits events to a crier broker and listens to them.\n\nCommands:\n",
          out);
    list_commands(NULL, out);
    fputs("\nOptions:\n", out);
    options_help(global_rows, ARRAY_SIZE(global_rows), out);
    fputs("\nExamples:\n"
          "  crierd --data ./data &                            start a broker\n"
          "  crier on orders.placed                            print events as they come\n"
          "  crier emit orders.placed 'a new order'            emit one\n"
          "  crier emit orders.placed - < orders.txt           emit one per line\n"
          "  crier on orders.placed --from earliest --count 5  replay the first five\n"
          "\nEach command has its own --help. Exit status: 0 done, 1 failed, 2 wrong use.\n",
          out);
}

/* The index of the first argument that belongs to the command: an option's value is no command. */
static int command_index(int argc, char **argv)
{
    int i = 1;
    while (i < argc && argv[i][0] == '-') {
        bool value_follows = strcmp(argv[i], "--url") == 0 || strcmp(argv[i], "-u") == 0;
        i += value_follows ? 2 : 1;
    }
    return i < argc ? i : argc;
}

/* How many of the words the command's name takes, 0 if it is another's. */
static int name_matches(const struct command *command, int count, char **words)
{
    const char *space = strchr(command->name, ' ');
    if (count < 1)
        return 0;
    if (space == NULL)
        return strcmp(words[0], command->name) == 0 ? 1 : 0;

    size_t length = (size_t)(space - command->name);
    bool first = strlen(words[0]) == length && strncmp(words[0], command->name, length) == 0;
    return first && count >= 2 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

/* "topic" without a word that makes it a command: help if asked for, else what could follow. */
static int group_or_unknown(int count, char **words)
{
    char group[64];
    snprintf(group, sizeof(group), "%s ", words[0]);

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strncmp(commands[i]->name, group, strlen(group)) != 0)
            continue;
        if (count >= 2 && (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0)) {
            printf("usage: crier %sCOMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n", group);
            list_commands(group, stdout);
            return STATUS_DONE;
        }
        if (count >= 2)
            fprintf(stderr, "crier: no command '%s%s'; there are:\n", group, words[1]);
        else
            fprintf(stderr, "crier: '%s' needs one more word; there are:\n", words[0]);
        list_commands(group, stderr);
        return STATUS_USAGE;
    }
    fprintf(stderr, "crier: no command '%s'; there are:\n", words[0]);
    list_commands(NULL, stderr);
    return STATUS_USAGE;
}

/* What was printed must have arrived: a full disk behind standard output is a failure too. */
static int finish(int status)
{
    bool lost = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) != 0)
        lost = true;
    return status == STATUS_DONE && lost ? command_output_lost() : status;
}

int main(int argc, char **argv)
{
    struct global_options options = {0};
    int at = command_index(argc, argv);
    char asked = 0, error[256];

    standard_fds_occupy();
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of write(), told or not by the command */
    int rc =
        options_parse(global_rows, ARRAY_SIZE(global_rows), at, argv, &options, &asked, error, sizeof(error));
    if (rc == -ECANCELED) {
        if (asked == 'h')
            help(stdout);
        else
            printf("crier %s\n", CRIER_VERSION);
        return finish(STATUS_DONE);
    }
    if (rc < 0) {
        fprintf(stderr, "crier: %s\nMore: crier --help\n", error);
        return STATUS_USAGE;
    }
    if (at == argc) {
        help(stderr);
        return STATUS_USAGE;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        int words = name_matches(commands[i], argc - at, argv + at);
        if (words > 0)
            return finish(
                commands[i]->run(commands[i], options.url, argc - at - words + 1, argv + at + words - 1));
    }
    return finish(group_or_unknown(argc - at, argv + at));
}
