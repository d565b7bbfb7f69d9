/* main.c: crierd: configuration, log, data folder, reactor; and what is said when one of them is not there.
 *
 * Exit status: 0 stopped as asked, 1 failed (one clear sentence on standard error), 2 wrong use. */
#include "broker/config.h"
#include "broker/reactor.h"

#include <errno.h>
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

static void say(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "crierd: %s\n", sentence);
}

static struct reactor_options reactor_options_from(const struct config *config)
{
    struct reactor_options options = {.core = core_config_default(),
                                      .connections_max = (uint32_t)config->connections_max,
                                      .drain_ms = (uint32_t)(config->drain_us / 1000)};
    options.core.auto_create = !config->no_auto_create;
    options.core.durability_memory = config->durability_memory;
    options.core.event_size_max = (uint32_t)config->event_bytes_max;
    options.core.ingest_bytes_max = config->ingest_bytes_max;
    options.core.cache_bytes_max = config->cache_bytes_max;
    options.core.ping_interval_ms = (uint32_t)(config->ping_us / 1000);
    options.core.idle_timeout_ms = (uint32_t)(config->idle_us / 1000);
    if (options.core.producer_window_max > config->ingest_bytes_max)
        options.core.producer_window_max = config->ingest_bytes_max;
    options.core.software = "crierd " CRIER_VERSION_TEXT;
    return options;
}

/* ---- SIGHUP ---- */

struct reloading {
    int argc;
    char **argv;
    struct config *config; /* what crierd runs with */
    struct log *log;
    struct reactor *reactor;
};

static void log_problem(void *ctx, const char *sentence)
{
    const struct reloading *reloading = ctx;
    LOG_ERROR(reloading->log, "CONFIG-INVALID", "%s", sentence);
}

/* Reads one small local file on the reactor's thread, when an operator asks for it. */
static void reload(void *ctx)
{
    struct reloading *reloading = ctx;
    struct config wanted;
    if (!reloading->config->config_path)
        return;
    if (config_load(reloading->argc, reloading->argv, log_problem, reloading, &wanted) < 0) {
        LOG_ERROR(reloading->log, "CONFIG-KEPT", "nothing was changed; mend the file and send SIGHUP again");
        return;
    }
    config_change(reloading->config, &wanted, reloading->log);
    config_finish(&wanted);
    struct reactor_options options = reactor_options_from(reloading->config);
    reactor_reconfigure(reloading->reactor, &options);
}

/* ---- serving ---- */

static int serve(struct reloading *reloading, struct shutdown *shutdown, struct store *store)
{
    char error[512] = "";
    const struct config *config = reloading->config;
    struct reactor_options options = reactor_options_from(config);
    options.reload = reload;
    options.reload_ctx = reloading;
    int rc =
        reactor_create(&options, store, shutdown, reloading->log, &reloading->reactor, error, sizeof(error));
    for (unsigned i = 0; rc == 0 && i < config->listen.count; i++)
        rc = reactor_listen(reloading->reactor, config->listen.address[i], error, sizeof(error));
    int status = 1;
    if (rc < 0)
        fprintf(stderr, "crierd: %s\n", error);
    else
        status = reactor_run(reloading->reactor, announce);
    reactor_destroy(reloading->reactor);
    return status;
}

static int run(struct reloading *reloading)
{
    const struct config *config = reloading->config;
    malloc_setup();
    struct shutdown shutdown;
    int rc = shutdown_open(&shutdown, true);
    if (rc < 0) {
        fprintf(stderr, "crierd: signals: %s\n", strerror(-rc));
        return 1;
    }
    rc = log_open(config->log_file, config->log_format, config->log_level, &reloading->log);
    if (rc < 0) {
        fprintf(stderr, "crierd: the log file \"%s\" cannot be opened: %s\n", config->log_file,
                strerror(-rc));
        return 1;
    }
    struct store_options store_options = store_options_default();
    store_options.path = config->data;
    store_options.segment_size = config->segment_bytes;
    store_options.log = reloading->log;
    struct store *store = NULL;
    char error[512] = "";
    int status = 1;
    if (store_lmdb_open(&store_options, &store, error, sizeof(error)) < 0)
        fprintf(stderr, "crierd: %s\n", error);
    else
        status = serve(reloading, &shutdown, store);
    if (store)
        store->ops->close(store);
    log_close(reloading->log);
    return status;
}

int main(int argc, char **argv)
{
    struct config config;
    int rc = config_load(argc, argv, say, NULL, &config);
    if (rc < 0)
        return rc == -ECANCELED ? 0 : 2;
    struct reloading reloading = {.argc = argc, .argv = argv, .config = &config};
    int status = 0;
    if (config.check)
        puts("ok");
    else
        status = run(&reloading);
    config_finish(&config);
    return status;
}
