/* No memory for streams: an error, no leak, no crash, and never a byte that is missing without one. */
#include "stream_rig.h"

#include "crier/stream_ends.h"
#include "crier/transform.h"

#include "tests/support/allocation.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const words[] = {"one ", "two ", "three ", "four", NULL};
static char got[256];

static void keep_write(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    (void)ctx;
    strncat(got, chunk->data, chunk->size);
    crier_stream_done(stream, 0, NULL);
}

static void keep_destroy(crier_stream *stream, int code, void *ctx)
{
    (void)ctx;
    crier_stream_destroy_done(stream, code, NULL);
}

static void ignore(const crier_stream_event *event, void *ctx)
{
    (void)event, (void)ctx;
}

static int quiet_error(crier *emitter, const crier_event *event, void *ctx)
{
    (void)emitter, (void)ctx;
    cr_assert(event->error == CRIER_ENOMEM || event->error == CRIER_ECLOSED || event->error == CRIER_EHANDLER,
              "%d", event->error);
    return 0;
}

static int make(crier *local, enum crier_stream_type type, struct rig *rig)
{
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops)};
    options.readable_high_watermark = options.writable_high_watermark = 3;
    if (type == CRIER_TRANSFORM)
        ops.transform = rig_transform;
    else if (type == CRIER_READABLE)
        ops.read = rig_read;
    else
        ops.write = keep_write;
    return crier_stream_create(local, type, &ops, rig, &options, &rig->stream);
}

/* 0 or CRIER_ENOMEM: how it ended. */
static int everything(void)
{
    struct crier_options options = crier_options_default();
    struct rig from = {.name = "a", .source = words}, through = {.name = "c"}, to = {.name = "b"};
    crier_future *future = NULL, *finished = NULL;
    crier_chunk *chunk = NULL;
    crier *local;
    int rc;

    trace[0] = got[0] = '\0';
    options.polled = true;
    if ((rc = crier_open("local:", &options, &local)) < 0)
        return rc;
    (void)crier_on(local, "error", quiet_error, NULL);
    if ((rc = make(local, CRIER_READABLE, &from)) == 0 &&
        (rc = make(local, CRIER_TRANSFORM, &through)) == 0 && (rc = make(local, CRIER_WRITABLE, &to)) == 0) {
        crier_stream *all[] = {from.stream, through.stream, to.stream};
        (void)crier_stream_on(from.stream, CRIER_STREAM_PAUSE, rig_event, &from);
        (void)crier_chunk_create("zero ", 5, &chunk);
        if (chunk && crier_stream_unshift(from.stream, chunk) == CRIER_ENOMEM)
            rc = CRIER_ENOMEM;
        else if ((rc = crier_pipeline(local, all, 3, &future)) == 0)
            (void)crier_stream_finished(to.stream, &finished);
        for (int i = 0; i < 60; i++)
            crier_process(local);
        if (rc == 0)
            rc = rig_code(future);
        crier_chunk_release(chunk);
        crier_future_release(finished);
    }
    cr_assert(rc == 0 || rc == CRIER_ENOMEM, "%d", rc);
    if (rc == 0 && chunk)
        cr_assert_str_eq(got, "<zero <one <two <three <four");
    crier_stream_release(from.stream);
    crier_stream_release(through.stream);
    crier_stream_release(to.stream);
    crier_close(local);
    return rc;
}

/* The calls that a pipeline makes inside, by hand, with items, and destroying. */
static int by_hand(void)
{
    struct crier_options options = crier_options_default();
    struct crier_stream_options items = crier_stream_options_default();
    struct crier_stream_ops reading = {.struct_size = sizeof(reading)};
    struct crier_stream_ops writing = {
        .struct_size = sizeof(writing), .write = keep_write, .destroy = keep_destroy};
    struct crier_stream_state state;
    crier_event event = {.topic = "x", .key = "k", .key_size = 1, .value = "item", .value_size = 4};
    crier_header header = {"name", 4, "value", 5};
    crier_stream *from = NULL, *to = NULL;
    crier_chunk *chunk = NULL, *back = NULL;
    crier *local;
    bool refused = false;
    int rc;

    options.polled = true;
    got[0] = '\0';
    items.readable_items = items.writable_items = true;
    if ((rc = crier_open("local:", &options, &local)) < 0)
        return rc;
    (void)crier_on(local, "error", quiet_error, NULL);
    if (crier_stream_create(local, CRIER_READABLE, &reading, NULL, &items, &from) == 0 &&
        crier_stream_create(local, CRIER_WRITABLE, &writing, &items, &items, &to) == 0 &&
        crier_chunk_create_item(&event, &header, 1, &chunk) == 0) {
        cr_assert_eq(crier_stream_ctx(to), &items);
        refused |= crier_stream_once(from, CRIER_STREAM_PAUSE, ignore, NULL) == CRIER_ENOMEM;
        refused |= crier_stream_pipe(from, to, true) == CRIER_ENOMEM;
        refused |= crier_stream_push_chunk(from, chunk) == CRIER_ENOMEM;
        refused |= crier_stream_push(from, "pushed", 6) == CRIER_ENOMEM;
        for (int i = 0; i < 10; i++)
            crier_process(local);
        (void)crier_stream_unpipe(from, to);
        (void)crier_stream_off(from, CRIER_STREAM_PAUSE, ignore, NULL);
        (void)crier_stream_pause(from);
        (void)crier_stream_push(from, "later", 5);
        refused |= crier_stream_read(from, CRIER_STREAM_ALL, &back) == CRIER_ENOMEM;
        refused |= crier_stream_write_chunk(to, chunk) == CRIER_ENOMEM;
        refused |= crier_stream_write(to, "written", 7) == CRIER_ENOMEM;
        (void)crier_stream_end(to);
        (void)crier_stream_resume(from);
        for (int i = 0; i < 10; i++)
            crier_process(local);
        cr_assert_eq(crier_stream_state(to, &state), 0);
        refused |= state.code == CRIER_ENOMEM;
        (void)crier_stream_state(from, &state);
        refused |= state.code == CRIER_ENOMEM;
        (void)crier_stream_destroy(crier_stream_retain(from), 0, NULL);
        crier_stream_release(from);
        crier_chunk_release(crier_chunk_retain(back));
        if (!refused)
            cr_assert_str_eq(got, "itempusheditemwritten");
    } else {
        refused = true;
    }
    crier_chunk_release(chunk);
    crier_chunk_release(back);
    crier_stream_release(from);
    crier_stream_release(to);
    crier_close(local);
    return refused ? CRIER_ENOMEM : 0;
}

