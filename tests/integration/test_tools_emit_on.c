/* `crier emit`, `on` and `once` as people and scripts use them: what one emits the other prints. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

TestSuite(emit_on, .init = setup, .fini = teardown, .timeout = 120);

static void emit(const char *topic, const char *value)
{
    cr_assert(eq(int, process_end(crier_start(url, "emit", topic, value, NULL)), 0));
}

/* A listener that is there: what is emitted from now on reaches it. */
static struct process *listening(const char *command, const char *topic)
{
    struct process *process = crier_start(url, command, topic, "--verbose", NULL);
    process_expect_error(process, "listening to");
    return process;
}

static void expect_output(struct process *process, int status, const char *output)
{
    cr_assert(eq(int, process_wait(process), status), "%s", process_errors(process));
    cr_assert_str_eq(process_output(process, NULL), output);
    process_destroy(process);
}

Test(emit_on, what_is_emitted_is_printed_from_the_start_on)
{
    emit("greetings", "hello");
    emit("greetings", "hello again");
    expect_output(crier_start(url, "on", "greetings", "--from", "earliest", "--count", "2", NULL), 0,
                  "hello\nhello again\n");
}

Test(emit_on, a_listener_prints_at_once_and_ends_well_when_stopped)
{
    struct process *on = listening("on", "greetings");

    emit("greetings", "one");
    cr_assert_str_eq(process_line(on), "one");
    emit("greetings", "two");
    cr_assert_str_eq(process_line(on), "two");
    process_signal(on, SIGTERM);
    expect_output(on, 0, "");
}

/* `crier once builds.finished && ./deploy`: who stops the waiting does not want what comes after it. */
Test(emit_on, a_wait_that_is_stopped_before_its_events_have_come_has_failed)
{
    struct process *once = listening("once", "builds.finished");
    process_signal(once, SIGINT);
    process_expect_error(once, "stopped after 0 of 1 events");
    expect_output(once, 1, "");

    struct process *on = crier_start(url, "on", "greetings", "--count", "2", "--verbose", NULL);
    process_expect_error(on, "listening to");
    emit("greetings", "one");
    cr_assert_str_eq(process_line(on), "one");
    process_signal(on, SIGTERM);
    process_expect_error(on, "stopped after 1 of 2 events");
    expect_output(on, 1, "");
}

Test(emit_on, a_live_listener_does_not_print_what_was_before)
{
    emit("greetings", "too early");
    struct process *on = listening("on", "greetings");
    emit("greetings", "in time");
    cr_assert_str_eq(process_line(on), "in time");
    process_signal(on, SIGINT);
    cr_assert(eq(int, process_end(on), 0));
}

/* The broker is killed in between: the topic that came before the reconnect was noticed is heard from its first event. */
Test(emit_on, a_pattern_hears_topics_that_come_later_and_goes_on_after_a_restart)
{
    emit("orders.placed", "one");
    struct process *on = crier_start(url, "on", "orders.**", "--from", "earliest", "--count", "4", "--format",
                                     "%t %v", "--verbose", NULL);
    cr_assert_str_eq(process_line(on), "orders.placed one");
    emit("orders.eu.late", "two");
    emit("stock.low", "not for it");
    cr_assert_str_eq(process_line(on), "orders.eu.late two");
    broker_kill(broker);
    cr_assert(broker_restart(broker));
    emit("orders.new", "three");
    cr_assert_str_eq(process_line(on), "orders.new three");
    emit("orders.placed", "four");
    cr_assert_str_eq(process_line(on), "orders.placed four");
    cr_assert(eq(int, process_wait(on), 0), "%s", process_errors(on));
    process_destroy(on);
}

Test(emit_on, a_pattern_that_is_none_is_refused)
{
    static const char *const wrong[] = {"a*", "a.**.b"};
    for (size_t i = 0; i < 2; i++) {
        struct process *on = crier_start(url, "on", wrong[i], NULL);
        cr_assert(eq(int, process_wait(on), 2));
        cr_assert(strstr(process_errors(on), "no pattern to listen to") != NULL);
        process_destroy(on);
    }
}

Test(emit_on, one_command_listens_to_several_topics)
{
    emit("a", "1");
    emit("b", "2");
    struct process *on =
        crier_start(url, "on", "a", "b", "--from", "earliest", "--count", "2", "--format", "%t=%v", NULL);
    bool a_first = strcmp(process_line(on), "a=1") == 0; /* the order of two topics is nobody's promise */

    cr_assert_str_eq(process_line(on), a_first ? "b=2" : "a=1");
    cr_assert(eq(int, process_end(on), 0));
}

Test(emit_on, once_prints_the_next_event_and_ends)
{
    struct process *once = listening("once", "builds");
    emit("builds", "green");
    emit("builds", "red");
    expect_output(once, 0, "green\n");
}

