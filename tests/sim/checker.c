/* checker.c: see checker.h. Here: the truth table, and what it says about emits and about everything that was seen.
 * checker_listen.c: what it says about each listener's way through the log. */
#include "tests/sim/checker.h"

#include "base/check.h"
#include "tests/sim/checker_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void report_add(struct report *report, int invariant, const char *format, ...)
{
    if (report->count == VIOLATIONS_MAX)
        return;
    struct violation *violation = &report->violations[report->count++];
    violation->invariant = invariant;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(violation->text, sizeof(violation->text), format, arguments);
    va_end(arguments);
}

/* ---- the truth table ---- */

static void truth_add(struct truth *truth, uint32_t topic, const struct history_seen *seen)
{
    CHECK(topic < HISTORY_TOPICS_MAX && seen->partition < PARTITIONS_MAX);
    struct truth_partition *partition = &truth->partitions[topic][seen->partition];
    CHECK(seen->offset < UINT32_MAX);
    if (seen->offset >= partition->capacity) {
        partition->capacity = 2 * ((size_t)seen->offset + 128);
        partition->emits = realloc(partition->emits, partition->capacity * sizeof(*partition->emits));
        CHECK(partition->emits);
    }
    while (partition->count <= seen->offset)
        partition->emits[partition->count++] = HISTORY_NONE;
    partition->emits[seen->offset] = seen->emit;
}

static void truth_build(struct check *check)
{
    const struct history *history = check->history;
    for (size_t i = 0; i < history->seen_count; i++) {
        const struct history_seen *seen = &history->seen[i];
        const struct history_listener *listener = &history->listeners[seen->listener];
        if (seen->kind == HISTORY_DELIVERED && listener->truth)
            truth_add(listener->truth == 1 ? &check->first : &check->second, listener->topic, seen);
    }
}

/* What retention has passed nobody reads any more: the log says what it was. Above, the readers do. */
static void truth_complete(struct check *check)
{
    const struct history *history = check->history;
    for (size_t i = 0; i < history->stored_count; i++) {
        const struct history_stored *stored = &history->stored[i];
        struct history_seen seen = {
            .partition = stored->partition, .offset = stored->offset, .emit = stored->emit};
        if (stored->offset >= history_log_start(history, stored->topic, stored->partition, UINT64_MAX))
            continue;
        truth_add(&check->first, stored->topic, &seen);
        truth_add(&check->second, stored->topic, &seen);
    }
}

/* And they read nothing below. */
static void check_gone(struct check *check)
{
    const struct history *history = check->history;
    for (size_t i = 0; i < history->seen_count; i++) {
        const struct history_seen *seen = &history->seen[i];
        uint32_t topic = history->listeners[seen->listener].topic;
        if (seen->kind == HISTORY_DELIVERED && history->listeners[seen->listener].truth &&
            seen->offset < history_log_start(history, topic, seen->partition, UINT64_MAX))
            report_add(check->report, 11, "topic %u partition %u offset %llu was trimmed and is there", topic,
                       seen->partition, (unsigned long long)seen->offset);
    }
}

static void truth_finish(struct truth *truth)
{
    for (size_t topic = 0; topic < HISTORY_TOPICS_MAX; topic++)
        for (size_t partition = 0; partition < PARTITIONS_MAX; partition++)
            free(truth->partitions[topic][partition].emits);
}

/* Where everything is; what is there and should not be. */
static void places_find(struct check *check)
{
    for (uint32_t topic = 0; topic < HISTORY_TOPICS_MAX; topic++)
        for (uint32_t p = 0; p < PARTITIONS_MAX; p++) {
            const struct truth_partition *partition = &check->first.partitions[topic][p];
            for (size_t offset = 0; offset < partition->count; offset++) {
                uint32_t emit = partition->emits[offset];
                if (emit == HISTORY_NONE || check->history->emits[emit].topic != topic) {
                    report_add(check->report, 2,
                               "topic %u partition %u offset %zu holds what nobody emitted there", topic, p,
                               offset);
                    continue;
                }
                struct place *place = &check->places[emit];
                if (place->times++ == 0)
                    *place = (struct place){1, p, offset};
            }
        }
}

