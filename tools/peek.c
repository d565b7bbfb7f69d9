/* peek.c: `crier peek`: prints events that are stored already, and ends; nobody's position moves.
 *
 * Role:     asks how far each partition reaches, listens without a group, prints up to there.
 * Thread:   main; libcrier's I/O thread brings the events, an iterator hands them over.
 * Owns:     struct peek, on main's stack.
 *
 * Happy path:  describe -> crier_iterate from the place -> print what is below the ends -> all ends reached, or the count
 * Failures:    no such topic (it is not made), an ephemeral one: a sentence, exit 1. Nothing for --timeout: the broker is asked
 *              once more; no answer is a failure, so that what ends well is whole. Events that a redrive took out at the very
 *              end never come: nothing for --timeout after that answer is the end. */
#include "tools/command.h"
#include "tools/format.h"
#include "tools/from.h"

#include "client/include/crier/iterator.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peek_options {
    const char *url;
    const char *format;
    struct from from;
    uint64_t count, last;
    int64_t timeout_us;
};

struct peek {
    const struct peek_options *options;
    struct format format;
    struct span { /* of a partition: what is printed */
        uint64_t begin, end;
        bool done;
    } * spans;
    uint32_t partition_count, done_count;
    bool ephemeral;
    bool described;
    uint64_t printed;
};

static const struct option_row peek_rows[] = {
    COMMAND_URL_ROW(struct peek_options),
    {"from", 0, NULL, "PLACE", "earliest",
     "Where to start: earliest, an offset, a time (2026-01-31T12:00:00Z), or 15m for so long ago.",
     option_from, offsetof(struct peek_options, from)},
    {"last", 'l', NULL, "N", NULL, "Only the newest N offsets of each partition.", option_count,
     offsetof(struct peek_options, last)},
    {"count", 'n', NULL, "N", "10", "At most so many events; 0: all there are now.", options_uint64,
     offsetof(struct peek_options, count)},
    {"timeout", 't', NULL, "DURATION", "2s", "End when nothing has come for so long.", options_duration,
     offsetof(struct peek_options, timeout_us)},
    {"format", 'f', NULL, "FORMAT", NULL,
     "How to print an event: json, or a template as in crier on. Default: '%p:%o %k %v'.", options_string,
     offsetof(struct peek_options, format)},
};

static void on_topic(void *ctx, const struct crier_topic_info *info)
{
    struct peek *peek = ctx;
    peek->described = true;
    peek->ephemeral = info->ephemeral;
    peek->spans = calloc(info->partition_count + 1, sizeof(*peek->spans));
    peek->partition_count = peek->spans ? info->partition_count : 0;
    for (uint32_t i = 0; i < peek->partition_count; i++) {
        const struct crier_partition_info *partition = &info->partitions[i];
        struct span *span = &peek->spans[i];
        uint64_t last = peek->options->last, held = partition->high_watermark - partition->log_start;
        span->end = partition->high_watermark;
        span->begin = last && last < held ? span->end - last : partition->log_start;
        span->done = span->begin == span->end;
        peek->done_count += span->done;
    }
}

/* What retention has taken since is not waited for. */
static void on_topic_again(void *ctx, const struct crier_topic_info *info)
{
    struct peek *peek = ctx;
    for (uint32_t i = 0; i < peek->partition_count && i < info->partition_count; i++) {
        struct span *span = &peek->spans[i];
        if (!span->done && info->partitions[i].log_start >= span->end) {
            span->done = true;
            peek->done_count++;
        }
    }
}

/* Where to listen from, so that every span is heard. */
static struct from start_of(const struct peek *peek)
{
    struct from from = peek->options->from;
    if (peek->options->last == 0)
        return from;
    from = (struct from){.from = CRIER_OFFSET, .value = INT64_MAX};
    for (uint32_t i = 0; i < peek->partition_count; i++)
        if (!peek->spans[i].done && (int64_t)peek->spans[i].begin < from.value)
            from.value = (int64_t)peek->spans[i].begin;
    return from;
}

static void take(struct peek *peek, const crier_event *event)
{
    struct span *span = event->partition < peek->partition_count ? &peek->spans[event->partition] : NULL;
    if (!span)
        return;
    if (event->offset >= span->begin && event->offset < span->end) {
        format_print(&peek->format, event, stdout);
        peek->printed++;
    }
    if (event->offset + 1 >= span->end && !span->done) {
        span->done = true;
        peek->done_count++;
    }
}

