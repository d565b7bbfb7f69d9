/* command.h: what the commands of `crier` share: the row that describes one, parsing, and how they speak to people.
 *
 * A command is a row of main.c's table. Its options are a table too (base/options.h), so that --help and parsing
 * cannot drift apart. run() gets argv without the words of the command's name and returns an exit status.
 *
 * Thread: main. */
#ifndef CRIER_TOOLS_COMMAND_H
#define CRIER_TOOLS_COMMAND_H

#include "base/options.h"
#include "client/include/crier/crier.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
};

struct command {
    const char *name;      /* "emit"; "topic create" */
    const char *arguments; /* after the options in the usage line: "TOPIC [VALUE | -]" */
    const char *summary;   /* one line of the list of commands */
    const char *text;      /* the rest of --help: what it does, and examples */
    const struct option_row *rows;
    size_t row_count;
    /* url: the broker, unless the command's own --url says otherwise. argv[0] is the name. Returns an exit_status. */
    int (*run)(const struct command *command, const char *url, int argc, char **argv);
};

extern const struct command emit_command, on_command, once_command, peek_command, request_command;
extern const struct command topic_create_command, topic_list_command, topic_describe_command;
extern const struct command topic_alter_command, topic_delete_command, topic_trim_command,
    topic_purge_command, topic_confirm_command;
extern const struct command group_list_command, group_describe_command, group_seek_command,
    group_redrive_command, group_delete_command;
extern const struct command listeners_command;
extern const struct command scheduled_list_command, scheduled_cancel_command;
extern const struct command ping_command, bench_e2e_command, bench_emit_command, bench_replay_command,
    bench_request_command, bench_drain_command, bench_shared_command;

extern const struct command verify_command, backup_command, restore_command;

/* The --url row of a command whose options struct has a field `const char *url`. */
#define COMMAND_URL_ROW(type)                                                                                \
    {                                                                                                        \
        "url", 'u', NULL, "URL", NULL,                                                                       \
            "Where the broker is. Default: $CRIER_URL, else crier://127.0.0.1:27437.", options_string,       \
            offsetof(type, url)                                                                              \
    }

/* Parses argv into `target` by the command's rows. Returns true to go on, with *ret_first the index of the first
 * argument that is no option; false when *ret_status is to be returned: --help was shown, or the use was wrong. */
bool command_parse(const struct command *command, int argc, char **argv, void *target, int *ret_first,
                   int *ret_status);
/* "crier emit: REASON" and how to learn more, on standard error. Returns STATUS_USAGE. */
int command_usage_error(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "crier: TEXT" on standard error. Returns STATUS_FAILED. */
int command_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* That standard output cannot be written; errno says why, right after the call that failed, or is 0: not known any more. A
 * reader that has seen enough and left is nothing to talk about. Returns STATUS_FAILED. */
int command_output_lost(void);

/* Is it one of the topics that are a bus's own? Nothing of them would ever travel. */
bool command_is_local(const char *topic);
/* That the broker knows no such topic name (or, unless NULL, group name). Returns STATUS_USAGE. */
int command_bad_name(const char *topic, const char *group);
/* The same of a pattern that cannot be listened to. */
int command_bad_pattern(const char *pattern);

/* The options every command opens its bus with: a name for the broker's log, and a patience fit for people. */
struct crier_options command_bus_options(const char *name);
/* A crier_options.connection for commands that go on without a broker until there is one: says so, and that it is there again.
 * ctx: a bool, false at first, kept until the bus is closed. */
void command_connection(crier *bus, bool connected, const char *text, void *ctx);
/* crier_open(), with a sentence on standard error that says what to do. Returns an exit_status. */
int command_open(const char *url, const struct crier_options *options, crier **ret_bus);
/* crier_close(), reporting `status` or, if that was STATUS_DONE, what went wrong in closing. */
int command_close(crier *bus, int status);

/* Parsers for option rows, as in base/options.h. */
int option_durability(void *target, const char *text, char *error,
                      size_t error_size); /* enum crier_durability */
int option_compression(void *target, const char *text, char *error,
                       size_t error_size); /* enum crier_compression */
/* As options_uint64() and options_duration(), of which there is no 0: uint64_t and int64_t microseconds. */
int option_count(void *target, const char *text, char *error, size_t error_size);
int option_period(void *target, const char *text, char *error, size_t error_size);
const char *durability_name(enum crier_durability durability);

#endif
