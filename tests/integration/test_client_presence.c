/* test_client_presence.c: who listens, told over the real broker and over embed:: who is there, who comes and goes, of all buses. */
#include "crier/presence.h"
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct broker *broker;

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert_not_null(broker);
}

static void teardown(void)
{
    cr_assert_eq(broker_destroy(broker), 0);
}

TestSuite(client_presence, .init = setup, .fini = teardown, .timeout = 120);

static crier *bus_open(const char *name)
{
    struct crier_options options = crier_options_default();
    crier *bus = NULL;
    options.name = name;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    return bus;
}

/* What a watcher was told, as the values of a probe: "BEGINS t 1 1", "JOINED t name group 2". */
struct watch {
    struct probe probe;
    char address[64]; /* of the last one */
};

static int on_presence(crier *bus, const crier_event *event, void *ctx)
{
    static const char *const names[] = {"BEGINS", "THERE", "JOINED", "LEFT"};
    struct watch *watch = ctx;
    struct crier_presence presence;
    char text[800];
    cr_assert_eq(crier_presence_read(event, &presence), 0);
    if (presence.what == CRIER_PRESENCE_BEGINS)
        snprintf(text, sizeof(text), "BEGINS %s %u %u", presence.topic, presence.listener_count,
                 presence.told);
    else
        snprintf(text, sizeof(text), "%s %s %s %s %u", names[presence.what], presence.topic, presence.client,
                 presence.group, presence.listener_count);
    crier_event as_text = *event;
    as_text.value = text;
    as_text.value_size = strlen(text);
    snprintf(watch->address, sizeof(watch->address), "%s", presence.address);
    return probe_handler(bus, &as_text, &watch->probe);
}

static void watch_begin(struct watch *watch, crier *bus, const char *topic)
{
    probe_init(&watch->probe);
    cr_assert_eq(crier_on(bus, topic, on_presence, watch), 0);
    cr_assert(probe_wait(&watch->probe, &watch->probe.event_count, 1));
}

static void expect_told(struct watch *watch, size_t place, const char *text)
{
    cr_assert(probe_wait(&watch->probe, &watch->probe.event_count, place + 1), "nothing comes; expected %s",
              text);
    cr_assert_str_eq(watch->probe.events[place].value, text);
}

static int ignore(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    return 0;
}

static crier_listener *listen_in(struct probe *probe, crier *bus, const char *topic, const char *group)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    options.group = group;
    cr_assert(probe_listen(probe, bus, topic, &options, &listener));
    return listener;
}

Test(client_presence, newListener_and_removeListener_are_told_of_other_buses)
{
    struct watch watch;
    struct probe probe;
    probe_init(&probe);
    crier *bus = bus_open("watcher"), *billing = bus_open("billing");
    crier_listener *first = listen_in(&probe, billing, "orders.placed", NULL);
    watch_begin(&watch, bus, CRIER_PRESENCE "orders.placed");
    expect_told(&watch, 0, "BEGINS orders.placed 1 1");
    expect_told(&watch, 1, "THERE orders.placed billing  1");
    listen_in(&probe, billing, "orders.placed", "g");
    expect_told(&watch, 2, "JOINED orders.placed billing g 2");
    cr_assert_eq(strncmp(watch.address, "127.0.0.1:", 10), 0, "%s", watch.address);
    crier_unlisten(first);
    expect_told(&watch, 3, "LEFT orders.placed billing  1");
    cr_assert_eq(crier_on(bus, "orders.placed", ignore, NULL), 0);
    expect_told(&watch, 4, "JOINED orders.placed watcher  2");
    cr_assert_eq(crier_close(billing), 0);
    expect_told(&watch, 5, "LEFT orders.placed billing g 1");
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&watch.probe);
    probe_finish(&probe);
}

Test(client_presence, a_pattern_is_told_of_every_topic_and_a_watcher_is_told_of_no_watcher)
{
    struct watch watch, other;
    struct probe probe;
    probe_init(&probe);
    crier *bus = bus_open("watcher"), *stock = bus_open("stock");
    watch_begin(&watch, bus, CRIER_PRESENCE "orders.**");
    watch_begin(&other, bus, CRIER_PRESENCE "orders.**");
    expect_told(&watch, 0, "BEGINS orders.** 0 0");
    listen_in(&probe, stock, "orders.placed", NULL);
    listen_in(&probe, stock, "orders.eu.paid", NULL);
    expect_told(&watch, 1, "JOINED orders.placed stock  1");
    expect_told(&watch, 2, "JOINED orders.eu.paid stock  1");
    expect_told(&other, 2, "JOINED orders.eu.paid stock  1");
    cr_assert_eq(crier_close(stock), 0);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&watch.probe);
    probe_finish(&other.probe);
    probe_finish(&probe);
}