static bool enough(const struct peek *peek)
{
    return peek->done_count == peek->partition_count || ferror(stdout) ||
           (peek->options->count && peek->printed == peek->options->count);
}

/* The next event, printed. False: none came in time. */
static bool next_printed(struct peek *peek, crier_iterator *iterator, int *ret_code)
{
    crier_future *future;
    crier_result result = {0};
    *ret_code = crier_iterator_next(iterator, &future);
    if (*ret_code < 0)
        return false;
    int rc = crier_future_wait(future, (int)(peek->options->timeout_us / 1000), &result);
    if (rc == 0 && result.code == 0 && result.pointer)
        take(peek, result.pointer);
    *ret_code = rc == CRIER_ETIMEDOUT ? 0 : rc < 0 ? rc : result.code;
    crier_future_release(future);
    return rc == 0 && result.code == 0 && result.pointer;
}

static int read_all(struct peek *peek, crier *bus, const char *topic)
{
    struct crier_listen_options listen = crier_listen_options_default();
    struct from from = start_of(peek);
    listen.from = from.from;
    listen.from_value = from.value;
    struct crier_iterator_options options = crier_iterator_options_default();
    options.listen = &listen;
    crier_iterator *iterator;
    if (enough(peek))
        return STATUS_DONE;
    int rc = crier_iterate(bus, topic, &options, &iterator);
    if (rc < 0)
        return command_failed("cannot listen to '%s': %s", topic, crier_strerror(rc));
    bool asked = false; /* since the last event */
    while (rc == 0 && !enough(peek)) {
        if (next_printed(peek, iterator, &rc)) {
            asked = false;
        } else if (rc == 0) {
            if (asked)
                break;
            rc = crier_topic_describe(bus, topic, on_topic_again, peek);
            asked = true;
        }
    }
    crier_iterator_close(iterator);
    return rc < 0 ? command_failed("topic '%s' cannot be read any further: %s", topic, crier_strerror(rc))
                  : STATUS_DONE;
}

static int peek_at(struct peek *peek, crier *bus, const char *topic)
{
    int rc = crier_topic_describe(bus, topic, on_topic, peek);
    if (rc == CRIER_ENOTOPIC)
        return command_failed("no topic '%s'; see: crier topic list", topic);
    if (rc == CRIER_EINVAL)
        return command_bad_name(topic, NULL);
    if (rc < 0)
        return command_failed("the broker did not tell of '%s': %s", topic, crier_strerror(rc));
    if (!peek->described || !peek->spans)
        return command_failed("out of memory");
    if (peek->ephemeral)
        return command_failed("topic '%s' is ephemeral: nothing of it is kept; listen with: crier on %s",
                              topic, topic);
    return read_all(peek, bus, topic);
}

static int peek_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct peek_options options = {.url = url};
    struct peek peek = {.options = &options};
    char error[128];
    int first, status;
    crier *bus;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first != 1)
        return command_usage_error(command, first == argc ? "which topic?" : "one topic only");
    if (options.last && options.from.from != CRIER_EARLIEST)
        return command_usage_error(command, "--last or --from, not both");
    if (options.from.from == CRIER_LIVE)
        return command_usage_error(command, "--from latest: nothing is there yet; see: crier on --help");
    if (options.timeout_us < 1000 || options.timeout_us > INT64_C(3600000000))
        return command_usage_error(command, "--timeout: 1ms to 1h");
    if (format_init(&peek.format, options.format ? options.format : "%p:%o %k %v", error, sizeof(error)) < 0)
        return command_usage_error(command, "--format: %s", error);
    struct crier_options bus_options = command_bus_options("crier peek");
    if ((status = command_open(options.url, &bus_options, &bus)) == STATUS_DONE)
        status = command_close(bus, peek_at(&peek, bus, argv[first]));
    format_finish(&peek.format);
    free(peek.spans);
    return status;
}

const struct command peek_command = {
    .name = "peek",
    .arguments = "TOPIC",
    .summary = "Print stored events, and move nobody's position",
    .text = "Prints events the topic holds now, from the earliest on, with partition, offset\n"
            "and key, then ends. It joins no group, commits nothing and makes no topic.\n"
            "\n"
            "Examples:\n"
            "  crier peek orders.placed\n"
            "  crier peek orders.placed --last 3\n"
            "  crier peek '$dead.orders.placed' --count 0 --format json | jq .headers\n"
            "  crier peek orders.placed --from 15m --format '%T %v'",
    .rows = peek_rows,
    .row_count = ARRAY_SIZE(peek_rows),
    .run = peek_run,
};