static char path[] = "/tmp/crier-stream-XXXXXX";

/* File to lines to topic, and that to a file of /dev/null. The pool has one thread, and the loop waits for it. */
static int ends(void)
{
    struct crier_pool_options pool_options = crier_pool_options_default();
    struct crier_options options = crier_options_default();
    crier_stream *all[3] = {NULL}, *topic = NULL, *null = NULL;
    crier_future *future = NULL;
    crier_pool *pool;
    crier *local;
    crier_result result;
    int rc;

    options.polled = true;
    pool_options.threads = 1;
    if (crier_pool_create(&pool_options, &pool) < 0)
        return CRIER_ENOMEM;
    if ((rc = crier_open("local:", &options, &local)) < 0) {
        crier_pool_destroy(pool);
        return rc;
    }
    (void)crier_on(local, "error", quiet_error, NULL);
    if ((rc = crier_topic_readable(local, "x", NULL, &topic)) == 0 &&
        (rc = crier_file_writable(local, pool, "/dev/null", &null)) == 0 &&
        (rc = crier_file_readable(local, pool, path, &all[0])) == 0 &&
        (rc = crier_lines(local, 0, &all[1])) == 0 &&
        (rc = crier_topic_writable(local, "x", NULL, &all[2])) == 0 &&
        (rc = crier_pipeline(local, all, 3, &future)) == 0) {
        (void)crier_stream_resume(topic);
        (void)crier_stream_write(null, "x", 1);
        (void)crier_stream_end(null);
        for (int i = 0; i < 200000 && crier_future_result(future, &result) == CRIER_EAGAIN; i++)
            crier_process(local);
        rc = rig_code(future);
    }
    cr_assert(rc == 0 || rc == CRIER_ENOMEM, "%d", rc);
    for (int i = 0; i < 3; i++)
        crier_stream_release(all[i]);
    crier_stream_release(topic);
    crier_stream_release(null);
    crier_close(local);
    cr_assert_eq(crier_pool_destroy(pool), 0);
    return rc;
}

/* Through a codec and back. What the libraries allocate does not fail here. */
static int codecs(void)
{
    struct crier_options options = crier_options_default();
    struct rig to = {.name = "b"};
    crier_stream *small = NULL, *plain = NULL;
    crier_future *future = NULL;
    crier *local;
    int rc;

    options.polled = true;
    got[0] = '\0';
    if ((rc = crier_open("local:", &options, &local)) < 0)
        return rc;
    (void)crier_on(local, "error", quiet_error, NULL);
    if ((rc = crier_compress(local, NULL, &small)) == 0 &&
        (rc = crier_decompress(local, NULL, &plain)) == 0 && (rc = make(local, CRIER_WRITABLE, &to)) == 0) {
        crier_stream *all[] = {small, plain, to.stream};
        if ((rc = crier_pipeline(local, all, 3, &future)) == 0 &&
            (rc = crier_stream_write(small, "text", 4)) >= 0)
            rc = crier_stream_end(small);
        else if (future)
            (void)crier_stream_destroy(small, rc, NULL);
        for (int i = 0; i < 60; i++)
            crier_process(local);
        rc = future ? rig_code(future) : rc;
    }
    cr_assert(rc == 0 || rc == CRIER_ENOMEM, "%d", rc);
    if (rc == 0)
        cr_assert_str_eq(got, "text");
    crier_stream_release(small);
    crier_stream_release(plain);
    crier_stream_release(to.stream);
    crier_close(local);
    return rc;
}

