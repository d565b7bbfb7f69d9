/* stream_topic.c: topics at the ends of streams.
 *
 * Role:     crier_topic_readable: an iterator, asked when the stream is; crier_topic_writable: emits, with a window of those without
 *           an outcome.
 * Thread:   the loop's, where futures and outcomes are told, too.
 * Owns:     struct source and struct sink, the streams' ctx. What is asked for, and each emit under way, holds the stream.
 *
 * Happy path:  read: crier_iterator_next -> on_next -> push; write: crier_emit_with -> done, while the window has room ->
 *              on_emitted ...; final: done with the last outcome
 * Failures:    the listener's end, and an emit that fails, fail the stream. CRIER_EAGAIN: the next outcome tries again, or,
 *              if the buffer is full of others' events, a timer. */
#include "client/handles.h"
#include "client/stream_internal.h"
#include "crier/iterator.h"
#include "crier/stream_ends.h"

#include "base/clock.h"
#include "client/bus_internal.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW   1024 /* events without an outcome */
#define RETRY_US 1000

/* ---- readable ---- */

struct source {
    crier_stream *stream; /* not a reference: its ctx */
    crier_iterator *iterator;
};

static int on_next(const crier_result *result, crier_outcome *ret, void *ctx)
{
    struct source *source = ctx;
    crier_stream *stream = source->stream;
    struct item *item = NULL;

    (void)ret;
    if (stream->destroyed) {
        ;
    } else if (result->code < 0) {
        stream_destroy(stream, result->code, result->text);
    } else if (!result->pointer) {
        (void)crier_stream_push_chunk(stream, NULL);
    } else if ((item = item_of_event(result->pointer))) {
        (void)crier_stream_push_chunk(stream, &item->chunk.shown);
        crier_chunk_release(&item->chunk.shown);
    } else {
        stream_destroy(stream, CRIER_ENOMEM, NULL);
    }
    stream_release(stream);
    return 0;
}

static void source_read(crier_stream *stream, size_t size, void *ctx)
{
    struct source *source = ctx;
    crier_future *next;
    int rc = crier_iterator_next(source->iterator, &next);

    (void)size;
    if (rc == 0) {
        stream_retain(stream);
        if ((rc = crier_future_then(next, on_next, on_next, source, NULL)) < 0)
            stream_release(stream);
        crier_future_release(next);
    }
    if (rc < 0)
        stream_destroy(stream, rc, NULL);
}

static void source_destroy(crier_stream *stream, int code, void *ctx)
{
    struct source *source = ctx;

    crier_iterator_close(source->iterator);
    source->iterator = NULL;
    (void)crier_stream_destroy_done(stream, code, NULL);
}

int crier_topic_readable(crier *bus, const char *topic, const struct crier_listen_options *listen,
                         crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_iterator_options asking = crier_iterator_options_default();
    struct crier_stream_ops ops = {
        .struct_size = sizeof(ops), .read = source_read, .destroy = source_destroy, .release = free};
    struct source *source;
    int rc;

    if (!bus || !topic || !ret_stream)
        return CRIER_EINVAL;
    if (!(source = malloc(sizeof(*source))))
        return CRIER_ENOMEM;
    asking.listen = listen;
    options.readable_items = true;
    if ((rc = crier_iterate(bus, topic, &asking, &source->iterator)) < 0) {
        free(source);
        return rc;
    }
    if ((rc = crier_stream_create(bus, CRIER_READABLE, &ops, source, &options, &source->stream)) < 0) {
        crier_iterator_close(source->iterator);
        free(source);
        return rc;
    }
    *ret_stream = source->stream;
    return 0;
}

/* ---- writable ---- */

struct sink {
    crier_stream *stream; /* not a reference: its ctx */
    struct crier_emit_options emit;
    unsigned out;               /* emits without an outcome */
    uint64_t number;            /* of the latest emit */
    bool owes;                  /* a write or the end is done when there is room, or when there are none */
    bool ends;                  /* the latter */
    const crier_event *refused; /* CRIER_EAGAIN: it waits; the chunk's, borrowed until it is done */
    struct agenda_timer retry;
    char topic[];
};

static void sink_done(struct sink *sink, int code, const char *text)
{
    sink->owes = false;
    sink->refused = NULL;
    (void)crier_stream_done(sink->stream, code, text);
}

static void sink_emit(struct sink *sink, const crier_event *event);

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct sink *sink = ctx;
    crier_stream *stream = sink->stream;

    (void)bus, (void)offset;
    sink->out--;
    if (code < 0 && sink->owes)
        sink_done(sink, code, NULL);
    else if (code < 0)
        stream_destroy(stream, code, NULL);
    else if (sink->refused && stream->destroyed)
        sink_done(sink, CRIER_ECLOSED, NULL);
    else if (sink->refused)
        sink_emit(sink, sink->refused);
    else if (sink->owes && (!sink->ends || sink->out == 0))
        sink_done(sink, 0, NULL);
    stream_release(stream);
}

