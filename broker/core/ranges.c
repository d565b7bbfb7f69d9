/* ranges.c: a set of offsets as ascending ranges; see ranges.h. */
#include "broker/core/ranges.h"

#include "broker/core/memory.h"

size_t ranges_find(const struct ranges *ranges, uint64_t offset)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->at[middle].end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ranges_has(const struct ranges *ranges, uint64_t offset)
{
    size_t place = ranges_find(ranges, offset);
    return place < ranges->count && ranges->at[place].first <= offset;
}

static void ranges_remove(struct ranges *ranges, size_t first, size_t count)
{
    if (!count)
        return;
    memmove(&ranges->at[first], &ranges->at[first + count],
            (ranges->count - first - count) * sizeof(struct range));
    ranges->count -= count;
}

void ranges_add(struct ranges *ranges, uint64_t first, uint64_t end)
{
    if (first >= end)
        return;
    size_t place =
        first ? ranges_find(ranges, first - 1) : 0; /* the first one that touches it, or lies behind */
    size_t next = place;
    while (next < ranges->count && ranges->at[next].first <= end)
        next++;
    if (next == place) {
        ranges->at = core_grow(ranges->at, ranges->count, &ranges->capacity, sizeof(struct range));
        memmove(&ranges->at[place + 1], &ranges->at[place], (ranges->count - place) * sizeof(struct range));
        ranges->at[place] = (struct range){first, end};
        ranges->count++;
        return;
    }
    struct range *range = &ranges->at[place];
    if (range->first > first)
        range->first = first;
    if (ranges->at[next - 1].end > end)
        end = ranges->at[next - 1].end;
    range->end = end;
    ranges_remove(ranges, place + 1, next - place - 1);
}

void ranges_cut(struct ranges *ranges, uint64_t below)
{
    ranges_remove(ranges, 0, ranges_find(ranges, below));
    if (ranges->count && ranges->at[0].first < below)
        ranges->at[0].first = below;
}

uint64_t ranges_sum(const struct ranges *ranges)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ranges->count; i++)
        sum += ranges->at[i].end - ranges->at[i].first;
    return sum;
}

void ranges_finish(struct ranges *ranges)
{
    free(ranges->at);
    *ranges = (struct ranges){0};
}
