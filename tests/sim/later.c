/* later.c: see later.h. Here: what clients do with events that have a time, and the look at the end. */
#include "tests/sim/later.h"

#include "tests/sim/fleeting.h"

#include "base/bytes.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MIN 24
#define VALUE_MAX 1500
#define LATER_IDS 2000000 /* in the trace: 2000000 is l0, or event 0 */
#define HOUR_US   INT64_C(3600000000)
#define MORTAL_US 1500 /* from an event to the end of its topic, at most: often both are in one entry */
#define HEAL_US   INT64_C(70000000) /* what could not be read is tried again a minute later */
#define LIST_MAX  100000

static void *grow(void *array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 64;
    array = realloc(array, *capacity * element);
    CHECK(array);
    return array;
}

static struct later *later_get(struct sim *sim)
{
    if (!sim->later)
        sim->later = calloc(1, sizeof(*sim->later));
    CHECK(sim->later);
    return sim->later;
}

static void name_make(char name[8], uint32_t topic)
{
    if (topic < LATER_TOPICS)
        snprintf(name, 8, "l%u", topic % LATER_TOPICS);
    else
        snprintf(name, 8, "d%u", (topic - LATER_TOPICS) % FLEETING_TOPICS);
}

/* ---- values ---- */

void later_value_make(uint8_t *to, uint64_t event, uint32_t size)
{
    uint64_t state = event ^ LATER_MAGIC;
    le64_put(to, LATER_MAGIC);
    le64_put(to + 8, event);
    le64_put(to + 16, size);
    for (uint32_t i = VALUE_MIN; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        to[i] = (uint8_t)(state >> 56);
    }
}

uint32_t later_value_find(const struct later *later, const void *value, size_t size)
{
    uint8_t expected[VALUE_MAX];
    if (size < VALUE_MIN || le64_get(value) != LATER_MAGIC)
        return HISTORY_NONE;
    uint64_t number = le64_get((const uint8_t *)value + 8);
    if (number >= later->event_count || later->events[number].size != size)
        return HISTORY_NONE;
    later_value_make(expected, number, (uint32_t)size);
    return memcmp(expected, value, size) == 0 ? (uint32_t)number : HISTORY_NONE;
}

/* ---- emitting ---- */

static void outcome(struct client *client, uint32_t index, int code)
{
    struct sim *sim = client->sim;
    struct later_event *event = &sim->later->events[index];
    enum trace_event what = code == 0                ? TRACE_OUTCOME
                            : code == CRIER_EUNKNOWN ? TRACE_OUTCOME_UNKNOWN
                                                     : TRACE_OUTCOME_FAILED;
    sim_trace(sim, what, client->id, LATER_IDS + index, (uint64_t)-code);
    CHECK(event->state == EMIT_PENDING && client->pending > 0);
    event->state = code == 0 ? EMIT_OK : code == CRIER_EUNKNOWN ? EMIT_UNKNOWN : EMIT_FAILED;
    event->told_at = ++sim->history.clock;
    client->pending--;
}

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)offset;
    outcome((struct client *)(void *)bus, (uint32_t)((uintptr_t)ctx - 1), code);
}

static void on_scheduled(crier *bus, int code, const crier_schedule *schedule, void *ctx)
{
    struct client *client = (struct client *)(void *)bus;
    uint32_t index = (uint32_t)((uintptr_t)ctx - 1);
    CHECK((code == 0) == (schedule != NULL));
    if (schedule)
        client->sim->later->events[index].schedule = *schedule;
    outcome(client, index, code);
}

static void time_draw(struct sim *sim, struct later_event *event)
{
    int64_t us = (int64_t)PICK(sim, 0, 1, 1000, 50000, 300000, 2000000, 2000000, HOUR_US, 100 * HOUR_US);
    event->timed = true;
    if (us > 1)
        us -= (int64_t)sim_below(sim, (uint64_t)us / 2);
    if (sim_chance(sim, 300))
        event->at_us = sim_wall_us(sim) + us;
    else
        event->delay_us = us;
}

