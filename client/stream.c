/* stream.c: what all streams have: making, listeners, ticks, destroying, and the bus that keeps them.
 *
 * Role:     the stream itself; its two sides are stream_readable.c and stream_writable.c.
 * Thread:   making, retaining and releasing: any; all else the loop's.
 * Owns:     the stream. It is freed when nobody refers to it: the user, the loop (until it has closed and the user has let go), ticks
 *           under way, pipes.
 *
 * Happy path:  crier_stream_create -> ... both sides have ended -> stream_destroy -> ops.destroy -> TICK_CLOSE: CLOSE -> freed
 * Failures:    stream_destroy with a code: ERROR before CLOSE; nobody listens to it: the agenda tells the bus's "error". The bus
 *              is closed: streams_close destroys all while the loop still turns; streams_finish lets go of those that did not get
 *              through. */
#include "client/handles.h"
#include "client/stream_internal.h"

#include "base/check.h"
#include "base/future.h"
#include "client/bus_internal.h"
#include "client/struct_size.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- threads and references ---- */

bool bus_on_loop_thread(crier *bus)
{
    return bus->own_thread
               ? bus_in_callback(bus)
               : pthread_equal(atomic_load_explicit(&bus->loop_thread, memory_order_relaxed), pthread_self());
}

bool stream_is_ours(const crier_stream *stream)
{
    return stream &&
           (!atomic_load_explicit(&stream->kept, memory_order_acquire) || bus_on_loop_thread(stream->bus));
}

void stream_retain(crier_stream *stream)
{
    atomic_fetch_add_explicit(&stream->references, 1, memory_order_relaxed);
}

static void listeners_drop(crier_stream *stream, bool all)
{
    for (int kind = 0; kind < CRIER_STREAM_KINDS; kind++)
        for (struct list *link = stream->listeners[kind].next, *next; link != &stream->listeners[kind];
             link = next) {
            struct stream_listener *listener = LIST_ENTRY(link, struct stream_listener, link);
            next = link->next;
            if (!all && listener->removed == UINT64_MAX)
                continue;
            list_remove(link);
            if (all && listener->removed == UINT64_MAX)
                stream->listener_counts[kind]--;
            if (listener->release)
                listener->release(listener->ctx);
            free(listener);
        }
    stream->has_removed = false;
}

static void stream_free(crier_stream *stream)
{
    CHECK(!list_is_linked(&stream->link));
    listeners_drop(stream, true);
    chunk_queue_finish(&stream->r.buffer);
    chunk_queue_finish(&stream->w.buffer);
    if (stream->w.chunk)
        crier_chunk_release(&stream->w.chunk->shown);
    if (stream->ops.release)
        stream->ops.release(stream->ctx);
    agenda_release(stream->agenda);
    handle_freed(&stream_handles, stream);
    free(stream);
}

void stream_release(crier_stream *stream)
{
    if (atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel) == 1)
        stream_free(stream);
}

/* The loop keeps it no longer: it has closed, and nobody holds it who could ask for more; or the bus is closed. */
static void stream_let_go(crier_stream *stream)
{
    crier *bus = stream->bus;

    if (!atomic_exchange_explicit(&stream->kept, false, memory_order_acq_rel))
        return;
    pthread_mutex_lock(&bus->lock);
    list_remove(&stream->link);
    pthread_mutex_unlock(&bus->lock);
    listeners_drop(stream, true);
    pipes_drop(stream);
    stream_release(stream);
}

crier_stream *crier_stream_retain(crier_stream *stream)
{
    handle_check(&stream_handles, stream);
    if (stream) {
        stream_retain(stream);
        atomic_fetch_add_explicit(&stream->handles, 1, memory_order_relaxed);
    }
    return stream;
}

void crier_stream_release(crier_stream *stream)
{
    handle_check(&stream_handles, stream);
    if (!stream)
        return;
    /* the last one asks the loop to look whether it may let go: what it keeps is its thread's */
    if (atomic_fetch_sub_explicit(&stream->handles, 1, memory_order_acq_rel) == 1)
        stream_tick(stream, TICK_RELEASED);
    stream_release(stream);
}

void *crier_stream_ctx(const crier_stream *stream)
{
    handle_check(&stream_handles, stream);
    return stream ? stream->ctx : NULL;
}

/* ---- listeners ---- */

void stream_listener_add(crier_stream *stream, enum crier_stream_kind kind, bool first,
                         struct stream_listener *listener)
{
    listener->added = ++stream->stamp;
    listener->removed = UINT64_MAX;
    if (first)
        list_prepend(&stream->listeners[kind], &listener->link);
    else
        list_append(&stream->listeners[kind], &listener->link);
    stream->listener_counts[kind]++;
}

