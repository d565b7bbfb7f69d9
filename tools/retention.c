/* retention.c: see retention.h. */
#include "tools/retention.h"

#include "tools/command.h"
#include "tools/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TIME_US_MAX (36500 * INT64_C(86400) * 1000000)

static int limit(struct retention_limit *limit, const char *text, char *error, size_t error_size,
                 int (*parse)(void *target, const char *text, char *error, size_t error_size))
{
    limit->given = true;
    limit->value = 0;
    return strcmp(text, "none") == 0 ? 0 : parse(&limit->value, text, error, error_size);
}

static int parse_time(void *target, const char *text, char *error, size_t error_size)
{
    int64_t time_us;
    int rc = options_duration(&time_us, text, error, error_size);
    if (rc == 0 && (time_us < 1000 || time_us > TIME_US_MAX)) {
        (void)snprintf(error, error_size, "1ms to 36500d; or none");
        return -EINVAL;
    }
    if (rc == 0)
        *(uint64_t *)target = (uint64_t)time_us;
    return rc;
}

int option_limit_time(void *target, const char *text, char *error, size_t error_size)
{
    return limit(target, text, error, error_size, parse_time);
}

int option_limit_size(void *target, const char *text, char *error, size_t error_size)
{
    return limit(target, text, error, error_size, option_count);
}

int option_limit_count(void *target, const char *text, char *error, size_t error_size)
{
    return limit(target, text, error, error_size, option_count);
}

bool retention_options_valid(const struct retention_options *options)
{
    return !options->until_consumed ||
           (options->time_us.value == 0 && options->bytes.value == 0 && options->count.value == 0);
}

struct crier_retention retention_of(const struct retention_options *options)
{
    return (struct crier_retention){.time_ms = (int64_t)(options->time_us.value / 1000),
                                    .bytes = options->bytes.value,
                                    .count = options->count.value,
                                    .until_consumed = options->until_consumed};
}

unsigned retention_set(const struct retention_options *options)
{
    unsigned set = 0;
    if (options->time_us.given || options->until_consumed)
        set |= CRIER_SET_RETENTION_TIME;
    if (options->bytes.given || options->until_consumed)
        set |= CRIER_SET_RETENTION_BYTES;
    if (options->count.given || options->until_consumed)
        set |= CRIER_SET_RETENTION_COUNT;
    if (options->until_consumed || options->until_removed || set)
        set |= CRIER_SET_UNTIL_CONSUMED; /* a limit takes its place, and it takes that of limits */
    return set;
}

static void add(char *to, const char *what, const char *of)
{
    size_t used = strlen(to);
    (void)snprintf(to + used, RETENTION_TEXT_SIZE - used, "%s%s%s", used ? ", " : "", what, of);
}

const char *retention_text(const struct crier_retention *retention, char to[RETENTION_TEXT_SIZE])
{
    char text[TEXT_SIZE];
    to[0] = '\0';
    if (retention->time_ms)
        add(to, text_duration(retention->time_ms * 1000, text), "");
    if (retention->bytes)
        add(to, text_bytes(retention->bytes, text), " a partition");
    if (retention->count)
        add(to, text_count(retention->count, text), " events a partition");
    if (retention->until_consumed)
        add(to, "what a group has not consumed", "");
    return to[0] ? to : "everything";
}
