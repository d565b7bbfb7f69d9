/* world.c: a run: who is in it, and its parts after the storm: healing, truth, verdict. */
#include "tests/sim/sim.h"

#include "base/check.h"

#include <stdlib.h>

#define READ_ALL_US INT64_C(5000000) /* a reader of everything is through by then */
#define CLOSE_US                                                                                             \
    INT64_C(5000000)      /* a client that closes in order has its answers by then, once all is healed */
#define NARROW_PIECE   40 /* bytes at a time: a few hundred kilobytes a second */
#define EVENT_OVERHEAD 80 /* of an event that is alone in its frame, and of its answer */
#define START_US       INT64_C(3000000) /* a broker with a healthy disk is ready by then */

/* ---- clients ---- */

struct client *world_client_add(struct sim *sim)
{
    struct crier_options options = plan_client_options(sim);
    char name[16];
    uint32_t source = step_source_draw(sim, name, sizeof(name));
    options.producer_name = source == HISTORY_NONE ? NULL : name;
    struct client *client = client_open(sim, &options, !sim_chance(sim, 250));
    client->source = source;
    client->busy_us_max = (int64_t)PICK(sim, 50, 200, 200, 5000); /* some are slow */
    client->next = sim->clients;
    sim->clients = client;
    sim->client_count++;
    return client;
}

void world_client_drop(struct sim *sim, struct client *client)
{
    struct client **at = &sim->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    sim->client_count--;
    client_free(client);
}

/* One of those that are alive and not closing; NULL: none. */
struct client *world_client_any(struct sim *sim)
{
    struct client *found = NULL;
    uint64_t seen = 0;
    for (struct client *client = sim->clients; client; client = client->next)
        if (!client->closing && sim_below(sim, ++seen) == 0)
            found = client;
    return found;
}

/* ---- one call that fails (failures.c) ---- */

void world_link_call(struct sim *sim, struct link *link)
{
    const struct failure *failure = &sim->failure;
    sim->link_calls++;
    if (failure->kind != FAIL_LINK || sim->healing || sim->link_calls < failure->nth ||
        (sim->link_calls > failure->nth && !failure->for_ever))
        return;
    sim_trace(sim, TRACE_LINK_RESET, link->number, link_pending(link, NET_UP), link_pending(link, NET_DOWN));
    link_reset(link);
}

static void failure_arm(struct sim *sim)
{
    if (sim->failure.kind == FAIL_COMMIT)
        store_memory_fault_commit(sim->disk.inner, sim->failure.nth);
    else if (sim->failure.kind == FAIL_FLUSH)
        store_memory_fault_flush(sim->disk.inner, sim->failure.nth);
    else if (sim->failure.kind == FAIL_READ)
        store_memory_fault_read(sim->disk.inner, sim->failure.nth);
}

/* ---- healing ---- */

static bool broker_not_ready(struct sim *sim)
{
    return !sim->node.core || !sim->node.ready || sim->node.draining || sim->node.read_only;
}

static bool emits_pending(struct sim *sim)
{
    for (const struct client *client = sim->clients; client; client = client->next)
        if (client->pending || client->closing)
            return true;
    return false;
}

/* Is it one that has to reach the end? */
static bool endless(const struct subscriber *subscriber)
{
    return subscriber->listener && !subscriber->unlisten_wanted && !subscriber->counted;
}

/* Something is on its way: bytes, events that are not handled, entries that are not durable (of memory emits, say), or
 * has been so recently that more may follow. Whether everybody is where he should be is for the checker. */
static bool world_busy(struct sim *sim)
{
    for (const struct link *link = sim->links; link; link = link->next)
        if (!link->client_gone && !link->broker_gone &&
            (link_pending(link, NET_UP) ||
             link_pending(link, NET_DOWN))) /* a large frame over a narrow line */
            return true;
    struct core_stats stats;
    if (broker_not_ready(sim) || sim->disk.watches || sim->now_us - sim->progress_us < SIM_QUIET_US)
        return true;
    core_stats(sim->node.core, &stats);
    if (stats.entries_in_flight)
        return true;
    for (const struct client *client = sim->clients; client; client = client->next)
        if (!client->ready || engine_dispatch_pending(client->engine))
            return true;
    return emits_pending(sim);
}

/* Still byte by byte, if it was; yet no more a line on which nothing can be in time. */
static void quality_heal(struct net_quality *quality)
{
    quality->us_per_kilobyte = 0;
    if (quality->delay_us_max > 100)
        quality->delay_us_max = 100;
}

