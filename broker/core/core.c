/* core.c: the two halves put together: what the reactor and the simulator see. */
#include "broker/core/core.h"

#include "broker/core/session.h"
#include "broker/core/shard.h"

#include <stdlib.h>

struct core {
    struct session *session;
    struct shard *shard;
    bool draining;
};

static const struct shard_output to_session = {.reply = session_reply,
                                               .emitted = session_emitted,
                                               .durable = session_durable,
                                               .known = session_known,
                                               .topic = session_topic,
                                               .log_start = session_log_start,
                                               .deleted = session_deleted,
                                               .limits = session_limits};

struct core_config core_config_default(void)
{
    return (struct core_config){.auto_create = true,
                                .event_size_max = 1024 * 1024,
                                .ingest_bytes_max = 16u << 20,
                                .producer_window_max = 8u << 20,
                                .cache_bytes_max = 8u << 20,
                                .ping_interval_ms = 5000,
                                .idle_timeout_ms = 15000,
                                .flush_interval_us = 1000000,
                                .flush_log_bytes = 64u << 20,
                                .listeners_max = 1000000,
                                .topics_max = 1000000,
                                .backlog_bytes_max = 256u << 20,
                                .schedule_window = 32768,
                                .flush_rows_per_turn = 2000,
                                .software = "crierd"};
}

struct core *core_create(const struct core_config *config, const struct core_ops *ops, void *ops_ctx,
                         struct store *store)
{
    struct core *core = calloc(1, sizeof(*core));
    if (!core)
        return NULL;
    core->session = session_create(config, ops, ops_ctx, store);
    if (core->session)
        core->shard = shard_create(config, ops, ops_ctx, store, &to_session, core->session);
    if (!core->shard) {
        core_destroy(core);
        return NULL;
    }
    session_set_shard(core->session, core->shard);
    return core;
}

void core_reconfigure(struct core *core, const struct core_config *config)
{
    session_reconfigure(core->session, config);
    shard_reconfigure(core->shard, config);
}

void core_destroy(struct core *core)
{
    if (!core)
        return;
    session_destroy(core->session);
    shard_destroy(core->shard);
    free(core);
}

int core_recover(struct core *core, int64_t mono_us, int64_t wall_us, char *error, size_t error_size)
{
    session_turn_begin(core->session, mono_us, wall_us);
    return shard_recover(core->shard, mono_us, wall_us, error, error_size);
}

bool core_ready(const struct core *core)
{
    return shard_ready(core->shard);
}

bool core_read_only(const struct core *core)
{
    return shard_read_only(core->shard);
}

void core_turn_begin(struct core *core, int64_t mono_us, int64_t wall_us)
{
    session_turn_begin(core->session, mono_us, wall_us);
    shard_turn_begin(core->shard, mono_us, wall_us);
}

int64_t core_turn_end(struct core *core)
{
    int64_t shard_due_us = shard_turn_end(core->shard);
    int64_t session_due_us = session_turn_end(core->session);
    return shard_due_us < session_due_us ? shard_due_us : session_due_us;
}

struct core_connection *core_connection_open(struct core *core, void *owner, const char *peer)
{
    return session_connection_open(core->session, owner, peer);
}

void core_drain(struct core *core, uint32_t deadline_ms)
{
    if (!core->draining)
        session_drain(core->session, deadline_ms);
    shard_drain(core->shard);
    core->draining = true;
}

void core_stop(struct core *core)
{
    shard_stop(core->shard);
}

bool core_drained(const struct core *core)
{
    return core->draining && shard_idle(core->shard) && session_idle(core->session);
}

void core_stats(const struct core *core, struct core_stats *ret_stats)
{
    *ret_stats = (struct core_stats){0};
    shard_stats(core->shard, ret_stats);
    session_stats(core->session, ret_stats);
}
