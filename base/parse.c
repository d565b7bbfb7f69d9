/* parse.c: sizes and durations as people write them: a whole number and a unit. Pure; any thread. */
#include "base/options.h"

#include "base/check.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

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
    static const char units[] = "KMGT"; /* 1024 to the power of place + 1 */
    uint64_t number;
    const char *unit = parse_digits(text, &number);
    if (!unit)
        return -EINVAL;
    unsigned shift = 0;
    if (*unit != '\0') {
        const char *place = strchr(units, toupper((unsigned char)*unit));
        if (!place || unit[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(place - units + 1);
    }
    if (number > UINT64_MAX >> shift)
        return -EINVAL;
    *ret_bytes = number << shift;
    return 0;
}

int parse_duration_us(const char *text, int64_t *ret_us)
{
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {
        {"us", 1},
        {"ms", 1000},
        {"s", 1000000},
        {"m", 60 * INT64_C(1000000)},
        {"h", 3600 * INT64_C(1000000)},
        {"d", 86400 * INT64_C(1000000)},
    };
    uint64_t number;
    const char *unit = parse_digits(text, &number);
    if (!unit)
        return -EINVAL;
    if (number == 0 && *unit == '\0') { /* the one number that needs no unit */
        *ret_us = 0;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(unit, units[i].name) != 0)
            continue;
        if (number > (uint64_t)(INT64_MAX / units[i].us))
            return -EINVAL;
        *ret_us = (int64_t)number * units[i].us;
        return 0;
    }
    return -EINVAL;
}
