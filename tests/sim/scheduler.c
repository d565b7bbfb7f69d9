/* scheduler.c: who has the next turn: the broker, a client, or the world itself; and time passes when nobody is due.
 *
 * Of all that are due one is drawn from the seed. After a turn an actor is busy for a moment, in which things gather. */
#include "tests/sim/sim.h"

#define OPERATOR_US_MAX 500000
#define EVENTS_MAX      2000000 /* a run that goes on longer goes on for ever */

/* What happens by itself: power comes back, the disk gets room, links that nobody holds go. */
static int64_t world_due_us(const struct sim *sim)
{
    int64_t due_us = sim->disk_room_at_us;
    if (sim->node.core == NULL && sim->restart_at_us < due_us)
        due_us = sim->restart_at_us;
    return sim->operator_at_us < due_us ? sim->operator_at_us : due_us;
}

static void links_sweep(struct sim *sim)
{
    for (struct link **at = &sim->links; *at;) {
        struct link *link = *at;
        if (!link->client_gone || !link->broker_gone) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        link_destroy(link);
    }
}

static void world_turn(struct sim *sim)
{
    if (sim->now_us >= sim->disk_room_at_us) {
        sim->disk_room_at_us = INT64_MAX;
        if (sim->disk.inner) {
            sim_trace(sim, TRACE_DISK_ROOM, 0, 0, 0);
            store_memory_fault_full(sim->disk.inner, false);
        }
    }
    if (sim->now_us >= sim->operator_at_us) {
        sim->operator_at_us = INT64_MAX;
        if (sim->node.core && sim->node.read_only)
            storm_power_off(sim, SIM_RESTART_US_MAX);
    }
    if (!sim->node.core && sim->now_us >= sim->restart_at_us) {
        sim->restart_at_us = INT64_MAX;
        plan_broker_change(sim);
        node_start(sim);
    }
}

/* Somebody looks after the broker: one that stopped, or whose disk failed, is started again after a while. */
static void operator_look(struct sim *sim)
{
    if (!sim->node.core && sim->restart_at_us == INT64_MAX)
        sim->restart_at_us = sim->now_us + (int64_t)sim_below(sim, SIM_RESTART_US_MAX);
    if (sim->node.core && sim->node.read_only && sim->operator_at_us == INT64_MAX)
        sim->operator_at_us = sim->now_us + (int64_t)sim_below(sim, OPERATOR_US_MAX);
}

static void clients_sweep(struct sim *sim)
{
    struct client *next;
    for (struct client *client = sim->clients; client; client = next) {
        next = client->next;
        if (client->closing && client_settled(client))
            world_client_drop(sim, client);
    }
}

/* Lets whoever is due have a turn, or time pass up to until_us. false: until_us is reached. */
static bool step(struct sim *sim, int64_t until_us)
{
    int64_t soonest_us = world_due_us(sim), node_us = node_due_us(sim);
    int64_t sharing_us = sharing_due_us(sim);
    soonest_us = node_us < soonest_us ? node_us : soonest_us;
    soonest_us = sharing_us < soonest_us ? sharing_us : soonest_us;
    for (struct client *client = sim->clients; client; client = client->next) {
        int64_t client_us = client_due_us(client);
        soonest_us = client_us < soonest_us ? client_us : soonest_us;
    }
    if (soonest_us > until_us) {
        sim->now_us = until_us > sim->now_us ? until_us : sim->now_us;
        return false;
    }
    if (soonest_us > sim->now_us)
        sim->now_us = soonest_us;
    sim->trace.now_us = sim->now_us;
    uint64_t due = 0;
    struct client *client_chosen = NULL;
    bool world_chosen = world_due_us(sim) <= sim->now_us && sim_below(sim, ++due) == 0;
    bool node_chosen = node_us <= sim->now_us && sim_below(sim, ++due) == 0;
    bool sharing_chosen = sharing_us <= sim->now_us && sim_below(sim, ++due) == 0;
    for (struct client *client = sim->clients; client; client = client->next)
        if (client_due_us(client) <= sim->now_us && sim_below(sim, ++due) == 0)
            client_chosen = client;
    if (client_chosen)
        client_turn(client_chosen);
    else if (sharing_chosen)
        sharing_turn(sim);
    else if (node_chosen)
        node_turn(sim);
    else if (world_chosen)
        world_turn(sim);
    operator_look(sim);
    clients_sweep(sim);
    links_sweep(sim);
    return true;
}

static bool steps_spent(struct sim *sim)
{
    if (sim->trace.events < EVENTS_MAX)
        return false;
    report_add(&sim->report, 13, "the run does not come to an end");
    return true;
}

void scheduler_run_until(struct sim *sim, int64_t until_us)
{
    while (!steps_spent(sim) && step(sim, until_us))
        continue;
}

/* Runs until it is true, at most so long. */
bool scheduler_run_while(struct sim *sim, bool (*not_yet)(struct sim *sim), int64_t us_max)
{
    int64_t until_us = sim->now_us + us_max;
    while (not_yet(sim))
        if (steps_spent(sim) || !step(sim, until_us))
            return !not_yet(sim);
    return true;
}
