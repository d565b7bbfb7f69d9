/* shutdown.c: SIGTERM, SIGINT and SIGHUP through a signalfd. See shutdown.h. */
#include "base/shutdown.h"

#include <errno.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

int shutdown_open(struct shutdown *shutdown, bool hangup)
{
    sigemptyset(&shutdown->watched);
    sigaddset(&shutdown->watched, SIGTERM);
    sigaddset(&shutdown->watched, SIGINT);
    if (hangup)
        sigaddset(&shutdown->watched, SIGHUP);
    int rc = pthread_sigmask(SIG_BLOCK, &shutdown->watched, &shutdown->previous);
    if (rc != 0)
        return -rc;
    shutdown->fd = signalfd(-1, &shutdown->watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (shutdown->fd < 0) {
        rc = -errno;
        pthread_sigmask(SIG_SETMASK, &shutdown->previous, NULL);
    }
    return rc;
}

int shutdown_next(struct shutdown *shutdown)
{
    struct signalfd_siginfo info;
    ssize_t got;
    do
        got = read(shutdown->fd, &info, sizeof(info));
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

void shutdown_close(struct shutdown *shutdown)
{
    while (shutdown_next(shutdown) != 0)
        ; /* a second Ctrl-C during the shutdown must not kill us at the very end */
    close(shutdown->fd);
    shutdown->fd = -1;
    pthread_sigmask(SIG_SETMASK, &shutdown->previous, NULL);
}
