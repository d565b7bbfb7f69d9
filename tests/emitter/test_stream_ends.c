/* The ends of streams: files, lines, topics, on a bus of local:. Listed in docs/stream-conformance.md; with a broker in
 * tests/integration/test_client_stream.c. */
#include "crier/stream_ends.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE 300001

static crier *bus;
static crier_pool *pool;
static char folder[] = "/tmp/crier-stream-XXXXXX", from[64], to[64];
static char told[4096];

static void open_all(void)
{
    struct crier_pool_options options = crier_pool_options_default();
    options.threads = 2;
    cr_assert(mkdtemp(folder));
    snprintf(from, sizeof(from), "%s/from", folder);
    snprintf(to, sizeof(to), "%s/to", folder);
    cr_assert_eq(crier_pool_create(&options, &pool), 0);
    cr_assert_eq(crier_open("local:", NULL, &bus), 0);
}

static void close_all(void)
{
    crier_close(bus);
    cr_assert_eq(crier_pool_destroy(pool), 0);
    unlink(from);
    unlink(to);
    rmdir(folder);
}

TestSuite(ends, .init = open_all, .fini = close_all);

static void file_put(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "w");
    cr_assert(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static char *file_get(const char *path, size_t *ret_size)
{
    char *data = malloc(SIZE + 1);
    FILE *file = fopen(path, "r");
    cr_assert(file && data);
    *ret_size = fread(data, 1, SIZE + 1, file);
    fclose(file);
    return data;
}

/* How a pipeline of these ended; gives them back. */
static int piped(crier *on, crier_stream **all, size_t count)
{
    crier_future *future;
    int rc = crier_pipeline(on, all, count, &future);
    for (size_t i = 0; i < count; i++)
        crier_stream_release(all[i]);
    if (rc < 0)
        return rc;
    rc = crier_future_wait(future, 20000, NULL);
    crier_future_release(future);
    return rc;
}

static int tell(crier *emitter, const crier_event *event, void *ctx)
{
    size_t at = strlen(told);
    (void)emitter, (void)ctx;
    snprintf(told + at, sizeof(told) - at, "[%.*s]", (int)event->value_size, (const char *)event->value);
    return 0;
}

Test(ends, a_file_is_copied_byte_for_byte)
{
    char *data = malloc(SIZE), *copy;
    size_t size;
    crier_stream *all[2];
    cr_assert(data);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 2654435761u >> 13);
    file_put(from, data, SIZE);
    file_put(to, "what was there", 14);
    cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0);
    cr_assert_eq(crier_file_writable(bus, pool, to, &all[1]), 0);
    cr_assert_eq(piped(bus, all, 2), 0);
    copy = file_get(to, &size);
    cr_assert(size == SIZE && memcmp(copy, data, SIZE) == 0);
    free(data);
    free(copy);
}

Test(ends, an_empty_file_is_made)
{
    size_t size;
    crier_stream *all[2];
    file_put(from, "", 0);
    cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0);
    cr_assert_eq(crier_file_writable(bus, pool, to, &all[1]), 0);
    cr_assert_eq(piped(bus, all, 2), 0);
    free(file_get(to, &size));
    cr_assert_eq(size, 0);
}

Test(ends, what_the_system_refuses_fails_the_pipeline)
{
    crier_stream *all[2];
    cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0); /* not there */
    cr_assert_eq(crier_file_writable(bus, pool, to, &all[1]), 0);
    cr_assert_eq(piped(bus, all, 2), CRIER_EIO);
    file_put(from, "x", 1);
    cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0);
    cr_assert_eq(crier_file_writable(bus, pool, folder, &all[1]), 0); /* a folder */
    cr_assert_eq(piped(bus, all, 2), CRIER_EIO);
    cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0);
    cr_assert_eq(crier_file_writable(bus, pool, "/dev/full", &all[1]), 0);
    cr_assert_eq(piped(bus, all, 2), CRIER_EIO);
}

Test(ends, lines_become_events)
{
    crier_stream *all[3];
    crier_on(bus, "x", tell, NULL);
    file_put(from, "one\n\nthree\nlast", 15);
    cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0);
    cr_assert_eq(crier_lines(bus, 0, &all[1]), 0);
    cr_assert_eq(crier_topic_writable(bus, "x", NULL, &all[2]), 0);
    cr_assert_eq(piped(bus, all, 3), 0);
    cr_assert_str_eq(told, "[one][][three][last]");
}

