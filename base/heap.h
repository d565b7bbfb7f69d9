/* heap.h: a binary heap of things that are due, threaded through them: the one due first is on top; of equals the one with the
 * smaller number.
 *
 * Adding, and removing from anywhere, cost O(log n); only room for more is ever allocated. Thread: the heap's owner's.
 * Source: J. W. J. Williams, "Algorithm 232: Heapsort" (CACM 7, 1964); each node knows its place. */
#ifndef CRIER_BASE_HEAP_H
#define CRIER_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NOWHERE SIZE_MAX

/* The place inside a struct by which it is in at most one heap; see LIST_ENTRY for the way back. */
struct heap_node {
    int64_t due_us;
    uint64_t number;
    size_t place; /* HEAP_NOWHERE: in none */
};

struct heap { /* all zeros: empty */
    struct heap_node **nodes;
    size_t count, capacity;
};

/* Room for one more. false: no memory, nothing has changed. */
bool heap_reserve(struct heap *heap);

/* There is room, and the node is nowhere; its due_us and number stay as they are until it is removed. */
void heap_add(struct heap *heap, struct heap_node *node);
void heap_remove(struct heap *heap, struct heap_node *node);

/* NULL: it is empty. */
static inline struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}

/* Frees the room, not the nodes. */
void heap_finish(struct heap *heap);

#endif
