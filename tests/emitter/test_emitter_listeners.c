/* Listeners of a bus of local: come and go as Node's do. The behaviours are listed in docs/emitter-conformance.md. */
#include "trace.h"

static struct tag a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"};

TestSuite(listeners, .init = open_bus, .fini = close_bus);

Test(listeners, are_called_in_the_order_of_registration)
{
    on("x", &a);
    on("x", &b);
    on("x", &c);
    emit("x");
    cr_trace("a b c");
}

Test(listeners, registered_twice_are_called_twice)
{
    on("x", &a);
    on("x", &b);
    on("x", &a);
    emit("x");
    cr_trace("a b a");
}

Test(listeners, of_other_topics_are_not_called)
{
    on("x", &a);
    on("y", &b);
    emit("x");
    cr_trace("a");
}

Test(listeners, prepended_are_called_before_those_there_are)
{
    on("x", &a);
    cr_assert_eq(crier_prepend(bus, "x", on_tag, &b), 0);
    cr_assert_eq(crier_prepend(bus, "x", on_tag, &c), 0);
    emit("x");
    cr_trace("c b a");
}

Test(listeners, prepended_to_none_are_called)
{
    cr_assert_eq(crier_prepend(bus, "x", on_tag, &a), 0);
    emit("x");
    cr_trace("a");
}

Test(listeners, once_is_called_for_one_event_only)
{
    cr_assert_eq(crier_once(bus, "x", on_tag, &a), 0);
    emit("x");
    emit("x");
    cr_trace("a");
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 0);
}

static void count_itself(crier *emitter, struct tag *tag)
{
    char text[32];
    snprintf(text, sizeof(text), "%d", crier_listener_count(emitter, "x", on_tag, tag));
    trace_add(text);
}

Test(listeners, once_is_removed_before_it_is_called)
{
    struct tag tag = {.name = "t", .act = count_itself};
    cr_assert_eq(crier_once(bus, "x", on_tag, &tag), 0);
    emit("x");
    cr_trace("t 0");
}

static void emit_again(crier *emitter, struct tag *tag)
{
    (void)tag;
    crier_emit(emitter, "x", NULL, 0);
}

Test(listeners, once_that_emits_its_own_topic_is_not_called_again)
{
    struct tag tag = {.name = "t", .act = emit_again};
    cr_assert_eq(crier_once(bus, "x", on_tag, &tag), 0);
    on("x", &a);
    emit("x");
    cr_trace("t a a");
}

static void emit_once_more(crier *emitter, struct tag *tag)
{
    if (tag->calls == 1)
        crier_emit(emitter, "x", NULL, 0);
}

Test(listeners, once_behind_a_handler_that_emits_is_called_by_the_inner_emit_only)
{
    struct tag tag = {.name = "t", .act = emit_once_more};
    on("x", &tag);
    cr_assert_eq(crier_once(bus, "x", on_tag, &a), 0);
    emit("x");
    cr_trace("t t a");
}

Test(listeners, prepended_once_is_called_first_and_only_once)
{
    on("x", &a);
    cr_assert_eq(crier_prepend_once(bus, "x", on_tag, &b), 0);
    emit("x");
    emit("x");
    cr_trace("b a a");
}

Test(listeners, off_takes_the_most_recently_added_instance)
{
    on("x", &a);
    on("x", &b);
    on("x", &a);
    cr_assert_eq(crier_off(bus, "x", on_tag, &a), 0);
    emit("x");
    cr_trace("a b");
}

Test(listeners, off_takes_one_instance_at_a_time)
{
    on("x", &a);
    on("x", &a);
    cr_assert_eq(crier_off(bus, "x", on_tag, &a), 0);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 1);
    cr_assert_eq(crier_off(bus, "x", on_tag, &a), 0);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 0);
}

Test(listeners, off_takes_a_once_listener_too)
{
    cr_assert_eq(crier_once(bus, "x", on_tag, &a), 0);
    cr_assert_eq(crier_off(bus, "x", on_tag, &a), 0);
    emit("x");
    cr_trace("");
}

Test(listeners, off_of_somebody_who_is_not_there_changes_nothing)
{
    on("x", &a);
    cr_assert_eq(crier_off(bus, "x", on_tag, &b), CRIER_EINVAL);
    cr_assert_eq(crier_off(bus, "y", on_tag, &a), CRIER_EINVAL);
    emit("x");
    cr_trace("a");
}

static void remove_b(crier *emitter, struct tag *tag)
{
    (void)tag;
    crier_off(emitter, "x", on_tag, &b);
}

Test(listeners, removed_during_an_emit_are_still_called_by_it)
{
    struct tag tag = {.name = "t", .act = remove_b};
    on("x", &tag);
    on("x", &b);
    emit("x");
    cr_trace("t b");
    emit("x");
    cr_trace("t");
}

static void remove_itself(crier *emitter, struct tag *tag)
{
    crier_off(emitter, "x", on_tag, tag);
}

Test(listeners, that_remove_themselves_do_not_make_the_next_one_be_skipped)
{
    struct tag tag = {.name = "t", .act = remove_itself};
    on("x", &tag);
    on("x", &a);
    on("x", &b);
    emit("x");
    emit("x");
    cr_trace("t a b a b");
}

static void add_c(crier *emitter, struct tag *tag)
{
    if (tag->calls == 1)
        crier_on(emitter, "x", on_tag, &c);
}

Test(listeners, added_during_an_emit_are_called_from_the_next_one_on)
{
    struct tag tag = {.name = "t", .act = add_c};
    on("x", &tag);
    on("x", &a);
    emit("x");
    cr_trace("t a");
    emit("x");
    cr_trace("t a c");
}

