/* What streams promise, behaviour by behaviour. Listed in docs/stream-conformance.md; the order of events under every mixture of
 * calls is stream_differential.c's. */
#include "stream_rig.h"

static struct rig a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"};

TestSuite(readable, .init = rig_open, .fini = rig_close);
TestSuite(writable, .init = rig_open, .fini = rig_close);
TestSuite(pipe, .init = rig_open, .fini = rig_close);
TestSuite(pipeline, .init = rig_open, .fini = rig_close);
TestSuite(ending, .init = rig_open, .fini = rig_close);

static const char *const one_two[] = {"one", "two", NULL};

/* ---- readable ---- */

Test(readable, flows_with_a_data_listener_and_ends)
{
    a.source = one_two;
    rig_stream(&a, CRIER_READABLE, 0);
    turn();
    rig_trace(""); /* paused: nobody asked */
    rig_on(&a, CRIER_STREAM_DATA);
    turn();
    rig_trace("a.data(one) a.data(two) a.end a.close");
    crier_stream_release(a.stream);
}

Test(readable, reads_ahead_up_to_its_mark)
{
    a.source = one_two;
    rig_stream(&a, CRIER_READABLE, 3);
    rig_on(&a, CRIER_STREAM_READABLE);
    turn();
    rig_trace("a.readable");
    cr_assert_eq(rig_state(&a).readable_length, 3);
    read_text(&a, CRIER_STREAM_ALL, "onetwo"); /* it asks for more, and takes what came at once */
    cr_assert_eq(rig_state(&a).readable_length, 0);
    crier_stream_release(a.stream);
}

Test(readable, a_push_tells_whether_more_is_welcome)
{
    rig_stream(&a, CRIER_READABLE, 4);
    cr_assert_eq(crier_stream_push(a.stream, "abc", 3), 1);
    cr_assert_eq(crier_stream_push(a.stream, "d", 1), 0);
    cr_assert_eq(crier_stream_push(a.stream, "e", 1), 0); /* taken all the same */
    cr_assert_eq(crier_stream_push(a.stream, "", 0), 0);  /* no end */
    read_text(&a, CRIER_STREAM_ALL, "abcde");
    crier_stream_release(a.stream);
}

Test(readable, a_read_of_so_many_bytes_takes_them_across_chunks)
{
    rig_stream(&a, CRIER_READABLE, 0);
    crier_stream_push(a.stream, "abc", 3);
    crier_stream_push(a.stream, "def", 3);
    read_text(&a, 2, "ab");
    read_text(&a, 3, "cde");
    read_text(&a, 2, NULL);
    crier_stream_push_chunk(a.stream, NULL);
    read_text(&a, 2, "f"); /* what is left at the end */
    read_text(&a, 2, NULL);
    crier_stream_release(a.stream);
}

Test(readable, what_is_put_back_comes_first)
{
    crier_chunk *chunk;
    rig_stream(&a, CRIER_READABLE, 0);
    crier_stream_push(a.stream, "world", 5);
    crier_stream_push_chunk(a.stream, NULL);
    cr_assert_eq(crier_chunk_create("hello ", 6, &chunk), 0);
    cr_assert_geq(crier_stream_unshift(a.stream, chunk), 0);
    crier_chunk_release(chunk);
    read_text(&a, CRIER_STREAM_ALL, "hello world");
    crier_stream_release(a.stream);
}

Test(readable, pause_stops_and_resume_goes_on)
{
    rig_stream(&a, CRIER_READABLE, 0);
    rig_on(&a, CRIER_STREAM_DATA);
    crier_stream_push(a.stream, "1", 1);
    turn();
    cr_assert_eq(crier_stream_pause(a.stream), 0);
    crier_stream_push(a.stream, "2", 1);
    turn();
    cr_assert(!rig_state(&a).flowing);
    cr_assert_eq(crier_stream_resume(a.stream), 0);
    turn();
    rig_trace("a.data(1) a.data(2)");
    crier_stream_release(a.stream);
}

