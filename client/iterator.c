/* iterator.c: events by asking: events.on. See crier/iterator.h; events.once is once.c.
 *
 * Role:     an iterator has its listener's events diverted into a queue between two marks; they are out of the engine
 *           (engine_taken.c) until the reader has asked for the next, or gives them back.
 * Thread:   on_event, on_released, on_stopping, item_run, resume_run: the I/O thread; the rest any. One lock, never held over a
 *           call of the bus or of a future.
 *           On a bus of local: the emitter's lock is taken before that one, and items go back to nobody.
 * Owner:    an iterator has two references, the user's and its listener's; an item two, the engine's and its future's.
 *
 * Happy path:  engine_dispatch -> on_event: queued, or given to who waits -> crier_iterator_next: the next is given, the
 *              one before goes back: agenda (immediates) -> item_run: engine_taken_done -> position, credit
 * Failures:    no memory for a copy: paused for a turn. The listener is to end: everything is given back, not handled. Who asked has
 *              canceled meanwhile: the next in line gets the event, or it waits in front. */
#include "crier/iterator.h"

#include "base/check.h"
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/event_copy.h"
#include "client/future_internal.h"
#include "client/handles.h"
#include "client/listener_hold.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdlib.h>
#include <string.h>

struct item {
    struct engine_taken taken;
    struct task task; /* back to the engine, with rc */
    struct list link; /* iterator.queue or .given */
    atomic_uint references;
    crier *bus;
    bool of_emitter; /* the bus is one of local: */
    int rc;
    struct event_copy copy;
    unsigned char bytes[];
};

struct crier_iterator {
    crier *bus;            /* gone once the agenda is closed */
    struct agenda *agenda; /* the bus's, retained: the reader may ask after crier_close() */
    atomic_uint references;
    uint32_t high, low;
    struct future *guard; /* canceled by the abort signal; NULL: none */
    pthread_mutex_t lock;
    crier_listener *listener; /* NULL: released */
    struct list queue;        /* items nobody has asked for */
    struct list given;        /* items in the reader's hands */
    struct item *giving;      /* one on its way there, in no list; NULL: none */
    bool giving_asked;        /* and the next one was asked for meanwhile */
    uint32_t queued;
    struct list waiting; /* struct wait: asked for, and not there */
    bool paused;         /* the engine is to be told when there is room */
    bool resuming;       /* `resume` is on its way, with a reference */
    struct task resume;
    uint64_t
        left; /* events to come, counted here: its listener would end, and give back what waits; UINT64_MAX: no limit */
    bool ended; /* nothing more comes: */
    int end_code;
};

/* In the extra memory of a future of crier_iterator_next(). */
struct wait {
    struct list link;
    crier_iterator *iterator; /* a reference */
};

static void iterator_release(crier_iterator *iterator)
{
    if (atomic_fetch_sub(&iterator->references, 1) > 1)
        return;
    CHECK(list_is_empty(&iterator->queue) && list_is_empty(&iterator->waiting));
    pthread_mutex_destroy(&iterator->lock);
    agenda_release(iterator->agenda);
    free(iterator);
}

/* ---- items ---- */

static void item_unref(struct item *item)
{
    if (atomic_fetch_sub(&item->references, 1) == 1)
        free(item);
}

static void item_released(struct engine_taken *taken)
{
    item_unref(LIST_ENTRY(taken, struct item, taken));
}

static void item_forgotten(void *event)
{
    item_unref(LIST_ENTRY(event, struct item, copy.event));
}

static void item_run(struct task *task, bool dropped)
{
    struct item *item = LIST_ENTRY(task, struct item, task);

    if (dropped)
        item_unref(item); /* the engine is gone, with its reference */
    else
        engine_taken_done(item->bus->engine, &item->taken, item->rc);
}

/* Back to the engine: all of a list that is nobody's else. */
static void items_return(struct list *items, int rc)
{
    struct list *link;

    while ((link = list_take(items))) {
        struct item *item = LIST_ENTRY(link, struct item, link);
        if (item->of_emitter) { /* it is nobody's else, and its bus may be closed */
            item_unref(item);
            continue;
        }
        item->rc = rc;
        agenda_add(item->bus->agenda, AGENDA_IMMEDIATE, &item->task);
    }
}

/* false: it was canceled. */
static bool give(struct future *future, struct item *item)
{
    bool given;

    atomic_fetch_add(&item->references, 1);
    given = future_settle(future,
                          &(struct future_result){.number = item->copy.event.offset,
                                                  .pointer = &item->copy.event,
                                                  .size = sizeof(crier_event)},
                          item_forgotten);
    future_release(future);
    return given;
}

/* ---- the end: of the listener, by the reader, by the signal ---- */

