/* crier/stream.h: bytes and events that flow: what `stream` is in Node, with the same meaning, in C.
 *
 *     crier_stream_create(bus, CRIER_READABLE, &source_ops, source, NULL, &from);
 *     crier_stream_create(bus, CRIER_TRANSFORM, &filter_ops, filter, NULL, &through);
 *     crier_stream_create(bus, CRIER_WRITABLE, &sink_ops, sink, NULL, &to);
 *     crier_stream *all[] = {from, through, to};
 *     crier_pipeline(bus, all, 3, &done);                   fulfilled when all went through; or why not
 *
 * A stream is readable, writable, both (duplex), or a transform: a duplex whose readable side is made of what was written. What
 * it does is said by the operations given to crier_stream_create(); files, topics and lines are in <crier/stream_ends.h>.
 *
 * BACKPRESSURE. Each side buffers up to its high-water mark and says so: crier_stream_write() and crier_stream_push() return 1
 * while more is welcome and 0 above it; nothing is lost then, but whoever goes on costs memory. After a 0 of write comes DRAIN;
 * after one of push, `read` is called again. crier_stream_pipe() and crier_pipeline() do this for you.
 *
 * MODES. A readable is paused at first. A DATA listener, crier_stream_resume() or a pipe makes it flow: chunks are
 * handed out as they come. A READABLE listener, or nobody, leaves them for crier_stream_read().
 *
 * ORDER. DATA* END CLOSE of a readable; (DRAIN)* FINISH CLOSE of a writable; ERROR CLOSE if it fails, without the END or FINISH
 * that has not come yet. What Node does on a later tick happens on a later tick of the bus's loop (docs/loop.md); a differential test
 * holds the two together (docs/stream-conformance.md). A stream destroys itself when all its sides have ended.
 *
 * CHUNKS. Bytes, or, on a side made for items, events: value, key, headers, time. A chunk is counted, not copied, on its way from
 * stream to stream: nobody may change it. Its `data` is NULL only for the null value of an item.
 *
 * OWNERSHIP. Functions that make a stream return one reference, for crier_stream_release(). A stream lives on without it, until it has
 * closed: giving a reference back ends nothing (crier_stream_destroy() does). crier_close() destroys what is left, with
 * CRIER_ECLOSED; a stream that somebody holds is then closed for ever.
 *
 * THREADS. A stream belongs to its bus's loop. Making streams, retaining and releasing, crier_pipeline() and
 * crier_stream_finished() are for any thread; all else for the loop's, where handlers and operations run:
 * crier_next_tick() leads there. Elsewhere they return CRIER_EINVAL.
 *
 * ERRORS. A negative code, and a text. An ERROR that has no listener becomes an "error" event of the bus. Without memory, a stream that
 * would lose bytes is destroyed with CRIER_ENOMEM instead. */
#ifndef CRIER_STREAM_H
#define CRIER_STREAM_H

#include <crier/future.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A stream. By reference count. */
typedef struct crier_stream crier_stream;

/** Bytes, or an item. By reference count, on any thread; what it points to lives as long and is not to be changed. */
typedef struct crier_chunk {
    const void *data;         /* of an item: the event's value */
    size_t size;              /* bytes */
    const crier_event *event; /* of an item: all of it; NULL: bytes alone */
} crier_chunk;

/* ---- chunks ---- */

/** data: copied; NULL: zeros. 0, CRIER_EINVAL, CRIER_ENOMEM. ret_chunk: returned, for crier_chunk_release(). */
CRIER_API int crier_chunk_create(const void *data, size_t size, crier_chunk **ret_chunk);
/** An item. event: copied, with all it points to; its topic may be NULL (""); headers: header_count of them, copied too (NULL: those
 *  that the event shows inside its handler). Returns as above. */
CRIER_API int crier_chunk_create_item(const crier_event *event, const crier_header *headers,
                                      size_t header_count, crier_chunk **ret_chunk);
