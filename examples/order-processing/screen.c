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

/* A lamp for each instance: green while it works, red while it is away. */
static void print_lamps(const struct screen *screen, const struct screen_row *row)
{
    for (int i = 0; i < row->instances; i++)
        printf(" %s", row->up[i] ? PAINT(screen, SCREEN_GREEN, "*") : PAINT(screen, SCREEN_RED, "x"));
    if (row->kills > 0)
        printf("  %s", PAINT(screen, SCREEN_DIM, row->kills == 1 ? "killed once" : "killed"));
    if (row->kills > 1)
        printf(" %d times", row->kills);
}

/* "inventory   [######......]  45 %   1,234 in  56 out   lag 1,500   1,234/s   * * x  killed 2 times" */
static void draw_row(const struct screen *screen, const struct screen_row *row)
{
    int64_t in = row->counts.in, out = row->counts.out, percent = row->percent;
    if (percent < 0)
        percent = in + row->lag > 0 ? 100 * in / (in + row->lag) : 0;
    printf("  %-10s ", row->name);
    print_bar(percent);
    printf("  %9s in %9s out  lag %7s  %8s/s ", NUMBER(in), NUMBER(out), NUMBER(row->lag),
           NUMBER(per_second(screen, in > out ? in : out)));
    print_lamps(screen, row);
    printf("\033[K\n");
}

static void draw_broker(const struct screen *screen, const struct screen_row *row)
{
    printf("  %-10s %-*s", row->name, 2 * BAR_WIDTH + 39, row->up[0] ? "serving" : "gone");
    print_lamps(screen, row);
    printf("\033[K\n");
}

static void print_line(const struct screen *screen, const struct screen_row *rows, size_t count)
{
    const char *between = "";
    printf("  %.1f s:", (double)(screen_now_ms() - screen->started_ms) / 1e3);
    for (size_t i = 0; i < count; i++) {
        bool source = rows[i].percent >= 0;
        if (rows[i].instances == 0)
            continue;
        printf("%s %s %s %s", between, rows[i].name, NUMBER(source ? rows[i].counts.out : rows[i].counts.in),
               source ? "out" : "in");
        between = ",";
    }
    printf("\n");
}

void screen_progress(struct screen *screen, const struct screen_row *broker, const struct screen_row *rows,
                     size_t count, bool force)
{
    int64_t now_ms = screen_now_ms();
    if (screen->terminal) {
        if (screen->drawn > 0)
            printf("\033[%dA", screen->drawn);
        if (broker)
            draw_broker(screen, broker);
        for (size_t i = 0; i < count; i++)
            draw_row(screen, &rows[i]);
        if (broker)
            printf("  %s\033[K\n", screen->news);
        screen->drawn = (int)count + (broker ? 2 : 0);
    } else if (force || now_ms - screen->shown_ms >= INTERVAL_MS) {
        print_line(screen, rows, count);
        screen->shown_ms = now_ms;
    }
    fflush(stdout);
}

void screen_news(struct screen *screen, const char *text)
{
    snprintf(screen->news, sizeof(screen->news), "%.1f s: %s",
             (double)(screen_now_ms() - screen->started_ms) / 1e3, text);
    if (!screen->terminal)
        printf("  %s\n", screen->news);
}

/* ---- the end ---- */

void screen_services(const struct screen *screen, const struct screen_row *rows, size_t count)
{
    printf("\n%s\n", PAINT(screen, SCREEN_BOLD,
                           "  service      instances    events in   events out   failed  repeated     lag"));
    for (size_t i = 0; i < count; i++) {
        const struct screen_row *row = &rows[i];
        printf("  %-10s %11d  %11s  %11s  %7s  %8s  %6s", row->name, row->instances, NUMBER(row->counts.in),
               NUMBER(row->counts.out), NUMBER(row->counts.failed), NUMBER(row->counts.repeated),
               NUMBER(row->lag));
        if (row->kills > 0)
            printf("  killed %s", row->kills == 1 ? "once" : NUMBER(row->kills));
        printf("%s\n", row->kills > 1 ? " times" : "");
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
