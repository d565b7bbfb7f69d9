/* emitter_bus.c: a bus of local: as a whole: it is opened, asked what any bus is asked, and closed.
 *
 * Thread:   any; each call takes the lock for itself.
 * Failures: closing from inside a handler: CRIER_EDEADLK, nothing happens. What only a broker could do: CRIER_ENOTSUP. */
#include "client/bus_internal.h"
#include "client/emitter.h"
#include "client/scheme.h"
#include "client/topic_name.h"

#include <string.h>

static int local_open(const char *url, const struct crier_options *options, crier **ret_bus)
{
    crier *bus;
    int rc;

    if (strcmp(url, "local:") != 0) {
        open_error(options, "\"%s\": nothing may follow local:", url);
        return CRIER_EINVAL;
    }
    if (!(bus = bus_make(options)))
        return CRIER_ENOMEM;
    if ((rc = emitter_create(bus, &bus->emitter)) == 0 && !bus->own_thread)
        rc = emitter_loop_make(bus); /* the caller's, who is about to ask for its descriptor */
    if (rc < 0) {
        emitter_destroy(bus->emitter);
        bus_free(bus);
        return rc;
    }
    *ret_bus = bus;
    return 0;
}

const struct bus_scheme bus_scheme_local = {.prefix = "local:", .open = local_open};

/* Listeners first: futures of theirs are settled while there is a loop to tell of it. */
int emitter_bus_close(crier *bus)
{
    struct emitter *emitter = bus->emitter;
    int kept;
    unsigned before;

    if (emitter_lock_is_inside(&emitter->lock) || bus_in_callback(bus))
        return CRIER_EDEADLK;
    before = emitter_enter(emitter);
    emitter_let_go(emitter);
    emitter_exit_keep(emitter, before);
    outings_wait(bus);
    if (atomic_load(&bus->looped))
        bus_loop_end(bus);
    kept = emitter->kept;
    emitter_destroy(emitter);
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
