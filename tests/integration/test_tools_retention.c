/* `crier topic alter`, `delete`, `trim` and what topics keep, against a real broker. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
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

TestSuite(tools_retention, .init = setup, .fini = teardown, .timeout = 120);

static json_t *describe(const char *topic)
{
    json_error_t error;
    struct process *process = crier_start(url, "topic", "describe", topic, "--json", NULL);
    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    json_t *json = json_loads(process_output(process, NULL), 0, &error);
    cr_assert(json != NULL, "%s", error.text);
    process_destroy(process);
    return json;
}

static long long log_start(const char *topic)
{
    json_t *json = describe(topic);
    json_t *partition = json_array_get(json_object_get(json, "partitions"), 0);
    long long start = json_integer_value(json_object_get(partition, "log_start"));
    json_decref(json);
    return start;
}

static long long keeps(const char *topic, const char *what)
{
    json_t *json = describe(topic);
    long long limit = json_integer_value(json_object_get(json_object_get(json, "retention"), what));
    json_decref(json);
    return limit;
}

static void emit_ten(const char *topic)
{
    for (int i = 0; i < 10; i++) /* a batch each */
        cr_assert(eq(int, process_end(crier_start(url, "emit", topic, "x", NULL)), 0));
}

Test(tools_retention, a_trimmed_topic_begins_later)
{
    emit_ten("t");
    cr_assert(eq(int, process_end(crier_start(url, "topic", "trim", "t", "--before", "4", NULL)), 0));
    cr_assert(eq(llong, log_start("t"), 4));
    struct process *on =
        crier_start(url, "on", "t", "--from", "earliest", "--count", "1", "--format", "%o", NULL);
    cr_assert_str_eq(process_line(on), "4");
    cr_assert(eq(int, process_end(on), 0));
    cr_assert(eq(int, process_end(crier_start(url, "topic", "trim", "t", NULL)), 0));
    cr_assert(eq(llong, log_start("t"), 10));
}

Test(tools_retention, the_oldest_events_go_by_count)
{
    struct process *create = crier_start(url, "topic", "create", "t", "--retention-count", "3", NULL);
    cr_assert(eq(int, process_end(create), 0));
    emit_ten("t");
    long long start = 0;
    for (int i = 0; i < 1000 && start != 7;
         i++) /* each takes a process: more than enough for a round, a second */
        start = log_start("t");
    cr_assert(eq(llong, start, 7));
}

Test(tools_retention, settings_are_altered_and_shown)
{
    cr_assert(
        eq(int, process_end(crier_start(url, "topic", "create", "t", "--retention-time", "7d", NULL)), 0));
    cr_assert(eq(llong, keeps("t", "time_ms"), 7 * 24 * 3600 * 1000LL));
    struct process *alter =
        crier_start(url, "topic", "alter", "t", "--retention-bytes", "1G", "--retention-time", "none", NULL);
    cr_assert(eq(int, process_wait(alter), 0), "%s", process_errors(alter));
    process_destroy(alter);
    cr_assert(eq(llong, keeps("t", "time_ms"), 0));
    cr_assert(eq(llong, keeps("t", "bytes"), 1LL << 30));
    struct process *show = crier_start(url, "topic", "describe", "t", NULL);
    cr_assert(eq(int, process_wait(show), 0));
    cr_assert(strstr(process_output(show, NULL), "keeps: 1.1 GB a partition") != NULL, "%s",
              process_output(show, NULL));
    process_destroy(show);
    cr_assert(
        eq(int, process_end(crier_start(url, "topic", "alter", "t", "--retain-until-consumed", NULL)), 0));
    cr_assert(eq(llong, keeps("t", "bytes"), 0), "it takes the place of the limits");
    struct process *both =
        crier_start(url, "topic", "alter", "t", "--retain-until-consumed", "--retention-count", "5", NULL);
    cr_assert(eq(int, process_end(both), 2));
    cr_assert(eq(
        int, process_end(crier_start(url, "topic", "alter", "nowhere", "--retention-count", "5", NULL)), 1));
}

Test(tools_retention, a_quota_of_a_topic_is_set_altered_and_shown)
{
    cr_assert_eq(process_end(crier_start(url, "topic", "create", "t", "--events-max", "1000", NULL)), 0);
    json_t *json = describe("t");
    const json_t *quota = json_object_get(json, "quota");
    cr_assert(eq(llong, json_integer_value(json_object_get(quota, "events_max")), 1000));
    cr_assert_eq(json_typeof(json_object_get(quota, "bytes_max")), JSON_NULL);
    json_decref(json);
    cr_assert_eq(process_end(crier_start(url, "topic", "alter", "t", "--events-max", "none", "--bytes-max",
                                         "2M", NULL)),
                 0);
    json = describe("t");
    quota = json_object_get(json, "quota");
    cr_assert_str_eq(json_string_value(json_object_get(quota, "events_max")), "none");
    cr_assert(eq(llong, json_integer_value(json_object_get(quota, "bytes_max")), 2 << 20));
    json_decref(json);
    struct process *show = crier_start(url, "topic", "describe", "t", NULL);
    cr_assert(eq(int, process_wait(show), 0));
    cr_assert(strstr(process_output(show, NULL), "takes: any number of events and 2.1 MB a second") != NULL,
              "%s", process_output(show, NULL));
    process_destroy(show);
    cr_assert_eq(process_end(crier_start(url, "topic", "alter", "t", "--bytes-max", "default", NULL)), 0);
    json = describe("t");
    cr_assert_eq(json_typeof(json_object_get(json_object_get(json, "quota"), "bytes_max")), JSON_NULL);
    json_decref(json);
    cr_assert_eq(process_end(crier_start(url, "topic", "alter", "t", "--events-max", "0", NULL)), 2);
}

Test(tools_retention, a_deleted_topic_ends_who_listens_and_may_come_again)
{
    emit_ten("t");
    struct process *on = crier_start(url, "on", "t", "--from", "earliest", "--format", "%o", NULL);
    cr_assert_str_eq(process_line(on), "0");
    struct process *gone = crier_start(url, "topic", "delete", "t", NULL);
    cr_assert(eq(int, process_wait(gone), 0), "%s", process_errors(gone));
    cr_assert_str_eq(process_output(gone, NULL), "deleted t\n");
    process_destroy(gone);
    cr_assert(eq(int, process_end(on), 1));
    cr_assert(eq(int, process_end(crier_start(url, "topic", "delete", "t", NULL)), 1));
    cr_assert(eq(int, process_end(crier_start(url, "emit", "t", "anew", NULL)), 0));
    cr_assert(eq(llong, log_start("t"), 0));
    struct process *again = crier_start(url, "on", "t", "--from", "earliest", "--count", "1", NULL);
    cr_assert_str_eq(process_line(again), "anew");
    cr_assert(eq(int, process_end(again), 0));
}

Test(tools_retention, the_time_can_be_confirmed)
{
    cr_assert(eq(int, process_end(crier_start(url, "topic", "confirm-time", NULL)), 0));
}
