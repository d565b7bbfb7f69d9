/* emit.c: `crier emit`: one event from the command line, one per line of standard input, or a file in chunks.
 *
 * Role:    reads lines in large pieces and emits each; at the end waits for every ack and prints `acked N`.
 * Thread:  main reads and emits; libcrier's I/O thread sends, and calls on_drain, on_connection and on_error.
 * Owns:    struct emitter, on main's stack, until the bus is closed.
 *
 * Happy path:  line -> crier_emit_with; buffer full: wait for drain, so a slow broker slows the reading;
 *              end of input -> crier_flush -> "acked N". A file is the same with chunks for lines (file_transfer.h).
 * Failures:    a line over the limit, a refused event: reading stops there, so the events acked are the first N lines.
 *              SIGINT, SIGTERM before the input has ended: the same. No broker for --patience: give up, exit 1.
 * With --producer the number of a line is its source position: what the broker has stored of the source already is read
 * over, so the same command again goes on where it stopped, however that was. */
#include "tools/command.h"
#include "tools/file_transfer.h"
#include "tools/from.h"
#include "tools/line_reader.h"
#include "tools/text.h"
#include "tools/waiter.h"

#include "base/check.h"
#include "base/clock.h"

#include <crier/atomic.h>
#include <crier/schedule.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE_MAX        (16u * 1024 * 1024) /* a frame's limit: no broker takes a larger event */
#define CHUNK_SIZE           (64u * 1024)        /* unless --chunk says otherwise */
#define HEADERS_MAX          64
#define LATER_US_MAX         ((INT64_C(1) << 29) * 1000000) /* docs/protocol.md */
#define PROGRESS_INTERVAL_MS 200

struct header_list {
    size_t count;
    crier_header headers[HEADERS_MAX + FILE_HEADERS_MAX]; /* point into argv */
};

struct emit_options {
    const char *url, *key, *file, *producer;
    uint64_t chunk;
    struct header_list headers;
    enum crier_durability durability;
    enum crier_compression compression;
    int64_t patience_us;
    int64_t delay_us, at_us; /* -1: none; 0: none */
};

struct emitter {
    crier *bus;
    struct waiter waiter;
    struct crier_emit_options event; /* key, headers and durability, the same for every event */
    struct crier_later_options later;
    bool is_later; /* `later` counts */
    const char *topic;
    const char *producer; /* NULL: none; lines are then events for themselves */
    uint64_t stored;      /* lines of the producer's source, when this began */
    int64_t patience_us;
    atomic_int_least64_t disconnected_us; /* when the connection was lost; 0: it is there */
    atomic_bool failed;                   /* an event was refused */
    bool cut;                             /* an event that was read was not emitted: it was over */
    bool progress;                        /* shown: on a terminal, unless somebody types there */
    bool progress_shown;                  /* there is a line to clear */
    int64_t progress_us;                  /* when it was last shown, or started_us */
    int64_t started_us;
    uint64_t bytes;
};

static int option_header(void *target, const char *text, char *error, size_t error_size)
{
    struct header_list *list = target;
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text) {
        snprintf(error, error_size, "'%s' is no header; write NAME=VALUE", text);
        return -EINVAL;
    }
    if (list->count == HEADERS_MAX) {
        snprintf(error, error_size, "more than %d headers", HEADERS_MAX);
        return -EINVAL;
    }
    list->headers[list->count++] = (crier_header){.name = text,
                                                  .name_size = (size_t)(equals - text),
                                                  .value = equals + 1,
                                                  .value_size = strlen(equals + 1)};
    return 0;
}

static int option_time(void *target, const char *text, char *error, size_t error_size)
{
    if (time_parse(text, target) == 0 && *(int64_t *)target > 0)
        return 0;
    snprintf(error, error_size, "'%s' is no time; write 2026-12-31T08:00, in UTC or with +01:00", text);
    return -EINVAL;
}

