/* batch.h: the Kafka RecordBatch v2 (magic 2), built, checked and walked. docs/protocol.md has the byte table.
 *
 * A batch is what travels: the producer builds it once, its CRC-32C covers everything from byte 21 to the end, and
 * the broker only patches baseOffset and partitionLeaderEpoch, both outside the CRC. Big-endian throughout.
 * Source of the format: Apache Kafka, DefaultRecordBatch and DefaultRecord.
 *
 * Thread: any; all state is the caller's. Ownership: iterators and headers borrow the bytes. */
#ifndef CRIER_PROTO_BATCH_H
#define CRIER_PROTO_BATCH_H

#include "proto/varint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_HEADER_SIZE         61
#define BATCH_LENGTH_OFFSET       12 /* batchLength counts the bytes from here */
#define BATCH_CRC_START           21 /* the CRC covers from here to the end */
#define BATCH_UNCRCED_SIZE        21 /* the bytes Kafka's CRC skips; the entry envelope covers them */
#define BATCH_COUNT_MAX           1000000
#define BATCH_RECORD_OVERHEAD_MAX 64 /* varints and attributes around one record's key, value and headers */

enum batch_codec { BATCH_NONE = 0, BATCH_GZIP = 1, BATCH_SNAPPY = 2, BATCH_LZ4 = 3, BATCH_ZSTD = 4 };

struct batch_header {
    int64_t base_offset;
    uint32_t size; /* the whole batch in bytes, batchLength + 12 */
    int32_t leader_epoch;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence; /* -1: none */
    int32_t count;
};

static inline enum batch_codec batch_header_codec(const struct batch_header *header)
{
    return (enum batch_codec)(header->attributes & 7);
}

/* What a batch may be; checked before anything is allocated or decompressed. */
struct batch_limits {
    size_t batch_size_max;        /* bytes, compressed */
    size_t event_size_max;        /* key + value + headers of one event, bytes */
    size_t uncompressed_size_max; /* bytes after decompression: a bomb ends here */
};

/* Reads the 61 bytes. Returns the whole batch's size if all of it is there, 0 if more bytes are needed, or
 * CRIER_ECORRUPT (impossible lengths or counts) or CRIER_ENOTSUP (another magic). Checks no CRC. */
int64_t batch_header_decode(const uint8_t *data, size_t size, struct batch_header *ret_header);

/* Everything a broker must know before it stores the one batch that fills data exactly: header, CRC, codec known
 * (gzip and snappy: CRIER_ENOTSUP), not a control batch, count == lastOffsetDelta + 1 > 0, sizes; and, when not
 * compressed, every record: deltas 0..n-1, varints in range, lengths that add up, no event above event_size_max.
 * Returns 0, CRIER_ECORRUPT, CRIER_ETOOBIG or CRIER_ENOTSUP; *ret_why is a static text, set on error (may be NULL). */
int batch_validate(const uint8_t *data, size_t size, const struct batch_limits *limits,
                   struct batch_header *ret_header, const char **ret_why);
/* The same for the record area only of a compressed batch, decompressing it into a buffer of its own. For threads that
 * may compute. Also CRIER_ENOMEM. */
int batch_validate_deep(const uint8_t *data, size_t size, const struct batch_limits *limits,
                        const char **ret_why);
/* Is the CRC right? The batch is complete (batch_header_decode returned its size). */
bool batch_crc_matches(const uint8_t *data, size_t size);

/* The broker's patch: outside the CRC. */
void batch_patch(uint8_t *data, int64_t base_offset, int32_t leader_epoch);
/* Sets the producer's three fields, and the CRC from that of the records (crc32c(0, all behind the header)). */
void batch_number(uint8_t *data, size_t size, uint32_t records_crc, int64_t producer_id,
                  int16_t producer_epoch, int32_t base_sequence);
/* A producer's renumbering of a batch that was definitely refused: sets the three fields and renews the CRC. */
void batch_renumber(uint8_t *data, size_t size, int64_t producer_id, int16_t producer_epoch,
                    int32_t base_sequence);

