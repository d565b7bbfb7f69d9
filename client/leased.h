/* client/leased.h: inside the engine: a listener that is a member of a shared group.
 *
 * What a member has of a partition is in three places, and in LISTEN's `held` after a reconnect: waiting in a delivery (its ranges),
 * out at a handler (engine_taken, or `later`), and settled without an answer (settlements). Nothing is kept per event but in `later`. */
#ifndef CRIER_CLIENT_LEASED_H
#define CRIER_CLIENT_LEASED_H

#include "base/buffer.h"
#include "base/list.h"
#include "crier/shared.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"

#define SHARED_LEVEL 2u /* of the protocol: from here on there are shared groups */

struct engine;
struct crier_listener;
struct listen_partition;
struct delivery;
struct engine_taken;
struct frame;

/* Events in a row that are leased. */
struct shared_range {
    uint64_t offset;
    uint32_t count, attempt;
};

/* Of one DELIVER: what of its batches is leased, and not handed out yet from `at` on. */
struct shared_ranges {
    size_t at, count;
    struct shared_range range[];
};

/* A partition's: beside its listen_partition. */
struct shared_partition {
    struct buffer *buffer; /* of the last DELIVER with bytes, referenced; NULL: none over this connection */
    const uint8_t *last;   /* the last batch in it: `held` means this one */
    size_t last_size;
    struct buffer *walk_buffer; /* where `walk` stands, referenced; NULL: nowhere */
    const uint8_t *walked;      /* the batch */
    struct batch_iterator walk;
    struct shared_range *later; /* their handlers are to settle them: count 1, ascending offsets */
    size_t later_count, later_capacity;
};

/* Leases that are told together, until the broker has answered. */
struct settlement {
    struct list link; /* shared.unsent or engine.settlements */
    uint32_t listener;
    uint8_t kind;     /* FRAME_ACK, FRAME_NACK, FRAME_EXTEND */
    uint64_t request; /* 0: not sent */
    uint32_t events;
    size_t count, capacity;
    struct settlement_lease {
        uint64_t partition;
        struct shared_range range;
    } * leases;
    uint64_t delay_ms; /* NACK */
    bool reject;
    uint32_t lease_ms; /* EXTEND */
    char reason[CRIER_NACK_REASON_MAX + 1];
};

/* A listener's. */
struct shared {
    struct crier_shared_options options;
    struct list unsent; /* settlements, in order */
    int64_t extend_due; /* what waits is extended; ENGINE_NEVER: nothing does */
    bool settles;       /* `unsent` is not empty, or was */
};

/* How an event ends. */
struct shared_end {
    uint8_t kind; /* FRAME_ACK, ... */
    uint64_t delay_ms;
    uint32_t lease_ms;
    bool reject;
    const char *reason; /* NULL: none */
};

/* ---- engine_leased.c: events ---- */

bool leased_options_are_valid(const struct crier_shared_options *options);
struct shared *leased_make(const struct crier_shared_options *options); /* NULL: no memory */
void leased_free(struct shared *shared);                                /* accepts NULL */
void leased_partition_free(struct shared_partition *partition);         /* accepts NULL */
/* LISTENING over another connection: true: it has the partitions it had, which are kept. */
bool leased_partitions_kept(struct crier_listener *listener, const Wire__Listening *listening);
/* Ranges of a DELIVER; NULL: the connection is failed. */
struct shared_ranges *leased_ranges_make(struct engine *engine, const Wire__Deliver *deliver);
/* It has arrived: bytes are kept, or those kept are meant. false: the connection is failed. */
bool leased_arrived(struct engine *engine, struct delivery *delivery, const struct frame *frame, bool held);
/* Hands out up to events_max events. *ret_done: there is no more in it, or nobody wants it. */
size_t leased_run(struct engine *engine, struct delivery *delivery, size_t events_max, bool *ret_done);
/* The listener's handler has ended with rc. */
void leased_outcome(struct engine *engine, struct crier_listener *listener,
                    struct listen_partition *partition, const struct shared_range *event, int rc);
/* A taken event of the partition is settled before its handler's end: nothing is left to be told. */
bool leased_taken_settle(struct listen_partition *partition, const struct crier_lease *lease);

/* ---- engine_settle.c: what is told of them ---- */

void settle_add(struct engine *engine, struct crier_listener *listener, uint64_t partition,
                const struct shared_range *range, const struct shared_end *end);
void settle_lease(struct engine *engine, const struct crier_lease *lease,
                  const struct shared_end *end); /* crier_ack ... */
void settle_send(struct engine *engine);         /* as much as may be unanswered */
void settle_send_all(struct engine *engine, struct crier_listener *listener); /* before its UNLISTEN */
void settle_settled(struct engine *engine, const Wire__Settled *settled);
void settle_disconnected(struct engine *engine); /* what has no answer is told again */
void settle_drop(struct engine *engine);
void settle_waits(struct engine *engine,
                  struct crier_listener *listener); /* something of it waits for its turn */
int64_t settle_due(const struct engine *engine);
void settle_tick(struct engine *engine);
/* What the listener has: for LISTEN. count: at most SHARED_HELD_MAX. NULL: no memory. Freed by the caller, with what it points to. */
#define SHARED_HELD_MAX 2000u
Wire__Lease **settle_held(struct engine *engine, const struct crier_listener *listener,
                          Wire__Lease **ret_block, size_t *ret_count);

#endif
