/* An emit on local:, "error" and failing handlers, as Node has them. Listed in docs/emitter-conformance.md. */
#include "trace.h"

static struct tag a = {.name = "a"}, b = {.name = "b"}, e = {.name = "e"}, m = {.name = "m"};

TestSuite(emits, .init = open_bus, .fini = close_bus);

Test(emits, tell_whether_anybody_was_listening)
{
    cr_assert_not(heard("x"));
    on("x", &a);
    cr_assert(heard("x"));
    crier_off(bus, "x", on_tag, &a);
    cr_assert_not(heard("x"));
}

static void note(crier *emitter, struct tag *tag)
{
    (void)emitter;
    (void)tag;
    trace_add("inside");
}

Test(emits, return_after_every_handler_has)
{
    a.act = note;
    on("x", &a);
    emit("x");
    trace_add("after");
    cr_trace("a inside after");
}

static void emit_y(crier *emitter, struct tag *tag)
{
    (void)tag;
    crier_emit(emitter, "y", NULL, 0);
    trace_add("back");
}

Test(emits, inside_a_handler_run_before_the_next_handler)
{
    struct tag tag = {.name = "t", .act = emit_y};
    on("x", &tag);
    on("x", &b);
    on("y", &a);
    emit("x");
    cr_trace("t a back b");
}

static void recurse(crier *emitter, struct tag *tag)
{
    if (tag->calls < 100)
        crier_emit(emitter, "x", NULL, 0);
}

Test(emits, may_recurse)
{
    struct tag tag = {.name = ".", .act = recurse};
    on("x", &tag);
    emit("x");
    cr_assert_eq(tag.calls, 100);
}

static int check_event(crier *emitter, const crier_event *event, void *ctx)
{
    crier_header header;
    cr_assert_eq(emitter, bus);
    cr_assert_eq(ctx, &a);
    cr_assert_str_eq(event->topic, "orders.placed");
    cr_assert_eq(event->value_size, 5);
    cr_assert_eq(memcmp(event->value, "hello", 5), 0);
    cr_assert_eq(event->key_size, 3);
    cr_assert_eq(memcmp(event->key, "key", 3), 0);
    cr_assert_eq(event->timestamp_ms, 1234);
    cr_assert_eq(event->partition, 0);
    cr_assert_eq(event->offset + 1, event->high_watermark);
    cr_assert_eq(event->header_count, 2);
    cr_assert_eq(crier_event_header(event, 1, &header), 0);
    cr_assert_eq(header.name_size, 6);
    cr_assert_eq(memcmp(header.name, "second", 6), 0);
    cr_assert_null(header.value);
    cr_assert_eq(crier_event_header_find(event, "first", &header), 0);
    cr_assert_eq(memcmp(header.value, "1", header.value_size), 0);
    trace_add("checked");
    return 0;
}

static void note_done(crier *emitter, int code, uint64_t offset, void *ctx)
{
    (void)emitter;
    (void)ctx;
    cr_assert_eq(offset, UINT64_MAX);
    trace_add(code == 0 ? "done" : "failed");
}

Test(emits, carry_value_key_headers_and_time)
{
    crier_header headers[] = {{"first", 5, "1", 1}, {"second", 6, NULL, 0}};
    struct crier_emit_options options = crier_emit_options_default();
    options.key = "key";
    options.key_size = 3;
    options.headers = headers;
    options.header_count = 2;
    options.timestamp_ms = 1234;
    options.done = note_done;
    cr_assert_eq(crier_on(bus, "orders.placed", check_event, &a), 0);
    cr_assert_eq(crier_emit_with(bus, "orders.placed", "hello", 5, &options), 0);
    cr_trace("checked done");
}

static int note_offset(crier *emitter, const crier_event *event, void *ctx)
{
    (void)emitter;
    cr_assert(*(int64_t *)ctx < (int64_t)event->offset);
    *(int64_t *)ctx = (int64_t)event->offset;
    return 0;
}

