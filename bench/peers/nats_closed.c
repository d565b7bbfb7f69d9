/* nats_closed.c: a closed loop through libnats: a thread per connection, one event in flight on each, as libnats has no other
 * way on many connections.
 *
 * Thread:      main starts and joins; each flight's thread exchanges (an ack, a reply) and takes the next event under a lock.
 * Owns:        struct closed and the flights. The connections go with the process.
 * Failures:    an exchange that fails: said once, all threads end, exit 1. */
#include "bench/peers/nats_common.h"
#include "bench/peers/peer.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct closed {
    pthread_mutex_t lock; /* load: its events, its result */
    struct load load;
    nats_exchange *exchange;
    int status;
};

static bool flight_next(struct closed *closed, uint8_t *value)
{
    pthread_mutex_lock(&closed->lock);
    bool more = closed->status == STATUS_DONE && load_next(&closed->load);
    if (more)
        memcpy(value, closed->load.value, closed->load.bench->options->event_size);
    pthread_mutex_unlock(&closed->lock);
    return more;
}

static void flight_done(struct closed *closed, natsStatus rc, int64_t emitted_us)
{
    pthread_mutex_lock(&closed->lock);
    if (rc == NATS_OK)
        peer_confirmed(&closed->load, emitted_us);
    else if (closed->status == STATUS_DONE)
        closed->status = command_failed("nats: %s", natsStatus_GetText(rc));
    pthread_mutex_unlock(&closed->lock);
}

static void *flight_main(void *ctx)
{
    struct nats_flight *flight = ctx;
    size_t size = flight->bench->options->event_size;
    uint8_t *value = malloc(size);

    while (value != NULL && flight_next(flight->closed, value)) {
        int64_t emitted_us = clock_monotonic_us();
        flight_done(flight->closed, flight->closed->exchange(flight, value, (int)size), emitted_us);
    }
    free(value);
    return NULL;
}

int nats_closed(const struct bench *bench, uint64_t number, struct worker *worker, nats_exchange *exchange)
{
    struct closed closed = {.lock = PTHREAD_MUTEX_INITIALIZER, .exchange = exchange};
    uint64_t count = bench->options->connections;
    struct nats_flight *flights = calloc(count, sizeof(*flights));

    if (bench->options->in_flight != 1)
        return command_failed("nats: one in flight on each connection is all that libnats offers");
    if (flights == NULL || load_open(&closed.load, bench, number) != STATUS_DONE)
        return command_failed("out of memory");
    closed.load.sample = UINT64_MAX; /* each exchange is timed here */
    for (uint64_t i = 0; i < count; i++) {
        flights[i] = (struct nats_flight){.bench = bench, .closed = &closed, .nats = nats_open(bench)};
        if (flights[i].nats == NULL ||
            natsConnection_JetStream(&flights[i].js, flights[i].nats, NULL) != NATS_OK)
            return command_failed("nats: connection %" PRIu64 " failed", i);
    }
    if (worker_ready(worker)) {
        for (uint64_t i = 0; i < count; i++)
            pthread_create(&flights[i].thread, NULL, flight_main, &flights[i]);
        for (uint64_t i = 0; i < count; i++)
            pthread_join(flights[i].thread, NULL);
        load_acked(&closed.load);
    }
    exit(closed.status); /* the connections go with the process */
}
