/* stream_csv.c: bytes to rows: comma-separated values as RFC 4180 has them, and nothing else.
 *
 * Role:     crier_csv_reader: a transform whose readable side is made for items.
 * Thread:   the loop's.
 * Owns:     struct csv_reader, the stream's ctx: the names of the columns, and the beginning of a row whose end has not come yet: as it
 *           stands, and its fields without quotes.
 *
 * Happy path:  transform: byte by byte through five states, whole runs of plain ones at once -> row_end: an item, pushed
 * Failures:    what the RFC does not have: CRIER_ECORRUPT, with the line. A row above its limit: CRIER_ETOOBIG. */
#include "client/stream_csv.h"
#include "client/handles.h"

#include "client/bus_internal.h"
#include "client/struct_size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW_SIZE_MAX (1u << 20)

enum csv_state {
    CSV_FIELD,  /* a field begins */
    CSV_PLAIN,  /* in one without quotes */
    CSV_QUOTED, /* in one with them */
    CSV_QUOTE,  /* behind a quote in such a one: its end, or the first of two */
    CSV_RETURN  /* behind a carriage return: a line feed comes */
};

struct csv_reader {
    struct crier_csv_options options;
    struct grown key_column; /* with its NUL; empty: none */
    crier_stream *stream;    /* not a reference: its ctx */
    enum csv_state state;
    unsigned mark_size; /* of the byte order mark, so far; CSV_MARK_SIZE: it is through, or there is none */
    uint64_t line, row_line;  /* from 1: here; where the row began */
    struct csv_fields fields; /* of the row */
    struct grown row;         /* as it stands, but for what the chunk at hand has of it */
    bool has_names;
    struct csv_fields names;
    size_t key;           /* its column, if there is a key_column */
    struct grown headers; /* crier_header: of the item being made */
    char text[128];       /* why it failed */
};

static int corrupt(struct csv_reader *csv, const char *what)
{
    snprintf(csv->text, sizeof(csv->text), "line %llu: %s", (unsigned long long)csv->line, what);
    return CRIER_ECORRUPT;
}

/* ---- names ---- */

static int names_number(struct csv_reader *csv)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < csv_count(&csv->fields); i++) {
        char number[24];
        int size = snprintf(number, sizeof(number), "%zu", i + 1);
        if ((rc = grown_add(&csv->names.bytes, number, (size_t)size)) == 0)
            rc = csv_field_end(&csv->names);
    }
    return rc;
}

static int names_take(struct csv_reader *csv)
{
    size_t size;
    int rc = 0;

    csv->has_names = true;
    if (csv->options.names) {
        csv->names = csv->fields;
        csv->fields = (struct csv_fields){0};
    } else if ((rc = names_number(csv)) < 0) {
        return rc;
    }
    for (csv->key = 0; csv->key_column.size > 0 && csv->key < csv_count(&csv->names); csv->key++) {
        const char *name = csv_field(&csv->names, csv->key, &size);
        if (size + 1 == csv->key_column.size && memcmp(name, csv->key_column.data, size) == 0)
            return 0;
    }
    if (csv->key_column.size > 0) {
        snprintf(csv->text, sizeof(csv->text), "there is no column '%.80s'", csv->key_column.data);
        return CRIER_EINVAL;
    }
    return 0;
}

/* ---- rows ---- */

static int row_push(struct csv_reader *csv)
{
    crier_event event = {.topic = "", .value = csv->row.data, .value_size = csv->row.size};
    crier_chunk *chunk;
    int rc = 0;

    csv->headers.size = 0;
    for (size_t i = 0; rc == 0 && i < csv_count(&csv->names); i++) {
        crier_header header;
        header.name = csv_field(&csv->names, i, &header.name_size);
        header.value = csv_field(&csv->fields, i, &header.value_size);
        rc = grown_add(&csv->headers, &header, sizeof(header));
    }
    if (rc < 0)
        return rc;
    if (csv->key_column.size > 0)
        event.key = csv_field(&csv->fields, csv->key, &event.key_size);
    rc = crier_chunk_create_item(&event, (const crier_header *)(const void *)csv->headers.data,
                                 csv_count(&csv->names), &chunk);
    if (rc < 0)
        return rc;
    rc = crier_stream_push_chunk(csv->stream, chunk); /* above the mark the writer waits */
    crier_chunk_release(chunk);
    return rc < 0 ? rc : 0;
}