Test(readable, a_push_after_the_end_destroys_it)
{
    rig_stream(&a, CRIER_READABLE, 0);
    crier_stream_push_chunk(a.stream, NULL);
    cr_assert_eq(crier_stream_push(a.stream, "x", 1), CRIER_EINVAL);
    cr_assert_eq(crier_stream_push(a.stream, "x", 1), CRIER_EINVAL);
    turn();
    rig_trace("a.error(pushed to after its end) a.close");
    cr_assert_eq(crier_stream_push(NULL, "x", 1), CRIER_EINVAL);
    crier_stream_release(a.stream);
}

Test(readable, items_are_read_one_by_one_with_key_and_headers)
{
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops)};
    crier_header header = {"name", 4, "value", 5};
    crier_event event = {
        .topic = "x", .key = "k", .key_size = 1, .value = "v", .value_size = 1, .timestamp_ms = 7};
    crier_chunk *chunk;
    options.readable_items = true;
    options.readable_high_watermark = 2;
    cr_assert_eq(crier_stream_create(bus, CRIER_READABLE, &ops, NULL, &options, &a.stream), 0);
    cr_assert_eq(crier_chunk_create_item(&event, &header, 1, &chunk), 0);
    cr_assert_eq(crier_stream_push_chunk(a.stream, chunk), 1);
    crier_chunk_release(chunk);
    cr_assert_eq(crier_stream_push(a.stream, "second", 6), 0);
    cr_assert_eq(crier_stream_read(a.stream, CRIER_STREAM_ALL, &chunk), 0);
    cr_assert_eq(chunk->event->key_size, 1);
    cr_assert_eq(chunk->event->timestamp_ms, 7);
    cr_assert_eq(chunk->event->header_count, 1);
    crier_header found;
    cr_assert_eq(crier_event_header(chunk->event, 0, &found), 0);
    cr_assert(found.value_size == 5 && memcmp(found.value, "value", 5) == 0);
    crier_chunk_release(chunk);
    read_text(&a, CRIER_STREAM_ALL, "second");
    crier_stream_release(a.stream);
}

/* ---- listeners ---- */

static void once_more(const crier_stream_event *event, void *ctx)
{
    rig_event(event, ctx);
    cr_assert_eq(crier_stream_on(event->stream, CRIER_STREAM_DATA, rig_event, &b), 0);
}

Test(readable, a_listener_added_during_an_event_does_not_hear_it)
{
    rig_stream(&a, CRIER_READABLE, 0);
    crier_stream_once(a.stream, CRIER_STREAM_DATA, once_more, &a);
    turn();
    crier_stream_push(a.stream, "1", 1);
    crier_stream_push(a.stream, "2", 1);
    turn();
    rig_trace("a.data(1) b.data(2)");
    cr_assert_eq(crier_stream_off(a.stream, CRIER_STREAM_DATA, rig_event, &a), CRIER_EINVAL);
    cr_assert_eq(crier_stream_off(a.stream, CRIER_STREAM_DATA, rig_event, &b), 0);
    crier_stream_release(a.stream);
}

/* ---- writable ---- */

Test(writable, writes_one_at_a_time_and_drains)
{
    b.holds = true;
    rig_stream(&b, CRIER_WRITABLE, 4);
    cr_assert_eq(crier_stream_write(b.stream, "abc", 3), 1);
    cr_assert_eq(crier_stream_write(b.stream, "d", 1), 0);
    cr_assert_eq(crier_stream_write(b.stream, "e", 1), 0);
    cr_assert(rig_state(&b).need_drain);
    rig_trace("b.write(abc)");
    crier_stream_done(b.stream, 0, NULL);
    crier_stream_done(b.stream, 0, NULL);
    rig_trace("b.write(d) b.write(e)");
    crier_stream_done(b.stream, 0, NULL);
    rig_trace("b.drain");
    crier_stream_release(b.stream);
}

