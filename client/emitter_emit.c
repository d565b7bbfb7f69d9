/* emitter_emit.c: an emit on a bus of local:, which is what everything else here is arranged for; and what becomes of
 * errors and of handlers that fail.
 *
 * Role:    crier_emit() and its relatives come here first; a bus with an engine is passed on to bus.c.
 * Thread:  any; see emitter_lock.h.
 *
 * Happy path:  crier_emit -> the topic by its name -> array_run: handler after handler -> emitter_exit
 * Failures:    "error" with nobody there: its code is returned. A handler fails: noted, told on "error" when the outermost
 *              call is through with its handlers; with nobody there, CRIER_EHANDLER is what that call returns (or, if it
 *              is no emit, the next crier_flush() or crier_close()). */
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/emitter_headers.h"
#include "client/handles.h"
#include "client/struct_size.h"
#include "client/topic_name.h"

#include <stdio.h>
#include <stdlib.h>

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NOINLINE    __attribute__((noinline)) /* keeps the common path's registers few */

struct emitter_failure {
    struct emitter_failure *next;
    char text[];
};

/* ---- failures ---- */

/* Errors on the way of telling errors are not told again. */
NOINLINE void emitter_failure_note(struct emitter *emitter, const char *topic, int rc)
{
    size_t size = strlen(topic) + sizeof("a handler of  returned -2147483648");
    struct emitter_failure *failure;

    emitter->attention = true;
    if (emitter->telling || !(failure = malloc(sizeof(*failure) + size))) {
        emitter->unheard = CRIER_EHANDLER;
        return;
    }
    failure->next = NULL;
    snprintf(failure->text, size, "a handler of %s returned %d", topic, rc);
    *emitter->failures_end = failure;
    emitter->failures_end = &failure->next;
}

static struct emitter_failure *failure_take(struct emitter *emitter)
{
    struct emitter_failure *failure = emitter->failures;

    if (failure && !(emitter->failures = failure->next))
        emitter->failures_end = &emitter->failures;
    return failure;
}

void emitter_failures_forget(struct emitter *emitter)
{
    struct emitter_failure *failure;

    while ((failure = failure_take(emitter)))
        free(failure);
}

/* ---- the walk ---- */

/* One that has more than a slot. `began`: emitter.changes when the emit did. */
static int listener_run(struct emitter *emitter, struct emitter_listener *listener, const crier_event *event,
                        uint64_t began)
{
    int rc;

    if (listener->count == 0 || listener->active > began)
        return 0; /* its last event came while an earlier handler ran; or another member's turn */
    if (listener->count != EMITTER_ENDLESS && --listener->count == 0)
        emitter_leave_listener(emitter,
                               listener); /* first: what the handler emits does not come back to it */
    emitter_count(&listener->delivered);
    if (UNLIKELY(listener->crew != NULL))
        return emitter_crew_hand_out(listener->crew, event);
    rc = listener->handler(listener->bus, event, listener->ctx);
    if (UNLIKELY(rc < 0))
        emitter_count(&listener->failed);
    return rc;
}

int emitter_once_run(crier *bus, const crier_event *event, void *ctx)
{
    struct emitter_listener *listener = ctx;
    struct crier_topic *topic;
    unsigned before = emitter_enter(bus->emitter);
    uint32_t held = 0;
    int rc;

    if ((topic = listener->topic))
        held = topic_hold(topic);
    rc = listener_run(bus->emitter, listener, event, bus->emitter->changes);
    if (topic)
        topic_release(topic, held);
    emitter_exit_keep(bus->emitter, before);
    return rc;
}

/* The handlers of the slots before `end`. */
static NOINLINE void slots_run(struct emitter *emitter, const struct crier_topic *topic,
                               const crier_event *event, const struct emitter_slot *slot,
                               const struct emitter_slot *end)
{
    uint64_t began = emitter->changes;
    int rc;

    for (; slot < end; slot++) {
        if (UNLIKELY(slot->left <= began))
            continue;
        emitter->delivered++;
        if (LIKELY(!slot->listener))
            rc = slot->handler(emitter->bus, event, slot->ctx);
        else
            rc = listener_run(emitter, slot->listener, event, began);
        if (UNLIKELY(rc < 0))
            emitter_failure_note(emitter, topic->name, rc);
    }
}

/* The topic is held by counting in its memory, not in a register: each of those that lives over a handler's call is saved and
 * restored. */
static inline void array_run(struct emitter *emitter, struct crier_topic *topic, const crier_event *event)
{
    const struct emitter_array *array = topic->array;

    topic->running++;
    slots_run(emitter, topic, event, array->slots, array->slots + array->count);
    if (--topic->running == 0 && UNLIKELY(topic->settle_due))
        topic_settle(topic);
}

