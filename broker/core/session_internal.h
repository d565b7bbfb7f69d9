/* session_internal.h: the session core's state, shared by its files and by nobody else.
 *
 *   session.c         connections: states, HELLO, ping, closing, the frame table    output.c   frames out
 *   session_emit.c    EMIT and its answer                                           grant.c    producers' credit
 *   session_listen.c  LISTEN, UNLISTEN, CREDIT                                      delivery.c what listeners get
 *   session_group.c   ASSIGN, RELEASE, COMMIT, GROUP_*
 *   session_topic.c   TOPIC_*                                                       tail_cache.c
 *   session_inspect.c INSPECT                                                       session_schedule.c SCHEDULE_*
 *   session_pattern.c LISTEN to a pattern                                           view.c     topics and partitions
 *   ephemeral.c       topics of which nothing is kept                              inbox.c    where replies come in
 *   session_shared.c  members of shared groups: what they get                       session_settle.c ACK, NACK, EXTEND, REDRIVE
 *   session_text.c    text from peers                                               quota.c    who emits too much is slowed
 *   presence.c        who listens, as events                                          who.c      and in answers */
#ifndef CRIER_BROKER_CORE_SESSION_INTERNAL_H
#define CRIER_BROKER_CORE_SESSION_INTERNAL_H

#include "broker/core/memory.h"
#include "broker/core/session.h"
#include "broker/core/shard.h"
#include "broker/core/slab.h"
#include "broker/core/tail_cache.h"
#include "broker/core/trie.h"
#include "proto/arena.h"
#include "proto/crier.pb-c.h"
#include "proto/error.h"

#define WIRE_VERSION          1u
#define WIRE_FEATURE_LEVEL    3u
#define CLIENT_INSTANCE_SIZE  16u
#define UNANSWERED_MAX        256u /* requests of one connection; above, it is not read until some are answered */
#define DELIVER_UNSENT_MAX    (256u * 1024) /* DELIVER is written only while less than this is unsent */
#define DELIVER_FRAME_BYTES   (256u * 1024) /* batches gathered into one DELIVER, at least one */
#define READ_BYTES            (512u * 1024) /* asked of the log at a time */
#define READS_IN_FLIGHT_MAX   8u
#define LOOKUPS_IN_FLIGHT_MAX 64u
#define CONTROL_UNSENT_MAX    (1024u * 1024) /* above it (and what DELIVER may add) the peer is not read */
#define OUTPUT_PAUSE_BYTES    (CONTROL_UNSENT_MAX + DELIVER_UNSENT_MAX + READ_BYTES + FRAME_SIZE_MAX)
#define OUTPUT_RESUME_BYTES   (DELIVER_UNSENT_MAX)
#define OUTPUT_STUCK_US       (30 * INT64_C(1000000)) /* paused so long: closed */
#define SESSION_TIMEOUT_MS    10000u        /* a group's member that is silent so long loses its partitions */
#define LISTENERS_MAX         10000u        /* of one connection */
#define ARENA_SIZE            (512u * 1024) /* a frame header unpacked: at most 64 KiB of protobuf */
#define GRANT_INITIAL         (8u * 1024)
#define TICK_US               INT64_C(500000)
#define QUEUE_SIZE            (4u << 20) /* what waits for a listener of an ephemeral partition, unless it asks */
#define QUEUE_SIZE_MAX        (64u << 20)

enum connection_state {
    CONNECTION_HELLO,     /* nothing but HELLO is taken */
    CONNECTION_WELCOMING, /* a producer id is being reserved */
    CONNECTION_READY,
    CONNECTION_CLOSING, /* what is queued is sent, nothing is taken any more */
    CONNECTION_STATES
};

