/* screen.c: see screen.h. */
#include "screen.h"

#include "order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH   24
#define INTERVAL_MS 1000 /* between lines, where nothing can be drawn in place */

int64_t screen_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void screen_init(struct screen *screen)
{
    const char *terminal = getenv("TERM");
    *screen = (struct screen){0};
    screen->terminal = isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    screen->colours = screen->terminal && getenv("NO_COLOR") == NULL;
    screen_start(screen);
}

void screen_start(struct screen *screen)
{
    screen->started_ms = screen->shown_ms = screen_now_ms();
}

const char *screen_paint(const struct screen *screen, enum screen_colour colour, const char *text,
                         char to[SCREEN_TEXT_SIZE])
{
    static const char *const codes[] = {"0", "32", "31", "1", "2"};
    if (screen->colours)
        snprintf(to, SCREEN_TEXT_SIZE, "\033[%sm%s\033[0m", codes[colour], text);
    else
        snprintf(to, SCREEN_TEXT_SIZE, "%s", text);
    return to;
}

const char *screen_number(int64_t number, char to[SCREEN_TEXT_SIZE])
{
    money_format(100 * number, to, SCREEN_TEXT_SIZE);
    to[strlen(to) - 3] = '\0';
    return to;
}

int64_t report_number(json_t *report, const char *name)
{
    return json_integer_value(json_object_get(report, name));
}

/* ---- progress ---- */

static void print_bar(int64_t percent)
{
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i * 100 < percent * BAR_WIDTH ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    printf("[%s] %3d %%", bar, (int)percent);
}

static int64_t per_second(const struct screen *screen, int64_t count)
{
    int64_t elapsed_ms = screen_now_ms() - screen->started_ms;
    return elapsed_ms > 0 ? count * 1000 / elapsed_ms : 0;
}

/* "inventory   [######......]  45 %   1,234 in  56 out   lag 1,500   1,234/s" */
static void draw_row(const struct screen *screen, const struct screen_row *row)
{
    int64_t in = report_number(row->report, "in"), out = report_number(row->report, "out");
    int64_t lag = report_number(row->report, "lag"), percent = report_number(row->report, "percent");
    if (percent < 0)
        percent = in + lag > 0 ? 100 * in / (in + lag) : 0;
    printf("  %-10s ", row->name);
    print_bar(percent);
    printf("  %9s in %9s out  lag %7s  %8s/s%s\033[K\n", NUMBER(in), NUMBER(out), NUMBER(lag),
           NUMBER(per_second(screen, in > out ? in : out)), row->restarts ? "  (killed, started again)" : "");
}

void screen_progress(struct screen *screen, const struct screen_row *rows, size_t count, bool force)
{
    int64_t now_ms = screen_now_ms();
    if (screen->terminal) {
        if (screen->drawn > 0)
            printf("\033[%dA", screen->drawn);
        for (size_t i = 0; i < count; i++)
            draw_row(screen, &rows[i]);
        screen->drawn = (int)count;
    } else if (force || now_ms - screen->shown_ms >= INTERVAL_MS) {
        printf("  %.1f s:", (double)(now_ms - screen->started_ms) / 1e3);
        for (size_t i = 0; i < count; i++) {
            json_t *report = rows[i].report;
            bool source = report_number(report, "percent") >= 0;
            printf("%s %s %s %s", i ? "," : "", rows[i].name,
                   NUMBER(report_number(report, source ? "out" : "in")), source ? "out" : "in");
        }
        printf("\n");
        screen->shown_ms = now_ms;
    }
    fflush(stdout);
}

/* ---- the end ---- */

void screen_services(const struct screen *screen, const struct screen_row *rows, size_t count)
{
    printf("\n%s\n",
           PAINT(screen, SCREEN_BOLD, "  service      events in   events out   failed  repeated     lag"));
    for (size_t i = 0; i < count; i++) {
        json_t *report = rows[i].report;
        printf("  %-10s %11s  %11s  %7s  %8s  %6s%s\n", rows[i].name, NUMBER(report_number(report, "in")),
               NUMBER(report_number(report, "out")), NUMBER(report_number(report, "failed")),
               NUMBER(report_number(report, "repeated")), NUMBER(report_number(report, "lag")),
               rows[i].restarts ? "  since it was killed and started again" : "");
    }
}

/* A number, or the sum of an object's. */
static int64_t sum(json_t *value)
{
    const char *name;
    json_t *element;
    int64_t total = 0;
    if (json_is_integer(value))
        return json_integer_value(value);
    json_object_foreach(value, name, element) total += json_integer_value(element);
    return total;
}

/* How many cells of two objects are the same, and how many there are on either side. */
static void compare_cells(json_t *a, json_t *b, char *to, size_t size)
{
    const char *name;
    json_t *value;
    size_t same = 0, all = json_object_size(b);
    json_object_foreach(a, name, value)
    {
        json_t *other = json_object_get(b, name);
        same += json_equal(value, other);
        all += other == NULL;
    }
    snprintf(to, size, "%s of %s equal", NUMBER((int64_t)same), NUMBER((int64_t)all));
}

struct total {
    const char *text;
    const char *service, *name; /* services[service].totals[name] */
    const char *recomputed;
    const char *cells; /* what the parts of the sum are, or NULL: it has none */
    bool money;
};

static const struct total totals[] = {
    {"lines read", "order", "lines", "lines", NULL, false},
    {"lines rejected", "order", "rejected", "rejected", "reasons", false},
    {"orders placed", "order", "placed", "placed", NULL, false},
    {"orders cancelled", "order", "cancelled", "cancelled", NULL, false},
    {"messages in the Maildir", "email", "messages", "messages", NULL, false},
    {"units sold", "inventory", "sold", "sold", "products", false},
    {"units returned", "inventory", "returned", "returned", "products", false},
    {"products low on stock", "inventory", "low", "low", "products", false},
    {"orders in analytics", "analytics", "orders", "orders", "countries", false},
    {"revenue in analytics, GBP", "analytics", "revenue", "revenue", "countries and days", true},
    {"revenue in orders, GBP", "order", "revenue_pence", "revenue_pence", NULL, true},
};

static const char *amount_text(json_t *value, bool money, char *to, size_t size)
{
    if (value == NULL)
        snprintf(to, size, "-");
    else if (money)
        money_format(sum(value), to, size);
    else
        snprintf(to, size, "%s", NUMBER(sum(value)));
    return to;
}

int screen_totals(const struct screen *screen, json_t *services, json_t *recomputed)
{
    char left[64], right[64], cells[128];
    int differ = 0;

    printf("\n%s\n",
           PAINT(screen, SCREEN_BOLD, "  total                            services       recomputed"));
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        const struct total *total = &totals[i];
        json_t *a = json_object_get(json_object_get(services, total->service), total->name);
        json_t *b = json_object_get(recomputed, total->recomputed);
        bool agree = a && b && json_equal(a, b);
        cells[0] = '\0';
        if (total->cells)
            compare_cells(a, b, cells, sizeof(cells));
        printf("  %-26s %15s  %15s   %s", total->text, amount_text(a, total->money, left, sizeof(left)),
               amount_text(b, total->money, right, sizeof(right)),
               agree ? PAINT(screen, SCREEN_GREEN, "agree") : PAINT(screen, SCREEN_RED, "DIFFER"));
        if (total->cells)
            printf("%s  %s: %s", agree ? " " : "", total->cells, cells);
        printf("\n");
        differ += !agree;
    }
    return differ;
}
