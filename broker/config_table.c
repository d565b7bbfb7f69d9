/* config_table.c: the one table of what crierd can be told, and what is known about each row: its range, whether it can
 * change while crierd runs, how its value is written. See config.h. Pure but for the parsers' errors.
 *
 * A new option is a row here, a field in struct config, and its use; `test_config_docs --write` (in a build's tests
 * folder) brings the manual page, docs/configuration.md and packaging/crierd.conf up to date. */
#include "broker/config_clients.h"

#include "base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const char *const durabilities[] = {"durable", "memory", NULL};
static const char *const log_formats[] = {[LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json", NULL};
static const char *const log_levels[] = {[LOG_LEVEL_DEBUG] = "debug",
                                         [LOG_LEVEL_INFO] = "info",
                                         [LOG_LEVEL_WARN] = "warn",
                                         [LOG_LEVEL_ERROR] = "error",
                                         NULL};

/* ---- text to value ---- */

/* "HOST:PORT" with a port there is, or "unix:/PATH" that a socket can have; getaddrinfo() and bind() would take 99999 for another
 * port, and an empty path for a name of their own. */
static bool address_valid(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return address[5] == '/' && strlen(address + 5) < sizeof(((struct sockaddr_un *)NULL)->sun_path);
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address)
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    return digits > 0 && digits <= 5 && colon[1 + digits] == '\0' && atoi(colon + 1) <= UINT16_MAX;
}

static int listen_add(struct config_listen *listen, const char *text, size_t size, char *error,
                      size_t error_size)
{
    if (listen->count == CONFIG_LISTEN_MAX || size == 0 || size >= sizeof(listen->address[0])) {
        snprintf(error, error_size, "at most %d addresses of 1 to 127 bytes", CONFIG_LISTEN_MAX);
        return -EINVAL;
    }
    char *address = listen->address[listen->count++];
    snprintf(address, sizeof(listen->address[0]), "%.*s", (int)size, text);
    if (address_valid(address))
        return 0;
    snprintf(error, error_size, "'%s' is not HOST:PORT (up to 65535) or unix:/PATH (up to %zu bytes)",
             address, sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    return -EINVAL;
}

/* One address, or several with commas and blanks between them. */
static int parse_listen(void *target, const char *text, char *error, size_t error_size)
{
    static const char blanks[] = " \t";
    int rc = 0;
    while (rc == 0) {
        text += strspn(text, blanks);
        size_t size = strcspn(text, ","), used = size;
        while (used > 0 && strchr(blanks, text[used - 1]))
            used--;
        rc = listen_add(target, text, used, error, error_size);
        if (text[size] == '\0')
            break;
        text += size + 1;
    }
    return rc;
}

static int parse_choice(const char *text, const char *const *names, char *error, size_t error_size)
{
    size_t used = 0;
    for (int i = 0; names[i]; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    for (size_t i = 0; names[i] && used < error_size; i++)
        used += (size_t)snprintf(error + used, error_size - used, "%s%s", i ? " or " : "one of ", names[i]);
    return -EINVAL;
}

static int parse_durability(void *target, const char *text, char *error, size_t error_size)
{
    int choice = parse_choice(text, durabilities, error, error_size);
    if (choice >= 0)
        *(bool *)target = choice == 1;
    return choice < 0 ? choice : 0;
}

static int parse_log_format(void *target, const char *text, char *error, size_t error_size)
{
    int choice = parse_choice(text, log_formats, error, error_size);
    if (choice >= 0)
        *(enum log_format *)target = (enum log_format)choice;
    return choice < 0 ? choice : 0;
}

static int parse_log_level(void *target, const char *text, char *error, size_t error_size)
{
    int choice = parse_choice(text, log_levels, error, error_size);
    if (choice >= 0)
        *(enum log_level *)target = (enum log_level)choice;
    return choice < 0 ? choice : 0;
}

/* A number of things rather than bytes: written back without a unit. */
static int parse_count(void *target, const char *text, char *error, size_t error_size)
{
    return options_uint64(target, text, error, error_size);
}

/* ---- the table ---- */

#define FIELD(name) offsetof(struct config, name)

static const struct option_row rows[] = {
    {"config", 'c', "CRIERD_CONFIG", "FILE", NULL,
     "a configuration file: lines `option = value`, the options being these; read again on SIGHUP",
     options_string, FIELD(config_path)},
    {"check-config", 0, NULL, NULL, NULL,
     "say \"ok\", or everything that is wrong with the configuration, and exit", options_flag, FIELD(check)},
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
     parse_count, FIELD(connections_max)},
    {"listeners-max", 0, "CRIERD_LISTENERS_MAX", "N", "1000000", "listeners beyond this are refused",
     parse_count, FIELD(listeners_max)},
    {"topics-max", 0, "CRIERD_TOPICS_MAX", "N", "1000000", "topics beyond this are not created", parse_count,
     FIELD(topics_max)},
    {"client-events-max", 0, "CRIERD_CLIENT_EVENTS_MAX", "N", "0",
     "events a second that one connection may emit; 0: any number", parse_count, FIELD(client_events_max)},
    {"client-bytes-max", 0, "CRIERD_CLIENT_BYTES_MAX", "SIZE", "0",
     "bytes of batches a second that one connection may emit; 0: any number", options_uint64,
     FIELD(client_bytes_max)},
    {"client-quota", 0, "CRIERD_CLIENT_QUOTA", "NAME=EVENTS:BYTES", NULL,
     "the same of all connections together whose client says this name, in the place of each one's own; "
     "none: any number; may be repeated",
     parse_client_quotas, FIELD(client_quotas)},
    {"topic-events-max", 0, "CRIERD_TOPIC_EVENTS_MAX", "N", "0",
     "events a second that may be emitted to one topic; 0: any number", parse_count, FIELD(topic_events_max)},
    {"topic-bytes-max", 0, "CRIERD_TOPIC_BYTES_MAX", "SIZE", "0",
     "bytes of batches a second that may be emitted to one topic; 0: any number", options_uint64,
     FIELD(topic_bytes_max)},
    {"event-size-max", 0, "CRIERD_EVENT_SIZE_MAX", "SIZE", "1M",
     "largest event taken: key, value and headers", options_uint64, FIELD(event_bytes_max)},
    {"ingest-memory", 0, "CRIERD_INGEST_MEMORY", "SIZE", "16M", "memory for events on their way to the disk",
     options_uint64, FIELD(ingest_bytes_max)},
    {"cache-memory", 0, "CRIERD_CACHE_MEMORY", "SIZE", "8M",
     "memory for the newest events, for listeners that keep up", options_uint64, FIELD(cache_bytes_max)},
    {"ephemeral-memory", 0, "CRIERD_EPHEMERAL_MEMORY", "SIZE", "256M",
     "memory for what slow listeners of ephemeral topics have not read yet", options_uint64,
     FIELD(backlog_bytes_max)},
    {"segment-size", 0, "CRIERD_SEGMENT_SIZE", "SIZE", "256M", "one file of the log", options_uint64,
     FIELD(segment_bytes)},
    {"disk-free-min", 0, "CRIERD_DISK_FREE_MIN", "SIZE", "256M",
     "with less left on the disk emits are refused; retention, deletion and positions go on; 0: never",
     options_uint64, FIELD(disk_free_min)},
    {"ping-interval", 0, "CRIERD_PING_INTERVAL", "DURATION", "5s",
     "a connection that is silent so long is pinged, by both ends", options_duration, FIELD(ping_us)},
    {"idle-timeout", 0, "CRIERD_IDLE_TIMEOUT", "DURATION", "15s",
     "one that is silent so long is closed, by both ends; at least twice --ping-interval", options_duration,
     FIELD(idle_us)},
    {"drain", 0, "CRIERD_DRAIN", "DURATION", "10s", "how long SIGTERM waits for what is in flight",
     options_duration, FIELD(drain_us)},
};

static const struct range {
    size_t field;
    uint64_t min, max;
    const char *text;
} ranges[] = {
    {FIELD(connections_max), 1, 1000000, "1 to 1000000"},
    {FIELD(listeners_max), 1, 100000000, "1 to 100000000"},
    {FIELD(topics_max), 1, 100000000, "1 to 100000000"},
    {FIELD(client_events_max), 0, 1000000000, "at most 1000000000"},
    {FIELD(client_bytes_max), 0, UINT64_C(1) << 40, "at most 1T"},
    {FIELD(topic_events_max), 0, 1000000000, "at most 1000000000"},
    {FIELD(topic_bytes_max), 0, UINT64_C(1) << 40, "at most 1T"},
    {FIELD(backlog_bytes_max), 1u << 20, UINT64_C(64) << 30, "1M to 64G"},
    {FIELD(event_bytes_max), 1024, 8u << 20, "1K to 8M"},
    {FIELD(ingest_bytes_max), 1u << 20, UINT64_C(4) << 30, "1M to 4G"},
    {FIELD(cache_bytes_max), 0, UINT64_C(64) << 30, "at most 64G"},
    {FIELD(segment_bytes), 64u << 20, UINT64_C(16) << 30, "64M to 16G"},
    {FIELD(disk_free_min), 0, UINT64_C(16) << 40, "at most 16T"},
    {FIELD(ping_us), 100000, UINT64_C(3600000000), "100ms to 1h"},
    {FIELD(idle_us), 200000, UINT64_C(7200000000), "200ms to 2h"},
    {FIELD(drain_us), 0, UINT64_C(3600000000), "at most 1h"},
};

/* What nothing that runs has been built from. */
static const size_t live[] = {
    FIELD(durability_memory), FIELD(no_auto_create),   FIELD(log_format),        FIELD(log_level),
    FIELD(connections_max),   FIELD(event_bytes_max),  FIELD(drain_us),          FIELD(disk_free_min),
    FIELD(listeners_max),     FIELD(topics_max),       FIELD(backlog_bytes_max), FIELD(client_events_max),
    FIELD(client_bytes_max),  FIELD(topic_events_max), FIELD(topic_bytes_max),   FIELD(client_quotas)};

const struct option_row *config_rows(size_t *ret_count)
{
    *ret_count = ARRAY_SIZE(rows);
    return rows;
}

bool config_row_in_file(const struct option_row *row)
{
    return row->offset != FIELD(config_path) && row->offset != FIELD(check);
}

bool config_row_live(const struct option_row *row)
{
    for (size_t i = 0; i < ARRAY_SIZE(live); i++)
        if (live[i] == row->offset)
            return true;
    return false;
}

static const struct range *range_find(const struct option_row *row)
{
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
        if (ranges[i].field == row->offset)
            return &ranges[i];
    return NULL;
}

const char *config_row_range(const struct option_row *row)
{
    const struct range *range = range_find(row);
    return range ? range->text : NULL;
}

/* ---- value to text ---- */

static const void *field_of(const struct config *config, const struct option_row *row)
{
    return (const char *)config + row->offset;
}

bool config_row_in_range(const struct option_row *row, const struct config *config)
{
    const struct range *range = range_find(row);
    if (!range)
        return true;
    uint64_t value; /* of an int64_t, too: a duration that was parsed is never negative */
    memcpy(&value, field_of(config, row), sizeof(value));
    return value >= range->min && value <= range->max;
}

static void format_listen(const struct config_listen *listen, char *to, size_t size)
{
    size_t used = 0;
    to[0] = '\0';
    for (unsigned i = 0; i < listen->count; i++)
        used += (size_t)snprintf(to + used, size - used, "%s%s", i ? ", " : "", listen->address[i]);
}

void config_row_text(const struct option_row *row, const struct config *config, char to[CONFIG_VALUE_SIZE])
{
    const void *field = field_of(config, row);
    const char *name = NULL;
    if (row->parse == options_string)
        name = *(const char *const *)field ? *(const char *const *)field : "";
    else if (row->parse == options_flag)
        name = *(const bool *)field ? "yes" : "no";
    else if (row->parse == parse_durability)
        name = durabilities[*(const bool *)field];
    else if (row->parse == parse_log_format)
        name = log_formats[*(const enum log_format *)field];
    else if (row->parse == parse_log_level)
        name = log_levels[*(const enum log_level *)field];
    else if (row->parse == parse_listen)
        format_listen(field, to, CONFIG_VALUE_SIZE);
    else if (row->parse == parse_client_quotas)
        format_client_quotas(field, to, CONFIG_VALUE_SIZE);
    else if (row->parse == options_duration)
        format_duration_us(*(const int64_t *)field, to, CONFIG_VALUE_SIZE);
    else if (row->parse == parse_count)
        snprintf(to, CONFIG_VALUE_SIZE, "%" PRIu64, *(const uint64_t *)field);
    else
        format_size(*(const uint64_t *)field, to, CONFIG_VALUE_SIZE);
    if (name)
        snprintf(to, CONFIG_VALUE_SIZE, "%s", name);
}
