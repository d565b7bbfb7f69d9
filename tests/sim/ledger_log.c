/* ledger_log.c: what the log says about shared groups, entry by entry, in the moment it is durable. See ledger.h. */
#include "tests/sim/disk.h"
#include "tests/sim/ledger.h"

#include "base/check.h"
#include "proto/batch.h"
#include "proto/state.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* docs/disk-format.md */
       COMMAND_CREATE_TOPIC = 1,
       COMMAND_COMMIT_POSITIONS = 2,
       COMMAND_MOVE_LOG_STARTS = 8,
       COMMAND_ALTER_TOPIC = 9,
       COMMAND_SHARED_PROGRESS = 11
};

#define DELIVERIES 5u /* unless the topic says otherwise */

static void *grow(void *array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity)
        return array;
    size_t before = *capacity;
    *capacity = before ? 2 * before : 32;
    array = realloc(array, *capacity * element);
    CHECK(array);
    memset((uint8_t *)array + before * element, 0, (*capacity - before) * element);
    return array;
}

/* ---- topics ---- */

static void policy_note(struct ledger *ledger, uint32_t topic, const State__TopicSettings *settings)
{
    uint32_t deliveries = settings && settings->deliveries ? settings->deliveries : DELIVERIES;
    uint32_t *least = &ledger->deliveries_min[topic], *most = &ledger->deliveries_max[topic];
    *least = *least && *least < deliveries ? *least : deliveries;
    *most = *most > deliveries ? *most : deliveries;
}

static void created(struct ledger *ledger, const struct entry_part *part)
{
    State__CreateTopic *command = state__create_topic__unpack(NULL, part->payload.size, part->payload.data);
    unsigned topic = LEDGER_TOPICS;
    enum ledger_kind kind = LEDGER_OTHER;
    CHECK(command);
    if (sscanf(command->name, "q%u", &topic) == 1)
        kind = LEDGER_QUEUE;
    else if (sscanf(command->name, "$dead.q%u", &topic) == 1 ||
             sscanf(command->name, "lost.q%u", &topic) == 1)
        kind = LEDGER_DEAD;
    for (size_t i = 0; kind != LEDGER_OTHER && i < command->n_partitions; i++) {
        CHECK(topic < LEDGER_TOPICS && command->partitions[i] < HISTORY_PARTITION_IDS);
        struct ledger_partition *partition = &ledger->partitions[command->partitions[i]];
        *partition = (struct ledger_partition){.kind = kind, .topic = topic, .place = (uint32_t)i};
        if (command->partitions[i] >= ledger->partition_end)
            ledger->partition_end = command->partitions[i] + 1;
    }
    if (kind == LEDGER_QUEUE)
        policy_note(ledger, topic, command->settings);
    state__create_topic__free_unpacked(command, NULL);
}

static void altered(struct ledger *ledger, const struct entry_part *part)
{
    State__AlterTopic *command = state__alter_topic__unpack(NULL, part->payload.size, part->payload.data);
    unsigned topic;
    CHECK(command);
    if (sscanf(command->name, "q%u", &topic) == 1 && command->set & 65536)
        policy_note(ledger, topic, command->settings);
    state__alter_topic__free_unpacked(command, NULL);
}

/* ---- events ---- */

/* The header of this name, as text. False: it is not there, or does not fit. */
static bool header_read(const struct batch_record *record, const char *name, char *to, size_t size)
{
    const uint8_t *cursor = record->headers;
    struct batch_string key, value;
    while (batch_record_header(record, &cursor, &key, &value) == 1)
        if (key.size == strlen(name) && !memcmp(key.data, name, key.size) && value.size < size) {
            memcpy(to, value.data, value.size);
            to[value.size] = 0;
            return true;
        }
    return false;
}

static uint64_t header_number(const struct batch_record *record, const char *name)
{
    char text[32];
    return header_read(record, name, text, sizeof(text)) ? strtoull(text, NULL, 10) : UINT64_MAX;
}

/* Is it an event of ours, with the key and the header it was emitted with, and so many others? Its number, or UINT64_MAX. */
static uint64_t whole(const struct batch_record *record, int32_t others, uint32_t *ret_key)
{
    char key[16];
    uint64_t number = ledger_value_read(record->value.data, record->value.size, ret_key);
    if (number == UINT64_MAX || record->header_count != 1 + others || header_number(record, "n") != number)
        return UINT64_MAX;
    size_t size = (size_t)snprintf(key, sizeof(key), "k%u", *ret_key);
    bool same = *ret_key ? record->key.size == size && !memcmp(record->key.data, key, size)
                         : record->key.data == NULL || record->key.size == 0;
    return same ? number : UINT64_MAX;
}

