/* checker_made.c: what the truth says about events that were made from others: each input below a transformers' position led to
 * its output, once; and none at or above it. See transform.c, checker.h. */
#include "tests/sim/checker_internal.h"

#include "base/check.h"

#include <stdlib.h>

/* The group's position in a partition, first and last; 0, 0: it has none. */
struct passage {
    uint64_t first, last;
};

static struct passage passage_find(const struct history *history, uint32_t topic, uint32_t partition)
{
    struct passage passage = {0, 0};
    bool any = false;
    for (size_t i = 0; i < history->position_count; i++) {
        const struct history_position *position = &history->positions[i];
        if (position->group != HISTORY_TRANSFORMERS || position->topic != topic ||
            position->partition != partition)
            continue;
        if (!any)
            passage.first = position->offset;
        passage.last = position->offset;
        any = true;
    }
    return passage;
}

static void check_input(struct check *check, uint32_t topic, uint32_t partition, uint64_t offset,
                        const struct passage *passage, uint32_t outputs)
{
    uint64_t start = history_log_start(check->history, topic, partition, UINT64_MAX);
    bool passed = offset >= passage->first && offset < passage->last;
    if (outputs > 1)
        report_add(check->report, 5, "topic %u partition %u offset %llu led to %u events", topic, partition,
                   (unsigned long long)offset, outputs);
    else if (outputs == 1 && !passed)
        report_add(check->report, 5,
                   "topic %u partition %u offset %llu led to an event, the position is %llu", topic,
                   partition, (unsigned long long)offset, (unsigned long long)passage->last);
    else if (outputs == 0 && passed && offset >= start && !history_leads_to_nothing(offset) &&
             check->first.partitions[topic][partition].emits[offset] != HISTORY_NONE)
        report_add(check->report, 1, "topic %u partition %u offset %llu led to nothing, the position is %llu",
                   topic, partition, (unsigned long long)offset, (unsigned long long)passage->last);
}

static void check_partition(struct check *check, uint32_t topic, uint32_t partition)
{
    const struct history *history = check->history;
    struct passage passage = passage_find(history, topic, partition);
    size_t count = check->first.partitions[topic][partition].count;
    uint32_t *outputs = calloc(count + 1, sizeof(*outputs));
    CHECK(outputs);
    for (uint32_t i = 0; i < history->emit_count; i++) {
        const struct history_emit *emit = &history->emits[i];
        if (!emit->made || emit->topic != topic + 1 || emit->from_partition != partition)
            continue;
        if (emit->from_offset >= count)
            report_add(check->report, 2, "event %u.%u was made from offset %llu, which is not there",
                       emit->client, emit->number, (unsigned long long)emit->from_offset);
        else
            outputs[emit->from_offset] += check->places[i].times > 0;
    }
    for (uint64_t offset = 0; offset < count; offset++)
        check_input(check, topic, partition, offset, &passage, outputs[offset]);
    free(outputs);
}

void check_made(struct check *check)
{
    for (uint32_t topic = 0; topic + 1 < HISTORY_TOPICS_MAX; topic++)
        for (uint32_t partition = 0; partition < check->history->partitions[topic]; partition++)
            check_partition(check, topic, partition);
}
