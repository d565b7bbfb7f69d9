/* order_service.c: reads the order file, line by line, and tells everybody what was ordered.
 *
 * In:   a CSV file (--data).
 * Out:  orders.placed, orders.cancelled: one event per order, keyed by customer.
 *       orders.rejected: one event per line that no order can be made of, with its number and the reason.
 *
 * An order is the run of accepted lines with one InvoiceNo; the next InvoiceNo (or ORDER_LINES_MAX lines) ends it. An
 * InvoiceNo that comes back later goes on as another part, with an id of its own ("536365-2").
 *
 * Killed and started again, it reads the file from its start again, counts everything, and emits what it had not: source.h
 * says how it knows. */
#include "service.h"
#include "source.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#define PACE_MS 10 /* --spread: between looks at the clock */

static const char *const topics[] = {"orders.placed", "orders.cancelled"};

struct counts {
    int64_t lines, accepted, placed, cancelled, revenue_pence;
    json_t *rejected;      /* reason -> lines */
    json_t *parts;         /* invoice -> parts so far */
    struct source *source; /* what an earlier life has emitted of this run */
};

static void count_up(json_t *object, const char *name)
{
    json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + 1));
}

static int reject(struct service *service, const struct csv_record *record, const char *reason)
{
    struct counts *counts = service->state;
    count_up(counts->rejected, reason);
    if (source_has(counts->source, record->line))
        return 0;
    json_t *fields = json_array();
    for (size_t i = 0; i < record->count && i < CSV_FIELDS_MAX; i++)
        json_array_append_new(fields, json_string(record->fields[i]));
    json_t *root =
        json_pack("{s:I, s:s, s:o}", "line", (json_int_t)record->line, "reason", reason, "fields", fields);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text == NULL)
        err(1, "%s", service->name);

    int rc = service_emit(service, "orders.rejected", record->fields[0], text, strlen(text));
    free(text);
    return rc;
}

/* The order in hand, if there is one, is complete. */
static int finish(struct service *service, struct order *order)
{
    struct counts *counts = service->state;
    size_t size;
    if (order->line_count == 0)
        return 0;
    count_up(counts->parts, order->invoice);
    order->part = (uint64_t)json_integer_value(json_object_get(counts->parts, order->invoice));
    char *text = order_to_json(order, &size);
    if (text == NULL)
        err(1, "%s", service->name);

    bool cancelled = order_is_cancellation(order->invoice);
    int rc = 0;
    if (!source_has(counts->source,
                    order->lines[0].line)) /* an order is one event: all of its lines, or none */
        rc = service_emit(service, topics[cancelled], order->customer, text, size);
    *(cancelled ? &counts->cancelled : &counts->placed) += 1;
    counts->revenue_pence += order_total_pence(order);
    free(text);
    order_clear(order);
    return rc;
}

static int take_line(struct service *service, struct order *order, const struct csv_record *record)
{
    struct counts *counts = service->state;
    struct order_input input;
    int rc = 0;

    counts->lines++;
    const char *reason = order_input_check(record, &input);
    if (reason)
        return reject(service, record, reason);
    counts->accepted++;
    if (order->line_count == ORDER_LINES_MAX ||
        (order->invoice && strcmp(order->invoice, input.invoice) != 0))
        rc = finish(service, order);
    if (order_add(order, &input) < 0)
        err(1, "%s", service->name);
    return rc;
}

/* --spread: waits while more of the file was read than its time allows; what was emitted before takes none. False: a signal
 * came. */
static bool keep_pace(struct service *service, uint64_t line, int64_t *started_ms)
{
    const struct counts *counts = service->state;
    bool more = service_turn(service);
    if (source_has(counts->source, line))
        *started_ms = service_now_ms() - (int64_t)service->percent * service->spread_ms / 100;
    while (more && (service_now_ms() - *started_ms) * 100 < (int64_t)service->percent * service->spread_ms)
        more = service_wait_turn(service, PACE_MS);
    return more;
}

/* Until the end of the file, a signal, or a broker that is gone for good. */
static void read_orders(struct service *service, struct csv *csv)
{
    struct order order = {0};
    struct csv_record record;
    int64_t started_ms = service_now_ms();
    int rc = 0;
    bool header = true, more = true;

    while (more && rc == 0 && (rc = csv_next(csv, &record)) == 1) {
        rc = header ? 0 : take_line(service, &order, &record);
        header = false;
        if (record.line % 64 == 0) {
            service->percent = csv_percent(csv);
            more = keep_pace(service, record.line, &started_ms);
        }
    }
    if (more && rc == 0)
        rc = finish(service, &order);
    service->percent = csv_percent(csv);
    if (more && rc == 0)
        service_end_run(service);
    order_clear(&order);
}

int main(int argc, char **argv)
{
    struct service service;
    struct counts counts = {.rejected = json_object(), .parts = json_object()};
    struct csv *csv;

    service_open(&service, "order", &counts, argc, argv);
    if (service.data == NULL)
        errx(2, "--data: which file holds the orders?");
    int rc = csv_open(service.data, &csv);
    if (rc < 0)
        errx(1, "%s: %s", service.data, strerror(-rc));
    counts.source = source_open(&service);
    if (service_turn(&service))
        read_orders(&service, csv);
    csv_close(csv);
    service_close(&service);
    source_close(counts.source);
    json_decref(counts.parts);
    return service_report(
        &service, json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "lines", (json_int_t)counts.lines, "accepted",
                            (json_int_t)counts.accepted, "placed", (json_int_t)counts.placed, "cancelled",
                            (json_int_t)counts.cancelled, "revenue_pence", (json_int_t)counts.revenue_pence,
                            "rejected", counts.rejected));
}
