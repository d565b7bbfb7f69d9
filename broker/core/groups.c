/* groups.c: members: joining, settling, releasing, leaving, committing.
 *
 * Membership is volatile and fenced: each member has a generation {broker epoch, counter} that no earlier life and no
 * other member can have, and a commit counts only for partitions its sender owns (or has been asked back and not released).
 *
 * JOIN:    commits a first position for every partition of the topic that has none, takes its share (crew.c), and is
 *          answered when those positions, and all that earlier owners committed, are durable: a new owner never starts
 *          before what the old one committed.
 * SETTLE:  the same wait for what a member is given later.
 * RELEASE: the member is done with partitions it was asked for; they go to others.
 * LEAVE:   UNLISTEN, or the connection is gone, or it was silent for the session timeout. */
#include "broker/core/shard_internal.h"

struct member *member_find(struct shard *shard, uint64_t generation)
{
    struct member *member = NULL;
    HASH_FIND(hh, shard->members, &generation, sizeof(generation), member);
    return member;
}

void member_tell(struct shard *shard, struct member *member, const struct position *ready, size_t count)
{
    struct shard_reply reply = {.kind = member->joined ? SHARD_ASSIGNED : SHARD_JOINED,
                                .request_kind = SHARD_JOIN,
                                .token = member->token,
                                .generation = member->generation,
                                .positions = ready,
                                .position_count = count};
    if (member->joined && count == 0)
        return;
    member->joined = true;
    shard->output->reply(shard->output_ctx, &reply);
}

/* Parks until entry `number`; what then becomes of it is looked at anew. */
void member_settle_later(struct shard *shard, const struct member *member, uint64_t number)
{
    struct shard_request request = {.kind = SHARD_SETTLE,
                                    .token = member->token,
                                    .generation = member->generation,
                                    .group = member->crew->group->name,
                                    .name = member->crew->topic->name};
    shard_park(shard, number, &request);
}

void member_settle(struct shard *shard, struct member *member)
{
    if (member->worker) {
        shared_settle_member(shard, member);
        return;
    }
    struct position *ready = core_alloc((member->owned + 1) * sizeof(*ready));
    size_t count = 0;
    uint64_t depends_on = 0;
    struct slot *slot;
    DL_FOREACH (member->slots, slot) {
        if (slot->state != SLOT_STARTING)
            continue;
        const struct group_position *position = position_find(shard, member->crew->group, slot->partition);
        uint64_t number = position_depends(shard, position);
        if (number > depends_on)
            depends_on = number;
        if (number == 0 && position && position->exists)
            ready[count++] = (struct position){slot->partition, position->offset};
    }
    if (depends_on && !member->joined) {
        member_settle_later(shard, member, depends_on);
        free(ready);
        return;
    }
    for (size_t i = 0; i < count; i++)
        crew_slot(member->crew, ready[i].partition)->state = SLOT_OWNED;
    member_tell(shard, member, ready, count);
    if (depends_on)
        member_settle_later(shard, member, depends_on);
    free(ready);
}

/* First positions for partitions without one; returns the entry that carries the last of them, 0: all are stored. */
static uint64_t first_positions(struct shard *shard, const struct shard_request *request, struct group *group)
{
    uint64_t depends_on = 0;
    for (size_t i = 0; i < request->position_count; i++) {
        const struct position *start = &request->positions[i];
        const struct group_position *position = position_find(shard, group, start->partition);
        if (!position || !position->exists_prepared) {
            position_prepare(shard, group, start->partition, start->offset);
            position = position_find(shard, group, start->partition);
        }
        if (!position->exists && position->entry > depends_on)
            depends_on = position->entry;
    }
    return depends_on;
}

static void join(struct shard *shard, const struct shard_request *request)
{
    struct topic *topic = topic_find(shard, request->name);
    if (!topic || !topic->applied) {
        shard_reply_code(shard, request, WIRE_CRIER_ENOTOPIC);
        return;
    }
    if (topic->deleting) {
        shard_park(shard, topic->change, request);
        return;
    }
    if (shard->read_only) {
        shard_reply_code(shard, request, WIRE_CRIER_EIO);
        return;
    }
    struct group *group = group_get(shard, request->group);
    if (group->entry) { /* somebody seeks or deletes it: it joins what comes of that */
        shard_park(shard, group->entry, request);
        return;
    }
    uint64_t depends_on;
    int code = shared_join_check(shard, group, topic, request, &depends_on);
    if (code) {
        shard_reply_code(shard, request, code);
        return;
    }
    if (depends_on) {
        shard_park(shard, depends_on, request);
        return;
    }
    struct crew *crew = crew_get(shard, group, topic);
    struct member *member = crew_join(shard, crew, request);
    depends_on = crew->positioned ? 0 : first_positions(shard, request, group);
    crew->positioned = depends_on == 0;
    if (request->group_kind == GROUP_ORDERED)
        crew_rebalance(shard, crew);
    else
        shared_join(shard, member, request);
    if (depends_on)
        member_settle_later(shard, member, depends_on);
    else
        member_settle(shard, member);
}

