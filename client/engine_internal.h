/* engine_internal.h: what the files of the engine share. Nobody else includes this (but for tests of its parts).
 *
 * Reading order: stage.h (the half that emitting threads touch), this page, engine.c, engine_frames.c, engine_emit.c,
 * engine_outcome.c, engine_listen.c, engine_partition.c, engine_position.c, engine_dispatch.c, engine_request.c,
 * engine_group.c.
 * Thread: the driver's I/O thread, for everything here outside `stage`. */
#ifndef CRIER_CLIENT_ENGINE_INTERNAL_H
#define CRIER_CLIENT_ENGINE_INTERNAL_H

#include "base/list.h"
#include "base/random.h"
#include "client/engine.h"
#include "client/input.h"
#include "client/output.h"
#include "client/stage.h"
#include "proto/arena.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"

#include <stdatomic.h>

#define ENGINE_HEADER_MEMORY_MAX                                                                             \
    (1024u * 1024)                  /* one unpacked header: 64 KiB on the wire, an array of small messages */
#define ENGINE_UNANSWERED_MAX    64 /* EMIT frames; the broker allows 256 requests of all kinds */
#define ENGINE_REQUESTS_SENT_MAX 64
#define ENGINE_OUTPUT_HIGH                                                                                   \
    (1024u * 1024) /* EMIT frames are only built while less than this waits to be written */
#define ENGINE_OUTPUT_PIECES_MAX  65536 /* control frames that the broker makes us send and does not read */
#define ENGINE_ANSWER_TIMEOUT_US  INT64_C(5000000) /* a connection attempt, and WELCOME after HELLO */
#define GROUP_NAME_MAX            255
#define ENGINE_RETRY_DELAY_US     INT64_C(50000) /* after a retriable refusal; doubles up to the next */
#define ENGINE_RETRY_DELAY_US_MAX INT64_C(2000000)

/* One machine per engine; engine_enter() checks each step against the table in engine.c. */
enum engine_state {
    ENGINE_IDLE,       /* not started */
    ENGINE_WAITING,    /* for the next attempt: state_due */
    ENGINE_CONNECTING, /* ops.connect was called */
    ENGINE_GREETING,   /* HELLO is on its way */
    ENGINE_READY,      /* WELCOME came */
    ENGINE_LEAVING,    /* GOAWAY came: what is in flight is finished, nothing new is sent */
    ENGINE_DROPPED,    /* for good */
    ENGINE_STATES
};

/* An EMIT frame without its EMITTED. */
struct emit_frame {
    struct list link; /* engine.unanswered, in order of `request` */
    uint64_t request;
    uint64_t end;               /* output.queued after its last byte */
    struct atomic_emit *atomic; /* NULL: its parts are independent batches */
    uint32_t part_count;
    struct emit_batch *parts[]; /* none, if atomic */
};

/* A DELIVER frame that waits for its handlers. */
struct delivery {
    struct list link;                /* engine.deliveries, in order of arrival */
    struct crier_listener *listener; /* NULL: ended meanwhile */
    struct listen_partition *partition;
    struct buffer *buffer; /* referenced */
    const uint8_t *data;   /* what is left of the attachment */
    size_t size;           /* of that */
    size_t credit;         /* the whole attachment: returned when it is handled */
    size_t taken;          /* events of it that are out: see engine_taken.c */
    uint64_t skip_to;
    struct shared_ranges *ranges; /* a shared group's: owned; else NULL */
};

struct listen_partition {
    const char *topic; /* whose it is: the listener's own, or, of a pattern's listener, own_topic */
    uint64_t id;
    uint32_t index;                  /* within the topic: what users call it */
    bool given;                      /* `assigned` was told so */
    uint32_t assignment;             /* engine_consumed.c: its number; 0: none */
    uint64_t step_next;              /* the same: where the group's position is after all that was emitted */
    uint64_t step;                   /* the same: the source position of the last that was */
    bool leaving;                    /* the broker asks for it: in the ASSIGN that is being handled */
    uint64_t next;                   /* the first offset not yet handed out: see partition_position */
    struct list taken;               /* handed out and not through, in order of offsets; engine_taken.c */
    uint64_t committed;              /* told to the broker; positions below need no COMMIT */
    uint64_t commit_sent;            /* in the COMMIT that is under way */
    uint64_t high_watermark;         /* last heard */
    struct shared_partition *shared; /* a shared group's: owned; else NULL */
    char own_topic[];
};

