/* The same program on every kind of bus: local:, embed: and a broker elsewhere. Each test runs on all three; what differs is
 * said where it does, and stands in the table of docs/emitter-conformance.md. */
#include "kinds_rig.h"

#include "crier/presence.h"

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    char text[300];
    (void)bus;
    if (event->error != 0)
        snprintf(text, sizeof(text), "%s:%d", (const char *)ctx, event->error);
    else if (event->listener && event->listener->listener_count > 0)
        snprintf(text, sizeof(text), "%s:%s:%zu", (const char *)ctx, event->listener->topic,
                 event->listener->listener_count);
    else
        snprintf(text, sizeof(text), "%s:%.*s", (const char *)ctx, (int)event->value_size,
                 (const char *)event->value);
    note(text);
    return strcmp(ctx, "fails") == 0 ? -1 : 0;
}

/* Of whom "newListener" and "removeListener" tell. */
static int on_about(crier *bus, const crier_event *event, void *ctx)
{
    char text[300];
    (void)bus;
    cr_assert_not_null(event->listener);
    snprintf(text, sizeof(text), "%s(%s,%s)", (const char *)ctx, event->listener->topic,
             (const char *)event->listener->ctx);
    note(text);
    return 0;
}

static void list_name(void *ctx, const char *name)
{
    (void)ctx;
    note(name);
}

static void list_listener(void *ctx, const crier_listener_info *info)
{
    char text[64];
    (void)ctx;
    snprintf(text, sizeof(text), "%s/%d", (const char *)info->ctx, (int)info->count);
    note(text);
}

/* ---- helpers ---- */

/* Listens; when this returns, events are heard. */
static void hear_some(const char *topic, const char *name, uint64_t count)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.listening = told;
    options.count = count;
    cr_assert_eq(crier_listen(world.bus, topic, &options, on_event, named(name), NULL), 0);
    expect("listening");
}

/* ---- the tests ---- */

static void events_of_a_topic(void)
{
    hear_some("a.topic", "heard", 0);
    emit("a.topic", "1");
    expect("heard:1");
    emit("a.topic", "2");
    emit("a.topic", "3");
    expect("heard:2 heard:3");
}
Test(kinds, a_listener_hears_events_in_order)
{
    on_every_kind(events_of_a_topic);
}

static void once_is_once(void)
{
    hear_some("a.topic", "all", 0);
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    hear_some("a.topic", "once", 1);
    emit("a.topic", "1");
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    pthread_mutex_lock(&world.lock);
    while (world.kind != LOCAL && strlen(world.trace) < strlen("all:1 once:1"))
        pthread_cond_wait(&world.changed, &world.lock);
    cr_assert(strstr(world.trace, "all:1") && strstr(world.trace, "once:1"));
    world.trace[0] = '\0';
    pthread_mutex_unlock(&world.lock);
    emit("a.topic", "2");
    expect("all:2");
}
Test(kinds, once_hears_one_event)
{
    on_every_kind(once_is_once);
}

static void off_is_off(void)
{
    hear_some("a.topic", "first", 0);
    hear_some("a.topic", "second", 0);
    cr_assert_eq(crier_off(world.bus, "a.topic", on_event, named("first")), 0);
    cr_assert_eq(crier_off(world.bus, "a.topic", on_event, named("first")), CRIER_EINVAL);
    emit("a.topic", "1");
    expect("second:1");
}
Test(kinds, off_takes_a_listener_away)
{
    on_every_kind(off_is_off);
}

static void new_and_gone(void)
{
    cr_assert_eq(crier_on(world.bus, "newListener", on_about, named("new")), 0);
    cr_assert_eq(crier_on(world.bus, "removeListener", on_about, named("gone")), 0);
    expect("new(removeListener,gone)");
    cr_assert_eq(crier_on(world.bus, "a.topic", on_event, named("a")), 0);
    expect("new(a.topic,a)");
    cr_assert_eq(crier_off(world.bus, "a.topic", on_event, named("a")), 0);
    expect("gone(a.topic,a)");
}
Test(kinds, new_listener_and_remove_listener_tell_of_every_listener)
{
    on_every_kind(new_and_gone);
}

static int on_presence(crier *bus, const crier_event *event, void *ctx)
{
    struct crier_presence presence;
    char text[300];
    (void)bus, (void)ctx;
    cr_assert_eq(crier_presence_read(event, &presence), 0);
    snprintf(text, sizeof(text), "%.*s(%s,%u)", (int)event->key_size, (const char *)event->key,
             presence.topic, presence.listener_count);
    note(text);
    return 0;
}

static void presence_is_told(void)
{
    int rc = crier_on(world.bus, CRIER_PRESENCE "a.*", on_presence, NULL);
    cr_assert_eq(rc, world.kind == LOCAL ? CRIER_ENOTSUP : 0);
    if (rc < 0)
        return;
    expect("listeners(a.*,0)");
    cr_assert_eq(crier_on(world.bus, "a.topic", on_event, named("a")), 0);
    expect("newListener(a.topic,1)");
    cr_assert_eq(crier_off(world.bus, "a.topic", on_event, named("a")), 0);
    expect("removeListener(a.topic,0)");
}
Test(kinds, only_a_broker_tells_of_the_listeners_of_all_buses)
{
    on_every_kind(presence_is_told);
}

static void errors_are_heard(void)
{
    cr_assert_eq(crier_on(world.bus, "error", on_event, named("error")), 0);
    cr_assert_eq(crier_on(world.bus, CRIER_ERROR_MONITOR, on_event, named("monitor")), 0);
    cr_assert_eq(crier_emit_error(world.bus, CRIER_EIO, "disk"), 0);
    expect("monitor:-14 error:-14");
}
Test(kinds, errors_are_heard_by_monitors_first)
{
    on_every_kind(errors_are_heard);
}

