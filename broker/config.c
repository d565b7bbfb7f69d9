/* config.c: see config.h. */
#include "broker/config.h"

#include "base/check.h"
#include "base/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifndef CRIER_VERSION_TEXT
#error "CRIER_VERSION_TEXT comes from the build"
#endif

static int listen_add(struct config_listen *listen, const char *text, size_t size, char *error,
                      size_t error_size)
{
    if (listen->count == CONFIG_LISTEN_MAX || size == 0 || size >= sizeof(listen->address[0])) {
        snprintf(error, error_size, "at most %d addresses of 1 to 127 bytes", CONFIG_LISTEN_MAX);
        return -EINVAL;
    }
    snprintf(listen->address[listen->count++], sizeof(listen->address[0]), "%.*s", (int)size, text);
    return 0;
}

/* One address, or several with commas (as in the environment variable). */
static int parse_listen(void *target, const char *text, char *error, size_t error_size)
{
    int rc = 0;
    while (rc == 0) {
        size_t size = strcspn(text, ",");
        rc = listen_add(target, text, size, error, error_size);
        if (text[size] == '\0')
            break;
        text += size + 1;
    }
    return rc;
}

static int parse_choice(const char *text, const char *const *names, size_t count, char *error,
                        size_t error_size)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return (int)i;
    for (size_t i = 0; i < count && used < error_size; i++)
        used += (size_t)snprintf(error + used, error_size - used, "%s%s", i ? " or " : "one of ", names[i]);
    return -EINVAL;
}

static int parse_durability(void *target, const char *text, char *error, size_t error_size)
{
    static const char *const names[] = {"durable", "memory"};
    int choice = parse_choice(text, names, ARRAY_SIZE(names), error, error_size);
    if (choice >= 0)
        *(bool *)target = choice == 1;
    return choice < 0 ? choice : 0;
}

static int parse_log_format(void *target, const char *text, char *error, size_t error_size)
{
    static const char *const names[] = {"text", "json"};
    int choice = parse_choice(text, names, ARRAY_SIZE(names), error, error_size);
    if (choice >= 0)
        *(enum log_format *)target = choice == 1 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    return choice < 0 ? choice : 0;
}

static int parse_log_level(void *target, const char *text, char *error, size_t error_size)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    int choice = parse_choice(text, names, ARRAY_SIZE(names), error, error_size);
    if (choice >= 0)
        *(enum log_level *)target = (enum log_level)choice;
    return choice < 0 ? choice : 0;
}

#define FIELD(name) offsetof(struct config, name)

static const struct option_row rows[] = {
    {"data", 'd', "CRIERD_DATA", "DIR", "./crier-data",
     "the data folder; created if missing, used by one broker at a time", options_string, FIELD(data)},
    {"listen", 'l', "CRIERD_LISTEN", "HOST:PORT", "127.0.0.1:27437",
     "where to listen, or unix:/PATH; may be repeated; port 0 takes a free one and prints it", parse_listen,
     FIELD(listen)},
    {"durability", 0, "CRIERD_DURABILITY", "LEVEL", "durable",
     "what new topics suggest to emitters: durable (on disk before the ack) or memory", parse_durability,
     FIELD(durability_memory)},
    {"no-auto-create", 0, "CRIERD_NO_AUTO_CREATE", NULL, NULL, "topics exist only after `crier topic create`",
     options_flag, FIELD(no_auto_create)},
    {"log-file", 0, "CRIERD_LOG_FILE", "FILE", NULL,
     "log there instead of standard error; reopened on SIGHUP", options_string, FIELD(log_file)},
    {"log-format", 0, "CRIERD_LOG_FORMAT", "FORMAT", "text", "text or json", parse_log_format,
     FIELD(log_format)},
    {"log-level", 0, "CRIERD_LOG_LEVEL", "LEVEL", "info", "debug, info, warn or error", parse_log_level,
     FIELD(log_level)},
    {"connections-max", 0, "CRIERD_CONNECTIONS_MAX", "N", "20000", "connections beyond this are refused",
     options_uint64, FIELD(connections_max)},
    {"event-size-max", 0, "CRIERD_EVENT_SIZE_MAX", "SIZE", "1M",
     "largest event taken: key, value and headers", options_uint64, FIELD(event_bytes_max)},
    {"ingest-memory", 0, "CRIERD_INGEST_MEMORY", "SIZE", "16M", "memory for events on their way to the disk",
     options_uint64, FIELD(ingest_bytes_max)},
    {"cache-memory", 0, "CRIERD_CACHE_MEMORY", "SIZE", "8M",
     "memory for the newest events, for listeners that keep up", options_uint64, FIELD(cache_bytes_max)},
    {"segment-size", 0, "CRIERD_SEGMENT_SIZE", "SIZE", "256M", "one file of the log", options_uint64,
     FIELD(segment_bytes)},
    {"drain", 0, "CRIERD_DRAIN", "DURATION", "10s", "how long SIGTERM waits for what is in flight",
     options_duration, FIELD(drain_us)},
};

static void help(void)
{
    printf("Usage: crierd [OPTION]...\n\n"
           "A publish/subscribe broker: durable topics for `crier://` clients.\n\n");
    options_help(rows, ARRAY_SIZE(rows), stdout);
    printf(
        "\nExamples:\n"
        "  crierd                                     serve 127.0.0.1:27437, data in ./crier-data\n"
        "  crierd --data /var/lib/crier --listen 0.0.0.0:27437 --log-format json\n"
        "  crierd --listen 127.0.0.1:0                prints `listening on 127.0.0.1:PORT` when it serves\n\n"
        "SIGTERM or SIGINT finishes what is in flight and stops; a second one stops at once. SIGHUP reopens "
        "the log.\n");
}

static const char *range_problem(const struct config *config)
{
    if (config->event_bytes_max < 1024 || config->event_bytes_max > 8u << 20)
        return "--event-size-max is 1K to 8M";
    if (config->ingest_bytes_max < 1u << 20 || config->ingest_bytes_max > 4ull << 30)
        return "--ingest-memory is 1M to 4G";
    if (config->cache_bytes_max > 64ull << 30)
        return "--cache-memory is at most 64G";
    if (config->segment_bytes < 64u << 20 || config->segment_bytes > 16ull << 30)
        return "--segment-size is 64M to 16G";
    if (config->connections_max < 1 || config->connections_max > 1000000)
        return "--connections-max is 1 to 1000000";
    if (config->drain_us > INT64_C(3600000000))
        return "--drain is at most 1h";
    return NULL;
}

int config_parse(int argc, char **argv, struct config *ret_config)
{
    char error[256] = "";
    char asked = 0;
    *ret_config = (struct config){0};
    int rc = options_parse(rows, ARRAY_SIZE(rows), argc, argv, ret_config, &asked, error, sizeof(error));
    if (rc == -ECANCELED && asked == 'h') {
        help();
        return 1;
    }
    if (rc == -ECANCELED) {
        printf("crierd %s\n", CRIER_VERSION_TEXT);
        return 1;
    }
    if (rc >= 0 && rc < argc)
        snprintf(error, sizeof(error), "unexpected argument \"%s\"", argv[rc]);
    else if (rc >= 0 && range_problem(ret_config))
        snprintf(error, sizeof(error), "%s", range_problem(ret_config));
    else if (rc >= 0)
        return 0;
    fprintf(stderr, "crierd: %s\nTry `crierd --help`.\n", error);
    return 2;
}
