/* crier/crier.h: one `on`, `once` and `emit`, from a function call to a cluster.
 *
 *     crier *bus;
 *     int rc = crier_open("crier://127.0.0.1:27437", NULL, &bus);
 *     crier_on(bus, "orders.placed", on_order, NULL);
 *     crier_emit(bus, "orders.placed", "hello", 5);
 *     crier_close(bus);
 *
 * KINDS OF BUS. The URL decides: "crier://HOST:PORT" and "unix:/PATH" are a broker elsewhere; "embed:FOLDER" is a broker in
 * this process, on the same files as crierd's. It needs the library crier-embed in the place of crier. All buses of a
 * process on one folder share one broker, which starts with the first and stops, cleanly, with the last; a folder is one
 * process's at a time (CRIER_EBUSY). "?OPTION=VALUE&..." after the folder sets crierd's options of those names, among
 * them `listen`, with which others can connect; `create=no` refuses to make the folder. A process that exits without
 * crier_close() has crashed as far as the broker is concerned: what was acknowledged is there. Not for use after fork().
 * "local:" is an emitter in this process, as Node's: no broker, and no thread until a future, a pool or an iterator needs its loop; handlers run
 * inside crier_emit(), and nothing is kept; "local:NAME" is one emitter for all buses of the process that open it. <crier/emitter.h> has what it promises, and the rest of Node's contract for every kind.
 *
 * CONNECTING. crier_open() waits up to options.connect_timeout_ms for a first connection; after that the bus
 * reconnects by itself, with growing, jittered delays, and listeners go on from their position.
 *
 * THREADS. A bus has one I/O thread of its own (default), or lives on the caller's libevent base (options.base) or on any
 * other loop (options.polled: crier_fd, crier_timeout_ms, crier_process). Any thread may call any function on a bus, except
 * where noted. Handlers and callbacks run one at a time, on the I/O thread (or the caller's loop). Blocking calls made in
 * them return CRIER_EDEADLK; on a loop's thread, outside of its callbacks, they drive this bus, and nothing else of the
 * loop, until they are done. The library never exits, prints or installs signal handlers.
 *
 * DELIVERY. An emit is acknowledged, by default, when it is on the broker's disk (fdatasync). Events with the same key keep
 * their order; a producer's events to one partition keep theirs. A listener sees only durable events, in log order.
 * Without a group it sees each once within a connection's life; with a group, at least once: the position is committed
 * after the handler succeeded, every commit_interval_ms.
 *
 * GROUPS. Listeners with one group name, on any number of buses and machines, share their topic's partitions: each
 * partition is one member's at a time, and when members come and go as few as possible change hands. What a member gave
 * up goes on elsewhere after its last committed position. A member that is not heard of for its session timeout (its
 * process is gone or stopped, or one handler call takes longer) loses its partitions, and what it still commits of them
 * is not taken; when it is back it joins again by itself.
 *
 * OPTIONS. Every options struct comes from its crier_..._default(), which sets struct_size: it says which fields the program
 * was compiled with. Older programs get the defaults of newer fields; a newer program's wish that this library does not know
 * is refused with CRIER_EINVAL, unless it is zero.
 *
 * OWNERSHIP. Four words: borrowed (valid during the call), copied, taken (the library frees), returned (the caller frees).
 *
 * HANDLES. One that has come to its end (crier_close(), `released`, the last release ...) is not to be used again: undefined, but in a
 * library that was built for debugging (CMake's build type Debug), which says which call got what, and aborts.
 *
 * ERRORS. 0 is success; errors are negative, from the table below; crier_strerror() says what to do. What goes wrong
 * without a caller to tell (an emit without `done` that failed, a handler that failed, a listener that ended) becomes an
 * event on the local topic "error". With nobody listening there, the code is returned by the next crier_flush() or by
 * crier_close(): an error is never silent. */
#ifndef CRIER_CRIER_H
#define CRIER_CRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
/* What the libraries export. */
#define CRIER_API __attribute__((visibility("default")))
#else
#define CRIER_API
#endif

