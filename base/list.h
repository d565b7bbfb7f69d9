/* list.h: circular doubly-linked lists threaded through the structs they hold: no allocation, removal in O(1).
 *
 * A `struct list` is a head, or the place inside a struct by which it is in at most one list; unlinked it points at
 * itself. Thread: the list's owner's. */
#ifndef CRIER_BASE_LIST_H
#define CRIER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->next = list->previous = list;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next != link;
}

static inline void list_insert_before(struct list *place, struct list *link)
{
    link->next = place;
    link->previous = place->previous;
    place->previous->next = link;
    place->previous = link;
}

static inline void list_append(struct list *head, struct list *link)
{
    list_insert_before(head, link);
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_insert_before(head->next, link);
}

/* Of a link that is in no list: nothing happens. */
static inline void list_remove(struct list *link)
{
    link->next->previous = link->previous;
    link->previous->next = link->next;
    list_init(link);
}

/* The first link, removed; NULL: the list is empty. */
static inline struct list *list_take(struct list *head)
{
    struct list *first = head->next;

    if (first == head)
        return NULL;
    head->next = first->next;
    head->next->previous = head;
    list_init(first);
    return first;
}

/* Moves everything from one list to the end of another. */
static inline void list_move_all(struct list *from, struct list *to)
{
    if (list_is_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

#endif
