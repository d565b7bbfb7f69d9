/* chaos.h: a plan of kills that follows from a seed: who, when, and for how long it stays away.
 *
 * The plan is fixed before anything runs; the same seed makes the same plan. What a kill hits depends on the machine. */
#ifndef ORDER_PROCESSING_CHAOS_H
#define ORDER_PROCESSING_CHAOS_H

#include <stdbool.h>
#include <stdint.h>

#define CHAOS_KILLS_MAX     1000
#define CHAOS_KILLS_DEFAULT 12

struct chaos_kill {
    int at_ms;    /* after the start of the order service, or later: when its victim is up */
    int role;     /* as given to chaos_plan */
    int instance; /* 0-based */
    int away_ms;  /* until it is started again */
};

struct chaos {
    uint64_t seed;
    int count; /* of kills; 0: nobody is killed */
    int done;  /* of them */
    struct chaos_kill kills[CHAOS_KILLS_MAX];
};

/* Fills in `chaos->count` kills from `chaos->seed`. The roles are hit in turns, in an order that is shuffled each turn, so
 * that with enough kills everybody is hit; instances[role]: how many there are, at least one. */
void chaos_plan(struct chaos *chaos, const int *roles, int role_count, const int *instances);
/* 1..max, from the seed and `what`: a number that is no part of the plan. */
int chaos_choose(uint64_t seed, uint64_t what, int max);
/* How long the plan takes, if nobody has to be waited for. */
int chaos_duration_ms(const struct chaos *chaos);

#endif
