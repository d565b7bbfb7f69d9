/* engine_settle.c: what a shared group's members tell of their events: ACK, NACK, EXTEND, and SETTLED back.
 *
 * Role:     gathers what handlers have done into as few frames as there can be: a turn of the loop, or however long the broker
 *           takes for those under way. Extends what waits here for its turn. Names what it has after a lost connection.
 * Thread:   the I/O thread.
 * Owns:     struct settlement, from settle_add until it is answered or its listener has ended.
 *
 * Happy path:  settle_add -> settle_send: ACK -> SETTLED -> freed
 * Failures:    an answer that may pass, or a lost connection: told again. Refused events are others' by now, and nobody is told.
 *              Another code: an "error" event; the leases run out, and the events come again. */
#include "client/leased.h"

#include "client/engine_internal.h"
#include "proto/error.h"

#include <stdlib.h>
#include <string.h>

#define UNANSWERED_MAX   8u              /* frames; what comes meanwhile gathers */
#define EVENTS_MAX       4096u           /* of a frame: the broker's limit */
#define LEASES_MAX       1500u           /* of a frame: its header has room for these */
#define RETRY_US         INT64_C(200000) /* until what was refused for now is told again, with jitter */
#define LEASE_MS_DEFAULT 30000           /* the broker's, when LISTEN names none */

static void settlement_free(struct settlement *settlement)
{
    free(settlement->leases);
    free(settlement);
}

/* ---- gathering ---- */

/* The settlement that takes this as well; NULL: none. */
static struct settlement *settlement_open(struct shared *shared, const struct shared_range *range,
                                          const struct shared_end *end)
{
    struct settlement *last =
        list_is_empty(&shared->unsent) ? NULL : LIST_ENTRY(shared->unsent.previous, struct settlement, link);

    if (!last || end->kind != FRAME_ACK || last->kind != FRAME_ACK ||
        last->events + range->count > EVENTS_MAX || last->count == LEASES_MAX)
        return NULL;
    return last;
}

static struct settlement *settlement_make(struct crier_listener *listener, const struct shared_end *end)
{
    struct settlement *settlement = calloc(1, sizeof(*settlement));

    if (!settlement)
        return NULL;
    settlement->listener = listener->id;
    settlement->kind = end->kind;
    settlement->delay_ms = end->delay_ms;
    settlement->reject = end->reject;
    settlement->lease_ms = end->lease_ms;
    if (end->reason)
        memcpy(settlement->reason, end->reason, strlen(end->reason) + 1);
    list_init(&settlement->link);
    list_append(&listener->shared->unsent, &settlement->link);
    return settlement;
}

static bool lease_add(struct settlement *settlement, uint64_t partition, const struct shared_range *range)
{
    struct settlement_lease *last = settlement->count ? &settlement->leases[settlement->count - 1] : NULL;

    settlement->events += range->count;
    if (last && last->partition == partition && last->range.attempt == range->attempt &&
        last->range.offset + last->range.count == range->offset) {
        last->range.count += range->count;
        return true;
    }
    if (settlement->count == settlement->capacity) {
        size_t capacity = settlement->capacity ? 2 * settlement->capacity : 8;
        struct settlement_lease *grown = realloc(settlement->leases, capacity * sizeof(*grown));
        if (!grown)
            return false;
        settlement->leases = grown;
        settlement->capacity = capacity;
    }
    settlement->leases[settlement->count++] = (struct settlement_lease){partition, *range};
    return true;
}

void settle_add(struct engine *engine, struct crier_listener *listener, uint64_t partition,
                const struct shared_range *range, const struct shared_end *end)
{
    struct settlement *settlement = settlement_open(listener->shared, range, end);

    engine->settles_wait = true;
    if (!settlement)
        settlement = settlement_make(listener, end);
    if (!settlement || !lease_add(settlement, partition, range))
        engine_fail(engine, CRIER_ENOMEM,
                    "out of memory for an acknowledgement"); /* the lease runs out, then */
}

/* ---- crier_ack, crier_nack, crier_extend ---- */