/* A table to rows and back. */
static int tables(void)
{
    struct crier_options options = crier_options_default();
    struct crier_csv_options table = crier_csv_options_default();
    const char *text = "a,b\r\n1,\"2,3\"\r\n4,";
    struct rig to = {.name = "b"};
    crier_stream *reader = NULL, *writer = NULL;
    crier_future *future = NULL;
    crier *local;
    int rc;

    options.polled = true;
    table.key_column = "b";
    table.lf = true;
    got[0] = '\0';
    if ((rc = crier_open("local:", &options, &local)) < 0)
        return rc;
    (void)crier_on(local, "error", quiet_error, NULL);
    if ((rc = crier_csv_reader(local, &table, &reader)) == 0 &&
        (rc = crier_csv_writer(local, &table, &writer)) == 0 &&
        (rc = make(local, CRIER_WRITABLE, &to)) == 0) {
        crier_stream *all[] = {reader, writer, to.stream};
        if ((rc = crier_pipeline(local, all, 3, &future)) == 0 &&
            (rc = crier_stream_write(reader, text, strlen(text))) >= 0)
            rc = crier_stream_end(reader);
        else if (future)
            (void)crier_stream_destroy(reader, rc, NULL);
        for (int i = 0; i < 60; i++)
            crier_process(local);
        rc = future ? rig_code(future) : rc;
    }
    cr_assert(rc == 0 || rc == CRIER_ENOMEM, "%d", rc);
    if (rc == 0)
        cr_assert_str_eq(got, "a,b\n1,\"2,3\"\n4,\n");
    crier_stream_release(reader);
    crier_stream_release(writer);
    crier_stream_release(to.stream);
    crier_close(local);
    return rc;
}

/* A file's descriptor into one of a socket, of which both ends are streams. */
static int descriptors(void)
{
    struct crier_pool_options pool_options = crier_pool_options_default();
    struct crier_options options = crier_options_default();
    crier_stream *all[2] = {NULL}, *peer = NULL;
    crier_future *future = NULL;
    crier_pool *pool;
    crier *local;
    crier_result result;
    int rc, fds[3] = {open(path, O_RDONLY), -1, -1};

    options.polled = true;
    pool_options.threads = 1;
    cr_assert(fds[0] >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, fds + 1) == 0);
    if (crier_pool_create(&pool_options, &pool) < 0) {
        pool = NULL;
        rc = CRIER_ENOMEM;
    } else if ((rc = crier_open("local:", &options, &local)) == 0) {
        (void)crier_on(local, "error", quiet_error, NULL);
        if ((rc = crier_fd_readable(local, pool, fds[0], &all[0])) == 0 &&
            (rc = crier_fd_writable(local, NULL, fds[1], &all[1])) == 0 &&
            (rc = crier_fd_duplex(local, fds[2], &peer)) == 0 &&
            (rc = crier_pipeline(local, all, 2, &future)) == 0) {
            (void)crier_stream_resume(peer);
            for (int i = 0; i < 200000 && crier_future_result(future, &result) == CRIER_EAGAIN; i++)
                crier_process(local);
            rc = rig_code(future);
        }
        crier_stream_release(all[0]);
        crier_stream_release(all[1]);
        crier_stream_release(peer);
        crier_close(local);
    }
    cr_assert(rc == 0 || rc == CRIER_ENOMEM, "%d", rc);
    for (int i = 0; i < 3; i++) /* what no stream took */
        (void)close(fds[i]);
    if (pool)
        cr_assert_eq(crier_pool_destroy(pool), 0);
    return rc;
}

static void at_every_allocation(int (*run)(void), unsigned allocations_min)
{
    unsigned n = 0, refused = 0;
    allocation_never_fail();
    cr_assert_eq(run(), 0); /* what is made once */
    for (bool failed = true; failed; n++) {
        long out = allocation_out();
        allocation_fail_after(n);
        refused += run() == CRIER_ENOMEM;
        failed = allocation_failed();
        allocation_never_fail();
        cr_assert_eq(allocation_out(), out, "allocation %u: %ld blocks are left", n, allocation_out() - out);
        cr_assert_lt(n, 1000);
    }
    cr_assert_gt(n, allocations_min);
    cr_assert_gt(refused, allocations_min / 2);
}

Test(memory, no_allocation_that_fails_loses_a_byte_or_leaks)
{
    at_every_allocation(everything, 30);
}

Test(memory, nor_an_item)
{
    at_every_allocation(by_hand, 20);
}

Test(memory, nor_the_ends)
{
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, "one\ntwo\nthree", 13) == 13 && close(fd) == 0);
    at_every_allocation(ends, 40);
    at_every_allocation(descriptors, 20);
    unlink(path);
}

Test(memory, nor_the_codecs)
{
    at_every_allocation(codecs, 20);
}

Test(memory, nor_the_tables)
{
    at_every_allocation(tables, 40);
}