Test(writable, what_is_written_at_once_fills_nothing)
{
    rig_stream(&b, CRIER_WRITABLE, 1);
    cr_assert_eq(crier_stream_write(b.stream, "abc", 3), 1); /* Node 20; before, it said false */
    cr_assert_eq(rig_state(&b).writable_length, 0);
    crier_stream_release(b.stream);
}

Test(writable, finishes_after_the_last_write)
{
    b.holds = true;
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_stream_write(b.stream, "x", 1);
    cr_assert_eq(crier_stream_end(b.stream), 0);
    cr_assert_eq(crier_stream_end(b.stream), 0);
    turn();
    rig_trace("b.write(x)");
    crier_stream_done(b.stream, 0, NULL);
    turn();
    rig_trace("b.finish b.close");
    cr_assert(rig_state(&b).writable_finished && rig_state(&b).closed);
    crier_stream_release(b.stream);
}

Test(writable, a_write_after_the_end_destroys_it)
{
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_stream_end(b.stream);
    cr_assert_eq(crier_stream_write(b.stream, "x", 1), CRIER_EINVAL);
    turn();
    rig_trace("b.error(written to after its end) b.close");
    crier_stream_release(b.stream);
}

Test(writable, a_failed_write_drops_what_waits)
{
    b.holds = true;
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_stream_write(b.stream, "x", 1);
    crier_stream_write(b.stream, "y", 1);
    crier_stream_done(b.stream, CRIER_EIO, "no space");
    turn();
    rig_trace("b.write(x) b.error(no space) b.close");
    cr_assert_eq(rig_state(&b).code, CRIER_EIO);
    cr_assert_eq(crier_stream_write(b.stream, "z", 1), CRIER_ECLOSED);
    crier_stream_release(b.stream);
}

Test(writable, done_twice_is_told)
{
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_stream_write(b.stream, "x", 1);
    cr_assert_eq(crier_stream_done(b.stream, 0, NULL), CRIER_EINVAL);
    turn();
    rig_trace("b.write(x) b.error(said to be done more than once) b.close");
    crier_stream_release(b.stream);
}

/* ---- pipe ---- */

Test(pipe, goes_at_the_speed_of_the_slower)
{
    static const char *const many[] = {"1", "2", "3", NULL};
    a.source = many;
    b.holds = true;
    rig_stream(&a, CRIER_READABLE, 1);
    rig_stream(&b, CRIER_WRITABLE, 1);
    cr_assert_eq(crier_stream_pipe(a.stream, b.stream, true), 0);
    turn();
    cr_assert(!rig_state(&a).flowing);
    rig_trace("b.write(1)");
    for (int i = 0; i < 3; i++) {
        crier_stream_done(b.stream, 0, NULL);
        turn();
    }
    rig_trace("b.drain b.write(2) b.drain b.write(3) a.end a.close b.finish b.close");
    crier_stream_release(a.stream);
    crier_stream_release(b.stream);
}

Test(pipe, two_destinations_wait_for_both)
{
    b.holds = true;
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&b, CRIER_WRITABLE, 1);
    rig_stream(&c, CRIER_WRITABLE, 0);
    crier_stream_pipe(a.stream, b.stream, true);
    crier_stream_pipe(a.stream, c.stream, true);
    turn();
    crier_stream_push(a.stream, "1", 1);
    crier_stream_push(a.stream, "2", 1);
    turn();
    rig_trace("b.write(1) c.write(1)");
    crier_stream_done(b.stream, 0, NULL);
    turn();
    rig_trace("b.drain b.write(2) c.write(2)");
    crier_stream_release(a.stream);
    crier_stream_release(b.stream);
    crier_stream_release(c.stream);
}

Test(pipe, a_failure_leaves_the_source_as_it_is)
{
    b.fails = CRIER_EIO;
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_stream_pipe(a.stream, b.stream, true);
    turn();
    crier_stream_push(a.stream, "1", 1);
    crier_stream_push(a.stream, "2", 1);
    turn();
    rig_trace("b.write(1) b.error(broken) b.close");
    cr_assert(!rig_state(&a).destroyed && !rig_state(&a).flowing);
    crier_stream_release(a.stream);
    crier_stream_release(b.stream);
}

