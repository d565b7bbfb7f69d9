/* engine_dispatch.c: events from DELIVER frames to handlers, and credit back.
 *
 * Role:     DELIVER frames are queued with a reference to the buffer they arrived in, and walked there: a batch is
 *           checked (CRC) and its events handed out in place, a few at a time, so that a slow handler does not keep the
 *           socket from being read. Credit returns when handlers are through, so it bounds what waits here.
 * Thread:   the I/O thread.
 * Owns:     struct delivery; engine.walk, the place in the batch that is being handed out.
 *
 * Happy path:  listen_deliver -> engine_dispatch -> batch_begin -> event_run ... -> delivery_end -> CREDIT
 * Failures:    a handler fails: an "error" event; with nobody there, its listener stops before that event. A batch with
 *              a wrong CRC: the connection is dropped and the batch asked for again; wrong a second time, the listener
 *              ends with CRIER_ECORRUPT. */
#include "client/atomic.h"
#include "client/engine_internal.h"

#include "base/check.h"
#include "client/event_internal.h"
#include "client/leased.h"
#include "proto/error.h"

#include <stdlib.h>
#include <string.h>

#define UNCOMPRESSED_SIZE_MAX (64u * 1024 * 1024) /* of one batch */
#define CREDIT_STEPS          4                   /* credit is told when a quarter of it has been handled */

/* ---- in ---- */

static void delivery_free(struct delivery *delivery)
{
    buffer_unref(delivery->buffer);
    free(delivery->ranges);
    free(delivery);
}

/* NULL: the connection is failed. */
static struct delivery *delivery_make(struct engine *engine, struct crier_listener *listener,
                                      struct listen_partition *partition, const Wire__Deliver *deliver,
                                      const struct frame *frame)
{
    struct delivery *delivery = malloc(sizeof(*delivery));

    if (!delivery) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for a delivery");
        return NULL;
    }
    *delivery = (struct delivery){.listener = listener,
                                  .partition = partition,
                                  .credit = frame->attachment_size,
                                  .skip_to = deliver->skip_to};
    list_init(&delivery->link);
    if (!listener->shared) {
        delivery->buffer = buffer_ref(engine->input.buffer);
        delivery->data = frame->attachment;
        delivery->size = frame->attachment_size;
        return delivery;
    }
    if ((delivery->ranges = leased_ranges_make(engine, deliver)) &&
        leased_arrived(engine, delivery, frame, deliver->held)) {
        settle_waits(engine, listener);
        return delivery;
    }
    delivery_free(delivery);
    return NULL;
}

void listen_deliver(struct engine *engine, const Wire__Deliver *deliver, const struct frame *frame)
{
    struct crier_listener *listener = listen_find(engine, deliver->listener);
    struct listen_partition *partition;
    struct delivery *delivery;

    if (!listener || listener->state == LISTENER_ENDING || listener->state == LISTENER_RESTARTING ||
        listener->restart_wanted || listener->stopped)
        return; /* it was sent before the broker heard of the end */
    partition = listen_partition_find(listener, deliver->partition);
    if (listener->state != LISTENER_LIVE || !partition || (!listener->shared && deliver->n_ranges > 0)) {
        engine_fail(engine, CRIER_EPROTO, "a delivery that was not asked for");
        return;
    }
    if (frame->attachment_size > 0 && listener->credit_received >= listener->credit_told) {
        engine_fail(engine, CRIER_EPROTO, "a delivery beyond the credit of %s", listener->topic);
        return;
    }
    if (!(delivery = delivery_make(engine, listener, partition, deliver, frame)))
        return;
    if (deliver->high_watermark > partition->high_watermark)
        partition->high_watermark = deliver->high_watermark;
    listener->credit_received += frame->attachment_size;
    if (deliver->dropped)
        atomic_store_explicit(&listener->dropped, listener->dropped_before + deliver->dropped,
                              memory_order_relaxed);
    list_append(&engine->deliveries, &delivery->link);
    partitions_lag_update(listener);
}

static void walk_end(struct engine *engine)
{
    if (engine->walking)
        batch_iterator_finish(&engine->walk);
    engine->walking = false;
}

