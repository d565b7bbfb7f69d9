/* `crier on --shared` against a real broker: a command that fails gets its event again, and members share a partition. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
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

/* What a command that is to succeed prints; the caller frees it. */
static char *said(struct process *process)
{
    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    char *text = strdup(process_output(process, NULL));
    cr_assert(text != NULL);
    process_destroy(process);
    return text;
}

static void expect_said(struct process *process, const char *expected)
{
    char *text = said(process);
    cr_assert(strstr(text, expected) != NULL, "%s", text);
    free(text);
}

Test(tools_shared, dead_letters_go_back_and_a_description_tells_what_is_under_way)
{
    expect_said(crier_start(url, "topic", "create", "jobs", "--retry-delay", "1h", "--retry-delay-max", "1h",
                            "--deliveries", "1", NULL),
                "");
    emit("a\nb\nc\n");
    struct process *on = crier_start(url, "on", "jobs", "--group", "pay", "--shared", "--from", "earliest",
                                     "--exec", "read v; test $v = b", NULL);
    expect_said(
        crier_start(url, "on", "$dead.jobs", "--from", "earliest", "--count", "2", "--format", "%v", NULL),
        "a\nc\n");
    process_signal(on, SIGTERM);
    process_end(on);
    expect_said(crier_start(url, "group", "redrive", "jobs", "--limit", "1", NULL),
                "1 dead letter is back in jobs\n");
    expect_said(crier_start(url, "group", "redrive", "jobs", "--json", NULL), "\"moved\": 1");
    expect_said(crier_start(url, "group", "redrive", "jobs", NULL), "0 dead letters are back in jobs\n");
    /* the same events, once more, at the end */
    expect_said(crier_start(url, "on", "jobs", "--from", "3", "--count", "2", NULL), "a\nc\n");
    expect_said(crier_start(url, "group", "describe", "pay", "jobs", NULL), "RETRIES");
    expect_said(crier_start(url, "group", "describe", "pay", "jobs", "--json", NULL), "\"retries\": 0");
    struct process *none = crier_start(url, "group", "redrive", "nothing", NULL);
    cr_assert(eq(int, process_wait(none), 1));
    cr_assert(strstr(process_errors(none), "no topic 'nothing'") != NULL, "%s", process_errors(none));
    process_destroy(none);
}

Test(tools_shared, what_has_failed_and_waits_is_described_as_a_retry)
{
    expect_said(
        crier_start(url, "topic", "create", "jobs", "--retry-delay", "1h", "--retry-delay-max", "1h", NULL),
        "");
    emit("a\nb\n");
    struct process *on = crier_start(url, "on", "jobs", "--group", "pay", "--shared", "--from", "earliest",
                                     "--count", "1", "--exec", "read v; test $v = b", NULL);
    free(said(on));
    char *text = said(crier_start(url, "group", "describe", "pay", "jobs", "--json", NULL));
    cr_assert(strstr(text, "\"done\": 1") != NULL, "%s", text);
    cr_assert(strstr(text, "\"leased\": 0") != NULL, "%s", text);
    cr_assert(strstr(text, "\"retries\": 1") != NULL, "%s", text);
    cr_assert(strstr(text, "\"lag\": 1") != NULL, "%s", text);
    free(text);
}

static void expect_refused(struct process *process, int status, const char *expected)
{
    cr_assert(eq(int, process_wait(process), status), "%s", process_errors(process));
    cr_assert(strstr(process_errors(process), expected) != NULL, "%s", process_errors(process));
    process_destroy(process);
}

Test(tools_shared, where_dead_letters_go_is_chosen_altered_and_described)
{
    expect_said(crier_start(url, "topic", "create", "jobs", "--retry-delay", "1ms", "--deliveries", "1",
                            "--dead-letter", "jobs.failed", NULL),
                "");
    expect_said(crier_start(url, "topic", "describe", "jobs", NULL), "\ndead letters: jobs.failed\n");
    emit("a\nb\n");
    struct process *on = crier_start(url, "on", "jobs", "--group", "pay", "--shared", "--from", "earliest",
                                     "--exec", "read v; test $v = b", NULL);
    expect_said(
        crier_start(url, "on", "jobs.failed", "--from", "earliest", "--count", "1", "--format", "%v", NULL),
        "a\n");
    process_signal(on, SIGTERM);
    process_end(on);
    expect_said(crier_start(url, "group", "redrive", "jobs", NULL), "1 dead letter is back in jobs\n");
    expect_said(crier_start(url, "topic", "alter", "jobs", "--deliveries", "7", "--dead-letter", "", NULL),
                "");
    expect_said(crier_start(url, "topic", "describe", "jobs", "--json", NULL),
                "\"dead_letter\": \"$dead.jobs\"");
}

Test(tools_shared, a_topic_that_can_take_no_dead_letters_is_refused)
{
    expect_said(crier_start(url, "topic", "create", "prices", "--ephemeral", NULL), "");
    expect_said(crier_start(url, "topic", "create", "jobs", NULL), "");
    static const char *const bad[] = {"jobs", "prices", "$scheduled", "a b", "error"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_refused(crier_start(url, "topic", "alter", "jobs", "--dead-letter", bad[i], NULL), 1,
                       "cannot take the dead letters of 'jobs'");
    expect_refused(crier_start(url, "topic", "create", "more", "--dead-letter", "*", NULL), 1,
                   "'*' cannot take the dead letters of 'more'");
    expect_refused(crier_start(url, "topic", "alter", "jobs", "--deliveries", "1001", NULL), 2, "1 to 1000");
    expect_refused(crier_start(url, "topic", "alter", "jobs", "--retry-delay", "25h", NULL), 2, "1ms to 24h");
}
