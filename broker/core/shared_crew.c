/* shared_crew.c: members of a shared group: joining, leaving, being dealt events.
 *
 * Everybody gets events of every partition. Who wants some stands in line; what is ready is dealt in runs, so that each of those
 * waiting gets about as much and neighbours stay together: a batch goes to few members.
 *
 * Happy path:  JOIN → first positions durable → JOINED → WANT → LEASED → ACK (shared_settle.c) → WANT → ...
 * Failures:    a member that gives back: its events are ready again, at the same attempt. One that is lost: its leases run on for
 *              the session timeout at most; if it comes back and names them they are its own again.
 * Thread: the core's. Pure. */
#include "broker/core/shared_internal.h"

#define DEAL_MAX      1024u   /* events in one answer */
#define GUARD_LOOK_US 1000000 /* while the disk guard holds up dead letters */
#define KEYS_LOW      512u    /* with less than that ready, more keys are read */

uint32_t retry_deliveries(const struct retry_policy *policy)
{
    return policy->deliveries ? policy->deliveries : RETRY_DELIVERIES;
}

/* ---- joining ---- */

static bool shared_at_work(const struct shared *shared)
{
    return shared->leased || shared->settling || shared->dying;
}

static bool group_at_work(const struct group *group)
{
    for (const struct group_position *position = group->positions; position; position = position->next)
        if (!position->deleted && position->shared && position->shared->open &&
            shared_at_work(position->shared))
            return true;
    return false;
}

/* It has no members, and what the last ones settled when they left is durable by now. */
static void group_rest(struct shard *shard, const struct group *group)
{
    for (const struct group_position *position = group->positions; position; position = position->next)
        if (position->shared)
            shared_close(shard, position->shared);
}

static void kind_propose(struct shard *shard, struct group *group, enum group_kind kind)
{
    State__SharedGroup command = STATE__SHARED_GROUP__INIT;
    command.name = group->name;
    command.kind = kind;
    uint8_t bytes[GROUP_NAME_MAX + 16];
    shard_add_command(shard, COMMAND_SHARED_GROUP, bytes, state__shared_group__pack(&command, bytes));
    struct shard_entry *entry = shard->gathering;
    entry->kinds = core_grow(entry->kinds, entry->kind_count, &entry->kind_capacity, sizeof(struct group *));
    entry->kinds[entry->kind_count++] = group;
    group->kind_prepared = kind;
    group->kind_entry = entry->number;
}

int shared_join_check(struct shard *shard, struct group *group, const struct topic *topic,
                      const struct shard_request *request, uint64_t *ret_entry)
{
    char name[TOPIC_NAME_MAX + 1];
    enum group_kind kind = request->group_kind;
    *ret_entry = group->kind_entry > shard->entry_done ? group->kind_entry : 0;
    if (kind != GROUP_ORDERED && !dead_letter_name(topic, name))
        return WIRE_CRIER_EINVAL;
    if (group->kind_prepared == kind || *ret_entry) /* what somebody else makes of it is seen first */
        return 0;
    if (kind == GROUP_ORDERED || group->crews)
        return WIRE_CRIER_EINVAL;
    if (group_at_work(group))
        return WIRE_CRIER_EBUSY; /* leases of members that are gone */
    group_rest(shard, group);
    kind_propose(shard, group, kind);
    *ret_entry = group->kind_entry;
    return 0;
}

static void crew_begin(struct shard *shard, struct crew *crew)
{
    crew->shared = core_alloc(sizeof(struct shared_crew));
    crew->shared->crew = crew;
    LL_PREPEND2(crew->topic->shared_crews, crew, shared_next);
    DL_APPEND(shard->shared->crews, crew->shared);
}

void shared_join(struct shard *shard, struct member *member, const struct shard_request *request)
{
    struct worker *worker = core_alloc(sizeof(*worker));
    worker->member = member;
    worker->lease_us = request->lease_us ? request->lease_us : SHARED_LEASE_MS * INT64_C(1000);
    worker->in_flight_max = request->in_flight_max ? request->in_flight_max : SHARED_IN_FLIGHT;
    worker->held_count = request->lease_count;
    if (worker->held_count) {
        worker->held = core_alloc(worker->held_count * sizeof(struct lease));
        memcpy(worker->held, request->leases, worker->held_count * sizeof(struct lease));
    }
    member->worker = worker;
    if (!member->crew->shared)
        crew_begin(shard, member->crew);
}

