/* message.h: what the session core and the shard core say to each other, by value.
 *
 * The halves share no state: a request carries a token that comes back in the reply, and pointers in a message are
 * borrowed for the call (the receiver copies or references what it keeps). So the two can live on different threads
 * later, with a queue between them, and neither would change.
 *
 *   session → shard   shard_submit(request)          shard → session   session_reply(reply), session_durable(...)
 *
 * A reply may come from inside shard_submit or any time later; a token whose connection is gone is dropped. */
#ifndef CRIER_BROKER_CORE_MESSAGE_H
#define CRIER_BROKER_CORE_MESSAGE_H

#include "base/buffer.h"
#include "broker/core/core.h"
#include "proto/batch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token {
    uint64_t connection;
    uint64_t request; /* the request's number, or the listener's */
};

/* ---- emit ---- */

enum emit_outcome { EMIT_STORED = 0, EMIT_REFUSED = 1, EMIT_UNKNOWN = 2 }; /* as wire.Outcome */

/* A schedule's id. */
struct schedule_key {
    int64_t due_us;  /* shard time */
    uint64_t number; /* nobody else ever has it */
};

/* One batch of an emit. The session fills the first half, the shard the second. */
struct emit_part {
    uint64_t partition;
    struct slice batch; /* referenced by the emit */
    struct batch_header header;
    bool expects; /* atomic: the partition has to end at expected_offset before this emit */
    uint64_t expected_offset;
    enum emit_outcome outcome;
    int code;            /* when not stored; also set by the session for a batch that failed its checks */
    int64_t base_offset; /* -1: not known */
    bool over;           /* a quota: refused, unless it is stored already */
    bool duplicate;
    bool going;        /* its topic is being deleted: the entry decides */
    uint64_t delay_us; /* not 0, or at_us is not: it is not in its partition before its time */
    int64_t at_us;
    struct schedule_key schedule; /* the shard's answer to that; 0: not known */
    bool handed; /* its topic is ephemeral: the session has decided, and handed it to so many listeners */
    uint32_t listeners;
};

/* A group's position that is moved by an atomic emit, from `previous` to `offset`, by the member with this generation. */
struct consumed {
    uint64_t generation, partition, offset, previous;
};

struct emit {
    struct emit *next;
    struct token token;
    bool memory;       /* answered when accepted */
    bool scheduled;    /* some of its parts have a time */
    size_t frame_size; /* what it took from the producer's grant */
    bool atomic;       /* all parts or none; by its position in a source it is known when it comes again */
    bool named;        /* the producer has a name */
    uint64_t producer_id, source_position, source_previous;
    struct consumed *consumed; /* atomic: stored with it, or nothing is; owned */
    uint32_t consumed_count;
    int code;       /* atomic: found by the session or the shard, told when what it was found by is durable */
    bool duplicate; /* atomic: the same */
    enum emit_outcome outcome; /* atomic: of all its parts, also if there are none */
    const char *why;   /* static text about the first part that was not stored; NULL: the code's own */
    const char *quota; /* static text: why one of its parts is `over`; NULL: none is */
    uint32_t part_count;
    struct emit_part parts[];
};

struct emit *emit_create(uint32_t part_count, uint32_t consumed_count); /* NULL: out of memory */
void emit_destroy(struct emit *emit);                                   /* drops the references */

/* ---- the other requests ---- */

struct position {
    uint64_t partition;
    uint64_t offset; /* the next one wanted */
};

#define TOPIC_ID_SIZE  16
#define TOPIC_NAME_MAX 255
/* Ids that are given out in a shard's life; one that is gone costs a pointer. */
#define PARTITION_IDS_MAX    (UINT64_C(1) << 26)
#define TOPIC_PARTITIONS_MAX 1024 /* a description of it fits a frame's header */
#define GROUP_NAME_MAX       255

/* What a topic keeps of each partition; 0: no limit. until_consumed excludes the others. */
struct retention {
    uint64_t time_us, bytes, count;
    bool until_consumed;
};

/* How shared groups go on with an event that failed; 0, NULL or empty: the default. */
struct retry_policy {
    uint32_t first_ms, max_ms; /* before the second attempt, then doubling up to the second */
    uint32_t deliveries;
    const char *dead_letter; /* a topic's name */
};
#define RETRY_MS_MAX         86400000u
#define RETRY_DELIVERIES_MAX 1000u