/* What one producer may send: cumulative bytes of EMIT frames. returned <= answered <= used <= granted. */
struct grant {
    uint64_t granted, told; /* given, and what the client knows of it */
    uint64_t used;          /* received */
    uint64_t answered;      /* their EMITTED is queued */
    uint64_t returned;      /* their EMITTED has reached the kernel */
    size_t window;          /* granted - returned is steered to this */
    size_t idle;            /* of what is granted: lent while it does not emit */
    struct {
        uint64_t output, bytes;
    } mark[2];       /* when output_sent reaches .output, .bytes are returned; [1] gathers while [0] waits */
    bool producing;  /* has emitted, since its start or since it gave back what it had */
    uint64_t wanted; /* CREDIT_WANT's frame size; 0: none */
    bool in_line;    /* for that; not while a quota slows it */
    uint64_t
        line_returned; /* the line's holder: its frame is answered when `returned` gets here; 0: not sent yet */
    struct core_connection *prev, *next; /* among those waiting */
};

/* What has come of late under one quota: when all of it would have been in time, had it come evenly. */
struct quota_meter {
    int64_t events_due_ns, bytes_due_ns;
};

enum cursor_state { CURSOR_IDLE, CURSOR_READY, CURSOR_READ_WAITING, CURSOR_READING };

/* What a listener has still to get of an ephemeral topic's partition; see ephemeral.c. */
struct backlog {
    struct tail batches;
    size_t bytes;
};

/* A listener's place in one partition. */
struct cursor {
    struct listener *listener;
    struct view *view;
    uint64_t next;
    struct backlog *backlog; /* of an ephemeral topic's; else NULL: what it has to get is in the log */
    enum cursor_state state;
    struct cursor *prev, *next_own;         /* all of its listener */
    struct cursor *view_prev, *view_next;   /* all cursors of the partition */
    struct cursor *queue_prev, *queue_next; /* the listener's ready ones, or those waiting for a read */
};

enum listener_state { LISTENER_RESOLVING, LISTENER_LOOKUP, LISTENER_JOINING, LISTENER_ACTIVE };

struct listener {
    UT_hash_handle hh; /* by id, in its connection */
    uint32_t id;
    uint32_t
        serial; /* of all listeners there ever were: the id may be used again while an answer is on its way */
    enum listener_state state;
    struct core_connection *connection;
    char *topic;
    char *group; /* NULL: none */
    uint64_t generation;
    Wire__From from;
    int64_t from_value;
    struct position *resume;
    size_t resume_count;
    struct position *starts; /* until it is active: where each partition of the topic would start */
    size_t start_count, start_capacity;
    struct trie_item pattern; /* in session.patterns, if the topic is one */
    bool again; /* it was in place before: what it does not know of is new, and heard from its start */
    struct cursor *cursors; /* one per partition it listens to; a group's member has some of the topic's */
    size_t looked_up;       /* of the starts, by time */
    bool lookup_waits;      /* in the session's line for a lookup */
    int64_t session_timeout_us, revoked_us; /* a group's; since when it owes a RELEASE, 0: it owes none */
    uint64_t revoked_output;                /* when output_sent reaches this it has been asked */
    struct sharing *sharing;                /* of a shared group's member; else NULL */
    bool unlistened;                        /* its client has no use for it any more */
    uint64_t credit, delivered;             /* cumulative bytes of attachments */
    uint64_t reading;                       /* of the credit, promised to reads that are not back yet */
    Wire__Slow slow;                        /* of ephemeral topics: what becomes of what is over queue_max */
    size_t queue_max;                       /* bytes of a backlog */
    uint64_t dropped;                       /* events */
    bool one_too_many; /* it made its topic have more listeners than it should; until LISTENING has said so */
    bool told;         /* of who listens, if that is what it listens to: presence.c */
    struct cursor *ready; /* round-robin */
    bool queued;          /* in its connection's list of listeners with something to deliver */
    struct listener *queue_prev, *queue_next;
};

