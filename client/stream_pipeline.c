/* stream_pipeline.c: many streams as one: Node's pipeline.js (v20) in C.
 *
 * Role:     pipes each stream into the next, ends and destroys them together, and makes a future of how that went.
 * Thread:   crier_pipeline and canceling its future: any; else the loop's.
 * Owns:     struct pipeline, by its listeners, its watched ends and its tasks; it holds every stream.
 *
 * Happy path:  connect -> END of one ends the next -> two ends of every joint tell -> settled
 * Failures:    the first failure that is not merely "closed too early" counts; it destroys every stream that is not through. No
 *              memory to connect: all are destroyed with CRIER_ENOMEM. The bus closes first: CRIER_ECLOSED. */
#include "client/handles.h"
#include "client/stream_internal.h"

#include "base/future.h"
#include "client/bus_internal.h"
#include "client/future_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_EARLY "closed before its end"

/* A stream of it, and the joint with the one before. */
struct stage {
    struct pipeline *pipeline;
    crier_stream *stream;
    bool finished;                           /* need not be destroyed */
    bool joint_ended;                        /* the one before ended it */
    struct stream_end *whole, *before, *own; /* watched: this stream; of the joint, its source and this */
    struct task task;                        /* the one before had ended already */
};

struct pipeline {
    unsigned references; /* under the canceler's lock */
    struct agenda *agenda;
    struct future *future;
    struct task start, abort, settle;
    bool settling, destroyed;
    int open;    /* Node's finishCount */
    int code;    /* the failure that counts */
    int outcome; /* of it, what the future is told: what counted when the last one was through */
    char text[STREAM_TEXT_SIZE];
    size_t count;
    struct stage stages[];
};

/* In the future's extra memory: by it a cancel on any thread finds the pipeline, if it is still there. */
struct canceler {
    pthread_mutex_t lock;
    struct pipeline *pipeline; /* NULL: gone */
};

static void pipeline_retain(struct pipeline *pipeline)
{
    struct canceler *canceler = future_extra(pipeline->future);

    pthread_mutex_lock(&canceler->lock);
    pipeline->references++;
    pthread_mutex_unlock(&canceler->lock);
}

static void pipeline_release(void *ctx)
{
    struct pipeline *pipeline = ctx;
    struct canceler *canceler = future_extra(pipeline->future);
    bool last;

    pthread_mutex_lock(&canceler->lock);
    last = --pipeline->references == 0;
    if (last)
        canceler->pipeline = NULL;
    pthread_mutex_unlock(&canceler->lock);
    if (!last)
        return;
    future_settle(pipeline->future, &(struct future_result){.code = CRIER_ECLOSED}, NULL);
    future_release(pipeline->future);
    for (size_t i = 0; i < pipeline->count; i++)
        crier_stream_release(pipeline->stages[i].stream);
    agenda_release(pipeline->agenda);
    free(pipeline);
}

static void stage_release(void *ctx)
{
    pipeline_release(((struct stage *)ctx)->pipeline);
}

/* ---- the end ---- */

static bool is_mild(int code)
{
    return code == CRIER_ECLOSED || code == CRIER_ECANCELED;
}

static void stage_destroy(struct stage *stage)
{
    struct pipeline *pipeline = stage->pipeline;
    crier_stream *stream = stage->stream;

    if (stage->finished)
        return;
    stage->finished = true;
    stream_destroy(stream, pipeline->code ? pipeline->code : CRIER_ECLOSED,
                   pipeline->code ? pipeline->text : NULL);
}

static void finish(struct pipeline *pipeline, int code, const char *text, bool final)
{
    if (code < 0 && (pipeline->code == 0 || pipeline->code == CRIER_ECLOSED)) {
        pipeline->code = code;
        snprintf(pipeline->text, sizeof(pipeline->text), "%s", text ? text : crier_strerror(code));
    }
    if (pipeline->code == 0 && !final)
        return;
    if (!pipeline->destroyed) {
        pipeline->destroyed = true;
        for (size_t i = 0; i < pipeline->count; i++)
            stage_destroy(&pipeline->stages[i]);
    }
    if (!final || pipeline->settling)
        return;
    pipeline->settling = true;
    pipeline->outcome = pipeline->code;
    pipeline_retain(pipeline);
    agenda_add(pipeline->agenda, AGENDA_TICK, &pipeline->settle);
}

static void finish_one(struct pipeline *pipeline, int code, const char *text)
{
    finish(pipeline, code, text, --pipeline->open == 0);
}

/* ---- what streams tell ---- */

static void on_error(const crier_stream_event *event, void *ctx)
{
    if (!is_mild(event->code))
        finish_one(((struct stage *)ctx)->pipeline, event->code, event->text);
}

