/* later_check.c: what the log says about events with a time, and whether it is what clients were told and heard. See later.h. */
#include "tests/sim/later.h"

#include "base/check.h"
#include "proto/batch.h"
#include "proto/state.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* docs/disk-format.md */
       COMMAND_CREATE_TOPIC = 1,
       COMMAND_SCHEDULE = 15,
       COMMAND_FIRED = 16,
       COMMAND_CANCELED = 17
};

#define CLASS_BITS 5
#define CLASSES    24
#define STAMP_US   INT64_C(60000000) /* from the decision about an entry to its stamp, with a slow disk */

enum role { ROLE_NONE, ROLE_TOPIC, ROLE_SCHEDULED };

struct partition_role {
    enum role role;
    uint32_t number; /* of the topic, or the class */
};

/* What the log says about an event. */
struct fate {
    uint32_t kept, came, scheduled, fired, canceled; /* times */
    crier_schedule schedule;
    uint64_t keeps_at;            /* its place: offset and class */
    uint64_t partition;           /* where it goes */
    uint64_t scheduled_at;        /* in the order of everything */
    uint64_t ended_at;            /* fired or canceled; 0: neither */
    size_t came_entry, end_entry; /* places in the log */
    int64_t came_us;              /* by the log's clock */
};

struct later_check {
    struct sim *sim;
    struct later *later;
    struct fate *fates; /* by event */
    struct partition_role partitions[HISTORY_PARTITION_IDS];
};

static void complain(struct later_check *check, unsigned promise, uint32_t event, const char *what)
{
    const struct fate *fate = &check->fates[event];
    report_add(&check->sim->report, promise, "event %u (%" PRIx64 "-%" PRIx64 "), which has a time, %s",
               event, (uint64_t)fate->schedule.due_us, fate->schedule.number, what);
}

/* ---- the log ---- */

static void created(struct later_check *check, const struct disk_part *at)
{
    State__CreateTopic *command =
        state__create_topic__unpack(NULL, at->part->payload.size, at->part->payload.data);
    unsigned topic;
    CHECK(command);
    bool scheduled = strcmp(command->name, "$scheduled") == 0;
    bool mortal = !scheduled && sscanf(command->name, "d%u", &topic) == 1;
    if (mortal)
        topic += LATER_TOPICS;
    if (scheduled || mortal || sscanf(command->name, "l%u", &topic) == 1)
        for (size_t i = 0; i < command->n_partitions; i++) {
            CHECK(command->partitions[i] < HISTORY_PARTITION_IDS);
            check->partitions[command->partitions[i]] =
                scheduled ? (struct partition_role){ROLE_SCHEDULED, (uint32_t)i}
                          : (struct partition_role){ROLE_TOPIC, topic};
        }
    state__create_topic__free_unpacked(command, NULL);
}

static void came(struct later_check *check, const struct disk_part *at, uint32_t event, uint32_t topic)
{
    struct fate *fate = &check->fates[event];
    fate->came++;
    fate->came_entry = at->entry;
    fate->came_us = at->append_time_us;
    if (check->later->events[event].topic != topic)
        complain(check, 2, event, "came into another topic");
    if (check->later->events[event].timed && !fate->scheduled)
        complain(check, 2, event, "came without being scheduled");
    if (check->later->events[event].timed && fate->partition != at->part->partition)
        complain(check, 3, event, "came into another topic of that name");
    if (check->later->events[event].timed && fate->canceled)
        complain(check, 2, event, "came though it was canceled");
    if (check->later->events[event].timed && fate->came_us < fate->schedule.due_us)
        complain(check, 4, event, "came before its time");
    if (fate->came > 1)
        complain(check, 5, event, "came twice");
}

static void data(struct later_check *check, const struct disk_part *at)
{
    struct batch_iterator iterator;
    struct batch_record record;
    struct partition_role role = check->partitions[at->part->partition];
    if (role.role == ROLE_NONE)
        return;
    disk_events(at->part, &iterator);
    for (uint64_t i = 0; batch_iterator_next(&iterator, &record) == 1; i++) {
        uint32_t event = later_value_find(check->later, record.value.data, record.value.size);
        if (event == HISTORY_NONE && role.role == ROLE_TOPIC && role.number >= LATER_TOPICS) {
            continue; /* fleeting_check.c judges it */
        } else if (event == HISTORY_NONE) {
            report_add(&check->sim->report, 2, "the log has an event with a time that nobody emitted");
        } else if (role.role == ROLE_TOPIC) {
            came(check, at, event, role.number);
        } else {
            if (check->fates[event].kept++ > 0)
                complain(check, 5, event, "is stored twice");
            if (i > 0)
                complain(check, 5, event, "shares its schedule with another");
            check->fates[event].keeps_at = at->part->base_offset << CLASS_BITS | role.number;
        }
    }
    batch_iterator_finish(&iterator);
}

