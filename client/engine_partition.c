/* engine_partition.c: the partitions a listener has: all of its topic's, in a group those it was given, of a pattern those
 * of every topic that it matches.
 *
 * Role:     keeps the set: LISTENING begins it, ASSIGN changes it while events flow, and what the broker asks back is
 *           given back in an order that makes the next owner safe.
 * Thread:   the I/O thread; never inside a handler, so no event of a revoked partition is half handled.
 * Owns:     struct listen_partition, from LISTENING or ASSIGN until it is revoked or its listener ends.
 *
 * Happy path:  LISTENING -> ASSIGN (added) -> events -> ASSIGN (revoked): queued events are dropped, `assigned` is told,
 *              COMMIT, RELEASE. On the wire COMMIT comes before RELEASE: who has the partition next starts after it.
 * Failures:    the session timed out: everything is forgotten, others own it (listen_ended). The connection goes: the
 *              set is kept, to resume from; what LISTENING then does not name belongs to others. */
#include "client/atomic.h"
#include "client/engine_internal.h"
#include "client/leased.h"

#include <stdlib.h>
#include <string.h>

/* ---- the set ---- */

struct listen_partition *listen_partition_find(const struct crier_listener *listener, uint64_t id)
{
    for (size_t i = 0; i < listener->partition_count; i++)
        if (listener->partitions[i]->id == id)
            return listener->partitions[i];
    return NULL;
}

static bool partitions_reserve(struct crier_listener *listener, size_t count)
{
    struct listen_partition **grown;

    if (count <= listener->partition_capacity)
        return true;
    if (!(grown = realloc(listener->partitions, count * sizeof(struct listen_partition *))))
        return false;
    listener->partitions = grown;
    listener->partition_capacity = count;
    return true;
}

static struct listen_partition *partition_make(struct engine *engine, const struct crier_listener *listener,
                                               const Wire__ListenPartition *from)
{
    size_t name_size = listener->pattern ? strlen(from->topic) + 1 : 0;
    struct listen_partition *partition = calloc(1, sizeof(*partition) + name_size);

    if (!partition)
        return NULL;
    *partition = (struct listen_partition){.topic = listener->topic,
                                           .id = from->partition,
                                           .index = from->index,
                                           .next = from->next,
                                           .committed = from->next,
                                           .step_next = from->next,
                                           .high_watermark = from->high_watermark};
    list_init(&partition->taken);
    if (listener->shared && !(partition->shared = calloc(1, sizeof(*partition->shared)))) {
        free(partition);
        return NULL;
    }
    if (listener->commits_atomically || listener->shared)
        partition->assignment = consumed_assignment_take(engine);
    if (listener->pattern)
        partition->topic = memcpy(partition->own_topic, from->topic, name_size);
    return partition;
}

static void partition_tell(const struct crier_listener *listener, struct listen_partition *partition,
                           bool given)
{
    if (!listener->assigned || partition->given == given || (given && listener->stopped))
        return;
    partition->given = given;
    listener->assigned(listener->ctx, partition->index, given);
}

void partitions_suspend(struct crier_listener *listener)
{
    for (size_t i = 0; i < listener->partition_count; i++)
        partition_tell(listener, listener->partitions[i], false);
}

void partitions_lag_update(struct crier_listener *listener)
{
    uint64_t lag = 0;

    for (size_t i = 0; i < listener->partition_count; i++) {
        const struct listen_partition *partition = listener->partitions[i];
        uint64_t position = partition_position(partition);
        if (partition->high_watermark > position)
            lag += partition->high_watermark - position;
    }
    atomic_store_explicit(&listener->lag, lag, memory_order_relaxed);
}

static void partition_free(struct crier_listener *listener, struct listen_partition *partition)
{
    taken_orphan(listener, partition);
    leased_partition_free(partition->shared);
    free(partition);
}

void partitions_forget(struct crier_listener *listener)
{
    partitions_suspend(listener);
    for (size_t i = 0; i < listener->partition_count; i++)
        partition_free(listener, listener->partitions[i]);
    free(listener->partitions);
    listener->partitions = NULL;
    listener->partition_count = listener->partition_capacity = 0;
    partitions_lag_update(listener);
}

/* ---- LISTENING ---- */

/* The position that was reached over an earlier connection stays, if it is ahead. */
static void partition_resume(struct listen_partition *partition, const struct listen_partition *known)
{
    if (known->next > partition->next)
        partition->next = known->next;
    if (known->committed < partition->committed)
        partition->committed = known->committed; /* resumed ahead of what is committed */
}