enum listener_state {
    LISTENER_NEW,        /* engine_listen has not seen it */
    LISTENER_WANTED,     /* LISTEN is to be sent when the engine is ready */
    LISTENER_ASKED,      /* LISTEN was sent */
    LISTENER_LIVE,       /* LISTENING came */
    LISTENER_DELAYED,    /* refused or ended for now: LISTEN again at engine.listen_retry_due */
    LISTENER_RESTARTING, /* UNLISTEN was sent, LISTEN follows its ENDED */
    LISTENER_ENDING,     /* UNLISTEN was sent */
    LISTENER_LOCAL       /* on a local topic: never travels */
};

struct crier_listener {
    crier *bus;       /* first, as in that of local: (emitter.h) */
    struct list link; /* engine.listeners or engine.local_listeners */
    struct engine_listener_link driver;
    enum listener_state state;
    uint32_t id; /* 0: none */
    char *topic;
    bool pattern; /* the topic is one */
    bool placed;  /* it has been in place: a quota it meets later is waited for */
    bool again;   /* all of LISTENING has come once: what the broker names beyond `partitions` is new */
    char *group;  /* NULL: none */
    enum crier_from from;
    int64_t from_value;
    uint64_t count; /* events to go; UINT64_MAX: no end */
    size_t credit;
    crier_handler *handler;
    void *ctx;
    crier_handler *divert; /* has the events instead of `handler`; NULL: nobody */
    void (*stopping)(void *ctx);
    void *divert_ctx;
    bool paused;         /* what arrives is parked */
    bool finish_wanted;  /* listen_finish_one, or */
    bool release_wanted; /* listener_release, when nothing is out any more: with end_code and end_text */
    size_t taken_count;  /* out */
    struct list orphans; /* of those, whose partition is gone */
    void (*released)(void *ctx, int code, const char *text);
    void (*listening)(void *ctx);
    void (*assigned)(void *ctx, uint32_t partition, bool given);
    uint32_t session_timeout_ms;
    struct shared *shared;   /* of a shared group, owned: client/leased.h; NULL: of none */
    bool commits_atomically; /* engine_consumed.c */
    bool
        restart_wanted; /* its handler failed: the event has to come again, when what was emitted has its outcome */
    bool restart_now;    /* what was emitted failed: the same, at once */
    bool steps_done;     /* nothing of it is without outcome: it may end */
    bool probe;          /* asks where a seek leads: hears nothing, makes no topic; see engine_group.c */
    atomic_bool stopped; /* no handler call begins any more */
    struct listen_partition *
        *partitions; /* its own now; over a reconnect those it had. A group's come and go, a pattern's come */
    size_t partition_count, partition_capacity;
    uint64_t generation;      /* of a group's member: this one's, until it ends */
    uint64_t credit_received; /* attachment bytes received in this connection */
    uint64_t credit_handled;  /* of those, handled */
    uint64_t credit_told;     /* the total in the last CREDIT: credit + handled then */
    uint64_t commit_request;  /* the COMMIT under way; 0: none */
    uint64_t corrupt_offset;  /* where a batch arrived broken; UINT64_MAX: nowhere */
    enum crier_slow slow;     /* of ephemeral topics, with */
    size_t queue_size;
    bool ephemeral;          /* if its topic has to be made, then so */
    uint64_t dropped_before; /* in earlier connections */
    int end_code;            /* ENDING: what `released` will be told */
    const char *end_text;    /* static */
    _Atomic uint64_t delivered, failed, lag, dropped;
};

enum request_kind {
    REQUEST_TOPIC_CREATE,
    REQUEST_TOPIC_DESCRIBE,
    REQUEST_TOPIC_LIST,
    REQUEST_TOPIC_ALTER,
    REQUEST_TOPIC_DELETE,
    REQUEST_TOPIC_TRIM,
    REQUEST_GROUP_LIST,
    REQUEST_GROUP_DESCRIBE,
    REQUEST_GROUP_SEEK,
    REQUEST_GROUP_DELETE,
    REQUEST_PING,
    REQUEST_INSPECT,
    REQUEST_SCHEDULE_CANCEL,
    REQUEST_SCHEDULE_LIST,
    REQUEST_REDRIVE,
    REQUEST_KINDS
};