/* Most topics have one listener, and that a plain one: no walk for it. */
static inline void plain_run(struct emitter *emitter, struct crier_topic *topic, const crier_event *event)
{
    const struct emitter_slot *slot = topic->array->slots;
    int rc;

    topic->running++;
    emitter->delivered++;
    rc = slot->handler(emitter->bus, event, slot->ctx);
    if (UNLIKELY(rc < 0))
        emitter_failure_note(emitter, event->topic, rc);
    if (--topic->running == 0 && UNLIKELY(topic->settle_due))
        topic_settle(topic);
}

/* "error": its monitors first; with nobody else there it is the caller's. */
static int error_begin(struct emitter *emitter, const crier_event *event)
{
    crier_event copy = *event;

    copy.topic = emitter->monitor->name;
    if (emitter->monitor->count > 0)
        array_run(emitter, emitter->monitor, &copy);
    return emitter->error->count > 0 ? 0 : event->error;
}

/* Every field by itself: a zeroed struct costs more than all the rest of an emit. */
static inline void event_begin(crier_event *event, const void *value, size_t value_size)
{
    event->partition = 0;
    event->assignment = event->attempt = 0;
    event->timestamp_ms = 0;
    event->key = NULL;
    event->key_size = 0;
    event->value = value;
    event->value_size = value_size;
    event->header_count = 0;
    event->error = 0;
    event->internal = NULL;
    event->listener = NULL;
}

bool emitter_has_room(const struct emitter *emitter, const struct crier_topic *topic, size_t events)
{
    for (uint32_t i = 0; topic->array && i < topic->array->count; i++) {
        const struct emitter_slot *slot = &topic->array->slots[i];
        const struct emitter_listener *listener = slot->listener;
        if (emitter_slot_lives(slot) && listener && listener->has_room &&
            listener->active <= emitter->changes && !listener->has_room(listener->room_ctx, events))
            return false;
    }
    return true;
}

/* Some listeners' events wait: is there room with all of them? */
static int room_check(struct emitter *emitter, const struct crier_topic *topic)
{
    if (emitter_has_room(emitter, topic, 1))
        return 0;
    emitter->emitted--; /* it was not */
    atomic_store(&emitter->refused, true);
    return CRIER_EAGAIN;
}

/* What is special about "error": nobody is there, and its code is the emit's; about others: an event that does not fit. */
static NOINLINE int special_begin(struct emitter *emitter, const struct crier_topic *topic,
                                  crier_event *event)
{
    if (topic != emitter->error)
        return room_check(emitter, topic);
    if (event->error == 0)
        event->error = CRIER_EHANDLER;
    return error_begin(emitter, event);
}

static inline int topic_emit(struct emitter *emitter, struct crier_topic *topic, crier_event *event,
                             bool *ret_heard)
{
    int rc;

    event->topic = topic->name;
    event->offset = emitter->emitted;
    event->high_watermark = ++emitter->emitted;
    if (LIKELY(topic->plain)) {
        *ret_heard = true;
        plain_run(emitter, topic, event);
        return 0;
    }
    if (UNLIKELY(topic->special) && (rc = special_begin(emitter, topic, event)) < 0)
        return rc;
    if (topic->count == 0)
        return 0;
    *ret_heard = true;
    array_run(emitter, topic, event);
    return 0;
}

void emitter_run(struct emitter *emitter, const char *name, crier_event *event)
{
    struct crier_topic *topic = topic_table_find(&emitter->topics, name);

    event->offset = emitter->emitted;
    event->high_watermark = ++emitter->emitted;
    if (!topic || topic->count == 0)
        return;
    event->topic = topic->name;
    array_run(emitter, topic, event);
}

void emitter_tell(struct emitter *emitter, struct crier_topic *about, const crier_listener_info *info,
                  const char *text)
{
    crier_event event = {.value = text, .value_size = strlen(text), .listener = info};
    bool heard;

    (void)topic_emit(emitter, about, &event, &heard);
}

void emitter_tell_error(struct emitter *emitter, int code, const char *text)
{
    crier_event event = {.value = text, .value_size = strlen(text), .error = code};
    bool heard;

    if (topic_emit(emitter, emitter->error, &event, &heard) == 0)
        return;
    emitter->unheard = code;
    emitter->attention = true;
}

/* ---- the end of a call ---- */

int emitter_attend(struct emitter *emitter)
{
    struct emitter_failure *failure;
    int unheard, rc;
    bool heard;

    if (emitter_lock_depth(&emitter->lock) > 1)
        return 0;
    while ((failure = failure_take(emitter))) {
        crier_event event = {
            .value = failure->text, .value_size = strlen(failure->text), .error = CRIER_EHANDLER};
        emitter->telling = true;
        rc = topic_emit(emitter, emitter->error, &event, &heard);
        emitter->telling = false;
        if (rc < 0)
            emitter->unheard = rc;
        free(failure);
    }
    unheard = emitter->unheard;
    emitter->unheard = 0;
    emitter->attention = false;
    return unheard;
}

NOINLINE int emitter_exit_attending(struct emitter *emitter, unsigned before, int rc)
{
    int unheard;

    if (rc < 0) {
        emitter_exit_keep(emitter, before);
        return rc;
    }
    unheard = emitter_attend_if_due(emitter);
    emitter_lock_leave(&emitter->lock, before);
    return unheard;
}