static uint32_t event_at(const struct later_check *check, uint64_t number)
{
    for (uint32_t i = 0; i < check->later->event_count; i++)
        if (check->fates[i].kept && check->fates[i].keeps_at == number)
            return i;
    return HISTORY_NONE;
}

/* Is its time what was asked for? */
static void check_time(struct later_check *check, uint32_t index, int64_t append_time_us)
{
    const struct later_event *event = &check->later->events[index];
    int64_t due_us = check->fates[index].schedule.due_us, wanted_us = event->at_us;
    if (event->at_us && due_us == wanted_us)
        return;
    if (event->at_us && due_us < wanted_us)
        complain(check, 4, index, "is due before the time that was asked for");
    int64_t decided_us = event->at_us ? due_us : due_us - event->delay_us;
    int64_t later_us = STAMP_US + check->sim->wall_leapt_us; /* the clock may be confirmed in between */
    if (decided_us > append_time_us + 1 ||
        decided_us < append_time_us - later_us) /* a delay of 0 is one of 1 */
        complain(check, 4, index, "is due at another time than was asked for");
}

static void scheduled(struct later_check *check, const struct disk_part *at)
{
    State__Schedules *command =
        state__schedules__unpack(NULL, at->part->payload.size, at->part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_schedules; i++) {
        const State__Schedule *schedule = command->schedules[i];
        uint32_t event = event_at(check, schedule->number);
        if (event == HISTORY_NONE) {
            report_add(&check->sim->report, 2, "the log has a schedule without an event");
            continue;
        }
        struct fate *fate = &check->fates[event];
        fate->schedule = (crier_schedule){schedule->due_us, schedule->number};
        fate->scheduled_at = at->at;
        fate->partition = schedule->partition;
        if (fate->scheduled++ > 0)
            complain(check, 5, event, "is scheduled twice");
        check_time(check, event, at->append_time_us);
    }
    state__schedules__free_unpacked(command, NULL);
}

static void ended(struct later_check *check, const struct disk_part *at, bool fires)
{
    State__EndSchedules *command =
        state__end_schedules__unpack(NULL, at->part->payload.size, at->part->payload.data);
    CHECK(command);
    for (size_t i = 0; i < command->n_schedules; i++) {
        uint32_t event = event_at(check, command->schedules[i]->number);
        if (event == HISTORY_NONE || check->fates[event].schedule.due_us != command->schedules[i]->due_us) {
            report_add(&check->sim->report, 2, "the log ends a schedule that never was");
            continue;
        }
        struct fate *fate = &check->fates[event];
        if (fate->ended_at)
            complain(check, 5, event, fires ? "fires, and had ended" : "is canceled, and had ended");
        fate->ended_at = at->at;
        fate->end_entry = at->entry;
        *(fires ? &fate->fired : &fate->canceled) += 1;
        if (fires)
            trace_add(&check->sim->trace, TRACE_LATER_FIRED, event, at->entry, 0);
    }
    state__end_schedules__free_unpacked(command, NULL);
}

static void each_part(void *ctx, const struct disk_part *at)
{
    struct later_check *check = ctx;
    if (at->part->kind == PART_DATA)
        data(check, at);
    else if (at->part->command == COMMAND_CREATE_TOPIC)
        created(check, at);
    else if (at->part->command == COMMAND_SCHEDULE)
        scheduled(check, at);
    else if (at->part->command == COMMAND_FIRED || at->part->command == COMMAND_CANCELED)
        ended(check, at, at->part->command == COMMAND_FIRED);
}

/* ---- what was told ---- */

