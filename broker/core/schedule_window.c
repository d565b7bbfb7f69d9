/* schedule_window.c: which schedules are in memory: the next ones, and what the state's rows do not say yet.
 *
 * Happy path:  the window has room → a range of rows from its end on → those that memory does not know better join it; some
 *              at a time: what fires meanwhile waits for as long as they take
 *              too many come → the later half goes OUTSIDE → the next flush stores it → forgotten
 * Failures:    a range that fails is asked for again a second later; what is in memory goes on. */
#include "base/bytes.h"
#include "broker/core/schedules.h"

#define FILL_RETRY_US 1000000
#define FILL_ROWS     2048u /* at a time: about 2 ms of the loop */

/* The rows behind the window. */
struct schedule_fill {
    struct store_range range;
    struct shard *shard;
    bool busy;
    int64_t retry_us; /* mono */
};

/* ---- ranges ---- */

int schedule_range(struct shard *shard, struct store_range *range, const struct schedule_key *from,
                   size_t count_max)
{
    range->from[0] = ROW_SCHEDULE;
    be64_put(range->from + 1, (uint64_t)from->due_us);
    be64_put(range->from + 9, from->number);
    range->from_size = SCHEDULE_KEY_SIZE;
    range->count_max = count_max;
    int rc = shard->store->ops->range(shard->store, range);
    if (rc == 0)
        shard->schedules->ranges++;
    return rc;
}

void schedules_flush_begins(struct shard *shard)
{
    shard->schedules->dirty = 0;
}

bool schedules_want_flush(const struct shard *shard)
{
    return shard->schedules->dirty >= SCHEDULE_DIRTY_MAX;
}

void schedules_flushed(struct shard *shard)
{
    struct schedule *schedule, *next;
    if (shard->schedules->ranges > 0)
        return;
    DL_FOREACH_SAFE (shard->schedules->outside, schedule, next)
        if (!schedule->row.flush)
            schedule_drop(shard, schedule);
}

void schedule_range_over(struct shard *shard)
{
    struct schedules *schedules = shard->schedules;
    if (--schedules->ranges > 0)
        return;
    while (schedules->held) {
        struct schedule *schedule = schedules->held;
        schedules->held = schedule->next;
        schedule_drop(shard, schedule);
    }
    if (shard->flushing == FLUSH_NONE && !shard->flush_rows)
        schedules_flushed(shard);
}

bool schedule_row_key(const struct store_row *row, struct schedule_key *ret_key)
{
    if (row->key_size != SCHEDULE_KEY_SIZE)
        return false;
    *ret_key = (struct schedule_key){(int64_t)be64_get(row->key + 1), be64_get(row->key + 9)};
    return ret_key->due_us >= 0;
}

/* ---- the window ---- */

bool schedule_in_window(const struct schedules *schedules, const struct schedule_key *key)
{
    return schedules->whole || schedule_key_order(key, &schedules->end) < 0;
}

/* The key that would stand at `place` if they were in order; O(n), where sorting 65,536 would hold the reactor up for longer
 * than a commit takes. Source: C. A. R. Hoare, "Algorithm 65: Find" (CACM 4, 1961). */
static struct schedule_key key_select(struct schedule_key *keys, size_t count, size_t place)
{
    ptrdiff_t left = 0, right = (ptrdiff_t)count - 1, wanted = (ptrdiff_t)place;
    while (left < right) {
        struct schedule_key middle = keys[wanted];
        ptrdiff_t low = left, high = right;
        do {
            while (schedule_key_order(&keys[low], &middle) < 0)
                low++;
            while (schedule_key_order(&middle, &keys[high]) < 0)
                high--;
            if (low <= high) {
                struct schedule_key swapped = keys[low];
                keys[low++] = keys[high];
                keys[high--] = swapped;
            }
        } while (low <= high);
        if (high < wanted)
            left = low;
        if (wanted < low)
            right = high;
    }
    return keys[wanted];
}

