/* fleeting_check.c: what the log says about topics that come and go, and whether it is what clients were told and heard. See
 * fleeting.h. */
#include "tests/sim/fleeting.h"
#include "tests/sim/later.h"

#include "base/bytes.h"
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
       COMMAND_DELETE_TOPIC = 10,
       COMMAND_SHARED_PROGRESS = 11
};

#define SETTINGS_KEPT 6
#define IN_FLIGHT_MAX 64 /* entries: what was decided so long before a change of settings is long durable */

struct batch_kept {
    uint64_t base_offset;
    size_t size;
    int64_t append_time_us;
};

struct partition_log {
    uint32_t *events; /* by offset; HISTORY_NONE: its bytes are no value of ours */
    size_t count, capacity;
    struct batch_kept *batches;
    size_t batch_count, batch_capacity;
    uint64_t log_start, consumed;
};

/* One of the topics that had a name. */
struct incarnation {
    uint32_t topic;
    uint8_t id[16];
    uint64_t made_at, deleted_at;                   /* UINT64_MAX: it is there */
    struct crier_retention settings[SETTINGS_KEPT]; /* the last ones: now, before that, ... */
    size_t since[SETTINGS_KEPT];                    /* the entries they came with */
    uint32_t partitions;
    struct partition_log logs[FLEETING_PLACES];
};

struct moment {
    enum fleeting_change_kind kind;
    uint32_t topic, set;
    uint64_t at;
    struct crier_retention retention;
};

struct event_place {
    uint32_t times;
    uint64_t offset; /* the first time */
};

struct log_check {
    struct sim *sim;
    struct fleeting *fleeting;
    struct incarnation *incarnations;
    size_t count, capacity;
    struct moment *moments;
    size_t moment_count, moment_capacity;
    struct event_place *places; /* by event */
    uint32_t partitions
        [HISTORY_PARTITION_IDS]; /* by id: (the incarnation + 1) * FLEETING_PLACES + place; 0: none */
};

static void *grow(void *array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 16;
    array = realloc(array, *capacity * element);
    CHECK(array);
    return array;
}

static struct incarnation *incarnation_of(struct log_check *check, uint64_t partition, uint32_t *ret_place)
{
    uint32_t code = partition < HISTORY_PARTITION_IDS ? check->partitions[partition] : 0;
    *ret_place = code % FLEETING_PLACES;
    return code ? &check->incarnations[code / FLEETING_PLACES - 1] : NULL;
}

/* ---- the log ---- */

static void moment_add(struct log_check *check, const struct moment *moment)
{
    check->moments =
        grow(check->moments, check->moment_count, &check->moment_capacity, sizeof(*check->moments));
    check->moments[check->moment_count++] = *moment;
}

static struct crier_retention retention_of(const State__TopicSettings *settings)
{
    return (struct crier_retention){.time_ms = (int64_t)(settings->retention_time_us / 1000),
                                    .bytes = settings->retention_bytes,
                                    .count = settings->retention_count,
                                    .until_consumed = settings->retain_until_consumed};
}

static void created(struct log_check *check, const struct disk_part *at)
{
    State__CreateTopic *command =
        state__create_topic__unpack(NULL, at->part->payload.size, at->part->payload.data);
    unsigned topic;
    CHECK(command);
    if (sscanf(command->name, "d%u", &topic) == 1) {
        CHECK(topic < FLEETING_TOPICS && command->n_partitions <= FLEETING_PLACES && command->id.len == 16);
        check->incarnations =
            grow(check->incarnations, check->count, &check->capacity, sizeof(*check->incarnations));
        struct incarnation *made = &check->incarnations[check->count++];
        *made = (struct incarnation){.topic = topic, .made_at = at->at, .deleted_at = UINT64_MAX};
        memcpy(made->id, command->id.data, sizeof(made->id));
        made->settings[0] = command->settings ? retention_of(command->settings) : (struct crier_retention){0};
        made->partitions = (uint32_t)command->n_partitions;
        for (uint32_t i = 0; i < made->partitions; i++)
            check->partitions[command->partitions[i]] = (uint32_t)check->count * FLEETING_PLACES + i;
        made->since[0] = at->entry;
        moment_add(check, &(struct moment){FLEETING_CREATE, topic, 0, at->at, made->settings[0]});
        for (size_t i = 0; i + 1 < check->count; i++)
            if (check->incarnations[i].topic == topic && check->incarnations[i].deleted_at == UINT64_MAX)
                report_add(&check->sim->report, 3, "topic d%u is created while it is there", topic);
    }
    state__create_topic__free_unpacked(command, NULL);
}