static void check_event(struct later_check *check, uint32_t index)
{
    const struct later_event *event = &check->later->events[index];
    const struct fate *fate = &check->fates[index];
    if (event->state == EMIT_FAILED && (fate->kept || fate->came))
        complain(check, 2, index, "failed for good, and is in the log");
    if (!event->timed) {
        if (event->state == EMIT_OK && !fate->came)
            complain(check, 1, index, "(it has none) is acknowledged, and is not in the log");
        return;
    }
    if (event->state == EMIT_OK && !fate->scheduled)
        complain(check, 1, index, "is acknowledged, and is not in the log");
    if (event->schedule.due_us &&
        (event->schedule.due_us != fate->schedule.due_us || event->schedule.number != fate->schedule.number))
        complain(check, 1, index, "is called otherwise in the log");
    if (fate->fired && !(fate->came ? fate->came_entry == fate->end_entry : later_is_mortal(event)))
        complain(check, 1, index, "has ended, and did not come");
    if (fate->came && !fate->fired)
        complain(check, 5, index, "came, and has not ended");
    if (fate->scheduled && !fate->ended_at && !later_is_mortal(event) &&
        fate->schedule.due_us <= check->later->until_us)
        complain(check, 13, index, "is due, and has not come");
    if (event->heard && !fate->came)
        complain(check, 7, index, "was heard, and is not in the log");
}

static void check_cancel(struct later_check *check, const struct later_question *question)
{
    const struct fate *fate = &check->fates[question->event];
    if (question->code == 0 && (!fate->canceled || fate->ended_at > question->answered_at))
        complain(check, 6, question->event, "was told to be canceled, and was not");
    if (question->code == CRIER_ENOSCHEDULE && !later_is_mortal(&check->later->events[question->event]) &&
        (!fate->ended_at || fate->ended_at > question->answered_at))
        complain(check, 6, question->event, "was told not to be there, and it waited");
}

static bool in_order(const crier_schedule *a, const crier_schedule *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static bool listed(const struct later_question *question, const crier_schedule *schedule)
{
    for (size_t i = 0; i < question->listed_count; i++)
        if (question->listed[i].due_us == schedule->due_us && question->listed[i].number == schedule->number)
            return true;
    return false;
}

/* Was it told, before the list was asked for, that it is canceled? */
static bool known_canceled(const struct later *later, uint32_t event, uint64_t at)
{
    for (size_t i = 0; i < later->question_count; i++) {
        const struct later_question *question = later->questions[i];
        if (question->kind == LATER_CANCEL && question->event == event && question->answered &&
            question->code == 0 && question->answered_at < at)
            return true;
    }
    return false;
}

static void check_list(struct later_check *check, const struct later_question *question)
{
    for (size_t i = 1; i < question->listed_count; i++)
        if (!in_order(&question->listed[i - 1], &question->listed[i]))
            report_add(&check->sim->report, 6, "a list of schedules is not in their order");
    for (uint32_t i = 0; i < check->later->event_count; i++) {
        const struct later_event *event = &check->later->events[i];
        const struct fate *fate = &check->fates[i];
        bool waited = event->state == EMIT_OK && event->timed && !later_is_mortal(event) &&
                      event->told_at < question->asked_at &&
                      (!fate->ended_at || fate->ended_at > question->answered_at);
        bool is_listed = fate->scheduled && listed(question, &fate->schedule);
        if (question->whole && waited && !is_listed)
            complain(check, 6, i, "waited, and was not listed");
        if (is_listed && known_canceled(check->later, i, question->asked_at))
            complain(check, 6, i, "was canceled, and was listed");
    }
}

void later_verdict(struct sim *sim)
{
    struct later *later = sim->later;
    if (!later)
        return;
    struct later_check *check = calloc(1, sizeof(*check));
    CHECK(check);
    check->sim = sim;
    check->later = later;
    check->fates = calloc(later->event_count + 1, sizeof(*check->fates));
    CHECK(check->fates);
    disk_each_part(&sim->disk, each_part, check);
    for (uint32_t i = 0; i < later->event_count; i++)
        check_event(check, i);
    for (size_t i = 0; i < later->question_count; i++) {
        const struct later_question *question = later->questions[i];
        if (!question->answered)
            continue;
        if (question->kind == LATER_CANCEL)
            check_cancel(check, question);
        else if (question->code == 0)
            check_list(check, question);
    }
    free(check->fates);
    free(check);
}
