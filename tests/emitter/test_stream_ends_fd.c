/* Descriptors at the ends of streams, on buses of local: with a thread of their own and on the test's loop. Listed in
 * docs/stream-conformance.md. */
#include "crier/stream_ends.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE    300001
#define WAIT_MS 20000

static crier *bus;
static crier_pool *pool;
static char folder[] = "/tmp/crier-fd-XXXXXX", from[64], to[64];
static char *data;

static void open_all(void)
{
    cr_assert(mkdtemp(folder));
    snprintf(from, sizeof(from), "%s/from", folder);
    snprintf(to, sizeof(to), "%s/to", folder);
    cr_assert_eq(crier_pool_create(NULL, &pool), 0);
    cr_assert_eq(crier_open("local:", NULL, &bus), 0);
    cr_assert(data = malloc(SIZE));
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 2654435761u >> 13);
}

static void close_all(void)
{
    crier_close(bus);
    cr_assert_eq(crier_pool_destroy(pool), 0);
    unlink(from);
    unlink(to);
    rmdir(folder);
    free(data);
}

TestSuite(descriptors, .init = open_all, .fini = close_all, .timeout = 60);

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int file_of(const char *path, const void *bytes, size_t size, int flags)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
    cr_assert((fd = open(path, flags)) >= 0);
    return fd;
}

static void file_is(const char *path, const char *first, size_t first_size, const char *then,
                    size_t then_size)
{
    char *is = malloc(SIZE + 100);
    FILE *file = fopen(path, "r");
    cr_assert(is && file);
    cr_assert_eq(fread(is, 1, SIZE + 100, file), first_size + then_size);
    cr_assert(memcmp(is, first, first_size) == 0 && memcmp(is + first_size, then, then_size) == 0);
    fclose(file);
    free(is);
}

static crier_future *piped(crier_stream *a, crier_stream *b)
{
    crier_stream *all[] = {a, b};
    crier_future *future;
    cr_assert_eq(crier_pipeline(bus, all, 2, &future), 0);
    crier_stream_release(a);
    crier_stream_release(b);
    return future;
}

static int settled(crier_future *future)
{
    int rc = crier_future_wait(future, WAIT_MS, NULL);
    crier_future_release(future);
    return rc;
}

/* Smaller than a chunk, and read no faster than it is written: every write is partial. */
Test(descriptors, what_is_written_to_a_pipe_is_read_from_it)
{
    int ends[2], in = file_of(from, data, SIZE, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0600);
    crier_stream *file, *writer, *reader, *copy;
    crier_future *there, *back;
    cr_assert(out >= 0 && pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 0);
    cr_assert_eq(crier_fd_readable(bus, pool, in, &file), 0);
    cr_assert_eq(crier_fd_writable(bus, NULL, ends[1], &writer), 0);
    cr_assert_eq(crier_fd_readable(bus, NULL, ends[0], &reader), 0);
    cr_assert_eq(crier_fd_writable(bus, pool, out, &copy), 0);
    there = piped(file, writer);
    back = piped(reader, copy);
    cr_assert_eq(settled(there), 0);
    cr_assert_eq(settled(back), 0);
    file_is(to, data, SIZE, "", 0);
    cr_assert(!is_open(in) && !is_open(ends[0]) && !is_open(ends[1]) && !is_open(out));
}

Test(descriptors, a_file_goes_on_from_where_it_stands)
{
    int in = file_of(from, "one two", 7, O_RDONLY), out = file_of(to, "there: ", 7, O_WRONLY | O_APPEND);
    crier_stream *file, *copy;
    cr_assert_eq(lseek(in, 4, SEEK_SET), 4);
    cr_assert_eq(crier_fd_readable(bus, NULL, in, &file), CRIER_EINVAL); /* nothing would wait for a disk */
    cr_assert_eq(crier_fd_readable(bus, pool, in, &file), 0);
    cr_assert_eq(crier_fd_writable(bus, pool, out, &copy), 0);
    cr_assert_eq(settled(piped(file, copy)), 0);
    file_is(to, "there: ", 7, "two", 3);
}

/* ---- on the test's loop ---- */

static crier *polled;
static char heard[256];

static void polled_open(void)
{
    struct crier_options options = crier_options_default();
    options.polled = true;
    cr_assert_eq(crier_open("local:", &options, &polled), 0);
    heard[0] = '\0';
}

static void turn(void)
{
    for (int i = 0; i < 8; i++)
        crier_process(polled);
}

static void hear(const crier_stream_event *event, void *ctx)
{
    size_t at = strlen(heard);
    static const char *const names[CRIER_STREAM_KINDS] = {[CRIER_STREAM_END] = "end",
                                                          [CRIER_STREAM_FINISH] = "finish",
                                                          [CRIER_STREAM_DRAIN] = "drain",
                                                          [CRIER_STREAM_ERROR] = "error",
                                                          [CRIER_STREAM_CLOSE] = "close"};
    if (event->chunk)
        snprintf(heard + at, sizeof(heard) - at, "%s(%.*s) ", (const char *)ctx, (int)event->chunk->size,
                 (const char *)event->chunk->data);
    else
        snprintf(heard + at, sizeof(heard) - at, "%s.%s ", (const char *)ctx, names[event->kind]);
}

