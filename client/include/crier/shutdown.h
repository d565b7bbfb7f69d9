/* crier/shutdown.h: an orderly end for programs that ask for it: signals, hooks in order, a deadline.
 *
 *     crier_shutdown *shutdown;
 *     crier_shutdown_open(NULL, &shutdown);                       first thing in main, before any thread is started
 *     crier_open(url, NULL, &bus);
 *     crier_shutdown_add(shutdown, "close the bus", close_bus, bus);
 *     ...
 *     crier_shutdown_wait(shutdown, -1);                          until SIGTERM, SIGINT or crier_shutdown_ask()
 *     return crier_shutdown_close(shutdown) < 0;                  hooks, what was added last first
 *
 * SIGTERM and SIGINT are blocked and read from a descriptor: no code runs in a signal handler, system calls are not
 * interrupted. Every hook runs, whatever the others return. If they take longer than deadline_ms all together, or a second signal
 * comes, the end is forced: by default the process exits at once with status 1 (as after a crash: what was acknowledged
 * is safe). Nothing of this happens in programs that do not ask for it: the rest of the library leaves signals alone.
 *
 * THREADS. crier_shutdown_add() and _ask() any; the others the thread that opened it. One per process. */
#ifndef CRIER_SHUTDOWN_H
#define CRIER_SHUTDOWN_H

#include <crier/crier.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Ordered hooks for the end of a program. */
typedef struct crier_shutdown crier_shutdown;

/** How the end is to be. */
struct crier_shutdown_options {
    size_t struct_size; /* set by crier_shutdown_options_default() */
    int deadline_ms;    /* of all hooks together; default 15000; 0: none */
    /* The deadline has passed (signal 0), or a second signal came; on a thread of its own. If it returns, the hooks go on. default
     * NULL: the process exits at once, with status 1 */
    void (*force)(void *ctx, int signal);
    /* After each hook: what it returned, and how long it took. default NULL */
    void (*report)(void *ctx, const char *name, int code, int64_t took_us);
    void *ctx; /* for force and report */
};

static inline struct crier_shutdown_options crier_shutdown_options_default(void)
{
    struct crier_shutdown_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.deadline_ms = 15000;
    return options;
}

/** Watches SIGTERM and SIGINT from here on. options: copied; NULL: the defaults. 0, CRIER_EINVAL, CRIER_ENOMEM (or descriptors). */
CRIER_API int crier_shutdown_open(const struct crier_shutdown_options *options,
                                  crier_shutdown **ret_shutdown);
/** Adds a hook, which returns 0 or < 0 for "failed". name: copied. ctx: as is. 0, CRIER_EINVAL, CRIER_ENOMEM. */
CRIER_API int crier_shutdown_add(crier_shutdown *shutdown, const char *name, int (*hook)(void *ctx),
                                 void *ctx);
/** Readable when it is time to end, and until crier_shutdown_close() is through: for loops of the program's own. Borrowed. < 0: CRIER_EINVAL. */
CRIER_API int crier_shutdown_fd(const crier_shutdown *shutdown);
/** Asks for the end, as a signal does. Accepts NULL. */
CRIER_API void crier_shutdown_ask(crier_shutdown *shutdown);
/** Waits until it is time to end: 0; or CRIER_ETIMEDOUT (timeout_ms; -1: no limit). Blocking. */
CRIER_API int crier_shutdown_wait(crier_shutdown *shutdown, int timeout_ms);
/** Runs the hooks, gives the signals back, frees. 0, or what the first hook that failed returned. Blocking. Accepts NULL. */
CRIER_API int crier_shutdown_close(crier_shutdown *shutdown);

#ifdef __cplusplus
}
#endif

#endif