static const struct option_row emit_rows[] = {
    COMMAND_URL_ROW(struct emit_options),
    {"key", 'k', NULL, "KEY", NULL, "Events with one key keep their order and share a partition.",
     options_string, offsetof(struct emit_options, key)},
    {"header", 'H', NULL, "NAME=VALUE", NULL, "A header; may be given again.", option_header,
     offsetof(struct emit_options, headers)},
    {"durability", 'd', NULL, "LEVEL", "durable",
     "durable: acked once it is on the broker's disk; memory: acked once accepted.", option_durability,
     offsetof(struct emit_options, durability)},
    {"delay", 0, NULL, "DURATION", NULL, "Store it now, but let it come so much later.", options_duration,
     offsetof(struct emit_options, delay_us)},
    {"at", 0, NULL, "TIME", NULL, "The same at a time: 2026-12-31T08:00, in UTC or with +01:00.", option_time,
     offsetof(struct emit_options, at_us)},
    {"file", 0, NULL, "FILE", NULL,
     "Emit FILE (-: standard input) in chunks, for `crier on --to-file` (docs/files.md).", options_string,
     offsetof(struct emit_options, file)},
    {"chunk", 0, NULL, "SIZE", NULL,
     "With --file: bytes of a chunk, up to what an event may have. Default: 64K.", option_count,
     offsetof(struct emit_options, chunk)},
    {"compress", 'z', NULL, "CODEC", "none",
     "With - or --file: lz4 or zstd. Batches are compressed here, once, for the network and the disk, and "
     "are "
     "whole again for who listens.",
     option_compression, offsetof(struct emit_options, compression)},
    {"producer", 'p', NULL, "NAME", NULL,
     "With -: store each line once, however often this is run; go on behind the last one stored.",
     options_string, offsetof(struct emit_options, producer)},
    {"patience", 0, NULL, "DURATION", "30s", "Give up after so long without a broker.", options_duration,
     offsetof(struct emit_options, patience_us)},
};

/* ---- callbacks, on libcrier's I/O thread ---- */

static void on_drain(crier *bus, void *ctx)
{
    (void)bus;
    waiter_wake(&((struct emitter *)ctx)->waiter);
}

static void on_connection(crier *bus, bool connected, const char *text, void *ctx)
{
    struct emitter *emitter = ctx;
    (void)bus;
    (void)text;
    atomic_store(&emitter->disconnected_us, connected ? 0 : clock_monotonic_us());
    waiter_wake(&emitter->waiter);
}

static void not_stored(struct emitter *emitter, size_t size, const char *why)
{
    if (!atomic_exchange(&emitter->failed, true))
        command_failed("an event was not stored: %.*s", (int)size, why);
    waiter_wake(&emitter->waiter);
}

static int on_error(crier *bus, const crier_event *event, void *ctx)
{
    const char *text = crier_strerror(event->error);
    (void)bus;
    if (event->value_size > 0)
        not_stored(ctx, event->value_size, event->value);
    else
        not_stored(ctx, strlen(text), text);
    return 0;
}

static void on_scheduled(crier *bus, int code, const crier_schedule *schedule, void *ctx)
{
    char id[CRIER_SCHEDULE_TEXT_SIZE] = "(its ID is lost)";
    (void)bus;
    if (code < 0) {
        const char *why = code == CRIER_EINVAL
                              ? "nothing comes later into an ephemeral topic, or in more than 17 years"
                              : crier_strerror(code);
        not_stored(ctx, strlen(why), why);
        return;
    }
    if (schedule->due_us)
        crier_schedule_to_text(schedule, id);
    printf("scheduled %s\n", id);
}

/* ---- main thread ---- */

static void show_progress(struct emitter *emitter)
{
    int64_t now_us = clock_monotonic_us();
    char acked[TEXT_SIZE], rate[TEXT_SIZE], waiting[TEXT_SIZE], bytes[TEXT_SIZE];
    struct crier_stats stats;

    if (!emitter->progress || now_us - emitter->progress_us < PROGRESS_INTERVAL_MS * 1000)
        return;
    emitter->progress_us = now_us;
    emitter->progress_shown = true;
    crier_stats(emitter->bus, &stats);
    double seconds = (double)(now_us - emitter->started_us) / 1e6;
    fprintf(stderr, "\r%s acked, %s/s, %s read, %s waiting%s\033[K", text_count(stats.acked, acked),
            text_count((uint64_t)((double)stats.acked / seconds), rate), text_bytes(emitter->bytes, bytes),
            text_bytes(stats.pending_bytes, waiting),
            atomic_load(&emitter->disconnected_us) != 0 ? " (no broker, trying again)" : "");
}

