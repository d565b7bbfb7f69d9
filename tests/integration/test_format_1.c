/* A folder of format 1, made by the program of the commit that added this file, opens for ever.
 *
 * data/format-1 was left by two lives of a broker, the first and the last of them killed, the second one stopped: a sealed
 * segment, an active one without the clean-stop mark, entries above the flushed state, large and small values, a group's
 * position. Whoever changes a format keeps reading this one; the folder itself is never made again. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct broker *broker;
static const char *url;

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert(broker != NULL);
    cr_assert(eq(int, broker_stop(broker), 0));
    char command[4096];
    (void)snprintf(command, sizeof(command),
                   "rm -rf '%s' && cp -r '" FORMAT_1_FOLDER "' '%s' && chmod -R u+w '%s'",
                   broker_data(broker), broker_data(broker), broker_data(broker));
    cr_assert(eq(int, system(command), 0)); // NOLINT(cert-env33-c): two paths of our own
    cr_assert(broker_restart(broker));
    url = broker_url(broker);
}

static void teardown(void)
{
    cr_assert(eq(int, broker_destroy(broker), 0));
}

TestSuite(format_1, .init = setup, .fini = teardown, .timeout = 120);

static void expect_events(const char *topic, const char *count, const char *expected)
{
    struct process *on = crier_start(url, "on", topic, "--from", "earliest", "--count", count, NULL);
    cr_assert(eq(int, process_wait(on), 0), "%s", process_errors(on));
    cr_assert_str_eq(process_output(on, NULL), expected);
    process_destroy(on);
}

/* A topic with one partition, across both segments and the part of the log that no state has seen. */
Test(format_1, every_event_of_both_segments_is_there_in_order)
{
    expect_events("audit", "10",
                  "line 1\nline 2\nline 3\nline 4\nline 5\nlater 1\nlater 2\nlater 3\nlater 4\nlater 5\n");
}

Test(format_1, large_values_are_there_byte_for_byte)
{
    static char expected[20000 + 1 + 3000 + 2];
    memset(expected, 'x', 20000);
    expected[20000] = '\n';
    memset(expected + 20001, 'y', 3000);
    expected[23001] = '\n';
    expect_events("big", "2", expected);
}

Test(format_1, keys_keep_their_order_and_their_partitions)
{
    struct process *on = crier_start(url, "on", "orders", "--from", "earliest", "--count", "40", NULL);
    int next[4] = {1, 1, 1, 1};
    for (int i = 0; i < 40; i++) {
        char key;
        int number;
        cr_assert(eq(int, sscanf(process_line(on), "%c %d", &key, &number), 2));
        cr_assert(key >= 'a' && key <= 'd');
        cr_assert(eq(int, number, next[key - 'a']++));
    }
    cr_assert(eq(int, process_end(on), 0));
    /* And the key is still sent to where its events are: the eleventh of "a" follows the tenth. */
    cr_assert(eq(int, process_end(crier_start(url, "emit", "orders", "a 11", "--key", "a", NULL)), 0));
    on = crier_start(url, "on", "orders", "--from", "earliest", "--count", "41", NULL);
    int last = 0;
    for (int i = 0; i < 41; i++) {
        char key;
        int number;
        cr_assert(eq(int, sscanf(process_line(on), "%c %d", &key, &number), 2));
        if (key == 'a')
            cr_assert(eq(int, number, ++last));
    }
    cr_assert(eq(int, last, 11));
    cr_assert(eq(int, process_end(on), 0));
}

Test(format_1, a_group_goes_on_where_it_was)
{
    struct process *describe = crier_start(url, "group", "describe", "billing", "--json", NULL);
    cr_assert(eq(int, process_wait(describe), 0), "%s", process_errors(describe));
    json_t *group = json_loads(process_output(describe, NULL), 0, NULL);
    cr_assert(group != NULL);
    json_decref(group);
    process_destroy(describe);
    /* 25 of the 40 were handled. */
    struct process *on =
        crier_start(url, "on", "orders", "--group", "billing", "--count", "15", "--timeout", "20s", NULL);
    for (int i = 0; i < 15; i++)
        cr_assert(strchr(process_line(on), ' ') != NULL);
    cr_assert(eq(int, process_end(on), 0));
    on = crier_start(url, "on", "orders", "--group", "billing", "--count", "1", "--timeout", "300ms", NULL);
    cr_assert(eq(int, process_end(on), 1)); /* nothing is left */
}
