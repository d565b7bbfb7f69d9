/* frame.c: where one frame ends and what is in it.
 *
 * Role:    a pure function over bytes, the same for broker, client, tests and fuzzers.
 * Thread:  any. Owner: nothing; a decoded frame points into the bytes it was decoded from.
 *
 * Happy path:  bytes → frame_decode → header (protobuf, chosen by kind) and attachment (raw batches)
 * Failures:    each length is judged as soon as its own bytes are there, so that a peer that announces nonsense is found
 *              out before anybody allocates or waits for it. */
#include "proto/frame.h"

#include "base/bytes.h"
#include "base/check.h"
#include "proto/error.h"

#define LENGTH_SIZE 4 /* what `length` itself takes: it counts from behind itself */
#define LENGTH_MIN  (FRAME_PREFIX_SIZE - LENGTH_SIZE) /* header length, kind and flags are always there */

uint64_t frame_size_announced(const uint8_t *data, size_t size)
{
    return size < LENGTH_SIZE ? 0 : (uint64_t)LENGTH_SIZE + be32_get(data);
}

int64_t frame_decode(const uint8_t *data, size_t size, size_t frame_size_max, struct frame *ret_frame)
{
    uint64_t frame_size = frame_size_announced(data, size);
    if (frame_size == 0)
        return 0;
    if (frame_size < LENGTH_SIZE + LENGTH_MIN)
        return WIRE_CRIER_EPROTO;
    if (frame_size > frame_size_max)
        return WIRE_CRIER_ETOOBIG;
    if (size < LENGTH_SIZE + 2)
        return 0;
    size_t header_size = be16_get(data + LENGTH_SIZE);
    if (header_size > frame_size - FRAME_PREFIX_SIZE)
        return WIRE_CRIER_EPROTO;
    if (size < frame_size)
        return 0;
    const uint8_t *header = data + FRAME_PREFIX_SIZE;
    *ret_frame = (struct frame){.kind = data[6],
                                .flags = data[7],
                                .header = header,
                                .header_size = header_size,
                                .attachment = header + header_size,
                                .attachment_size = (size_t)frame_size - FRAME_PREFIX_SIZE - header_size};
    return (int64_t)frame_size;
}

void frame_prefix_encode(uint8_t to[FRAME_PREFIX_SIZE], enum frame_kind kind, size_t header_size,
                         size_t attachment_size)
{
    CHECK(header_size <= FRAME_HEADER_SIZE_MAX);
    CHECK(attachment_size <= UINT32_MAX - LENGTH_MIN - header_size);
    be32_put(to, (uint32_t)(LENGTH_MIN + header_size + attachment_size));
    be16_put(to + 4, (uint16_t)header_size);
    to[6] = (uint8_t)kind;
    to[7] = 0;
}

const char *frame_kind_name(uint8_t kind)
{
    switch (kind) {
#define FRAME_NAME(name, number, text)                                                                       \
    case number:                                                                                             \
        return text;
        FRAME_KIND_MAP(FRAME_NAME)
#undef FRAME_NAME
    default:
        return "unknown";
    }
}
