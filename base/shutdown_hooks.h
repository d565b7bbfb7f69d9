/* shutdown_hooks.h: the end in order: hooks that run one after the other, a deadline, and a second signal that forces.
 *
 *     struct shutdown_hook hooks[] = {{"close the log", close_log, log}, {"close the bus", close_bus, bus}};
 *     rc = shutdown_run(&shutdown, hooks, 2, &rules);      the bus first: what was opened last is closed first
 *
 * Every hook runs, whatever the others return. While they run, a thread of its own watches the clock and the signals. A program
 * whose main thread may stand in a call that nothing interrupts has that watch from its start: shutdown_watch_start().
 *
 * Thread: the one that owns the struct shutdown; `asked` and `force` are called on the watching one. */
#ifndef CRIER_BASE_SHUTDOWN_HOOKS_H
#define CRIER_BASE_SHUTDOWN_HOOKS_H

#include "base/shutdown.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct shutdown_hook {
    const char *name;
    int (*run)(void *ctx); /* 0, or < 0: failed */
    void *ctx;
};

struct shutdown_rules {
    int deadline_ms; /* of all hooks together, or since the first signal; 0: none */
    /* The deadline has passed (signal 0), or SIGTERM or SIGINT came once more. May end the process; if it returns, the hooks go
     * on undisturbed. Once. NULL: nobody is watching */
    void (*force)(void *ctx, int signal);
    void (*report)(void *ctx, const char *name, int code,
                   int64_t took_us); /* after each hook; NULL: nobody */
    /* Of a watch from the start: SIGTERM or SIGINT came, the first. Not of shutdown_run(), which begins when it has */
    void (*asked)(void *ctx, int signal);
    void *ctx;
};

struct shutdown_watch {
    struct shutdown *shutdown;
    const struct shutdown_rules *rules; /* borrowed until shutdown_watch_stop() */
    bool asked;
    int done_fd; /* readable: nothing is left to watch */
    pthread_t thread;
};
/* Calls rules->asked for the first signal, and rules->force, once, for the second or when the deadline has passed. 0 or -errno. */
int shutdown_watch_start(struct shutdown_watch *watch, struct shutdown *shutdown,
                         const struct shutdown_rules *rules);
void shutdown_watch_stop(struct shutdown_watch *watch);

/* Runs the hooks, the last first. 0, or the first code < 0 that one returned. */
int shutdown_run(struct shutdown *shutdown, const struct shutdown_hook *hooks, size_t count,
                 const struct shutdown_rules *rules);

#endif