/* It was at this before: it still is, unless that attempt is over or somebody else's. */
static void restore(struct shard *shard, struct worker *worker, struct shared *shared, uint64_t offset,
                    uint32_t attempt)
{
    struct item *item = item_find(shared, offset);
    if (shared_done(shared, offset) || offset >= shared_partition(shard, shared)->next)
        return;
    if (!item && shared->items.count < 2 * SHARED_OPEN_MAX)
        item = item_create(shard, shared, offset);
    if (!item || item->attempts + 1 != attempt || item->dead)
        return;
    bool free = item->state == ITEM_READY || (item->state == ITEM_BLOCKED && !item->key_prev);
    if (free || (item->state == ITEM_LEASED && !item->worker))
        item_lease(shard, item, worker, worker->lease_us);
}

static void restore_all(struct shard *shard, struct worker *worker)
{
    const struct group *group = worker->member->crew->group;
    uint32_t events = 0;
    for (size_t i = 0; i < worker->held_count; i++) {
        const struct lease *held = &worker->held[i];
        const struct slot *slot = crew_slot(worker->member->crew, held->partition);
        struct group_position *position =
            slot ? position_find(shard, (struct group *)group, held->partition) : NULL;
        for (uint32_t k = 0; position && k < held->count && events < SHARED_IN_FLIGHT_MAX; k++, events++)
            restore(shard, worker, position->shared, held->offset + k, held->attempt);
    }
    free(worker->held);
    worker->held = NULL;
}

void shared_settle_member(struct shard *shard, struct member *member)
{
    struct crew *crew = member->crew;
    const struct topic *topic = crew->topic;
    uint64_t depends_on = 0;
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        uint64_t number = position_depends(shard, position_find(shard, crew->group, topic->partitions[i]));
        if (number > depends_on)
            depends_on = number;
    }
    if (member->joined)
        return;
    if (depends_on) {
        member_settle_later(shard, member, depends_on);
        return;
    }
    struct position *positions = core_alloc(topic->partition_count * sizeof(*positions));
    if (!crew->shared->partitions)
        crew->shared->partitions = core_alloc(topic->partition_count * sizeof(struct shared *));
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        struct group_position *position = position_find(shard, crew->group, topic->partitions[i]);
        crew->shared->partitions[i] = shared_get(position);
        shared_open(shard, position->shared, crew->group->kind == GROUP_KEY_ORDERED);
        positions[i] = (struct position){topic->partitions[i], position->offset};
    }
    restore_all(shard, member->worker);
    member_tell(shard, member, positions, topic->partition_count);
    free(positions);
    shared_stir(shard, crew);
}

/* ---- leaving ---- */

/* Nobody is left: what need not be remembered is forgotten, and found again by whoever joins next. What is dead waits for nobody. */
static void crew_rest(struct shard *shard, const struct crew *crew)
{
    for (uint32_t i = 0; crew->shared->partitions && i < crew->topic->partition_count; i++) {
        struct shared *shared = crew->shared->partitions[i];
        if (!shared_at_work(shared)) {
            shared_close(shard, shared);
            dying_resume(shard, shared);
        }
    }
}

void shared_leave(struct shard *shard, struct member *member, int64_t left_us)
{
    struct worker *worker = member->worker;
    struct shared_crew *shared = member->crew->shared;
    while (worker->items) {
        struct item *item = worker->items;
        if (left_us) {
            item_orphan(shard, item, shard->mono_us + left_us);
        } else {
            item_close(shard, item);
            item_open(shard, item);
        }
    }
    if (worker->wanting) {
        DL_DELETE(shared->wanting, worker);
        shared->wanting_count--;
    }
    free(worker->held);
    free(worker);
    member->worker = NULL;
    shared_stir(shard, member->crew);
}

void shared_crew_end(struct shard *shard, struct crew *crew)
{
    crew_rest(shard, crew);
    LL_DELETE2(crew->topic->shared_crews, crew, shared_next);
    DL_DELETE(shard->shared->crews, crew->shared);
    free(crew->shared->partitions);
    free(crew->shared);
}