static void settle(struct shard *shard, const struct shard_request *request)
{
    struct member *member = member_find(shard, request->generation);
    if (member) /* else it left while it waited */
        member_settle(shard, member);
}

/* Its JOIN may still be waiting for a seek or a deletion: it becomes a second LEAVE, which finds nobody. */
static void join_cancel(struct parked *parked, const struct shard_request *request)
{
    for (; parked; parked = parked->next)
        if (parked->request.kind == SHARD_JOIN &&
            parked->request.token.connection == request->token.connection &&
            parked->request.token.request == request->token.request)
            parked->request.kind = SHARD_LEAVE;
}

static void leave(struct shard *shard, const struct shard_request *request)
{
    struct group *group = group_find(shard, request->group);
    for (struct crew *crew = group ? group->crews : NULL; crew; crew = crew->next) {
        struct member *member;
        DL_FOREACH (crew->members, member) {
            if (member->token.connection == request->token.connection &&
                member->token.request == request->token.request) {
                if (member->worker)
                    shared_leave(shard, member, request->lease_us);
                crew_leave(shard, member);
                return;
            }
        }
    }
    for (struct shard_entry *entry = shard->in_flight; entry; entry = entry->next)
        join_cancel(entry->parked, request);
    if (shard->gathering)
        join_cancel(shard->gathering->parked, request);
    if (shard->answering)
        join_cancel(shard->answering->parked, request);
}

static void release(struct shard *shard, const struct shard_request *request)
{
    struct member *member = member_find(shard, request->generation);
    if (!member || member->worker)
        return;
    for (size_t i = 0; i < request->position_count; i++) {
        struct slot *slot = crew_slot(member->crew, request->positions[i].partition);
        if (slot && slot->owner == member && slot->state == SLOT_RELEASING)
            slot_free(slot);
    }
    crew_rebalance(shard, member->crew);
}

static int commit_check(const struct shard *shard, const struct member *member,
                        const struct shard_request *request)
{
    for (size_t i = 0; i < request->position_count; i++) {
        const struct position *wanted = &request->positions[i];
        const struct slot *slot = crew_slot(member->crew, wanted->partition);
        const struct partition *partition = partition_find(shard, wanted->partition);
        if (!slot || !partition || wanted->offset > partition->next)
            return WIRE_CRIER_EINVAL;
        if (slot->owner != member || slot->state == SLOT_STARTING)
            return WIRE_CRIER_EFENCED;
    }
    return 0;
}

static void commit(struct shard *shard, const struct shard_request *request)
{
    const struct member *member = member_find(shard, request->generation);
    int code = member && !member->worker && member->token.connection == request->token.connection
                   ? commit_check(shard, member, request)
                   : WIRE_CRIER_EFENCED;
    if (code) {
        shard_reply_code(shard, request, code);
        return;
    }
    struct group *group = member->crew->group;
    uint64_t depends_on = 0;
    for (size_t i = 0; i < request->position_count; i++) {
        const struct position *wanted = &request->positions[i];
        position_prepare(shard, group, wanted->partition, wanted->offset);
        uint64_t number = position_depends(shard, position_find(shard, group, wanted->partition));
        if (number > depends_on)
            depends_on = number;
    }
    if (depends_on)
        shard_park(shard, depends_on, request);
    else
        shard_reply_code(shard, request, 0);
}

void groups_request(struct shard *shard, const struct shard_request *request)
{
    switch (request->kind) {
    case SHARD_JOIN:
        join(shard, request);
        break;
    case SHARD_SETTLE:
        settle(shard, request);
        break;
    case SHARD_RELEASE:
        release(shard, request);
        break;
    case SHARD_LEAVE:
        leave(shard, request);
        break;
    case SHARD_COMMIT:
        commit(shard, request);
        break;
    default:
        CHECK(false);
    }
}
