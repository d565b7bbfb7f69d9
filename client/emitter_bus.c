/* emitter_bus.c: a bus of local: as a whole: it is opened, asked what any bus is asked, and closed.
 *
 * Thread:   any; each call takes the lock for itself.
 * Failures: closing from inside a handler: CRIER_EDEADLK, nothing happens. What only a broker could do: CRIER_ENOTSUP. */
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/scheme.h"
#include "client/topic_name.h"

#include <string.h>

#define NAME_MAX_BYTES 255

/* The bus's emitter: its own, or that of all who open this name. */
static int emitter_get(crier *bus, const char *name)
{
    return *name ? emitter_name_join(name, &bus->emitter) : emitter_create(bus, &bus->emitter);
}

static void emitter_put(struct emitter *emitter)
{
    if (emitter && emitter->name)
        emitter_name_leave(emitter);
    else
        emitter_destroy(emitter);
}

static int local_begin(crier *bus)
{
    unsigned before = emitter_enter(bus->emitter);
    int rc = bus->options.producer_name ? emitter_source_claim(bus) : 0;

    if (rc == 0)
        list_append(&bus->emitter->buses, &bus->among);
    emitter_exit_keep(bus->emitter, before);
    if (rc == 0 && !bus->own_thread)
        rc = emitter_loop_make(bus); /* the caller's, who is about to ask for its descriptor */
    return rc;
}

/* Returns what nobody heard. */
static int local_end(crier *bus)
{
    struct emitter *emitter = bus->emitter;
    unsigned before = emitter_enter(emitter);
    int kept = emitter->kept;

    emitter->kept = 0;
    list_remove(&bus->among);
    emitter_source_leave(bus);
    emitter_exit_keep(emitter, before);
    return kept;
}

static int local_open(const char *url, const struct crier_options *options, crier **ret_bus)
{
    const char *name = url + strlen("local:");
    crier *bus;
    int rc;

    if (*name && (!text_is_valid(name, NAME_MAX_BYTES) || strchr(name, '?'))) {
        open_error(options, "\"%s\" is not local: or local:NAME", url);
        return CRIER_EINVAL;
    }
    if (!(bus = bus_make(options)))
        return CRIER_ENOMEM;
    if ((rc = emitter_get(bus, name)) == 0 && (rc = local_begin(bus)) < 0)
        (void)local_end(bus);
    if (rc < 0) {
        emitter_put(bus->emitter);
        bus_free(bus);
        return rc;
    }
    *ret_bus = bus;
    return 0;
}

const struct bus_scheme bus_scheme_local = {.prefix = "local:", .open = local_open};

/* Its listeners go. Of a name that others have open too, as with crier_off(). */
static void listeners_let_go(crier *bus)
{
    unsigned before = emitter_enter(bus->emitter);

    bus->closing = true;
    if (bus->emitter->name)
        emitter_leave_bus(bus->emitter, bus);
    else
        emitter_let_go(bus->emitter);
    emitter_exit_keep(bus->emitter, before);
}

/* Listeners first: futures of theirs are settled while there is a loop to tell of it. */
int emitter_bus_close(crier *bus)
{
    struct emitter *emitter = bus->emitter;
    int kept;

    if (emitter_lock_is_inside(&emitter->lock) || bus_in_callback(bus))
        return CRIER_EDEADLK;
    listeners_let_go(bus);
    outings_wait(bus);
    if (atomic_load(&bus->looped))
        bus_loop_end(bus);
    kept = local_end(bus);
    emitter_put(emitter);
    bus_free(bus);
    return kept;
}

int emitter_bus_flush(crier *bus)
{
    struct emitter *emitter = bus->emitter;
    int kept;
    unsigned before;

    if (emitter_lock_is_inside(&emitter->lock))
        return CRIER_EDEADLK;
    before = emitter_enter(emitter);
    kept = emitter->kept;
    emitter->kept = 0;
    emitter_exit_keep(emitter, before);
    return kept;
}

