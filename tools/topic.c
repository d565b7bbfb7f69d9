/* topic.c: `crier topic create`, `list` and `describe`: tables for people, --json for scripts.
 *
 * Thread:      main; the blocking calls of libcrier call print_* back on it or on its own thread, while main waits.
 * Happy path:  open -> one request -> print -> close.
 * Failures:    no such topic, exists already: a sentence with the command that helps, exit 1. */
#include "tools/command.h"
#include "tools/quota.h"
#include "tools/retention.h"
#include "tools/retry.h"
#include "tools/text.h"

#include "base/check.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define PARTITIONS_MAX 1024 /* of a topic (crier/crier.h) */

struct topic_options {
    const char *url;
    uint64_t partitions;
    enum crier_durability durability;
    struct retention_options retention;
    struct quota_options quota;
    uint64_t max_listeners;
    bool ephemeral, json;
    struct retry_options retry;
};

static const struct option_row create_rows[] = {
    COMMAND_URL_ROW(struct topic_options),
    {"partitions", 'p', NULL, "N", NULL,
     "How many logs the keys are spread over: 1 to 1024. Default: the broker's, 1.", option_count,
     offsetof(struct topic_options, partitions)},
    {"durability", 'd', NULL, "LEVEL", "durable", "durable or memory.", option_durability,
     offsetof(struct topic_options, durability)},
    RETENTION_ROWS(struct topic_options, retention),
    QUOTA_ROWS(struct topic_options, quota),
    {"max-listeners", 0, NULL, "N", NULL, "Warn, once, when it has more, and say who. Default: any number.",
     options_uint64, offsetof(struct topic_options, max_listeners)},
    {"ephemeral", 'e', NULL, NULL, NULL, "Keep nothing: events go to who listens just then, at most once.",
     options_flag, offsetof(struct topic_options, ephemeral)},
    RETRY_ROWS(struct topic_options, retry),
};

static const struct option_row show_rows[] = {
    COMMAND_URL_ROW(struct topic_options),
    {"json", 'j', NULL, NULL, NULL, "Print JSON.", options_flag, offsetof(struct topic_options, json)},
};

static const char *level_name(const struct crier_topic_info *info)
{
    return info->ephemeral ? "ephemeral" : durability_name(info->durability);
}

static uint64_t event_count(const struct crier_topic_info *info)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < info->partition_count; i++)
        count += info->partitions[i].high_watermark - info->partitions[i].log_start;
    return count;
}

/* ---- as tables ---- */

static void print_row(void *ctx, const struct crier_topic_info *info)
{
    char events[TEXT_SIZE], created[TEXT_SIZE];
    (void)ctx;
    printf("%-32s  %10" PRIu32 "  %15s  %-10s  %s\n", info->name, info->partition_count,
           text_count(event_count(info), events), level_name(info), text_time(info->created_us, created));
}

static void print_listeners(const struct crier_topic_info *info);

static void print_details(void *ctx, const struct crier_topic_info *info)
{
    char number[4][TEXT_SIZE], created[TEXT_SIZE];
    (void)ctx;

    char keeps[RETENTION_TEXT_SIZE], takes[QUOTA_TEXT_SIZE], most[48] = "";
    if (info->max_listeners)
        (void)snprintf(most, sizeof(most), ", a warning above %" PRIu32, info->max_listeners);
    printf("%s: %" PRIu32
           " partition%s, %s, created %s\nkeeps: %s\ntakes: %s\ndead letters: %s\nlisteners: %" PRIu32
           "%s\n\n",
           info->name, info->partition_count, info->partition_count == 1 ? "" : "s", level_name(info),
           text_time(info->created_us, created),
           info->ephemeral ? "nothing" : retention_text(&info->retention, keeps),
           quota_text(&info->quota, takes), info->dead_letter ? info->dead_letter : "-", info->listener_count,
           most);
    printf("%10s  %20s  %20s  %20s  %12s\n", "PARTITION", "LOG START", "HIGH WATERMARK", "EVENTS", "BYTES");
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct crier_partition_info *partition = &info->partitions[i];
        printf("%10" PRIu32 "  %20s  %20s  %20s  %12s\n", i, text_count(partition->log_start, number[0]),
               text_count(partition->high_watermark, number[1]),
               text_count(partition->high_watermark - partition->log_start, number[2]),
               text_bytes(partition->bytes, number[3]));
    }
    print_listeners(info);
}

