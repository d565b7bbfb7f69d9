/* verdict.c: see verdict.h. Linear scans; memory for one number per event. */
#include "tests/torture/verdict.h"

#include "base/check.h"

#include <stdlib.h>

/* The event at an offset, or NULL. Offsets ascend (disorder is counted elsewhere). */
static const struct seen *event_at(const struct witness_partition *partition, uint64_t offset)
{
    uint64_t low = 0, high = partition->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (partition->events[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < partition->count && partition->events[low].offset == offset ? &partition->events[low] : NULL;
}

/* Walks a partition: order, duplicates and phantoms of one producer; marks in there[] what is stored. */
static void walk(struct verdict *verdict, const struct witness_partition *partition, uint32_t producer,
                 const struct completion *log, uint64_t count, bool *there)
{
    uint64_t last = 0;
    for (uint64_t i = 0; i < partition->count; i++) {
        const struct seen *seen = &partition->events[i];
        if (seen->producer != producer)
            continue;
        if (seen->number >= count || log[seen->number].outcome == OUTCOME_REFUSED) {
            verdict->phantom++;
            continue;
        }
        if (there[seen->number])
            verdict->duplicated++;
        else if (seen->number < last)
            verdict->reordered++;
        there[seen->number] = true;
        if (seen->number > last)
            last = seen->number;
    }
}

void verdict_producer(struct verdict *verdict, const struct witness *truth, uint32_t producer,
                      const struct completion *log, uint64_t count)
{
    bool *there = calloc(count + 1, sizeof(*there));
    bool later[PRODUCERS_PARTITIONS] = {false};
    CHECK(there);

    for (uint32_t i = 0; i < PRODUCERS_PARTITIONS; i++)
        walk(verdict, &truth->partitions[i], producer, log, count, there);
    verdict->emitted += count;
    for (uint64_t number = count; number-- > 0;) {
        uint32_t partition = producers_partition(number);
        const struct completion *told = &log[number];
        if (told->outcome == OUTCOME_OK) {
            const struct seen *seen =
                told->offset == UINT64_MAX ? NULL : event_at(&truth->partitions[partition], told->offset);
            bool elsewhere = seen && (seen->producer != producer || seen->number != number);
            verdict->acknowledged++;
            if (!there[number] || elsewhere || (told->offset != UINT64_MAX && seen == NULL)) {
                verdict->lost++;
                verdict->lost_one.producer = producer;
                verdict->lost_one.number = number;
            }
        } else if (told->outcome == OUTCOME_UNKNOWN && !there[number] && later[partition]) {
            verdict->gaps++;
            verdict->gap_one.producer = producer;
            verdict->gap_one.number = number;
            verdict->gap_one.code = told->code;
        }
        later[partition] |= there[number];
    }
    free(there);
}

void verdict_truth(struct verdict *verdict, const struct witness *truth)
{
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++) {
        const struct witness_partition *stored = &truth->partitions[i];
        verdict->stored += stored->count;
        verdict->reordered += stored->disorder;
        for (uint64_t at = 0; at < stored->count; at++)
            verdict->phantom += stored->events[at].producer == PRODUCERS;
    }
}

void verdict_listener(struct verdict *verdict, const struct witness *truth, const struct witness *listener)
{
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++) {
        const struct witness_partition *stored = &truth->partitions[i], *shown = &listener->partitions[i];
        uint64_t right = 0;
        verdict->reordered += shown->disorder;
        for (uint64_t at = 0; at < shown->count; at++) {
            const struct seen *seen = &shown->events[at], *truly = event_at(stored, seen->offset);
            right += truly && (at == 0 || seen->offset > shown->events[at - 1].offset);
            if (truly == NULL || truly->producer != seen->producer || truly->number != seen->number)
                verdict->changed++;
        }
        verdict->missed += stored->count - right;
    }
}

uint64_t verdict_offences(const struct verdict *verdict)
{
    return verdict->lost + verdict->phantom + verdict->changed + verdict->reordered + verdict->gaps +
           verdict->duplicated + verdict->missed;
}
