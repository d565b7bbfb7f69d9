/* test_crc32c.c: known answers, and the fast path equal to the portable one wherever it could differ. */
#include "base/random.h"
#include "proto/crc32c.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The definition, bit by bit. */
static uint32_t crc32c_by_definition(const uint8_t *data, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static uint8_t *random_bytes(size_t size)
{
    struct random random = random_seeded(size);
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)random_next(&random);
    return bytes;
}

Test(crc32c, known_answers)
{
    /* RFC 3720, B.4 */
    uint8_t zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++)
        rising[i] = i;
    cr_assert_eq(crc32c(0, zeros, 32), 0x8a9136aa);
    cr_assert_eq(crc32c(0, ones, 32), 0x62a8ab43);
    cr_assert_eq(crc32c(0, rising, 32), 0x46dd794e);
    cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283);
    cr_assert_eq(crc32c_portable(0, zeros, 32), 0x8a9136aa);
    cr_assert_eq(crc32c_portable(0, "123456789", 9), 0xe3069283);
    cr_assert_eq(crc32c(0, NULL, 0), 0);
}

Test(crc32c, hardware_and_portable_agree_with_the_definition)
{
    uint8_t *bytes = random_bytes(4200);
    for (size_t size = 0; size <= 4200; size += 1 + size / 16) {
        uint32_t expected = crc32c_by_definition(bytes, size);
        cr_assert_eq(crc32c(0, bytes, size), expected, "%zu bytes", size);
        cr_assert_eq(crc32c_portable(0, bytes, size), expected, "%zu bytes", size);
    }
    free(bytes);
}

Test(crc32c, hardware_equals_portable_at_every_alignment_and_size)
{
    /* Past two long rounds of three blocks, so that every loop of the fast path begins, repeats and ends. */
    enum { SIZE = 2 * 3 * 1024 + 2 * 3 * 128 + 20 };
    uint8_t *bytes = random_bytes(SIZE + 8);
    for (size_t shift = 0; shift < 8; shift++)
        for (size_t size = 0; size <= SIZE; size += size < 900 ? 1 : 13)
            cr_assert_eq(crc32c(0, bytes + shift, size), crc32c_portable(0, bytes + shift, size),
                         "%zu at %zu", size, shift);
    for (size_t size = SIZE - 64; size <= SIZE; size++)
        cr_assert_eq(crc32c(0, bytes, size), crc32c_portable(0, bytes, size));
    free(bytes);
}

Test(crc32c, pieces_give_what_the_whole_gives)
{
    uint8_t *bytes = random_bytes(10000);
    uint32_t whole = crc32c(0, bytes, 10000);
    for (size_t cut = 0; cut <= 10000; cut += 37) {
        cr_assert_eq(crc32c(crc32c(0, bytes, cut), bytes + cut, 10000 - cut), whole);
        cr_assert_eq(crc32c_portable(crc32c(0, bytes, cut), bytes + cut, 10000 - cut), whole);
    }
    free(bytes);
}

Test(crc32c, joined_parts_give_what_the_whole_gives)
{
    uint8_t *bytes = random_bytes(10000);
    uint32_t whole = crc32c(0, bytes, 10000);
    for (size_t cut = 0; cut <= 10000; cut += cut < 9900 ? 37 : 1)
        cr_assert_eq(crc32c_join(crc32c(0, bytes, cut), crc32c(0, bytes + cut, 10000 - cut), 10000 - cut),
                     whole, "at %zu", cut);
    free(bytes);
}

Test(crc32c, any_flipped_bit_changes_it)
{
    uint8_t *bytes = random_bytes(3200);
    uint32_t whole = crc32c(0, bytes, 3200);
    for (size_t bit = 0; bit < 3200 * 8; bit += 11) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(crc32c(0, bytes, 3200), whole);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
}
