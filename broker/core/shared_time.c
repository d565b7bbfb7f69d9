/* shared_time.c: what time brings to shared groups: retries that are due, and leases that run out, which are attempts that failed.
 *
 * Leases of a member are in a list, those that run out first in front, so that giving and ending one costs nothing; a turn looks at
 * the first of each member, and only when the first of all may be due. Events that wait, and leases of members that are gone, are
 * in a heap.
 *
 * However many are due at once, a turn takes TURN_MAX of them, and the next one follows at once. While the store has no room for the
 * open entry nothing is added to one that is full of them: the store tells when there is room.
 * Thread: the core's. Pure. */
#include "broker/core/shared_internal.h"

#define TURN_MAX 4096u /* timers and leases that are looked at in one turn */

static const struct failure ran_out = {.reason = "the lease ran out"};

static void run_out(struct shard *shard, struct item *item)
{
    shard->count_run_out++;
    shared_mark_failed(shard, item, &ran_out);
}

/* The open entry has a turn's worth already, and the store no room for it: it tells when there is some. */
static bool time_waits(const struct shard *shard)
{
    return shard->gathering && shard->gathering->mark_count >= TURN_MAX && !shard_has_room(shard);
}

/* These two return how many more may be looked at in this turn. */
static unsigned timers_run(struct shard *shard, unsigned left)
{
    struct item *item;
    for (; left && (item = timers_due(shard)); left--) {
        shared_stir_position(shard, item->shared->position);
        if (item->state == ITEM_LEASED) {
            run_out(shard, item);
        } else {
            item_close(shard, item);
            item_open(shard, item);
        }
    }
    return left;
}

static unsigned worker_run_out(struct shard *shard, struct worker *worker, unsigned left)
{
    struct shared_world *world = shard->shared;
    for (; left && worker->items && worker->items->timer.due_us <= shard->mono_us; left--)
        run_out(shard, worker->items);
    if (worker->items && worker->items->timer.due_us < world->lease_due_us)
        world->lease_due_us = worker->items->timer.due_us;
    return left;
}

static void leases_run_out(struct shard *shard, unsigned left)
{
    struct shared_world *world = shard->shared;
    if (shard->mono_us < world->lease_due_us)
        return;
    world->lease_due_us = INT64_MAX;
    struct shared_crew *crew;
    DL_FOREACH (world->crews, crew) {
        struct member *member;
        DL_FOREACH (crew->crew->members, member)
            if (member->worker)
                left = worker_run_out(shard, member->worker, left);
    }
}

void time_turn(struct shard *shard)
{
    if (!time_waits(shard))
        leases_run_out(shard, timers_run(shard, TURN_MAX));
}

int64_t shared_due_us(const struct shard *shard)
{
    const struct shared_world *world = shard->shared;
    int64_t due_us = world->keys_due_us, timer_us = timers_next(shard);
    if (time_waits(shard))
        return due_us;
    if (world->lease_due_us < due_us)
        due_us = world->lease_due_us;
    return timer_us < due_us ? timer_us : due_us;
}
