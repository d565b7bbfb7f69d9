/* emitter_atomic.c: on a bus of local:, several events emitted as one, and how far a source of events is.
 *
 * Role:     what a program asks that reads a source and does not know which kind of bus it has. Nothing is kept here, so a source's
 *           position is known as long as its bus is (of local:NAME: as long as somebody has the name open).
 * Thread:   any; each call takes the lock for itself, and keeps it for all events of an emit.
 * Owns:     struct emitter_source, the emitter's.
 *
 * Happy path:  emitter_bus_emit_atomic: every event is made and has room -> the position moves -> one after the other is run
 * Failures:    an event that is not valid, or has no room: its code, and none was emitted. A handler that fails: as in an emit. */
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/emitter_headers.h"
#include "client/topic_name.h"

#include <stdlib.h>
#include <string.h>

struct emitter_source {
    struct emitter_source *next;
    const crier *owner; /* who opened with its name last; NULL: it is closed */
    uint64_t position;  /* emitted up to here */
    uint64_t last;      /* of its owner's emits */
    char name[];
};

/* ---- sources ---- */

static struct emitter_source *source_get(struct emitter *emitter, const char *name)
{
    struct emitter_source *source = emitter->sources;
    size_t size = strlen(name) + 1;

    while (source && strcmp(source->name, name) != 0)
        source = source->next;
    if (source || !(source = calloc(1, sizeof(*source) + size)))
        return source;
    memcpy(source->name, name, size);
    source->next = emitter->sources;
    emitter->sources = source;
    return source;
}

int emitter_source_claim(crier *bus)
{
    struct emitter_source *source = source_get(bus->emitter, bus->options.producer_name);

    if (!source)
        return CRIER_ENOMEM;
    source->owner = bus;
    source->last = 0;
    bus->source = source;
    return 0;
}

void emitter_source_leave(crier *bus)
{
    if (bus->source && bus->source->owner == bus)
        bus->source->owner = NULL;
}

void emitter_sources_forget(struct emitter *emitter)
{
    struct emitter_source *source;

    while ((source = emitter->sources)) {
        emitter->sources = source->next;
        free(source);
    }
}

int emitter_bus_source_position(crier *bus, uint64_t *ret_position)
{
    const struct emitter_source *source = bus->source;
    unsigned before = emitter_enter(bus->emitter);
    int rc = !source ? CRIER_EINVAL : source->owner != bus ? CRIER_EFENCED : 0;

    if (rc == 0)
        *ret_position = source->position;
    emitter_exit_keep(bus->emitter, before);
    return rc;
}

static int position_check(const crier *bus, uint64_t position)
{
    if (!bus->source)
        return position == 0 ? 0 : CRIER_EINVAL;
    if (bus->source->owner != bus)
        return CRIER_EFENCED;
    return position > bus->source->last ? 0 : CRIER_EINVAL;
}

/* The source is at this position now. Returns whether the events are new. */
static bool position_move(crier *bus, uint64_t position)
{
    if (!bus->source)
        return true;
    bus->source->last = position;
    if (position <= bus->source->position)
        return false;
    bus->source->position = position;
    return true;
}

/* ---- events ---- */

static int event_check(const struct crier_atomic_event *event)
{
    const struct crier_emit_options *options = event->options;

    if (!event->topic || !topic_name_is_valid(event->topic))
        return CRIER_EINVAL;
    if (options && (options->done || options->durability != CRIER_DURABLE))
        return CRIER_EINVAL;
    return options && options->expects ? CRIER_ENOTSUP : 0; /* there are no offsets that last */
}

static int events_make(const struct crier_atomic_event *events, size_t count, struct emitter_event *made)
{
    const struct crier_emit_options defaults = crier_emit_options_default();
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        if ((rc = event_check(&events[i])) == 0)
            rc = emitter_event_make(&made[i], events[i].value, events[i].value_size,
                                    events[i].options ? events[i].options : &defaults);
    return rc;
}

/* With every listener, for all of its topic's events? */
static bool events_have_room(struct emitter *emitter, const struct crier_atomic_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct crier_topic *topic = topic_table_find(&emitter->topics, events[i].topic);
        size_t alike = 0;
        if (!topic || !topic->special)
            continue;
        for (size_t j = 0; j < count; j++)
            alike += strcmp(events[j].topic, events[i].topic) == 0;
        if (!emitter_has_room(emitter, topic, alike))
            return false;
    }
    return true;
}

/* With the lock. */
static int atomic_run(crier *bus, const struct crier_atomic_event *events, size_t count,
                      struct emitter_event *made, const struct crier_atomic_options *options)
{
    struct emitter *emitter = bus->emitter;
    int rc = position_check(bus, options->source_position);

    if (rc == 0 && !events_have_room(emitter, events, count)) {
        atomic_store(&emitter->refused, true);
        rc = CRIER_EAGAIN;
    }
    if (rc < 0)
        return rc;
    if (position_move(bus, options->source_position))
        for (size_t i = 0; i < count; i++)
            emitter_run(emitter, events[i].topic, &made[i].event);
    if (options->done)
        options->done(bus, emitter_attend_if_due(emitter), UINT64_MAX, options->ctx);
    return 0;
}

int emitter_bus_emit_atomic(crier *bus, const struct crier_atomic_event *events, size_t count,
                            const struct crier_atomic_options *options)
{
    struct emitter_event *made;
    unsigned before;
    int rc;

    if (options->consumed_count > 0)
        return CRIER_ENOTSUP; /* a group has no position here */
    if (count == 0 || count > CRIER_ATOMIC_EVENTS_MAX)
        return CRIER_EINVAL;
    if (!(made = calloc(count, sizeof(*made))))
        return CRIER_ENOMEM;
    if ((rc = events_make(events, count, made)) == 0) {
        do {
            before = emitter_enter(bus->emitter);
            rc = atomic_run(bus, events, count, made, options);
            rc = emitter_exit(bus->emitter, before, rc);
        } while (rc == CRIER_EAGAIN && emitter_room_wait(bus));
    }
    for (size_t i = 0; i < count; i++)
        emitter_event_finish(&made[i]);
    free(made);
    return rc;
}
