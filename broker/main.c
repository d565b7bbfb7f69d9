/* main.c: crierd: options, log, data folder, reactor; and what is said when one of them is not there.
 *
 * Exit status: 0 stopped as asked, 1 failed (one clear sentence on standard error), 2 wrong use. */
#include "broker/config.h"
#include "broker/reactor.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

static void announce(const char *address)
{
    printf("listening on %s\n", address);
    fflush(stdout);
}

/* Batches come and go in sizes around 256 KiB: kept on the heap they are reused, and a free top is given back. LMDB's
 * dirty lists are larger and hardly touched: mapped, they cost nothing. */
static void malloc_setup(void)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    mallopt(M_ARENA_MAX, 2);
}

static int serve(const struct config *config, struct shutdown *shutdown, struct log *log, struct store *store)
{
    char error[512] = "";
    struct reactor_options options = {.core = core_config_default(),
                                      .connections_max = (uint32_t)config->connections_max,
                                      .drain_ms = (uint32_t)(config->drain_us / 1000)};
    options.core.auto_create = !config->no_auto_create;
    options.core.durability_memory = config->durability_memory;
    options.core.event_size_max = (uint32_t)config->event_bytes_max;
    options.core.ingest_bytes_max = config->ingest_bytes_max;
    options.core.cache_bytes_max = config->cache_bytes_max;
    if (options.core.producer_window_max > config->ingest_bytes_max)
        options.core.producer_window_max = config->ingest_bytes_max;
    options.core.software = "crierd " CRIER_VERSION_TEXT;
    struct reactor *reactor = NULL;
    int rc = reactor_create(&options, store, shutdown, log, &reactor, error, sizeof(error));
    for (unsigned i = 0; rc == 0 && i < config->listen.count; i++)
        rc = reactor_listen(reactor, config->listen.address[i], error, sizeof(error));
    int status = 1;
    if (rc < 0)
        fprintf(stderr, "crierd: %s\n", error);
    else
        status = reactor_run(reactor, announce);
    reactor_destroy(reactor);
    return status;
}

int main(int argc, char **argv)
{
    struct config config;
    int rc = config_parse(argc, argv, &config);
    if (rc)
        return rc == 2 ? 2 : 0;
    malloc_setup();
    struct shutdown shutdown;
    rc = shutdown_open(&shutdown, true);
    if (rc < 0) {
        fprintf(stderr, "crierd: signals: %s\n", strerror(-rc));
        return 1;
    }
    struct log *log = NULL;
    rc = log_open(config.log_file, config.log_format, config.log_level, &log);
    if (rc < 0) {
        fprintf(stderr, "crierd: the log file \"%s\" cannot be opened: %s\n", config.log_file, strerror(-rc));
        return 1;
    }
    struct store_options store_options = store_options_default();
    store_options.path = config.data;
    store_options.segment_size = config.segment_bytes;
    store_options.log = log;
    struct store *store = NULL;
    char error[512] = "";
    int status = 1;
    if (store_lmdb_open(&store_options, &store, error, sizeof(error)) < 0)
        fprintf(stderr, "crierd: %s\n", error);
    else
        status = serve(&config, &shutdown, log, store);
    if (store)
        store->ops->close(store);
    log_close(log);
    return status;
}