#define CRIER_VERSION                                                                                        \
    "0.1.0" /* of this header; a library of another one understands its structs all the same */
#define CRIER_DEFAULT_PORT   27437 /* of a broker: TCP */
#define CRIER_TOPIC_NAME_MAX 255 /* bytes of UTF-8, levels split by '.', no '*'; a leading '$' is reserved */

/* The codes; crier_strerror() has their meaning. Numbers stay what they are. */
enum crier_error {
    CRIER_OK = 0,
    CRIER_EINVAL = -1,
    CRIER_EAGAIN = -2,
    CRIER_ECLOSED = -3,
    CRIER_ENOMEM = -4,
    CRIER_ETIMEDOUT = -5,
    CRIER_ECONNECT = -6,
    CRIER_EPROTO = -7,
    CRIER_EVERSION = -8,
    CRIER_ETOOBIG = -9,
    CRIER_ECORRUPT = -10,
    CRIER_ENOTOPIC = -11,
    CRIER_EEXIST = -12,
    CRIER_EFULL = -13,
    CRIER_EIO = -14,
    CRIER_ESEQUENCE = -15,
    CRIER_EFENCED = -16,
    CRIER_EBUSY = -17,
    CRIER_EDEADLK = -18,
    CRIER_ESHUTDOWN = -19,
    CRIER_ENOTSUP = -20,
    CRIER_EUNKNOWN = -21,
    CRIER_ELIMIT = -22,
    CRIER_EHANDLER = -23,
    CRIER_EXSHARD = -24,
    CRIER_EOFFSET = -25,
    CRIER_ECANCELED = -26,
    CRIER_ENOLISTENER = -27,
    CRIER_EQUOTA = -28,
    CRIER_EREVOKED = -29,
    CRIER_ENOSCHEDULE = -31
};

/** What a code means and what to do about it. Static text, never NULL. Any thread. */
CRIER_API const char *crier_strerror(int code);

/** A bus: a connection to a broker, on the network or in this process. */
typedef struct crier crier;
/** Worker threads: crier/pool.h. */
typedef struct crier_pool crier_pool;
/** A subscription made by crier_listen(). */
typedef struct crier_listener crier_listener;
/** A listener as crier/emitter.h shows it. */
typedef struct crier_listener_info crier_listener_info;
struct event_base;

/* ---- events ---- */

/* A header of an event: a name and a value. */
typedef struct crier_header {
    const char *name;  /* not NULL; not NUL-terminated when received */
    size_t name_size;  /* bytes */
    const void *value; /* may be NULL */
    size_t value_size; /* bytes */
} crier_header;

/** An event as a handler sees it. Borrowed for the call, with everything it points to. */
typedef struct crier_event {
    const char *topic;  /* NUL-terminated */
    uint32_t partition; /* 0-based within the topic */
    uint32_t
        assignment; /* with commits_atomically: for crier_consumed_by(); with shared: for crier_lease_of(); else 0 */
    uint64_t offset;         /* its number in the partition */
    int64_t timestamp_ms;    /* the producer's time, since 1970 UTC */
    const void *key;         /* NULL: none */
    size_t key_size;         /* bytes */
    const void *value;       /* NULL: null */
    size_t value_size;       /* bytes */
    int32_t header_count;    /* crier_event_header() reads them */
    uint64_t high_watermark; /* of its partition when it was sent: offset + 1 == high_watermark is the end */
    int error;               /* on the topic "error": the code; the value is the text. 0 otherwise */
    const void *internal;    /* the library's */
    /* on "newListener", "removeListener", CRIER_WARNING: whose; else NULL */
    const crier_listener_info *listener;
    uint32_t attempt; /* of a shared group: which delivery this is, 1: the first; else 0 */
} crier_event;

/** The header `index` (0-based) of an event. 0, or CRIER_EINVAL (no such header). Only inside the handler. */
CRIER_API int crier_event_header(const crier_event *event, int32_t index, crier_header *ret_header);
/** The last header called `name`. 0, or CRIER_EINVAL if there is none. Only inside the handler. */
CRIER_API int crier_event_header_find(const crier_event *event, const char *name, crier_header *ret_header);

