/* test_tools_listeners.c: `crier listeners` against a real broker: who is there, then who comes and goes. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static struct broker *broker;
static const char *url;

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert_not_null(broker);
    url = broker_url(broker);
}

static void teardown(void)
{
    cr_assert_eq(broker_destroy(broker), 0);
}

TestSuite(tools_listeners, .init = setup, .fini = teardown, .timeout = 120);

static struct process *listener(const char *topic)
{
    struct process *on = crier_start(url, "on", topic, "--verbose", NULL);
    char text[64];
    snprintf(text, sizeof(text), "listening to %s", topic);
    process_expect_error(on, text);
    return on;
}

static void stop(struct process *process)
{
    process_signal(process, 15);
    (void)process_wait(process);
    process_destroy(process);
}

static void expect_line(struct process *process, const char *what, const char *topic, int listeners)
{
    json_error_t error;
    const char *line = process_line(process);
    json_t *json = line ? json_loads(line, 0, &error) : NULL;
    cr_assert_not_null(json, "%s", line);
    cr_assert_str_eq(json_string_value(json_object_get(json, "what")), what);
    cr_assert_str_eq(json_string_value(json_object_get(json, "topic")), topic);
    cr_assert_eq(json_integer_value(json_object_get(json, "listeners")), listeners);
    json_decref(json);
}

Test(tools_listeners, tells_who_is_there_and_ends)
{
    struct process *on = listener("orders");
    struct process *show = crier_start(url, "listeners", "orders", NULL);
    cr_assert_eq(process_wait(show), 0, "%s", process_errors(show));
    const char *text = process_output(show, NULL);
    cr_assert_eq(strncmp(text, "1 listener of orders\n", 21), 0, "%s", text);
    cr_assert_not_null(strstr(text, "crier on"), "%s", text);
    cr_assert_not_null(strstr(text, "127.0.0.1:"), "%s", text);
    process_destroy(show);
    stop(on);
    show = crier_start(url, "listeners", "orders", NULL);
    cr_assert_eq(process_wait(show), 0);
    cr_assert_str_eq(process_output(show, NULL), "0 listeners of orders\n");
    process_destroy(show);
}

Test(tools_listeners, follows_those_of_a_pattern)
{
    struct process *follow = crier_start(url, "listeners", "orders.*", "--follow", "--json", NULL);
    expect_line(follow, "listeners", "orders.*", 0);
    struct process *on = listener("orders.placed"), *other = listener("orders.paid");
    expect_line(follow, "newListener", "orders.placed", 1);
    expect_line(follow, "newListener", "orders.paid", 1);
    stop(on);
    expect_line(follow, "removeListener", "orders.placed", 0);
    stop(other);
    expect_line(follow, "removeListener", "orders.paid", 0);
    stop(follow);
}

Test(tools_listeners, what_is_no_topic_is_told)
{
    struct process *bad = crier_start(url, "listeners", "a..b", NULL);
    cr_assert_eq(process_wait(bad), 2);
    process_destroy(bad);
    bad = crier_start(url, "listeners", NULL);
    cr_assert_eq(process_wait(bad), 2);
    process_destroy(bad);
}

Test(tools_listeners, how_many_a_topic_should_have_is_set_and_shown)
{
    cr_assert_eq(process_end(crier_start(url, "topic", "create", "t", "--max-listeners", "3", NULL)), 0);
    struct process *show = crier_start(url, "topic", "describe", "t", NULL);
    cr_assert_eq(process_wait(show), 0);
    cr_assert_not_null(strstr(process_output(show, NULL), "listeners: 0, a warning above 3\n"));
    process_destroy(show);
    cr_assert_eq(process_end(crier_start(url, "topic", "alter", "t", "--max-listeners", "0", NULL)), 0);
    show = crier_start(url, "topic", "describe", "t", "--json", NULL);
    cr_assert_eq(process_wait(show), 0);
    cr_assert_not_null(strstr(process_output(show, NULL), "\"max_listeners\": 0"));
    process_destroy(show);
}

/* Who watches must not take the last picture for the present one. */
Test(tools_listeners, follow_tells_of_a_broker_that_is_away_and_is_back)
{
    struct process *watcher = crier_start(url, "listeners", "orders", "--follow", "--json", NULL);
    expect_line(watcher, "listeners", "orders", 0);
    broker_kill(broker);
    process_expect_error(watcher, "the connection was lost");
    cr_assert(broker_restart(broker));
    process_expect_error(watcher, "connected again");
    expect_line(watcher, "listeners", "orders", 0);
    stop(watcher);
}