/** One reference more: returned, the same chunk. */
CRIER_API crier_chunk *crier_chunk_retain(const crier_chunk *chunk);
/** Gives a reference back. Accepts NULL. */
CRIER_API void crier_chunk_release(crier_chunk *chunk);

/* ---- what a stream tells ---- */

/* In order of use; see ORDER above. */
enum crier_stream_kind {
    CRIER_STREAM_DATA,     /* chunk: borrowed; makes the stream flow */
    CRIER_STREAM_READABLE, /* there is something to read, or the end; makes it pull */
    CRIER_STREAM_END,      /* nothing more comes, and everything was taken */
    CRIER_STREAM_DRAIN,    /* writing may go on */
    CRIER_STREAM_FINISH,   /* everything written is where it should be */
    CRIER_STREAM_ERROR,    /* code, text */
    CRIER_STREAM_CLOSE,    /* the last */
    CRIER_STREAM_PAUSE,    /* it stopped flowing */
    CRIER_STREAM_RESUME,   /* it flows */
    CRIER_STREAM_PIPE,     /* other: what is piped into this one */
    CRIER_STREAM_UNPIPE,   /* other: what was */
    CRIER_STREAM_KINDS
};

/* What a listener is told. Borrowed for the call, with everything it points to. */
typedef struct crier_stream_event {
    enum crier_stream_kind kind; /* what */
    crier_stream *stream;        /* whose */
    const crier_chunk *chunk;    /* DATA; else NULL */
    int code;                    /* ERROR; else 0 */
    const char *text;            /* ERROR: in words; else NULL */
    crier_stream *other;         /* PIPE, UNPIPE; else NULL */
    const void *internal;        /* the library's */
} crier_stream_event;

/** A listener; may call anything, also destroy the stream. */
typedef void crier_stream_handler(const crier_stream_event *event, void *ctx);

/** Calls handler(event, ctx) for every event of this kind, after those who listen already. As Node's `on`: a listener may be added
 *  twice, one that is added during an event does not hear it, one that is removed still does. ctx: as is.
 *  0, CRIER_EINVAL, CRIER_ENOMEM. */
CRIER_API int crier_stream_on(crier_stream *stream, enum crier_stream_kind kind,
                              crier_stream_handler *handler, void *ctx);
/** The same for the next event alone. */
CRIER_API int crier_stream_once(crier_stream *stream, enum crier_stream_kind kind,
                                crier_stream_handler *handler, void *ctx);
/** Removes the newest such listener. 0, CRIER_EINVAL (there is none). */
CRIER_API int crier_stream_off(crier_stream *stream, enum crier_stream_kind kind,
                               crier_stream_handler *handler, void *ctx);

/* ---- making one ---- */

/* What a stream is. */
enum crier_stream_type {
    CRIER_READABLE = 1,
    CRIER_WRITABLE = 2,
    CRIER_DUPLEX = 3,   /* both, each for itself */
    CRIER_TRANSFORM = 7 /* both, one from the other */
};

/** What it does. Called on the loop, one at a time and never inside each other but for destroy and a transform's read; each pointer may be NULL. `write`, `transform`,
 *  `final` and `flush` end with one crier_stream_done(), inside the call or later, also when the stream was destroyed meanwhile. */
struct crier_stream_ops {
    size_t struct_size; /* sizeof(struct crier_stream_ops) */
    /* more is wanted: crier_stream_push(), now or later; not called again before one. size: the high-water mark. Of a
     * transform: only while `transform` or `flush` is under way: one that makes much of little stops when a push returns 0,
     * and goes on here. Inside that push, too */
    void (*read)(crier_stream *stream, size_t size, void *ctx);
    void (*write)(crier_stream *stream, crier_chunk *chunk, void *ctx); /* chunk: borrowed until it is done */
    void (*final)(crier_stream *stream, void *ctx);                     /* all was written: before FINISH */
    void (*transform)(crier_stream *stream, crier_chunk *chunk, void *ctx); /* pushes what comes of it */
    void (*flush)(crier_stream *stream, void *ctx); /* a transform's end: pushes what is left, not the end */
    /* frees what is held outside, before CLOSE; ends with crier_stream_destroy_done(). code: why, or 0 */
    void (*destroy)(crier_stream *stream, int code, void *ctx);
    void (*release)(void *ctx); /* nothing of the above can be called any more; on any thread */
};

