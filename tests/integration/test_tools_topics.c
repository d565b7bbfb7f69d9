/* `crier topic` and `crier ping` against a real broker. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
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

TestSuite(topics, .init = setup, .fini = teardown, .timeout = 120);

static json_t *json_of(struct process *process)
{
    json_error_t error;

    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    json_t *json = json_loads(process_output(process, NULL), 0, &error);
    cr_assert(json != NULL, "%s: %s", error.text, process_output(process, NULL));
    process_destroy(process);
    return json;
}

Test(topics, a_created_topic_is_listed_and_described)
{
    struct process *create =
        crier_start(url, "topic", "create", "orders", "--partitions", "3", "--durability", "memory", NULL);
    cr_assert(eq(int, process_wait(create), 0), "%s", process_errors(create));
    cr_assert_str_eq(process_output(create, NULL), "created orders\n");
    process_destroy(create);

    json_t *list = json_of(crier_start(url, "topic", "list", "--json", NULL));
    cr_assert(eq(sz, json_array_size(list), 1));
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "name")), "orders");
    json_decref(list);

    json_t *topic = json_of(crier_start(url, "topic", "describe", "orders", "--json", NULL));
    cr_assert(eq(sz, json_array_size(json_object_get(topic, "partitions")), 3));
    cr_assert_str_eq(json_string_value(json_object_get(topic, "durability")), "memory");
    json_decref(topic);
}

Test(topics, describe_counts_the_events)
{
    struct process *emitter = crier_start(url, "emit", "lines", "-", NULL);
    process_write(emitter, "1\n2\n3\n");
    cr_assert(eq(int, process_end(emitter), 0));

    json_t *topic = json_of(crier_start(url, "topic", "describe", "lines", "--json", NULL));
    cr_assert(eq(llong, json_integer_value(json_object_get(topic, "events")), 3));
    json_decref(topic);

    struct process *describe = crier_start(url, "topic", "describe", "lines", NULL);
    cr_assert(eq(int, process_wait(describe), 0));
    cr_assert(strstr(process_output(describe, NULL), "lines: 1 partition, durable, created 20") != NULL, "%s",
              process_output(describe, NULL));
    process_destroy(describe);
}

Test(topics, creating_it_again_fails_and_names_the_command_that_shows_it)
{
    cr_assert(eq(int, process_end(crier_start(url, "topic", "create", "orders", NULL)), 0));
    struct process *again = crier_start(url, "topic", "create", "orders", NULL);
    cr_assert(eq(int, process_wait(again), 1));
    cr_assert(strstr(process_errors(again), "crier topic describe orders") != NULL, "%s",
              process_errors(again));
    process_destroy(again);
}

Test(topics, an_unknown_topic_fails_and_names_the_command_that_makes_it)
{
    struct process *describe = crier_start(url, "topic", "describe", "nowhere", NULL);
    cr_assert(eq(int, process_wait(describe), 1));
    cr_assert(strstr(process_errors(describe), "crier topic create nowhere") != NULL, "%s",
              process_errors(describe));
    process_destroy(describe);
}

Test(topics, a_broker_without_topics_lists_none)
{
    json_t *list = json_of(crier_start(url, "topic", "list", "--json", NULL));
    cr_assert(eq(sz, json_array_size(list), 0));
    json_decref(list);
}

Test(topics, ping_tells_each_round_trip_and_a_summary)
{
    struct process *ping = crier_start(url, "ping", "--count", "3", NULL);
    for (int i = 0; i < 3; i++)
        cr_assert(strncmp(process_line(ping), url, strlen(url)) == 0);
    cr_assert(strncmp(process_line(ping), "3 round trips: p50 ", strlen("3 round trips: p50 ")) == 0);
    cr_assert(eq(int, process_end(ping), 0));
}

Test(topics, the_broker_is_found_by_the_environment_too)
{
    setenv("CRIER_URL", url, 1);
    cr_assert(eq(int, process_end(crier_start(NULL, "ping", "--count", "1", NULL)), 0));
    cr_assert(eq(
        int, process_end(crier_start("crier://127.0.0.1:1", "ping", "--url", url, "--count", "1", NULL)), 0));
    cr_assert(eq(int, process_end(crier_start("crier://127.0.0.1:1", "ping", "--count", "1", NULL)), 1));
}
