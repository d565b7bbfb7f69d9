/* batch_builder.c: events become a batch, in the memory it will be sent from.
 *
 * Role:    the producer's side of the format: append writes a record once, finish fills the header around them.
 * Thread:  the builder's owner.
 * Owner:   all memory is the caller's; key, value and headers are copied.
 * Called:  client (accumulators, one builder per partition under construction), broker (its own events), tests.
 *
 * Happy path:  init → append ... → finish → (batch_compress) → send
 *              The records' CRC is taken on the way, some kilobytes at a time, while they are in the cache of the thread that wrote
 *              them; who finishes the batch, often another thread, only joins the header's to it.
 * Failures:    no room: CRIER_EAGAIN, and the builder is as it was: finish it, send it, begin the next one. */
#include "proto/batch.h"

#include "base/bytes.h"
#include "base/check.h"
#include "proto/codec.h"
#include "proto/crc32c.h"
#include "proto/error.h"
#include "proto/varint.h"

#define CODEC_MASK             7
#define VARINT_ONE_BYTE_BELOW  64 /* zig-zag: of a positive number */
#define VARINT_TWO_BYTES_BELOW 8192
#define SUM_STEP               ((size_t)12288) /* four of the CRC's long rounds, and a part of the first cache */
#define FRAMING_MAX                                                                                          \
    (2 + VARINT64_SIZE_MAX + 3 * VARINT32_SIZE_MAX) /* around key and value, without headers */

void batch_builder_init(struct batch_builder *builder, void *data, size_t capacity)
{
    CHECK(capacity > BATCH_HEADER_SIZE);
    *builder = (struct batch_builder){
        .data = data,
        .capacity = capacity < INT32_MAX ? capacity : INT32_MAX, /* the format's lengths are signed 32 bits */
        .size = BATCH_HEADER_SIZE,
        .summed = BATCH_HEADER_SIZE,
    };
}

/* ---- a record's parts ---- */

static inline size_t string_size(const void *data, size_t size)
{
    return data ? varint_unsigned_size(varint32_zigzag((int32_t)size)) + size : 1;
}

static inline uint8_t *string_put(uint8_t *to, const void *data, size_t size)
{
    if (!data) {
        *to = 1; /* -1 */
        return to + 1;
    }
    to = varint_size_put_inline(to, (int32_t)size);
    memcpy(to, data, size);
    return to + size;
}

/* The bytes of all headers, or SIZE_MAX if they are more than `room`. */
static size_t headers_size(const struct batch_pair *headers, size_t count, size_t room)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (headers[i].key_size > room || headers[i].value_size > room)
            return SIZE_MAX;
        size += string_size(headers[i].key, headers[i].key_size) +
                string_size(headers[i].value, headers[i].value_size);
        if (size > room)
            return SIZE_MAX;
    }
    return size;
}

static uint8_t *headers_put(uint8_t *to, const struct batch_pair *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to = string_put(to, headers[i].key, headers[i].key_size);
        to = string_put(to, headers[i].value, headers[i].value_size);
    }
    return to;
}

/* How long the length in front of such a record is, where that is plain before it is written: no headers, and the sizes of key and
 * value leave only one answer. Else 0. */
static inline size_t length_size_known(size_t payload, size_t header_count)
{
    if (header_count > 0)
        return 0;
    if (payload + FRAMING_MAX < VARINT_ONE_BYTE_BELOW)
        return 1;
    return payload >= VARINT_ONE_BYTE_BELOW && payload + FRAMING_MAX < VARINT_TWO_BYTES_BELOW ? 2 : 0;
}

/* Nearly every record: written at once behind its length, which is filled in afterwards, so no part is measured before. There is
 * room for the largest that it can be. */
static void record_put(struct batch_builder *builder, size_t length_size, int64_t timestamp_delta,
                       const void *key, size_t key_size, const void *value, size_t value_size)
{
    uint8_t *length = builder->data + builder->size, *body = length + length_size, *at = body;
    uint32_t bits;

    *at++ = 0; /* attributes: unused */
    at = varint64_put_inline(at, timestamp_delta);
    at = varint_size_put_inline(at, builder->count);
    at = string_put(at, key, key_size);
    at = string_put(at, value, value_size);
    *at++ = 0; /* headers */
    bits = (uint32_t)(at - body) << 1;
    length[0] = (uint8_t)bits;
    if (length_size == 2) {
        length[0] |= 0x80;
        length[1] = (uint8_t)(bits >> 7);
    }
    builder->size = (size_t)(at - builder->data);
}

static void records_sum(struct batch_builder *builder, size_t size)
{
    builder->records_crc = crc32c(builder->records_crc, builder->data + builder->summed, size);
    builder->summed += size;
}

/* After each record. */
static inline void count_up(struct batch_builder *builder, int64_t timestamp_ms)
{
    size_t unsummed = builder->size - builder->summed;
    if (unsummed >= SUM_STEP)
        records_sum(builder, unsummed - unsummed % SUM_STEP);
    if (builder->count == 0)
        builder->base_timestamp_ms = builder->max_timestamp_ms = timestamp_ms;
    else if (timestamp_ms > builder->max_timestamp_ms)
        builder->max_timestamp_ms = timestamp_ms;
    builder->count++;
}

