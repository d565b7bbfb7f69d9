/* How `crier` takes wrong use, and how it helps: no broker is needed for any of it. */
#include "tests/integration/tools_process.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static void expect_usage(struct process *process, const char *sentence)
{
    cr_assert(eq(int, process_wait(process), 2), "%s", process_errors(process));
    cr_assert_str_eq(process_output(process, NULL), "");
    cr_assert(strstr(process_errors(process), sentence) != NULL, "no '%s' in: %s", sentence,
              process_errors(process));
    process_destroy(process);
}

static void expect_help(struct process *process, const char *usage)
{
    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    cr_assert_str_eq(process_errors(process), "");
    const char *help = process_output(process, NULL);
    cr_assert(strncmp(help, usage, strlen(usage)) == 0, "%s", help);
    cr_assert(strstr(help, "\n  crier") != NULL, "no example: %s", help);
    for (const char *at = help, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        cr_assert(end != NULL && end - at <= 80, "too long a line: %s", at);
    }
    process_destroy(process);
}

Test(usage, without_a_command_it_lists_them)
{
    expect_usage(crier_start(NULL, NULL), "Commands:");
    expect_usage(crier_start(NULL, "shout", NULL), "no command 'shout'");
    expect_usage(crier_start(NULL, "topic", NULL), "needs one more word");
    expect_usage(crier_start(NULL, "topic", "burn", NULL), "no command 'topic burn'");
}

Test(usage, what_is_missing_or_too_much_is_named)
{
    expect_usage(crier_start(NULL, "emit", NULL), "which topic?");
    expect_usage(crier_start(NULL, "emit", "topic", "two", "words", NULL), "quote it");
    expect_usage(crier_start(NULL, "on", NULL), "which topic?");
    expect_usage(crier_start(NULL, "once", "a", "b", NULL), "one topic only");
    expect_usage(crier_start(NULL, "ping", "pong", NULL), "'pong'");
    expect_usage(crier_start(NULL, "topic", "create", NULL), "which topic?");
    expect_usage(crier_start(NULL, "topic", "describe", "a", "b", NULL), "one topic only");
    expect_usage(crier_start(NULL, "topic", "list", "a", NULL), "crier topic describe a");
    expect_usage(crier_start(NULL, "bench", "e2e", "fast", NULL), "'fast'");
}

Test(usage, a_bad_value_is_named_with_its_option_and_what_it_takes)
{
    expect_usage(crier_start(NULL, "on", "t", "--from", "yesterday", NULL), "--from");
    expect_usage(crier_start(NULL, "on", "t", "--count", "many", NULL), "--count");
    expect_usage(crier_start(NULL, "on", "t", "--timeout", "soon", NULL), "--timeout");
    expect_usage(crier_start(NULL, "on", "t", "--format", "%z", NULL), "--format");
    expect_usage(crier_start(NULL, "emit", "t", "v", "--header", "novalue", NULL), "NAME=VALUE");
    expect_usage(crier_start(NULL, "emit", "t", "v", "--durability", "eternal", NULL), "durable, memory");
    expect_usage(crier_start(NULL, "emit", "t", "v", "--loud", NULL), "--loud");
    expect_usage(crier_start(NULL, "bench", "e2e", "--size", "15", NULL), "--size: from 16");
    expect_usage(crier_start(NULL, "bench", "e2e", "--producers", "0", NULL), "--producers");
    expect_usage(crier_start(NULL, "group", "list", "g", NULL), "nothing");
    expect_usage(crier_start(NULL, "group", "describe", NULL), "GROUP [TOPIC]");
    expect_usage(crier_start(NULL, "group", "seek", "g", "t", NULL), "GROUP TOPIC PLACE");
    expect_usage(crier_start(NULL, "group", "seek", "g", "t", "soon", NULL), "'soon' is no place");
    expect_usage(crier_start(NULL, "group", "delete", "a", "b", NULL), "GROUP");
    expect_usage(crier_start("carrier-pigeon://attic", "ping", NULL), "crier://HOST:PORT");
    expect_usage(crier_start("local:", "emit", "t", "v", NULL), "nobody would hear it"); /* was "acked 1" */
}

/* 0 of what there must be, more than there can be, and options that one another exclude: told without a broker, and not taken for
 * the default or left out in silence. */
