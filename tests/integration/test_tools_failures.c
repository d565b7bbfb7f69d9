/* What goes wrong around `crier`: no broker, time running out, a reader that leaves, signals. Each has its exit status
 * and a sentence that helps, and `acked N` never claims more than is there. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

TestSuite(failures, .init = setup, .fini = teardown, .timeout = 120);

static void expect_failure(struct process *process, const char *sentence)
{
    cr_assert(eq(int, process_wait(process), 1), "%s", process_errors(process));
    cr_assert(strstr(process_errors(process), sentence) != NULL, "no '%s' in: %s", sentence,
              process_errors(process));
    process_destroy(process);
}

/* The number in the last line, "acked N". */
static long acked(struct process *process)
{
    const char *output = process_output(process, NULL), *last = strstr(output, "acked ");
    cr_assert(last != NULL, "%s", output);
    cr_assert(strchr(last, '\n') != NULL && strchr(last, '\n')[1] == '\0', "acked N is not last: %s", output);
    return atol(last + strlen("acked "));
}

static long events_in(const char *topic)
{
    struct process *describe = crier_start(url, "topic", "describe", topic, "--json", NULL);

    cr_assert(eq(int, process_wait(describe), 0), "%s", process_errors(describe));
    json_t *json = json_loads(process_output(describe, NULL), 0, NULL);
    const json_t *events = json_object_get(json, "events");
    cr_assert(events != NULL, "%s", process_output(describe, NULL));
    long count = (long)json_integer_value(events);
    json_decref(json);
    process_destroy(describe);
    return count;
}

Test(failures, without_a_broker_every_command_says_how_to_start_one)
{
    cr_assert(eq(int, broker_stop(broker), 0));
    expect_failure(crier_start(url, "emit", "topic", "value", NULL), "crierd --data ./data");
    expect_failure(crier_start(url, "on", "topic", NULL), "crierd --data ./data");
    expect_failure(crier_start(url, "ping", NULL), "crierd --data ./data");
    expect_failure(crier_start(url, "topic", "list", NULL), "crierd --data ./data");
    expect_failure(crier_start(url, "bench", "e2e", "--dir", "/tmp", NULL), "crierd --data ./data");
    expect_failure(crier_start(url, "verify", NULL), "Connection refused");
    expect_failure(crier_start("unix:/nowhere/socket", "ping", NULL), "No such file or directory");
}

Test(failures, emit_without_a_broker_prints_that_nothing_was_acked)
{
    cr_assert(eq(int, broker_stop(broker), 0));
    struct process *emitter = crier_start(url, "emit", "topic", "-", NULL);
    process_write(emitter, "one\n");
    cr_assert(eq(int, process_wait(emitter), 1));
    cr_assert(eq(long, acked(emitter), 0));
    process_destroy(emitter);
}

Test(failures, a_name_no_topic_can_have_is_wrong_use_with_the_rules)
{
    static const char *const names[] = {"a*b", "a..b", "$broker", "error", "two words"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct process *uses[] = {crier_start(url, "emit", names[i], "value", NULL),
                                  crier_start(url, "on", names[i], NULL),
                                  crier_start(url, "topic", "create", names[i], NULL)};
        for (size_t use = 0; use < sizeof(uses) / sizeof(uses[0]); use++) {
            cr_assert(eq(int, process_wait(uses[use]), 2), "%s, use %zu", names[i], use);
            cr_assert(strstr(process_errors(uses[use]), "is no topic name") != NULL, "%s",
                      process_errors(uses[use]));
            process_destroy(uses[use]);
        }
    }
}

Test(failures, a_timeout_without_count_is_a_normal_end)
{
    struct process *on = crier_start(url, "on", "quiet", "--timeout", "50ms", NULL);
    cr_assert(eq(int, process_wait(on), 0));
    cr_assert_str_eq(process_output(on, NULL), "");
    process_destroy(on);
}

Test(failures, a_timeout_before_the_count_is_a_failure_that_says_how_far_it_got)
{
    cr_assert(eq(int, process_end(crier_start(url, "emit", "few", "one", NULL)), 0));
    expect_failure(
        crier_start(url, "on", "few", "--from", "earliest", "--count", "2", "--timeout", "200ms", NULL),
        "1 of 2 events");
    expect_failure(crier_start(url, "once", "few", "--timeout", "50ms", NULL), "0 of 1 events");
}

Test(failures, a_reader_that_leaves_ends_the_listener)
{
    struct process *on = crier_start(url, "on", "greetings", "--verbose", NULL);
    process_expect_error(on, "listening to");
    process_close_output(on);
    cr_assert(eq(int, process_end(crier_start(url, "emit", "greetings", "hello", NULL)), 0));
    cr_assert(eq(int, process_end(on), 1));
}