Test(pipe, a_destroyed_destination_does_not_hold_up_the_others) /* in Node it does: decision 0019 */
{
    b.holds = c.holds = true;
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&b, CRIER_WRITABLE, 1);
    rig_stream(&c, CRIER_WRITABLE, 1);
    crier_stream_pipe(a.stream, b.stream, true);
    crier_stream_pipe(a.stream, c.stream, true);
    turn();
    crier_stream_push(a.stream, "1", 1);
    crier_stream_push(a.stream, "2", 1);
    crier_stream_destroy(b.stream, 0, NULL);
    turn();
    crier_stream_done(c.stream, 0, NULL);
    turn();
    rig_trace("b.write(1) c.write(1) b.close c.drain c.write(2)");
    crier_stream_release(a.stream);
    crier_stream_release(b.stream);
    crier_stream_release(c.stream);
}

Test(pipe, sides_that_do_not_fit_are_refused)
{
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops)};
    crier *other, *bus_before = bus;
    options.readable_items = true;
    cr_assert_eq(crier_stream_create(bus, CRIER_READABLE, &ops, NULL, &options, &a.stream), 0);
    rig_stream(&b, CRIER_WRITABLE, 0);
    cr_assert_eq(crier_stream_pipe(a.stream, b.stream, true), CRIER_EINVAL); /* items into bytes */
    cr_assert_eq(crier_stream_pipe(b.stream, a.stream, true), CRIER_EINVAL);
    rig_open();
    other = bus;
    rig_stream(&c, CRIER_READABLE, 0);
    bus = bus_before;
    cr_assert_eq(crier_stream_pipe(c.stream, b.stream, true), CRIER_EINVAL); /* of another bus */
    crier_stream_release(a.stream);
    crier_stream_release(b.stream);
    crier_stream_release(c.stream);
    crier_close(other);
}

/* ---- pipeline ---- */

static crier_future *pipeline_of(struct rig *first, struct rig *second, struct rig *third)
{
    crier_stream *all[] = {first->stream, second->stream, third->stream};
    crier_future *future;
    cr_assert_eq(crier_pipeline(bus, all, 3, &future), 0);
    for (int i = 0; i < 3; i++)
        crier_stream_release(all[i]);
    return future;
}

Test(pipeline, is_fulfilled_when_all_are_through)
{
    a.source = one_two;
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&c, CRIER_TRANSFORM, 0);
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_future *future = pipeline_of(&a, &c, &b);
    turn();
    turn();
    rig_trace("b.write(<) b.write(one) b.write(<) b.write(two) a.end b.write(!) c.end c.finish a.close "
              "b.finish c.close b.close");
    cr_assert_eq(rig_code(future), 0);
}

Test(pipeline, a_failure_destroys_all)
{
    a.source = one_two;
    c.fails = CRIER_EIO;
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&c, CRIER_TRANSFORM, 0);
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_future *future = pipeline_of(&a, &c, &b);
    turn();
    rig_trace("c.error(broken) c.close a.error(broken) a.close b.error(broken) "
              "b.close");
    crier_result result;
    cr_assert_eq(crier_future_result(future, &result), 0);
    cr_assert_str_eq(result.text, "broken");
    cr_assert_eq(rig_code(future), CRIER_EIO);
}

Test(pipeline, one_that_closes_too_early_destroys_all)
{
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&c, CRIER_TRANSFORM, 0);
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_stream *last = crier_stream_retain(b.stream);
    crier_future *future = pipeline_of(&a, &c, &b);
    turn();
    crier_stream_destroy(last, 0, NULL);
    turn();
    turn();
    cr_assert_eq(rig_code(future), CRIER_ECLOSED);
    crier_stream_release(last);
}