/* What GROUP_DESCRIBE and GROUP_SEEK ask beyond a name. */
struct group_question {
    char topic[CRIER_TOPIC_NAME_MAX + 1]; /* "": none */
    uint32_t first;                       /* DESCRIBE: the partition to go on with */
    /* SEEK */
    struct engine *engine;
    struct request *request;
    int32_t partition;     /* -1: all */
    crier_listener *probe; /* finds the positions; NULL: they are known */
    Wire__Position *positions;
    size_t position_count;
};

struct request {
    struct list link;        /* engine.requests_waiting or requests_sent */
    struct list by_deadline; /* engine.requests_timed; unlinked: no deadline */
    enum request_kind kind;
    uint64_t id; /* on the wire */
    int64_t due;
    uint32_t partitions;
    enum crier_durability durability;
    struct crier_inspection inspection;
    struct crier_retention retention;     /* CREATE, ALTER */
    struct crier_retry retry;             /* the same */
    char *dead_letter;                    /* the same; owned; NULL: the default */
    struct crier_quota quota;             /* the same */
    uint32_t max_listeners;               /* the same */
    bool ephemeral;                       /* CREATE */
    unsigned set;                         /* ALTER */
    struct crier_topic_trim_options trim; /* TRIM; of no name: the clock is right */
    crier_schedule schedule;              /* SCHEDULE_CANCEL; LIST: after which */
    uint32_t count_left;                  /* SCHEDULE_LIST: so many are wanted */
    uint64_t limit;                       /* REDRIVE */
    struct group_question *group;         /* owned; NULL: none */
    struct emit_topic
        *topic; /* a DESCRIBE for emitting, which creates: emit_topic_answered is told; else NULL */
    engine_answered *answered;
    void *ctx;
    const char *name; /* topic->name, or own_name: a topic or a group; LIST: after which name */
    char own_name[];  /* without `topic`: CRIER_TOPIC_NAME_MAX + 1 bytes */
};

struct engine {
    struct stage stage; /* the emit lock's; see stage.h */

    const struct engine_ops *ops;
    void *ops_ctx;
    struct engine_config config;
    char *name;
    struct random random;

    /* the connection */
    enum engine_state state;
    unsigned endpoint, attempts; /* of this outage */
    int broken;        /* engine_fail was called: why; 0: no. The public call that is running ends with it */
    int64_t state_due; /* WAITING, CONNECTING, GREETING: when it has taken too long */
    int64_t last_received, last_sent, last_ping;
    int64_t idle_suspected; /* when the idle timeout was first found to have passed; 0: it has not */
    int64_t ping_interval, idle_timeout; /* microseconds, from WELCOME; 0: none */
    int64_t now;                         /* the last time that was passed in */
    char broken_text[256];
    uint64_t reconnects;
    _Atomic uint64_t skipped; /* offsets gone before they were heard */
    uint8_t cluster_id[16];   /* whose log this is */
    bool cluster_known;
    bool was_ready; /* WELCOME has come once */
    bool closing;   /* engine_close was called */
    size_t frame_size_max;
    struct input input;
    struct output output;
    struct arena arena;
    uint8_t *arena_memory;

    /* emitting: engine_emit.c, engine_outcome.c */
    uint64_t producer_id;
    uint16_t producer_epoch;
    bool producer_known;     /* a WELCOME gave the two above */
    bool producer_renew;     /* sequences are lost: a new epoch, when nothing is in flight */
    size_t event_size_max;   /* from WELCOME, for the stage */
    struct list lanes;       /* all that ever had a batch here */
    struct list sendable[2]; /* lanes with a batch that may go, by durability */
    struct list revisit;     /* lanes that engine_collect has to look at again */
    struct list lingering;   /* lanes with an open batch, by when it goes at the latest */
    struct list retrying;    /* lanes that wait for retry_due */
    int64_t retry_due, retry_delay;
    struct list unanswered; /* emit_frames */
    size_t unanswered_count;
    uint64_t emit_request;      /* the last one */
    uint64_t grant, grant_used; /* cumulative bytes of EMIT frames in this connection */
    uint64_t grant_wanted; /* the total that the last CREDIT_WANT asked for; 0: none in this connection */
    int64_t grant_due;     /* when a grant that nobody used since then goes back */
    struct list failing;   /* batches the stage could not place: to be settled outside the lock */
    struct list settled;   /* batches with an outcome, on their way back to the stage */
    struct list topics_answered;  /* metadata on its way to the stage */
    struct list topics_delayed;   /* to be asked for again at retry_due */
    struct emit_scratch *scratch; /* for building one EMIT */
    bool drain_due, trim_due;
    bool log_changed;    /* engine_collect has to forget all topics */
    uint64_t flush_seen; /* the flush ticket that lingering lanes were swept for */
    uint64_t acked, failed;
    size_t pending_seen; /* stage.pending_bytes as of the last collect */

