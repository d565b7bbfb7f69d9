/* on.c: `crier on` and `crier once`: prints the events of topics as they come, or hands each to a command.
 *
 * Role:    listens, prints through stdio's large buffer, and decides when it is enough.
 * Thread:  main only: the bus runs on an event loop of our own, so printing, signals and timers need no locks, and
 *          the buffer is flushed after each turn of the loop: at once when idle, in large pieces when busy.
 * Owns:    struct printer, on main's stack, until the bus is closed.
 *
 * Happy path:  crier_listen per topic -> on_event prints -> count, timeout or signal -> crier_close commits positions.
 * Failures:    output gone, or the command failed: the handler fails, so that a group's position stays before that
 *              event, and it ends with exit 1. A listener ended by the broker: its reason, exit 1.
 *              Connection lost: libcrier tries again for ever. */
#include "tools/command.h"
#include "tools/exec.h"
#include "tools/file_transfer.h"
#include "tools/format.h"
#include "tools/from.h"
#include "tools/waiter.h"

#include "client/include/crier/request.h"
#include "client/include/crier/shared.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_BUFFER_SIZE (256u * 1024)

#define QUEUE_SIZE_MAX (64u << 20) /* crier.h, queue_size */

struct on_options {
    const char *url, *group;
    const char *format; /* NULL: "%v", and for a command the value as it is */
    const char *command;
    const char *to_file;
    struct from from;
    uint64_t count;     /* 0: no limit */
    int64_t timeout_us; /* 0: none */
    enum crier_slow slow;
    uint64_t queue_size;      /* bytes; 0: the broker's */
    bool shared, key_ordered; /* the group is */
    bool replies;             /* what the command prints is the reply */
    bool verbose;
};

struct printer {
    const struct on_options *options;
    const struct waiter *waiter;
    struct format format;
    struct event_base *base;
    struct event *timer, *wake;
    struct file_receiver file; /* with --to-file */
    uint64_t handled;
    uint64_t handled_before; /* as of the last turn of the loop */
    int listener_count;      /* not yet released */
    int status;
    bool disconnected;
    bool output_lost;
    bool over; /* enough: what still comes is not handled */
};

struct topic_listener {
    struct printer *printer;
    const char *topic;
};

static int option_slow(void *target, const char *text, char *error, size_t error_size)
{
    static const char *const names[] = {[CRIER_DROP_OLDEST] = "drop-oldest",
                                        [CRIER_DROP_NEWEST] = "drop-newest",
                                        [CRIER_DISCONNECT] = "disconnect"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        *(enum crier_slow *)target = (enum crier_slow)i;
        return 0;
    }
    snprintf(error, error_size, "'%s' is none of: drop-oldest, drop-newest, disconnect", text);
    return -EINVAL;
}

#define ON_TIMEOUT_ROW                                                                                       \
    {                                                                                                        \
        "timeout", 't', NULL, "DURATION", NULL, "End after so long without an event: 500ms, 10s, 5m.",       \
            option_period, offsetof(struct on_options, timeout_us)                                           \
    }
#define ON_FORMAT_ROW                                                                                        \
    {                                                                                                        \
        "format", 'f', NULL, "FORMAT", NULL,                                                                 \
            "How to print an event: json, or a template (above). Default: %v.", options_string,              \
            offsetof(struct on_options, format)                                                              \
    }
#define ON_VERBOSE_ROW                                                                                       \
    {                                                                                                        \
        "verbose", 'v', NULL, NULL, NULL,                                                                    \
            "Say on standard error when it listens (on a terminal it always does).", options_flag,           \
            offsetof(struct on_options, verbose)                                                             \
    }

