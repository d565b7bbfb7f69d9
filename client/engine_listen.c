/* engine_listen.c: listeners come and go: LISTEN, LISTENING, UNLISTEN, ENDED.
 *
 * Role:     keeps every listener on the broker for as long as its user wants it: asks again after a reconnect, from the
 *           position it has reached, and after an end that may pass (a group's member that was silent for too long).
 * Thread:   the I/O thread; engine_listener_create, _stop, _matches and _stats: any.
 * Owns:     struct crier_listener, from engine_listen until `released` has run.
 *
 * Happy path:  engine_listen -> WANTED -> LISTEN -> ASKED -> LISTENING -> LIVE -> (engine_dispatch.c) -> engine_unlisten
 *              -> COMMIT, UNLISTEN -> ENDING -> ENDED -> released
 * Failures:    ENDED with a code that may pass: DELAYED, then WANTED; so after a restart (listen_restart), by way of
 *              RESTARTING. With another: released with code and text; without
 *              a `released` callback an "error" event. The connection goes: ENDING ones are released, others WANTED. */
#include "client/atomic.h"
#include "client/engine_internal.h"
#include "client/handles.h"
#include "client/leased.h"

#include "base/check.h"
#include "client/struct_size.h"
#include "client/topic_name.h"
#include "proto/error.h"

#include <stdlib.h>
#include <string.h>

#define SLOT_BITS       20 /* of a listener's id: its place in engine.slots; the rest counts up */
#define SLOT_MASK       ((1u << SLOT_BITS) - 1)
#define SLOTS_MIN       8
#define LISTEN_RETRY_US INT64_C(200000) /* until LISTEN is sent again, with jitter */

#define QUEUE_SIZE_MAX (64u << 20) /* the broker's limit */

#define SESSION_TIMEOUT_MS_MIN 1000
#define SESSION_TIMEOUT_MS     10000 /* the broker's, when LISTEN names none */

/* ---- making one ---- */

static bool options_are_valid(const struct crier_listen_options *options)
{
    if (options->group && !text_is_valid(options->group, GROUP_NAME_MAX))
        return false;
    if (options->session_timeout_ms != 0 && options->session_timeout_ms < SESSION_TIMEOUT_MS_MIN)
        return false;
    if (options->commits_atomically && (!options->group || options->pool))
        return false;
    if (options->shared &&
        (!options->group || options->commits_atomically || !leased_options_are_valid(options->shared)))
        return false;
    if (options->slow > CRIER_DISCONNECT || options->queue_size > QUEUE_SIZE_MAX)
        return false;
    return options->from <= CRIER_TIME && options->from_value >= 0;
}

int engine_listener_create(const struct engine *engine, const char *topic,
                           const struct crier_listen_options *options, crier_handler *handler, void *ctx,
                           crier_listener **ret_listener)
{
    struct crier_listen_options copy = crier_listen_options_default();
    bool local = topic_name_is_local(topic);
    bool pattern = topic && topic_is_pattern(topic);
    struct crier_listener *listener;

    if (!handler || !struct_take(&copy, sizeof(copy), options) || !options_are_valid(&copy))
        return CRIER_EINVAL;
    if (!local && !(pattern ? topic_pattern_is_valid(topic)
                            : topic_name_is_readable(topic) || topic_name_is_inbox(topic) ||
                                  topic_name_is_presence(topic)))
        return CRIER_EINVAL;
    if ((local && copy.group) || (pattern && (copy.group || copy.from == CRIER_OFFSET)))
        return CRIER_EINVAL;
    if (!(listener = calloc(1, sizeof(*listener))))
        return CRIER_ENOMEM;
    handle_made(&listener_handles, listener);
    list_init(&listener->link);
    list_init(&listener->orphans);
    listener->state = LISTENER_NEW;
    listener->topic = text_copy(topic);
    listener->pattern = pattern;
    listener->group = copy.group ? text_copy(copy.group) : NULL;
    listener->from = copy.from;
    listener->from_value = copy.from_value;
    listener->count = copy.count ? copy.count : UINT64_MAX;
    listener->credit = copy.credit ? copy.credit : engine->config.options.listen_credit;
    listener->bus = engine->config.bus;
    listener->handler = handler;
    listener->ctx = ctx;
    listener->released = copy.released;
    listener->listening = copy.listening;
    listener->shared = copy.shared ? leased_make(copy.shared) : NULL;
    listener->assigned = copy.group && !copy.shared ? copy.assigned : NULL;
    listener->session_timeout_ms = copy.group ? (uint32_t)copy.session_timeout_ms : 0;
    listener->corrupt_offset = UINT64_MAX;
    listener->slow = copy.slow;
    listener->queue_size = copy.queue_size;
    listener->ephemeral = copy.ephemeral;
    listener->commits_atomically = copy.commits_atomically;
    listener->driver.first = copy.first;
    listener->driver.count_wanted = copy.count;
    if (!listener->topic || (copy.group && !listener->group) || (copy.shared && !listener->shared)) {
        engine_listener_destroy(listener);
        return CRIER_ENOMEM;
    }
    *ret_listener = listener;
    return 0;
}