/**
 * Called for every event. Returns 0, or < 0 for "failed": the failure becomes an event on "error"; if nobody listens
 * there, this listener stops, and a group's position stays before the failed event (a shared group's event comes again instead). May call any crier_ function
 * except those marked as blocking.
 */
typedef int crier_handler(crier *bus, const crier_event *event, void *ctx);

/* ---- the bus ---- */

/* A memory emit is sent once: without an answer (a lost connection) its outcome is CRIER_EUNKNOWN. */
enum crier_durability {
    CRIER_DURABLE = 0, /* acknowledged after fdatasync: the default */
    CRIER_MEMORY = 1   /* acknowledged when accepted; on disk a few milliseconds later; no offset is told */
};
/* Of a batch, by the client; listeners take any of them. */
enum crier_compression { CRIER_COMPRESSION_NONE = 0, CRIER_COMPRESSION_LZ4 = 3, CRIER_COMPRESSION_ZSTD = 4 };

/* How a bus is to be. From crier_options_default(). */
struct crier_options {
    size_t struct_size;      /* set by crier_options_default() */
    const char *name;        /* for people, in the broker's log, and its client-quota; copied; default NULL */
    struct event_base *base; /* run on this loop instead of an own thread; the caller's; default NULL */
    int connect_timeout_ms; /* crier_open() waits so long for the first connection; default 5000; 0: not at all */
    int reconnect_delay_ms_min; /* default 50 */
    int reconnect_delay_ms_max; /* default 2000 */
    int request_timeout_ms;     /* blocking requests; default 10000 */
    int close_timeout_ms;       /* crier_close() flushes so long; default 10000 */
    int linger_us; /* a partly filled batch waits so long for more while one is in flight; default 1000 */
    size_t batch_size_max; /* bytes of a batch before compression; default 256 KiB; 1 KiB .. 8 MiB */
    size_t
        buffer_size_max; /* bytes of events not yet acknowledged; above: CRIER_EAGAIN or blocking; default 32 MiB */
    int commit_interval_ms; /* positions of groups; default 100 */
    size_t listen_credit;   /* bytes a listener is ready to take before it has handled them; default 4 MiB */
    enum crier_compression compression; /* default none */
    bool emit_blocks; /* true: emit waits for room (never on the I/O thread); default false: CRIER_EAGAIN */
    void (*drain)(crier *bus, void *ctx); /* after CRIER_EAGAIN: there is room again; default NULL */
    /* The connection is there, or is gone, and why; also once if no endpoint answers at first. default NULL */
    void (*connection)(crier *bus, bool connected, const char *text, void *ctx);
    void *ctx; /* for drain and connection */
    /* Where crier_open() puts one sentence that says why it failed, NUL-terminated and cut to the size in bytes; borrowed
     * for the call; default NULL: nowhere */
    char *error_text;
    size_t error_text_size; /* bytes, with the NUL */
    /* embed: each line the broker in this process logs: borrowed, NUL-terminated, without line end. Called with the
     * options' ctx on any of the broker's threads, until crier_close() returns; must not call crier_open or crier_close.
     * default NULL: what it logs is dropped */
    void (*log)(const char *line, void *ctx);
    /* No thread and no base: the caller's loop waits for crier_fd(), for crier_timeout_ms() at most, and calls
     * crier_process(); default false */
    bool polled;
    /* Whose source crier_emit_atomic() is a step of: 1 to 255 bytes of printable UTF-8, copied. The bus that opens last with
     * a name has it; default NULL: none */
    const char *producer_name;
    /* Which partition of a topic an event with this key goes to, if its emit does not say: the result modulo partition_count. Called
     * on any thread that emits and on the bus's own, with its lock: always the same for the same arguments, quick, and without a call
     * of crier_. default NULL: murmur2, as Kafka's clients */
    uint32_t (*partitioner)(void *ctx, const char *topic, const void *key, size_t key_size,
                            uint32_t partition_count);
    void *partitioner_ctx; /* for partitioner; default NULL */
};

