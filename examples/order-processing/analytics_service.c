/* analytics_service.c: revenue by country and day.
 *
 * In:    orders.placed, orders.cancelled (whose totals are negative).
 * Out:   no events; revenue.txt, a table for people, at the end.
 * Keeps: a ledger, so that an order that is delivered twice is counted once. */
#include "ledger.h"
#include "service.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_SIZE      10 /* 2010-12-01 */
#define COUNTRIES_MAX 10 /* lines of the table */

static int count_order(struct ledger *ledger, const struct order *order)
{
    char name[LEDGER_NAME_MAX];
    snprintf(name, sizeof(name), "revenue/%.*s/%s", DAY_SIZE, order->time, order->country);
    int rc = ledger_add(ledger, name, order_total_pence(order), NULL);
    if (rc == 0) {
        snprintf(name, sizeof(name), "orders/%s", order->country);
        rc = ledger_add(ledger, name, 1, NULL);
    }
    return rc;
}

static int on_order(struct service *service, const crier_event *event, const struct order *order)
{
    struct ledger *ledger = service->state;
    int rc = ledger_begin(ledger, event);
    if (rc == 0) {
        atomic_fetch_add(&service->repeated, 1);
        return 0;
    }
    if (rc == 1 && (rc = count_order(ledger, order)) < 0)
        ledger_abort(ledger);
    else if (rc == 0)
        rc = ledger_commit(ledger);
    if (rc < 0)
        service_fail(service, rc, ledger_error(rc));
    return rc;
}

/* ---- the table ---- */

struct country {
    const char *name; /* borrowed from the ledger's totals */
    int64_t orders, revenue_pence, best_pence;
    char best_day[DAY_SIZE + 1];
};

static int compare_countries(const void *a, const void *b)
{
    const struct country *x = a, *y = b;
    if (x->revenue_pence != y->revenue_pence)
        return x->revenue_pence < y->revenue_pence ? 1 : -1;
    return strcmp(x->name, y->name);
}

/* One row per country, richest first. revenue: "DAY/COUNTRY" -> pence; orders: country -> orders. */
static struct country *make_table(json_t *revenue, json_t *orders, size_t *ret_count)
{
    struct country *table = calloc(json_object_size(orders) + 1, sizeof(*table));
    const char *name, *cell;
    json_t *value, *pence;
    size_t count = 0;
    if (table == NULL)
        err(1, "analytics");
    json_object_foreach(orders, name, value)
    {
        struct country *row = &table[count++];
        row->name = name;
        row->orders = json_integer_value(value);
        json_object_foreach(revenue, cell, pence)
        {
            int64_t amount = json_integer_value(pence);
            if (strcmp(cell + DAY_SIZE + 1, name) != 0)
                continue;
            row->revenue_pence += amount;
            if (row->best_day[0] == '\0' || amount > row->best_pence) {
                snprintf(row->best_day, sizeof(row->best_day), "%s", cell);
                row->best_pence = amount;
            }
        }
    }
    qsort(table, count, sizeof(*table), compare_countries);
    *ret_count = count;
    return table;
}

static void write_table(const char *directory, json_t *revenue, json_t *orders)
{
    char path[4096], money[32], best[32];
    size_t count;
    struct country *table = make_table(revenue, orders, &count);
    snprintf(path, sizeof(path), "%s/revenue.txt", directory);
    FILE *out = fopen(path, "we");
    if (out == NULL)
        err(1, "%s", path);
    fprintf(out, "%-20s %8s %16s   %-10s %14s\n", "country", "orders", "revenue, GBP", "best day", "GBP");
    for (size_t i = 0; i < count && i < COUNTRIES_MAX; i++) {
        money_format(table[i].revenue_pence, money, sizeof(money));
        money_format(table[i].best_pence, best, sizeof(best));
        fprintf(out, "%-20s %8" PRId64 " %16s   %-10s %14s\n", table[i].name, table[i].orders, money,
                table[i].best_day, best);
    }
    if (count > COUNTRIES_MAX)
        fprintf(out, "and %zu more\n", count - COUNTRIES_MAX);
    if (fclose(out) != 0)
        err(1, "%s", path);
    free(table);
}

/* ---- the service ---- */

int main(int argc, char **argv)
{
    struct ledger *ledger;
    struct service service;
    char path[4096];

    service_open(&service, "analytics", NULL, argc, argv);
    snprintf(path, sizeof(path), "%s/analytics.mdb", service.directory);
    int rc = ledger_open(path, &ledger);
    if (rc < 0)
        errx(1, "%s: %s", path, ledger_error(rc));
    service.state = ledger;
    service_on(&service, "orders.placed", on_order);
    service_on(&service, "orders.cancelled", on_order);
    service_wait(&service);
    service_close(&service);

    json_t *revenue = ledger_totals(ledger, "revenue/"), *orders = ledger_totals(ledger, "orders/");
    write_table(service.directory, revenue, orders);
    ledger_close(ledger);
    return service_report(&service, json_pack("{s:o, s:o}", "revenue", revenue, "orders", orders));
}
