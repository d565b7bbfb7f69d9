/* shutdown.c: the public face of an orderly end: crier/shutdown.h over base/shutdown.h and base/shutdown_hooks.h.
 *
 * Role:     one descriptor for "end now", be it a signal or crier_shutdown_ask(); a growing table of hooks.
 * Thread:   as crier/shutdown.h says; the lock guards the table.
 *
 * Happy path:  open -> add ... -> the descriptor is readable -> close: shutdown_run -> signals given back
 * Failures:    a hook fails: the others run, its code is returned. One hangs: force. */
#include "crier/shutdown.h"

#include "base/clock.h"
#include "base/shutdown_hooks.h"
#include "client/handles.h"
#include "client/struct_size.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct crier_shutdown {
    struct shutdown signals;
    struct crier_shutdown_options options;
    int ask_fd;  /* eventfd: crier_shutdown_ask() */
    int poll_fd; /* epoll: ask_fd or a signal */
    pthread_mutex_t lock;
    struct shutdown_hook *hooks; /* names: owned */
    size_t count, capacity;
};

static bool watch(int poll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};

    return fd >= 0 && epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void shutdown_free(crier_shutdown *shutdown)
{
    for (size_t i = 0; i < shutdown->count; i++)
        free((char *)(uintptr_t)shutdown->hooks[i].name);
    free(shutdown->hooks);
    if (shutdown->ask_fd >= 0)
        close(shutdown->ask_fd);
    if (shutdown->poll_fd >= 0)
        close(shutdown->poll_fd);
    shutdown_close(&shutdown->signals);
    pthread_mutex_destroy(&shutdown->lock);
    handle_freed(&shutdown_handles, shutdown);
    free(shutdown);
}

static void exit_now(void *ctx, int signal)
{
    (void)ctx;
    (void)signal;
    _exit(1);
}

int crier_shutdown_open(const struct crier_shutdown_options *options, crier_shutdown **ret_shutdown)
{
    struct crier_shutdown_options copy = crier_shutdown_options_default();
    crier_shutdown *shutdown;

    if (!ret_shutdown || !struct_take(&copy, sizeof(copy), options) || copy.deadline_ms < 0)
        return CRIER_EINVAL;
    if (!(shutdown = calloc(1, sizeof(*shutdown))))
        return CRIER_ENOMEM;
    if (shutdown_open(&shutdown->signals, false) < 0) {
        free(shutdown);
        return CRIER_ENOMEM;
    }
    handle_made(&shutdown_handles, shutdown);
    shutdown->options = copy;
    pthread_mutex_init(&shutdown->lock, NULL);
    shutdown->ask_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    shutdown->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!watch(shutdown->poll_fd, shutdown->ask_fd) || !watch(shutdown->poll_fd, shutdown->signals.fd)) {
        shutdown_free(shutdown);
        return CRIER_ENOMEM;
    }
    *ret_shutdown = shutdown;
    return 0;
}

static bool reserve(crier_shutdown *shutdown)
{
    size_t capacity = shutdown->capacity ? 2 * shutdown->capacity : 8;
    struct shutdown_hook *grown;

    if (shutdown->count < shutdown->capacity)
        return true;
    if (!(grown = realloc(shutdown->hooks, capacity * sizeof(*grown))))
        return false;
    shutdown->hooks = grown;
    shutdown->capacity = capacity;
    return true;
}

int crier_shutdown_add(crier_shutdown *shutdown, const char *name, int (*hook)(void *ctx), void *ctx)
{
    handle_check(&shutdown_handles, shutdown);
    size_t size = name ? strlen(name) + 1 : 0;
    char *copy;
    int rc = CRIER_ENOMEM;

    if (!shutdown || !name || !hook)
        return CRIER_EINVAL;
    if (!(copy = malloc(size)))
        return CRIER_ENOMEM;
    memcpy(copy, name, size);
    pthread_mutex_lock(&shutdown->lock);
    if (reserve(shutdown)) {
        shutdown->hooks[shutdown->count++] = (struct shutdown_hook){.name = copy, .run = hook, .ctx = ctx};
        rc = 0;
    }
    pthread_mutex_unlock(&shutdown->lock);
    if (rc < 0)
        free(copy);
    return rc;
}

int crier_shutdown_fd(const crier_shutdown *shutdown)
{
    handle_check(&shutdown_handles, shutdown);
    return shutdown ? shutdown->poll_fd : CRIER_EINVAL;
}

void crier_shutdown_ask(crier_shutdown *shutdown)
{
    handle_check(&shutdown_handles, shutdown);
    uint64_t one = 1;

    if (shutdown && write(shutdown->ask_fd, &one, sizeof(one)) < 0) {
        /* full: it has been asked often enough */
    }
}

int crier_shutdown_wait(crier_shutdown *shutdown, int timeout_ms)
{
    handle_check(&shutdown_handles, shutdown);
    struct pollfd fd = {.events = POLLIN};
    int64_t deadline = clock_monotonic_us() + timeout_ms * INT64_C(1000), left_ms = -1;

    if (!shutdown)
        return CRIER_EINVAL;
    fd.fd = shutdown->poll_fd;
    do {
        if (timeout_ms >= 0) {
            left_ms = (deadline - clock_monotonic_us() + 999) / 1000;
            left_ms = left_ms > 0 ? left_ms : 0;
        }
        if (poll(&fd, 1, (int)left_ms) > 0)
            return 0;
    } while (left_ms != 0);
    return CRIER_ETIMEDOUT;
}

int crier_shutdown_close(crier_shutdown *shutdown)
{
    handle_check(&shutdown_handles, shutdown);
    struct shutdown_rules rules;
    int rc;

    if (!shutdown)
        return 0;
    rules = (struct shutdown_rules){.deadline_ms = shutdown->options.deadline_ms,
                                    .force = shutdown->options.force ? shutdown->options.force : exit_now,
                                    .report = shutdown->options.report,
                                    .ctx = shutdown->options.ctx};
    crier_shutdown_ask(shutdown); /* whoever waits for the descriptor while hooks run is told too */
    (void)shutdown_next(&shutdown->signals); /* the one that asked */
    rc = shutdown_run(&shutdown->signals, shutdown->hooks, shutdown->count, &rules);
    shutdown_free(shutdown);
    return rc;
}
