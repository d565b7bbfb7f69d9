/* text.c: numbers, sizes and times as people read them. See text.h.
 *
 * Thread: any; pure. Failures: none; a time no calendar can hold is written as the plain number. */
#include "tools/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *text_count(uint64_t number, char to[TEXT_SIZE])
{
    char digits[TEXT_SIZE];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    char *at = to;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return to;
}

const char *text_bytes(uint64_t bytes, char to[TEXT_SIZE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    snprintf(to, TEXT_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return to;
}

const char *text_duration(int64_t duration_us, char to[TEXT_SIZE])
{
    if (duration_us < 1000)
        snprintf(to, TEXT_SIZE, "%" PRId64 " us", duration_us);
    else if (duration_us < 1000 * 1000)
        snprintf(to, TEXT_SIZE, "%.2f ms", (double)duration_us / 1e3);
    else
        snprintf(to, TEXT_SIZE, "%.2f s", (double)duration_us / 1e6);
    return to;
}

const char *text_time(int64_t time_us, char to[TEXT_SIZE])
{
    time_t seconds = (time_t)(time_us / 1000000 - (time_us % 1000000 < 0 ? 1 : 0)); /* rounded down */
    int64_t ms = (time_us % 1000000 + 1000000) % 1000000 / 1000;
    struct tm calendar;

    if (gmtime_r(&seconds, &calendar) == NULL || calendar.tm_year > 9999 - 1900 || calendar.tm_year < -1900) {
        snprintf(to, TEXT_SIZE, "%" PRId64, time_us);
        return to;
    }
    size_t used = strftime(to, TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &calendar);
    snprintf(to + used, TEXT_SIZE - used, ".%03dZ", (int)ms);
    return to;
}