void engine_listener_destroy(crier_listener *listener)
{
    if (!listener)
        return;
    partitions_forget(listener);
    taken_forget_all(listener);
    leased_free(listener->shared);
    free(listener->group);
    free(listener->topic);
    handle_freed(&listener_handles, listener);
    free(listener);
}

void engine_listener_stop(crier_listener *listener)
{
    atomic_store_explicit(&listener->stopped, true, memory_order_relaxed);
}

bool engine_listener_matches(const crier_listener *listener, const char *topic, crier_handler *handler,
                             const void *ctx)
{
    return listener->handler == handler && listener->ctx == ctx && strcmp(listener->topic, topic) == 0;
}

crier *engine_listener_bus(const crier_listener *listener)
{
    return listener->bus;
}

crier_listener_info engine_listener_info(const crier_listener *listener)
{
    return (crier_listener_info){.topic = listener->topic,
                                 .handler = listener->handler,
                                 .ctx = listener->ctx,
                                 .count = listener->driver.count_wanted};
}

struct engine_listener_link *engine_listener_link(crier_listener *listener)
{
    return &listener->driver;
}

void engine_listener_stats(const crier_listener *listener, struct crier_listener_stats *ret_stats)
{
    ret_stats->delivered = atomic_load_explicit(&listener->delivered, memory_order_relaxed);
    ret_stats->failed = atomic_load_explicit(&listener->failed, memory_order_relaxed);
    ret_stats->lag = atomic_load_explicit(&listener->lag, memory_order_relaxed);
    ret_stats->dropped = atomic_load_explicit(&listener->dropped, memory_order_relaxed);
}

/* ---- ids ---- */

struct crier_listener *listen_find(const struct engine *engine, uint32_t id)
{
    uint32_t slot = id & SLOT_MASK;
    struct crier_listener *listener = slot < engine->slot_count ? engine->slots[slot] : NULL;

    return listener && listener->id == id ? listener : NULL;
}

/* Gives the listener an id that was not used for a long time. false: no memory, or too many listeners. */
static bool id_take(struct engine *engine, struct crier_listener *listener)
{
    size_t slot = 0;

    while (slot < engine->slot_count && engine->slots[slot])
        slot++;
    if (slot == engine->slot_count) {
        size_t count = slot ? 2 * slot : SLOTS_MIN;
        struct crier_listener **slots;
        if (count > SLOT_MASK || !(slots = realloc(engine->slots, count * sizeof(struct crier_listener *))))
            return false;
        memset(slots + slot, 0, (count - slot) * sizeof(struct crier_listener *));
        engine->slots = slots;
        engine->slot_count = count;
    }
    engine->listener_generation = (engine->listener_generation + 1) & (UINT32_MAX >> SLOT_BITS);
    if (engine->listener_generation == 0)
        engine->listener_generation = 1; /* so that no id is 0 */
    listener->id = engine->listener_generation << SLOT_BITS | (uint32_t)slot;
    engine->slots[slot] = listener;
    return true;
}

static void id_give_back(struct engine *engine, struct crier_listener *listener)
{
    if (listener->id)
        engine->slots[listener->id & SLOT_MASK] = NULL;
    listener->id = 0;
}

/* ---- life ---- */

void listen_init(struct engine *engine)
{
    list_init(&engine->listeners);
    list_init(&engine->local_listeners);
    list_init(&engine->deliveries);
    list_init(&engine->parked);
    list_init(&engine->held);
    list_init(&engine->settlements);
    engine->commit_due = engine->listen_retry_due = ENGINE_NEVER;
}

