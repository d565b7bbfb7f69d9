/* shared_items.c: what is open of a partition for a shared group: an item for each event that is not done and was looked at.
 *
 *            ┌──────────── its key's first ───────────┐
 *   BLOCKED ─┴▶ READY ──lease──▶ LEASED ──ack, nack, run out──▶ SETTLING ──durable──▶ gone, or WAITING
 *                 ▲  ▲             │ given back                    │ refused
 *                 │  └─────────────┘◀──────────────────────────────┘
 *               WAITING (until due)          DYING: read, then SETTLING
 *
 * All of it is volatile: after a start the same is made anew from what is stored. Items are pooled, found by their offset in a
 * table, and each is in the one list (or heap) that belongs to its state.
 * Thread: the core's. Pure. */
#include "broker/core/shared_internal.h"

/* ---- found by offset, and by key ---- */

static uint32_t number_hash(uint64_t number)
{
    return table_hash(&number, sizeof(number));
}

static bool item_is(const void *item, const void *key, size_t size)
{
    (void)size;
    return ((const struct item *)item)->offset == *(const uint64_t *)key;
}

static bool item_has_key(const void *item, const void *key, size_t size)
{
    (void)size;
    return ((const struct item *)item)->key == *(const uint64_t *)key;
}

struct item *item_find(const struct shared *shared, uint64_t offset)
{
    return table_find(&shared->items, number_hash(offset), item_is, &offset, 0);
}

struct item *item_create(struct shard *shard, struct shared *shared, uint64_t offset)
{
    struct item *item = shard->shared->free;
    if (item)
        shard->shared->free = item->next;
    else
        item = core_alloc(sizeof(*item));
    *item =
        (struct item){.shared = shared, .offset = offset, .state = ITEM_BLOCKED, .timer.place = HEAP_NOWHERE};
    const struct retry *retry = retry_find(shared, offset);
    if (retry) {
        item->attempts = retry->attempts;
        item->dead = retry->dead;
        item->retry_us = retry->due_us;
    }
    table_add(&shared->items, number_hash(offset), item);
    return item;
}

void item_key(struct shard *shard, struct item *item, uint64_t key)
{
    (void)shard;
    struct table *keys = &item->shared->keys;
    item->key = key;
    if (!key)
        return;
    struct item *last = table_find(keys, number_hash(key), item_has_key, &key, 0);
    if (last) {
        last->key_next = item;
        item->key_prev = last;
        table_remove(keys, number_hash(key), last);
    }
    table_add(keys, number_hash(key), item);
}

/* Out of its key's line; returns who is first now and may go on, or NULL. */
static struct item *key_leave(struct item *item)
{
    struct table *keys = &item->shared->keys;
    struct item *next = item->key_next, *prev = item->key_prev;
    if (!item->key)
        return NULL;
    if (!next) {
        table_remove(keys, number_hash(item->key), item);
        if (prev)
            table_add(keys, number_hash(item->key), prev);
    } else {
        next->key_prev = prev;
    }
    if (prev)
        prev->key_next = next;
    return next && !prev ? next : NULL;
}

/* ---- the timers ---- */

static void timer_add(struct shared_world *world, struct item *item)
{
    CHECK(heap_reserve(&world->timers));
    heap_add(&world->timers, &item->timer);
}

static void timer_remove(struct shared_world *world, struct item *item)
{
    if (item->timer.place != HEAP_NOWHERE)
        heap_remove(&world->timers, &item->timer);
}

struct item *timers_due(struct shard *shard)
{
    struct heap_node *first = heap_first(&shard->shared->timers);
    return first && first->due_us <= shard->mono_us ? LIST_ENTRY(first, struct item, timer) : NULL;
}

int64_t timers_next(const struct shard *shard)
{
    const struct heap_node *first = heap_first(&shard->shared->timers);
    return first ? first->due_us : INT64_MAX;
}

/* ---- states ---- */

void item_wait(struct shard *shard, struct item *item, int64_t due_us)
{
    item->state = ITEM_WAITING;
    item->timer.due_us = due_us;
    timer_add(shard->shared, item);
}

static void item_ready(struct item *item)
{
    struct shared *shared = item->shared;
    item->state = ITEM_READY;
    shared->ready_count++;
    if (item->attempts || (shared->ready && shared->ready->offset > item->offset))
        DL_PREPEND(shared->ready, item); /* holes are filled first */
    else
        DL_APPEND(shared->ready, item);
}

void item_open(struct shard *shard, struct item *item)
{
    struct shared *shared = item->shared;
    const struct partition *partition = shared_partition(shard, shared);
    bool dead = item->dead || item->attempts >= retry_deliveries(&partition->topic->retry);
    int64_t left_us = item->retry_us - shard->time.now_us;
    item->worker = NULL;
    if (dead && item->attempts) {
        item->state = ITEM_DYING;
        shared->dying++;
        DL_APPEND(shard->shared->dying, item);
    } else if (item->key_prev || (shared->keyed && !item->passed)) { /* or its key is not known yet */
        item->state = ITEM_BLOCKED;
    } else if (item->attempts && left_us > 0) {
        item_wait(shard, item, shard->mono_us + left_us);
    } else {
        item_ready(item);
    }
}

