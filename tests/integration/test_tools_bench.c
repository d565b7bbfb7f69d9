/* `crier bench` measures a real broker, with every event accounted for. */
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

/* Also before the clock runs. */
Test(bench, a_broker_that_goes_while_the_topic_is_filled_ends_it)
{
    struct process *bench = crier_start(url, "bench", "replay", "--events", "100000000", "--topic", "cut",
                                        "--dir", "/tmp", "--patience", "500ms", NULL);
    struct process *on =
        crier_start(url, "on", "cut", "--from", "earliest", "--count", "1", "--format", "%o", NULL);
    cr_assert_str_eq(process_line(on), "0");
    broker_kill(broker);
    process_end(on);
    process_expect_error(bench, "no event for 500.00 ms: gave up");
    process_expect_error(bench, "could not be filled");
    cr_assert(eq(int, process_end(bench), 1));
    cr_assert(broker_restart(broker));
}

/* Each connection waits for an ack before its next event; in the end the broker holds what was acked, no more. */
Test(bench, emits_are_acked_and_stored_once)
{
    json_t *json =
        result(crier_start(url, "bench", "emit", "--events", "5000", "--connections", "20", "--in-flight",
                           "3", "--producers", "2", "--dir", "/tmp", "--json", NULL),
               0);
    expect_clean(json);
    expect_positive(json, "events_per_s");
    cr_assert(eq(llong, integer(json_object_get(json, "latency_us"), "samples"), 5000));
    json_decref(json);
}

Test(bench, memory_emits_are_counted_when_they_have_arrived)
{
    json_t *json =
        result(crier_start(url, "bench", "emit", "--events", "2000", "--in-flight", "50", "--durability",
                           "memory", "--topic", "counted", "--dir", "/tmp", "--json", NULL),
               0);
    expect_clean(json);
    json_decref(json);
    json = result(crier_start(url, "bench", "emit", "--events", "2000", "--topic", "counted", "--dir", "/tmp",
                              "--json", NULL),
                  0);
    expect_clean(json);
    json_decref(json);
}

Test(bench, a_replay_brings_everything_to_each_listener)
{
    json_t *json = result(crier_start(url, "bench", "replay", "--events", "20000", "--listeners", "2",
                                      "--producers", "2", "--dir", "/tmp", "--json", NULL),
                          0);
    expect_clean(json);
    expect_positive(json, "events_per_s");
    cr_assert(eq(llong, integer(json_object_get(json, "latency_us"), "samples"), 0));
    json_decref(json);
}

/* Half of them are there before; the other half come meanwhile, and behind them. */
Test(bench, a_backlog_and_what_is_emitted_meanwhile_come_to_each_listener)
{
    json_t *json = result(crier_start(url, "bench", "drain", "--events", "20001", "--listeners", "2", "--dir",
                                      "/tmp", "--json", NULL),
                          0);
    expect_clean(json);
    cr_assert(eq(llong, integer(json, "producers"), 2));
    expect_positive(json, "events_per_s");
    json_decref(json);
}

/* Events leave on time: 2,000 at 10,000 a second take at least the time until the last one is due. */
Test(bench, requests_get_their_replies_over_several_connections)
{
    json_t *json = result(crier_start(url, "bench", "request", "--events", "2000", "--connections", "4",
                                      "--in-flight", "3", "--dir", "/tmp", "--json", NULL),
                          0);

    expect_clean(json);
    cr_assert_str_eq(json_string_value(json_object_get(json, "durability")), "ephemeral");
    const json_t *latency = json_object_get(json, "latency_us");
    cr_assert(eq(llong, integer(latency, "samples"), 2000));
    json_decref(json);
}

Test(bench, a_shared_group_settles_each_event_once)
{
    json_t *json = result(crier_start(url, "bench", "shared", "--events", "20001", "--producers", "2",
                                      "--listeners", "3", "--dir", "/tmp", "--json", NULL),
                          0);

    expect_clean(json);
    cr_assert(eq(llong, integer(json, "unsettled"), 0));
    cr_assert(eq(llong, integer(json, "listeners"), 3));
    expect_positive(json, "events_per_s");
    json_decref(json);
}

Test(bench, a_key_ordered_group_keeps_the_order_of_each_key)
{
    json_t *json = result(crier_start(url, "bench", "shared", "--key-ordered", "--keys", "7", "--events",
                                      "5000", "--listeners", "3", "--dir", "/tmp", "--json", NULL),
                          0);

    expect_clean(json);
    cr_assert(eq(llong, integer(json, "unsettled"), 0));
    cr_assert(eq(llong, integer(json, "keys"), 7));
    json_decref(json);
}

Test(bench, an_ephemeral_topic_brings_everything_when_nobody_is_too_slow)
{
    json_t *json = result(
        crier_start(url, "bench", "e2e", "--ephemeral", "--events", "5000", "--dir", "/tmp", "--json", NULL),
        0);

    expect_clean(json);
    cr_assert_str_eq(json_string_value(json_object_get(json, "durability")), "ephemeral");
    json_decref(json);
}

Test(bench, a_rate_is_kept)
{
    json_t *json = result(crier_start(url, "bench", "e2e", "--events", "2000", "--rate", "10000", "--dir",
                                      "/tmp", "--json", NULL),
                          0);
    expect_clean(json);
    cr_assert(json_number_value(json_object_get(json, "elapsed_s")) >= 0.1999);
    json_decref(json);
}

Test(bench, wrong_use_is_told)
{
    struct process *bench = crier_start(url, "bench", "emit", "--connections", "0", NULL);
    cr_assert(eq(int, process_wait(bench), 2));
    cr_assert(strstr(process_errors(bench), "--connections: from 1 to 16384") != NULL);
    process_destroy(bench);
    bench = crier_start(url, "bench", "replay", "--listeners", "0", NULL);
    cr_assert(eq(int, process_wait(bench), 2));
    cr_assert(strstr(process_errors(bench), "--listeners") != NULL);
    process_destroy(bench);
    bench = crier_start(url, "bench", "shared", "--key-ordered", "--keys", "0", NULL);
    cr_assert(eq(int, process_wait(bench), 2));
    cr_assert(strstr(process_errors(bench), "--keys: from 1 to 1048576") != NULL);
    process_destroy(bench);
}