static void check_replays(struct check *check)
{
    for (uint32_t topic = 0; topic < HISTORY_TOPICS_MAX; topic++)
        for (uint32_t p = 0; p < PARTITIONS_MAX; p++) {
            const struct truth_partition *a = &check->first.partitions[topic][p];
            const struct truth_partition *b = &check->second.partitions[topic][p];
            if (a->count != b->count)
                report_add(check->report, 11, "topic %u partition %u held %zu events, then %zu", topic, p,
                           a->count, b->count);
            for (size_t i = 0; i < a->count && i < b->count; i++)
                if (a->emits[i] != b->emits[i])
                    report_add(check->report, 11, "topic %u partition %u offset %zu has changed", topic, p,
                               i);
        }
}

/* ---- emits ---- */

#define NAME(emit) (emit)->client, (emit)->number

/* The partition an emit belongs into; -1: any. */
static int64_t partition_of(const struct check *check, const struct history_emit *emit)
{
    uint32_t partitions = check->history->partitions[emit->topic];
    if (emit->partition >= 0 || partitions == 0)
        return emit->partition;
    if (emit->keyed)
        return (emit->key_hash & INT32_MAX) % partitions;
    return partitions == 1 ? 0 : -1;
}

static void check_emit(struct check *check, uint32_t index)
{
    const struct history_emit *emit = &check->history->emits[index];
    const struct place *place = &check->places[index];
    struct report *report = check->report;
    if (emit->state == EMIT_OK && !emit->memory && place->times == 0)
        report_add(report, 1, "event %u.%u was acknowledged at offset %lld and is lost", NAME(emit),
                   (long long)emit->offset);
    else if (emit->state == EMIT_OK && place->times && emit->offset != HISTORY_NO_OFFSET &&
             emit->offset != place->offset)
        report_add(report, 1, "event %u.%u was acknowledged at offset %llu and is at %llu", NAME(emit),
                   (unsigned long long)emit->offset, (unsigned long long)place->offset);
    if (emit->state == EMIT_FAILED && place->times)
        report_add(report, 2, "event %u.%u failed for good (code %d) and is stored at offset %llu",
                   NAME(emit), emit->code, (unsigned long long)place->offset);
    if (place->times > 1)
        report_add(report, 5, "event %u.%u is stored %u times", NAME(emit), place->times);
    if (place->times && emit->partition >= 0 && (uint32_t)emit->partition != place->partition)
        report_add(report, 4, "event %u.%u belongs into partition %d and is in %u", NAME(emit),
                   emit->partition, place->partition);
}

