/* heap.c: see heap.h.
 *
 * Role:     timers in the order in which they are due.
 * Thread:   the owner's; no lock, no clock.
 * Callers:  agenda.c; the broker's shared groups and schedules.
 * Failures: no memory for more room: heap_reserve() says so. */
#include "base/heap.h"

#include "base/check.h"

#include <stdlib.h>

#define CAPACITY_FIRST 8

static bool is_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void put(struct heap *heap, size_t place, struct heap_node *node)
{
    heap->nodes[place] = node;
    node->place = place;
}

/* The node goes where it belongs, beginning at a place that is free. */
static void sift(struct heap *heap, size_t place, struct heap_node *node)
{
    for (; place > 0 && is_before(node, heap->nodes[(place - 1) / 2]); place = (place - 1) / 2)
        put(heap, place, heap->nodes[(place - 1) / 2]);
    for (size_t child; (child = 2 * place + 1) < heap->count; place = child) {
        if (child + 1 < heap->count && is_before(heap->nodes[child + 1], heap->nodes[child]))
            child++;
        if (!is_before(heap->nodes[child], node))
            break;
        put(heap, place, heap->nodes[child]);
    }
    put(heap, place, node);
}

bool heap_reserve(struct heap *heap)
{
    size_t capacity = heap->capacity ? 2 * heap->capacity : CAPACITY_FIRST;

    if (heap->count < heap->capacity)
        return true;
    struct heap_node **grown = realloc(heap->nodes, capacity * sizeof(struct heap_node *));
    if (!grown)
        return false;
    heap->nodes = grown;
    heap->capacity = capacity;
    return true;
}

void heap_add(struct heap *heap, struct heap_node *node)
{
    CHECK(heap->count < heap->capacity && node->place == HEAP_NOWHERE);
    heap->count++;
    sift(heap, heap->count - 1, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    CHECK(node->place < heap->count && heap->nodes[node->place] == node);
    struct heap_node *last = heap->nodes[--heap->count];
    if (last != node)
        sift(heap, node->place, last);
    node->place = HEAP_NOWHERE;
}

void heap_finish(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}
