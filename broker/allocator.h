/* allocator.h: how crierd's memory is kept: glibc's malloc, set up for a broker.
 *
 * Thread: main, before others are started. Only for a process of our own: a library leaves its host's heap alone. */
#ifndef CRIER_BROKER_ALLOCATOR_H
#define CRIER_BROKER_ALLOCATOR_H

#include <stdint.h>

void allocator_setup(void);
/* About so much will be allocated in small pieces now, by this thread: with ALLOCATOR_LARGE or more the heap grows at once, in large
 * pages where the kernel has them. 0: that is done, what is left over may go back. */
void allocator_expect(uint64_t bytes);

#define ALLOCATOR_LARGE (UINT64_C(16) << 20)

#endif
