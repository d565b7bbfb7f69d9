/* test_queue.c: what a bounded queue and a completion list promise to one thread; test_threads.c has many. */
#include "base/clock.h"
#include "base/queue.h"
#include "tests/support/allocation.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>

static unsigned list_length(const struct queue_node *list)
{
    unsigned length = 0;
    for (; list; list = list->next)
        length++;
    return length;
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

Test(queue, gives_back_in_the_order_of_pushing)
{
    struct queue *queue = queue_create(3);
    struct queue_node nodes[3] = {{.weight = 1}, {.weight = 1}, {.weight = 1}};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(queue_push(queue, &nodes[i]), 0);
    cr_assert_eq(queue_count(queue), 3);
    struct queue_node *list = queue_take(queue, SIZE_MAX, -1, NULL);
    cr_assert_eq(list, &nodes[0]);
    cr_assert_eq(list->next, &nodes[1]);
    cr_assert_eq(list->next->next, &nodes[2]);
    cr_assert_null(list->next->next->next);
    cr_assert_eq(queue_count(queue), 0);
    queue_destroy(queue);
}

Test(queue, a_full_queue_refuses_and_touches_nothing)
{
    struct queue *queue = queue_create(1);
    struct queue_node first = {0}, second = {.next = &first, .weight = 7};
    cr_assert_eq(queue_push(queue, &first), 0);
    cr_assert_eq(queue_push(queue, &second), -EAGAIN);
    cr_assert_eq(second.next, &first);
    cr_assert_eq(second.weight, 7);
    cr_assert_eq(queue_count(queue), 1);
    cr_assert_eq(queue_take(queue, SIZE_MAX, 0, NULL), &first);
    cr_assert_eq(queue_push(queue, &second), 0, "there is room again");
    cr_assert_eq(queue_take(queue, SIZE_MAX, 0, NULL), &second);
    queue_destroy(queue);
}

Test(queue, a_closed_queue_refuses_but_gives_out_what_it_holds)
{
    struct queue *queue = queue_create(4);
    struct queue_node node = {0}, late = {0};
    bool closed = true;
    cr_assert_eq(queue_push(queue, &node), 0);
    queue_close(queue);
    cr_assert_eq(queue_push(queue, &late), -EPIPE);
    cr_assert_eq(queue_take(queue, SIZE_MAX, -1, &closed), &node);
    cr_assert_not(closed);
    cr_assert_null(queue_take(queue, SIZE_MAX, -1, &closed));
    cr_assert(closed);
    queue_destroy(queue);
}

Test(queue, takes_as_many_as_fit_the_weight_and_at_least_one)
{
    struct queue *queue = queue_create(8);
    struct queue_node nodes[5] = {
        {.weight = 100}, {.weight = 40}, {.weight = 60}, {.weight = 1}, {.weight = 2}};
    for (int i = 0; i < 5; i++)
        queue_push(queue, &nodes[i]);
    cr_assert_eq(list_length(queue_take(queue, 50, 0, NULL)), 1,
                 "the first is too heavy and taken all the same");
    cr_assert_eq(list_length(queue_take(queue, 100, 0, NULL)), 2, "40 and 60 are just 100");
    cr_assert_eq(list_length(queue_take(queue, 0, 0, NULL)), 1);
    cr_assert_eq(list_length(queue_take(queue, 0, 0, NULL)), 1);
    queue_destroy(queue);
}

Test(queue, weights_near_the_end_of_numbers_do_not_wrap)
{
    struct queue *queue = queue_create(8);
    struct queue_node nodes[2] = {{.weight = SIZE_MAX}, {.weight = 2}};
    queue_push(queue, &nodes[0]);
    queue_push(queue, &nodes[1]);
    cr_assert_eq(list_length(queue_take(queue, SIZE_MAX, 0, NULL)), 1);
    cr_assert_eq(list_length(queue_take(queue, SIZE_MAX, 0, NULL)), 1);
    queue_destroy(queue);
}

Test(queue, an_empty_queue_waits_for_its_timeout)
{
    struct queue *queue = queue_create(1);
    bool closed = true;
    int64_t start_us = clock_monotonic_us();
    cr_assert_null(queue_take(queue, SIZE_MAX, 20, &closed));
    cr_assert_geq(clock_monotonic_us() - start_us, 20000);
    cr_assert_not(closed);
    queue_destroy(queue);
}

Test(queue, out_of_memory_is_null)
{
    allocation_fail_after(0);
    cr_assert_null(queue_create(1));
    allocation_fail_after(0);
    cr_assert_null(completions_create());
    queue_destroy(NULL);
    completions_destroy(NULL);
}

Test(completions, come_back_oldest_first)
{
    struct completions *list = completions_create();
    struct queue_node nodes[3];
    cr_assert_null(completions_take(list));
    for (int i = 0; i < 3; i++)
        completions_post(list, &nodes[i]);
    struct queue_node *taken = completions_take(list);
    cr_assert_eq(taken, &nodes[0]);
    cr_assert_eq(taken->next, &nodes[1]);
    cr_assert_eq(taken->next->next, &nodes[2]);
    cr_assert_null(taken->next->next->next);
    cr_assert_null(completions_take(list));
    completions_destroy(list);
}

Test(completions, the_descriptor_is_readable_exactly_while_there_is_something)
{
    struct completions *list = completions_create();
    struct queue_node nodes[2];
    cr_assert_not(is_readable(completions_fd(list)));
    completions_post(list, &nodes[0]);
    cr_assert(is_readable(completions_fd(list)));
    completions_post(list, &nodes[1]);
    cr_assert(is_readable(completions_fd(list)));
    completions_take(list);
    cr_assert_not(is_readable(completions_fd(list)));
    completions_post(list, &nodes[0]);
    cr_assert(is_readable(completions_fd(list)), "and again for the next one");
    completions_take(list);
    completions_destroy(list);
}