static void errors_are_loud(void)
{
    int64_t round_trip_us;
    int rc = crier_emit_error(world.bus, CRIER_EIO, "disk");
    if (world.kind == LOCAL) { /* the emit itself */
        cr_assert_eq(rc, CRIER_EIO);
        return;
    }
    cr_assert_eq(rc, 0);
    cr_assert_eq(crier_ping(world.bus, &round_trip_us), 0); /* the loop has been round */
    cr_assert_eq(crier_flush(world.bus, -1), CRIER_EIO);
}
Test(kinds, errors_that_nobody_hears_are_returned)
{
    on_every_kind(errors_are_loud);
}

static void failing_handlers(void)
{
    cr_assert_eq(crier_on(world.bus, "error", on_event, named("error")), 0);
    hear_some("a.topic", "fails", 0);
    emit("a.topic", "1");
    expect("fails:1 error:-23");
    emit("a.topic", "2");
    expect("fails:2 error:-23");
}
Test(kinds, a_handler_that_fails_becomes_an_error_and_goes_on)
{
    on_every_kind(failing_handlers);
}

static void many_listeners(void)
{
    cr_assert_eq(crier_get_max_listeners(world.bus), 10);
    cr_assert_eq(crier_set_max_listeners(world.bus, 2), 0);
    cr_assert_eq(crier_on(world.bus, CRIER_WARNING, on_event, named("warning")), 0);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(crier_on(world.bus, "a.topic", on_event, named("a")), 0);
    expect("warning:a.topic:3");
}
Test(kinds, more_listeners_than_the_limit_warn_once)
{
    on_every_kind(many_listeners);
}

static void looking(void)
{
    cr_assert_eq(crier_on(world.bus, "b", on_event, named("1")), 0);
    cr_assert_eq(crier_on(world.bus, "a", on_event, named("2")), 0);
    cr_assert_eq(crier_once(world.bus, "b", on_event, named("3")), 0);
    cr_assert_eq(crier_prepend(world.bus, "b", on_event, named("4")), 0);
    cr_assert_eq(crier_event_names(world.bus, list_name, NULL), 0);
    expect("b a");
    cr_assert_eq(crier_listeners(world.bus, "b", list_listener, NULL), 0);
    expect("4/0 1/0 3/1");
    cr_assert_eq(crier_listener_count(world.bus, "b", NULL, NULL), 3);
    cr_assert_eq(crier_listener_count(world.bus, "b", on_event, named("3")), 1);
    cr_assert_eq(crier_listener_count(world.bus, "nobody", NULL, NULL), 0);
    cr_assert_eq(crier_off(world.bus, "a", on_event, named("2")), 0);
    cr_assert_eq(crier_event_names(world.bus, list_name, NULL), 0);
    expect("b");
}
Test(kinds, listeners_can_be_counted_and_listed)
{
    on_every_kind(looking);
}

static void removing(void)
{
    hear_some("a.topic", "a", 0);
    hear_some("b.topic", "b", 0);
    cr_assert_eq(crier_remove_all(world.bus, "a.topic"), 0);
    cr_assert_eq(crier_listener_count(world.bus, "a.topic", NULL, NULL), 0);
    emit("a.topic", "1");
    emit("b.topic", "2");
    expect("b:2");
    cr_assert_eq(crier_remove_all(world.bus, NULL), 0);
    cr_assert_eq(crier_event_names(world.bus, list_name, NULL), 0);
    expect("");
}
Test(kinds, remove_all_takes_them_all_away)
{
    on_every_kind(removing);
}

static void interned(void)
{
    crier_topic *topic, *again;
    cr_assert_eq(crier_intern(world.bus, "a.topic", &topic), 0);
    cr_assert_eq(crier_intern(world.bus, "a.topic", &again), 0);
    cr_assert_eq(topic, again);
    hear_some("a.topic", "heard", 0);
    cr_assert_eq(crier_emit_topic(topic, "1", 1), 0);
    expect("heard:1");
}
Test(kinds, an_interned_topic_is_emitted_to)
{
    on_every_kind(interned);
}

static void had_listeners(void)
{
    struct crier_emit_options options = crier_emit_options_default();
    bool had = false;
    hear_some("a.topic", "heard", 0);
    options.ret_had_listeners = &had;
    if (world.kind == LOCAL) {
        cr_assert_eq(crier_emit_with(world.bus, "a.topic", NULL, 0, &options), 0);
        cr_assert(had);
        expect("heard:");
    } else {
        cr_assert_eq(crier_emit_with(world.bus, "a.topic", NULL, 0, &options), CRIER_ENOTSUP);
    }
}
Test(kinds, only_local_knows_at_once_who_listened)
{
    on_every_kind(had_listeners);
}

static void bad_names(void)
{
    cr_assert_eq(crier_on(world.bus, "$nothing", on_event, named("a")), CRIER_EINVAL);
    cr_assert_eq(crier_on(world.bus, "", on_event, named("a")), CRIER_EINVAL);
    cr_assert_eq(crier_emit(world.bus, "a..b", NULL, 0), CRIER_EINVAL);
    cr_assert_eq(crier_emit_error(world.bus, 1, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_set_max_listeners(world.bus, -1), CRIER_EINVAL);
}
Test(kinds, bad_names_are_refused)
{
    on_every_kind(bad_names);
}
