/* request.c: `crier request`: asks whoever listens to a topic, and prints what comes back.
 *
 * Thread:      main; libcrier's I/O thread beside it.
 * Happy path:  open -> crier_request -> wait for its future -> print -> close.
 * Failures:    nobody listens, nobody replies in time, a reply says that it failed: a sentence, exit 1. */
#include "tools/command.h"

#include "base/check.h"
#include "client/include/crier/request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_SIZE_MAX (16u * 1024 * 1024)

struct request_options {
    const char *url, *key;
    int64_t timeout_us;
    uint64_t replies;
};

static const struct option_row request_rows[] = {
    COMMAND_URL_ROW(struct request_options),
    {"timeout", 't', NULL, "DURATION", "5s", "Wait so long for a reply.", options_duration,
     offsetof(struct request_options, timeout_us)},
    {"replies", 'n', NULL, "N", NULL,
     "Print so many replies, or those that came in time. Default: the first.", option_count,
     offsetof(struct request_options, replies)},
    {"key", 'k', NULL, "KEY", NULL, "The key of the event.", options_string,
     offsetof(struct request_options, key)},
};

/* One reply. Returns an enum exit_status. */
static int print(const char *topic, int code, const void *value, size_t size)
{
    if (code < 0)
        return command_failed("%s replied that it failed: %.*s (%s)", topic, (int)size, (const char *)value,
                              crier_strerror(code));
    fwrite(value, 1, size, stdout);
    putchar('\n');
    return STATUS_DONE;
}

static int print_all(const char *topic, const crier_result *results, size_t count)
{
    int status = STATUS_DONE;

    for (size_t i = 0; i < count; i++)
        if (print(topic, results[i].code, results[i].pointer, results[i].size) != STATUS_DONE)
            status = STATUS_FAILED;
    return status;
}

static int ask(crier *bus, const struct request_options *options, const char *topic, const void *value,
               size_t size)
{
    struct crier_request_options request = crier_request_options_default();
    crier_future *reply;
    crier_result result;
    int status;

    request.timeout_ms = (int)(options->timeout_us / 1000);
    request.replies = (uint32_t)options->replies;
    request.key = options->key;
    request.key_size = options->key ? strlen(options->key) : 0;
    int rc = crier_request(bus, topic, value, size, &request, &reply);
    if (rc == CRIER_EINVAL)
        return command_bad_name(topic, NULL);
    if (rc < 0)
        return command_failed("cannot ask '%s': %s", topic, crier_strerror(rc));
    rc = crier_future_wait(reply, -1, &result);
    if (rc == CRIER_ENOLISTENER)
        status = command_failed(
            "nobody listens to '%s'; somebody would with: crier on %s --reply --exec COMMAND", topic, topic);
    else if (rc < 0 && result.pointer == NULL)
        status = command_failed("no reply from '%s': %s", topic, crier_strerror(rc));
    else if (rc == 0 && options->replies > 0)
        status = print_all(topic, result.pointer, result.size);
    else
        status = print(topic, rc, result.pointer, result.size);
    crier_future_release(reply);
    return status;
}

/* All of standard input, malloc'ed. NULL: said. */
static char *read_all(size_t *ret_size)
{
    char *value = NULL;
    size_t size = 0, capacity = 0, got;

    do {
        if (size == capacity) {
            capacity = capacity ? 2 * capacity : 4096;
            char *grown = capacity > VALUE_SIZE_MAX ? NULL : realloc(value, capacity);
            if (grown == NULL) {
                free(value);
                command_failed("the standard input is larger than an event may be");
                return NULL;
            }
            value = grown;
        }
        got = fread(value + size, 1, capacity - size, stdin);
        size += got;
    } while (got > 0);
    if (ferror(stdin)) {
        command_failed("cannot read standard input: %s", strerror(errno));
        free(value);
        return NULL;
    }
    *ret_size = size;
    return value;
}

static int request_run(const struct command *command, const char *url, int argc, char **argv)
{
    struct request_options options = {.url = url};
    struct crier_options bus_options = command_bus_options("crier request");
    int first, status;
    crier *bus;

    if (!command_parse(command, argc, argv, &options, &first, &status))
        return status;
    if (first == argc || argc - first > 2)
        return command_usage_error(command, first == argc ? "which topic?" : "one topic and one value only");
    if (options.timeout_us < 1000 || options.timeout_us > INT32_MAX * INT64_C(1000))
        return command_usage_error(command, "--timeout: from 1ms to 596h");
    if (options.replies > 1000)
        return command_usage_error(command, "--replies: from 1 to 1000");
    const char *given = argc - first == 2 ? argv[first + 1] : "";
    size_t size = strlen(given);
    char *input = strcmp(given, "-") == 0 ? read_all(&size) : NULL;
    if (input == NULL && strcmp(given, "-") == 0)
        return STATUS_FAILED;
    status = command_open(options.url, &bus_options, &bus);
    if (status == STATUS_DONE)
        status = command_close(bus, ask(bus, &options, argv[first], input ? input : given, size));
    free(input);
    return status;
}

const struct command request_command = {
    .name = "request",
    .arguments = "TOPIC [VALUE | -]",
    .summary = "Ask, and print the reply",
    .text = "Emits VALUE (- is the standard input, to its end) as a request to TOPIC and prints\n"
            "the first reply, or with --replies so many. Exit status 1 if nobody listens, which\n"
            "is known at once, if nobody replies in time, or if a reply says that it failed.\n"
            "`crier on TOPIC --reply --exec COMMAND` replies.\n"
            "\n"
            "Examples:\n"
            "  crier request quotes 'one umbrella'\n"
            "  crier request quotes 'one umbrella' --replies 3 --timeout 200ms",
    .rows = request_rows,
    .row_count = ARRAY_SIZE(request_rows),
    .run = request_run,
};
