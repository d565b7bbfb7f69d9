/* step.c: what the simulated application does with sources: atomic emits of several events, some at an expected offset, some
 * as the steps of a named producer, whose name other clients may take.
 *
 * Each event is recorded as an emit; those of one step stand side by side in the history. A named client begins where the
 * broker says its source is, as a program would. Thread: one. */
#include "tests/sim/sim.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define STEP_EVENTS_MAX 3
#define SOURCES         2
#define EVENT_SIZE_MAX  64

/* For some clients a name. name: kept until the client is opened. */
uint32_t step_source_draw(struct sim *sim, char *name, size_t size)
{
    if (!sim_chance(sim, sim->plan.named_permille))
        return HISTORY_NONE;
    uint32_t source = (uint32_t)sim_below(sim, SOURCES);
    snprintf(name, size, "s%u", source);
    return source;
}

static void on_outcome(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct client *client = (struct client *)(void *)bus;
    struct sim *sim = client->sim;
    uint32_t first = (uint32_t)((uintptr_t)ctx - 1);
    uint32_t count = sim->history.emits[first].step_size;
    sim_trace(sim, TRACE_STEP_OUTCOME, client->id, sim->history.emits[first].position, (uint64_t)-code);
    if (code == CRIER_EOFFSET)
        sim_trace(sim, TRACE_STEP_OFFSET, client->id, 0, 0);
    for (uint32_t i = 0; i < count; i++)
        history_outcome(&sim->history, first + i, code, code == CRIER_EUNKNOWN,
                        i == 0 ? offset : HISTORY_NO_OFFSET, sim->now_us);
    CHECK(client->pending > 0);
    client->pending--;
}

/* The next position of the client's source; 0: it has none. false: it does not know yet, or has lost it. */
static bool position_next(struct client *client, uint64_t *ret_position)
{
    struct sim *sim = client->sim;
    uint64_t stored;
    *ret_position = 0;
    if (client->source == HISTORY_NONE)
        return true;
    int rc = engine_source_position(client->engine, &stored);
    if (rc == CRIER_EFENCED) {
        sim_trace(sim, TRACE_STEP_FENCED, client->id, client->source, 0);
        return false;
    }
    CHECK(rc == 0);
    if (!client->stepping && !client->ready)
        return false;
    if (!client->stepping)
        client->position = stored;
    client->stepping = true;
    client->position += 1 + sim_below(sim, 3);
    *ret_position = client->position;
    return true;
}

/* Where partition 0 of the topic ends as far as the disk knows, or one more. */
static uint64_t offset_guess(struct sim *sim, uint32_t topic)
{
    return disk_end(&sim->disk, topic, 0) + (sim_chance(sim, 100) ? 1 : 0);
}

void client_step(struct client *client)
{
    struct sim *sim = client->sim;
    struct history_emit emits[STEP_EVENTS_MAX];
    struct crier_emit_options options[STEP_EVENTS_MAX];
    struct crier_atomic_event events[STEP_EVENTS_MAX];
    struct crier_atomic_options step = crier_atomic_options_default();
    char names[STEP_EVENTS_MAX][16];
    uint8_t values[STEP_EVENTS_MAX][EVENT_SIZE_MAX];
    uint32_t count = 1 + (uint32_t)sim_below(sim, STEP_EVENTS_MAX), begin;
    begin = (uint32_t)sim_below(sim, sim->plan.topics);
    if (count > sim->plan.topics)
        count = sim->plan.topics; /* each to a topic of its own, so that each part is an event */
    if (!position_next(client, &step.source_position))
        return;
    bool expects = sim_chance(sim, 200);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t topic = (begin + i) % sim->plan.topics;
        uint32_t size = VALUE_SIZE_MIN + (uint32_t)sim_below(sim, EVENT_SIZE_MAX - VALUE_SIZE_MIN);
        options[i] = crier_emit_options_default();
        emits[i] = (struct history_emit){.client = client->id,
                                         .number = client->number++,
                                         .topic = topic,
                                         .partition = -1,
                                         .size = size,
                                         .step_size = count,
                                         .step_index = i,
                                         .source = client->source,
                                         .position = step.source_position};
        if (expects && i == 0) {
            options[i].partition = emits[i].partition = 0;
            options[i].expects = emits[i].expects = true;
            options[i].expected_offset = emits[i].expected_offset = offset_guess(sim, topic);
        }
        snprintf(names[i], sizeof(names[i]), "t%u", topic);
        value_make(values[i], client->id, emits[i].number, size);
        events[i] = (struct crier_atomic_event){names[i], values[i], size, &options[i]};
    }
    step.done = on_outcome;
    step.ctx = (void *)((uintptr_t)sim->history.emit_count + 1);
    bool wake = false;
    int rc = engine_emit_atomic(client->engine, events, count, &step, sim_wall_us(sim) / 1000, &wake);
    client->wake |= wake;
    CHECK(rc == 0 || rc == CRIER_EAGAIN || rc == CRIER_ETOOBIG);
    if (rc < 0)
        return;
    sim_trace(sim, TRACE_STEP, client->id, count, step.source_position);
    for (uint32_t i = 0; i < count; i++)
        history_emit(&sim->history, &emits[i], sim->now_us);
    client->pending++;
}