static bool later_take(struct shared_partition *partition, const struct crier_lease *lease, bool remove)
{
    for (size_t i = 0; i < partition->later_count; i++) {
        if (partition->later[i].offset != lease->offset || partition->later[i].attempt != lease->attempt)
            continue;
        if (remove)
            memmove(&partition->later[i], &partition->later[i + 1],
                    (--partition->later_count - i) * sizeof(partition->later[0]));
        return true;
    }
    return false;
}

void settle_lease(struct engine *engine, const struct crier_lease *lease, const struct shared_end *end)
{
    struct shared_range one = {lease->offset, 1, lease->attempt};

    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        for (size_t i = 0; listener->shared && i < listener->partition_count; i++) {
            struct listen_partition *partition = listener->partitions[i];
            bool ends = end->kind != FRAME_EXTEND;
            if (partition->assignment != lease->assignment)
                continue;
            if (later_take(partition->shared, lease, ends) || !ends || leased_taken_settle(partition, lease))
                settle_add(engine, listener, partition->id, &one, end);
            return;
        }
    }
}

/* ---- sending ---- */

/* Leases as the message has them. NULL: no memory. */
static Wire__Lease **leases_make(const struct settlement *settlement, Wire__Lease **ret_block)
{
    Wire__Lease *block = calloc(settlement->count, sizeof(*block));
    Wire__Lease **pointers = calloc(settlement->count, sizeof(Wire__Lease *));

    for (size_t i = 0; block && pointers && i < settlement->count; i++) {
        const struct settlement_lease *lease = &settlement->leases[i];
        wire__lease__init(&block[i]);
        block[i].partition = lease->partition;
        block[i].offset = lease->range.offset;
        block[i].count = lease->range.count;
        block[i].attempt = lease->range.attempt;
        pointers[i] = &block[i];
    }
    *ret_block = block;
    return pointers;
}

static void frame_send(struct engine *engine, struct settlement *settlement, Wire__Lease **leases)
{
    Wire__Ack ack = WIRE__ACK__INIT;
    Wire__Nack nack = WIRE__NACK__INIT;
    Wire__Extend extend = WIRE__EXTEND__INIT;

    nack.request = ack.request = extend.request = settlement->request;
    nack.listener = ack.listener = extend.listener = settlement->listener;
    nack.leases = ack.leases = extend.leases = leases;
    nack.n_leases = ack.n_leases = extend.n_leases = settlement->count;
    nack.delay_ms = settlement->delay_ms;
    nack.reason = settlement->reason;
    nack.reject = settlement->reject;
    extend.lease_ms = settlement->lease_ms;
    engine_send(engine, (enum frame_kind)settlement->kind,
                settlement->kind == FRAME_ACK    ? &ack.base
                : settlement->kind == FRAME_NACK ? &nack.base
                                                 : &extend.base);
}

static void settlement_send(struct engine *engine, struct settlement *settlement)
{
    Wire__Lease *block, **leases = leases_make(settlement, &block);

    if (leases && block) {
        settlement->request = ++engine->settle_request;
        list_remove(&settlement->link);
        list_append(&engine->settlements, &settlement->link);
        engine->settles_unanswered++;
        frame_send(engine, settlement, leases);
    } else {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for an acknowledgement");
    }
    free(leases);
    free(block);
}

void settle_send_all(struct engine *engine, struct crier_listener *listener)
{
    while (!list_is_empty(&listener->shared->unsent) && !engine->broken)
        settlement_send(engine, LIST_ENTRY(listener->shared->unsent.next, struct settlement, link));
}

void settle_send(struct engine *engine)
{
    if (!engine->settles_wait || engine->now < engine->settle_retry_due)
        return;
    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        if (!listener->shared || listener->state != LISTENER_LIVE)
            continue;
        while (!list_is_empty(&listener->shared->unsent)) {
            if (engine->settles_unanswered >= UNANSWERED_MAX || engine->broken)
                return;
            settlement_send(engine, LIST_ENTRY(listener->shared->unsent.next, struct settlement, link));
        }
    }
    engine->settles_wait = false;
}

/* ---- answers ---- */