/** Take this for a high-water mark: 64 KiB, or 16 items. */
#define CRIER_STREAM_DEFAULT SIZE_MAX

/* How a stream is to be. From crier_stream_options_default(). */
struct crier_stream_options {
    size_t struct_size;             /* set by crier_stream_options_default() */
    size_t readable_high_watermark; /* bytes, or items; default CRIER_STREAM_DEFAULT; 0 is a mark too */
    size_t writable_high_watermark; /* the same of the writable side */
    bool readable_items;            /* its chunks are items, each counts 1; default false: bytes */
    bool writable_items;            /* the same of the writable side */
    bool ends_both; /* of a duplex: the end of reading ends writing; default false (Node's allowHalfOpen) */
};

/** The defaults; see the fields. */
static inline struct crier_stream_options crier_stream_options_default(void)
{
    struct crier_stream_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.readable_high_watermark = CRIER_STREAM_DEFAULT;
    options.writable_high_watermark = CRIER_STREAM_DEFAULT;
    return options;
}

/** ops: copied; ctx: for them, until ops.release; options: NULL: the defaults. A readable side needs `read` or is only pushed to; a
 *  writable one needs `write`, a transform `transform`. 0, CRIER_EINVAL, CRIER_ECLOSED, CRIER_ENOMEM; then
 *  ops.release is not called. ret_stream: returned. Any thread. */
CRIER_API int crier_stream_create(crier *bus, enum crier_stream_type type, const struct crier_stream_ops *ops,
                                  void *ctx, const struct crier_stream_options *options,
                                  crier_stream **ret_stream);
/** One reference more: returned, the same stream. Any thread. */
CRIER_API crier_stream *crier_stream_retain(crier_stream *stream);
/** Gives a reference back; see OWNERSHIP. Accepts NULL. Any thread. */
CRIER_API void crier_stream_release(crier_stream *stream);
/** The ctx it was made with. */
CRIER_API void *crier_stream_ctx(const crier_stream *stream);

/* ---- for its operations ---- */

/** More to read: data: copied. 1: more is welcome; 0: above the high-water mark: wait for `read`; < 0: CRIER_EINVAL (after the
 *  end: it is destroyed; not readable), CRIER_ECLOSED (it is destroyed, or has failed), CRIER_ENOMEM. Nothing (size 0) is no end. */
CRIER_API int crier_stream_push(crier_stream *stream, const void *data, size_t size);
/** The same without a copy. chunk: shared. NULL: the end: END comes when everything before was taken; returns 0. */
CRIER_API int crier_stream_push_chunk(crier_stream *stream, crier_chunk *chunk);
/** Puts a chunk back in front of everything, also after the end was pushed, but not after END. Returns as above. */
CRIER_API int crier_stream_unshift(crier_stream *stream, crier_chunk *chunk);
/** `write`, `transform`, `final` or `flush` is through. code: 0, or < 0: why the stream fails. text: copied; NULL: what the code says. */
CRIER_API int crier_stream_done(crier_stream *stream, int code, const char *text);
/** `destroy` is. code: 0, or the failure the stream ends with: mostly the one it was given; text: as above. */
CRIER_API int crier_stream_destroy_done(crier_stream *stream, int code, const char *text);

/* ---- writing ---- */

/** data: copied (on a side of items: the value of one). 1: go on; 0: taken too, but wait for DRAIN; < 0: not taken: CRIER_EINVAL
 *  (after crier_stream_end(): it is destroyed; not writable), CRIER_ECLOSED (it is destroyed, or has failed), CRIER_ENOMEM. */