static void heal(struct sim *sim)
{
    sim_trace(sim, TRACE_HEAL, 0, 0, 0);
    sim->healing = true;
    sim->plan.faults = (struct faults){0};
    if (sim->failure.heal)
        sim->failure.heal();
    quality_heal(&sim->plan.quality);
    for (struct link *link = sim->links; link; link = link->next) {
        quality_heal(&link->quality);
        if (link_is_stalled(link, sim->now_us))
            sim_trace(sim, TRACE_LINK_RESUME, link->number, 0, 0);
        link_resume(link, sim->now_us);
    }
    for (struct client *client = sim->clients; client; client = client->next)
        client->busy_us_max = 200;
    sim->disk_room_at_us = INT64_MAX;
    if (sim->disk.inner) {
        store_memory_fault_full(sim->disk.inner, false);
        store_memory_fault_slow(sim->disk.inner, 0, 0);
        store_memory_fault_commit(sim->disk.inner, 0);
        store_memory_fault_flush(sim->disk.inner, 0);
        store_memory_fault_read(sim->disk.inner, 0);
    }
    if (!scheduler_run_while(sim, broker_not_ready, START_US))
        report_add(&sim->report, 15, "the broker is not ready %lld ms after everything healed",
                   (long long)START_US / 1000);
}

/* How long a line takes for what may stand in front of an answer, if it carries so little at a time that this counts: once every
 * event that waits to be sent, and for each listener of its client every event there is. 8 pieces, half as large as they may be, pass
 * with nine of ten turns, of which the slowest pair (broker and client) takes 500 us. */
static int64_t narrow_us(const struct sim *sim)
{
    size_t piece_max = sim->plan.quality.piece_max;
    uint64_t bytes = 0, listeners = 0;
    if (piece_max > NARROW_PIECE)
        return 0;
    for (size_t i = 0; i < sim->history.emit_count; i++)
        bytes += sim->history.emits[i].size + EVENT_OVERHEAD;
    for (const struct client *client = sim->clients; client; client = client->next) {
        uint64_t own = 0;
        for (const struct subscriber *s = client->subscribers; s; s = s->next)
            own += s->listener != NULL;
        listeners = own > listeners ? own : listeners;
    }
    return (int64_t)(bytes * (1 + listeners) * 500 * 10 / (9 * 4 * (1 + piece_max)));
}

static int64_t emits_heal_us(const struct sim *sim)
{
    const struct core_config *config = &sim->node.config;
    bool slowed = config->client_quota.events || config->client_quota.bytes || config->topic_quota.events ||
                  config->topic_quota.bytes || config->client_quota_count || sim->plan.fleeting_quotas;
    return (slowed ? SIM_EMITS_SLOWED_HEAL_US : SIM_EMITS_HEAL_US) + narrow_us(sim);
}

/* With a credit of one event and nothing cached, each event is a read. */
static int64_t ends_heal_us(const struct sim *sim)
{
    uint64_t events = 0;
    for (size_t id = 0; id < HISTORY_PARTITION_IDS; id++)
        events += sim->disk.partitions[id].next;
    return SIM_ENDS_HEAL_US + (int64_t)events * sim->node.store_options.read.us_max;
}

/* What is left waits no longer than I13 says. */
static void settle(struct sim *sim)
{
    if (!scheduler_run_while(sim, emits_pending, emits_heal_us(sim))) {
        for (const struct client *client = sim->clients; client; client = client->next)
            if (client->pending || client->closing)
                report_add(&sim->report, 13,
                           "client %u waits for %llu outcomes %lld ms after everything healed", client->id,
                           (unsigned long long)client->pending, (long long)emits_heal_us(sim) / 1000);
        return;
    }
    int64_t ends_us = ends_heal_us(sim);
    if (!scheduler_run_while(sim, world_busy, ends_us))
        report_add(&sim->report, 13, "the world is not quiet %lld ms after everything healed",
                   (long long)ends_us / 1000);
    sim_trace(sim, TRACE_QUIET, 0, 0, 0);
}

/* Those that are in place and without an end of their own have to have reached the end. */
static void listeners_mark(struct sim *sim)
{
    for (const struct client *client = sim->clients; client; client = client->next)
        for (const struct subscriber *s = client->subscribers; s; s = s->next)
            if (endless(s) && s->life)
                for (uint32_t i = 0; i < s->topics; i++)
                    sim->history.listeners[s->index + i].must_end = true;
}

static bool reader_behind(struct sim *sim)
{
    for (const struct client *client = sim->clients; client; client = client->next) {
        uint64_t expected = 0;
        for (const struct subscriber *s = client->subscribers; s && client->reader; s = s->next) {
            struct crier_listener_stats stats = {0};
            if (!s->listener)
                return true; /* ended: never */
            for (uint32_t p = 0; p < sim->history.partitions[s->topic]; p++)
                expected += disk_kept(&sim->disk, s->topic, p);
            engine_listener_stats(s->listener, &stats);
            if (stats.delivered < expected)
                return true;
            expected = 0;
        }
    }
    return false;
}