Test(emits, have_offsets_that_rise)
{
    int64_t last = -1;
    cr_assert_eq(crier_on(bus, "x", note_offset, &last), 0);
    for (int i = 0; i < 10; i++)
        emit("x");
    cr_assert_eq(last, 9);
}

Test(emits, of_an_interned_topic_are_emits_by_its_name)
{
    crier_topic *topic, *again;
    cr_assert_eq(crier_intern(bus, "x", &topic), 0);
    cr_assert_eq(crier_intern(bus, "x", &again), 0);
    cr_assert_eq(topic, again);
    cr_assert_str_eq(crier_topic_name(topic), "x");
    cr_assert_eq(crier_emit_topic(topic, NULL, 0), 0);
    on("x", &a);
    cr_assert_eq(crier_emit_topic(topic, NULL, 0), 0);
    crier_off(bus, "x", on_tag, &a);
    cr_assert_eq(crier_emit_topic(topic, NULL, 0), 0);
    on("x", &b);
    cr_assert_eq(crier_emit_topic(topic, NULL, 0), 0);
    cr_trace("a b");
}

/* A topic is remembered by where its name stood; that is a guess, and never the answer. */
Test(emits, by_a_name_are_of_what_it_says_now)
{
    char name[8];
    on("x", &a);
    on("yy", &b);
    for (int round = 0; round < 2; round++) {
        emit(strcpy(name, "x"));
        emit(strcpy(name, "yy"));
        emit(strcpy(name, "xx"));
        emit(strcpy(name, ""));
    }
    cr_trace("a b a b");
    crier_off(bus, strcpy(name, "x"), on_tag, &a); /* the record goes with its only listener */
    emit(name);
    cr_trace("");
    on("x", &b);
    emit(name);
    cr_trace("b");
}

/* ---- "error" ---- */

Test(error, with_a_listener_is_an_event, .init = open_bus, .fini = close_bus)
{
    cr_assert_eq(crier_on(bus, "error", on_error, &e), 0);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, "disk"), 0);
    cr_trace("e:-14");
    cr_assert_eq(crier_on(bus, "error", on_value, &e), 0);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, "disk"), 0);
    cr_trace("e:-14 e:disk");
}

Test(error, without_a_listener_is_loud, .init = open_bus, .fini = close_bus)
{
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), CRIER_EIO);
    cr_assert_eq(emit("error"), CRIER_EHANDLER);
}

Test(error, without_a_listener_is_loud_also_when_others_listen_to_other_topics, .init = open_bus,
     .fini = close_bus)
{
    on("x", &a);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), CRIER_EIO);
    cr_trace("");
}

static int returned;
static void emit_error_inside(crier *emitter, struct tag *tag)
{
    (void)tag;
    returned = crier_emit_error(emitter, CRIER_EIO, NULL);
}

Test(error, inside_a_handler_is_loud_to_that_handler, .init = open_bus, .fini = close_bus)
{
    struct tag tag = {.name = "t", .act = emit_error_inside};
    on("x", &tag);
    cr_assert_eq(emit("x"), 0);
    cr_assert_eq(returned, CRIER_EIO);
}

Test(error, monitors_hear_it_before_its_listeners, .init = open_bus, .fini = close_bus)
{
    on("error", &e);
    on(CRIER_ERROR_MONITOR, &m);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), 0);
    cr_trace("m e");
}

Test(error, a_monitor_does_not_make_it_heard, .init = open_bus, .fini = close_bus)
{
    on(CRIER_ERROR_MONITOR, &m);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), CRIER_EIO);
    cr_trace("m");
}

static void hear_errors(crier *emitter, struct tag *tag)
{
    (void)tag;
    crier_on(emitter, "error", on_tag, &e);
}

Test(error, a_listener_that_a_monitor_adds_hears_it, .init = open_bus, .fini = close_bus)
{
    struct tag tag = {.name = "t", .act = hear_errors};
    on(CRIER_ERROR_MONITOR, &tag);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), 0);
    cr_trace("t e");
}

Test(error, once_is_heard_once, .init = open_bus, .fini = close_bus)
{
    cr_assert_eq(crier_once(bus, "error", on_tag, &e), 0);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), 0);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), CRIER_EIO);
    cr_trace("e");
}

