/* listener_hold.h: who starts and ends a listener keeps it under a lock of his own, which `released` takes too. On a bus with an
 * engine that lock is held over the call that starts or ends it: `released` comes on the I/O thread. On a bus of local: `released`
 * may come inside that very call, so it is the bus's own lock that is held: nobody else can come in between. */
#ifndef CRIER_CLIENT_LISTENER_HOLD_H
#define CRIER_CLIENT_LISTENER_HOLD_H

#include "client/bus_internal.h"
#include "client/emitter.h"

/* What it returns is for listener_let_go. */
static inline unsigned listener_hold(crier *bus, pthread_mutex_t *lock)
{
    if (bus->emitter)
        return emitter_enter(bus->emitter);
    pthread_mutex_lock(lock);
    return 0;
}

static inline void listener_let_go(crier *bus, pthread_mutex_t *lock, unsigned before)
{
    if (bus->emitter)
        emitter_exit_keep(bus->emitter, before);
    else
        pthread_mutex_unlock(lock);
}

/* *listener: under the lock, NULL once it is released; before that, its bus is there. */
void listener_unlisten(pthread_mutex_t *lock, crier_listener **listener);

#endif