static void waiting_end(struct list *waiting, int code)
{
    struct list *link;

    while ((link = list_take(waiting))) {
        struct future *future = future_of_extra(LIST_ENTRY(link, struct wait, link));
        future_settle(future, &(struct future_result){.code = code}, NULL);
        future_release(future);
    }
}

/* Nothing more comes; what is here goes back. code: for who asks from now on. */
static void iterator_end(crier_iterator *iterator, int code, bool given_too)
{
    struct list items, waiting;

    list_init(&items);
    list_init(&waiting);
    pthread_mutex_lock(&iterator->lock);
    if (!iterator->ended) {
        iterator->ended = true;
        iterator->end_code = code;
    }
    list_move_all(&iterator->queue, &items);
    iterator->queued = 0;
    if (given_too)
        list_move_all(&iterator->given, &items);
    if (given_too && iterator->giving)
        list_append(&items, &iterator->giving->link);
    if (given_too)
        iterator->giving = NULL;
    list_move_all(&iterator->waiting, &waiting);
    code = iterator->end_code;
    pthread_mutex_unlock(&iterator->lock);
    items_return(&items, ENGINE_NOT_HANDLED);
    waiting_end(&waiting, code);
}

static void on_released(void *ctx, int code, const char *text)
{
    crier_iterator *iterator = ctx;
    struct future *guard;

    (void)text;
    iterator_end(iterator, code, true);
    pthread_mutex_lock(&iterator->lock);
    iterator->listener = NULL;
    guard = iterator->guard;
    iterator->guard = NULL;
    pthread_mutex_unlock(&iterator->lock);
    if (guard)
        future_settle(guard, &(struct future_result){0}, NULL);
    future_release(guard);
    iterator_release(iterator);
}

/* The engine waits for what is out. Inside an engine call: nothing but tasks. */
static void on_stopping(void *ctx)
{
    iterator_end(ctx, 0, true);
}

static void unlisten(crier_iterator *iterator)
{
    listener_unlisten(&iterator->lock, &iterator->listener);
}

static void guard_canceled(struct future *guard)
{
    crier_iterator *iterator = *(crier_iterator **)future_extra(guard);

    iterator_end(iterator, CRIER_ECANCELED, false);
    unlisten(iterator);
}

static void guard_freed(struct future *guard)
{
    iterator_release(*(crier_iterator **)future_extra(guard));
}

void crier_iterator_close(crier_iterator *iterator)
{
    handle_check(&iterator_handles, iterator);
    if (!iterator)
        return;
    handle_freed(&iterator_handles, iterator); /* the program's: it may live on for a while */
    iterator_end(iterator, 0, true);
    unlisten(iterator);
    iterator_release(iterator);
}

/* ---- events in ---- */

static void resume_run(struct task *task, bool dropped)
{
    crier_iterator *iterator = LIST_ENTRY(task, crier_iterator, resume);
    crier_listener *listener;

    pthread_mutex_lock(&iterator->lock);
    iterator->resuming = iterator->paused = false;
    listener = iterator->listener;
    pthread_mutex_unlock(&iterator->lock);
    if (!dropped && listener && iterator->bus->emitter)
        emitter_room_made(iterator->bus);
    else if (!dropped && listener) /* it is released on this thread alone */
        engine_resume(iterator->bus->engine, listener);
    iterator_release(iterator);
}

/* With the lock: is resume_run to be added? */
static bool resume_locked(crier_iterator *iterator)
{
    if (!iterator->paused || iterator->resuming || iterator->queued > iterator->low || iterator->left == 0)
        return false;
    iterator->resuming = true;
    atomic_fetch_add(&iterator->references, 1);
    return true;
}

static struct item *item_make(crier_iterator *iterator, const crier_event *event)
{
    struct item *item = calloc(1, sizeof(*item) + event_copy_size(event));

    if (!item)
        return NULL;
    item->taken.release = item_released;
    item->task.run = item_run;
    item->bus = iterator->bus;
    item->of_emitter = iterator->bus->emitter != NULL;
    atomic_init(&item->references, 1);
    list_init(&item->task.link);
    list_init(&item->link);
    event_copy_fill(&item->copy, item->bytes, event);
    return item;
}

/* With the lock: the item is on its way to who is returned, or, NULL, waits. */
static struct list *item_put_locked(crier_iterator *iterator, struct item *item)
{
    struct list *waiting = list_take(&iterator->waiting);

    if (iterator->left != UINT64_MAX)
        iterator->left--;
    if (waiting)
        iterator->giving = item;
    else
        list_append(&iterator->queue, &item->link);
    iterator->queued += waiting == NULL;
    iterator->giving_asked = false;
    atomic_fetch_add(&item->references, 1); /* until it was given, by the caller */
    return waiting;
}

/* Who was to have it has canceled. Who is next; NULL: it waits, in front, or goes back. */
static struct list *item_take_back(crier_iterator *iterator, struct item *item)
{
    struct list *waiting = NULL, back;

