/* harness_memory.c: memory for the simulator itself while the product's allocator fails (sim.cmake renames the calls). */
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);

void *harness_malloc(size_t size);
void *harness_calloc(size_t count, size_t size);
void *harness_realloc(void *pointer, size_t size);

void *harness_malloc(size_t size)
{
    return __real_malloc(size);
}

void *harness_calloc(size_t count, size_t size)
{
    return __real_calloc(count, size);
}

void *harness_realloc(void *pointer, size_t size)
{
    return __real_realloc(pointer, size);
}
