/* `crier topic` and `crier ping` against a real broker. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
#include <signal.h>
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
    cr_assert_str_eq(json_string_value(json_object_get(topic, "dead_letter")), "$dead.lines");
    json_decref(topic);

    struct process *describe = crier_start(url, "topic", "describe", "lines", NULL);
    cr_assert(eq(int, process_wait(describe), 0));
    cr_assert(strstr(process_output(describe, NULL), "lines: 1 partition, durable, created 20") != NULL, "%s",
              process_output(describe, NULL));
    cr_assert(strstr(process_output(describe, NULL), "\ndead letters: $dead.lines\n") != NULL);
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

static const char *printed_by(struct process *process, char *to, size_t size)
{
    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    snprintf(to, size, "%s", process_output(process, NULL));
    process_destroy(process);
    return to;
}

static void emit_lines(const char *topic, const char *lines)
{
    struct process *emitter = crier_start(url, "emit", topic, "-", NULL);
    process_write(emitter, lines);
    cr_assert(eq(int, process_end(emitter), 0));
}

#define PEEK(...) printed_by(crier_start(url, "peek", "lines", __VA_ARGS__, NULL), text, sizeof(text))

Test(topics, peek_prints_what_is_there_and_moves_nobody)
{
    char text[1024];
    emit_lines("lines", "1\n2\n3\n");
    cr_assert(eq(
        int,
        process_end(crier_start(url, "on", "lines", "--group", "g", "--from", "earliest", "-n", "1", NULL)),
        0));
    cr_assert_str_eq(PEEK("--format", "%p:%o %v"), "0:0 1\n0:1 2\n0:2 3\n");
    cr_assert_str_eq(PEEK("--count", "2", "--format", "%v"), "1\n2\n");
    cr_assert_str_eq(PEEK("--last", "1", "--format", "%v"), "3\n");
    cr_assert_str_eq(PEEK("--from", "1", "--format", "%v"), "2\n3\n");
    cr_assert_not_null(strstr(PEEK("--format", "json"), "\"offset\""));
    json_t *groups = json_of(crier_start(url, "group", "list", "--json", NULL));
    cr_assert(eq(sz, json_array_size(groups), 1));
    json_decref(groups);
    struct process *rest = crier_start(url, "on", "lines", "--group", "g", "-n", "2", NULL);
    cr_assert_str_eq(printed_by(rest, text, sizeof(text)), "2\n3\n");
}

Test(topics, peek_makes_no_topic_and_says_what_cannot_be_looked_at)
{
    struct process *peek = crier_start(url, "peek", "nowhere", NULL);
    cr_assert(eq(int, process_wait(peek), 1));
    cr_assert_not_null(strstr(process_errors(peek), "no topic 'nowhere'"));
    process_destroy(peek);
    json_t *list = json_of(crier_start(url, "topic", "list", "--json", NULL));
    cr_assert(eq(sz, json_array_size(list), 0));
    json_decref(list);
    cr_assert(eq(int, process_end(crier_start(url, "topic", "create", "now", "--ephemeral", NULL)), 0));
    peek = crier_start(url, "peek", "now", NULL);
    cr_assert(eq(int, process_wait(peek), 1));
    cr_assert_not_null(strstr(process_errors(peek), "ephemeral"));
    process_destroy(peek);
    cr_assert(eq(int, process_end(crier_start(url, "peek", "now", "--last", "1", "--from", "3", NULL)), 2));
}

Test(topics, purge_takes_the_events_and_leaves_the_topic)
{
    char text[1024];
    emit_lines("lines", "1\n2\n3\n");
    cr_assert_str_eq(printed_by(crier_start(url, "topic", "purge", "lines", NULL), text, sizeof(text)),
                     "purged lines: about 3 events\n");
    cr_assert_str_eq(PEEK("--format", "%v"), "");
    emit_lines("lines", "4\n");
    cr_assert_str_eq(PEEK("--format", "%o %v"), "3 4\n");
    struct process *purge = crier_start(url, "topic", "purge", "nowhere", NULL);
    cr_assert(eq(int, process_wait(purge), 1));
    cr_assert_not_null(strstr(process_errors(purge), "no topic 'nowhere'"));
    process_destroy(purge);
}

Test(topics, describe_says_who_listens)
{
    char text[4096];
    struct process *on = crier_start(url, "on", "lines", "--group", "billing", "--verbose", NULL);
    process_expect_error(on, "listening to lines");
    const char *table = printed_by(crier_start(url, "topic", "describe", "lines", NULL), text, sizeof(text));
    cr_assert_not_null(strstr(table, "listeners: 1\n"), "%s", table);
    cr_assert_not_null(strstr(table, "crier on"), "%s", table);
    cr_assert_not_null(strstr(table, "billing"), "%s", table);
    json_t *topic = json_of(crier_start(url, "topic", "describe", "lines", "--json", NULL));
    json_t *who = json_array_get(json_object_get(topic, "who"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(who, "client")), "crier on");
    cr_assert_eq(strncmp(json_string_value(json_object_get(who, "address")), "127.0.0.1:", 10), 0);
    cr_assert_str_eq(json_string_value(json_object_get(who, "group")), "billing");
    json_decref(topic);
    process_signal(on, SIGTERM);
    (void)process_end(on);
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

static void expect_refused(struct process *process, const char *sentence)
{
    cr_assert(eq(int, process_wait(process), 1), "%s", process_errors(process));
    cr_assert(strstr(process_errors(process), sentence) != NULL, "no '%s' in: %s", sentence,
              process_errors(process));
    process_destroy(process);
}

/* An ephemeral topic, and those of the broker's own: what cannot be done to them is told as what it is. */
Test(topics, what_a_topic_is_too_special_for_is_told)
{
    cr_assert(eq(int, process_end(crier_start(url, "topic", "create", "now", "--ephemeral", NULL)), 0));
    expect_refused(crier_start(url, "topic", "alter", "now", "--retention-time", "1h", NULL),
                   "it is ephemeral");
    expect_refused(crier_start(url, "topic", "alter", "now", "--durability", "memory", NULL),
                   "it is ephemeral");
    cr_assert(eq(int, process_end(crier_start(url, "emit", "later", "x", "--delay", "1h", NULL)), 0));
    expect_refused(crier_start(url, "topic", "trim", "$scheduled", NULL), "it is the broker's own");
    expect_refused(crier_start(url, "topic", "delete", "$scheduled", NULL), "it is the broker's own");
    expect_refused(crier_start(url, "topic", "alter", "$scheduled", "--retention-time", "1h", NULL),
                   "it is the broker's own");
}