/* A second time it may only be one of the dead letters that come back with this entry: it takes them out of their topic (one
 * may have died for several groups, before and after that was altered). */
static void came_back(struct ledger *ledger, uint64_t partition, uint64_t number)
{
    for (size_t i = 0; i < ledger->partition_end; i++)
        for (size_t k = 0; k < ledger->partitions[i].letter_count; k++) {
            struct ledger_letter *letter = &ledger->partitions[i].letters[k];
            if (letter->number == number && letter->partition == partition && !letter->redriven &&
                letter->offset < ledger->partitions[i].log_start) {
                letter->redriven = true;
                trace_add(ledger->trace, TRACE_SHARED_REDRIVEN, letter->offset, partition, number);
                return;
            }
        }
    report_add(ledger->report, 5, "event %llu is in partition %llu again, and no dead letter is it",
               (unsigned long long)number, (unsigned long long)partition);
}

static void queued(struct ledger *ledger, uint64_t id, const struct batch_record *record)
{
    struct ledger_partition *partition = &ledger->partitions[id];
    uint32_t key = 0;
    uint64_t number = whole(record, 0, &key);
    partition->events =
        grow(partition->events, partition->count, &partition->capacity, sizeof(*partition->events));
    partition->events[partition->count++] =
        (struct ledger_event){.number = number, .key = key, .timestamp_ms = record->timestamp_ms};
    if (number == UINT64_MAX || (uint64_t)record->offset + 1 != partition->count) {
        report_add(ledger->report, 2, "partition %llu offset %lld is not what was emitted",
                   (unsigned long long)id, (long long)record->offset);
        return;
    }
    while (number >= ledger->stored_size)
        ledger->stored = grow(ledger->stored, ledger->stored_size, &ledger->stored_size, 1);
    if (ledger->stored[number])
        came_back(ledger, id, number);
    ledger->stored[number] = 1;
}

static uint32_t partition_find(const struct ledger *ledger, uint32_t topic, uint64_t place)
{
    for (uint32_t i = 0; i < ledger->partition_end; i++)
        if (ledger->partitions[i].kind == LEDGER_QUEUE && ledger->partitions[i].topic == topic &&
            ledger->partitions[i].place == place)
            return i;
    return HISTORY_PARTITION_IDS;
}

static void died(struct ledger *ledger, struct ledger_partition *dead, const struct batch_record *record)
{
    char group[16], topic[16], reason[32], name[16];
    unsigned group_number = LEDGER_GROUPS;
    uint32_t key;
    uint64_t number = whole(record, 6, &key), offset = header_number(record, "crier.dead.offset");
    uint32_t from = partition_find(ledger, dead->topic, header_number(record, "crier.dead.partition"));
    snprintf(name, sizeof(name), "q%u", dead->topic);
    bool good = number != UINT64_MAX && header_read(record, "crier.dead.group", group, sizeof(group)) &&
                header_read(record, "crier.dead.topic", topic, sizeof(topic)) && !strcmp(topic, name) &&
                header_read(record, "crier.dead.reason", reason, sizeof(reason)) &&
                sscanf(group, "h%u", &group_number) == 1 && group_number < LEDGER_GROUPS &&
                from < HISTORY_PARTITION_IDS && offset < ledger->partitions[from].count &&
                ledger->partitions[from].events[offset].number == number &&
                ledger->partitions[from].events[offset].timestamp_ms == record->timestamp_ms;
    const struct ledger_state *state = good ? ledger_state(ledger, from, offset, group_number) : NULL;
    if (!good || header_number(record, "crier.dead.attempts") != state->attempts)
        report_add(ledger->report, 2, "the dead letter at %lld is not an event that died",
                   (long long)record->offset);
    dead->letters = grow(dead->letters, dead->letter_count, &dead->letter_capacity, sizeof(*dead->letters));
    dead->letters[dead->letter_count++] = (struct ledger_letter){.group = group_number,
                                                                 .partition = from,
                                                                 .from_offset = offset,
                                                                 .offset = (uint64_t)record->offset,
                                                                 .number = number,
                                                                 .key = key};
    trace_add(ledger->trace, TRACE_SHARED_DEAD, group_number, from, offset);
}