CRIER_API int crier_stream_write(crier_stream *stream, const void *data, size_t size);
/** The same without a copy: chunk: shared. */
CRIER_API int crier_stream_write_chunk(crier_stream *stream, crier_chunk *chunk);
/** Nothing more is written: FINISH follows. 0, also if it was ended before; CRIER_EINVAL (not writable). */
CRIER_API int crier_stream_end(crier_stream *stream);

/* ---- reading ---- */

/** All that there is: for crier_stream_read(). */
#define CRIER_STREAM_ALL SIZE_MAX

/** Takes `size` bytes, or all (CRIER_STREAM_ALL), or an item; what is left at the end if it is less. 0: only starts a read.
 *  *ret_chunk: returned, or NULL: so much is not there (yet), and READABLE follows; may be NULL: what is read is dropped. DATA
 *  listeners are told too. 0, CRIER_EINVAL, CRIER_ENOMEM (then it is destroyed). */
CRIER_API int crier_stream_read(crier_stream *stream, size_t size, crier_chunk **ret_chunk);
/** Stops flowing. 0, CRIER_EINVAL. */
CRIER_API int crier_stream_pause(crier_stream *stream);
/** Flows, from the next tick on, unless there are READABLE listeners. What nobody listens to is lost. 0, CRIER_EINVAL. */
CRIER_API int crier_stream_resume(crier_stream *stream);

/* ---- connecting ---- */

/** Everything from `from` is written to `to`, at the speed of `to`; `ends`: and its end ends `to`. A failure of one leaves the other as
 *  it is: crier_pipeline() does not. Several may be piped to, and from, one stream. 0, CRIER_EINVAL, CRIER_ENOMEM. */
CRIER_API int crier_stream_pipe(crier_stream *from, crier_stream *to, bool ends);
/** No more. to: NULL: to nobody. 0, CRIER_EINVAL. */
CRIER_API int crier_stream_unpipe(crier_stream *from, crier_stream *to);
/** Pipes each into the next. streams: count of them, borrowed, 2 or more; a reference to each is held until the end. ret_future (may be
 *  NULL): fulfilled when all are through; rejected with the first failure, and its text, when all are destroyed: one that fails or closes too
 *  early (CRIER_ECLOSED) destroys all. Canceling it destroys all too. 0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. Any thread. */
CRIER_API int crier_pipeline(crier *bus, crier_stream *const *streams, size_t count,
                             crier_future **ret_future);
/** Fulfilled when nothing more is to come from the stream, rejected with its failure, or CRIER_ECLOSED if it closed before its end.
 *  0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. Any thread. */
CRIER_API int crier_stream_finished(crier_stream *stream, crier_future **ret_future);

/* ---- its end, and its state ---- */

/** Ends it now: what is buffered is dropped, ERROR (unless code is 0) and CLOSE follow. text: copied; NULL: what the code says.
 *  0, also if it was destroyed before, CRIER_EINVAL. */
CRIER_API int crier_stream_destroy(crier_stream *stream, int code, const char *text);

/* How a stream is. */
struct crier_stream_state {
    size_t readable_length; /* buffered: bytes, or items */
    size_t writable_length; /* the same, with what is being written */
    bool readable_ended;    /* END was told */
    bool writable_ended;    /* crier_stream_end() was called */
    bool writable_finished; /* FINISH was told */
    bool need_drain;        /* a write returned 0, and DRAIN has not been told yet */
    bool has_mode;          /* somebody said whether it flows ... */
    bool flowing;           /* ... and it does */
    bool destroyed;         /* it is, or is about to be */
    bool closed;            /* CLOSE was told */
    int code;               /* it failed: why; else 0 */
    const char *text;       /* in words; lives as long as the stream; NULL: none */
};

/** 0, CRIER_EINVAL. */
CRIER_API int crier_stream_state(crier_stream *stream, struct crier_stream_state *ret_state);

#ifdef __cplusplus
}
#endif

#endif
