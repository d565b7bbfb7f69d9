/* queue.c: the bounded queue of requests into a thread.
 *
 * Role:    many threads push, one consumer takes lists by weight; a full queue refuses instead of waiting.
 * Thread:  see queue.h. One mutex, held for a few pointer moves; one condition variable, on which only the consumer
 *          waits.
 * Owner:   nodes belong to the queue from an accepted push until the take that returns them.
 *
 * Happy path:  queue_push → queue_take → the consumer works → completions_post (completions.c)
 * Failures:    full: -EAGAIN; closed: -EPIPE. In both cases the node was not touched beyond reading its weight. */
#include "base/queue.h"

#include "base/check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled; /* on the monotonic clock: a wall clock's jump must not stretch a timeout */
    struct queue_node *first, *last;
    size_t count, count_max;
    bool closed;
};

static int condition_init_monotonic(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);
    if (rc != 0)
        return rc;
    rc = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (rc == 0)
        rc = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return rc;
}

struct queue *queue_create(size_t count_max)
{
    CHECK(count_max > 0);
    struct queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return NULL;
    queue->count_max = count_max;
    if (pthread_mutex_init(&queue->lock, NULL) != 0)
        goto free_queue;
    if (condition_init_monotonic(&queue->filled) != 0)
        goto destroy_lock;
    return queue;

destroy_lock:
    pthread_mutex_destroy(&queue->lock);
free_queue:
    free(queue);
    return NULL;
}

void queue_destroy(struct queue *queue)
{
    if (!queue)
        return;
    CHECK(queue->count == 0);
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

int queue_push(struct queue *queue, struct queue_node *node)
{
    int rc = 0;
    pthread_mutex_lock(&queue->lock);
    if (queue->closed) {
        rc = -EPIPE;
    } else if (queue->count == queue->count_max) {
        rc = -EAGAIN;
    } else {
        node->next = NULL;
        if (queue->last)
            queue->last->next = node;
        else
            queue->first = node;
        queue->last = node;
        /* The consumer sleeps only on an empty queue, so only the first node has somebody to wake. */
        if (queue->count++ == 0)
            pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return rc;
}

static struct timespec deadline_in_ms(int timeout_ms)
{
    struct timespec deadline;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &deadline) == 0);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return deadline;
}

static void wait_filled_locked(struct queue *queue, int timeout_ms)
{
    struct timespec deadline = {0};
    if (timeout_ms >= 0)
        deadline = deadline_in_ms(timeout_ms);
    while (queue->count == 0 && !queue->closed) {
        if (timeout_ms < 0)
            pthread_cond_wait(&queue->filled, &queue->lock);
        else if (pthread_cond_timedwait(&queue->filled, &queue->lock, &deadline) == ETIMEDOUT)
            return;
    }
}

static struct queue_node *take_locked(struct queue *queue, size_t weight_max)
{
    struct queue_node *first = queue->first;
    if (!first)
        return NULL;
    struct queue_node *last = first;
    size_t room = weight_max > first->weight ? weight_max - first->weight : 0;
    queue->count--;
    while (last->next && last->next->weight <= room) {
        last = last->next;
        room -= last->weight;
        queue->count--;
    }
    queue->first = last->next;
    if (!queue->first)
        queue->last = NULL;
    last->next = NULL;
    return first;
}

struct queue_node *queue_take(struct queue *queue, size_t weight_max, int timeout_ms, bool *ret_closed)
{
    pthread_mutex_lock(&queue->lock);
    wait_filled_locked(queue, timeout_ms);
    struct queue_node *list = take_locked(queue, weight_max);
    if (ret_closed)
        *ret_closed = !list && queue->closed;
    pthread_mutex_unlock(&queue->lock);
    return list;
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_count(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t count = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}