static void data(struct ledger *ledger, const struct entry_part *part)
{
    struct ledger_partition *partition = &ledger->partitions[part->partition];
    if (part->partition >= ledger->partition_end || partition->kind == LEDGER_OTHER)
        return;
    struct batch_iterator iterator;
    struct batch_record record;
    disk_events(part, &iterator);
    while (batch_iterator_next(&iterator, &record) == 1) {
        if (partition->kind == LEDGER_QUEUE)
            queued(ledger, part->partition, &record);
        else
            died(ledger, partition, &record);
    }
    batch_iterator_finish(&iterator);
}

/* ---- groups ---- */

static uint32_t group_number(const char *name)
{
    unsigned group;
    return sscanf(name, "h%u", &group) == 1 && group < LEDGER_GROUPS ? group : LEDGER_GROUPS;
}

static void begun(struct ledger *ledger, const struct entry_part *part)
{
    State__CommitPositions *command =
        state__commit_positions__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_positions; i++) {
        uint32_t group = group_number(command->positions[i]->group);
        uint64_t id = command->positions[i]->partition;
        if (group == LEDGER_GROUPS || id >= ledger->partition_end ||
            ledger->partitions[id].kind != LEDGER_QUEUE)
            continue;
        if (ledger->partitions[id].begun[group] &&
            command->positions[i]->offset < ledger->partitions[id].begin[group])
            report_add(ledger->report, 9, "group h%u begins partition %llu anew, at %llu", group,
                       (unsigned long long)id, (unsigned long long)command->positions[i]->offset);
        if (!ledger->partitions[id].begun[group])
            ledger->partitions[id].begin[group] = command->positions[i]->offset;
        ledger->partitions[id].begun[group] = true;
    }
    state__commit_positions__free_unpacked(command, NULL);
}

/* Has this entry, whose letters begin at these places, the letter of an event? */
static unsigned letters_of(const struct ledger *ledger, const size_t *first, uint32_t group,
                           uint64_t partition, uint64_t offset)
{
    unsigned count = 0;
    for (size_t i = 0; i < ledger->partition_end; i++)
        for (size_t k = first[i]; k < ledger->partitions[i].letter_count; k++) {
            const struct ledger_letter *letter = &ledger->partitions[i].letters[k];
            count +=
                letter->group == group && letter->partition == partition && letter->from_offset == offset;
        }
    return count;
}

static void done(struct ledger *ledger, const size_t *first, uint32_t group, uint64_t id, uint64_t offset)
{
    struct ledger_state *state = ledger_state(ledger, id, offset, group);
    unsigned long long p = id, o = offset;
    if (!state) {
        report_add(ledger->report, 7, "group h%u: partition %llu offset %llu is done, and is not there",
                   group, p, o);
        return;
    }
    if (offset < ledger->partitions[id].log_start) {
        state->done = true;
        return;
    }
    if (state->done)
        report_add(ledger->report, 5, "group h%u: partition %llu offset %llu is done twice", group, p, o);
    unsigned letters = letters_of(ledger, first, group, id, offset);
    bool may_die =
        state->dead || /* or the topic has fewer deliveries by now */
        (state->attempts && state->attempts >= ledger->deliveries_min[ledger->partitions[id].topic]);
    bool may_not = !state->dead || state->acked; /* better late than dead */
    if (letters > 1 || (letters == 1 && !may_die) || (letters == 0 && !may_not))
        report_add(ledger->report, 5,
                   "group h%u: partition %llu offset %llu is %s, and its entry has %u dead letters of it",
                   group, p, o, state->dead ? "dead" : "done", letters);
    state->done = true;
    state->done_us = ledger->trace->now_us;
}

