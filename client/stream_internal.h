/* stream_internal.h: what the files of the streams share.
 *
 *   chunk.c             bytes and items, counted                 stream.c      making, listeners, ticks, destroying
 *   stream_readable.c   push, read, flow, pause                  stream_pipe.c     one into another
 *   stream_writable.c   write, drain, finish; transforms         stream_end.c, stream_pipeline.c   the end of one, of many
 *
 * The two sides are Node's ReadableState and WritableState, field for field (lib/internal/streams in Node 20): what a function
 * there does at once or on a later tick is done here at once or on a later tick, so that the order of events is the same.
 *
 * Thread: the bus's loop, unless said otherwise. */
#ifndef CRIER_CLIENT_STREAM_INTERNAL_H
#define CRIER_CLIENT_STREAM_INTERNAL_H

#include "crier/stream.h"

#include "base/agenda.h"
#include "base/list.h"
#include "client/event_copy.h"

#include <stdatomic.h>

#define STREAM_BYTES_HIGH (64u * 1024)
#define STREAM_ITEMS_HIGH 16u
#define STREAM_TEXT_SIZE  200

/* ---- chunks: chunk.c, any thread ---- */

struct chunk {
    crier_chunk shown;
    atomic_uint references;
    struct chunk *whole;                   /* a slice's: holds its bytes; NULL: itself */
    void (*released)(struct chunk *chunk); /* the last reference is gone: takes the memory over; NULL: free */
};

/* A chunk with an event in it. */
struct item {
    struct chunk chunk;
    struct event_copy copy;
    unsigned char bytes[];
};

struct chunk *chunk_create(size_t size,
                           void **ret_bytes); /* bytes: uninitialised, for the maker. NULL: no memory */
struct chunk *chunk_slice(struct chunk *chunk, size_t at, size_t size); /* NULL: no memory */
/* An item; the event is one inside its handler. NULL: no memory. */
struct item *item_of_event(const crier_event *event);

static inline struct chunk *chunk_inner(const crier_chunk *chunk)
{
    return (struct chunk *)(uintptr_t)chunk;
}

/* ---- queues of chunks ---- */

struct chunk_queue {
    struct chunk **ring;
    size_t first, count, capacity; /* a power of two, or 0 */
};

int chunk_queue_reserve(struct chunk_queue *queue); /* room for one more: 0 or CRIER_ENOMEM */
void chunk_queue_append(struct chunk_queue *queue,
                        struct chunk *chunk); /* takes the reference; room is there */
void chunk_queue_prepend(struct chunk_queue *queue, struct chunk *chunk);
struct chunk *chunk_queue_first(const struct chunk_queue *queue);
struct chunk *chunk_queue_take(struct chunk_queue *queue); /* with its reference */
void chunk_queue_finish(struct chunk_queue *queue);        /* releases all */

/* ---- a stream ---- */

/* What Node does on process.nextTick: one task each, which mostly is there already. */
enum stream_tick {
    TICK_EMIT_READABLE,
    TICK_READ_MORE,
    TICK_RESUME,
    TICK_END_READABLE,
    TICK_READ_FIRST,
    TICK_UPDATE_LISTENING,
    TICK_END_WRITABLE,
    TICK_AFTER_WRITE,
    TICK_WRITE_FAILED,
    TICK_FINISH,
    TICK_FINISH_MAYBE,
    TICK_DROP_BUFFER,
    TICK_WRITTEN, /* of a transform that has ended */
    TICK_CLOSE,
    TICK_RELEASED, /* nobody holds it any more */
    STREAM_TICKS
};

struct stream_task {
    struct task task;
    crier_stream *stream; /* with a reference while queued */
    enum stream_tick tick;
    atomic_bool queued;
    bool spare; /* a second one of its kind: freed when it has run */
};

struct readable {
    bool there;
    bool items;
    size_t high;
    struct chunk_queue buffer;
    size_t length;
    struct list pipes; /* struct pipe */
    struct list await; /* of those: they wait for drain */
    bool await_many;   /* Node's kMultiAwaitDrain */
    bool has_mode, flowing;
    bool has_paused, paused;
    bool ended, end_emitted;
    bool reading, sync;
    bool need_readable, emitted_readable, readable_listening;
    bool resume_scheduled, reading_more;
};

struct writable {
    bool there;
    bool items;
    size_t high;
    struct chunk_queue buffer;
    bool buffered;         /* Node's kBuffered: until the last of it is through */
    size_t length;         /* buffered, and being written */
    struct chunk *chunk;   /* being written */
    size_t writing_length; /* its share of length */
    unsigned pending;      /* Node's pendingcb */
    bool writing, expects_done, sync;
    bool need_drain, ending, ended, finished;
    bool final_called, final_pending, prefinished;
    bool buffer_processing, after_write_pending;
};

