/* storm.c: the first part of a run: clients do what clients do, and everything that may fail does.
 *
 * Between two actions of the clients each fault strikes with its chance. A trouble may be a squall, one fault after the
 * other before anything has recovered; and some actions are ambushes, made for what single faults rarely reach. */
#include "tests/sim/sim.h"

#define AMBUSH_US       5000
#define SQUALL_TROUBLES 6
#define SQUALL_US       3000
#define IDLE_PERMILLE   2
#define IDLE_US         3000000 /* nobody does anything: a grant that is not used goes back */

/* ---- what clients do ---- */

static void listen_somewhere(struct sim *sim, struct client *client)
{
    struct history_listener how = {.client = client->id, .group = HISTORY_NONE};
    if (sim_chance(sim, sim->plan.transform_permille) && transform_listen(sim, client))
        return;
    how.topic = (uint32_t)sim_below(sim, sim->plan.topics);
    how.from = (enum history_from)sim_below(sim, 4);
    if (sim_chance(sim, 350))
        how.group = (uint32_t)sim_below(sim, SIM_GROUPS_MAX);
    if (how.from == FROM_OFFSET)
        how.from_value = (int64_t)sim_below(sim, 30);
    else if (how.from == FROM_TIME)
        how.from_value = sim_wall_us(sim) - (int64_t)sim_below(sim, 200000);
    if (sim_chance(sim, 150))
        how.count = 1 + sim_below(sim, 5);
    size_t credit = (size_t)PICK(sim, 0, 1, 1000, 100000);
    unsigned emits_permille = sim_chance(sim, 100) ? 100 : 0;
    client_listen(client, &how, credit, sim->plan.handler_fails_permille, emits_permille);
}

static void listen_everywhere(struct sim *sim, struct client *client)
{
    struct history_listener how = {.client = client->id, .group = HISTORY_NONE};
    how.from = (enum history_from)PICK(sim, FROM_LIVE, FROM_EARLIEST, FROM_TIME);
    if (how.from == FROM_TIME)
        how.from_value = sim_wall_us(sim) - (int64_t)sim_below(sim, 200000);
    size_t credit = (size_t)PICK(sim, 0, 1, 1000, 100000);
    client_listen_all(client, &how, credit, sim->plan.handler_fails_permille);
}

static void unlisten_somewhere(struct sim *sim, struct client *client)
{
    uint64_t seen = 0;
    struct subscriber *found = NULL;
    for (struct subscriber *s = client->subscribers; s; s = s->next)
        if (s->listener && !s->unlisten_wanted && sim_below(sim, ++seen) == 0)
            found = s;
    if (found)
        client_unlisten(found);
}

static void emit_burst(struct sim *sim, struct client *client)
{
    uint32_t topic = (uint32_t)sim_below(sim, sim->plan.topics);
    for (uint64_t left = 1 + sim_below(sim, sim->plan.burst_max); left > 0; left--) {
        if (sim_chance(sim, sim->plan.step_permille))
            client_step(client);
        else
            client_emit(client, sim_chance(sim, 800) ? topic : (uint32_t)sim_below(sim, sim->plan.topics));
    }
}

/* ---- faults ---- */

void storm_power_off(struct sim *sim, int64_t wait_us_max)
{
    if (sim->node.core)
        node_crash(sim);
    sim->restart_at_us = sim->now_us + (int64_t)sim_below(sim, (uint64_t)wait_us_max + 1);
}

static struct link *link_any(struct sim *sim)
{
    struct link *found = NULL;
    uint64_t seen = 0;
    for (struct link *link = sim->links; link; link = link->next)
        if (!link->broker_gone && sim_below(sim, ++seen) == 0)
            found = link;
    return found;
}

static void drain(struct sim *sim)
{
    if (sim->node.core && sim->node.ready && !sim->node.draining)
        node_drain(sim, (uint32_t)PICK(sim, 1, 50, 500));
}