/** The defaults; see the fields. */
static inline struct crier_options crier_options_default(void)
{
    struct crier_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.connect_timeout_ms = 5000;
    options.reconnect_delay_ms_min = 50;
    options.reconnect_delay_ms_max = 2000;
    options.request_timeout_ms = 10000;
    options.close_timeout_ms = 10000;
    options.linger_us = 1000;
    options.batch_size_max = 256u * 1024;
    options.buffer_size_max = 32u * 1024 * 1024;
    options.commit_interval_ms = 100;
    options.listen_credit = 4u * 1024 * 1024;
    return options;
}

/**
 * Open a bus.
 *
 * url      copied; "crier://HOST:PORT[,HOST2:PORT2...]", "unix:/PATH", "embed:FOLDER[?OPTION=VALUE&...]", "local:" or
 *          "local:NAME" (1 to 255 bytes of UTF-8 without control characters and '?');
 *          the port defaults to 27437
 * options  copied; NULL: the defaults
 *
 * Returns 0, or CRIER_EINVAL (URL or options), CRIER_ECONNECT (nobody answered in connect_timeout_ms), CRIER_EPROTO
 * (whoever answers is no broker), CRIER_EVERSION, CRIER_ENOTSUP (a kind of bus this library does not have), CRIER_ENOMEM; for
 * embed: also CRIER_EBUSY (the folder is another process's, or open here with other options), CRIER_EIO, CRIER_ECORRUPT.
 * *ret_bus is written on success only. Blocking.
 */
CRIER_API int crier_open(const char *url, const struct crier_options *options, crier **ret_bus);

/**
 * Flush what was emitted, commit positions, disconnect, free. No handler runs after it returns. Blocking; on a caller's
 * loop's thread it drives the bus meanwhile, on another one that loop has to run. From inside a handler: CRIER_EDEADLK, nothing happens.
 * Returns 0, CRIER_ETIMEDOUT (close_timeout_ms passed; some emits have no known outcome) or the first unheard error.
 */
CRIER_API int crier_close(crier *bus);

/* ---- on a loop of the caller's ---- */

/**
 * With options.polled: everything the bus waits for, as one descriptor, for poll(), epoll or any loop that waits for
 * descriptors: readable, level-triggered, when crier_process() has something to do. It stays the same until crier_close(),
 * which closes it; it is not for reading. Any thread. CRIER_EINVAL: not a polled bus.
 *
 *     while (running) {
 *         struct pollfd fds[] = {{.fd = crier_fd(bus), .events = POLLIN}, ...};
 *         poll(fds, n, crier_timeout_ms(bus));
 *         crier_process(bus);
 *         ...
 *     }
 */
CRIER_API int crier_fd(crier *bus);
/** How long to wait for crier_fd() at most, in milliseconds; 0: not at all; -1: for ever (also if this is no polled bus).
 *  Ask before each wait. On the loop's thread. */
CRIER_API int crier_timeout_ms(crier *bus);
/** Does what is due, without waiting: receives, calls handlers (about a millisecond's worth), sends. The thread that calls
 *  it is the loop's; one at a time. 0, CRIER_EDEADLK (from inside a handler), CRIER_EINVAL (not a polled bus). */
CRIER_API int crier_process(crier *bus);

/* ---- listening ---- */

/** Call `handler` for every event on `topic` from now on, until crier_off(). "error" is local. topic: copied; a pattern
 *  ("orders.*": any one level; "orders.**": any number of levels, also none) listens to every topic that it matches, also to
 *  those that come later, from their first event; at most 2,048 partitions, else `released` is told CRIER_ETOOBIG.
 *  0, CRIER_EINVAL (name), CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_on(crier *bus, const char *topic, crier_handler *handler, void *ctx);
/** The same for the next event only, exactly once for the life of the bus, also across reconnects. */
CRIER_API int crier_once(crier *bus, const char *topic, crier_handler *handler, void *ctx);
/** Remove the newest listener of `topic` with this handler and ctx. Never waits: the handler may still be running on its
 *  thread. 0 or CRIER_EINVAL (no such listener). */
