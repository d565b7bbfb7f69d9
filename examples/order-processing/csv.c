/* csv.c: see csv.h. The file is mapped and walked once; a record's fields are copied, repaired, into one buffer.
 *
 * Happy path:  end of the record -> split into fields -> copy, unquoted and as valid UTF-8.
 * Failures:    memory for a very long record. A file that shrinks while it is mapped ends the process (SIGBUS): input
 *              files are not edited while they are read. */
#include "csv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLACEMENT      "\xEF\xBF\xBD" /* U+FFFD */
#define REPLACEMENT_SIZE 3

struct csv {
    const char *data, *end; /* the mapped file */
    const char *at;         /* the next record */
    uint64_t line;          /* of `at` */
    char *text;             /* the current record's fields, one after the other */
    size_t capacity;
};

int csv_open(const char *path, struct csv **ret_csv)
{
    struct stat info;
    void *data = NULL;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &info) < 0)
        rc = -errno;
    else if (!S_ISREG(info.st_mode))
        rc = -EINVAL;
    else if (info.st_size > 0 &&
             (data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        rc = -errno;
    close(fd);
    if (rc < 0)
        return rc;

    struct csv *csv = calloc(1, sizeof(*csv));
    if (csv == NULL) {
        if (data)
            munmap(data, (size_t)info.st_size);
        return -ENOMEM;
    }
    csv->data = csv->at = data ? data : "";
    csv->end = csv->data + info.st_size;
    csv->line = 1;
    if (info.st_size >= 3 && memcmp(csv->data, "\xEF\xBB\xBF", 3) == 0)
        csv->at += 3;
    *ret_csv = csv;
    return 0;
}

void csv_close(struct csv *csv)
{
    if (csv == NULL)
        return;
    if (csv->end > csv->data)
        munmap((void *)csv->data, (size_t)(csv->end - csv->data));
    free(csv->text);
    free(csv);
}

int csv_percent(const struct csv *csv)
{
    return csv->at == csv->end ? 100 : (int)(100 * (csv->at - csv->data) / (csv->end - csv->data));
}

/* The line end, or the end of the file, at or after `at`. */
static const char *line_end(const struct csv *csv, const char *at)
{
    const char *end = at < csv->end ? memchr(at, '\n', (size_t)(csv->end - at)) : NULL;
    return end ? end : csv->end;
}

/* Where the quoted field that opens at `open` closes: its last quote. NULL: nowhere in reach. */
static const char *closing_quote(const struct csv *csv, const char *record, const char *open)
{
    const char *limit = csv->end - record > CSV_RECORD_MAX ? record + CSV_RECORD_MAX : csv->end;
    for (const char *at = open + 1; at < limit; at++) {
        if (*at != '"')
            continue;
        if (at + 1 == csv->end || at[1] != '"')
            return at;
        at++;
    }
    return NULL;
}

/* How many bytes at `at` are one well-formed UTF-8 character (Unicode, table 3-7); 0: none. */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    unsigned char first = at[0], low = 0x80, high = 0xBF;
    size_t size;
    if (first < 0x80)
        return first != 0;
    if (first >= 0xC2 && first <= 0xDF)
        size = 2;
    else if ((first & 0xF0) == 0xE0)
        size = 3;
    else if (first >= 0xF0 && first <= 0xF4)
        size = 4;
    else
        return 0;
    if (first == 0xE0)
        low = 0xA0; /* overlong below */
    if (first == 0xED)
        high = 0x9F; /* surrogates above */
    if (first == 0xF0)
        low = 0x90;
    if (first == 0xF4)
        high = 0x8F; /* beyond U+10FFFF */
    if (left < size || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if (at[i] < 0x80 || at[i] > 0xBF)
            return 0;
    }
    return size;
}

/* Copies from..end as valid UTF-8; within quotes, "" stands for ". Returns the end of what was written. */
static char *copy_text(char *to, const char *from, const char *end, bool quoted)
{
    while (from < end) {
        size_t size = utf8_size((const unsigned char *)from, (size_t)(end - from));
        if (size == 0) {
            memcpy(to, REPLACEMENT, REPLACEMENT_SIZE);
            to += REPLACEMENT_SIZE;
            from++;
            continue;
        }
        memcpy(to, from, size);
        to += size;
        from += quoted && *from == '"' && from + 1 < end && from[1] == '"' ? 2 : size;
    }
    return to;
}

struct field {
    const char *quoted, *quoted_end; /* between the quotes; NULL: none */
    const char *plain, *plain_end;   /* the field, or what follows its closing quote */
};

/* The field at `at`. Its plain part ends at the comma, the line end or the file's end. */
static struct field field_at(const struct csv *csv, const char *record, const char *at)
{
    struct field field = {.plain = at};
    const char *close = at < csv->end && *at == '"' ? closing_quote(csv, record, at) : NULL;
    if (close) {
        field.quoted = at + 1;
        field.quoted_end = close;
        field.plain = close + 1;
    }
    const char *end = line_end(csv, field.plain);
    const char *comma = memchr(field.plain, ',', (size_t)(end - field.plain));
    field.plain_end = comma ? comma : end;
    return field;
}

/* Where the record at `record` ends, its line end not counted. */
static const char *record_end(const struct csv *csv, const char *record)
{
    struct field field = field_at(csv, record, record);
    while (field.plain_end < csv->end && *field.plain_end == ',')
        field = field_at(csv, record, field.plain_end + 1);
    return field.plain_end;
}

static const char *without_return(const struct field *field)
{
    bool last = field->plain_end > field->plain && field->plain_end[-1] == '\r';
    return last ? field->plain_end - 1 : field->plain_end;
}

static void split(struct csv *csv, const char *record, const char *end, struct csv_record *ret_record)
{
    char *to = csv->text;
    const char *at = record;
    for (ret_record->count = 0;; ret_record->count++) {
        struct field field = field_at(csv, record, at);
        bool last = field.plain_end == end;
        if (ret_record->count < CSV_FIELDS_MAX) {
            ret_record->fields[ret_record->count] = to;
            if (field.quoted)
                to = copy_text(to, field.quoted, field.quoted_end, true);
            to = copy_text(to, field.plain, last ? without_return(&field) : field.plain_end, false);
            *to++ = '\0';
        }
        if (last)
            break;
        at = field.plain_end + 1;
    }
    ret_record->count++;
}

static uint64_t count_lines(const char *from, const char *end)
{
    uint64_t count = 0;
    while (from < end && (from = memchr(from, '\n', (size_t)(end - from))) != NULL) {
        count++;
        from++;
    }
    return count;
}

int csv_next(struct csv *csv, struct csv_record *ret_record)
{
    while (csv->at < csv->end &&
           (*csv->at == '\n' || (*csv->at == '\r' && line_end(csv, csv->at) == csv->at + 1))) {
        csv->line += *csv->at == '\n';
        csv->at++;
    }
    if (csv->at == csv->end)
        return 0;

    const char *record = csv->at, *end = record_end(csv, record);
    size_t needed =
        (size_t)(end - record) * REPLACEMENT_SIZE + CSV_FIELDS_MAX + 1; /* every byte bad, every NUL */
    if (needed > csv->capacity) {
        char *text = realloc(csv->text, 2 * needed);
        if (text == NULL)
            return -ENOMEM;
        csv->text = text;
        csv->capacity = 2 * needed;
    }
    split(csv, record, end, ret_record);
    ret_record->line = csv->line;
    csv->at = end < csv->end ? end + 1 : end;
    csv->line += count_lines(record, csv->at);
    return 1;
}