Test(ends, a_line_across_chunks_is_one)
{
    char *data = malloc(SIZE);
    crier_stream *all[3];
    cr_assert(data);
    crier_on(bus, "x", tell, NULL);
    memset(data, 'a', SIZE);
    memcpy(data + SIZE - 3, "\nb\n", 3);
    file_put(from, data, SIZE);
    for (int i = 0; i < 2; i++) {
        told[0] = '\0';
        cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0);
        cr_assert_eq(crier_lines(bus, SIZE - 3 - (size_t)i, &all[1]), 0);
        cr_assert_eq(crier_topic_writable(bus, "x", NULL, &all[2]), 0);
        cr_assert_eq(piped(bus, all, 3), i == 0 ? 0 : CRIER_ETOOBIG);
        cr_assert_eq(strncmp(told, i == 0 ? "[aaaa" : "", 5), 0);
    }
    free(data);
}

Test(ends, an_emit_that_is_refused_fails_the_pipeline)
{
    crier_stream *all[3];
    file_put(from, "1\n2\n", 4);
    cr_assert_eq(crier_file_readable(bus, pool, from, &all[0]), 0);
    cr_assert_eq(crier_lines(bus, 0, &all[1]), 0);
    cr_assert_eq(crier_topic_writable(bus, "error", NULL, &all[2]), 0);
    cr_assert_eq(piped(bus, all, 3), CRIER_EHANDLER); /* nobody hears the errors */
}

static void pass_on(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    (void)ctx;
    crier_stream_done(stream, chunk->size == 4 ? CRIER_ECANCELED : 0, NULL);
}

Test(ends, a_topic_is_read_until_it_is_destroyed)
{
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops), .write = pass_on};
    crier_stream *all[2];
    crier_future *future;
    options.writable_items = true;
    cr_assert_eq(crier_topic_readable(bus, "x", NULL, &all[0]), 0);
    cr_assert_eq(crier_stream_create(bus, CRIER_WRITABLE, &ops, NULL, &options, &all[1]), 0);
    cr_assert_eq(crier_pipeline(bus, all, 2, &future), 0);
    crier_stream_release(all[0]);
    crier_stream_release(all[1]);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(crier_emit(bus, "x", "abc", 3), 0);
    cr_assert_eq(crier_emit(bus, "x", "last", 4), 0);
    cr_assert_eq(crier_future_wait(future, 20000, NULL), CRIER_ECANCELED);
    crier_future_release(future);
}

Test(ends, a_topic_with_a_count_ends)
{
    struct crier_listen_options listen = crier_listen_options_default();
    crier_stream *all[2];
    crier_future *future;
    crier_on(bus, "y", tell, NULL);
    listen.count = 3;
    cr_assert_eq(crier_topic_readable(bus, "x", &listen, &all[0]), 0);
    cr_assert_eq(crier_topic_writable(bus, "y", NULL, &all[1]), 0);
    cr_assert_eq(crier_pipeline(bus, all, 2, &future), 0);
    crier_stream_release(all[0]);
    crier_stream_release(all[1]);
    for (char value = '1'; value <= '5'; value++)
        cr_assert_eq(crier_emit(bus, "x", &value, 1), 0);
    cr_assert_eq(crier_future_wait(future, 20000, NULL), 0);
    crier_future_release(future);
    cr_assert_str_eq(told, "[1][2][3]");
}

Test(ends, the_bus_may_be_closed_meanwhile)
{
    crier_stream *file, *topic, *sink;
    file_put(from, "x", 1);
    cr_assert_eq(crier_file_readable(bus, pool, from, &file), 0);
    cr_assert_eq(crier_topic_readable(bus, "x", NULL, &topic), 0);
    cr_assert_eq(crier_topic_writable(bus, "y", NULL, &sink), 0);
    crier_close(bus);
    crier_stream_release(file);
    crier_stream_release(topic);
    crier_stream_release(sink);
    cr_assert_eq(crier_open("local:", NULL, &bus), 0);
}

Test(ends, bad_arguments_of_ends_are_refused)
{
    struct crier_emit_options emit = crier_emit_options_default();
    crier_stream *stream;
    cr_assert_eq(crier_topic_readable(NULL, "x", NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_topic_readable(bus, "a b", NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_topic_readable(bus, NULL, NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_topic_writable(bus, NULL, NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_topic_writable(bus, "no name", NULL, &stream), CRIER_EINVAL);
    emit.key = "k";
    cr_assert_eq(crier_topic_writable(bus, "x", &emit, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_lines(NULL, 0, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_lines(bus, 0, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_file_readable(bus, NULL, from, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_file_readable(bus, pool, NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_file_writable(bus, NULL, to, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_file_writable(NULL, pool, to, &stream), CRIER_EINVAL);
}
