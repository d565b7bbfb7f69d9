/* murmur2.c: MurmurHash2, 32 bits, with the seed Kafka's default partitioner uses. */
#include "proto/murmur2.h"

#include "base/bytes.h"
#include "base/check.h"

#define MURMUR2_SEED       0x9747b28cu
#define MURMUR2_MULTIPLIER 0x5bd1e995u

uint32_t murmur2(const void *data, size_t size)
{
    const uint8_t *at = data;
    uint32_t hash = MURMUR2_SEED ^ (uint32_t)size;
    for (; size >= 4; size -= 4, at += 4) {
        uint32_t word = le32_get(at) * MURMUR2_MULTIPLIER;
        word = (word ^ word >> 24) * MURMUR2_MULTIPLIER;
        hash = (hash * MURMUR2_MULTIPLIER) ^ word;
    }
    if (size > 0) {
        for (size_t i = size; i > 0; i--)
            hash ^= (uint32_t)at[i - 1] << (8 * (i - 1));
        hash *= MURMUR2_MULTIPLIER;
    }
    hash = (hash ^ hash >> 13) * MURMUR2_MULTIPLIER;
    return hash ^ hash >> 15;
}

uint32_t murmur2_partition(const void *key, size_t key_size, uint32_t count)
{
    CHECK(count > 0);
    return (murmur2(key, key_size) & 0x7fffffffu) % count;
}
