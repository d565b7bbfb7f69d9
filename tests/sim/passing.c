/* passing.c: events that nobody keeps, in a simulated run: clients emit to a few inboxes, and listen to them as slowly as they are.
 *
 * An inbox (docs/protocol.md, "Requests") is an ephemeral topic that is in no catalogue and no log, so nothing of this touches the
 * history of the others. What is checked, when it happens or at the end:
 *
 *   I2   what is heard was emitted, to that inbox; what was definitely refused is heard by nobody
 *   I4   a listener hears one client's events in their order, however many are missing
 *   I5   and each at most once
 *   I8   offsets grow within a listener's life
 *   I13  when all has healed, whoever listens hears what is emitted */
#include "tests/sim/sim.h"

#include "base/bytes.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INBOXES   3
#define MAGIC     UINT64_C(0x70617373696e6721)
#define HEAL_US   INT64_C(10000000)
#define PROBE_US  INT64_C(1000000)
#define VALUE_MAX 2000

struct passing_event {
    uint32_t client, inbox;
    bool refused, heard;
};

struct passing_listener {
    struct passing_listener *next;
    struct sim *sim;
    struct client *client;
    crier_listener *listener;
    uint32_t inbox;
    bool leaves;          /* it ends when it is too slow */
    uint64_t next_offset; /* in this life */
    uint8_t *heard;       /* by event */
    size_t heard_size;
    uint64_t *last; /* by client: the last event heard of it, + 1 */
    size_t last_size;
};

struct passing {
    struct passing_event *events;
    size_t count, capacity;
    struct passing_listener *listeners;
};

static struct passing *passing_get(struct sim *sim)
{
    if (!sim->passing)
        sim->passing = calloc(1, sizeof(*sim->passing));
    CHECK(sim->passing);
    return sim->passing;
}

static void inbox_name(char name[32], uint32_t inbox)
{
    snprintf(name, 32, "$inbox.%015x", inbox + 1);
}

/* ---- emitting ---- */

static void on_outcome(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct client *client = (struct client *)(void *)bus;
    struct passing_event *event = &client->sim->passing->events[(uintptr_t)ctx - 1];
    (void)offset;
    sim_trace(client->sim, code == 0 ? TRACE_OUTCOME : TRACE_OUTCOME_FAILED, client->id, (uint64_t)-code, 0);
    event->refused = code < 0 && code != CRIER_EUNKNOWN;
    client->pending--;
}

static void emit_to(struct client *client, uint32_t inbox, bool needs_listener)
{
    struct sim *sim = client->sim;
    struct passing *passing = passing_get(sim);
    struct crier_emit_options options = crier_emit_options_default();
    uint8_t value[VALUE_MAX] = {0};
    char name[32];
    bool wake = false;
    if (passing->count == passing->capacity) {
        passing->capacity = passing->capacity ? 2 * passing->capacity : 64;
        passing->events = realloc(passing->events, passing->capacity * sizeof(*passing->events));
        CHECK(passing->events);
    }
    le64_put(value, MAGIC);
    le64_put(value + 8, passing->count);
    options.needs_listener = needs_listener;
    options.done = on_outcome;
    options.ctx = (void *)(uintptr_t)(passing->count + 1);
    inbox_name(name, inbox);
    size_t size = 16 + (size_t)sim_below(sim, sim->plan.value_max < VALUE_MAX - 16 ? sim->plan.value_max
                                                                                   : VALUE_MAX - 16);
    passing->events[passing->count] = (struct passing_event){.client = client->id, .inbox = inbox};
    if (engine_emit(client->engine, name, value, size, &options, sim_wall_us(sim) / 1000, &wake) < 0)
        return; /* no room, or no memory: not emitted */
    sim_trace(sim, TRACE_EMIT_MEMORY, client->id, inbox, passing->count);
    passing->count++;
    client->pending++;
    client->wake |= wake;
}

/* ---- listening ---- */

/* Room for so many, the new ones zero. */
static void *zero_grow(void *array, size_t *size, size_t wanted, size_t element)
{
    if (wanted <= *size)
        return array;
    array = realloc(array, 2 * wanted * element);
    CHECK(array);
    memset((uint8_t *)array + *size * element, 0, (2 * wanted - *size) * element);
    *size = 2 * wanted;
    return array;
}

