/* order.c: an order and its JSON. What makes a line of the input acceptable is in order_input.c.
 *
 * Happy path:  order_add, line by line -> order_to_json -> an event -> order_from_json at every service.
 * Failures:    memory; text that is no order (somebody else emitted to the topic): -EINVAL, nothing kept. */
#include "order.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool order_is_cancellation(const char *invoice)
{
    return invoice[0] == 'C' || invoice[0] == 'c';
}

int64_t order_total_pence(const struct order *order)
{
    int64_t total = 0;
    for (size_t i = 0; i < order->line_count; i++)
        total += order->lines[i].quantity * order->lines[i].price_pence;
    return total;
}

void order_id(const struct order *order, char *to, size_t size)
{
    if (order->part > 1)
        snprintf(to, size, "%s-%" PRIu64, order->invoice, order->part);
    else
        snprintf(to, size, "%s", order->invoice);
}

void order_clear(struct order *order)
{
    for (size_t i = 0; i < order->line_count; i++) {
        free(order->lines[i].product);
        free(order->lines[i].description);
    }
    free(order->lines);
    free(order->invoice);
    free(order->customer);
    free(order->country);
    *order = (struct order){0};
}

static int set_head(struct order *order, const struct order_input *input)
{
    order->invoice = strdup(input->invoice);
    order->customer = strdup(input->customer);
    order->country = strdup(input->country);
    memcpy(order->time, input->time, sizeof(order->time));
    return order->invoice && order->customer && order->country ? 0 : -ENOMEM;
}

int order_add(struct order *order, const struct order_input *input)
{
    if (order->line_count == order->line_capacity) {
        size_t capacity = order->line_capacity ? 2 * order->line_capacity : 16;
        struct order_line *lines = realloc(order->lines, capacity * sizeof(*lines));
        if (lines == NULL)
            return -ENOMEM;
        order->lines = lines;
        order->line_capacity = capacity;
    }
    if (order->invoice == NULL && set_head(order, input) < 0)
        return -ENOMEM;

    struct order_line line = input->line;
    line.product = strdup(input->line.product);
    line.description = strdup(input->line.description);
    order->lines[order->line_count++] = line;
    return line.product && line.description ? 0 : -ENOMEM;
}

char *order_to_json(const struct order *order, size_t *ret_size)
{
    char id[ORDER_TEXT_MAX + 24];
    json_t *lines = json_array();
    for (size_t i = 0; i < order->line_count; i++) {
        const struct order_line *line = &order->lines[i];
        json_array_append_new(lines, json_pack("{s:I, s:s, s:s, s:I, s:I}", "line", (json_int_t)line->line,
                                               "product", line->product, "description", line->description,
                                               "quantity", (json_int_t)line->quantity, "price_pence",
                                               (json_int_t)line->price_pence));
    }
    order_id(order, id, sizeof(id));
    json_t *root =
        json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:o}", "id", id, "invoice", order->invoice, "part",
                  (json_int_t)order->part, "customer", order->customer, "country", order->country, "time",
                  order->time, "total_pence", (json_int_t)order_total_pence(order), "lines", lines);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    *ret_size = text ? strlen(text) : 0;
    return text;
}

/* One element of "lines"; the texts are borrowed from the JSON. */
static int line_from_json(json_t *element, struct order_line *ret_line)
{
    json_int_t line, quantity, price_pence;
    const char *product, *description;
    if (json_unpack(element, "{s:I, s:s, s:s, s:I, s:I}", "line", &line, "product", &product, "description",
                    &description, "quantity", &quantity, "price_pence", &price_pence) < 0)
        return -EINVAL;
    if (llabs(quantity) > ORDER_QUANTITY_MAX || llabs(price_pence) > ORDER_PRICE_MAX ||
        strlen(product) > ORDER_TEXT_MAX)
        return -EINVAL;
    *ret_line = (struct order_line){.line = (uint64_t)line,
                                    .product = (char *)product,
                                    .description = (char *)description,
                                    .quantity = quantity,
                                    .price_pence = price_pence};
    return 0;
}

static int from_root(json_t *root, struct order *order)
{
    struct order_input input = {0};
    const char *time;
    json_int_t part;
    json_t *lines, *element;
    size_t i;
    int rc = 0;

    if (json_unpack(root, "{s:s, s:I, s:s, s:s, s:s, s:o}", "invoice", &input.invoice, "part", &part,
                    "customer", &input.customer, "country", &input.country, "time", &time, "lines",
                    &lines) < 0)
        return -EINVAL;
    if (strlen(time) != ORDER_TIME_SIZE - 1 || json_array_size(lines) == 0 ||
        json_array_size(lines) > ORDER_LINES_MAX || strlen(input.invoice) > ORDER_TEXT_MAX ||
        strlen(input.customer) > ORDER_TEXT_MAX || strlen(input.country) > ORDER_TEXT_MAX)
        return -EINVAL;
    memcpy(input.time, time, sizeof(input.time));
    order->part = (uint64_t)part;
    json_array_foreach(lines, i, element)
    {
        if ((rc = line_from_json(element, &input.line)) < 0 || (rc = order_add(order, &input)) < 0)
            break;
    }
    return rc;
}

int order_from_json(const void *json, size_t size, struct order *ret_order)
{
    struct order order = {0};
    json_t *root = json_loadb(json ? json : "", size, 0, NULL);
    int rc = root ? from_root(root, &order) : -EINVAL;
    json_decref(root);
    if (rc < 0)
        order_clear(&order);
    else
        *ret_order = order;
    return rc;
}

void money_format(int64_t pence, char *to, size_t size)
{
    char digits[32];
    uint64_t amount = pence < 0 ? 0 - (uint64_t)pence : (uint64_t)pence;
    size_t at = 0, length = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, amount / 100);

    if (pence < 0 && at + 1 < size)
        to[at++] = '-';
    for (size_t i = 0; i < length && at + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            to[at++] = ',';
        to[at++] = digits[i];
    }
    snprintf(to + at, size - at, ".%02" PRIu64, amount % 100);
}
