/* emitter.c: listeners come and go. See emitter.h for how they are kept, and why nothing disturbs an emit.
 *
 * Thread: the holder of the lock. Owns: arrays, listeners.
 *
 * Happy path:  emitter_join: "newListener" is told -> a slot -> "$warning" if they are many
 *              emitter_leave: the slot is marked -> "removeListener" is told -> topic_settle: `released`, memory goes
 * Failures:    no memory for the slot: "removeListener" is told, CRIER_ENOMEM. Leaving cannot fail. */
#include "client/emitter.h"

#include "base/check.h"
#include "client/handles.h"
#include "client/topic_name.h"

#include <stdio.h>
#include <stdlib.h>

#define LISTENERS_MAX_DEFAULT 10 /* as Node's */
#define CAPACITY_MANY         4

/* ---- the emitter ---- */

/* After every change of the topic's listeners: the case that an emit asks about first. */
static void topic_plain_set(struct crier_topic *topic)
{
    topic->plain =
        !topic->special && topic->count == 1 && topic->array->count == 1 && !topic->array->slots[0].listener;
}

struct crier_topic *emitter_topic_get(struct emitter *emitter, const char *name)
{
    struct crier_topic *topic = topic_table_get(&emitter->topics, emitter->bus, name);

    if (topic && !topic->emitter) /* whoever has interned it reads this without the lock */
        topic->emitter = emitter;
    return topic;
}

static bool pinned_get(struct emitter *emitter, const char *name, struct crier_topic **ret_topic)
{
    if (!(*ret_topic = emitter_topic_get(emitter, name)))
        return false;
    (*ret_topic)->pinned = true;
    return true;
}

int emitter_create(crier *bus, struct emitter **ret_emitter)
{
    struct emitter *emitter = calloc(1, sizeof(*emitter));

    if (!emitter)
        return CRIER_ENOMEM;
    if (!emitter_lock_init(&emitter->lock)) {
        free(emitter);
        return CRIER_ENOMEM;
    }
    emitter->bus = bus;
    list_init(&emitter->buses);
    emitter->listeners_max = LISTENERS_MAX_DEFAULT;
    emitter->failures_end = &emitter->failures;
    topic_table_init(&emitter->topics);
    if (!pinned_get(emitter, "error", &emitter->error) ||
        !pinned_get(emitter, CRIER_ERROR_MONITOR, &emitter->monitor) ||
        !pinned_get(emitter, "newListener", &emitter->joined) ||
        !pinned_get(emitter, "removeListener", &emitter->left) ||
        !pinned_get(emitter, CRIER_WARNING, &emitter->warning)) {
        emitter_destroy(emitter);
        return CRIER_ENOMEM;
    }
    emitter->error->special = true;
    *ret_emitter = emitter;
    return 0;
}

void emitter_listener_free(struct emitter_listener *listener)
{
    if (listener->crew && !emitter_crew_end(listener->crew))
        return;
    if (listener->assigned && listener->active != EMITTER_LIVE)
        listener->assigned(listener->ctx, 0, false);
    if (listener->released)
        listener->released(listener->ctx, 0, "");
    free(listener->group);
    handle_freed(&listener_handles, listener);
    free(listener);
}

static void listener_leave(struct crier_topic *topic, struct emitter_listener *listener)
{
    listener->topic = NULL;
    if (listener->has_room && --topic->bounded == 0)
        topic->special = topic == topic->emitter->error;
    if (listener->crew && listener->count > 0)
        emitter_crew_stop(listener->crew);
}

void emitter_let_go(struct emitter *emitter)
{
    while (!list_is_empty(&emitter->topics.active)) {
        struct crier_topic *topic = LIST_ENTRY(emitter->topics.active.next, struct crier_topic, active);
        uint32_t held = topic_hold(topic);
        for (uint32_t i = 0; i < topic->array->count; i++) {
            struct emitter_slot *slot = &topic->array->slots[i];
            if (slot->listener && emitter_slot_lives(slot))
                listener_leave(topic, slot->listener);
            slot->left = 0;
        }
        topic->count = 0;
        topic_plain_set(topic);
        list_remove(&topic->active);
        topic->settle_due = topic->array->marked = true;
        topic_release(topic, held);
    }
}