static void clear_progress(struct emitter *emitter)
{
    if (emitter->progress_shown)
        fputs("\r\033[K", stderr);
}

/* How long there may still be no broker, in ms; INT64_MAX while there is one; 0: patience is over. */
static int64_t patience_left_ms(struct emitter *emitter)
{
    int64_t since_us = atomic_load(&emitter->disconnected_us);
    if (since_us == 0)
        return INT64_MAX;
    int64_t left_us = since_us + emitter->patience_us - clock_monotonic_us();
    return left_us > 0 ? left_us / 1000 + 1 : 0;
}

static bool gave_up(struct emitter *emitter)
{
    return patience_left_ms(emitter) == 0;
}

/* A reason to read no further. */
static bool is_over(struct emitter *emitter)
{
    return waiter_stopped(&emitter->waiter) || atomic_load(&emitter->failed) || gave_up(emitter);
}

/* Waits for input (or -1: for room), but not beyond anybody's patience. True if there is input. */
static bool wait_for(struct emitter *emitter, int input_fd)
{
    int64_t timeout_ms = patience_left_ms(emitter);
    if (emitter->progress && timeout_ms > PROGRESS_INTERVAL_MS)
        timeout_ms = PROGRESS_INTERVAL_MS;
    bool input = waiter_wait(&emitter->waiter, input_fd, timeout_ms > INT32_MAX ? -1 : (int)timeout_ms);
    show_progress(emitter);
    return input;
}

/* line: its number, which counts if there is a producer. */
static int try_emit(struct emitter *emitter, const char *value, size_t size, uint64_t line)
{
    struct crier_atomic_event event = {emitter->topic, value, size, &emitter->event};
    struct crier_atomic_options options = crier_atomic_options_default();
    if (emitter->is_later)
        return crier_emit_later(emitter->bus, emitter->topic, value, size, &emitter->later);
    if (emitter->producer == NULL)
        return crier_emit_with(emitter->bus, emitter->topic, value, size, &emitter->event);
    options.source_position = line;
    return crier_emit_atomic(emitter->bus, &event, 1, &options);
}

/* Emits one event, waiting for room. 0 (also when it is over and the event was not emitted), or the error. */
static int emit_event(struct emitter *emitter, const char *value, size_t size, uint64_t line)
{
    int rc;
    while ((rc = try_emit(emitter, value, size, line)) == CRIER_EAGAIN) {
        if (is_over(emitter)) {
            emitter->cut = true;
            return 0;
        }
        wait_for(emitter, -1);
    }
    return rc;
}

/* Says why the line at hand cannot be emitted. Returns STATUS_FAILED. */
static int line_failed(uint64_t number, const char *why)
{
    return command_failed("line %" PRIu64 " %s; it and what follows were not emitted", number, why);
}

/* Emits what the reader holds. */
static int emit_lines(struct emitter *emitter, struct line_reader *reader)
{
    const char *line;
    size_t size;

    while (!is_over(emitter) && line_reader_next(reader, &line, &size)) {
        if (reader->lines <= emitter->stored)
            continue;
        int rc = emit_event(emitter, line, size, reader->lines);
        if (rc == CRIER_ETOOBIG) {
            char why[96];
            snprintf(why, sizeof(why), "has %zu bytes, more than an event may have", size);
            return line_failed(reader->lines, why);
        }
        if (rc == CRIER_EINVAL)
            return command_bad_name(emitter->topic, NULL);
        if (rc < 0)
            return line_failed(reader->lines, crier_strerror(rc));
    }
    return STATUS_DONE;
}

