/* input.h: where bytes are received, so that a batch is never copied between the socket and its handler.
 *
 * Bytes land in a reference-counted buffer; whoever keeps a piece of it (a delivery that waits for its handler) holds a
 * reference, and a new buffer is begun when the old one is full. Only the head of a frame that straddles two buffers is
 * copied. A frame larger than a buffer gets one of its own size. Buffers begin small and grow with the traffic; an idle
 * connection holds none.
 *
 * Thread: the engine's. */
#ifndef CRIER_CLIENT_INPUT_H
#define CRIER_CLIENT_INPUT_H

#include "base/buffer.h"
#include "proto/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define INPUT_SIZE_MIN (16u * 1024)
#define INPUT_SIZE_MAX (1024u * 1024)

struct input {
    struct buffer *buffer; /* NULL: none */
    size_t start, end;     /* received and not yet taken as frames */
    size_t size_next;      /* of the next buffer; 0: INPUT_SIZE_MIN */
};

/* Where to receive into; at least one byte. frame_size_max bounds what a peer can make us allocate.
 * 0 or CRIER_ENOMEM. */
int input_space(struct input *input, size_t frame_size_max, struct iovec *ret_space);
void input_received(struct input *input, size_t size);
/* As frame_decode. The frame is borrowed until the next call; to keep it, reference input->buffer. */
int64_t input_frame(struct input *input, size_t frame_size_max, struct frame *ret_frame);
bool input_starts_with(const struct input *input, const char *text); /* what was not taken yet */
void input_trim(struct input *input);  /* gives the buffer back if nothing is in it; begins small again */
void input_clear(struct input *input); /* forgets everything */

#endif
