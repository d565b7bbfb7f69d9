/* stream_csv_writer.c: items to rows of comma-separated values (RFC 4180).
 *
 * Role:     crier_csv_writer: a transform whose writable side is made for items.
 * Thread:   the loop's.
 * Owns:     struct csv_writer, the stream's ctx: the names of the columns, from the first item.
 *
 * Happy path:  transform: the first item's names, then its fields -> row -> pushed
 * Failures:    an item with other columns than the first: CRIER_EINVAL, and nothing of it is written. */
#include "client/handles.h"
#include "client/stream_csv.h"

#include "client/bus_internal.h"
#include "proto/batch.h"

#include <stdlib.h>
#include <string.h>

struct csv_writer {
    struct crier_csv_options options;
    crier_stream *stream; /* not a reference: its ctx */
    bool has_names;
    struct csv_fields names;
    struct csv_fields item_names, fields; /* of the item at hand */
    struct grown row;
};

/* ---- an item's fields ---- */

static int field_add(struct csv_writer *csv, const void *name, size_t name_size, const void *value,
                     size_t value_size)
{
    int rc = grown_add(&csv->item_names.bytes, name, name_size);

    if (rc == 0)
        rc = csv_field_end(&csv->item_names);
    if (rc == 0)
        rc = grown_add(&csv->fields.bytes, value, value_size);
    return rc < 0 ? rc : csv_field_end(&csv->fields);
}

static int fields_take(struct csv_writer *csv, const crier_event *event)
{
    const struct batch_record *record = event->internal;
    const uint8_t *cursor = event->header_count > 0 ? record->headers : NULL;
    struct batch_string name, value;
    int rc = 0;

    csv_clear(&csv->item_names);
    csv_clear(&csv->fields);
    if (event->header_count == 0)
        return field_add(csv, "value", 5, event->value, event->value ? event->value_size : 0);
    for (int32_t i = 0; rc == 0 && i < event->header_count; i++) {
        if (batch_record_header(record, &cursor, &name, &value) <= 0)
            return CRIER_EINVAL;
        rc = field_add(csv, name.data, name.size, value.data, value.size);
    }
    return rc;
}

static bool same_columns(const struct csv_writer *csv)
{
    const struct csv_fields *a = &csv->names, *b = &csv->item_names;

    if (!csv->options.names)
        return csv_count(a) == csv_count(b);
    return a->ends.size == b->ends.size && memcmp(a->ends.data, b->ends.data, a->ends.size) == 0 &&
           (a->bytes.size == 0 || memcmp(a->bytes.data, b->bytes.data, a->bytes.size) == 0);
}

/* ---- rows ---- */

static bool needs_quotes(const struct csv_writer *csv, const char *field, size_t size)
{
    if (size >= CSV_MARK_SIZE && memcmp(field, CSV_MARK, CSV_MARK_SIZE) == 0)
        return true; /* the first of all would be taken for a byte order mark */
    for (size_t i = 0; i < size; i++)
        if (field[i] == csv->options.delimiter || field[i] == '"' || field[i] == '\r' || field[i] == '\n')
            return true;
    return false;
}

static int quoted_add(struct csv_writer *csv, const char *field, size_t size)
{
    int rc = grown_add(&csv->row, "\"", 1);

    while (rc == 0 && size > 0) {
        const char *quote = memchr(field, '"', size);
        size_t run = quote ? (size_t)(quote - field) + 1 : size;
        rc = grown_add(&csv->row, field, run);
        if (rc == 0 && quote)
            rc = grown_add(&csv->row, "\"", 1);
        field += run;
        size -= run;
    }
    return rc < 0 ? rc : grown_add(&csv->row, "\"", 1);
}

static int row_add(struct csv_writer *csv, const struct csv_fields *fields)
{
    size_t count = csv_count(fields), size;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        const char *field = csv_field(fields, i, &size);
        if (i > 0)
            rc = grown_add(&csv->row, &csv->options.delimiter, 1);
        if (rc == 0 && (needs_quotes(csv, field, size) || (count == 1 && size == 0)))
            rc = quoted_add(csv, field, size); /* a row of one empty field would be an empty line */
        else if (rc == 0)
            rc = grown_add(&csv->row, field, size);
    }
    return rc < 0 ? rc : grown_add(&csv->row, csv->options.lf ? "\n" : "\r\n", csv->options.lf ? 1 : 2);
}

static int item_write(struct csv_writer *csv, const crier_event *event, const char **ret_text)
{
    int rc = fields_take(csv, event);

    csv->row.size = 0;
    if (rc == 0 && !csv->has_names) {
        struct csv_fields empty = csv->names;
        csv->names = csv->item_names;
        csv->item_names = empty;
        csv->has_names = true;
        if (csv->options.names)
            rc = row_add(csv, &csv->names);
    } else if (rc == 0 && !same_columns(csv)) {
        *ret_text = "an item has other columns than the first";
        rc = CRIER_EINVAL;
    }
    if (rc == 0)
        rc = row_add(csv, &csv->fields);
    return rc < 0 ? rc : crier_stream_push(csv->stream, csv->row.data, csv->row.size);
}

/* ---- operations ---- */

static void csv_transform(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    const char *text = NULL;
    int rc = CRIER_EINVAL;

    if (chunk->event)
        rc = item_write(ctx, chunk->event, &text);
    else
        text = "bytes are no item";
    (void)crier_stream_done(stream, rc < 0 ? rc : 0, text);
}

static void csv_release(void *ctx)
{
    struct csv_writer *csv = ctx;

    csv_finish(&csv->names);
    csv_finish(&csv->item_names);
    csv_finish(&csv->fields);
    grown_finish(&csv->row);
    free(csv);
}

int crier_csv_writer(crier *bus, const struct crier_csv_options *options, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    static const struct crier_stream_ops ops = {
        .struct_size = sizeof(ops), .transform = csv_transform, .release = csv_release};
    struct crier_stream_options items = crier_stream_options_default();
    struct crier_csv_options copy;
    struct csv_writer *csv;
    int rc;

    if (!bus || !ret_stream || !csv_options_take(&copy, options))
        return CRIER_EINVAL;
    if (!(csv = malloc(sizeof(*csv))))
        return CRIER_ENOMEM;
    *csv = (struct csv_writer){.options = copy};
    items.writable_items = true;
    if ((rc = crier_stream_create(bus, CRIER_TRANSFORM, &ops, csv, &items, &csv->stream)) < 0)
        csv_release(csv);
    else
        *ret_stream = csv->stream;
    return rc;
}
