/* handle.h: handles after their end: in debug builds (CRIER_DEBUG, of CMake's build type Debug) a call that is given one says so and aborts.
 *
 * Each kind of handle remembers the addresses of those that were freed last. An address leaves its table when a handle of
 * this kind is made there, so a check never blames one that is alive; and no memory is kept back, which AddressSanitizer and
 * the tests that count blocks would notice. One that was freed long ago may go unnoticed: the table has one place for a hash.
 *
 *     struct handle_kind bus_handles = {"bus", "crier_close() has freed it"};
 *     handle_made(&bus_handles, bus);  ...  handle_freed(&bus_handles, bus);  free(bus);
 *     int crier_emit(crier *bus, ...) { handle_check(&bus_handles, bus); ...
 *
 * Thread: any. In other builds all of it is nothing. */
#ifndef CRIER_BASE_HANDLE_H
#define CRIER_BASE_HANDLE_H

struct handle_kind;

#ifdef CRIER_DEBUG

#include <stdatomic.h>
#include <stdint.h>

#define HANDLES_REMEMBERED 1024

struct handle_kind {
    const char *name;  /* for people */
    const char *ended; /* what has ended it, and what to do about it */
    _Atomic(uintptr_t) freed[HANDLES_REMEMBERED];
};

void handle_made(struct handle_kind *kind, const void *handle);
void handle_freed(struct handle_kind *kind, const void *handle); /* before free(). Accepts NULL */
void handle_check_call(struct handle_kind *kind, const void *handle, const char *call);
#define handle_check(kind, handle) handle_check_call(kind, handle, __func__)

#else

#define handle_made(kind, handle)  ((void)0)
#define handle_freed(kind, handle) ((void)0)
#define handle_check(kind, handle) ((void)0)

#endif

#endif
