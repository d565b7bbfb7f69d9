/* crier_emit_atomic() and source positions on a bus of local:. Listed in docs/emitter-conformance.md. */
#include "trace.h"

#include "crier/atomic.h"
#include "crier/iterator.h"

TestSuite(local_atomic, .init = open_bus, .fini = close_bus, .timeout = 60);

static struct tag a = {.name = "a"}, b = {.name = "b"}, f = {.name = "f", .rc = -1};

static int emit_both(crier *on, uint64_t position, crier_emitted *done)
{
    const struct crier_atomic_event events[] = {
        {"x", "1", 1, NULL}, {"y", "2", 1, NULL}, {"x", "3", 1, NULL}};
    struct crier_atomic_options options = crier_atomic_options_default();
    options.source_position = position;
    options.done = done;
    return crier_emit_atomic(on, events, 3, &options);
}

static void on_done(crier *mine, int code, uint64_t offset, void *ctx)
{
    char text[32];
    (void)mine, (void)ctx;
    cr_assert_eq(offset, UINT64_MAX);
    snprintf(text, sizeof(text), "done:%d", code);
    trace_add(text);
}

static void on_values(void)
{
    cr_assert_eq(crier_on(bus, "x", on_value, &a), 0);
    cr_assert_eq(crier_on(bus, "y", on_value, &b), 0);
}

Test(local_atomic, emits_are_run_in_order)
{
    on_values();
    cr_assert_eq(emit_both(bus, 0, on_done), 0);
    cr_trace("a:1 b:2 a:3 done:0");
}

Test(local_atomic, emits_with_an_event_that_is_not_valid_are_not_begun)
{
    struct crier_emit_options with_done = crier_emit_options_default();
    struct crier_emit_options expecting = crier_emit_options_default();
    struct crier_atomic_event events[] = {{"x", "1", 1, NULL}, {"x y", "2", 1, NULL}};
    on_values();
    cr_assert_eq(crier_emit_atomic(bus, events, 2, NULL), CRIER_EINVAL);
    events[1].topic = "error";
    cr_assert_eq(crier_emit_atomic(bus, events, 2, NULL), CRIER_EINVAL);
    events[1].topic = NULL;
    cr_assert_eq(crier_emit_atomic(bus, events, 2, NULL), CRIER_EINVAL);
    events[1] = (struct crier_atomic_event){"y", NULL, 1, NULL};
    cr_assert_eq(crier_emit_atomic(bus, events, 2, NULL), CRIER_EINVAL);
    with_done.done = on_done;
    events[1] = (struct crier_atomic_event){"y", NULL, 0, &with_done};
    cr_assert_eq(crier_emit_atomic(bus, events, 2, NULL), CRIER_EINVAL);
    expecting.expects = true;
    events[1].options = &expecting;
    cr_assert_eq(crier_emit_atomic(bus, events, 2, NULL), CRIER_ENOTSUP);
    struct crier_consumed consumed = {.offset = 1, .assignment = 1};
    struct crier_atomic_options made = crier_atomic_options_default();
    made.consumed = &consumed;
    made.consumed_count = 1;
    cr_assert_eq(crier_emit_atomic(bus, events, 1, &made), CRIER_ENOTSUP);
    cr_assert_eq(crier_emit_atomic(bus, events, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_emit_atomic(bus, NULL, 1, NULL), CRIER_EINVAL);
    cr_assert_eq(emit_both(bus, 1, NULL), CRIER_EINVAL); /* a position, but no producer_name */
    cr_trace("");
}

Test(local_atomic, emits_tell_done_of_a_handler_that_failed)
{
    struct crier_emit_options options = crier_emit_options_default();
    char wanted[64];
    on("x", &f);
    cr_assert_eq(emit_both(bus, 0, on_done), 0);
    snprintf(wanted, sizeof(wanted), "f f done:%d", CRIER_EHANDLER);
    cr_trace(wanted);
    options.done = on_done;
    cr_assert_eq(crier_emit_with(bus, "x", NULL, 0, &options), 0);
    cr_trace(wanted + 2);
    cr_assert_eq(emit_both(bus, 0, NULL), CRIER_EHANDLER);
}

static bool take_one(crier_iterator *iterator)
{
    crier_future *future;
    cr_assert_eq(crier_iterator_next(iterator, &future), 0);
    bool there = crier_future_wait(future, 10000, NULL) == 0;
    crier_future_release(future);
    return there;
}

Test(local_atomic, emits_that_have_no_room_are_not_begun)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator;
    options.high = 4;
    options.low = 1;
    cr_assert_eq(crier_iterate(bus, "x", &options, &iterator), 0);
    on_values();
    cr_assert_eq(crier_emit(bus, "x", "0", 1), 0);
    cr_assert_eq(crier_emit(bus, "x", "0", 1), 0);
    cr_assert_eq(emit_both(bus, 0, NULL), 0); /* four are there */
    trace_take();
    cr_assert_eq(emit_both(bus, 0, on_done), CRIER_EAGAIN);
    cr_trace("");
    for (int i = 0; i < 4; i++)
        cr_assert(take_one(iterator));
    cr_assert_eq(emit_both(bus, 0, NULL), 0);
    cr_trace("a:1 b:2 a:3");
    crier_iterator_close(iterator);
}