Test(failures, what_could_not_be_printed_comes_to_the_group_again)
{
    struct process *on =
        crier_start(url, "on", "jobs", "--group", "workers", "--from", "earliest", "--verbose", NULL);
    process_expect_error(on, "listening to");
    process_close_output(on);
    cr_assert(eq(int, process_end(crier_start(url, "emit", "jobs", "one", NULL)), 0));
    cr_assert(eq(int, process_end(on), 1));

    on = crier_start(url, "on", "jobs", "--group", "workers", "--count", "1", NULL);
    cr_assert_str_eq(process_line(on), "one");
    cr_assert(eq(int, process_end(on), 0));
}

/* It has failed: `crier emit lines - <batch && rm batch` must not go on. */
Test(failures, a_stopped_emit_prints_what_was_acked_and_that_is_what_is_there)
{
    struct process *on = crier_start(url, "on", "lines", "--verbose", NULL);
    process_expect_error(on, "listening to");
    struct process *emitter = crier_start(url, "emit", "lines", "-", NULL);
    process_write(emitter, "1\n2\n3\n4\n5\n");
    cr_assert_str_eq(process_line(on), "1"); /* so it has read its first lines */
    process_signal(emitter, SIGTERM);
    process_expect_error(emitter, "stopped before the input had ended");
    cr_assert(eq(int, process_wait(emitter), 1));
    cr_assert(eq(long, acked(emitter), events_in("lines")));
    process_destroy(emitter);
    process_signal(on, SIGTERM);
    cr_assert(eq(int, process_end(on), 0));
}

/* The main thread waits for the command then, and nothing interrupts it. */
Test(failures, a_second_signal_ends_it_although_a_command_hangs)
{
    char fifo[256], command[512];
    snprintf(fifo, sizeof(fifo), "%s/never", broker_data(broker));
    cr_assert(eq(int, mkfifo(fifo, 0600), 0));
    int fd = open(fifo, O_RDWR | O_CLOEXEC);
    cr_assert(ge(int, fd, 0));
    snprintf(command, sizeof(command), "echo hanging >&2; exec >/dev/null 2>&1; read line <'%s'", fifo);
    cr_assert(eq(int, process_end(crier_start(url, "emit", "jobs", "one", NULL)), 0));
    struct process *on = crier_start(url, "on", "jobs", "--from", "earliest", "--exec", command, NULL);
    process_expect_error(on, "hanging");
    process_signal(on, SIGTERM);
    process_signal(on, SIGINT);
    int status = process_wait(on);
    cr_assert(status == 128 + SIGINT || status == 128 + SIGTERM, "%d", status);
    process_destroy(on);
    cr_assert(eq(long, write(fd, "\n", 1), 1)); /* and the command goes too */
    close(fd);
}

/* Its own signals are blocked in crier: a command gets them as ever. */
Test(failures, a_command_can_be_ended_by_a_signal)
{
    cr_assert(eq(int, process_end(crier_start(url, "emit", "jobs", "one", NULL)), 0));
    expect_failure(
        crier_start(url, "on", "jobs", "--from", "earliest", "--exec", "kill -TERM $$; exec sleep 60", NULL),
        "was ended by signal 15");
}

Test(failures, a_line_too_long_for_an_event_is_named_and_what_was_before_it_is_acked)
{
    size_t size = 17u * 1024 * 1024;
    char *line = malloc(size);
    struct process *emitter = crier_start(url, "emit", "lines", "-", NULL);

    cr_assert(line != NULL);
    memset(line, 'x', size);
    line[size - 1] = '\n';
    process_write(emitter, "one\ntwo\n");
    process_write_bytes(emitter, line, size);
    process_write(emitter, "four\n");
    cr_assert(eq(int, process_wait(emitter), 1));
    cr_assert(strstr(process_errors(emitter), "line 3 has") != NULL, "%s", process_errors(emitter));
    cr_assert(eq(long, acked(emitter), 2));
    process_destroy(emitter);
    cr_assert(eq(long, events_in("lines"), 2));
    free(line);
}

Test(failures, emit_survives_a_broker_that_comes_back)
{
    struct process *emitter = crier_start(url, "emit", "lines", "-", NULL);
    struct process *on = crier_start(url, "on", "lines", "--from", "earliest", "--verbose", NULL);

    process_expect_error(on, "listening to");
    process_write(emitter, "before\n");
    cr_assert_str_eq(process_line(on), "before");
    broker_kill(broker);
    process_expect_error(on, "the connection was lost");
    process_write(emitter, "meanwhile\n");
    cr_assert(broker_restart(broker));
    process_write(emitter, "after\n");
    cr_assert(eq(int, process_wait(emitter), 0), "%s", process_errors(emitter));
    cr_assert(eq(long, acked(emitter), 3));
    process_destroy(emitter);
    cr_assert_str_eq(process_line(on), "meanwhile");
    cr_assert_str_eq(process_line(on), "after");
    process_signal(on, SIGTERM);
    cr_assert(eq(int, process_end(on), 0));
}