static int emit_input(struct emitter *emitter, int fd)
{
    struct line_reader reader;
    int status = STATUS_DONE;

    if (line_reader_init(&reader, fd, LINE_SIZE_MAX) < 0)
        return command_failed("out of memory");
    while (!reader.ended && status == STATUS_DONE && !is_over(emitter)) {
        if (!wait_for(emitter, fd))
            continue;
        ssize_t size = line_reader_fill(&reader);
        if (size == -EINTR || size == -EAGAIN)
            continue;
        if (size == -EMSGSIZE) {
            status = line_failed(reader.lines + 1, "has more than 16 MiB, more than an event may have");
        } else if (size < 0) {
            status = command_failed("cannot read standard input: %s", strerror((int)-size));
        } else {
            emitter->bytes += (uint64_t)size;
            status = emit_lines(emitter, &reader);
        }
    }
    bool whole = reader.ended && reader.start == reader.end && !emitter->cut;
    if (waiter_stopped(&emitter->waiter) && !whole && status == STATUS_DONE)
        status = command_failed("stopped before the input had ended");
    line_reader_finish(&reader);
    return status;
}

/* ---- a file ---- */

/* The next event of the transfer. 0, or the status of a failure, which is said. */
static int emit_file_event(struct emitter *emitter, struct file_sender *sender, struct header_list *headers,
                           enum file_event kind, const char *data, size_t size)
{
    int rc;

    emitter->event.headers = headers->headers;
    emitter->event.header_count =
        headers->count + file_sender_headers(sender, kind, size, data, headers->headers + headers->count);
    rc = kind == FILE_CHUNK ? emit_event(emitter, data, size, 0) : emit_event(emitter, NULL, 0, 0);
    if (rc == CRIER_EINVAL)
        return command_bad_name(emitter->topic, NULL);
    if (rc < 0)
        return command_failed("cannot emit a chunk of %zu bytes: %s", size, crier_strerror(rc));
    return STATUS_DONE;
}

/* As much as there is, up to `size`; short only at the end. -errno; -ECANCELED: it is over. A pipe may keep it waiting. */
static ssize_t read_whole(struct emitter *emitter, int fd, char *data, size_t size)
{
    size_t got = 0;

    while (got < size) {
        if (!wait_for(emitter, fd)) {
            if (is_over(emitter))
                return -ECANCELED;
            continue;
        }
        ssize_t part = read(fd, data + got, size - got);
        if (part == 0)
            break;
        if (part < 0 && errno != EINTR)
            return -errno;
        got += part > 0 ? (size_t)part : 0;
    }
    return (ssize_t)got;
}

static int emit_chunks(struct emitter *emitter, struct file_sender *sender, struct header_list *headers,
                       int fd, char *chunk, size_t chunk_size)
{
    const char *why = "stopped";
    int status = STATUS_DONE;

    while (status == STATUS_DONE && !is_over(emitter)) {
        ssize_t size = read_whole(emitter, fd, chunk, chunk_size);
        if (size == -ECANCELED)
            break;
        if (size < 0) {
            why = "cannot read the file";
            status = command_failed("%s: %s", why, strerror((int)-size));
            break;
        }
        if (size == 0)
            return emit_file_event(emitter, sender, headers, FILE_END, NULL, 0);
        emitter->bytes += (uint64_t)size;
        status = emit_file_event(emitter, sender, headers, FILE_CHUNK, chunk, (size_t)size);
        show_progress(emitter);
    }
    if (sender->chunk > 0) { /* whoever listens need not wait; as far as it can be said */
        emitter->event.header_count = headers->count + file_sender_headers(sender, FILE_ABORT, 0, why,
                                                                           headers->headers + headers->count);
        (void)crier_emit_with(emitter->bus, emitter->topic, NULL, 0, &emitter->event);
    }
    return status == STATUS_DONE ? command_failed("the file was not emitted whole: %s", why) : status;
}

