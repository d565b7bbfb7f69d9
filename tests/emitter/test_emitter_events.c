/* "newListener", "removeListener" and the warning of too many, and looking at listeners. Listed in docs/emitter-conformance.md. */
#include "trace.h"

static struct tag a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"}, n = {.name = "new"},
                  r = {.name = "gone"}, w = {.name = "warn"};

static int on_about(crier *emitter, const crier_event *event, void *ctx)
{
    char text[300];
    const crier_listener_info *info = event->listener;
    struct tag *tag = ctx;
    (void)emitter;
    cr_assert_not_null(info);
    cr_assert_eq(info->handler == on_tag || info->handler == on_about, true);
    cr_assert_eq(event->value_size, strlen(info->topic));
    cr_assert_eq(memcmp(event->value, info->topic, event->value_size), 0);
    snprintf(text, sizeof(text), "%s(%s,%s,%d)", tag->name, info->topic, ((struct tag *)info->ctx)->name,
             crier_listener_count(emitter, info->topic, NULL, NULL));
    trace_add(text);
    if (tag->act)
        tag->act(emitter, tag);
    return 0;
}

static void hear_of_new(void)
{
    open_bus();
    cr_assert_eq(crier_on(bus, "newListener", on_about, &n), 0);
}

TestSuite(new_listener, .init = hear_of_new, .fini = close_bus);

Test(new_listener, is_told_before_the_listener_is_added)
{
    on("x", &a);
    on("x", &b);
    cr_trace("new(x,a,0) new(x,b,1)");
}

Test(new_listener, is_told_of_every_way_to_add_one)
{
    crier_once(bus, "x", on_tag, &a);
    crier_prepend(bus, "x", on_tag, &b);
    crier_prepend_once(bus, "x", on_tag, &c);
    cr_trace("new(x,a,0) new(x,b,1) new(x,c,2)");
}

Test(new_listener, is_not_told_of_itself_but_of_the_next_one)
{
    cr_trace("");
    cr_assert_eq(crier_on(bus, "newListener", on_about, &c), 0);
    cr_trace("new(newListener,c,1)");
}

static void add_before(crier *emitter, struct tag *tag)
{
    if (tag->calls++ == 0)
        crier_on(emitter, "x", on_tag, &b);
}

Test(new_listener, handlers_that_add_to_the_same_topic_come_first)
{
    n.act = add_before;
    on("x", &a);
    trace_take();
    emit("x");
    cr_trace("b a");
}

Test(new_listener, is_not_told_any_more_once_it_is_removed)
{
    cr_assert_eq(crier_off(bus, "newListener", on_about, &n), 0);
    on("x", &a);
    cr_trace("");
}

static void hear_of_gone(void)
{
    open_bus();
    cr_assert_eq(crier_on(bus, "removeListener", on_about, &r), 0);
}

TestSuite(remove_listener, .init = hear_of_gone, .fini = close_bus);

Test(remove_listener, is_told_after_the_listener_is_gone)
{
    on("x", &a);
    on("x", &b);
    crier_off(bus, "x", on_tag, &a);
    crier_off(bus, "x", on_tag, &b);
    cr_trace("gone(x,a,1) gone(x,b,0)");
}

Test(remove_listener, is_told_of_once_before_its_handler_runs)
{
    crier_once(bus, "x", on_tag, &a);
    emit("x");
    cr_trace("gone(x,a,0) a");
}

Test(remove_listener, is_told_by_remove_all_of_the_newest_first)
{
    on("x", &a);
    on("x", &b);
    on("x", &c);
    crier_remove_all(bus, "x");
    cr_trace("gone(x,c,2) gone(x,b,1) gone(x,a,0)");
}

Test(remove_listener, is_told_by_remove_all_topic_by_topic_and_goes_last)
{
    on("x", &a);
    on("y", &b);
    on("y", &c);
    crier_remove_all(bus, NULL);
    cr_trace("gone(x,a,0) gone(y,c,1) gone(y,b,0)");
    cr_assert_eq(crier_listener_count(bus, "removeListener", NULL, NULL), 0);
}