/* ---- walking ---- */

struct batch_string {
    const uint8_t *data; /* NULL: null in Kafka's sense */
    size_t size;
};

struct batch_record {
    int64_t offset;
    int64_t timestamp_ms;
    struct batch_string key;
    struct batch_string value;
    int32_t header_count;
    const uint8_t *headers; /* encoded; walk with batch_record_header */
    const uint8_t *headers_end;
};

struct batch_iterator {
    struct batch_header header;
    const uint8_t *at, *end;
    uint8_t *scratch; /* decompressed records, owned; NULL if none */
    int32_t index;    /* records seen */
    int32_t delta;    /* offset delta of the last one, -1 before the first: they ascend */
};

/* Starts a walk over a complete batch (its size from batch_header_decode). Decompresses if need be.
 * 0, CRIER_ECORRUPT, CRIER_ENOTSUP, CRIER_ETOOBIG (beyond uncompressed_size_max) or CRIER_ENOMEM. */
int batch_iterator_init(struct batch_iterator *iterator, const uint8_t *data, size_t size,
                        size_t uncompressed_size_max);
/* 1: *ret_record is the next record (borrowed until finish); 0: the end; CRIER_ECORRUPT: the bytes make no sense. */
int batch_iterator_next(struct batch_iterator *iterator, struct batch_record *ret_record);
void batch_iterator_finish(struct batch_iterator *iterator);

/* The next header of a record: *cursor starts at record->headers. 1, 0 (no more) or CRIER_ECORRUPT. */
int batch_record_header(const struct batch_record *record, const uint8_t **cursor,
                        struct batch_string *ret_key, struct batch_string *ret_value);

/* ---- building ---- */

struct batch_pair {
    const void *key; /* not NULL */
    size_t key_size;
    const void *value; /* NULL: null */
    size_t value_size;
};

/* Builds one batch in place, in the caller's memory: append writes the record where it will be sent from. */
struct batch_builder {
    uint8_t *data; /* the caller's, capacity bytes */
    size_t capacity;
    size_t size; /* so far, header included */
    int32_t count;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    size_t summed;        /* of size: the records before this are in records_crc */
    uint32_t records_crc; /* taken while they are in the cache of the thread that wrote them */
};

/* data: borrowed until finish; capacity > BATCH_HEADER_SIZE. */
void batch_builder_init(struct batch_builder *builder, void *data, size_t capacity);
/* Bytes one more event could need at most. */
static inline size_t batch_record_size_max(size_t key_size, size_t value_size,
                                           const struct batch_pair *headers, size_t header_count)
{
    size_t size = BATCH_RECORD_OVERHEAD_MAX + key_size + value_size;
    for (size_t i = 0; i < header_count; i++)
        size += (size_t)2 * VARINT32_SIZE_MAX + headers[i].key_size + headers[i].value_size;
    return size;
}
/* key or value NULL: null. 0, or CRIER_EAGAIN (does not fit in what is left: nothing was written). */
int batch_builder_append(struct batch_builder *builder, int64_t timestamp_ms, const void *key,
                         size_t key_size, const void *value, size_t value_size,
                         const struct batch_pair *headers, size_t header_count);
/* Fills the header and the CRC of a batch with at least one record. Returns its size. */
size_t batch_builder_finish(struct batch_builder *builder, int64_t producer_id, int16_t producer_epoch,
                            int32_t base_sequence);
/* Compresses a finished batch into `to` (lz4 frame or zstd), renewing header and CRC. Returns the new size, 0 if it
 * would not become smaller than `size` within `capacity` (send the original), or CRIER_ENOTSUP, CRIER_ENOMEM.
 * A capacity of size + size / 1024 + 128 lets lz4 write in place; with less it needs memory of its own for a moment. */
int64_t batch_compress(const uint8_t *data, size_t size, enum batch_codec codec, void *to, size_t capacity);

#endif
