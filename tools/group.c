/* group.c: `crier group list`, `describe`, `seek`, `redrive` and `delete`: where groups stand, and moving them.
 *
 * Thread:      main; the blocking calls of libcrier call print_* back on it or on its own thread, while main waits.
 * Happy path:  open -> one request (describe without a topic: one per topic) -> print -> close.
 * Failures:    no such group, members in the way: a sentence that says what to do, exit 1. */
#include "tools/command.h"
#include "tools/from.h"
#include "tools/text.h"

#include "base/check.h"
#include "base/clock.h"

#include <crier/shared.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct group_options {
    const char *url;
    uint64_t partition; /* UINT64_MAX: all */
    uint64_t limit;     /* 0: all */
    bool json;
};

static const struct option_row show_rows[] = {
    COMMAND_URL_ROW(struct group_options),
    {"json", 'j', NULL, NULL, NULL, "Print JSON.", options_flag, offsetof(struct group_options, json)},
};

static const struct option_row seek_rows[] = {
    COMMAND_URL_ROW(struct group_options),
    {"partition", 'p', NULL, "N", NULL, "Only this partition, counted from 0. Default: all.", options_uint64,
     offsetof(struct group_options, partition)},
};

static const struct option_row redrive_rows[] = {
    COMMAND_URL_ROW(struct group_options),
    {"limit", 'n', NULL, "N", NULL, "At most so many. Default: all there are now.", option_count,
     offsetof(struct group_options, limit)},
    {"json", 'j', NULL, NULL, NULL, "Print JSON.", options_flag, offsetof(struct group_options, json)},
};

static const struct option_row delete_rows[] = {
    COMMAND_URL_ROW(struct group_options),
};

/* The `least` to `most` arguments of a command (ending with NULL), or NULL: *ret_status is to be returned. */
static char **take_arguments(const struct command *command, int argc, char **argv, int least, int most,
                             struct group_options *options, int *ret_status)
{
    int first;

    if (!command_parse(command, argc, argv, options, &first, ret_status))
        return NULL;
    if (argc - first >= least && argc - first <= most)
        return argv + first;
    *ret_status = command_usage_error(command, "it takes: %s", most > 0 ? command->arguments : "nothing");
    return NULL;
}

static int open_bus(const struct group_options *options, crier **ret_bus)
{
    struct crier_options bus_options = command_bus_options("crier group");
    return command_open(options->url, &bus_options, ret_bus);
}

/* ---- what there is to tell ---- */

/* Events the group has still to handle; UINT64_MAX: it has not begun, so nobody knows. */
static uint64_t partition_lag(const struct crier_group_partition *partition)
{
    if (!partition->has_position)
        return UINT64_MAX;
    uint64_t handled = partition->position + partition->done;
    return partition->high_watermark > handled ? partition->high_watermark - handled : 0;
}

static void print_row(void *ctx, const struct crier_group_info *info)
{
    (void)ctx;
    printf("%-32s  %10" PRIu32 "\n", info->name, info->member_count);
}

static const char *known_count(bool known, uint64_t count, char text[TEXT_SIZE])
{
    return known ? text_count(count, text) : "-";
}

/* Of a shared group no member has a partition: what is under way is told instead. */
static void print_shared(const char *topic, const struct crier_group_info *info)
{
    char number[4][TEXT_SIZE];

    printf("\n%s\n%10s  %20s  %20s  %20s  %12s  %8s  %8s\n", topic, "PARTITION", "POSITION", "HIGH WATERMARK",
           "LAG", "DONE BEHIND", "LEASED", "RETRIES");
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct crier_group_partition *partition = &info->partitions[i];
        printf("%10" PRIu32 "  %20s  %20s  %20s  %12s  %8" PRIu32 "  %8" PRIu32 "\n", i,
               known_count(partition->has_position, partition->position, number[0]),
               text_count(partition->high_watermark, number[1]),
               known_count(partition->has_position, partition_lag(partition), number[2]),
               text_count(partition->done, number[3]), partition->leased, partition->retries);
    }
}