/* The one that a command means; NULL: none of ours. */
static struct incarnation *meant(struct log_check *check, const char *name, const ProtobufCBinaryData *id)
{
    if (name[0] != 'd')
        return NULL;
    for (size_t i = check->count; i-- > 0;)
        if (id->len == 16 && !memcmp(check->incarnations[i].id, id->data, 16) &&
            check->incarnations[i].deleted_at == UINT64_MAX)
            return &check->incarnations[i];
    report_add(&check->sim->report, 7, "topic %s is changed in the log, and is not there", name);
    return NULL;
}

static void altered(struct log_check *check, const struct disk_part *at)
{
    State__AlterTopic *command =
        state__alter_topic__unpack(NULL, at->part->payload.size, at->part->payload.data);
    CHECK(command && command->settings);
    struct incarnation *topic = meant(check, command->name, &command->id);
    if (topic) {
        struct crier_retention wanted = retention_of(command->settings);
        struct crier_retention *now = topic->settings;
        memmove(now + 1, now, (SETTINGS_KEPT - 1) * sizeof(*now));
        memmove(topic->since + 1, topic->since, (SETTINGS_KEPT - 1) * sizeof(*topic->since));
        topic->since[0] = at->entry;
        if (command->set & CRIER_SET_RETENTION_TIME)
            now->time_ms = wanted.time_ms;
        if (command->set & CRIER_SET_RETENTION_BYTES)
            now->bytes = wanted.bytes;
        if (command->set & CRIER_SET_RETENTION_COUNT)
            now->count = wanted.count;
        if (command->set & CRIER_SET_UNTIL_CONSUMED)
            now->until_consumed = wanted.until_consumed;
        moment_add(check, &(struct moment){FLEETING_ALTER, topic->topic, command->set, at->at, wanted});
    }
    state__alter_topic__free_unpacked(command, NULL);
}

static void deleted(struct log_check *check, const struct disk_part *at)
{
    State__DeleteTopic *command =
        state__delete_topic__unpack(NULL, at->part->payload.size, at->part->payload.data);
    CHECK(command);
    struct incarnation *topic = meant(check, command->name, &command->id);
    if (topic) {
        topic->deleted_at = at->at;
        moment_add(check, &(struct moment){.kind = FLEETING_DELETE, .topic = topic->topic, .at = at->at});
    }
    state__delete_topic__free_unpacked(command, NULL);
}

static bool is_later(uint32_t event)
{
    return event != HISTORY_NONE && (event & FLEETING_LATER);
}

static uint32_t event_of(const struct log_check *check, const struct batch_record *record)
{
    const struct later *others = check->sim->later;
    uint32_t later = others ? later_value_find(others, record->value.data, record->value.size) : HISTORY_NONE;
    if (later != HISTORY_NONE)
        return FLEETING_LATER | later;
    const uint8_t *bytes = record->value.data;
    if (record->value.size < 24 || le64_get(bytes) != FLEETING_MAGIC)
        return HISTORY_NONE;
    uint64_t number = le64_get(bytes + 8);
    if (number >= check->fleeting->event_count || check->fleeting->events[number].size != record->value.size)
        return HISTORY_NONE;
    uint8_t *expected = malloc(record->value.size);
    CHECK(expected);
    fleeting_value_make(expected, number, (uint32_t)record->value.size);
    bool same = memcmp(expected, bytes, record->value.size) == 0;
    free(expected);
    return same ? (uint32_t)number : HISTORY_NONE;
}