enum group_kind { GROUP_ORDERED = 0, GROUP_SHARED = 1, GROUP_KEY_ORDERED = 2 }; /* as wire.GroupKind */

/* Events of one partition that a member of a shared group has, or had. */
struct lease {
    uint64_t partition;
    uint64_t offset;
    uint32_t count;
    uint32_t attempt;
};
#define SETTLE_EVENTS_MAX 4096u /* of one request: those that do not count fit the answer's header */

/* Which settings a TOPIC_ALTER is about. */
#define TOPIC_SET_DURABILITY     1u
#define TOPIC_SET_TIME           2u
#define TOPIC_SET_BYTES          4u
#define TOPIC_SET_COUNT          8u
#define TOPIC_SET_UNTIL_CONSUMED 16u
#define TOPIC_SET_QUOTA_EVENTS   256u
#define TOPIC_SET_QUOTA_BYTES    512u
#define TOPIC_SET_QUOTA          (TOPIC_SET_QUOTA_EVENTS | TOPIC_SET_QUOTA_BYTES)
#define TOPIC_SET_MAX_LISTENERS  1024u
#define TOPIC_SET_RETRY          65536u /* all of it; its parts: */
#define TOPIC_SET_RETRY_FIRST    131072u
#define TOPIC_SET_RETRY_MAX      262144u
#define TOPIC_SET_DELIVERIES     524288u
#define TOPIC_SET_DEAD_LETTER    1048576u
#define TOPIC_SET_RETRY_ANY      (31u << 16)
#define TOPIC_SET_ALL            (31u | TOPIC_SET_QUOTA | TOPIC_SET_MAX_LISTENERS | TOPIC_SET_RETRY_ANY)

enum shard_request_kind {
    SHARD_TOPIC_CREATE,   /* → SHARD_TOPICS with the one, or a code */
    SHARD_TOPIC_DESCRIBE, /* → SHARD_TOPICS with the one, or CRIER_ENOTOPIC; creates it first if asked */
    SHARD_TOPIC_LIST,     /* → SHARD_TOPICS */
    SHARD_TOPIC_ALTER,    /* → SHARD_TOPICS with the one */
    SHARD_TOPIC_DELETE,   /* → SHARD_TOPICS */
    SHARD_TOPIC_TRIM,     /* → SHARD_TOPICS with the one */
    SHARD_PRODUCER,       /* → SHARD_PRODUCER_ID */
    SHARD_JOIN,           /* → SHARD_JOINED, then SHARD_ASSIGNED and SHARD_REVOKED as members come and go */
    SHARD_SETTLE,         /* the shard's own: what a member was given is ready when earlier commits are */
    SHARD_RELEASE,        /* no reply */
    SHARD_LEAVE,          /* no reply */
    SHARD_COMMIT,         /* → SHARD_COMMITTED */
    SHARD_GROUP_LIST,     /* → SHARD_GROUPS */
    SHARD_GROUP_DESCRIBE, /* → SHARD_GROUPS */
    SHARD_GROUP_SEEK,     /* → SHARD_GROUPS */
    SHARD_GROUP_DELETE,   /* → SHARD_GROUPS */
    SHARD_SCHEDULE_CANCEL, /* → SHARD_SCHEDULES */
    SHARD_SCHEDULE_LIST,   /* → SHARD_SCHEDULES: those after `schedule`, of the topic `name` or of all */
    SHARD_WANT,            /* → SHARD_LEASED, some time */
    SHARD_RETURN,          /* no reply: leased, and not sent */
    SHARD_NONE,            /* no reply: leased, and there is no such event */
    SHARD_ACK,             /* → SHARD_SETTLED */
    SHARD_NACK,            /* → SHARD_SETTLED */
    SHARD_EXTEND,          /* → SHARD_SETTLED */
    SHARD_REDRIVE          /* → SHARD_REDRIVEN */
};

