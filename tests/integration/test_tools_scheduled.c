/* test_tools_scheduled.c: `crier emit --delay` and `--at`, `crier scheduled list` and `cancel` against a real broker. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
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

TestSuite(tools_scheduled, .init = setup, .fini = teardown, .timeout = 120);

/* output, error: what has to be in it. */
static void expect(struct process *process, int status, const char *output, const char *error)
{
    cr_assert(eq(int, process_wait(process), status), "%s", process_errors(process));
    cr_assert(strstr(process_output(process, NULL), output) != NULL, "%s", process_output(process, NULL));
    cr_assert(strstr(process_errors(process), error) != NULL, "%s", process_errors(process));
    process_destroy(process);
}

/* An hour ahead; what it is called. */
static void schedule(const char *topic, char id[64])
{
    struct process *emit = crier_start(url, "emit", topic, "x", "--delay", "1h", NULL);
    cr_assert(eq(int, sscanf(process_line(emit), "scheduled %63s", id), 1));
    cr_assert_str_eq(process_line(emit), "acked 1");
    cr_assert(eq(int, process_end(emit), 0));
}

/* The array is returned; json_decref() frees it. */
static json_t *list_json(const char *topic)
{
    struct process *list = crier_start(url, "scheduled", "list", "--json", topic, NULL);
    cr_assert(eq(int, process_wait(list), 0), "%s", process_errors(list));
    json_error_t error;
    json_t *array = json_loads(process_output(list, NULL), 0, &error);
    cr_assert(array != NULL, "%s", error.text);
    process_destroy(list);
    return array;
}

Test(tools_scheduled, what_was_delayed_comes_after_a_restart_too)
{
    struct process *on = crier_start(url, "on", "t", "--count", "3", "--verbose", NULL);
    process_expect_error(on, "listening to t");
    struct process *emit = crier_start(url, "emit", "t", "-", "--delay", "300ms", NULL);
    process_write(emit, "one\ntwo\n");
    process_close_input(emit);
    expect(emit, 0, "acked 2", "");
    broker_kill(broker);
    cr_assert(broker_restart(broker));
    expect(crier_start(url, "emit", "t", "three", "--at", "2026-01-01", NULL), 0, "scheduled ",
           ""); /* past */
    cr_assert(eq(int, process_wait(on), 0), "%s", process_errors(on));
    const char *heard = process_output(on, NULL);
    cr_assert(strstr(heard, "one") && strstr(heard, "two") && strstr(heard, "three"), "%s", heard);
    process_destroy(on);
}

Test(tools_scheduled, what_waits_is_listed_for_people_and_scripts)
{
    char first[64], second[64], line[96];
    schedule("a", first);
    schedule("b", second);
    snprintf(line, sizeof(line), "\n%s ", first);
    expect(crier_start(url, "scheduled", "list", NULL), 0, line, "");
    expect(crier_start(url, "scheduled", "list", NULL), 0, "2 listed, 2 wait", "");
    expect(crier_start(url, "scheduled", "list", "--count", "1", NULL), 0, "1 listed, 2 wait", "");
    json_t *all = list_json(NULL), *of_b = list_json("b");
    cr_assert(eq(sz, json_array_size(all), 2));
    cr_assert(eq(sz, json_array_size(of_b), 1));
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(of_b, 0), "id")), second);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(of_b, 0), "topic")), "b");
    cr_assert_gt(json_integer_value(json_object_get(json_array_get(of_b, 0), "due_us")), 0);
    json_decref(all);
    json_decref(of_b);
}

Test(tools_scheduled, what_is_canceled_is_gone_and_what_is_not_there_is_told)
{
    char first[64], second[64];
    schedule("t", first);
    schedule("t", second);
    expect(crier_start(url, "scheduled", "cancel", first, second, NULL), 0, second, "");
    expect(crier_start(url, "scheduled", "list", NULL), 0, "0 listed, 0 wait", "");
    expect(crier_start(url, "scheduled", "cancel", first, NULL), 1, "", "no schedule");
    expect(crier_start(url, "scheduled", "cancel", "x", NULL), 1, "", "crier scheduled list");
}

Test(tools_scheduled, what_the_broker_refuses_is_told)
{
    expect(crier_start(url, "topic", "create", "now", "--ephemeral", NULL), 0, "created", "");
    expect(crier_start(url, "emit", "now", "x", "--delay", "1h", NULL), 1, "acked 0",
           "not stored: nothing comes later into an ephemeral topic");
}

Test(tools_scheduled, wrong_use_is_told)
{
    expect(crier_start(url, "emit", "t", "x", "--delay", "1h", "--at", "2027-01-01", NULL), 2, "",
           "not both");
    expect(crier_start(url, "emit", "t", "x", "--at", "9999-01-01", NULL), 2, "", "at most 17 years");
    expect(crier_start(url, "emit", "t", "x", "--delay", "soon", NULL), 2, "", "--delay");
    expect(crier_start(url, "emit", "t", "x", "--at", "15m", NULL), 2, "", "no time");
    expect(crier_start(url, "emit", "t", "x", "--delay", "1h", "--durability", "memory", NULL), 2, "",
           "durable");
    expect(crier_start(url, "scheduled", "list", "a", "b", NULL), 2, "", "one topic only");
    expect(crier_start(url, "scheduled", "cancel", NULL), 2, "", "which one?");
    expect(crier_start(url, "scheduled", "list", "a b", NULL), 2, "", "a b");
}
