/* payments.c: a payment service on a bank that fails at times: every payment is made once, or it is known why not.
 *
 *     crier topic create payments --retry-delay 1s --retry-delay-max 1m --deliveries 6
 *     flaky_payments work URL LEDGER &     as many as you like, with one ledger
 *     flaky_payments dead URL &            says which payments were given up, and why
 *     echo '17 4711' | crier emit payments -            payment 17, of card 4711
 *     kill -9 ...                          any of them, and the broker, at any time
 *
 * Workers are a shared group: each payment is with one of them. One that fails is nacked and comes again, here or at another worker,
 * later each time (the topic says how); after its last delivery it is in `$dead.payments`, with the reason. One whose worker or
 * broker died comes again, too. So a payment may be handled more than once, and its id makes that harmless: it is in the ledger
 * already. Programs run until their standard input is closed. */
#include <crier/shared.h>

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define CARD_STOLEN 13

struct payment {
    unsigned id, card;
};

/* "17 4711" */
static bool payment_read(const crier_event *event, struct payment *payment)
{
    char line[64] = "";
    if (event->value_size < sizeof(line))
        memcpy(line, event->value, event->value_size);
    return sscanf(line, "%u %u", &payment->id, &payment->card) == 2;
}

/* ---- the bank ---- */

/* A line for each payment made. All workers append to it, one at a time: whoever has the lock. */
static void ledger_add(const char *path, const struct payment *payment)
{
    FILE *ledger = fopen(path, "a+");
    unsigned id;
    bool made = false;
    if (!ledger || flock(fileno(ledger), LOCK_EX) < 0)
        err(1, "%s", path);
    while (!made && fscanf(ledger, "%u", &id) == 1)
        made = id == payment->id;
    if (!made && fseek(ledger, 0, SEEK_END) == 0) /* a stream turns from reading to writing by that */
        fprintf(ledger, "%u\n", payment->id);     /* one write, when it is closed: whole, or not there */
    if (fclose(ledger) != 0)
        err(1, "%s", path);
}

/* Why the payment is not made, as far as the bank says; NULL: it is. Which of them fail, and how often, goes by the id. */
static const char *bank_charge(const char *ledger, const struct payment *payment, unsigned attempt)
{
    if (payment->card == CARD_STOLEN)
        return "the card is refused";
    if (attempt <= payment->id % 3)
        return "the bank does not answer";
    if (attempt == payment->id % 3 + 1 &&
        payment->id % 5 == 0) { /* the worst: nobody can tell if it is made */
        ledger_add(ledger, payment);
        return "the bank's answer is lost";
    }
    ledger_add(ledger, payment);
    return NULL;
}

/* ---- the service ---- */

static int on_payment(crier *bus, const crier_event *event, void *ledger)
{
    struct crier_nack_options nack = crier_nack_options_default(); /* its delay is the topic's, growing */
    struct crier_lease lease = crier_lease_of(event);
    struct payment payment;
    if (payment_read(event, &payment)) {
        nack.reason = bank_charge(ledger, &payment, event->attempt);
    } else {
        nack.reason = "not a payment";
        nack.reject = true; /* never will be: no other attempt */
    }
    if (!nack.reason)
        return 0;
    int rc = crier_nack(bus, &lease, &nack);
    return rc < 0 ? rc : CRIER_LATER; /* it is settled by the nack, not by this handler's end */
}

static int on_dead(crier *bus, const crier_event *event, void *ctx)
{
    crier_header reason, attempts;
    (void)bus, (void)ctx;
    if (crier_event_header_find(event, "crier.dead.reason", &reason) < 0 ||
        crier_event_header_find(event, "crier.dead.attempts", &attempts) < 0)
        return 0; /* somebody emitted it: no dead letter */
    printf("gave up '%.*s' after %.*s attempts: %.*s\n", (int)event->value_size, (const char *)event->value,
           (int)attempts.value_size, (const char *)attempts.value, (int)reason.value_size,
           (const char *)reason.value);
    return fflush(stdout) == 0 ? 0 : -1;
}

static void run(const char *url, const char *topic, const struct crier_listen_options *options,
                crier_handler *handler, void *ctx)
{
    crier *bus;
    int rc = crier_open(url, NULL, &bus);
    if (rc < 0)
        errx(1, "%s: %s", url, crier_strerror(rc));
    if ((rc = crier_listen(bus, topic, options, handler, ctx, NULL)) < 0)
        errx(1, "%s: %s", topic, crier_strerror(rc));
    while (getchar() != EOF) /* until somebody closes its standard input */
        continue;
    if ((rc = crier_close(bus)) < 0)
        errx(1, "%s: %s", topic, crier_strerror(rc));
}

int main(int argc, char **argv)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct crier_shared_options shared = crier_shared_options_default();
    options.from = CRIER_EARLIEST;
    if (argc == 4 && !strcmp(argv[1], "work")) {
        options.group = "payments";
        options.shared = &shared;
        options.session_timeout_ms = 2000; /* what a killed worker had goes to others after this */
        shared.max_in_flight = 16;
        run(argv[2], "payments", &options, on_payment, argv[3]);
    } else if (argc == 3 && !strcmp(argv[1], "dead")) {
        run(argv[2], "$dead.payments", &options, on_dead, NULL);
    } else {
        errx(2, "usage: flaky_payments work URL LEDGER | flaky_payments dead URL");
    }
    return 0;
}
