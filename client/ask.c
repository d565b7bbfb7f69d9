/* ask.c: crier_request: events that wait for replies. See crier/request.h.
 *
 * Role:     one inbox for a bus, an ephemeral topic of its own that replies are emitted to; a number for each request, which
 *           comes back as the reply's key; a deadline for each.
 * Thread:   crier_request: any, with the bus's lock. Everything that ends one: the I/O thread.
 * Owns:     struct ask, from crier_request until it has all its replies, its time is over, or its event failed.
 *
 * Happy path:  crier_request -> in the table, emitted, its timer set -> (somebody replies) -> on_reply -> ask_tell -> freed
 * Failures:    the emit fails (nobody listens, the connection is gone): on_asked. Too late: on_timeout. The bus closes:
 *              asks_close. A reply whose number is not in the table came too late, and is dropped. */
#include "client/ask.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "client/bus_internal.h"
#include "client/future_internal.h"
#include "client/handles.h"
#include "client/reply.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BUCKETS_MIN   64
#define REPLIES_MAX   1000
#define INBOX_QUEUE   (64u << 20)
#define NUMBER_DIGITS 20

struct ask {
    struct ask *next; /* in its bucket */
    struct agenda_timer timer;
    crier *bus;
    uint64_t number;
    bool abandoned;        /* it was never sent: its timer frees it */
    bool gathers;          /* its future gets an array */
    uint32_t wanted;       /* replies to come */
    struct future *future; /* NULL: `replied` is told */
    crier_replied *replied;
    void *ctx;
    struct crier_result *results; /* gathered: malloc'ed, with their values */
    size_t result_count;
};

struct asks {
    char inbox[INBOX_NAME_SIZE];
    bool listening; /* I/O thread */
    /* with the lock */
    struct ask **buckets; /* by number; they count up: a few in each */
    size_t bucket_count, count;
    uint64_t last;
};

/* ---- the table: with the lock ---- */

static struct asks *asks_get(crier *bus)
{
    uint64_t random;

    if (bus->asks)
        return bus->asks;
    struct asks *asks = calloc(1, sizeof(*asks));
    if (!asks || random_system(&random, sizeof(random)) < 0 ||
        !(asks->buckets = calloc(BUCKETS_MIN, sizeof(struct ask *)))) {
        free(asks);
        return NULL;
    }
    asks->bucket_count = BUCKETS_MIN;
    topic_name_inbox_make(asks->inbox, random);
    bus->asks = asks;
    return asks;
}

static void table_add(struct asks *asks, struct ask *ask)
{
    struct ask **grown;

    if (asks->count >= asks->bucket_count &&
        (grown = calloc(2 * asks->bucket_count, sizeof(struct ask *)))) { /* else they become longer */
        for (size_t i = 0; i < asks->bucket_count; i++)
            for (struct ask *at = asks->buckets[i], *next; at; at = next) {
                next = at->next;
                at->next = grown[at->number & (2 * asks->bucket_count - 1)];
                grown[at->number & (2 * asks->bucket_count - 1)] = at;
            }
        free(asks->buckets);
        asks->buckets = grown;
        asks->bucket_count *= 2;
    }
    struct ask **at = &asks->buckets[ask->number & (asks->bucket_count - 1)];
    ask->next = *at;
    *at = ask;
    asks->count++;
}

static struct ask **table_find(struct asks *asks, uint64_t number)
{
    struct ask **at = &asks->buckets[number & (asks->bucket_count - 1)];

    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

static struct ask *table_take(struct asks *asks, uint64_t number)
{
    struct ask **at = table_find(asks, number), *ask = *at;

    if (ask) {
        *at = ask->next;
        asks->count--;
    }
    return ask;
}

/* ---- results ---- */

static void results_free(crier_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)results[i].pointer);
    free(results);
}

/* Of a gathered array: it ends with an element without a value. */
static void results_destroy(void *pointer)
{
    crier_result *results = pointer;
    size_t count = 0;

    while (results[count].pointer)
        count++;
    results_free(results, count);
}

/* The value in memory of its own, with a NUL. */
static bool result_fill(crier_result *result, int code, const crier_event *reply)
{
    char *copy = malloc(reply->value_size + 1);

    if (!copy)
        return false;
    if (reply->value_size > 0)
        memcpy(copy, reply->value, reply->value_size);
    copy[reply->value_size] = '\0';
    *result = (crier_result){.code = code, .pointer = copy, .size = reply->value_size};
    return true;
}

static void future_tell(struct future *future, const crier_result *result, void (*destroy)(void *pointer))
{
    (void)future_settle(future, (const struct future_result *)(const void *)result, destroy);
}

/* ---- the end of one: I/O thread, out of the table ---- */

static void ask_free(struct ask *ask)
{
    results_free(ask->results, ask->result_count);
    future_release(ask->future);
    free(ask);
}

