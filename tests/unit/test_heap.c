/* test_heap.c: whatever is added to and removed from a heap, on top is what is due first; of equals the smaller number. */
#include "base/check.h"
#include "base/heap.h"
#include "base/random.h"

#include <criterion/criterion.h>

#define NODES 200

static const struct heap_node *first_of(const struct heap_node nodes[NODES])
{
    const struct heap_node *first = NULL;
    for (const struct heap_node *node = nodes; node < nodes + NODES; node++)
        if (node->place != HEAP_NOWHERE && (!first || node->due_us < first->due_us ||
                                            (node->due_us == first->due_us && node->number < first->number)))
            first = node;
    return first;
}

Test(heap, on_top_is_what_is_due_first_whatever_was_added_and_removed)
{
    struct heap heap = {0};
    struct heap_node nodes[NODES];
    struct random random = random_seeded(7);
    uint64_t number = 0;
    size_t inside = 0, most = 0;
    for (size_t i = 0; i < NODES; i++)
        nodes[i].place = HEAP_NOWHERE;
    for (int step = 0; step < 20000; step++) {
        struct heap_node *node = &nodes[random_below(&random, NODES)];
        if (node->place != HEAP_NOWHERE) {
            heap_remove(&heap, node);
            inside--;
        } else {
            *node = (struct heap_node){
                .due_us = (int64_t)random_below(&random, 50), .number = number++, .place = HEAP_NOWHERE};
            cr_assert(heap_reserve(&heap));
            heap_add(&heap, node);
            inside++;
        }
        most = inside > most ? inside : most;
        cr_assert_eq(heap.count, inside);
        cr_assert_eq(heap_first(&heap), first_of(nodes), "after step %d", step);
    }
    cr_assert_gt(most, NODES / 2 - 10, "it was never filled");
    heap_finish(&heap);
}

Test(heap, an_empty_one_has_no_first)
{
    struct heap heap = {0};
    struct heap_node node = {.place = HEAP_NOWHERE};
    cr_assert_null(heap_first(&heap));
    cr_assert(heap_reserve(&heap));
    heap_add(&heap, &node);
    cr_assert_eq(heap_first(&heap), &node);
    heap_remove(&heap, &node);
    cr_assert_null(heap_first(&heap));
    cr_assert_eq(node.place, HEAP_NOWHERE);
    heap_finish(&heap);
}
