/* check_totals.c: what the services' totals have to be, worked out from the order file in another way.
 *
 * Role:   the other side of the demo's comparison. Shares the reading of CSV with the order service and nothing else: the
 *         rules are written down a second time, here with patterns instead of a parser, and money is added up per line
 *         instead of per order. One person's mistake would have to be made twice to go unnoticed.
 * Usage:  check_totals FILE   prints one JSON object.
 *
 * Rules:  a line is accepted if every column says something sensible (see refusal()). Accepted lines in a row with the same
 *         InvoiceNo, at most 400, are one order; its customer, country and day are its first line's. */
#include "csv.h"

#include <err.h>
#include <jansson.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct patterns {
    regex_t quantity, price, date;
};

struct totals {
    int64_t lines, accepted, placed, cancelled, revenue_pence;
    json_t *rejected, *sold, *returned, *low, *revenue, *orders;
    char invoice[128], cell[256]; /* the order in hand: InvoiceNo, "DAY/COUNTRY" */
    int order_lines;
};

static void compile(regex_t *pattern, const char *text)
{
    if (regcomp(pattern, text, REG_EXTENDED) != 0)
        errx(1, "a pattern: %s", text);
}

static void add(json_t *object, const char *name, int64_t amount)
{
    json_object_set_new(object, name,
                        json_integer(json_integer_value(json_object_get(object, name)) + amount));
}

/* "2.5" -> 250: the digits without the point, and as many zeros as decimals are missing. */
static int64_t pence(const char *price)
{
    char digits[32];
    size_t size = 0, decimals = strchr(price, '.') ? strlen(strchr(price, '.') + 1) : 0;
    for (const char *at = price; *at && size < sizeof(digits) - 3; at++) {
        if (*at != '.')
            digits[size++] = *at;
    }
    for (; decimals < 2; decimals++)
        digits[size++] = '0';
    digits[size] = '\0';
    return strtoll(digits, NULL, 10);
}

/* The day as 2010-12-01, if the calendar knows it. */
static bool day_of(const char *text, const regmatch_t *match, char *to, size_t size)
{
    struct tm day = {.tm_mon = atoi(text + match[1].rm_so) - 1,
                     .tm_mday = atoi(text + match[3].rm_so),
                     .tm_year = atoi(text + match[4].rm_so) - 1900,
                     .tm_hour = 12};
    struct tm asked = day;
    int hour = atoi(text + match[5].rm_so), minute = atoi(text + match[6].rm_so);
    if (timegm(&day) == -1 || day.tm_mon != asked.tm_mon || day.tm_mday != asked.tm_mday)
        return false; /* the 31st of November became the 1st of December */
    strftime(to, size, "%Y-%m-%d", &day);
    return hour < 24 && minute < 60 && asked.tm_year >= 0;
}

/* Why the line is refused, or NULL. On acceptance *ret_day is filled. */
static const char *refusal(const struct patterns *patterns, const struct csv_record *record, char *ret_day,
                           size_t day_size)
{
    regmatch_t match[7];
    const char *const *field = record->fields;
    if (record->count != 8)
        return "not eight columns";
    const char *invoice = field[0], *product = field[1], *quantity = field[3], *date = field[4],
               *price = field[5];
    bool cancellation = strchr("cC", invoice[0]) != NULL && invoice[0] != '\0';

    if (strlen(invoice) > 64 || strlen(product) > 64 || strlen(field[6]) > 64 || strlen(field[7]) > 64 ||
        strlen(field[2]) > 256)
        return "text too long";
    if (strcmp(invoice, "") == 0)
        return "no invoice number";
    if (strcmp(product, "") == 0)
        return "no product";
    if (strcmp(field[6], "") == 0)
        return "no customer";
    if (regexec(&patterns->quantity, quantity, 0, NULL, 0) != 0 || labs(atol(quantity)) > 1000000)
        return "bad quantity";
    if (atol(quantity) == 0)
        return "zero quantity";
    if ((quantity[0] == '-') != cancellation)
        return cancellation ? "positive quantity in a cancellation"
                            : "negative quantity outside a cancellation";
    if (regexec(&patterns->date, date, 7, match, 0) != 0 || !day_of(date, match, ret_day, day_size))
        return "bad date";
    if (regexec(&patterns->price, price, 0, NULL, 0) != 0 || llabs(pence(price)) > 100000000)
        return "bad price";
    if (pence(price) == 0)
        return "zero price";
    return pence(price) < 0 ? "negative price" : NULL;
}