static void print_listeners(const struct crier_topic_info *info)
{
    if (info->listeners_told == 0)
        return;
    printf("\n%-32s  %-24s  %s\n", "LISTENER", "ADDRESS", "GROUP");
    for (size_t i = 0; i < info->listeners_told; i++)
        printf("%-32s  %-24s  %s\n", info->listeners[i].client, info->listeners[i].address,
               info->listeners[i].group);
    if (info->listener_count > info->listeners_told)
        printf("and %zu more\n", info->listener_count - info->listeners_told);
}

/* ---- as JSON ---- */

/* A number, "none", or null: as the broker says. */
static json_t *quota_json(uint64_t most)
{
    if (most == CRIER_QUOTA_NONE)
        return json_string("none");
    return most ? json_integer((json_int_t)most) : json_null();
}

static json_t *topic_json(const struct crier_topic_info *info)
{
    json_t *partitions = json_array();
    for (uint32_t i = 0; i < info->partition_count; i++)
        json_array_append_new(
            partitions, json_pack("{s:I,s:I,s:I}", "log_start", (json_int_t)info->partitions[i].log_start,
                                  "high_watermark", (json_int_t)info->partitions[i].high_watermark, "bytes",
                                  (json_int_t)info->partitions[i].bytes));
    json_t *who = json_array();
    for (size_t i = 0; i < info->listeners_told; i++)
        json_array_append_new(who, json_pack("{s:s,s:s,s:s}", "client", info->listeners[i].client, "address",
                                             info->listeners[i].address, "group", info->listeners[i].group));
    const struct crier_retention *retention = &info->retention;
    json_t *keeps = json_pack("{s:I,s:I,s:I,s:b}", "time_ms", (json_int_t)retention->time_ms, "bytes",
                              (json_int_t)retention->bytes, "count", (json_int_t)retention->count,
                              "until_consumed", retention->until_consumed);
    json_t *takes = json_pack("{s:o,s:o}", "events_max", quota_json(info->quota.events_max), "bytes_max",
                              quota_json(info->quota.bytes_max));
    return json_pack("{s:s,s:s,s:b,s:I,s:I,s:o,s:I,s:I,s:o,s:o,s:s?,s:o}", "name", info->name, "durability",
                     durability_name(info->durability), "ephemeral", info->ephemeral, "listeners",
                     (json_int_t)info->listener_count, "max_listeners", (json_int_t)info->max_listeners,
                     "who", who, "created_us", (json_int_t)info->created_us, "events",
                     (json_int_t)event_count(info), "retention", keeps, "quota", takes, "dead_letter",
                     info->dead_letter, "partitions", partitions);
}

static void append_json(void *ctx, const struct crier_topic_info *info)
{
    json_array_append_new(ctx, topic_json(info));
}

static void print_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
}

/* ---- the commands ---- */

static int create_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct topic_options options = {.url = url};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first != 1)
        return command_usage_error(command, first == argc ? "which topic?" : "one topic only");
    if (!retention_options_valid(&options.retention))
        return command_usage_error(command, RETENTION_CONFLICT);
    if (options.ephemeral && retention_set(&options.retention))
        return command_usage_error(command, "--ephemeral keeps nothing: it has no limits");
    if (options.partitions > PARTITIONS_MAX)
        return command_usage_error(command, "--partitions: 1 to %d", PARTITIONS_MAX);

    struct crier_options bus_options = command_bus_options("crier topic");
    crier *bus;
    status = command_open(options.url, &bus_options, &bus);
    if (status != STATUS_DONE)
        return status;
    struct crier_topic_options topic = {
        .struct_size = sizeof(topic),
        .partitions = (uint32_t)options.partitions,
        .durability = options.durability,
        .retention = retention_of(&options.retention),
        .ephemeral = options.ephemeral,
        .quota = quota_of(&options.quota),
        .max_listeners = options.max_listeners > UINT32_MAX ? UINT32_MAX : (uint32_t)options.max_listeners,
        .retry = retry_of(&options.retry),
        .dead_letter = options.retry.dead_letter};
    int rc = crier_topic_create(bus, argv[first], &topic);
    if (rc == CRIER_EEXIST)
        status = command_failed("topic '%s' exists already; see: crier topic describe %s", argv[first],
                                argv[first]);
    else if (rc == CRIER_EINVAL && topic.dead_letter && topic.dead_letter[0])
        status = retry_refused(argv[first], topic.dead_letter);
    else if (rc == CRIER_EINVAL)
        status = command_bad_name(argv[first], NULL);
    else if (rc < 0)
        status = command_failed("cannot create topic '%s': %s", argv[first], crier_strerror(rc));
    else
        printf("created %s\n", argv[first]);
    return command_close(bus, status);
}

