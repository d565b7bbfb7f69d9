/* fleeting.c: see fleeting.h. Here: what clients do with such topics, and what they hear. */
#include "tests/sim/fleeting.h"
#include "tests/sim/later.h"

#include "base/bytes.h"
#include "base/check.h"
#include "crier/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MIN    24
#define VALUE_MAX    1500
#define FLEETING_IDS 1000000 /* in the trace: 1000000 is d0, or event 0 */

static void *grow(void *array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 64;
    array = realloc(array, *capacity * element);
    CHECK(array);
    return array;
}

static struct fleeting *fleeting_get(struct sim *sim)
{
    if (!sim->fleeting)
        sim->fleeting = calloc(1, sizeof(*sim->fleeting));
    CHECK(sim->fleeting);
    return sim->fleeting;
}

static void name_make(char name[8], uint32_t topic)
{
    snprintf(name, 8, "d%u", topic % FLEETING_TOPICS);
}

/* ---- emitting ---- */

void fleeting_value_make(uint8_t *to, uint64_t event, uint32_t size)
{
    uint64_t state = event ^ FLEETING_MAGIC;
    le64_put(to, FLEETING_MAGIC);
    le64_put(to + 8, event);
    le64_put(to + 16, size);
    for (uint32_t i = VALUE_MIN; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        to[i] = (uint8_t)(state >> 56);
    }
}

static void on_outcome(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct client *client = (struct client *)(void *)bus;
    struct fleeting_event *event = &client->sim->fleeting->events[(uintptr_t)ctx - 1];
    enum trace_event what = code == 0                ? TRACE_OUTCOME
                            : code == CRIER_EUNKNOWN ? TRACE_OUTCOME_UNKNOWN
                                                     : TRACE_OUTCOME_FAILED;
    sim_trace(client->sim, what, client->id, FLEETING_IDS + (uintptr_t)ctx - 1,
              code ? (uint64_t)-code : offset);
    CHECK(event->state == EMIT_PENDING && client->pending > 0);
    event->state = code == 0 ? EMIT_OK : code == CRIER_EUNKNOWN ? EMIT_UNKNOWN : EMIT_FAILED;
    event->offset = offset;
    client->pending--;
}

static void emit_to(struct client *client, uint32_t topic)
{
    struct sim *sim = client->sim;
    struct fleeting *fleeting = fleeting_get(sim);
    struct crier_emit_options options = crier_emit_options_default();
    uint8_t value[VALUE_MAX];
    char name[8];
    bool wake = false;
    uint32_t most = sim->plan.value_max < VALUE_MAX - VALUE_MIN ? sim->plan.value_max : VALUE_MAX - VALUE_MIN;
    uint32_t size = VALUE_MIN + (uint32_t)sim_below(sim, most);
    fleeting->events =
        grow(fleeting->events, fleeting->event_count, &fleeting->event_capacity, sizeof(*fleeting->events));
    fleeting_value_make(value, fleeting->event_count, size);
    name_make(name, topic);
    options.durability = CRIER_DURABLE;
    options.done = on_outcome;
    options.ctx = (void *)(uintptr_t)(fleeting->event_count + 1);
    fleeting->events[fleeting->event_count] = (struct fleeting_event){.topic = topic, .size = size};
    if (engine_emit(client->engine, name, value, size, &options, sim_wall_us(sim) / 1000, &wake) < 0)
        return; /* no room, or no memory: not emitted */
    sim_trace(sim, TRACE_FLEETING_EMIT, client->id, topic, fleeting->event_count);
    fleeting->event_count++;
    client->pending++;
    client->wake |= wake;
}

/* ---- changing ---- */

/* Its quota and max_listeners are what was asked for, as far as something was. */
static bool limits_are(const struct fleeting_change *change, const struct engine_answer *answer)
{
    const struct crier_quota *is = answer->topic_count ? &answer->topics[0].quota : NULL;
    bool all = change->kind == FLEETING_CREATE;
    if (is && (all || (change->set & CRIER_SET_MAX_LISTENERS)) &&
        answer->topics[0].max_listeners != change->max_listeners)
        return false;
    return is &&
           ((!all && !(change->set & CRIER_SET_EVENTS_MAX)) || is->events_max == change->quota.events_max) &&
           ((!all && !(change->set & CRIER_SET_BYTES_MAX)) || is->bytes_max == change->quota.bytes_max);
}