static void ask_leave(struct ask *ask)
{
    (void)agenda_timer_remove(ask->bus->agenda, &ask->timer);
    ask_free(ask);
}

/* No more replies, for this reason; 0: all there should be have come. */
static void ask_end(struct ask *ask, int code)
{
    crier_result result = {.code = code};

    if (ask->future && ask->result_count > 0) {
        result = (crier_result){.pointer = ask->results, .size = ask->result_count};
        ask->results = NULL;
        ask->result_count = 0;
        future_tell(ask->future, &result, results_destroy);
    } else if (ask->future) {
        future_tell(ask->future, &result, NULL);
    } else if (code < 0) {
        ask->replied(ask->bus, code, NULL, ask->ctx);
    }
    ask_leave(ask);
}

/* One reply. false: no memory for it. */
static bool ask_tell(struct ask *ask, int code, const crier_event *reply)
{
    crier_result result;

    if (ask->replied) {
        ask->replied(ask->bus, code, reply, ask->ctx);
        return true;
    }
    if (!result_fill(&result, code, reply))
        return false;
    if (ask->gathers)
        ask->results[ask->result_count++] = result;
    else
        future_tell(ask->future, &result, free);
    return true;
}

static struct ask *ask_take(crier *bus, uint64_t number)
{
    struct ask *ask;

    pthread_mutex_lock(&bus->lock);
    ask = table_take(bus->asks, number);
    pthread_mutex_unlock(&bus->lock);
    return ask;
}

static void on_timeout(struct task *task, bool dropped)
{
    struct ask *ask = LIST_ENTRY(task, struct ask, timer.task);
    crier *bus = ask->bus;
    bool abandoned;

    pthread_mutex_lock(&bus->lock);
    abandoned = ask->abandoned;
    if (!abandoned)
        (void)table_take(bus->asks, ask->number);
    pthread_mutex_unlock(&bus->lock);
    if (abandoned)
        ask_free(ask);
    else
        ask_end(ask, dropped ? CRIER_ECLOSED : CRIER_ETIMEDOUT);
}

static void on_asked(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct ask *ask = code < 0 ? ask_take(bus, (uint64_t)(uintptr_t)ctx) : NULL;

    (void)offset;
    if (ask)
        ask_end(ask, code);
}

/* ---- the inbox: I/O thread ---- */

static uint64_t number_of(const crier_event *reply)
{
    char text[NUMBER_DIGITS + 1] = {0};

    if (reply->key && reply->key_size <= NUMBER_DIGITS)
        memcpy(text, reply->key, reply->key_size);
    return strtoull(text, NULL, 10);
}

static int on_reply(crier *bus, const crier_event *reply, void *ctx)
{
    struct asks *asks = ctx;
    uint64_t number = number_of(reply);
    struct ask *ask;
    bool last = false;

    pthread_mutex_lock(&bus->lock);
    ask = *table_find(asks, number);
    if (ask && (last = --ask->wanted == 0))
        (void)table_take(asks, number);
    pthread_mutex_unlock(&bus->lock);
    if (!ask)
        return 0;
    if (!ask_tell(ask, reply_code(reply), reply))
        ask_end(last ? ask : ask_take(bus, number), CRIER_ENOMEM);
    else if (last)
        ask_end(ask, 0);
    return 0;
}

static void on_released(void *ctx, int code, const char *text)
{
    (void)code, (void)text; /* the next request tries again; those that wait time out */
    ((struct asks *)ctx)->listening = false;
}

void asks_start(crier *bus)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    struct asks *asks;
    bool wanted;

    pthread_mutex_lock(&bus->lock);
    asks = bus->asks;
    wanted = asks && asks->count > 0 && !bus->closing;
    pthread_mutex_unlock(&bus->lock);
    if (!wanted || asks->listening)
        return;
    options.queue_size = INBOX_QUEUE;
    options.released = on_released;
    if (engine_listener_create(bus->engine, asks->inbox, &options, on_reply, asks, &listener) < 0)
        return; /* later */
    asks->listening = true;
    engine_listen(bus->engine, listener);
}

void asks_close(crier *bus)
{
    struct asks *asks = bus->asks;

    for (size_t i = 0; asks && i < asks->bucket_count; i++)
        while (asks->buckets[i]) {
            struct ask *ask = ask_take(bus, asks->buckets[i]->number);
            ask_end(ask, CRIER_ECLOSED);
        }
}

void asks_destroy(struct asks *asks)
{
    if (!asks)
        return;
    CHECK(asks->count == 0);
    free(asks->buckets);
    free(asks);
}

/* ---- asking ---- */

