/* grown.h: bytes that are kept until there are more: the beginnings of lines and of rows. Thread: their owner's. */
#ifndef CRIER_CLIENT_GROWN_H
#define CRIER_CLIENT_GROWN_H

#include "crier/crier.h"

#include <stdlib.h>
#include <string.h>

#define GROWN_CAPACITY_MIN 256

struct grown {
    char *data;            /* from malloc; NULL: nothing yet */
    size_t size, capacity; /* bytes */
};

/* 0 or CRIER_ENOMEM: nothing is added. */
static inline int grown_add(struct grown *grown, const void *data, size_t size)
{
    size_t capacity = grown->capacity ? grown->capacity : GROWN_CAPACITY_MIN;
    char *larger;

    if (size > SIZE_MAX / 4 - grown->size)
        return CRIER_ENOMEM;
    while (capacity < grown->size + size)
        capacity *= 2;
    if (!grown->data || capacity > grown->capacity) {
        if (!(larger = realloc(grown->data, capacity)))
            return CRIER_ENOMEM;
        grown->data = larger;
        grown->capacity = capacity;
    }
    if (size > 0)
        memcpy(grown->data + grown->size, data, size);
    grown->size += size;
    return 0;
}

static inline void grown_finish(struct grown *grown)
{
    free(grown->data);
    *grown = (struct grown){0};
}

#endif