static void on_answered(void *ctx, const struct engine_answer *answer)
{
    struct fleeting_change *change = ctx;
    struct sim *sim = change->client->sim;
    sim_trace(sim, TRACE_FLEETING_ANSWER, change->client->id, change->kind, (uint64_t)-answer->code);
    change->answered = true;
    change->code = answer->code;
    change->answered_at = ++sim->history.clock;
    const struct crier_retention *is = answer->topic_count ? &answer->topics[0].retention : NULL;
    const struct crier_retention *wanted = &change->retention;
    if (answer->code == 0 && change->kind == FLEETING_ALTER &&
        (!is || ((change->set & CRIER_SET_RETENTION_TIME) && is->time_ms != wanted->time_ms) ||
         ((change->set & CRIER_SET_RETENTION_BYTES) && is->bytes != wanted->bytes) ||
         ((change->set & CRIER_SET_RETENTION_COUNT) && is->count != wanted->count) ||
         ((change->set & CRIER_SET_UNTIL_CONSUMED) && is->until_consumed != wanted->until_consumed)))
        report_add(&sim->report, 6, "topic d%u was altered, and is not as it was asked to be", change->topic);
    if (answer->code == 0 && change->kind != FLEETING_DELETE && !limits_are(change, answer))
        report_add(&sim->report, 6, "topic d%u has other limits than it was to have", change->topic);
}

static struct crier_retention retention_draw(struct sim *sim)
{
    struct crier_retention retention = {0};
    switch (sim_below(sim, 5)) {
    case 0:
        retention.count = 1 + sim_below(sim, 20);
        break;
    case 1:
        retention.time_ms = (int64_t)PICK(sim, 1, 50, 1000, 3600000);
        break;
    case 2:
        retention.bytes = PICK(sim, 1, 500, 5000, 100000);
        break;
    case 3:
        retention.until_consumed = true;
        break;
    default:
        break;
    }
    return retention;
}

/* Drawn beside the run's own numbers, so that a seed found without them stays what it was. */
static void quota_draw(const struct sim *sim, struct fleeting_change *change)
{
    struct random random = sim->random;
    if (!sim->plan.fleeting_quotas)
        return;
    uint64_t events[] = {0, CRIER_QUOTA_NONE, 200 + random_below(&random, 3000)};
    uint64_t bytes[] = {0, CRIER_QUOTA_NONE, 50000 + random_below(&random, 500000)};
    change->quota.events_max = events[random_below(&random, 3)];
    change->quota.bytes_max = bytes[random_below(&random, 3)];
    change->max_listeners = (uint32_t)random_below(&random, 4);
    change->set |= (unsigned)random_below(&random, 8) * CRIER_SET_EVENTS_MAX;
}

static void change(struct client *client, uint32_t topic, enum fleeting_change_kind kind)
{
    struct sim *sim = client->sim;
    struct fleeting *fleeting = fleeting_get(sim);
    struct fleeting_change *asked = calloc(1, sizeof(*asked));
    char name[8];
    int rc = 0;
    CHECK(asked);
    *asked = (struct fleeting_change){
        .client = client, .kind = kind, .topic = topic, .asked_at = ++sim->history.clock};
    asked->partitions = 1 + (uint32_t)sim_below(sim, FLEETING_PLACES);
    asked->retention = retention_draw(sim);
    asked->set = sim_chance(sim, 500) ? 31 : (unsigned)sim_below(sim, 32);
    quota_draw(sim, asked);
    name_make(name, topic);
    sim_trace(sim, TRACE_FLEETING_CHANGE, client->id, kind, topic);
    if (kind == FLEETING_CREATE) {
        struct crier_topic_options options = crier_topic_options_default();
        options.partitions = asked->partitions;
        options.retention = asked->retention;
        options.quota = asked->quota;
        options.max_listeners = asked->max_listeners;
        rc = engine_topic_create(client->engine, name, &options, on_answered, asked, sim->now_us);
    } else if (kind == FLEETING_ALTER) {
        struct crier_topic_changes changes = {.struct_size = sizeof(changes),
                                              .set = asked->set,
                                              .retention = asked->retention,
                                              .quota = asked->quota,
                                              .max_listeners = asked->max_listeners};
        rc = engine_topic_alter(client->engine, name, &changes, on_answered, asked, sim->now_us);
    } else {
        rc = engine_topic_delete(client->engine, name, on_answered, asked, sim->now_us);
    }
    client->wake = true;
    CHECK(rc == 0 || rc == CRIER_ENOMEM);
    if (rc < 0) {
        free(asked);
        return;
    }
    fleeting->changes = grow(fleeting->changes, fleeting->change_count, &fleeting->change_capacity,
                             sizeof(struct fleeting_change *));
    fleeting->changes[fleeting->change_count++] = asked;
}

void fleeting_delete(struct client *client, uint32_t topic)
{
    change(client, topic, FLEETING_DELETE);
}

/* ---- listening ---- */

