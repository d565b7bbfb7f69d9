/* input.c: where bytes are received. See input.h. */
#include "client/input.h"

#include "base/check.h"
#include "crier/crier.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define SPACE_MIN 4096 /* less room than this at the end of a buffer is not worth a system call */

/* A new buffer of at least `size` bytes that begins with what is pending. */
static int buffer_renew(struct input *input, size_t size)
{
    size_t pending = input->end - input->start;
    struct buffer *buffer = buffer_create(size);

    if (!buffer)
        return CRIER_ENOMEM;
    if (input->buffer && pending > 0)
        memcpy(buffer->data, input->buffer->data + input->start, pending);
    buffer_unref(input->buffer);
    input->buffer = buffer;
    input->start = 0;
    input->end = pending;
    return 0;
}

int input_space(struct input *input, size_t frame_size_max, struct iovec *ret_space)
{
    size_t pending = input->end - input->start, wanted = input->size_next ? input->size_next : INPUT_SIZE_MIN;
    uint64_t frame = 0; /* what the frame that has begun needs; 0: not known */
    bool fits = false;
    int rc;

    if (input->buffer) {
        frame = frame_size_announced(input->buffer->data + input->start, pending);
        if (frame > frame_size_max)
            frame = 0; /* frame_decode refuses it */
        if (pending == 0 && atomic_load(&input->buffer->refs) == 1)
            input->start = input->end = 0;
        fits = frame > 0 ? input->start + frame <= input->buffer->capacity
                         : input->buffer->capacity - input->end >= SPACE_MIN;
    }
    if (!fits) {
        if (wanted < frame)
            wanted = frame;
        if (wanted < pending + SPACE_MIN)
            wanted = pending + SPACE_MIN;
        if ((rc = buffer_renew(input, wanted)) < 0)
            return rc;
    }
    ret_space->iov_base = input->buffer->data + input->end;
    ret_space->iov_len = input->buffer->capacity - input->end;
    return 0;
}

void input_received(struct input *input, size_t size)
{
    CHECK(size <= input->buffer->capacity - input->end);
    input->end += size;
    if (input->end == input->buffer->capacity && input->size_next < INPUT_SIZE_MAX)
        input->size_next = input->size_next ? 4 * input->size_next : 4 * INPUT_SIZE_MIN;
}

int64_t input_frame(struct input *input, size_t frame_size_max, struct frame *ret_frame)
{
    int64_t used = 0;

    if (input->end > input->start)
        used = frame_decode(input->buffer->data + input->start, input->end - input->start, frame_size_max,
                            ret_frame);
    if (used > 0)
        input->start += (size_t)used;
    return used;
}

bool input_starts_with(const struct input *input, const char *text)
{
    size_t size = strlen(text);
    return input->end - input->start >= size && memcmp(input->buffer->data + input->start, text, size) == 0;
}

void input_trim(struct input *input)
{
    if (input->start == input->end)
        input_clear(input);
}

void input_clear(struct input *input)
{
    buffer_unref(input->buffer);
    *input = (struct input){0};
}