static void print_partitions(const char *topic, const struct crier_group_info *info)
{
    char number[3][TEXT_SIZE];

    printf("\n%s\n%10s  %20s  %20s  %20s  %s\n", topic, "PARTITION", "POSITION", "HIGH WATERMARK", "LAG",
           "MEMBER");
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct crier_group_partition *partition = &info->partitions[i];
        const char *member = partition->member ? partition->member : "-";
        printf("%10" PRIu32 "  %20s  %20s  %20s  %s\n", i,
               known_count(partition->has_position, partition->position, number[0]),
               text_count(partition->high_watermark, number[1]),
               known_count(partition->has_position, partition_lag(partition), number[2]),
               *member ? member : "(unnamed)");
    }
}

static json_t *count_json(bool known, uint64_t count)
{
    return known ? json_integer((json_int_t)count) : json_null();
}

static json_t *partitions_json(const struct crier_group_info *info)
{
    json_t *partitions = json_array();
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct crier_group_partition *partition = &info->partitions[i];
        json_t *json = json_pack(
            "{s:o,s:I,s:o,s:s?}", "position", count_json(partition->has_position, partition->position),
            "high_watermark", (json_int_t)partition->high_watermark, "lag",
            count_json(partition->has_position, partition_lag(partition)), "member", partition->member);
        if (info->shared) {
            json_object_set_new(json, "done", json_integer((json_int_t)partition->done));
            json_object_set_new(json, "leased", json_integer(partition->leased));
            json_object_set_new(json, "retries", json_integer(partition->retries));
        }
        json_array_append_new(partitions, json);
    }
    return partitions;
}

static void append_json(void *ctx, const struct crier_group_info *info)
{
    json_array_append_new(
        ctx, json_pack("{s:s,s:I}", "name", info->name, "members", (json_int_t)info->member_count));
}

static void print_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
}

/* ---- list ---- */