static uint32_t event_of(struct fleeting_listener *to, const crier_event *event)
{
    uint32_t later =
        to->sim->later ? later_value_find(to->sim->later, event->value, event->value_size) : HISTORY_NONE;
    if (later != HISTORY_NONE)
        return FLEETING_LATER | later;
    const struct fleeting *fleeting = to->sim->fleeting;
    uint8_t expected[VALUE_MAX];
    if (event->value_size < VALUE_MIN || le64_get(event->value) != FLEETING_MAGIC)
        return HISTORY_NONE;
    uint64_t number = le64_get((const uint8_t *)event->value + 8);
    if (number >= fleeting->event_count || fleeting->events[number].size != event->value_size)
        return HISTORY_NONE;
    fleeting_value_make(expected, number, (uint32_t)event->value_size);
    return memcmp(expected, event->value, event->value_size) == 0 ? (uint32_t)number : HISTORY_NONE;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct fleeting_listener *to = ctx;
    struct sim *sim = to->sim;
    (void)bus;
    to->seen = grow(to->seen, to->seen_count, &to->seen_capacity, sizeof(*to->seen));
    to->seen[to->seen_count++] = (struct fleeting_seen){.event = event_of(to, event),
                                                        .life = to->life,
                                                        .place = event->partition,
                                                        .offset = event->offset,
                                                        .at = ++sim->history.clock};
    sim_trace(sim, TRACE_DELIVERED, FLEETING_IDS + to->topic, event->partition, event->offset);
    return to->member && !sim->healing && sim_chance(sim, sim->plan.handler_fails_permille) ? -1 : 0;
}

static void on_listening(void *ctx)
{
    struct fleeting_listener *to = ctx;
    to->life++;
    to->in_place = true;
    sim_trace(to->sim, TRACE_LISTENING, to->client->id, FLEETING_IDS + to->topic, to->life);
}

static void on_released(void *ctx, int code, const char *text)
{
    struct fleeting_listener *to = ctx;
    (void)text;
    sim_trace(to->sim, TRACE_RELEASED, to->client->id, FLEETING_IDS + to->topic, (uint64_t)-code);
    if (code == CRIER_ENOTOPIC) {
        to->ended_at = ++to->sim->history.clock;
        sim_trace(to->sim, TRACE_FLEETING_ENDED, to->client->id, to->topic, 0);
    }
    to->client = NULL;
    to->in_place = false;
}

/* In some runs most of them are members of a group: an ordered one, a shared one, or one in the order of keys. */
static void group_draw(struct sim *sim, struct fleeting_listener *to, struct crier_listen_options *options,
                       struct crier_shared_options *shared)
{
    static const char *const names[] = {"g5", "d1", "d2"};
    uint64_t kind = sim->plan.mortal ? sim_below(sim, 4) : 3;
    if (kind == 3)
        return;
    to->member = true;
    options->group = names[kind];
    *shared = crier_shared_options_default();
    shared->key_ordered = kind == 2;
    shared->lease_ms = (int)PICK(sim, 0, 50, 1000);
    if (kind > 0)
        options->shared = shared;
}

static void listen_to(struct client *client, uint32_t topic)
{
    struct sim *sim = client->sim;
    struct fleeting *fleeting = fleeting_get(sim);
    struct crier_listen_options options = crier_listen_options_default();
    struct fleeting_listener *to = calloc(1, sizeof(*to));
    char name[8];
    CHECK(to);
    *to =
        (struct fleeting_listener){.next = fleeting->listeners, .sim = sim, .client = client, .topic = topic};
    to->earliest = sim_chance(sim, 700);
    options.from = to->earliest ? CRIER_EARLIEST : CRIER_LIVE;
    options.credit = (size_t)PICK(sim, 0, 1, 1000);
    options.listening = on_listening;
    options.released = on_released;
    struct crier_shared_options shared;
    group_draw(sim, to, &options, &shared);
    name_make(name, topic);
    if (engine_listener_create(client->engine, name, &options, on_event, to, &to->listener) < 0) {
        free(to);
        return;
    }
    fleeting->listeners = to;
    sim_trace(sim, TRACE_FLEETING_LISTEN, client->id, topic, to->earliest);
    engine_listen(client->engine, to->listener);
    client->wake = true;
}

/* ---- the run ---- */

void fleeting_act(struct sim *sim, struct client *client)
{
    uint32_t topic = (uint32_t)sim_below(sim, FLEETING_TOPICS);
    uint64_t what = sim_below(sim, 100);
    if (what < 15)
        change(client, topic, FLEETING_CREATE);
    else if (what < 27)
        change(client, topic, FLEETING_DELETE);
    else if (what < 37)
        change(client, topic, FLEETING_ALTER);
    else if (what < 55)
        listen_to(client, topic);
    else
        for (uint64_t left = 1 + sim_below(sim, sim->plan.burst_max); left > 0; left--)
            emit_to(client, topic);
}

void fleeting_lost(struct client *client)
{
    for (struct fleeting_listener *to = client->sim->fleeting ? client->sim->fleeting->listeners : NULL; to;
         to = to->next)
        if (to->client == client)
            to->in_place = false;
}

void fleeting_finish(struct sim *sim)
{
    struct fleeting *fleeting = sim->fleeting;
    if (!fleeting)
        return;
    while (fleeting->listeners) {
        struct fleeting_listener *to = fleeting->listeners;
        fleeting->listeners = to->next;
        free(to->seen);
        free(to);
    }
    for (size_t i = 0; i < fleeting->change_count; i++)
        free(fleeting->changes[i]);
    free((void *)fleeting->changes);
    free(fleeting->events);
    free(fleeting);
}
