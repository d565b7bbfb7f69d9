/* handle.c: the addresses of handles that were freed last: see handle.h. Thread: any. Failures: a handle that is used after its end ends
 * the program, with one line that says which call got what. */
#include "base/handle.h"

#include <stdio.h> /* not an empty translation unit without CRIER_DEBUG */
#include <stdlib.h>

#ifdef CRIER_DEBUG

/* Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): addresses are multiples of 16. */
static _Atomic(uintptr_t) *place_of(struct handle_kind *kind, const void *handle)
{
    uint64_t hash = (uint64_t)(uintptr_t)handle * UINT64_C(0x9e3779b97f4a7c15);

    return &kind->freed[(hash >> 32) % HANDLES_REMEMBERED];
}

void handle_made(struct handle_kind *kind, const void *handle)
{
    uintptr_t own = (uintptr_t)handle;

    (void)atomic_compare_exchange_strong(place_of(kind, handle), &own, 0);
}

void handle_freed(struct handle_kind *kind, const void *handle)
{
    atomic_store(place_of(kind, handle), (uintptr_t)handle);
}

void handle_check_call(struct handle_kind *kind, const void *handle, const char *call)
{
    if (!handle || atomic_load(place_of(kind, handle)) != (uintptr_t)handle)
        return;
    fprintf(stderr, "%s(): this %s is no more: %s\n", call, kind->name, kind->ended);
    abort();
}

#endif
