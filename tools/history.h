/* history.h: the numbers 0, 1, 2, ... of one producer as one listener receives them: which were lost, which came twice,
 * which came late.
 *
 * The usual case, the next number in line, costs one comparison. Only when it fails are the missing ranges kept, as a
 * short sorted array: a number that fills one came late, any other was seen before.
 *
 * Thread: the one that receives. Limits: at most HISTORY_GAPS_MAX ranges are told apart; beyond that late numbers of
 * further ranges count as lost and as duplicated, so a wrong history never looks right. */
#ifndef CRIER_TOOLS_HISTORY_H
#define CRIER_TOOLS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_GAPS_MAX 64

struct history_gap {
    uint64_t from, to; /* from <= missing < to */
};

struct history {
    uint64_t next; /* one above the highest number seen */
    uint64_t duplicated;
    uint64_t reordered; /* came after a higher one */
    uint64_t dropped;   /* missing numbers for which there was no gap left */
    size_t gap_count;
    struct history_gap gaps[HISTORY_GAPS_MAX];
};

/* A number out of line; history_note() calls it. */
bool history_note_odd(struct history *history, uint64_t number);

/* A number has arrived. True if it is the first time. */
static inline bool history_note(struct history *history, uint64_t number)
{
    if (__builtin_expect(number == history->next, 1)) {
        history->next++;
        return true;
    }
    return history_note_odd(history, number);
}

/* How many of 0 .. count - 1 have never arrived. */
uint64_t history_lost(const struct history *history, uint64_t count);

#endif
