/* --exec: the command gets the event, and only its exit status decides. */
#include "tools/exec.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const crier_event event = {.topic = "orders.placed",
                                  .partition = 3,
                                  .offset = 42,
                                  .timestamp_ms = 1769860800123,
                                  .key = "customer-7 and more",
                                  .key_size = 10};
static char reason[128];

static int run(const char *command, const char *input)
{
    signal(SIGPIPE, SIG_IGN); /* as main() does */
    reason[0] = '\0';
    return exec_command(command, &event, input, strlen(input), NULL, reason, sizeof(reason));
}

Test(exec, the_command_reads_the_value)
{
    cr_assert(run("test \"$(cat)\" = 'two socks'", "two socks") == 0, "%s", reason);
    cr_assert(run("test \"$(cat)\" = 'two socks'", "one sock") < 0);
}

Test(exec, the_environment_says_where_the_event_came_from)
{
    cr_assert(run("test $CRIER_TOPIC = orders.placed -a $CRIER_PARTITION = 3 -a $CRIER_OFFSET = 42 "
                  "-a $CRIER_KEY = customer-7 -a $CRIER_TIMESTAMP_MS = 1769860800123",
                  "") == 0,
              "%s", reason);
}

Test(exec, an_event_without_key_hides_the_last_ones)
{
    crier_event keyless = event;
    keyless.key = NULL;
    keyless.key_size = 0;
    cr_assert(run("test \"${CRIER_KEY+set}\" = set", "") == 0);
    cr_assert(exec_command("test -z \"${CRIER_KEY+set}\"", &keyless, NULL, 0, NULL, reason, sizeof(reason)) ==
                  0,
              "%s", reason);
}

Test(exec, another_status_than_zero_is_a_failure_with_a_reason)
{
    cr_assert(run("exit 3", "") < 0);
    cr_assert_str_eq(reason, "ended with status 3");
    cr_assert(run("/nonexistent/command", "") < 0);
    cr_assert(run("kill -9 $$", "") < 0);
    cr_assert(strstr(reason, "signal 9") != NULL, "%s", reason);
}

Test(exec, a_command_that_does_not_read_a_large_value_may_still_succeed)
{
    size_t size = 4u * 1024 * 1024;
    char *value = calloc(1, size);

    signal(SIGPIPE, SIG_IGN);
    cr_assert(value != NULL);
    cr_assert(exec_command("true", &event, value, size, NULL, reason, sizeof(reason)) == 0, "%s", reason);
    cr_assert(exec_command("test $(wc -c) = 4194304", &event, value, size, NULL, reason, sizeof(reason)) == 0,
              "%s", reason);
    free(value);
}

/* main() ignores SIGPIPE, signal 13; a command that inherits this would not end with the reader of its pipe. */
Test(exec, the_command_dies_of_a_broken_pipe_as_usual)
{
    cr_assert(run("ignored=$(awk '/SigIgn/ {print $2}' /proc/self/status); test $((0x$ignored & 0x1000)) = 0",
                  "") == 0,
              "%s", reason);
}

Test(tools_exec, what_it_prints_can_be_had_without_the_lines_end)
{
    struct exec_output output = {0};
    cr_assert_eq(exec_command("tr a-z A-Z; echo", &event, "hello", 5, &output, reason, sizeof(reason)), 0,
                 "%s", reason);
    cr_assert_eq(output.size, 5);
    cr_assert_arr_eq(output.data, "HELLO", 5);
    free(output.data);
}

static int run_for_output(const char *command, struct exec_output *output)
{
    reason[0] = '\0';
    return exec_command(command, &event, "", 0, output, reason, sizeof(reason));
}

Test(exec, what_a_command_prints_has_a_bound)
{
    struct exec_output output = {0};
    cr_assert(run_for_output("head -c 8388608 /dev/zero", &output) == 0, "%s", reason);
    cr_assert(eq(sz, output.size, EXEC_OUTPUT_MAX));
    free(output.data);
    output = (struct exec_output){0};
    cr_assert(run_for_output("head -c 8388609 /dev/zero", &output) < 0);
    cr_assert_str_eq(reason, "printed more than a reply may have: 8 MiB");
    cr_assert(run_for_output("cat /dev/zero", &output) < 0, "and it ends, although it would not by itself");
    cr_assert_str_eq(reason, "printed more than a reply may have: 8 MiB");
    cr_assert(run_for_output("printf 'one\\ntwo\\n'", &output) == 0, "%s", reason);
    cr_assert(eq(sz, output.size, 7));
    free(output.data);
}