/* Nobody is to see more of it; its credit goes nowhere. */
static void delivery_let_go(struct engine *engine, struct delivery *delivery)
{
    list_remove(&delivery->link);
    delivery->listener = NULL;
    if (delivery->taken > 0)
        list_append(&engine->held, &delivery->link);
    else
        delivery_free(delivery);
}

static void list_let_go(struct engine *engine, struct list *list)
{
    while (!list_is_empty(list))
        delivery_let_go(engine, LIST_ENTRY(list->next, struct delivery, link));
}

static void list_forget(struct list *list, const struct crier_listener *listener)
{
    for (struct list *link = list->next; link != list; link = link->next) {
        struct delivery *delivery = LIST_ENTRY(link, struct delivery, link);
        if (!listener || delivery->listener == listener)
            delivery->listener = NULL; /* a handler may be standing in it */
    }
}

/* But for shared groups', whose leases go on. */
static void list_forget_plain(struct list *list)
{
    for (struct list *link = list->next; link != list; link = link->next) {
        struct delivery *delivery = LIST_ENTRY(link, struct delivery, link);
        if (delivery->listener && delivery->listener->shared)
            delivery->credit = 0;
        else
            delivery->listener = NULL;
    }
}

/* Where they are dropped, or parked again: before what came later, behind the one that is being walked. */
static void parked_return(struct engine *engine)
{
    struct list *place = engine->walking ? engine->deliveries.next->next : engine->deliveries.next;
    struct list *link;

    while ((link = list_take(&engine->parked)))
        list_insert_before(place, link);
}

void deliveries_forget(struct engine *engine, const struct crier_listener *listener)
{
    list_forget(&engine->held, listener);
    if (listener) {
        list_forget(&engine->deliveries, listener);
        list_forget(&engine->parked, listener);
        parked_return(engine);
        return;
    }
    walk_end(engine);
    list_let_go(engine, &engine->deliveries);
    list_let_go(engine, &engine->parked);
}

static void list_disconnected(struct engine *engine, struct list *list)
{
    for (struct list *link = list->next, *next; link != list; link = next) {
        struct delivery *delivery = LIST_ENTRY(link, struct delivery, link);
        next = link->next;
        if (!delivery->listener || !delivery->listener->shared || delivery->listener->state != LISTENER_LIVE)
            delivery_let_go(engine, delivery);
        else
            delivery->credit = 0; /* of the connection before */
    }
}

void deliveries_disconnected(struct engine *engine)
{
    list_forget_plain(&engine->held);
    walk_end(engine);
    list_disconnected(engine, &engine->deliveries);
    list_disconnected(engine, &engine->parked);
}

void deliveries_finish(struct engine *engine)
{
    struct list *link;

    deliveries_forget(engine, NULL);
    while ((link = list_take(&engine->held)))
        delivery_free(LIST_ENTRY(link, struct delivery, link));
}

/* ---- credit ---- */

static void credit_return(struct engine *engine, struct crier_listener *listener, size_t size)
{
    Wire__Credit credit = WIRE__CREDIT__INIT;
    uint64_t total;

    listener->credit_handled += size;
    total = listener->credit_handled + listener->credit;
    if (total - listener->credit_told < listener->credit / CREDIT_STEPS || listener->state != LISTENER_LIVE)
        return;
    listener->credit_told = total;
    credit.listener = listener->id;
    credit.total = total;
    engine_send(engine, FRAME_CREDIT, &credit.base);
}

/* The first delivery is through. */
static void delivery_end(struct engine *engine)
{
    CHECK(!list_is_empty(&engine->deliveries));
    struct delivery *delivery = LIST_ENTRY(engine->deliveries.next, struct delivery, link);
    struct crier_listener *listener = delivery->listener;

    list_remove(&delivery->link);
    walk_end(engine);
    if (delivery->taken > 0) {
        list_append(&engine->held, &delivery->link);
        return;
    }
    if (listener) {
        credit_return(engine, listener, delivery->credit);
        position_moved(engine, listener);
        partitions_lag_update(listener);
    }
    delivery_free(delivery);
}

