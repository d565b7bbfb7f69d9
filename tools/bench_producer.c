/* bench_producer.c: a producer of `crier bench e2e` and `replay`: emits its share of the events as fast as the broker takes
 * them, or each on time.
 *
 * Thread:      main of a process of its own emits; libcrier's I/O thread sends, and calls on_error.
 * Happy path:  open -> ready -> emit, emit, ... (it waits when the buffer is full) -> flush -> the time of the last ack.
 *              Per event: two stores and crier_emit_with(). The clock is read for sampled events only.
 *              With a rate (an open loop): an event's time is the one it should have left at, so that what was held up
 *              counts from then, and the loop sleeps until the next is due.
 * Failures:    an event that was refused, or an emit with no outcome: said, exit 1; the parent ends the run. */
#include "tools/bench.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROGRESS_INTERVAL 1024 /* events; a power of two */

/* Failed events also show in crier_flush(): here is only said why. */
static int on_error(crier *bus, const crier_event *event, void *ctx)
{
    atomic_bool *failed = ctx;
    (void)bus;
    if (!atomic_exchange(failed, true))
        command_failed("an event was not stored: %s", crier_strerror(event->error));
    return 0;
}

/* When an event of this producer should leave. */
static int64_t due_us(const struct bench *bench, int64_t start_us, uint64_t sequence)
{
    double per_s = (double)bench->options->rate / (double)bench->options->producers;
    return start_us + (int64_t)((double)sequence * 1e6 / per_s);
}

static void sleep_until(int64_t time_us)
{
    const struct timespec time = {.tv_sec = time_us / 1000000, .tv_nsec = time_us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
        ;
}

static int emit_all(const struct bench *bench, uint64_t number, crier *bus, uint8_t *value,
                    const atomic_bool *failed)
{
    struct bench_producer *result = &bench->results->producers[number];
    struct crier_emit_options emit = crier_emit_options_default();
    uint64_t share = bench_share(bench->options, number);
    /* The next sequence that carries a time. */
    uint64_t sample = bench->sample_interval > 0 ? 0 : UINT64_MAX;

    uint8_t key[8];

    emit.durability = bench->options->durability;
    if (bench->options->key_ordered) {
        emit.key = key;
        emit.key_size = sizeof(key);
    }
    result->started_us = clock_monotonic_us();
    for (uint64_t sequence = 0; sequence < share; sequence++) {
        int64_t time_us = 0;
        if (bench->options->rate > 0) {
            time_us = due_us(bench, result->started_us, sequence);
            if (clock_monotonic_us() < time_us)
                sleep_until(time_us);
        } else if (sequence == sample) {
            time_us = clock_monotonic_us();
        }
        if (sequence == sample)
            sample += bench->sample_interval;
        else
            time_us = 0;
        bench_event_put(value, bench->run, number, sequence, time_us);
        if (bench->options->key_ordered)
            le64_put(key, number << 40 | sequence % bench->options->keys);
        int rc = crier_emit_with(bus, bench->topic, value, bench->options->event_size, &emit);
        if (rc < 0)
            return command_failed("producer %" PRIu64 ": event %" PRIu64 ": %s", number, sequence,
                                  crier_strerror(rc));
        if (sequence % PROGRESS_INTERVAL == 0) {
            atomic_store_explicit(&result->emitted, sequence, memory_order_relaxed);
            if (atomic_load_explicit(failed, memory_order_relaxed))
                return STATUS_FAILED;
        }
    }
    int rc = crier_flush(bus, -1);
    result->acked_us = clock_monotonic_us();
    atomic_store(&result->emitted, share);
    if (rc < 0)
        return command_failed("producer %" PRIu64 ": %s", number, crier_strerror(rc));
    return atomic_load(failed) ? STATUS_FAILED : STATUS_DONE;
}

int bench_producer_run(const struct bench *bench, uint64_t number, struct worker *worker)
{
    struct crier_options options = command_bus_options("crier bench producer");
    uint8_t *value = malloc(bench->options->event_size);
    atomic_bool failed = false;
    crier *bus;

    if (value == NULL)
        return command_failed("out of memory");
    memset(value, 'e', bench->options->event_size);
    options.batch_size_max = bench->options->batch_size;
    options.emit_blocks = true;
    int status = command_open(bench->options->url, &options, &bus);
    if (status != STATUS_DONE)
        goto out;
    crier_on(bus, "error", on_error, &failed);
    if (worker_ready(worker))
        status = emit_all(bench, number, bus, value, &failed);
    status = command_close(bus, status);
out:
    free(value);
    return status;
}