/* ---- dealing ---- */

void shared_stir(struct shard *shard, struct crew *crew)
{
    if (crew->shared)
        crew->shared->stirred = shard->shared->stirred = true;
}

void shared_stir_position(struct shard *shard, const struct group_position *position)
{
    const struct partition *partition = partition_find(shard, position->key.partition);
    struct crew *crew = partition ? crew_find(position->key.group, partition->topic) : NULL;
    if (crew)
        shared_stir(shard, crew);
}

void shared_data(struct shard *shard, const struct topic *topic)
{
    for (struct crew *crew = topic->shared_crews; crew; crew = crew->shared_next)
        shared_stir(shard, crew);
}

/* How many could be dealt; of one with keys, those that are known to be first of theirs. */
static size_t available(struct shard *shard, struct shared *shared)
{
    const struct partition *partition = shared_partition(shard, shared);
    uint64_t behind = partition->next > shared->frontier ? partition->next - shared->frontier : 0;
    if (shared->keyed) {
        if (behind && shared->ready_count < KEYS_LOW && shared_room(shared))
            shared_read_keys(shard, shared);
        return shared->ready_count;
    }
    size_t room = shared_room(shared);
    return shared->ready_count + (behind < room ? (size_t)behind : room);
}

/* The next one that is ready; NULL: there is none. What retention has taken is settled by the way. */
static struct item *ready_next(struct shard *shard, struct shared *shared, size_t wanted)
{
    const struct partition *partition = shared_partition(shard, shared);
    for (;;) {
        if (!shared->ready && !shared->keyed)
            shared_fill(shard, shared, wanted);
        struct item *item = shared->ready;
        if (!item || item->offset >= partition->log_start)
            return item;
        shared_mark_done(shard, item);
    }
}

struct dealt {
    uint64_t offset;
    uint32_t attempt;
};

static int by_offset(const void *a, const void *b)
{
    uint64_t left = ((const struct dealt *)a)->offset, right = ((const struct dealt *)b)->offset;
    return (left > right) - (left < right);
}

static void dealt_tell(struct shard *shard, const struct worker *worker, uint64_t partition,
                       struct dealt *dealt, size_t count)
{
    struct lease leases[DEAL_MAX];
    size_t used = 0;
    qsort(dealt, count, sizeof(*dealt), by_offset);
    for (size_t i = 0; i < count; i++) {
        struct lease *last = used ? &leases[used - 1] : NULL;
        if (last && last->offset + last->count == dealt[i].offset && last->attempt == dealt[i].attempt)
            last->count++;
        else
            leases[used++] = (struct lease){partition, dealt[i].offset, 1, dealt[i].attempt};
    }
    struct shard_reply reply = {.kind = SHARD_LEASED,
                                .request_kind = SHARD_WANT,
                                .token = worker->member->token,
                                .generation = worker->member->generation,
                                .leases = leases,
                                .lease_count = used};
    shard->output->reply(shard->output_ctx, &reply);
}

/* So many events of the partition, if there are. */
static bool deal_from(struct shard *shard, struct shared_crew *crew, struct worker *worker,
                      struct shared *shared, size_t wanted)
{
    struct dealt dealt[DEAL_MAX];
    size_t count = 0;
    while (count < wanted) {
        struct item *item = ready_next(shard, shared, wanted - count);
        if (!item)
            break;
        item_lease(shard, item, worker, worker->lease_us);
        dealt[count++] = (struct dealt){item->offset, item->attempts + 1};
    }
    if (!count)
        return false;
    worker->wanting = false;
    DL_DELETE(crew->wanting, worker);
    crew->wanting_count--;
    dealt_tell(shard, worker, shared->position->key.partition, dealt, count);
    return true;
}

static bool deal_to(struct shard *shard, struct shared_crew *crew, struct worker *worker)
{
    uint32_t count = crew->crew->topic->partition_count;
    size_t room = worker->in_flight_max - worker->leased;
    for (uint32_t i = 0; i < count; i++) {
        struct shared *shared = crew->partitions[crew->turn];
        crew->turn = (crew->turn + 1) % count;
        size_t fair = (available(shard, shared) + crew->wanting_count - 1) / crew->wanting_count;
        size_t wanted = fair < room ? fair : room;
        if (wanted && deal_from(shard, crew, worker, shared, wanted < DEAL_MAX ? wanted : DEAL_MAX))
            return true;
    }
    return false;
}