static bool delivery_is_walked(const struct engine *engine, const struct delivery *delivery)
{
    for (struct list *link = engine->held.next; link != &engine->held; link = link->next)
        if (link == &delivery->link)
            return true;
    return false;
}

void delivery_taken_done(struct engine *engine, struct delivery *delivery)
{
    struct crier_listener *listener = delivery->listener;

    if (--delivery->taken > 0 || !delivery_is_walked(engine, delivery))
        return;
    list_remove(&delivery->link);
    if (listener) {
        credit_return(engine, listener, delivery->credit);
        partitions_lag_update(listener);
    }
    delivery_free(delivery);
}

static void list_drop(struct engine *engine, struct list *list, const struct listen_partition *partition)
{
    for (struct list *link = list->next, *next; link != list; link = next) {
        struct delivery *delivery = LIST_ENTRY(link, struct delivery, link);
        next = link->next;
        if (!delivery->listener || delivery->partition != partition)
            continue;
        if (link == engine->deliveries.next)
            walk_end(engine);
        credit_return(engine, delivery->listener, delivery->credit);
        delivery_let_go(engine, delivery);
    }
}

void deliveries_drop(struct engine *engine, const struct listen_partition *partition)
{
    list_drop(engine, &engine->deliveries, partition);
    list_drop(engine, &engine->parked, partition);
}

/* ---- handlers ---- */

void engine_called(const struct engine *engine, const struct crier_listener *listener,
                   const crier_event *event)
{
    if (__builtin_expect(engine->called != NULL, 0))
        engine->called(engine->ops_ctx, event->topic, listener->handler);
}

/* Calls the listeners of a local topic. A once listener that goes is the only one that leaves the list meanwhile. */
static bool local_tell(struct engine *engine, const crier_event *event)
{
    bool heard = false;

    for (struct list *link = engine->local_listeners.next, *next; link != &engine->local_listeners;
         link = next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        next = link->next;
        if (listener->stopped || strcmp(listener->topic, event->topic) != 0)
            continue;
        heard = true;
        if (listener->count != UINT64_MAX && --listener->count == 0)
            engine_listener_stop(listener);
        if (listener->handler(listener->bus, event, listener->ctx) < 0 && engine->error == 0)
            engine->error = CRIER_EHANDLER;
        engine_called(engine, listener, event);
        atomic_fetch_add_explicit(&listener->delivered, 1, memory_order_relaxed);
        if (listener->count == 0)
            listen_finish_one(engine, listener, 0, "");
    }
    return heard;
}

void engine_tell(struct engine *engine, const crier_event *event)
{
    (void)local_tell(engine, event);
}

void engine_emit_error(struct engine *engine, const crier_event *event)
{
    crier_event copy = *event;

    copy.topic = CRIER_ERROR_MONITOR;
    (void)local_tell(engine, &copy);
    if (!local_tell(engine, event) && engine->error == 0)
        engine->error = event->error;
}

bool listen_tell_error(struct engine *engine, int code, const char *text)
{
    crier_event event = {
        .topic = CRIER_ERROR_MONITOR, .value = text, .value_size = strlen(text), .error = code};

    (void)local_tell(engine, &event);
    event.topic = "error";
    return local_tell(engine, &event);
}

static bool error_is_heard(const struct engine *engine)
{
    for (struct list *link = engine->local_listeners.next; link != &engine->local_listeners;
         link = link->next)
        if (strcmp(LIST_ENTRY(link, struct crier_listener, link)->topic, "error") == 0)
            return true;
    return false;
}

bool failure_tell(struct engine *engine, const crier_event *event, int rc)
{
    bool heard = error_is_heard(engine);

    engine_error(engine, CRIER_EHANDLER, "a handler of %s returned %d for partition %u offset %llu",
                 event->topic, rc, event->partition, (unsigned long long)event->offset);
    return heard;
}

bool engine_divert(struct engine *engine, struct delivery *delivery, const crier_event *event)
{
    struct crier_listener *listener = delivery->listener;

    engine->handing = delivery;
    engine->handing_offset = event->offset;
    engine->handing_attempt = event->attempt;
    engine->handed_away = false;
    listener->divert(listener->bus, event, listener->divert_ctx);
    engine->handing = NULL;
    CHECK(engine->handed_away || listener->paused);
    return engine->handed_away;
}