static const struct option_row on_rows[] = {
    COMMAND_URL_ROW(struct on_options),
    {"group", 'g', NULL, "GROUP", NULL,
     "Keep the position under this name and go on from it next time. Listeners with one name share the "
     "topic: "
     "each event goes to one of them.",
     options_string, offsetof(struct on_options, group)},
    {"shared", 0, NULL, NULL, NULL,
     "With --group: a shared one. Each event goes to one member and is settled by itself: what fails comes "
     "again.",
     options_flag, offsetof(struct on_options, shared)},
    {"key-ordered", 0, NULL, NULL, NULL, "The same, with the events of one key one at a time, in order.",
     options_flag, offsetof(struct on_options, key_ordered)},
    {"from", 0, NULL, "PLACE", "latest",
     "Where to start, unless the group has a position: earliest, latest, an offset, a time "
     "(2026-01-31T12:00:00Z), or 15m for so long ago.",
     option_from, offsetof(struct on_options, from)},
    {"count", 'n', NULL, "N", NULL, "End after N events.", option_count, offsetof(struct on_options, count)},
    ON_TIMEOUT_ROW,
    ON_FORMAT_ROW,
    {"exec", 'x', NULL, "COMMAND", NULL, "Run COMMAND for each event, instead of printing it.",
     options_string, offsetof(struct on_options, command)},
    {"to-file", 0, NULL, "FILE", NULL,
     "Put together in FILE what `crier emit --file` emits, and end when it is whole (docs/files.md).",
     options_string, offsetof(struct on_options, to_file)},
    {"reply", 0, NULL, NULL, NULL, "With --exec: what COMMAND prints is the reply to a request.",
     options_flag, offsetof(struct on_options, replies)},
    {"slow", 0, NULL, "POLICY", "drop-oldest",
     "Of an ephemeral topic, when it is too slow: drop-oldest, drop-newest or disconnect.", option_slow,
     offsetof(struct on_options, slow)},
    {"queue", 0, NULL, "SIZE", NULL,
     "Of an ephemeral topic, so much waits at the broker at most. Default: the broker's, 4M.", options_uint64,
     offsetof(struct on_options, queue_size)},
    ON_VERBOSE_ROW,
};

static const struct option_row once_rows[] = {COMMAND_URL_ROW(struct on_options), ON_TIMEOUT_ROW,
                                              ON_FORMAT_ROW, ON_VERBOSE_ROW};

/* ---- callbacks: all on main's loop ---- */

static void stop(struct printer *printer, int status)
{
    printer->over = true;
    if (status != STATUS_DONE)
        printer->status = status;
    event_base_loopbreak(printer->base);
}

/* It ends, and not for an event: with a --count that is too early, and whoever waits for the status has to know. */
static void stop_early(struct printer *printer, const char *why)
{
    uint64_t count = printer->options->count;
    int status = STATUS_DONE;

    if (printer->handled < count && !printer->over)
        status = command_failed("%s after %" PRIu64 " of %" PRIu64 " events", why, printer->handled, count);
    stop(printer, status);
}

/* The event as --format says, in memory the caller frees; or NULL. */
static char *event_text(const struct format *format, const crier_event *event, size_t *ret_size)
{
    char *text = NULL;
    FILE *memory = open_memstream(&text, ret_size);

    if (memory == NULL)
        return NULL;
    int printed = format_print(format, event, memory);
    if (fclose(memory) == 0 && printed == 0)
        return text;
    free(text);
    return NULL;
}

/* What the command printed, or why it failed, to who asked; an event that is no request has nobody to tell. */
static void reply(crier *bus, const crier_event *event, int rc, const struct exec_output *output,
                  const char *reason)
{
    int told = rc < 0 ? crier_reply_failed(bus, event, CRIER_EHANDLER, reason)
                      : crier_reply(bus, event, output->data, output->size);
    if (told < 0 && told != CRIER_EINVAL)
        fprintf(stderr, "crier: a reply was not sent: %s\n", crier_strerror(told));
}

/* Of a shared group: the event comes again, or is dead; why is kept with it. CRIER_LATER, or -1. */
static int nack(crier *bus, const crier_event *event, const char *reason)
{
    struct crier_lease lease = crier_lease_of(event);
    struct crier_nack_options options = crier_nack_options_default();

    options.reason = reason;
    return crier_nack(bus, &lease, &options) == 0 ? CRIER_LATER : -1;
}

/* Runs --exec's command. 0, CRIER_LATER, or -1 when it failed and that was said: here, or, with --reply, to who asked. */
static int run_command(const struct printer *printer, crier *bus, const crier_event *event)
{
    const struct on_options *options = printer->options;
    char reason[128] = "did not get its input (out of memory)";
    size_t size = event->value_size;
    struct exec_output output = {0};
    char *text = NULL;
    int rc = -1;

    if (options->format != NULL)
        text = event_text(&printer->format, event, &size);
    if (options->format == NULL || text != NULL)
        rc = exec_command(options->command, event, text != NULL ? text : event->value, size,
                          options->replies ? &output : NULL, reason, sizeof(reason));
    free(text);
    if (options->replies) {
        reply(bus, event, rc, &output, reason);
        free(output.data);
        return 0;
    }
    if (rc < 0 && event->attempt > 0)
        fprintf(stderr,
                "crier: '%s' %s for %s, partition %" PRIu32 ", offset %" PRIu64 ", attempt %" PRIu32 "\n",
                options->command, reason, event->topic, event->partition, event->offset, event->attempt);
    else if (rc < 0)
        command_failed("'%s' %s for %s, partition %" PRIu32 ", offset %" PRIu64 "%s", options->command,
                       reason, event->topic, event->partition, event->offset,
                       options->group != NULL ? "; the group goes on with this event next time" : "");
    if (rc < 0 && event->attempt > 0)
        return nack(bus, event, reason);
    return rc;
}

