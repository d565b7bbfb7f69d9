/* allocator.c: see allocator.h.
 *
 * A start with 100,000 topics makes as many objects of some hundred bytes as fit 80 MB. In pages of 4 KiB a third of its time was
 * page faults and misses of the TLB (docs/decisions/0021). Only the part that is about to be filled is asked for: for a small state
 * large pages would be waste, and the kernel may refuse them all the same. */
#include "broker/allocator.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE_PAGE   ((uintptr_t)2 << 20)
#define EXPECTED_MAX (UINT64_C(1) << 30) /* a state's file may be mostly free pages */
#define TOP_PAD      (128 << 10)         /* glibc's default */
#define PROBE        (512 << 10)         /* below M_MMAP_THRESHOLD: from the heap */
#define PROBES       16                  /* what may be free in it already */

/* Batches come and go in sizes around 256 KiB: kept on the heap they are reused, and a free top is given back. LMDB's
 * dirty lists are larger and hardly touched: mapped, they cost nothing. */
void allocator_setup(void)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    mallopt(M_ARENA_MAX, 2);
}

void allocator_expect(uint64_t bytes)
{
    if (bytes < ALLOCATOR_LARGE) {
        mallopt(M_TOP_PAD, TOP_PAD);
        return;
    }
    mallopt(M_TOP_PAD, (int)(bytes < EXPECTED_MAX ? bytes : EXPECTED_MAX));
    uintptr_t before = (uintptr_t)sbrk(0), end = before;
    void *probes[PROBES];
    unsigned count = 0;
    for (; count < PROBES && end == before; end = (uintptr_t)sbrk(0)) /* until the heap grows */
        probes[count++] = malloc(PROBE);
    uintptr_t from = (before + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
    if (from < end)
        (void)madvise((void *)from, end - from, MADV_HUGEPAGE);
    while (count > 0)
        free(probes[--count]);
}