bool partitions_begin(struct engine *engine, struct crier_listener *listener,
                      const Wire__Listening *listening)
{
    struct crier_listener fresh = {0}; /* only its set is used */
    bool made;

    if (listener->shared && leased_partitions_kept(listener, listening))
        return true;
    if (listener->shared)
        deliveries_forget(engine, listener);
    made = partitions_reserve(&fresh, listening->n_partitions);
    for (size_t i = 0; made && i < listening->n_partitions; i++) {
        const Wire__ListenPartition *from = listening->partitions[i];
        const struct listen_partition *known = listen_partition_find(listener, from->partition);
        struct listen_partition *partition = partition_make(engine, listener, from);
        made = partition != NULL;
        if (made)
            fresh.partitions[fresh.partition_count++] = partition;
        if (made && known && !from->ephemeral && !listener->shared)
            partition_resume(partition, known);
    }
    if (!made) {
        partitions_forget(&fresh);
        return false;
    }
    for (size_t i = 0; i < fresh.partition_count; i++) { /* what is out of them stays theirs */
        struct listen_partition *known = listen_partition_find(listener, fresh.partitions[i]->id);
        if (known && !listener->shared)
            taken_move(known, fresh.partitions[i]);
    }
    partitions_forget(listener);
    listener->partitions = fresh.partitions;
    listener->partition_count = fresh.partition_count;
    listener->partition_capacity = fresh.partition_capacity;
    partitions_lag_update(listener);
    for (size_t i = 0; i < listener->partition_count; i++)
        partition_tell(listener, listener->partitions[i], true);
    return true;
}

/* ---- ASSIGN ---- */

static void release_send(struct engine *engine, const struct crier_listener *listener,
                         const Wire__Assign *assign)
{
    Wire__Release release = WIRE__RELEASE__INIT;

    release.listener = listener->id;
    release.generation = listener->generation;
    release.partitions = assign->revoked;
    release.n_partitions = assign->n_revoked;
    engine_send(engine, FRAME_RELEASE, &release.base);
}

static void leaving_remove(struct crier_listener *listener)
{
    size_t kept = 0;

    for (size_t i = 0; i < listener->partition_count; i++) {
        struct listen_partition *partition = listener->partitions[i];
        if (partition->leaving)
            partition_free(listener, partition);
        else
            listener->partitions[kept++] = partition;
    }
    listener->partition_count = kept;
}

static void partitions_revoked(struct engine *engine, struct crier_listener *listener,
                               const Wire__Assign *assign)
{
    for (size_t i = 0; i < assign->n_revoked; i++) {
        struct listen_partition *partition = listen_partition_find(listener, assign->revoked[i]);
        if (!partition || partition->leaving)
            continue;
        partition->leaving = true;
        deliveries_drop(engine, partition);
        partition_tell(listener, partition, false);
    }
    if (listener->group) {
        position_send_leaving(engine, listener);
        release_send(engine, listener, assign);
    }
    leaving_remove(listener);
}

static bool partition_added(struct engine *engine, struct crier_listener *listener,
                            const Wire__ListenPartition *added)
{
    struct listen_partition *partition;

    if (listen_partition_find(listener, added->partition)) {
        engine_fail(engine, CRIER_EPROTO, "ASSIGN of a partition that was assigned");
        return false;
    }
    if (!(partition = partition_make(engine, listener, added))) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for the partitions of %s", listener->topic);
        return false;
    }
    listener->partitions[listener->partition_count++] = partition;
    partition_tell(listener, partition, true);
    return true;
}

void listen_assign(struct engine *engine, const Wire__Assign *assign)
{
    struct crier_listener *listener = listen_find(engine, assign->listener);

    if (!listener || listener->state == LISTENER_ENDING || listener->state == LISTENER_RESTARTING)
        return; /* it was sent before the broker heard of the end */
    if (listener->state != LISTENER_LIVE || (!listener->group && !listener->pattern) || listener->shared ||
        assign->generation != listener->generation) {
        engine_fail(engine, CRIER_EPROTO, "ASSIGN for a listener that is no such member, and no pattern's");
        return;
    }
    if (assign->n_revoked > 0)
        partitions_revoked(engine, listener, assign);
    if (!partitions_reserve(listener, listener->partition_count + assign->n_added)) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for the partitions of %s", listener->topic);
        return;
    }
    for (size_t i = 0; i < assign->n_added; i++)
        if (!partition_added(engine, listener, assign->added[i]))
            return;
    listener->again = listener->pattern && !assign->more;
    partitions_lag_update(listener);
}
