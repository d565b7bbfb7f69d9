/* stream_pipe.c: everything from one stream is written to another, at the speed of the slower.
 *
 * Role:     Node's Readable.prototype.pipe and unpipe (v20) in C.
 * Thread:   the loop's.
 * Owns:     struct pipe, by its listeners on both streams and the tick under way: a reference each. It holds both streams.
 *
 * Happy path:  DATA of `from` -> writable_write(to); 0: pause, DRAIN of `to`: resume; END of `from` -> end `to`
 * Failures:    ERROR, CLOSE or FINISH of `to` undoes it, and `from` stays as it is. No memory while it is made: undone. */
#include "client/handles.h"
#include "client/stream_internal.h"

#include <stdlib.h>

struct pipe {
    unsigned references;
    crier_stream *from, *to;
    struct list link;  /* from.r.pipes */
    struct list await; /* from.r.await: it waits for drain */
    bool ends;
    bool undone;    /* its listeners are gone */
    bool has_drain; /* it listens for DRAIN: */
    struct stream_listener *drain;
    struct task task; /* `from` had ended before */
};

static void pipe_release(void *ctx)
{
    struct pipe *pipe = ctx;

    if (--pipe->references > 0)
        return;
    list_remove(&pipe->link);
    list_remove(&pipe->await);
    free(pipe->drain);
    stream_release(pipe->from);
    stream_release(pipe->to);
    free(pipe);
}

void pipe_awaits_clear(crier_stream *from)
{
    while (list_take(&from->r.await))
        continue;
}

void pipes_drop(crier_stream *from)
{
    for (struct list *link; (link = list_take(&from->r.pipes));)
        pipe_release(LIST_ENTRY(link, struct pipe, link));
}

/* ---- backpressure ---- */

static void on_drain(const crier_stream_event *event, void *ctx)
{
    struct pipe *pipe = ctx;
    crier_stream *from = pipe->from;

    (void)event;
    for (struct list *link = from->r.await.next, *next; link != &from->r.await; link = next) {
        next = link->next;
        if (LIST_ENTRY(link, struct pipe, await)->to == pipe->to) /* Node's is a set of destinations */
            list_remove(link);
    }
    if (list_is_empty(&from->r.await) && from->listener_counts[CRIER_STREAM_DATA] > 0)
        readable_resume(from);
}

static void pipe_pause(struct pipe *pipe)
{
    struct readable *r = &pipe->from->r;

    if (!pipe->undone) {
        if (list_is_linked(&pipe->link)) {
            if (r->pipes.next->next == &r->pipes) { /* the only one */
                pipe_awaits_clear(pipe->from);
                r->await_many = false;
            }
            list_remove(&pipe->await);
            list_append(&r->await, &pipe->await);
        }
        readable_pause(pipe->from);
    }
    if (pipe->has_drain)
        return;
    pipe->has_drain = true;
    pipe->references++;
    stream_listener_add(pipe->to, CRIER_STREAM_DRAIN, false, pipe->drain);
    pipe->drain = NULL;
}

static void on_data(const crier_stream_event *event, void *ctx)
{
    struct pipe *pipe = ctx;
    int rc = writable_write(pipe->to, chunk_inner(event->chunk));

    if (rc == CRIER_ENOMEM)
        stream_destroy(pipe->to, rc, NULL);
    if (rc <= 0)
        pipe_pause(pipe);
}

/* ---- the end ---- */

static void pipe_unpipe(struct pipe *pipe)
{
    (void)crier_stream_unpipe(pipe->from, pipe->to);
}

static void on_end(const crier_stream_event *event, void *ctx)
{
    struct pipe *pipe = ctx;

    (void)event;
    if (pipe->ends)
        writable_end(pipe->to);
    else
        pipe_unpipe(pipe);
}

static void on_finish(const crier_stream_event *event, void *ctx);

static void on_close(const crier_stream_event *event, void *ctx)
{
    struct pipe *pipe = ctx;

    (void)event;
    pipe->references++;
    stream_unlisten(pipe->to, CRIER_STREAM_FINISH, on_finish, pipe);
    pipe_unpipe(pipe);
    pipe_release(pipe);
}

static void on_finish(const crier_stream_event *event, void *ctx)
{
    struct pipe *pipe = ctx;

    (void)event;
    pipe->references++;
    stream_unlisten(pipe->to, CRIER_STREAM_CLOSE, on_close, pipe);
    pipe_unpipe(pipe);
    pipe_release(pipe);
}

/* Node tells of an error once more if this was its only listener; here that is the bus's "error". */
static void on_error(const crier_stream_event *event, void *ctx)
{
    struct pipe *pipe = ctx;
    crier_stream *to = pipe->to;

    pipe->references++;
    pipe_unpipe(pipe);
    stream_unlisten(to, CRIER_STREAM_ERROR, on_error, pipe);
    if (to->listener_counts[CRIER_STREAM_ERROR] == 0)
        agenda_unhandled(to->agenda, event->code, event->text);
    pipe_release(pipe);
}

static void on_unpipe(const crier_stream_event *event, void *ctx);

static void pipe_undo(struct pipe *pipe) /* cleanup */
{
    crier_stream *from = pipe->from, *to = pipe->to;

    pipe->references++;
    stream_unlisten(to, CRIER_STREAM_CLOSE, on_close, pipe);
    stream_unlisten(to, CRIER_STREAM_FINISH, on_finish, pipe);
    stream_unlisten(to, CRIER_STREAM_DRAIN, on_drain, pipe);
    stream_unlisten(to, CRIER_STREAM_ERROR, on_error, pipe);
    stream_unlisten(to, CRIER_STREAM_UNPIPE, on_unpipe, pipe);
    stream_unlisten(from, CRIER_STREAM_END, on_end, pipe);
    stream_unlisten(from, CRIER_STREAM_DATA, on_data, pipe);
    pipe->undone = true;
    if (pipe->has_drain && (from->r.await_many || !list_is_empty(&from->r.await)) && to->w.need_drain)
        on_drain(NULL, pipe);
    pipe_release(pipe);
}