/* It is told again, before what came after it. */
static void settlement_return(struct engine *engine, struct settlement *settlement)
{
    struct crier_listener *listener = listen_find(engine, settlement->listener);

    list_remove(&settlement->link);
    if (!listener || !listener->shared || settlement->kind == FRAME_EXTEND ||
        listener->state == LISTENER_ENDING) {
        settlement_free(settlement); /* its events are not its own any more, or an extension comes too late */
        return;
    }
    settlement->request = 0;
    list_prepend(&listener->shared->unsent, &settlement->link);
    engine->settles_wait = true;
}

void settle_settled(struct engine *engine, const Wire__Settled *settled)
{
    for (struct list *link = engine->settlements.next; link != &engine->settlements; link = link->next) {
        struct settlement *settlement = LIST_ENTRY(link, struct settlement, link);
        if (settlement->request != settled->request)
            continue;
        engine->settles_unanswered--;
        if (settled->code < 0 && error_retriable(settled->code)) {
            engine->settle_retry_due = engine->now + RETRY_US / 2 +
                                       (int64_t)random_below(&engine->random, (uint64_t)RETRY_US / 2 + 1);
            settlement_return(engine, settlement);
            return;
        }
        if (settled->code < 0 && settled->code != CRIER_EFENCED)
            engine_error(engine, settled->code, "acknowledgements of a shared group were not stored: %s",
                         settled->text);
        list_remove(&settlement->link);
        settlement_free(settlement);
        return;
    }
    engine_fail(engine, CRIER_EPROTO, "SETTLED without a question");
}

void settle_disconnected(struct engine *engine)
{
    while (!list_is_empty(&engine->settlements)) /* from the end, so that their order stays */
        settlement_return(engine, LIST_ENTRY(engine->settlements.previous, struct settlement, link));
    engine->settles_unanswered = 0;
    engine->settle_retry_due = 0;
}

void settle_drop(struct engine *engine)
{
    struct list *link;

    while ((link = list_take(&engine->settlements)))
        settlement_free(LIST_ENTRY(link, struct settlement, link));
    engine->settles_unanswered = 0;
}

void leased_free(struct shared *shared)
{
    struct list *link;

    while (shared && (link = list_take(&shared->unsent)))
        settlement_free(LIST_ENTRY(link, struct settlement, link));
    free(shared);
}

/* ---- what it has ---- */

typedef bool lease_visit(void *ctx, uint64_t partition, const struct shared_range *range); /* false: enough */

static bool deliveries_visit(const struct list *list, const struct crier_listener *listener,
                             lease_visit *visit, void *ctx)
{
    for (const struct list *link = list->next; link != list; link = link->next) {
        const struct delivery *delivery = LIST_ENTRY(link, struct delivery, link);
        for (size_t i = delivery->ranges ? delivery->ranges->at : 0;
             delivery->listener == listener && delivery->ranges && i < delivery->ranges->count; i++)
            if (!visit(ctx, delivery->partition->id, &delivery->ranges->range[i]))
                return false;
    }
    return true;
}

/* Out on a pool or an iterator; not begun: of those only. */
static bool taken_visit(const struct crier_listener *listener, bool not_begun, lease_visit *visit, void *ctx)
{
    for (size_t i = 0; i < listener->partition_count; i++) {
        const struct list *list = &listener->partitions[i]->taken;
        for (const struct list *link = list->next; link != list; link = link->next) {
            const struct engine_taken *taken = LIST_ENTRY(link, struct engine_taken, link);
            struct shared_range one = {taken->offset, 1, taken->attempt};
            if (taken->settled || (not_begun && !atomic_load(&taken->waits)))
                continue;
            if (!visit(ctx, listener->partitions[i]->id, &one))
                return false;
        }
    }
    return true;
}

static bool later_visit(const struct crier_listener *listener, lease_visit *visit, void *ctx)
{
    for (size_t i = 0; i < listener->partition_count; i++)
        for (size_t k = 0; k < listener->partitions[i]->shared->later_count; k++)
            if (!visit(ctx, listener->partitions[i]->id, &listener->partitions[i]->shared->later[k]))
                return false;
    return true;
}