static int list_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct group_options options = {.url = url};
    crier *bus;
    int rc, status;
    char **arguments = take_arguments(command, argc, argv, 0, 0, &options, &status);

    if (arguments == NULL || (status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    json_t *array = json_array();
    if (!options.json)
        printf("%-32s  %10s\n", "GROUP", "MEMBERS");
    rc = options.json ? crier_group_list(bus, append_json, array) : crier_group_list(bus, print_row, NULL);
    if (rc < 0)
        status = command_failed("the broker at %s did not tell: %s", options.url, crier_strerror(rc));
    else if (options.json)
        print_json(array);
    json_decref(array);
    return command_close(bus, status);
}

/* ---- describe ---- */

/* A group that is being described: first its topics are learnt, then each is asked for and told. */
struct description {
    char **topics; /* malloc'ed, as each of them */
    size_t topic_count;
    uint32_t member_count;
    bool failed;       /* out of memory */
    const char *topic; /* the one that is asked for */
    json_t *json;      /* object of topics; NULL: print */
};

static void learn_topics(void *ctx, const struct crier_group_info *info)
{
    struct description *description = ctx;

    description->member_count = info->member_count;
    description->topics = calloc(info->topic_count + 1, sizeof(char *));
    description->failed = description->topics == NULL;
    for (size_t i = 0; i < info->topic_count && !description->failed; i++) {
        char *topic = strdup(info->topics[i]);
        description->failed = topic == NULL;
        if (topic != NULL)
            description->topics[description->topic_count++] = topic;
    }
}

static void tell_topic(void *ctx, const struct crier_group_info *info)
{
    struct description *description = ctx;

    if (description->json != NULL)
        json_object_set_new(description->json, description->topic, partitions_json(info));
    else if (info->shared)
        print_shared(description->topic, info);
    else
        print_partitions(description->topic, info);
}

static int describe_failed(const char *name, const char *topic, int rc)
{
    if (rc == CRIER_ENOTOPIC)
        return command_failed("no topic '%s'; see: crier topic list", topic);
    if (rc == CRIER_EINVAL)
        return command_failed("no group '%s'; see: crier group list", name);
    return command_failed("the broker did not tell: %s", crier_strerror(rc));
}

/* topic NULL: all that the group has positions in. */
static int describe(crier *bus, const char *name, const char *topic, struct description *description)
{
    int rc = crier_group_describe(bus, name, NULL, learn_topics, description);
    size_t count = topic != NULL ? 1 : description->topic_count;

    if (rc < 0)
        return describe_failed(name, "", rc);
    if (description->failed)
        return command_failed("out of memory");
    if (description->json == NULL)
        printf("%s: %" PRIu32 " member%s\n", name, description->member_count,
               description->member_count == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++) {
        description->topic = topic != NULL ? topic : description->topics[i];
        rc = crier_group_describe(bus, name, description->topic, tell_topic, description);
        if (rc < 0)
            return describe_failed(name, description->topic, rc);
    }
    return STATUS_DONE;
}

static int describe_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct group_options options = {.url = url};
    struct description description = {0};
    crier *bus;
    int status;
    char **arguments = take_arguments(command, argc, argv, 1, 2, &options, &status);

    if (arguments == NULL || (status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    if (options.json)
        description.json = json_object();
    status = describe(bus, arguments[0], arguments[1], &description);
    if (description.json != NULL) {
        json_t *json = json_pack("{s:s,s:I,s:o}", "name", arguments[0], "members",
                                 (json_int_t)description.member_count, "topics", description.json);
        if (status == STATUS_DONE)
            print_json(json);
        json_decref(json);
    }
    for (size_t i = 0; i < description.topic_count; i++)
        free(description.topics[i]);
    free(description.topics);
    return command_close(bus, status);
}

/* ---- seek and delete ---- */

static int seek_failed(const char *name, const char *topic, const char *place, int rc)
{
    if (rc == CRIER_EBUSY)
        return command_failed("group '%s' has members listening to '%s'; stop them first", name, topic);
    if (rc == CRIER_ENOTOPIC)
        return command_failed("no topic '%s'; see: crier topic list", topic);
    if (rc == CRIER_EINVAL)
        return command_failed(
            "cannot move group '%s' to %s: no such partition, beyond its end, or a name that "
            "cannot be; see: crier topic describe %s",
            name, place, topic);
    return command_failed("cannot move group '%s': %s", name, crier_strerror(rc));
}

static int seek_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct group_options options = {.url = url, .partition = UINT64_MAX};
    struct crier_group_seek_options seek = crier_group_seek_options_default();
    struct from from;
    crier *bus;
    int rc, status;
    char **arguments = take_arguments(command, argc, argv, 3, 3, &options, &status);

    if (arguments == NULL)
        return status;
    if (from_parse(arguments[2], clock_wall_us(), &from) < 0)
        return command_usage_error(command, "'%s' is no place: earliest, latest, an offset or a time",
                                   arguments[2]);
    if (arguments[0][0] == '\0')
        return command_usage_error(command, "a group's name has at least one byte");
    if (options.partition != UINT64_MAX && options.partition > INT32_MAX)
        return command_usage_error(command, "--partition: %" PRIu64 " is too many", options.partition);
    if ((status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    seek.to = from.from;
    seek.value = from.value;
    if (options.partition != UINT64_MAX)
        seek.partition = (int32_t)options.partition;
    rc = crier_group_seek(bus, arguments[0], arguments[1], &seek);
    if (rc < 0)
        status = seek_failed(arguments[0], arguments[1], arguments[2], rc);
    else
        printf("moved %s on %s to %s\n", arguments[0], arguments[1], arguments[2]);
    return command_close(bus, status);
}

static int delete_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct group_options options = {.url = url};
    crier *bus;
    int rc, status;
    char **arguments = take_arguments(command, argc, argv, 1, 1, &options, &status);

    if (arguments == NULL || (status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    rc = crier_group_delete(bus, arguments[0]);
    if (rc == CRIER_EBUSY)
        status = command_failed("group '%s' has members; stop them first", arguments[0]);
    else if (rc == CRIER_EINVAL)
        status = command_failed("no group '%s'; see: crier group list", arguments[0]);
    else if (rc < 0)
        status = command_failed("cannot delete group '%s': %s", arguments[0], crier_strerror(rc));
    else
        printf("deleted %s\n", arguments[0]);
    return command_close(bus, status);
}

/* ---- redrive ---- */

static int redrive_failed(const char *topic, int rc)
{
    if (rc == CRIER_ENOTOPIC)
        return command_failed("no topic '%s'; see: crier topic list", topic);
    if (rc == CRIER_EBUSY)
        return command_failed("dead letters of '%s' are going back already", topic);
    if (rc == CRIER_ETIMEDOUT)
        return command_failed("no answer in time; dead letters of '%s' may still be going back", topic);
    return command_failed("cannot redrive '%s': %s; some may have gone back", topic, crier_strerror(rc));
}

static int redrive_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct group_options options = {.url = url};
    uint64_t moved = 0;
    crier *bus;
    int rc, status;
    char **arguments = take_arguments(command, argc, argv, 1, 1, &options, &status);

    if (arguments == NULL || (status = open_bus(&options, &bus)) != STATUS_DONE)
        return status;
    rc = crier_redrive(bus, arguments[0], options.limit, &moved);
    if (rc < 0) {
        status = redrive_failed(arguments[0], rc);
    } else if (options.json) {
        json_t *json = json_pack("{s:s,s:I}", "topic", arguments[0], "moved", (json_int_t)moved);
        print_json(json);
        json_decref(json);
    } else {
        printf("%" PRIu64 " dead letter%s back in %s\n", moved, moved == 1 ? " is" : "s are", arguments[0]);
    }
    return command_close(bus, status);
}

const struct command group_list_command = {
    .name = "group list",
    .arguments = "",
    .summary = "List the groups",
    .text = "Lists the groups, with the number of listeners each has now.\n"
            "\n"
            "Example:\n"
            "  crier group list --json | jq -r '.[].name'",
    .rows = show_rows,
    .row_count = ARRAY_SIZE(show_rows),
    .run = list_run,
};

const struct command group_describe_command = {
    .name = "group describe",
    .arguments = "GROUP [TOPIC]",
    .summary = "Show where a group stands and who has what",
    .text = "Shows, for each partition of a topic (or of all the group's topics), the group's\n"
            "position, how many events it is behind (lag), and whose the partition is now. Of\n"
            "a shared group: how many events behind its position are done, how many are\n"
            "leased to members now, and how many have failed and come again (retries).\n"
            "\n"
            "Examples:\n"
            "  crier group describe billing\n"
            "  crier group describe billing --json | jq '[.topics[][].lag] | add'",
    .rows = show_rows,
    .row_count = ARRAY_SIZE(show_rows),
    .run = describe_run,
};

const struct command group_seek_command = {
    .name = "group seek",
    .arguments = "GROUP TOPIC PLACE",
    .summary = "Move a group's position",
    .text = "Moves a group's position in a topic: to earliest, latest, an offset, a time\n"
            "(2026-01-31T12:00:00Z), or 15m for so long ago. The group must have no listeners\n"
            "on that topic. A group that is not there yet is made.\n"
            "\n"
            "Examples:\n"
            "  crier group seek billing orders.placed earliest       everything once more\n"
            "  crier group seek billing orders.placed 1h             the last hour once more\n"
            "  crier group seek billing orders.placed 42 --partition 0",
    .rows = seek_rows,
    .row_count = ARRAY_SIZE(seek_rows),
    .run = seek_run,
};

const struct command group_redrive_command = {
    .name = "group redrive",
    .arguments = "TOPIC",
    .summary = "Send a topic's dead letters back to it",
    .text = "Sends what shared groups gave up, the dead letters of a topic, back to it, as\n"
            "new events at its end: every group hears them again. See them first in\n"
            "$dead.TOPIC.\n"
            "\n"
            "Examples:\n"
            "  crier peek '$dead.payments' --format '%h %v'     which, and why\n"
            "  crier group redrive payments --limit 1           try one\n"
            "  crier group redrive payments --json | jq .moved",
    .rows = redrive_rows,
    .row_count = ARRAY_SIZE(redrive_rows),
    .run = redrive_run,
};

const struct command group_delete_command = {
    .name = "group delete",
    .arguments = "GROUP",
    .summary = "Forget a group and its positions",
    .text = "Forgets a group and all its positions. It must have no listeners.\n"
            "\n"
            "Example:\n"
            "  crier group delete billing",
    .rows = delete_rows,
    .row_count = ARRAY_SIZE(delete_rows),
    .run = delete_run,
};
