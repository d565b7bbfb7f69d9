/* stream_file.c: files at the ends of streams: every system call is a job of a worker pool.
 *
 * Role:     crier_file_readable, crier_file_writable.
 * Thread:   operations: the loop's; jobs: the pool's, one at a time for a file, which has it to itself meanwhile.
 * Owns:     struct file, the stream's ctx; its descriptor. A job holds a reference to the stream.
 *
 * Happy path:  read: job_run: open, read -> the agenda -> push; write: job_run: open, write -> done; final: fsync -> done;
 *              destroy: close -> destroy_done
 * Failures:    what the system says fails the stream. The bus is closed first: `release` closes the file, on whatever thread. */
#include "client/handles.h"
#include "client/stream_internal.h"
#include "crier/stream_ends.h"

#include "base/pool.h"
#include "client/bus_internal.h"
#include "client/pool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE (64u * 1024)

enum file_job { FILE_READ, FILE_WRITE, FILE_SYNC, FILE_CLOSE };

struct file {
    crier_pool *pool;
    crier_stream *stream; /* not a reference: its ctx */
    bool writes;
    enum file_job job;
    bool busy;           /* a job is on its way */
    bool closing;        /* destroy waits for it */
    int close_code;      /* what destroy was given */
    int fd;              /* -1: not open */
    struct chunk *chunk; /* read: to push; write: borrowed */
    size_t size;         /* read */
    int error;           /* of the job: errno */
    struct pool_job work;
    struct task task; /* its way back to the loop */
    char path[];
};

/* ---- on the pool ---- */

static int open_once(struct file *file)
{
    if (file->fd < 0)
        file->fd =
            open(file->path, (file->writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY) | O_CLOEXEC, 0666);
    return file->fd < 0 ? errno : 0;
}

static int read_some(struct file *file)
{
    void *bytes;
    ssize_t size;

    if (!(file->chunk = chunk_create(READ_SIZE, &bytes)))
        return ENOMEM;
    do
        size = read(file->fd, bytes, READ_SIZE);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return errno;
    file->chunk->shown.size = (size_t)size;
    return 0;
}

static int write_all(struct file *file)
{
    const char *at = file->chunk->shown.data;

    for (size_t left = file->chunk->shown.size; left > 0;) {
        ssize_t size = write(file->fd, at, left);
        if (size < 0 && errno != EINTR)
            return errno;
        at += size > 0 ? size : 0;
        left -= size > 0 ? (size_t)size : 0;
    }
    return 0;
}

static void job_run(struct pool_job *work)
{
    struct file *file = LIST_ENTRY(work, struct file, work);
    struct agenda *agenda = agenda_retain(file->stream->agenda); /* the stream may be gone when it is told */

    file->error = file->job == FILE_CLOSE ? 0 : open_once(file);
    if (file->error == 0 && file->job == FILE_READ)
        file->error = read_some(file);
    else if (file->error == 0 && file->job == FILE_WRITE)
        file->error = write_all(file);
    else if (file->error == 0 && file->job == FILE_SYNC && fsync(file->fd) < 0 && errno != EINVAL)
        file->error = errno; /* EINVAL: a pipe or a terminal, which has nothing to sync */
    else if (file->job == FILE_CLOSE && file->fd >= 0 && close(file->fd) < 0)
        file->error = errno;
    if (file->job == FILE_CLOSE)
        file->fd = -1;
    agenda_add(agenda, AGENDA_IMMEDIATE, &file->task);
    agenda_release(agenda);
}

/* ---- on the loop ---- */

static void job_start(struct file *file, enum file_job job)
{
    file->job = job;
    file->busy = true;
    stream_retain(file->stream);
    pool_submit_lane(file->pool->pool, (uint32_t)((uintptr_t)file / 64),
                     &file->work); /* one of a file at a time */
}

static int code_of(int error)
{
    return error == 0 ? 0 : error == ENOMEM ? CRIER_ENOMEM : CRIER_EIO;
}

