/* murmur2.h: the 32-bit MurmurHash2 with Kafka's seed, so that every client puts a key on the same partition.
 * Source: Austin Appleby's MurmurHash2, as used by Kafka's default partitioner. Pure; any thread. */
#ifndef CRIER_PROTO_MURMUR2_H
#define CRIER_PROTO_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2(const void *data, size_t size);
/* Kafka's default: (murmur2(key) & 0x7fffffff) mod count; count > 0. */
uint32_t murmur2_partition(const void *key, size_t key_size, uint32_t count);

#endif
