/* test_client_stream.c: a file through a broker and back, by streams alone: file, lines, topic; topic, file. For ThreadSanitizer too, so
 * without Criterion. */
#include "base/check.h"
#include "crier/stream_ends.h"
#include "tests/support/broker_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES   20000
#define WAIT_MS 60000

static char folder[] = "/tmp/crier-stream-XXXXXX", from[64], to[64];

static void file_make(void)
{
    FILE *file;

    CHECK(mkdtemp(folder));
    snprintf(from, sizeof(from), "%s/from", folder);
    snprintf(to, sizeof(to), "%s/to", folder);
    CHECK((file = fopen(from, "w")));
    for (unsigned i = 0; i < LINES; i++)
        CHECK(fprintf(file, "line %u%*s\n", i, (int)(i % 50), "") > 0);
    CHECK(fclose(file) == 0);
}

static int settled(crier *bus, crier_stream **all, size_t count)
{
    crier_future *future;
    int rc;

    CHECK(crier_pipeline(bus, all, count, &future) == 0);
    for (size_t i = 0; i < count; i++)
        crier_stream_release(all[i]);
    rc = crier_future_wait(future, WAIT_MS, NULL);
    crier_future_release(future);
    return rc;
}

/* Items back to lines. */
static void unline(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    (void)ctx;
    CHECK(crier_stream_push_chunk(stream, chunk) >= 0);
    CHECK(crier_stream_push(stream, "\n", 1) >= 0);
    CHECK(crier_stream_done(stream, 0, NULL) == 0);
}

static crier_stream *unliner(crier *bus)
{
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops), .transform = unline};
    crier_stream *stream;

    options.writable_items = true;
    CHECK(crier_stream_create(bus, CRIER_TRANSFORM, &ops, NULL, &options, &stream) == 0);
    return stream;
}

static bool same(void)
{
    FILE *one = fopen(from, "r"), *two = fopen(to, "r");
    int a, b;

    CHECK(one && two);
    do {
        a = getc(one);
        b = getc(two);
    } while (a == b && a != EOF);
    fclose(one);
    fclose(two);
    return a == b;
}

int main(void)
{
    struct broker *broker = broker_start(NULL);
    struct crier_listen_options listen = crier_listen_options_default();
    crier_pool *pool;
    crier *bus;
    crier_stream *in[3], *out[3];

    file_make();
    CHECK(broker && crier_pool_create(NULL, &pool) == 0);
    CHECK(crier_open(broker_url(broker), NULL, &bus) == 0);
    CHECK(crier_file_readable(bus, pool, from, &in[0]) == 0);
    CHECK(crier_lines(bus, 0, &in[1]) == 0);
    CHECK(crier_topic_writable(bus, "lines", NULL, &in[2]) == 0);
    CHECK(settled(bus, in, 3) == 0); /* all are acknowledged */

    listen.from = CRIER_EARLIEST;
    listen.count = LINES; /* a topic has no end of its own */
    CHECK(crier_topic_readable(bus, "lines", &listen, &out[0]) == 0);
    out[1] = unliner(bus);
    CHECK(crier_file_writable(bus, pool, to, &out[2]) == 0);
    CHECK(settled(bus, out, 3) == 0);
    CHECK(crier_close(bus) == 0);
    CHECK(crier_pool_destroy(pool) == 0);
    CHECK(broker_destroy(broker) == 0);
    CHECK(same());
    unlink(from);
    unlink(to);
    rmdir(folder);
    return 0;
}