static void hear_all(crier_stream *stream, const char *name)
{
    static const enum crier_stream_kind kinds[] = {CRIER_STREAM_END, CRIER_STREAM_FINISH, CRIER_STREAM_DRAIN,
                                                   CRIER_STREAM_ERROR, CRIER_STREAM_CLOSE};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        cr_assert_eq(crier_stream_on(stream, kinds[i], hear, (void *)(uintptr_t)name), 0);
}

static void heard_is(const char *expected)
{
    turn();
    cr_assert_str_eq(heard, expected);
    heard[0] = '\0';
}

static bool waits(void)
{
    struct pollfd fd = {.fd = crier_fd(polled), .events = POLLIN};
    return poll(&fd, 1, 0) == 0;
}

Test(descriptors, nothing_there_is_waited_for)
{
    crier_stream *reader;
    int ends[2];
    polled_open();
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(crier_fd_readable(polled, NULL, ends[0], &reader), 0);
    hear_all(reader, "r");
    cr_assert_eq(crier_stream_on(reader, CRIER_STREAM_DATA, hear, (void *)(uintptr_t) "r"), 0);
    heard_is("");
    cr_assert(waits()); /* no turn after the other for nothing */
    cr_assert_eq(write(ends[1], "one", 3), 3);
    cr_assert(!waits());
    heard_is("r(one) ");
    cr_assert_eq(crier_stream_pause(reader), 0);
    cr_assert_eq(write(ends[1], "two", 3), 3);
    heard_is("");
    cr_assert_eq(crier_stream_resume(reader), 0);
    heard_is("r(two) ");
    cr_assert_eq(close(ends[1]), 0);
    heard_is("r.end r.close ");
    cr_assert(!is_open(ends[0]));
    crier_stream_release(reader);
    crier_close(polled);
}

/* 1 MiB into a pipe of 4 KiB: DRAIN comes when somebody has read it all. */
Test(descriptors, a_full_pipe_is_waited_for)
{
    char buffer[8192], *much = calloc(1, 1 << 20);
    crier_stream *writer;
    int ends[2];
    size_t size = 0;
    polled_open();
    cr_assert(much && pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 0);
    cr_assert_eq(crier_fd_writable(polled, NULL, ends[1], &writer), 0);
    hear_all(writer, "w");
    cr_assert_eq(crier_stream_write(writer, much, 1 << 20), 0);
    heard_is("");
    cr_assert(waits());
    while (size < 1 << 20) {
        ssize_t got = read(ends[0], buffer, sizeof(buffer));
        cr_assert(got > 0);
        size += (size_t)got;
        crier_process(polled);
        crier_process(polled);
    }
    heard_is("w.drain ");
    cr_assert_eq(crier_stream_end(writer), 0);
    heard_is("w.finish w.close ");
    cr_assert_eq(read(ends[0], buffer, 1), 0); /* closed */
    close(ends[0]);
    crier_stream_release(writer);
    crier_close(polled);
    free(much);
}

static void echo(const crier_stream_event *event, void *ctx)
{
    crier_stream *stream = event->stream;
    (void)ctx;
    if (event->chunk)
        cr_assert_eq(crier_stream_write_chunk(stream, (crier_chunk *)(uintptr_t)event->chunk), 1);
    else
        cr_assert_eq(crier_stream_end(stream), 0);
}

Test(descriptors, a_socket_has_two_sides_and_tells_the_end_of_one)
{
    crier_stream *a, *b;
    int ends[2], also;
    polled_open();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cr_assert((also = dup(ends[0])) >= 0); /* somebody else has it, too */
    cr_assert_eq(crier_fd_duplex(polled, ends[0], &a), 0);
    cr_assert_eq(crier_fd_duplex(polled, ends[1], &b), 0);
    hear_all(a, "a");
    hear_all(b, "b");
    cr_assert_eq(crier_stream_on(a, CRIER_STREAM_DATA, hear, (void *)(uintptr_t) "a"), 0);
    cr_assert_eq(crier_stream_on(b, CRIER_STREAM_DATA, echo, NULL), 0);
    cr_assert_eq(crier_stream_on(b, CRIER_STREAM_END, echo, NULL), 0);
    cr_assert_eq(crier_stream_write(a, "ping", 4), 1);
    heard_is("a(ping) ");
    cr_assert_eq(crier_stream_end(a), 0);
    for (int i = 0; i < 4; i++)
        turn();
    cr_assert(strstr(heard, "a.finish") && strstr(heard, "b.end") && strstr(heard, "b.finish") &&
                  strstr(heard, "b.close") && strstr(heard, "a.end") && strstr(heard, "a.close"),
              "%s", heard);
    cr_assert(!is_open(ends[0]) && !is_open(ends[1]));
    close(also);
    crier_stream_release(a);
    crier_stream_release(b);
    crier_close(polled);
}

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    signals++;
}

