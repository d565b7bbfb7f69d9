/* completions.c: finished requests on their way back to the thread that owns them.
 *
 * Role:    a stack with an atomic head: posting is one compare-and-swap and never waits; taking empties the stack with
 *          one exchange and turns it round, so that the oldest comes first.
 * Thread:  post any; take, fd and destroy the owner. The owner joins the posting threads before it destroys the list.
 * Owner:   a posted node belongs to the list until completions_take returns it.
 *
 * Wake-up: only the post that finds the stack empty writes the eventfd: one system call for any number of nodes.
 *          The owner clears the eventfd first and takes afterwards. A node posted in between is taken at once and leaves
 *          a wake-up for nothing; the other way round it would be left lying without one. */
#include "base/check.h"
#include "base/queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct completions {
    struct queue_node *_Atomic newest;
    int fd;
};

struct completions *completions_create(void)
{
    struct completions *list = malloc(sizeof(*list));
    if (!list)
        return NULL;
    atomic_init(&list->newest, NULL);
    list->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (list->fd < 0) {
        free(list);
        return NULL;
    }
    return list;
}

void completions_destroy(struct completions *list)
{
    if (!list)
        return;
    CHECK(atomic_load(&list->newest) == NULL);
    close(list->fd);
    free(list);
}

int completions_fd(const struct completions *list)
{
    return list->fd;
}

void completions_post(struct completions *list, struct queue_node *node)
{
    struct queue_node *older = atomic_load_explicit(&list->newest, memory_order_relaxed);
    do
        node->next = older;
    while (!atomic_compare_exchange_weak_explicit(&list->newest, &older, node, memory_order_release,
                                                  memory_order_relaxed));
    /* From here on the node may be gone. `older` is only compared, never followed. */
    if (older)
        return;
    uint64_t one = 1;
    ssize_t written;
    do
        written = write(list->fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
    CHECK(written == (ssize_t)sizeof(one) ||
          errno == EAGAIN); /* EAGAIN: the counter is full, so it is readable */
}

struct queue_node *completions_take(struct completions *list)
{
    uint64_t wakeups;
    ssize_t got;
    do
        got = read(list->fd, &wakeups, sizeof(wakeups));
    while (got < 0 && errno == EINTR);

    struct queue_node *newest = atomic_exchange_explicit(&list->newest, NULL, memory_order_acquire);
    struct queue_node *oldest_first = NULL;
    while (newest) {
        struct queue_node *older = newest->next;
        newest->next = oldest_first;
        oldest_first = newest;
        newest = older;
    }
    return oldest_first;
}
