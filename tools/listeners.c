/* listeners.c: `crier listeners`: who listens to a topic or a pattern now, and with --follow who comes and goes.
 *
 * Thread:      main; libcrier's I/O thread brings the events, an iterator hands them over.
 * Happy path:  iterate "$presence." and the name -> those that are there -> (--follow) changes, a line each, until it is stopped
 * Failures:    no such name; a broker that is too old, or does not answer: a sentence, exit 1. */
#include "tools/command.h"
#include "tools/text.h"

#include "client/include/crier/iterator.h"
#include "client/include/crier/presence.h"

#include "base/check.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MS 10000

struct listeners_options {
    const char *url;
    bool follow, json;
};

static const struct option_row listeners_rows[] = {
    COMMAND_URL_ROW(struct listeners_options),
    {"follow", 'f', NULL, NULL, NULL, "Go on: a line for each that comes or goes.", options_flag,
     offsetof(struct listeners_options, follow)},
    {"json", 'j', NULL, NULL, NULL, "Print JSON, an object a line.", options_flag,
     offsetof(struct listeners_options, json)},
};

static const char *const words[] = {[CRIER_PRESENCE_BEGINS] = "",
                                    [CRIER_PRESENCE_THERE] = "is there",
                                    [CRIER_PRESENCE_JOINED] = "came",
                                    [CRIER_PRESENCE_LEFT] = "left"};
static const char *const keys[] = {[CRIER_PRESENCE_BEGINS] = "listeners",
                                   [CRIER_PRESENCE_THERE] = "listener",
                                   [CRIER_PRESENCE_JOINED] = "newListener",
                                   [CRIER_PRESENCE_LEFT] = "removeListener"};

static void print_json(const struct crier_presence *presence, int64_t timestamp_ms)
{
    json_t *json =
        json_pack("{s:s,s:s,s:I,s:I}", "what", keys[presence->what], "topic", presence->topic, "listeners",
                  (json_int_t)presence->listener_count, "time_ms", (json_int_t)timestamp_ms);
    if (presence->what == CRIER_PRESENCE_BEGINS)
        json_object_set_new(json, "told", json_integer(presence->told));
    else
        json_object_update_new(json, json_pack("{s:s,s:s,s:s}", "client", presence->client, "address",
                                               presence->address, "group", presence->group));
    json_dumpf(json, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(json);
}

static void print_text(const struct crier_presence *presence, int64_t timestamp_ms, bool follow)
{
    char count[TEXT_SIZE], when[TEXT_SIZE];
    if (presence->what == CRIER_PRESENCE_BEGINS) {
        printf("%s listener%s of %s\n", text_count(presence->listener_count, count),
               presence->listener_count == 1 ? "" : "s", presence->topic);
        if (presence->told < presence->listener_count)
            printf("%s of them:\n", text_count(presence->told, count));
        if (presence->told > 0 || follow)
            printf("\n%-24s  %-8s  %-24s  %-24s  %-24s  %-16s  %s\n", "TIME", "", "TOPIC", "LISTENER",
                   "ADDRESS", "GROUP", "COUNT");
        return;
    }
    printf("%-24s  %-8s  %-24s  %-24s  %-24s  %-16s  %s\n", text_time(timestamp_ms * 1000, when),
           words[presence->what], presence->topic, presence->client, presence->address, presence->group,
           text_count(presence->listener_count, count));
}

/* The next one, printed. wait_ms: 0: for ever. */
static int next_printed(crier_iterator *iterator, const struct listeners_options *options, int wait_ms,
                        struct crier_presence *ret_presence)
{
    crier_future *future;
    crier_result result = {0};
    int rc = crier_iterator_next(iterator, &future);
    if (rc < 0)
        return rc;
    rc = crier_future_wait(future, wait_ms, &result);
    rc = rc < 0 ? rc : result.code;
    const crier_event *event = rc == 0 ? result.pointer : NULL;
    if (rc == 0 && (!event || crier_presence_read(event, ret_presence) < 0))
        rc = CRIER_EPROTO;
    if (rc == 0 && options->json)
        print_json(ret_presence, event->timestamp_ms);
    else if (rc == 0)
        print_text(ret_presence, event->timestamp_ms, options->follow);
    (void)fflush(stdout);
    crier_future_release(future);
    return rc;
}

static int tell(crier_iterator *iterator, const struct listeners_options *options)
{
    struct crier_presence presence;
    int rc = next_printed(iterator, options, ANSWER_MS, &presence);
    uint32_t told = rc == 0 ? presence.told : 0;
    for (uint32_t i = 0; i < told && rc == 0; i++)
        rc = next_printed(iterator, options, ANSWER_MS, &presence);
    while (rc == 0 && options->follow && !ferror(stdout))
        rc = next_printed(iterator, options, -1, &presence);
    return rc;
}

static int listeners_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct listeners_options options = {.url = url};
    struct crier_options bus_options = command_bus_options("crier listeners");
    char name[CRIER_TOPIC_NAME_MAX + sizeof(CRIER_PRESENCE)];
    crier_iterator *iterator;
    crier *bus;
    bool lost = false;
    int first, status;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    bus_options.connection = command_connection;
    bus_options.ctx = &lost;
    if (argc - first != 1)
        return command_usage_error(command, first == argc ? "of which topic?" : "one topic or pattern only");
    (void)snprintf(name, sizeof(name), CRIER_PRESENCE "%s", argv[first]);
    if ((status = command_open(options.url, &bus_options, &bus)) != STATUS_DONE)
        return status;
    int rc = crier_iterate(bus, name, NULL, &iterator);
    if (rc == 0) {
        rc = tell(iterator, &options);
        crier_iterator_close(iterator);
    }
    if (rc == CRIER_EINVAL)
        status = command_bad_pattern(argv[first]);
    else if (rc < 0)
        status = command_failed("the broker at %s did not tell who listens to '%s': %s", options.url,
                                argv[first], crier_strerror(rc));
    return command_close(bus, status);
}

const struct command listeners_command = {
    .name = "listeners",
    .arguments = "TOPIC",
    .summary = "Show who listens to a topic",
    .text = "Shows who listens to a topic now, wherever they are connected; to a pattern: to\n"
            "each topic it matches. Of a group those that have a part of the topic.\n"
            "\n"
            "Examples:\n"
            "  crier listeners orders.placed\n"
            "  crier listeners 'orders.**' --follow\n"
            "  crier listeners orders.placed --follow --json | jq -r 'select(.listeners == 0).topic'",
    .rows = listeners_rows,
    .row_count = ARRAY_SIZE(listeners_rows),
    .run = listeners_run,
};