struct shard_request {
    enum shard_request_kind kind;
    struct token token;
    const char *name; /* topic; for the LISTs: names after this one; PRODUCER: its name, or NULL */
    uint8_t topic_id[TOPIC_ID_SIZE]; /* chosen by the proposer, used if a topic is created */
    uint32_t partitions; /* to create; 0: one. LIST: the most wanted. GROUP_DESCRIBE: the first one */
    bool memory;         /* durability told to emitters */
    bool create;
    bool ephemeral;             /* TOPIC_CREATE */
    struct retention retention; /* TOPIC_CREATE, TOPIC_ALTER */
    struct quota quota;         /* the same */
    uint32_t max_listeners;     /* the same; 0: any number */
    uint32_t set;               /* TOPIC_ALTER: TOPIC_SET_* */
    bool confirm_time;          /* TOPIC_TRIM: of no topic; the clock is right */
    int64_t time_us;            /* TOPIC_TRIM: not 0: what was appended before goes, whatever the offset */
    const char *group;
    const char *member;               /* JOIN: the client's name, for people */
    uint64_t generation;              /* COMMIT, RELEASE */
    uint64_t producer_id;             /* PRODUCER: the one it had; 0: none */
    const struct position *positions; /* JOIN: where to start without a position; COMMIT; RELEASE; SEEK;
                                       * TRIM: the partition is a place in the topic, UINT64_MAX: each */
    size_t position_count;
    struct schedule_key schedule;
    struct retry_policy retry;  /* TOPIC_CREATE, TOPIC_ALTER; its name is owned as those above */
    enum group_kind group_kind; /* JOIN */
    const struct lease *leases; /* JOIN: in hand; RETURN, NONE, ACK, NACK, EXTEND */
    size_t lease_count;
    int64_t lease_us; /* JOIN, EXTEND: 0: as it was. NACK: the delay. LEAVE: what is left to its leases */
    uint32_t in_flight_max; /* JOIN */
    const char *reason;     /* NACK */
    bool reject;            /* NACK */
    uint64_t limit;         /* REDRIVE */
    bool written;           /* the shard's own: its entry is durable; `leases` are those that do not count */
};

struct partition_info {
    uint64_t id;
    uint64_t log_start;
    uint64_t high_watermark;
    uint64_t bytes; /* of its batches from log_start on, about */
};

struct topic_info {
    const char *name;
    const uint8_t *id;
    const struct partition_info *partitions;
    uint32_t partition_count;
    bool memory, ephemeral;
    int64_t created_us;
    struct retention retention;
    struct retry_policy retry;
    struct quota quota;
    uint32_t max_listeners;
};

struct group_partition {
    uint64_t partition;
    bool has_position;
    uint64_t position;
    uint64_t high_watermark;
    const char *member; /* NULL: nobody's */
    uint64_t done;      /* of a shared group: at or above the position */
    uint32_t leased, retries;
};

struct group_info {
    const char *name;
    uint32_t members;
    const char *const *topics;
    size_t topic_count;
    const struct group_partition *partitions;
    size_t partition_count;
    enum group_kind kind;
};

struct schedule_info {
    struct schedule_key key;
    const char *topic;
    uint32_t partition; /* its place */
    uint32_t size;      /* of the batch */
    int64_t created_us;
};

enum shard_reply_kind {
    SHARD_TOPICS,
    SHARD_PRODUCER_ID,
    SHARD_JOINED,
    SHARD_ASSIGNED,
    SHARD_REVOKED,
    SHARD_COMMITTED,
    SHARD_GROUPS,
    SHARD_SCHEDULES,
    SHARD_LEASED,
    SHARD_UNLEASED, /* an event that was leased to it may go to others now */
    SHARD_SETTLED,
    SHARD_REDRIVEN
};

struct shard_reply {
    enum shard_reply_kind kind;
    enum shard_request_kind request_kind;
    struct token token;
    int code; /* 0 or a CRIER_E number */
    const struct topic_info *topics;
    size_t topic_count;
    bool more;
    uint64_t producer_id, source_position;
    uint64_t generation;
    const struct position *positions; /* JOINED, ASSIGNED, REVOKED */
    size_t position_count;
    const struct group_info *groups;
    size_t group_count;
    const struct schedule_info *schedules;
    size_t schedule_count;
    struct schedule_key schedule_next; /* with `more`: ask for those after this one */
    uint64_t schedules_pending;        /* in all */
    const struct lease *leases; /* LEASED: of one partition, ascending; UNLEASED: one; SETTLED: not counted */
    size_t lease_count;
    uint64_t moved; /* REDRIVEN */
};

/* A batch of a partition has become durable (message to the session). */
struct durable_part {
    uint64_t partition;
    uint64_t base_offset;
    uint32_t span;
    struct slice batch; /* borrowed */
};

#endif