/* Called right after the call that failed. */
static void output_failed(struct printer *printer)
{
    if (!printer->output_lost)
        command_output_lost();
    printer->output_lost = true;
    stop(printer, STATUS_FAILED);
}

static void output_flush(struct printer *printer)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        output_failed(printer);
}

/* With a group the event has to be out before its position may move; else the loop flushes. 0, or -1, said. */
static int print(struct printer *printer, const crier_event *event)
{
    if (format_print(&printer->format, event, stdout) < 0 || ferror(stdout))
        output_failed(printer);
    else if (printer->options->group != NULL)
        output_flush(printer);
    return printer->output_lost ? -1 : 0;
}

/* 0, or -1, said. */
static int write_to_file(struct printer *printer, const crier_event *event)
{
    bool missed = printer->file.missed;
    int rc = file_receiver_event(&printer->file, event);
    if (!missed && printer->file.missed)
        fprintf(
            stderr,
            "crier: passing over a file that had begun before; --from earliest fetches what was emitted\n");
    if (rc == 0)
        return 0;
    command_failed("%s is not whole: %s", printer->options->to_file, printer->file.error);
    return -1;
}

static int handle(struct printer *printer, crier *bus, const crier_event *event)
{
    if (printer->options->to_file != NULL)
        return write_to_file(printer, event);
    return printer->options->command != NULL ? run_command(printer, bus, event) : print(printer, event);
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct printer *printer = ((struct topic_listener *)ctx)->printer;
    int rc;

    if (printer->over && event->attempt > 0)
        return CRIER_LATER; /* given back when it ends: that is no attempt */
    if (printer->over)
        return CRIER_EHANDLER;
    rc = handle(printer, bus, event);
    if (rc == CRIER_LATER) /* it has failed, and was said */
        return rc;
    if (rc < 0) {
        stop(printer, STATUS_FAILED);
        return CRIER_EHANDLER;
    }
    printer->handled++;
    if (printer->handled == printer->options->count || printer->file.complete)
        stop(printer, STATUS_DONE);
    else if (waiter_stopped(printer->waiter))
        stop_early(printer, "stopped");
    return 0;
}

static void on_listening(void *ctx)
{
    const struct topic_listener *listener = ctx;
    if (listener->printer->options->verbose)
        fprintf(stderr, "crier: listening to %s\n", listener->topic);
}

static void on_released(void *ctx, int code, const char *text)
{
    const struct topic_listener *listener = ctx;
    struct printer *printer = listener->printer;

    printer->listener_count--;
    if (code < 0 && !printer->over)
        stop(printer, command_failed("the listener to %s ended: %s", listener->topic,
                                     text != NULL ? text : crier_strerror(code)));
    if (printer->listener_count == 0)
        stop(printer, STATUS_DONE);
}

static void on_connection(crier *bus, bool connected, const char *text, void *ctx)
{
    struct printer *printer = ctx;
    if (connected || !printer->over)
        command_connection(bus, connected, text, &printer->disconnected);
}

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    stop_early(ctx,
               "stopped"); /* only a signal wakes this waiter; a file that is not whole is said at the end */
}

static void on_timeout(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    stop_early(ctx, "the time ran out");
}

/* ---- main ---- */

static void timer_restart(struct printer *printer)
{
    int64_t us = printer->options->timeout_us;
    struct timeval timeout = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    if (us > 0)
        event_add(printer->timer, &timeout);
}

static void loop(struct printer *printer)
{
    timer_restart(printer);
    while (!printer->over) {
        event_base_loop(printer->base, EVLOOP_ONCE);
        if (printer->handled == printer->handled_before)
            continue;
        printer->handled_before = printer->handled;
        output_flush(printer);
        timer_restart(printer);
    }
}