struct core_connection {
    UT_hash_handle hh;          /* by id */
    UT_hash_handle hh_producer; /* by producer id, while it is READY */
    UT_hash_handle hh_client;   /* by instance, likewise; not if that is 0 */
    bool producer_listed;
    uint8_t instance[CLIENT_INSTANCE_SIZE]; /* of the client; 0: it has not said */
    struct session *session;
    uint64_t id;
    void *owner;
    char peer[64];
    char name[64];
    enum connection_state state;
    int64_t opened_us, received_us;
    bool pinged;
    bool paused;
    int64_t paused_us;
    uint64_t output_queued, output_sent;
    int64_t sent_us; /* the last of it */
    uint32_t unanswered;
    uint64_t emit_request; /* the last EMIT's */
    uint64_t producer_id;
    uint32_t producer_epoch;
    uint32_t feature_level; /* the highest that both sides know */
    char *producer_name;    /* NULL: none */
    struct grant grant;
    struct quota_meter meter;
    uint32_t named;          /* 1 + the place of its name in config.client_quotas; 0: it has none there */
    int64_t slowed_until_us; /* no more grant before that; in the session's list */
    bool slowed, slowed_told;
    struct topic_view *slowed_by; /* whose quota says so; NULL: the connection's own */
    struct core_connection *slowed_prev, *slowed_next;
    struct listener *listeners;   /* hash */
    struct listener *deliverable; /* those with something to deliver and credit for it */
    unsigned reads;               /* its cursors that are being read, or in line for that */
    bool pumped;                  /* in the session's list */
    struct core_connection *pump_next;
};

/* What the session knows of a partition. */
struct view {
    struct topic_view *topic;
    uint64_t id;
    uint32_t index; /* within the topic */
    uint64_t log_start, high_watermark;
    struct cursor *cursors;
    struct tail tail;
};

/* And of a topic. */
struct topic_view {
    struct trie_item item; /* in session.names */
    struct topic_view *prev, *next;
    char *name;
    bool ephemeral, presence;
    bool warned;             /* of more listeners than this, and it was not down to one since */
    uint32_t listener_count; /* who has a cursor in it */
    uint32_t max_listeners;  /* 0: any number */
    struct quota quota;      /* its own */
    struct quota_meter meter;
    uint32_t view_count;
    struct view views[];
};

/* Where a partition's view is, or what it will be made of; both NULL: there is none. */
struct view_place {
    struct view *view;
    struct known_topic *known;
};

/* See inbox.c. */
struct inbox {
    UT_hash_handle hh;
    uint64_t id; /* of its partition */
    struct topic_view *topic;
};

struct session {
    struct core_config config;
    const struct core_ops *ops;
    void *ops_ctx;
    struct store *store;
    struct shard *shard;
    int64_t mono_us, wall_us, ticked_us;
    struct core_connection *connections; /* hash */
    struct core_connection *producers;   /* the same by producer id */
    struct core_connection *clients;     /* and by instance */
    uint64_t connection_last;
    struct topic_view *topics;  /* all, in the order they came */
    struct topic_view *unnamed; /* the first of them that is not in `names` yet, and with it all behind it */
    struct trie names;          /* of topics: filled when the first pattern is looked up (names_complete) */
    struct trie patterns;       /* listeners to a pattern */
    struct view_place *places;  /* by partition id */
    size_t place_capacity;
    struct slab known_topics; /* view.c: those that were there at the start */
    struct known_topic *known_first,
        *known_last;            /* in a row; no first one: all have views (names_complete) */
    struct inbox *inboxes;      /* hash: those whose id has the top bit */
    struct presence *presences; /* hash by name; those with something to do at the turn's end; by topic */
    struct presence *presences_dirty;
    struct trie presence_names;
    uint64_t presence_last; /* number */
    struct tail_cache cache;
    struct core_connection *pump, *pump_last;
    struct delivery_read *reads_free, *reads_active;
    struct time_lookup *lookups;
    unsigned lookups_in_flight;
    struct listener *lookup_waiting;
    struct inspection *inspections; /* with the store */
    unsigned reads_in_flight;
    struct cursor *read_waiting;
    size_t ingest_granted; /* sum over connections, and what gone ones have in flight */
    size_t idle_granted;   /* of it: lent to those that do not emit; at most half of the budget */
    struct core_connection *grant_waiting;
    uint32_t producing;                  /* connections that emit: see struct grant */
    struct core_connection *line_holder; /* the one whose frame was allowed beyond the budget; NULL: none */
    int64_t line_since_us;
    struct quota_meter named_meters[CLIENT_QUOTAS_MAX]; /* as config.client_quotas */
    size_t topic_quotas;                                /* topics that have one of their own */
    struct core_connection *slowed;                     /* those over a quota */
    int64_t quota_due_us; /* when the first of them may go on; INT64_MAX: there is none */
    bool draining;
    uint8_t *scratch;
    struct arena arena;
    uint64_t count_batches, count_bytes, count_cached, count_reads;
    uint64_t count_handed, count_dropped; /* events of ephemeral topics: emitted; not delivered to somebody */
    size_t backlog_bytes;                 /* of all */
    size_t listener_count;
    uint32_t listener_last; /* serial */
};

