/* bench_listener.c: a listener of `crier bench e2e`, `replay` and `shared`: receives every event, or its part, and checks the
 * history.
 *
 * Thread:      libcrier's I/O thread runs the handler, which alone writes the result; main waits for it.
 * Happy path:  open -> listen -> ready -> on_event notes each -> after the last one a ping, so that whatever the broker
 *              had sent beyond it (a duplicate) has been noted too -> close.
 *              Per event: one comparison. The clock is read for sampled events only.
 *              A member of a shared group succeeds with each event, which acknowledges it, until all have come to some member.
 * Failures:    the listener ends: said, exit 1. An event that never comes: the parent's patience ends the run. */
#include "tools/bench.h"
#include "tools/bench_workers.h"
#include "tools/command.h"

#include "base/clock.h"

#include <crier/shared.h>
#include <inttypes.h>
#include <semaphore.h>
#include <time.h>

#define LOOK_NS 10000000 /* between two looks at whether all has come */

struct receiver {
    const struct bench *bench;
    struct bench_listener *result;
    bool replies;
    sem_t changed; /* posted when listening, finished or ended */
    atomic_bool listening, finished, ended;
};

static void tell(struct receiver *receiver, atomic_bool *what)
{
    atomic_store(what, true);
    sem_post(&receiver->changed);
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct receiver *receiver = ctx;
    int rc = receiver->replies ? crier_reply(bus, event, event->value, event->value_size) : 0;
    if (bench_listener_note(receiver->bench, receiver->result, event->value, event->value_size,
                            clock_monotonic_us))
        tell(receiver, &receiver->finished);
    return rc;
}

static void on_listening(void *ctx)
{
    struct receiver *receiver = ctx;
    tell(receiver, &receiver->listening);
}

static void on_released(void *ctx, int code, const char *text)
{
    struct receiver *receiver = ctx;
    if (code < 0)
        command_failed("the listener ended: %s", text != NULL ? text : crier_strerror(code));
    tell(receiver, &receiver->ended);
}

/* Waits until the flag is set. False if the listener ended instead. */
static bool wait_for(struct receiver *receiver, const atomic_bool *flag)
{
    while (!atomic_load(flag)) {
        if (atomic_load(&receiver->ended))
            return false;
        while (sem_wait(&receiver->changed) < 0)
            ; /* a signal */
    }
    return true;
}

/* The last event comes to one member; the others look. */
static bool wait_for_all(struct receiver *receiver)
{
    while (!bench_group_finished(receiver->bench)) {
        struct timespec until;
        if (atomic_load(&receiver->ended))
            return false;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        sem_timedwait(&receiver->changed, &until);
    }
    return true;
}

static int listen_from(struct receiver *receiver, crier *bus, enum crier_from from)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct crier_shared_options shared = crier_shared_options_default();

    if (receiver->bench->group != NULL) {
        shared.key_ordered = receiver->bench->options->key_ordered;
        shared.max_in_flight = (uint32_t)receiver->bench->options->in_flight;
        options.group = receiver->bench->topic;
        options.shared = &shared;
    }
    options.from = from;
    options.queue_size = receiver->bench->options->ephemeral ? 64u << 20 : 0;
    options.listening = on_listening;
    options.released = on_released;
    int rc = crier_listen(bus, receiver->bench->topic, &options, on_event, receiver, NULL);
    if (rc < 0)
        return command_failed("cannot listen to '%s': %s", receiver->bench->topic, crier_strerror(rc));
    return wait_for(receiver, &receiver->listening) ? STATUS_DONE : STATUS_FAILED;
}

static int receive_all(struct receiver *receiver, crier *bus)
{
    int64_t round_trip_us;

    if (receiver->bench->group != NULL ? !wait_for_all(receiver) : !wait_for(receiver, &receiver->finished))
        return STATUS_FAILED;
    int rc = crier_ping(bus, &round_trip_us);
    return rc < 0 ? command_failed("no answer after the last event: %s", crier_strerror(rc)) : STATUS_DONE;
}

/* A live listener is in place before the start, one that replays is not: that is what is measured. */
static int listener_work(struct receiver *receiver, crier *bus, struct worker *worker, enum crier_from from)
{
    int status = STATUS_DONE;

    if (from == CRIER_LIVE)
        status = listen_from(receiver, bus, from);
    if (status != STATUS_DONE || !worker_ready(worker))
        return status;
    if (from != CRIER_LIVE)
        status = listen_from(receiver, bus, from);
    return status == STATUS_DONE ? receive_all(receiver, bus) : status;
}

static int listener_run(const struct bench *bench, uint64_t number, struct worker *worker,
                        enum crier_from from, bool replies)
{
    struct receiver receiver = {
        .bench = bench, .result = &bench->results->listeners[number], .replies = replies};
    struct crier_options options = command_bus_options("crier bench listener");
    crier *bus;

    if (sem_init(&receiver.changed, 0, 0) < 0)
        return command_failed("cannot make a semaphore");
    int status = command_open(bench->options->url, &options, &bus);
    if (status == STATUS_DONE)
        status = command_close(bus, listener_work(&receiver, bus, worker, from));
    for (uint64_t i = 0; replies && i < bench->options->producers; i++)
        receiver.result->histories[i].reordered = 0; /* requests of several connections have no order */
    sem_destroy(&receiver.changed);
    return status;
}

int bench_listener_run(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return listener_run(bench, number, worker, CRIER_LIVE, false);
}

int bench_member_run(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return listener_run(bench, number, worker, CRIER_LIVE, false);
}

int bench_replay_run(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return listener_run(bench, number, worker, CRIER_EARLIEST, false);
}

int bench_replier_run(const struct bench *bench, uint64_t number, struct worker *worker)
{
    return listener_run(bench, number, worker, CRIER_LIVE, true);
}
