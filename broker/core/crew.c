/* crew.c: who of a group has which partition of a topic: shared out evenly, moved as little as possible.
 *
 * With P partitions and M members everybody gets P / M, and P mod M of them one more. Whoever has more than that is asked
 * to give the excess back and goes on with the rest: nobody else stops. What comes back, or is nobody's, goes to those who
 * have least. A partition has one owner at a time: it is given away only after its owner has released it or is gone.
 *
 * Sticky: a member keeps what it has as long as its share allows. Cost: O(members + partitions moved) per change. */
#include "broker/core/shard_internal.h"

struct crew *crew_find(struct group *group, const struct topic *topic)
{
    struct crew *crew = group->crews;
    while (crew && crew->topic != topic)
        crew = crew->next;
    return crew;
}

struct crew *crew_get(struct shard *shard, struct group *group, struct topic *topic)
{
    (void)shard;
    struct crew *crew = crew_find(group, topic);
    if (crew)
        return crew;
    crew = core_alloc(sizeof(*crew));
    crew->group = group;
    crew->topic = topic;
    crew->slots = core_alloc(topic->partition_count * sizeof(struct slot));
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        crew->slots[i].partition = topic->partitions[i];
        DL_APPEND(crew->free, &crew->slots[i]);
    }
    LL_PREPEND(group->crews, crew);
    return crew;
}

struct slot *crew_slot(const struct crew *crew, uint64_t partition)
{
    uint64_t place = partition - crew->slots[0].partition; /* a topic's numbers follow each other */
    if (place >= crew->topic->partition_count || crew->slots[place].partition != partition)
        return NULL;
    return &crew->slots[place];
}

static bool slot_counts(const struct slot *slot)
{
    return slot->state == SLOT_STARTING || slot->state == SLOT_OWNED;
}

void slot_free(struct slot *slot)
{
    struct member *owner = slot->owner;
    if (slot_counts(slot))
        owner->owned--;
    DL_DELETE(owner->slots, slot);
    slot->state = SLOT_FREE;
    slot->owner = NULL;
    DL_APPEND(owner->crew->free, slot);
}

static void slot_give(struct crew *crew, struct member *member)
{
    struct slot *slot = crew->free;
    DL_DELETE(crew->free, slot);
    slot->state = SLOT_STARTING;
    slot->owner = member;
    DL_APPEND(member->slots, slot);
    member->owned++;
    member->gained = true;
}

/* ---- members ---- */

struct member *crew_join(struct shard *shard, struct crew *crew, const struct shard_request *request)
{
    struct member *member = core_alloc(sizeof(*member));
    member->crew = crew;
    member->token = request->token;
    member->name = core_strdup(request->member ? request->member : "");
    member->generation = shard->self.broker_epoch << 32 | ++shard->generation_counter;
    DL_APPEND(crew->members, member);
    crew->member_count++;
    HASH_ADD(hh, shard->members, generation, sizeof(member->generation), member);
    return member;
}

static void member_remove(struct shard *shard, struct member *member)
{
    struct crew *crew = member->crew;
    if (member->worker)
        shared_leave(shard, member, 0);
    while (member->slots)
        slot_free(member->slots);
    DL_DELETE(crew->members, member);
    crew->member_count--;
    HASH_DEL(shard->members, member);
    free(member->name);
    free(member);
}

void crew_leave(struct shard *shard, struct member *member)
{
    struct crew *crew = member->crew;
    member_remove(shard, member);
    if (!crew->members)
        crew_free(shard, crew);
    else if (!crew->shared)
        crew_rebalance(shard, crew);
}

void crew_free(struct shard *shard, struct crew *crew)
{
    while (crew->members)
        member_remove(shard, crew->members);
    if (crew->shared)
        shared_crew_end(shard, crew);
    LL_DELETE(crew->group->crews, crew);
    free(crew->slots);
    free(crew);
}

/* ---- sharing out ---- */

/* Asks for `excess` partitions back; what its client has never heard of is simply taken. */
static void member_shrink(struct shard *shard, struct member *member, uint32_t excess)
{
    struct position *revoked = core_alloc((excess + 1) * sizeof(*revoked));
    size_t count = 0;
    struct slot *slot, *next;
    DL_FOREACH_SAFE (member->slots, slot, next) {
        if (excess && slot->state == SLOT_STARTING) {
            slot_free(slot);
            excess--;
        }
    }
    DL_FOREACH (member->slots, slot) {
        if (!excess || slot->state != SLOT_OWNED)
            continue;
        slot->state = SLOT_RELEASING;
        member->owned--;
        revoked[count++] = (struct position){.partition = slot->partition};
        excess--;
    }
    struct shard_reply reply = {.kind = SHARD_REVOKED,
                                .request_kind = SHARD_JOIN,
                                .token = member->token,
                                .generation = member->generation,
                                .positions = revoked,
                                .position_count = count};
    if (count)
        shard->output->reply(shard->output_ctx, &reply);
    free(revoked);
}

void crew_rebalance(struct shard *shard, struct crew *crew)
{
    uint32_t share = crew->topic->partition_count / crew->member_count;
    uint32_t larger = crew->topic->partition_count % crew->member_count; /* so many may have one more */
    struct member *member, *next;
    DL_FOREACH (crew->members, member) {
        uint32_t limit = share;
        if (member->owned > share && larger) {
            limit++;
            larger--;
        }
        if (member->owned > limit)
            member_shrink(shard, member, member->owned - limit);
    }
    DL_FOREACH (crew->members, member) {
        while (crew->free && member->owned < share)
            slot_give(crew, member);
    }
    DL_FOREACH (crew->members, member) {
        if (crew->free && larger && member->owned == share) {
            slot_give(crew, member);
            larger--;
        }
    }
    DL_FOREACH_SAFE (crew->members, member, next) {
        if (member->gained && member->joined)
            member_settle(shard, member);
        member->gained = false;
    }
}
