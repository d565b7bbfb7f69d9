/* history.c: see history.h. */
#include "tests/sim/history.h"

#include "base/bytes.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MAGIC 0x63726965u /* "crie" */

/* ---- values: magic, client, number, size, then a stream that follows from these ---- */

void value_make(uint8_t *to, uint32_t client, uint32_t number, uint32_t size)
{
    CHECK(size >= VALUE_SIZE_MIN);
    le32_put(to, VALUE_MAGIC);
    le32_put(to + 4, client);
    le32_put(to + 8, number);
    le32_put(to + 12, size);
    uint64_t state = (uint64_t)client << 32 | number;
    for (uint32_t i = VALUE_SIZE_MIN; i < size; i++) {
        if (i % 8 == 0)
            state = (state + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
        to[i] = (uint8_t)(state >> (8 * (i % 8)));
    }
}

static size_t name_place(const struct history *history, uint32_t client, uint32_t number)
{
    uint64_t hash = ((uint64_t)client << 32 | number) * 0x9e3779b97f4a7c15u;
    size_t place = (size_t)(hash >> 32) & (history->name_capacity - 1);
    while (history->names[place]) {
        const struct history_emit *emit = &history->emits[history->names[place] - 1];
        if (emit->client == client && emit->number == number)
            break;
        place = (place + 1) & (history->name_capacity - 1);
    }
    return place;
}

uint32_t history_find(const struct history *history, const void *value, size_t value_size)
{
    const uint8_t *bytes = value;
    if (value_size < VALUE_SIZE_MIN || le32_get(bytes) != VALUE_MAGIC || !history->name_capacity)
        return HISTORY_NONE;
    uint32_t client = le32_get(bytes + 4), number = le32_get(bytes + 8);
    uint32_t index = history->names[name_place(history, client, number)];
    if (!index || history->emits[index - 1].size != value_size)
        return HISTORY_NONE;
    uint8_t *expected = malloc(value_size);
    CHECK(expected);
    value_make(expected, client, number, (uint32_t)value_size);
    bool same = memcmp(bytes, expected, value_size) == 0;
    free(expected);
    return same ? index - 1 : HISTORY_NONE;
}

/* ---- recording ---- */

static void *grow(void *array, size_t count, size_t *capacity, size_t element_size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 256;
    array = realloc(array, *capacity * element_size);
    CHECK(array);
    return array;
}

static void names_grow(struct history *history)
{
    if (2 * (history->emit_count + 1) <= history->name_capacity)
        return;
    history->name_capacity = history->name_capacity ? 2 * history->name_capacity : 1024;
    free(history->names);
    history->names = calloc(history->name_capacity, sizeof(*history->names));
    CHECK(history->names);
    for (size_t i = 0; i < history->emit_count; i++)
        history->names[name_place(history, history->emits[i].client, history->emits[i].number)] =
            (uint32_t)i + 1;
}

void history_init(struct history *history)
{
    *history = (struct history){0};
}

void history_finish(struct history *history)
{
    free(history->emits);
    free(history->names);
    free(history->listeners);
    free(history->seen);
    free(history->batches);
    free(history->stored);
    free(history->trims);
    free(history->positions);
}

uint32_t history_emit(struct history *history, const struct history_emit *emit, int64_t now_us)
{
    names_grow(history);
    history->emits =
        grow(history->emits, history->emit_count, &history->emit_capacity, sizeof(*history->emits));
    uint32_t index = (uint32_t)history->emit_count;
    struct history_emit *added = &history->emits[index];
    *added = *emit;
    added->state = EMIT_PENDING;
    added->offset = HISTORY_NO_OFFSET;
    added->invoked_us = now_us;
    added->invoked_at = ++history->clock;
    added->returned_at = 0;
    size_t place = name_place(history, emit->client, emit->number);
    CHECK(!history->names[place]);
    history->emit_count++;
    history->names[place] = index + 1;
    return index;
}

void history_outcome(struct history *history, uint32_t emit, int code, bool unknown, uint64_t offset,
                     int64_t now_us)
{
    struct history_emit *known = &history->emits[emit];
    CHECK(known->state == EMIT_PENDING); /* `done` is called once */
    known->state = code == 0 ? EMIT_OK : unknown ? EMIT_UNKNOWN : EMIT_FAILED;
    known->code = code;
    known->offset = offset;
    known->returned_us = now_us;
    known->returned_at = ++history->clock;
}

uint32_t history_listen(struct history *history, const struct history_listener *listener)
{
    history->listeners = grow(history->listeners, history->listener_count, &history->listener_capacity,
                              sizeof(*history->listeners));
    history->listeners[history->listener_count] = *listener;
    history->listeners[history->listener_count].listen_at = ++history->clock;
    return (uint32_t)history->listener_count++;
}

static struct history_seen *seen_add(struct history *history, enum history_kind kind, uint32_t listener)
{
    history->seen = grow(history->seen, history->seen_count, &history->seen_capacity, sizeof(*history->seen));
    struct history_seen *seen = &history->seen[history->seen_count++];
    *seen = (struct history_seen){.kind = kind, .listener = listener, .at = ++history->clock};
    return seen;
}

void history_delivered(struct history *history, uint32_t listener, uint32_t partition, uint64_t offset,
                       const void *value, size_t value_size, bool keeps)
{
    struct history_seen *seen = seen_add(history, HISTORY_DELIVERED, listener);
    seen->partition = partition;
    seen->offset = offset;
    seen->emit = history_find(history, value, value_size);
    seen->keeps = keeps;
}

void history_listening(struct history *history, uint32_t listener)
{
    seen_add(history, HISTORY_LISTENING, listener);
}

void history_disconnected(struct history *history, uint32_t listener)
{
    seen_add(history, HISTORY_DISCONNECTED, listener);
}

void history_assigned(struct history *history, uint32_t listener, uint32_t partition, bool given)
{
    seen_add(history, given ? HISTORY_GIVEN : HISTORY_TAKEN, listener)->partition = partition;
}

void history_batch(struct history *history, const struct history_batch *batch)
{
    history->batches =
        grow(history->batches, history->batch_count, &history->batch_capacity, sizeof(*history->batches));
    history->batches[history->batch_count++] = *batch;
}

void history_stored(struct history *history, uint32_t topic, uint32_t partition, uint64_t offset,
                    const void *value, size_t value_size)
{
    history->stored =
        grow(history->stored, history->stored_count, &history->stored_capacity, sizeof(*history->stored));
    history->stored[history->stored_count++] =
        (struct history_stored){topic, partition, offset, history_find(history, value, value_size)};
}

void history_trim(struct history *history, uint32_t topic, uint32_t partition, uint64_t offset)
{
    history->trims =
        grow(history->trims, history->trim_count, &history->trim_capacity, sizeof(*history->trims));
    history->trims[history->trim_count++] = (struct history_trim){topic, partition, offset, ++history->clock};
}

uint64_t history_log_start(const struct history *history, uint32_t topic, uint32_t partition, uint64_t at)
{
    uint64_t start = 0;
    for (size_t i = 0; i < history->trim_count && history->trims[i].at < at; i++)
        if (history->trims[i].topic == topic && history->trims[i].partition == partition)
            start = history->trims[i].offset;
    return start;
}

void history_position(struct history *history, const struct history_position *position)
{
    history->positions = grow(history->positions, history->position_count, &history->position_capacity,
                              sizeof(*history->positions));
    history->positions[history->position_count] = *position;
    history->positions[history->position_count++].at = ++history->clock;
}
