/* make_orders.c: an order file of any size that is as untidy as real ones; the same seed makes the same file.
 *
 * Usage:  make_orders [--lines N] [--seed N]   writes CSV to standard output.
 *
 * Most lines are fine. Some lack a customer, have a quantity or a price of zero, a negative quantity, an impossible date,
 * a price that is none, commas and quotes and line ends in the description, bytes that are no UTF-8, or too few
 * columns; some are there twice; some orders go on after others have begun; some are cancelled. */
#include <err.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRODUCTS  2500
#define CUSTOMERS 1200
#define TEXT_SIZE 128  /* of every column, and of an order's number */
#define LINE_SIZE 1024 /* of a line: eight columns */

struct maker {
    uint64_t random;
    uint64_t lines_left;
    int64_t minutes; /* since the first order */
    uint32_t invoice;
    char unfinished[TEXT_SIZE], unfinished_tail[TEXT_SIZE]; /* an order that goes on later */
};

/* splitmix64 (Steele, Lea and Flood 2014) */
static uint64_t next_random(struct maker *maker)
{
    uint64_t z = (maker->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t below(struct maker *maker, uint64_t bound)
{
    return next_random(maker) % bound;
}

static bool one_in(struct maker *maker, uint64_t n)
{
    return below(maker, n) == 0;
}

__attribute__((format(printf, 2, 3))) static void set(char to[TEXT_SIZE], const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(to, TEXT_SIZE, format, values);
    va_end(values);
}

/* Small numbers are much more likely than large ones. */
static uint64_t skewed(struct maker *maker, uint64_t bound)
{
    uint64_t x = below(maker, bound);
    return x * (x + 1) / bound * below(maker, 1000) / 1000;
}

static void describe(struct maker *maker, uint64_t product, char *to)
{
    static const char *const colours[] = {"RED",   "BLUE",  "CREAM", "PINK",
                                          "GREEN", "BLACK", "IVORY", "SILVER"};
    static const char *const stuffs[] = {"METAL", "WOODEN", "GLASS", "PAPER", "CERAMIC", "FELT", "RETROSPOT"};
    static const char *const things[] = {"LANTERN",     "HEART",   "TEA CUP",   "BUNTING",
                                         "ALARM CLOCK", "NAPKINS", "CAKE STAND"};
    const char *colour = colours[product % 8], *stuff = stuffs[product % 7], *thing = things[product / 7 % 7];

    if (one_in(maker, 90))
        set(to, "\"%s %s, SET OF %d\"", stuff, thing, (int)(product % 9) + 2); /* quoted: a comma */
    else if (one_in(maker, 90))
        set(to, "\"%s \"\"VINTAGE\"\" %s\"", stuff, thing); /* quoted: doubled quotes */
    else if (one_in(maker, 300))
        set(to, "%s FRAME 7\" SINGLE SIZE ", colour); /* a quote that quotes nothing */
    else if (one_in(maker, 500))
        set(to, "\"%s %s\n(SEE NOTE)\"", colour, thing); /* quoted: a line end */
    else if (one_in(maker, 500))
        set(to, "CAF\xC9 %s", thing); /* Latin-1, not UTF-8 */
    else if (one_in(maker, 250))
        to[0] = '\0';
    else
        set(to, "%s %s %s%s", colour, stuff, thing, one_in(maker, 5) ? " " : "");
}

static void write_date(struct maker *maker, char *to)
{
    static const char *const bad[] = {"13-01-2011 10:00", "02-30-2011 09:15", "yesterday",
                                      "12-01-2010",       "12-01-2010 25:61", ""};
    if (one_in(maker, 700)) {
        set(to, "%s", bad[below(maker, 6)]);
        return;
    }
    int64_t day = maker->minutes / 600;
    set(to, "%02d-%02d-2011 %02d:%02d", (int)(day / 28 % 12) + 1, (int)(day % 28) + 1,
        (int)(maker->minutes % 600 / 60) + 8, (int)(maker->minutes % 60));
}

static void write_price(struct maker *maker, uint64_t product, char *to)
{
    static const char *const bad[] = {"0", "0.00", "-11062.06", "0.001", "free", "1.2.3", ""};
    if (one_in(maker, 250))
        set(to, "%s", bad[below(maker, 7)]);
    else if (product % 10 == 0)
        set(to, "%d", (int)(product % 13) + 1);
    else if (product % 5 == 0)
        set(to, "%d.%d", (int)(product % 7), (int)(product % 9) + 1);
    else
        set(to, "%d.%02d", (int)(product % 11), (int)(product * 7 % 99) + 1);
}

static int64_t quantity(struct maker *maker, bool cancelled)
{
    static const int64_t packs[] = {1, 1, 2, 2, 3, 4, 6, 6, 8, 12, 12, 24, 25, 36, 48, 100};
    int64_t units = packs[below(maker, 16)];
    if (one_in(maker, 400))
        return 0;
    return cancelled != one_in(maker, 400) ? -units : units;
}

/* One line of the order; `tail` is ",CUSTOMER,COUNTRY". */
static void write_line(struct maker *maker, const char *invoice, const char *tail)
{
    char line[LINE_SIZE], description[TEXT_SIZE], date[TEXT_SIZE], price[TEXT_SIZE];
    uint64_t product = skewed(maker, PRODUCTS);
    const char *end = one_in(maker, 20) ? "\r\n" : "\n";

    if (maker->lines_left == 0)
        return;
    maker->lines_left--;
    describe(maker, product, description);
    write_date(maker, date);
    write_price(maker, product, price);
    snprintf(line, sizeof(line), "%s,%d%s,%s,%jd,%s,%s%s%s", invoice, (int)(20000 + product),
             product % 8 == 3 ? "B" : "", description, (intmax_t)quantity(maker, invoice[0] == 'C'), date,
             price, tail, end);
    if (one_in(maker, 1500))
        snprintf(line, sizeof(line), "%s,%d,TORN LINE\n", invoice, (int)product);
    fputs(line, stdout);
    if (one_in(maker, 50) && maker->lines_left > 0) { /* the same thing once more */
        fputs(line, stdout);
        maker->lines_left--;
    }
}

static void make_tail(struct maker *maker, char *to)
{
    static const char *const countries[] = {
        "United Kingdom", "United Kingdom", "United Kingdom", "United Kingdom",
        "United Kingdom", "United Kingdom", "United Kingdom", "United Kingdom",
        "Germany",        "France",         "EIRE",           "Spain",
        "Netherlands",    "Norway",         "Japan",          "Australia"};
    uint64_t customer = skewed(maker, CUSTOMERS);
    if (one_in(maker, 5))
        set(to, "%s", ",,United Kingdom");
    else
        set(to, ",%d,%s", (int)(12000 + customer), countries[one_in(maker, 3) ? customer % 16 : 0]);
}

static void write_order(struct maker *maker)
{
    char invoice[TEXT_SIZE], tail[TEXT_SIZE];
    uint64_t lines = 1 + skewed(maker, one_in(maker, 200) ? 1500 : 80);

    maker->minutes += (int64_t)below(maker, 12);
    set(invoice, "%s%u", one_in(maker, 10) ? "C" : "", 540000 + maker->invoice++ % 400000);
    make_tail(maker, tail);
    if (maker->unfinished[0] && one_in(maker, 3)) {
        set(invoice, "%s", maker->unfinished);
        set(tail, "%s", maker->unfinished_tail);
        maker->unfinished[0] = '\0';
    } else if (one_in(maker, 60)) {
        set(maker->unfinished, "%s", invoice);
        set(maker->unfinished_tail, "%s", tail);
    }
    for (uint64_t i = 0; i < lines; i++)
        write_line(maker, invoice, tail);
}

static uint64_t parse_number(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || value > 100000000)
        errx(2, "'%s': a number up to 100000000 is wanted", text);
    return value;
}

int main(int argc, char **argv)
{
    static const struct option rows[] = {
        {"lines", required_argument, NULL, 'l'}, {"seed", required_argument, NULL, 's'}, {0}};
    struct maker maker = {.random = 1, .lines_left = 50000};

    for (int c; (c = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (c == 'l')
            maker.lines_left = parse_number(optarg);
        else if (c == 's')
            maker.random = parse_number(optarg);
        else
            errx(2, "usage: make_orders [--lines N] [--seed N]");
    }
    fputs("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n", stdout);
    while (maker.lines_left > 0)
        write_order(&maker);
    if (fflush(stdout) != 0)
        err(1, "standard output");
    return 0;
}
