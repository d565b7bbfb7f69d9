/* `crier group` against a real broker, and `crier on --group` in several processes at once. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS_MAX 2000 /* at the group, each a process of its own: until it is as it should be */

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

TestSuite(tools_groups, .init = setup, .fini = teardown, .timeout = 120);

static json_t *json_of(struct process *process)
{
    json_error_t error;

    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    json_t *json = json_loads(process_output(process, NULL), 0, &error);
    cr_assert(json != NULL, "%s: %s", error.text, process_output(process, NULL));
    process_destroy(process);
    return json;
}

static void expect_done(struct process *process, const char *output)
{
    cr_assert(eq(int, process_wait(process), 0), "%s", process_errors(process));
    cr_assert(strstr(process_output(process, NULL), output) != NULL, "%s", process_output(process, NULL));
    process_destroy(process);
}

static void expect_failed(struct process *process, const char *error)
{
    cr_assert(eq(int, process_wait(process), 1));
    cr_assert(strstr(process_errors(process), error) != NULL, "%s", process_errors(process));
    process_destroy(process);
}

static void topic_create(const char *partitions)
{
    cr_assert(eq(
        int, process_end(crier_start(url, "topic", "create", "jobs", "--partitions", partitions, NULL)), 0));
}

static void emit_lines(const char *key, int first, int count)
{
    char line[32];
    struct process *emitter = crier_start(url, "emit", "jobs", "-", "--key", key, NULL);
    for (int i = first; i < first + count; i++) {
        snprintf(line, sizeof(line), "%s %d\n", key, i);
        process_write(emitter, line);
    }
    cr_assert(eq(int, process_end(emitter), 0));
}

/* Ten events in partition 0 of "jobs", handled by the group "workers", which is gone again. */
static void group_made(void)
{
    topic_create("1");
    emit_lines("a", 0, 10);
    expect_done(
        crier_start(url, "on", "jobs", "--group", "workers", "--from", "earliest", "--count", "6", NULL),
        "a 5");
}

static json_t *partition_of(json_t *description, size_t partition)
{
    json_t *topics = json_object_get(description, "topics");
    return json_array_get(json_object_get(topics, "jobs"), partition);
}

static long long number_of(json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static long long position(void)
{
    json_t *group = json_of(crier_start(url, "group", "describe", "workers", "jobs", "--json", NULL));
    long long value = number_of(partition_of(group, 0), "position");
    json_decref(group);
    return value;
}

Test(tools_groups, a_group_is_listed_and_described_with_its_lag)
{
    group_made();
    json_t *list = json_of(crier_start(url, "group", "list", "--json", NULL));
    cr_assert(eq(sz, json_array_size(list), 1));
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "name")), "workers");
    json_decref(list);
    expect_done(crier_start(url, "group", "list", NULL), "workers ");

    json_t *group = json_of(crier_start(url, "group", "describe", "workers", "--json", NULL));
    cr_assert(eq(llong, number_of(group, "members"), 0));
    cr_assert(eq(llong, number_of(partition_of(group, 0), "position"), 6));
    cr_assert(eq(llong, number_of(partition_of(group, 0), "high_watermark"), 10));
    cr_assert(eq(llong, number_of(partition_of(group, 0), "lag"), 4));
    cr_assert(eq(int, json_is_null(json_object_get(partition_of(group, 0), "member")), 1));
    json_decref(group);
    expect_done(crier_start(url, "group", "describe", "workers", "jobs", NULL), "LAG  MEMBER");
}

Test(tools_groups, a_seek_moves_the_position_anywhere)
{
    static const struct {
        const char *place;
        long long position;
    } rows[] = {{"earliest", 0}, {"latest", 10}, {"3", 3}, {"2000-01-01", 0}, {"1h", 0}, {"10", 10}};
    group_made();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect_done(crier_start(url, "group", "seek", "workers", "jobs", rows[i].place, NULL),
                    "moved workers");
        cr_assert(eq(llong, position(), rows[i].position), "%s", rows[i].place);
    }
    expect_failed(crier_start(url, "group", "seek", "workers", "jobs", "11", NULL), "beyond its end");
    expect_failed(crier_start(url, "group", "seek", "workers", "jobs", "3", "--partition", "1", NULL),
                  "no such partition");
    expect_failed(crier_start(url, "group", "seek", "workers", "nowhere", "3", NULL), "no topic 'nowhere'");
    expect_done(crier_start(url, "group", "seek", "workers", "jobs", "9", "--partition", "0", NULL), "moved");
    expect_done(crier_start(url, "on", "jobs", "--group", "workers", "--count", "1", NULL), "a 9");
}

