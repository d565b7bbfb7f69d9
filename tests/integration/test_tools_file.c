/* test_tools_file.c: `crier emit --file` and `crier on --to-file`: identical at the other end, or said to be not whole. */
#include "tests/integration/tools_process.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct broker *broker;
static const char *url;
static char folder[] = "/tmp/crier-file-XXXXXX";
static char from[64], to[64], part[80];

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert(broker != NULL);
    url = broker_url(broker);
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(from, sizeof(from), "%s/from", folder);
    snprintf(to, sizeof(to), "%s/to", folder);
    snprintf(part, sizeof(part), "%s.part", to);
}

static void teardown(void)
{
    unlink(from);
    unlink(to);
    unlink(part);
    rmdir(folder);
    cr_assert(eq(int, broker_destroy(broker), 0));
}

TestSuite(tools_file, .init = setup, .fini = teardown, .timeout = 120);

/* Bytes that no chunk repeats. */
static void make_file(size_t size)
{
    FILE *file = fopen(from, "w");

    for (size_t i = 0; i < size; i += 8)
        fprintf(file, "%0*zx", size - i < 8 ? (int)(size - i) : 8, size - i < 8 ? (size_t)0 : i);
    cr_assert(eq(int, fclose(file), 0));
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void expect_same(void)
{
    FILE *one = fopen(from, "r"), *other = fopen(to, "r");
    int a, b;

    cr_assert(one != NULL && other != NULL);
    do {
        a = fgetc(one);
        b = fgetc(other);
    } while (a == b && a != EOF);
    cr_assert(eq(int, a, b));
    fclose(one);
    fclose(other);
    cr_assert(not(exists(part)));
}

static void send_and_receive(size_t size, const char *chunk)
{
    struct process *on, *emit;

    make_file(size);
    on = crier_start(url, "on", "files", "--to-file", to, "--verbose", NULL);
    process_expect_error(on, "listening to");
    emit = crier_start(url, "emit", "files", "--file", from, "--chunk", chunk, NULL);
    cr_assert(eq(int, process_wait(emit), 0), "%s", process_errors(emit));
    cr_assert(eq(int, process_wait(on), 0), "%s", process_errors(on));
    process_destroy(emit);
    process_destroy(on);
    expect_same();
}

Test(tools_file, a_file_is_the_same_at_the_other_end)
{
    send_and_receive(10u * 1000 * 1000 + 3, "64K");
}

Test(tools_file, of_any_size_in_any_chunks)
{
    send_and_receive(0, "64K");
    send_and_receive(1, "1");
    send_and_receive(128, "64");
    send_and_receive(1000, "7");
    send_and_receive(3000000, "1000000");
}

/* A pipe may have nothing for a long time: that is no reason not to listen to who wants it stopped. */
Test(tools_file, what_comes_through_a_pipe_is_sent_and_can_be_stopped)
{
    struct process *on = crier_start(url, "on", "files", "--to-file", to, "--verbose", NULL);
    process_expect_error(on, "listening to");
    make_file(300000);
    FILE *file = fopen(from, "r");
    char bytes[300000];
    cr_assert(file != NULL && fread(bytes, 1, sizeof(bytes), file) == sizeof(bytes));
    fclose(file);
    struct process *emit = crier_start(url, "emit", "files", "--file", "-", NULL);
    process_write_bytes(emit, bytes, sizeof(bytes));
    cr_assert(eq(int, process_end(emit), 0));
    cr_assert(eq(int, process_end(on), 0));
    expect_same();

    on = crier_start(url, "on", "stopped", "--verbose", NULL);
    process_expect_error(on, "listening to");
    emit = crier_start(url, "emit", "stopped", "--file", "-", "--chunk", "8", NULL);
    process_write(emit, "a chunk\nand a part");
    cr_assert_str_eq(process_line(on), "a chunk");
    process_signal(emit, SIGTERM);
    process_expect_error(emit, "not emitted whole: stopped");
    cr_assert(eq(int, process_end(emit), 1));
    process_signal(on, SIGTERM);
    process_end(on);
}

/* Else it is not to be told from one that waits for a sender. */
Test(tools_file, a_file_that_had_begun_before_is_passed_over_and_that_is_said)
{
    struct process *first = crier_start(url, "on", "files", "--count", "1", "--verbose", NULL);
    process_expect_error(first, "listening to");
    struct process *emit = crier_start(url, "emit", "files", "--file", "-", "--chunk", "4", NULL);
    process_write(emit, "one\n");
    cr_assert(eq(int, process_end(first), 0));
    struct process *on = crier_start(url, "on", "files", "--to-file", to, "--verbose", NULL);
    process_expect_error(on, "listening to");
    process_write(emit, "two\n");
    process_expect_error(on, "passing over a file that had begun before");
    cr_assert(eq(int, process_end(emit), 0));
    make_file(1000);
    cr_assert(eq(int, process_end(crier_start(url, "emit", "files", "--file", from, NULL)), 0));
    cr_assert(eq(int, process_end(on), 0));
    expect_same();
}

/* How many bytes of batches the topic holds. */
static long bytes_in(const char *topic)
{
    struct process *describe = crier_start(url, "topic", "describe", topic, "--json", NULL);
    cr_assert(eq(int, process_wait(describe), 0), "%s", process_errors(describe));
    const char *bytes = strstr(process_output(describe, NULL), "\"partitions\"");
    bytes = bytes != NULL ? strstr(bytes, "\"bytes\": ") : NULL;
    cr_assert(bytes != NULL, "%s", process_output(describe, NULL));
    long count = atol(bytes + strlen("\"bytes\": "));
    process_destroy(describe);
    return count;
}

Test(tools_file, a_compressed_one_is_small_in_the_log_and_the_same_at_the_other_end)
{
    static const char *const codecs[] = {"lz4", "zstd"};
    make_file(2000000);
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        const char *topic = codecs[i];
        struct process *emit = crier_start(url, "emit", topic, "--file", from, "--compress", codecs[i], NULL);
        cr_assert(eq(int, process_wait(emit), 0), "%s", process_errors(emit));
        process_destroy(emit);
        cr_assert(lt(long, bytes_in(topic), 2000000 * 3 / 4), "%s", codecs[i]);
        cr_assert(eq(
            int, process_end(crier_start(url, "on", topic, "--from", "earliest", "--to-file", to, NULL)), 0));
        expect_same();
    }
}

