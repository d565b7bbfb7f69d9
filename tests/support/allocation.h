/* allocation.h: out of memory, on demand, and a count of what is still out.
 *
 * A test that links allocation.c with the linker options in ALLOCATION_WRAP (tests/unit/base.cmake) sees every malloc,
 * calloc, realloc and free of our own code pass through here; the system's libraries keep theirs.
 *
 * Thread: one that allocates; others may free. */
#ifndef CRIER_TESTS_ALLOCATION_H
#define CRIER_TESTS_ALLOCATION_H

#include <stdbool.h>
#include <stddef.h>

/* The allocation after the next `skip` ones returns NULL, once. */
void allocation_fail_after(unsigned skip);
/* That one, and every one after it. */
void allocation_fail_from(unsigned skip);
void allocation_never_fail(void);
/* None fails until what the first returns is given to the second. */
long allocation_suspend(void);
void allocation_resume(long suspended);
/* Since allocation_fail_after(): it came to that. */
bool allocation_failed(void);
/* Allocations asked for since the program's start, failed ones included. */
unsigned long allocation_count(void);
/* Blocks allocated and not freed, since the program's start. */
long allocation_out(void);
/* Bytes of those blocks, as the allocator rounds them. */
size_t allocation_bytes(void);
/* The largest single request since the last call, in bytes. */
size_t allocation_size_max(void);

#endif
