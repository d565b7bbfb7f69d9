/* `crier bench e2e` measures a real broker, with every event accounted for. */
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

TestSuite(bench, .init = setup, .fini = teardown, .timeout = 120);

static json_t *result(struct process *process, int status)
{
    json_error_t error;

    cr_assert(eq(int, process_wait(process), status), "%s %s", process_output(process, NULL),
              process_errors(process));
    json_t *json = json_loads(process_output(process, NULL), 0, &error);
    cr_assert(json != NULL, "%s: %s", error.text, process_output(process, NULL));
    process_destroy(process);
    return json;
}

static json_int_t integer(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    cr_assert(value != NULL && json_typeof(value) == JSON_INTEGER, "no integer '%s'", key);
    return json_integer_value(value);
}

static void expect_positive(const json_t *json, const char *key)
{
    cr_assert(json_number_value(json_object_get(json, key)) > 0, "'%s' is not above 0", key);
}

static void expect_clean(const json_t *json)
{
    cr_assert(eq(llong, integer(json, "lost"), 0));
    cr_assert(eq(llong, integer(json, "duplicated"), 0));
    cr_assert(eq(llong, integer(json, "reordered"), 0));
}

Test(bench, one_producer_one_listener_has_every_number)
{
    json_t *json = result(crier_start(url, "bench", "e2e", "--events", "20000", "--size", "100", "--dir",
                                      "/tmp", "--json", NULL),
                          0);

    expect_clean(json);
    expect_positive(json, "events_per_s");
    expect_positive(json, "mb_per_s");
    expect_positive(json, "cpu_s");
    expect_positive(json, "elapsed_s");
    cr_assert(integer(json, "fdatasync_us") >= 0);
    const json_t *latency = json_object_get(json, "latency_us");
    cr_assert(eq(llong, integer(latency, "samples"), 20000));
    cr_assert(integer(latency, "p50") > 0);
    cr_assert(integer(latency, "p50") <= integer(latency, "p99"));
    cr_assert(integer(latency, "p99") <= integer(latency, "p999"));
    cr_assert(integer(latency, "p999") <= integer(latency, "max"));
    json_decref(json);
}

Test(bench, several_producers_and_listeners_get_everything)
{
    json_t *json =
        result(crier_start(url, "bench", "e2e", "--events", "10001", "--size", "16", "--producers", "3",
                           "--listeners", "2", "--durability", "memory", "--dir", "/tmp", "--json", NULL),
               0);
    expect_clean(json);
    cr_assert(eq(llong, integer(json_object_get(json, "latency_us"), "samples"), 2 * 10001));
    json_decref(json);
}

Test(bench, a_second_run_on_the_same_topic_does_not_count_the_first)
{
    for (int i = 0; i < 2; i++) {
        json_t *json = result(crier_start(url, "bench", "e2e", "--events", "1000", "--topic", "again",
                                          "--dir", "/tmp", "--json", NULL),
                              0);
        expect_clean(json);
        cr_assert(eq(llong, integer(json, "strangers"), 0));
        json_decref(json);
    }
}

Test(bench, without_json_it_reads_well)
{
    struct process *bench = crier_start(url, "bench", "e2e", "--events", "1000", "--dir", "/tmp", NULL);
    cr_assert(eq(int, process_wait(bench), 0), "%s", process_errors(bench));
    const char *output = process_output(bench, NULL);
    cr_assert(strncmp(output, "1,000 events of 100 B, durable, 1 producer, 1 listener\n", 55) == 0, "%s",
              output);
    cr_assert(strstr(output, "0 lost, 0 duplicated, 0 reordered") != NULL, "%s", output);
    process_destroy(bench);
}

/* A broker that dies in the middle and stays away: the run ends, is red, and what is missing is counted as lost. */
Test(bench, what_never_arrives_is_lost)
{
    struct process *bench = crier_start(url, "bench", "e2e", "--events", "100000000", "--topic", "cut",
                                        "--dir", "/tmp", "--patience", "500ms", "--json", NULL);
    struct process *on =
        crier_start(url, "on", "cut", "--from", "earliest", "--count", "1", "--format", "%o", NULL);
    cr_assert_str_eq(process_line(on), "0"); /* so it is in the middle */
    broker_kill(broker);
    process_end(on);
    json_t *json = result(bench, 1);
    cr_assert(integer(json, "lost") > 0);
    json_decref(json);
    cr_assert(broker_restart(broker));
}
