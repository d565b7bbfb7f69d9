/* config_clients.c: see config_clients.h. */
#include "broker/config_clients.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_MAX UINT64_C(1000000000)
#define BYTES_MAX  (UINT64_C(1) << 40)
#define FORM       "NAME=EVENTS:BYTES, each a number (5000, 10M), none, or nothing"

static size_t blanks_skip(const char **text, size_t size)
{
    while (size > 0 && strchr(" \t", **text)) {
        ++*text;
        size--;
    }
    while (size > 0 && strchr(" \t", (*text)[size - 1]))
        size--;
    return size;
}

static int number_parse(const char *text, size_t size, uint64_t most, uint64_t *ret_number)
{
    char copy[32];
    size = blanks_skip(&text, size);
    if (size >= sizeof(copy))
        return -EINVAL;
    memcpy(copy, text, size);
    copy[size] = '\0';
    *ret_number = strcmp(copy, "none") == 0 ? CONFIG_QUOTA_NONE : 0;
    if (size == 0 || *ret_number)
        return 0;
    return parse_size(copy, ret_number) < 0 || *ret_number == 0 || *ret_number > most ? -EINVAL : 0;
}

/* One of the list, without blanks around it. */
static int one_parse(struct config_client_quota *quota, const char *text, size_t size)
{
    const char *equals = memrchr(text, '=', size), *value = equals ? equals + 1 : text;
    size_t value_size = size - (size_t)(value - text), name_size = equals ? (size_t)(equals - text) : 0;
    const char *colon = memchr(value, ':', value_size), *end = value + value_size;
    name_size = blanks_skip(&text, name_size);
    if (name_size == 0 || name_size >= sizeof(quota->name))
        return -EINVAL;
    memcpy(quota->name, text, name_size);
    quota->name[name_size] = '\0';
    if (number_parse(value, (size_t)((colon ? colon : end) - value), EVENTS_MAX, &quota->events) < 0 ||
        number_parse(colon ? colon + 1 : end, colon ? (size_t)(end - colon - 1) : 0, BYTES_MAX,
                     &quota->bytes) < 0)
        return -EINVAL;
    return quota->events || quota->bytes ? 0 : -EINVAL;
}

static int one_add(struct config_client_quotas *quotas, const char *text, size_t size, char *error,
                   size_t error_size)
{
    struct config_client_quota quota = {0};
    if (one_parse(&quota, text, size) < 0) {
        snprintf(error, error_size, "'%.*s' is not " FORM "; a name has at most %d bytes", (int)size, text,
                 CONFIG_CLIENT_NAME_MAX);
        return -EINVAL;
    }
    for (unsigned i = 0; i < quotas->count; i++)
        if (strcmp(quotas->client[i].name, quota.name) == 0) {
            snprintf(error, error_size, "'%s' is there twice", quota.name);
            return -EINVAL;
        }
    if (quotas->count == CONFIG_CLIENT_QUOTAS_MAX) {
        snprintf(error, error_size, "at most %d names", CONFIG_CLIENT_QUOTAS_MAX);
        return -EINVAL;
    }
    quotas->client[quotas->count++] = quota;
    return 0;
}

int parse_client_quotas(void *target, const char *text, char *error, size_t error_size)
{
    int rc = 0;
    while (rc == 0 && *text) {
        size_t size = strcspn(text, ",");
        const char *one = text;
        size_t one_size = blanks_skip(&one, size);
        rc = one_add(target, one, one_size, error, error_size);
        text += size + (text[size] == ',');
    }
    return rc;
}

static void number_format(uint64_t number, bool bytes, char to[32])
{
    to[0] = '\0';
    if (number == CONFIG_QUOTA_NONE)
        snprintf(to, 32, "none");
    else if (number && bytes)
        format_size(number, to, 32);
    else if (number)
        snprintf(to, 32, "%" PRIu64, number);
}

void format_client_quotas(const struct config_client_quotas *quotas, char *to, size_t size)
{
    size_t used = 0;
    to[0] = '\0';
    for (unsigned i = 0; i < quotas->count; i++) {
        const struct config_client_quota *quota = &quotas->client[i];
        char events[32], bytes[32];
        number_format(quota->events, false, events);
        number_format(quota->bytes, true, bytes);
        used += (size_t)snprintf(to + used, size - used, "%s%s=%s%s%s", i ? ", " : "", quota->name, events,
                                 quota->bytes ? ":" : "", bytes);
    }
}