Test(tools_groups, a_deleted_group_is_gone)
{
    group_made();
    expect_done(crier_start(url, "group", "delete", "workers", NULL), "deleted workers\n");
    expect_failed(crier_start(url, "group", "describe", "workers", NULL), "no group 'workers'");
    expect_failed(crier_start(url, "group", "delete", "workers", NULL), "no group 'workers'");
    json_t *list = json_of(crier_start(url, "group", "list", "--json", NULL));
    cr_assert(eq(sz, json_array_size(list), 0));
    json_decref(list);
}

Test(tools_groups, what_members_stand_on_is_not_moved)
{
    group_made();
    struct process *on = crier_start(url, "on", "jobs", "--group", "workers", "--verbose", NULL);
    process_expect_error(on, "listening to");
    expect_failed(crier_start(url, "group", "seek", "workers", "jobs", "earliest", NULL), "stop them first");
    expect_failed(crier_start(url, "group", "delete", "workers", NULL), "stop them first");
    expect_done(crier_start(url, "group", "describe", "workers", NULL), "workers: 1 member\n");
    process_signal(on, SIGTERM);
    cr_assert(eq(int, process_end(on), 0));
}

/* ---- several processes ---- */

static struct process *member_start(void)
{
    struct process *on = crier_start(url, "on", "jobs", "--group", "workers", "--from", "earliest",
                                     "--format", "%p", "--verbose", NULL);
    process_expect_error(on, "listening to");
    return on;
}

/* Looks until every partition has an owner and there are so many members. */
static void await_members(long long members)
{
    for (int look = 0; look < LOOKS_MAX; look++) {
        json_t *group = json_of(crier_start(url, "group", "describe", "workers", "jobs", "--json", NULL));
        bool owned = number_of(group, "members") == members;
        for (size_t i = 0; i < 4; i++)
            owned = owned && json_is_string(json_object_get(partition_of(group, i), "member"));
        json_decref(group);
        if (owned)
            return;
    }
    cr_assert(false, "the group did not get %lld members", members);
}

/* How many of 16 events the member printed, all partitions of which are in `mask`, which it adds to. */
static size_t printed(struct process *on, unsigned *mask)
{
    size_t count = 0;
    process_signal(on, SIGTERM);
    cr_assert(eq(int, process_wait(on), 0), "%s", process_errors(on));
    for (const char *at = process_output(on, NULL); *at; at += 2, count++)
        *mask |= 1u << (at[0] - '0');
    process_destroy(on);
    return count;
}

/* Keys of which each partition of four gets some. */
static void emit_everywhere(void)
{
    for (char key = 'a'; key < 'a' + 16; key++)
        emit_lines((char[]){key, '\0'}, 0, 1);
}

/* Looks until nothing is left to be handled. */
static void await_no_lag(void)
{
    for (int look = 0; look < LOOKS_MAX; look++) {
        json_t *group = json_of(crier_start(url, "group", "describe", "workers", "jobs", "--json", NULL));
        long long lag = 0;
        for (size_t i = 0; i < 4; i++)
            lag += number_of(partition_of(group, i), "lag");
        json_decref(group);
        if (lag == 0)
            return;
    }
    cr_assert(false, "the group did not catch up");
}

Test(tools_groups, two_processes_share_the_partitions_and_each_event_is_printed_once)
{
    unsigned first_mask = 0, second_mask = 0;
    topic_create("4");
    struct process *first = member_start(), *second = member_start();
    await_members(2);
    emit_everywhere();
    await_no_lag();
    size_t count = printed(first, &first_mask) + printed(second, &second_mask);
    cr_assert(eq(sz, count, 16));
    cr_assert(eq(uint, first_mask & second_mask, 0), "no partition was printed by both");
    cr_assert(eq(uint, first_mask | second_mask, 15));
}

Test(tools_groups, what_a_killed_process_had_goes_to_the_other)
{
    unsigned mask = 0;
    topic_create("4");
    struct process *first = member_start(), *second = member_start();
    await_members(2);
    process_signal(second, SIGKILL);
    cr_assert(eq(int, process_end(second), -SIGKILL));
    await_members(1);
    emit_everywhere();
    await_no_lag();
    cr_assert(eq(sz, printed(first, &mask), 16));
    cr_assert(eq(uint, mask, 15));
}
