/* csv.h: records of a comma-separated file, as RFC 4180 writes them and as the world does.
 *
 * Quoted fields may hold commas, doubled quotes and line ends; lines end with LF or CRLF; a byte order mark is skipped;
 * an empty line is no record. Tolerated: a quote within an unquoted field is a character like others; a quote that is never
 * closed (within CSV_RECORD_MAX bytes) is one too, so that it cannot swallow the rest of the file; a byte that is no
 * UTF-8, and NUL, becomes U+FFFD.
 *
 * Thread: the one that opened it. */
#ifndef ORDER_PROCESSING_CSV_H
#define ORDER_PROCESSING_CSV_H

#include <stddef.h>
#include <stdint.h>

#define CSV_FIELDS_MAX 64 /* further fields are counted but not kept */
#define CSV_RECORD_MAX                                                                                       \
    (64 * 1024) /* bytes of a record with line ends in quotes; one on a single line has no limit */

struct csv;

struct csv_record {
    uint64_t line;                      /* where it starts, from 1 */
    size_t count;                       /* fields there are, also beyond CSV_FIELDS_MAX */
    const char *fields[CSV_FIELDS_MAX]; /* NUL-terminated UTF-8; borrowed until the next csv_next() */
};

/* 0, or -errno (-EINVAL: not a regular file). */
int csv_open(const char *path, struct csv **ret_csv);
void csv_close(struct csv *csv); /* accepts NULL */
/* 1: *ret_record is the next one; 0: the end; -ENOMEM. */
int csv_next(struct csv *csv, struct csv_record *ret_record);
/* How far the reading is: 0..100. */
int csv_percent(const struct csv *csv);

#endif