/* delay_us: -1: drawn. Returns whether it was emitted, as the last of all. */
static bool emit_to(struct client *client, uint32_t topic, bool timed, int64_t delay_us)
{
    struct sim *sim = client->sim;
    struct later *later = later_get(sim);
    struct crier_emit_options options = crier_emit_options_default();
    struct crier_later_options when = crier_later_options_default();
    uint8_t value[VALUE_MAX];
    char name[8];
    bool wake = false;
    uint32_t most = sim->plan.value_max < VALUE_MAX - VALUE_MIN ? sim->plan.value_max : VALUE_MAX - VALUE_MIN;
    struct later_event event = {.client = client->id, .topic = topic};
    event.size = VALUE_MIN + (uint32_t)sim_below(sim, most);
    if (timed)
        time_draw(sim, &event);
    if (delay_us >= 0)
        event = (struct later_event){
            .client = client->id, .topic = topic, .size = event.size, .timed = true, .delay_us = delay_us};
    later->events = grow(later->events, later->event_count, &later->event_capacity, sizeof(*later->events));
    later_value_make(value, later->event_count, event.size);
    name_make(name, topic);
    void *ctx = (void *)(uintptr_t)(later->event_count + 1);
    later->events[later->event_count] = event;
    int rc;
    if (event.timed) {
        when.delay_us = event.delay_us;
        when.at_us = event.at_us;
        when.emit = &options;
        when.done = on_scheduled;
        when.ctx = ctx;
        rc =
            engine_emit_later(client->engine, name, value, event.size, &when, sim_wall_us(sim) / 1000, &wake);
    } else {
        options.done = on_emitted;
        options.ctx = ctx;
        rc = engine_emit(client->engine, name, value, event.size, &options, sim_wall_us(sim) / 1000, &wake);
    }
    if (rc < 0)
        return false; /* no room, or no memory: not emitted */
    sim_trace(sim, event.timed ? TRACE_LATER_EMIT : TRACE_LATER_NOW, client->id, topic, later->event_count);
    later->event_count++;
    client->pending++;
    client->wake |= wake;
    return true;
}

/* ---- asking ---- */

static void on_answered(void *ctx, const struct engine_answer *answer)
{
    struct later_question *question = ctx;
    struct sim *sim = question->client->sim;
    for (size_t i = 0; i < answer->schedule_count; i++) {
        question->listed = grow(question->listed, question->listed_count, &question->listed_capacity,
                                sizeof(*question->listed));
        question->listed[question->listed_count++] = answer->schedules[i].schedule;
    }
    if (answer->more)
        return;
    sim_trace(sim, question->kind == LATER_LIST ? TRACE_LATER_LISTED : TRACE_LATER_ANSWER,
              question->client->id, question->kind == LATER_LIST ? question->listed_count : question->event,
              (uint64_t)-answer->code);
    if (question->kind == LATER_CANCEL && answer->code == 0)
        sim_trace(sim, TRACE_LATER_CANCELED, question->client->id, question->event, 0);
    question->answered = true;
    question->code = answer->code;
    question->answered_at = ++sim->history.clock;
}

static struct later_question *question_make(struct client *client, enum later_question_kind kind)
{
    struct later *later = later_get(client->sim);
    struct later_question *question = calloc(1, sizeof(*question));
    CHECK(question);
    *question =
        (struct later_question){.client = client, .kind = kind, .asked_at = ++client->sim->history.clock};
    later->questions = grow(later->questions, later->question_count, &later->question_capacity,
                            sizeof(struct later_question *));
    later->questions[later->question_count++] = question;
    return question;
}

static void question_sent(struct client *client, int rc)
{
    struct later *later = client->sim->later;
    CHECK(rc == 0 || rc == CRIER_ENOMEM);
    if (rc < 0)
        free(later->questions[--later->question_count]);
    client->wake = true;
}

/* One whose name is known, of whichever client, whatever has become of it. */
static void cancel_any(struct client *client)
{
    struct sim *sim = client->sim;
    const struct later *later = later_get(sim);
    uint32_t found = HISTORY_NONE;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < later->event_count; i++)
        if (later->events[i].schedule.due_us && sim_below(sim, ++seen) == 0)
            found = i;
    if (found == HISTORY_NONE)
        return;
    struct later_question *question = question_make(client, LATER_CANCEL);
    question->event = found;
    sim_trace(sim, TRACE_LATER_CANCEL, client->id, found, 0);
    question_sent(client, engine_schedule_cancel(client->engine, &later->events[found].schedule, on_answered,
                                                 question, sim->now_us));
}

static void list(struct client *client)
{
    struct sim *sim = client->sim;
    struct later_question *question = question_make(client, LATER_LIST);
    crier_schedule first = {0};
    uint32_t topic = (uint32_t)sim_below(sim, 2 * LATER_TOPICS), most = (uint32_t)PICK(sim, 1, 250, LIST_MAX);
    char name[8] = "";
    if (topic < LATER_TOPICS)
        name_make(name, topic);
    question->whole = most == LIST_MAX && !*name;
    sim_trace(sim, TRACE_LATER_LIST, client->id, most, 0);
    question_sent(
        client, engine_schedule_list(client->engine, name, &first, most, on_answered, question, sim->now_us));
}

