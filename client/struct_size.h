/* struct_size.h: the rule of the options structs, which lets programs and library have different versions.
 *
 * Every options struct begins with `size_t struct_size`, set by its initializer: what the program was compiled with. New
 * fields join at the end. A smaller struct is an older program's: what it does not know keeps its default. A larger one
 * is a newer program's: what this library does not know must be zero, for it could not be done. Pure; any thread. */
#ifndef CRIER_CLIENT_STRUCT_SIZE_H
#define CRIER_CLIENT_STRUCT_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Copies the program's struct over the defaults in `to`, whose size here is `size`. from: NULL: the defaults stay.
 * false: no struct of this kind (0: not from an initializer), or it asks for something unknown. */
static inline bool struct_take(void *to, size_t size, const void *from)
{
    const unsigned char *bytes = from;
    size_t given;

    if (!from)
        return true;
    memcpy(&given, from, sizeof(given));
    if (given < sizeof(given))
        return false;
    for (size_t i = size; i < given; i++)
        if (bytes[i] != 0)
            return false;
    memcpy(to, from, given < size ? given : size);
    memcpy(to, &size, sizeof(size));
    return true;
}

#endif