int stream_listen(crier_stream *stream, enum crier_stream_kind kind, enum stream_listen how,
                  crier_stream_handler *handler, void *ctx, void (*release)(void *ctx))
{
    struct stream_listener *listener = malloc(sizeof(*listener));

    if (!listener)
        return CRIER_ENOMEM;
    *listener = (struct stream_listener){
        .handler = handler, .ctx = ctx, .release = release, .once = how == LISTEN_ONCE};
    stream_listener_add(stream, kind, how == LISTEN_FIRST, listener);
    if (stream->r.there)
        readable_listened(stream, kind);
    return 0;
}

static void listener_remove(crier_stream *stream, enum crier_stream_kind kind,
                            struct stream_listener *listener)
{
    listener->removed = ++stream->stamp;
    stream->listener_counts[kind]--;
    stream->has_removed = true;
    stream_retain(stream); /* a release may be what held it */
    if (stream->emitting == 0)
        listeners_drop(stream, false);
    if (stream->r.there)
        readable_unlistened(stream, kind);
    stream_release(stream);
}

bool stream_unlisten(crier_stream *stream, enum crier_stream_kind kind, crier_stream_handler *handler,
                     void *ctx)
{
    struct list *head = &stream->listeners[kind];

    for (struct list *link = head->previous; link != head; link = link->previous) {
        struct stream_listener *listener = LIST_ENTRY(link, struct stream_listener, link);
        if (listener->removed == UINT64_MAX && listener->handler == handler && listener->ctx == ctx) {
            listener_remove(stream, kind, listener);
            return true;
        }
    }
    return false;
}

static bool kind_is_known(enum crier_stream_kind kind)
{
    return (unsigned)kind < CRIER_STREAM_KINDS;
}

int crier_stream_on(crier_stream *stream, enum crier_stream_kind kind, crier_stream_handler *handler,
                    void *ctx)
{
    handle_check(&stream_handles, stream);
    if (!stream_is_ours(stream) || !kind_is_known(kind) || !handler)
        return CRIER_EINVAL;
    return stream_listen(stream, kind, LISTEN_ON, handler, ctx, NULL);
}

int crier_stream_once(crier_stream *stream, enum crier_stream_kind kind, crier_stream_handler *handler,
                      void *ctx)
{
    handle_check(&stream_handles, stream);
    if (!stream_is_ours(stream) || !kind_is_known(kind) || !handler)
        return CRIER_EINVAL;
    return stream_listen(stream, kind, LISTEN_ONCE, handler, ctx, NULL);
}

int crier_stream_off(crier_stream *stream, enum crier_stream_kind kind, crier_stream_handler *handler,
                     void *ctx)
{
    handle_check(&stream_handles, stream);
    if (!stream_is_ours(stream) || !kind_is_known(kind))
        return CRIER_EINVAL;
    return stream_unlisten(stream, kind, handler, ctx) ? 0 : CRIER_EINVAL;
}

/* Those that were there when it began, also if one of them removes another: as if the list had been copied. Removed ones stay
 * linked until no emit is under way, so nothing is copied. */
void stream_emit(crier_stream *stream, enum crier_stream_kind kind, const struct crier_stream_event *event)
{
    struct list *head = &stream->listeners[kind];
    uint64_t stamp = ++stream->stamp;

    if (list_is_empty(head))
        return;
    stream_retain(stream);
    stream->emitting++;
    for (struct list *link = head->next; link != head; link = link->next) {
        struct stream_listener *listener = LIST_ENTRY(link, struct stream_listener, link);
        if (listener->added > stamp || listener->removed < stamp)
            continue;
        if (listener->once) {
            if (listener->removed != UINT64_MAX && listener->handler == NULL)
                continue; /* an emit inside this one had it */
            crier_stream_handler *handler = listener->handler;
            listener->handler = NULL;
            if (listener->removed == UINT64_MAX)
                listener_remove(stream, kind, listener);
            handler(event, listener->ctx);
        } else {
            listener->handler(event, listener->ctx);
        }
    }
    if (--stream->emitting == 0 && stream->has_removed)
        listeners_drop(stream, false);
    stream_release(stream);
}

void stream_emit_plain(crier_stream *stream, enum crier_stream_kind kind)
{
    stream_emit(stream, kind, &(struct crier_stream_event){.kind = kind, .stream = stream});
}

