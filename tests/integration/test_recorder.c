/* test_recorder.c: crier/recorder.h, as a user's test would have it: on every kind of loop, with the broker inside. */
#include "crier/crier.h"
#include "crier/recorder.h"

#include <criterion/criterion.h>
#include <event2/event.h>
#include <stdio.h>

static char folder[64], url[80];

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/crier-recorder-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(url, sizeof(url), "embed:%s", folder);
}

static void teardown(void)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(recorder, .init = setup, .fini = teardown, .timeout = 60);

/* The code under test. */
static void place_order(crier *bus)
{
    struct crier_emit_options options = crier_emit_options_default();
    options.key = "customer-7";
    options.key_size = 10;
    cr_assert_eq(crier_emit_with(bus, "orders.placed", "one umbrella", 12, &options), 0);
    cr_assert_eq(crier_emit(bus, "orders.placed", NULL, 0), 0);
}

static void records(const struct crier_options *options)
{
    struct crier_recorder recorder;
    crier *bus;
    cr_assert_eq(crier_open(url, options, &bus), 0);
    cr_assert_eq(crier_emit(bus, "orders.placed", "before", 6), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(crier_recorder_open(&recorder, bus, "orders.placed"), 0);
    place_order(bus);
    cr_assert_eq(crier_recorder_wait(&recorder, 2, 20000), 0);
    cr_assert_eq(crier_recorder_count(&recorder), 2);
    const crier_event *event = crier_recorder_find(&recorder, "one umbrella", 12);
    cr_assert_not_null(event);
    cr_assert_eq(event, crier_recorder_event(&recorder, 0));
    cr_assert_str_eq(event->topic, "orders.placed");
    cr_assert_eq(event->key_size, 10);
    cr_assert_eq(memcmp(event->key, "customer-7", 10), 0);
    cr_assert_null(crier_recorder_event(&recorder, 1)->value);
    cr_assert_null(crier_recorder_event(&recorder, 2));
    cr_assert_null(crier_recorder_find(&recorder, "before", 6));
    cr_assert_eq(crier_recorder_wait(&recorder, 3, 0), CRIER_ETIMEDOUT);
    crier_recorder_close(&recorder);
    cr_assert_eq(crier_close(bus), 0);
}

Test(recorder, tells_what_was_emitted)
{
    records(NULL);
}

Test(recorder, works_on_a_polled_bus)
{
    struct crier_options options = crier_options_default();
    options.polled = true;
    records(&options);
}

Test(recorder, works_on_a_callers_libevent_loop)
{
    struct crier_options options = crier_options_default();
    options.base = event_base_new();
    records(&options);
    event_base_free(options.base);
}

Test(recorder, may_be_closed_after_its_bus)
{
    struct crier_recorder recorder;
    crier *bus;
    cr_assert_eq(crier_open(url, NULL, &bus), 0);
    cr_assert_eq(crier_recorder_open(&recorder, bus, "t"), 0);
    cr_assert_eq(crier_emit(bus, "t", "x", 1), 0);
    cr_assert_eq(crier_recorder_wait(&recorder, 1, 20000), 0);
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_not_null(crier_recorder_find(&recorder, "x", 1));
    cr_assert_eq(crier_recorder_wait(&recorder, 2, 0), CRIER_ECLOSED);
    crier_recorder_close(&recorder);
    cr_assert_eq(crier_recorder_open(&recorder, NULL, "t"), CRIER_EINVAL);
}
