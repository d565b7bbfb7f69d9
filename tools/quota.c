/* quota.c: see quota.h. */
#include "tools/quota.h"

#include "tools/text.h"

#include <stdio.h>
#include <string.h>

int option_quota(void *target, const char *text, char *error, size_t error_size)
{
    struct quota_limit *limit = target;
    limit->given = true;
    limit->value = strcmp(text, "none") == 0 ? CRIER_QUOTA_NONE : 0;
    if (limit->value || strcmp(text, "default") == 0)
        return 0;
    int rc = options_uint64(&limit->value, text, error, error_size);
    if (rc == 0 && limit->value == 0) {
        (void)snprintf(error, error_size, "at least 1; or none, or default");
        return -1;
    }
    return rc;
}

struct crier_quota quota_of(const struct quota_options *options)
{
    return (struct crier_quota){.events_max = options->events.value, .bytes_max = options->bytes.value};
}

unsigned quota_set(const struct quota_options *options)
{
    return (options->events.given ? CRIER_SET_EVENTS_MAX : 0) |
           (options->bytes.given ? CRIER_SET_BYTES_MAX : 0);
}

const char *quota_text(const struct crier_quota *quota, char to[QUOTA_TEXT_SIZE])
{
    char events[TEXT_SIZE] = "any number of", bytes[TEXT_SIZE] = "any number of bytes";
    if (!quota->events_max && !quota->bytes_max)
        return "as the broker says";
    if (!quota->events_max)
        (void)snprintf(events, sizeof(events), "the broker's number of");
    else if (quota->events_max != CRIER_QUOTA_NONE)
        text_count(quota->events_max, events);
    if (!quota->bytes_max)
        (void)snprintf(bytes, sizeof(bytes), "the broker's bytes");
    else if (quota->bytes_max != CRIER_QUOTA_NONE)
        text_bytes(quota->bytes_max, bytes);
    (void)snprintf(to, QUOTA_TEXT_SIZE, "%s events and %s a second", events, bytes);
    return to;
}
