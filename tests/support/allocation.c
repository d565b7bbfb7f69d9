/* allocation.c: the functions the linker puts in the place of malloc and its family. See allocation.h. */
#include "tests/support/allocation.h"

#include <malloc.h>
#include <stdatomic.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void __real_free(void *pointer);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void __wrap_free(void *pointer);

static struct {
    _Atomic long out;   /* atomic, as bytes: a worker pool's threads free too */
    long until_failure; /* -1: never */
    size_t size_max;
    unsigned long count;
    bool for_ever;
    _Atomic size_t bytes;
} allocation = {.until_failure = -1};

void allocation_fail_after(unsigned skip)
{
    allocation.until_failure = skip;
    allocation.for_ever = false;
}

void allocation_fail_from(unsigned skip)
{
    allocation.until_failure = skip;
    allocation.for_ever = true;
}

unsigned long allocation_count(void)
{
    return allocation.count;
}

void allocation_never_fail(void)
{
    allocation.until_failure = -1;
}

long allocation_suspend(void)
{
    long until_failure = allocation.until_failure;
    allocation.until_failure = -1;
    return until_failure;
}

void allocation_resume(long suspended)
{
    allocation.until_failure = suspended;
}

bool allocation_failed(void)
{
    return allocation.until_failure < 0;
}

long allocation_out(void)
{
    return allocation.out;
}

size_t allocation_bytes(void)
{
    return allocation.bytes;
}

size_t allocation_size_max(void)
{
    size_t size_max = allocation.size_max;
    allocation.size_max = 0;
    return size_max;
}

static bool fails_now(size_t size)
{
    if (size > allocation.size_max)
        allocation.size_max = size;
    allocation.count++;
    if (allocation.until_failure == 0 && allocation.for_ever)
        return true;
    return allocation.until_failure >= 0 && allocation.until_failure-- == 0;
}

static void *counted(void *pointer)
{
    allocation.out += pointer != NULL;
    allocation.bytes += malloc_usable_size(pointer);
    return pointer;
}

void *__wrap_malloc(size_t size)
{
    return fails_now(size) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now(count * size) ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *pointer, size_t size)
{
    if (fails_now(size))
        return NULL;
    size_t before = malloc_usable_size(pointer);
    void *moved = __real_realloc(pointer, size);
    allocation.out += moved && !pointer;
    if (moved)
        allocation.bytes += malloc_usable_size(moved) - before;
    return moved;
}

void __wrap_free(void *pointer)
{
    allocation.out -= pointer != NULL;
    allocation.bytes -= malloc_usable_size(pointer);
    __real_free(pointer);
}
