/* order_input.c: the rules a line of the order file has to pass, the first that fails names the reason.
 *
 * Columns:  InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country.
 * Pure; any thread. check_totals.c repeats these rules on its own: a change here without one there is found at once. */
#include "order.h"

#include <stdlib.h>
#include <string.h>

enum column { INVOICE, PRODUCT, DESCRIPTION, QUANTITY, DATE, PRICE, CUSTOMER, COUNTRY, COLUMNS };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits at *at, at most `digits_max` of them. Moves *at behind them; false if there is none. */
static bool take_number(const char **at, int digits_max, int64_t *ret_value)
{
    const char *start = *at;
    *ret_value = 0;
    while (is_digit(**at) && *at - start < digits_max)
        *ret_value = 10 * *ret_value + (*(*at)++ - '0');
    return *at > start;
}

static bool parse_quantity(const char *text, int64_t *ret_quantity)
{
    const char *at = text + (*text == '-');
    if (!take_number(&at, 9, ret_quantity) || *at != '\0' || *ret_quantity > ORDER_QUANTITY_MAX)
        return false;
    if (*text == '-')
        *ret_quantity = -*ret_quantity;
    return true;
}

/* "2.5" is 250 pence. More than two decimals are no price. */
static bool parse_price(const char *text, int64_t *ret_pence)
{
    const char *at = text + (*text == '-');
    int64_t pounds, decimals = 0;
    if (!take_number(&at, 9, &pounds))
        return false;
    if (*at == '.') {
        const char *start = ++at;
        if (!take_number(&at, 2, &decimals))
            return false;
        if (at - start == 1)
            decimals *= 10;
    }
    *ret_pence = 100 * pounds + decimals;
    if (*at != '\0' || *ret_pence > ORDER_PRICE_MAX)
        return false;
    if (*text == '-')
        *ret_pence = -*ret_pence;
    return true;
}

static int64_t days_in(int64_t month, int64_t year)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Writes the digits of value over the zeros before `end`. */
static void put_number(char *end, int64_t value)
{
    for (; value > 0; value /= 10)
        *--end = (char)('0' + value % 10);
}

/* "12-01-2010 08:26" or "12/1/2010 8:26", month first, becomes "2010-12-01T08:26". */
static bool parse_time(const char *text, char *to)
{
    const char *at = text;
    int64_t month, day, year, hour, minute;
    if (!take_number(&at, 2, &month) || (*at != '-' && *at != '/'))
        return false;
    char separator = *at++;
    if (!take_number(&at, 2, &day) || *at++ != separator || !take_number(&at, 4, &year) || *at++ != ' ' ||
        !take_number(&at, 2, &hour) || *at++ != ':' || !take_number(&at, 2, &minute) || *at != '\0')
        return false;
    if (month < 1 || month > 12 || year < 1900 || day < 1 || day > days_in(month, year) || hour > 23 ||
        minute > 59)
        return false;
    memcpy(to, "0000-00-00T00:00", ORDER_TIME_SIZE);
    put_number(to + 4, year);
    put_number(to + 7, month);
    put_number(to + 10, day);
    put_number(to + 13, hour);
    put_number(to + 16, minute);
    return true;
}

static bool too_long(const struct csv_record *record)
{
    return strlen(record->fields[INVOICE]) > ORDER_TEXT_MAX ||
           strlen(record->fields[PRODUCT]) > ORDER_TEXT_MAX ||
           strlen(record->fields[CUSTOMER]) > ORDER_TEXT_MAX ||
           strlen(record->fields[COUNTRY]) > ORDER_TEXT_MAX ||
           strlen(record->fields[DESCRIPTION]) > 4 * ORDER_TEXT_MAX;
}

const char *order_input_check(const struct csv_record *record, struct order_input *ret_input)
{
    struct order_input input = {.line.line = record->line};

    if (record->count != COLUMNS)
        return "not eight columns";
    if (too_long(record))
        return "text too long";
    input.invoice = record->fields[INVOICE];
    input.customer = record->fields[CUSTOMER];
    input.country = record->fields[COUNTRY];
    input.line.product = (char *)record->fields[PRODUCT];
    input.line.description = (char *)record->fields[DESCRIPTION];
    if (*input.invoice == '\0')
        return "no invoice number";
    if (*input.line.product == '\0')
        return "no product";
    if (*input.customer == '\0')
        return "no customer";
    if (!parse_quantity(record->fields[QUANTITY], &input.line.quantity))
        return "bad quantity";
    if (input.line.quantity == 0)
        return "zero quantity";
    if (input.line.quantity < 0 && !order_is_cancellation(input.invoice))
        return "negative quantity outside a cancellation";
    if (input.line.quantity > 0 && order_is_cancellation(input.invoice))
        return "positive quantity in a cancellation";
    if (!parse_time(record->fields[DATE], input.time))
        return "bad date";
    if (!parse_price(record->fields[PRICE], &input.line.price_pence))
        return "bad price";
    if (input.line.price_pence <= 0)
        return input.line.price_pence == 0 ? "zero price" : "negative price";
    *ret_input = input;
    return NULL;
}
