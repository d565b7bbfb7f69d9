/* plan.c: what a run is like: its faults, its load, its broker and its clients, all drawn from the seed.
 *
 * Swarm testing: each run draws which faults it has at all and how often, how large everything is, how slow the disk and
 * how bad the network, so that some runs are made of nothing but one trouble, and every limit is small in some of them. */
#include "tests/sim/sim.h"

#include "base/check.h"

#include <stdio.h>

uint64_t plan_pick(struct sim *sim, const uint64_t *from, size_t count)
{
    return from[sim_below(sim, count)];
}

/* Half of the runs do not have a given fault at all. */
static unsigned rate(struct sim *sim, unsigned permille_max)
{
    return sim_chance(sim, 500) ? 0 : (unsigned)sim_below(sim, permille_max + 1);
}

/* One draw a statement, here and everywhere: compilers differ in the order in which they evaluate the others. */
static void plan_faults(struct sim *sim)
{
    struct faults *faults = &sim->plan.faults;
    faults->crash = rate(sim, 50);
    faults->drain = rate(sim, 30);
    faults->reset = rate(sim, 90);
    faults->stall = rate(sim, 60);
    faults->hang = rate(sim, 150);
    faults->vanish = rate(sim, 15);
    faults->close = rate(sim, 15);
    faults->disk_full = rate(sim, 30);
    faults->disk_slow = rate(sim, 30);
    faults->disk_commit = rate(sim, 25);
    faults->disk_flush = rate(sim, 20);
    faults->disk_read = rate(sim, 20);
    faults->clock_jump = rate(sim, 30);
}

static void plan_load(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    plan->actions = 20 + (unsigned)sim_below(sim, 80);
    plan->ambush_permille = (unsigned)PICK(sim, 0, 0, 30, 100);
    plan->squall_permille = (unsigned)PICK(sim, 0, 200, 600);
    plan->action_us_max = (int64_t)PICK(sim, 200, 2000, 10000, 40000);
    plan->topics = 1 + (unsigned)sim_below(sim, SIM_TOPICS_MAX);
    plan->producers = 1 + (unsigned)sim_below(sim, 3);
    plan->listeners = 1 + (unsigned)sim_below(sim, 3);
    plan->memory_permille = (unsigned)PICK(sim, 0, 0, 100, 500);
    plan->key_permille = (unsigned)PICK(sim, 0, 300, 900);
    plan->partition_permille = (unsigned)PICK(sim, 0, 50, 500);
    plan->step_permille = (unsigned)PICK(sim, 0, 0, 200, 600);
    plan->transform_permille = (unsigned)PICK(sim, 0, 200, 600);
    plan->named_permille = (unsigned)PICK(sim, 0, 400, 900);
    plan->burst_max = (unsigned)PICK(sim, 1, 4, 20, 60);
    plan->value_max = (uint32_t)PICK(sim, 32, 100, 100, 1000, 6000);
    plan->trim_permille = (unsigned)PICK(sim, 0, 0, 20, 100);
    plan->passing_permille = (unsigned)PICK(sim, 0, 0, 200, 600);
    plan->sharing_permille = (unsigned)PICK(sim, 0, 0, 300, 900);
    plan->fleeting_permille = (unsigned)PICK(sim, 0, 0, 200, 500);
    plan->handler_fails_permille = (unsigned)PICK(sim, 0, 0, 20, 200);
    plan->quality.capacity = (size_t)PICK(sim, 64, 700, 8192, 65536);
    plan->quality.delay_us_max = (int64_t)PICK(sim, 10, 100, 1000, 10000);
    plan->quality.us_per_kilobyte = (int64_t)PICK(sim, 0, 0, 10, 300);
    plan->quality.piece_max = (size_t)PICK(sim, 1, 40, 5000, 65536);
    if (sim_chance(sim, 30)) /* much: what is unsent, read at a time or in a frame reaches its limits */
        plan->value_max = 60000;
    if (plan->value_max >= 6000) { /* or it takes for ever */
        plan->quality.piece_max = 65536;
        plan->quality.capacity = 65536;
        plan->burst_max = plan->burst_max > 20 ? 20 : plan->burst_max;
    }
    if (plan->quality.piece_max == 1 ||
        plan->quality.capacity == 64) { /* byte by byte: little, or it takes for ever */
        plan->value_max = 40;
        plan->burst_max = plan->burst_max > 4 ? 4 : plan->burst_max;
    }
}