CRIER_API int crier_off(crier *bus, const char *topic, crier_handler *handler, void *ctx);

/* Where listening, or a group after a seek, starts: at what is next, at the earliest event there is, at an offset, at the
 * first event appended at or after a time. */
enum crier_from { CRIER_LIVE = 0, CRIER_EARLIEST = 1, CRIER_OFFSET = 2, CRIER_TIME = 3 };

/* What becomes of events of an ephemeral topic that a slow listener has no room for: crier_listener_stats.dropped counts them. */
enum crier_slow { CRIER_DROP_OLDEST = 0, CRIER_DROP_NEWEST = 1, CRIER_DISCONNECT = 2 };

/* How to listen. From crier_listen_options_default(). */
struct crier_listen_options {
    size_t struct_size; /* set by crier_listen_options_default() */
    /* Durable positions under this name; its members share the topic's partitions. copied; not with a pattern; default
     * NULL: every partition, no durable position */
    const char *group;
    enum crier_from
        from; /* where to start if the group has no position yet (or without one); default CRIER_LIVE. A pattern
               * cannot start at an offset */
    int64_t from_value; /* CRIER_OFFSET: the offset; CRIER_TIME: microseconds since 1970 UTC */
    uint64_t count;     /* stop after so many events; 0: never */
    size_t credit;      /* bytes; 0: the bus's listen_credit */
    /* Called once, when no handler of this listener can run any more: free ctx here. code: 0 (off, count reached, close)
     * or why it ended. */
    void (*released)(void *ctx, int code, const char *text);
    /* Called when the broker has confirmed the listener (again after each reconnect): its first events follow. */
    void (*listening)(void *ctx);
    /* With a group: silent so long, its partitions go to others. 1000 or more; default 0: the broker's, 10 s */
    int session_timeout_ms;
    /* With a group: a partition (0-based within the topic) is this listener's from now on, or no longer: no handler call
     * for it begins until it is given again. Taken also when the connection is lost, and at the end, before `released`.
     * When the broker takes one for another member, this is called before that member can have it. */
    void (*assigned)(void *ctx, uint32_t partition, bool given);
    /* The handler runs on this worker pool, in order per key (crier/pool.h); default NULL: on the loop. Those of "error" are always there. */
    crier_pool *pool;
    uint32_t pool_events_max; /* so many events of it are on the pool at most; default 0: 1024 */
    bool first;               /* before the listeners there are: crier_prepend() */
    /* Of ephemeral topics: when queue_size bytes of batches wait at the broker because this listener is slow. CRIER_DISCONNECT:
     * `released` is told CRIER_ETOOBIG. default CRIER_DROP_OLDEST */
    enum crier_slow slow;
    size_t queue_size; /* bytes, for each partition; at most 64 MiB; default 0: the broker's, 4 MiB */
    bool ephemeral;    /* a topic that is made for this listener is ephemeral; default false */
    /* With a group: nothing is committed because the handler succeeded. Its position moves with crier_emit_atomic() alone, which
     * says what it was made from (crier/atomic.h). Not with a pool; default false */
    bool commits_atomically;
    /* With a group: it is a shared one, whose members settle event by event (crier/shared.h). borrowed for the call; default NULL: an
     * ordered one */
    const struct crier_shared_options *shared;
};

/** The defaults; see the fields. */
static inline struct crier_listen_options crier_listen_options_default(void)
{
    struct crier_listen_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    return options;
}

/** Listen with options (NULL: as crier_on). *ret_listener (may be NULL) is valid until `released` has run. */
CRIER_API int crier_listen(crier *bus, const char *topic, const struct crier_listen_options *options,
                           crier_handler *handler, void *ctx, crier_listener **ret_listener);
CRIER_API int crier_unlisten(crier_listener *listener); /* never waits; `released` follows */