void schedule_window_shrink(struct shard *shard)
{
    struct schedules *schedules = shard->schedules;
    size_t count = schedules->waiting.count;
    if (count <= 2 * (size_t)shard->config.schedule_window || (schedules->fill && schedules->fill->busy))
        return;
    struct schedule_key *keys = core_alloc(count * sizeof(*keys));
    struct schedule **later = core_alloc(count * sizeof(struct schedule *));
    for (size_t i = 0; i < count; i++)
        keys[i] = schedule_of(schedules->waiting.nodes[i])->key;
    schedules->end = key_select(keys, count, shard->config.schedule_window);
    schedules->whole = false;
    size_t later_count = 0;
    for (size_t i = 0; i < count; i++)
        if (schedule_key_order(&schedule_of(schedules->waiting.nodes[i])->key, &schedules->end) >= 0)
            later[later_count++] = schedule_of(schedules->waiting.nodes[i]);
    for (size_t i = 0; i < later_count; i++)
        schedule_enter(shard, later[i], SCHEDULE_OUTSIDE, 0);
    free(later);
    free(keys);
}

/* A row that the range brought, unless memory knows better. */
static void row_join(struct shard *shard, const struct store_row *row, const struct schedule_key *key)
{
    if (schedule_find(shard, key))
        return;
    State__ScheduleRow *value = state__schedule_row__unpack(NULL, row->value_size, row->value);
    if (!value)
        return; /* its checksum is good, so we wrote it */
    schedule_row_unpack(schedule_add(shard, key), value);
    state__schedule_row__free_unpacked(value, NULL);
}

static void window_extend(struct shard *shard, const struct store_range *range)
{
    struct schedules *schedules = shard->schedules;
    struct schedule_key key = schedules->end;
    for (size_t i = 0; i < range->count; i++)
        if (schedule_row_key(&range->rows[i], &key))
            row_join(shard, &range->rows[i], &key);
    schedules->whole = range->count < range->count_max;
    schedules->end = (struct schedule_key){key.due_us, key.number + 1};
    struct schedule *schedule, *next;
    DL_FOREACH_SAFE (schedules->outside, schedule, next)
        if (schedule_in_window(schedules, &schedule->key))
            schedule_enter(shard, schedule, SCHEDULE_WAITING, schedule->key.due_us - SCHEDULE_AHEAD_US);
}

static void filled(struct store_range *range, void *ctx)
{
    struct schedule_fill *fill = ctx;
    struct shard *shard = fill->shard;
    fill->busy = false;
    if (range->status == STORE_OK)
        window_extend(shard, range);
    else
        fill->retry_us = shard->mono_us + FILL_RETRY_US;
    free(range->rows);
    range->rows = NULL;
    schedule_range_over(shard);
    schedule_window_shrink(shard);
}

void schedule_window_fill(struct shard *shard)
{
    struct schedules *schedules = shard->schedules;
    uint32_t window = shard->config.schedule_window;
    if (schedules->whole || schedules->waiting.count >= window)
        return;
    if (!schedules->fill) {
        schedules->fill = core_alloc(sizeof(*schedules->fill));
        schedules->fill->shard = shard;
    }
    struct schedule_fill *fill = schedules->fill;
    if (fill->busy || shard->mono_us < fill->retry_us)
        return;
    fill->range = (struct store_range){.done = filled, .ctx = fill};
    fill->busy =
        schedule_range(shard, &fill->range, &schedules->end, window < FILL_ROWS ? window : FILL_ROWS) == 0;
    if (!fill->busy)
        fill->retry_us = shard->mono_us + FILL_RETRY_US;
}

void schedule_fill_free(struct schedules *schedules)
{
    free(schedules->fill);
}

/* ---- for retention ---- */

static int64_t schedules_oldest(struct shard *shard)
{
    struct schedules *schedules = shard->schedules;
    if (schedules->oldest_at_us && shard->mono_us - schedules->oldest_at_us < 1000000)
        return schedules->oldest_us; /* what has come since is not older than that moment */
    int64_t oldest_us = shard->time.now_us;
    if (!schedules->whole && schedules->end.due_us < oldest_us)
        oldest_us = schedules->end.due_us;
    for (const struct schedule *schedule = schedules->all; schedule; schedule = schedule->hh.next)
        if (schedule->place != SCHEDULE_GONE && schedule->key.due_us < oldest_us)
            oldest_us = schedule->key.due_us;
    schedules->oldest_at_us = shard->mono_us;
    return schedules->oldest_us = oldest_us;
}

int64_t schedules_dead_before(struct shard *shard, uint32_t place)
{
    int64_t dead_us = schedules_oldest(shard) - (SCHEDULE_CLASS_US << place);
    return dead_us > 0 && place < SCHEDULE_CLASSES ? dead_us : 0;
}
