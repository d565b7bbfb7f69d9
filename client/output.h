/* output.h: what waits to be written: pieces in order, never copied.
 *
 * A piece is either a block of the queue's own (a control frame, the head of an EMIT) or borrowed (a batch, which stays
 * until its outcome is known, and that cannot be before it was written).
 *
 * Thread: the engine's. Ownership: owned blocks are freed when written or at output_clear. */
#ifndef CRIER_CLIENT_OUTPUT_H
#define CRIER_CLIENT_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct output_piece {
    const uint8_t *data;
    size_t size;
    void *owned; /* freed with the piece; NULL: borrowed */
};

struct output {
    struct output_piece *pieces; /* a ring of `capacity` (a power of two, or 0) places */
    size_t capacity, first, count;
    size_t written;            /* bytes of the first piece that are gone */
    size_t size;               /* bytes not yet written */
    uint64_t queued, consumed; /* bytes ever added and written */
};

/* Room for `count` more pieces, so that the adds that follow cannot fail. 0 or CRIER_ENOMEM. */
int output_reserve(struct output *output, size_t count);
void output_add(struct output *output, const uint8_t *data, size_t size, void *owned);
size_t output_gather(const struct output *output, struct iovec *to, size_t count);
void output_consume(struct output *output, size_t size); /* size <= output->size */
void output_clear(struct output *output);                /* frees everything; the queue can be used again */

#endif
