/* chaos_plan.c: the plan of chaos.h. Pure. */
#include "chaos.h"

#define ROLES_MAX  8 /* as many as a demo has, and some */
#define GAP_MS_MIN 120
#define GAP_MS_MAX 420
#define AWAY_MS                                                                                              \
    450 /* at most: clients that look for a broker again find it soon, or have begun to wait longer */

/* splitmix64 (Steele, Lea and Flood 2014) */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int below(uint64_t *state, int bound)
{
    return (int)(next_random(state) % (uint64_t)bound);
}

/* Fisher and Yates */
static void shuffle(uint64_t *state, int *values, int count)
{
    for (int i = count - 1; i > 0; i--) {
        int j = below(state, i + 1), value = values[i];
        values[i] = values[j];
        values[j] = value;
    }
}

void chaos_plan(struct chaos *chaos, const int *roles, int role_count, const int *instances)
{
    uint64_t state = chaos->seed;
    int turn[ROLES_MAX] = {0}, at_ms = 0;
    for (int i = 0; i < role_count; i++)
        turn[i] = roles[i];
    for (int i = 0; i < chaos->count; i++) {
        if (i % role_count == 0)
            shuffle(&state, turn, role_count);
        int role = turn[i % role_count];
        at_ms += GAP_MS_MIN + below(&state, GAP_MS_MAX - GAP_MS_MIN);
        chaos->kills[i] = (struct chaos_kill){at_ms, role, below(&state, instances[role]), 0};
        chaos->kills[i].away_ms = below(&state, AWAY_MS);
    }
}

int chaos_choose(uint64_t seed, uint64_t what, int max)
{
    uint64_t state = seed ^ (what << 32);
    return 1 + below(&state, max);
}

int chaos_duration_ms(const struct chaos *chaos)
{
    return chaos->count > 0 ? chaos->kills[chaos->count - 1].at_ms : 0;
}