/* name NULL: every topic. */
static int show(const struct topic_options *options, const char *name)
{
    struct crier_options bus_options = command_bus_options("crier topic");
    json_t *array = json_array();
    crier *bus;
    int rc, status = command_open(options->url, &bus_options, &bus);

    if (status != STATUS_DONE)
        goto out;
    if (options->json) {
        rc = crier_topic_describe(bus, name, append_json, array);
    } else {
        if (name == NULL)
            printf("%-32s  %10s  %15s  %-10s  %s\n", "TOPIC", "PARTITIONS", "EVENTS", "DURABILITY",
                   "CREATED");
        rc = crier_topic_describe(bus, name, name == NULL ? print_row : print_details, NULL);
    }
    if (rc == CRIER_ENOTOPIC)
        status = command_failed("no topic '%s'; make it with: crier topic create %s", name, name);
    else if (rc == CRIER_EINVAL && name != NULL)
        status = command_bad_name(name, NULL);
    else if (rc < 0)
        status = command_failed("the broker at %s did not tell: %s", options->url, crier_strerror(rc));
    else if (options->json)
        print_json(name == NULL ? array : json_array_get(array, 0));
    status = command_close(bus, status);
out:
    json_decref(array);
    return status;
}

static int list_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct topic_options options = {.url = url};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first != argc)
        return command_usage_error(command, "it lists every topic; for one: crier topic describe %s",
                                   argv[first]);
    return show(&options, NULL);
}

static int describe_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct topic_options options = {.url = url};
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (argc - first != 1)
        return command_usage_error(command, first == argc ? "which topic?" : "one topic only");
    return show(&options, argv[first]);
}

const struct command topic_create_command = {
    .name = "topic create",
    .arguments = "TOPIC",
    .summary = "Make a topic",
    .text = "Makes a topic. Topics also come into being with their first event, if the broker\n"
            "allows it; then with the broker's defaults.\n"
            "\n"
            "What it keeps is everything, unless told otherwise; see also: crier topic alter\n"
            "\n"
            "Examples:\n"
            "  crier topic create orders.placed --partitions 4\n"
            "  crier topic create clicks --retention-time 24h --retention-bytes 10G\n"
            "  crier topic create prices.live --ephemeral --events-max 5000",
    .rows = create_rows,
    .row_count = ARRAY_SIZE(create_rows),
    .run = create_run,
};

const struct command topic_list_command = {
    .name = "topic list",
    .arguments = "",
    .summary = "List the topics",
    .text = "Lists the topics, with the number of events each holds.\n"
            "\n"
            "Examples:\n"
            "  crier topic list\n"
            "  crier topic list --json | jq -r '.[].name'",
    .rows = show_rows,
    .row_count = ARRAY_SIZE(show_rows),
    .run = list_run,
};

const struct command topic_describe_command = {
    .name = "topic describe",
    .arguments = "TOPIC",
    .summary = "Show a topic's partitions",
    .text = "Shows a topic's partitions: the first offset each still holds (log start) and\n"
            "the first that is not there yet (high watermark); what the topic keeps; what it\n"
            "takes in a second; and who listens to it just now, up to 32 of them.\n"
            "\n"
            "Example:\n"
            "  crier topic describe orders.placed",
    .rows = show_rows,
    .row_count = ARRAY_SIZE(show_rows),
    .run = describe_run,
};