void listen_finish(struct engine *engine)
{
    listen_drop(engine);
    deliveries_finish(engine);
    settle_drop(engine);
    free(engine->slots);
}

void listener_release(struct engine *engine, struct crier_listener *listener, int code, const char *text)
{
    engine_listener_stop(listener);
    deliveries_forget(engine, listener);
    if (listener->taken_count > 0 && !engine->listeners_dropped) {
        listener->state = LISTENER_ENDING;
        listener->release_wanted = true;
        listener->end_code = code;
        listener->end_text = code < 0 ? error_text(code) : "";
        taken_recall(listener);
        return;
    }
    partitions_suspend(listener);
    list_remove(&listener->link);
    id_give_back(engine, listener);
    if (listener->released)
        listener->released(listener->ctx, code, text);
    else if (code < 0 && code != CRIER_EHANDLER) /* that one was told when it happened */
        engine_error(engine, code, "the listener of %s ended: %s", listener->topic,
                     *text ? text : error_text(code));
    engine->ops->released(engine->ops_ctx, listener);
    engine_listener_destroy(listener);
}

/* A member has to be heard of within its session timeout: engine.c pings accordingly. */
static void session_shorten(struct engine *engine, const struct crier_listener *listener)
{
    uint32_t timeout_ms = listener->session_timeout_ms ? listener->session_timeout_ms : SESSION_TIMEOUT_MS;
    int64_t timeout = timeout_ms * INT64_C(1000);

    if (listener->group && (engine->session_timeout == 0 || timeout < engine->session_timeout))
        engine->session_timeout = timeout;
}

void engine_listen(struct engine *engine, crier_listener *listener)
{
    if (topic_name_is_local(listener->topic)) {
        listener->state = LISTENER_LOCAL;
        if (listener->driver.first)
            list_prepend(&engine->local_listeners, &listener->link);
        else
            list_append(&engine->local_listeners, &listener->link);
        if (listener->listening)
            listener->listening(listener->ctx);
        return;
    }
    list_append(&engine->listeners, &listener->link);
    listener->state = LISTENER_WANTED;
    session_shorten(engine, listener);
    engine->listen_wanted = true;
    if (engine->closing || engine->state == ENGINE_DROPPED)
        listener_release(engine, listener, 0, "");
    else if (!id_take(engine, listener))
        listener_release(engine, listener, CRIER_ENOMEM, error_text(CRIER_ENOMEM));
}

void listen_finish_one(struct engine *engine, struct crier_listener *listener, int code, const char *text)
{
    Wire__Unlisten unlisten = WIRE__UNLISTEN__INIT;

    engine_listener_stop(listener);
    if ((listener->taken_count > 0 && !engine->listeners_dropped) ||
        consumed_is_waited_for(engine, listener)) {
        if (!listener->finish_wanted) {
            listener->end_code = code;
            listener->end_text = text;
        }
        listener->finish_wanted = true; /* its position waits for what is out, or emitted */
        taken_recall(listener);
        return;
    }
    switch (listener->state) {
    case LISTENER_ENDING:
        return;
    case LISTENER_RESTARTING:
        listener->state = LISTENER_ENDING;
        listener->end_code = code;
        listener->end_text = text;
        return;
    case LISTENER_ASKED:
    case LISTENER_LIVE:
        position_send(engine, listener);
        if (listener->shared && listener->state == LISTENER_LIVE)
            settle_send_all(engine, listener);
        unlisten.listener = listener->id;
        engine_send(engine, FRAME_UNLISTEN, &unlisten.base);
        deliveries_forget(engine, listener);
        listener->state = LISTENER_ENDING;
        listener->end_code = code;
        listener->end_text = text;
        partitions_suspend(listener);
        return;
    default:
        listener_release(engine, listener, code, text);
        return;
    }
}

void engine_unlisten(struct engine *engine, crier_listener *listener)
{
    listen_finish_one(engine, listener, 0, "");
}

void listen_close(struct engine *engine)
{
    for (struct list *link = engine->listeners.next, *next; link != &engine->listeners; link = next) {
        next = link->next;
        listen_finish_one(engine, LIST_ENTRY(link, struct crier_listener, link), 0, "");
    }
}

