/* thread.h: how our threads are started: named, with every signal blocked, so that signals stay with the program that
 * libcrier or the broker lives in. */
#ifndef CRIER_BASE_THREAD_H
#define CRIER_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>

/* 0 or an errno. name: at most 15 characters. */
static inline int thread_start(pthread_t *thread, const char *name, void *(*run)(void *ctx), void *ctx)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(thread, NULL, run, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        (void)pthread_setname_np(*thread, name);
    return rc;
}

#endif
