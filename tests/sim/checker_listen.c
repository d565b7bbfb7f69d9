/* checker_listen.c: each listener's way through the log: where it began, that it went on step by step, and that it
 * reached the end; and the same for groups, whose members share partitions and follow each other. */
#include "tests/sim/checker_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define GROUPS_MAX 8

/* A listener's way through one partition. */
struct way {
    bool in_life;     /* has got something since LISTENING, or since it was given */
    bool given;       /* a group's member has it */
    bool reached_any; /* has ever got something */
    uint64_t next;    /* follows what it got last */
    uint64_t reached; /* where a next life begins */
};

struct walker {
    uint64_t lives;
    uint64_t listening_at; /* the first LISTENING */
    uint64_t
        asked_at; /* when this life was asked for at the earliest: LISTEN, or the loss of the connection */
    uint64_t got;
    struct way ways[PARTITIONS_MAX];
};

/* What the members of a group have done together. */
struct group_way {
    bool any;
    uint64_t reached;  /* every event below it, from where the group began, was handled */
    uint64_t again;    /* the same since the last seek, which may have gone back; else as `reached` */
    uint64_t moved_at; /* the last seek, or the first position */
    uint64_t position; /* durable; 0: none yet */
    bool positioned;
};

struct listen_check {
    struct check *check;
    struct walker *walkers; /* by listener */
    struct group_way groups[GROUPS_MAX][HISTORY_TOPICS_MAX][PARTITIONS_MAX];
};

#define UNSIGNED(number) ((unsigned long long)(number))

/* From `from` on everything up to `to` was gone before: a listener goes on behind it. */
static bool gone(const struct check *check, uint32_t topic, uint32_t partition, uint64_t from, uint64_t to,
                 uint64_t at)
{
    return from < to && to <= history_log_start(check->history, topic, partition, at);
}

/* ---- where a listener without a group begins ---- */

/* The first offset of a batch appended at or after this time; the partition's end if there is none. */
static uint64_t offset_at_time(const struct check *check, uint32_t topic, uint32_t partition, int64_t time_us)
{
    const struct history *history = check->history;
    uint64_t offset = check->first.partitions[topic][partition].count;
    for (size_t i = 0; i < history->batch_count; i++) {
        const struct history_batch *batch = &history->batches[i];
        if (batch->topic == topic && batch->partition == partition && batch->append_time_us >= time_us &&
            batch->base_offset < offset)
            offset = batch->base_offset;
    }
    return offset;
}

/* What was acknowledged before `at` lies below this. */
static uint64_t acknowledged_before(const struct check *check, uint32_t topic, uint32_t partition,
                                    uint64_t at)
{
    uint64_t end = 0;
    for (size_t i = 0; i < check->history->emit_count; i++) {
        const struct history_emit *emit = &check->history->emits[i];
        const struct place *place = &check->places[i];
        if (emit->topic == topic && place->times && place->partition == partition && emit->state == EMIT_OK &&
            !emit->memory && emit->returned_at < at && place->offset >= end)
            end = place->offset + 1;
    }
    return end;
}

/* What was emitted after `at` lies at or above this. */
static uint64_t emitted_after(const struct check *check, uint32_t topic, uint32_t partition, uint64_t at)
{
    uint64_t start = check->first.partitions[topic][partition].count;
    for (size_t i = 0; i < check->history->emit_count; i++) {
        const struct history_emit *emit = &check->history->emits[i];
        const struct place *place = &check->places[i];
        if (emit->topic == topic && place->times && place->partition == partition && emit->invoked_at > at &&
            place->offset < start)
            start = place->offset;
    }
    return start;
}

struct span {
    uint64_t low, high; /* inclusive */
};

/* Between which offsets a listener without a group has to begin. */
static struct span start_allowed(const struct check *check, const struct history_listener *listener,
                                 const struct walker *walker, uint32_t partition)
{
    struct span span = {0, 0};
    switch (listener->from) {
    case FROM_EARLIEST:
        break;
    case FROM_OFFSET:
        span.low = span.high = (uint64_t)listener->from_value;
        break;
    case FROM_LIVE:
        span.low = acknowledged_before(check, listener->topic, partition, listener->listen_at);
        span.high = emitted_after(check, listener->topic, partition, walker->listening_at);
        break;
    case FROM_TIME:
        span.high = offset_at_time(check, listener->topic, partition, listener->from_value);
        span.low = acknowledged_before(check, listener->topic, partition, listener->listen_at);
        if (span.low > span.high)
            span.low = span.high;
        break;
    }
    return span;
}

static void check_start(struct check *check, uint32_t index, const struct walker *walker,
                        const struct history_seen *seen)
{
    const struct history_listener *listener = &check->history->listeners[index];
    struct span span = start_allowed(check, listener, walker, seen->partition);
    if ((seen->offset < span.low || seen->offset > span.high) &&
        !gone(check, listener->topic, seen->partition, span.high, seen->offset, seen->at))
        report_add(check->report, 8,
                   "listener %u (from %d) began partition %u at %llu, not within %llu..%llu", index,
                   (int)listener->from, seen->partition, UNSIGNED(seen->offset), UNSIGNED(span.low),
                   UNSIGNED(span.high));
}