    /* atomic emits: engine_atomic.c */
    char *producer_name; /* "": none */
    bool name_lost;      /* another client has it, for good */
    struct list atomics; /* taken and without outcome, in order of position */
    struct list atomics_settled;
    struct atomic_emit *atomic_unsent;  /* the first that is not in flight; NULL: none */
    struct atomic_emit *atomic_unbuilt; /* the first that is not built; NULL: none */
    unsigned atomic_in_flight;
    bool atomic_refused, atomic_retry; /* as a lane's */
    _Atomic uint64_t source_position;  /* stored, of the named producer */
    uint32_t assignment;               /* the last number given: engine_consumed.c */
    bool consumed_due;                 /* consumed_continue has something to do */
    bool consumed_waits;               /* a listener's end, or its restart, has waited for an outcome */
    bool consumed_paused;              /* a listener is, until less is emitted and without outcome */
    uint32_t feature_level;            /* from WELCOME */

    /* listening: engine_listen.c */
    struct list listeners, local_listeners;
    struct crier_listener **slots; /* by slot: see listen_find */
    size_t slot_count;
    uint32_t listener_generation; /* ids are not used again soon: answers may still be on their way */
    int error;                    /* the first nobody heard; 0: none */
    struct list deliveries;
    struct list parked;       /* of paused listeners, in order of arrival */
    bool listeners_dropped;   /* listen_drop was called: nothing waits for what is out */
    struct list held;         /* walked through, but some of it is out */
    struct delivery *handing; /* whose event a handler has, or NULL */
    uint64_t handing_offset;
    uint32_t handing_attempt;
    bool handed_away;             /* by engine_take, in this handler */
    const atomic_bool *yields_to; /* see engine_dispatch_yields_to; NULL: nothing */
    /* see engine_watch; NULL: nobody */
    void (*called)(void *ctx, const char *topic, crier_handler *handler);
    bool listen_wanted; /* some listener is in LISTENER_WANTED */
    bool walking;       /* `walk` stands in the first batch of the first delivery */
    struct batch_iterator walk;
    size_t walk_size; /* of that batch */
    int64_t commit_due, listen_retry_due;
    uint64_t commit_request; /* the last one */
    size_t commits_unanswered;
    struct list settlements; /* without an answer, in the order they were sent: engine_settle.c */
    size_t settles_unanswered;
    uint64_t settle_request;  /* the last one */
    int64_t settle_retry_due; /* not before */
    bool settles_wait;        /* some listener may have unsent ones */
    int64_t session_timeout;  /* microseconds, the shortest of a group's listener there ever was; 0: none */
    uint64_t delivered;

    /* requests: engine_request.c */
    struct list requests_waiting, requests_sent, requests_timed;
    size_t requests_sent_count;
    uint64_t request_id;
};

static inline bool engine_is_ready(const struct engine *engine)
{
    return engine->state == ENGINE_READY;
}

static inline int64_t time_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- engine_frames.c ---- */

void engine_frame(struct engine *engine, const struct frame *frame); /* one frame from the broker */

/* ---- engine.c ---- */

void engine_enter(struct engine *engine, enum engine_state next); /* a legal step, or it is a bug of ours */
void engine_send(struct engine *engine, enum frame_kind kind, const ProtobufCMessage *message);
/* The broker broke the protocol, or we cannot go on: the connection is dropped when the public call that is running
 * ends, and tried again later. */