/* It can be fetched later, from the log, and lines of others in between do not matter. */
Test(tools_file, a_file_is_fetched_from_the_log)
{
    make_file(100000);
    cr_assert(eq(int, process_end(crier_start(url, "emit", "files", "not of a file", NULL)), 0));
    cr_assert(
        eq(int, process_end(crier_start(url, "emit", "files", "--file", from, "--chunk", "1K", NULL)), 0));
    cr_assert(eq(int, process_end(crier_start(url, "emit", "files", "nor this", NULL)), 0));
    cr_assert(eq(
        int, process_end(crier_start(url, "on", "files", "--from", "earliest", "--to-file", to, NULL)), 0));
    expect_same();
}

static void expect_not_whole(struct process *on, const char *why)
{
    cr_assert(eq(int, process_wait(on), 1));
    cr_assert(strstr(process_errors(on), "is not whole") != NULL, "%s", process_errors(on));
    cr_assert(strstr(process_errors(on), why) != NULL, "%s", process_errors(on));
    process_destroy(on);
    cr_assert(not(exists(to)));
    cr_assert(not(exists(part)), "nothing half is left behind");
}

static void emit_chunk(const char *number, const char *extra)
{
    char chunk[64];

    snprintf(chunk, sizeof(chunk), "crier-chunk=%s", number);
    cr_assert(eq(int,
                 process_end(crier_start(url, "emit", "files", "bytes", "--header",
                                         "crier-file=0123456789abcdef0123456789abcdef", "--header", chunk,
                                         "--header", extra, NULL)),
                 0));
}

static struct process *fetch(void)
{
    return crier_start(url, "on", "files", "--from", "earliest", "--to-file", to, "--timeout", "500ms", NULL);
}

Test(tools_file, a_missing_chunk_is_told)
{
    emit_chunk("0", "x=y");
    emit_chunk("2", "x=y");
    expect_not_whole(fetch(), "chunk 1 is missing");
}

Test(tools_file, a_wrong_size_is_told)
{
    emit_chunk("0", "x=y");
    emit_chunk("1", "crier-end=6");
    expect_not_whole(fetch(), "5 bytes came, and there should be 6");
}

Test(tools_file, a_sender_that_gives_up_says_so)
{
    emit_chunk("0", "x=y");
    emit_chunk("1", "crier-abort=tired");
    expect_not_whole(fetch(), "gave up after 5 bytes: tired");
}

Test(tools_file, a_sender_that_is_gone_is_told_by_the_timeout)
{
    emit_chunk("0", "x=y");
    expect_not_whole(fetch(), "5 bytes came, and no end");
}

/* A sender that is stopped in the middle tells, and fails; whoever listens does too. */
Test(tools_file, a_sender_that_is_stopped_tells)
{
    struct process *on = crier_start(url, "on", "files", "--to-file", to, "--verbose", NULL), *emit;
    int status;

    make_file(60u * 1000 * 1000);
    process_expect_error(on, "listening to");
    emit = crier_start(url, "emit", "files", "--file", from, "--chunk", "64",
                       NULL); /* a million: it takes a while */
    process_signal(emit, SIGTERM);
    status = process_wait(emit);
    cr_assert(status == 1 || status == -SIGTERM, "%d", status); /* very early nothing catches it */
    process_destroy(emit);
    process_signal(on, SIGTERM); /* if the sender was stopped before its first chunk */
    expect_not_whole(on, to);
}

Test(tools_file, bad_usage_is_refused)
{
    make_file(1);
    cr_assert(eq(int, process_end(crier_start(url, "emit", "files", "value", "--file", from, NULL)), 2));
    cr_assert(
        eq(int, process_end(crier_start(url, "emit", "files", "--file", from, "--chunk", "0", NULL)), 2));
    cr_assert(eq(int, process_end(crier_start(url, "emit", "files", "--file", "/nowhere/at/all", NULL)), 1));
    cr_assert(eq(int, process_end(crier_start(url, "emit", "files", "--file", folder, NULL)), 1), "a folder");
    cr_assert(eq(int, process_end(crier_start(url, "on", "files", "--to-file", "/nowhere/at/all", NULL)), 1));
}
