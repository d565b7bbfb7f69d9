/* bench_cost.c URL [EVENTS [SIZE]]: what does an event cost the client in CPU time: a durable emit in a flood, and a delivery?
 *
 * Role:    one process that emits so many events and flushes, then listens to them from the earliest; the user and system time
 *          of all its threads in each half, over the number of events. Prints one JSON object, in nanoseconds an event.
 *          bench/cost.sh gives it a broker of its own.
 * Thread:  main emits and waits; handlers run on the bus's I/O thread.
 *
 * Failures: anything unexpected, also an event too many or out of order, ends it with a sentence and status 1. */
#include "crier/crier.h"

#include <err.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define TOPIC          "cost"
#define SIZE_MAX_BYTES 65536

struct cost {
    double user_ns, system_ns, wall_ns; /* per event */
};

struct heard {
    uint64_t count, wanted;
    pthread_mutex_t lock;
    pthread_cond_t all;
    bool done;
};

static double seconds(const struct timeval *at)
{
    return (double)at->tv_sec + (double)at->tv_usec / 1e6;
}

static struct cost now(void)
{
    struct rusage used;
    struct timespec wall;
    getrusage(RUSAGE_SELF, &used);
    clock_gettime(CLOCK_MONOTONIC, &wall);
    return (struct cost){seconds(&used.ru_utime), seconds(&used.ru_stime),
                         (double)wall.tv_sec + (double)wall.tv_nsec / 1e9};
}

static struct cost since(const struct cost *began, uint64_t events)
{
    const struct cost ended = now();
    const double each = 1e9 / (double)events;
    return (struct cost){(ended.user_ns - began->user_ns) * each, (ended.system_ns - began->system_ns) * each,
                         (ended.wall_ns - began->wall_ns) * each};
}

static crier *open_bus(const char *url)
{
    struct crier_options options = crier_options_default();
    char why[256] = "";
    crier *bus;
    options.emit_blocks = true;
    options.error_text = why;
    options.error_text_size = sizeof(why);
    if (crier_open(url, &options, &bus) < 0)
        errx(1, "%s: %s", url, why);
    return bus;
}

static struct cost emit_all(const char *url, uint64_t events, size_t size)
{
    static const char value[SIZE_MAX_BYTES];
    crier *bus = open_bus(url);
    const struct cost began = now();
    for (uint64_t i = 0; i < events; i++) {
        int rc = crier_emit(bus, TOPIC, value, size);
        if (rc < 0)
            errx(1, "emit: %s", crier_strerror(rc));
    }
    int rc = crier_flush(bus, -1);
    const struct cost each = since(&began, events);
    if (rc < 0 || (rc = crier_close(bus)) < 0)
        errx(1, "flush: %s", crier_strerror(rc));
    return each;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct heard *heard = ctx;
    (void)bus;
    if (event->offset != heard->count++)
        errx(1, "offset %" PRIu64 " is out of order", event->offset);
    if (heard->count == heard->wanted) {
        pthread_mutex_lock(&heard->lock);
        heard->done = true;
        pthread_cond_signal(&heard->all);
        pthread_mutex_unlock(&heard->lock);
    }
    return 0;
}

static struct cost hear_all(const char *url, uint64_t events)
{
    struct heard heard = {
        .wanted = events, .lock = PTHREAD_MUTEX_INITIALIZER, .all = PTHREAD_COND_INITIALIZER};
    struct crier_listen_options options = crier_listen_options_default();
    crier *bus = open_bus(url);
    const struct cost began = now();
    options.from = CRIER_EARLIEST;
    if (crier_listen(bus, TOPIC, &options, on_event, &heard, NULL) < 0)
        errx(1, "listen");
    pthread_mutex_lock(&heard.lock);
    while (!heard.done)
        pthread_cond_wait(&heard.all, &heard.lock);
    pthread_mutex_unlock(&heard.lock);
    const struct cost each = since(&began, events);
    crier_close(bus);
    return each;
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 2 ? strtoull(argv[2], NULL, 10) : 5000000;
    size_t size = argc > 3 ? strtoull(argv[3], NULL, 10) : 100;
    if (argc < 2 || events == 0 || size > SIZE_MAX_BYTES)
        errx(2, "usage: bench_cost URL [EVENTS [SIZE]]");
    const struct cost emit = emit_all(argv[1], events, size), hear = hear_all(argv[1], events);
    printf("{\"events\": %" PRIu64 ", \"size\": %zu, \"emit_user_ns\": %.1f, \"emit_system_ns\": %.1f, "
           "\"emit_wall_ns\": %.1f, \"delivery_user_ns\": %.1f, \"delivery_system_ns\": %.1f, "
           "\"delivery_wall_ns\": %.1f}\n",
           events, size, emit.user_ns, emit.system_ns, emit.wall_ns, hear.user_ns, hear.system_ns,
           hear.wall_ns);
    return 0;
}