static void retry_run(struct task *task, bool dropped)
{
    struct sink *sink = LIST_ENTRY(LIST_ENTRY(task, struct agenda_timer, task), struct sink, retry);
    crier_stream *stream = sink->stream;

    if (!dropped && sink->refused && !stream->destroyed)
        sink_emit(sink, sink->refused);
    else if (!dropped && sink->refused)
        sink_done(sink, CRIER_ECLOSED, NULL);
    stream_release(stream);
}

/* There is no room for it. */
static void sink_wait(struct sink *sink, const crier_event *event)
{
    int rc;

    sink->refused = event;
    sink->owes = true;
    if (sink->out > 0)
        return; /* an outcome makes room */
    stream_retain(sink->stream);
    rc = agenda_timer_add(sink->stream->agenda, &sink->retry, clock_monotonic_us() + RETRY_US);
    if (rc == 0)
        return;
    sink_done(sink, agenda_is_closed(sink->stream->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM, NULL);
    stream_release(sink->stream);
}

/* ret_headers: from malloc. */
static int headers_take(const crier_event *event, crier_header **ret_headers)
{
    size_t count = (size_t)event->header_count;

    if (count == 0)
        return 0;
    if (!(*ret_headers = calloc(count, sizeof(**ret_headers))))
        return CRIER_ENOMEM;
    for (size_t i = 0; i < count; i++)
        (void)crier_event_header(event, (int32_t)i, &(*ret_headers)[i]);
    return 0;
}

static void sink_emit(struct sink *sink, const crier_event *event)
{
    struct crier_emit_options options = sink->emit;
    crier_stream *stream = sink->stream;
    crier_header *headers = NULL;
    uint64_t number = ++sink->number;
    int rc = headers_take(event, &headers);

    stream_retain(stream);
    sink->refused = NULL;
    sink->owes = true; /* a bus of local: has the outcome inside the emit */
    if (rc == 0) {
        options.key = event->key;
        options.key_size = event->key_size;
        options.headers = headers;
        options.header_count = (size_t)event->header_count;
        options.timestamp_ms = event->timestamp_ms;
        options.done = on_emitted;
        options.ctx = sink;
        sink->out++;
        stream_retain(stream);
        rc = crier_emit_with(stream->bus, sink->topic, event->value, event->value_size, &options);
        if (rc < 0) {
            sink->out--;
            stream_release(stream);
        }
    }
    free(headers);
    if (rc == CRIER_EAGAIN)
        sink_wait(sink, event);
    else if (rc < 0)
        sink_done(sink, rc, NULL);
    else if (sink->owes && sink->number == number && sink->out < WINDOW)
        sink_done(sink, 0, NULL);
    stream_release(stream);
}

static void sink_write(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    if (chunk->event)
        sink_emit(ctx, chunk->event);
    else
        (void)crier_stream_done(stream, CRIER_EINVAL, "bytes are no item");
}

static void sink_final(crier_stream *stream, void *ctx)
{
    struct sink *sink = ctx;

    (void)stream;
    sink->ends = sink->owes = true;
    if (sink->out == 0)
        sink_done(sink, 0, NULL);
}

int crier_topic_writable(crier *bus, const char *topic, const struct crier_emit_options *emit,
                         crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_emit_options copy = crier_emit_options_default();
    struct crier_stream_ops ops = {
        .struct_size = sizeof(ops), .write = sink_write, .final = sink_final, .release = free};
    struct sink *sink;
    size_t size;
    int rc;

    if (!bus || !(topic_name_is_valid(topic) || topic_name_is_local(topic)) || !ret_stream ||
        !struct_take(&copy, sizeof(copy), emit) || copy.key || copy.headers || copy.header_count > 0 ||
        copy.timestamp_ms != 0 || copy.done || copy.error || copy.ret_had_listeners || copy.expects)
        return CRIER_EINVAL;
    size = strlen(topic) + 1;
    if (!(sink = malloc(sizeof(*sink) + size)))
        return CRIER_ENOMEM;
    *sink = (struct sink){.emit = copy};
    sink->retry = (struct agenda_timer){.task.run = retry_run, .node.place = HEAP_NOWHERE};
    list_init(&sink->retry.task.link);
    memcpy(sink->topic, topic, size);
    options.writable_items = true;
    if ((rc = crier_stream_create(bus, CRIER_WRITABLE, &ops, sink, &options, &sink->stream)) < 0)
        free(sink);
    else
        *ret_stream = sink->stream;
    return rc;
}