static int emit_file(struct emitter *emitter, const struct emit_options *options)
{
    struct header_list headers = options->headers;
    struct file_sender sender;
    char *chunk = malloc(options->chunk);
    bool standard = strcmp(options->file, "-") == 0;
    int fd = standard ? dup(STDIN_FILENO) : open(options->file, O_RDONLY | O_CLOEXEC), status;

    if (fd < 0 || !chunk || file_sender_init(&sender) < 0) {
        status = command_failed("cannot open %s: %s", options->file, strerror(fd < 0 ? errno : ENOMEM));
    } else {
        if (!emitter->event.key) {
            emitter->event.key = sender.id;
            emitter->event.key_size = FILE_ID_SIZE;
        }
        status = emit_chunks(emitter, &sender, &headers, fd, chunk, options->chunk);
    }
    if (fd >= 0)
        close(fd);
    free(chunk);
    return status;
}

/* Waits until every event has an outcome, or there is no broker for too long. */
static void flush(struct emitter *emitter)
{
    while (!gave_up(emitter) && crier_flush(emitter->bus, PROGRESS_INTERVAL_MS) == CRIER_ETIMEDOUT)
        show_progress(emitter);
}

/* The last line, and the exit status it stands for. */
static int report(struct emitter *emitter, const char *url, int status)
{
    struct crier_stats stats;
    char patience[TEXT_SIZE];

    crier_stats(emitter->bus, &stats);
    clear_progress(emitter);

    if (gave_up(emitter))
        status = command_failed("no broker at %s for %s: gave up, %" PRIu64 " events have no known outcome",
                                url, text_duration(emitter->patience_us, patience),
                                stats.emitted - stats.acked - stats.failed);
    else if (atomic_load(&emitter->failed) || stats.acked != stats.emitted)
        status = STATUS_FAILED;
    printf("acked %" PRIu64 "\n", stats.acked);
    return fflush(stdout) == 0 ? status : command_output_lost();
}

static int emit_open(struct emitter *emitter, const struct emit_options *options)
{
    struct crier_options bus_options = command_bus_options("crier emit");
    bus_options.producer_name = options->producer;
    bus_options.compression = options->compression;
    bus_options.drain = on_drain;
    bus_options.connection = on_connection;
    bus_options.ctx = emitter;
    bus_options.close_timeout_ms = 1000; /* what could be flushed has been flushed before */

    int rc = waiter_open(&emitter->waiter);
    if (rc < 0)
        return command_failed("cannot open a pipe: %s", strerror(-rc));
    int status = command_open(options->url, &bus_options, &emitter->bus);
    if (status != STATUS_DONE)
        waiter_close(&emitter->waiter);
    return status;
}

static void emit_close(struct emitter *emitter)
{
    crier_close(emitter->bus); /* its outcome is known: report() told it */
    waiter_close(&emitter->waiter);
}

/* Where the source is. If the name is lost already, the first line says so. */
static void resume(struct emitter *emitter)
{
    if (emitter->producer && crier_source_position(emitter->bus, &emitter->stored) == 0 &&
        emitter->stored > 0)
        fprintf(stderr, "crier: lines 1 to %" PRIu64 " of %s are stored; going on with line %" PRIu64 "\n",
                emitter->stored, emitter->producer, emitter->stored + 1);
}