static int by_name(const void *a, const void *b, void *ctx)
{
    const struct history *history = ctx;
    const struct history_emit *left = &history->emits[*(const uint32_t *)a];
    const struct history_emit *right = &history->emits[*(const uint32_t *)b];
    if (left->client != right->client)
        return left->client < right->client ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

/* One client's emits in the order it made them. */
static void check_client(struct check *check, const uint32_t *emits, size_t count)
{
    struct {
        bool any;
        uint64_t offset;
        uint32_t emit;
        uint32_t hole; /* an emit that has no outcome and is not there, + 1; 0: none */
    } last[HISTORY_TOPICS_MAX][PARTITIONS_MAX][3] = {0}; /* what is in order: durable, memory, atomic emits */
    for (size_t i = 0; i < count; i++) {
        const struct history_emit *emit = &check->history->emits[emits[i]];
        const struct place *place = &check->places[emits[i]];
        int kind = emit->step_size ? 2 : emit->memory;
        int64_t lane = place->times ? place->partition : partition_of(check, emit);
        if (lane < 0 || lane >= PARTITIONS_MAX)
            continue;
        if (!place->times) {
            if (emit->state == EMIT_PENDING && !emit->memory)
                last[emit->topic][lane][kind].hole = emits[i] + 1;
            continue;
        }
        if (last[emit->topic][lane][kind].any && last[emit->topic][lane][kind].offset >= place->offset)
            report_add(check->report, 4, "event %u.%u is at %llu, before %u.%u at %llu", NAME(emit),
                       (unsigned long long)place->offset,
                       NAME(&check->history->emits[last[emit->topic][lane][kind].emit]),
                       (unsigned long long)last[emit->topic][lane][kind].offset);
        uint32_t hole = last[emit->topic][lane][kind].hole;
        if (hole)
            report_add(check->report, 4, "event %u.%u is stored, %u.%u before it is not", NAME(emit),
                       NAME(&check->history->emits[hole - 1]));
        last[emit->topic][lane][kind].any = true;
        last[emit->topic][lane][kind].offset = place->offset;
        last[emit->topic][lane][kind].emit = emits[i];
    }
}

static void check_order(struct check *check)
{
    const struct history *history = check->history;
    uint32_t *order = malloc((history->emit_count + 1) * sizeof(*order));
    CHECK(order);
    for (uint32_t i = 0; i < history->emit_count; i++)
        order[i] = i;
    qsort_r(order, history->emit_count, sizeof(*order), by_name, (void *)(uintptr_t)history);
    for (size_t from = 0, to; from < history->emit_count; from = to) {
        to = from + 1;
        while (to < history->emit_count &&
               history->emits[order[to]].client == history->emits[order[from]].client)
            to++;
        check_client(check, order + from, to - from);
    }
    free(order);
}

/* ---- real time ---- */

struct moment {
    uint64_t at;
    uint32_t emit;
    bool returned; /* else: invoked */
};

static int by_moment(const void *a, const void *b)
{
    const struct moment *left = a, *right = b;
    return (left->at > right->at) - (left->at < right->at);
}

/* In the order of everything that happened: whoever is invoked now comes behind all that was acknowledged before. */
static void check_real_time(struct check *check)
{
    const struct history *history = check->history;
    struct moment *moments = malloc((2 * history->emit_count + 1) * sizeof(*moments));
    CHECK(moments);
    size_t count = 0;
    for (uint32_t i = 0; i < history->emit_count; i++) {
        const struct history_emit *emit = &history->emits[i];
        if (!check->places[i].times)
            continue;
        moments[count++] = (struct moment){emit->invoked_at, i, false};
        if (emit->state == EMIT_OK && !emit->memory)
            moments[count++] = (struct moment){emit->returned_at, i, true};
    }
    qsort(moments, count, sizeof(*moments), by_moment);
    uint64_t acknowledged[HISTORY_TOPICS_MAX][PARTITIONS_MAX] = {0}; /* highest offset + 1 */
    for (size_t i = 0; i < count; i++) {
        const struct place *place = &check->places[moments[i].emit];
        const struct history_emit *emit = &history->emits[moments[i].emit];
        uint64_t *highest = &acknowledged[emit->topic][place->partition];
        if (moments[i].returned && place->offset >= *highest)
            *highest = place->offset + 1;
        else if (!moments[i].returned && place->offset < *highest)
            report_add(check->report, 6,
                       "event %u.%u is at %llu, yet %llu was acknowledged before it was emitted", NAME(emit),
                       (unsigned long long)place->offset, (unsigned long long)*highest - 1);
    }
    free(moments);
}

/* ---- everything that was seen ---- */

static void check_seen(struct check *check)
{
    const struct history *history = check->history;
    for (size_t i = 0; i < history->seen_count; i++) {
        const struct history_seen *seen = &history->seen[i];
        if (seen->kind != HISTORY_DELIVERED)
            continue;
        uint32_t topic = history->listeners[seen->listener].topic;
        const struct truth_partition *partition = &check->first.partitions[topic][seen->partition];
        unsigned long long offset = seen->offset;
        if (seen->emit == HISTORY_NONE)
            report_add(check->report, 2,
                       "listener %u saw bytes nobody emitted, topic %u partition %u offset %llu",
                       seen->listener, topic, seen->partition, offset);
        else if (history->emits[seen->emit].state == EMIT_FAILED)
            report_add(check->report, 2, "listener %u saw event %u.%u, which failed for good", seen->listener,
                       NAME(&history->emits[seen->emit]));
        if (seen->offset >= partition->count)
            report_add(check->report, 7, "listener %u saw topic %u partition %u offset %llu, which is gone",
                       seen->listener, topic, seen->partition, offset);
        else if (partition->emits[seen->offset] != seen->emit)
            report_add(check->report, 3,
                       "topic %u partition %u offset %llu was another event for listener %u", topic,
                       seen->partition, offset, seen->listener);
    }
}

void checker_run(const struct history *history, struct report *report)
{
    struct check check = {.history = history, .report = report};
    check.places = calloc(history->emit_count + 1, sizeof(*check.places));
    CHECK(check.places);
    truth_build(&check);
    check_gone(&check);
    truth_complete(&check);
    places_find(&check);
    for (uint32_t i = 0; i < history->emit_count; i++)
        check_emit(&check, i);
    check_seen(&check);
    check_order(&check);
    check_steps(&check);
    check_made(&check);
    check_real_time(&check);
    check_replays(&check);
    check_listeners(&check);
    truth_finish(&check.first);
    truth_finish(&check.second);
    free(check.places);
}