static void lease_end(struct shard *shard, struct item *item)
{
    struct worker *worker = item->worker;
    item->shared->leased--;
    if (!worker) {
        timer_remove(shard->shared, item);
        return;
    }
    worker->leased--;
    DL_DELETE(worker->items, item);
}

void item_close(struct shard *shard, struct item *item)
{
    struct shared *shared = item->shared;
    switch (item->state) {
    case ITEM_READY:
        shared->ready_count--;
        DL_DELETE(shared->ready, item);
        break;
    case ITEM_LEASED:
        lease_end(shard, item);
        break;
    case ITEM_WAITING:
        timer_remove(shard->shared, item);
        break;
    case ITEM_DYING:
        shared->dying--;
        DL_DELETE(shard->shared->dying, item);
        dying_forget(shard, item);
        item->reading = false;
        break;
    case ITEM_SETTLING:
        shared->settling--;
        retry_free(&item->retry);
        break;
    case ITEM_BLOCKED:
        break;
    }
    item->state = ITEM_BLOCKED;
}

/* In the order in which leases run out; most of the time that is at the end. */
static void lease_insert(struct worker *worker, struct item *item)
{
    struct item *before = worker->items ? worker->items->prev : NULL; /* the last one */
    while (before && before->timer.due_us > item->timer.due_us)
        before = before == worker->items ? NULL : before->prev;
    if (before)
        DL_APPEND_ELEM(worker->items, before, item);
    else
        DL_PREPEND(worker->items, item);
}

void item_lease(struct shard *shard, struct item *item, struct worker *worker, int64_t lease_us)
{
    item_close(shard, item);
    item->state = ITEM_LEASED;
    item->claimed = false;
    item->worker = worker;
    item->timer.due_us = shard->mono_us + lease_us;
    item->shared->leased++;
    worker->leased++;
    lease_insert(worker, item);
    if (shard->shared->lease_due_us > item->timer.due_us)
        shard->shared->lease_due_us = item->timer.due_us;
}

void item_orphan(struct shard *shard, struct item *item, int64_t due_us)
{
    item_close(shard, item);
    item->state = ITEM_LEASED;
    item->worker = NULL;
    item->shared->leased++;
    if (item->timer.due_us > due_us)
        item->timer.due_us = due_us;
    timer_add(shard->shared, item);
}

void item_gone(struct shard *shard, struct item *item)
{
    struct shared *shared = item->shared;
    item_close(shard, item);
    struct item *first = key_leave(item);
    table_remove(&shared->items, number_hash(item->offset), item);
    item->next = shard->shared->free;
    shard->shared->free = item;
    if (first && first->state == ITEM_BLOCKED)
        item_open(shard, first);
}

/* ---- a partition ---- */

size_t shared_room(const struct shared *shared)
{
    size_t open = shared->items.count + shared->done.count;
    return open < SHARED_OPEN_MAX ? SHARED_OPEN_MAX - open : 0;
}

void shared_open(struct shard *shard, struct shared *shared, bool keyed)
{
    (void)shard;
    if (shared->open)
        return;
    shared->open = true;
    shared->keyed = keyed;
    shared->frontier = shared->position->offset;
}

static void marks_forget(struct shard_entry *entry, const struct shared *shared)
{
    size_t kept = 0;
    for (size_t i = 0; i < entry->mark_count; i++)
        if (entry->marks[i].shared != shared)
            entry->marks[kept++] = entry->marks[i];
    entry->mark_count = kept;
}

void shared_close(struct shard *shard, struct shared *shared)
{
    if (!shared->open)
        return;
    for (struct shard_entry *entry = shard->in_flight; entry; entry = entry->next)
        marks_forget(entry, shared);
    if (shard->gathering)
        marks_forget(shard->gathering, shared);
    uint32_t at = 0;
    for (struct item *item; (item = table_next(&shared->items, &at));) {
        item_close(shard, item);
        item->next = shard->shared->free;
        shard->shared->free = item;
    }
    table_finish(&shared->items);
    table_finish(&shared->keys);
    shared->open = false;
}

bool shared_pass(struct shard *shard, struct shared *shared, uint64_t offset, uint64_t key)
{
    struct item *item = item_find(shared, offset);
    bool made = !item && !shared_done(shared, offset);
    shared->frontier = offset + 1;
    if (made)
        item = item_create(shard, shared, offset);
    if (item && !item->passed) {
        item->passed = true;
        item_key(shard, item, key);
        if (item->state == ITEM_BLOCKED)
            item_open(shard, item);
    }
    return made;
}

void shared_skip_gone(struct shard *shard, struct shared *shared)
{
    const struct partition *partition = shared_partition(shard, shared);
    if (shared->frontier >= partition->log_start)
        return;
    shared_mark_none(shard, shared, shared->frontier, partition->log_start);
    shared->frontier = partition->log_start;
}

void shared_fill(struct shard *shard, struct shared *shared, size_t count)
{
    const struct partition *partition = shared_partition(shard, shared);
    shared_skip_gone(shard, shared);
    if (count > shared_room(shared))
        count = shared_room(shared);
    while (count > 0 && shared->frontier < partition->next) {
        size_t place = ranges_find(&shared->done, shared->frontier);
        if (place < shared->done.count && shared->done.at[place].first <= shared->frontier)
            shared->frontier = shared->done.at[place].end;
        else if (shared_pass(shard, shared, shared->frontier, 0))
            count--;
    }
}
