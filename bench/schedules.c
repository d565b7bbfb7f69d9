/* schedules.c: events with a time for a measurement: fills a broker with them, and hears how late they come.
 *
 *   crier_schedules fill URL COUNT BEGIN_US SPREAD_S STEP     events of 100 B to `later`, due from BEGIN_US (since 1970) on, evenly
 *                                                             over SPREAD_S; in the order of their times if STEP is 1, else
 *                                                             in steps of STEP, a number that has no factor in common with COUNT
 *   crier_schedules hear URL COUNT                            until all have come; one JSON object: how late the handler had each,
 *                                                             by the wall clock, which is the broker's too
 *
 * Every event is counted: one that comes twice, or early, is an error. */
#include "base/bytes.h"
#include "base/histogram.h"

#include <crier/schedule.h>

#include <err.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVENT_SIZE 100
#define PARTITIONS 16 /* each has 32 emits in flight, of one event each */

struct hearing {
    struct histogram late_us;
    uint64_t count, heard, early;
    uint8_t *seen;
    sem_t done;
};

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static crier *bus_open(const char *url)
{
    struct crier_options options = crier_options_default();
    crier *bus;
    options.emit_blocks = true;
    options.buffer_size_max = 64u << 20;
    int rc = crier_open(url, &options, &bus);
    if (rc < 0)
        errx(1, "%s: %s", url, crier_strerror(rc));
    return bus;
}

static void fill(const char *url, uint64_t count, int64_t begin_us, uint64_t spread_s, uint64_t step)
{
    crier *bus = bus_open(url);
    struct crier_later_options later = crier_later_options_default();
    struct crier_emit_options emit = crier_emit_options_default();
    struct crier_topic_options topic = crier_topic_options_default();
    uint8_t value[EVENT_SIZE] = {0};
    topic.partitions = PARTITIONS;
    int rc = crier_topic_create(bus, "later", &topic);
    later.emit = &emit;
    int64_t from_us = now_us(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < count && rc == 0; i++) {
        uint64_t place = i * step % count;
        emit.partition = (int32_t)(i % PARTITIONS);
        later.at_us = begin_us + (int64_t)(place * spread_s * 1000000 / count);
        le64_put(value, place);
        le64_put(value + 8, (uint64_t)later.at_us);
        rc = crier_emit_later(bus, "later", value, sizeof(value), &later);
    }
    if (rc < 0 || (rc = crier_flush(bus, 600000)) < 0)
        errx(1, "fill: %s", crier_strerror(rc));
    double seconds = (double)(now_us(CLOCK_MONOTONIC) - from_us) / 1e6;
    printf("{\"scheduled\": %" PRIu64 ", \"scheduled_per_s\": %.0f}\n", count, (double)count / seconds);
    crier_close(bus);
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct hearing *hearing = ctx;
    (void)bus;
    if (event->value_size != EVENT_SIZE || le64_get(event->value) >= hearing->count)
        errx(1, "an event that nobody scheduled");
    uint64_t place = le64_get(event->value);
    int64_t late_us = now_us(CLOCK_REALTIME) - (int64_t)le64_get((const uint8_t *)event->value + 8);
    if (hearing->seen[place]++)
        errx(1, "event %" PRIu64 " came twice", place);
    hearing->early += late_us < 0;
    histogram_add(&hearing->late_us, late_us > 0 ? (uint64_t)late_us : 0);
    if (++hearing->heard == hearing->count)
        sem_post(&hearing->done);
    return 0;
}

static void hear(const char *url, uint64_t count)
{
    struct hearing *hearing = calloc(1, sizeof(*hearing));
    struct crier_listen_options options = crier_listen_options_default();
    if (!hearing || !(hearing->seen = calloc(count, 1)))
        err(1, "memory");
    hearing->count = count;
    sem_init(&hearing->done, 0, 0);
    crier *bus = bus_open(url);
    options.from = CRIER_EARLIEST;
    int rc = crier_listen(bus, "later", &options, on_event, hearing, NULL);
    if (rc < 0)
        errx(1, "listen: %s", crier_strerror(rc));
    while (sem_wait(&hearing->done) < 0)
        continue;
    const struct histogram *late = &hearing->late_us;
    printf("{\"events\": %" PRIu64 ", \"early\": %" PRIu64 ", \"late_us\": {\"p50\": %" PRIu64
           ", \"p99\": %" PRIu64 ", \"p999\": %" PRIu64 ", \"max\": %" PRIu64 "}}\n",
           hearing->heard, hearing->early, histogram_percentile(late, 0.5), histogram_percentile(late, 0.99),
           histogram_percentile(late, 0.999), late->max);
    crier_close(bus);
    free(hearing->seen);
    free(hearing);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*end || value == 0)
        errx(2, "'%s' is no number above 0", text);
    return value;
}

int main(int argc, char **argv)
{
    if (argc == 7 && !strcmp(argv[1], "fill"))
        fill(argv[2], number(argv[3]), (int64_t)number(argv[4]), number(argv[5]), number(argv[6]));
    else if (argc == 4 && !strcmp(argv[1], "hear"))
        hear(argv[2], number(argv[3]));
    else
        errx(2, "usage: crier_schedules fill URL COUNT BEGIN_US SPREAD_S STEP | hear URL COUNT");
    return 0;
}
