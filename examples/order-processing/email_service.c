/* email_service.c: writes a message to the customer for every order, into a Maildir.
 *
 * In:    orders.placed, orders.cancelled.
 * Out:   files in DIR/Maildir/new, one message (RFC 5322) each; look at them with any mail program.
 * Keeps: nothing else. A file is named after its event's topic, partition and offset, so an order that is delivered
 *        twice is one message. */
#include "service.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* A customer's number as the local part of an address; whatever it may not hold becomes '_'. */
static void write_address(FILE *out, const char *customer)
{
    for (; *customer; customer++) {
        bool plain = (*customer >= '0' && *customer <= '9') || (*customer >= 'a' && *customer <= 'z') ||
                     (*customer >= 'A' && *customer <= 'Z');
        fputc(plain ? *customer : '_', out);
    }
    fputs("@customers.example", out);
}

/* Text for a header field: one line of printable ASCII, so that no order can add a header of its own. */
static void write_header_text(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
}

/* The event's time, as RFC 5322 wants it. */
static void write_date(FILE *out, int64_t timestamp_ms)
{
    char text[64];
    struct tm utc;
    time_t seconds = (time_t)(timestamp_ms / 1000);
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &utc); /* the C locale: nobody set another */
    fputs(text, out);
}

static void write_message(FILE *out, const crier_event *event, const struct order *order)
{
    char id[ORDER_TEXT_MAX + 24], money[32];
    bool cancelled = order_is_cancellation(order->invoice);
    order_id(order, id, sizeof(id));

    fputs("From: Orders <orders@shop.example>\r\nTo: <", out);
    write_address(out, order->customer);
    fputs(">\r\nDate: ", out);
    write_date(out, event->timestamp_ms);
    fprintf(out, "\r\nMessage-ID: <%s.%" PRIu32 ".%" PRIu64 "@shop.example>\r\nSubject: ", event->topic,
            event->partition, event->offset);
    fputs(cancelled ? "Your cancellation " : "Your order ", out);
    write_header_text(out, id);
    fputs("\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
          "8bit\r\n\r\n",
          out);
    fprintf(out, "%s of %.10s, %s:\r\n\r\n", cancelled ? "What you gave back" : "Your order", order->time,
            order->country);
    for (size_t i = 0; i < order->line_count; i++) {
        const struct order_line *line = &order->lines[i];
        money_format(line->quantity * line->price_pence, money, sizeof(money));
        fprintf(out, "%6" PRId64 " x %s  %s  GBP %s\r\n", line->quantity, line->product, line->description,
                money);
    }
    money_format(order_total_pence(order), money, sizeof(money));
    fprintf(out, "\r\nTotal: GBP %s\r\n", money);
}

/* Written aside, then moved: a reader of the Maildir never meets half a message, and two instances that are given the same
 * order, one after the other's end, do not meet at all. */
static int deliver(const struct service *service, const crier_event *event, const struct order *order,
                   bool *ret_repeated)
{
    char name[CRIER_TOPIC_NAME_MAX + 64], aside[PATH_SIZE], path[PATH_SIZE];
    snprintf(name, sizeof(name), "%s.%" PRIu32 ".%" PRIu64, event->topic, event->partition, event->offset);
    snprintf(aside, sizeof(aside), "%s/Maildir/tmp/%s.%d", service->directory, name, (int)getpid());
    snprintf(path, sizeof(path), "%s/Maildir/new/%s", service->directory, name);

    if ((*ret_repeated = access(path, F_OK) == 0))
        return 0;
    FILE *out = fopen(aside, "we");
    if (out == NULL)
        return -errno;
    write_message(out, event, order);
    bool bad = fflush(out) != 0 || fdatasync(fileno(out)) < 0; /* on disk before the position moves on */
    int code = errno;
    if (fclose(out) != 0 || bad)
        return -code;
    return rename(aside, path) < 0 ? -errno : 0;
}

static int on_order(struct service *service, const crier_event *event, const struct order *order)
{
    bool repeated = false;
    int rc = deliver(service, event, order, &repeated);
    if (rc < 0)
        service_fail(service, rc, strerror(-rc));
    else
        atomic_fetch_add(repeated ? &service->repeated : &service->out, 1);
    return rc;
}

static int make_maildir(const char *directory)
{
    static const char *const folders[] = {"", "/tmp", "/new", "/cur"};
    char path[PATH_SIZE];
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/Maildir%s", directory, folders[i]);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

/* Messages there really are. */
static int64_t count_messages(const char *directory)
{
    char path[PATH_SIZE];
    int64_t count = 0;
    snprintf(path, sizeof(path), "%s/Maildir/new", directory);
    DIR *folder = opendir(path);
    if (folder == NULL)
        err(1, "%s", path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    struct service service;

    service_open(&service, "email", NULL, argc, argv);
    int rc = make_maildir(service.directory);
    if (rc < 0)
        errx(1, "%s/Maildir: %s", service.directory, strerror(-rc));
    service_on(&service, "orders.placed", on_order);
    service_on(&service, "orders.cancelled", on_order);
    service_wait(&service);
    service_close(&service);
    return service_report(&service,
                          json_pack("{s:I}", "messages", (json_int_t)count_messages(service.directory)));
}