void engine_fail(struct engine *engine, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The last thing a public call does that may have failed the connection: if it is to go, it goes now. */
void engine_settle(struct engine *engine);
/* An event on "error", or the next flush's return value. */
void engine_error(struct engine *engine, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- engine_emit.c: batches out; engine_outcome.c: what became of them ---- */

void emit_init(struct engine *engine);
void emit_finish(struct engine *engine);
void emit_ready(struct engine *engine, const Wire__Welcome *welcome);
void emit_disconnected(struct engine *engine);
void emit_forget(
    struct engine *engine); /* the log is another one: numbers and partitions mean nothing any more */
void emit_build(struct engine *engine); /* EMIT frames into the output */
void emit_emitted(struct engine *engine, const Wire__Emitted *emitted);
void emit_credit(struct engine *engine, uint64_t total);
void emit_topic_answered(struct engine *engine, struct emit_topic *topic, int code, const char *text,
                         const Wire__TopicInfo *info);
int64_t emit_due(const struct engine *engine);
void emit_tick(struct engine *engine);
void emit_callbacks(struct engine *engine); /* what engine_collect left to be told outside the lock */
void emit_drop(struct engine *engine, int code);
bool emit_is_settled(const struct engine *engine);

/* ---- engine_listen.c: listeners come and go; engine_partition.c: what they have; engine_position.c: what they
 * committed; engine_dispatch.c: events ---- */

void listen_init(struct engine *engine);
void listen_finish(struct engine *engine);
void listen_ready(struct engine *engine);
void listen_send(struct engine *engine); /* LISTEN for whoever wants it */
void listen_disconnected(struct engine *engine);
void listen_forget(struct engine *engine); /* the log is another one: positions mean nothing any more */
void listen_listening(struct engine *engine, const Wire__Listening *listening);
void listen_ended(struct engine *engine, const Wire__Ended *ended);
struct crier_listener *listen_find(const struct engine *engine,
                                   uint32_t id); /* NULL: none, or it has ended */
/* No handler runs any more; positions are committed, UNLISTEN is sent. The listener may be gone when this returns. */
void listen_finish_one(struct engine *engine, struct crier_listener *listener, int code, const char *text);
/* It leaves its group and joins it anew, from the stored position, if it has a place in it. */
void listen_restart(struct engine *engine, struct crier_listener *listener);
int64_t listen_due(const struct engine *engine);
void listen_tick(struct engine *engine);
void listen_close(struct engine *engine);
void listen_drop(struct engine *engine);
bool listen_is_settled(const struct engine *engine);

/* NULL: not its own. */
struct listen_partition *listen_partition_find(const struct crier_listener *listener, uint64_t id);
/* What LISTENING says it begins with; of those it has had, the position reached stays if it is ahead. false: no memory. */
bool partitions_begin(struct engine *engine, struct crier_listener *listener,
                      const Wire__Listening *listening);
/* They may be others' from now on: `assigned` is told. Kept, to resume from. */
void partitions_suspend(struct crier_listener *listener);
void partitions_forget(struct crier_listener *listener); /* tells, and frees them */
void partitions_lag_update(struct crier_listener *listener);
void listen_assign(struct engine *engine, const Wire__Assign *assign);

/* COMMIT, if there is something new. */
void position_send(struct engine *engine, struct crier_listener *listener);
/* The same for the leaving partitions; nobody waits for the answer. */
void position_send_leaving(struct engine *engine, const struct crier_listener *listener);
void position_moved(struct engine *engine, const struct crier_listener *listener);
void position_tick(struct engine *engine);
void listen_committed(struct engine *engine, const Wire__Committed *committed);

/* Is its progress a position that it commits? */
static inline bool listener_commits(const struct crier_listener *listener)
{
    return listener->group && !listener->commits_atomically && !listener->shared;
}

/* The first offset that is not handled: what a group commits. */
static inline uint64_t partition_position(const struct listen_partition *partition)
{
    return list_is_empty(&partition->taken)
               ? partition->next
               : LIST_ENTRY(partition->taken.next, struct engine_taken, link)->offset;
}

/* ---- engine_taken.c ---- */

/* The partition goes; what is out of it ends at the listener, or nowhere (NULL). */
void taken_orphan(struct crier_listener *listener, struct listen_partition *partition);
void taken_recall(struct crier_listener *listener); /* its end waits for what is out */
void taken_was_the_last(struct crier_listener *listener);
void taken_forget_all(struct crier_listener *listener); /* the listener goes */
void taken_move(struct listen_partition *from, struct listen_partition *to);
void delivery_taken_done(struct engine *engine, struct delivery *delivery); /* one of it is through */
/* A handler failed. Returns true if somebody on "error" took note, so that the listener may go on. */
bool failure_tell(struct engine *engine, const crier_event *event, int rc);
/* The end of a listener: its user hears of it, then it is freed; later, if something of it is out. */
void listener_release(struct engine *engine, struct crier_listener *listener, int code, const char *text);

void listen_deliver(struct engine *engine, const Wire__Deliver *deliver, const struct frame *frame);
/* Hands one event to whoever has them instead of the handler. false: not taken, the listener is paused. */
bool engine_divert(struct engine *engine, struct delivery *delivery, const crier_event *event);
void engine_called(const struct engine *engine, const struct crier_listener *listener,
                   const crier_event *event);
bool engine_is_to_yield(const struct engine *engine);
void deliveries_disconnected(struct engine *engine); /* all are forgotten but shared groups' */
void deliveries_forget(struct engine *engine,
                       const struct crier_listener *listener); /* NULL: all, and free them */
void deliveries_finish(struct engine *engine);                 /* those too of which something is out */
/* Frees what is queued of one partition, whose events nobody here is to see, and returns the credit. Not from a handler. */
void deliveries_drop(struct engine *engine, const struct listen_partition *partition);
/* Tells the listeners of "error", its monitors first; false: nobody listens. */
bool listen_tell_error(struct engine *engine, int code, const char *text);

/* ---- engine_request.c; engine_group.c: those about groups ---- */

void request_init(struct engine *engine);
void request_finish(struct engine *engine);
void request_disconnected(struct engine *engine);
/* Asks for a topic that is emitted to, creating it; emit_topic_answered follows. */
int request_topic(struct engine *engine, struct emit_topic *topic);
void request_topics(struct engine *engine, const Wire__Topics *topics);
void request_groups(struct engine *engine, const Wire__Groups *groups);
void request_inspected(struct engine *engine, const Wire__Inspected *inspected, const struct frame *frame);
void inspect_send(struct engine *engine, const struct request *request);
void request_pong(struct engine *engine, uint64_t nonce);
struct request *request_sent_find(const struct engine *engine, uint64_t id); /* NULL: it has timed out */
/* Makes a request of the API, which waits to be sent. name: copied. */
int request_ask(struct engine *engine, enum request_kind kind, const char *name, engine_answered *answered,
                void *ctx, int64_t now_us, struct request **ret_request);
void request_answer(struct engine *engine, struct request *request,
                    const struct engine_answer *answer); /* tells and frees */
void request_fail(struct engine *engine, struct request *request, int code);
void request_forget(struct engine *engine, struct request *request); /* frees it; nobody is told */
/* One page was told: the same request again, after this name (NULL: as it was). */
void request_continue(struct engine *engine, struct request *request, const char *last_name);
void group_question_free(struct engine *engine, struct group_question *question); /* accepts NULL */
/* The answer to one that was sent; the last one. */
void request_sent_answer(struct engine *engine, struct request *request, const struct engine_answer *answer);
/* ---- engine_schedule.c ---- */
void schedule_send_cancel(struct engine *engine, const struct request *request);
void schedule_send_list(struct engine *engine, const struct request *request);
void request_schedules(struct engine *engine, const Wire__Schedules *schedules);
/* ---- engine_crowd.c ---- */
void listen_crowded(struct engine *engine, const struct crier_listener *listener,
                    const Wire__Listening *listening);
/* ---- engine_redrive.c ---- */
void redrive_send(struct engine *engine, const struct request *request);
void request_redriven(struct engine *engine, const Wire__Redriven *redriven);
/* ---- engine_topic.c ---- */
Wire__Retention retention_to_wire(const struct crier_retention *retention);
struct crier_retention retention_from_wire(const Wire__Retention *message); /* NULL: everything is kept */
Wire__RetryPolicy retry_to_wire(const struct request *request);             /* borrows */
struct crier_retry retry_from_wire(const Wire__RetryPolicy *message);       /* NULL: the defaults */
Wire__TopicQuota quota_to_wire(const struct crier_quota *quota);
struct crier_quota quota_from_wire(const Wire__TopicQuota *message); /* NULL: none of its own */
bool retention_is_valid(const struct crier_retention *retention);
bool dead_letter_is_valid(const char *topic, const char *dead_letter); /* NULL, "": yes */
/* Copies it into a new request. False: no memory; the request is gone. */
bool request_dead_letter(struct engine *engine, struct request *request, const char *dead_letter);
void topic_send_alter(struct engine *engine, const struct request *request);
void topic_send_delete(struct engine *engine, const struct request *request);
void topic_send_trim(struct engine *engine, const struct request *request);

void group_send_list(struct engine *engine, const struct request *request);
void group_send_describe(struct engine *engine, const struct request *request);
void group_send_seek(struct engine *engine, const struct request *request);
void group_send_delete(struct engine *engine, const struct request *request);
int64_t request_due(const struct engine *engine);
void request_send(struct engine *engine); /* as many as the window allows */
void request_tick(struct engine *engine);
void request_drop(struct engine *engine, int code);
bool request_is_settled(const struct engine *engine);

#endif
