/* history.c: numbers that arrive out of line. See history.h.
 *
 * Thread:    the one that receives.
 * Failures:  none: whatever arrives is counted, and too many gaps only make the count coarser. */
#include "tools/history.h"

#include <string.h>

static void gap_add(struct history *history, size_t at, struct history_gap gap)
{
    if (gap.from == gap.to)
        return;
    if (history->gap_count == HISTORY_GAPS_MAX) {
        history->dropped += gap.to - gap.from;
        return;
    }
    memmove(&history->gaps[at + 1], &history->gaps[at], (history->gap_count - at) * sizeof(gap));
    history->gaps[at] = gap;
    history->gap_count++;
}

static void gap_remove(struct history *history, size_t at)
{
    history->gap_count--;
    memmove(&history->gaps[at], &history->gaps[at + 1], (history->gap_count - at) * sizeof(history->gaps[0]));
}

bool history_note_odd(struct history *history, uint64_t number)
{
    if (number >= history->next) {
        gap_add(history, history->gap_count, (struct history_gap){history->next, number});
        history->next = number + 1;
        return true;
    }
    for (size_t i = 0; i < history->gap_count; i++) {
        struct history_gap gap = history->gaps[i];
        if (number < gap.from || number >= gap.to)
            continue;
        gap_remove(history, i);
        gap_add(history, i, (struct history_gap){number + 1, gap.to});
        gap_add(history, i, (struct history_gap){gap.from, number});
        history->reordered++;
        return true;
    }
    history->duplicated++;
    return false;
}

uint64_t history_lost(const struct history *history, uint64_t count)
{
    uint64_t lost = history->dropped;
    for (size_t i = 0; i < history->gap_count; i++)
        lost += history->gaps[i].to - history->gaps[i].from;
    return lost + (count > history->next ? count - history->next : 0);
}
