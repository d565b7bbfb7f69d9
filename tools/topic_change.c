/* topic_change.c: `crier topic alter`, `delete`, `trim`, `purge` and `confirm-time`.
 *
 * Thread:      main.
 * Happy path:  open -> one request -> a line -> close.
 * Failures:    no such topic, settings that contradict each other: a sentence with the command that helps, exit 1. */
#include "tools/command.h"
#include "tools/from.h"
#include "tools/quota.h"
#include "tools/retention.h"
#include "tools/retry.h"

#include "base/check.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

struct change_options {
    const char *url;
    struct durability_option {
        bool given;
        enum crier_durability durability;
    } durability;
    struct retention_options retention;
    struct quota_options quota;
    struct retry_options retry;
    uint64_t max_listeners; /* UINT64_MAX: not given */
    const char *before;
    uint64_t partition;
};

static int parse_durability(void *target, const char *text, char *error, size_t error_size)
{
    struct durability_option *option = target;
    option->given = true;
    return option_durability(&option->durability, text, error, error_size);
}

static const struct option_row alter_rows[] = {
    COMMAND_URL_ROW(struct change_options),
    {"durability", 'd', NULL, "LEVEL", NULL, "durable or memory.", parse_durability,
     offsetof(struct change_options, durability)},
    RETENTION_ROWS(struct change_options, retention),
    {"no-retain-until-consumed", 0, NULL, NULL, NULL, "Events stay again.", options_flag,
     offsetof(struct change_options, retention) + offsetof(struct retention_options, until_removed)},
    QUOTA_ROWS(struct change_options, quota),
    {"max-listeners", 0, NULL, "N", NULL, "Warn, once, when it has more, and say who; 0: any number.",
     options_uint64, offsetof(struct change_options, max_listeners)},
    RETRY_ROWS(struct change_options, retry),
};

static const struct option_row url_rows[] = {COMMAND_URL_ROW(struct change_options)};

static const struct option_row trim_rows[] = {
    COMMAND_URL_ROW(struct change_options),
    {"before", 'b', NULL, "OFFSET|TIME", NULL,
     "What is before goes: an offset, a time or a duration ago. Default: all there is.", options_string,
     offsetof(struct change_options, before)},
    {"partition", 'p', NULL, "N", NULL, "Only in this partition, from 0. Default: in each.", options_uint64,
     offsetof(struct change_options, partition)},
};

/* ---- what they share ---- */

static int failed(const char *what, const char *name, int rc)
{
    if (rc == CRIER_ENOTOPIC)
        return command_failed("no topic '%s'; see: crier topic list", name);
    if (rc == CRIER_EINVAL && name[0] == '$')
        return command_failed("cannot %s topic '%s': it is the broker's own", what, name);
    if (rc == CRIER_EINVAL)
        return command_bad_name(name, NULL);
    if (rc == CRIER_ENOTSUP)
        return command_failed(
            "cannot %s topic '%s': it is ephemeral and keeps nothing; only --events-max and "
            "--bytes-max can be altered",
            what, name);
    return command_failed("cannot %s topic '%s': %s", what, name, crier_strerror(rc));
}

/* Parses, with one topic as the argument. True: go on. */
static bool begin(const struct command *command, int argc, char **argv, struct change_options *options,
                  const char **ret_name, int *ret_status)
{
    int first;
    if (!command_parse(command, argc, argv, options, &first, ret_status))
        return false;
    if (argc - first != 1) {
        *ret_status = command_usage_error(command, first == argc ? "which topic?" : "one topic only");
        return false;
    }
    *ret_name = argv[first];
    return true;
}

static int open_bus(const struct change_options *options, crier **ret_bus)
{
    struct crier_options bus_options = command_bus_options("crier topic");
    return command_open(options->url, &bus_options, ret_bus);
}

/* ---- alter ---- */