static void read_done(struct file *file)
{
    struct chunk *chunk = file->chunk;
    crier_stream *stream = file->stream;

    file->chunk = NULL;
    if (stream->destroyed)
        ;
    else if (file->error != 0)
        stream_destroy(stream, code_of(file->error), strerror(file->error));
    else
        (void)crier_stream_push_chunk(stream, chunk->shown.size > 0 ? &chunk->shown : NULL);
    if (chunk)
        crier_chunk_release(&chunk->shown);
}

static void closed(struct file *file)
{
    int code = file->close_code ? file->close_code : code_of(file->error);

    (void)crier_stream_destroy_done(file->stream, code,
                                    file->close_code || !file->error ? NULL : strerror(file->error));
}

static void job_done(struct task *task, bool dropped)
{
    struct file *file = LIST_ENTRY(task, struct file, task);
    crier_stream *stream = file->stream;
    enum file_job job = file->job;

    file->busy = false;
    if (dropped) /* the bus is closed: `release` closes the file */
        ;
    else if (job == FILE_READ)
        read_done(file);
    else if (job == FILE_CLOSE)
        closed(file);
    else
        (void)crier_stream_done(stream, code_of(file->error), file->error ? strerror(file->error) : NULL);
    if (!dropped && file->closing && !file->busy && job != FILE_CLOSE)
        job_start(file, FILE_CLOSE);
    stream_release(stream);
}

static void file_read(crier_stream *stream, size_t size, void *ctx)
{
    (void)stream, (void)size;
    job_start(ctx, FILE_READ);
}

static void file_write(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    (void)stream;
    ((struct file *)ctx)->chunk = chunk_inner(chunk);
    job_start(ctx, FILE_WRITE);
}

static void file_final(crier_stream *stream, void *ctx)
{
    (void)stream;
    job_start(ctx, FILE_SYNC);
}

static void file_destroy(crier_stream *stream, int code, void *ctx)
{
    struct file *file = ctx;

    (void)stream;
    file->closing = true;
    file->close_code = code;
    if (!file->busy)
        job_start(file, FILE_CLOSE);
}

static void file_release(void *ctx)
{
    struct file *file = ctx;

    if (!file->writes && file->chunk)
        crier_chunk_release(&file->chunk->shown);
    if (file->fd >= 0)
        (void)close(file->fd); /* the bus was closed before its jobs came back */
    free(file);
}

int file_stream(crier *bus, crier_pool *pool, const char *path, int fd, bool writes,
                crier_stream **ret_stream)
{
    static const struct crier_stream_ops reading = {
        .struct_size = sizeof(reading), .read = file_read, .destroy = file_destroy, .release = file_release};
    static const struct crier_stream_ops writing = {.struct_size = sizeof(writing),
                                                    .write = file_write,
                                                    .final = file_final,
                                                    .destroy = file_destroy,
                                                    .release = file_release};
    struct file *file;
    size_t size;
    int rc;

    if (!bus || !pool || !path || !ret_stream)
        return CRIER_EINVAL;
    size = strlen(path) + 1;
    if (!(file = malloc(sizeof(*file) + size)))
        return CRIER_ENOMEM;
    *file = (struct file){.pool = pool, .writes = writes, .fd = fd, .task.run = job_done};
    file->work.run = job_run;
    list_init(&file->work.link);
    list_init(&file->task.link);
    memcpy(file->path, path, size);
    rc = crier_stream_create(bus, writes ? CRIER_WRITABLE : CRIER_READABLE, writes ? &writing : &reading,
                             file, NULL, &file->stream);
    if (rc < 0)
        free(file);
    else
        *ret_stream = file->stream;
    return rc;
}

int crier_file_readable(crier *bus, crier_pool *pool, const char *path, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    handle_check(&pool_handles, pool);
    return file_stream(bus, pool, path, -1, false, ret_stream);
}

int crier_file_writable(crier *bus, crier_pool *pool, const char *path, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    handle_check(&pool_handles, pool);
    return file_stream(bus, pool, path, -1, true, ret_stream);
}