static void reset(struct sim *sim, struct link *link)
{
    if (!link)
        return;
    sim_trace(sim, TRACE_LINK_RESET, link->number, link_pending(link, NET_UP), link_pending(link, NET_DOWN));
    link_reset(link);
}

static void stall(struct sim *sim, struct link *link)
{
    if (!link)
        return;
    int64_t us = (int64_t)PICK(sim, 1000, 100000, 1000000, 30000000);
    unsigned directions = 1 + (unsigned)sim_below(sim, 3);
    sim_trace(sim, TRACE_LINK_STALL, link->number, (uint64_t)us, directions);
    for (enum direction direction = NET_UP; direction <= NET_DOWN; direction++)
        if (directions & (1u << direction))
            link_stall(link, direction, sim->now_us + us);
}

static void disk_full(struct sim *sim)
{
    sim_trace(sim, TRACE_DISK_FULL, 0, 0, 0);
    store_memory_fault_full(sim->disk.inner, true);
    sim->disk_room_at_us = sim->now_us + (int64_t)PICK(sim, 500, 20000, 1000000);
}

static void disk_slow(struct sim *sim)
{
    uint64_t count = 1 + sim_below(sim, 3);
    uint64_t us = PICK(sim, 5000, 100000, 600000);
    sim_trace(sim, TRACE_DISK_SLOW, count, us, 0);
    store_memory_fault_slow(sim->disk.inner, count, (int64_t)us);
}

static void disk_breaks(struct sim *sim, enum trace_event event,
                        void (*fault)(struct store *store, uint64_t nth))
{
    uint64_t nth = 1 + sim_below(sim, 4);
    sim_trace(sim, event, nth, 0, 0);
    fault(sim->disk.inner, nth);
}

static void disk_trouble(struct sim *sim)
{
    const struct faults *faults = &sim->plan.faults;
    if (!sim->disk.inner)
        return;
    if (sim_chance(sim, faults->disk_full))
        disk_full(sim);
    if (sim_chance(sim, faults->disk_slow))
        disk_slow(sim);
    if (sim_chance(sim, faults->disk_commit))
        disk_breaks(sim, TRACE_DISK_BREAKS, store_memory_fault_commit);
    if (sim_chance(sim, faults->disk_flush))
        disk_breaks(sim, TRACE_DISK_BREAKS_FLUSH, store_memory_fault_flush);
    if (sim_chance(sim, faults->disk_read))
        disk_breaks(sim, TRACE_DISK_BREAKS_READ, store_memory_fault_read);
}

static void client_trouble(struct sim *sim)
{
    const struct faults *faults = &sim->plan.faults;
    bool vanishes = sim_chance(sim, faults->vanish);
    struct client *client = vanishes || sim_chance(sim, faults->close) ? world_client_any(sim) : NULL;
    if (!client)
        return;
    if (vanishes) {
        client_vanish(client);
        world_client_drop(sim, client);
    } else {
        client_close(client);
    }
    if (sim_chance(sim, 700))
        world_client_add(sim);
}

static void trouble(struct sim *sim)
{
    const struct faults *faults = &sim->plan.faults;
    uint64_t before = sim->trace.events;
    if (sim_chance(sim, faults->crash) && sim->node.core)
        storm_power_off(sim, SIM_RESTART_US_MAX);
    else if (sim_chance(sim, faults->drain))
        drain(sim);
    if (sim_chance(sim, faults->reset))
        reset(sim, link_any(sim));
    if (sim_chance(sim, faults->stall))
        stall(sim, link_any(sim));
    if (sim_chance(sim, faults->clock_jump)) {
        int64_t ms = (int64_t)PICK(sim, 1, 1000, 3600000);
        if (sim_chance(sim, 500))
            ms = -ms;
        sim_trace(sim, TRACE_CLOCK_JUMP, (uint64_t)ms, 0, 0);
        sim->wall_offset_us += ms * 1000;
        sim->wall_leapt_us += ms > 0 ? ms * 1000 : 0;
    }
    disk_trouble(sim);
    client_trouble(sim);
    if (sim->trace.events > before && !sim->squall && sim_chance(sim, sim->plan.squall_permille))
        sim->squall = 1 + (unsigned)sim_below(sim, 8);
}

