/* invoices.c: consume, transform, produce, exactly once: every order leads to its invoice, whoever is killed when.
 *
 *     crier topic create orders --partitions 4
 *     seq 1 1000 | crier emit orders -
 *     exactly_once crier://127.0.0.1:27437 &          as many as you like: they share the partitions
 *     kill -9 ...                                     any of them, and the broker, at any time
 *     crier on invoices --from earliest               each number once
 *
 * The invoices of an order and the group's position behind it are stored in one entry of the log, or none of it is. So a
 * process that dies has either done an order or has not, and nobody has to look which invoices are there already.
 *
 * Usage: exactly_once URL. Runs until SIGTERM or SIGINT; says on standard output when it is in place. Thread: handlers run
 * on the bus's own; main() waits for a signal. */
#include <crier/atomic.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE 100 /* an order of a multiple of this is told to the auditors, too */

/* What became of an order. CRIER_EREVOKED: another process has it by now, or we have it again soon. */
static void on_stored(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)offset, (void)ctx;
    if (code < 0 && code != CRIER_EREVOKED)
        fprintf(stderr, "an order was not done: %s; it comes again\n", crier_strerror(code));
}

/* An order's number becomes an invoice. Not to be done apart from that: what has to be undone if it is not stored. */
static int on_order(crier *bus, const crier_event *order, void *ctx)
{
    char number[32], invoice[64];
    (void)ctx;
    snprintf(number, sizeof(number), "%.*s", (int)order->value_size, (const char *)order->value);
    long n = strtol(number, NULL, 10);
    int size = snprintf(invoice, sizeof(invoice), "invoice for order %ld", n);
    struct crier_atomic_event events[] = {
        {.topic = "invoices", .value = invoice, .value_size = (size_t)size},
        {.topic = "audit", .value = invoice, .value_size = (size_t)size},
    };
    struct crier_consumed consumed = crier_consumed_by(order);
    struct crier_atomic_options options = crier_atomic_options_default();
    options.consumed = &consumed;
    options.consumed_count = 1;
    options.done = on_stored;
    /* An order that is none leads to nothing, and is done all the same. < 0: no room just now; it comes again */
    return crier_emit_atomic(bus, events, n <= 0 ? 0 : n % LARGE == 0 ? 2 : 1, &options);
}

static int on_error(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)ctx;
    fprintf(stderr, "%.*s\n", (int)event->value_size, (const char *)event->value);
    return 0;
}

static void on_listening(void *ctx)
{
    (void)ctx;
    puts("in place");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct crier_options options = crier_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    char why[256] = "";
    crier *bus;
    sigset_t signals;
    int number;
    if (argc != 2) {
        fprintf(stderr, "usage: exactly_once URL\n");
        return 2;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* before the bus has its thread */
    options.name = "invoices";
    options.error_text = why;
    options.error_text_size = sizeof(why);
    if (crier_open(argv[1], &options, &bus) < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    listen.group = "billing";
    listen.from = CRIER_EARLIEST;
    listen.commits_atomically = true;
    listen.listening = on_listening;
    listen.session_timeout_ms =
        2000; /* when it is killed with its connection left open, others go on after this */
    int rc = crier_on(bus, "error", on_error, NULL);
    if (rc == 0)
        rc = crier_listen(bus, "orders", &listen, on_order, NULL, NULL);
    if (rc == 0)
        sigwait(&signals, &number);
    else
        fprintf(stderr, "%s\n", crier_strerror(rc));
    int closed = crier_close(bus); /* what was emitted is stored, and counts */
    return rc < 0 || closed < 0 ? 1 : 0;
}
