/* stream_end.c: when a stream is through: Node's end-of-stream.js (v20) in C.
 *
 * Role:     watches a stream's events until it is clear how it ended; crier_stream_finished() makes a future of that.
 * Thread:   crier_stream_finished: any; else the loop's.
 * Owns:     struct stream_end, by its listeners on the stream and its tick. Whoever watches has a slot with a pointer to it, which
 *           is NULL once it is gone.
 *
 * Happy path:  stream_end_watch -> END, FINISH, ERROR or CLOSE -> callback, once
 * Failures:    the stream is gone with its bus: release without callback. */
#include "client/handles.h"
#include "client/stream_internal.h"

#include "base/future.h"
#include "client/bus_internal.h"
#include "client/future_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the end of one ---- */

struct stream_end {
    unsigned references;
    crier_stream *stream;
    bool reading, writing;                                   /* the sides it is about */
    bool will_close;                                         /* CLOSE comes, and tells it all */
    bool read_ended, write_ended;                            /* so far */
    void (*callback)(void *ctx, int code, const char *text); /* NULL: it was called, or is not wanted */
    void *ctx;
    void (*release)(void *ctx);
    struct stream_end **slot; /* NULL: forgotten */
    struct task task;
    bool check; /* the tick looks as CLOSE does */
};

static void end_release(void *ctx)
{
    struct stream_end *end = ctx;

    if (--end->references > 0)
        return;
    if (end->slot)
        *end->slot = NULL;
    if (end->release)
        end->release(end->ctx);
    stream_release(end->stream);
    free(end);
}

static void end_tell(struct stream_end *end, int code, const char *text)
{
    void (*callback)(void *ctx, int code, const char *text) = end->callback;

    end->callback = NULL;
    if (callback)
        callback(end->ctx, code, text);
}

static bool read_is_finished(const crier_stream *stream)
{
    return stream->code == 0 && (stream->r.end_emitted || (stream->r.ended && stream->r.length == 0));
}

static bool write_is_finished(const crier_stream *stream)
{
    if (stream->w.finished)
        return true;
    return stream->code == 0 && stream->w.ended && stream->w.length == 0;
}

static bool read_is_open(const crier_stream *stream) /* Node's stream.readable */
{
    return stream->r.there && !stream->destroyed && !stream->error_emitted && !stream->r.end_emitted;
}

static void on_finish(const crier_stream_event *event, void *ctx)
{
    struct stream_end *end = ctx;

    (void)event;
    end->write_ended = true;
    if (end->stream->destroyed)
        end->will_close = false;
    if (end->will_close && (!read_is_open(end->stream) || end->reading))
        return;
    if (!end->reading || end->read_ended)
        end_tell(end, 0, NULL);
}

static void on_end(const crier_stream_event *event, void *ctx)
{
    struct stream_end *end = ctx;

    (void)event;
    end->read_ended = true;
    if (end->stream->destroyed)
        end->will_close = false;
    if (end->will_close && (!writable_is_open(end->stream) || end->writing))
        return;
    if (!end->writing || end->write_ended)
        end_tell(end, 0, NULL);
}

static void on_error(const crier_stream_event *event, void *ctx)
{
    end_tell(ctx, event->code, event->text);
}

static void closed_check(struct stream_end *end, bool check)
{
    crier_stream *stream = end->stream;

    if (stream->code != 0)
        end_tell(end, stream->code, stream->text);
    else if (check && ((end->reading && !end->read_ended && !read_is_finished(stream)) ||
                       (end->writing && !end->write_ended && !write_is_finished(stream))))
        end_tell(end, CRIER_ECLOSED, "closed before its end");
    else
        end_tell(end, 0, NULL);
}

static void on_close(const crier_stream_event *event, void *ctx)
{
    (void)event;
    closed_check(ctx, true);
}

static void end_run(struct task *task, bool dropped)
{
    struct stream_end *end = LIST_ENTRY(task, struct stream_end, task);

    if (!dropped)
        closed_check(end, end->check);
    end_release(end);
}

static const struct {
    enum crier_stream_kind kind;
    crier_stream_handler *handler;
} end_listens[] = {{CRIER_STREAM_END, on_end},
                   {CRIER_STREAM_FINISH, on_finish},
                   {CRIER_STREAM_ERROR, on_error},
                   {CRIER_STREAM_CLOSE, on_close}};

#define END_LISTENS (sizeof(end_listens) / sizeof(end_listens[0]))