static int alter_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct change_options options = {.url = url, .max_listeners = UINT64_MAX};
    const char *name;
    int status;
    if (!begin(command, argc, argv, &options, &name, &status))
        return status;
    struct crier_topic_changes changes = {.struct_size = sizeof(changes),
                                          .set = retention_set(&options.retention) |
                                                 quota_set(&options.quota) | retry_set(&options.retry),
                                          .durability = options.durability.durability,
                                          .retention = retention_of(&options.retention),
                                          .quota = quota_of(&options.quota),
                                          .retry = retry_of(&options.retry),
                                          .dead_letter = options.retry.dead_letter};
    if (options.max_listeners != UINT64_MAX) {
        changes.set |= CRIER_SET_MAX_LISTENERS;
        changes.max_listeners =
            options.max_listeners > UINT32_MAX ? UINT32_MAX : (uint32_t)options.max_listeners;
    }
    if (options.durability.given)
        changes.set |= CRIER_SET_DURABILITY;
    if (changes.set == 0)
        return command_usage_error(command, "what is to be altered?");
    if (!retention_options_valid(&options.retention))
        return command_usage_error(command, RETENTION_CONFLICT);
    if (options.retention.until_consumed && options.retention.until_removed)
        return command_usage_error(command,
                                   "--retain-until-consumed or --no-retain-until-consumed, not both");
    crier *bus;
    if ((status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    int rc = crier_topic_alter(bus, name, &changes);
    if (rc == CRIER_EINVAL && changes.dead_letter && changes.dead_letter[0])
        status = retry_refused(name, changes.dead_letter);
    else if (rc < 0)
        status = failed("alter", name, rc);
    else
        printf("altered %s\n", name);
    return command_close(bus, status);
}

/* ---- delete ---- */

static int delete_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct change_options options = {.url = url};
    const char *name;
    crier *bus;
    int status;
    if (!begin(command, argc, argv, &options, &name, &status) ||
        (status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    int rc = crier_topic_delete(bus, name);
    if (rc < 0)
        status = failed("delete", name, rc);
    else
        printf("deleted %s\n", name);
    return command_close(bus, status);
}

/* ---- trim ---- */

static int trim_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct change_options options = {.url = url, .partition = UINT64_MAX};
    const char *name;
    int status;
    if (!begin(command, argc, argv, &options, &name, &status))
        return status;
    struct crier_topic_trim_options trim = crier_topic_trim_options_default();
    struct from from = {0};
    if (options.before && from_parse(options.before, clock_wall_us(), &from) < 0)
        return command_usage_error(command, "--before: an offset, a time or a duration ago");
    if (options.before && from.from == CRIER_OFFSET)
        trim.offset = (uint64_t)from.value;
    else if (options.before && from.from == CRIER_TIME)
        trim.time_us = from.value;
    else if (options.before)
        return command_usage_error(command, "--before: an offset, a time or a duration ago");
    if (options.partition != UINT64_MAX)
        trim.partition = options.partition <= INT32_MAX ? (int32_t)options.partition : INT32_MAX;
    crier *bus;
    if ((status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    int rc = crier_topic_trim(bus, name, &trim);
    if (rc == CRIER_EINVAL && options.partition != UINT64_MAX)
        status = command_failed("topic '%s' has no partition %" PRIu64 "; see: crier topic describe %s", name,
                                options.partition, name);
    else if (rc < 0)
        status = failed("trim", name, rc);
    else
        printf("trimmed %s\n", name);
    return command_close(bus, status);
}

/* ---- purge ---- */

static void count_events(void *ctx, const struct crier_topic_info *info)
{
    for (uint32_t i = 0; i < info->partition_count; i++)
        *(uint64_t *)ctx += info->partitions[i].high_watermark - info->partitions[i].log_start;
}

static int purge_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct change_options options = {.url = url};
    const char *name;
    uint64_t held = 0;
    crier *bus;
    int status;
    if (!begin(command, argc, argv, &options, &name, &status) ||
        (status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    int rc = crier_topic_describe(bus, name, count_events, &held);
    if (rc == 0)
        rc = crier_topic_trim(bus, name, NULL);
    if (rc < 0)
        status = failed("purge", name, rc);
    else
        printf("purged %s: about %" PRIu64 " event%s\n", name, held, held == 1 ? "" : "s");
    return command_close(bus, status);
}

/* ---- confirm-time ---- */

static int confirm_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct change_options options = {.url = url};
    int first, status;
    crier *bus;
    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first != argc)
        return command_usage_error(command, "it takes no argument");
    if ((status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    int rc = crier_confirm_time(bus);
    if (rc < 0)
        status = command_failed("the broker did not take it: %s", crier_strerror(rc));
    else
        printf("confirmed: what is too old goes again\n");
    return command_close(bus, status);
}

const struct command topic_alter_command = {
    .name = "topic alter",
    .arguments = "TOPIC",
    .summary = "Change what a topic keeps, takes, and does with what fails",
    .text = "Changes the settings that are given; the others stay. A limit is taken away with\n"
            "none. What goes is gone for every listener. Of an ephemeral topic only the limits\n"
            "of what is emitted can be changed. Another dead-letter topic is for what dies\n"
            "from then on; what is in the old one stays there: crier group redrive first.\n"
            "\n"
            "Examples:\n"
            "  crier topic alter clicks --retention-time 24h --retention-bytes none\n"
            "  crier topic alter jobs --retain-until-consumed\n"
            "  crier topic alter clicks --events-max 20000 --bytes-max 10M\n"
            "  crier topic alter jobs --deliveries 10 --dead-letter jobs.failed",
    .rows = alter_rows,
    .row_count = ARRAY_SIZE(alter_rows),
    .run = alter_run,
};

const struct command topic_delete_command = {
    .name = "topic delete",
    .arguments = "TOPIC",
    .summary = "Delete a topic",
    .text = "Deletes a topic, its events and the positions of groups in it. Who listens to it\n"
            "is told and gets nothing more.\n"
            "\n"
            "Example:\n"
            "  crier topic delete orders.placed",
    .rows = url_rows,
    .row_count = ARRAY_SIZE(url_rows),
    .run = delete_run,
};

const struct command topic_trim_command = {
    .name = "topic trim",
    .arguments = "TOPIC",
    .summary = "Remove a topic's oldest events",
    .text = "Removes the events before an offset or a time; without --before, all there are.\n"
            "The topic stays, and its offsets go on.\n"
            "\n"
            "Examples:\n"
            "  crier topic trim clicks --before 7d\n"
            "  crier topic trim clicks --before 1000000 --partition 0",
    .rows = trim_rows,
    .row_count = ARRAY_SIZE(trim_rows),
    .run = trim_run,
};

const struct command topic_purge_command = {
    .name = "topic purge",
    .arguments = "TOPIC",
    .summary = "Remove all events of a topic",
    .text = "Removes all events there are now, from every partition. The topic stays with its\n"
            "settings and its listeners, its offsets go on, and groups go on with what comes\n"
            "next. There is no way back; look first: crier peek TOPIC\n"
            "\n"
            "Example:\n"
            "  crier topic purge orders.test",
    .rows = url_rows,
    .row_count = ARRAY_SIZE(url_rows),
    .run = purge_run,
};

const struct command topic_confirm_command = {
    .name = "topic confirm-time",
    .arguments = "",
    .summary = "Say that the broker's clock is right",
    .text = "After a leap of the clock by more than five minutes, also over a restart, nothing\n"
            "goes for its age until somebody says that the clock is right.\n"
            "\n"
            "Example:\n"
            "  crier topic confirm-time",
    .rows = url_rows,
    .row_count = ARRAY_SIZE(url_rows),
    .run = confirm_run,
};