static int listen_to(struct topic_listener *listener, crier *bus)
{
    const struct on_options *on = listener->printer->options;
    struct crier_listen_options options = crier_listen_options_default();
    struct crier_shared_options shared = crier_shared_options_default();
    shared.key_ordered = on->key_ordered;
    if (on->command != NULL)
        shared.max_in_flight = 1; /* one is worked on at a time; the others are for other members */
    options.group = on->group;
    options.shared = on->shared || on->key_ordered ? &shared : NULL;
    options.from = on->from.from;
    options.from_value = on->from.value;
    options.count = options.shared != NULL ? 0 : on->count; /* what comes again counts once */
    options.slow = on->slow;
    options.queue_size = on->queue_size;
    options.ephemeral = on->replies;
    options.released = on_released;
    options.listening = on_listening;

    if (command_is_local(listener->topic)) /* it would wait for ever */
        return command_bad_name(listener->topic, NULL);
    int rc = crier_listen(bus, listener->topic, &options, on_event, listener, NULL);
    if (rc == CRIER_EINVAL && strchr(listener->topic, '*') != NULL)
        return command_bad_pattern(listener->topic);
    if (rc == CRIER_EINVAL)
        return command_bad_name(listener->topic, on->group);
    if (rc < 0)
        return command_failed("cannot listen to '%s': %s", listener->topic, crier_strerror(rc));
    listener->printer->listener_count++;
    return STATUS_DONE;
}

static int listen_and_print(struct printer *printer, int count, struct topic_listener *listeners)
{
    struct crier_options bus_options = command_bus_options("crier on");
    crier *bus;

    bus_options.base = printer->base;
    bus_options.connection = on_connection;
    bus_options.ctx = printer;
    int status = command_open(printer->options->url, &bus_options, &bus);
    if (status != STATUS_DONE)
        return status;
    for (int i = 0; i < count && status == STATUS_DONE; i++)
        status = listen_to(&listeners[i], bus);
    if (status == STATUS_DONE) {
        loop(printer);
        status = printer->status;
    }
    printer->over = true;
    int rc = crier_close(bus);
    output_flush(printer);
    if (status == STATUS_DONE)
        status = printer->status;
    /* Events that came when it was over were failed on purpose: that is no news. */
    if (rc < 0 && rc != CRIER_EHANDLER && status == STATUS_DONE)
        status = command_failed("while closing: %s", crier_strerror(rc));
    return status;
}

static int printer_run(struct printer *printer, struct waiter *waiter, int count,
                       struct topic_listener *listeners)
{
    int status;

    printer->base = event_base_new();
    if (printer->base == NULL)
        return command_failed("cannot make an event loop");
    printer->timer = evtimer_new(printer->base, on_timeout, printer);
    printer->wake = event_new(printer->base, waiter->read_fd, EV_READ, on_wake, printer);
    if (printer->timer != NULL && printer->wake != NULL && event_add(printer->wake, NULL) == 0)
        status = listen_and_print(printer, count, listeners);
    else
        status = command_failed("out of memory");
    if (printer->wake != NULL)
        event_free(printer->wake);
    if (printer->timer != NULL)
        event_free(printer->timer);
    event_base_free(printer->base);
    return status;
}

/* The same with a file at the end, which has to be whole. */
static int run_to_file(struct printer *printer, struct waiter *waiter, int count,
                       struct topic_listener *listeners)
{
    const char *path = printer->options->to_file;
    int status = STATUS_FAILED, rc = file_receiver_open(&printer->file, path);

    if (rc < 0)
        command_failed("cannot write %s.part: %s", path, strerror(-rc));
    else
        status = printer_run(printer, waiter, count, listeners);
    if (status == STATUS_DONE && !printer->file.complete)
        status =
            command_failed("%s is not whole: %" PRIu64 " bytes came, and no end", path, printer->file.size);
    file_receiver_close(&printer->file);
    return status;
}

static int run_with(const struct command *command, struct on_options *options, int count, char **topics)
{
    struct waiter waiter;
    struct printer printer = {.options = options, .waiter = &waiter};
    char error[128];

    int rc =
        format_init(&printer.format, options->format != NULL ? options->format : "%v", error, sizeof(error));
    if (rc == -EINVAL)
        return command_usage_error(command, "--format: %s", error);
    struct topic_listener *listeners = calloc((size_t)count, sizeof(*listeners));
    int status = STATUS_FAILED;
    if (rc < 0 || listeners == NULL || waiter_open(&waiter) < 0) {
        command_failed("out of memory or descriptors");
        goto out;
    }
    for (int i = 0; i < count; i++)
        listeners[i] = (struct topic_listener){.printer = &printer, .topic = topics[i]};
    options->verbose |= isatty(STDERR_FILENO) == 1;
    setvbuf(stdout, NULL, _IOFBF, OUTPUT_BUFFER_SIZE);
    status = options->to_file != NULL ? run_to_file(&printer, &waiter, count, listeners)
                                      : printer_run(&printer, &waiter, count, listeners);
    waiter_close(&waiter);
out:
    free(listeners);
    format_finish(&printer.format);
    return status;
}