static void event_stored(struct log_check *check, const struct incarnation *in, struct partition_log *log,
                         const struct batch_record *record)
{
    uint32_t event = event_of(check, record);
    log->events = grow(log->events, log->count, &log->capacity, sizeof(*log->events));
    log->events[log->count++] = event;
    if (is_later(event)) /* later_check.c judges it */
        return;
    if (event == HISTORY_NONE || check->fleeting->events[event].topic != in->topic) {
        report_add(&check->sim->report, 2, "topic d%u holds what nobody emitted, at %llu", in->topic,
                   (unsigned long long)record->offset);
        return;
    }
    if (check->places[event].times++ == 0)
        check->places[event].offset = (uint64_t)record->offset;
}

static void stored(struct log_check *check, const struct disk_part *at)
{
    uint32_t place;
    struct incarnation *in = incarnation_of(check, at->part->partition, &place);
    if (!in)
        return;
    struct partition_log *log = &in->logs[place];
    if (in->deleted_at != UINT64_MAX)
        report_add(&check->sim->report, 7, "partition %llu of topic d%u gets events after its deletion",
                   (unsigned long long)at->part->partition, in->topic);
    log->batches = grow(log->batches, log->batch_count, &log->batch_capacity, sizeof(*log->batches));
    log->batches[log->batch_count++] =
        (struct batch_kept){at->part->base_offset, at->part->payload.size, at->append_time_us};
    struct batch_iterator iterator;
    struct batch_record record;
    disk_events(at->part, &iterator);
    while (batch_iterator_next(&iterator, &record) == 1)
        event_stored(check, in, log, &record);
    batch_iterator_finish(&iterator);
}

/* ---- what retention may take ---- */

static bool may_go(const struct partition_log *log, const struct crier_retention *settings, uint64_t offset,
                   int64_t now_us)
{
    size_t bytes_left = 0;
    bool all_old = true;
    for (size_t i = 0; i < log->batch_count; i++) {
        const struct batch_kept *batch = &log->batches[i];
        if (batch->base_offset >= offset)
            bytes_left += batch->size;
        else if (batch->append_time_us + settings->time_ms * 1000 > now_us)
            all_old = false;
    }
    return (settings->until_consumed && offset <= log->consumed) ||
           (settings->count && log->count > settings->count && offset <= log->count - settings->count) ||
           (settings->bytes && bytes_left >= settings->bytes) || (settings->time_ms && all_old);
}

static void moved(struct log_check *check, const struct disk_part *at)
{
    State__MoveLogStarts *command =
        state__move_log_starts__unpack(NULL, at->part->payload.size, at->part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_moves; i++) {
        uint32_t place;
        struct incarnation *in = incarnation_of(check, command->moves[i]->partition, &place);
        uint64_t offset = command->moves[i]->offset;
        if (!in || in->deleted_at != UINT64_MAX)
            continue;
        bool may = may_go(&in->logs[place], &in->settings[0], offset, at->append_time_us);
        for (size_t k = 1; !may && k < SETTINGS_KEPT && at->entry - in->since[k - 1] < IN_FLIGHT_MAX; k++)
            may = may_go(&in->logs[place], &in->settings[k], offset, at->append_time_us);
        if (!may)
            report_add(&check->sim->report, 11, "topic d%u loses what is below %llu, against its settings",
                       in->topic, (unsigned long long)offset);
        in->logs[place].log_start = offset;
        trace_add(&check->sim->trace, TRACE_FLEETING_KEPT, in->topic, offset, 0);
    }
    state__move_log_starts__free_unpacked(command, NULL);
}

static void consumed(struct log_check *check, uint64_t partition, uint64_t offset)
{
    uint32_t place;
    struct incarnation *in = incarnation_of(check, partition, &place);
    if (in && offset > in->logs[place].consumed)
        in->logs[place].consumed = offset;
}

static void committed(struct log_check *check, const struct disk_part *at)
{
    State__CommitPositions *command =
        state__commit_positions__unpack(NULL, at->part->payload.size, at->part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_positions; i++)
        consumed(check, command->positions[i]->partition, command->positions[i]->offset);
    state__commit_positions__free_unpacked(command, NULL);
}

/* The position of a shared group is at most behind the last event that is done. */
static void progressed(struct log_check *check, const struct disk_part *at)
{
    State__SharedProgress *command =
        state__shared_progress__unpack(NULL, at->part->payload.size, at->part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_events; i++) {
        uint64_t end = 0;
        for (size_t k = 0; k < command->events[i]->n_done; k++) /* distance, length, distance, ... */
            end += command->events[i]->done[k];
        consumed(check, command->events[i]->partition, end);
    }
    state__shared_progress__free_unpacked(command, NULL);
}

