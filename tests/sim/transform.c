/* transform.c: what the simulated application does with events that it makes others from: consume, transform, produce.
 *
 * A transformer is a member of a group of its own topic, whose position moves with its atomic emits alone. It makes one event
 * from each that it hears, to the topic after its own; from some it makes nothing, which is to be told too. Now and then it
 * gathers a few of a partition, or emits what cannot be stored. Each output is recorded with what it was made from: every
 * input leads to one output, whoever dies when (checker_made.c). Thread: one. */
#include "tests/sim/sim.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_MAX 4
#define SIZE     VALUE_SIZE_MIN /* of an output: no limit is so small */

/* Events of a partition that are gathered, from one assignment. */
struct held {
    uint32_t assignment;
    size_t count;
    uint64_t offsets[HELD_MAX];
};

struct transform {
    struct held held[SIM_PARTITIONS_MAX];
};

static void on_outcome(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct client *client = (struct client *)(void *)bus;
    struct sim *sim = client->sim;
    uint32_t count = (uintptr_t)ctx % (HELD_MAX + 1);
    uint32_t first = (uint32_t)((uintptr_t)ctx / (HELD_MAX + 1)); /* in the history */
    sim_trace(sim, TRACE_MADE_OUTCOME, client->id, count, (uint64_t)-code);
    if (code == CRIER_EREVOKED)
        sim_trace(sim, TRACE_MADE_REVOKED, client->id, 0, 0);
    for (uint32_t i = 0; i < count; i++)
        history_outcome(&sim->history, first + i, code, code == CRIER_EUNKNOWN,
                        i == 0 ? offset : HISTORY_NO_OFFSET, sim->now_us);
    CHECK(client->pending > 0);
    client->pending--;
}

/* One event from each that is held, but for those that lead to nothing. */
static int step_emit(struct subscriber *subscriber, uint32_t partition, const struct held *held)
{
    struct client *client = subscriber->client;
    struct sim *sim = client->sim;
    struct crier_emit_options options = crier_emit_options_default();
    struct crier_atomic_options step = crier_atomic_options_default();
    struct crier_atomic_event events[HELD_MAX];
    struct history_emit emits[HELD_MAX];
    uint8_t values[HELD_MAX][SIZE];
    char name[16];
    struct crier_consumed consumed = {.offset = held->offsets[held->count - 1],
                                      .assignment = held->assignment};
    uint32_t count = 0;
    snprintf(name, sizeof(name), "t%u", subscriber->topic + 1);
    options.expects = !sim->healing && sim_chance(sim, 40); /* so it fails for good */
    options.expected_offset = 1u << 30;
    if (options.expects)
        options.partition = 0;
    for (size_t i = 0; i < held->count; i++) {
        if (history_leads_to_nothing(held->offsets[i]))
            continue;
        uint32_t number = client->number++;
        value_make(values[count], client->id, number, SIZE);
        events[count] = (struct crier_atomic_event){name, values[count], SIZE, &options};
        emits[count] = (struct history_emit){.client = client->id,
                                             .number = number,
                                             .topic = subscriber->topic + 1,
                                             .partition = -1,
                                             .size = SIZE,
                                             .source = HISTORY_NONE,
                                             .made = true,
                                             .from_partition = partition,
                                             .from_offset = held->offsets[i]};
        count++;
    }
    step.consumed = &consumed;
    step.consumed_count = 1;
    step.done = on_outcome;
    step.ctx = (void *)((uintptr_t)sim->history.emit_count * (HELD_MAX + 1) + count);
    bool wake = false;
    int rc = engine_emit_atomic(client->engine, events, count, &step, sim_wall_us(sim) / 1000, &wake);
    client->wake |= wake;
    CHECK(rc == 0 || rc == CRIER_EAGAIN || rc == CRIER_ENOMEM);
    if (rc < 0)
        return rc;
    sim_trace(sim, TRACE_MADE, client->id, count, consumed.offset);
    for (uint32_t i = 0; i < count; i++) {
        emits[i].step_size = count;
        emits[i].step_index = i;
        history_emit(&sim->history, &emits[i], sim->now_us);
    }
    client->pending++;
    return 0;
}

int transform_event(struct subscriber *subscriber, const crier_event *event)
{
    struct sim *sim = subscriber->client->sim;
    CHECK(event->partition < SIM_PARTITIONS_MAX && event->assignment);
    struct held *held = &subscriber->transform->held[event->partition];
    if (sim->reading) /* it comes again, and to nobody's surprise */
        return 0;
    if (held->assignment != event->assignment)
        *held = (struct held){.assignment = event->assignment};
    held->offsets[held->count++] = event->offset;
    if (held->count < HELD_MAX && !sim->healing && sim_chance(sim, 200))
        return 0;
    int rc = step_emit(subscriber, event->partition, held);
    held->count = 0; /* if it failed they come again, under another number */
    return rc;
}

bool transform_listen(struct sim *sim, struct client *client)
{
    struct history_listener how = {
        .client = client->id, .group = HISTORY_TRANSFORMERS, .from = FROM_EARLIEST};
    if (client->source != HISTORY_NONE || sim->plan.topics < 2)
        return false; /* a named one's steps say where its source is */
    how.topic = (uint32_t)sim_below(sim, sim->plan.topics - 1);
    struct transform *transform = calloc(1, sizeof(*transform));
    CHECK(transform);
    client_transform(client, &how, (size_t)PICK(sim, 0, 1, 1000, 100000), sim->plan.handler_fails_permille,
                     transform);
    return true;
}
