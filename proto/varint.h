/* varint.h: zig-zag variable-length integers, as in Kafka's records (and protobuf's sint).
 *
 * Decoding refuses overlong (more than 5 or 10 bytes) and overflowing values. Pure; any thread. */
#ifndef CRIER_PROTO_VARINT_H
#define CRIER_PROTO_VARINT_H

#include <stddef.h>
#include <stdint.h>

#define VARINT32_SIZE_MAX 5
#define VARINT64_SIZE_MAX 10

/* Write at `to` (room for the maximum is there); return the end. */
uint8_t *varint32_put(uint8_t *to, int32_t value);
uint8_t *varint64_put(uint8_t *to, int64_t value);
size_t varint32_size(int32_t value);
size_t varint64_size(int64_t value);
/* Read from [at, end); return the byte after the varint, or NULL (truncated, overlong or out of range). */
const uint8_t *varint32_get(const uint8_t *at, const uint8_t *end, int32_t *ret_value);
const uint8_t *varint64_get(const uint8_t *at, const uint8_t *end, int64_t *ret_value);

/* ---- the same for the loops over records, where nearly every varint is one or two bytes ---- */

static inline uint32_t varint32_zigzag(int32_t value)
{
    return (uint32_t)value << 1 ^ (0 - ((uint32_t)value >> 31));
}

static inline uint64_t varint64_zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (0 - ((uint64_t)value >> 63));
}

/* Bytes of an unsigned varint: one for every seven bits begun, in a multiplication instead of a division. */
static inline size_t varint_unsigned_size(uint64_t bits)
{
    unsigned width = 64u - (unsigned)__builtin_clzll(bits | 1);
    return (width * 9 + 64) / 64;
}

/* A size or a count: not negative, so that its zig-zag is a shift. */
static inline uint8_t *varint_size_put_inline(uint8_t *to, int32_t size)
{
    uint32_t bits = (uint32_t)size << 1;
    if (bits < 0x80) {
        *to = (uint8_t)bits;
        return to + 1;
    }
    if (__builtin_expect(bits >= 0x4000, 0))
        return varint32_put(to, size);
    to[0] = (uint8_t)(bits | 0x80);
    to[1] = (uint8_t)(bits >> 7);
    return to + 2;
}

static inline uint8_t *varint64_put_inline(uint8_t *to, int64_t value)
{
    uint64_t bits = varint64_zigzag(value);
    if (__builtin_expect(bits >= 0x80, 0))
        return varint64_put(to, value);
    *to = (uint8_t)bits;
    return to + 1;
}

static inline const uint8_t *varint32_get_inline(const uint8_t *at, const uint8_t *end, int32_t *ret_value)
{
    uint32_t bits;
    if (at < end && *at < 0x80) {
        bits = *at++;
    } else if (end - at >= 2 && at[1] < 0x80) {
        bits = (at[0] & 0x7fu) | (uint32_t)at[1] << 7;
        at += 2;
    } else {
        return varint32_get(at, end, ret_value);
    }
    *ret_value = (int32_t)(bits >> 1) ^ -(int32_t)(bits & 1);
    return at;
}

static inline const uint8_t *varint64_get_inline(const uint8_t *at, const uint8_t *end, int64_t *ret_value)
{
    if (__builtin_expect(at >= end || *at >= 0x80, 0))
        return varint64_get(at, end, ret_value);
    *ret_value = (int64_t)(*at >> 1) ^ -(int64_t)(*at & 1);
    return at + 1;
}

#endif