Test(local_atomic, emits_larger_than_the_room_go_where_nothing_waits)
{
    struct crier_atomic_event events[8];
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator;
    for (int i = 0; i < 8; i++)
        events[i] = (struct crier_atomic_event){"x", "v", 1, NULL};
    options.high = 4;
    options.low = 1;
    cr_assert_eq(crier_iterate(bus, "x", &options, &iterator), 0);
    cr_assert_eq(crier_emit_atomic(bus, events, 8, NULL), 0);
    cr_assert_eq(crier_emit_atomic(bus, events, 1, NULL), CRIER_EAGAIN);
    for (int i = 0; i < 8; i++)
        cr_assert(take_one(iterator));
    crier_iterator_close(iterator);
}

/* ---- sources ---- */

static crier *open_source(const char *url)
{
    struct crier_options options = crier_options_default();
    crier *opened;
    options.producer_name = "access.log";
    cr_assert_eq(crier_open(url, &options, &opened), 0);
    return opened;
}

Test(local_atomic, sources_know_their_position_as_long_as_their_name_is_open)
{
    crier *source = open_source("local:road"), *listening;
    uint64_t position = 7;
    cr_assert_eq(crier_open("local:road", NULL, &listening), 0);
    cr_assert_eq(crier_on(listening, "x", on_value, &a), 0);
    cr_assert_eq(crier_source_position(listening, &position), CRIER_EINVAL); /* it has no producer_name */
    cr_assert_eq(crier_source_position(source, &position), 0);
    cr_assert_eq(position, 0);
    cr_assert_eq(emit_both(source, 5, on_done), 0);
    cr_trace("a:1 a:3 done:0");
    cr_assert_eq(emit_both(source, 5, on_done), CRIER_EINVAL);
    cr_assert_eq(emit_both(source, 0, on_done), CRIER_EINVAL);
    cr_assert_eq(crier_close(source), 0);
    source = open_source("local:road");
    cr_assert_eq(crier_source_position(source, &position), 0);
    cr_assert_eq(position, 5);
    cr_assert_eq(emit_both(source, 4, on_done), 0); /* it was */
    cr_trace("done:0");
    cr_assert_eq(emit_both(source, 6, on_done), 0);
    cr_trace("a:1 a:3 done:0");
    cr_assert_eq(crier_close(source), 0);
    cr_assert_eq(crier_close(listening), 0);
    source = open_source("local:road");
    cr_assert_eq(crier_source_position(source, &position), 0);
    cr_assert_eq(position, 0);
    cr_assert_eq(crier_close(source), 0);
}

Test(local_atomic, sources_are_the_bus_that_opened_last)
{
    crier *first = open_source("local:road"), *second = open_source("local:road");
    uint64_t position;
    cr_assert_eq(crier_source_position(first, &position), CRIER_EFENCED);
    cr_assert_eq(emit_both(first, 1, on_done), CRIER_EFENCED);
    cr_assert_eq(emit_both(second, 1, NULL), 0);
    cr_assert_eq(crier_close(first), 0);
    cr_assert_eq(emit_both(second, 2, NULL), 0);
    cr_assert_eq(crier_close(second), 0);
    cr_trace("");
}
