/* Numbers and times as people read them. */
#include "tools/text.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

Test(text, counts_have_commas)
{
    char to[TEXT_SIZE];
    cr_assert_str_eq(text_count(0, to), "0");
    cr_assert_str_eq(text_count(999, to), "999");
    cr_assert_str_eq(text_count(1000, to), "1,000");
    cr_assert_str_eq(text_count(1234567, to), "1,234,567");
    cr_assert_str_eq(text_count(UINT64_MAX, to), "18,446,744,073,709,551,615");
}

Test(text, bytes_have_the_unit_that_keeps_them_short)
{
    char to[TEXT_SIZE];
    cr_assert_str_eq(text_bytes(999, to), "999 B");
    cr_assert_str_eq(text_bytes(1000, to), "1.0 kB");
    cr_assert_str_eq(text_bytes(1250000, to), "1.2 MB");
    cr_assert_str_eq(text_bytes(UINT64_MAX, to), "18446.7 PB");
}

Test(text, durations_have_the_unit_that_keeps_them_short)
{
    char to[TEXT_SIZE];
    cr_assert_str_eq(text_duration(0, to), "0 us");
    cr_assert_str_eq(text_duration(999, to), "999 us");
    cr_assert_str_eq(text_duration(1250, to), "1.25 ms");
    cr_assert_str_eq(text_duration(2500000, to), "2.50 s");
}

Test(text, times_are_utc_with_milliseconds)
{
    char to[TEXT_SIZE];
    cr_assert_str_eq(text_time(0, to), "1970-01-01T00:00:00.000Z");
    cr_assert_str_eq(text_time(INT64_C(1769860800123456), to), "2026-01-31T12:00:00.123Z");
    cr_assert_str_eq(text_time(-1, to), "1969-12-31T23:59:59.999Z");
}

Test(text, a_time_no_calendar_can_hold_is_its_number)
{
    char to[TEXT_SIZE];
    cr_assert_str_eq(text_time(INT64_MAX, to), "9223372036854775807");
    cr_assert_str_eq(text_time(INT64_MIN, to), "-9223372036854775808");
}
