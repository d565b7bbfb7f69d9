/* bench_workers.c: the forked processes of a measurement. See bench_workers.h.
 *
 * Thread:      main.
 * Happy path:  each worker writes a byte when ready; the parent's closing of the other pipe, after one byte for each, is
 *              the start; the ends are collected with waitpid.
 * Failures:    a worker that ends with another status than 0, or by a signal, ends the waiting; workers_finish() then
 *              kills the others, by their process ids. */
#include "tools/bench_workers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 100

bool worker_ready(struct worker *worker)
{
    char go;
    ssize_t size;

    if (write(worker->ready_fd, "r", 1) != 1)
        return false;
    while ((size = read(worker->go_fd, &go, 1)) < 0 && errno == EINTR)
        ;
    return size == 1;
}

int workers_init(struct workers *workers, size_t count)
{
    *workers = (struct workers){.ready_fds = {-1, -1}, .go_fds = {-1, -1}};
    workers->pids = calloc(count, sizeof(workers->pids[0]));
    if (workers->pids == NULL)
        return -ENOMEM;
    if (pipe2(workers->ready_fds, O_CLOEXEC) < 0 || pipe2(workers->go_fds, O_CLOEXEC) < 0) {
        int rc = -errno;
        workers_finish(workers);
        return rc;
    }
    return 0;
}

int workers_fork(struct workers *workers,
                 int (*main_function)(void *ctx, uint64_t number, struct worker *worker), void *ctx,
                 uint64_t number)
{
    pid_t parent = getpid();

    fflush(NULL); /* what is buffered here must not be written twice */
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0) {
        workers->pids[workers->count++] = pid;
        workers->running++;
        return 0;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close(workers->ready_fds[0]);
    close(workers->go_fds[1]); /* so that the parent's end is the only one */
    struct worker worker = {.ready_fd = workers->ready_fds[1], .go_fd = workers->go_fds[0]};
    int status = main_function(ctx, number, &worker);
    free(workers->pids);
    exit(status);
}

/* Collects the workers that have ended. False if one of them failed. */
static bool collect(struct workers *workers)
{
    bool ok = true;

    for (size_t i = 0; i < workers->count; i++) {
        int status;
        if (workers->pids[i] == 0 || waitpid(workers->pids[i], &status, WNOHANG) != workers->pids[i])
            continue;
        workers->pids[i] = 0;
        workers->running--;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            ok = false;
    }
    return ok;
}

bool workers_wait_ready(struct workers *workers, workers_tick *tick, void *ctx)
{
    struct pollfd poller = {.fd = workers->ready_fds[0], .events = POLLIN};
    char bytes[256];

    for (size_t ready = 0; ready < workers->count;) {
        if (poll(&poller, 1, TICK_MS) > 0) {
            ssize_t size = read(poller.fd, bytes, sizeof(bytes));
            ready += size > 0 ? (size_t)size : 0;
        }
        if (!collect(workers) || !tick(ctx))
            return false;
    }
    return true;
}

void workers_go(struct workers *workers)
{
    for (size_t i = 0; i < workers->count; i++) {
        if (write(workers->go_fds[1], "g", 1) != 1)
            return; /* nobody is left to read it: workers_wait_end() will tell */
    }
}

bool workers_wait_end(struct workers *workers, workers_tick *tick, void *ctx)
{
    /* The workers hold the only other ends of this pipe, so each that ends is not seen here, but the last one is. */
    struct pollfd poller = {.fd = workers->ready_fds[0], .events = POLLIN};

    close(workers->ready_fds[1]);
    workers->ready_fds[1] = -1;
    while (workers->running > 0) {
        poll(&poller, 1, TICK_MS);
        if (!collect(workers) || !tick(ctx))
            return false;
    }
    return true;
}

static void close_pipe(int fds[2])
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

void workers_finish(struct workers *workers)
{
    for (size_t i = 0; i < workers->count; i++) {
        if (workers->pids[i] == 0)
            continue;
        kill(workers->pids[i], SIGKILL);
        waitpid(workers->pids[i], NULL, 0);
    }
    close_pipe(workers->ready_fds);
    close_pipe(workers->go_fds);
    free(workers->pids);
    *workers = (struct workers){.ready_fds = {-1, -1}, .go_fds = {-1, -1}};
}
