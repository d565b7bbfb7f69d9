/* host.c: a broker on a thread of this process. See host.h.
 *
 * Role:      where crierd has a process around the broker, here is a thread and a pipe. What is to be done on the
 *            reactor's thread goes through the pipe as one int: a connection's descriptor, or STOP. The kernel keeps the
 *            queue, whole ints at a time, and wakes the reactor.
 * Thread:    the opener's until host_start() returns; then the reactor's owns the broker, until it is joined.
 * Owns:      the broker, the pipe, the thread.
 *
 * Happy path:  host_start: recovered → thread: broker_serve → host_connect: socketpair, one end down the pipe →
 *              broker_adopt → ... → host_stop: STOP → drained, clean-stop mark → joined
 * Failures:    the folder is in use, damaged or cannot be written: a code and a sentence, nothing is left running. No
 *              descriptors left: host_connect() says so, and the bus tries again as with any broker. */
#include "embed/host.h"

#include "base/check.h"
#include "base/thread.h"
#include "broker/broker.h"
#include "crier/crier.h"
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define STOP        (-1)
#define ERRANDS_MAX 64 /* read at a time; the rest stays in the pipe */

struct host {
    struct broker *broker;
    int errands[2]; /* the pipe: [1] is written by any thread */
    pthread_t thread;
};

/* On the reactor's thread. */
static void errands_do(struct broker *broker, void *ctx)
{
    struct host *host = ctx;
    int errands[ERRANDS_MAX];
    ssize_t size = read(host->errands[0], errands, sizeof(errands));
    for (ssize_t i = 0; i < size / (ssize_t)sizeof(int); i++) {
        if (errands[i] == STOP)
            broker_stop(broker, "the last bus was closed");
        else
            broker_adopt(broker, errands[i], "embed");
    }
}

static void *serve(void *ctx)
{
    struct host *host = ctx;
    broker_serve(host->broker);
    return NULL;
}

/* A code of the store's as the public one. */
static int public_code(int code)
{
    return code == STORE_EREADONLY || code == STORE_EREFUSED ? CRIER_EIO : code;
}

static int broker_make(struct host *host, const struct config *config, struct log *log, char *error,
                       size_t error_size)
{
    struct broker_options options = {.config = config,
                                     .software = "libcrier-embed " CRIER_VERSION,
                                     .log = log,
                                     .control_fd = host->errands[0],
                                     .control = errands_do,
                                     .ctx = host};
    return public_code(broker_open(&options, &host->broker, error, error_size));
}

/* What was on its way when the broker stopped. */
static void errands_drop(struct host *host)
{
    int fd;
    while (read(host->errands[0], &fd, sizeof(fd)) == (ssize_t)sizeof(fd))
        if (fd != STOP)
            close(fd);
}

static void host_free(struct host *host)
{
    broker_close(host->broker);
    errands_drop(host);
    close(host->errands[0]);
    close(host->errands[1]);
    free(host);
}

int host_start(const struct config *config, struct log *log, struct host **ret_host, char *error,
               size_t error_size)
{
    struct host *host = calloc(1, sizeof(*host));
    int rc;
    (void)snprintf(error, error_size, "out of memory");
    if (!host)
        return CRIER_ENOMEM;
    if (pipe2(host->errands, O_CLOEXEC | O_NONBLOCK) < 0) {
        (void)snprintf(error, error_size, "no descriptors left for the broker");
        free(host);
        return CRIER_ENOMEM;
    }
    if ((rc = broker_make(host, config, log, error, error_size)) < 0) {
        host_free(host);
        return rc;
    }
    if (thread_start(&host->thread, "crier-broker", serve, host) != 0) {
        (void)snprintf(error, error_size, "no thread for the broker");
        host_free(host);
        return CRIER_ENOMEM;
    }
    *ret_host = host;
    return 0;
}

int host_connect(struct host *host)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    if (write(host->errands[1], &ends[1], sizeof(ends[1])) < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return -error;
    }
    return ends[0];
}

void host_stop(struct host *host)
{
    static const int stop = STOP;
    struct pollfd room = {.fd = host->errands[1], .events = POLLOUT};
    while (write(host->errands[1], &stop, sizeof(stop)) < 0)
        (void)poll(&room, 1, -1); /* the pipe is full of connections: the reactor takes them */
    int rc = pthread_join(host->thread, NULL);
    CHECK(rc == 0);
    host_free(host);
}
