/* batch.c: is this a batch, and may it be stored?
 *
 * Role:    reads the header, checks everything a broker must know before it stores a stranger's bytes, and patches the
 *          fields outside the CRC.
 * Thread:  batch_validate any (the reactor too: it neither allocates nor decompresses); batch_validate_deep threads that
 *          may compute.
 * Owner:   nothing; all bytes are borrowed.
 * Called:  broker core (every EMIT), storage's verify, the client (batch_renumber).
 *
 * Happy path:  size limits → CRC → header rules → every record
 * Failures:    a code for the peer and a static sentence for the log. One poisoned batch stops every consumer for ever, so
 *              what a consumer could not read is refused here. */
#include "proto/batch.h"

#include "base/bytes.h"
#include "proto/codec.h"
#include "proto/crc32c.h"
#include "proto/error.h"
#include "proto/record.h"

#include <stdlib.h>

#define MAGIC_OFFSET       16
#define CRC_OFFSET         17
#define PRODUCER_OFFSET    43
#define EPOCH_OFFSET       51
#define SEQUENCE_OFFSET    53
#define ATTRIBUTE_CODEC    0x07
#define ATTRIBUTE_LOG_TIME 0x08 /* the broker set the timestamps: only a broker may say so */
#define ATTRIBUTE_TRANSACT 0x10
#define ATTRIBUTE_CONTROL  0x20

#define WHY_CODEC "compressed with gzip, snappy or something unknown; use lz4 or zstd"

static int refuse(int code, const char *why, const char **ret_why)
{
    if (ret_why)
        *ret_why = why;
    return code;
}

/* ---- the header ---- */

static void header_read(const uint8_t *data, struct batch_header *header)
{
    header->base_offset = (int64_t)be64_get(data);
    header->size = BATCH_LENGTH_OFFSET + be32_get(data + 8);
    header->leader_epoch = (int32_t)be32_get(data + 12);
    header->crc = be32_get(data + CRC_OFFSET);
    header->attributes = be16_get(data + 21);
    header->last_offset_delta = (int32_t)be32_get(data + 23);
    header->base_timestamp_ms = (int64_t)be64_get(data + 27);
    header->max_timestamp_ms = (int64_t)be64_get(data + 35);
    header->producer_id = (int64_t)be64_get(data + PRODUCER_OFFSET);
    header->producer_epoch = (int16_t)be16_get(data + EPOCH_OFFSET);
    header->base_sequence = (int32_t)be32_get(data + SEQUENCE_OFFSET);
    header->count = (int32_t)be32_get(data + 57);
}

int64_t batch_header_decode(const uint8_t *data, size_t size, struct batch_header *ret_header)
{
    if (size <= MAGIC_OFFSET)
        return 0;
    if (data[MAGIC_OFFSET] != 2)
        return WIRE_CRIER_ENOTSUP;
    uint32_t length = be32_get(data + 8);
    if (length < BATCH_HEADER_SIZE - BATCH_LENGTH_OFFSET || length > INT32_MAX - BATCH_LENGTH_OFFSET)
        return WIRE_CRIER_ECORRUPT;
    if (size < BATCH_HEADER_SIZE)
        return 0;
    struct batch_header header;
    header_read(data, &header);
    /* A compacted batch may hold fewer records than offsets, never more. */
    if (header.count < 0 || header.count > BATCH_COUNT_MAX || header.last_offset_delta < 0 ||
        header.count - 1 > header.last_offset_delta)
        return WIRE_CRIER_ECORRUPT;
    if (size < header.size)
        return 0;
    *ret_header = header;
    return header.size;
}

bool batch_crc_matches(const uint8_t *data, size_t size)
{
    return crc32c(0, data + BATCH_CRC_START, size - BATCH_CRC_START) == be32_get(data + CRC_OFFSET);
}

/* ---- the rules ---- */

static int check_header(const struct batch_header *header, const char **ret_why)
{
    if (header->attributes & ATTRIBUTE_CONTROL)
        return refuse(WIRE_CRIER_ENOTSUP, "a control batch: only a broker writes those", ret_why);
    if (header->attributes & ATTRIBUTE_TRANSACT)
        return refuse(WIRE_CRIER_ENOTSUP, "a transactional batch: there are no transactions", ret_why);
    if (header->attributes & ATTRIBUTE_LOG_TIME)
        return refuse(WIRE_CRIER_ENOTSUP, "timestamps of type LogAppendTime: only a broker sets those",
                      ret_why);
    if (header->attributes & ~ATTRIBUTE_CODEC)
        return refuse(WIRE_CRIER_ENOTSUP, "unknown attributes", ret_why);
    if (batch_header_codec(header) != BATCH_NONE && codec_known(batch_header_codec(header)) < 0)
        return refuse(WIRE_CRIER_ENOTSUP, WHY_CODEC, ret_why);
    if (header->count == 0)
        return refuse(WIRE_CRIER_ECORRUPT, "no events in the batch", ret_why);
    if (header->count - 1 != header->last_offset_delta)
        return refuse(WIRE_CRIER_ECORRUPT, "the count and the last offset contradict each other", ret_why);
    if (header->producer_id < -1)
        return refuse(WIRE_CRIER_ECORRUPT, "an impossible producer id", ret_why);
    if (header->producer_id >= 0 && (header->producer_epoch < 0 || header->base_sequence < 0))
        return refuse(WIRE_CRIER_ECORRUPT, "a producer id without epoch or sequence", ret_why);
    return 0;
}

/* The bytes of an event that its sender counts: key, value and headers. -1: the headers make no sense. */
static int64_t event_size(const struct record *record)
{
    size_t size = record->key.size + record->value.size;
    const uint8_t *at = record->headers;
    for (int32_t i = 0; i < record->header_count; i++) {
        struct batch_string key, value;
        at = record_header(at, record->end, &key, &value);
        if (!at)
            return -1;
        size += key.size + value.size;
    }
    return at == record->end ? (int64_t)size : -1;
}

