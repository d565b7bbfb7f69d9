/* shutdown_hooks.c: see shutdown_hooks.h.
 *
 * Thread:   shutdown_run the caller's; watch_run one thread more, for as long as hooks run.
 * Happy path:  watch -> hooks, last first -> the watch is told and joined
 * Failures:    no thread or descriptor for the watch: the hooks run without one. A hook that never returns: `force`. */
#include "base/shutdown_hooks.h"

#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A signal that asks once more, or 0. */
static int next_request(struct shutdown *shutdown)
{
    int signal;

    while ((signal = shutdown_next(shutdown)) == SIGHUP)
        continue;
    return signal;
}

/* Until the deadline, as poll() wants it. */
static int left_ms(const struct shutdown_watch *watch, int64_t deadline)
{
    int64_t left = (deadline - clock_monotonic_us() + 999) / 1000;

    if (!watch->asked || watch->rules->deadline_ms == 0)
        return -1;
    return left > 0 ? (int)left : 0;
}

static int64_t deadline_of(const struct shutdown_watch *watch)
{
    return clock_monotonic_us() + watch->rules->deadline_ms * INT64_C(1000);
}

static void *watch_run(void *argument)
{
    struct shutdown_watch *watch = argument;
    int64_t deadline = deadline_of(watch);
    struct pollfd fds[2] = {{.fd = watch->done_fd, .events = POLLIN},
                            {.fd = watch->shutdown->fd, .events = POLLIN}};

    for (;;) {
        int timeout_ms = left_ms(watch, deadline);
        int rc = poll(fds, 2, timeout_ms);
        if (fds[0].revents != 0)
            return NULL;
        int signal = rc > 0 ? next_request(watch->shutdown) : 0;
        if (signal > 0 && !watch->asked) {
            watch->asked = true;
            deadline = deadline_of(watch);
            watch->rules->asked(watch->rules->ctx, signal);
        } else if (signal > 0 || (rc == 0 && timeout_ms == 0)) {
            watch->rules->force(watch->rules->ctx, signal);
            return NULL;
        }
    }
}

int shutdown_watch_start(struct shutdown_watch *watch, struct shutdown *shutdown,
                         const struct shutdown_rules *rules)
{
    int rc;

    *watch = (struct shutdown_watch){.shutdown = shutdown, .rules = rules, .asked = !rules->asked};
    if ((watch->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return -errno;
    if ((rc = thread_start(&watch->thread, "shutdown", watch_run, watch)) != 0)
        close(watch->done_fd);
    return -rc;
}

void shutdown_watch_stop(struct shutdown_watch *watch)
{
    uint64_t one = 1;

    if (write(watch->done_fd, &one, sizeof(one)) < 0) {
        /* it cannot be full: this is its only number */
    }
    pthread_join(watch->thread, NULL);
    close(watch->done_fd);
}

int shutdown_run(struct shutdown *shutdown, const struct shutdown_hook *hooks, size_t count,
                 const struct shutdown_rules *rules)
{
    struct shutdown_rules now = *rules;
    struct shutdown_watch watch;
    bool watched;
    int first = 0;

    now.asked = NULL;
    watched = now.force && shutdown_watch_start(&watch, shutdown, &now) == 0;

    for (size_t i = count; i > 0; i--) {
        const struct shutdown_hook *hook = &hooks[i - 1];
        int64_t began = clock_monotonic_us();
        int rc = hook->run(hook->ctx);
        if (rules->report)
            rules->report(rules->ctx, hook->name, rc, clock_monotonic_us() - began);
        if (rc < 0 && first == 0)
            first = rc;
    }
    if (watched)
        shutdown_watch_stop(&watch);
    return first;
}