int batch_builder_append(struct batch_builder *builder, int64_t timestamp_ms, const void *key,
                         size_t key_size, const void *value, size_t value_size,
                         const struct batch_pair *headers, size_t header_count)
{
    /* Each size by itself first, so that their sum cannot wrap round. */
    size_t room = builder->capacity - builder->size;
    if (key_size > room || value_size > room || header_count > room || builder->count == BATCH_COUNT_MAX)
        return WIRE_CRIER_EAGAIN;
    int64_t timestamp_delta = 0;
    if (builder->count > 0 &&
        __builtin_sub_overflow(timestamp_ms, builder->base_timestamp_ms, &timestamp_delta))
        return WIRE_CRIER_EAGAIN; /* farther apart than one batch can say */

    size_t payload = (key ? key_size : 0) + (value ? value_size : 0);
    size_t length_size = length_size_known(payload, header_count);
    if (length_size > 0 && payload + FRAMING_MAX + 2 <= room) {
        record_put(builder, length_size, timestamp_delta, key, key_size, value, value_size);
        count_up(builder, timestamp_ms);
        return 0;
    }
    size_t extra = header_count > 0 ? headers_size(headers, header_count, room) : 0;
    if (extra > room)
        return WIRE_CRIER_EAGAIN;
    size_t body = 1 + varint_unsigned_size(varint64_zigzag(timestamp_delta)) +
                  varint_unsigned_size(varint32_zigzag(builder->count)) + string_size(key, key_size) +
                  string_size(value, value_size) +
                  varint_unsigned_size(varint32_zigzag((int32_t)header_count)) + extra;
    if (body > room || varint_unsigned_size((uint64_t)body << 1) > room - body)
        return WIRE_CRIER_EAGAIN;

    uint8_t *at = builder->data + builder->size;
    at = varint_size_put_inline(at, (int32_t)body);
    *at++ = 0; /* attributes: unused */
    at = varint64_put_inline(at, timestamp_delta);
    at = varint_size_put_inline(at, builder->count);
    at = string_put(at, key, key_size);
    at = string_put(at, value, value_size);
    at = varint_size_put_inline(at, (int32_t)header_count);
    at = headers_put(at, headers, header_count);

    builder->size = (size_t)(at - builder->data);
    count_up(builder, timestamp_ms);
    return 0;
}

/* ---- the header around them ---- */

size_t batch_builder_finish(struct batch_builder *builder, int64_t producer_id, int16_t producer_epoch,
                            int32_t base_sequence)
{
    CHECK(builder->count > 0);
    uint8_t *data = builder->data;
    batch_patch(data, 0, -1);
    be32_put(data + 8, (uint32_t)(builder->size - BATCH_LENGTH_OFFSET));
    data[16] = 2; /* magic */
    be16_put(data + 21, 0);
    be32_put(data + 23, (uint32_t)(builder->count - 1));
    be64_put(data + 27, (uint64_t)builder->base_timestamp_ms);
    be64_put(data + 35, (uint64_t)builder->max_timestamp_ms);
    be32_put(data + 57, (uint32_t)builder->count);
    if (builder->summed == BATCH_HEADER_SIZE) { /* a small one: in one go */
        batch_renumber(data, builder->size, producer_id, producer_epoch, base_sequence);
    } else {
        records_sum(builder, builder->size - builder->summed);
        batch_number(data, builder->size, builder->records_crc, producer_id, producer_epoch, base_sequence);
    }
    return builder->size;
}

int64_t batch_compress(const uint8_t *data, size_t size, enum batch_codec codec, void *to, size_t capacity)
{
    struct batch_header header;
    CHECK(size >= BATCH_HEADER_SIZE && batch_header_decode(data, size, &header) == (int64_t)size);
    CHECK(batch_header_codec(&header) == BATCH_NONE);
    int rc = codec_known(codec);
    if (rc < 0)
        return rc;
    if (capacity <= BATCH_HEADER_SIZE)
        return 0;
    uint8_t *out = to;
    int64_t made = codec_compress(codec, data + BATCH_HEADER_SIZE, size - BATCH_HEADER_SIZE,
                                  out + BATCH_HEADER_SIZE, capacity - BATCH_HEADER_SIZE);
    if (made <= 0)
        return made;
    size_t total = BATCH_HEADER_SIZE + (size_t)made;
    if (total >= size)
        return 0; /* not smaller: not worth it */
    memcpy(out, data, BATCH_HEADER_SIZE);
    be32_put(out + 8, (uint32_t)(total - BATCH_LENGTH_OFFSET));
    be16_put(out + 21, (uint16_t)((header.attributes & ~CODEC_MASK) | codec));
    batch_renumber(out, total, header.producer_id, header.producer_epoch, header.base_sequence);
    return (int64_t)total;
}
