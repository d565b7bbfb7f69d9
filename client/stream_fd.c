/* stream_fd.c: bare descriptors at the ends of streams: what can be waited for is read and written on the loop itself.
 *
 * Role:     crier_fd_readable, crier_fd_writable, crier_fd_duplex. What cannot be waited for (a file on a disk) goes the way of
 *           stream_file.c, by a pool.
 * Thread:   the loop's.
 * Owns:     struct fd_end, the stream's ctx, with the descriptor. The bus's epoll has a pointer to it while it waits; its task
 *           holds the stream.
 *
 * Happy path:  read: read -> push; nothing there: armed -> fd_ready -> task -> read again. write: write, as much as is taken -> armed
 *              -> ... -> done. final: a socket is shut down for writing. destroy: disarmed, closed.
 * Failures:    what the system says fails the stream; nobody reading is one of them, and no SIGPIPE. The bus is closed first:
 *              `release` closes the descriptor. */
#include "client/handles.h"
#include "client/stream_internal.h"
#include "crier/stream_ends.h"

#include "client/bus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE (64u * 1024)

struct fd_end {
    struct poll_watcher watcher;
    struct task task; /* it is ready */
    bool queued;
    crier_stream *stream; /* not a reference: its ctx */
    int fd;
    bool is_socket;
    bool reads;               /* more is wanted, and was not there */
    const crier_chunk *chunk; /* being written, borrowed until it is done; NULL: none */
    size_t written;           /* of it */
    unsigned char bytes[];    /* READ_SIZE, of one that reads */
};

static void fail(struct fd_end *end, int error)
{
    stream_destroy(end->stream, error == ENOMEM ? CRIER_ENOMEM : CRIER_EIO, strerror(error));
}

static void arm(struct fd_end *end)
{
    if (poll_arm_watcher(end->stream->bus, end->fd, &end->watcher, end->reads, end->chunk != NULL) < 0)
        fail(end, errno);
}

/* ---- reading ---- */

static void read_some(struct fd_end *end)
{
    ssize_t size;

    do
        size = read(end->fd, end->bytes, READ_SIZE);
    while (size < 0 && errno == EINTR);
    end->reads = size < 0 && errno == EAGAIN;
    if (end->reads)
        arm(end);
    else if (size < 0)
        fail(end, errno);
    else if (size > 0)
        (void)crier_stream_push(end->stream, end->bytes, (size_t)size);
    else
        (void)crier_stream_push_chunk(end->stream, NULL);
}

static void fd_read(crier_stream *stream, size_t size, void *ctx)
{
    (void)stream, (void)size;
    read_some(ctx);
}

/* ---- writing ---- */

/* write() to a pipe without a reader raises SIGPIPE on this thread: it is blocked meanwhile, and taken back, unless one was waiting
 * already or the program blocks it anyway. */
static ssize_t write_without_signal(int fd, const void *bytes, size_t size)
{
    static const struct timespec at_once = {0, 0};
    sigset_t pipe_alone, before, waiting;
    ssize_t written;
    int error;

    sigemptyset(&pipe_alone);
    sigaddset(&pipe_alone, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_alone, &before);
    (void)sigpending(&waiting);
    written = write(fd, bytes, size);
    error = errno;
    if (written < 0 && error == EPIPE && !sigismember(&waiting, SIGPIPE))
        (void)sigtimedwait(&pipe_alone, NULL, &at_once);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return written;
}

static void write_done(struct fd_end *end, int error)
{
    end->chunk = NULL;
    (void)crier_stream_done(end->stream, error ? CRIER_EIO : 0, error ? strerror(error) : NULL);
}

static void write_some(struct fd_end *end)
{
    const unsigned char *bytes = end->chunk->data;

    while (end->written < end->chunk->size) {
        size_t left = end->chunk->size - end->written;
        ssize_t size = end->is_socket ? send(end->fd, bytes + end->written, left, MSG_NOSIGNAL)
                                      : write_without_signal(end->fd, bytes + end->written, left);
        if (size < 0 && errno == EAGAIN) {
            arm(end);
            return;
        }
        if (size < 0 && errno != EINTR) {
            write_done(end, errno);
            return;
        }
        end->written += size > 0 ? (size_t)size : 0;
    }
    write_done(end, 0);
}

static void fd_write(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    struct fd_end *end = ctx;

    (void)stream;
    end->chunk = chunk;
    end->written = 0;
    write_some(end);
}

static void fd_final(crier_stream *stream, void *ctx)
{
    struct fd_end *end = ctx;
    int error = end->is_socket && shutdown(end->fd, SHUT_WR) < 0 && errno != ENOTCONN ? errno : 0;

    (void)crier_stream_done(stream, error ? CRIER_EIO : 0, error ? strerror(error) : NULL);
}

/* ---- it is ready ---- */