static void on_closed(const crier_stream_event *event, void *ctx)
{
    (void)event;
    ((struct stage *)ctx)->finished = true;
}

static void whole_ended(void *ctx, int code, const char *text)
{
    (void)text;
    ((struct stage *)ctx)->finished = code == 0;
}

static void joint_closed(const crier_stream_event *event, void *ctx)
{
    struct stage *stage = ctx;

    (void)event;
    if (!stage->joint_ended)
        finish_one(stage->pipeline, CRIER_ECLOSED, TEXT_EARLY);
}

static void joint_end(const crier_stream_event *event, void *ctx)
{
    struct stage *stage = ctx;

    (void)event;
    stage->joint_ended = true;
    writable_end(stage->stream);
}

static void joint_end_run(struct task *task, bool dropped)
{
    struct stage *stage = LIST_ENTRY(task, struct stage, task);

    if (!dropped)
        joint_end(NULL, stage);
    pipeline_release(stage->pipeline);
}

static void before_finished(const crier_stream_event *event, void *ctx)
{
    finish_one(((struct stage *)ctx)->pipeline, event->code, event->text);
}

/* A source that closed before its last END could be told has ended all the same: that is waited for. */
static void before_ended(void *ctx, int code, const char *text)
{
    struct stage *stage = ctx;
    crier_stream *from = stage[-1].stream;

    if (code == CRIER_ECLOSED && from->r.ended && from->code == 0 && !from->error_emitted &&
        stream_listen(from, CRIER_STREAM_END, LISTEN_ONCE, before_finished, stage, stage_release) == 0) {
        pipeline_retain(stage->pipeline);
        if (stream_listen(from, CRIER_STREAM_ERROR, LISTEN_ONCE, before_finished, stage, stage_release) == 0)
            pipeline_retain(stage->pipeline);
        return;
    }
    finish_one(stage->pipeline, code, text);
}

static void own_ended(void *ctx, int code, const char *text)
{
    finish_one(((struct stage *)ctx)->pipeline, code, text);
}

/* ---- connecting ---- */

static bool stage_on(struct stage *stage, crier_stream *stream, enum crier_stream_kind kind,
                     enum stream_listen how, crier_stream_handler *handler)
{
    if (stream_listen(stream, kind, how, handler, stage, stage_release) < 0)
        return false;
    pipeline_retain(stage->pipeline);
    return true;
}

static bool stage_watch(struct stage *stage, crier_stream *stream, bool reading, bool writing,
                        void (*callback)(void *ctx, int code, const char *text), struct stream_end **slot)
{
    if (stream_end_watch(stream, reading, writing, callback, stage, slot) < 0)
        return false;
    pipeline_retain(stage->pipeline);
    stream_end_on_release(*slot, stage_release);
    return true;
}

static bool joint_connect(struct stage *stage)
{
    crier_stream *from = stage[-1].stream, *to = stage->stream;

    stage->pipeline->open += 2;
    if (!stage_on(stage, to, CRIER_STREAM_CLOSE, LISTEN_ON, joint_closed) ||
        crier_stream_pipe(from, to, false) < 0)
        return false;
    if (from->code == 0 && from->r.end_emitted) {
        pipeline_retain(stage->pipeline);
        agenda_add(from->agenda, AGENDA_TICK, &stage->task);
    } else if (!stage_on(stage, from, CRIER_STREAM_END, LISTEN_ONCE, joint_end)) {
        return false;
    }
    return stage_watch(stage, from, true, false, before_ended, &stage->before) &&
           stage_watch(stage, to, false, true, own_ended, &stage->own);
}

static bool pipeline_connect(struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->count; i++) {
        struct stage *stage = &pipeline->stages[i];
        if (!stage_on(stage, stage->stream, CRIER_STREAM_CLOSE, LISTEN_ON, on_closed) ||
            !stage_watch(stage, stage->stream, i + 1 < pipeline->count, i > 0, whole_ended, &stage->whole) ||
            !stage_on(stage, stage->stream, CRIER_STREAM_ERROR, LISTEN_ON, on_error) ||
            (i > 0 && !joint_connect(stage)))
            return false;
    }
    return true;
}

static void pipeline_disconnect(struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->count; i++) {
        struct stage *stage = &pipeline->stages[i];
        struct stream_end *ends[] = {stage->whole, stage->before, stage->own};
        for (size_t j = 0; j < 3; j++)
            if (ends[j])
                stream_end_forget(ends[j]);
        (void)stream_unlisten(stage->stream, CRIER_STREAM_CLOSE, on_closed, stage);
        (void)stream_unlisten(stage->stream, CRIER_STREAM_ERROR, on_error, stage);
        (void)stream_unlisten(stage->stream, CRIER_STREAM_CLOSE, joint_closed, stage);
        if (i > 0)
            (void)stream_unlisten(stage[-1].stream, CRIER_STREAM_END, joint_end, stage);
    }
}

