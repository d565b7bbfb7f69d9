/* entry.c: one row of the log, between its fields and its bytes; see entry.h.
 *
 * Everything is read at the offsets of docs/disk-format.md, unaligned and little-endian, and nothing read from a disk
 * is believed before its length and its CRC were checked. */
#include "storage/entry.h"

#include "base/bytes.h"
#include "base/check.h"
#include "proto/crc32c.h"

enum { HEADER_CRC_AT = 36, ENVELOPE_CRC_AT = 32 };

/* How much of the payload the envelope's CRC covers. */
static size_t envelope_covers(uint8_t kind, size_t payload_size)
{
    return kind == PART_DATA ? ENTRY_BATCH_UNCRCED : payload_size;
}

size_t entry_size(const struct entry_part *parts, uint32_t part_count)
{
    size_t size = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < part_count; i++)
        size += ENTRY_ENVELOPE_SIZE + parts[i].payload.size;
    return size;
}

uint32_t entry_envelope_crc(const uint8_t data[ENTRY_ENVELOPE_SIZE], const uint8_t *payload,
                            size_t payload_size)
{
    uint32_t crc = crc32c(0, data, ENVELOPE_CRC_AT);
    return crc32c(crc, payload, envelope_covers(data[0], payload_size));
}

static uint8_t *part_encode(uint8_t *to, const struct entry_part *part)
{
    CHECK(part->kind == PART_COMMAND ||
          (part->kind == PART_DATA && part->payload.size >= ENTRY_BATCH_SIZE_MIN && part->span > 0));
    to[0] = part->kind;
    to[1] = part->flags;
    le16_put(to + 2, part->command);
    le32_put(to + 4, part->span);
    le64_put(to + 8, part->partition);
    le64_put(to + 16, part->base_offset);
    le32_put(to + 24, (uint32_t)part->payload.size);
    le32_put(to + 28, 0);
    le32_put(to + ENVELOPE_CRC_AT, entry_envelope_crc(to, part->payload.data, part->payload.size));
    to += ENTRY_ENVELOPE_SIZE;
    if (part->payload.size)
        memcpy(to, part->payload.data, part->payload.size);
    return to + part->payload.size;
}

void entry_encode(uint8_t *to, const struct entry_header *header, const struct entry_part *parts,
                  uint32_t part_count)
{
    size_t size = entry_size(parts, part_count);
    CHECK(part_count <= ENTRY_PARTS_MAX);
    CHECK(size <= ENTRY_SIZE_MAX);
    to[0] = ENTRY_VERSION;
    to[1] = header->type;
    le16_put(to + 2, (uint16_t)part_count);
    le32_put(to + 4, (uint32_t)size);
    le64_put(to + 8, header->index);
    le64_put(to + 16, header->term);
    le64_put(to + 24, (uint64_t)header->append_time_us);
    le32_put(to + 32, 0);
    le32_put(to + HEADER_CRC_AT, crc32c(0, to, HEADER_CRC_AT));
    to += ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < part_count; i++)
        to = part_encode(to, &parts[i]);
}

int entry_header_decode(const uint8_t *data, size_t size, struct entry_header *ret_header)
{
    if (size < ENTRY_HEADER_SIZE || le32_get(data + HEADER_CRC_AT) != crc32c(0, data, HEADER_CRC_AT))
        return STORE_ECORRUPT;
    struct entry_header header = {.type = data[1],
                                  .part_count = le16_get(data + 2),
                                  .length = le32_get(data + 4),
                                  .index = le64_get(data + 8),
                                  .term = le64_get(data + 16),
                                  .append_time_us = (int64_t)le64_get(data + 24)};
    if (data[0] != ENTRY_VERSION || header.length > ENTRY_SIZE_MAX ||
        header.length < ENTRY_HEADER_SIZE + (size_t)header.part_count * ENTRY_ENVELOPE_SIZE)
        return STORE_ECORRUPT;
    *ret_header = header;
    return 0;
}

void entry_envelope_decode(const uint8_t data[ENTRY_ENVELOPE_SIZE], struct entry_part *ret_part,
                           uint32_t *ret_crc)
{
    *ret_part = (struct entry_part){.kind = data[0],
                                    .flags = data[1],
                                    .command = le16_get(data + 2),
                                    .span = le32_get(data + 4),
                                    .partition = le64_get(data + 8),
                                    .base_offset = le64_get(data + 16),
                                    .payload = {.size = le32_get(data + 24)}};
    *ret_crc = le32_get(data + ENVELOPE_CRC_AT);
}

int64_t entry_part_decode(const uint8_t *data, size_t size, struct entry_part *ret_part)
{
    if (size < ENTRY_ENVELOPE_SIZE)
        return STORE_ECORRUPT;
    struct entry_part part;
    uint32_t crc;
    entry_envelope_decode(data, &part, &crc);
    if (part.payload.size > size - ENTRY_ENVELOPE_SIZE)
        return STORE_ECORRUPT;
    if (part.kind == PART_DATA && part.payload.size < ENTRY_BATCH_SIZE_MIN)
        return STORE_ECORRUPT;
    if (part.kind != PART_DATA && part.kind != PART_COMMAND)
        return STORE_ECORRUPT;
    if (crc != entry_envelope_crc(data, data + ENTRY_ENVELOPE_SIZE, part.payload.size))
        return STORE_ECORRUPT;
    /* A payload is only ever read; slices have one type for both ways. */
    part.payload.data = (uint8_t *)(uintptr_t)(data + ENTRY_ENVELOPE_SIZE);
    *ret_part = part;
    return (int64_t)(ENTRY_ENVELOPE_SIZE + part.payload.size);
}

int entry_payload_check(const struct entry_part *part)
{
    if (part->kind != PART_DATA)
        return 0;
    const uint8_t *batch = part->payload.data;
    uint32_t crc = crc32c(0, batch + ENTRY_BATCH_UNCRCED, part->payload.size - ENTRY_BATCH_UNCRCED);
    return crc == be32_get(batch + ENTRY_BATCH_CRC_AT) ? 0 : STORE_ECORRUPT;
}

int entry_decode(const uint8_t *data, size_t size, struct entry_header *ret_header, struct entry_part *parts,
                 uint32_t part_count_max)
{
    struct entry_header header;
    int rc = entry_header_decode(data, size, &header);
    if (rc < 0)
        return rc;
    if (header.length != size)
        return STORE_ECORRUPT;
    if (header.part_count > part_count_max)
        return STORE_ENOMEM;
    size_t at = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < header.part_count; i++) {
        int64_t used = entry_part_decode(data + at, size - at, &parts[i]);
        if (used < 0)
            return (int)used;
        if ((rc = entry_payload_check(&parts[i])) < 0)
            return rc;
        at += (size_t)used;
    }
    if (at != size)
        return STORE_ECORRUPT;
    *ret_header = header;
    return 0;
}
