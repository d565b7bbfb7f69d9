/* screen.h: how the demo looks: progress while it runs, and its end. Colours and redrawing only on a terminal. */
#ifndef ORDER_PROCESSING_SCREEN_H
#define ORDER_PROCESSING_SCREEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCREEN_TEXT_SIZE 128

#define SCREEN_INSTANCES 3

struct screen {
    bool terminal, colours;
    int drawn; /* lines to go up before drawing again */
    int64_t started_ms, shown_ms;
    char news[SCREEN_TEXT_SIZE]; /* below the rows; "": none */
};

struct counts { /* of events */
    int64_t in, out, failed, repeated;
};

struct screen_row { /* what is shown of a service, all its instances together */
    const char *name;
    struct counts counts; /* since the run began, over all their lives */
    int64_t lag, percent; /* percent: of the input; -1: it has none */
    int kills;
    int instances;
    bool up[SCREEN_INSTANCES];
};

enum screen_colour { SCREEN_PLAIN, SCREEN_GREEN, SCREEN_RED, SCREEN_BOLD, SCREEN_DIM };

int64_t screen_now_ms(void);
void screen_init(struct screen *screen);
void screen_start(struct screen *screen); /* the clock of the rates */
/* Text in a colour, written to `to` and returned. */
const char *screen_paint(const struct screen *screen, enum screen_colour colour, const char *text,
                         char to[SCREEN_TEXT_SIZE]);
/* Shows how far everything is: on a terminal in place, else as a line a second. broker NULL: it is not shown, nor is the
 * news. force: also if it is too early. */
void screen_progress(struct screen *screen, const struct screen_row *broker, const struct screen_row *rows,
                     size_t count, bool force);
/* Something happened: shown until the next. Without a terminal a line of its own. */
void screen_news(struct screen *screen, const char *text);
/* The table of services at the end. */
void screen_services(const struct screen *screen, const struct screen_row *rows, size_t count);
/* Compares the services' totals with the recomputed ones, a line each. Returns how many differ. */
int screen_totals(const struct screen *screen, json_t *services, json_t *recomputed);
int64_t report_number(json_t *report, const char *name); /* 0 if it is not there */
/* 1234567 -> "1,234,567", written to `to` and returned. */
const char *screen_number(int64_t number, char to[SCREEN_TEXT_SIZE]);

/* The same, in memory that lasts until the end of the block around. */
#define PAINT(screen, colour, text) screen_paint((screen), (colour), (text), (char[SCREEN_TEXT_SIZE]){0})
#define NUMBER(number)              screen_number((number), (char[SCREEN_TEXT_SIZE]){0})

#endif
