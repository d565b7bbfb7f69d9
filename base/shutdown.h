/* shutdown.h: being asked to stop, as a descriptor in the program's own poll loop.
 *
 *   struct shutdown shutdown;
 *   shutdown_open(&shutdown, true);            first thing in main, before any thread is started
 *   ... poll shutdown.fd for reading ...
 *   switch (shutdown_next(&shutdown)) { case SIGHUP: log_reopen(log); break; case SIGTERM: case SIGINT: stop(); }
 *
 * The signals are blocked and read from a signalfd, so no code ever runs in a signal handler and there is nothing
 * global. Threads started afterwards inherit the blocked mask: the signals reach this descriptor and nobody else.
 *
 * Thread: the one that owns the struct. For programs, never for the library: libcrier leaves signals to its host. */
#ifndef CRIER_BASE_SHUTDOWN_H
#define CRIER_BASE_SHUTDOWN_H

#include <signal.h>
#include <stdbool.h>

struct shutdown {
    int fd; /* poll for reading; owned by the struct */
    sigset_t watched;
    sigset_t previous; /* the thread's mask before */
};

/* Watches SIGTERM and SIGINT, and SIGHUP if `hangup`. 0 or -errno (nothing has changed then). */
int shutdown_open(struct shutdown *shutdown, bool hangup);
/* The next signal that arrived: SIGTERM, SIGINT or SIGHUP; 0 if there is none. Never blocks. */
int shutdown_next(struct shutdown *shutdown);
/* Swallows what is still pending and restores the thread's mask. */
void shutdown_close(struct shutdown *shutdown);

#endif