/* The same, of a batch that is walked. false: the listener is done (and may be gone), or paused. */
static bool event_divert(struct engine *engine, struct delivery *delivery, const crier_event *event)
{
    struct crier_listener *listener = delivery->listener;

    if (!engine_divert(engine, delivery, event)) {
        walk_end(engine); /* it is begun again from `next`, with this event */
        return false;
    }
    delivery->partition->next = event->offset + 1;
    if (listener->count != UINT64_MAX && --listener->count == 0) {
        taken_was_the_last(listener);
        return false;
    }
    return true;
}

/* Hands one event to its handler. false: the listener is done (and may be gone). */
static bool event_run(struct engine *engine, struct crier_listener *listener,
                      struct listen_partition *partition, const crier_event *event)
{
    int rc = listener->handler(listener->bus, event, listener->ctx);

    engine_called(engine, listener, event);
    atomic_store_explicit(&listener->delivered,
                          atomic_load_explicit(&listener->delivered, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    engine->delivered++;
    if (__builtin_expect(rc < 0, 0)) {
        atomic_fetch_add_explicit(&listener->failed, 1, memory_order_relaxed);
        if (!failure_tell(engine, event, rc)) {
            listen_finish_one(engine, listener, CRIER_EHANDLER,
                              "its handler failed, and nobody listens to \"error\"");
            return false;
        }
        if (listener->commits_atomically) { /* the next emit would count it as handled */
            consumed_handler_failed(engine, listener);
            return false;
        }
    }
    partition->next = event->offset + 1;
    if (listener->count != UINT64_MAX && --listener->count == 0) {
        listen_finish_one(engine, listener, 0, "");
        return false;
    }
    return true;
}

/* ---- batches ---- */

static void batch_is_corrupt(struct engine *engine, struct delivery *delivery, const char *what)
{
    struct crier_listener *listener = delivery->listener;
    uint64_t offset = delivery->partition->next;

    if (listener->corrupt_offset == offset) { /* not the network: it is like that in the log */
        listen_finish_one(engine, listener, CRIER_ECORRUPT, "an event in the log is damaged");
        return;
    }
    listener->corrupt_offset = offset;
    engine_fail(engine, CRIER_ECORRUPT, "%s arrived damaged (%s) at offset %llu: asking again",
                delivery->partition->topic, what, (unsigned long long)offset);
}

/* Begins the next batch of the delivery that has something for the listener. false: there is none, or it is broken. */
static bool batch_begin(struct engine *engine, struct delivery *delivery)
{
    struct batch_header header;
    int64_t size;
    int rc;

    while (delivery->size > 0) {
        size = batch_header_decode(delivery->data, delivery->size, &header);
        if (size <= 0 || !batch_crc_matches(delivery->data, (size_t)size)) {
            batch_is_corrupt(engine, delivery, "checksum");
            return false;
        }
        if ((uint64_t)header.base_offset + (uint64_t)header.last_offset_delta >= delivery->partition->next) {
            rc = batch_iterator_init(&engine->walk, delivery->data, (size_t)size, UNCOMPRESSED_SIZE_MAX);
            if (rc == CRIER_ENOMEM)
                engine_fail(engine, CRIER_ENOMEM, "out of memory to decompress a batch");
            else if (rc < 0)
                batch_is_corrupt(engine, delivery, "compression");
            engine->walking = rc == 0;
            engine->walk_size = (size_t)size;
            return rc == 0;
        }
        delivery->data += size; /* handled before the reconnect */
        delivery->size -= (size_t)size;
    }
    return false;
}

/* The batch is through: offsets may have gaps, so its header says where the next begins. */
static void batch_done(struct engine *engine, struct delivery *delivery)
{
    const struct batch_header *header = &engine->walk.header;
    uint64_t after = (uint64_t)header->base_offset + (uint64_t)header->last_offset_delta + 1;

    if (after > delivery->partition->next)
        delivery->partition->next = after;
    delivery->listener->corrupt_offset = UINT64_MAX;
    delivery->data += engine->walk_size;
    delivery->size -= engine->walk_size;
    walk_end(engine);
}

static void skip_gap(struct engine *engine, struct delivery *delivery)
{
    struct listen_partition *partition = delivery->partition;

    if (delivery->skip_to <= partition->next)
        return;
    engine_error(engine, CRIER_ELIMIT,
                 "%s: the events %llu to %llu are gone before they were heard (retention)", partition->topic,
                 (unsigned long long)partition->next, (unsigned long long)delivery->skip_to - 1);
    atomic_fetch_add_explicit(&engine->skipped, delivery->skip_to - partition->next, memory_order_relaxed);
    partition->next = delivery->skip_to;
}

bool engine_is_to_yield(const struct engine *engine)
{
    return engine->yields_to && atomic_load_explicit(engine->yields_to, memory_order_relaxed);
}

/* Hands out up to `events_max` events of the batch that is being walked. Returns how many. *ret_done: the batch is
 * through, or there is no more to be done for its listener. */
static size_t batch_run(struct engine *engine, struct delivery *delivery, size_t events_max, bool *ret_done)
{
    struct crier_listener *listener = delivery->listener;
    struct listen_partition *partition = delivery->partition;
    struct batch_record record;
    crier_event event = {.topic = partition->topic,
                         .partition = partition->index,
                         .assignment = partition->assignment,
                         .high_watermark = partition->high_watermark,
                         .internal = &record};
    size_t ran = 0;
    int rc;

    *ret_done = true;
    while (!atomic_load_explicit(&listener->stopped, memory_order_relaxed)) {
        if (ran == events_max || (ran > 0 && engine_is_to_yield(engine))) {
            *ret_done = false;
            return ran;
        }
        if ((rc = batch_iterator_next(&engine->walk, &record)) <= 0) {
            if (rc < 0)
                batch_is_corrupt(engine, delivery, "format");
            else
                batch_done(engine, delivery);
            return ran;
        }
        if ((uint64_t)record.offset < partition->next)
            continue;
        event_fill(&event, &record);
        ran++;
        if (listener->divert ? !event_divert(engine, delivery, &event)
                             : !event_run(engine, listener, partition, &event))
            return ran;
    }
    return ran;
}

size_t engine_dispatch(struct engine *engine, size_t events_max, int64_t now_us)
{
    size_t ran = 0;
    bool done;

    engine->now = now_us;
    while (ran < events_max && !engine->broken && !list_is_empty(&engine->deliveries) &&
           (ran == 0 || !engine_is_to_yield(engine))) {
        struct delivery *delivery = LIST_ENTRY(engine->deliveries.next, struct delivery, link);
        if (delivery->listener)
            consumed_pause(engine, delivery->listener);
        if (delivery->listener && delivery->listener->paused && !delivery->listener->stopped) {
            walk_end(engine);
            list_remove(&delivery->link);
            list_append(&engine->parked, &delivery->link);
            continue;
        }
        done = !delivery->listener || delivery->listener->stopped;
        if (!done && delivery->ranges) {
            ran += leased_run(engine, delivery, events_max - ran, &done);
            if (done && !engine->broken)
                delivery_end(engine);
            continue;
        }
        if (!done && !engine->walking) {
            skip_gap(engine, delivery);
            done = !batch_begin(engine, delivery);
        }
        if (!done) {
            ran += batch_run(engine, delivery, events_max - ran, &done);
            done = done && (!delivery->listener || delivery->size == 0);
        }
        if (done && !engine->broken)
            delivery_end(engine);
    }
    engine_settle(engine);
    return ran;
}

bool engine_dispatch_pending(const struct engine *engine)
{
    return !list_is_empty(&engine->deliveries);
}

void engine_dispatch_yields_to(struct engine *engine, const atomic_bool *flag)
{
    engine->yields_to = flag;
}

void engine_watch(struct engine *engine, void (*called)(void *ctx, const char *topic, crier_handler *handler))
{
    engine->called = called;
}

void engine_tell_error(struct engine *engine, int code, const char *text)
{
    engine_error(engine, code, "%s", text);
}
