/* shared_state.c: what is stored of a shared group: done ranges and retries above its position in each partition.
 *
 * Role:     the command that changes them, applied live and in replay alike; their rows; what is told of them.
 * Invariant: below the position everything is done; the first range begins above it; no retry lies below it or in a range.
 * Called:   apply.c (commands), rows.c, positions.c (a position goes), group_admin.c (seek, describe).
 * Failures: a command that contradicts itself is STORE_ECORRUPT. One about a group, a position or a topic that is gone is
 *           passed over: it was decided before that went.
 * Thread: the core's. Pure. */
#include "broker/core/shared_internal.h"

struct shared *shared_get(struct group_position *position)
{
    if (!position->shared) {
        position->shared = core_alloc(sizeof(struct shared));
        position->shared->row.kind = ROW_SHARED;
        position->shared->position = position;
    }
    return position->shared;
}

uint64_t shared_position(const struct shared *shared)
{
    return shared->position->offset;
}

bool shared_done(const struct shared *shared, uint64_t offset)
{
    return offset < shared->position->offset || ranges_has(&shared->done, offset);
}

struct partition *shared_partition(const struct shard *shard, const struct shared *shared)
{
    return partition_find(shard, shared->position->key.partition);
}

/* ---- retries ---- */

static size_t retry_place(const struct shared *shared, uint64_t offset)
{
    size_t low = 0, high = shared->retry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (shared->retries[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct retry *retry_find(const struct shared *shared, uint64_t offset)
{
    size_t place = retry_place(shared, offset);
    bool there = place < shared->retry_count && shared->retries[place].offset == offset;
    return there ? &shared->retries[place] : NULL;
}

void retry_free(struct retry *retry)
{
    free(retry->reason);
    retry->reason = NULL;
}

/* Those of [first, end) go. */
static void retries_remove(struct shared *shared, uint64_t first, uint64_t end)
{
    size_t from = retry_place(shared, first), to = retry_place(shared, end);
    if (from == to)
        return;
    for (size_t i = from; i < to; i++)
        retry_free(&shared->retries[i]);
    memmove(&shared->retries[from], &shared->retries[to], (shared->retry_count - to) * sizeof(struct retry));
    shared->retry_count -= to - from;
}

/* retry's reason is taken. */
static void retry_put(struct shared *shared, struct retry retry)
{
    size_t place = retry_place(shared, retry.offset);
    if (place < shared->retry_count && shared->retries[place].offset == retry.offset) {
        retry_free(&shared->retries[place]);
    } else {
        shared->retries =
            core_grow(shared->retries, shared->retry_count, &shared->retry_capacity, sizeof(struct retry));
        memmove(&shared->retries[place + 1], &shared->retries[place],
                (shared->retry_count - place) * sizeof(struct retry));
        shared->retry_count++;
    }
    shared->retries[place] = retry;
}

static struct retry retry_unpack(const State__SharedRetry *message)
{
    return (struct retry){.offset = message->offset,
                          .attempts = message->attempts,
                          .dead = message->dead,
                          .due_us = message->due_us,
                          .reason = message->reason[0] ? core_strdup(message->reason) : NULL};
}

/* ---- done ---- */

size_t done_pack(const struct range *ranges, size_t count, uint64_t from, uint64_t *pairs)
{
    for (size_t i = 0; i < count; i++) {
        pairs[2 * i] = ranges[i].first - from;
        pairs[2 * i + 1] = ranges[i].end - ranges[i].first;
        from = ranges[i].end;
    }
    return 2 * count;
}

/* The next pair as a range. False: it makes no sense. */
static bool done_unpack(const uint64_t *pair, uint64_t from, struct range *ret_range)
{
    return pair[1] > 0 && !__builtin_add_overflow(from, pair[0], &ret_range->first) &&
           !__builtin_add_overflow(ret_range->first, pair[1], &ret_range->end);
}

/* Items of what is done go. */
static void items_done(struct shard *shard, struct shared *shared, struct range range)
{
    if (range.end - range.first <= shared->items.count) {
        for (uint64_t offset = range.first; offset < range.end; offset++) {
            struct item *item = item_find(shared, offset);
            if (item)
                item_gone(shard, item);
        }
        return;
    }
    struct item *gone = NULL; /* the table must not change while it is walked */
    uint32_t at = 0;
    for (struct item *item; (item = table_next(&shared->items, &at));) {
        if (item->offset < range.first || item->offset >= range.end)
            continue;
        item_close(shard, item);
        item->state = ITEM_BLOCKED; /* in no list */
        item->next = gone;
        gone = item;
    }
    while (gone) {
        struct item *item = gone;
        gone = item->next;
        item_gone(shard, item);
    }
}

static void apply_done(struct shard *shard, struct shared *shared, struct range range)
{
    struct group_position *position = shared->position;
    if (range.end <= position->offset)
        return;
    if (range.first < position->offset)
        range.first = position->offset;
    ranges_add(&shared->done, range.first, range.end);
    retries_remove(shared, range.first, range.end);
    if (shared->open)
        items_done(shard, shared, range);
}

/* What is done from the position on becomes part of it. */
static void position_advance(struct shard *shard, struct shared *shared)
{
    struct group_position *position = shared->position;
    if (!shared->done.count || shared->done.at[0].first > position->offset)
        return;
    shard_row_will_change(shard, &position->row);
    position->offset = shared->done.at[0].end;
    position->offset_prepared = position->offset;
    ranges_cut(&shared->done, position->offset);
    if (shared->frontier < position->offset)
        shared->frontier = position->offset;
}

static void apply_failed(struct shard *shard, struct shared *shared, const State__SharedRetry *message)
{
    if (shared_done(shared, message->offset))
        return;
    struct retry retry = retry_unpack(message);
    retry_put(shared, retry);
    struct item *item = shared->open ? item_find(shared, retry.offset) : NULL;
    if (!item)
        return;
    item_close(shard, item);
    item->attempts = retry.attempts;
    item->dead = retry.dead;
    item->retry_us = retry.due_us;
    item_open(shard, item);
}

static int apply_events(struct shard *shard, struct group *group, const State__SharedEvents *events)
{
    struct group_position *position =
        partition_find(shard, events->partition) ? position_find(shard, group, events->partition) : NULL;
    if (!position || !position->exists)
        return 0;
    if (events->n_done % 2)
        return STORE_ECORRUPT;
    struct shared *shared = shared_get(position);
    shard_row_will_change(shard, &shared->row);
    struct range range = {0, 0};
    for (size_t i = 0; i < events->n_done; i += 2) {
        if (!done_unpack(&events->done[i], range.end, &range))
            return STORE_ECORRUPT;
        apply_done(shard, shared, range);
    }
    position_advance(shard, shared);
    for (size_t i = 0; i < events->n_retries; i++)
        apply_failed(shard, shared, events->retries[i]);
    shared_stir_position(shard, position);
    return 0;
}

int apply_shared_progress(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__SharedProgress *command = state__shared_progress__unpack(NULL, size, bytes);
    if (!command)
        return STORE_ECORRUPT;
    struct group *group = group_find(shard, command->group);
    int rc = 0;
    for (size_t i = 0; group && i < command->n_events && rc == 0; i++)
        rc = apply_events(shard, group, command->events[i]);
    state__shared_progress__free_unpacked(command, NULL);
    return rc;
}

int apply_shared_group(struct shard *shard, const uint8_t *bytes, size_t size)
{
    State__SharedGroup *command = state__shared_group__unpack(NULL, size, bytes);
    if (!command)
        return STORE_ECORRUPT;
    struct group *group = group_stored(shard, command->name);
    shard_row_will_change(shard, &group->row);
    group->kind = command->kind;
    if (group->kind_entry <= shard->entry_done)
        group->kind_prepared = group->kind;
    state__shared_group__free_unpacked(command, NULL);
    return 0;
}

/* ---- it goes ---- */

void shared_forget(struct shard *shard, struct group_position *position)
{
    struct shared *shared = position->shared;
    if (!shared)
        return;
    shared_close(shard, shared);
    shared_read_forget(shard, shared);
    shard_row_will_change(shard, &shared->row);
}

void shared_reset(struct shard *shard, struct group_position *position)
{
    struct shared *shared = position->shared;
    if (!shared)
        return;
    shared_close(shard, shared);
    shard_row_will_change(shard, &shared->row);
    retries_remove(shared, 0, UINT64_MAX);
    shared->done.count = 0;
}

void shared_free(struct shared *shared)
{
    if (!shared)
        return;
    for (size_t i = 0; i < shared->retry_count; i++)
        retry_free(&shared->retries[i]);
    free(shared->retries);
    ranges_finish(&shared->done);
    table_finish(&shared->items);
    table_finish(&shared->keys);
    free(shared);
}

bool shared_row_deleted(const struct row *row)
{
    return ((const struct shared *)row)->position->deleted;
}

/* ---- rows ---- */

const struct group_position *shared_row_position(const struct row *row)
{
    return ((const struct shared *)row)->position;
}

void retry_pack(const struct retry *retry, State__SharedRetry *message)
{
    state__shared_retry__init(message);
    message->offset = retry->offset;
    message->attempts = retry->attempts;
    message->due_us = retry->due_us;
    message->dead = retry->dead;
    if (retry->reason)
        message->reason = retry->reason;
}

bool shared_row_pack(const struct row *row, State__SharedRow *value)
{
    const struct shared *shared = (const struct shared *)row;
    if (shared->position->deleted || (!shared->done.count && !shared->retry_count))
        return false;
    value->done = core_alloc((2 * shared->done.count + 1) * sizeof(uint64_t));
    value->n_done = done_pack(shared->done.at, shared->done.count, shared->position->offset, value->done);
    value->n_retries = shared->retry_count;
    State__SharedRetry *block = core_alloc((shared->retry_count + 1) * sizeof(*block));
    value->retries = core_alloc((shared->retry_count + 1) * sizeof(State__SharedRetry *));
    for (size_t i = 0; i < shared->retry_count; i++) {
        retry_pack(&shared->retries[i], &block[i]);
        value->retries[i] = &block[i];
    }
    value->retries[shared->retry_count] = block; /* so that it is found again, also when there are none */
    return true;
}

void shared_row_packed(State__SharedRow *value)
{
    free(value->retries[value->n_retries]);
    free(value->retries);
    free(value->done);
}

int shared_row_load(struct shard *shard, struct group_position *position, const State__SharedRow *value)
{
    (void)shard;
    struct shared *shared = shared_get(position);
    struct range range = {0, position->offset};
    if (value->n_done % 2)
        return STORE_ECORRUPT;
    for (size_t i = 0; i < value->n_done; i += 2) {
        if (!done_unpack(&value->done[i], range.end, &range) || range.first <= position->offset)
            return STORE_ECORRUPT;
        ranges_add(&shared->done, range.first, range.end);
    }
    for (size_t i = 0; i < value->n_retries; i++) {
        if (shared_done(shared, value->retries[i]->offset))
            return STORE_ECORRUPT;
        retry_put(shared, retry_unpack(value->retries[i]));
    }
    return 0;
}

/* ---- for people ---- */

void shared_describe(const struct group_position *position, struct group_partition *to)
{
    const struct shared *shared = position->shared;
    if (!shared)
        return;
    to->done = ranges_sum(&shared->done);
    to->leased = (uint32_t)shared->leased;
    to->retries = (uint32_t)shared->retry_count;
}