/* ---- groups ---- */

static struct group_way *group_way(struct listen_check *all, const struct history_listener *listener,
                                   uint32_t partition)
{
    if (listener->group == HISTORY_NONE)
        return NULL;
    CHECK(listener->group < GROUPS_MAX);
    return &all->groups[listener->group][listener->topic][partition];
}

/* What a member that asked at `at` and begins at `until` may not begin before: the position when it asked; but a person
 * may have moved it meanwhile. */
static uint64_t position_before(const struct check *check, const struct history_listener *listener,
                                uint32_t partition, uint64_t at, uint64_t until)
{
    uint64_t floor = 0;
    for (size_t i = 0; i < check->history->position_count; i++) {
        const struct history_position *position = &check->history->positions[i];
        if (position->group != listener->group || position->at >= until)
            continue;
        if (position->moved == HISTORY_FORGOTTEN)
            floor = 0;
        else if (position->topic != listener->topic || position->partition != partition)
            continue;
        else if (position->moved == HISTORY_SOUGHT && (position->at < at || position->offset < floor))
            floor = position->offset;
        else if (position->moved == HISTORY_COMMITTED && position->at < at && position->offset > floor)
            floor = position->offset;
    }
    return floor;
}

/* The first event of a member's life. One that was here before goes on where it was, also if somebody sought back while its
 * connection was lost for a moment; and one that asked before somebody sought back may have been given its start before, and
 * hears of it late. */
static void check_member(struct listen_check *all, uint32_t index, const struct history_seen *seen,
                         const struct way *way, const struct group_way *group)
{
    struct check *check = all->check;
    const struct history_listener *listener = &check->history->listeners[index];
    uint64_t floor =
        position_before(check, listener, seen->partition, all->walkers[index].asked_at, seen->at);
    bool before =
        way->reached_any || all->walkers[index].lives > 1 || all->walkers[index].asked_at < group->moved_at;
    uint64_t ceiling = before ? group->reached : group->again;
    if (seen->offset < floor)
        report_add(check->report, 9,
                   "group %u partition %u: listener %u began at %llu, the position was %llu", listener->group,
                   seen->partition, index, UNSIGNED(seen->offset), UNSIGNED(floor));
    if (group->any && seen->offset > ceiling &&
        !gone(check, listener->topic, seen->partition, ceiling, seen->offset, seen->at))
        report_add(check->report, 9,
                   "group %u partition %u: listener %u began at %llu, handled was up to %llu",
                   listener->group, seen->partition, index, UNSIGNED(seen->offset), UNSIGNED(ceiling));
}

static void group_reaches(struct group_way *group, uint64_t offset)
{
    if (!group->any || offset > group->reached)
        group->reached = offset;
    if (!group->any || offset > group->again)
        group->again = offset;
    group->any = true;
}

/* A group that is deleted begins anew; who still handles what it had does so for nobody. */
static void group_forgotten(struct listen_check *all, uint32_t group)
{
    for (size_t topic = 0; topic < HISTORY_TOPICS_MAX; topic++)
        for (size_t partition = 0; partition < PARTITIONS_MAX; partition++)
            all->groups[group][topic][partition].positioned = false;
}

static void check_commit(struct listen_check *all, const struct history_position *position,
                         const struct group_way *group)
{
    struct report *report = all->check->report;
    if (position->offset < group->position)
        report_add(report, 9, "group %u partition %u: the position went back from %llu to %llu",
                   position->group, position->partition, UNSIGNED(group->position),
                   UNSIGNED(position->offset));
    else if (position->offset > group->position && position->offset > group->reached &&
             !gone(all->check, position->topic, position->partition, group->reached, position->offset,
                   position->at))
        report_add(report, 9, "group %u partition %u: the position is %llu, handled was up to %llu",
                   position->group, position->partition, UNSIGNED(position->offset),
                   UNSIGNED(group->reached));
}

static void check_position(struct listen_check *all, const struct history_position *position)
{
    CHECK(position->group < GROUPS_MAX);
    if (position->moved == HISTORY_FORGOTTEN) {
        group_forgotten(all, position->group);
        return;
    }
    struct group_way *group = &all->groups[position->group][position->topic][position->partition];
    if (group->positioned && position->moved == HISTORY_COMMITTED)
        check_commit(all, position, group);
    group_reaches(group, position->offset);
    if (!group->positioned || position->moved == HISTORY_SOUGHT) {
        group->again = position->offset;
        group->moved_at = position->at;
    }
    group->positioned = true;
    group->position = position->offset;
}

/* ---- step by step ---- */

