/* reminder.c: who leaves a full cart behind is reminded of it, unless the cart is paid before.
 *
 *     cart_reminder shop URL DELAY_MS      reads `open CART` and `pay CART` from standard input, a line each
 *     cart_reminder mailer URL             prints a line for each reminder that is due
 *
 * An opened cart schedules an event, `cart.reminder`, for later; paying cancels it. Either process, and the broker, may be killed
 * at any time: the event is on the broker's disk, and comes once. What it is called is kept in `cart.scheduled`, by cart, so that
 * a shop that is started again knows what to cancel: it reads the topic up to its end first. The mailer is a group: it goes on
 * where it was.
 *
 * Two things can happen at once, paying and reminding, and the cancel says which came first. Both run until their standard input is
 * closed. */
#include <crier/schedule.h>

#include <err.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CARTS_MAX 1000

struct cart {
    crier_schedule reminder; /* due_us 0: none */
};

struct shop {
    crier *bus;
    struct cart carts[CARTS_MAX];
    uint64_t until; /* where `cart.scheduled` ended when this shop was started */
    uint64_t seen;
    sem_t step;          /* one is done */
    int code;            /* of it */
    crier_schedule made; /* by it */
};

static void step_wait(struct shop *shop)
{
    while (sem_wait(&shop->step) < 0)
        continue;
}

static crier *bus_open(const char *url)
{
    crier *bus;
    int rc = crier_open(url, NULL, &bus);
    if (rc < 0)
        errx(1, "%s: %s", url, crier_strerror(rc));
    return bus;
}

/* ---- what is known of carts ---- */

/* "17 6614a2b0c1f40-23" */
static int on_known(crier *bus, const crier_event *event, void *ctx)
{
    struct shop *shop = ctx;
    char line[80] = "", text[CRIER_SCHEDULE_TEXT_SIZE];
    unsigned cart;
    (void)bus;
    if (event->value_size < sizeof(line))
        memcpy(line, event->value, event->value_size);
    if (sscanf(line, "%u %39s", &cart, text) == 2 && cart < CARTS_MAX)
        crier_schedule_from_text(text, &shop->carts[cart].reminder);
    if (++shop->seen == shop->until)
        sem_post(&shop->step);
    return 0;
}

static void on_described(void *ctx, const struct crier_topic_info *info)
{
    ((struct shop *)ctx)->until = info->partitions[0].high_watermark;
}

static void shop_remember(struct shop *shop)
{
    struct crier_listen_options options = crier_listen_options_default();
    int rc = crier_topic_describe(shop->bus, "cart.scheduled", on_described, shop);
    if (rc == CRIER_ENOTOPIC || (rc == 0 && shop->until == 0))
        return; /* the first shop of all */
    options.from = CRIER_EARLIEST;
    options.count = shop->until;
    if (rc < 0 || (rc = crier_listen(shop->bus, "cart.scheduled", &options, on_known, shop, NULL)) < 0)
        errx(1, "cart.scheduled: %s", crier_strerror(rc));
    step_wait(shop);
}

/* ---- opening and paying ---- */

static void on_scheduled(crier *bus, int code, const crier_schedule *schedule, void *ctx)
{
    struct shop *shop = ctx;
    (void)bus;
    shop->code = code;
    if (schedule)
        shop->made = *schedule;
    sem_post(&shop->step);
}

/* If the shop is killed between the two emits, the cart is reminded of, paid or not; the mailer of a real shop would look. */
static void cart_open(struct shop *shop, unsigned cart, int64_t delay_us)
{
    struct crier_later_options later = crier_later_options_default();
    char line[80], text[CRIER_SCHEDULE_TEXT_SIZE];
    int size = snprintf(line, sizeof(line), "%u", cart);
    later.delay_us = delay_us;
    later.done = on_scheduled;
    later.ctx = shop;
    shop->code = crier_emit_later(shop->bus, "cart.reminder", line, (size_t)size, &later);
    if (shop->code == 0)
        step_wait(shop);
    if (shop->code == 0) {
        shop->carts[cart].reminder = shop->made;
        crier_schedule_to_text(&shop->made, text);
        size = snprintf(line, sizeof(line), "%u %s", cart, text);
        shop->code = crier_emit(shop->bus, "cart.scheduled", line, (size_t)size);
    }
    if (shop->code == 0)
        shop->code = crier_flush(shop->bus, -1);
    if (shop->code < 0)
        errx(1, "cart %u: %s", cart, crier_strerror(shop->code));
    printf("cart %u is open\n", cart);
}

static void cart_pay(struct shop *shop, unsigned cart)
{
    crier_schedule *reminder = &shop->carts[cart].reminder;
    int rc = reminder->due_us ? crier_schedule_cancel(shop->bus, reminder) : CRIER_ENOSCHEDULE;
    while (rc == CRIER_EUNKNOWN ||
           rc == CRIER_ETIMEDOUT) /* the broker was away: asked again, it says what it did */
        rc = crier_schedule_cancel(shop->bus, reminder);
    if (rc == CRIER_ENOSCHEDULE)
        printf("cart %u is paid; its reminder has gone out\n", cart);
    else if (rc < 0)
        errx(1, "cart %u: %s", cart, crier_strerror(rc));
    else
        printf("cart %u is paid; nobody is reminded\n", cart);
    *reminder = (crier_schedule){0};
}

static void run_shop(const char *url, int64_t delay_us)
{
    struct shop *shop = calloc(1, sizeof(*shop));
    char line[80];
    unsigned cart;
    if (!shop)
        err(1, "memory");
    sem_init(&shop->step, 0, 0);
    shop->bus = bus_open(url);
    shop_remember(shop);
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "open %u", &cart) == 1 && cart < CARTS_MAX)
            cart_open(shop, cart, delay_us);
        else if (sscanf(line, "pay %u", &cart) == 1 && cart < CARTS_MAX)
            cart_pay(shop, cart);
        else
            warnx("open CART or pay CART, below %d: %s", CARTS_MAX, line);
        fflush(stdout);
    }
    crier_close(shop->bus);
    free(shop);
}

/* ---- the mailer ---- */

static int on_reminder(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)ctx;
    printf("reminding of cart %.*s\n", (int)event->value_size, (const char *)event->value);
    return fflush(stdout) == 0 ? 0 : -1;
}

static void run_mailer(const char *url)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier *bus = bus_open(url);
    options.group = "mailer";
    options.from = CRIER_EARLIEST;
    int rc = crier_listen(bus, "cart.reminder", &options, on_reminder, NULL, NULL);
    if (rc < 0)
        errx(1, "cart.reminder: %s", crier_strerror(rc));
    while (getchar() != EOF) /* until somebody closes its standard input */
        continue;
    crier_close(bus);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "shop") && atol(argv[3]) > 0)
        run_shop(argv[2], atol(argv[3]) * 1000);
    else if (argc == 3 && !strcmp(argv[1], "mailer"))
        run_mailer(argv[2]);
    else
        errx(2, "usage: cart_reminder shop URL DELAY_MS | cart_reminder mailer URL");
    return 0;
}