Test(pipeline, canceling_destroys_all)
{
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&c, CRIER_TRANSFORM, 0);
    rig_stream(&b, CRIER_WRITABLE, 0);
    crier_stream *last = crier_stream_retain(b.stream);
    crier_future *future = pipeline_of(&a, &c, &b);
    turn();
    cr_assert_eq(crier_future_cancel(future), 0);
    turn();
    cr_assert_eq(rig_code(future), CRIER_ECANCELED);
    cr_assert_eq(rig_state(&b).code, CRIER_ECANCELED);
    crier_stream_release(last);
}

/* ---- the end ---- */

Test(ending, destroy_drops_what_is_buffered_and_closes)
{
    rig_stream(&a, CRIER_READABLE, 0);
    crier_stream_push(a.stream, "x", 1);
    cr_assert_eq(crier_stream_destroy(a.stream, CRIER_EIO, "enough"), 0);
    cr_assert_eq(crier_stream_destroy(a.stream, 0, NULL), 0);
    rig_trace("");
    turn();
    rig_trace("a.error(enough) a.close");
    crier_stream_release(a.stream);
}

static int on_bus_error(crier *emitter, const crier_event *event, void *ctx)
{
    (void)emitter;
    *(int *)ctx = event->error;
    return 0;
}

Test(ending, an_error_without_a_listener_is_one_of_the_bus)
{
    struct crier_stream_ops ops = {.struct_size = sizeof(ops)};
    int code = 0;
    crier_on(bus, "error", on_bus_error, &code);
    cr_assert_eq(crier_stream_create(bus, CRIER_READABLE, &ops, NULL, NULL, &a.stream), 0);
    crier_stream_destroy(a.stream, CRIER_EIO, NULL);
    turn();
    cr_assert_eq(code, CRIER_EIO);
    crier_stream_release(a.stream);
}

Test(ending, finished_tells_how_it_ended)
{
    crier_future *good, *bad;
    a.source = one_two;
    rig_stream(&a, CRIER_READABLE, 0);
    rig_stream(&b, CRIER_WRITABLE, 0);
    cr_assert_eq(crier_stream_finished(a.stream, &good), 0);
    cr_assert_eq(crier_stream_finished(b.stream, &bad), 0);
    crier_stream_resume(a.stream);
    turn();
    crier_stream_destroy(b.stream, 0, NULL); /* before its end */
    turn();
    cr_assert_eq(rig_code(good), 0);
    cr_assert_eq(rig_code(bad), CRIER_ECLOSED);
    crier_stream_release(a.stream);
    crier_stream_release(b.stream);
}

static void count(void *ctx)
{
    ++*(int *)ctx;
}

Test(ending, a_stream_nobody_holds_lives_until_it_has_closed)
{
    static int released;
    struct crier_stream_ops ops = {.struct_size = sizeof(ops), .release = count};
    cr_assert_eq(crier_stream_create(bus, CRIER_READABLE, &ops, &released, NULL, &a.stream), 0);
    crier_stream_on(a.stream, CRIER_STREAM_DATA, rig_event, &a);
    crier_stream_push(a.stream, "x", 1);
    crier_stream_push_chunk(a.stream, NULL);
    crier_stream_release(a.stream);
    cr_assert_eq(released, 0);
    turn();
    rig_trace("a.data(x)");
    cr_assert_eq(released, 1);
}

Test(ending, closing_the_bus_destroys_what_is_left)
{
    crier *first = bus;
    rig_open();
    rig_stream(&a, CRIER_READABLE, 0);
    crier_close(bus);
    rig_trace("a.error(the bus is closed) a.close");
    struct crier_stream_state state = rig_state(&a);
    cr_assert(state.closed && state.code == CRIER_ECLOSED);
    cr_assert_lt(crier_stream_push(a.stream, "x", 1), 0);
    crier_stream_release(a.stream);
    bus = first;
}

