/* test_varint.c: every integer there and back, and nothing that is none. */
#include "base/check.h"
#include "base/random.h"
#include "proto/varint.h"

#include <criterion/criterion.h>

static const int64_t edges[] = {0,
                                -1,
                                1,
                                63,
                                -64,
                                64,
                                -65,
                                8191,
                                -8192,
                                8192,
                                INT32_MAX,
                                INT32_MIN,
                                (int64_t)INT32_MAX + 1,
                                (int64_t)INT32_MIN - 1,
                                INT64_MAX,
                                INT64_MIN,
                                INT64_MAX - 1};

static void check_there_and_back(int64_t value)
{
    uint8_t bytes[VARINT64_SIZE_MAX];
    uint8_t *end = varint64_put(bytes, value);
    int64_t got = ~value, got_inline = ~value;
    cr_assert_eq((size_t)(end - bytes), varint64_size(value));
    cr_assert_eq(varint64_get(bytes, end, &got), end);
    cr_assert_eq(varint64_get_inline(bytes, end, &got_inline), end);
    cr_assert_eq(got, value);
    cr_assert_eq(got_inline, value);
    uint8_t again[VARINT64_SIZE_MAX];
    cr_assert_eq(varint64_put_inline(again, value) - again, end - bytes);
    cr_assert_eq(memcmp(again, bytes, (size_t)(end - bytes)), 0);
    for (const uint8_t *cut = bytes; cut < end; cut++)
        cr_assert_null(varint64_get_inline(bytes, cut, &got), "truncated");
}

static void check_there_and_back_32(int32_t value)
{
    uint8_t bytes[VARINT32_SIZE_MAX], wide[VARINT64_SIZE_MAX];
    uint8_t *end = varint32_put(bytes, value);
    int32_t got = ~value, got_inline = ~value;
    cr_assert_eq((size_t)(end - bytes), varint32_size(value));
    cr_assert_eq(varint32_get(bytes, end, &got), end);
    cr_assert_eq(varint32_get_inline(bytes, end, &got_inline), end);
    cr_assert_eq(got, value);
    cr_assert_eq(got_inline, value);
    cr_assert_eq(varint64_put(wide, value) - wide, end - bytes, "the same bytes in both widths");
    cr_assert_eq(memcmp(wide, bytes, (size_t)(end - bytes)), 0);
    for (const uint8_t *cut = bytes; cut < end; cut++)
        cr_assert_null(varint32_get_inline(bytes, cut, &got), "truncated");
}

Test(varint, edges_go_there_and_back)
{
    for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
        check_there_and_back(edges[i]);
        if (edges[i] >= INT32_MIN && edges[i] <= INT32_MAX)
            check_there_and_back_32((int32_t)edges[i]);
    }
}

Test(varint, numbers_of_every_width_go_there_and_back)
{
    struct random random = random_seeded(7);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_next(&random) >> random_below(&random, 64);
        check_there_and_back((int64_t)bits);
        check_there_and_back_32((int32_t)bits);
    }
}

Test(varint, bytes_are_those_of_the_format)
{
    uint8_t bytes[VARINT64_SIZE_MAX];
    cr_assert_eq(varint32_put(bytes, -1) - bytes, 1);
    cr_assert_eq(bytes[0], 0x01);
    cr_assert_eq(varint32_put(bytes, 64) - bytes, 2);
    cr_assert_eq(memcmp(bytes, "\x80\x01", 2), 0);
    cr_assert_eq(varint32_put(bytes, INT32_MIN) - bytes, 5);
    cr_assert_eq(memcmp(bytes, "\xff\xff\xff\xff\x0f", 5), 0);
    cr_assert_eq(varint64_put(bytes, INT64_MIN) - bytes, 10);
    cr_assert_eq(memcmp(bytes, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), 0);
}

Test(varint, overlong_and_overflowing_values_are_refused)
{
    static const char *const bad32[] = {"\xff\xff\xff\xff\x10", "\xff\xff\xff\xff\x1f",
                                        "\x80\x80\x80\x80\x80\x00", "\xff\xff\xff\xff\xff\x01",
                                        "\x80\x80\x80\x80\x80\x80"};
    static const char *const bad64[] = {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
                                        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"};
    int32_t value32 = 42;
    int64_t value64 = 42;
    for (size_t i = 0; i < ARRAY_SIZE(bad32); i++)
        cr_assert_null(varint32_get((const uint8_t *)bad32[i], (const uint8_t *)bad32[i] + 6, &value32));
    for (size_t i = 0; i < ARRAY_SIZE(bad64); i++)
        cr_assert_null(varint64_get((const uint8_t *)bad64[i], (const uint8_t *)bad64[i] + 11, &value64));
    cr_assert_eq(value32, 42, "written on success only");
    cr_assert_eq(value64, 42);
}

Test(varint, padding_within_the_size_is_read)
{
    int32_t value = 0;
    const uint8_t padded[] = {0x82, 0x80, 0x80, 0x80, 0x00};
    cr_assert_eq(varint32_get(padded, padded + sizeof(padded), &value), padded + sizeof(padded));
    cr_assert_eq(value, 1);
}