/* In a squall one trouble follows the other, before anything has recovered. */
static int64_t squall(struct sim *sim)
{
    if (!sim->squall)
        return sim->plan.action_us_max;
    sim->squall--;
    for (unsigned i = 0; i < SQUALL_TROUBLES; i++)
        trouble(sim);
    return SQUALL_US;
}

/* ---- the storm ---- */

/* Below somewhere in what there is, now and then below more. */
static void trim_somewhere(struct sim *sim, struct client *client)
{
    uint32_t topic = (uint32_t)sim_below(sim, sim->plan.topics);
    client_trim(client, topic, sim_below(sim, disk_end(&sim->disk, topic, 0) + 3));
}

/* What is hardest on numbers and answers: emits wait for a slow disk, their connection is lost, they are sent again while
 * the first copies are still under way, more follow, and then something else goes wrong. */
static void ambush(struct sim *sim, struct client *client)
{
    if (!sim->node.ready || !sim->node.core)
        return;
    disk_slow(sim);
    emit_burst(sim, client);
    scheduler_run_until(sim, sim->now_us + (int64_t)sim_below(sim, AMBUSH_US));
    emit_burst(sim, client);
    reset(sim, client->link);
    scheduler_run_until(sim, sim->now_us + (int64_t)sim_below(sim, 10 * AMBUSH_US));
    if (!sim->disk.inner)
        return;
    uint64_t what = sim_below(sim, 5);
    if (what == 0)
        disk_full(sim);
    else if (what == 1)
        disk_breaks(sim, TRACE_DISK_BREAKS, store_memory_fault_commit);
    else if (what == 2)
        reset(sim, link_any(sim));
    else if (what == 3)
        drain(sim);
}

void storm(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    for (unsigned i = 0; i < plan->producers + plan->listeners; i++)
        world_client_add(sim);
    for (uint32_t topic = 0; topic < plan->topics; topic++) {
        struct client *client = world_client_any(sim);
        uint32_t partitions = 1 + (uint32_t)sim_below(sim, SIM_PARTITIONS_MAX);
        if (sim_chance(sim, 700))
            client_create_topic(client, topic, partitions);
    }
    for (unsigned i = 0; i < plan->actions && sim->report.count == 0; i++) {
        struct client *client = world_client_any(sim);
        uint64_t what = sim_below(sim, 100);
        if (!client)
            client = world_client_add(sim);
        if (what < 70)
            emit_burst(sim, client);
        else if (what < 88)
            listen_somewhere(sim, client);
        else if (what < 92)
            listen_everywhere(sim, client);
        else if (what < 96)
            unlisten_somewhere(sim, client);
        else
            client_ask(client);
        if (sim_chance(sim, plan->ambush_permille))
            ambush(sim, client);
        if (sim_chance(sim, plan->trim_permille))
            trim_somewhere(sim, client);
        if (sim_chance(sim, plan->passing_permille))
            passing_act(sim, client);
        if (sim_chance(sim, plan->sharing_permille))
            sharing_act(sim, client);
        if (sim_chance(sim, plan->fleeting_permille))
            fleeting_act(sim, client);
        if (plan->later_permille && sim_chance(sim, plan->later_permille))
            later_act(sim, client);
        if (plan->watching_permille && sim_chance(sim, plan->watching_permille))
            watching_act(sim, client);
        trouble(sim);
        if (sim_chance(sim, IDLE_PERMILLE))
            scheduler_run_until(sim, sim->now_us + IDLE_US);
        uint64_t wait_us_max = (uint64_t)squall(sim);
        scheduler_run_until(sim, sim->now_us + (int64_t)sim_below(sim, wait_us_max + 1));
    }
}
