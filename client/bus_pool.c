/* bus_pool.c: handlers on a worker pool: events go out in lanes, and come back as outcomes.
 *
 * Role:     copies an event that is handed out into a job of the lane its key belongs to; the engine keeps position and
 *           credit until the outcome is back (engine_taken.c). With events_max out, the listener is paused until half of
 *           them are back.
 * Thread:   on_event, outcome_run: the I/O thread; job_run: the pool's.
 * Owns:     struct outing, from on_event until the engine lets go of it; struct diverted, a listener's, until it is released.
 *
 * Happy path:  engine_dispatch -> on_event: engine_take -> lane -> job_run: the user's handler -> agenda (immediates) ->
 *              outcome_run: engine_taken_done -> position, credit
 * Failures:    no memory for a copy: the listener is paused for a turn, and the event comes again. The listener has been
 *              stopped, or the partition was taken away: what has not begun is given back. */
#include "base/check.h"
#include "base/pool.h"
#include "client/bus_internal.h"
#include "client/event_copy.h"
#include "client/pool_internal.h"
#include "crier/shared.h"
#include "proto/murmur2.h"

#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 1024 /* of a listener, on the pool */

/* A listener with a pool. */
struct diverted {
    crier *bus;
    crier_listener *listener;
    crier_pool *pool;
    size_t out, events_max;
    bool paused;
    struct task retry;
    bool retrying;
};

struct outing {
    struct engine_taken taken;
    struct pool_job job;
    struct task task;
    struct diverted *diverted;
    int rc;
    struct event_copy copy;
    unsigned char bytes[];
};

static void outing_free(struct engine_taken *taken)
{
    free(LIST_ENTRY(taken, struct outing, taken));
}

/* ---- back on the I/O thread ---- */

static void resume(struct diverted *diverted)
{
    diverted->paused = false;
    engine_resume(diverted->bus->engine, diverted->listener);
}

/* The engine has let go of the listener if `dropped`; then `diverted` is gone too. */
static void outcome_run(struct task *task, bool dropped)
{
    struct outing *outing = LIST_ENTRY(task, struct outing, task);
    struct diverted *diverted = outing->diverted;
    crier *bus = diverted->bus;

    CHECK(!dropped); /* the bus waits for them before it closes its agenda */
    diverted->out--;
    if (diverted->paused && diverted->out <= diverted->events_max / 2)
        resume(diverted);
    engine_taken_done(bus->engine, &outing->taken, outing->rc); /* may be the listener's end */
}

static void retry_run(struct task *task, bool dropped)
{
    struct diverted *diverted = LIST_ENTRY(task, struct diverted, retry);

    diverted->retrying = false;
    if (!dropped)
        resume(diverted);
}

/* ---- on the pool ---- */

static void job_run(struct pool_job *job)
{
    struct outing *outing = LIST_ENTRY(job, struct outing, job);
    crier_listener *listener = outing->diverted->listener;
    crier *bus = outing->diverted->bus;

    outing->rc = ENGINE_NOT_HANDLED;
    atomic_store(&outing->taken.waits, false);
    if (!engine_listener_is_stopped(listener) && !atomic_load(&outing->taken.revoked)) {
        int rc = engine_listener_call(listener, &outing->copy.event);
        outing->rc = rc < 0 || (rc == CRIER_LATER && outing->taken.attempt) ? rc : 0;
    }
    agenda_add(bus->agenda, AGENDA_IMMEDIATE, &outing->task);
    pthread_mutex_lock(&bus->lock);
    bus->outings--; /* nothing of the bus is touched below: it may be gone */
    if (bus->outings == 0)
        pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

void outings_wait(crier *bus)
{
    pthread_mutex_lock(&bus->lock);
    while (bus->outings > 0)
        pthread_cond_wait(&bus->changed, &bus->lock);
    pthread_mutex_unlock(&bus->lock);
}

/* ---- out ---- */

static void pause_for_a_turn(struct diverted *diverted)
{
    engine_pause(diverted->bus->engine);
    diverted->paused = true;
    if (diverted->retrying)
        return;
    diverted->retrying = true;
    agenda_add(diverted->bus->agenda, AGENDA_IMMEDIATE, &diverted->retry);
}

/* By key, as partitions are chosen; without a key by partition. A shared group's have no order but the one the broker keeps. */
static uint32_t lane_of(const crier_event *event)
{
    if (event->attempt)
        return murmur2(&event->offset, sizeof(event->offset));
    if (event->key)
        return murmur2(event->key, event->key_size);
    return murmur2(event->topic, strlen(event->topic)) + event->partition;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct diverted *diverted = ctx;
    struct outing *outing;

    if (diverted->out >= diverted->events_max) {
        engine_pause(bus->engine);
        diverted->paused = true;
        return 0;
    }
    if (!(outing = calloc(1, sizeof(*outing) + event_copy_size(event)))) {
        pause_for_a_turn(diverted);
        return 0;
    }
    outing->taken.release = outing_free;
    outing->job.run = job_run;
    outing->task.run = outcome_run;
    outing->diverted = diverted;
    list_init(&outing->job.link);
    list_init(&outing->task.link);
    event_copy_fill(&outing->copy, outing->bytes, event);
    engine_take(bus->engine, &outing->taken);
    atomic_store(&outing->taken.waits, true);
    diverted->out++;
    pthread_mutex_lock(&bus->lock);
    bus->outings++;
    pthread_mutex_unlock(&bus->lock);
    pool_submit_lane(diverted->pool->pool, lane_of(&outing->copy.event), &outing->job);
    return 0;
}

/* ---- listeners ---- */

int listener_use_pool(crier *bus, crier_listener *listener, crier_pool *pool, uint32_t events_max)
{
    struct diverted *diverted = calloc(1, sizeof(*diverted));

    if (!diverted)
        return CRIER_ENOMEM;
    diverted->bus = bus;
    diverted->listener = listener;
    diverted->pool = pool;
    diverted->events_max = events_max ? events_max : EVENTS_MAX;
    diverted->retry.run = retry_run;
    list_init(&diverted->retry.link);
    atomic_fetch_add(&pool->listeners, 1);
    engine_listener_divert(listener, on_event, NULL, diverted);
    return 0;
}

void listener_leave_pool(crier_listener *listener)
{
    struct diverted *diverted = engine_listener_diverted_by(listener, on_event);

    if (!diverted)
        return;
    CHECK(diverted->out == 0);
    if (diverted->retrying)
        agenda_remove(diverted->bus->agenda, &diverted->retry);
    atomic_fetch_sub(&diverted->pool->listeners, 1);
    free(diverted);
}