/* ---- session.c ---- */
struct core_connection *session_find(struct session *session, uint64_t connection_id); /* NULL: gone */
/* The peer broke a rule: ERROR with code and text, then close. */
void connection_refuse(struct core_connection *connection, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void connection_unanswered(struct core_connection *connection, int change); /* pauses and resumes reading */
void session_log(struct session *session, enum log_level level, const char *id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool text_valid(const char *text,
                size_t size_max); /* 1..size_max bytes of UTF-8 without control characters */

/* ---- session_producer.c ---- */

void producer_list(struct core_connection *connection); /* older ones of its client, producer or name end */
void producer_unlist(struct core_connection *connection);

/* ---- session_inspect.c ---- */
void frame_inspect(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void inspections_destroy(struct session *session);

/* ---- output.c ---- */
/* Queues a frame. slices: referenced by the callee. */
void connection_send(struct core_connection *connection, enum frame_kind kind, const ProtobufCMessage *header,
                     const struct slice *slices, size_t slice_count);

/* ---- grant.c ---- */
void grant_open(struct core_connection *connection);
/* Takes a frame's bytes; false: more than was granted. */
bool grant_use(struct core_connection *connection, size_t bytes);
/* After that, and when its quotas are known: more for who uses it. */
void grant_grow(struct core_connection *connection, size_t bytes);
void grant_resume(struct core_connection *connection); /* no quota slows it any more */
void grant_unuse(struct core_connection *connection,
                 size_t bytes); /* no answer will follow: the connection ends */
/* The EMITTED for so many bytes is queued. */
void grant_answered(struct core_connection *connection, size_t bytes);
void grant_sent(struct core_connection *connection); /* output_sent has grown */
void grant_want(struct core_connection *connection, uint64_t bytes);
void grant_give_back(struct core_connection *connection, uint64_t bytes); /* at most what is unused */
void grant_tick(struct session *session);
void grant_close(struct core_connection *connection);
void grant_orphan(struct session *session, size_t bytes); /* answered, but its connection is gone */

/* ---- quota.c ---- */
/* Counts an emit that has been checked. Parts that are too much are marked `over`, with the reason as the emit's `quota`. */
void quota_charge(struct core_connection *connection, struct emit *emit);
void quota_name(struct core_connection *connection); /* its name is known: whose quota it shares */
void quota_release(struct session *session);         /* those whose time has come */
void quota_forget(struct core_connection *connection);
static inline bool quota_any(const struct quota *quota)
{
    return quota->events || quota->bytes;
}
/* The topic's own quota is this from now on; {0} before it goes. */
void quota_topic(struct session *session, struct topic_view *topic, struct quota quota);
void quota_reconfigure(struct session *session,
                       const struct core_config *config); /* others hold from now on */

/* ---- the frame handlers ---- */
void frame_emit(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_credit_return(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_credit_want(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_listen(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_unlisten(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_credit(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_commit(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_topic_create(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_topic_describe(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_topic_alter(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_topic_delete(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_topic_trim(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_topic_list(struct core_connection *connection, const struct frame *frame, struct slice bytes);
/* Unpacks a frame's header into the session's arena (valid until the next call); refuses the connection if it cannot. */
void *frame_unpack(struct core_connection *connection, const ProtobufCMessageDescriptor *type,
                   const struct frame *frame);

/* ---- replies ---- */
#define TOKEN_LISTENER                                                                                       \
    (UINT64_C(1) << 63) /* in a token's request: the rest is a listener's serial and number */
/* True: the number a peer gave its request is one of ours; the connection is ending. */
bool request_refused(struct core_connection *connection, uint64_t request);
void topics_replied(struct core_connection *connection, const struct shard_reply *reply);
void listener_replied(struct core_connection *connection, const struct shard_reply *reply);
void committed_replied(struct core_connection *connection, const struct shard_reply *reply);

/* ---- session_group.c ---- */
void frame_release(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_group_list(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_group_describe(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_group_seek(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_group_delete(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void listener_assigned(struct listener *listener, const struct shard_reply *reply);
void listener_revoked(struct listener *listener, const struct shard_reply *reply);
void groups_replied(struct core_connection *connection, const struct shard_reply *reply);
void listener_tick(struct listener *listener); /* may end it */

/* ---- session_schedule.c ---- */
void frame_schedule_cancel(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_schedule_list(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void schedules_replied(struct core_connection *connection, const struct shard_reply *reply);

/* ---- session_shared.c ---- */
const char *sharing_problem(const Wire__Listen *message); /* NULL: none */
void sharing_create(struct listener *listener,
                    const Wire__Listen *message); /* if it asks for a shared group */
void sharing_join(const struct listener *listener, struct shard_request *join);
void sharing_begin(struct listener *listener); /* it is in place */
void sharing_ask(struct listener *listener);   /* for events, if it can take some */
void sharing_leave(struct listener *listener, struct shard_request *leave); /* frees it */
void sharing_destroy(struct listener *listener);
void listener_leased(struct listener *listener, const struct shard_reply *reply);
void listener_unleased(struct listener *listener, const struct shard_reply *reply);
void shared_deliver(struct cursor *cursor); /* it has events, and credit */
void shared_read_back(struct cursor *cursor, const struct store_read *read);

/* ---- session_settle.c ---- */
void frame_ack(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_nack(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_extend(struct core_connection *connection, const struct frame *frame, struct slice bytes);
void frame_redrive(struct core_connection *connection, const struct frame *frame, struct slice bytes);
/* What the message names; NULL: it makes no sense. To free. */
struct lease *leases_read(Wire__Lease *const *messages, size_t count);
void settled_replied(struct core_connection *connection, const struct shard_reply *reply);

/* ---- session_listen.c ---- */
struct listener *listener_find(struct core_connection *connection, uint32_t id); /* NULL: none */
struct cursor *listener_cursor(struct listener *listener, uint64_t partition);   /* NULL: not its own */
void listener_start(struct listener *listener, const struct view *view); /* one more of listener->starts */
void listen_partition_fill(const struct cursor *cursor,
                           Wire__ListenPartition *to); /* borrows the topic's name */
/* The partitions of these cursors as a message has them; two blocks to free. */
Wire__ListenPartition **listen_partitions(struct listener *listener, const struct position *only,
                                          size_t *ret_count, Wire__ListenPartition **ret_block);
void listener_end(struct listener *listener, int code, const char *text); /* answers ENDED and frees */
void lookups_destroy(struct session *session);
void listener_destroy(struct listener *listener); /* leaves its group; says nothing */

/* ---- view.c ---- */
struct view *view_find(struct session *session, uint64_t partition); /* NULL: none */
void names_complete(struct session *session); /* session->names holds all of them afterwards */
void views_destroy(struct session *session);

/* ---- session_pattern.c ---- */
const char *pattern_problem(const Wire__Listen *message); /* NULL: none */
/* Where the listener would start in each partition that its pattern matches, in listener->starts; from now on it hears of
 * new topics. False: they are too many, it has been ended. */
bool pattern_begin(struct listener *listener);
void pattern_topic(struct session *session, struct topic_view *topic); /* there is a new topic */
void pattern_listening(struct listener *listener); /* LISTENING, in as many frames as it takes */

/* ---- ephemeral.c ---- */
/* Hands the parts for ephemeral topics to who listens there now. True: nothing is left for the shard; the emit has been
 * answered and is gone. */
bool ephemeral_emit(struct session *session, struct emit *emit);
const char *
ephemeral_problem(const struct listener *listener); /* why it cannot listen to such a topic; NULL: it can */
void backlog_create(struct cursor *cursor);
void backlog_destroy(struct cursor *cursor);
/* True: the listener gets it. It may have ended. */
bool backlog_hand(struct cursor *cursor, uint64_t base_offset, uint32_t span, struct slice batch);
void backlog_deliver(struct cursor *cursor); /* one DELIVER of it, as far as the credit goes */

/* ---- inbox.c ---- */
bool inbox_is_one(const char *name); /* or pretends to be */
/* It is there from now on; inbox_leave() must follow. NULL: no name of an inbox. */
const struct topic_view *inbox_open(struct session *session, const char *name);
void inbox_leave(struct session *session, const char *name); /* it goes with its last listener */
struct view *inbox_view(const struct session *session, uint64_t partition); /* NULL: gone */

struct inbox *inbox_create(struct session *session, const char *name, uint64_t id);
void inbox_destroy(struct session *session, struct inbox *inbox); /* nobody listens to it */

/* ---- who.c ---- */
/* Those of whom a message tells. */
#define WHO_MAX 32u /* with 1,024 partitions and the longest names they fit a frame's header */
struct who {
    Wire__TopicListener listeners[WHO_MAX], *pointers[WHO_MAX];
    uint32_t count;
};
void who_find(const struct topic_view *topic, struct who *who); /* each listener once, the first of them */
/* "a (address), b (address), ..." as far as it fits. */
void who_text(const struct who *who, char *to, size_t size);

/* ---- presence.c ---- */
bool presence_is_one(const char *name); /* or pretends to be */
/* As for an inbox. */
const struct topic_view *presence_open(struct session *session, const char *name);
void presence_leave(struct session *session, const char *name);
void presence_joined(const struct cursor *cursor); /* it is there */
void presence_left(const struct cursor *cursor);   /* it is about to go */
bool cursor_leads(const struct cursor *cursor);    /* the first one of its listener in its topic */
#define PRESENCE_AGAIN_US INT64_C(1000)            /* what is still to be told then waits so long */
void presence_turn_end(struct session *session);
void presences_destroy(struct session *session);

/* ---- delivery.c ---- */
/* A cursor of an active listener, from `next` on. */
struct cursor *cursor_create(struct listener *listener, uint64_t partition, uint64_t next);
void cursor_destroy(struct cursor *cursor);
void cursor_wake(struct cursor *cursor);                          /* it may be behind */
void cursor_sleep(struct cursor *cursor);                         /* out of the line it is in */
void cursor_read(struct session *session, struct cursor *cursor); /* not cached: in line for a read */
uint64_t listener_credit(const struct listener *listener);        /* bytes */
void connection_pump(
    struct core_connection *connection);       /* something may be deliverable: at the turn's end */
void listener_wake(struct listener *listener); /* it may have credit again */
void session_deliver(struct session *session);
/* DELIVER with these batches, whose last ends before `next`; none: there is nothing below it any more. */
void deliver_send(struct cursor *cursor, const struct slice *slices, size_t count, uint64_t next);
/* Sends from `place` of the tail on, as much as fits a frame and the credit: returns how many batches. */
size_t deliver_tail(struct cursor *cursor, const struct tail *tail, uint32_t place);
void delivery_destroy(struct session *session);

#endif
