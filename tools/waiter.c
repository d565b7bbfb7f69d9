/* waiter.c: where a command's main thread waits. See waiter.h.
 *
 * Thread:    main waits; the watch for signals and libcrier's I/O thread write to the pipe.
 * Failures:  only opening can fail. A full pipe is no failure: a wake-up is under way already. */
#include "tools/waiter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <unistd.h>

static void on_asked(void *ctx, int number)
{
    struct waiter *waiter = ctx;

    (void)number;
    atomic_store(&waiter->stopped, true);
    waiter_wake(waiter);
}

static void on_impatient(void *ctx, int number)
{
    (void)ctx;
    _exit(128 + number);
}

static int pipe_open(int fds[2])
{
    if (pipe(fds) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        if (fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0 || fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0) {
            int rc = -errno;
            close(fds[0]);
            close(fds[1]);
            return rc;
        }
    }
    return 0;
}

int waiter_open(struct waiter *waiter)
{
    int fds[2];
    int rc = pipe_open(fds);

    if (rc < 0)
        return rc;
    *waiter = (struct waiter){.read_fd = fds[0],
                              .write_fd = fds[1],
                              .rules = {.asked = on_asked, .force = on_impatient, .ctx = waiter}};
    if ((rc = shutdown_open(&waiter->signals, false)) < 0)
        goto close_pipe;
    if ((rc = shutdown_watch_start(&waiter->watch, &waiter->signals, &waiter->rules)) < 0)
        goto close_signals;
    return 0;

close_signals:
    shutdown_close(&waiter->signals);
close_pipe:
    close(fds[0]);
    close(fds[1]);
    return rc;
}

void waiter_close(struct waiter *waiter)
{
    shutdown_watch_stop(&waiter->watch);
    shutdown_close(&waiter->signals);
    close(waiter->read_fd);
    close(waiter->write_fd);
}

void waiter_wake(struct waiter *waiter)
{
    if (write(waiter->write_fd, "w", 1) < 0) {
        /* full: the waiter is awake already */
    }
}

bool waiter_wait(struct waiter *waiter, int input_fd, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = waiter->read_fd, .events = POLLIN}, {.fd = input_fd, .events = POLLIN}};
    char drained[64];

    if (poll(fds, 2, timeout_ms) <= 0)
        return false;
    while (fds[0].revents != 0 && read(waiter->read_fd, drained, sizeof(drained)) == (ssize_t)sizeof(drained))
        ;
    return fds[1].revents != 0;
}

bool waiter_stopped(const struct waiter *waiter)
{
    return atomic_load(&waiter->stopped);
}