static void each_part(void *ctx, const struct disk_part *at)
{
    struct log_check *check = ctx;
    if (at->part->kind == PART_DATA)
        stored(check, at);
    else if (at->part->command == COMMAND_CREATE_TOPIC)
        created(check, at);
    else if (at->part->command == COMMAND_ALTER_TOPIC)
        altered(check, at);
    else if (at->part->command == COMMAND_DELETE_TOPIC)
        deleted(check, at);
    else if (at->part->command == COMMAND_MOVE_LOG_STARTS)
        moved(check, at);
    else if (at->part->command == COMMAND_COMMIT_POSITIONS)
        committed(check, at);
    else if (at->part->command == COMMAND_SHARED_PROGRESS)
        progressed(check, at);
}

/* ---- what was told ---- */

static void check_events(struct log_check *check)
{
    struct report *report = &check->sim->report;
    for (size_t i = 0; i < check->fleeting->event_count; i++) {
        const struct fleeting_event *event = &check->fleeting->events[i];
        const struct event_place *place = &check->places[i];
        if (event->state == EMIT_OK && !place->times)
            report_add(report, 1, "event %zu of topic d%u was acknowledged and is lost", i, event->topic);
        else if (event->state == EMIT_OK && event->offset != HISTORY_NO_OFFSET &&
                 event->offset != place->offset)
            report_add(report, 1, "event %zu of topic d%u was acknowledged at %llu and is at %llu", i,
                       event->topic, (unsigned long long)event->offset, (unsigned long long)place->offset);
        if (event->state == EMIT_FAILED && place->times)
            report_add(report, 2, "event %zu of topic d%u failed for good and is stored", i, event->topic);
        if (place->times > 1)
            report_add(report, 5, "event %zu of topic d%u is stored %u times", i, event->topic, place->times);
    }
}

static bool happened(const struct log_check *check, const struct fleeting_change *change)
{
    for (size_t i = 0; i < check->moment_count; i++) {
        const struct moment *moment = &check->moments[i];
        if (moment->kind == change->kind && moment->topic == change->topic && moment->at > change->asked_at &&
            moment->at < change->answered_at &&
            (change->kind != FLEETING_ALTER || moment->set == change->set))
            return true;
    }
    return false;
}

static void check_changes(struct log_check *check)
{
    static const char *const words[] = {"created", "altered", "deleted"};
    for (size_t i = 0; i < check->fleeting->change_count; i++) {
        const struct fleeting_change *change = check->fleeting->changes[i];
        if (change->answered && change->code == 0 && !happened(check, change))
            report_add(&check->sim->report, 6, "topic d%u was said to be %s, and the log does not say so",
                       change->topic, words[change->kind]);
    }
}

/* ---- what was heard ---- */

/* The topic of this name that has these events there, and was there before; NULL: none. */
static struct incarnation *heard_of(struct log_check *check, const struct fleeting_listener *to,
                                    const struct fleeting_seen *seen)
{
    for (size_t i = 0; i < check->count; i++) {
        struct incarnation *in = &check->incarnations[i];
        if (in->topic == to->topic && in->made_at < seen->at && seen->place < in->partitions &&
            seen->offset < in->logs[seen->place].count &&
            in->logs[seen->place].events[seen->offset] == seen->event)
            return in;
    }
    return NULL;
}

static void check_step(struct log_check *check, const struct fleeting_listener *to,
                       const struct incarnation *in, const struct fleeting_seen *seen, uint64_t next)
{
    uint64_t log_start = in->logs[seen->place].log_start;
    if (next == HISTORY_NO_OFFSET)
        next = to->earliest ? 0 : seen->offset;
    if (seen->offset < next || (seen->offset > next && seen->offset > log_start))
        report_add(&check->sim->report, 8, "a listener to d%u is at %llu of partition %u and hears %llu",
                   to->topic, (unsigned long long)next, seen->place, (unsigned long long)seen->offset);
}

