/* store_memory_faults.c: the faults that a test wishes upon the twin; see store_memory.h. */
#include "storage/store_memory_internal.h"

void store_memory_fault_full(struct store *base, bool full)
{
    store_memory_self(base)->full = full;
}

void store_memory_fault_disk_free(struct store *base, uint64_t bytes)
{
    store_memory_self(base)->disk_free = bytes;
}

void store_memory_fault_commit(struct store *base, uint64_t nth)
{
    store_memory_self(base)->fail_commit = nth;
}

void store_memory_fault_flush(struct store *base, uint64_t nth)
{
    store_memory_self(base)->fail_flush = nth;
}

void store_memory_fault_slow(struct store *base, uint64_t count, int64_t us_extra)
{
    store_memory_self(base)->slow_count = count;
    store_memory_self(base)->slow_us = us_extra;
}

void store_memory_fault_read(struct store *base, uint64_t nth)
{
    store_memory_self(base)->fail_read = nth;
}
