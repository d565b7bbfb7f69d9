/* emitter_lock.h: who may use a bus of local: just now. One thread at a time, which may call again from inside.
 *
 * A bus that only one thread ever uses, which is nearly every one, is to cost a function call. So the lock is biased to
 * the thread that opened the bus: that one enters by counting, without an atomic operation or a fence. When a second thread
 * comes, it makes the lock a shared one for good: it says so, has the kernel put a barrier on every running thread
 * (membarrier(2)), which is the fence the owner saved, and waits until the owner is out. From then on everybody, the owner
 * too, takes a recursive mutex. Source of the idea: biased locking (Kawachiya, Koseki, Onodera, OOPSLA 2002), with the
 * asymmetric barrier of userspace RCU in place of safe points.
 *
 * Thread: any. Failures: a kernel without membarrier(2): the lock is a shared one from the start. */
#ifndef CRIER_CLIENT_EMITTER_LOCK_H
#define CRIER_CLIENT_EMITTER_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define EMITTER_LOCK_MUTEX UINT32_MAX /* what emitter_lock_enter returns who holds the mutex */

struct emitter_lock {
    const void *owner;     /* fixed: whoever opened the bus, as emitter_lock_self() names a thread */
    _Atomic unsigned bias; /* calls the owner stands in without the mutex; only the owner writes it */
    atomic_bool shared;    /* a second thread has come */
    /* under the mutex */
    bool settled;   /* shared, and the owner is no longer inside without the mutex */
    unsigned depth; /* calls the holder stands in */
    pthread_mutex_t mutex;
    _Atomic(const void *) holder; /* of the mutex, for emitter_lock_is_inside(); NULL: nobody */
    pthread_cond_t owner_left;
};

bool emitter_lock_init(struct emitter_lock *lock); /* false: no memory */
void emitter_lock_finish(struct emitter_lock *lock);

void emitter_lock_enter_shared(struct emitter_lock *lock);
void emitter_lock_leave_shared(struct emitter_lock *lock);
void emitter_lock_owner_left(struct emitter_lock *lock);

/* What pthread_self() says, without the call. */
static inline const void *emitter_lock_self(void)
{
    return __builtin_thread_pointer();
}

static inline bool emitter_lock_is_owner(const struct emitter_lock *lock)
{
    return lock->owner == emitter_lock_self();
}

/* Returns what leaving asks for: the calls the owner stood in before without the mutex, or EMITTER_LOCK_MUTEX. Calls end in
 * the opposite order of their beginning, so that number only has to be put back. */
static inline unsigned emitter_lock_enter(struct emitter_lock *lock)
{
    unsigned bias;

    if (__builtin_expect(emitter_lock_is_owner(lock), 1)) {
        bias = atomic_load_explicit(&lock->bias, memory_order_relaxed);
        atomic_store_explicit(&lock->bias, bias + 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst); /* membarrier makes a full one of it */
        if (__builtin_expect(!atomic_load_explicit(&lock->shared, memory_order_acquire), 1) || bias > 0)
            return bias;
        atomic_store_explicit(&lock->bias, 0, memory_order_release);
    }
    emitter_lock_enter_shared(lock);
    return EMITTER_LOCK_MUTEX;
}

static inline void emitter_lock_leave(struct emitter_lock *lock, unsigned before)
{
    if (__builtin_expect(before == EMITTER_LOCK_MUTEX, 0)) {
        emitter_lock_leave_shared(lock);
        return;
    }
    atomic_store_explicit(&lock->bias, before, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&lock->shared, memory_order_relaxed), 0) && before == 0)
        emitter_lock_owner_left(lock);
}

/* Does the caller stand in a call? Takes no lock: what others do meanwhile does not change the answer. */
static inline bool emitter_lock_is_inside(const struct emitter_lock *lock)
{
    if (emitter_lock_is_owner(lock) && atomic_load_explicit(&lock->bias, memory_order_relaxed) > 0)
        return true;
    return atomic_load_explicit(&lock->holder, memory_order_relaxed) == emitter_lock_self();
}

/* How many calls the holder, who asks, stands in. */
static inline unsigned emitter_lock_depth(const struct emitter_lock *lock)
{
    return lock->depth > 0 ? lock->depth : atomic_load_explicit(&lock->bias, memory_order_relaxed);
}

#endif
