/* --from: each form means what its reader thinks, and whatever is none of them is refused. */
#include "tools/from.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#define NOW_US 1769860800000000 /* 2026-01-31T12:00:00Z, as `date -u -d ... +%s` says */

static void expect(const char *text, enum crier_from from, int64_t value)
{
    struct from parsed = {.from = CRIER_LIVE, .value = -1};
    cr_assert(from_parse(text, NOW_US, &parsed) == 0, "'%s' is refused", text);
    cr_assert(parsed.from == from && parsed.value == value, "'%s': %d %lld", text, (int)parsed.from,
              (long long)parsed.value);
}

static void expect_refused(const char *text)
{
    struct from parsed = {.from = CRIER_OFFSET, .value = 77};
    cr_assert(from_parse(text, NOW_US, &parsed) == -EINVAL, "'%s' is accepted", text);
    cr_assert(parsed.from == CRIER_OFFSET && parsed.value == 77, "'%s' has written its result", text);
}

Test(from, words_and_offsets)
{
    expect("earliest", CRIER_EARLIEST, 0);
    expect("latest", CRIER_LIVE, 0);
    expect("0", CRIER_OFFSET, 0);
    expect("1234567890123", CRIER_OFFSET, 1234567890123);
    expect("9223372036854775807", CRIER_OFFSET, INT64_MAX);
}

Test(from, times_are_utc_unless_they_say_otherwise)
{
    expect("2026-01-31T12:00:00Z", CRIER_TIME, NOW_US);
    expect("2026-01-31T12:00:00", CRIER_TIME, NOW_US);
    expect("2026-01-31 12:00", CRIER_TIME, NOW_US);
    expect("2026-01-31T13:00+01:00", CRIER_TIME, NOW_US);
    expect("2026-01-31T06:30:00-05:30", CRIER_TIME, NOW_US);
    expect("2026-01-31", CRIER_TIME, NOW_US - INT64_C(12) * 3600 * 1000000);
    expect("1970-01-01", CRIER_TIME, 0);
    expect("2024-02-29", CRIER_TIME, INT64_C(1709164800000000));
}

Test(from, fractions_of_a_second_are_kept_to_the_microsecond)
{
    expect("2026-01-31T12:00:00.5Z", CRIER_TIME, NOW_US + 500000);
    expect("2026-01-31T12:00:00.000001", CRIER_TIME, NOW_US + 1);
    expect("2026-01-31T12:00:00.1234569Z", CRIER_TIME, NOW_US + 123456);
}

Test(from, a_duration_is_so_long_ago)
{
    expect("15m", CRIER_TIME, NOW_US - INT64_C(15) * 60 * 1000000);
    expect("250ms", CRIER_TIME, NOW_US - 250000);
    expect("30000d", CRIER_TIME, 0);
    expect("2h", CRIER_TIME, NOW_US - INT64_C(2) * 3600 * 1000000);
}

Test(from, anything_else_is_refused)
{
    static const char *const refused[] = {"",
                                          "now",
                                          "-1",
                                          "+1",
                                          "1.5",
                                          "12x",
                                          "earliest ",
                                          "2026-1-31",
                                          "2026-13-01",
                                          "2026-02-30",
                                          "2025-02-29",
                                          "2026-01-31T",
                                          "2026-01-31T12",
                                          "2026-01-31T24:00",
                                          "2026-01-31T12:60",
                                          "1969-12-31",
                                          "2026-01-31T12:00:00.Z",
                                          "2026-01-31T12:00.5",
                                          "2026-01-31T12:00:00+1",
                                          "2026-01-31T12:00:00Zulu",
                                          "2026-01-31x",
                                          "9223372036854775808"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        expect_refused(refused[i]);
}
