/* emitter_lock.c: the rare half of the lock: a second thread comes. See emitter_lock.h. */
#include "client/emitter_lock.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static long membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

static bool barrier_is_there(void)
{
    long commands = membarrier(MEMBARRIER_CMD_QUERY);

    return commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

/* A full barrier on every thread of this process that runs just now. One that does not, passes one when it does. */
static void barrier_everywhere(void)
{
    membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) < 0)
        membarrier(MEMBARRIER_CMD_GLOBAL); /* slow, and asks for no registration */
}

static bool mutex_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    int rc;

    if (pthread_mutexattr_init(&attributes) != 0)
        return false;
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    rc = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return rc == 0;
}

bool emitter_lock_init(struct emitter_lock *lock)
{
    *lock = (struct emitter_lock){.owner = emitter_lock_self()};
    if (!barrier_is_there()) {
        atomic_init(&lock->shared, true);
        lock->settled = true;
    }
    if (!mutex_init(&lock->mutex))
        return false;
    if (pthread_cond_init(&lock->owner_left, NULL) == 0)
        return true;
    pthread_mutex_destroy(&lock->mutex);
    return false;
}

void emitter_lock_finish(struct emitter_lock *lock)
{
    pthread_cond_destroy(&lock->owner_left);
    pthread_mutex_destroy(&lock->mutex);
}

/* Nobody uses the bus without the mutex once this returns. */
static void settle(struct emitter_lock *lock)
{
    if (emitter_lock_is_owner(lock)) { /* it is here: so it is not inside the other way */
        lock->settled = true;
        pthread_cond_broadcast(&lock->owner_left);
        return;
    }
    if (!atomic_exchange(&lock->shared, true))
        barrier_everywhere();
    while (!lock->settled && atomic_load_explicit(&lock->bias, memory_order_acquire) > 0)
        pthread_cond_wait(&lock->owner_left, &lock->mutex);
    lock->settled = true;
}

void emitter_lock_enter_shared(struct emitter_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    if (!lock->settled)
        settle(lock);
    if (lock->depth++ == 0)
        atomic_store_explicit(&lock->holder, emitter_lock_self(), memory_order_relaxed);
}

void emitter_lock_leave_shared(struct emitter_lock *lock)
{
    if (--lock->depth == 0)
        atomic_store_explicit(&lock->holder, NULL, memory_order_relaxed);
    pthread_mutex_unlock(&lock->mutex);
}

void emitter_lock_owner_left(struct emitter_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    pthread_cond_broadcast(&lock->owner_left);
    pthread_mutex_unlock(&lock->mutex);
}