static void delivered(struct listen_check *all, const struct history_seen *seen)
{
    struct check *check = all->check;
    uint32_t index = seen->listener;
    const struct history_listener *listener = &check->history->listeners[index];
    struct walker *walker = &all->walkers[index];
    struct way *way = &walker->ways[seen->partition];
    struct group_way *group = group_way(all, listener, seen->partition);
    if (walker->lives == 0)
        report_add(check->report, 8, "listener %u got an event before it was in place", index);
    bool after_gap = gone(check, listener->topic, seen->partition, way->in_life ? way->next : way->reached,
                          seen->offset, seen->at);
    if (way->in_life && seen->offset != way->next && !after_gap)
        report_add(check->report, 8, "listener %u partition %u: after %llu came %llu", index, seen->partition,
                   UNSIGNED(way->next) - 1, UNSIGNED(seen->offset));
    else if (!way->in_life && way->reached_any && !group && seen->offset != way->reached && !after_gap)
        report_add(check->report, 8, "listener %u partition %u: had reached %llu and went on at %llu", index,
                   seen->partition, UNSIGNED(way->reached), UNSIGNED(seen->offset));
    else if (!way->in_life && !way->reached_any && !group)
        check_start(check, index, walker, seen);
    if (group && !way->given)
        report_add(check->report, 10,
                   "listener %u partition %u: handled %llu of a partition it does not have", index,
                   seen->partition, UNSIGNED(seen->offset));
    if (!way->in_life && group)
        check_member(all, index, seen, way, group);
    walker->got++;
    if (listener->count && walker->got > listener->count)
        report_add(check->report, 11, "listener %u asked for %llu events and got %llu", index,
                   UNSIGNED(listener->count), UNSIGNED(walker->got));
    way->in_life = way->reached_any = true;
    way->next = seen->offset + 1;
    way->reached = seen->keeps ? seen->offset : seen->offset + 1;
    if (group)
        group_reaches(group, way->reached);
}

/* Between two times a member has it others may have handled what it did not. */
static void assigned(struct way *way, bool given)
{
    way->given = given;
    way->in_life = false;
}

static void life_begins(struct walker *walker, uint64_t at)
{
    if (walker->lives++ == 0)
        walker->listening_at = at;
    for (size_t i = 0; i < PARTITIONS_MAX; i++)
        walker->ways[i].in_life = false;
}

/* Both histories in the order of everything. */
static void walk(struct listen_check *all)
{
    const struct history *history = all->check->history;
    size_t p = 0;
    for (size_t i = 0; i < history->seen_count; i++) {
        const struct history_seen *seen = &history->seen[i];
        for (; p < history->position_count && history->positions[p].at < seen->at; p++)
            check_position(all, &history->positions[p]);
        switch (seen->kind) {
        case HISTORY_DELIVERED:
            delivered(all, seen);
            break;
        case HISTORY_LISTENING:
            life_begins(&all->walkers[seen->listener], seen->at);
            break;
        case HISTORY_GIVEN:
        case HISTORY_TAKEN:
            assigned(&all->walkers[seen->listener].ways[seen->partition], seen->kind == HISTORY_GIVEN);
            break;
        case HISTORY_DISCONNECTED:
            all->walkers[seen->listener].asked_at = seen->at;
            break;
        }
    }
    for (; p < history->position_count; p++)
        check_position(all, &history->positions[p]);
}

/* ---- the end ---- */

/* Since a person moved the group; or where a member went on that was here before and had only lost its connection. */
static uint64_t group_reached(const struct listen_check *all, const struct history_listener *like,
                              const struct group_way *group)
{
    const struct history *history = all->check->history;
    uint64_t reached = group->again;
    for (uint32_t i = 0; i < history->listener_count; i++) {
        const struct history_listener *listener = &history->listeners[i];
        if (listener->group == like->group && listener->topic == like->topic && all->walkers[i].lives > 1)
            reached = group->reached;
    }
    return reached;
}

static void check_end(struct listen_check *all, uint32_t index, uint32_t partition)
{
    struct check *check = all->check;
    const struct history_listener *listener = &check->history->listeners[index];
    const struct walker *walker = &all->walkers[index];
    const struct way *way = &walker->ways[partition];
    const struct group_way *group = group_way(all, listener, partition);
    uint64_t end = check->first.partitions[listener->topic][partition].count;
    uint64_t reached = way->reached;
    if (group)
        reached = group->any ? group_reached(all, listener, group) : end;
    else if (!way->reached_any)
        reached = start_allowed(check, listener, walker, partition).high;
    uint64_t start = history_log_start(check->history, listener->topic, partition, UINT64_MAX);
    if (reached < start)
        reached = start;
    if (reached < end)
        report_add(check->report, 13, "listener %u partition %u stands at %llu, the end is %llu", index,
                   partition, UNSIGNED(reached), UNSIGNED(end));
}

void check_listeners(struct check *check)
{
    const struct history *history = check->history;
    struct listen_check *all = calloc(1, sizeof(*all));
    CHECK(all);
    all->check = check;
    all->walkers = calloc(history->listener_count + 1, sizeof(*all->walkers));
    CHECK(all->walkers);
    for (uint32_t i = 0; i < history->listener_count; i++)
        all->walkers[i].asked_at = history->listeners[i].listen_at;
    walk(all);
    for (uint32_t i = 0; i < history->listener_count; i++)
        for (uint32_t p = 0;
             history->listeners[i].must_end && p < history->partitions[history->listeners[i].topic]; p++)
            check_end(all, i, p);
    free(all->walkers);
    free(all);
}
