/* What transforms promise, behaviour by behaviour. Listed in docs/stream-conformance.md. */
#include "stream_rig.h"

static struct rig c = {.name = "c"};

TestSuite(transform, .init = rig_open, .fini = rig_close);

Test(transform, makes_what_is_read_of_what_is_written_and_flushes)
{
    rig_stream(&c, CRIER_TRANSFORM, 0);
    rig_on(&c, CRIER_STREAM_DATA);
    turn();
    crier_stream_write(c.stream, "x", 1);
    crier_stream_end(c.stream);
    turn();
    rig_trace("c.data(<) c.data(x) c.data(!) c.end c.finish c.close");
    crier_stream_release(c.stream);
}

Test(transform, what_nobody_reads_holds_up_the_writes)
{
    rig_stream(&c, CRIER_TRANSFORM, 2);
    cr_assert_eq(crier_stream_write(c.stream, "x", 1), 1); /* its readable side is full now: this one waits */
    cr_assert_eq(crier_stream_write(c.stream, "y", 1), 0);
    turn();
    cr_assert_eq(rig_state(&c).writable_length, 2);
    read_text(&c, CRIER_STREAM_ALL, "<x<y");
    turn();
    rig_trace("c.drain");
    crier_stream_release(c.stream);
}

/* Five bytes of each one, as long as they are welcome. */
static unsigned left_to_make;

static void much_go_on(crier_stream *stream)
{
    while (left_to_make > 0)
        if (crier_stream_push(stream, "m", left_to_make-- > 0) == 0)
            break;
    if (left_to_make == 0)
        crier_stream_done(stream, 0, NULL);
}

static void much_transform(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    say(ctx, "transform", chunk->data, chunk->size);
    left_to_make = 5;
    much_go_on(stream);
}

static void much_read(crier_stream *stream, size_t size, void *ctx)
{
    cr_assert(size == 2 && left_to_make > 0, "only while a transform is under way");
    say(ctx, "read", NULL, 0);
    much_go_on(stream);
}

Test(transform, one_that_makes_much_of_little_goes_on_when_it_is_read)
{
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {
        .struct_size = sizeof(ops), .transform = much_transform, .read = much_read};
    options.readable_high_watermark = 2;
    cr_assert_eq(crier_stream_create(bus, CRIER_TRANSFORM, &ops, &c, &options, &c.stream), 0);
    read_text(&c, CRIER_STREAM_ALL, NULL); /* asked for before there was anything to make it of */
    crier_stream_write(c.stream, "x", 1);
    crier_stream_write(c.stream, "y", 1);
    turn();
    rig_trace("c.transform(x)");
    cr_assert_eq(rig_state(&c).readable_length, 2);
    read_text(&c, 1, "m");
    rig_trace("c.read");
    cr_assert_eq(rig_state(&c).readable_length, 2); /* no more than there is room for */
    read_text(&c, CRIER_STREAM_ALL, "mmm");
    rig_trace("c.read");
    turn();
    rig_trace("c.read c.transform(y)");
    crier_stream_release(c.stream);
}