bool later_may_be_canceled(const struct later *later, uint32_t event)
{
    for (size_t i = 0; i < later->question_count; i++) {
        const struct later_question *question = later->questions[i];
        if (question->kind == LATER_CANCEL && question->event == event &&
            (!question->answered || question->code != CRIER_ENOSCHEDULE))
            return true;
    }
    return false;
}

/* ---- the run ---- */

/* Its topic is deleted before its time comes, or was just now, or is right after. */
static void emit_to_mortal(struct sim *sim, struct client *client)
{
    uint32_t topic = (uint32_t)sim_below(sim, FLEETING_TOPICS);
    for (uint64_t left = 1 + sim_below(sim, 3); left > 0; left--)
        (void)emit_to(client, LATER_TOPICS + topic, true, -1);
    if (sim_chance(sim, 600))
        return;
    scheduler_run_until(sim, sim->now_us + (int64_t)sim_below(sim, MORTAL_US));
    if ((client = world_client_any(sim)))
        fleeting_delete(client, topic);
}

void later_act(struct sim *sim, struct client *client)
{
    if (sim->plan.mortal && sim_chance(sim, 400)) {
        emit_to_mortal(sim, client);
        return;
    }
    uint32_t topic = (uint32_t)sim_below(sim, LATER_TOPICS);
    uint64_t what = sim_below(sim, 100);
    if (what < 30)
        for (uint64_t left = 1 + sim_below(sim, 4); left > 0; left--)
            cancel_any(client);
    else if (what < 40)
        list(client);
    else
        for (uint64_t left = 1 + sim_below(sim, sim->plan.burst_max); left > 0; left--)
            (void)emit_to(client, topic, sim_chance(sim, 700), -1);
}

/* ---- the look at the end: whoever listens hears all that is due ---- */

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct sim *sim = ctx;
    uint32_t index = later_value_find(sim->later, event->value, event->value_size);
    (void)bus;
    sim_trace(sim, TRACE_DELIVERED, LATER_IDS, index, event->offset);
    if (index == HISTORY_NONE) {
        report_add(&sim->report, 2, "a topic of events with a time has what nobody emitted");
        return 0;
    }
    if (sim->later->events[index].heard)
        report_add(&sim->report, 5, "event %u, which has a time, was heard twice", index);
    sim->later->events[index].heard = true;
    return 0;
}

static bool due_unheard(struct sim *sim)
{
    const struct later *later = sim->later;
    for (uint32_t i = 0; i < later->event_count; i++) {
        const struct later_event *event = &later->events[i];
        bool due = !event->timed || (event->schedule.due_us && event->schedule.due_us <= later->until_us);
        if (event->state == EMIT_OK && due && !event->heard && !later_is_mortal(event) &&
            !later_may_be_canceled(later, i))
            return true;
    }
    return false;
}

static bool probe_pending(struct sim *sim)
{
    return sim->later->events[sim->later->event_count - 1].state == EMIT_PENDING;
}

void later_probe(struct sim *sim)
{
    struct client *client = world_client_any(sim);
    struct crier_listen_options options = crier_listen_options_default();
    char name[8];
    if (!sim->later || !client)
        return;
    options.from = CRIER_EARLIEST;
    for (uint32_t topic = 0; topic < LATER_TOPICS; topic++) {
        crier_listener *listener;
        name_make(name, topic);
        int rc = engine_listener_create(client->engine, name, &options, on_event, sim, &listener);
        CHECK(rc == 0);
        engine_listen(client->engine, listener);
    }
    client->wake = true;
    if (!emit_to(client, 0, true, 1000)) /* its name says what time it is for the broker */
        return;
    bool answered = scheduler_run_while(sim, probe_pending, SIM_EMITS_HEAL_US);
    const struct later_event *probe = &sim->later->events[sim->later->event_count - 1];
    sim->later->until_us = answered && probe->state == EMIT_OK ? probe->schedule.due_us : 0;
    if (!answered || !scheduler_run_while(sim, due_unheard, HEAL_US))
        report_add(&sim->report, 13, "what is due has not come %lld ms after everything healed",
                   (long long)HEAL_US / 1000);
}

void later_finish(struct sim *sim)
{
    struct later *later = sim->later;
    if (!later)
        return;
    for (size_t i = 0; i < later->question_count; i++) {
        free(later->questions[i]->listed);
        free(later->questions[i]);
    }
    free((void *)later->questions);
    free(later->events);
    free(later);
}
