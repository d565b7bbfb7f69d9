/* stage.h: the half of the engine that emitting threads touch: topics, and the batch being built for each partition.
 *
 * Role:    engine_emit() writes the event where it will be sent from. Events become batches here; whole batches move on
 *          to the engine (stage -> lane.batches) and, with their outcome, back (engine.settled -> stage), always in
 *          engine_collect(), so that the lock is taken once per turn of the I/O thread and never per event by it.
 * Thread:  any, with the driver's emit lock. Fields marked "engine" belong to the I/O thread and need no lock.
 * Owns:    topics and their lanes, for the life of the engine; a batch from its first event until its outcome.
 *
 * A lane is the way of events with one durability to one partition; order is kept within a lane. Before a topic's
 * partitions are known its events wait in lanes without a partition, in batches like any other: with one partition,
 * the usual case, these are then sent as they are; else the events are dealt out by key. */
#ifndef CRIER_CLIENT_STAGE_H
#define CRIER_CLIENT_STAGE_H

#include "base/list.h"
#include "crier/crier.h"
#include "crier/schedule.h"
#include "proto/batch.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAGE_BATCH_SIZE_MIN 512 /* a batch's first memory; grows fourfold up to batch_size_max */
#define STAGE_EVENT_SIZE_MAX (15u * 1024 * 1024) /* until WELCOME tells: what fits a frame */
#define STAGE_SPARES_MAX     8                   /* full-size batch buffers kept for the next batches */
#define LANE_UNROUTED        UINT32_MAX          /* lane.partition while the topic is not known */

/* Whom to tell about one event of a batch. */
struct emit_completion {
    int32_t index; /* of the event in the batch */
    crier_emitted *done;
    void *ctx;
};

/* When a batch of one event is to be in its topic, and whom to tell; neither delay_us nor at_us: at once, as all others. */
struct emit_time {
    uint64_t delay_us;
    int64_t at_us;
    crier_scheduled *done; /* NULL: nobody */
    void *ctx;
};

static inline bool emit_time_is_set(const struct emit_time *time)
{
    return time->delay_us || time->at_us;
}

struct emit_batch {
    struct list link; /* stage: lane.closed; engine: lane.batches or engine.settled */
    struct list age;  /* stage.batches: everything without outcome, oldest first */
    uint64_t ticket;  /* counts up by age */
    struct emit_topic *topic;
    struct emit_lane *lane;       /* while it is in one */
    struct batch_builder builder; /* its memory is malloc'ed and the batch's */
    size_t charged;               /* bytes of stage.pending_bytes */
    struct emit_completion *completions;
    int32_t completion_count, completion_capacity;
    bool heard; /* refused unless somebody listens */
    struct emit_time time;
    uint32_t route; /* in an unrouted lane: the partition that was asked for, or LANE_UNROUTED */
    int failure;    /* why it cannot be sent, on its way into a `ret_failed` list */
    /* engine */
    uint8_t *data; /* the finished batch: builder.data, or compressed (malloc'ed) */
    size_t size;   /* 0: not finished */
    int32_t base_sequence;
    crier_schedule schedule; /* the broker's answer, with a time */
    bool in_flight;          /* in a frame without EMITTED */
    bool maybe_stored;       /* was sent and the outcome is not known: its bytes must not change */
    bool settled;            /* has its outcome; in engine.settled */
};

struct emit_lane {
    struct emit_topic *topic;
    uint32_t partition;    /* 0-based, or LANE_UNROUTED */
    uint64_t partition_id; /* on the wire */
    bool memory;           /* durability; memory batches carry no sequence */
    /* stage */
    struct emit_batch *open; /* NULL: none */
    struct list closed;      /* full batches, oldest first */
    struct list fresh;       /* stage.fresh: has something engine_collect has not seen */
    size_t size_hint;        /* how large the last batch became */
    /* engine */
    struct list batches;       /* taken and without outcome, in order of sequence */
    struct emit_batch *unsent; /* the first that is not in flight; NULL: none */
    unsigned in_flight;
    bool refused;            /* something in flight was: nothing more goes until all of it has an outcome */
    bool retry;              /* ... and then only after a delay */
    int32_t refused_from;    /* sequence of the first that was, or whose outcome is unknown */
    bool hole;               /* something of that is not stored ... */
    int32_t hole_from;       /* ... the first of it; so nothing behind it is */
    bool open_waits;         /* an open batch was left with the stage: look again when something changes */
    int32_t next_sequence;   /* of the next batch to be finished */
    int32_t stored_sequence; /* follows the last event known to be stored */
    int64_t linger_due;
    uint64_t linger_ticket;                                  /* of the open batch that linger_due is about */
    struct list all, sendable, revisit, lingering, retrying; /* places in the engine's lists */
};

