/* ledger.h: what is promised about shared groups, kept at the broker's end: what it has told its members, frame by frame, against
 * what is durable, entry by entry.
 *
 * Two streams meet in here: the frames that pass a tap (LISTEN, DELIVER, ACK, NACK, EXTEND, SETTLED, UNLISTEN, ENDED), and
 * the log's entries in the moment they are durable, which is before the core hears of it. So each promise is a comparison at one
 * moment, with no network in between:
 *
 *   I1   what SETTLED says is done, or has failed, is in the log by then; an event's way ends done or among the dead letters
 *   I2   a dead letter is an event of its topic that died, with its key, value, time and headers; what is redriven is again what it was
 *   I5   what is done is not delivered any more; an event dies once, in the entry that settles it; a dead letter is redriven once
 *   I8   of a group that keeps the order of keys, one event of a key is out at a time, and all before it are done or dead
 *   I9   an attempt is one more than the failures in the log say; nobody has more deliveries than the topic allows
 *   I10  no two members have the same attempt of an event; an outcome of a member counts only while nobody has a later attempt
 *   I12  no member has more events than it wanted
 *   I13  when all has healed and members do their work, everything is done within bounded time
 *
 * Topics q0, q1 with the groups h0 (shared), h1 (in the order of keys), h2 (shared). Thread: one. */
#ifndef CRIER_SIM_LEDGER_H
#define CRIER_SIM_LEDGER_H

#include "storage/entry.h"
#include "tests/sim/checker.h"
#include "tests/sim/trace.h"

#define LEDGER_TOPICS    2
#define LEDGER_GROUPS    3
#define LEDGER_KEY_GROUP 1 /* the one in the order of keys */
#define LEDGER_KEYS      6
#define LEDGER_MAGIC     UINT64_C(0x7368617265645f71)
#define LEDGER_VALUE_MIN 24

struct tap;
struct frame;

/* An event's state for a group. */
struct ledger_state {
    bool done, dead;
    int64_t done_us;
    bool rejected, acked; /* somebody has said so: also long after its lease ran out */
    uint32_t attempts;    /* that have failed, durably */
    uint64_t tap;         /* who has it, by the tap's number; 0: nobody */
    uint32_t listener;
    uint32_t attempt; /* of that lease */
    int64_t since_us, lease_us, until_us;
    int64_t extended_until_us; /* what an EXTEND of this lease said that counted; 0: none */
    bool failing;              /* a NACK of it has come */
};

struct ledger_event {
    uint64_t number; /* of its value */
    uint32_t key;    /* 0: none */
    int64_t timestamp_ms;
    struct ledger_state states[LEDGER_GROUPS];
};

struct ledger_letter {
    uint32_t group, partition; /* the id of the partition it came from */
    uint64_t from_offset, offset, number;
    uint32_t key;
    bool redriven;
};

enum ledger_kind { LEDGER_OTHER, LEDGER_QUEUE, LEDGER_DEAD };

struct ledger_partition {
    enum ledger_kind kind;
    uint32_t topic, place;
    uint64_t log_start;
    bool begun[LEDGER_GROUPS];
    uint64_t begin[LEDGER_GROUPS]; /* where the group began */
    struct ledger_event *events;   /* of a queue, by offset */
    size_t count, capacity;
    struct ledger_letter *letters; /* of a dead-letter topic */
    size_t letter_count, letter_capacity;
};

/* A request whose answer has not passed yet, or a member. */
struct ledger_request;
struct ledger_member;

struct ledger {
    struct trace *trace;
    struct report *report;
    struct ledger_partition *partitions; /* by id */
    size_t partition_end;                /* no id is above */
    uint8_t *stored;                     /* by an event's number: it is in its topic */
    size_t stored_size;
    uint32_t deliveries_min[LEDGER_TOPICS], deliveries_max[LEDGER_TOPICS]; /* that were ever set */
    struct ledger_member *members;
    struct ledger_request *requests;
};

void ledger_init(struct ledger *ledger, struct trace *trace, struct report *report);
void ledger_finish(struct ledger *ledger);

/* ---- frames (ledger.c); tap: its number ---- */
void ledger_up(struct ledger *ledger, uint64_t tap, const struct frame *frame, int64_t now_us);
void ledger_down(struct ledger *ledger, uint64_t tap, uint8_t kind, const uint8_t *header, size_t size,
                 int64_t now_us);
/* The broker ends the connection: what its members have is theirs for their session timeout, from now on. */
void ledger_leaves(struct ledger *ledger, uint64_t tap, int64_t now_us);
void ledger_gone(struct ledger *ledger, uint64_t tap, int64_t now_us); /* the connection is over */
void ledger_restart(struct ledger *ledger); /* the broker has forgotten all leases */

/* ---- the log (ledger_log.c) ---- */
void ledger_note(struct ledger *ledger, const struct entry_part *parts, uint32_t part_count);

/* ---- at the end ---- */
bool ledger_open(
    const struct ledger *ledger); /* is something neither done nor dead, of a group that has begun? */
void ledger_open_report(const struct ledger *ledger);
bool ledger_begun(const struct ledger *ledger, uint32_t topic, uint32_t group);

/* The value of an event: exactly size >= LEDGER_VALUE_MIN bytes that follow from its number. */
void ledger_value_make(uint8_t *to, uint64_t number, uint32_t key, uint32_t size);
/* Its number; UINT64_MAX: its bytes are no value of ours. *ret_key: the key it was emitted with. */
uint64_t ledger_value_read(const uint8_t *value, size_t size, uint32_t *ret_key);
struct ledger_state *ledger_state(struct ledger *ledger, uint64_t partition, uint64_t offset, uint32_t group);

#endif