/* What a listener has done so far. */
struct crier_listener_stats {
    uint64_t delivered; /* events whose handler returned */
    uint64_t failed;    /* of those, < 0 */
    uint64_t lag;       /* events between the position and the last high watermark heard, all partitions */
    uint64_t dropped;   /* events of ephemeral topics that it was too slow for, as far as it was told */
};
/** How far a listener is. Valid as long as the listener is. 0 or CRIER_EINVAL. Any thread; never waits. */
CRIER_API int crier_listener_stats(crier_listener *listener, struct crier_listener_stats *ret_stats);

/* ---- emitting ---- */

/** Called once when the outcome of an emit is known: code 0 and the offset (UINT64_MAX: not told, for memory emits and
 *  duplicates), or why not. */
typedef void crier_emitted(crier *bus, int code, uint64_t offset, void *ctx);

/* How to emit one event. From crier_emit_options_default(). */
struct crier_emit_options {
    size_t struct_size;               /* set by crier_emit_options_default() */
    const void *key;                  /* events with one key keep their order; NULL: none; copied */
    size_t key_size;                  /* bytes */
    const crier_header *headers;      /* copied; default NULL */
    size_t header_count;              /* of headers */
    int64_t timestamp_ms;             /* 0: now */
    int32_t partition;                /* -1: by key, else by turns; default -1 */
    enum crier_durability durability; /* default CRIER_DURABLE, unless the topic says memory */
    crier_emitted *done;              /* default NULL: a failure becomes an "error" event */
    void *ctx;                        /* for done; kept alive by the caller until then */
    int error;                        /* the code of an event on "error"; < 0; default 0: CRIER_EHANDLER */
    /* Node's boolean: did the topic have listeners? Written on success; borrowed for the call; default NULL. On local: only,
     * else CRIER_ENOTSUP: no bus knows at once who listens elsewhere */
    bool *ret_had_listeners;
    /* crier_emit_atomic() only: the event's partition has to end at expected_offset before the emit (its next free
     * offset), or nothing of it is stored and its outcome is CRIER_EOFFSET. Say which with `partition`, or have one */
    bool expects;
    uint64_t expected_offset; /* counts if expects; default 0 */
    /* A memory emit that is refused with CRIER_ENOLISTENER if nobody listens to its partition; a topic that is made for it is
     * ephemeral. default false */
    bool needs_listener;
};

/** The defaults; see the fields. */
static inline struct crier_emit_options crier_emit_options_default(void)
{
    struct crier_emit_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.partition = -1;
    return options;
}

/**
 * Emit an event. Returns as soon as it is in the batch being built; the value is copied.
 *
 * Returns 0, CRIER_EAGAIN (buffer_size_max reached: retry after drain), CRIER_ETOOBIG, CRIER_EINVAL (topic name,
 * reserved name), CRIER_ECLOSED, CRIER_ENOMEM. On an error nothing was emitted and done is not called.
 */
CRIER_API int crier_emit(crier *bus, const char *topic, const void *value, size_t value_size);
/** The same with options: borrowed, NULL: as crier_emit. */
CRIER_API int crier_emit_with(crier *bus, const char *topic, const void *value, size_t value_size,
                              const struct crier_emit_options *options);
/** Wait until everything emitted so far has an outcome. 0, CRIER_ETIMEDOUT (timeout_ms; -1: no limit), CRIER_EDEADLK, or
 *  the first error nobody heard. Blocking. */
CRIER_API int crier_flush(crier *bus, int timeout_ms);

/* Counts since the bus was opened. */
struct crier_stats {
    uint64_t emitted;       /* accepted by crier_emit */
    uint64_t acked;         /* outcome ok */
    uint64_t failed;        /* outcome not ok */
    uint64_t delivered;     /* handed to handlers */
    uint64_t pending_bytes; /* of events without an outcome yet; bounded by buffer_size_max */
    uint64_t reconnects;    /* connections after the first */
    bool connected;         /* now */
    uint64_t skipped; /* offsets that were gone before a listener heard them (retention, crier_topic_trim) */
};
/** What the bus has done so far. bus NULL: zeros. Any thread; never waits. */
CRIER_API void crier_stats(crier *bus, struct crier_stats *ret_stats);

/* ---- topics ---- */

