/* config.c: puts a configuration together from the command line, the environment, a file and the defaults.
 *
 * Happy path:  arguments → environment → file → defaults → ranges; on SIGHUP all of it again, and config_change()
 * Failures:    each is a sentence that names where the value stands (--option, $VARIABLE, FILE:LINE: key) and what would
 *              do. All that is wrong with a file is said at once. On SIGHUP a bad file changes nothing. */
#include "broker/config.h"

#include "base/check.h"
#include "broker/config_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifndef CRIER_VERSION_TEXT
#error "CRIER_VERSION_TEXT comes from the build"
#endif

struct loading {
    config_report *report;
    void *ctx;
    const struct option_row *rows;
    size_t count;
    enum option_source sources[OPTIONS_MAX];
    struct config config;
    bool failed;
};

static void help(const struct loading *loading)
{
    printf("Usage: crierd [OPTION]...\n\n"
           "A publish/subscribe broker: durable topics for `crier://` clients.\n\n");
    options_help(loading->rows, loading->count, stdout);
    printf("\nA value is looked for on the command line, in the environment, in the file,\n"
           "among the defaults.\n\n"
           "Examples:\n"
           "  crierd                         serve 127.0.0.1:27437, data in ./crier-data\n"
           "  crierd --data /var/lib/crier --listen 0.0.0.0:27437 --log-format json\n"
           "  crierd --config /etc/crier/crierd.conf --check-config\n"
           "  crierd --listen 127.0.0.1:0    prints `listening on 127.0.0.1:PORT` when it\n"
           "                                 serves\n\n"
           "SIGTERM or SIGINT finishes what is in flight and stops; a second one stops at\n"
           "once. SIGHUP reopens the log and reads the configuration file again.\n");
}

/* One sentence: what it is about (where is "", or ends in ": "), and why. */
static void fail(struct loading *loading, const char *where, const char *why)
{
    char sentence[1024];
    snprintf(sentence, sizeof(sentence), "%s%s", where, why);
    loading->report(loading->ctx, sentence);
    loading->failed = true;
}

/* ---- the file ---- */

/* Checks a line for itself, in a configuration of its own: also what the command line overrules has to be right. */
static void setting_check(struct loading *loading, const struct config_setting *setting,
                          struct config *scratch, unsigned *lines)
{
    char where[512], reason[256] = "";
    const struct option_row *row = NULL;
    snprintf(where, sizeof(where), "%s:%u: %s: ", loading->config.config_path, setting->line, setting->key);
    for (size_t i = 0; i < loading->count; i++)
        if (strcmp(loading->rows[i].name, setting->key) == 0 && config_row_in_file(&loading->rows[i]))
            row = &loading->rows[i];
    if (!row) {
        fail(loading, where, "there is no such key; `crierd --help` names them");
        return;
    }
    unsigned *line = &lines[row - loading->rows];
    bool repeatable = row->offset == offsetof(struct config, listen) ||
                      row->offset == offsetof(struct config, client_quotas);
    if (*line && !repeatable) {
        snprintf(reason, sizeof(reason),
                 "is given on line %u already (a line that begins with a blank goes on with the one before)",
                 *line);
        fail(loading, where, reason);
        return;
    }
    *line = setting->line;
    if (row->parse((char *)scratch + row->offset, setting->value, reason, sizeof(reason)) < 0) {
        fail(loading, where, reason);
    } else if (!config_row_in_range(row, scratch)) {
        snprintf(reason, sizeof(reason), "is %s", config_row_range(row));
        fail(loading, where, reason);
    }
}

/* Takes what nobody gave before. The value has been checked. */
static void setting_take(struct loading *loading, const struct config_setting *setting)
{
    for (size_t i = 0; i < loading->count; i++) {
        const struct option_row *row = &loading->rows[i];
        char reason[256];
        if (strcmp(row->name, setting->key) != 0 ||
            (loading->sources[i] != OPTION_UNSET && loading->sources[i] != OPTION_FILE))
            continue;
        loading->sources[i] = OPTION_FILE;
        int rc = row->parse((char *)&loading->config + row->offset, setting->value, reason, sizeof(reason));
        CHECK(rc == 0);
    }
}

static void load_file(struct loading *loading)
{
    struct config *config = &loading->config, scratch = {0};
    unsigned lines[OPTIONS_MAX] = {0};
    if (config_file_read(config->config_path, loading->report, loading->ctx, &config->file) < 0)
        loading->failed = true;
    if (!config->file)
        return;
    for (struct config_setting *setting = config->file->first; setting; setting = setting->next)
        setting_check(loading, setting, &scratch, lines);
    for (struct config_setting *setting = config->file->first; setting && !loading->failed;
         setting = setting->next)
        setting_take(loading, setting);
}