/* A fresh client reads everything from the beginning. */
static void read_all(struct sim *sim, uint32_t number)
{
    struct crier_options options = crier_options_default();
    sim_trace(sim, TRACE_READER, number, 0, 0);
    struct client *reader = client_open(sim, &options, true);
    reader->reader = true;
    reader->dispatch_max = 1000;
    reader->next = sim->clients;
    sim->clients = reader;
    sim->client_count++;
    for (uint32_t topic = 0; topic < sim->plan.topics; topic++) {
        struct history_listener how = {.client = reader->id,
                                       .topic = topic,
                                       .group = HISTORY_NONE,
                                       .from = FROM_EARLIEST,
                                       .truth = number};
        if (sim->history.partitions[topic])
            client_listen(reader, &how, 0, 0, 0);
    }
    if (!scheduler_run_while(sim, reader_behind, READ_ALL_US))
        report_add(&sim->report, 13, "reader %u is not at the end after %lld ms", number,
                   (long long)READ_ALL_US / 1000);
    world_client_drop(sim, reader);
}

static bool closing(struct sim *sim)
{
    return sim->clients != NULL;
}

/* Does the broker still hold anything for anybody, now that nobody is there? */
static bool broker_holds(struct sim *sim)
{
    struct core_stats stats = {0};
    if (sim->node.core)
        core_stats(sim->node.core, &stats);
    return stats.connections || stats.listeners || stats.ingest_bytes_granted || stats.entries_in_flight;
}

static void leak_report(struct sim *sim)
{
    struct core_stats stats = {0};
    core_stats(sim->node.core, &stats);
    report_add(&sim->report, 12,
               "all are gone; yet there are %zu connections, %zu listeners, %zu bytes granted",
               stats.connections, stats.listeners, stats.ingest_bytes_granted);
}

static void finish(struct sim *sim)
{
    sharing_finish(sim);
    for (struct client *client = sim->clients; client; client = client->next)
        client_close(client);
    if (!scheduler_run_while(sim, closing, CLOSE_US))
        report_add(&sim->report, 13, "client %u cannot close", sim->clients->id);
    else if (!scheduler_run_while(sim, broker_holds, CLOSE_US))
        leak_report(sim);
}

static void truth(struct sim *sim)
{
    read_all(sim, 1);
    if (sim_chance(sim, 500))
        finish(sim);
    if (sim_chance(sim, 500) && sim->node.ready && sim->node.core)
        node_drain(sim, 1000);
    else
        storm_power_off(sim, 1000);
    if (sim->node.core)
        scheduler_run_while(sim, broker_not_ready, START_US);
    if (!scheduler_run_while(sim, broker_not_ready, START_US))
        report_add(&sim->report, 15, "the broker is not ready after the last restart");
    read_all(sim, 2);
}

static void verdict(struct sim *sim)
{
    if (sim->node.core)
        node_crash(sim);
    checker_run(&sim->history, &sim->report);
    passing_verdict(sim);
    fleeting_verdict(sim);
    later_verdict(sim);
    disk_check_state(&sim->disk, &sim->node.config);
}

static void sim_free(struct sim *sim)
{
    while (sim->clients)
        world_client_drop(sim, sim->clients);
    passing_finish(sim);
    sharing_finish(sim);
    fleeting_finish(sim);
    later_finish(sim);
    watching_finish(sim);
    if (sim->node.core)
        node_crash(sim);
    while (sim->links) {
        struct link *link = sim->links;
        sim->links = link->next;
        link_destroy(link);
    }
    disk_finish(&sim->disk);
    ledger_finish(&sim->ledger);
    history_finish(&sim->history);
    free(sim);
}

void sim_run(const struct sim_options *options, struct sim_result *ret_result)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    CHECK(sim);
    sim->random = random_seeded(options->seed);
    sim->trace.print = options->print;
    sim->now_us = 1000000;
    sim->restart_at_us = sim->operator_at_us = sim->disk_room_at_us = INT64_MAX;
    history_init(&sim->history);
    disk_init(&sim->disk, &sim->trace, &sim->history, &sim->report);
    ledger_init(&sim->ledger, &sim->trace, &sim->report);
    sim->disk.ledger = &sim->ledger;
    plan_draw(sim, options->seed);
    plan_limit(&sim->plan, &options->limits);
    sim->node.store_options.complete_before_durable = options->plant_ack_before_commit;
    sim->failure = options->failure;
    node_start(sim);
    failure_arm(sim);
    storm(sim);
    heal(sim);
    settle(sim);
    passing_probe(sim);
    later_probe(sim);
    sharing_settle(sim);
    sim->reading = true; /* nobody makes events of others any more, and those that were made are through */
    settle(sim);
    watching_probe(sim);
    listeners_mark(sim);
    fleeting_mark(sim);
    if (sim->report.count == 0)
        truth(sim);
    if (sim->report.count == 0)
        finish(sim);
    if (sim->report.count == 0)
        verdict(sim);
    ret_result->trace = sim->trace;
    ret_result->report = sim->report;
    ret_result->taps = sim->taps;
    ret_result->link_calls = sim->link_calls;
    sim_free(sim);
}