/* ---- ticks ---- */

static void close_tick(crier_stream *stream);

static void tick_dispatch(crier_stream *stream, enum stream_tick tick)
{
    if (tick == TICK_CLOSE)
        close_tick(stream);
    else if (tick < TICK_END_WRITABLE)
        readable_tick(stream, tick);
    else if (tick < TICK_CLOSE)
        writable_tick(stream, tick);
    if (stream->close_emitted && atomic_load(&stream->handles) == 0)
        stream_let_go(stream);
}

static void task_run(struct task *task, bool dropped)
{
    struct stream_task *own = LIST_ENTRY(task, struct stream_task, task);
    crier_stream *stream = own->stream;
    enum stream_tick tick = own->tick;

    if (own->spare)
        free(own);
    else
        atomic_store_explicit(&own->queued, false, memory_order_release);
    if (!dropped)
        tick_dispatch(stream, tick);
    stream_release(stream);
}

void stream_tick(crier_stream *stream, enum stream_tick tick)
{
    struct stream_task *task = &stream->tasks[tick];

    if (atomic_exchange_explicit(&task->queued, true, memory_order_acq_rel)) {
        if (!(task = malloc(sizeof(*task))))
            return; /* one of its kind is on its way, and does for both */
        *task = (struct stream_task){.task.run = task_run, .tick = tick, .spare = true};
        list_init(&task->task.link);
    }
    task->stream = stream;
    stream_retain(stream);
    agenda_add(stream->agenda, AGENDA_TICK, &task->task);
}

/* ---- destroying ---- */

void stream_fail_note(crier_stream *stream, int code, const char *text)
{
    if (code == 0 || stream->code != 0)
        return;
    stream->code = code;
    snprintf(stream->text, sizeof(stream->text), "%s", text ? text : crier_strerror(code));
}

void stream_destroy(crier_stream *stream, int code, const char *text)
{
    if (stream->destroyed)
        return;
    if (stream->w.buffered)
        stream_tick(stream, TICK_DROP_BUFFER);
    stream_fail_note(stream, code, text);
    stream->destroyed = stream->destroying = true;
    stream_retain(stream);
    if (stream->ops.destroy)
        stream->ops.destroy(stream, code, stream->ctx);
    else
        (void)crier_stream_destroy_done(stream, code, NULL);
    stream_release(stream);
}

int crier_stream_destroy(crier_stream *stream, int code, const char *text)
{
    handle_check(&stream_handles, stream);
    if (!stream_is_ours(stream) || code > 0)
        return CRIER_EINVAL;
    stream_destroy(stream, code, text);
    return 0;
}

int crier_stream_destroy_done(crier_stream *stream, int code, const char *text)
{
    handle_check(&stream_handles, stream);
    if (!stream_is_ours(stream) || !stream->destroying)
        return CRIER_EINVAL;
    stream->destroying = false;
    stream_fail_note(stream, code < 0 ? code : 0, text);
    stream->closed = true;
    stream->close_code = code < 0 ? code : 0;
    stream_tick(stream, TICK_CLOSE);
    return 0;
}

static void error_emit(crier_stream *stream)
{
    struct crier_stream_event event = {
        .kind = CRIER_STREAM_ERROR,
        .stream = stream,
        .code = stream->close_code,
        .text = stream->close_code == stream->code ? stream->text : crier_strerror(stream->close_code)};

    if (stream->error_emitted)
        return;
    stream->error_emitted = true;
    if (stream->listener_counts[CRIER_STREAM_ERROR] > 0)
        stream_emit(stream, CRIER_STREAM_ERROR, &event);
    else
        agenda_unhandled(stream->agenda, event.code, event.text);
}

static void close_tick(crier_stream *stream)
{
    if (stream->close_code < 0)
        error_emit(stream);
    stream->close_emitted = true;
    stream_emit_plain(stream, CRIER_STREAM_CLOSE);
}

int crier_stream_state(crier_stream *stream, struct crier_stream_state *ret_state)
{
    handle_check(&stream_handles, stream);
    if (!stream_is_ours(stream) || !ret_state)
        return CRIER_EINVAL;
    *ret_state = (struct crier_stream_state){.readable_length = stream->r.length,
                                             .writable_length = stream->w.length,
                                             .readable_ended = stream->r.end_emitted,
                                             .writable_ended = stream->w.ending,
                                             .writable_finished = stream->w.finished,
                                             .need_drain = writable_needs_drain(stream),
                                             .has_mode = stream->r.has_mode,
                                             .flowing = stream->r.flowing,
                                             .destroyed = stream->destroyed,
                                             .closed = stream->close_emitted,
                                             .code = stream->code,
                                             .text = stream->code < 0 ? stream->text : NULL};
    return 0;
}

