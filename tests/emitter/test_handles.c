/* A handle that is used after its end: a debug build (CRIER_DEBUG) says which call got what, and aborts; one kind of handle a case, on
 * buses of local: and on one with an engine, which needs no broker for that. In other builds there is nothing to test: it is
 * undefined. */
#include "crier/crier.h"
#include "crier/iterator.h"
#include "crier/monitor.h"
#include "crier/pool.h"
#include "crier/recorder.h"
#include "crier/shutdown.h"
#include "crier/stream_ends.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef CRIER_DEBUG

/* In the child, which is not Criterion's. */
static void must(bool right)
{
    if (!right)
        _exit(2);
}

static int nothing(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    return 0;
}

static crier *open_bus(const char *url)
{
    struct crier_options options = crier_options_default();
    crier *bus;
    options.connect_timeout_ms = 0; /* nobody has to be there */
    options.close_timeout_ms = 0;
    must(crier_open(url, &options, &bus) == 0);
    return bus;
}

/* ---- each of these does what is not to be done, last ---- */

static crier *closed_bus(const char *url)
{
    crier *bus = open_bus(url);
    crier_close(bus);
    return bus;
}

static void emit_on_closed(const char *url)
{
    crier_emit(closed_bus(url), "x", "", 0);
}

static void listen_on_closed(const char *url)
{
    crier_on(closed_bus(url), "x", nothing, NULL);
}

static void close_twice(const char *url)
{
    crier_close(closed_bus(url));
}

static void ask_closed(const char *url)
{
    struct crier_stats stats;
    crier_stats(closed_bus(url), &stats);
}

static void stream_of_closed(const char *url)
{
    crier_stream *stream;
    crier_lines(closed_bus(url), 0, &stream);
}

static void topic_of_closed(const char *url)
{
    crier *bus = open_bus(url);
    crier_topic *topic;
    must(crier_intern(bus, "x", &topic) == 0);
    crier_close(bus);
    crier_topic_name(topic);
}

static void released(void *ctx, int code, const char *text)
{
    (void)code, (void)text;
    must(write(*(int *)ctx, "r", 1) == 1);
}

static void unlisten_released(const char *url)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier *bus = open_bus(url);
    crier_listener *listener;
    int ends[2];
    char byte;
    must(pipe(ends) == 0);
    options.released = released;
    must(crier_listen(bus, "x", &options, nothing, &ends[1], &listener) == 0);
    must(crier_unlisten(listener) == 0);
    must(read(ends[0], &byte, 1) == 1);
    (void)crier_close(bus); /* and with it the thread that was in `released` */
    crier_unlisten(listener);
}

static void wait_for_released(const char *url)
{
    crier *bus = open_bus(url);
    crier_future *future;
    must(crier_future_create(bus, &future) == 0);
    crier_future_release(future);
    crier_close(bus);
    crier_future_wait(future, 0, NULL);
}

static void write_to_released(const char *url)
{
    crier *bus = open_bus(url);
    crier_stream *stream;
    must(crier_lines(bus, 0, &stream) == 0);
    crier_stream_release(stream);
    crier_close(bus);
    crier_stream_write(stream, "x", 1);
}

static void next_of_closed(const char *url)
{
    crier *bus = open_bus(url);
    crier_iterator *iterator;
    crier_future *next;
    must(crier_iterate(bus, "x", NULL, &iterator) == 0);
    crier_iterator_close(iterator);
    crier_iterator_next(iterator, &next);
}

static int job(crier_outcome *ret, void *ctx)
{
    (void)ret, (void)ctx;
    return 0;
}

static void submit_to_destroyed(const char *url)
{
    crier *bus = open_bus(url);
    crier_pool *pool;
    must(crier_pool_create(NULL, &pool) == 0);
    must(crier_pool_destroy(pool) == 0);
    crier_pool_submit(pool, bus, job, NULL, NULL);
}

static void ask_closed_shutdown(const char *url)
{
    crier_shutdown *shutdown;
    (void)url;
    must(crier_shutdown_open(NULL, &shutdown) == 0);
    crier_shutdown_close(shutdown);
    crier_shutdown_ask(shutdown);
}

/* ---- */

static const struct {
    void (*misuse)(const char *url);
    const char *says;
} cases[] = {
    {emit_on_closed, "crier_emit(): this bus is no more: crier_close() has freed it"},
    {listen_on_closed, "crier_on(): this bus is no more: crier_close() has freed it"},
    {close_twice, "crier_close(): this bus is no more: crier_close() has freed it"},
    {ask_closed, "crier_stats(): this bus is no more"},
    {stream_of_closed, "crier_lines(): this bus is no more"},
    {topic_of_closed, "crier_topic_name(): this interned topic is no more: crier_close() of its bus"},
    {unlisten_released, "crier_unlisten(): this listener is no more: its `released` has run"},
    {wait_for_released, "crier_future_wait(): this future is no more: its last reference"},
    {write_to_released, "crier_stream_write(): this stream is no more: it has closed"},
    {next_of_closed, "crier_iterator_next(): this iterator is no more: crier_iterator_close()"},
    {submit_to_destroyed, "crier_pool_submit(): this worker pool is no more: crier_pool_destroy()"},
    {ask_closed_shutdown, "crier_shutdown_ask(): this shutdown manager is no more"},
};

/* What it says on stderr; *ret_status: how it ended. */
static void die(void (*misuse)(const char *url), const char *url, char *ret_text, size_t size,
                int *ret_status)
{
    int ends[2];
    ssize_t got;
    size_t used = 0;
    pid_t child;

    cr_assert(pipe(ends) == 0 && (child = fork()) >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        misuse(url);
        _exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], ret_text + used, size - 1 - used)) > 0)
        used += (size_t)got;
    ret_text[used] = '\0';
    close(ends[0]);
    cr_assert_eq(waitpid(child, ret_status, 0), child);
}

Test(handles, one_that_is_used_after_its_end_is_named_in_a_debug_build, .timeout = 120)
{
    static const char *const urls[] = {"local:", "crier://127.0.0.1:9"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (size_t kind = 0; kind < sizeof(urls) / sizeof(*urls); kind++) {
            char text[2048];
            int status;
            die(cases[i].misuse, urls[kind], text, sizeof(text), &status);
            cr_assert(strstr(text, cases[i].says), "%s on %s: \"%s\"", cases[i].says, urls[kind], text);
            cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s on %s", cases[i].says,
                      urls[kind]);
        }
}

#endif

/* Handles are made where others were: the check blames none that is alive, however many there have been. */
Test(handles, one_that_is_made_where_another_was_is_alive)
{
    for (int i = 0; i < 3000; i++) {
        crier *bus;
        crier_future *future;
        cr_assert_eq(crier_open("local:", &(struct crier_options){0}, &bus), CRIER_EINVAL);
        cr_assert_eq(crier_open("local:", NULL, &bus), 0);
        cr_assert_eq(crier_emit(bus, "x", "", 0), 0);
        if (i % 100 == 0) {
            cr_assert_eq(crier_future_create(bus, &future), 0);
            crier_future_release(crier_future_retain(future));
            cr_assert_eq(crier_future_cancel(future), 0);
            crier_future_release(future);
        }
        cr_assert_eq(crier_close(bus), 0);
    }
}
