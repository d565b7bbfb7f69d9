/* batch_iterator.c: the events of a batch, one after the other.
 *
 * Role:    for whoever reads events: the client's listeners, keyed work in the broker's threads, tools.
 * Thread:  any; a compressed batch is decompressed by init, so there: threads that may compute.
 * Owner:   the iterator owns the decompressed bytes; records borrow from them or from the batch until finish.
 *
 * Happy path:  init → next until 0 → finish
 * Failures:    the batch's CRC was checked by whoever received it; what is wrong all the same ends the walk with
 *              CRIER_ECORRUPT, and never reads outside the bytes. */
#include "proto/batch.h"

#include "proto/codec.h"
#include "proto/error.h"
#include "proto/record.h"

#include <stdlib.h>

int batch_iterator_init(struct batch_iterator *iterator, const uint8_t *data, size_t size,
                        size_t uncompressed_size_max)
{
    struct batch_iterator it = {.delta = -1};
    int64_t decoded = batch_header_decode(data, size, &it.header);
    if (decoded == WIRE_CRIER_ENOTSUP)
        return WIRE_CRIER_ENOTSUP;
    if (decoded <= 0)
        return WIRE_CRIER_ECORRUPT;
    it.at = data + BATCH_HEADER_SIZE;
    it.end = data + decoded;
    if (batch_header_codec(&it.header) != BATCH_NONE) {
        size_t bytes_size;
        int rc = codec_decompress(batch_header_codec(&it.header), it.at, (size_t)(it.end - it.at),
                                  uncompressed_size_max, &it.scratch, &bytes_size);
        if (rc < 0)
            return rc;
        it.at = it.scratch;
        it.end = it.scratch + bytes_size;
    }
    *iterator = it;
    return 0;
}

int batch_iterator_next(struct batch_iterator *iterator, struct batch_record *ret_record)
{
    if (iterator->index == iterator->header.count)
        return iterator->at == iterator->end ? 0 : WIRE_CRIER_ECORRUPT;
    struct record record;
    const uint8_t *after = record_get(iterator->at, iterator->end, &record);
    int64_t offset, timestamp_ms;
    if (!after || record.offset_delta <= iterator->delta ||
        record.offset_delta > iterator->header.last_offset_delta ||
        __builtin_add_overflow(iterator->header.base_offset, (int64_t)record.offset_delta, &offset) ||
        __builtin_add_overflow(iterator->header.base_timestamp_ms, record.timestamp_delta, &timestamp_ms))
        return WIRE_CRIER_ECORRUPT;
    iterator->at = after;
    iterator->delta = record.offset_delta;
    iterator->index++;
    ret_record->offset = offset;
    ret_record->timestamp_ms = timestamp_ms;
    ret_record->key = record.key;
    ret_record->value = record.value;
    ret_record->header_count = record.header_count;
    ret_record->headers = record.headers;
    ret_record->headers_end = record.end;
    return 1;
}

void batch_iterator_finish(struct batch_iterator *iterator)
{
    free(iterator->scratch);
    *iterator = (struct batch_iterator){0};
}

int batch_record_header(const struct batch_record *record, const uint8_t **cursor,
                        struct batch_string *ret_key, struct batch_string *ret_value)
{
    if (*cursor == record->headers_end)
        return 0;
    const uint8_t *after = record_header(*cursor, record->headers_end, ret_key, ret_value);
    if (!after)
        return WIRE_CRIER_ECORRUPT;
    *cursor = after;
    return 1;
}