/* What a topic keeps of each partition; 0: no limit. Whole prefixes go. until_consumed excludes the others. */
struct crier_retention {
    int64_t time_ms;     /* what is older goes */
    uint64_t bytes;      /* at least so many bytes of batches stay, up to a run (64 KiB of log) more */
    uint64_t count;      /* the newest so many offsets stay */
    bool until_consumed; /* an event goes once every group with a position in its partition is past it */
};

/* How shared groups (crier/shared.h) go on with an event of a topic that failed. 0: the default. */
struct crier_retry {
    uint32_t first_ms;   /* before the second delivery; it doubles from then on; 1 s; at most 24 hours */
    uint32_t max_ms;     /* and stays at this; 60 s; the same */
    uint32_t deliveries; /* so many have failed: the event goes to the dead-letter topic; 5; at most 1000 */
};

#define CRIER_QUOTA_NONE UINT64_MAX /* any number, whatever the broker says */

/* What may be emitted to a topic in a second, by all buses. 0: what the broker says for topics (topic-events-max,
 * topic-bytes-max). Who emits more is slowed, then refused with CRIER_EQUOTA. */
struct crier_quota {
    uint64_t events_max; /* events */
    uint64_t bytes_max;  /* of batches, as they are sent */
};

/* How a new topic is to be. From crier_topic_options_default(). */
struct crier_topic_options {
    size_t struct_size;               /* set by crier_topic_options_default() */
    uint32_t partitions;              /* at most 1024; default 0: the broker's default (1) */
    enum crier_durability durability; /* suggested to emitters; default CRIER_DURABLE */
    struct crier_retention retention; /* default: everything is kept */
    /* Nothing is kept: events go from memory to the listeners that are there, at most once; offsets begin anew with each start
     * of the broker. No groups, no replay, no retention, nothing atomic; default false */
    bool ephemeral;
    struct crier_retry retry; /* default: the broker's defaults */
    struct crier_quota quota; /* default: the same */
    /* More listeners of all buses than this: a line in the broker's log, and on CRIER_WARNING of the bus whose listener was one too
     * many, once; both say who. Default 0: any number */
    uint32_t max_listeners;
    /* The topic that its dead letters go to: crier/shared.h. Copied. Default NULL, or "": "$dead." and its name */
    const char *dead_letter;
};

/** The defaults; see the fields. */
static inline struct crier_topic_options crier_topic_options_default(void)
{
    struct crier_topic_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    return options;
}

/* What there is of a partition: offsets log_start .. high_watermark - 1. */
struct crier_partition_info {
    uint64_t log_start;      /* the first offset that is still there */
    uint64_t high_watermark; /* the offset of the next event */
    uint64_t bytes;          /* of its batches from log_start on, about */
};

/* One who listens to a topic. Borrowed. */
struct crier_topic_listener {
    const char *client;  /* crier_options.name of its bus, shortened; may be "" */
    const char *address; /* where it is connected from, as the broker sees it */
    const char *group;   /* "": none */
};

/* What a topic is. Borrowed, with everything it points to. */
struct crier_topic_info {
    const char *name;                              /* NUL-terminated */
    uint32_t partition_count;                      /* at least 1 */
    const struct crier_partition_info *partitions; /* partition_count of them */
    enum crier_durability durability;              /* what it says to emitters that ask for nothing else */
    int64_t created_us;                            /* microseconds since 1970 UTC */
    struct crier_retention retention;              /* what it keeps */
    bool ephemeral;                                /* nothing: see crier_topic_options */
    uint32_t
        listener_count; /* just now, of all buses, over patterns too; of a group those that have a partition of it.
                              * Told when one topic is asked for; 0 in a list of all */
    const struct crier_topic_listener *listeners; /* the first of them, in no order, up to 32; or NULL */
    size_t listeners_told;                        /* of listeners */
    struct crier_retry retry;                     /* 0: the broker's defaults */
    struct crier_quota quota;                     /* its own; 0: as the broker says */
    const char *dead_letter;                      /* where its dead letters go; NULL: it can have none */
    uint32_t max_listeners;                       /* more are warned of; 0: any number */
};