void emitter_destroy(struct emitter *emitter)
{
    if (!emitter)
        return;
    emitter_let_go(emitter);
    emitter_failures_forget(emitter);
    emitter_sources_forget(emitter);
    topic_table_finish(&emitter->topics);
    emitter_lock_finish(&emitter->lock);
    free(emitter);
}

/* ---- arrays ---- */

/* Takes what has left out of the array. Those who have more than a slot are put on `gone`. */
static void array_compact(struct emitter_array *array, struct emitter_listener **gone)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < array->count; i++) {
        struct emitter_slot *slot = &array->slots[i];
        if (emitter_slot_lives(slot)) {
            array->slots[kept++] = *slot;
        } else if (slot->listener) {
            slot->listener->next = *gone;
            *gone = slot->listener;
        }
    }
    array->count = kept;
    array->marked = false;
}

/* No call is using the topic any more: what has left goes, and the record too if nothing needs it. */
void topic_settle(struct crier_topic *topic)
{
    struct emitter_listener *gone = NULL, *next;
    struct emitter_array *array;

    topic->settle_due = false;
    while ((array = topic->retired)) {
        topic->retired = array->next;
        if (array->marked)
            array_compact(array, &gone);
        free(array);
    }
    if (topic->array && topic->array->marked)
        array_compact(topic->array, &gone);
    topic_plain_set(topic);
    if (topic->count == 0) {
        free(topic->array);
        topic->array = NULL;
        topic_table_drop(&topic->emitter->topics, topic);
    }
    for (; gone; gone = next) {
        next = gone->next;
        emitter_listener_free(gone);
    }
}

/* A larger array takes the place of the topic's: with a free slot in front if `first`. The old one stays for those who
 * stand in it. Who has left keeps a place, so that an index means the same in both; but what is to be released is in one. */
static bool array_grow(struct crier_topic *topic, bool first)
{
    struct emitter_array *array, *old = topic->array;
    uint32_t count = old ? old->count : 0, capacity = count == 0 ? 1 : CAPACITY_MANY;

    while (capacity <= count)
        capacity *= 2;
    if (!(array = malloc(sizeof(*array) + capacity * sizeof(array->slots[0]))))
        return false;
    *array =
        (struct emitter_array){.capacity = capacity, .count = count + first, .marked = old && old->marked};
    for (uint32_t i = 0; i < count; i++) {
        array->slots[i + first] = old->slots[i];
        if (!emitter_slot_lives(&old->slots[i]))
            array->slots[i + first].listener = NULL;
    }
    topic->array = array;
    if (old) {
        old->next = topic->retired;
        topic->retired = old;
        topic->settle_due = true;
    }
    return true;
}

/* A slot for one more, at the end or (first) in front; NULL: no memory. */
static struct emitter_slot *slot_make(struct crier_topic *topic, bool first)
{
    struct emitter_array *array = topic->array;

    if ((first || !array || array->count == array->capacity) && !array_grow(topic, first))
        return NULL;
    return first ? &topic->array->slots[0] : &topic->array->slots[topic->array->count++];
}

bool emitter_slot_matches(const struct emitter_slot *slot, crier_handler *handler, const void *ctx)
{
    if (!emitter_slot_lives(slot))
        return false;
    if (slot->handler == handler && slot->ctx == ctx)
        return true;
    return handler == emitter_once_run && slot->listener && slot->listener == ctx;
}

/* ---- groups: one member of each is called, the first in the array ---- */

static void group_take_over(struct emitter *emitter, const struct crier_topic *topic, const char *group)
{
    for (uint32_t i = 0; topic->array && i < topic->array->count; i++) {
        struct emitter_slot *slot = &topic->array->slots[i];
        struct emitter_listener *listener = slot->listener;
        if (!emitter_slot_lives(slot) || !listener || !listener->group || strcmp(listener->group, group) != 0)
            continue;
        if (listener->active == EMITTER_LIVE) {
            listener->active = emitter->changes; /* from the next emit on */
            if (listener->assigned)
                listener->assigned(listener->ctx, 0, true);
        }
        return;
    }
}

/* ---- join ---- */

crier_listener_info emitter_info(const struct crier_topic *topic, const struct emitter_slot *slot)
{
    uint64_t count = slot->listener ? slot->listener->count : EMITTER_ENDLESS;

    return (crier_listener_info){.topic = topic->name,
                                 .handler = slot->handler,
                                 .ctx = slot->ctx,
                                 .count = count == EMITTER_ENDLESS ? 0 : count,
                                 .listener_count = topic->count};
}