enum emit_topic_state { EMIT_TOPIC_NEW, EMIT_TOPIC_ASKED, EMIT_TOPIC_KNOWN };

struct emit_topic {
    struct emit_topic *next; /* in its hash bucket */
    uint32_t hash;
    /* stage */
    bool known;            /* lanes are there */
    bool memory;           /* the topic's own durability: events default to it */
    bool inbox;            /* of a client that waits for replies: its partition is in its name */
    atomic_bool ephemeral; /* if it has to be made, then so; the engine reads it without the lock */
    uint32_t partition_count;
    uint32_t turn;                 /* where events without a key go now; moves on with each batch */
    struct emit_lane *unrouted[2]; /* by durability; NULL: none yet */
    struct emit_lane **lanes;      /* 2 * partition_count, [2 * partition + memory]; NULL: none yet */
    uint64_t *partition_ids;
    /* engine */
    enum emit_topic_state state;
    struct list link;     /* engine.topics_answered or topics_delayed */
    uint64_t *answer_ids; /* the partitions of an answer on its way to the stage; owned */
    uint32_t answer_count;
    bool answer_memory;
    int answer_code; /* when it failed */
    size_t name_size;
    char name[]; /* ends with NUL */
};

struct stage {
    size_t batch_size_max, buffer_size_max;
    uint32_t (*partitioner)(void *ctx, const char *topic, const void *key, size_t key_size, uint32_t count);
    void *partitioner_ctx;
    size_t event_size_max; /* from WELCOME, by engine_collect */
    bool closed;
    bool woken;         /* the I/O thread has been told, and has not collected yet */
    bool drain_wanted;  /* CRIER_EAGAIN was returned ... */
    size_t drain_below; /* ... and there is room again when so much is pending at most */
    size_t pending_bytes;
    uint64_t ticket_next;
    uint64_t flush_ticket;     /* batches older than this do not linger */
    bool named;                /* the producer has a name: atomic emits say their position */
    bool fenced;               /* and has lost it */
    uint64_t atomic_last;      /* position of the last atomic emit */
    struct list atomics;       /* by age; see atomic.h */
    struct list atomics_fresh; /* of them, those engine_collect has not seen */
    struct list batches;       /* by age */
    struct list fresh;         /* lanes */
    struct emit_topic *last;   /* the topic of the last emit: most threads have one */
    struct emit_topic **buckets;
    size_t bucket_count, topic_count;  /* a power of two, or 0 */
    size_t inbox_count, inbox_trim_at; /* of the topics; above, the idle ones are forgotten */
    uint8_t *spares[STAGE_SPARES_MAX]; /* of batch_size_max bytes */
    unsigned spare_count;
    struct crier_stats stats; /* as of the last collect; `emitted` as of now */
};

void stage_init(struct stage *stage, const struct crier_options *options);
void stage_finish(struct stage *stage);

/* later: when, and whom to tell; NULL: at once. */
int stage_emit(struct stage *stage, const char *name, const void *value, size_t value_size,
               const struct crier_emit_options *options, const struct crier_later_options *later,
               int64_t timestamp_ms, bool *ret_wake);

/* Ends the batch being built, if there is one; it joins `closed`. */
void stage_close_open(struct emit_lane *lane);
/* The batch has its outcome: gives its memory and its room back. It is in no list but `batches`. */
void stage_batch_release(struct stage *stage, struct emit_batch *batch);
/* The partitions are known (ids: taken): deals the waiting events out to lanes. Batches that cannot go anywhere (the
 * partition that was asked for is not there, or CRIER_ENOMEM) are put into `ret_failed`; see batch.failure.
 * 0, or CRIER_ENOMEM (nothing changed: it has to be asked for again). */
int stage_topic_known(struct stage *stage, struct emit_topic *topic, uint64_t *ids, uint32_t count,
                      bool memory, struct list *ret_failed);
/* The topic cannot be had: all its waiting batches go to ret_failed. */
void stage_topic_failed(struct emit_topic *topic, int code, struct list *ret_failed);
/* The log is another one: every topic is unknown again, and what was on its way to the old partitions goes to ret_failed.
 * The engine is not connected. */
void stage_forget_topics(struct stage *stage, struct list *ret_failed);
void stage_inboxes_trim(struct stage *stage); /* forgets idle ones, if there are many; in engine_collect */
uint64_t stage_oldest_ticket(const struct stage *stage);
void stage_spares_free(struct stage *stage);

#endif
