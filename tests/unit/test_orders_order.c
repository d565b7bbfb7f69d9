/* test_orders_order.c: what the order example accepts, and that orders survive their JSON. */
#include "examples/order-processing/order.h"

#include <criterion/criterion.h>
#include <string.h>

/* A good record with one column replaced. */
static struct csv_record record_with(size_t column, const char *text)
{
    struct csv_record record = {.line = 7,
                                .count = 8,
                                .fields = {"536365", "85123A", "HEART, \"WHITE\"", "6", "12-01-2010 08:26",
                                           "2.55", "17850", "United Kingdom"}};
    if (column < 8)
        record.fields[column] = text;
    return record;
}

static const char *check(size_t column, const char *text)
{
    struct csv_record record = record_with(column, text);
    struct order_input input;
    const char *reason = order_input_check(&record, &input);
    return reason ? reason : "accepted";
}

static struct order_input good(const char *price, const char *time)
{
    struct csv_record record = record_with(5, price);
    struct order_input input;
    record.fields[4] = time;
    cr_assert_null(order_input_check(&record, &input));
    return input;
}

Test(order_input, a_good_line_is_taken_apart)
{
    struct order_input input = good("2.55", "12-01-2010 08:26");
    cr_expect_eq(input.line.line, 7);
    cr_expect_eq(input.line.quantity, 6);
    cr_expect_eq(input.line.price_pence, 255);
    cr_expect_str_eq(input.time, "2010-12-01T08:26");
    cr_expect_str_eq(input.customer, "17850");
}

Test(order_input, prices_are_whole_pence)
{
    cr_expect_eq(good("4", "12-01-2010 08:26").line.price_pence, 400);
    cr_expect_eq(good("2.1", "12-01-2010 08:26").line.price_pence, 210);
    cr_expect_eq(good("0.07", "12-01-2010 08:26").line.price_pence, 7);
    cr_expect_eq(good("38970.00", "12-01-2010 08:26").line.price_pence, 3897000);
    cr_expect_str_eq(check(5, "0.001"), "bad price");
    cr_expect_str_eq(check(5, "1.2.3"), "bad price");
    cr_expect_str_eq(check(5, "5."), "bad price");
    cr_expect_str_eq(check(5, ""), "bad price");
    cr_expect_str_eq(check(5, "1e3"), "bad price");
    cr_expect_str_eq(check(5, "99999999999999999999"), "bad price");
    cr_expect_str_eq(check(5, "0"), "zero price");
    cr_expect_str_eq(check(5, "-11062.06"), "negative price");
}

Test(order_input, quantities)
{
    cr_expect_str_eq(check(3, "0"), "zero quantity");
    cr_expect_str_eq(check(3, "-1"), "negative quantity outside a cancellation");
    cr_expect_str_eq(check(3, "six"), "bad quantity");
    cr_expect_str_eq(check(3, "1.5"), "bad quantity");
    cr_expect_str_eq(check(3, "99999999"), "bad quantity");
    cr_expect_str_eq(check(3, "99999999999999999999"), "bad quantity");
    cr_expect_str_eq(check(0, "C536365"), "positive quantity in a cancellation");
}

Test(order_input, dates_exist)
{
    cr_expect_str_eq(good("1", "2/29/2012 8:05").time, "2012-02-29T08:05");
    cr_expect_str_eq(check(4, "02-29-2011 08:05"), "bad date");
    cr_expect_str_eq(check(4, "02-29-1900 08:05"), "bad date");
    cr_expect_str_eq(check(4, "13-01-2010 08:05"), "bad date");
    cr_expect_str_eq(check(4, "00-01-2010 08:05"), "bad date");
    cr_expect_str_eq(check(4, "12-01-2010 24:00"), "bad date");
    cr_expect_str_eq(check(4, "12-01-2010 23:60"), "bad date");
    cr_expect_str_eq(check(4, "12-01/2010 23:00"), "bad date");
    cr_expect_str_eq(check(4, "12-01-2010"), "bad date");
    cr_expect_str_eq(check(4, "yesterday"), "bad date");
}