static void warn_of_many(struct emitter *emitter, struct crier_topic *topic, const struct emitter_slot *slot)
{
    crier_listener_info info = emitter_info(topic, slot);
    char text[CRIER_TOPIC_NAME_MAX + 128];

    if (emitter->listeners_max == 0 || topic->count < 2 || topic->warned ||
        topic->count <= (uint32_t)emitter->listeners_max)
        return;
    topic->warned = true;
    if (emitter->warning->count == 0)
        return;
    snprintf(text, sizeof(text),
             "%u listeners of %s on one bus: a leak? crier_set_max_listeners() sets the limit", topic->count,
             topic->name);
    emitter_tell(emitter, emitter->warning, &info, text);
}

/* The slot is the listener's from now on. */
static void slot_fill(struct emitter *emitter, struct crier_topic *topic, struct emitter_slot *slot,
                      const struct emitter_join *join)
{
    *slot = (struct emitter_slot){
        .handler = join->handler, .ctx = join->ctx, .listener = join->listener, .left = EMITTER_LIVE};
    if (topic->count++ == 0)
        list_append(&emitter->topics.active, &topic->active);
    topic_plain_set(topic);
    if (!join->listener)
        return;
    join->listener->topic = topic;
    if (join->listener->has_room) {
        topic->bounded++;
        topic->special = true;
    }
    if (join->listener->group)
        group_take_over(emitter, topic, join->listener->group);
}

static int join_held(struct emitter *emitter, struct crier_topic *topic, const struct emitter_join *join)
{
    struct emitter_slot preview = {.handler = join->handler, .ctx = join->ctx, .listener = join->listener};
    crier_listener_info info = emitter_info(topic, &preview);
    struct emitter_slot *slot;

    if (emitter->joined->count > 0)
        emitter_tell(emitter, emitter->joined, &info, topic->name);
    if (!(slot = slot_make(topic, join->first))) {
        if (emitter->left->count > 0)
            emitter_tell(emitter, emitter->left, &info, topic->name);
        return CRIER_ENOMEM;
    }
    slot_fill(emitter, topic, slot, join);
    warn_of_many(emitter, topic, &preview);
    return 0;
}

int emitter_join(struct emitter *emitter, const struct emitter_join *join)
{
    struct crier_topic *topic = emitter_topic_get(emitter, join->topic);
    uint32_t held;
    int rc;

    if (!topic)
        return CRIER_ENOMEM;
    topic->settle_due |= topic->count == 0; /* should nothing come of it */
    held = topic_hold(topic);
    rc = join_held(emitter, topic, join);
    topic_release(topic, held);
    return rc;
}

/* ---- leave ---- */

/* The topic is held. */
static void slot_leave(struct emitter *emitter, struct crier_topic *topic, struct emitter_slot *slot,
                       bool tell)
{
    struct emitter_listener *listener = slot->listener;
    crier_listener_info info;

    slot->left = ++emitter->changes;
    topic->array->marked = topic->settle_due = true;
    if (--topic->count <= 1)
        topic->warned = false;
    if (topic->count == 0)
        list_remove(&topic->active);
    topic_plain_set(topic);
    if (listener) {
        listener_leave(topic, listener);
        if (listener->group && listener->active != EMITTER_LIVE)
            group_take_over(emitter, topic, listener->group);
    }
    if (!tell || emitter->left->count == 0)
        return;
    info = emitter_info(topic, slot);
    emitter_tell(emitter, emitter->left, &info, topic->name);
}

void emitter_leave(struct emitter *emitter, struct crier_topic *topic, uint32_t index)
{
    uint32_t held;

    if (!topic->array || index >= topic->array->count || !emitter_slot_lives(&topic->array->slots[index]))
        return;
    held = topic_hold(topic);
    slot_leave(emitter, topic, &topic->array->slots[index], true);
    topic_release(topic, held);
}

bool emitter_leave_newest(struct emitter *emitter, const char *name, crier_handler *handler, void *ctx)
{
    struct crier_topic *topic = topic_table_find(&emitter->topics, name);

    if (!topic || !topic->array)
        return false;
    for (uint32_t i = topic->array->count; i-- > 0;)
        if (emitter_slot_matches(&topic->array->slots[i], handler, ctx)) {
            emitter_leave(emitter, topic, i);
            return true;
        }
    return false;
}