    list_init(&back);
    pthread_mutex_lock(&iterator->lock);
    iterator->giving_asked = false;
    if (iterator->giving == item && !(waiting = list_take(&iterator->waiting))) {
        iterator->giving = NULL;
        if (iterator->ended)
            list_append(&back, &item->link);
        else
            list_prepend(&iterator->queue, &item->link);
        iterator->queued += !iterator->ended;
    }
    pthread_mutex_unlock(&iterator->lock);
    items_return(&back, ENGINE_NOT_HANDLED);
    return waiting;
}

static void item_hand_over(crier_iterator *iterator, struct item *item, struct list *waiting)
{
    struct list handled, rest;

    while (waiting && !give(future_of_extra(LIST_ENTRY(waiting, struct wait, link)), item))
        waiting = item_take_back(iterator, item);
    list_init(&handled);
    list_init(&rest);
    pthread_mutex_lock(&iterator->lock);
    if (iterator->giving == item) {
        list_append(iterator->giving_asked ? &handled : &iterator->given, &item->link);
        iterator->giving = NULL;
    }
    if (iterator->left == 0)
        list_move_all(&iterator->waiting, &rest); /* it was the last */
    pthread_mutex_unlock(&iterator->lock);
    items_return(&handled, 0);
    item_unref(item);
    waiting_end(&rest, 0);
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    crier_iterator *iterator = ctx;
    struct item *item = NULL;
    struct list *waiting = NULL;
    bool room, resume = false;

    pthread_mutex_lock(&iterator->lock);
    room = iterator->queued < iterator->high && !iterator->ended && iterator->left > 0;
    if (room && (item = item_make(iterator, event))) {
        waiting = item_put_locked(iterator, item);
    } else {
        iterator->paused = true;
        resume = room && resume_locked(iterator); /* no memory: once more in the next turn */
    }
    pthread_mutex_unlock(&iterator->lock);
    if (!item) {
        engine_pause(bus->engine);
        if (resume)
            agenda_add(bus->agenda, AGENDA_IMMEDIATE, &iterator->resume);
        return 0;
    }
    engine_take(bus->engine, &item->taken);
    item_hand_over(iterator, item, waiting);
    return 0;
}

/* ---- the same on a bus of local: there is room, which was asked for before ---- */

static bool has_room(void *ctx, size_t events)
{
    crier_iterator *iterator = ctx;
    bool room;

    pthread_mutex_lock(&iterator->lock);
    room = iterator->queued == 0 || iterator->queued + events <= iterator->high || iterator->ended ||
           iterator->left == 0;
    iterator->paused |= !room;
    pthread_mutex_unlock(&iterator->lock);
    return room;
}

/* No memory: it is a handler that failed. */
static int on_local_event(crier *bus, const crier_event *event, void *ctx)
{
    crier_iterator *iterator = ctx;
    struct item *item = NULL;
    struct list *waiting = NULL;
    bool ended;

    (void)bus;
    pthread_mutex_lock(&iterator->lock);
    ended = iterator->ended || iterator->left == 0;
    if (!ended && (item = item_make(iterator, event)))
        waiting = item_put_locked(iterator, item);
    pthread_mutex_unlock(&iterator->lock);
    if (!item)
        return ended ? 0 : CRIER_ENOMEM;
    item_hand_over(iterator, item, waiting);
    return 0;
}

/* ---- the reader ---- */

static void next_canceled(struct future *future)
{
    struct wait *wait = future_extra(future);
    bool waits;

    pthread_mutex_lock(&wait->iterator->lock);
    waits = list_is_linked(&wait->link);
    list_remove(&wait->link);
    pthread_mutex_unlock(&wait->iterator->lock);
    if (waits)
        future_release(future); /* the line's */
}

static void next_freed(struct future *future)
{
    iterator_release(((struct wait *)future_extra(future))->iterator);
}

/* Two references: the caller's, and that of who settles it. NULL: no memory, or the agenda is closed. */
static struct future *next_create(crier_iterator *iterator)
{
    struct future *future = future_create(iterator->agenda, sizeof(struct wait));
    struct wait *wait;

    if (!future)
        return NULL;
    wait = future_extra(future);
    list_init(&wait->link);
    wait->iterator = iterator;
    atomic_fetch_add(&iterator->references, 1);
    future_on_cancel(future, next_canceled);
    future_on_free(future, next_freed);
    return future_retain(future);
}

