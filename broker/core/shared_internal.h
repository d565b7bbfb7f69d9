/* shared_internal.h: shared groups in the shard core (docs/decisions/0015), shared by these files:
 *
 *   shared_state.c   what is stored: done ranges and retries above the position; the command that changes them; rows
 *   shared_items.c   what is open, one item per event: ready, leased, waiting, dying, settling; the order of keys
 *   shared_crew.c    members: joining, leaving, dealing events out
 *   shared_time.c    leases that run out, retries that are due
 *   shared_settle.c  ACK, NACK, EXTEND: judged, marked, written with the entry
 *   shared_read.c    keys and dead letters, read by the store's threads
 *   redrive.c        dead letters back to where they came from
 *
 * Invariant of an open partition: every offset from the position up to `frontier` is done (in a range) or has an item. Beyond it
 * a few may have one: those a member was at before a restart. */
#ifndef CRIER_BROKER_CORE_SHARED_INTERNAL_H
#define CRIER_BROKER_CORE_SHARED_INTERNAL_H

#include "base/heap.h"
#include "base/list.h"
#include "broker/core/ranges.h"
#include "broker/core/shard_internal.h"
#include "proto/batch.h"

#define SHARED_OPEN_MAX      8192u /* items and done ranges of a partition */
#define SHARED_IN_FLIGHT     256u  /* of a member, if it does not say */
#define SHARED_IN_FLIGHT_MAX 4096u
#define SHARED_LEASE_MS      30000u
#define SHARED_READS_MAX     4u /* with the store, for keys and dead letters each */
#define RETRY_FIRST_MS       1000u
#define RETRY_MAX_MS         60000u
#define RETRY_DELIVERIES     5u

/* An event that failed, as it is stored. */
struct retry {
    uint64_t offset;
    uint32_t attempts; /* failed ones */
    bool dead;
    int64_t due_us; /* shard time */
    char *reason;   /* NULL: none */
};

enum item_state {
    ITEM_READY,    /* to be leased */
    ITEM_BLOCKED,  /* behind another of its key */
    ITEM_LEASED,   /* a member's, or of one whose connection is gone (then in the timers) */
    ITEM_WAITING,  /* until it is due: in the timers */
    ITEM_DYING,    /* on its way to the dead-letter topic */
    ITEM_SETTLING, /* what has become of it is on its way to the disk */
};
enum item_outcome { ITEM_DONE, ITEM_FAILED };

struct item {
    struct shared *shared;
    uint64_t offset;
    uint64_t key; /* its hash; 0: none */
    uint32_t attempts;
    enum item_state state;
    bool dead;
    bool passed;                      /* below the frontier */
    bool reading;                     /* DYING: it is being read */
    bool claimed;                     /* LEASED: its worker is at it and has asked for more time */
    struct worker *worker;            /* LEASED; NULL: of one who is gone */
    int64_t retry_us;                 /* shard time: not delivered again before */
    struct heap_node timer;           /* due_us: LEASED, WAITING: when that ends; mono */
    struct item *prev, *next;         /* READY, LEASED by a worker, DYING: in that list */
    struct item *key_prev, *key_next; /* of one key, in their order */
    uint64_t entry;                   /* SETTLING: the one that carries it */
    enum item_outcome outcome;
    bool was_leased;    /* SETTLING */
    uint64_t holder;    /* SETTLING: the generation of whose lease it was; 0: nobody's */
    struct retry retry; /* SETTLING, FAILED */
};

/* A partition for a shared group. */
struct shared {
    struct row row;
    struct group_position *position;
    struct ranges done;    /* from the position on, which none of them touches */
    struct retry *retries; /* by offset */
    size_t retry_count, retry_capacity;
    /* volatile */
    bool open;
    bool keyed;
    uint64_t frontier;
    uint64_t entry;     /* the last one that carries anything of it */
    struct table items; /* by offset */
    struct table keys;  /* the last item of each key, by its hash */
    struct item *ready;
    size_t ready_count, leased, settling, dying;
    struct key_read *key_read; /* under way */
    int64_t keys_due_us;       /* keys could not be read: not again before; mono; 0: they could */
};

/* A member of a shared group. */
struct worker {
    struct worker *prev, *next; /* all that want events, of the crew */
    struct member *member;
    int64_t lease_us;
    uint32_t in_flight_max, leased;
    bool wanting;
    struct item *items; /* LEASED, those that run out first in front */
    struct lease *held; /* until it has joined */
    size_t held_count;
};

/* The crew of a shared group: all members get events of all partitions. */
struct shared_crew {
    struct shared_crew *prev, *next; /* all of the shard */
    struct crew *crew;
    struct shared **partitions; /* in the topic's order; NULL: nobody has joined yet */
    struct worker *wanting;
    uint32_t wanting_count;
    uint32_t turn; /* the partition that is dealt from next */
    bool stirred;  /* there may be something to deal */
};

/* What an entry says about an event, or about offsets without one. */
struct shared_mark {
    struct shared *shared;
    struct item *item; /* NULL: none of [first, end) is delivered */
    uint64_t first, end;
};

