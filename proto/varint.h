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

#endif
