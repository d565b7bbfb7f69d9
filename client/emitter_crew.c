/* emitter_crew.c: on a bus of local:, handlers on a worker pool, and what becomes of emits that do not fit.
 *
 * Role:     copies an event into a job of the lane its key belongs to, as bus_pool.c does for a bus with an engine; here
 *           nothing is kept, so there is no position to hold back: what does not fit is refused before it is emitted.
 * Thread:   job_run: the pool's; the rest: the holder of the emitter's lock.
 * Owns:     struct outing, from handing out to its outcome; struct emitter_crew, its listener's, which is released when
 *           nothing of it is out.
 *
 * Happy path:  emit: has_room -> hand_out -> lane -> job_run: the user's handler -> agenda (immediates) -> outcome_run
 * Failures:    no memory for a copy: the event is one whose handler failed. The handler fails: as one that runs at once. */
#include "base/check.h"
#include "base/pool.h"
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/event_copy.h"
#include "client/pool_internal.h"
#include "proto/murmur2.h"

#include <stdlib.h>

#define EVENTS_MAX 1024 /* of a listener, on the pool */

struct emitter_crew {
    struct emitter_listener *listener;
    crier_pool *pool;
    size_t out, events_max;
    bool refused; /* an emit, for want of room */
    bool ending;  /* the listener is to be released with the last outcome */
    atomic_bool stopped;
};

struct outing {
    struct pool_job job;
    struct task task;
    struct emitter_crew *crew;
    int rc;
    struct event_copy copy;
    unsigned char bytes[];
};

/* ---- room ---- */

static bool has_room(void *ctx, size_t events)
{
    struct emitter_crew *crew = ctx;
    bool room = crew->out == 0 || crew->out + events <= crew->events_max;

    crew->refused |= !room;
    return room;
}

/* Who waits in a call on this bus looks again. */
static void waiters_wake(crier *bus)
{
    pthread_mutex_lock(&bus->lock);
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
    if (atomic_load(&bus->looped))
        bus_wake(bus);
}

void emitter_room_made(crier *bus)
{
    struct emitter *emitter = bus->emitter;

    if (!atomic_exchange(&emitter->refused, false))
        return;
    for (struct list *link = emitter->buses.next; link != &emitter->buses; link = link->next) {
        crier *other = LIST_ENTRY(link, crier, among);
        if (other->options.drain)
            other->options.drain(other, other->options.ctx);
        waiters_wake(other);
    }
}

/* ---- back on the loop, on the pool, and out ---- */

static void outcome_run(struct task *task, bool dropped)
{
    struct outing *outing = LIST_ENTRY(task, struct outing, task);
    struct emitter_crew *crew = outing->crew;
    struct emitter_listener *listener = crew->listener;

    CHECK(!dropped); /* the bus waits for them before it closes its agenda */
    crew->out--;
    if (outing->rc < 0) {
        emitter_count(&listener->failed);
        emitter_failure_note(listener->bus->emitter, outing->copy.event.topic, outing->rc);
    }
    free(outing);
    if (crew->refused && crew->out <= crew->events_max / 2) {
        crew->refused = false;
        emitter_room_made(listener->bus);
    }
    if (crew->ending && crew->out == 0)
        emitter_listener_free(listener);
}

static void job_run(struct pool_job *job)
{
    struct outing *outing = LIST_ENTRY(job, struct outing, job);
    struct emitter_listener *listener = outing->crew->listener;
    crier *bus = listener->bus;

    if (!atomic_load(&outing->crew->stopped))
        outing->rc = listener->handler(bus, &outing->copy.event, listener->ctx);
    agenda_add(bus->agenda, AGENDA_IMMEDIATE, &outing->task);
    pthread_mutex_lock(&bus->lock);
    bus->outings--; /* nothing of the bus is touched below: it may be gone */
    if (bus->outings == 0)
        pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

/* By key, as partitions are chosen; without a key all of a topic, which has one partition here. */
static uint32_t lane_of(const crier_event *event)
{
    return event->key ? murmur2(event->key, event->key_size) : murmur2(event->topic, strlen(event->topic));
}

int emitter_crew_hand_out(struct emitter_crew *crew, const crier_event *event)
{
    struct outing *outing = calloc(1, sizeof(*outing) + event_copy_size(event));
    crier *bus = crew->listener->bus;

    if (!outing)
        return CRIER_ENOMEM;
    outing->job.run = job_run;
    outing->task.run = outcome_run;
    outing->crew = crew;
    list_init(&outing->job.link);
    list_init(&outing->task.link);
    event_copy_fill(&outing->copy, outing->bytes, event);
    crew->out++;
    pthread_mutex_lock(&bus->lock);
    bus->outings++;
    pthread_mutex_unlock(&bus->lock);
    pool_submit_lane(crew->pool->pool, lane_of(&outing->copy.event), &outing->job);
    return 0;
}

/* ---- listeners ---- */

int emitter_crew_make(struct emitter_listener *listener, crier_pool *pool, uint32_t events_max)
{
    struct emitter_crew *crew = calloc(1, sizeof(*crew));

    if (!crew)
        return CRIER_ENOMEM;
    crew->listener = listener;
    crew->pool = pool;
    crew->events_max = events_max ? events_max : EVENTS_MAX;
    atomic_fetch_add(&pool->listeners, 1);
    listener->crew = crew;
    listener->has_room = has_room;
    listener->room_ctx = crew;
    return 0;
}

void emitter_crew_stop(struct emitter_crew *crew)
{
    atomic_store(&crew->stopped, true);
}

bool emitter_crew_end(struct emitter_crew *crew)
{
    if (crew->out > 0) {
        crew->ending = true;
        return false;
    }
    crew->listener->crew = NULL;
    atomic_fetch_sub(&crew->pool->listeners, 1);
    free(crew);
    return true;
}
