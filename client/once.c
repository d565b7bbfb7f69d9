/* once.c: the next event as a future: events.once. See crier/iterator.h.
 *
 * Role:     a listener for one event, whose handler settles a future; canceling that ends the listener.
 * Thread:   once_on_event, once_on_released: where handlers run; the rest any. One lock, for who the listener is.
 * Owner:    its state is the future's extra memory; the listener has a reference until it is released.
 *
 * Happy path:  crier_once_future -> crier_listen -> once_on_event: a copy -> future_settle -> once_on_released
 * Failures:    no memory for the copy: CRIER_ENOMEM. The listener ends before: with its code, or CRIER_ECLOSED. */
#include "crier/iterator.h"

#include "client/event_copy.h"
#include "client/future_internal.h"
#include "client/handles.h"
#include "client/listener_hold.h"
#include "client/struct_size.h"

#include <stdlib.h>

void listener_unlisten(pthread_mutex_t *lock, crier_listener **listener)
{
    crier *bus = NULL;
    unsigned before;

    pthread_mutex_lock(lock);
    if (*listener)
        bus = engine_listener_bus(*listener);
    pthread_mutex_unlock(lock);
    if (!bus)
        return;
    before = listener_hold(bus, lock);
    if (*listener)
        crier_unlisten(*listener);
    listener_let_go(bus, lock, before);
}

struct once {
    pthread_mutex_t lock;
    crier_listener *listener; /* NULL: released */
};

struct once_event {
    struct event_copy copy;
    unsigned char bytes[];
};

static int once_on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct future *future = ctx;
    struct once_event *kept = malloc(sizeof(*kept) + event_copy_size(event));

    (void)bus;
    if (!kept) {
        future_settle(future, &(struct future_result){.code = CRIER_ENOMEM}, NULL);
        return 0;
    }
    event_copy_fill(&kept->copy, kept->bytes, event);
    future_settle(future,
                  &(struct future_result){
                      .number = event->offset, .pointer = &kept->copy.event, .size = sizeof(crier_event)},
                  free); /* the event is the block's first */
    return 0;
}

static void once_on_released(void *ctx, int code, const char *text)
{
    struct future *future = ctx;
    struct once *once = future_extra(future);

    (void)text;
    pthread_mutex_lock(&once->lock);
    once->listener = NULL;
    pthread_mutex_unlock(&once->lock);
    future_settle(future, &(struct future_result){.code = code < 0 ? code : CRIER_ECLOSED}, NULL);
    future_release(future);
}

static void once_cancel(struct future *future)
{
    struct once *once = future_extra(future);

    listener_unlisten(&once->lock, &once->listener);
}

static void once_finish(struct future *future)
{
    pthread_mutex_destroy(&((struct once *)future_extra(future))->lock);
}

int crier_once_future(crier *bus, const char *topic, const struct crier_listen_options *options,
                      crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    struct crier_listen_options copy = crier_listen_options_default();
    struct future *future;
    struct once *once;
    unsigned before;
    int rc;

    if (!bus || !ret_future || !struct_take(&copy, sizeof(copy), options) || copy.count || copy.released ||
        copy.pool)
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    if (!(future = future_create(bus->agenda, sizeof(*once))))
        return agenda_is_closed(bus->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    once = future_extra(future);
    pthread_mutex_init(&once->lock, NULL);
    future_on_free(future, once_finish);
    copy.count = 1;
    copy.released = once_on_released;
    future_retain(future);
    before =
        listener_hold(bus, &once->lock); /* who is released meanwhile waits until the listener is known */
    rc = crier_listen(bus, topic, &copy, once_on_event, future, &once->listener);
    listener_let_go(bus, &once->lock, before);
    if (rc < 0) {
        future_cancel(future);
        future_release(future);
        future_release(future);
        return rc;
    }
    future_on_cancel(future, once_cancel);
    *ret_future = future_public(future);
    return 0;
}
