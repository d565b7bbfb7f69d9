/* order.h: what the services tell each other: an order, as a struct and as the JSON text of an event's value.
 *
 * Money is in whole pence, never in floating point. Times are local text, "2010-12-01T08:26": nobody calculates with them.
 *
 * Thread: any; an order belongs to one thread at a time. */
#ifndef ORDER_PROCESSING_ORDER_H
#define ORDER_PROCESSING_ORDER_H

#include "csv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORDER_TEXT_MAX     64 /* bytes of an invoice number, product, customer or country */
#define ORDER_QUANTITY_MAX 1000000
#define ORDER_PRICE_MAX    100000000 /* pence; with the two below, a total is far from the end of int64_t */
#define ORDER_LINES_MAX    400 /* so that the JSON of the largest order stays below 1 MiB, an event's limit */
#define ORDER_TIME_SIZE    17

struct order_line {
    uint64_t line; /* in the input file */
    char *product, *description;
    int64_t quantity; /* negative in a cancellation */
    int64_t price_pence;
};

struct order {
    char *invoice, *customer, *country; /* of its first line */
    char time[ORDER_TIME_SIZE];
    uint64_t part; /* 1; an invoice that comes back later in the file goes on as part 2, 3, ... */
    struct order_line *lines;
    size_t line_count, line_capacity;
};

/** A line of the input that passed every check. All text is borrowed from the record. */
struct order_input {
    struct order_line line;
    const char *invoice, *customer, *country;
    char time[ORDER_TIME_SIZE];
};

/** Checks a record. Returns NULL and fills *ret_input, or why the record is refused (static text). */
const char *order_input_check(const struct csv_record *record, struct order_input *ret_input);

bool order_is_cancellation(const char *invoice); /* C536379 */
int64_t order_total_pence(const struct order *order);
/** "536365", or "536365-2" for a later part. */
void order_id(const struct order *order, char *to, size_t size);

/** Adds a copy of the line; the first one also sets invoice, customer, country and time. 0 or -ENOMEM. */
int order_add(struct order *order, const struct order_input *input);
void order_clear(struct order *order); /* as if new: {0} */

/** Returns JSON text (free() it) and its size, or NULL (out of memory). */
char *order_to_json(const struct order *order, size_t *ret_size);
/** 0, or -EINVAL (no order): *ret_order, cleared by the caller with order_clear(), is written on success only. */
int order_from_json(const void *json, size_t size, struct order *ret_order);

/** "-1,234.50" */
void money_format(int64_t pence, char *to, size_t size);

#endif
