/* producers_idle.h: producers that were there at the start and have not been heard of since.
 *
 * A start with 100,000 topics loads about as many of them, and most never come back: they expire. Each is a few bytes in the
 * order of its key, which is that of its row; only whoever is asked for becomes a struct producer (producers.c), and whoever
 * has to expire. Which those are follows from the log alone, so it must not matter who was asked for.
 *
 *   ASLEEP ──asked for──▶ AWAKE: it has a struct producer, but its last use is still the one before the start
 *      └───expires──▶ (the same) ──emits, or has expired──▶ GONE
 *
 * Owner and thread: the shard's. */
#ifndef CRIER_BROKER_CORE_PRODUCERS_IDLE_H
#define CRIER_BROKER_CORE_PRODUCERS_IDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct producer_key {
    uint64_t producer_id;
    uint64_t partition;
};
struct producer_state {
    bool exists;
    int16_t epoch;
    int32_t last_sequence;
    int32_t last_base_sequence;
    uint64_t last_base_offset;
};

struct idle_producer;

struct idle_producers { /* all zero: none */
    struct idle_producer *items;
    size_t capacity;
    uint32_t count;
    uint32_t left;     /* not GONE */
    uint32_t asleep;   /* of them */
    int64_t oldest_us; /* none of those left was used before */
    uint32_t *order;   /* their places, by last use; NULL: nobody has asked yet */
    uint32_t order_at; /* before it, all are GONE */
};

/* In the order of their keys; false: it is not. */
bool idle_add(struct idle_producers *idle, const struct producer_key *key, const struct producer_state *state,
              int64_t used_us);
/* The number of the one that is ASLEEP, from 1; 0: there is none. */
uint32_t idle_find(const struct idle_producers *idle, const struct producer_key *key);
/* It is AWAKE from now on. */
void idle_wake(struct idle_producers *idle, uint32_t number, struct producer_state *ret_state,
               int64_t *ret_used_us);
void idle_leave(struct idle_producers *idle, uint32_t number); /* AWAKE: it is GONE from now on */
/* One that is left and was used before then, of those the one used first; false: there is none. */
bool idle_before(struct idle_producers *idle, int64_t time_us, struct producer_key *ret_key);
void idle_finish(struct idle_producers *idle); /* none afterwards */

#endif