/* An accepted line starts an order if it does not belong to the one in hand. */
static void group(struct totals *totals, const struct csv_record *record, const char *day)
{
    const char *invoice = record->fields[0], *country = record->fields[7];
    if (strcmp(totals->invoice, invoice) == 0 && totals->order_lines < 400) {
        totals->order_lines++;
        return;
    }
    snprintf(totals->invoice, sizeof(totals->invoice), "%s", invoice);
    snprintf(totals->cell, sizeof(totals->cell), "%s/%s", day, country);
    totals->order_lines = 1;
    if (strchr("cC", invoice[0]))
        totals->cancelled++;
    else
        totals->placed++;
    add(totals->orders, country, 1);
    add(totals->revenue, totals->cell, 0);
}

static void count_line(struct totals *totals, const struct csv_record *record)
{
    int64_t quantity = atol(record->fields[3]), amount = quantity * pence(record->fields[5]);
    totals->accepted++;
    totals->revenue_pence += amount;
    add(totals->revenue, totals->cell, amount);
    if (quantity > 0)
        add(totals->sold, record->fields[1], quantity);
    else
        add(totals->returned, record->fields[1], -quantity);
}

static void read_file(struct csv *csv, struct totals *totals)
{
    struct patterns patterns;
    struct csv_record record;
    char day[32];
    int rc;

    compile(&patterns.quantity, "^-?[0-9]{1,9}$");
    compile(&patterns.price, "^-?[0-9]{1,9}(\\.[0-9]{1,2})?$");
    compile(&patterns.date, "^([0-9]{1,2})([-/])([0-9]{1,2})\\2([0-9]{1,4}) ([0-9]{1,2}):([0-9]{1,2})$");
    csv_next(csv, &record); /* the names of the columns */
    while ((rc = csv_next(csv, &record)) == 1) {
        const char *reason = refusal(&patterns, &record, day, sizeof(day));
        totals->lines++;
        if (reason) {
            add(totals->rejected, reason, 1);
            continue;
        }
        group(totals, &record, day);
        count_line(totals, &record);
    }
    if (rc < 0)
        errx(1, "%s", strerror(-rc));
    regfree(&patterns.quantity);
    regfree(&patterns.price);
    regfree(&patterns.date);
}

int main(int argc, char **argv)
{
    struct totals totals = {.rejected = json_object(),
                            .sold = json_object(),
                            .returned = json_object(),
                            .low = json_object(),
                            .revenue = json_object(),
                            .orders = json_object()};
    const char *product;
    json_t *units;
    struct csv *csv;

    if (argc != 2)
        errx(2, "usage: check_totals FILE");
    int rc = csv_open(argv[1], &csv);
    if (rc < 0)
        errx(1, "%s: %s", argv[1], strerror(-rc));
    read_file(csv, &totals);
    csv_close(csv);
    json_object_foreach(totals.sold, product, units)
    {
        if (json_integer_value(units) >= 450) /* 500 at the start, 50 is low */
            add(totals.low, product, 1);
    }

    int64_t messages = totals.placed + totals.cancelled;
    json_t *root = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "lines",
                             (json_int_t)totals.lines, "accepted", (json_int_t)totals.accepted, "placed",
                             (json_int_t)totals.placed, "cancelled", (json_int_t)totals.cancelled, "messages",
                             (json_int_t)messages, "revenue_pence", (json_int_t)totals.revenue_pence,
                             "rejected", totals.rejected, "sold", totals.sold, "returned", totals.returned,
                             "low", totals.low, "revenue", totals.revenue, "orders", totals.orders);
    json_dumpf(root, stdout, JSON_COMPACT | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(root);
    return fflush(stdout) == 0 ? 0 : 1;
}
