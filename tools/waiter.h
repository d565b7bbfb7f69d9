/* waiter.h: where a command's main thread waits: for a signal, for another thread, for input, or for time to pass.
 *
 * A pipe carries both kinds of wake-up (the self-pipe of D. J. Bernstein), so that nothing arrives between a check and
 * the wait after it. The first SIGINT or SIGTERM asks to stop; the second ends the process at once, for whoever has no
 * patience.
 *
 * Thread: waiter_wait() on the main thread, waiter_wake() on any. One waiter a process: signals have no context. */
#ifndef CRIER_TOOLS_WAITER_H
#define CRIER_TOOLS_WAITER_H

#include <stdbool.h>

struct waiter {
    int read_fd; /* for those with an event loop of their own: readable means woken */
    int write_fd;
};

/* Also takes over SIGINT and SIGTERM. 0 or -errno. */
int waiter_open(struct waiter *waiter);
/* Gives the signals back. */
void waiter_close(struct waiter *waiter);
void waiter_wake(struct waiter *waiter);
/* Waits for a wake-up, a signal, timeout_ms (-1: no limit) or, unless input_fd is -1, input (or its end).
 * True if there is input. */
bool waiter_wait(struct waiter *waiter, int input_fd, int timeout_ms);
/* A signal asked to stop. */
bool waiter_stopped(void);

#endif
