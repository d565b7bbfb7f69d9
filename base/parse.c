/* parse.c: sizes and durations as people write them: a whole number and a unit; in and out. Pure; any thread. */
#include "base/options.h"

#include "base/check.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char size_units[] = "KMGT"; /* 1024 to the power of place + 1 */

static const struct {
    const char *name;
    int64_t us;
} duration_units[] = {
    {"us", 1},
    {"ms", 1000},
    {"s", 1000000},
    {"m", 60 * INT64_C(1000000)},
    {"h", 3600 * INT64_C(1000000)},
    {"d", 86400 * INT64_C(1000000)},
};

/* Reads the digits at the start of text: returns what follows them, or NULL (no digit, or beyond 2^64). */
static const char *parse_digits(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(number, (uint64_t)10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return NULL;
    if (at == text)
        return NULL;
    *ret_number = number;
    return at;
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
    uint64_t number;
    const char *unit = parse_digits(text, &number);
    if (!unit)
        return -EINVAL;
    unsigned shift = 0;
    if (*unit != '\0') {
        const char *place = strchr(size_units, toupper((unsigned char)*unit));
        if (!place || unit[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(place - size_units + 1);
    }
    if (number > UINT64_MAX >> shift)
        return -EINVAL;
    *ret_bytes = number << shift;
    return 0;
}

int parse_duration_us(const char *text, int64_t *ret_us)
{
    uint64_t number;
    const char *unit = parse_digits(text, &number);
    if (!unit)
        return -EINVAL;
    if (number == 0 && *unit == '\0') { /* the one number that needs no unit */
        *ret_us = 0;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
        if (strcmp(unit, duration_units[i].name) != 0)
            continue;
        if (number > (uint64_t)(INT64_MAX / duration_units[i].us))
            return -EINVAL;
        *ret_us = (int64_t)number * duration_units[i].us;
        return 0;
    }
    return -EINVAL;
}

void format_size(uint64_t bytes, char *to, size_t size)
{
    unsigned unit = 0;
    while (bytes > 0 && bytes % 1024 == 0 && unit < sizeof(size_units) - 1) {
        bytes /= 1024;
        unit++;
    }
    const char suffix[2] = {unit ? size_units[unit - 1] : '\0'};
    snprintf(to, size, "%" PRIu64 "%s", bytes, suffix);
}

void format_duration_us(int64_t us, char *to, size_t size)
{
    size_t unit = us == 0 ? 2 : ARRAY_SIZE(duration_units) - 1; /* nothing, in seconds */
    while (us % duration_units[unit].us != 0)
        unit--;
    snprintf(to, size, "%" PRId64 "%s", us / duration_units[unit].us, duration_units[unit].name);
}
