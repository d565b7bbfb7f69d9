/* output.c: what waits to be written. See output.h. */
#include "client/output.h"

#include "base/check.h"
#include "crier/crier.h"

#include <stdlib.h>

#define PIECES_MIN 16

static struct output_piece *piece_at(const struct output *output, size_t index)
{
    return &output->pieces[(output->first + index) & (output->capacity - 1)];
}

int output_reserve(struct output *output, size_t count)
{
    size_t capacity = output->capacity ? output->capacity : PIECES_MIN;
    struct output_piece *pieces;

    while (capacity < output->count + count)
        capacity *= 2;
    if (capacity == output->capacity)
        return 0;
    if (!(pieces = malloc(capacity * sizeof(*pieces))))
        return CRIER_ENOMEM;
    for (size_t i = 0; i < output->count; i++)
        pieces[i] = *piece_at(output, i);
    free(output->pieces);
    output->pieces = pieces;
    output->capacity = capacity;
    output->first = 0;
    return 0;
}

void output_add(struct output *output, const uint8_t *data, size_t size, void *owned)
{
    CHECK(output->count < output->capacity);
    CHECK(size > 0);
    *piece_at(output, output->count) = (struct output_piece){data, size, owned};
    output->count++;
    output->size += size;
    output->queued += size;
}

size_t output_gather(const struct output *output, struct iovec *to, size_t count)
{
    size_t used = output->count < count ? output->count : count;

    for (size_t i = 0; i < used; i++) {
        const struct output_piece *piece = piece_at(output, i);
        size_t skip = i == 0 ? output->written : 0;
        to[i].iov_base = (void *)(uintptr_t)(piece->data + skip);
        to[i].iov_len = piece->size - skip;
    }
    return used;
}

void output_consume(struct output *output, size_t size)
{
    CHECK(size <= output->size);
    output->size -= size;
    output->consumed += size;
    size += output->written;
    while (output->count > 0 && size >= piece_at(output, 0)->size) {
        size -= piece_at(output, 0)->size;
        free(piece_at(output, 0)->owned);
        output->first = (output->first + 1) & (output->capacity - 1);
        output->count--;
    }
    output->written = size;
}

void output_clear(struct output *output)
{
    for (size_t i = 0; i < output->count; i++)
        free(piece_at(output, i)->owned);
    free(output->pieces);
    *output = (struct output){0};
}
