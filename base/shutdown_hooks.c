/* shutdown_hooks.c: see shutdown_hooks.h.
 *
 * Thread:   shutdown_run the caller's; watch_run one thread more, for as long as hooks run.
 * Happy path:  watch -> hooks, last first -> the watch is told and joined
 * Failures:    no thread or descriptor for the watch: the hooks run without one. A hook that never returns: `force`. */
#include "base/shutdown_hooks.h"

#include "base/clock.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct watch {
    struct shutdown *shutdown;
    const struct shutdown_rules *rules;
    int done_fd; /* readable: the hooks are through */
    pthread_t thread;
};

/* A signal that asks once more, or 0. */
static int next_request(struct shutdown *shutdown)
{
    int signal;

    while ((signal = shutdown_next(shutdown)) == SIGHUP)
        continue;
    return signal;
}

static void *watch_run(void *argument)
{
    struct watch *watch = argument;
    int64_t deadline = clock_monotonic_us() + watch->rules->deadline_ms * INT64_C(1000);
    struct pollfd fds[2] = {{.fd = watch->done_fd, .events = POLLIN},
                            {.fd = watch->shutdown->fd, .events = POLLIN}};

    for (;;) {
        int64_t left_ms = (deadline - clock_monotonic_us() + 999) / 1000;
        int signal = 0;
        if (watch->rules->deadline_ms > 0 && left_ms <= 0)
            left_ms = 0;
        int rc = poll(fds, 2, watch->rules->deadline_ms > 0 ? (int)left_ms : -1);
        if (fds[0].revents != 0)
            return NULL;
        if (rc > 0)
            signal = next_request(watch->shutdown);
        if ((rc == 0 && left_ms == 0) || signal > 0) {
            watch->rules->force(watch->rules->ctx, signal);
            return NULL;
        }
    }
}

static bool watch_start(struct watch *watch)
{
    if (!watch->rules->force || (watch->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return false;
    if (pthread_create(&watch->thread, NULL, watch_run, watch) == 0)
        return true;
    close(watch->done_fd);
    return false;
}

static void watch_stop(struct watch *watch)
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
    struct watch watch = {.shutdown = shutdown, .rules = rules};
    bool watched = watch_start(&watch);
    int first = 0;

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
        watch_stop(&watch);
    return first;
}