Test(client_presence, after_a_restart_who_is_there_is_told_anew)
{
    struct watch watch;
    struct probe probe;
    probe_init(&probe);
    crier *bus = bus_open("watcher"), *gone = bus_open("gone");
    listen_in(&probe, gone, "t", NULL);
    watch_begin(&watch, bus, CRIER_PRESENCE "t");
    expect_told(&watch, 1, "THERE t gone  1");
    broker_kill(broker);
    cr_assert_eq(crier_close(gone), 0);
    cr_assert(broker_restart(broker));
    expect_told(&watch, 2, "BEGINS t 0 0");
    cr_assert_eq(crier_on(bus, "t", ignore, NULL), 0);
    expect_told(&watch, 3, "JOINED t watcher  1");
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&watch.probe);
    probe_finish(&probe);
}

Test(client_presence, names_that_are_none_and_groups_are_refused_and_nobody_emits_there)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier *bus = bus_open("watcher"), *local;
    static const char *const bad[] = {"$presence.",   "$presence",    "$presence.a..b",
                                      "$presence.a*", "$presence.$x", "$presence.error"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(crier_on(bus, bad[i], ignore, NULL), CRIER_EINVAL, "%s", bad[i]);
    cr_assert_eq(crier_emit(bus, CRIER_PRESENCE "t", "x", 1), CRIER_EINVAL);
    struct probe probe;
    probe_init(&probe);
    options.group = "g";
    options.released = probe_released;
    options.listening = probe_listening;
    cr_assert_eq(crier_listen(bus, CRIER_PRESENCE "t", &options, probe_handler, &probe, NULL), 0);
    cr_assert(probe_wait(&probe, &probe.released, 1));
    cr_assert_eq(probe.released_code, CRIER_ENOTSUP);
    cr_assert_eq(crier_open("local:", NULL, &local), 0);
    cr_assert_eq(crier_on(local, CRIER_PRESENCE "t", ignore, NULL), CRIER_ENOTSUP);
    cr_assert_eq(crier_close(local), 0);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
}

Test(client_presence, what_is_no_such_event_is_not_read)
{
    struct crier_presence presence;
    crier_event event = {.topic = "t", .key = "listener", .key_size = 8, .value = "t", .value_size = 1};
    cr_assert_eq(crier_presence_read(NULL, &presence), CRIER_EINVAL);
    cr_assert_eq(crier_presence_read(&event, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_presence_read(&event, &presence), CRIER_EINVAL);
    event.topic = CRIER_PRESENCE "t";
    event.key = "listenes";
    cr_assert_eq(crier_presence_read(&event, &presence), CRIER_EINVAL);
    event.key = NULL;
    cr_assert_eq(crier_presence_read(&event, &presence), CRIER_EINVAL);
}

Test(client_presence, more_listeners_than_a_topic_should_have_are_warned_of_with_who)
{
    struct crier_topic_options options = crier_topic_options_default();
    struct probe probe, warned;
    probe_init(&probe);
    probe_init(&warned);
    crier *billing = bus_open("billing"), *stock = bus_open("stock");
    options.max_listeners = 1;
    cr_assert_eq(crier_topic_create(billing, "t", &options), 0);
    cr_assert_eq(crier_on(stock, CRIER_WARNING, probe_handler, &warned), 0);
    listen_in(&probe, billing, "t", NULL);
    listen_in(&probe, stock, "t", NULL);
    cr_assert(probe_wait(&warned, &warned.event_count, 1));
    const char *text = warned.events[0].value;
    cr_assert_eq(strncmp(text, "2 listeners of t on all buses", 29), 0, "%s", text);
    cr_assert(strstr(text, "billing (127.0.0.1:") && strstr(text, "stock (127.0.0.1:"), "%s", text);
    cr_assert_eq(crier_close(stock), 0);
    cr_assert_eq(crier_close(billing), 0);
    probe_finish(&warned);
    probe_finish(&probe);
}