Test(emit_on, emit_from_standard_input_emits_every_line_and_prints_the_count_last)
{
    enum { COUNT = 5000 };
    struct process *emitter = crier_start(url, "emit", "lines", "-", NULL);
    char *wanted = malloc((size_t)COUNT * 24), *to = wanted;

    cr_assert(wanted != NULL);
    for (int i = 0; i < COUNT; i++)
        to += sprintf(to, i % 7 == 0 ? "\n" : "line %d\n", i);
    process_write(emitter, wanted);
    expect_output(emitter, 0, "acked 5000\n");
    expect_output(crier_start(url, "on", "lines", "--from", "earliest", "--count", "5000", NULL), 0, wanted);
    free(wanted);
}

Test(emit_on, more_input_than_any_buffer_goes_through)
{
    size_t line_size = 200, count = 200000, size = line_size * count; /* 40 MB; the bus buffers 32 MiB */
    char *input = malloc(size);
    struct process *emitter = crier_start(url, "emit", "flood", "-", NULL);

    cr_assert(input != NULL);
    for (size_t i = 0; i < count; i++) {
        memset(input + i * line_size, 'x', line_size);
        input[i * line_size + (size_t)snprintf(input + i * line_size, 16, "%08zu", i)] = ' ';
        input[(i + 1) * line_size - 1] = '\n';
    }
    process_write_bytes(emitter, input, size);
    expect_output(emitter, 0, "acked 200000\n");

    struct process *on = crier_start(url, "on", "flood", "--from", "earliest", "--count", "200000", NULL);
    size_t printed;
    cr_assert(eq(int, process_wait(on), 0));
    const char *output = process_output(on, &printed);
    cr_assert(eq(sz, printed, size));
    cr_assert(memcmp(output, input, size) == 0);
    process_destroy(on);
    free(input);
}

Test(emit_on, keys_headers_and_offsets_come_out_again)
{
    cr_assert(eq(int,
                 process_end(crier_start(url, "emit", "orders", "two socks", "--key", "customer-7",
                                         "--header", "type=text", "--header", "empty=", NULL)),
                 0));
    expect_output(crier_start(url, "on", "orders", "--from", "earliest", "--count", "1", "--format",
                              "%t/%p@%o %k: %v [%h]", NULL),
                  0, "orders/0@0 customer-7: two socks [type=text,empty=]\n");
    struct process *on =
        crier_start(url, "on", "orders", "--from", "0", "--count", "1", "--format", "json", NULL);
    cr_assert(eq(int, process_wait(on), 0));
    const char *json = process_output(on, NULL);
    cr_assert(strstr(json, "\"key\":\"customer-7\"") != NULL, "%s", json);
    cr_assert(strstr(json, "\"headers\":[[\"type\",\"text\"],[\"empty\",\"\"]]") != NULL, "%s", json);
    process_destroy(on);
}

Test(emit_on, an_event_without_a_value_is_told_from_an_empty_one)
{
    cr_assert(eq(int, process_end(crier_start(url, "emit", "marks", NULL)), 0));
    emit("marks", "");
    struct process *on =
        crier_start(url, "on", "marks", "--from", "earliest", "--count", "2", "--format", "json", NULL);
    cr_assert(strstr(process_line(on), "\"value\":null") != NULL);
    cr_assert(strstr(process_line(on), "\"value\":\"\"") != NULL);
    cr_assert(eq(int, process_end(on), 0));
}

Test(emit_on, on_starts_at_an_offset)
{
    struct process *emitter = crier_start(url, "emit", "numbers", "-", NULL);
    process_write(emitter, "zero\none\ntwo\nthree\n");
    cr_assert(eq(int, process_end(emitter), 0));
    expect_output(crier_start(url, "on", "numbers", "--from", "2", "--count", "2", NULL), 0, "two\nthree\n");
}

Test(emit_on, memory_events_arrive_too)
{
    cr_assert(
        eq(int, process_end(crier_start(url, "emit", "quick", "soon", "--durability", "memory", NULL)), 0));
    expect_output(crier_start(url, "on", "quick", "--from", "earliest", "--count", "1", NULL), 0, "soon\n");
}

Test(emit_on, a_group_goes_on_where_it_was)
{
    struct process *emitter = crier_start(url, "emit", "jobs", "-", NULL);
    process_write(emitter, "1\n2\n3\n4\n5\n");
    cr_assert(eq(int, process_end(emitter), 0));

    expect_output(
        crier_start(url, "on", "jobs", "--group", "workers", "--from", "earliest", "--count", "2", NULL), 0,
        "1\n2\n");
    expect_output(
        crier_start(url, "on", "jobs", "--group", "workers", "--from", "earliest", "--count", "2", NULL), 0,
        "3\n4\n");
    emit("jobs", "6");
    expect_output(crier_start(url, "on", "jobs", "--group", "workers", "--count", "2", NULL), 0, "5\n6\n");
}