static void plan_broker(struct sim *sim)
{
    struct core_config *config = &sim->node.config;
    struct store_memory_options *store = &sim->node.store_options;
    *config = core_config_default();
    config->event_size_max = (uint32_t)PICK(sim, 2000, 1u << 20, 1u << 20);
    config->ingest_bytes_max = (size_t)PICK(sim, 16384, 65536, 16u << 20);
    config->producer_window_max = config->ingest_bytes_max / 2;
    config->cache_bytes_max = (size_t)PICK(sim, 0, 3000, 60000, 8u << 20);
    config->ping_interval_ms = (uint32_t)PICK(sim, 50, 500, 5000);
    config->idle_timeout_ms = 3 * config->ping_interval_ms;
    config->flush_interval_us = (int64_t)PICK(sim, 5000, 50000, 1000000);
    config->flush_log_bytes = PICK(sim, 4096, 64u << 20);
    config->flush_rows_per_turn = (uint32_t)PICK(sim, 1, 3, 2000);
    *store = store_memory_options_default(0);
    store->commit.us_max = (int64_t)PICK(sim, 200, 2000, 20000);
    store->flush.us_max = (int64_t)PICK(sim, 300, 5000, 50000);
    store->read.us_max = (int64_t)PICK(sim, 20, 500, 5000);
    store->commit_bytes_max = (size_t)PICK(sim, 1, 4096, 8u << 20);
    if (store->commit_bytes_max < 8u << 20 && store->commit.us_max > 2000) /* slow for each: never done */
        store->commit.us_max = 2000;
}

static uint64_t quota_draw(struct random *random, uint64_t least, uint64_t most)
{
    return random_below(random, 3) ? 0 : least + random_below(random, most - least);
}

/* Some runs have quotas: those who emit are slowed, nothing is lost and everything ends. Their draws are their own, so that a
 * seed found without them stays what it was. */
static void plan_quotas(struct sim *sim, uint64_t seed)
{
    struct random random = random_seeded(seed ^ UINT64_C(0x71756f746173));
    struct core_config *config = &sim->node.config;
    config->client_quota.events = quota_draw(&random, 200, 3000);
    config->client_quota.bytes = quota_draw(&random, 50000, 500000);
    config->topic_quota.events = quota_draw(&random, 200, 3000);
    config->topic_quota.bytes = quota_draw(&random, 50000, 500000);
    sim->plan.fleeting_quotas = random_below(&random, 2);
    struct client_quota *named = &config->client_quotas[0];
    snprintf(named->name, sizeof(named->name), "%s", SIM_CLIENT_NAME);
    named->quota.events = quota_draw(&random, 200, 3000);
    named->quota.bytes = quota_draw(&random, 50000, 500000);
    config->client_quota_count = named->quota.events || named->quota.bytes;
}

/* A restart may come with another configuration. */
void plan_broker_change(struct sim *sim)
{
    if (sim_chance(sim, 200))
        sim->node.config.event_size_max = (uint32_t)PICK(sim, 60, 2000, 1u << 20);
}

struct crier_options plan_client_options(struct sim *sim)
{
    struct crier_options options = crier_options_default();
    options.linger_us = (int)PICK(sim, 0, 1000, 5000);
    options.batch_size_max = (size_t)PICK(sim, 1024, 8192, 262144);
    options.buffer_size_max = (size_t)PICK(sim, 16384, 32u << 20);
    options.listen_credit = (size_t)PICK(sim, 1, 2000, 50000, 4u << 20);
    options.commit_interval_ms = (int)PICK(sim, 1, 20, 100);
    options.reconnect_delay_ms_min = (int)PICK(sim, 1, 50);
    options.reconnect_delay_ms_max = (int)PICK(sim, 100, 2000);
    options.compression = (enum crier_compression)PICK(sim, CRIER_COMPRESSION_NONE, CRIER_COMPRESSION_NONE,
                                                       CRIER_COMPRESSION_LZ4, CRIER_COMPRESSION_ZSTD);
    return options;
}

/* From a stream of its own: a seed without events that come later, or somebody who watches, is the run it always was. */
static void plan_later(struct sim *sim, uint64_t seed)
{
    static const unsigned permilles[] = {0, 0, 200, 600};
    static const uint32_t windows[] = {4, 50, 32768};
    struct random random = random_seeded(~seed);
    sim->plan.later_permille = permilles[random_below(&random, ARRAY_SIZE(permilles))];
    sim->node.config.schedule_window = windows[random_below(&random, ARRAY_SIZE(windows))];
    sim->plan.watching_permille = permilles[random_below(&random, ARRAY_SIZE(permilles))] / 4;
    sim->plan.mortal = random_below(&random, 2);
}

void plan_draw(struct sim *sim, uint64_t seed)
{
    plan_faults(sim);
    plan_load(sim);
    plan_broker(sim);
    plan_quotas(sim, seed);
    plan_later(sim, seed);
}

/* ---- less than that ---- */

static void most(unsigned *value, unsigned limit)
{
    if (limit && *value > limit)
        *value = limit;
}

void plan_limit(struct plan *plan, const struct sim_limits *limits)
{
    unsigned *faults = (unsigned *)&plan->faults;
    for (unsigned i = 0; i < SIM_FAULTS; i++)
        if (limits->faults_off & (1u << i))
            faults[i] = 0;
    most(&plan->actions, limits->actions_max);
    most(&plan->producers, limits->clients_max);
    most(&plan->listeners, limits->clients_max);
    most(&plan->burst_max, limits->burst_max);
    if (limits->calm)
        plan->ambush_permille = plan->squall_permille = 0;
}
