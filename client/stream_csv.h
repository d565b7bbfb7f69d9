/* stream_csv.h: what the reader and the writer of tables share. Thread: the loop's. */
#ifndef CRIER_CLIENT_STREAM_CSV_H
#define CRIER_CLIENT_STREAM_CSV_H

#include "client/grown.h"
#include "client/stream_internal.h"
#include "crier/transform.h"

#define CSV_MARK      "\xef\xbb\xbf" /* byte order mark, in UTF-8 */
#define CSV_MARK_SIZE 3

/* Names, or fields, one behind the other. */
struct csv_fields {
    struct grown bytes;
    struct grown ends; /* size_t: where each ends in `bytes` */
};

static inline size_t csv_count(const struct csv_fields *fields)
{
    return fields->ends.size / sizeof(size_t);
}

static inline const char *csv_field(const struct csv_fields *fields, size_t index, size_t *ret_size)
{
    const size_t *ends = (const size_t *)(const void *)fields->ends.data;
    size_t from = index > 0 ? ends[index - 1] : 0;

    *ret_size = ends[index] - from;
    return *ret_size > 0 ? fields->bytes.data + from : "";
}

static inline int csv_field_end(struct csv_fields *fields)
{
    return grown_add(&fields->ends, &fields->bytes.size, sizeof(size_t));
}

static inline void csv_clear(struct csv_fields *fields)
{
    fields->bytes.size = fields->ends.size = 0;
}

static inline void csv_finish(struct csv_fields *fields)
{
    grown_finish(&fields->bytes);
    grown_finish(&fields->ends);
}

/* What the program gave, over the defaults in *ret_options. */
bool csv_options_take(struct crier_csv_options *ret_options, const struct crier_csv_options *given);

#endif