static void failed(struct ledger *ledger, uint32_t group, uint64_t id, const State__SharedRetry *retry)
{
    struct ledger_state *state = ledger_state(ledger, id, retry->offset, group);
    uint32_t topic = ledger->partitions[id].topic;
    unsigned long long p = id, o = retry->offset;
    CHECK(state);
    trace_add(ledger->trace, TRACE_SHARED_FAILED, id, retry->offset, retry->attempts);
    if (state->done || state->dead)
        report_add(ledger->report, 5, "group h%u: partition %llu offset %llu is %s, and fails", group, p, o,
                   state->done ? "done" : "dead");
    if (retry->attempts != state->attempts + 1)
        report_add(ledger->report, 9, "group h%u: partition %llu offset %llu goes from %u failures to %u",
                   group, p, o, state->attempts, retry->attempts);
    if (retry->dead && retry->attempts < ledger->deliveries_min[topic] && !state->rejected)
        report_add(ledger->report, 9, "group h%u: partition %llu offset %llu dies after %u attempts", group,
                   p, o, retry->attempts);
    if (!retry->dead && retry->attempts >= ledger->deliveries_max[topic])
        report_add(ledger->report, 9, "group h%u: partition %llu offset %llu lives on after %u attempts",
                   group, p, o, retry->attempts);
    state->attempts = retry->attempts;
    state->dead = retry->dead;
    if (state->attempt == retry->attempts)
        state->tap = 0;
}

static void progress(struct ledger *ledger, const size_t *first, const struct entry_part *part)
{
    State__SharedProgress *command =
        state__shared_progress__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    uint32_t group = group_number(command->group);
    for (size_t i = 0; group < LEDGER_GROUPS && i < command->n_events; i++) {
        const State__SharedEvents *events = command->events[i];
        if (events->partition >= ledger->partition_end ||
            ledger->partitions[events->partition].kind != LEDGER_QUEUE)
            continue;
        uint64_t end = 0;
        for (size_t k = 0; k + 1 < events->n_done; k += 2) {
            uint64_t from = end + events->done[k];
            end = from + events->done[k + 1];
            for (uint64_t offset = from; offset < end; offset++)
                done(ledger, first, group, events->partition, offset);
        }
        for (size_t k = 0; k < events->n_retries; k++)
            failed(ledger, group, events->partition, events->retries[k]);
    }
    state__shared_progress__free_unpacked(command, NULL);
}

/* Dead letters go only with their way back; and with that they do. */
static void moved(struct ledger *ledger, const struct entry_part *part)
{
    State__MoveLogStarts *command =
        state__move_log_starts__unpack(NULL, part->payload.size, part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_moves; i++) {
        uint64_t id = command->moves[i]->partition;
        if (id < ledger->partition_end && command->moves[i]->offset > ledger->partitions[id].log_start)
            ledger->partitions[id].log_start = command->moves[i]->offset;
    }
    state__move_log_starts__free_unpacked(command, NULL);
}

static void check_letters(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->partition_end; i++) {
        const struct ledger_partition *dead = &ledger->partitions[i];
        for (size_t k = 0; k < dead->letter_count; k++)
            if (dead->letters[k].redriven != (dead->letters[k].offset < dead->log_start))
                report_add(ledger->report, 5, "the dead letter at %llu is %s, and %s",
                           (unsigned long long)dead->letters[k].offset,
                           dead->letters[k].redriven ? "back in its topic" : "not back in its topic",
                           dead->letters[k].redriven ? "still there" : "gone");
    }
}

/* ---- all of it ---- */

static bool is_command(const struct entry_part *part, unsigned command)
{
    return part->kind != PART_DATA && part->command == command;
}

void ledger_note(struct ledger *ledger, const struct entry_part *parts, uint32_t part_count)
{
    static size_t first[HISTORY_PARTITION_IDS]; /* scratch: nothing in it outlives the call */
    for (uint32_t i = 0; i < part_count; i++)
        if (is_command(&parts[i], COMMAND_CREATE_TOPIC))
            created(ledger, &parts[i]);
        else if (is_command(&parts[i], COMMAND_MOVE_LOG_STARTS))
            moved(ledger, &parts[i]);
    for (size_t i = 0; i < ledger->partition_end; i++)
        first[i] = ledger->partitions[i].letter_count;
    for (uint32_t i = 0; i < part_count; i++)
        if (parts[i].kind == PART_DATA)
            data(ledger, &parts[i]);
        else if (is_command(&parts[i], COMMAND_ALTER_TOPIC))
            altered(ledger, &parts[i]);
        else if (is_command(&parts[i], COMMAND_COMMIT_POSITIONS))
            begun(ledger, &parts[i]);
    for (uint32_t i = 0; i < part_count; i++)
        if (is_command(&parts[i], COMMAND_SHARED_PROGRESS))
            progress(ledger, first, &parts[i]);
    if (ledger->partition_end)
        check_letters(ledger);
}
