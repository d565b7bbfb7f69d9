/* test_buffer.c: buffers live exactly as long as somebody refers to them, and pools keep no more than they promise. */
#include "base/buffer.h"
#include "tests/support/allocation.h"

#include <criterion/criterion.h>
#include <signal.h>

Test(buffer, lives_until_the_last_unref)
{
    long before = allocation_out();
    struct buffer *buffer = buffer_create(100);
    cr_assert_not_null(buffer);
    cr_assert_geq(buffer->capacity, 100);
    cr_assert_eq(buffer_ref(buffer), buffer);
    buffer_unref(buffer);
    cr_assert_eq(allocation_out(), before + 1, "one reference is left");
    buffer_unref(buffer);
    cr_assert_eq(allocation_out(), before);
}

Test(buffer, null_may_be_unreffed)
{
    buffer_unref(NULL);
    buffer_pool_destroy(NULL);
}

Test(buffer, out_of_memory_is_null)
{
    cr_assert_null(buffer_create(SIZE_MAX));
    cr_assert_null(buffer_create(SIZE_MAX - 8));
    allocation_fail_after(0);
    cr_assert_null(buffer_create(1));
}

Test(buffer, data_is_aligned_for_any_number)
{
    struct buffer *buffer = buffer_create(16);
    cr_assert_eq((uintptr_t)buffer->data % 8, 0);
    buffer_unref(buffer);
}

Test(buffer, slice_takes_and_drops_a_reference)
{
    long before = allocation_out();
    struct buffer *buffer = buffer_create(100);
    struct slice whole = {buffer, buffer->data, 100};
    struct slice part = slice_ref((struct slice){buffer, buffer->data + 10, 5});
    slice_unref(&whole);
    cr_assert_null(whole.buffer);
    cr_assert_eq(whole.size, 0);
    memset(part.data, 'x', part.size);
    slice_unref(&part);
    cr_assert_eq(allocation_out(), before);
}

Test(buffer, slice_of_bytes_owned_elsewhere_counts_nothing)
{
    uint8_t bytes[4] = {1, 2, 3, 4};
    struct slice slice = slice_ref((struct slice){NULL, bytes, sizeof(bytes)});
    cr_assert_eq(slice.data, bytes);
    slice_unref(&slice);
}

Test(buffer, unref_of_a_dead_buffer_is_our_bug, .signal = SIGABRT)
{
    struct buffer_pool *pool = buffer_pool_create(8, 1);
    struct buffer *buffer = buffer_pool_get(pool);
    buffer_unref(buffer);
    buffer_unref(buffer); /* idle in the pool, so the memory is still ours to look at */
}

Test(buffer_pool, hands_out_what_came_back)
{
    struct buffer_pool *pool = buffer_pool_create(4096, 2);
    struct buffer *first = buffer_pool_get(pool);
    cr_assert_eq(first->capacity, 4096);
    buffer_unref(first);
    long before = allocation_out();
    cr_assert_eq(buffer_pool_get(pool), first);
    cr_assert_eq(allocation_out(), before, "nothing was allocated");
    buffer_unref(first);
    buffer_pool_destroy(pool);
}

Test(buffer_pool, keeps_at_most_keep_idle_buffers)
{
    struct buffer_pool *pool = buffer_pool_create(64, 2);
    long empty = allocation_out();
    struct buffer *buffers[5];
    for (int i = 0; i < 5; i++)
        buffers[i] = buffer_pool_get(pool);
    cr_assert_eq(allocation_out(), empty + 5);
    for (int i = 0; i < 5; i++)
        buffer_unref(buffers[i]);
    cr_assert_eq(allocation_out(), empty + 2);
    buffer_pool_destroy(pool);
    cr_assert_eq(allocation_out(), empty - 1);
}

Test(buffer_pool, may_be_destroyed_while_buffers_are_out)
{
    long before = allocation_out();
    struct buffer_pool *pool = buffer_pool_create(64, 8);
    struct buffer *one = buffer_pool_get(pool), *two = buffer_pool_get(pool);
    buffer_pool_destroy(pool);
    memset(one->data, 1, one->capacity);
    buffer_unref(one);
    memset(two->data, 2, two->capacity);
    buffer_unref(two);
    cr_assert_eq(allocation_out(), before, "the last buffer took the pool with it");
}

Test(buffer_pool, out_of_memory_is_null_and_the_pool_goes_on)
{
    long before = allocation_out();
    allocation_fail_after(0);
    cr_assert_null(buffer_pool_create(64, 1));
    struct buffer_pool *pool = buffer_pool_create(64, 1);
    allocation_fail_after(0);
    cr_assert_null(buffer_pool_get(pool));
    struct buffer *buffer = buffer_pool_get(pool);
    cr_assert_not_null(buffer);
    buffer_unref(buffer);
    buffer_pool_destroy(pool);
    cr_assert_eq(allocation_out(), before);
}