Test(emit_on, exec_runs_a_command_for_each_event)
{
    char log[4096], command[4200];

    snprintf(log, sizeof(log), "%s/exec.log", broker_data(broker));
    snprintf(command, sizeof(command), "(echo \"$CRIER_TOPIC $CRIER_OFFSET $(cat)\") >> '%s'", log);
    emit("jobs", "one");
    emit("jobs", "two");
    expect_output(
        crier_start(url, "on", "jobs", "--from", "earliest", "--count", "2", "--exec", command, NULL), 0, "");
    FILE *file = fopen(log, "r");
    char text[128] = "";
    cr_assert(file != NULL);
    cr_assert(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    remove(log);
    cr_assert_str_eq(text, "jobs 0 one\njobs 1 two\n");
}

/* The connection to the broker, and whatever else crier has open, is not the command's. */
Test(emit_on, the_command_inherits_no_descriptor_but_the_three)
{
    emit("jobs", "one");
    expect_output(crier_start(url, "on", "jobs", "--from", "earliest", "--count", "1", "--exec",
                              "for fd in /proc/$$/fd/*; do case ${fd##*/} in 0|1|2) ;; *) "
                              "test ! -e $fd || exit 9 ;; esac; done",
                              NULL),
                  0, "");
}

Test(emit_on, exec_with_a_format_gives_the_command_the_event_so_printed)
{
    cr_assert(eq(int, process_end(crier_start(url, "emit", "jobs", "one", "--key", "k", NULL)), 0));
    expect_output(crier_start(url, "on", "jobs", "--from", "earliest", "--count", "1", "--format", "%k=%v",
                              "--exec", "cat", NULL),
                  0, "k=one\n");
}

Test(emit_on, an_event_whose_command_failed_comes_to_the_group_again)
{
    struct process *emitter = crier_start(url, "emit", "jobs", "-", NULL);
    process_write(emitter, "good\nbad\nlater\n");
    cr_assert(eq(int, process_end(emitter), 0));

    struct process *on = crier_start(url, "on", "jobs", "--group", "workers", "--from", "earliest", "--exec",
                                     "read line; echo $line; test $line = good", NULL);
    cr_assert(eq(int, process_wait(on), 1));
    cr_assert_str_eq(process_output(on, NULL), "good\nbad\n");
    cr_assert(strstr(process_errors(on), "ended with status 1 for jobs, partition 0, offset 1") != NULL, "%s",
              process_errors(on));
    process_destroy(on);
    expect_output(crier_start(url, "on", "jobs", "--group", "workers", "--count", "2", NULL), 0,
                  "bad\nlater\n");
}

/* The broker is killed and the command is killed, over and over, in the middle of the file. */
Test(emit_on, a_producer_goes_on_behind_the_last_line_stored_whatever_was_killed)
{
    enum { LINES = 30000, ROUNDS = 6 };
    char text[16], *input = malloc(LINES * sizeof(text));
    size_t size = 0;
    cr_assert(input != NULL);
    for (int i = 1; i <= LINES; i++)
        size += (size_t)sprintf(input + size, "%d\n", i);
    for (int round = 0; round < ROUNDS; round++) {
        struct process *emitter = crier_start(url, "emit", "lines", "-", "--producer", "numbers", NULL);
        struct process *on = crier_start(url, "on", "lines", "--count", "1", NULL);
        process_write_bytes(emitter, input, size / ROUNDS * (size_t)(round + 1));
        if (round % 2)
            broker_kill(broker);
        process_signal(emitter, SIGKILL);
        process_signal(on, SIGKILL);
        process_end(emitter);
        process_end(on);
        if (round % 2)
            cr_assert(broker_restart(broker));
    }
    struct process *last = crier_start(url, "emit", "lines", "-", "--producer", "numbers", NULL);
    process_write_bytes(last, input, size);
    cr_assert(eq(int, process_wait(last), 0), "%s", process_errors(last));
    process_destroy(last);
    snprintf(text, sizeof(text), "%d", LINES);
    struct process *on = crier_start(url, "on", "lines", "--from", "earliest", "--count", text, NULL);
    cr_assert(eq(int, process_wait(on), 0));
    cr_assert_str_eq(process_output(on, NULL), input); /* every line, once, in order */
    process_destroy(on);
    last = crier_start(url, "emit", "lines", "-", "--producer", "numbers", NULL);
    process_write_bytes(last, input, size);
    cr_assert(eq(int, process_wait(last), 0));
    cr_assert_str_eq(process_output(last, NULL), "acked 0\n");
    snprintf(text, sizeof(text), "line %d", LINES + 1);
    cr_assert(strstr(process_errors(last), text) != NULL, "%s", process_errors(last));
    process_destroy(last);
    free(input);
}

Test(emit_on, a_producer_needs_lines)
{
    cr_assert(eq(int, process_end(crier_start(url, "emit", "t", "x", "--producer", "p", NULL)), 2));
}