struct crier_stream {
    atomic_uint references;
    atomic_uint handles; /* of those, the user's */
    crier *bus;          /* valid while its agenda is not closed */
    struct agenda *agenda;
    struct list link; /* bus.streams */
    atomic_bool kept; /* by the loop, with a reference */
    enum crier_stream_type type;
    struct crier_stream_ops ops;
    void *ctx;
    bool ends_both;
    struct readable r;
    struct writable w;
    bool destroyed, destroying, closed, close_emitted, error_emitted; /* of both sides */
    int code;                                                         /* it has failed: Node's errored */
    int close_code;                                                   /* for TICK_CLOSE */
    char text[STREAM_TEXT_SIZE];                                      /* "": what the code says */
    bool transform_waits, flushing; /* a transform's done waits for a read; is in `flush` */
    size_t transform_length;        /* r.length when its `transform` began */
    struct list listeners[CRIER_STREAM_KINDS];
    size_t listener_counts[CRIER_STREAM_KINDS];
    unsigned emitting; /* emits under way: removed listeners stay in their list */
    bool has_removed;  /* some do */
    uint64_t stamp;    /* of additions, removals and emits */
    struct stream_task tasks[STREAM_TICKS];
};

/* ---- stream.c ---- */

struct stream_listener {
    struct list link;
    crier_stream_handler *handler;
    void *ctx;
    void (*release)(void *ctx); /* when it is freed; NULL: nothing */
    bool once;
    uint64_t added, removed; /* stamps */
};

enum stream_listen { LISTEN_ON, LISTEN_ONCE, LISTEN_FIRST };

bool stream_is_ours(const crier_stream *stream); /* the caller is on the loop's thread */
void stream_retain(crier_stream *stream);
void stream_release(crier_stream *stream);
int stream_listen(crier_stream *stream, enum crier_stream_kind kind, enum stream_listen how,
                  crier_stream_handler *handler, void *ctx, void (*release)(void *ctx));
/* The same without the library's reactions to it; listener: from malloc, filled but for stamps, taken. */
void stream_listener_add(crier_stream *stream, enum crier_stream_kind kind, bool first,
                         struct stream_listener *listener);
bool stream_unlisten(crier_stream *stream, enum crier_stream_kind kind, crier_stream_handler *handler,
                     void *ctx);
void stream_emit(crier_stream *stream, enum crier_stream_kind kind, const struct crier_stream_event *event);
void stream_emit_plain(crier_stream *stream, enum crier_stream_kind kind); /* nothing to tell but the kind */
void stream_tick(crier_stream *stream, enum stream_tick tick);
/* Node's errorOrDestroy with autoDestroy: destroys, unless it is. */
void stream_destroy(crier_stream *stream, int code, const char *text);
void stream_fail_note(crier_stream *stream, int code, const char *text); /* the first one counts */

/* ---- stream_readable.c ---- */

void readable_init(crier_stream *stream, bool items, size_t high);
int readable_push(crier_stream *stream, struct chunk *chunk); /* takes the reference; NULL: the end */
void readable_resume(crier_stream *stream);
void readable_pause(crier_stream *stream);
struct chunk *readable_read(crier_stream *stream, size_t size); /* with a reference; NULL: nothing */
void readable_listened(crier_stream *stream, enum crier_stream_kind kind);   /* there is one more */
void readable_unlistened(crier_stream *stream, enum crier_stream_kind kind); /* there is one less */
void readable_tick(crier_stream *stream, enum stream_tick tick);

/* ---- stream_writable.c ---- */

void writable_init(crier_stream *stream, bool items, size_t high);
int writable_write(crier_stream *stream, struct chunk *chunk); /* shares it; as crier_stream_write_chunk */
void writable_end(crier_stream *stream);
void writable_tick(crier_stream *stream, enum stream_tick tick);
bool writable_needs_drain(const crier_stream *stream);
bool writable_is_open(const crier_stream *stream); /* Node's stream.writable */
void transform_read(crier_stream *stream);         /* its `read` */

/* ---- stream_pipe.c ---- */

void pipe_awaits_clear(crier_stream *from);
void pipes_drop(crier_stream *from); /* it is let go: what it was piped into is not told */

/* ---- stream_file.c, any thread ---- */

/* fd: taken on success; -1: path is opened. As crier_file_readable. */
int file_stream(crier *bus, crier_pool *pool, const char *path, int fd, bool writes,
                crier_stream **ret_stream);

/* ---- stream_end.c ---- */

/* Node's end-of-stream: callback(ctx, code, text) once. *slot: a handle for as long as it is not NULL. 0 or CRIER_ENOMEM. */
struct stream_end;
int stream_end_watch(crier_stream *stream, bool reading, bool writing,
                     void (*callback)(void *ctx, int code, const char *text), void *ctx,
                     struct stream_end **slot);
void stream_end_on_release(struct stream_end *end, void (*release)(void *ctx)); /* called when it is freed */
void stream_end_forget(struct stream_end *end);                                 /* no callback any more */

#endif
