/* bench_closed.c: a producer of `crier bench emit` and `request`: a closed loop over many connections, on one event loop.
 *
 * Thread:      main of a process of its own; all buses live on its event_base, so nothing is shared.
 * Owns:        struct closed: the buses and, per event in flight, a struct flight.
 * Happy path:  open the buses -> ready -> every flight emits -> on_acked notes the time and emits the next -> the last ack
 *              leaves the loop.
 * Failures:    an emit that is refused or has no outcome: said once, the flight stops, exit 1. */
#include "tools/bench.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct closed;

struct flight {
    struct closed *closed;
    crier *bus;
    int64_t emitted_us;
};

struct closed {
    const struct bench *bench;
    bool asks; /* its events are requests, and what acks one is the reply */
    struct bench_producer *result;
    uint64_t number, share;
    uint64_t next;   /* the sequence of the next event */
    uint64_t flying; /* flights that wait for an ack */
    int status;
    struct event_base *base;
    uint8_t *value;
    crier **buses;
    struct flight *flights;
};

static crier_emitted on_acked;
static crier_replied on_replied;

static void flight_stop(struct closed *closed, int code)
{
    if (closed->status == STATUS_DONE)
        closed->status = command_failed("producer %" PRIu64 ": an event was not stored: %s", closed->number,
                                        crier_strerror(code));
}

static int flight_ask(struct flight *flight)
{
    const struct bench *bench = flight->closed->bench;
    struct crier_request_options options = crier_request_options_default();

    options.replied = on_replied;
    options.ctx = flight;
    options.timeout_ms = (int)(bench->options->patience_us / 1000);
    return crier_request(flight->bus, bench->topic, flight->closed->value, bench->options->event_size,
                         &options, NULL);
}

static int flight_send(struct flight *flight)
{
    const struct bench *bench = flight->closed->bench;
    struct crier_emit_options options = crier_emit_options_default();

    if (flight->closed->asks)
        return flight_ask(flight);
    options.durability = bench->options->durability;
    options.done = on_acked;
    options.ctx = flight;
    return crier_emit_with(flight->bus, bench->topic, flight->closed->value, bench->options->event_size,
                           &options);
}

static void flight_emit(struct flight *flight)
{
    struct closed *closed = flight->closed;

    flight->emitted_us = clock_monotonic_us();
    bench_event_put(closed->value, closed->bench->run, closed->number, closed->next,
                    closed->asks ? 0 : flight->emitted_us); /* the way there is not what is measured then */
    int rc = flight_send(flight);
    if (rc < 0) {
        flight_stop(closed, rc);
        return;
    }
    closed->next++;
    closed->flying++;
    atomic_store_explicit(&closed->result->emitted, closed->next, memory_order_relaxed);
}

static void on_acked(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct flight *flight = ctx;
    struct closed *closed = flight->closed;

    (void)bus, (void)offset;
    closed->flying--;
    if (code < 0) {
        flight_stop(closed, code);
    } else {
        closed->result->acked++;
        histogram_add(&closed->result->latency_us, (uint64_t)(clock_monotonic_us() - flight->emitted_us));
    }
    if (closed->status == STATUS_DONE && closed->next < closed->share)
        flight_emit(flight);
    if (closed->flying == 0)
        event_base_loopbreak(closed->base);
}

static void on_replied(crier *bus, int code, const crier_event *reply, void *ctx)
{
    (void)reply;
    on_acked(bus, code, 0, ctx);
}

static int closed_open(struct closed *closed)
{
    const struct bench_options *bench = closed->bench->options;
    struct crier_options options = command_bus_options("crier bench producer");

    options.base = closed->base;
    options.batch_size_max = bench->batch_size;
    for (uint64_t i = 0; i < bench->connections; i++) {
        int status = command_open(bench->url, &options, &closed->buses[i]);
        if (status != STATUS_DONE)
            return status;
        for (uint64_t k = 0; k < bench->in_flight; k++)
            closed->flights[i * bench->in_flight + k] =
                (struct flight){.closed = closed, .bus = closed->buses[i]};
    }
    return STATUS_DONE;
}

static int closed_loop(struct closed *closed)
{
    const struct bench_options *options = closed->bench->options;

    closed->result->started_us = clock_monotonic_us();
    for (uint64_t i = 0; i < options->connections * options->in_flight && closed->next < closed->share; i++)
        flight_emit(&closed->flights[i]);
    if (closed->flying > 0)
        event_base_dispatch(closed->base);
    closed->result->acked_us = clock_monotonic_us();
    return closed->status;
}

static int run(const struct bench *bench, uint64_t number, struct worker *worker, bool asks)
{
    const struct bench_options *options = bench->options;
    struct closed closed = {.bench = bench,
                            .asks = asks,
                            .result = &bench->results->producers[number],
                            .number = number,
                            .share = bench_share(options, number),
                            .base = event_base_new(),
                            .value = malloc(options->event_size),
                            .buses = calloc(options->connections, sizeof(crier *)),
                            .flights =
                                calloc(options->connections * options->in_flight, sizeof(struct flight))};
    int status;

    if (closed.base == NULL || closed.value == NULL || closed.buses == NULL || closed.flights == NULL) {
        status = command_failed("out of memory");
        goto out;
    }
    memset(closed.value, 'e', options->event_size);
    status = closed_open(&closed);
    if (status == STATUS_DONE && worker_ready(worker))
        status = closed_loop(&closed);
    for (uint64_t i = 0; i < options->connections && closed.buses[i] != NULL; i++)
        status = command_close(closed.buses[i], status);
out:
    free(closed.flights);
    free(closed.buses);
    free(closed.value);
    if (closed.base != NULL)
        event_base_free(closed.base);
    return status;
}

int bench_closed_run(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return run(bench, number, worker, false);
}

int bench_asker_run(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return run(bench, number, worker, true);
}
