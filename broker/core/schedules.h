/* schedules.h: events that wait for their time: between schedules.c and its neighbours.
 *
 *   schedules.c        scheduled, ended, applied; rows        schedule_window.c  which of them are in memory
 *   schedule_fire.c    read ahead, fired                      schedule_admin.c   canceled, listed
 *
 * An event with a time is stored at once, in a partition of the topic SCHEDULE_TOPIC, and acknowledged; a row of the state
 * says when it is due. When that comes it is read, and appended to its own topic by an entry that also ends the schedule.
 *
 * SCHEDULE_TOPIC has a partition for each class of delays: up to 64 s, 128 s, 256 s and so on. In one class what is due has
 * been stored at most that long before, so space comes back by log starts that follow the time (retention.c), and no event
 * holds others' space for longer than twice its own delay. A schedule's number says where its event is: offset and class.
 *
 * Only the next ones are in memory: those with a key below `end`, core_config.schedule_window and twice that at most, and what a flush
 * has not stored yet. A row that is in no memory is read with store->range(); while such reads are under way nothing that a
 * flush has settled is forgotten, so that what they bring can be told from what has ended since.
 *
 * Time is the shard's: what its entries are stamped with. After a leap of the wall clock it is slewed, or an operator
 * confirms it; so an event is rather late than early. Thread: the core's. Pure. */
#ifndef CRIER_BROKER_CORE_SCHEDULES_H
#define CRIER_BROKER_CORE_SCHEDULES_H

#include "base/heap.h"
#include "base/list.h"
#include "broker/core/shard_internal.h"

#define SCHEDULE_TOPIC        "$scheduled"
#define SCHEDULE_CLASSES      24u
#define SCHEDULE_CLASS_BITS   5u                      /* of a number */
#define SCHEDULE_CLASS_US     (64 * INT64_C(1000000)) /* of class 0; each next one twice the one before */
#define SCHEDULE_DELAY_US_MAX (SCHEDULE_CLASS_US << (SCHEDULE_CLASSES - 1)) /* 17 years */
#define SCHEDULE_AHEAD_US     1000000 /* read so long before they are due */
#define SCHEDULE_DIRTY_MAX    65536u  /* so many new ones are worth a flush */

/* Where a schedule is. Its row is there until it is GONE and a flush is over. */
enum schedule_place {
    SCHEDULE_OUTSIDE, /* of the window: forgotten when a flush has stored it */
    SCHEDULE_WAITING, /* until it is to be read */
    SCHEDULE_READING,
    SCHEDULE_READY,   /* its event is in memory */
    SCHEDULE_LEAVING, /* fired or canceled by an entry that is not durable yet */
    SCHEDULE_GONE,    /* and that is durable */
    SCHEDULE_PLACES
};

struct schedule {
    struct row row;
    UT_hash_handle hh; /* by key */
    struct schedule_key key;
    uint64_t partition; /* where it goes */
    uint32_t size;      /* of its batch */
    int64_t created_us;
    uint64_t born; /* the flush that writes it first */
    enum schedule_place place;
    struct heap_node timer;       /* WAITING, READY: when that ends; of equals the older one is first */
    uint64_t entry;               /* LEAVING */
    struct slice batch;           /* READY */
    struct schedule *prev, *next; /* OUTSIDE; GONE and forgotten by the state: `next` among those held */
};

struct schedules {
    struct schedule *all; /* hash */
    struct heap waiting, ready;
    struct schedule *outside;
    struct schedule *held;   /* forgotten by the state, kept while ranges are under way */
    bool whole;              /* all there are are in memory */
    struct schedule_key end; /* else: all with a lower key are, but for those OUTSIDE */
    unsigned ranges;         /* under way */
    struct schedule_fill *fill;
    struct schedule_read *reads;
    struct schedule_question *questions;
    unsigned read_count, question_count;
    uint64_t unread;                 /* could not be read, and nobody was told */
    int64_t unread_told_us;          /* mono: when somebody may be told again */
    size_t ahead_bytes;              /* of those READING and READY */
    size_t dirty;                    /* made since the last flush began */
    uint64_t topic_entry;            /* the one that makes SCHEDULE_TOPIC; 0: none */
    bool topic_refused;              /* it was refused: so is the emit that waited for it */
    int64_t oldest_us, oldest_at_us; /* what schedules_oldest() found, and when */
};

static inline int schedule_key_order(const struct schedule_key *a, const struct schedule_key *b)
{
    if (a->due_us != b->due_us)
        return a->due_us < b->due_us ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

/* ---- schedules.c ---- */
struct schedule *schedule_find(struct shard *shard, const struct schedule_key *key); /* NULL: not in memory */
struct schedule *schedule_add(struct shard *shard, const struct schedule_key *key);  /* OUTSIDE, row CLEAN */
static inline struct schedule *schedule_of(struct heap_node *node)
{
    return LIST_ENTRY(node, struct schedule, timer);
}

/* Into its next place; wake_us: of WAITING and READY. Its batch is dropped unless it is READY then. */
void schedule_enter(struct shard *shard, struct schedule *schedule, enum schedule_place place,
                    int64_t wake_us);
void schedule_drop(struct shard *shard, struct schedule *schedule); /* forgets it */
/* The open entry ends it. */
void schedule_leave(struct shard *shard, struct schedule *schedule, bool fired);
/* The topic with the events; NULL: there is none yet. */
struct topic *schedule_topic(struct shard *shard);
void schedule_row_unpack(struct schedule *schedule, const State__ScheduleRow *row);

/* ---- schedule_window.c ---- */
bool schedule_in_window(const struct schedules *schedules, const struct schedule_key *key);
void schedule_window_shrink(struct shard *shard); /* if it is too large */
void schedule_window_fill(struct shard *shard);   /* if it has room, and there are more */
/* A range of rows from this key on; 0 or STORE_EAGAIN. Its done has to call schedule_range_over. */
int schedule_range(struct shard *shard, struct store_range *range, const struct schedule_key *from,
                   size_t count_max);
void schedule_range_over(struct shard *shard);
bool schedule_row_key(const struct store_row *row, struct schedule_key *ret_key);
void schedule_fill_free(struct schedules *schedules);

/* ---- schedule_fire.c ---- */
void schedule_reads_free(struct schedules *schedules);

/* ---- schedule_admin.c ---- */
void schedule_questions_free(struct schedules *schedules);

#endif
