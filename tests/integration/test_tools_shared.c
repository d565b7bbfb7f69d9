/* `crier on --shared` against a real broker: a command that fails gets its event again, and members share a partition. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
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

TestSuite(tools_shared, .init = setup, .fini = teardown, .timeout = 120);

static void emit(const char *lines)
{
    struct process *emitter = crier_start(url, "emit", "jobs", "-", NULL);
    process_write(emitter, lines);
    cr_assert(eq(int, process_end(emitter), 0));
}

Test(tools_shared, a_command_that_fails_gets_its_event_again_and_the_others_go_on)
{
    emit("a\nb\nc\n");
    struct process *on = crier_start(
        url, "on", "jobs", "--group", "pay", "--shared", "--from", "earliest", "--count", "3", "--exec",
        "read v; echo \"$v $CRIER_ATTEMPT\"; test $v != b || test $CRIER_ATTEMPT -gt 1", NULL);
    cr_assert(eq(int, process_wait(on), 0), "%s", process_errors(on));
    const char *output = process_output(on, NULL);
    cr_assert(strcmp(output, "a 1\nb 1\nc 1\nb 2\n") == 0, "%s", output);
    cr_assert(strstr(process_errors(on), "ended with status 1 for jobs, partition 0, offset 1, attempt 1") !=
                  NULL,
              "%s", process_errors(on));
    process_destroy(on);
}

Test(tools_shared, what_was_not_done_is_there_for_the_next_member_and_what_was_is_not)
{
    emit("1\n2\n3\n4\n");
    struct process *first = crier_start(url, "on", "jobs", "--group", "pay", "--shared", "--from", "earliest",
                                        "--count", "2", NULL);
    cr_assert(eq(int, process_wait(first), 0), "%s", process_errors(first));
    cr_assert(strcmp(process_output(first, NULL), "1\n2\n") == 0, "%s", process_output(first, NULL));
    process_destroy(first);
    struct process *second =
        crier_start(url, "on", "jobs", "--group", "pay", "--key-ordered", "--count", "2", NULL);
    cr_assert(eq(int, process_wait(second), 0), "%s", process_errors(second));
    cr_assert(strcmp(process_output(second, NULL), "3\n4\n") == 0, "%s", process_output(second, NULL));
    process_destroy(second);
}

Test(tools_shared, a_shared_group_has_a_name)
{
    struct process *on = crier_start(url, "on", "jobs", "--shared", NULL);
    cr_assert(eq(int, process_wait(on), 2));
    cr_assert(strstr(process_errors(on), "--group") != NULL, "%s", process_errors(on));
    process_destroy(on);
}

Test(tools_shared, what_has_failed_as_often_as_the_topic_says_is_a_dead_letter_with_the_reason)
{
    cr_assert(eq(int,
                 process_end(crier_start(url, "topic", "create", "jobs", "--retry-delay", "1ms",
                                         "--deliveries", "2", NULL)),
                 0));
    emit("a\nb\n");
    struct process *on = crier_start(url, "on", "jobs", "--group", "pay", "--shared", "--from", "earliest",
                                     "--exec", "read v; test $v = b", NULL);
    struct process *dead =
        crier_start(url, "on", "$dead.jobs", "--from", "earliest", "--count", "1", "--format", "%h %v", NULL);
    cr_assert(eq(int, process_wait(dead), 0), "%s", process_errors(dead));
    const char *output = process_output(dead, NULL);
    cr_assert(strstr(output, "ended with status 1") != NULL, "%s", output);
    cr_assert(strstr(output, " a\n") != NULL, "%s", output);
    process_destroy(dead);
    process_destroy(on);
}
