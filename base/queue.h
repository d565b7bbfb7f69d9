/* queue.h: how threads meet: a bounded queue of requests in, a list of completions out.
 *
 * Every request carries its own node, so neither direction allocates, and completions can never block: a bounded
 * request queue that refuses (queue_push returns -EAGAIN) and an unbounded-by-construction completion list (it
 * holds only nodes of requests that were accepted). No two queues can wait for each other.
 *
 * Thread:  queue_push any thread, never blocks. queue_take_* the one consumer thread, may block.
 *          completions_post any thread; completions_take the one owner thread, never blocks. */
#ifndef CRIER_BASE_QUEUE_H
#define CRIER_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_node {
    struct queue_node *next;
    size_t weight; /* bytes this request stands for; set by the pusher */
};

struct queue;

/* A queue of at most `count_max` nodes. NULL: out of memory. */
struct queue *queue_create(size_t count_max);
void queue_destroy(struct queue *queue); /* the queue is empty and no thread uses it; accepts NULL */
/* 0, -EAGAIN (full: nothing happened) or -EPIPE (closed: nothing happened). */
int queue_push(struct queue *queue, struct queue_node *node);
/* Takes the oldest nodes, at least one and as many as fit `weight_max` together, as a list linked by `next`.
 * Blocks until there is one or the queue is closed, or timeout_ms passes (-1: no limit).
 * Returns the list; NULL when closed and empty (*ret_closed true) or on timeout. */
struct queue_node *queue_take(struct queue *queue, size_t weight_max, int timeout_ms, bool *ret_closed);
void queue_close(struct queue *queue); /* pushes fail from now on; what is queued is still taken */
size_t queue_count(struct queue *queue);

/* Finished requests on their way back to one owner thread. `fd` becomes readable when there is something. */
struct completions;
struct completions *completions_create(void); /* NULL: out of memory or descriptors */
void completions_destroy(struct completions *list);
int completions_fd(const struct completions *list); /* poll for reading; owned by the list */
void completions_post(struct completions *list, struct queue_node *node);
/* Everything posted so far, oldest first, linked by `next`; NULL if none. Clears the wake-up. */
struct queue_node *completions_take(struct completions *list);

#endif
