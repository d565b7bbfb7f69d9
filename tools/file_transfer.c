/* file_transfer.c: a file as events, and events as a file. See file_transfer.h.
 *
 * Happy path:  sender: chunk 0, 1, ... n - 1, end      receiver: PATH.part <- 0, 1, ... -> end: size right, fsync, rename
 * Failures:    a number is missing, the size is wrong, the sender gave up, the disk is full: -1 and a sentence; PATH is
 *              not touched, PATH.part goes. A number that was there already (a replay) is passed over. */
#include "tools/file_transfer.h"

#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_FILE  "crier-file"
#define HEADER_CHUNK "crier-chunk"
#define HEADER_END   "crier-end"
#define HEADER_ABORT "crier-abort"

/* ---- sending ---- */

int file_sender_init(struct file_sender *sender)
{
    unsigned char bytes[FILE_ID_SIZE / 2];
    int rc = random_system(bytes, sizeof(bytes));

    memset(sender, 0, sizeof(*sender));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(sender->id + 2 * i, 3, "%02x", bytes[i]);
    return rc;
}

static crier_header header_of(const char *name, const char *value)
{
    return (crier_header){
        .name = name, .name_size = strlen(name), .value = value, .value_size = strlen(value)};
}

size_t file_sender_headers(struct file_sender *sender, enum file_event kind, size_t size, const char *text,
                           crier_header headers[FILE_HEADERS_MAX])
{
    snprintf(sender->chunk_text, sizeof(sender->chunk_text), "%" PRIu64, sender->chunk++);
    sender->size += size;
    snprintf(sender->end_text, sizeof(sender->end_text), "%" PRIu64, sender->size);
    headers[0] = header_of(HEADER_FILE, sender->id);
    headers[1] = header_of(HEADER_CHUNK, sender->chunk_text);
    if (kind == FILE_END)
        headers[2] = header_of(HEADER_END, sender->end_text);
    else if (kind == FILE_ABORT)
        headers[2] = header_of(HEADER_ABORT, text);
    return kind == FILE_CHUNK ? 2 : 3;
}

/* ---- receiving ---- */

int file_receiver_open(struct file_receiver *receiver, const char *path)
{
    size_t size = strlen(path) + sizeof(".part");

    memset(receiver, 0, sizeof(*receiver));
    receiver->path = path;
    receiver->fd = -1;
    if (!(receiver->part_path = malloc(size)))
        return -ENOMEM;
    snprintf(receiver->part_path, size, "%s.part", path);
    receiver->fd = open(receiver->part_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return receiver->fd < 0 ? -errno : 0;
}

void file_receiver_close(struct file_receiver *receiver)
{
    if (receiver->fd >= 0) {
        close(receiver->fd);
        unlink(receiver->part_path);
    }
    free(receiver->part_path);
}

static int fail(struct file_receiver *receiver, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int fail(struct file_receiver *receiver, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(receiver->error, sizeof(receiver->error), format, arguments);
    va_end(arguments);
    return -1;
}

/* A header's number. false: there is none, or it is no number. */
static bool number_of(const crier_event *event, const char *name, uint64_t *ret)
{
    crier_header header;
    uint64_t number = 0;

    if (crier_event_header_find(event, name, &header) < 0 || header.value_size == 0 || header.value_size > 19)
        return false;
    for (size_t i = 0; i < header.value_size; i++) {
        char digit = ((const char *)header.value)[i];
        if (digit < '0' || digit > '9')
            return false;
        number = 10 * number + (uint64_t)(digit - '0');
    }
    *ret = number;
    return true;
}

/* Is the event of the transfer that is followed, or the first of one to follow? */
static bool is_ours(struct file_receiver *receiver, const crier_event *event, uint64_t *ret_chunk)
{
    crier_header id;

    if (crier_event_header_find(event, HEADER_FILE, &id) < 0 || id.value_size != FILE_ID_SIZE ||
        !number_of(event, HEADER_CHUNK, ret_chunk))
        return false;
    if (receiver->id[0] == '\0' && *ret_chunk != 0) {
        receiver->missed = true;
        return false;
    }
    if (receiver->id[0] == '\0')
        memcpy(receiver->id, id.value, FILE_ID_SIZE);
    return memcmp(receiver->id, id.value, FILE_ID_SIZE) == 0;
}

static int append(struct file_receiver *receiver, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(receiver->fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail(receiver, "cannot write %s: %s", receiver->part_path, strerror(errno));
        data += written;
        size -= (size_t)written;
        receiver->size += (uint64_t)written;
    }
    return 0;
}

static int finish(struct file_receiver *receiver, uint64_t size)
{
    int fd = receiver->fd;

    if (size != receiver->size)
        return fail(receiver, "%" PRIu64 " bytes came, and there should be %" PRIu64, receiver->size, size);
    if (fsync(fd) != 0)
        return fail(receiver, "cannot write %s: %s", receiver->part_path, strerror(errno));
    if (rename(receiver->part_path, receiver->path) != 0)
        return fail(receiver, "cannot rename %s to %s: %s", receiver->part_path, receiver->path,
                    strerror(errno));
    close(fd);
    receiver->fd = -1;
    receiver->complete = true;
    return 0;
}

int file_receiver_event(struct file_receiver *receiver, const crier_event *event)
{
    crier_header reason;
    uint64_t chunk, size;

    if (receiver->complete || !is_ours(receiver, event, &chunk) || chunk < receiver->chunk)
        return 0;
    if (chunk > receiver->chunk)
        return fail(receiver, "chunk %" PRIu64 " is missing: %" PRIu64 " came instead", receiver->chunk,
                    chunk);
    receiver->chunk++;
    if (crier_event_header_find(event, HEADER_ABORT, &reason) == 0)
        return fail(receiver, "the sender gave up after %" PRIu64 " bytes: %.*s", receiver->size,
                    (int)reason.value_size, (const char *)reason.value);
    if (number_of(event, HEADER_END, &size))
        return finish(receiver, size);
    return append(receiver, event->value, event->value_size);
}
