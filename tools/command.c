/* command.c: what the commands of `crier` share. See command.h.
 *
 * Thread:    main.
 * Failures:  everything a person can get wrong ends in one sentence that says what to do next. */
#include "tools/command.h"

#include "base/check.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A broker is ready within 100 ms of its start: enough for a script that has only just started one. */
#define CONNECT_TIMEOUT_MS 1000

static void command_help(const struct command *command)
{
    printf("usage: crier %s [OPTION]...%s%s\n\n%s\n\nOptions:\n", command->name,
           *command->arguments != '\0' ? " " : "", command->arguments, command->text);
    options_help(command->rows, command->row_count, stdout);
}

bool command_parse(const struct command *command, int argc, char **argv, void *target, int *ret_first,
                   int *ret_status)
{
    char asked = 0, error[256];
    int first =
        options_parse(command->rows, command->row_count, argc, argv, target, &asked, error, sizeof(error));

    if (first == -ECANCELED) {
        if (asked == 'h')
            command_help(command);
        else
            printf("crier %s\n", CRIER_VERSION);
        *ret_status = STATUS_DONE;
        return false;
    }
    if (first < 0) {
        *ret_status = command_usage_error(command, "%s", error);
        return false;
    }
    *ret_first = first;
    return true;
}

int command_usage_error(const struct command *command, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "crier %s: ", command->name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nusage: crier %s [OPTION]... %s\nMore: crier %s --help\n", command->name,
            command->arguments, command->name);
    return STATUS_USAGE;
}

int command_failed(const char *format, ...)
{
    va_list arguments;

    fputs("crier: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return STATUS_FAILED;
}

int command_output_lost(void)
{
    int error = errno;
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (error == 0 && poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0)
        error = EPIPE; /* of a pipe: nobody reads it */
    if (error == EPIPE)
        return STATUS_FAILED;
    return command_failed("cannot write the output%s%s", error != 0 ? ": " : "",
                          error != 0 ? strerror(error) : "");
}

int command_bad_pattern(const char *pattern)
{
    command_failed(
        "'%s' is no topic name, and no pattern to listen to: a whole level is * (any one level), or the "
        "last one ** (any number of levels); no group, and no offset to start from",
        pattern);
    return STATUS_USAGE;
}

bool command_is_local(const char *topic)
{
    static const char *const local[] = {"error", "newListener", "removeListener", CRIER_ERROR_MONITOR,
                                        CRIER_WARNING};

    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        if (strcmp(topic, local[i]) == 0)
            return true;
    return false;
}

int command_bad_name(const char *topic, const char *group)
{
    const char * or = group != NULL ? " (or the group's is none)" : "";
    command_failed(
        "'%s' is no topic name%s: 1 to %d bytes of UTF-8, levels split by '.', no '*' and no spaces; "
        "not starting with '$'; error, newListener and removeListener are local to each bus",
        topic, or, CRIER_TOPIC_NAME_MAX);
    return STATUS_USAGE;
}

struct crier_options command_bus_options(const char *name)
{
    struct crier_options options = crier_options_default();
    options.name = name;
    options.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    return options;
}

void command_connection(crier *bus, bool connected, const char *text, void *ctx)
{
    bool *lost = ctx;
    (void)bus;

    if (!connected && !*lost)
        fprintf(stderr, "crier: the connection was lost%s%s; trying again\n", text != NULL ? ": " : "",
                text != NULL ? text : "");
    if (connected && *lost)
        fprintf(stderr, "crier: connected again\n");
    *lost = !connected;
}

int command_open(const char *url, const struct crier_options *options, crier **ret_bus)
{
    struct crier_options with_text = options ? *options : crier_options_default();
    char text[512] = "";

    with_text.error_text = text;
    with_text.error_text_size = sizeof(text);
    if (strncmp(url, "local:", 6) == 0) {
        command_failed("'%s' is a bus of this process alone: nobody would hear it; write crier://HOST:PORT, "
                       "unix:/PATH or embed:FOLDER",
                       url);
        return STATUS_USAGE;
    }
    int rc = crier_open(url, &with_text, ret_bus);
    if (rc < 0 && strncmp(url, "embed:", 6) == 0) {
        command_failed("%s", text);
        return rc == CRIER_EINVAL ? STATUS_USAGE : STATUS_FAILED;
    }
    switch (rc) {
    case CRIER_OK:
        return STATUS_DONE;
    case CRIER_ECONNECT:
    case CRIER_ETIMEDOUT:
        return command_failed("no broker answers at %s%s%s%s; start one with: crierd --data ./data", url,
                              *text ? " (" : "", text, *text ? ")" : "");
    case CRIER_EPROTO:
        return command_failed("what answers at %s is no crier broker; is the port right?", url);
    case CRIER_EINVAL:
        command_failed("'%s' is not the URL of a broker; write crier://HOST:PORT, unix:/PATH or embed:FOLDER",
                       url);
        return STATUS_USAGE;
    case CRIER_ENOTSUP:
        command_failed("'%s' is not supported by this command; write crier://HOST:PORT or unix:/PATH", url);
        return STATUS_USAGE;
    default:
        return command_failed("%s: %s", url, text);
    }
}

int command_close(crier *bus, int status)
{
    int rc = crier_close(bus);
    if (rc < 0 && status == STATUS_DONE)
        return command_failed("while closing: %s", crier_strerror(rc));
    return status;
}

static const char *const durability_names[] = {[CRIER_DURABLE] = "durable", [CRIER_MEMORY] = "memory"};

int option_durability(void *target, const char *text, char *error, size_t error_size)
{
    for (size_t i = 0; i < sizeof(durability_names) / sizeof(durability_names[0]); i++) {
        if (strcmp(text, durability_names[i]) == 0) {
            *(enum crier_durability *)target = (enum crier_durability)i;
            return 0;
        }
    }
    snprintf(error, error_size, "'%s' is no durability; it is one of: durable, memory", text);
    return -EINVAL;
}

int option_compression(void *target, const char *text, char *error, size_t error_size)
{
    static const struct {
        const char *name;
        enum crier_compression compression;
    } known[] = {
        {"none", CRIER_COMPRESSION_NONE}, {"lz4", CRIER_COMPRESSION_LZ4}, {"zstd", CRIER_COMPRESSION_ZSTD}};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (strcmp(text, known[i].name) != 0)
            continue;
        *(enum crier_compression *)target = known[i].compression;
        return 0;
    }
    snprintf(error, error_size, "'%s' is none of: lz4, zstd, none", text);
    return -EINVAL;
}

int option_count(void *target, const char *text, char *error, size_t error_size)
{
    int rc = options_uint64(target, text, error, error_size);
    if (rc == 0 && *(uint64_t *)target == 0) {
        snprintf(error, error_size, "at least 1");
        return -EINVAL;
    }
    return rc;
}

int option_period(void *target, const char *text, char *error, size_t error_size)
{
    int rc = options_duration(target, text, error, error_size);
    if (rc == 0 && *(int64_t *)target == 0) {
        snprintf(error, error_size, "more than 0");
        return -EINVAL;
    }
    return rc;
}

const char *durability_name(enum crier_durability durability)
{
    return durability == CRIER_MEMORY ? durability_names[CRIER_MEMORY] : durability_names[CRIER_DURABLE];
}