/* ---- handlers that fail: captureRejections ---- */

TestSuite(failing, .init = open_bus, .fini = close_bus);

Test(failing, handlers_become_an_error_event)
{
    struct tag f = {.name = "f", .rc = -7};
    on("x", &f);
    cr_assert_eq(crier_on(bus, "error", on_error, &e), 0);
    cr_assert_eq(crier_on(bus, "error", on_value, &e), 0);
    cr_assert_eq(emit("x"), 0);
    cr_trace("f e:-23 e:a handler of x returned -7");
}

Test(failing, handlers_do_not_keep_the_others_from_being_called)
{
    struct tag f = {.name = "f", .rc = -1};
    on("x", &f);
    on("x", &a);
    on("error", &e);
    cr_assert_eq(emit("x"), 0);
    cr_trace("f a e");
}

static void emit_x(crier *emitter, struct tag *tag)
{
    (void)tag;
    returned = crier_emit(emitter, "x", NULL, 0);
    trace_add("back");
}

Test(failing, handlers_of_inner_emits_are_told_when_the_outermost_is_through)
{
    struct tag f = {.name = "f", .rc = -1}, tag = {.name = "t", .act = emit_x};
    on("x", &f);
    on("z", &tag);
    on("z", &b);
    on("error", &e);
    cr_assert_eq(emit("z"), 0);
    cr_trace("t f back b e");
    cr_assert_eq(returned, 0);
}

Test(failing, handlers_that_nobody_hears_of_make_the_emit_return_it)
{
    struct tag f = {.name = "f", .rc = -1};
    on("x", &f);
    on("x", &a);
    cr_assert_eq(emit("x"), CRIER_EHANDLER);
    cr_trace("f a");
    crier_off(bus, "x", on_tag, &f);
    cr_assert_eq(emit("x"), 0);
}

Test(failing, handlers_stay_listeners)
{
    struct tag f = {.name = "f", .rc = -1};
    on("x", &f);
    emit("x");
    emit("x");
    cr_assert_eq(f.calls, 2);
}

Test(failing, handlers_of_error_are_not_told_on_error)
{
    struct tag f = {.name = "f", .rc = -1}, g = {.name = "g", .rc = -1};
    on("x", &f);
    on("error", &g);
    cr_assert_eq(emit("x"), CRIER_EHANDLER);
    cr_trace("f g");
}

Test(failing, handlers_of_an_error_that_was_emitted_are_told_once)
{
    struct tag g = {.name = "g", .rc = -1};
    on("error", &g);
    cr_assert_eq(crier_emit_error(bus, CRIER_EIO, NULL), CRIER_EHANDLER);
    cr_trace("g g");
}

Test(failing, handlers_of_new_listener_are_told_by_flush_if_nobody_hears)
{
    struct tag f = {.name = "f", .rc = -1};
    on("newListener", &f);
    on("x", &a);
    cr_assert_eq(crier_flush(bus, 0), CRIER_EHANDLER);
    cr_assert_eq(crier_flush(bus, 0), 0);
}

static void flush_and_close(crier *emitter, struct tag *tag)
{
    (void)tag;
    cr_assert_eq(crier_flush(emitter, 0), CRIER_EDEADLK);
    cr_assert_eq(crier_close(emitter), CRIER_EDEADLK);
}

Test(emits, cannot_close_or_flush_the_bus_from_inside)
{
    struct tag tag = {.name = "t", .act = flush_and_close};
    on("x", &tag);
    emit("x");
    emit("x");
    cr_trace("t t");
}

Test(emits, are_counted)
{
    struct crier_stats stats;
    on("x", &a);
    on("x", &b);
    emit("x");
    emit("nobody");
    crier_stats(bus, &stats);
    cr_assert_eq(stats.emitted, 2);
    cr_assert_eq(stats.acked, 2);
    cr_assert_eq(stats.delivered, 2);
    cr_assert_eq(stats.pending_bytes, 0);
    cr_assert(stats.connected);
}