static int row_grow(struct csv_reader *csv, const char *data, size_t size)
{
    if (size <= csv->options.row_size_max - csv->row.size)
        return grown_add(&csv->row, data, size);
    snprintf(csv->text, sizeof(csv->text), "line %llu: a row of more than %zu bytes begins here",
             (unsigned long long)csv->row_line, csv->options.row_size_max);
    return CRIER_ETOOBIG;
}

/* The row is all there, in `row` and `fields`. */
static int row_end(struct csv_reader *csv)
{
    bool names = !csv->has_names && csv->options.names;
    int rc = 0;

    if (csv->row.size == 0)
        csv_clear(&csv->fields); /* an empty line */
    else if ((rc = csv_field_end(&csv->fields)) == 0 && !csv->has_names)
        rc = names_take(csv);
    if (rc == 0 && csv->row.size > 0 && !names) {
        if (csv_count(&csv->fields) == csv_count(&csv->names)) {
            rc = row_push(csv);
        } else {
            char what[80];
            snprintf(what, sizeof(what), "%zu fields, where the first row has %zu", csv_count(&csv->fields),
                     csv_count(&csv->names));
            csv->line = csv->row_line;
            rc = corrupt(csv, what);
        }
    }
    csv_clear(&csv->fields);
    csv->row.size = 0;
    csv->row_line = csv->line;
    return rc;
}

/* ---- bytes ---- */

/* From `at`, in a field without quotes: how many bytes say nothing. */
static size_t plain_size(const struct csv_reader *csv, const char *at, const char *end)
{
    const char *from = at;

    while (at < end && *at != csv->options.delimiter && *at != '"' && *at != '\n' && *at != '\r')
        at++;
    return (size_t)(at - from);
}

static size_t quoted_size(struct csv_reader *csv, const char *at, const char *end)
{
    const char *quote = memchr(at, '"', (size_t)(end - at));
    const char *stop = quote ? quote : end;

    for (const char *line = at; (line = memchr(line, '\n', (size_t)(stop - line))); line++)
        csv->line++;
    return (size_t)(stop - at);
}

/* at: the line feed. A carriage return before it is no part of the row; it may have been the last byte of the chunk before. */
static int line_end(struct csv_reader *csv, const char *at, const char **row)
{
    size_t size = (size_t)(at - *row);
    int rc;

    if (csv->state == CSV_RETURN && size > 0)
        size--;
    rc = row_grow(csv, *row, size);
    *row = at + 1;
    csv->state = CSV_FIELD;
    csv->line++;
    return rc < 0 ? rc : row_end(csv);
}

/* A byte that says something, outside of quotes. *row: where what the chunk has of the row begins. */
static int byte_read(struct csv_reader *csv, const char *at, const char **row)
{
    if (csv->state == CSV_RETURN && *at != '\n')
        return corrupt(csv, "a carriage return without a line feed");
    if (*at == '\r') {
        csv->state = CSV_RETURN;
        return 0;
    }
    if (*at == '\n')
        return line_end(csv, at, row);
    if (*at == csv->options.delimiter) {
        csv->state = CSV_FIELD;
        return csv_field_end(&csv->fields);
    }
    if (*at == '"' && csv->state == CSV_FIELD) {
        csv->state = CSV_QUOTED;
        return 0;
    }
    if (*at == '"' && csv->state == CSV_QUOTE) { /* two of them are one */
        csv->state = CSV_QUOTED;
        return grown_add(&csv->fields.bytes, at, 1);
    }
    return corrupt(csv, csv->state == CSV_QUOTE ? "something behind a closing quote"
                                                : "a quote in a field without quotes");
}