struct shared_world {
    struct item *free;
    struct heap timers; /* WAITING, and leases of those who are gone */
    struct item *dying;
    struct shared_crew *crews;
    bool stirred;         /* some crew is */
    int64_t lease_due_us; /* no lease of a worker runs out before */
    int64_t keys_due_us; /* when keys that could not be read are asked for again; INT64_MAX: there are none */
    int64_t dead_told_us; /* it is said that one cannot be made a dead letter: not again before; mono */
    unsigned key_reads, dead_reads;
    struct key_read *key_read_list;
    struct dead_read *dead_read_list;
    struct redrive *redrives;
};

/* ---- shared_state.c ---- */
struct shared *shared_get(struct group_position *position);                   /* made if it is missing */
const struct retry *retry_find(const struct shared *shared, uint64_t offset); /* NULL: it has not failed */
uint64_t shared_position(const struct shared *shared);
bool shared_done(const struct shared *shared, uint64_t offset);
struct partition *shared_partition(const struct shard *shard, const struct shared *shared);
void retry_free(struct retry *retry);
void retry_pack(const struct retry *retry, State__SharedRetry *message); /* borrows */
/* Encoding and decoding of what rows and commands have in common. pairs: room for 2 * count. */
size_t done_pack(const struct range *ranges, size_t count, uint64_t from, uint64_t *pairs);

/* ---- shared_items.c ---- */
struct item *item_find(const struct shared *shared, uint64_t offset);
struct item *item_create(struct shard *shard, struct shared *shared,
                         uint64_t offset); /* in no state yet: open it */
/* Puts it where it belongs by what is stored of it. It is in no list. */
void item_open(struct shard *shard, struct item *item);
void item_close(struct shard *shard, struct item *item); /* out of the list of its state */
void item_lease(struct shard *shard, struct item *item, struct worker *worker, int64_t lease_us);
/* Leased to somebody who is gone, as long as it was, at most until then. */
void item_orphan(struct shard *shard, struct item *item, int64_t due_us);
void item_wait(struct shard *shard, struct item *item, int64_t due_us); /* it is in no list; mono */
void item_key(struct shard *shard, struct item *item, uint64_t key);    /* in the order of offsets */
void item_gone(struct shard *shard, struct item *item); /* done, or its partition goes: frees it */
struct item *timers_due(struct shard *shard);           /* NULL: none; still in the timers */
int64_t timers_next(const struct shard *shard);
size_t shared_room(const struct shared *shared); /* how many may be opened */
void shared_open(struct shard *shard, struct shared *shared, bool keyed);
void shared_close(struct shard *shard, struct shared *shared);     /* forgets all items */
void shared_skip_gone(struct shard *shard, struct shared *shared); /* what retention has taken is settled */
/* Opens up to so many events behind the frontier: READY, or what is stored of them. */
void shared_fill(struct shard *shard, struct shared *shared, size_t count);
/* The next one behind the frontier is there: opens it. False: it was open or done already. */
bool shared_pass(struct shard *shard, struct shared *shared, uint64_t offset, uint64_t key);

/* ---- shared_crew.c ---- */
uint32_t retry_deliveries(const struct retry_policy *policy);
void shared_stir(struct shard *shard, struct crew *crew); /* there may be something to deal */
void shared_stir_position(struct shard *shard, const struct group_position *position);

/* ---- shared_time.c ---- */
void time_turn(struct shard *shard); /* what is due; some of it, if it is a lot: then a turn is due at once */
int64_t shared_due_us(const struct shard *shard);

/* ---- shared_settle.c ---- */
void shared_settle(struct shard *shard, const struct shard_request *request); /* ACK, NACK, EXTEND */
void shared_mark_done(struct shard *shard, struct item *item);
void shared_mark_none(struct shard *shard, struct shared *shared, uint64_t first, uint64_t end);
struct failure {
    int64_t delay_us; /* 0: as the policy says */
    const char *reason;
    bool reject;
};
void shared_mark_failed(struct shard *shard, struct item *item, const struct failure *failure);

/* ---- shared_read.c ---- */
void shared_read_keys(struct shard *shard, struct shared *shared);
void keys_turn(struct shard *shard);
void shared_read_forget(struct shard *shard, struct shared *shared); /* it goes */
void dying_turn(struct shard *shard);
void dying_resume(struct shard *shard,
                  struct shared *shared); /* what has died and is no letter yet, dies on */
void dying_forget(struct shard *shard, const struct item *item);
void shared_reads_free(struct shard *shard);
/* The dead-letter topic of a topic, in `to` (TOPIC_NAME_MAX + 1 bytes). False: it has none. */
bool dead_letter_name(const struct topic *topic, char *to);
/* A batch of one event of the broker's own into the open entry; referenced. */
void event_prepare(struct shard *shard, struct partition *partition, struct slice batch);
#define DEAD_HEADERS 6
/* Builds a batch of one event; NULL data in the slice: out of memory. Any thread. */
struct slice event_build(const struct batch_record *record, const struct batch_pair *headers,
                         size_t header_count);
/* The record's headers, and room for `more`: to free. NULL: damaged, or out of memory. */
struct batch_pair *event_headers(const struct batch_record *record, size_t more, size_t *ret_count);
extern const char *const dead_header_names[DEAD_HEADERS];
enum { DEAD_REASON, DEAD_ATTEMPTS, DEAD_GROUP, DEAD_TOPIC, DEAD_PARTITION, DEAD_OFFSET };

/* ---- redrive.c ---- */
void redrive_request(struct shard *shard, const struct shard_request *request);
void redrive_turn(struct shard *shard);
void redrives_free(struct shard *shard);

#endif