Test(usage, a_value_out_of_range_is_named_with_the_range)
{
    expect_usage(crier_start(NULL, "on", "t", "--count", "0", NULL), "--count: at least 1");
    expect_usage(crier_start(NULL, "on", "t", "--timeout", "0", NULL), "--timeout: more than 0");
    expect_usage(crier_start(NULL, "peek", "t", "--last", "0", NULL), "--last: at least 1");
    expect_usage(crier_start(NULL, "request", "t", "--replies", "0", NULL), "--replies: at least 1");
    expect_usage(crier_start(NULL, "group", "redrive", "t", "--limit", "0", NULL), "--limit: at least 1");
    expect_usage(crier_start(NULL, "group", "seek", "", "t", "earliest", NULL), "a group's name");
    expect_usage(crier_start(NULL, "on", "t", "--group", "", NULL), "--group: a name");
    expect_usage(crier_start(NULL, "emit", "t", "v", "--delay", "9999d", NULL), "at most 17 years");
    expect_usage(crier_start(NULL, "emit", "t", "v", "--at", "2099-01-01", NULL), "at most 17 years");
    expect_usage(crier_start(NULL, "emit", "t", "--file", "/dev/null", "--chunk", "0", NULL), "--chunk");
    expect_usage(crier_start(NULL, "topic", "create", "t", "--partitions", "0", NULL),
                 "--partitions: at least 1");
    expect_usage(crier_start(NULL, "topic", "create", "t", "--partitions", "1025", NULL),
                 "--partitions: 1 to 1024");
    expect_usage(crier_start(NULL, "topic", "create", "t", "--retry-delay", "25h", NULL), "1ms to 24h");
    expect_usage(crier_start(NULL, "topic", "create", "t", "--deliveries", "1001", NULL), "1 to 1000");
    expect_usage(crier_start(NULL, "topic", "create", "t", "--retention-count", "0", NULL),
                 "--retention-count: at least 1");
    expect_usage(crier_start(NULL, "topic", "alter", "t", "--retention-bytes", "0", NULL),
                 "--retention-bytes: at least 1");
    expect_usage(crier_start(NULL, "topic", "create", "t", "--retention-time", "36501d", NULL), "36500d");
}

Test(usage, options_that_exclude_or_need_one_another_are_named)
{
    expect_usage(crier_start(NULL, "on", "t", "--to-file", "f", "--exec", "cat", NULL), "--to-file");
    expect_usage(crier_start(NULL, "on", "t", "u", "--to-file", "f", NULL), "--to-file takes one topic");
    expect_usage(crier_start(NULL, "emit", "t", "v", "--chunk", "1K", NULL), "--chunk is of a --file");
    expect_usage(crier_start(NULL, "emit", "t", "v", "--compress", "gzip", NULL), "lz4, zstd, none");
    expect_usage(crier_start(NULL, "emit", "t", "-", "--producer", "p", "--compress", "lz4", NULL),
                 "--compress");
    expect_usage(crier_start(NULL, "topic", "alter", "t", "--retain-until-consumed",
                             "--no-retain-until-consumed", NULL),
                 "not both");
}

Test(usage, every_command_helps_with_examples)
{
    expect_help(crier_start(NULL, "--help", NULL), "usage: crier [--url URL] COMMAND");
    expect_help(crier_start(NULL, "emit", "--help", NULL), "usage: crier emit [OPTION]... TOPIC");
    expect_help(crier_start(NULL, "on", "-h", NULL), "usage: crier on [OPTION]... TOPIC");
    expect_help(crier_start(NULL, "once", "--help", NULL), "usage: crier once");
    expect_help(crier_start(NULL, "topic", "create", "--help", NULL), "usage: crier topic create");
    expect_help(crier_start(NULL, "topic", "list", "--help", NULL), "usage: crier topic list");
    expect_help(crier_start(NULL, "topic", "describe", "--help", NULL), "usage: crier topic describe");
    expect_help(crier_start(NULL, "group", "list", "--help", NULL), "usage: crier group list");
    expect_help(crier_start(NULL, "group", "describe", "--help", NULL), "usage: crier group describe");
    expect_help(crier_start(NULL, "group", "seek", "--help", NULL), "usage: crier group seek");
    expect_help(crier_start(NULL, "group", "redrive", "--help", NULL), "usage: crier group redrive");
    expect_help(crier_start(NULL, "group", "delete", "--help", NULL), "usage: crier group delete");
    expect_help(crier_start(NULL, "scheduled", "list", "--help", NULL), "usage: crier scheduled list");
    expect_help(crier_start(NULL, "scheduled", "cancel", "--help", NULL), "usage: crier scheduled cancel");
    expect_help(crier_start(NULL, "ping", "--help", NULL), "usage: crier ping");
    expect_help(crier_start(NULL, "bench", "e2e", "--help", NULL), "usage: crier bench e2e");
    expect_help(crier_start(NULL, "bench", "emit", "--help", NULL), "usage: crier bench emit");
    expect_help(crier_start(NULL, "bench", "replay", "--help", NULL), "usage: crier bench replay");
}

Test(usage, a_group_of_commands_lists_itself)
{
    struct process *process = crier_start(NULL, "topic", "--help", NULL);
    cr_assert(eq(int, process_wait(process), 0));
    cr_assert(strstr(process_output(process, NULL), "topic create") != NULL);
    cr_assert(strstr(process_output(process, NULL), "emit") == NULL);
    process_destroy(process);
}

Test(usage, the_version_is_told)
{
    struct process *process = crier_start(NULL, "--version", NULL);
    cr_assert(eq(int, process_wait(process), 0));
    cr_assert(strncmp(process_output(process, NULL), "crier 0.", 8) == 0);
    process_destroy(process);
}
