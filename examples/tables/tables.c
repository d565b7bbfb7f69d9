/* tables.c: a compressed table into a topic, and a topic into a compressed table: streams from end to end.
 *
 *     copy_tables import crier://127.0.0.1:27437 orders order_id <orders.csv.zst
 *     copy_tables export crier://127.0.0.1:27437 orders >orders.csv.zst
 *
 * import: standard input, zstd or lz4, to rows, to events: a header for each field, `order_id` the key. Ends when the last event is
 * on the broker's disk.
 * export: what the topic holds now, to rows, to zstd, to standard output. Of a topic with several partitions the rows of each key come in
 * order, and those of different keys as they are read.
 *
 * Memory is constant, whatever the size: the slowest step holds up the others. Standard input and output may be files, pipes or sockets:
 * what cannot be waited for, and what computes, goes by the worker pool. Exit status 1, and why, if anything fails, in whichever step. */
#include <crier/crier.h>
#include <crier/stream_ends.h>
#include <crier/transform.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int failed(const char *what, int code)
{
    fprintf(stderr, "tables: %s: %s\n", what, crier_strerror(code));
    return code;
}

/* One into the next, until the last is through. Takes the streams. */
static int run(crier *bus, crier_stream **steps, size_t count)
{
    crier_future *done;
    crier_result result;
    int rc = crier_pipeline(bus, steps, count, &done);

    for (size_t i = 0; i < count; i++)
        crier_stream_release(steps[i]);
    if (rc < 0)
        return failed("pipeline", rc);
    if ((rc = crier_future_wait(done, -1, &result)) < 0)
        fprintf(stderr, "tables: %s\n", result.text ? result.text : crier_strerror(rc));
    crier_future_release(done);
    return rc;
}

static int import_table(crier *bus, crier_pool *pool, const char *topic, const char *key_column)
{
    struct crier_decompress_options decompress = crier_decompress_options_default();
    struct crier_csv_options table = crier_csv_options_default();
    crier_stream *steps[4] = {NULL};
    int rc;

    decompress.pool = pool;
    table.key_column = key_column;
    if ((rc = crier_fd_readable(bus, pool, STDIN_FILENO, &steps[0])) == 0 &&
        (rc = crier_decompress(bus, &decompress, &steps[1])) == 0 &&
        (rc = crier_csv_reader(bus, &table, &steps[2])) == 0 &&
        (rc = crier_topic_writable(bus, topic, NULL, &steps[3])) == 0)
        return run(bus, steps, 4);
    for (size_t i = 0; i < 4; i++)
        crier_stream_release(steps[i]); /* those that were made */
    return failed("import", rc);
}

static void count_events(void *ctx, const struct crier_topic_info *info)
{
    for (uint32_t i = 0; i < info->partition_count; i++)
        *(uint64_t *)ctx += info->partitions[i].high_watermark - info->partitions[i].log_start;
}

static int export_table(crier *bus, crier_pool *pool, const char *topic)
{
    struct crier_compress_options compress = crier_compress_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    crier_stream *steps[4] = {NULL};
    int rc;

    compress.pool = pool;
    listen.from = CRIER_EARLIEST;
    if ((rc = crier_topic_describe(bus, topic, count_events, &listen.count)) < 0)
        return failed(topic, rc);
    if (listen.count == 0)
        return 0; /* no rows, and so no names of columns either */
    if ((rc = crier_topic_readable(bus, topic, &listen, &steps[0])) == 0 &&
        (rc = crier_csv_writer(bus, NULL, &steps[1])) == 0 &&
        (rc = crier_compress(bus, &compress, &steps[2])) == 0 &&
        (rc = crier_fd_writable(bus, pool, STDOUT_FILENO, &steps[3])) == 0)
        return run(bus, steps, 4);
    for (size_t i = 0; i < 4; i++)
        crier_stream_release(steps[i]);
    return failed("export", rc);
}

int main(int argc, char **argv)
{
    bool imports = argc >= 4 && strcmp(argv[1], "import") == 0;
    char why[256];
    struct crier_options options = crier_options_default();
    crier_pool *pool;
    crier *bus;
    int rc, closed;

    if (argc < 4 || argc > 4 + imports || (!imports && strcmp(argv[1], "export") != 0)) {
        fprintf(stderr, "usage: copy_tables import URL TOPIC [KEY COLUMN] <TABLE\n       copy_tables export "
                        "URL TOPIC >TABLE\n");
        return 2;
    }
    options.error_text = why;
    options.error_text_size = sizeof(why);
    if ((rc = crier_pool_create(NULL, &pool)) < 0)
        return failed("pool", rc) < 0;
    if (crier_open(argv[2], &options, &bus) < 0) {
        fprintf(stderr, "tables: %s\n", why);
        (void)crier_pool_destroy(pool);
        return 1;
    }
    rc = imports ? import_table(bus, pool, argv[3], argv[4]) : export_table(bus, pool, argv[3]);
    if ((closed = crier_close(bus)) < 0 && rc == 0)
        rc = failed("close", closed);
    (void)crier_pool_destroy(pool);
    return rc < 0;
}
