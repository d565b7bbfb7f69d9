/* waiter.h: where a command's main thread waits: for a signal, for another thread, for input, or for time to pass.
 *
 * A pipe carries all kinds of wake-up, so that nothing arrives between a check and the wait after it. The first SIGINT or
 * SIGTERM asks to stop; the second ends the process at once, for whoever has no patience, wherever the main thread stands: the
 * shutdown manager's watch (base/shutdown_hooks.h) hears both on a thread of its own, so there is no signal handler.
 *
 * Thread: waiter_wait() on the main thread, the others on any. One waiter a process, opened before other threads are started. */
#ifndef CRIER_TOOLS_WAITER_H
#define CRIER_TOOLS_WAITER_H

#include "base/shutdown_hooks.h"

#include <stdatomic.h>
#include <stdbool.h>

struct waiter {
    int read_fd; /* for those with an event loop of their own: readable means woken */
    int write_fd;
    atomic_bool stopped;
    struct shutdown signals;
    struct shutdown_rules rules;
    struct shutdown_watch watch;
};

/* Also takes over SIGINT and SIGTERM. 0 or -errno. The waiter stays where it is until it is closed. */
int waiter_open(struct waiter *waiter);
/* Gives the signals back. */
void waiter_close(struct waiter *waiter);
void waiter_wake(struct waiter *waiter);
/* Waits for a wake-up, a signal, timeout_ms (-1: no limit) or, unless input_fd is -1, input (or its end).
 * True if there is input. */
bool waiter_wait(struct waiter *waiter, int input_fd, int timeout_ms);
/* A signal asked to stop. */
bool waiter_stopped(const struct waiter *waiter);

#endif