static bool options_are_valid(const struct crier_request_options *options, crier_future **ret_future)
{
    if (options->timeout_ms < 1 || options->replies > REPLIES_MAX ||
        (options->replied != NULL) == (ret_future != NULL))
        return false;
    return options->headers || options->header_count == 0;
}

static struct ask *ask_create(crier *bus, const struct crier_request_options *options)
{
    struct ask *ask = calloc(1, sizeof(*ask));

    if (!ask)
        return NULL;
    ask->bus = bus;
    ask->timer.task.run = on_timeout;
    list_init(&ask->timer.task.link);
    ask->timer.node.place = HEAP_NOWHERE;
    ask->wanted = options->replies ? options->replies : 1;
    ask->replied = options->replied;
    ask->ctx = options->ctx;
    ask->gathers = !options->replied && options->replies > 0;
    if ((ask->gathers && !(ask->results = calloc(ask->wanted + 1, sizeof(*ask->results)))) ||
        (!options->replied && !(ask->future = future_create(bus->agenda, 0)))) {
        ask_free(ask);
        return NULL;
    }
    return ask;
}

/* The ask itself may be gone any time. */
static int ask_send(crier *bus, uint64_t number, const char *topic, const void *value, size_t value_size,
                    const struct crier_request_options *options)
{
    struct crier_emit_options emit = crier_emit_options_default();
    crier_header *headers = malloc((options->header_count + 1) * sizeof(*headers));
    char address[CRIER_REPLY_ADDRESS_SIZE];
    int rc;

    if (!headers)
        return CRIER_ENOMEM;
    if (options->header_count > 0)
        memcpy(headers, options->headers, options->header_count * sizeof(*headers));
    reply_address_make(address, bus->asks->inbox, number);
    headers[options->header_count] =
        (crier_header){REPLY_TO_HEADER, sizeof(REPLY_TO_HEADER) - 1, address, strlen(address)};
    emit.key = options->key;
    emit.key_size = options->key_size;
    emit.headers = headers;
    emit.header_count = options->header_count + 1;
    emit.needs_listener = true;
    emit.done = on_asked;
    emit.ctx = (void *)(uintptr_t)number;
    rc = bus_emit(bus, topic, value, value_size, &emit);
    free(headers);
    return rc;
}

/* It was never sent. Its timer frees it: a reply to a number that was only guessed may stand in it just now. */
static void ask_abandon(crier *bus, uint64_t number)
{
    pthread_mutex_lock(&bus->lock);
    struct ask *ask = table_take(bus->asks, number);
    if (ask)
        ask->abandoned = true;
    bool idle =
        ask && agenda_timer_remove(bus->agenda, &ask->timer) &&
        agenda_timer_add(bus->agenda, &ask->timer, 0) < 0; /* the loop is over, or there is no memory */
    pthread_mutex_unlock(&bus->lock);
    if (idle)
        ask_free(ask);
}

/* In the table, its timer set; from here on it may end any time. Returns its number, or an error. */
static int64_t ask_begin(crier *bus, struct ask *ask, int64_t due_us)
{
    int64_t rc;

    pthread_mutex_lock(&bus->lock);
    struct asks *asks = asks_get(bus);
    if (bus->closing || !asks) {
        rc = bus->closing ? CRIER_ECLOSED : CRIER_ENOMEM;
    } else if ((rc = future_error(agenda_timer_add(bus->agenda, &ask->timer, due_us))) == 0) {
        ask->number = ++asks->last;
        table_add(asks, ask);
        rc = (int64_t)ask->number;
    }
    pthread_mutex_unlock(&bus->lock);
    if (rc < 0)
        ask_free(ask);
    return rc;
}

int crier_request(crier *bus, const char *topic, const void *value, size_t value_size,
                  const struct crier_request_options *options, crier_future **ret_future)
{
    handle_check(&bus_handles, bus);
    struct crier_request_options copy = crier_request_options_default();
    struct ask *ask;
    int rc;

    if (!bus || !topic || !struct_take(&copy, sizeof(copy), options) ||
        !options_are_valid(&copy, ret_future) || topic_name_is_local(topic))
        return CRIER_EINVAL;
    if (bus->emitter)
        return CRIER_ENOTSUP;
    if (!(ask = ask_create(bus, &copy)))
        return agenda_is_closed(bus->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    struct future *future = ask->future ? future_retain(ask->future) : NULL;
    int64_t number = ask_begin(bus, ask, clock_monotonic_us() + copy.timeout_ms * INT64_C(1000));
    rc = number < 0 ? (int)number : ask_send(bus, (uint64_t)number, topic, value, value_size, &copy);
    if (number > 0 && rc < 0)
        ask_abandon(bus, (uint64_t)number);
    if (rc < 0) {
        if (future)
            (void)future_cancel(future);
        future_release(future);
        return rc;
    }
    if (future)
        *ret_future = future_public(future);
    return 0;
}
