/* file_transfer.h: a file as events: how `crier emit --file` cuts it up and `crier on --to-file` puts it together.
 *
 * Every event of one transfer has the header `crier-file`, the transfer's random id, and `crier-chunk`, its number from 0;
 * the id is the key too, unless another was given, so that all are in one partition, in order. Values are the file's bytes. The
 * last event has no bytes and the header `crier-end`, how many there were; or `crier-abort`, why there are no more.
 * docs/files.md is the whole of it.
 *
 * Thread: one. */
#ifndef CRIER_TOOLS_FILE_TRANSFER_H
#define CRIER_TOOLS_FILE_TRANSFER_H

#include "client/include/crier/crier.h"

#include <stdbool.h>

#define FILE_ID_SIZE     32 /* hex digits */
#define FILE_HEADERS_MAX 3

enum file_event { FILE_CHUNK, FILE_END, FILE_ABORT };

/* The headers of the next event of a transfer, built in the struct: it must not move. */
struct file_sender {
    char id[FILE_ID_SIZE + 1];
    uint64_t chunk, size; /* so far */
    char chunk_text[24], end_text[24];
};

int file_sender_init(struct file_sender *sender); /* 0 or -errno */
/* size: of the value; text: of an abort. Returns how many headers; borrowed until the next call. */
size_t file_sender_headers(struct file_sender *sender, enum file_event kind, size_t size, const char *text,
                           crier_header headers[FILE_HEADERS_MAX]);

/* Writes to PATH.part beside PATH, which takes its name when all of it is there and synced. */
struct file_receiver {
    const char *path; /* borrowed */
    char *part_path;
    int fd;                    /* -1: not open */
    char id[FILE_ID_SIZE + 1]; /* "": no transfer has begun */
    uint64_t chunk, size;      /* expected, and so far */
    bool complete;
    bool missed;     /* while none has begun here, an event came of one that had begun before */
    char error[256]; /* why it failed; "": it did not */
};

int file_receiver_open(struct file_receiver *receiver, const char *path); /* 0 or -errno */
/* One event of the topic. 0 (also when it belongs to another transfer, or to none), or -1: see `error`. */
int file_receiver_event(struct file_receiver *receiver, const crier_event *event);
/* Removes what is not complete. */
void file_receiver_close(struct file_receiver *receiver);

#endif