void listen_drop(struct engine *engine)
{
    struct list *lists[] = {&engine->listeners, &engine->local_listeners};

    engine->listeners_dropped = true;
    deliveries_forget(engine, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        while (!list_is_empty(lists[i])) {
            struct crier_listener *listener = LIST_ENTRY(lists[i]->next, struct crier_listener, link);
            bool ending = listener->state == LISTENER_ENDING || listener->finish_wanted;
            listener_release(engine, listener, ending ? listener->end_code : 0,
                             ending ? listener->end_text : "");
        }
}

bool listen_is_settled(const struct engine *engine)
{
    return engine->commits_unanswered == 0 && engine->settles_unanswered == 0 &&
           list_is_empty(&engine->listeners);
}

/* ---- LISTEN and LISTENING ---- */

static void listener_ask(struct engine *engine, struct crier_listener *listener)
{
    Wire__Listen listen = WIRE__LISTEN__INIT;
    size_t count = listener->shared ? 0 : listener->partition_count;
    Wire__Lease *held = NULL, **held_pointers = NULL;
    Wire__Position *positions = calloc(count + 1, sizeof(*positions));
    Wire__Position **pointers = calloc(count + 1, sizeof(Wire__Position *));

    if (listener->shared)
        held_pointers = settle_held(engine, listener, &held, &listen.n_held);
    if (positions && pointers && (!listener->shared || held_pointers)) {
        for (size_t i = 0; i < count; i++) {
            wire__position__init(&positions[i]);
            positions[i].partition = listener->partitions[i]->id;
            positions[i].offset = listener->partitions[i]->next;
            pointers[i] = &positions[i];
        }
        listen.listener = listener->id;
        listen.topic = listener->topic;
        listen.group = listener->group ? listener->group : (char *)(uintptr_t) "";
        listen.from = (Wire__From)listener->from;
        listen.from_value = listener->from_value;
        listen.n_resume = count;
        listen.resume = pointers;
        listen.credit = listener->credit;
        listen.create = !listener->probe;
        listen.session_timeout_ms = listener->session_timeout_ms;
        listen.again = listener->again;
        listen.slow = (Wire__Slow)listener->slow;
        listen.queue_size = listener->queue_size;
        listen.ephemeral = listener->ephemeral;
        if (listener->shared) {
            listen.kind = listener->shared->options.key_ordered ? WIRE__GROUP_KIND__KEY_ORDERED
                                                                : WIRE__GROUP_KIND__SHARED;
            listen.lease_ms = listener->shared->options.lease_ms;
            listen.max_in_flight = listener->shared->options.max_in_flight;
            listen.held = held_pointers;
        }
        listener->dropped_before = atomic_load_explicit(&listener->dropped, memory_order_relaxed);
        listener->credit_received = listener->credit_handled = 0;
        listener->credit_told = listener->credit;
        listener->state = LISTENER_ASKED;
        listener->restart_wanted = listener->restart_now = false;
        engine_send(engine, FRAME_LISTEN, &listen.base);
    } else {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for a LISTEN frame");
    }
    free(positions);
    free(pointers);
    free(held);
    free(held_pointers);
}

void listen_send(struct engine *engine)
{
    if (!engine->listen_wanted)
        return;
    engine->listen_wanted = false;
    for (struct list *link = engine->listeners.next, *next; link != &engine->listeners; link = next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        next = link->next;
        if (listener->state != LISTENER_WANTED || listener->finish_wanted)
            continue;
        if (listener->shared && engine->feature_level < SHARED_LEVEL)
            listener_release(engine, listener, CRIER_ENOTSUP, "the broker is too old for shared groups");
        else
            listener_ask(engine, listener);
    }
}

void listen_ready(struct engine *engine)
{
    engine->listen_wanted = true;
}

void listen_listening(struct engine *engine, const Wire__Listening *listening)
{
    struct crier_listener *listener = listen_find(engine, listening->listener);

    if (!listener || listener->state == LISTENER_ENDING)
        return;
    if (listener->state != LISTENER_ASKED) {
        engine_fail(engine, CRIER_EPROTO, "LISTENING for a listener that did not ask");
        return;
    }
    listener->generation = listening->generation;
    listener->state = LISTENER_LIVE;
    listener->placed = true;
    if (!partitions_begin(engine, listener, listening)) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for the partitions of %s", listener->topic);
        return; /* asked for anew, not `again`: where it would go on was never kept */
    }
    listener->again = listener->pattern && !listening->more;
    position_moved(engine, listener);
    engine->settles_wait |= listener->shared != NULL;
    if (listening->listeners > 0)
        listen_crowded(engine, listener, listening);
    if (listener->listening && !listener->stopped)
        listener->listening(listener->ctx);
}