/* This thread blocks no signal: one would end the program. One that was waiting before, waits. */
Test(descriptors, nobody_reading_is_an_error_and_no_signal)
{
    struct crier_stream_state state;
    sigset_t blocked, waiting;
    polled_open();
    cr_assert_neq(signal(SIGPIPE, on_signal), SIG_ERR);
    for (int i = 0; i < 3; i++) {
        crier_stream *writer;
        int ends[2];
        cr_assert_eq(i == 1 ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
        cr_assert_eq(crier_fd_writable(polled, NULL, ends[1], &writer), 0);
        close(ends[0]);
        hear_all(writer, "w");
        if (i == 2) {
            sigemptyset(&blocked);
            sigaddset(&blocked, SIGPIPE);
            cr_assert_eq(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
            cr_assert_eq(raise(SIGPIPE), 0);
        }
        (void)crier_stream_write(writer, "x", 1);
        heard_is("w.error w.close ");
        cr_assert_eq(crier_stream_state(writer, &state), 0);
        cr_assert_eq(state.code, CRIER_EIO);
        cr_assert_str_eq(state.text, strerror(EPIPE));
        crier_stream_release(writer);
    }
    cr_assert_eq(signals, 0);
    cr_assert(sigpending(&waiting) == 0 && sigismember(&waiting, SIGPIPE));
    cr_assert_eq(sigprocmask(SIG_UNBLOCK, &blocked, NULL), 0);
    cr_assert_eq(signals, 1);
    crier_close(polled);
}

Test(descriptors, a_peer_that_resets_is_an_error)
{
    crier_stream *a;
    int ends[2];
    polled_open();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cr_assert_eq(crier_fd_duplex(polled, ends[0], &a), 0);
    hear_all(a, "a");
    cr_assert_eq(crier_stream_write(a, "unread", 6), 1);
    turn();
    close(ends[1]); /* with bytes in it */
    cr_assert_eq(crier_stream_resume(a), 0);
    heard_is("a.error a.close ");
    crier_stream_release(a);
    crier_close(polled);
}

Test(descriptors, they_are_closed_with_their_stream_and_their_bus)
{
    crier_stream *reader, *writer, *last;
    int ends[2], others[2];
    polled_open();
    cr_assert(pipe(ends) == 0 && pipe(others) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 0);
    cr_assert_eq(crier_fd_readable(polled, NULL, ends[0], &reader), 0);
    cr_assert_eq(crier_fd_writable(polled, NULL, ends[1], &writer), 0);
    cr_assert_eq(crier_fd_readable(polled, NULL, others[0], &last), 0);
    cr_assert_eq(crier_stream_write(writer, data, 100000), 0); /* waits in the middle of it */
    cr_assert_eq(crier_stream_read(last, 0, NULL), 0);
    turn();
    cr_assert_eq(crier_stream_destroy(writer, 0, NULL), 0);
    cr_assert_eq(crier_stream_destroy(reader, 0, NULL), 0);
    turn();
    cr_assert(!is_open(ends[0]) && !is_open(ends[1]) && is_open(others[0]));
    crier_stream_release(reader);
    crier_stream_release(writer);
    crier_close(polled);
    cr_assert(!is_open(others[0]));
    crier_stream_release(last);
    close(others[1]);
}

Test(descriptors, bad_arguments_of_descriptors_are_refused)
{
    crier_stream *stream;
    int ends[2], null = open("/dev/null", O_RDWR);
    cr_assert(null >= 0 && pipe(ends) == 0);
    cr_assert_eq(crier_fd_readable(NULL, pool, ends[0], &stream), CRIER_EINVAL);
    cr_assert_eq(crier_fd_readable(bus, pool, ends[0], NULL), CRIER_EINVAL);
    cr_assert_eq(crier_fd_readable(bus, pool, -1, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_fd_readable(bus, pool, ends[1], &stream), CRIER_EINVAL); /* the other end */
    cr_assert_eq(crier_fd_writable(bus, pool, ends[0], &stream), CRIER_EINVAL);
    cr_assert_eq(crier_fd_writable(NULL, pool, ends[1], &stream), CRIER_EINVAL);
    cr_assert_eq(crier_fd_writable(bus, NULL, null, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_fd_duplex(bus, ends[0], &stream), CRIER_EINVAL);
    cr_assert_eq(crier_fd_duplex(bus, null, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_fd_duplex(NULL, null, &stream), CRIER_EINVAL);
    cr_assert(is_open(ends[0]) && is_open(ends[1]) && is_open(null)); /* still ours */
    cr_assert(!(fcntl(ends[0], F_GETFL) & O_NONBLOCK));
    close(ends[0]);
    close(ends[1]);
    close(null);
}
