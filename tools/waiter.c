/* waiter.c: where a command's main thread waits. See waiter.h.
 *
 * Thread:    main waits; signal handlers and libcrier's I/O thread write to the pipe.
 * Failures:  only opening can fail. A full pipe is no failure: a wake-up is under way already. */
#include "tools/waiter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

/* What a signal handler can reach is static by nature: the only such data in this program. */
static volatile sig_atomic_t stop_requested;
static volatile sig_atomic_t stop_fd = -1;

static void on_signal(int number)
{
    int saved = errno;

    if (stop_requested)
        _exit(128 + number);
    stop_requested = 1;
    if (write(stop_fd, "s", 1) < 0) {
        /* full: the waiter is awake already */
    }
    errno = saved;
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
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    int fds[2];
    int rc = pipe_open(fds);

    if (rc < 0)
        return rc;
    *waiter = (struct waiter){.read_fd = fds[0], .write_fd = fds[1]};
    stop_requested = 0;
    stop_fd = fds[1];
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return 0;
}

void waiter_close(struct waiter *waiter)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    stop_fd = -1;
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

bool waiter_stopped(void)
{
    return stop_requested != 0;
}