Test(remove_listener, is_told_of_its_own_kind_while_one_is_left)
{
    cr_assert_eq(crier_on(bus, "removeListener", on_about, &c), 0);
    crier_off(bus, "removeListener", on_about, &c);
    cr_trace("gone(removeListener,c,1)");
    crier_off(bus, "removeListener", on_about, &r);
    cr_trace("");
}

Test(remove_listener, is_not_told_of_somebody_who_was_not_there)
{
    crier_off(bus, "x", on_tag, &a);
    cr_trace("");
}

static void emit_x(crier *emitter, struct tag *tag)
{
    (void)tag;
    crier_emit(emitter, "x", NULL, 0);
}

Test(remove_listener, handlers_may_emit_what_is_being_removed)
{
    r.act = emit_x;
    on("x", &a);
    on("x", &b);
    crier_remove_all(bus, "x");
    cr_trace("gone(x,b,1) a gone(x,a,0)");
}

/* ---- too many ---- */

static int on_warning(crier *emitter, const crier_event *event, void *ctx)
{
    char text[300];
    (void)emitter;
    (void)ctx;
    cr_assert_not_null(event->listener);
    cr_assert(event->value_size > 0);
    snprintf(text, sizeof(text), "%s:%zu", event->listener->topic, event->listener->listener_count);
    trace_add(text);
    return 0;
}

static void hear_warnings(void)
{
    open_bus();
    cr_assert_eq(crier_on(bus, CRIER_WARNING, on_warning, &w), 0);
}

static void add(const char *topic, int count)
{
    for (int i = 0; i < count; i++)
        on(topic, &a);
}

TestSuite(max_listeners, .init = hear_warnings, .fini = close_bus);

Test(max_listeners, is_ten_unless_set)
{
    cr_assert_eq(crier_get_max_listeners(bus), 10);
    cr_assert_eq(crier_set_max_listeners(bus, 3), 0);
    cr_assert_eq(crier_get_max_listeners(bus), 3);
}

Test(max_listeners, exceeded_warns_with_the_count)
{
    add("x", 10);
    cr_trace("");
    add("x", 1);
    cr_trace("x:11");
}

Test(max_listeners, exceeded_warns_once_per_topic)
{
    add("x", 20);
    add("y", 20);
    cr_trace("x:11 y:11");
}

Test(max_listeners, of_zero_is_no_limit)
{
    crier_set_max_listeners(bus, 0);
    add("x", 100);
    cr_trace("");
}

Test(max_listeners, of_one_warns_at_the_second)
{
    crier_set_max_listeners(bus, 1);
    add("x", 1);
    cr_trace("");
    add("x", 1);
    cr_trace("x:2");
}

Test(max_listeners, raised_in_time_does_not_warn)
{
    crier_set_max_listeners(bus, 20);
    add("x", 20);
    cr_trace("");
    add("x", 1);
    cr_trace("x:21");
}

Test(max_listeners, exceeded_is_no_refusal)
{
    add("x", 11);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 11);
}

Test(max_listeners, exceeded_warns_again_when_all_but_one_had_left)
{
    crier_set_max_listeners(bus, 2);
    add("x", 3);
    cr_trace("x:3");
    crier_off(bus, "x", on_tag, &a);
    add("x", 1);
    cr_trace("");
    crier_off(bus, "x", on_tag, &a);
    crier_off(bus, "x", on_tag, &a);
    add("x", 2);
    cr_trace("x:3");
}

Test(max_listeners, below_zero_is_refused)
{
    cr_assert_eq(crier_set_max_listeners(bus, -1), CRIER_EINVAL);
    cr_assert_eq(crier_get_max_listeners(bus), 10);
}

