/* test_tools_request.c: `crier request` and `crier on --reply` against a real broker, and the example that asks for quotes. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct broker *broker;
static const char *url;

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert(broker != NULL);
    url = broker_url(broker);
}

static void teardown(void)
{
    cr_assert(eq(int, broker_destroy(broker), 0));
}

TestSuite(tools_request, .init = setup, .fini = teardown, .timeout = 120);

static struct process *replier(const char *command)
{
    struct process *process =
        crier_start(url, "on", "shout", "--reply", "--exec", command, "--verbose", NULL);
    process_expect_error(process, "listening to shout");
    return process;
}

static void replier_end(struct process *process)
{
    process_signal(process, 15);
    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    process_destroy(process);
}

static void expect_request(struct process *process, int status, const char *output, const char *error)
{
    cr_assert(eq(int, process_wait(process), status), "%s", process_errors(process));
    cr_assert_str_eq(process_output(process, NULL), output);
    cr_assert(strstr(process_errors(process), error) != NULL, "%s", process_errors(process));
    process_destroy(process);
}

Test(tools_request, what_the_command_prints_is_the_reply)
{
    struct process *on = replier("tr a-z A-Z");
    expect_request(crier_start(url, "request", "shout", "hello", NULL), 0, "HELLO\n", "");
    struct process *asks = crier_start(url, "request", "shout", "-", NULL);
    process_write(asks, "from a pipe");
    process_close_input(asks);
    expect_request(asks, 0, "FROM A PIPE\n", "");
    replier_end(on);
}

Test(tools_request, without_a_listener_it_fails_and_says_how_there_would_be_one)
{
    expect_request(crier_start(url, "request", "shout", "hello", "--timeout", "60s", NULL), 1, "",
                   "crier on shout --reply");
}

Test(tools_request, a_command_that_fails_is_told_and_the_next_request_is_taken)
{
    struct process *on = replier("test \"$(cat)\" = good && echo fine");
    expect_request(crier_start(url, "request", "shout", "bad", NULL), 1, "", "ended with status 1");
    expect_request(crier_start(url, "request", "shout", "good", NULL), 0, "fine\n", "");
    replier_end(on);
}

Test(tools_request, several_replies_are_printed_line_by_line)
{
    struct process *one = replier("echo one"), *two = replier("echo one");
    expect_request(crier_start(url, "request", "shout", "--replies", "2", NULL), 0, "one\none\n", "");
    replier_end(one);
    replier_end(two);
}

Test(tools_request, wrong_use_is_told)
{
    expect_request(crier_start(url, "request", NULL), 2, "", "which topic?");
    expect_request(crier_start(url, "on", "shout", "--reply", NULL), 2, "", "--exec");
    expect_request(crier_start(url, "request", "a", "b", "--replies", "1001", NULL), 2, "", "1000");
    expect_request(crier_start(url, "on", "shout", "--queue", "65M", NULL), 2, "", "--queue: at most 64M");
}

Test(tools_request, the_example_gets_its_quotes)
{
    char command[512];
    snprintf(command, sizeof(command), "%s %s >/dev/null", QUOTES, url);
    cr_assert_eq(system(command), 0);
    snprintf(command, sizeof(command), "%s embed:%s/quotes >/dev/null", QUOTES, broker_data(broker));
    cr_assert_eq(system(command), 0);
}