/* ---- all of it ---- */

/* What the file gave has been checked, with its line; the defaults are ours. */
static void check_ranges(struct loading *loading)
{
    for (size_t i = 0; i < loading->count; i++) {
        const struct option_row *row = &loading->rows[i];
        char where[128], reason[128];
        bool environment = loading->sources[i] == OPTION_ENVIRONMENT;
        if ((!environment && loading->sources[i] != OPTION_ARGUMENT) ||
            config_row_in_range(row, &loading->config))
            continue;
        snprintf(where, sizeof(where), "%s%s ", environment ? "$" : "--",
                 environment ? row->environment : row->name);
        snprintf(reason, sizeof(reason), "is %s", config_row_range(row));
        fail(loading, where, reason);
    }
}

/* Values that are right each for itself, and not together. */
static void check_together(struct loading *loading)
{
    if (!loading->failed && loading->config.idle_us < 2 * loading->config.ping_us)
        fail(loading, "idle-timeout ",
             "is at least twice ping-interval: a quiet connection must have time to answer");
}

static int load(struct loading *loading, int argc, char **argv)
{
    char error[256] = "", asked = 0;
    struct config *config = &loading->config;
    int rc = options_from_arguments(loading->rows, loading->count, argc, argv, config, loading->sources,
                                    &asked, error, sizeof(error));
    if (rc == -ECANCELED && asked == 'h')
        help(loading);
    else if (rc == -ECANCELED)
        printf("crierd %s\n", CRIER_VERSION_TEXT);
    if (rc == -ECANCELED)
        return rc;
    if (rc >= 0 && rc < argc) {
        snprintf(error, sizeof(error), "unexpected argument \"%s\"; see --help", argv[rc]);
        rc = -EINVAL;
    }
    if (rc >= 0)
        rc = options_from_environment(loading->rows, loading->count, config, loading->sources, error,
                                      sizeof(error));
    if (rc >= 0 && config->config_path)
        load_file(loading);
    if (rc >= 0)
        rc = options_from_defaults(loading->rows, loading->count, config, loading->sources, error,
                                   sizeof(error));
    if (rc < 0)
        fail(loading, "", error);
    else
        check_ranges(loading);
    if (rc >= 0)
        check_together(loading);
    return loading->failed ? -EINVAL : 0;
}

int config_load(int argc, char **argv, config_report *report, void *ctx, struct config *ret_config)
{
    struct loading loading = {.report = report, .ctx = ctx};
    loading.rows = config_rows(&loading.count);
    int rc = load(&loading, argc, argv);
    if (rc < 0)
        config_finish(&loading.config);
    else
        *ret_config = loading.config;
    return rc;
}

void config_finish(struct config *config)
{
    config_file_free(config->file);
    config->file = NULL;
}

/* ---- changes ---- */

static void row_take(const struct option_row *row, struct config *running, const char *text)
{
    char reason[256];
    if (row->offset == offsetof(struct config, client_quotas))
        running->client_quotas.count = 0; /* a list: others are added to what is there */
    int rc = row->parse((char *)running + row->offset, text, reason, sizeof(reason));
    CHECK(rc == 0); /* it was written by config_row_text() */
}

void config_change(struct config *running, const struct config *wanted, struct log *log)
{
    size_t count, changed = 0, refused = 0;
    const struct option_row *rows = config_rows(&count);
    if (wanted->log_level <
        running->log_level) /* the more talkative of the two levels sees the lines below */
        log_set_level(log, wanted->log_level);
    for (size_t i = 0; i < count; i++) {
        char old[CONFIG_VALUE_SIZE], new[CONFIG_VALUE_SIZE];
        config_row_text(&rows[i], running, old);
        config_row_text(&rows[i], wanted, new);
        if (strcmp(old, new) == 0)
            continue;
        if (config_row_live(&rows[i])) {
            LOG_INFO(log, "CONFIG-CHANGED", "%s: %s -> %s", rows[i].name, old, new);
            row_take(&rows[i], running, new);
            changed++;
        } else {
            LOG_WARN(log, "CONFIG-REFUSED", "%s: needs a restart", rows[i].name);
            refused++;
        }
    }
    LOG_INFO(log, "CONFIG-READ", "%s: %zu changed, %zu refused", wanted->config_path, changed, refused);
    log_set_level(log, running->log_level);
    log_set_format(log, running->log_format);
}