Test(max_listeners, exceeded_by_prepending_and_once_warns_too)
{
    crier_set_max_listeners(bus, 2);
    crier_prepend(bus, "x", on_tag, &a);
    crier_once(bus, "x", on_tag, &a);
    crier_prepend_once(bus, "x", on_tag, &a);
    cr_trace("x:3");
}

/* ---- looking ---- */

TestSuite(looking, .init = open_bus, .fini = close_bus);

Test(looking, event_names_are_in_the_order_of_their_first_listener)
{
    on("y", &a);
    on("x", &a);
    on("y", &b);
    crier_event_names(bus, add_name, NULL);
    cr_trace("y x");
}

Test(looking, event_names_forget_a_topic_whose_listeners_are_gone)
{
    on("y", &a);
    on("x", &a);
    crier_off(bus, "y", on_tag, &a);
    crier_event_names(bus, add_name, NULL);
    cr_trace("x");
    on("y", &a);
    crier_event_names(bus, add_name, NULL);
    cr_trace("x y");
}

Test(looking, event_names_of_a_fresh_bus_are_none)
{
    crier_event_names(bus, add_name, NULL);
    cr_trace("");
}

Test(looking, event_names_have_the_local_topics_too)
{
    on("error", &a);
    on("newListener", &a);
    crier_event_names(bus, add_name, NULL);
    cr_trace("error newListener");
}

Test(looking, listeners_are_shown_in_order_with_their_counts)
{
    on("x", &a);
    crier_once(bus, "x", on_tag, &b);
    crier_prepend(bus, "x", on_tag, &c);
    crier_listeners(bus, "x", add_info, NULL);
    cr_trace("c a b/1");
}

Test(looking, listeners_of_a_topic_without_any_are_none)
{
    crier_listeners(bus, "x", add_info, NULL);
    crier_raw_listeners(bus, "x", add_info, NULL);
    cr_trace("");
}

static void add_and_remove(void *ctx, const crier_listener_info *info)
{
    add_info(ctx, info);
    crier_off(bus, "x", info->handler, info->ctx);
    crier_on(bus, "x", info->handler, info->ctx);
}

Test(looking, listeners_are_a_copy)
{
    on("x", &a);
    on("x", &b);
    crier_listeners(bus, "x", add_and_remove, NULL);
    cr_trace("a b");
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 2);
}

static void run_raw(void *ctx, const crier_listener_info *info)
{
    crier_event event = {.topic = "x"};
    (void)ctx;
    info->handler(bus, &event, info->ctx);
    info->handler(bus, &event, info->ctx);
}

Test(looking, raw_listeners_of_once_remove_when_they_are_called)
{
    crier_once(bus, "x", on_tag, &a);
    on("x", &b);
    crier_raw_listeners(bus, "x", run_raw, NULL);
    cr_trace("a b b");
    emit("x");
    cr_trace("b");
}

static void off_raw(void *ctx, const crier_listener_info *info)
{
    (void)ctx;
    cr_assert_eq(crier_off(bus, "x", info->handler, info->ctx), 0);
}

Test(looking, raw_listeners_can_be_given_to_off)
{
    crier_once(bus, "x", on_tag, &a);
    on("x", &b);
    crier_raw_listeners(bus, "x", off_raw, NULL);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 0);
}

Test(looking, listener_count_counts_every_instance)
{
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 0);
    on("x", &a);
    on("x", &a);
    crier_once(bus, "x", on_tag, &b);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 3);
}

Test(looking, listener_count_with_a_filter_counts_that_listener)
{
    on("x", &a);
    on("x", &b);
    on("x", &a);
    crier_once(bus, "x", on_tag, &a);
    cr_assert_eq(crier_listener_count(bus, "x", on_tag, &a), 3);
    cr_assert_eq(crier_listener_count(bus, "x", on_tag, &b), 1);
    cr_assert_eq(crier_listener_count(bus, "x", on_tag, &c), 0);
    cr_assert_eq(crier_listener_count(bus, "y", on_tag, &a), 0);
}