/* ---- the API ---- */

/* Nobody has ever listened to it. */
static int emit_unknown(struct emitter *emitter, const char *topic)
{
    if (!topic_name_is_valid(topic))
        return CRIER_EINVAL;
    emitter->emitted++;
    return 0;
}

static bool has_room(crier *bus, const void *ctx)
{
    (void)ctx;
    return !atomic_load(&bus->emitter->refused);
}

bool emitter_room_wait(crier *bus)
{
    int waited;

    if (!bus->options.emit_blocks)
        return false;
    pthread_mutex_lock(&bus->lock);
    waited = bus_wait(bus, has_room, NULL, ENGINE_NEVER);
    pthread_mutex_unlock(&bus->lock);
    return waited == 0;
}

/* Everything it needs is in the event: so nothing else is kept in registers over the handlers' calls. */
static NOINLINE int emit_again(crier *bus, const crier_event *event)
{
    const struct crier_emit_options options = crier_emit_options_default();

    if (!emitter_room_wait(bus))
        return CRIER_EAGAIN;
    return crier_emit_with(bus, event->topic, event->value, event->value_size, &options);
}

int crier_emit(crier *bus, const char *topic, const void *value, size_t value_size)
{
    handle_check(&bus_handles, bus);
    struct crier_topic *record;
    struct emitter *emitter;
    crier_event event;
    unsigned before;
    bool heard;
    int rc;

    if (UNLIKELY(!bus || !topic || (!value && value_size > 0)))
        return CRIER_EINVAL;
    if (!(emitter = bus->emitter))
        return bus_emit(bus, topic, value, value_size, NULL);
    before = emitter_enter(emitter);
    event_begin(&event, value, value_size);
    record = topic_table_find(&emitter->topics, topic);
    rc = record ? topic_emit(emitter, record, &event, &heard) : emit_unknown(emitter, topic);
    rc = emitter_exit(emitter, before, rc);
    return UNLIKELY(rc == CRIER_EAGAIN) ? emit_again(bus, &event) : rc;
}

static NOINLINE int emit_by_name(const crier_topic *topic, const void *value, size_t value_size)
{
    return crier_emit(topic->bus, topic->name, value, value_size);
}

int crier_emit_topic(crier_topic *topic, const void *value, size_t value_size)
{
    handle_check(&topic_handles, topic);
    struct emitter *emitter;
    crier_event event;
    unsigned before;
    bool heard;
    int rc;

    if (UNLIKELY(!topic || (!value && value_size > 0)))
        return CRIER_EINVAL;
    if (UNLIKELY(!(emitter = topic->emitter)))
        return emit_by_name(topic, value, value_size);
    before = emitter_enter(emitter);
    event_begin(&event, value, value_size);
    rc = emitter_exit(emitter, before, topic_emit(emitter, topic, &event, &heard));
    return UNLIKELY(rc == CRIER_EAGAIN) ? emit_again(emitter->bus, &event) : rc;
}

/* With everything an emit may carry. */
static int emit_local(crier *bus, const char *topic, const void *value, size_t value_size,
                      const struct crier_emit_options *options)
{
    struct emitter *emitter = bus->emitter;
    struct emitter_event made;
    struct crier_topic *found;
    bool heard = false;
    unsigned before;
    int rc;

    if (options->error > 0)
        return CRIER_EINVAL;
    if ((rc = emitter_event_make(&made, value, value_size, options)) < 0)
        return rc;
    before = emitter_enter(emitter);
    found = topic_table_find(&emitter->topics, topic);
    if (found == emitter->error)
        made.event.error = options->error;
    rc = found ? topic_emit(emitter, found, &made.event, &heard) : emit_unknown(emitter, topic);
    if (options->ret_had_listeners && rc == 0)
        *options->ret_had_listeners = heard;
    if (options->done && rc == 0)
        options->done(bus, emitter_attend_if_due(emitter), UINT64_MAX, options->ctx);
    emitter_event_finish(&made);
    return emitter_exit(emitter, before, rc);
}

int crier_emit_with(crier *bus, const char *topic, const void *value, size_t value_size,
                    const struct crier_emit_options *options)
{
    handle_check(&bus_handles, bus);
    struct crier_emit_options copy;
    int rc;

    if (!options)
        return crier_emit(bus, topic, value, value_size);
    if (!bus || !topic)
        return CRIER_EINVAL;
    if (options->struct_size != sizeof(copy)) { /* made for another version */
        copy = crier_emit_options_default();
        if (!struct_take(&copy, sizeof(copy), options))
            return CRIER_EINVAL;
        options = &copy;
    }
    if (!bus->emitter)
        return bus_emit(bus, topic, value, value_size, options);
    do
        rc = emit_local(bus, topic, value, value_size, options);
    while (UNLIKELY(rc == CRIER_EAGAIN) && emitter_room_wait(bus));
    return rc;
}
