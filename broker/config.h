/* config.h: what crierd can be told, in one table: flags, environment variables, keys of the configuration file, --help,
 * the manual page and docs/configuration.md come from the same rows (config_table.c).
 *
 * A value is looked for on the command line, then in the environment, then in the file, then among the defaults.
 *
 * Thread: main; reading again on SIGHUP happens there too, between two turns of the reactor. */
#ifndef CRIER_BROKER_CONFIG_H
#define CRIER_BROKER_CONFIG_H

#include "base/log.h"
#include "base/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_LISTEN_MAX 8
#define CONFIG_VALUE_SIZE                                                                                    \
    (CONFIG_LISTEN_MAX * 130 + 4096) /* holds every value as text: addresses, or a path */

#define CONFIG_CLIENT_QUOTAS_MAX 32
#define CONFIG_CLIENT_NAME_MAX   62 /* bytes */
#define CONFIG_QUOTA_NONE        UINT64_MAX

struct config_file;

struct config {
    const char *config_path; /* NULL: no file */
    bool check;
    const char *data;
    struct config_listen {
        char address[CONFIG_LISTEN_MAX][128];
        unsigned count;
    } listen;
    struct config_client_quotas {
        struct config_client_quota {
            char name[CONFIG_CLIENT_NAME_MAX + 1];
            uint64_t events, bytes; /* 0: what holds for others; CONFIG_QUOTA_NONE: any number */
        } client[CONFIG_CLIENT_QUOTAS_MAX];
        unsigned count;
    } client_quotas;
    bool durability_memory;
    bool no_auto_create;
    enum log_format log_format;
    enum log_level log_level;
    const char *log_file; /* NULL: standard error */
    uint64_t connections_max, event_bytes_max, ingest_bytes_max, cache_bytes_max, segment_bytes,
        disk_free_min, listeners_max, topics_max, backlog_bytes_max, client_events_max, client_bytes_max,
        topic_events_max, topic_bytes_max;
    int64_t ping_us, idle_us, drain_us;
    struct config_file *file; /* owned; paths may point into it */
};

/* Told about each problem, as one sentence without a line end. */
typedef void config_report(void *ctx, const char *sentence);

/* 0: go on; config_finish() afterwards. -ECANCELED: --help or --version was answered on standard output.
 * -EINVAL: everything wrong was reported, and nothing is to be finished. May be called again with the same argv. */
int config_load(int argc, char **argv, config_report *report, void *ctx, struct config *ret_config);
void config_finish(struct config *config);

/* Takes over from `wanted` what can change while crierd runs, with a line in the log for each change, and one for each
 * refusal. Level and format of the log change here; the rest is up to the caller, who finds it in `running`. */
void config_change(struct config *running, const struct config *wanted, struct log *log);

/* ---- the table ---- */

const struct option_row *config_rows(size_t *ret_count);
bool config_row_in_file(const struct option_row *row);      /* it is a key of the file, too */
bool config_row_live(const struct option_row *row);         /* it can change on SIGHUP */
const char *config_row_range(const struct option_row *row); /* "1K to 8M"; NULL: none */
bool config_row_in_range(const struct option_row *row, const struct config *config);
/* The value as it would be written in the file; equal values have equal texts. "" stands for none. */
void config_row_text(const struct option_row *row, const struct config *config, char to[CONFIG_VALUE_SIZE]);

#endif