/* event.internal: a bool: somebody has taken it to heart already (one stream may be piped into another twice). */
static void on_unpipe(const crier_stream_event *event, void *ctx)
{
    struct pipe *pipe = ctx;
    bool *taken = (bool *)(uintptr_t)event->internal;

    if (event->other != pipe->from || *taken)
        return;
    *taken = true;
    pipe_undo(pipe);
}

/* Takes the reference of the pipe's place in its list. */
static void unpiped_emit(struct pipe *pipe)
{
    bool taken = false;

    stream_emit(
        pipe->to, CRIER_STREAM_UNPIPE,
        &(struct crier_stream_event){
            .kind = CRIER_STREAM_UNPIPE, .stream = pipe->to, .other = pipe->from, .internal = &taken});
    pipe_release(pipe);
}

int crier_stream_unpipe(crier_stream *from, crier_stream *to)
{
    handle_check(&stream_handles, from);
    handle_check(&stream_handles, to);
    struct readable *r;
    struct list *link, pipes;

    if (!stream_is_ours(from) || !from->r.there)
        return CRIER_EINVAL;
    r = &from->r;
    stream_retain(from);
    list_init(&pipes);
    for (link = r->pipes.next; to && link != &r->pipes && LIST_ENTRY(link, struct pipe, link)->to != to;)
        link = link->next;
    if (!to) {
        list_move_all(&r->pipes, &pipes);
    } else if (link != &r->pipes) {
        list_remove(link);
        list_append(&pipes, link);
    }
    if (!list_is_empty(&pipes) && list_is_empty(&r->pipes))
        readable_pause(from);
    while ((link = list_take(&pipes)))
        unpiped_emit(LIST_ENTRY(link, struct pipe, link));
    stream_release(from);
    return 0;
}

/* ---- making one ---- */

static void end_run(struct task *task, bool dropped)
{
    struct pipe *pipe = LIST_ENTRY(task, struct pipe, task);

    if (!dropped)
        on_end(NULL, pipe);
    pipe_release(pipe);
}

static struct pipe *pipe_make(crier_stream *from, crier_stream *to, bool ends)
{
    struct pipe *pipe = calloc(1, sizeof(*pipe));
    struct stream_listener *drain = malloc(sizeof(*drain));

    if (!pipe || !drain) {
        free(pipe);
        free(drain);
        return NULL;
    }
    *drain = (struct stream_listener){.handler = on_drain, .ctx = pipe, .release = pipe_release};
    *pipe = (struct pipe){
        .references = 1, .from = from, .to = to, .ends = ends, .drain = drain, .task.run = end_run};
    list_init(&pipe->link);
    list_init(&pipe->await);
    list_init(&pipe->task.link);
    stream_retain(from);
    stream_retain(to);
    return pipe;
}

static bool pipe_listen(struct pipe *pipe, crier_stream *stream, enum crier_stream_kind kind,
                        enum stream_listen how, crier_stream_handler *handler)
{
    if (stream_listen(stream, kind, how, handler, pipe, pipe_release) < 0)
        return false;
    pipe->references++;
    return true;
}

static bool pipe_connect(struct pipe *pipe)
{
    crier_stream *from = pipe->from, *to = pipe->to;

    if (from->r.end_emitted) {
        pipe->references++;
        agenda_add(from->agenda, AGENDA_TICK, &pipe->task);
    } else if (!pipe_listen(pipe, from, CRIER_STREAM_END, LISTEN_ONCE, on_end)) {
        return false;
    }
    return pipe_listen(pipe, to, CRIER_STREAM_UNPIPE, LISTEN_ON, on_unpipe) &&
           pipe_listen(pipe, from, CRIER_STREAM_DATA, LISTEN_ON, on_data) &&
           pipe_listen(pipe, to, CRIER_STREAM_ERROR, LISTEN_FIRST, on_error) &&
           pipe_listen(pipe, to, CRIER_STREAM_CLOSE, LISTEN_ONCE, on_close) &&
           pipe_listen(pipe, to, CRIER_STREAM_FINISH, LISTEN_ONCE, on_finish);
}

int crier_stream_pipe(crier_stream *from, crier_stream *to, bool ends)
{
    handle_check(&stream_handles, from);
    handle_check(&stream_handles, to);
    struct pipe *pipe;

    if (!stream_is_ours(from) || !stream_is_ours(to) || !from->r.there || !to->w.there ||
        from->agenda != to->agenda || from->r.items != to->w.items)
        return CRIER_EINVAL;
    if (!(pipe = pipe_make(from, to, ends)))
        return CRIER_ENOMEM;
    if (!list_is_empty(&from->r.pipes))
        from->r.await_many = true;
    list_append(&from->r.pipes, &pipe->link); /* with the first reference */
    pipe->references++;
    if (!pipe_connect(pipe)) {
        pipe->ends = false; /* if its tick is under way */
        (void)crier_stream_unpipe(from, to);
        pipe_undo(pipe);
        pipe_release(pipe);
        return CRIER_ENOMEM;
    }
    stream_emit(to, CRIER_STREAM_PIPE,
                &(struct crier_stream_event){.kind = CRIER_STREAM_PIPE, .stream = to, .other = from});
    if (writable_needs_drain(to))
        pipe_pause(pipe);
    else if (!from->r.flowing)
        readable_resume(from);
    pipe_release(pipe);
    return 0;
}