static int check_records(const uint8_t *at, const uint8_t *end, const struct batch_header *header,
                         size_t event_size_max, const char **ret_why)
{
    for (int32_t i = 0; i < header->count; i++) {
        struct record record;
        int64_t timestamp;
        at = record_get(at, end, &record);
        if (!at)
            return refuse(WIRE_CRIER_ECORRUPT, "a record's lengths do not add up", ret_why);
        if (record.offset_delta != i)
            return refuse(WIRE_CRIER_ECORRUPT, "the records' offsets are not 0, 1, 2, ...", ret_why);
        if (__builtin_add_overflow(header->base_timestamp_ms, record.timestamp_delta, &timestamp))
            return refuse(WIRE_CRIER_ECORRUPT, "a timestamp beyond 64 bits", ret_why);
        int64_t size = event_size(&record);
        if (size < 0)
            return refuse(WIRE_CRIER_ECORRUPT, "a record's headers do not add up", ret_why);
        if ((uint64_t)size > event_size_max)
            return refuse(WIRE_CRIER_ETOOBIG, "an event is larger than the limit", ret_why);
    }
    return at == end ? 0 : refuse(WIRE_CRIER_ECORRUPT, "bytes are left behind the last record", ret_why);
}

int batch_validate(const uint8_t *data, size_t size, const struct batch_limits *limits,
                   struct batch_header *ret_header, const char **ret_why)
{
    struct batch_header header;
    if (size > limits->batch_size_max)
        return refuse(WIRE_CRIER_ETOOBIG, "the batch is larger than the limit", ret_why);
    int64_t decoded = batch_header_decode(data, size, &header);
    if (decoded == WIRE_CRIER_ENOTSUP)
        return refuse(WIRE_CRIER_ENOTSUP, "the batch is not of format 2", ret_why);
    if (decoded < 0)
        return refuse(WIRE_CRIER_ECORRUPT, "the batch's lengths or counts are impossible", ret_why);
    if (decoded == 0 || (size_t)decoded != size)
        return refuse(WIRE_CRIER_ECORRUPT, "the batch's length is not that of its bytes", ret_why);
    if (!batch_crc_matches(data, size))
        return refuse(WIRE_CRIER_ECORRUPT, "the batch's checksum is wrong", ret_why);
    int rc = check_header(&header, ret_why);
    if (rc == 0 && batch_header_codec(&header) == BATCH_NONE)
        rc = check_records(data + BATCH_HEADER_SIZE, data + size, &header, limits->event_size_max, ret_why);
    if (rc == 0)
        *ret_header = header;
    return rc;
}

static const char *why_not_decompressed(int code)
{
    switch (code) {
    case WIRE_CRIER_ETOOBIG:
        return "the events are larger than the limit once decompressed";
    case WIRE_CRIER_ENOMEM:
        return "out of memory while decompressing";
    case WIRE_CRIER_ENOTSUP:
        return WHY_CODEC;
    default:
        return "the compressed bytes are damaged";
    }
}

int batch_validate_deep(const uint8_t *data, size_t size, const struct batch_limits *limits,
                        const char **ret_why)
{
    struct batch_header header;
    int64_t decoded = batch_header_decode(data, size, &header);
    if (decoded <= 0 || (size_t)decoded != size)
        return refuse(WIRE_CRIER_ECORRUPT, "the batch's length is not that of its bytes", ret_why);
    const uint8_t *records = data + BATCH_HEADER_SIZE;
    if (batch_header_codec(&header) == BATCH_NONE)
        return check_records(records, data + size, &header, limits->event_size_max, ret_why);

    uint8_t *bytes;
    size_t bytes_size;
    int rc = codec_decompress(batch_header_codec(&header), records, size - BATCH_HEADER_SIZE,
                              limits->uncompressed_size_max, &bytes, &bytes_size);
    if (rc < 0)
        return refuse(rc, why_not_decompressed(rc), ret_why);
    rc = check_records(bytes, bytes + bytes_size, &header, limits->event_size_max, ret_why);
    free(bytes);
    return rc;
}

/* ---- changes to a finished batch ---- */

void batch_patch(uint8_t *data, int64_t base_offset, int32_t leader_epoch)
{
    be64_put(data, (uint64_t)base_offset);
    be32_put(data + 12, (uint32_t)leader_epoch);
}

static void numbers_put(uint8_t *data, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence)
{
    be64_put(data + PRODUCER_OFFSET, (uint64_t)producer_id);
    be16_put(data + EPOCH_OFFSET, (uint16_t)producer_epoch);
    be32_put(data + SEQUENCE_OFFSET, (uint32_t)base_sequence);
}

void batch_number(uint8_t *data, size_t size, uint32_t records_crc, int64_t producer_id,
                  int16_t producer_epoch, int32_t base_sequence)
{
    numbers_put(data, producer_id, producer_epoch, base_sequence);
    uint32_t head_crc = crc32c(0, data + BATCH_CRC_START, BATCH_HEADER_SIZE - BATCH_CRC_START);
    be32_put(data + CRC_OFFSET, crc32c_join(head_crc, records_crc, size - BATCH_HEADER_SIZE));
}

void batch_renumber(uint8_t *data, size_t size, int64_t producer_id, int16_t producer_epoch,
                    int32_t base_sequence)
{
    numbers_put(data, producer_id, producer_epoch, base_sequence);
    be32_put(data + CRC_OFFSET, crc32c(0, data + BATCH_CRC_START, size - BATCH_CRC_START));
}