Test(order_input, what_is_missing_or_too_long_is_named)
{
    char text[ORDER_TEXT_MAX + 2];
    struct csv_record short_record = record_with(8, NULL);
    struct order_input input;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    short_record.count = 7;
    cr_expect_str_eq(order_input_check(&short_record, &input), "not eight columns");
    cr_expect_str_eq(check(0, ""), "no invoice number");
    cr_expect_str_eq(check(1, ""), "no product");
    cr_expect_str_eq(check(6, ""), "no customer");
    cr_expect_str_eq(check(1, text), "text too long");
    cr_expect_str_eq(check(7, ""), "accepted");
}

static struct order two_lines(void)
{
    struct order order = {.part = 2};
    struct order_input input = good("2.55", "12-01-2010 08:26");
    cr_assert_eq(order_add(&order, &input), 0);
    input.line.quantity = 10;
    input.line.price_pence = 5;
    cr_assert_eq(order_add(&order, &input), 0);
    return order;
}

Test(order, survives_its_json)
{
    struct order order = two_lines(), copy;
    size_t size;
    char *text = order_to_json(&order, &size), id[128];
    cr_assert_not_null(text);
    cr_assert_eq(order_from_json(text, size, &copy), 0);
    order_id(&copy, id, sizeof(id));
    cr_expect_str_eq(id, "536365-2");
    cr_expect_str_eq(copy.customer, "17850");
    cr_expect_str_eq(copy.country, "United Kingdom");
    cr_expect_str_eq(copy.time, "2010-12-01T08:26");
    cr_assert_eq(copy.line_count, 2);
    cr_expect_str_eq(copy.lines[0].description, "HEART, \"WHITE\"");
    cr_expect_eq(order_total_pence(&copy), 6 * 255 + 10 * 5);
    cr_expect_eq(order_total_pence(&copy), order_total_pence(&order));
    free(text);
    order_clear(&order);
    order_clear(&copy);
}

Test(order, other_text_is_no_order)
{
    static const char *const texts[] = {
        "",
        "hello",
        "{}",
        "[]",
        "{\"invoice\":\"1\",\"part\":1,\"customer\":\"2\",\"country\":\"X\",\"time\":\"2010-12-01T08:26\","
        "\"lines\":[]}",
        "{\"invoice\":\"1\",\"part\":1,\"customer\":\"2\",\"country\":\"X\",\"time\":\"2010\",\"lines\":[{}]"
        "}",
        "{\"invoice\":\"1\",\"part\":1,\"customer\":\"2\",\"country\":\"X\",\"time\":\"2010-12-01T08:26\","
        "\"lines\":[{\"line\":1,"
        "\"product\":\"P\",\"description\":\"\",\"quantity\":9223372036854775807,\"price_pence\":2}]}",
    };
    struct order order;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_expect_lt(order_from_json(texts[i], strlen(texts[i]), &order), 0, "%s", texts[i]);
    cr_expect_lt(order_from_json(NULL, 0, &order), 0);
}

Test(order, every_cut_of_its_json_is_refused)
{
    struct order order = two_lines(), copy;
    size_t size;
    char *text = order_to_json(&order, &size);
    for (size_t cut = 0; cut < size; cut++)
        cr_expect_lt(order_from_json(text, cut, &copy), 0, "cut at %zu", cut);
    free(text);
    order_clear(&order);
}

Test(money, reads_well)
{
    char text[32];
    static const struct {
        int64_t pence;
        const char *text;
    } cases[] = {{0, "0.00"},           {5, "0.05"},          {-5, "-0.05"},
                 {99999, "999.99"},     {100000, "1,000.00"}, {123456789, "1,234,567.89"},
                 {-123450, "-1,234.50"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        money_format(cases[i].pence, text, sizeof(text));
        cr_expect_str_eq(text, cases[i].text);
    }
    money_format(INT64_MIN, text, sizeof(text));
    cr_expect_str_eq(text, "-92,233,720,368,547,758.08");
}