/* ---- making ---- */

static bool ops_take(struct crier_stream_ops *to, const struct crier_stream_ops *ops,
                     enum crier_stream_type type)
{
    if (!ops || !struct_take(to, sizeof(*to), ops))
        return false;
    if (type == CRIER_TRANSFORM)
        return to->transform && !to->write && !to->final;
    return !to->transform && !to->flush && (!(type & CRIER_WRITABLE) == !to->write) &&
           ((type & CRIER_WRITABLE) || !to->final) && ((type & CRIER_READABLE) || !to->read);
}

static size_t high_of(size_t given, bool items)
{
    if (given != CRIER_STREAM_DEFAULT)
        return given;
    return items ? STREAM_ITEMS_HIGH : STREAM_BYTES_HIGH;
}

static void stream_init(crier_stream *stream, crier *bus, enum crier_stream_type type,
                        const struct crier_stream_options *options)
{
    stream->bus = bus;
    stream->agenda = agenda_retain(bus->agenda);
    stream->type = type;
    stream->ends_both = options->ends_both;
    list_init(&stream->r.pipes);
    list_init(&stream->r.await);
    for (int i = 0; i < CRIER_STREAM_KINDS; i++)
        list_init(&stream->listeners[i]);
    for (unsigned i = 0; i < STREAM_TICKS; i++) {
        stream->tasks[i] = (struct stream_task){.task.run = task_run, .tick = (enum stream_tick)i};
        list_init(&stream->tasks[i].task.link);
    }
    if (type & CRIER_READABLE)
        readable_init(stream, options->readable_items,
                      high_of(options->readable_high_watermark, options->readable_items));
    if (type & CRIER_WRITABLE)
        writable_init(stream, options->writable_items,
                      high_of(options->writable_high_watermark, options->writable_items));
    if (type == CRIER_TRANSFORM)
        stream->r.sync = false;
}

int crier_stream_create(crier *bus, enum crier_stream_type type, const struct crier_stream_ops *ops,
                        void *ctx, const struct crier_stream_options *options, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    struct crier_stream_options copy = crier_stream_options_default();
    struct crier_stream_ops own = {0};
    crier_stream *stream;
    int rc;

    if (!bus || !ret_stream || !struct_take(&copy, sizeof(copy), options) ||
        (type != CRIER_READABLE && type != CRIER_WRITABLE && type != CRIER_DUPLEX &&
         type != CRIER_TRANSFORM) ||
        !ops_take(&own, ops, type))
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    if (!(stream = calloc(1, sizeof(*stream))))
        return CRIER_ENOMEM;
    handle_made(&stream_handles, stream);
    stream->ops = own;
    stream->ctx = ctx;
    atomic_init(&stream->references, 2); /* the caller's, and the loop's */
    atomic_init(&stream->handles, 1);
    stream_init(stream, bus, type, &copy);
    atomic_init(&stream->kept, true);
    list_init(&stream->link);
    pthread_mutex_lock(&bus->lock);
    bool closing = bus->closing;
    if (!closing)
        list_append(&bus->streams, &stream->link);
    pthread_mutex_unlock(&bus->lock);
    if (closing) {
        agenda_release(stream->agenda);
        free(stream);
        return CRIER_ECLOSED;
    }
    *ret_stream = stream;
    return 0;
}

/* ---- the bus's end ---- */

/* The one behind this of the bus's streams (NULL: the first), with a reference. None leaves the list meanwhile: that is a tick's. */
static crier_stream *stream_after(crier *bus, const crier_stream *stream)
{
    struct list *link;
    crier_stream *found = NULL;

    pthread_mutex_lock(&bus->lock);
    link = stream ? stream->link.next : bus->streams.next;
    if (link != &bus->streams) {
        found = LIST_ENTRY(link, crier_stream, link);
        stream_retain(found);
    }
    pthread_mutex_unlock(&bus->lock);
    return found;
}

void streams_close(crier *bus)
{
    for (crier_stream *stream = stream_after(bus, NULL), *next; stream; stream = next) {
        stream_destroy(stream, CRIER_ECLOSED, NULL);
        next = stream_after(bus, stream);
        stream_release(stream);
    }
}

void streams_finish(crier *bus)
{
    for (crier_stream *stream; (stream = stream_after(bus, NULL)); stream_release(stream))
        stream_let_go(stream);
}