void stream_end_forget(struct stream_end *end)
{
    end->callback = NULL;
    end->references++;
    for (size_t i = 0; i < END_LISTENS; i++)
        (void)stream_unlisten(end->stream, end_listens[i].kind, end_listens[i].handler, end);
    end_release(end);
}

/* It is over already, and no event will say so: a tick does. */
static void end_tick_maybe(struct stream_end *end)
{
    crier_stream *stream = end->stream;
    bool over = false;

    if (stream->closed)
        over = end->check = true;
    else if (stream->error_emitted)
        over = !end->will_close;
    else if (!end->reading)
        over = (!end->will_close || read_is_open(stream)) &&
               (end->write_ended || !writable_is_open(stream)) && stream->w.pending == 0;
    else if (!end->writing)
        over = (!end->will_close || writable_is_open(stream)) && (end->read_ended || !read_is_open(stream));
    if (!over)
        return;
    end->references++;
    agenda_add(stream->agenda, AGENDA_TICK, &end->task);
}

int stream_end_watch(crier_stream *stream, bool reading, bool writing,
                     void (*callback)(void *ctx, int code, const char *text), void *ctx,
                     struct stream_end **slot)
{
    int rc = 0;
    struct stream_end *end = malloc(sizeof(*end));

    if (!end)
        return CRIER_ENOMEM;
    *end = (struct stream_end){.references = 1,
                               .stream = stream,
                               .reading = reading,
                               .writing = writing,
                               .will_close = !stream->closed && reading == stream->r.there &&
                                             writing == stream->w.there,
                               .read_ended = read_is_finished(stream),
                               .write_ended = write_is_finished(stream),
                               .callback = callback,
                               .ctx = ctx,
                               .slot = slot,
                               .task.run = end_run};
    list_init(&end->task.link);
    stream_retain(stream);
    *slot = end;
    for (size_t i = 0; i < END_LISTENS && rc == 0; i++) {
        rc = stream_listen(stream, end_listens[i].kind, LISTEN_ON, end_listens[i].handler, end, end_release);
        end->references += rc == 0;
    }
    if (rc == 0)
        end_tick_maybe(end);
    else
        stream_end_forget(end);
    end_release(end);
    return rc;
}

void stream_end_on_release(struct stream_end *end, void (*release)(void *ctx))
{
    end->release = release;
}

/* ---- crier_stream_finished ---- */

struct finished {
    struct task task;
    crier_stream *stream;
    struct future *future;
    struct stream_end *end;
};

static void on_finished(void *ctx, int code, const char *text)
{
    struct finished *finished = ctx;

    (void)text;
    future_settle(finished->future, &(struct future_result){.code = code}, NULL);
    stream_end_forget(finished->end);
}

/* code: unless it was settled. */
static void finished_free(struct finished *finished, int code)
{
    future_settle(finished->future, &(struct future_result){.code = code}, NULL);
    future_release(finished->future);
    crier_stream_release(finished->stream);
    free(finished);
}

static void finished_release(void *ctx)
{
    finished_free(ctx, CRIER_ECLOSED);
}

static void finished_run(struct task *task, bool dropped)
{
    struct finished *finished = LIST_ENTRY(task, struct finished, task);
    crier_stream *stream = finished->stream;

    if (dropped)
        finished_release(finished);
    else if (stream_end_watch(stream, stream->r.there, stream->w.there, on_finished, finished,
                              &finished->end) < 0)
        finished_free(finished, CRIER_ENOMEM);
    else
        stream_end_on_release(finished->end, finished_release);
}

int crier_stream_finished(crier_stream *stream, crier_future **ret_future)
{
    handle_check(&stream_handles, stream);
    struct finished *finished;

    if (!stream || !ret_future)
        return CRIER_EINVAL;
    if (!(finished = calloc(1, sizeof(*finished))))
        return CRIER_ENOMEM;
    if (!(finished->future = future_create(stream->agenda, 0))) {
        free(finished);
        return agenda_is_closed(stream->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    }
    list_init(&finished->task.link);
    finished->task.run = finished_run;
    finished->stream = crier_stream_retain(stream);
    *ret_future = future_public(future_retain(finished->future));
    if (bus_on_loop_thread(stream->bus))
        finished_run(&finished->task, false);
    else
        agenda_add(stream->agenda, AGENDA_TICK, &finished->task);
    return 0;
}