static int on_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct on_options options = {.url = url};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first == argc)
        return command_usage_error(command, "which topic?");
    if (options.replies && options.command == NULL)
        return command_usage_error(command, "--reply: what is the reply? Say it with --exec COMMAND");
    if (options.to_file != NULL && (options.command != NULL || options.format != NULL || options.shared ||
                                    options.key_ordered || argc - first > 1))
        return command_usage_error(
            command, "--to-file takes one topic, and no --exec, --format or --shared: FILE gets the bytes");
    if (options.group != NULL && options.group[0] == '\0')
        return command_usage_error(command, "--group: a name has at least one byte");
    if ((options.shared || options.key_ordered) && options.group == NULL)
        return command_usage_error(command, "--shared: which group? Say it with --group NAME");
    if (options.queue_size > QUEUE_SIZE_MAX)
        return command_usage_error(command, "--queue: at most 64M");
    return run_with(command, &options, argc - first, argv + first);
}

static int once_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct on_options options = {.url = url, .count = 1};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first != 1)
        return command_usage_error(command, first == argc ? "which topic?" : "one topic only");
    return run_with(command, &options, 1, argv + first);
}

#define ON_FORMAT_TEXT                                                                                       \
    "--format json prints one object a line; otherwise it is a template:\n"                                  \
    "  %v value   %k key   %h headers   %t topic   %p partition   %o offset\n"                               \
    "  %T the producer's time   %% percent sign   \\n newline   \\t tab   \\\\ backslash\n"

const struct command on_command = {
    .name = "on",
    .arguments = "TOPIC...",
    .summary = "Print events as they come, or replay them",
    .text = "Prints the values of the topics' events, one a line, until it is stopped\n"
            "(Ctrl-C), the --count is reached or the --timeout passes. Exit status 1 if it\n"
            "ended before the --count was reached.\n"
            "\n"
            "A TOPIC may be a pattern: * is any one level, ** at the end any number of\n"
            "levels. Topics that come later join in. Quote it, or the shell expands it.\n"
            "\n" ON_FORMAT_TEXT "\n"
            "--exec runs a shell command for each event, with the value (or what --format\n"
            "makes of the event) as its input, and CRIER_TOPIC, CRIER_KEY, CRIER_PARTITION,\n"
            "CRIER_OFFSET and CRIER_TIMESTAMP_MS in its environment. If it ends with another\n"
            "status than 0, listening ends there with exit status 1, and a --group gets that\n"
            "event again next time. With --reply, what COMMAND prints is the reply to `crier\n"
            "request`, another status tells it of the failure, and listening goes on.\n"
            "\n"
            "With --shared, another status than 0 is no end either: the event comes again,\n"
            "here or at another member, after a delay that grows; CRIER_ATTEMPT counts.\n"
            "After the last attempt it is in $dead.TOPIC, with why it failed.\n"
            "\n"
            "Examples:\n"
            "  crier on orders.placed\n"
            "  crier on orders.placed orders.cancelled --format '%T %t %k: %v'\n"
            "  crier on 'orders.**' --format '%t %v'\n"
            "  crier on orders.placed --from earliest --timeout 1s | wc -l\n"
            "  crier on orders.placed --from 15m --format json | jq .key\n"
            "  crier on orders.placed --group billing --exec ./bill\n"
            "  crier on orders.placed --group pay --shared --exec ./charge\n"
            "  crier on '$dead.orders.placed' --from earliest --format '%h %v'\n"
            "  crier on quotes --reply --exec ./quote",
    .rows = on_rows,
    .row_count = ARRAY_SIZE(on_rows),
    .run = on_run,
};

const struct command once_command = {
    .name = "once",
    .arguments = "TOPIC",
    .summary = "Print the next event, then end",
    .text = "Prints the value of the next event. Exit status 1 if the --timeout passed\n"
            "before, or it was stopped.\n"
            "\n" ON_FORMAT_TEXT "\n"
            "Example:\n"
            "  crier once builds.finished --timeout 10m && ./deploy",
    .rows = once_rows,
    .row_count = ARRAY_SIZE(once_rows),
    .run = once_run,
};