static int emit_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct emit_options options = {.url = url, .delay_us = -1};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first == argc)
        return command_usage_error(command, "which topic?");
    if (argc - first > 2)
        return command_usage_error(command, "one VALUE at most; quote it if it has spaces");

    const char *value = first + 1 < argc ? argv[first + 1] : NULL;
    bool stream = value != NULL && strcmp(value, "-") == 0;
    if (options.file != NULL && value != NULL)
        return command_usage_error(command, "a VALUE or --file, not both");
    if (options.chunk != 0 && options.file == NULL)
        return command_usage_error(command, "--chunk is of a --file");
    if (options.chunk > LINE_SIZE_MAX)
        return command_usage_error(command, "--chunk: 1 to 16M");
    if (options.chunk == 0)
        options.chunk = CHUNK_SIZE;
    if (options.producer && (!stream || options.durability != CRIER_DURABLE))
        return command_usage_error(command, "--producer is for lines (-), and they are durable");
    if (options.producer && (options.producer[0] == '\0' || strlen(options.producer) > 255))
        return command_usage_error(command, "a producer's name has 1 to 255 bytes");
    if (options.producer && options.compression != CRIER_COMPRESSION_NONE)
        return command_usage_error(command, "--compress: a --producer's events are not compressed");
    bool is_later = options.delay_us >= 0 || options.at_us;
    if (options.delay_us >= 0 && options.at_us)
        return command_usage_error(command, "--delay or --at, not both");
    if (is_later && (options.producer || options.file || options.durability != CRIER_DURABLE))
        return command_usage_error(command,
                                   "what comes later is durable, and neither a file nor a --producer's");
    if (options.delay_us > LATER_US_MAX || options.at_us - clock_wall_us() > LATER_US_MAX)
        return command_usage_error(command, "--delay and --at: at most 17 years from now");
    int64_t now_us = clock_monotonic_us();
    struct emitter emitter = {.topic = argv[first],
                              .is_later = is_later,
                              .later = crier_later_options_default(),
                              .producer = options.producer,
                              .patience_us = options.patience_us,
                              .progress = isatty(STDERR_FILENO) &&
                                          ((stream && !isatty(STDIN_FILENO)) || options.file != NULL),
                              .progress_us = now_us,
                              .started_us = now_us,
                              .event = crier_emit_options_default()};
    emitter.event.key = options.key;
    emitter.event.key_size = options.key != NULL ? strlen(options.key) : 0;
    emitter.event.headers = options.headers.headers;
    emitter.event.header_count = options.headers.count;
    emitter.event.durability = options.durability;
    emitter.later.emit = &emitter.event;
    emitter.later.done = on_scheduled;
    emitter.later.ctx = &emitter;
    emitter.later.delay_us = options.delay_us > 0 ? options.delay_us : 0;
    emitter.later.at_us = options.at_us;

    status = emit_open(&emitter, &options);
    if (status != STATUS_DONE) {
        if (status == STATUS_FAILED)
            puts("acked 0");
        return status;
    }
    crier_on(emitter.bus, "error", on_error, &emitter);
    resume(&emitter);
    if (command_is_local(emitter.topic)) {
        status = command_bad_name(emitter.topic, NULL);
    } else if (options.file != NULL) {
        status = emit_file(&emitter, &options);
    } else if (stream) {
        status = emit_input(&emitter, STDIN_FILENO);
    } else {
        int rc = emit_event(&emitter, value, value != NULL ? strlen(value) : 0, 0);
        if (rc == CRIER_EINVAL)
            status = command_bad_name(emitter.topic, NULL);
        else if (rc < 0)
            status = command_failed("cannot emit to '%s': %s", emitter.topic, crier_strerror(rc));
    }
    flush(&emitter);
    status = report(&emitter, options.url, status);
    emit_close(&emitter);
    return status;
}

const struct command emit_command = {
    .name = "emit",
    .arguments = "TOPIC [VALUE | -]",
    .summary = "Emit an event, one per line of standard input, or a file",
    .text = "Emits VALUE to TOPIC; with -, every line of standard input; without a VALUE,\n"
            "an event that has none. Waits until the broker has acknowledged all of it, then\n"
            "prints 'acked N'. If something fails or stops it in between, reading ends there,\n"
            "with exit status 1; in a topic with one partition the events acknowledged are\n"
            "then the first N.\n"
            "With --delay or --at it is stored now and comes into its topic later, also if\n"
            "the broker is restarted meanwhile; 'scheduled ID' says how to cancel it.\n"
            "\n"
            "Examples:\n"
            "  crier emit orders.placed 'order 1' --key customer-7\n"
            "  crier emit orders.placed '{\"id\":1}' --header type=json --header source=shop\n"
            "  tail -F access.log | crier emit web.requests - --durability memory\n"
            "  crier emit backups --file disk.img --compress zstd\n"
            "  crier emit cart.reminder 'cart 17' --delay 30m\n"
            "  crier emit shop.open '' --at 2026-12-31T08:00+01:00\n"
            "  crier emit web.requests - --producer access.log <access.log",
    .rows = emit_rows,
    .row_count = ARRAY_SIZE(emit_rows),
    .run = emit_run,
};