/* The words of a failure are the future's, as a value would be. No memory for them: the code is enough. */
static void pipeline_settle(struct pipeline *pipeline)
{
    struct future_result result = {.code = pipeline->outcome};

    size_t size = strlen(pipeline->text) + 1;
    char *text = result.code < 0 ? malloc(size) : NULL;

    if (text) {
        result.text = result.pointer = memcpy(text, pipeline->text, size);
        result.size = size - 1;
    }
    (void)future_settle(pipeline->future, &result, text ? free : NULL);
}

static void settle_run(struct task *task, bool dropped)
{
    struct pipeline *pipeline = LIST_ENTRY(task, struct pipeline, settle);

    if (!dropped) {
        pipeline_settle(pipeline);
        pipeline_disconnect(pipeline);
    }
    pipeline_release(pipeline);
}

static void abort_run(struct task *task, bool dropped)
{
    struct pipeline *pipeline = LIST_ENTRY(task, struct pipeline, abort);

    if (!dropped)
        finish(pipeline, CRIER_ECANCELED, NULL, false);
    pipeline_release(pipeline);
}

static void start_run(struct task *task, bool dropped)
{
    struct pipeline *pipeline = LIST_ENTRY(task, struct pipeline, start);

    if (!dropped && !pipeline_connect(pipeline))
        finish(pipeline, CRIER_ENOMEM, NULL, true);
    pipeline_release(pipeline);
}

/* ---- making one ---- */

static void on_cancel(struct future *future)
{
    struct canceler *canceler = future_extra(future);
    struct pipeline *pipeline;

    pthread_mutex_lock(&canceler->lock);
    if ((pipeline = canceler->pipeline))
        pipeline->references++;
    pthread_mutex_unlock(&canceler->lock);
    if (pipeline)
        agenda_add(pipeline->agenda, AGENDA_TICK, &pipeline->abort);
}

static bool streams_fit(crier *bus, crier_stream *const *streams, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        handle_check(&stream_handles, streams[i]);
        if (!streams[i] || streams[i]->bus != bus || (i > 0 && !streams[i]->w.there) ||
            (i + 1 < count && !streams[i]->r.there))
            return false;
        if (i > 0 && streams[i - 1]->r.items != streams[i]->w.items)
            return false;
    }
    return true;
}

static void canceler_finish(struct future *future)
{
    pthread_mutex_destroy(&((struct canceler *)future_extra(future))->lock);
}

static struct pipeline *pipeline_make(crier *bus, crier_stream *const *streams, size_t count)
{
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline) + count * sizeof(struct stage));
    struct canceler *canceler;

    if (!pipeline)
        return NULL;
    if (!(pipeline->future = future_create(bus->agenda, sizeof(*canceler)))) {
        free(pipeline);
        return NULL;
    }
    canceler = future_extra(pipeline->future);
    pthread_mutex_init(&canceler->lock, NULL);
    canceler->pipeline = pipeline;
    future_on_free(pipeline->future, canceler_finish);
    future_on_cancel(pipeline->future, on_cancel);
    pipeline->references = 1;
    pipeline->agenda = agenda_retain(bus->agenda);
    pipeline->start.run = start_run;
    pipeline->abort.run = abort_run;
    pipeline->settle.run = settle_run;
    list_init(&pipeline->start.link);
    list_init(&pipeline->abort.link);
    list_init(&pipeline->settle.link);
    pipeline->count = count;
    for (size_t i = 0; i < count; i++) {
        pipeline->stages[i] =
            (struct stage){.pipeline = pipeline, .stream = streams[i], .task.run = joint_end_run};
        list_init(&pipeline->stages[i].task.link);
        (void)crier_stream_retain(streams[i]);
    }
    return pipeline;
}

int crier_pipeline(crier *bus, crier_stream *const *streams, size_t count, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    struct pipeline *pipeline;

    if (!bus || !streams || count < 2 || count > SIZE_MAX / sizeof(struct stage) - 2)
        return CRIER_EINVAL;
    if (!streams_fit(bus, streams, count))
        return CRIER_EINVAL;
    if (!(pipeline = pipeline_make(bus, streams, count)))
        return agenda_is_closed(bus->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    if (ret_future)
        *ret_future = future_public(future_retain(pipeline->future));
    if (bus_on_loop_thread(bus))
        start_run(&pipeline->start, false);
    else
        agenda_add(pipeline->agenda, AGENDA_TICK, &pipeline->start);
    return 0;
}