static bool unsent_visit(const struct crier_listener *listener, lease_visit *visit, void *ctx)
{
    const struct list *list = &listener->shared->unsent;

    for (const struct list *link = list->next; link != list; link = link->next) {
        const struct settlement *settlement = LIST_ENTRY(link, struct settlement, link);
        for (size_t i = 0; i < settlement->count; i++)
            if (!visit(ctx, settlement->leases[i].partition, &settlement->leases[i].range))
                return false;
    }
    return true;
}

struct held {
    Wire__Lease *block;
    size_t count;
    uint32_t events;
};

static bool held_add(void *ctx, uint64_t partition, const struct shared_range *range)
{
    struct held *held = ctx;
    Wire__Lease *lease = &held->block[held->count];

    if (held->count == SHARED_HELD_MAX || held->events + range->count > EVENTS_MAX)
        return false;
    held->events += range->count;
    held->count++;
    wire__lease__init(lease);
    lease->partition = partition;
    lease->offset = range->offset;
    lease->count = range->count;
    lease->attempt = range->attempt;
    return true;
}

Wire__Lease **settle_held(struct engine *engine, const struct crier_listener *listener,
                          Wire__Lease **ret_block, size_t *ret_count)
{
    struct held held = {.block = calloc(SHARED_HELD_MAX, sizeof(*held.block))};
    Wire__Lease **pointers = calloc(SHARED_HELD_MAX, sizeof(Wire__Lease *));

    *ret_block = held.block;
    *ret_count = 0;
    if (!held.block || !pointers) {
        free(pointers);
        return NULL;
    }
    (void)(unsent_visit(listener, held_add, &held) && taken_visit(listener, false, held_add, &held) &&
           later_visit(listener, held_add, &held) &&
           deliveries_visit(&engine->deliveries, listener, held_add, &held) &&
           deliveries_visit(&engine->parked, listener, held_add, &held));
    for (size_t i = 0; i < held.count; i++)
        pointers[i] = &held.block[i];
    *ret_count = held.count;
    return pointers;
}

/* ---- time ---- */

static int64_t extend_interval(const struct crier_listener *listener)
{
    uint32_t lease_ms = listener->shared->options.lease_ms;

    return (lease_ms ? lease_ms : LEASE_MS_DEFAULT) * INT64_C(1000) / 2;
}

void settle_waits(struct engine *engine, struct crier_listener *listener)
{
    if (listener->shared->extend_due == ENGINE_NEVER)
        listener->shared->extend_due = engine->now + extend_interval(listener);
}

int64_t settle_due(const struct engine *engine)
{
    int64_t due = engine->settles_wait && engine->settle_retry_due > engine->now ? engine->settle_retry_due
                                                                                 : ENGINE_NEVER;

    for (const struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        const struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        if (listener->shared)
            due = time_min(due, listener->shared->extend_due);
    }
    return due;
}

struct extending {
    struct engine *engine;
    struct crier_listener *listener;
    bool any;
};

static bool extension_add(void *ctx, uint64_t partition, const struct shared_range *range)
{
    struct extending *extending = ctx;
    struct shared_end end = {.kind = FRAME_EXTEND};
    struct list *unsent = &extending->listener->shared->unsent;
    struct settlement *last =
        list_is_empty(unsent) ? NULL : LIST_ENTRY(unsent->previous, struct settlement, link);

    if (!extending->any || !last || last->events + range->count > EVENTS_MAX || last->count == LEASES_MAX)
        last = settlement_make(extending->listener, &end);
    extending->any = true;
    if (last && lease_add(last, partition, range))
        return true;
    engine_fail(extending->engine, CRIER_ENOMEM, "out of memory to extend leases");
    return false;
}

static void extend(struct engine *engine, struct crier_listener *listener)
{
    struct extending extending = {engine, listener, false};

    (void)(taken_visit(listener, true, extension_add, &extending) &&
           deliveries_visit(&engine->deliveries, listener, extension_add, &extending) &&
           deliveries_visit(&engine->parked, listener, extension_add, &extending));
    listener->shared->extend_due = extending.any ? engine->now + extend_interval(listener) : ENGINE_NEVER;
    engine->settles_wait |= extending.any;
}

void settle_tick(struct engine *engine)
{
    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        if (listener->shared && engine->now >= listener->shared->extend_due)
            extend(engine, listener);
    }
}
