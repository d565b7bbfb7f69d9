/* inventory_service.c: keeps the stock, and says when little is left.
 *
 * In:    orders.placed (goods leave), orders.cancelled (goods come back, to be inspected: they are counted apart).
 * Out:   stock.low, once per product, when an order takes its stock to INVENTORY_LOW or below.
 * Keeps: a ledger, so that an order that is delivered twice is counted once.
 *
 * Every product starts with INVENTORY_START units. Stock below zero is what has to be ordered for waiting customers. */
#include "ledger.h"
#include "service.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVENTORY_START 500 /* units of every product */
#define INVENTORY_LOW   50

/* "Stock is low", from the moment it is seen until the broker has it. The ledger holds it too. */
struct note {
    struct note *next;
    struct service *service;
    char *product, *text;
};

struct inventory {
    struct ledger *ledger;
    struct note *notes; /* of the order in hand */
};

/* ---- telling others ---- */

static void note_destroy(struct note *note)
{
    free(note->product);
    free(note->text);
    free(note);
}

static void note_create(void *ctx, const char *product, const char *text)
{
    struct service *service = ctx;
    struct inventory *inventory = service->state;
    struct note *note = malloc(sizeof(*note));
    if (note == NULL)
        err(1, "%s", service->name);
    *note = (struct note){inventory->notes, service, strdup(product), strdup(text)};
    if (note->product == NULL || note->text == NULL)
        err(1, "%s", service->name);
    inventory->notes = note;
}

static void on_note_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct note *note = ctx;
    struct inventory *inventory = note->service->state;
    (void)bus;
    (void)offset;
    if (code == 0) {
        atomic_fetch_add(&note->service->out, 1);
        ledger_note_sent(inventory->ledger, note->product);
    } else {
        service_fail(note->service, code, crier_strerror(code)); /* the ledger has it, for the next start */
    }
    note_destroy(note);
}

static int send_notes(struct service *service)
{
    struct inventory *inventory = service->state;
    struct crier_emit_options options = crier_emit_options_default();
    int rc = 0;

    options.done = on_note_emitted;
    for (struct note *note = inventory->notes, *next; note; note = next) {
        next = note->next;
        options.key = note->product;
        options.key_size = strlen(note->product);
        options.ctx = note;
        if (rc == 0)
            rc = crier_emit_with(service->bus, "stock.low", note->text, strlen(note->text), &options);
        if (rc < 0)
            note_destroy(note);
    }
    inventory->notes = NULL;
    if (rc < 0)
        service_fail(service, rc, crier_strerror(rc));
    return rc;
}

static void forget_notes(struct inventory *inventory)
{
    for (struct note *note = inventory->notes, *next; note; note = next) {
        next = note->next;
        note_destroy(note);
    }
    inventory->notes = NULL;
}

/* ---- counting ---- */

static int note_low(struct service *service, const char *product, int64_t stock, const char *invoice)
{
    struct inventory *inventory = service->state;
    char name[LEDGER_NAME_MAX];
    json_t *root =
        json_pack("{s:s, s:I, s:s}", "product", product, "stock", (json_int_t)stock, "invoice", invoice);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text == NULL)
        err(1, "%s", service->name);

    note_create(service, product, text);
    snprintf(name, sizeof(name), "low/%s", product);
    int rc = ledger_note(inventory->ledger, product, text);
    if (rc == 0)
        rc = ledger_add(inventory->ledger, name, 1, NULL);
    free(text);
    return rc;
}

static int take_goods(struct service *service, const struct order *order, const struct order_line *line)
{
    struct inventory *inventory = service->state;
    char name[LEDGER_NAME_MAX];
    int64_t sold;
    snprintf(name, sizeof(name), "sold/%s", line->product);
    int rc = ledger_add(inventory->ledger, name, line->quantity, &sold);
    int64_t stock = INVENTORY_START - sold;
    if (rc == 0 && stock <= INVENTORY_LOW && stock + line->quantity > INVENTORY_LOW)
        rc = note_low(service, line->product, stock, order->invoice);
    return rc;
}

static int bring_goods_back(struct service *service, const struct order *order, const struct order_line *line)
{
    struct inventory *inventory = service->state;
    char name[LEDGER_NAME_MAX];
    (void)order;
    snprintf(name, sizeof(name), "returned/%s", line->product);
    return ledger_add(inventory->ledger, name, -line->quantity, NULL);
}

/* One order, one transaction; then tell what follows from it. */
static int count_order(struct service *service, const crier_event *event, const struct order *order,
                       int (*count_line)(struct service *, const struct order *, const struct order_line *))
{
    struct inventory *inventory = service->state;
    int rc = ledger_begin(inventory->ledger, event);
    if (rc == 0) {
        atomic_fetch_add(&service->repeated, 1);
        return 0;
    }
    if (rc == 1) {
        rc = 0;
        for (size_t i = 0; rc == 0 && i < order->line_count; i++)
            rc = count_line(service, order, &order->lines[i]);
        if (rc < 0)
            ledger_abort(inventory->ledger);
        else
            rc = ledger_commit(inventory->ledger);
    }
    if (rc < 0) {
        forget_notes(inventory);
        service_fail(service, rc, ledger_error(rc));
        return rc;
    }
    return send_notes(service);
}

static int on_placed(struct service *service, const crier_event *event, const struct order *order)
{
    return count_order(service, event, order, take_goods);
}

static int on_cancelled(struct service *service, const crier_event *event, const struct order *order)
{
    return count_order(service, event, order, bring_goods_back);
}

/* ---- the service ---- */

int main(int argc, char **argv)
{
    struct inventory inventory = {0};
    struct service service;
    char path[4096];

    service_open(&service, "inventory", &inventory, argc, argv);
    snprintf(path, sizeof(path), "%s/inventory.mdb", service.directory);
    int rc = ledger_open(path, &inventory.ledger);
    if (rc < 0 || (rc = ledger_notes(inventory.ledger, note_create, &service)) < 0)
        errx(1, "%s: %s", path, ledger_error(rc));
    send_notes(&service); /* which an earlier run could not */
    service_on(&service, "orders.placed", on_placed);
    service_on(&service, "orders.cancelled", on_cancelled);
    service_wait(&service);
    service_close(&service);

    json_t *totals = json_pack("{s:o, s:o, s:o}", "sold", ledger_totals(inventory.ledger, "sold/"),
                               "returned", ledger_totals(inventory.ledger, "returned/"), "low",
                               ledger_totals(inventory.ledger, "low/"));
    ledger_close(inventory.ledger);
    return service_report(&service, totals);
}
