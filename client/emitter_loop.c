/* emitter_loop.c: the loop of a bus of local:, for what is not done at once: futures, ticks, timers, pools, iterators.
 *
 * Role:     an emit needs no loop, and a bus that only emits has none: no thread, no descriptor. The first call that needs one
 *           makes it, where any bus has it: on a thread of its own, on the caller's libevent base, or on a loop that waits
 *           for crier_fd(). Handlers go on being called inside crier_emit().
 * Thread:   the I/O thread, which holds the emitter's lock while it calls anybody: what a program is called with by one bus comes
 *           one at a time, be it a handler or a continuation, as on every kind of bus.
 *
 * Happy path:  crier_after ... -> emitter_loop_make -> poll_step -> loop_turn -> emitter_loop_turn: base/agenda.h's order
 * Failures:    no memory, thread or descriptors: CRIER_ENOMEM from the call that needed it; the next one tries again. */
#include "client/bus_internal.h"
#include "client/emitter.h"

#include "base/clock.h"

static int loop_make(crier *bus)
{
    int rc;

    if (!(bus->agenda = bus_agenda_create(bus)))
        return CRIER_ENOMEM;
    if ((rc = poll_open(bus)) == 0 && bus->own_thread)
        rc = bus_thread_start(bus);
    if (rc == 0) {
        atomic_store_explicit(&bus->looped, true, memory_order_release);
        return 0;
    }
    poll_close(bus);
    agenda_close(bus->agenda);
    agenda_release(bus->agenda);
    bus->agenda = NULL;
    return rc;
}

int emitter_loop_make(crier *bus)
{
    unsigned before = emitter_enter(bus->emitter); /* the thread's first turn waits for it */
    int rc = atomic_load_explicit(&bus->looped, memory_order_relaxed) ? 0 : loop_make(bus);

    emitter_exit_keep(bus->emitter, before);
    return rc;
}

void emitter_loop_error(crier *bus, int code, const char *text)
{
    emitter_tell_error(bus->emitter, code, text);
}

/* Who waits looks again. Returns whether it was the last turn but one. */
static bool progress_publish(crier *bus)
{
    bool stop;

    pthread_mutex_lock(&bus->lock);
    stop = bus->stop;
    if (bus->waiters > 0)
        pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
    return stop;
}

/* The last turn. Nothing of the bus is touched once `stopped` is told: whoever waits for that frees it. */
static void loop_stop(crier *bus)
{
    unsigned before = emitter_enter(bus->emitter);

    streams_close(bus);
    agenda_drain(bus->agenda); /* their last events */
    agenda_close(bus->agenda);
    streams_finish(bus);
    emitter_exit_keep(bus->emitter, before);
    poll_leave_base(bus);
    bus->down = true;
    loop_leave(bus);
    pthread_mutex_lock(&bus->lock);
    bus->stopped = true;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

void emitter_loop_turn(crier *bus)
{
    unsigned before;

    loop_enter(bus);
    if (bus->down) {
        loop_leave(bus);
        return;
    }
    before = emitter_enter(bus->emitter);
    bus->again = false;
    agenda_drain(bus->agenda);
    agenda_immediates(bus->agenda);
    agenda_timers(bus->agenda, clock_monotonic_us());
    emitter_exit_keep(bus->emitter, before);
    if (progress_publish(bus)) {
        loop_stop(bus);
        return;
    }
    poll_arm(bus);
    loop_leave(bus);
}