/* ---- the end ---- */

/* Others may have its partitions, or it begins anew: what counts of them is what is stored. Else they are kept, to resume. */
static void partitions_let_go(struct crier_listener *listener, bool theirs)
{
    if (theirs || listener->commits_atomically)
        partitions_forget(listener);
    else
        partitions_suspend(listener);
}

/* LISTEN again, in a while. */
static void listener_delay(struct engine *engine, struct crier_listener *listener)
{
    listener->state = LISTENER_DELAYED;
    if (engine->listen_retry_due == ENGINE_NEVER)
        engine->listen_retry_due = engine->now + LISTEN_RETRY_US / 2 +
                                   (int64_t)random_below(&engine->random, (uint64_t)LISTEN_RETRY_US / 2 + 1);
}

void listen_restart(struct engine *engine, struct crier_listener *listener)
{
    Wire__Unlisten unlisten = WIRE__UNLISTEN__INIT;

    listener->restart_wanted = listener->restart_now = false;
    if (listener->state != LISTENER_LIVE || listener->finish_wanted)
        return;
    unlisten.listener = listener->id;
    engine_send(engine, FRAME_UNLISTEN, &unlisten.base);
    deliveries_forget(engine, listener);
    partitions_forget(listener);
    listener->state = LISTENER_RESTARTING;
}

void listen_ended(struct engine *engine, const Wire__Ended *ended)
{
    struct crier_listener *listener = listen_find(engine, ended->listener);

    if (!listener || listener->state == LISTENER_WANTED || listener->state == LISTENER_DELAYED)
        return; /* an answer to what was before */
    listener->commit_request = 0;
    if (listener->state == LISTENER_ENDING) {
        listener_release(engine, listener, listener->end_code, listener->end_text);
    } else if (listener->state == LISTENER_RESTARTING && ended->code == 0) {
        listener_delay(engine, listener);
    } else if (error_retriable(ended->code) && (listener->placed || ended->code != CRIER_EQUOTA)) {
        deliveries_forget(engine, listener);
        partitions_let_go(listener, listener->group && ended->code == CRIER_ETIMEDOUT);
        listener_delay(engine, listener);
    } else {
        listener_release(engine, listener, ended->code, ended->text);
    }
}

void listen_disconnected(struct engine *engine)
{
    deliveries_disconnected(engine);
    settle_disconnected(engine);
    engine->commits_unanswered = 0;
    engine->commit_due = ENGINE_NEVER;
    for (struct list *link = engine->listeners.next, *next; link != &engine->listeners; link = next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        next = link->next;
        listener->commit_request = 0;
        if (listener->state == LISTENER_ENDING) {
            listener_release(engine, listener, listener->end_code, listener->end_text);
            continue;
        }
        if (listener->state != LISTENER_DELAYED)
            listener->state = LISTENER_WANTED;
        partitions_let_go(listener, false);
    }
}

void listen_forget(struct engine *engine)
{
    bool heard = false;

    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        heard |= listener->partition_count > 0;
        deliveries_forget(engine, listener);
        partitions_forget(listener);
        listener->again = false;
    }
    if (heard)
        engine_error(engine, CRIER_ENOTOPIC, "the broker has another log than before: listeners start anew");
}

/* ---- time ---- */

int64_t listen_due(const struct engine *engine)
{
    return time_min(settle_due(engine), time_min(engine->commit_due, engine->listen_retry_due));
}

void listen_tick(struct engine *engine)
{
    position_tick(engine);
    settle_tick(engine);
    if (engine->now < engine->listen_retry_due)
        return;
    engine->listen_retry_due = ENGINE_NEVER;
    for (struct list *link = engine->listeners.next; link != &engine->listeners; link = link->next) {
        struct crier_listener *listener = LIST_ENTRY(link, struct crier_listener, link);
        if (listener->state != LISTENER_DELAYED)
            continue;
        listener->state = LISTENER_WANTED;
        engine->listen_wanted = true;
    }
}
