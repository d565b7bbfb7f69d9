/* history.h: what was said and seen, in the order it happened; what the checker judges.
 *
 * Emits are recorded when they are invoked and again when their outcome is known; deliveries when a handler runs; and the
 * log as the disk took it. Every value names its emit and is filled with bytes that follow from that name, so that a
 * value seen anywhere says what it should be. Nothing in here judges.
 *
 * Thread: one. Everything lives until history_finish. */
#ifndef CRIER_SIM_HISTORY_H
#define CRIER_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_NONE       UINT32_MAX
#define HISTORY_NO_OFFSET  UINT64_MAX
#define VALUE_SIZE_MIN     16
#define HISTORY_TOPICS_MAX 8
#define HISTORY_PARTITION_IDS                                                                                \
    8192 /* ids of partitions: more than a run uses up, with those of refused creations */
#define HISTORY_TRANSFORMERS                                                                                 \
    7 /* the group of those who make events from others; nobody seeks or deletes it */

enum emit_state {
    EMIT_PENDING, /* invoked, no outcome (yet, or ever: its client is gone) */
    EMIT_OK,
    EMIT_FAILED, /* definitely not stored */
    EMIT_UNKNOWN
};

struct history_emit {
    uint32_t client, number; /* together its name; numbers count up per client */
    uint32_t topic;
    int32_t partition; /* asked for; -1: by its key, or by turns */
    uint32_t key_hash; /* murmur2 of the key */
    bool keyed;
    bool memory;
    uint32_t step_size,
        step_index;    /* of an atomic emit, whose events follow each other here; 0: it is none */
    uint32_t source;   /* a named one's; HISTORY_NONE: the client's own */
    uint64_t position; /* in it */
    bool expects;
    uint64_t expected_offset;
    bool made; /* from an event of the topic before its own */
    uint32_t from_partition;
    uint64_t from_offset;
    uint32_t size; /* of the value */
    enum emit_state state;
    int code;
    uint64_t offset; /* told; HISTORY_NO_OFFSET: none */
    int64_t invoked_us, returned_us;
    uint64_t invoked_at, returned_at; /* places in the order of everything that happened; 0: not (yet) */
};

enum history_from { FROM_LIVE, FROM_EARLIEST, FROM_OFFSET, FROM_TIME };

struct history_listener {
    uint32_t client;
    uint32_t topic;
    uint32_t group; /* HISTORY_NONE: none */
    enum history_from from;
    int64_t from_value;
    uint64_t count; /* events it may get at most; 0: any number */
    uint32_t truth; /* 1, 2: reads everything after all has healed, for the first and second time; 0: no */
    uint64_t listen_at; /* place in the order of everything */
    bool must_end;      /* still listening when everything had settled: has to have reached the end */
};

enum history_kind {
    HISTORY_DELIVERED,
    HISTORY_LISTENING,
    HISTORY_DISCONNECTED,
    HISTORY_GIVEN, /* a group's member has this partition from now on */
    HISTORY_TAKEN  /* or no longer */
};

/* What a listener saw. */
struct history_seen {
    enum history_kind kind;
    uint32_t listener;
    uint64_t at;        /* place in the order of everything */
    uint32_t partition; /* HISTORY_DELIVERED, _GIVEN, _TAKEN */
    uint64_t offset;    /* HISTORY_DELIVERED from here on */
    uint32_t emit;      /* index; HISTORY_NONE: its bytes are no value of ours */
    bool keeps;         /* the handler failed with nobody to hear it: the position stays before it */
};

/* A batch in the log. */
struct history_batch {
    uint32_t topic, partition;
    uint64_t base_offset, span;
    int64_t append_time_us;
};

enum history_moved {
    HISTORY_COMMITTED,
    HISTORY_SOUGHT,   /* by a person: forward or back */
    HISTORY_FORGOTTEN /* the whole group was deleted: topic, partition and offset say nothing */
};

/* An event in the log. */
struct history_stored {
    uint32_t topic, partition;
    uint64_t offset;
    uint32_t emit; /* index; HISTORY_NONE: its bytes are no value of ours */
};

/* A log start that moved: what is below is gone. */
struct history_trim {
    uint32_t topic, partition;
    uint64_t offset;
    uint64_t at; /* place in the order of everything: when it was durable */
};

/* A group's position in the log. */
struct history_position {
    enum history_moved moved;
    uint32_t group, topic, partition;
    uint64_t offset;
    uint64_t at; /* place in the order of everything: when it was durable */
};

struct history {
    struct history_emit *emits;
    size_t emit_count, emit_capacity;
    uint32_t *names; /* hash of (client, number) → index of emit + 1 */
    size_t name_capacity;
    struct history_listener *listeners;
    size_t listener_count, listener_capacity;
    struct history_seen *seen;
    size_t seen_count, seen_capacity;
    struct history_batch *batches;
    size_t batch_count, batch_capacity;
    struct history_stored *stored;
    size_t stored_count, stored_capacity;
    struct history_trim *trims;
    size_t trim_count, trim_capacity;
    struct history_position *positions;
    size_t position_count, position_capacity;
    uint32_t partitions[HISTORY_TOPICS_MAX]; /* of each topic; 0: it was never created */
    uint64_t clock;                          /* the order of everything */
};

/* An event of such an offset is one from which nothing is made. */
static inline bool history_leads_to_nothing(uint64_t offset)
{
    return offset % 5 == 4;
}

void history_init(struct history *history);
void history_finish(struct history *history);

/* Writes the value of an emit of this name: exactly size >= VALUE_SIZE_MIN bytes. */
void value_make(uint8_t *to, uint32_t client, uint32_t number, uint32_t size);

/* Returns the index. */
uint32_t history_emit(struct history *history, const struct history_emit *emit, int64_t now_us);
void history_outcome(struct history *history, uint32_t emit, int code, bool unknown, uint64_t offset,
                     int64_t now_us);
uint32_t history_listen(struct history *history, const struct history_listener *listener);
/* value: what was delivered; it is compared with what its name promises. */
void history_delivered(struct history *history, uint32_t listener, uint32_t partition, uint64_t offset,
                       const void *value, size_t value_size, bool keeps);
void history_listening(struct history *history, uint32_t listener);
void history_disconnected(struct history *history, uint32_t listener);
void history_assigned(struct history *history, uint32_t listener, uint32_t partition, bool given);
void history_batch(struct history *history, const struct history_batch *batch);
/* An event of a batch that is durable. */
void history_stored(struct history *history, uint32_t topic, uint32_t partition, uint64_t offset,
                    const void *value, size_t value_size);
void history_trim(struct history *history, uint32_t topic, uint32_t partition, uint64_t offset);
/* The log start that was durable before this place in the order of everything. */
uint64_t history_log_start(const struct history *history, uint32_t topic, uint32_t partition, uint64_t at);
void history_position(struct history *history, const struct history_position *position);

/* The index of the emit that a value names, if its bytes are right to the last; else HISTORY_NONE. */
uint32_t history_find(const struct history *history, const void *value, size_t value_size);

#endif
