/* from.c: where a listener starts. See from.h.
 *
 * Thread: any; pure, but for the clock of option_from(). Failures: whatever is not one of the forms is -EINVAL. */
#include "tools/from.h"

#include "base/clock.h"
#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Reads exactly `count` digits. False if there are fewer, or the number is outside min..max. */
static bool digits(const char **at, int count, int min, int max, int *ret_number)
{
    int number = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return false;
        number = number * 10 + (**at - '0');
    }
    *ret_number = number;
    return number >= min && number <= max;
}

static bool skip(const char **at, char expected)
{
    if (**at != expected)
        return false;
    (*at)++;
    return true;
}

/* ".123456" after the seconds, in microseconds; digits beyond are dropped. */
static bool fraction(const char **at, int64_t *ret_us)
{
    int64_t us = 0, unit = 100000;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++, unit /= 10)
        us += (**at - '0') * unit;
    *ret_us = us;
    return true;
}

/* "", "Z" or "+01:00", in seconds east of UTC; nothing may follow. */
static bool zone(const char *at, int *ret_seconds)
{
    int hours, minutes, sign = *at == '-' ? -1 : 1;

    *ret_seconds = 0;
    if (*at == '\0' || strcmp(at, "Z") == 0)
        return true;
    if (*at != '+' && *at != '-')
        return false;
    at++;
    if (!digits(&at, 2, 0, 14, &hours) || !skip(&at, ':') || !digits(&at, 2, 0, 59, &minutes))
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return *at == '\0';
}

/* A date, with a time of day or without. */
static bool parse_time(const char *at, int64_t *ret_us)
{
    struct tm calendar = {0};
    int year, month, east = 0;
    int64_t us = 0;

    if (!digits(&at, 4, 1970, 9999, &year) || !skip(&at, '-') || !digits(&at, 2, 1, 12, &month) ||
        !skip(&at, '-') || !digits(&at, 2, 1, 31, &calendar.tm_mday))
        return false;
    if (*at != '\0') {
        if (!skip(&at, 'T') && !skip(&at, ' '))
            return false;
        if (!digits(&at, 2, 0, 23, &calendar.tm_hour) || !skip(&at, ':') ||
            !digits(&at, 2, 0, 59, &calendar.tm_min))
            return false;
        if (skip(&at, ':')) {
            if (!digits(&at, 2, 0, 60, &calendar.tm_sec) || (skip(&at, '.') && !fraction(&at, &us)))
                return false;
        }
        if (!zone(at, &east))
            return false;
    }
    calendar.tm_year = year - 1900;
    calendar.tm_mon = month - 1;
    time_t seconds = timegm(&calendar);
    if (calendar.tm_mon != month - 1) /* timegm() has made a March day of the 30th of February */
        return false;
    *ret_us = ((int64_t)seconds - east) * 1000000 + us;
    return true;
}

int time_parse(const char *text, int64_t *ret_us)
{
    return parse_time(text, ret_us) ? 0 : -EINVAL;
}

static bool parse_offset(const char *text, int64_t *ret_offset)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *ret_offset = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

int from_parse(const char *text, int64_t now_us, struct from *ret_from)
{
    struct from from = {.from = CRIER_LIVE};
    int64_t ago_us;

    if (strcmp(text, "earliest") == 0) {
        from.from = CRIER_EARLIEST;
    } else if (strcmp(text, "latest") == 0) {
        from.from = CRIER_LIVE;
    } else if (parse_offset(text, &from.value)) {
        from.from = CRIER_OFFSET;
    } else if (parse_time(text, &from.value)) {
        from.from = CRIER_TIME;
    } else if (parse_duration_us(text, &ago_us) == 0) {
        from.from = CRIER_TIME;
        from.value = ago_us < now_us ? now_us - ago_us : 0;
    } else {
        return -EINVAL;
    }
    *ret_from = from;
    return 0;
}

int option_from(void *target, const char *text, char *error, size_t error_size)
{
    if (from_parse(text, clock_wall_us(), target) == 0)
        return 0;
    snprintf(
        error, error_size,
        "'%s' is no place to start; write earliest, latest, an offset, a time like 2026-01-31T12:00:00Z, or "
        "15m for fifteen minutes ago",
        text);
    return -EINVAL;
}