static void deal(struct shard *shard, struct shared_crew *crew)
{
    struct worker *worker, *next;
    crew->stirred = false;
    DL_FOREACH_SAFE (crew->wanting, worker, next) {
        if (worker->leased < worker->in_flight_max && !deal_to(shard, crew, worker))
            return; /* there is nothing for those behind it either */
    }
}

static void want(struct shard *shard, const struct shard_request *request)
{
    const struct member *member = member_find(shard, request->generation);
    if (!member || !member->worker || !member->joined || member->worker->wanting)
        return;
    struct shared_crew *crew = member->crew->shared;
    member->worker->wanting = true;
    crew->wanting_count++;
    DL_APPEND(crew->wanting, member->worker);
    if (shard->ready && !shard->read_only)
        deal(shard, crew);
}

/* Leased and not sent: it was no attempt. Or there is no such event. What its member claims it has from before: an entry was
 * refused, and it was leased the same attempt again. It keeps that. */
static void give_back(struct shard *shard, const struct shard_request *request)
{
    const struct member *member = member_find(shard, request->generation);
    for (size_t i = 0; member && member->worker && i < request->lease_count; i++) {
        const struct lease *lease = &request->leases[i];
        struct group_position *position = position_find(shard, member->crew->group, lease->partition);
        for (uint32_t k = 0; position && position->shared && k < lease->count; k++) {
            struct item *item = item_find(position->shared, lease->offset + k);
            if (!item || item->state != ITEM_LEASED || item->worker != member->worker)
                continue;
            if (request->kind == SHARD_NONE) {
                shared_mark_done(shard, item);
                continue;
            }
            if (item->claimed)
                continue;
            item_close(shard, item);
            item_open(shard, item);
        }
    }
    if (member)
        shared_stir(shard, member->crew);
}

void shared_request(struct shard *shard, const struct shard_request *request)
{
    switch (request->kind) {
    case SHARD_WANT:
        want(shard, request);
        break;
    case SHARD_RETURN:
    case SHARD_NONE:
        give_back(shard, request);
        break;
    case SHARD_REDRIVE:
        redrive_request(shard, request);
        break;
    default:
        shared_settle(shard, request);
    }
}

/* ---- a turn ---- */

static void deal_all(struct shard *shard)
{
    struct shared_crew *crew;
    if (!shard->shared->stirred)
        return;
    shard->shared->stirred = false;
    DL_FOREACH (shard->shared->crews, crew) {
        if (crew->stirred)
            deal(shard, crew);
    }
}

int64_t shared_turn(struct shard *shard)
{
    if (!shard->ready)
        return INT64_MAX;
    if (shard->read_only) {
        redrive_turn(shard); /* somebody waits for its end */
        return INT64_MAX;
    }
    time_turn(shard);
    dying_turn(shard);
    redrive_turn(shard);
    keys_turn(shard);
    deal_all(shard);
    int64_t due_us = shared_due_us(shard), look_us = shard->mono_us + GUARD_LOOK_US;
    return shard->guarded && shard->shared->dying && look_us < due_us ? look_us : due_us;
}

/* ---- life ---- */

void shared_create(struct shard *shard)
{
    shard->shared = core_alloc(sizeof(struct shared_world));
    shard->shared->lease_due_us = shard->shared->keys_due_us = INT64_MAX;
}

void shared_destroy(struct shard *shard)
{
    struct shared_world *world = shard->shared;
    for (struct group *group = shard->groups; group; group = group->hh.next) {
        for (struct group_position *position = group->positions; position; position = position->next) {
            if (!position->shared || position->deleted)
                continue;
            shared_close(shard, position->shared);
            shared_read_forget(shard, position->shared);
        }
    }
    struct shared_crew *crew;
    DL_FOREACH (world->crews, crew) { /* positions go before crews */
        free(crew->partitions);
        crew->partitions = NULL;
    }
    shared_reads_free(shard);
    redrives_free(shard);
    while (world->free) {
        struct item *item = world->free;
        world->free = item->next;
        free(item);
    }
    heap_finish(&world->timers);
}