static void judge(struct passing_listener *to, uint64_t index, uint64_t offset)
{
    struct sim *sim = to->sim;
    struct passing_event *event = &sim->passing->events[index];
    to->heard = zero_grow(to->heard, &to->heard_size, index + 1, 1);
    to->last = zero_grow(to->last, &to->last_size, event->client + 1, sizeof(uint64_t));
    if (event->inbox != to->inbox)
        report_add(&sim->report, 2, "event %llu was emitted to inbox %u, and heard in %u",
                   (unsigned long long)index, event->inbox, to->inbox);
    if (to->heard[index])
        report_add(&sim->report, 5, "event %llu of an inbox was heard twice", (unsigned long long)index);
    if (index < to->last[event->client])
        report_add(&sim->report, 4, "event %llu of an inbox was heard after %llu of the same client",
                   (unsigned long long)index, (unsigned long long)to->last[event->client] - 1);
    if (offset < to->next_offset)
        report_add(&sim->report, 8, "an inbox's offset goes back to %llu", (unsigned long long)offset);
    to->heard[index] = 1;
    to->last[event->client] = index + 1;
    to->next_offset = offset + 1;
    event->heard = true;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct passing_listener *to = ctx;
    uint64_t index = event->value_size >= 16 ? le64_get((const uint8_t *)event->value + 8) : 0;
    (void)bus;
    sim_trace(to->sim, TRACE_DELIVERED, to->inbox, index, event->offset);
    if (event->value_size < 16 || le64_get(event->value) != MAGIC || index >= to->sim->passing->count)
        report_add(&to->sim->report, 2, "an inbox brought what nobody emitted");
    else
        judge(to, index, event->offset);
    return 0;
}

static void on_listening(void *ctx)
{
    struct passing_listener *to = ctx;
    to->next_offset = 0;
    sim_trace(to->sim, TRACE_LISTENING, to->client->id, to->inbox, 0);
}

static void on_released(void *ctx, int code, const char *text)
{
    struct passing_listener *gone = ctx, **at = &gone->sim->passing->listeners;
    (void)text;
    sim_trace(gone->sim, TRACE_RELEASED, gone->client->id, gone->inbox, (uint64_t)-code);
    if (code == CRIER_ETOOBIG && !gone->leaves)
        report_add(&gone->sim->report, 8, "a listener that would rather lose events was ended");
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    free(gone->heard);
    free(gone->last);
    free(gone);
}

static void listen_to(struct client *client, uint32_t inbox)
{
    struct sim *sim = client->sim;
    struct passing *passing = passing_get(sim);
    struct crier_listen_options options = crier_listen_options_default();
    struct passing_listener *to = calloc(1, sizeof(*to));
    char name[32];
    CHECK(to);
    options.slow =
        (enum crier_slow)PICK(sim, CRIER_DROP_OLDEST, CRIER_DROP_OLDEST, CRIER_DROP_NEWEST, CRIER_DISCONNECT);
    options.queue_size = (size_t)PICK(sim, 0, 1, 500, 5000);
    options.credit = (size_t)PICK(sim, 0, 1, 1000);
    options.listening = on_listening;
    options.released = on_released;
    *to = (struct passing_listener){
        .sim = sim, .client = client, .inbox = inbox, .leaves = options.slow == CRIER_DISCONNECT};
    inbox_name(name, inbox);
    if (engine_listener_create(client->engine, name, &options, on_event, to, &to->listener) < 0) {
        free(to);
        return;
    }
    to->next = passing->listeners;
    passing->listeners = to;
    sim_trace(sim, TRACE_LISTEN, client->id, inbox, 0);
    engine_listen(client->engine, to->listener);
    client->wake = true;
}

/* ---- the run ---- */

void passing_act(struct sim *sim, struct client *client)
{
    uint32_t inbox = (uint32_t)sim_below(sim, INBOXES);
    if (sim_chance(sim, 250)) {
        listen_to(client, inbox);
        return;
    }
    bool needs_listener = sim_chance(sim, 300);
    for (uint64_t left = 1 + sim_below(sim, sim->plan.burst_max); left > 0; left--)
        emit_to(client, inbox, needs_listener);
}

static bool probe_unheard(struct sim *sim)
{
    const struct passing *passing = sim->passing;
    for (const struct passing_listener *to = passing->listeners; to; to = to->next)
        if (!to->client->closing && (to->heard_size <= passing->count - INBOXES + to->inbox ||
                                     !to->heard[passing->count - INBOXES + to->inbox]))
            return true;
    return false;
}

/* An event to each inbox, and it is heard; who has only just asked to listen may be too late for one and hears the next. */
void passing_probe(struct sim *sim)
{
    struct client *client = world_client_any(sim);
    if (!sim->passing || !sim->passing->listeners || !client)
        return;
    for (int64_t waited_us = 0; waited_us < HEAL_US; waited_us += PROBE_US) {
        size_t before = sim->passing->count;
        for (uint32_t inbox = 0; inbox < INBOXES; inbox++)
            emit_to(client, inbox, false);
        if (sim->passing->count < before + INBOXES || scheduler_run_while(sim, probe_unheard, PROBE_US))
            return;
    }
    report_add(&sim->report, 13, "who listens to an inbox does not hear %lld ms after everything healed",
               (long long)HEAL_US / 1000);
}

void passing_verdict(struct sim *sim)
{
    for (size_t i = 0; sim->passing && i < sim->passing->count; i++)
        if (sim->passing->events[i].refused && sim->passing->events[i].heard)
            report_add(&sim->report, 2, "event %zu of an inbox was refused, and heard", i);
}

void passing_finish(struct sim *sim)
{
    if (!sim->passing)
        return;
    CHECK(!sim->passing->listeners); /* released with their clients */
    free(sim->passing->events);
    free(sim->passing);
}