/** Create a topic. 0, CRIER_EEXIST, CRIER_EINVAL, ... Blocking. options: borrowed, NULL: defaults. */
CRIER_API int crier_topic_create(crier *bus, const char *name, const struct crier_topic_options *options);
/** Calls each(ctx, info) for the topic (or for every topic, name NULL); info is borrowed for the call. Blocking. */
CRIER_API int crier_topic_describe(crier *bus, const char *name,
                                   void (*each)(void *ctx, const struct crier_topic_info *info), void *ctx);
/** One round trip to the broker's core. Blocking. */
CRIER_API int crier_ping(crier *bus, int64_t *ret_round_trip_us);

/* ---- groups ---- */

/* Where a group is in a partition. */
struct crier_group_partition {
    bool has_position;       /* it has committed one */
    uint64_t position;       /* everything below it is handled; only with has_position */
    uint64_t high_watermark; /* the offset of the next event */
    const char *member;      /* the name of the bus that has it now, "": it has none; NULL: nobody */
    uint64_t done;           /* a shared group's: events at or above `position` that are done */
    uint32_t leased;         /* the same: with members now */
    uint32_t retries;        /* the same: failed, and to be delivered again */
};

/* What a group is. Borrowed, with everything it points to. */
struct crier_group_info {
    const char *name;                               /* NUL-terminated */
    uint32_t member_count;                          /* now */
    const char *const *topics;                      /* where it has positions, up to 64; list does not tell */
    size_t topic_count;                             /* of topics */
    uint32_t partition_count;                       /* of the topic that was asked for; 0: none was */
    const struct crier_group_partition *partitions; /* partition_count of them */
    bool shared;                                    /* its events are settled one by one: crier/shared.h */
};

/* Where a group is to go. From crier_group_seek_options_default(). */
struct crier_group_seek_options {
    size_t struct_size; /* set by crier_group_seek_options_default() */
    enum crier_from to; /* CRIER_LIVE: the end; default CRIER_EARLIEST */
    int64_t value;      /* CRIER_OFFSET: the offset; CRIER_TIME: microseconds since 1970 UTC */
    int32_t partition;  /* 0-based within the topic; default -1: all */
};

/** The defaults; see the fields. */
static inline struct crier_group_seek_options crier_group_seek_options_default(void)
{
    struct crier_group_seek_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.to = CRIER_EARLIEST;
    options.partition = -1;
    return options;
}

/** Calls each(ctx, info) for every group, in order of their names; info is borrowed for the call. Blocking. */
CRIER_API int crier_group_list(crier *bus, void (*each)(void *ctx, const struct crier_group_info *info),
                               void *ctx);
/** Calls each(ctx, info) once: members, topics and, unless topic is NULL, where it stands in that topic's partitions.
 *  0, CRIER_EINVAL (no such group), CRIER_ENOTOPIC, ... Blocking. */
CRIER_API int crier_group_describe(crier *bus, const char *name, const char *topic,
                                   void (*each)(void *ctx, const struct crier_group_info *info), void *ctx);
/** Moves a group's position in a topic, forward or back; the group need not be there yet. A member that has only lost its
 *  connection for a moment goes on from where it was. options: borrowed, NULL: the defaults, all to the earliest event.
 *  0, CRIER_EBUSY (it has members on this topic), CRIER_ENOTOPIC, CRIER_EINVAL (no such partition, an offset beyond the
 *  end), CRIER_EUNKNOWN (the connection was lost before the answer), ... Blocking. */
CRIER_API int crier_group_seek(crier *bus, const char *name, const char *topic,
                               const struct crier_group_seek_options *options);
/** Forgets a group and all its positions. 0, CRIER_EBUSY (it has members), CRIER_EINVAL (no such group),
 *  CRIER_EUNKNOWN (as above), ... Blocking. */
CRIER_API int crier_group_delete(crier *bus, const char *name);

#ifdef __cplusplus
}
#endif

#include "emitter.h" /* the rest of Node's contract */
#include "inspect.h" /* the broker's files */
#include "topic.h"   /* topics altered, trimmed, deleted */

#endif