void emitter_leave_listener(struct emitter *emitter, struct emitter_listener *listener)
{
    struct crier_topic *topic = listener->topic;

    for (uint32_t i = 0; topic && i < topic->array->count; i++)
        if (topic->array->slots[i].listener == listener) {
            emitter_leave(emitter, topic, i);
            return;
        }
}

/* Who goes when the slot at `index` is to: of equal plain listeners the newest, as with crier_off(). */
static uint32_t newest_alike(const struct crier_topic *topic, uint32_t index)
{
    const struct emitter_slot *slots = topic->array->slots;

    if (slots[index].listener)
        return index;
    for (uint32_t i = topic->array->count; i-- > index;)
        if (emitter_slot_matches(&slots[i], slots[index].handler, slots[index].ctx))
            return i;
    return index;
}

static void topic_leave_all(struct emitter *emitter, struct crier_topic *topic, bool tell)
{
    uint32_t held = topic_hold(topic);

    tell = tell && emitter->left->count > 0; /* else nobody can join meanwhile */
    for (uint32_t i = topic->array ? topic->array->count : 0; i-- > 0;)
        if (i < topic->array->count && emitter_slot_lives(&topic->array->slots[i]))
            slot_leave(emitter, topic, &topic->array->slots[tell ? newest_alike(topic, i) : i], tell);
    topic_release(topic, held);
}

/* The first topic with listeners that has this stamp, which it loses; NULL: there is none. */
static struct crier_topic *stamped_take(struct emitter *emitter, uint64_t stamp)
{
    for (struct list *link = emitter->topics.active.next; link != &emitter->topics.active;
         link = link->next) {
        struct crier_topic *topic = LIST_ENTRY(link, struct crier_topic, active);
        if (topic->stamp == stamp) {
            topic->stamp = 0;
            return topic;
        }
    }
    return NULL;
}

/* Every topic with listeners gets a stamp, which is returned. */
static uint64_t stamp_active(struct emitter *emitter)
{
    uint64_t stamp = ++emitter->changes;

    for (struct list *link = emitter->topics.active.next; link != &emitter->topics.active; link = link->next)
        LIST_ENTRY(link, struct crier_topic, active)->stamp = stamp;
    return stamp;
}

/* Every topic there is now, once; the monitors, which have a symbol's place in Node, and "removeListener" last. Who joins meanwhile goes without a word, as in Node. */
static void leave_everything(struct emitter *emitter)
{
    uint64_t stamp = stamp_active(emitter);
    struct crier_topic *topic;

    emitter->left->stamp = emitter->monitor->stamp = 0;
    while ((topic = stamped_take(emitter, stamp)))
        topic_leave_all(emitter, topic, true);
    topic_leave_all(emitter, emitter->monitor, true);
    topic_leave_all(emitter, emitter->left, true);
    while (!list_is_empty(&emitter->topics.active))
        topic_leave_all(emitter, LIST_ENTRY(emitter->topics.active.next, struct crier_topic, active), false);
}

void emitter_leave_all(struct emitter *emitter, const char *name)
{
    struct crier_topic *topic;

    if (!name)
        leave_everything(emitter);
    else if ((topic = topic_table_find(&emitter->topics, name)))
        topic_leave_all(emitter, topic, true);
}

static void topic_leave_bus(struct emitter *emitter, struct crier_topic *topic, const crier *bus)
{
    uint32_t held = topic_hold(topic);

    for (uint32_t i = topic->array ? topic->array->count : 0; i-- > 0;) {
        struct emitter_slot *slot = &topic->array->slots[i];
        if (i < topic->array->count && emitter_slot_lives(slot) && slot->listener->bus == bus)
            slot_leave(emitter, topic, slot, true);
    }
    topic_release(topic, held);
}

void emitter_leave_bus(struct emitter *emitter, const crier *bus)
{
    struct crier_topic *topic;
    uint64_t stamp;

    topic_leave_bus(emitter, emitter->left, bus);
    stamp = stamp_active(emitter);
    while ((topic = stamped_take(emitter, stamp)))
        topic_leave_bus(emitter, topic, bus);
}