static void prepend_c(crier *emitter, struct tag *tag)
{
    if (tag->calls == 1)
        crier_prepend(emitter, "x", on_tag, &c);
}

Test(listeners, prepended_during_an_emit_do_not_disturb_it)
{
    struct tag tag = {.name = "t", .act = prepend_c};
    on("x", &tag);
    on("x", &a);
    emit("x");
    cr_trace("t a");
    emit("x");
    cr_trace("c t a");
}

static void remove_b_and_emit(crier *emitter, struct tag *tag)
{
    if (tag->calls > 1)
        return;
    crier_off(emitter, "x", on_tag, &b);
    crier_emit(emitter, "x", NULL, 0);
}

Test(listeners, removed_during_an_emit_are_not_called_by_an_emit_inside_it)
{
    struct tag tag = {.name = "t", .act = remove_b_and_emit};
    on("x", &tag);
    on("x", &b);
    emit("x");
    cr_trace("t t b");
}

static void add_and_remove_many(crier *emitter, struct tag *tag)
{
    if (tag->calls > 1)
        return;
    for (int i = 0; i < 1000; i++) {
        crier_on(emitter, "x", on_tag, &a);
        crier_on(emitter, "x", on_tag, &b);
        crier_off(emitter, "x", on_tag, &a);
    }
}

Test(listeners, thousands_may_come_and_go_during_an_emit)
{
    struct tag tag = {.name = "t", .act = add_and_remove_many};
    crier_set_max_listeners(bus, 0);
    on("x", &tag);
    on("x", &c);
    emit("x");
    cr_trace("t c");
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 1002);
    cr_assert_eq(crier_listener_count(bus, "x", on_tag, &b), 1000);
}

Test(listeners, remove_all_of_a_topic_leaves_the_others)
{
    on("x", &a);
    on("x", &b);
    on("y", &c);
    cr_assert_eq(crier_remove_all(bus, "x"), 0);
    emit("x");
    emit("y");
    cr_trace("c");
}

Test(listeners, remove_all_without_a_topic_leaves_none)
{
    on("x", &a);
    on("y", &b);
    cr_assert_eq(crier_remove_all(bus, NULL), 0);
    emit("x");
    emit("y");
    crier_event_names(bus, add_name, NULL);
    cr_trace("");
}

Test(listeners, remove_all_of_a_topic_without_listeners_is_fine)
{
    on("x", &a);
    cr_assert_eq(crier_remove_all(bus, "nobody"), 0);
    emit("x");
    cr_trace("a");
}

static void remove_everybody(crier *emitter, struct tag *tag)
{
    (void)tag;
    crier_remove_all(emitter, NULL);
}

Test(listeners, remove_all_during_an_emit_does_not_disturb_it)
{
    struct tag tag = {.name = "t", .act = remove_everybody};
    on("x", &tag);
    on("x", &a);
    emit("x");
    emit("x");
    cr_trace("t a");
}

/* ---- what Node leaves to wrappers: options of a listener ---- */

static void note_released(void *ctx, int code, const char *text)
{
    char line[64];
    snprintf(line, sizeof(line), "released:%s:%d%s", ((struct tag *)ctx)->name, code, text);
    trace_add(line);
}

Test(listeners, with_a_count_leave_before_their_last_event_is_handled)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct tag tag = {.name = "t", .act = count_itself};
    options.count = 2;
    options.released = note_released;
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &tag, NULL), 0);
    emit("x");
    emit("x");
    emit("x");
    cr_trace("t 1 t 0 released:t:0");
}

static crier_listener *unwanted;
static void unlisten_and_say(crier *emitter, struct tag *tag)
{
    (void)emitter;
    if (tag->calls > 1)
        return;
    crier_unlisten(unwanted);
    trace_add("unlistened");
}

Test(listeners, released_comes_once_no_handler_can_run_any_more)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct tag tag = {.name = "t", .act = unlisten_and_say};
    options.released = note_released;
    on("x", &tag);
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &a, &unwanted), 0);
    emit("x");
    cr_trace("t unlistened a released:a:0");
    emit("x");
    cr_trace("t");
}

Test(listeners, of_a_closed_bus_are_released)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier *other;
    options.released = note_released;
    cr_assert_eq(crier_open("local:", NULL, &other), 0);
    cr_assert_eq(crier_listen(other, "x", &options, on_tag, &a, NULL), 0);
    cr_assert_eq(crier_close(other), 0);
    cr_trace("released:a:0");
}

static void note_assigned(void *ctx, uint32_t partition, bool given)
{
    char line[64];
    snprintf(line, sizeof(line), "%s%c%u", ((struct tag *)ctx)->name, given ? '+' : '-', partition);
    trace_add(line);
}

Test(listeners, of_one_group_share_the_events_and_the_next_takes_over)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *first;
    options.group = "g";
    options.from = CRIER_EARLIEST;
    options.assigned = note_assigned;
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &a, &first), 0);
    cr_assert_eq(crier_listen(bus, "x", &options, on_tag, &b, NULL), 0);
    on("x", &c);
    emit("x");
    cr_trace("a+0 a c");
    cr_assert_eq(crier_unlisten(first), 0);
    emit("x");
    cr_trace("b+0 a-0 b c");
}

Test(listeners, tell_what_they_were_given)
{
    struct crier_listener_stats stats;
    crier_listener *listener;
    a.rc = -1;
    on("error", &b);
    cr_assert_eq(crier_listen(bus, "x", NULL, on_tag, &a, &listener), 0);
    emit("x");
    emit("x");
    cr_assert_eq(crier_listener_stats(listener, &stats), 0);
    cr_assert_eq(stats.delivered, 2);
    cr_assert_eq(stats.failed, 2);
    cr_assert_eq(stats.lag, 0);
}