/* In the middle of the turn: nothing of the program's may be called here. */
static void fd_ready(struct poll_watcher *watcher)
{
    struct fd_end *end = LIST_ENTRY(watcher, struct fd_end, watcher);

    if (end->queued)
        return;
    end->queued = true;
    stream_retain(end->stream);
    agenda_add(end->stream->agenda, AGENDA_IMMEDIATE, &end->task);
}

/* Whichever it was: who is not ready waits again. */
static void ready_run(struct task *task, bool dropped)
{
    struct fd_end *end = LIST_ENTRY(task, struct fd_end, task);
    crier_stream *stream = end->stream;

    end->queued = false;
    if (!dropped && end->chunk && !stream->destroyed)
        write_some(end);
    if (!dropped && end->reads && !stream->destroyed)
        read_some(end);
    stream_release(stream);
}

/* ---- the end ---- */

static void fd_destroy(crier_stream *stream, int code, void *ctx)
{
    struct fd_end *end = ctx;
    int error;

    end->reads = false;
    poll_disarm_watcher(stream->bus, end->fd);
    error = close(end->fd) < 0 && errno != EINTR ? errno : 0;
    end->fd = -1;
    if (end->chunk)
        write_done(end, 0); /* nobody waits for it any more */
    (void)crier_stream_destroy_done(stream,
                                    code    ? code
                                    : error ? CRIER_EIO
                                            : 0,
                                    code || !error ? NULL : strerror(error));
}

static void fd_release(void *ctx)
{
    struct fd_end *end = ctx;

    if (end->fd >= 0)
        (void)close(end->fd);
    free(end);
}

/* ---- making ---- */

static bool is_open_for(int fd, enum crier_stream_type type)
{
    int flags = fcntl(fd, F_GETFL), mode = flags & O_ACCMODE;

    return flags >= 0 && (!(type & CRIER_READABLE) || mode != O_WRONLY) &&
           (!(type & CRIER_WRITABLE) || mode != O_RDONLY);
}

/* 1, 0 (a file on a disk, /dev/null ...), CRIER_ENOMEM. Only epoll itself knows. */
static int can_be_waited_for(int fd)
{
    struct epoll_event event = {.events = 0};
    int trial = epoll_create1(EPOLL_CLOEXEC), rc = 1;

    if (trial < 0)
        return CRIER_ENOMEM;
    if (epoll_ctl(trial, EPOLL_CTL_ADD, fd, &event) < 0)
        rc = errno == EPERM ? 0 : CRIER_ENOMEM;
    (void)close(trial);
    return rc;
}

static int end_open(crier *bus, enum crier_stream_type type, int fd, crier_stream **ret_stream)
{
    struct crier_stream_ops ops = {.struct_size = sizeof(ops),
                                   .read = type & CRIER_READABLE ? fd_read : NULL,
                                   .write = type & CRIER_WRITABLE ? fd_write : NULL,
                                   .final = type & CRIER_WRITABLE ? fd_final : NULL,
                                   .destroy = fd_destroy,
                                   .release = fd_release};
    struct fd_end *end = malloc(sizeof(*end) + (type & CRIER_READABLE ? READ_SIZE : 0));
    struct stat status;
    int rc;

    if (!end)
        return CRIER_ENOMEM;
    *end = (struct fd_end){.watcher.ready = fd_ready, .task.run = ready_run, .fd = fd};
    end->is_socket = fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
    list_init(&end->task.link);
    if ((rc = crier_stream_create(bus, type, &ops, end, NULL, &end->stream)) < 0) {
        free(end);
        return rc;
    }
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); /* nobody has the stream yet */
    *ret_stream = end->stream;
    return 0;
}

static int fd_open(crier *bus, crier_pool *pool, enum crier_stream_type type, int fd,
                   crier_stream **ret_stream)
{
    int rc;

    if (!bus || !ret_stream || !is_open_for(fd, type))
        return CRIER_EINVAL;
    if ((rc = can_be_waited_for(fd)) < 0)
        return rc;
    if (rc == 0)
        return pool ? file_stream(bus, pool, "", fd, type == CRIER_WRITABLE, ret_stream) : CRIER_EINVAL;
    return end_open(bus, type, fd, ret_stream);
}

int crier_fd_readable(crier *bus, crier_pool *pool, int fd, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    handle_check(&pool_handles, pool);
    return fd_open(bus, pool, CRIER_READABLE, fd, ret_stream);
}

int crier_fd_writable(crier *bus, crier_pool *pool, int fd, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    handle_check(&pool_handles, pool);
    return fd_open(bus, pool, CRIER_WRITABLE, fd, ret_stream);
}

int crier_fd_duplex(crier *bus, int fd, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    return fd_open(bus, NULL, CRIER_DUPLEX, fd, ret_stream);
}