/* Up to where it has to have been heard from `next` on: what comes at its time may have come after the mark. */
static size_t heard_to(const struct partition_log *log, uint64_t next)
{
    size_t end = log->count;
    while (end > next && is_later(log->events[end - 1]))
        end--;
    return end;
}

static void check_end(struct log_check *check, const struct fleeting_listener *to,
                      const struct incarnation *last, const uint64_t next[FLEETING_PLACES])
{
    for (size_t i = 0; i < check->count; i++) {
        const struct incarnation *in = &check->incarnations[i];
        if (in->topic != to->topic || in->deleted_at != UINT64_MAX)
            continue;
        for (uint32_t place = 0; place < in->partitions; place++) {
            const struct partition_log *log = &in->logs[place];
            bool heard = last == in && next[place] != HISTORY_NO_OFFSET;
            size_t end = heard_to(log, heard ? next[place] : 0);
            if (end > log->log_start && (!heard || next[place] != end))
                report_add(&check->sim->report, 13,
                           "a listener to d%u has heard up to %lld of partition %u, which ends at %zu",
                           to->topic, heard ? (long long)next[place] : -1, place, end);
        }
    }
}

static void check_listener(struct log_check *check, const struct fleeting_listener *to)
{
    struct incarnation *current = NULL;
    uint64_t next[FLEETING_PLACES];
    uint32_t life = 0;
    for (size_t i = 0; i < to->seen_count; i++) {
        const struct fleeting_seen *seen = &to->seen[i];
        struct incarnation *in = heard_of(check, to, seen);
        if (seen->event == HISTORY_NONE || !in) {
            report_add(&check->sim->report, seen->event == HISTORY_NONE ? 2 : 3,
                       "a listener to d%u hears at %llu of partition %u what is not there", to->topic,
                       (unsigned long long)seen->offset, seen->place);
            return;
        }
        if (current && in != current && seen->life == life)
            report_add(&check->sim->report, 3, "a listener to d%u hears two topics in one life", to->topic);
        if (to->member) /* others have the rest */
            continue;
        for (uint32_t place = 0; place < FLEETING_PLACES && in != current; place++)
            next[place] = HISTORY_NO_OFFSET;
        check_step(check, to, in, seen, next[seen->place]);
        current = in;
        life = seen->life;
        next[seen->place] = seen->offset + 1;
    }
    if (to->must_end)
        check_end(check, to, current, next);
}

static void check_ended(struct log_check *check, const struct fleeting_listener *to)
{
    bool deleted = !to->ended_at;
    for (size_t i = 0; i < check->moment_count && !deleted; i++)
        deleted = check->moments[i].kind == FLEETING_DELETE && check->moments[i].topic == to->topic &&
                  check->moments[i].at < to->ended_at;
    if (!deleted)
        report_add(&check->sim->report, 8, "a listener to d%u was told of a deletion that never was",
                   to->topic);
}

/* ---- all of it ---- */

static void log_check_free(struct log_check *check)
{
    for (size_t i = 0; i < check->count; i++)
        for (uint32_t place = 0; place < FLEETING_PLACES; place++) {
            free(check->incarnations[i].logs[place].events);
            free(check->incarnations[i].logs[place].batches);
        }
    free(check->incarnations);
    free(check->moments);
    free(check->places);
    free(check);
}

void fleeting_mark(struct sim *sim)
{
    for (struct fleeting_listener *to = sim->fleeting ? sim->fleeting->listeners : NULL; to; to = to->next)
        to->must_end = to->client && to->in_place && to->earliest && !to->member;
}

void fleeting_verdict(struct sim *sim)
{
    if (!sim->fleeting)
        return;
    struct log_check *check = calloc(1, sizeof(*check));
    CHECK(check);
    check->sim = sim;
    check->fleeting = sim->fleeting;
    check->places = calloc(sim->fleeting->event_count + 1, sizeof(*check->places));
    CHECK(check->places);
    disk_each_part(&sim->disk, each_part, check);
    check_events(check);
    check_changes(check);
    for (const struct fleeting_listener *to = sim->fleeting->listeners; to; to = to->next) {
        check_listener(check, to);
        check_ended(check, to);
    }
    log_check_free(check);
}
