/* order_service.c: reads the order file, line by line, and tells everybody what was ordered.
 *
 * In:   a CSV file (--data).
 * Out:  orders.placed, orders.cancelled: one event per order, keyed by customer.
 *       orders.rejected: one event per line that no order can be made of, with its number and the reason.
 *
 * An order is the run of accepted lines with one InvoiceNo; the next InvoiceNo (or ORDER_LINES_MAX lines) ends it. An
 * InvoiceNo that comes back later goes on as another part, with an id of its own ("536365-2").
 *
 * Each event is a step of the source: its position is the number of the line that brought it about, stored with it in one
 * entry of the log. Killed and started again, it reads the file from its start, counts everything, and emits what lies
 * behind the position that the broker tells: no gap, no repeat. */
#include "service.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#define PACE_MS 10 /* --spread: between looks at the clock */

static const char *const topics[] = {"orders.placed", "orders.cancelled"};

struct counts {
    int64_t lines, accepted, placed, cancelled, revenue_pence;
    json_t *rejected; /* reason -> lines */
    json_t *parts;    /* invoice -> parts so far */
};

static void count_up(json_t *object, const char *name)
{
    json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + 1));
}

static int reject(struct service *service, const struct csv_record *record, const char *reason)
{
    struct counts *counts = service->state;
    count_up(counts->rejected, reason);
    if (record->line <= service->source_position)
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

    int rc =
        service_emit_step(service, record->line, "orders.rejected", record->fields[0], text, strlen(text));
    free(text);
    return rc;
}

/* The order in hand, if there is one, is complete: the line says so. */
static int finish(struct service *service, struct order *order, uint64_t line)
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
    if (line > service->source_position)
        rc = service_emit_step(service, line, topics[cancelled], order->customer, text, size);
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
        rc = finish(service, order, record->line);
    if (order_add(order, &input) < 0)
        err(1, "%s", service->name);
    return rc;
}

/* --spread: waits while more of the file was read than its time allows; what was emitted before takes none. False: a signal
 * came. */
static bool keep_pace(struct service *service, uint64_t line, int64_t *started_ms)
{
    bool more = service_turn(service);
    if (line <= service->source_position)
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
    uint64_t last = 0;
    int64_t started_ms = service_now_ms();
    int rc = 0;
    bool header = true, more = true;

    while (more && rc == 0 && (rc = csv_next(csv, &record)) == 1) {
        rc = header ? 0 : take_line(service, &order, &record);
        header = false;
        last = record.line;
        if (record.line % 64 == 0) {
            service->percent = csv_percent(csv);
            more = keep_pace(service, record.line, &started_ms);
        }
    }
    if (more && rc == 0)
        rc = finish(service, &order, last + 1);
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

    service_open_source(&service, "order", &counts, argc, argv);
    if (service.data == NULL)
        errx(2, "--data: which file holds the orders?");
    int rc = csv_open(service.data, &csv);
    if (rc < 0)
        errx(1, "%s: %s", service.data, strerror(-rc));
    read_orders(&service, csv);
    csv_close(csv);
    service_close(&service);
    json_decref(counts.parts);
    return service_report(
        &service, json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "lines", (json_int_t)counts.lines, "accepted",
                            (json_int_t)counts.accepted, "placed", (json_int_t)counts.placed, "cancelled",
                            (json_int_t)counts.cancelled, "revenue_pence", (json_int_t)counts.revenue_pence,
                            "rejected", counts.rejected));
}