int crier_iterator_next(crier_iterator *iterator, crier_future **ret_future)
{
    handle_check(&iterator_handles, iterator);
    struct future *future;
    struct item *item = NULL;
    struct list *link, handled;
    bool ended, resume, last = false;
    int code;

    if (!iterator || !ret_future)
        return CRIER_EINVAL;
    pthread_mutex_lock(&iterator->lock);
    ended = iterator->listener == NULL && agenda_is_closed(iterator->agenda);
    pthread_mutex_unlock(&iterator->lock);
    if (ended)
        return CRIER_ECLOSED;
    if (!(future = next_create(iterator)))
        return agenda_is_closed(iterator->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    list_init(&handled);
    pthread_mutex_lock(&iterator->lock);
    list_move_all(&iterator->given, &handled);
    iterator->giving_asked = true;
    if ((link = list_take(&iterator->queue))) {
        item = LIST_ENTRY(link, struct item, link);
        iterator->queued--;
        list_append(&iterator->given, link);
        atomic_fetch_add(&item->references, 1); /* until it was given, below */
    } else if (!iterator->ended && iterator->left == 0 && !iterator->giving) {
        iterator->ended = last = true; /* what was given is handled below, and then the listener ends */
        iterator->end_code = 0;
    } else if (!iterator->ended) {
        list_append(&iterator->waiting, &((struct wait *)future_extra(future))->link);
    }
    ended = !item && iterator->ended;
    code = iterator->end_code;
    resume = resume_locked(iterator);
    pthread_mutex_unlock(&iterator->lock);
    *ret_future = future_public(future);
    items_return(&handled, 0);
    if (resume)
        agenda_add(iterator->agenda, AGENDA_IMMEDIATE, &iterator->resume);
    if (item) {
        (void)give(future, item); /* nobody has it yet who could cancel it */
        item_unref(item);
    } else if (ended) {
        future_settle(future, &(struct future_result){.code = code}, NULL);
        future_release(future);
    }
    if (last)
        unlisten(iterator);
    return 0;
}

/* ---- making one ---- */

static struct future *guard_make(crier_iterator *iterator)
{
    struct future *guard = future_create(iterator->agenda, sizeof(crier_iterator *));

    if (!guard)
        return NULL;
    *(crier_iterator **)future_extra(guard) = iterator;
    atomic_fetch_add(&iterator->references, 1);
    future_on_cancel(guard, guard_canceled);
    future_on_free(guard, guard_freed);
    iterator->guard = guard;
    return guard;
}

static crier_iterator *iterator_make(crier *bus, const struct crier_iterator_options *options)
{
    crier_iterator *iterator = calloc(1, sizeof(*iterator));

    if (!iterator || pthread_mutex_init(&iterator->lock, NULL) != 0) {
        free(iterator);
        return NULL;
    }
    handle_made(&iterator_handles, iterator);
    iterator->bus = bus;
    iterator->agenda = agenda_retain(bus->agenda);
    iterator->high = options->high;
    iterator->low = options->low;
    iterator->resume.run = resume_run;
    atomic_init(&iterator->references, 1);
    list_init(&iterator->resume.link);
    list_init(&iterator->queue);
    list_init(&iterator->given);
    list_init(&iterator->waiting);
    return iterator;
}

int crier_iterate(crier *bus, const char *topic, const struct crier_iterator_options *options,
                  crier_iterator **ret_iterator)
{
    handle_check(&bus_handles, bus);
    struct crier_iterator_options copy = crier_iterator_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    crier_iterator *iterator;
    unsigned before;
    int rc;

    if (!bus || !ret_iterator || !struct_take(&copy, sizeof(copy), options) || copy.high == 0 ||
        copy.low >= copy.high || !struct_take(&listen, sizeof(listen), copy.listen) || listen.released ||
        listen.pool || topic_name_is_local(topic))
        return CRIER_EINVAL; /* what happens on this bus does not wait to be asked for */
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    if (!(iterator = iterator_make(bus, &copy)))
        return CRIER_ENOMEM;
    if (copy.signal && !guard_make(iterator)) {
        iterator_release(iterator);
        return agenda_is_closed(bus->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    }
    listen.released = on_released;
    iterator->left = listen.count ? listen.count : UINT64_MAX;
    listen.count = 0;
    atomic_fetch_add(&iterator->references, 1);
    before = listener_hold(bus, &iterator->lock);
    rc = bus->emitter
             ? emitter_bus_listen_bounded(bus, topic, &listen, on_local_event, has_room, iterator,
                                          &iterator->listener)
             : listener_listen(bus, topic, &listen, on_event, on_stopping, iterator, &iterator->listener);
    listener_let_go(bus, &iterator->lock, before);
    if (rc < 0) {
        struct future *guard = iterator->guard;
        iterator->guard = NULL;
        if (guard)
            future_settle(guard, &(struct future_result){0}, NULL);
        future_release(guard);
        iterator_release(iterator);
        iterator_release(iterator);
        return rc;
    }
    if (copy.signal)
        future_cancel_on(iterator->guard, (struct future *)copy.signal);
    *ret_iterator = iterator;
    return 0;
}