static int bytes_read(struct csv_reader *csv, const char *at, const char *end)
{
    const char *row = at;
    int rc = 0;

    while (rc == 0 && at < end) {
        size_t size = 0;
        if (csv->state == CSV_QUOTED)
            size = quoted_size(csv, at, end);
        else if (csv->state == CSV_FIELD || csv->state == CSV_PLAIN)
            size = plain_size(csv, at, end);
        if (size > 0) {
            rc = grown_add(&csv->fields.bytes, at, size);
            csv->state = csv->state == CSV_FIELD ? CSV_PLAIN : csv->state;
            at += size;
        } else if (csv->state == CSV_QUOTED) {
            csv->state = CSV_QUOTE;
            at++;
        } else {
            rc = byte_read(csv, at++, &row);
        }
    }
    if (rc == 0 && row < end) /* but for a carriage return that may end it */
        rc = row_grow(csv, row, (size_t)(end - row) - (csv->state == CSV_RETURN));
    return rc;
}

/* The first bytes: a byte order mark is not there; what only looked like one is. */
static int mark_read(struct csv_reader *csv, const char **at, const char *end)
{
    static const char mark[] = CSV_MARK;

    while (csv->mark_size < CSV_MARK_SIZE && *at < end) {
        unsigned like = csv->mark_size;
        if (**at != mark[like]) {
            csv->mark_size = CSV_MARK_SIZE;
            return bytes_read(csv, mark, mark + like);
        }
        csv->mark_size++;
        (*at)++;
    }
    return 0;
}

/* ---- operations ---- */

static void csv_done(struct csv_reader *csv, int rc)
{
    (void)crier_stream_done(csv->stream, rc, csv->text[0] ? csv->text : NULL);
}

static void csv_transform(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    struct csv_reader *csv = ctx;
    const char *at = chunk->data, *end = at + chunk->size;
    int rc = mark_read(csv, &at, end);

    (void)stream;
    csv_done(csv, rc < 0 ? rc : bytes_read(csv, at, end));
}

static void csv_flush(crier_stream *stream, void *ctx)
{
    struct csv_reader *csv = ctx;
    int rc = 0;

    (void)stream;
    if (csv->mark_size < CSV_MARK_SIZE)
        rc = corrupt(csv, "it ends inside a byte order mark");
    if (csv->mark_size == 0)
        rc = 0; /* nothing at all: no rows */
    else if (csv->state == CSV_QUOTED)
        rc = corrupt(csv, "a quote is not closed, perhaps long before");
    else if (csv->state == CSV_RETURN)
        rc = corrupt(csv, "a carriage return without a line feed");
    else if (rc == 0)
        rc = row_end(csv); /* the last line needs no end */
    csv_done(csv, rc);
}

static void csv_release(void *ctx)
{
    struct csv_reader *csv = ctx;

    csv_finish(&csv->fields);
    csv_finish(&csv->names);
    grown_finish(&csv->row);
    grown_finish(&csv->headers);
    grown_finish(&csv->key_column);
    free(csv);
}

bool csv_options_take(struct crier_csv_options *ret_options, const struct crier_csv_options *given)
{
    *ret_options = crier_csv_options_default();
    return struct_take(ret_options, sizeof(*ret_options), given) && ret_options->delimiter != '\0' &&
           !strchr("\"\r\n", ret_options->delimiter) && ret_options->row_size_max <= SIZE_MAX / 8;
}

int crier_csv_reader(crier *bus, const struct crier_csv_options *options, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    static const struct crier_stream_ops ops = {
        .struct_size = sizeof(ops), .transform = csv_transform, .flush = csv_flush, .release = csv_release};
    struct crier_stream_options items = crier_stream_options_default();
    struct crier_csv_options copy;
    struct csv_reader *csv;
    int rc;

    if (!bus || !ret_stream || !csv_options_take(&copy, options))
        return CRIER_EINVAL;
    if (!(csv = malloc(sizeof(*csv))))
        return CRIER_ENOMEM;
    if (copy.row_size_max == 0)
        copy.row_size_max = ROW_SIZE_MAX;
    *csv = (struct csv_reader){.options = copy, .line = 1, .row_line = 1};
    items.readable_items = true;
    rc = copy.key_column ? grown_add(&csv->key_column, copy.key_column, strlen(copy.key_column) + 1) : 0;
    if (rc == 0)
        rc = crier_stream_create(bus, CRIER_TRANSFORM, &ops, csv, &items, &csv->stream);
    if (rc < 0)
        csv_release(csv);
    else
        *ret_stream = csv->stream;
    return rc;
}