Test(ending, bad_arguments_are_refused)
{
    struct crier_stream_ops ops = {.struct_size = sizeof(ops)};
    crier_future *future;
    crier_chunk *chunk;
    cr_assert_eq(crier_stream_create(NULL, CRIER_READABLE, &ops, NULL, NULL, &a.stream), CRIER_EINVAL);
    cr_assert_eq(crier_stream_create(bus, CRIER_READABLE, NULL, NULL, NULL, &a.stream), CRIER_EINVAL);
    cr_assert_eq(crier_stream_create(bus, CRIER_WRITABLE, &ops, NULL, NULL, &a.stream),
                 CRIER_EINVAL); /* no write */
    cr_assert_eq(crier_stream_create(bus, CRIER_TRANSFORM, &ops, NULL, NULL, &a.stream), CRIER_EINVAL);
    ops.write = rig_write;
    cr_assert_eq(crier_stream_create(bus, CRIER_TRANSFORM, &ops, NULL, NULL, &a.stream), CRIER_EINVAL);
    ops.write = NULL;
    cr_assert_eq(crier_stream_create(bus, (enum crier_stream_type)4, &ops, NULL, NULL, &a.stream),
                 CRIER_EINVAL);
    rig_stream(&a, CRIER_READABLE, 0);
    cr_assert_eq(crier_stream_on(a.stream, CRIER_STREAM_KINDS, rig_event, &a), CRIER_EINVAL);
    cr_assert_eq(crier_stream_on(a.stream, CRIER_STREAM_DATA, NULL, &a), CRIER_EINVAL);
    cr_assert_eq(crier_stream_write(a.stream, "x", 1), CRIER_EINVAL); /* not writable */
    cr_assert_eq(crier_stream_end(a.stream), CRIER_EINVAL);
    cr_assert_eq(crier_stream_done(a.stream, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_destroy_done(a.stream, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_push(a.stream, NULL, 1), CRIER_EINVAL);
    cr_assert_eq(crier_stream_unshift(a.stream, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_destroy(a.stream, 1, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_pipeline(bus, &a.stream, 1, &future), CRIER_EINVAL);
    cr_assert_eq(crier_stream_finished(NULL, &future), CRIER_EINVAL);
    cr_assert_eq(crier_chunk_create("x", 1, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_chunk_create_item(NULL, NULL, 0, &chunk), CRIER_EINVAL);
    crier_stream_release(a.stream);
}

Test(ending, no_stream_is_refused_everywhere)
{
    struct crier_stream_state state;
    crier_future *future;
    crier_chunk *chunk;
    crier_stream *none[] = {NULL, NULL};
    cr_assert_eq(crier_stream_on(NULL, CRIER_STREAM_DATA, rig_event, &a), CRIER_EINVAL);
    cr_assert_eq(crier_stream_once(NULL, CRIER_STREAM_DATA, rig_event, &a), CRIER_EINVAL);
    cr_assert_eq(crier_stream_off(NULL, CRIER_STREAM_DATA, rig_event, &a), CRIER_EINVAL);
    cr_assert_eq(crier_stream_push(NULL, "x", 1), CRIER_EINVAL);
    cr_assert_eq(crier_stream_push_chunk(NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_unshift(NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_done(NULL, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_destroy_done(NULL, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_write(NULL, "x", 1), CRIER_EINVAL);
    cr_assert_eq(crier_stream_write_chunk(NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_end(NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_read(NULL, 1, &chunk), CRIER_EINVAL);
    cr_assert_eq(crier_stream_pause(NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_resume(NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_pipe(NULL, NULL, true), CRIER_EINVAL);
    cr_assert_eq(crier_stream_unpipe(NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_destroy(NULL, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_stream_state(NULL, &state), CRIER_EINVAL);
    cr_assert_eq(crier_stream_finished(NULL, &future), CRIER_EINVAL);
    cr_assert_eq(crier_pipeline(bus, none, 2, &future), CRIER_EINVAL);
    cr_assert_eq(crier_pipeline(NULL, none, 2, &future), CRIER_EINVAL);
    cr_assert_null(crier_stream_ctx(NULL));
    cr_assert_null(crier_stream_retain(NULL));
    cr_assert_null(crier_chunk_retain(NULL));
    crier_stream_release(NULL);
    crier_chunk_release(NULL);
}