void emitter_bus_stats(crier *bus, struct crier_stats *ret_stats)
{
    struct emitter *emitter = bus->emitter;
    unsigned before;

    before = emitter_enter(emitter);
    *ret_stats = (struct crier_stats){.emitted = emitter->emitted,
                                      .acked = emitter->emitted,
                                      .delivered = emitter->delivered,
                                      .connected = true};
    emitter_exit_keep(emitter, before);
}

int emitter_bus_max_listeners(crier *bus, int count)
{
    struct emitter *emitter = bus->emitter;
    unsigned before;

    before = emitter_enter(emitter);
    if (count >= 0)
        emitter->listeners_max = count;
    count = emitter->listeners_max;
    emitter_exit_keep(emitter, before);
    return count;
}

int emitter_bus_intern(crier *bus, const char *name, crier_topic **ret_topic, bool *ret_is_new)
{
    struct crier_topic *topic;
    unsigned before;

    if (!topic_name_is_valid(name) && !topic_name_is_local(name))
        return CRIER_EINVAL;
    before = emitter_enter(bus->emitter);
    if ((topic = emitter_topic_get(bus->emitter, name))) {
        *ret_is_new = !topic->pinned;
        topic->pinned = true;
        *ret_topic = topic;
    }
    emitter_exit_keep(bus->emitter, before);
    return topic ? 0 : CRIER_ENOMEM;
}

/* ---- topics and groups: what a program asks that does not know which kind of bus it has ---- */

int emitter_bus_topic_create(crier *bus, const char *name)
{
    crier_topic *topic;
    bool is_new;
    int rc;

    if (!topic_name_is_valid(name))
        return CRIER_EINVAL;
    if ((rc = emitter_bus_intern(bus, name, &topic, &is_new)) < 0)
        return rc;
    return is_new ? 0 : CRIER_EEXIST;
}

int emitter_bus_topic_describe(crier *bus, const char *name,
                               void (*each)(void *ctx, const struct crier_topic_info *info), void *ctx)
{
    struct crier_partition_info partition = {0};
    struct crier_topic_info info = {
        .name = name, .partition_count = 1, .partitions = &partition, .durability = CRIER_MEMORY};
    bool found;
    unsigned before;

    if (!name)
        return CRIER_ENOTSUP;
    before = emitter_enter(bus->emitter);
    found = topic_table_find(&bus->emitter->topics, name) && !topic_name_is_local(name);
    partition.log_start = partition.high_watermark = bus->emitter->emitted; /* nothing is kept */
    emitter_exit_keep(bus->emitter, before);
    if (!found)
        return CRIER_ENOTOPIC;
    each(ctx, &info);
    return 0;
}

struct group_question {
    const char *name;
    uint32_t members;
};

static void group_look(const struct crier_topic *topic, struct group_question *question)
{
    for (uint32_t i = 0; topic->array && i < topic->array->count; i++) {
        const struct emitter_slot *slot = &topic->array->slots[i];
        if (emitter_slot_lives(slot) && slot->listener && slot->listener->group)
            question->members += strcmp(slot->listener->group, question->name) == 0;
    }
}

/* A group here is its members; an event that was emitted is handled, so it stands at the end. */
int emitter_bus_group_describe(crier *bus, const char *name, const char *topic,
                               void (*each)(void *ctx, const struct crier_group_info *info), void *ctx)
{
    struct emitter *emitter = bus->emitter;
    struct group_question question = {.name = name};
    struct crier_group_partition partition = {.has_position = true, .member = ""};
    struct crier_group_info info = {.name = name, .partitions = &partition};
    unsigned before;

    before = emitter_enter(emitter);
    for (struct list *link = emitter->topics.active.next; link != &emitter->topics.active; link = link->next)
        group_look(LIST_ENTRY(link, struct crier_topic, active), &question);
    partition.position = partition.high_watermark = emitter->emitted;
    emitter_exit_keep(emitter, before);
    if (question.members == 0)
        return CRIER_EINVAL;
    info.member_count = question.members;
    info.partition_count = topic != NULL;
    each(ctx, &info);
    return 0;
}
