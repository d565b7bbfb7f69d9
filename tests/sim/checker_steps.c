/* checker_steps.c: what the truth says about atomic emits: all of a step or nothing, a source's step once and in order, an
 * expected offset met. See checker.h. */
#include "tests/sim/checker_internal.h"

#include "base/check.h"

#include <stdlib.h>

static void check_whole(struct check *check, uint32_t first)
{
    const struct history_emit *emit = &check->history->emits[first];
    uint32_t stored = 0;
    for (uint32_t i = 0; i < emit->step_size; i++)
        stored += check->places[first + i].times > 0;
    if (stored > 0 && stored < emit->step_size)
        report_add(check->report, 5, "of the %u events of an atomic emit (%u.%u and on) %u are stored",
                   emit->step_size, emit->client, emit->number, stored);
    const struct place *place = &check->places[first];
    if (emit->expects && place->times && place->offset != emit->expected_offset)
        report_add(check->report, 4, "event %u.%u expected offset %llu and is at %llu", emit->client,
                   emit->number, (unsigned long long)emit->expected_offset,
                   (unsigned long long)place->offset);
}

static int by_source(const void *a, const void *b, void *ctx)
{
    const struct history *history = ctx;
    const struct history_emit *left = &history->emits[*(const uint32_t *)a];
    const struct history_emit *right = &history->emits[*(const uint32_t *)b];
    if (left->source != right->source)
        return left->source < right->source ? -1 : 1;
    return (left->position > right->position) - (left->position < right->position);
}

/* Two steps of one source that are stored, the second with a position at or beyond the first's. */
static void check_neighbours(struct check *check, uint32_t before, uint32_t after)
{
    const struct history_emit *left = &check->history->emits[before];
    const struct history_emit *right = &check->history->emits[after];
    if (left->source == right->source && left->position == right->position)
        report_add(check->report, 5, "step %llu of source %u is stored twice, by clients %u and %u",
                   (unsigned long long)left->position, left->source, left->client, right->client);
}

/* Where the steps are in each partition, in the order of their positions. */
static void check_ascending(struct check *check, const uint32_t *steps, size_t count)
{
    struct {
        bool any;
        uint32_t source;
        uint64_t offset;
    } last[HISTORY_TOPICS_MAX][PARTITIONS_MAX] = {0};
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < check->history->emits[steps[i]].step_size; k++) {
            const struct history_emit *emit = &check->history->emits[steps[i] + k];
            const struct place *place = &check->places[steps[i] + k];
            __typeof__(&last[0][0]) seen = &last[emit->topic][place->partition];
            if (!place->times)
                continue;
            if (seen->any && seen->source == emit->source && seen->offset >= place->offset)
                report_add(check->report, 4, "step %llu of source %u is before an earlier one, at %llu",
                           (unsigned long long)emit->position, emit->source,
                           (unsigned long long)place->offset);
            seen->any = true;
            seen->source = emit->source;
            seen->offset = place->offset;
        }
}

void check_steps(struct check *check)
{
    const struct history *history = check->history;
    uint32_t *steps = malloc((history->emit_count + 1) * sizeof(*steps));
    size_t count = 0;
    CHECK(steps);
    for (uint32_t i = 0; i < history->emit_count; i++) {
        const struct history_emit *emit = &history->emits[i];
        if (emit->step_size == 0 || emit->step_index > 0)
            continue;
        check_whole(check, i);
        if (emit->source != HISTORY_NONE && check->places[i].times)
            steps[count++] = i;
    }
    qsort_r(steps, count, sizeof(*steps), by_source, (void *)(uintptr_t)history);
    for (size_t i = 1; i < count; i++)
        check_neighbours(check, steps[i - 1], steps[i]);
    check_ascending(check, steps, count);
    free(steps);
}
