/* record.h: one record of a batch, read; shared by the check (batch.c) and the walk (batch_iterator.c).
 *
 *   length varint | attributes i8 | timestamp delta varlong | offset delta varint | key length varint (-1: null) | key |
 *   value length varint (-1: null) | value | header count varint | headers
 *
 * Inline, because both loops run millions of times a second. Pure; any thread; everything is borrowed. */
#ifndef CRIER_PROTO_RECORD_H
#define CRIER_PROTO_RECORD_H

#include "proto/batch.h"
#include "proto/varint.h"

#define RECORD_SIZE_MIN 7 /* seven fields of at least a byte */

struct record {
    int64_t timestamp_delta;
    int32_t offset_delta;
    struct batch_string key, value;
    int32_t header_count;
    const uint8_t *headers, *end; /* the record ends where its headers do */
};

/* A length and so many bytes; -1 is null. Returns what follows, or NULL (not all of it is in [at, end)). */
static inline const uint8_t *record_string(const uint8_t *at, const uint8_t *end,
                                           struct batch_string *ret_string)
{
    int32_t size;
    at = varint32_get_inline(at, end, &size);
    if (!at || size < -1 || size > end - at)
        return NULL;
    if (size == -1) {
        *ret_string = (struct batch_string){NULL, 0};
        return at;
    }
    *ret_string = (struct batch_string){at, (size_t)size};
    return at + size;
}

/* Returns the byte after the record that starts at `at`, or NULL if the bytes make no sense. The headers inside are
 * only counted (each takes at least two bytes); record_header() reads them. */
static inline const uint8_t *record_get(const uint8_t *at, const uint8_t *end, struct record *ret_record)
{
    int32_t size;
    at = varint32_get_inline(at, end, &size);
    if (!at || size < RECORD_SIZE_MIN - 1 || size > end - at)
        return NULL;
    end = at + size;
    at++; /* attributes: unused in magic 2 */
    at = varint64_get_inline(at, end, &ret_record->timestamp_delta);
    if (!at)
        return NULL;
    at = varint32_get_inline(at, end, &ret_record->offset_delta);
    if (!at)
        return NULL;
    at = record_string(at, end, &ret_record->key);
    if (!at)
        return NULL;
    at = record_string(at, end, &ret_record->value);
    if (!at)
        return NULL;
    at = varint32_get_inline(at, end, &ret_record->header_count);
    if (!at || ret_record->header_count < 0 || ret_record->header_count > (end - at) / 2)
        return NULL;
    if (ret_record->header_count == 0 && at != end)
        return NULL;
    ret_record->headers = at;
    ret_record->end = end;
    return end;
}

/* One header: a key that is not null, and a value. Returns what follows, or NULL. */
static inline const uint8_t *record_header(const uint8_t *at, const uint8_t *end,
                                           struct batch_string *ret_key, struct batch_string *ret_value)
{
    at = record_string(at, end, ret_key);
    return at && ret_key->data ? record_string(at, end, ret_value) : NULL;
}

#endif
