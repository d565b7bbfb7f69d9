/* broker.c: a whole broker. See broker.h.
 *
 * Owns:        the store and the reactor.
 * Happy path:  the store is opened → reactor → sockets are bound → recovered, first entry durable → they listen → served
 * Failures:    everything is taken down again in reverse order; a folder that was not ours to open is not touched. */
#include "broker/broker.h"

#include "base/clock.h"
#include "base/log.h"
#include "broker/reactor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct broker {
    struct store *store;
    struct reactor *reactor;
    const char *software;
    void (*control)(struct broker *broker, void *ctx);
    void *ctx;
};

static void client_quotas_take(struct core_config *core, const struct config_client_quotas *quotas)
{
    _Static_assert(CONFIG_CLIENT_QUOTAS_MAX <= CLIENT_QUOTAS_MAX, "each has a place");
    _Static_assert(CONFIG_CLIENT_NAME_MAX <= CLIENT_QUOTA_NAME_MAX, "each fits");
    _Static_assert(CONFIG_QUOTA_NONE == QUOTA_NONE, "it means the same");
    for (unsigned i = 0; i < quotas->count; i++) {
        struct client_quota *to = &core->client_quotas[i];
        memcpy(to->name, quotas->client[i].name, sizeof(quotas->client[i].name));
        to->quota = (struct quota){quotas->client[i].events, quotas->client[i].bytes};
    }
    core->client_quota_count = quotas->count;
}

static struct reactor_options reactor_options_from(const struct broker *broker, const struct config *config)
{
    struct reactor_options options = {.core = core_config_default(),
                                      .connections_max = (uint32_t)config->connections_max,
                                      .drain_ms = (uint32_t)(config->drain_us / 1000),
                                      .control_fd = -1};
    options.core.auto_create = !config->no_auto_create;
    options.core.durability_memory = config->durability_memory;
    options.core.event_size_max = (uint32_t)config->event_bytes_max;
    options.core.ingest_bytes_max = config->ingest_bytes_max;
    options.core.cache_bytes_max = config->cache_bytes_max;
    options.core.disk_free_min = config->disk_free_min;
    options.core.client_quota = (struct quota){config->client_events_max, config->client_bytes_max};
    client_quotas_take(&options.core, &config->client_quotas);
    options.core.topic_quota = (struct quota){config->topic_events_max, config->topic_bytes_max};
    options.core.listeners_max = config->listeners_max;
    options.core.topics_max = config->topics_max;
    options.core.backlog_bytes_max = config->backlog_bytes_max;
    options.core.ping_interval_ms = (uint32_t)(config->ping_us / 1000);
    options.core.idle_timeout_ms = (uint32_t)(config->idle_us / 1000);
    if (options.core.producer_window_max > config->ingest_bytes_max)
        options.core.producer_window_max = config->ingest_bytes_max;
    options.core.software = broker->software;
    return options;
}

static int store_make(struct broker *broker, const struct broker_options *options, char *error,
                      size_t error_size)
{
    struct store_options store = store_options_default();
    store.path = options->config->data;
    store.segment_size = options->config->segment_bytes;
    store.log = options->log;
    return store_lmdb_open(&store, &broker->store, error, error_size);
}

static void on_control(void *ctx)
{
    struct broker *broker = ctx;
    broker->control(broker, broker->ctx);
}

static int reactor_make(struct broker *broker, const struct broker_options *options, char *error,
                        size_t error_size)
{
    const struct config *config = options->config;
    struct reactor_options reactor = reactor_options_from(broker, config);
    reactor.control_fd = options->control_fd;
    reactor.control = on_control;
    reactor.control_ctx = broker;
    int rc = reactor_create(&reactor, broker->store, options->log, &broker->reactor, error, error_size);
    for (unsigned i = 0; rc == 0 && i < config->listen.count; i++)
        if (reactor_listen(broker->reactor, config->listen.address[i], error, error_size) < 0)
            rc = STORE_EIO;
    return rc < 0 ? rc : reactor_start(broker->reactor, error, error_size);
}

static void tell_start(const struct broker *broker, struct log *log, int64_t took_us, int64_t cpu_us)
{
    struct store_stats stats;
    broker->store->ops->stats(broker->store, &stats);
    LOG_INFO(log, "START", "serving after %.1f ms (%.1f ms of CPU time): last entry %llu, %llu segments",
             (double)took_us / 1e3, (double)cpu_us / 1e3, (unsigned long long)stats.last_index,
             (unsigned long long)stats.segments);
}

/* Objects are about twice as large as their rows. */
static uint64_t memory_expected(const struct broker *broker)
{
    struct store_stats stats;
    broker->store->ops->stats(broker->store, &stats);
    return 2 * stats.state_bytes;
}

int broker_open(const struct broker_options *options, struct broker **ret_broker, char *error,
                size_t error_size)
{
    int64_t begun_us = clock_monotonic_us(), begun_cpu_us = clock_cpu_us();
    struct broker *broker = calloc(1, sizeof(*broker));
    (void)snprintf(error, error_size, "out of memory");
    if (!broker)
        return STORE_ENOMEM;
    broker->software = options->software;
    broker->control = options->control;
    broker->ctx = options->ctx;
    int rc = store_make(broker, options, error, error_size);
    if (rc == 0 && options->expect_memory)
        options->expect_memory(memory_expected(broker));
    if (rc == 0)
        rc = reactor_make(broker, options, error, error_size);
    if (options->expect_memory)
        options->expect_memory(0);
    if (rc < 0) {
        broker_close(broker);
        return rc;
    }
    tell_start(broker, options->log, clock_monotonic_us() - begun_us, clock_cpu_us() - begun_cpu_us);
    *ret_broker = broker;
    return 0;
}

void broker_addresses(const struct broker *broker, void (*each)(void *ctx, const char *address), void *ctx)
{
    reactor_addresses(broker->reactor, each, ctx);
}

void broker_serve(struct broker *broker)
{
    reactor_serve(broker->reactor);
}

void broker_close(struct broker *broker)
{
    if (!broker)
        return;
    reactor_destroy(broker->reactor);
    if (broker->store)
        broker->store->ops->close(broker->store);
    free(broker);
}

void broker_stop(struct broker *broker, const char *why)
{
    reactor_stop(broker->reactor, why);
}

void broker_adopt(struct broker *broker, int fd, const char *peer)
{
    reactor_adopt(broker->reactor, fd, peer);
}

void broker_reconfigure(struct broker *broker, const struct config *config)
{
    struct reactor_options options = reactor_options_from(broker, config);
    reactor_reconfigure(broker->reactor, &options);
}