/* `crier peek orders --count 0 >copy`: what ends with status 0 is all there was. */
Test(failures, a_peek_that_loses_the_broker_in_the_middle_has_failed)
{
    size_t size = 32u * 1024 * 1024; /* more than is on its way at a time */
    char *lines = malloc(size);
    cr_assert(lines != NULL);
    memset(lines, 'x', size);
    for (size_t end = 1024; end <= size; end += 1024)
        lines[end - 1] = '\n';
    struct process *emitter = crier_start(url, "emit", "lines", "-", NULL);
    process_write_bytes(emitter, lines, size);
    cr_assert(eq(int, process_end(emitter), 0));
    free(lines);

    struct process *peek = crier_start(url, "peek", "lines", "--count", "0", "--timeout", "100ms", NULL);
    process_line(peek); /* it has begun, and waits until somebody reads on */
    broker_kill(broker);
    expect_failure(peek, "topic 'lines' cannot be read any further");
    cr_assert(broker_restart(broker));
}

Test(failures, emit_gives_up_without_a_broker_and_says_what_was_acked)
{
    struct process *on = crier_start(url, "on", "lines", "--verbose", NULL);
    process_expect_error(on, "listening to");
    struct process *emitter = crier_start(url, "emit", "lines", "-", "--patience", "300ms", NULL);
    process_write(emitter, "before\n");
    cr_assert_str_eq(process_line(on), "before");
    broker_kill(broker);
    process_write(emitter, "lost\n");
    process_expect_error(emitter, "gave up");
    cr_assert(eq(int, process_wait(emitter), 1));
    cr_assert(acked(emitter) <= 1);
    process_destroy(emitter);
    process_signal(on, SIGTERM);
    process_end(on);
    cr_assert(broker_restart(broker));
}

/* `crier WORDS`, run by a shell with `redirection`: the first line of its standard error, "" if there is none. */
static int run_with(const char *redirection, const char *words, char *ret_line, int size)
{
    char command[4096];
    snprintf(command, sizeof(command), "exec timeout 60 '%s' --url %s %s 2>&1 %s", CRIER_PATH, url, words,
             redirection);
    FILE *errors = popen(command, "r");
    cr_assert(errors != NULL);
    if (fgets(ret_line, size, errors) == NULL)
        ret_line[0] = '\0';
    return WEXITSTATUS(pclose(errors));
}

Test(failures, a_full_disk_behind_the_output_is_a_failure_with_a_reason)
{
    static const char *const words[] = {"emit greetings hello",
                                        "on greetings --from earliest --count 1",
                                        "peek greetings",
                                        "topic list",
                                        "--help",
                                        "--version",
                                        "topic --help"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char reason[128];
        int status = run_with(">/dev/full", words[i], reason, sizeof(reason));
        cr_assert(strstr(reason, "cannot write the output: No space left") != NULL, "%s: %s", words[i],
                  reason);
        cr_assert(eq(int, status, 1), "%s", words[i]);
    }
}

/* Else the number is given to a socket of its own, which is then read as input, or printed to. */
Test(failures, a_closed_input_or_output_is_a_failure_with_a_reason)
{
    char reason[128];
    cr_assert(eq(int, run_with(">/dev/null <&-", "emit greetings -", reason, sizeof(reason)), 1));
    cr_assert(strstr(reason, "cannot read standard input: Bad file descriptor") != NULL, "%s", reason);
    cr_assert(eq(int, run_with(">&-", "emit greetings hello", reason, sizeof(reason)), 1));
    cr_assert(strstr(reason, "cannot write the output: Bad file descriptor") != NULL, "%s", reason);
}

Test(failures, a_reader_that_has_seen_enough_is_nothing_to_talk_about)
{
    struct process *peek;
    char lines[4096 * 16 + 1];
    memset(lines, '\n', sizeof(lines) - 1); /* more than a pipe and the buffers hold */
    lines[sizeof(lines) - 1] = '\0';
    struct process *emitter = crier_start(url, "emit", "lines", "-", NULL);
    process_write(emitter, lines);
    cr_assert(eq(int, process_end(emitter), 0));
    peek = crier_start(url, "peek", "lines", "--count", "0", NULL);
    process_line(peek);
    process_close_output(peek);
    cr_assert(eq(int, process_wait(peek), 1));
    cr_assert_str_eq(process_errors(peek), "");
    process_destroy(peek);
}
