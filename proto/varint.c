/* varint.c: zig-zag variable-length integers: seven bits a byte, the lowest first, the top bit says "more". */
#include "proto/varint.h"

static uint8_t *unsigned_put(uint8_t *to, uint64_t bits)
{
    for (; bits >= 0x80; bits >>= 7)
        *to++ = (uint8_t)(bits | 0x80);
    *to++ = (uint8_t)bits;
    return to;
}

uint8_t *varint32_put(uint8_t *to, int32_t value)
{
    return unsigned_put(to, varint32_zigzag(value));
}

uint8_t *varint64_put(uint8_t *to, int64_t value)
{
    return unsigned_put(to, varint64_zigzag(value));
}

size_t varint32_size(int32_t value)
{
    return varint_unsigned_size(varint32_zigzag(value));
}

size_t varint64_size(int64_t value)
{
    return varint_unsigned_size(varint64_zigzag(value));
}

/* Reads up to `size_max` bytes, of which the last may hold no more than `last_max`. */
static const uint8_t *unsigned_get(const uint8_t *at, const uint8_t *end, unsigned size_max, uint8_t last_max,
                                   uint64_t *ret_bits)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < size_max && at < end; i++, at++) {
        if (i == size_max - 1 && *at > last_max)
            return NULL;
        bits |= (uint64_t)(*at & 0x7f) << (7 * i);
        if (*at < 0x80) {
            *ret_bits = bits;
            return at + 1;
        }
    }
    return NULL;
}

const uint8_t *varint32_get(const uint8_t *at, const uint8_t *end, int32_t *ret_value)
{
    uint64_t bits;
    at = unsigned_get(at, end, VARINT32_SIZE_MAX, 0x0f, &bits);
    if (at)
        *ret_value = (int32_t)((uint32_t)bits >> 1 ^ (0 - ((uint32_t)bits & 1)));
    return at;
}

const uint8_t *varint64_get(const uint8_t *at, const uint8_t *end, int64_t *ret_value)
{
    uint64_t bits;
    at = unsigned_get(at, end, VARINT64_SIZE_MAX, 0x01, &bits);
    if (at)
        *ret_value = (int64_t)(bits >> 1 ^ (0 - (bits & 1)));
    return at;
}
