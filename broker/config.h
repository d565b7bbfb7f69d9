/* config.h: what crierd can be told, in one table: flags, environment variables and --help come from the same rows.
 * Thread: main, before the reactor runs. */
#ifndef CRIER_BROKER_CONFIG_H
#define CRIER_BROKER_CONFIG_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_LISTEN_MAX 8

struct config {
    const char *data;
    struct config_listen {
        char address[CONFIG_LISTEN_MAX][128];
        unsigned count;
    } listen;
    bool durability_memory;
    bool no_auto_create;
    enum log_format log_format;
    enum log_level log_level;
    const char *log_file; /* NULL: standard error */
    uint64_t connections_max, event_bytes_max, ingest_bytes_max, cache_bytes_max, segment_bytes;
    int64_t drain_us;
};

/* 0: go on. 1: --help or --version was answered on standard output: exit 0. 2: wrong use, said on standard error: exit 2. */
int config_parse(int argc, char **argv, struct config *ret_config);

#endif
