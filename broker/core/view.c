/* view.c: what the session core knows of topics and their partitions: names, starts, ends, and who stands where.
 *
 * Called:      session_known() by the shard, for every topic there is when recovery is over; session_topic() for each new one
 *              when its command is durable; view_find() per batch and per listener.
 * Owns:        views, by partition number; the names of topics, in a trie, for patterns. What was there at the start is
 *              written down in a few bytes, one topic behind the other, and has a view from its first use on: a start with
 *              100,000 topics does not wait for what few of them need. Where nobody listens to a pattern, nobody needs the trie. */
#include "broker/core/session_internal.h"

#include "base/check.h"

/* What was told of a topic at the start; `next` is the one told after it. */
struct known_topic {
    struct known_topic *next;
    uint32_t partition_count;
    bool ephemeral, used; /* it has a view, or is gone */
    struct known_partition {
        uint64_t id, log_start, high_watermark;
    } partitions[]; /* behind them: the name */
};

static char *known_name(struct known_topic *known)
{
    return (char *)&known->partitions[known->partition_count];
}

static struct view_place *place_of(struct session *session, uint64_t id)
{
    if (id >= session->place_capacity) {
        size_t capacity = session->place_capacity ? session->place_capacity : 64;
        while (capacity <= id)
            capacity *= 2;
        session->places = realloc(session->places, capacity * sizeof(struct view_place));
        CHECK(session->places);
        memset(session->places + session->place_capacity, 0,
               (capacity - session->place_capacity) * sizeof(struct view_place));
        session->place_capacity = capacity;
    }
    return &session->places[id];
}

/* ---- views are made ---- */

static struct topic_view *topic_view_create(struct session *session, const char *name, bool ephemeral,
                                            uint32_t view_count)
{
    size_t name_size = strlen(name) + 1;
    struct topic_view *topic = core_alloc(sizeof(*topic) + view_count * sizeof(struct view) + name_size);
    topic->name = memcpy(&topic->views[view_count], name, name_size); /* behind them */
    topic->view_count = view_count;
    topic->ephemeral = ephemeral;
    DL_APPEND(session->topics, topic);
    if (!session->unnamed)
        session->unnamed = topic;
    return topic;
}

static void view_init(struct session *session, struct topic_view *topic, uint32_t index,
                      const struct known_partition *partition)
{
    struct view *view = &topic->views[index];
    view->topic = topic;
    view->index = index;
    view->id = partition->id;
    view->log_start = partition->log_start;
    view->high_watermark = partition->high_watermark;
    struct view_place *place = place_of(session, view->id);
    CHECK(!place->view);
    *place = (struct view_place){.view = view};
}

static struct topic_view *known_use(struct session *session, struct known_topic *known)
{
    struct topic_view *topic =
        topic_view_create(session, known_name(known), known->ephemeral, known->partition_count);
    for (uint32_t i = 0; i < known->partition_count; i++)
        view_init(session, topic, i, &known->partitions[i]);
    known->used = true;
    return topic;
}

struct view *view_find(struct session *session, uint64_t partition)
{
    if (partition >> 63)
        return inbox_view(session, partition);
    if (partition >= session->place_capacity)
        return NULL;
    const struct view_place *place = &session->places[partition];
    if (!place->view && place->known)
        (void)known_use(session, place->known);
    return place->view;
}

void names_complete(struct session *session)
{
    for (; session->known_first; session->known_first = session->known_first->next)
        if (!session->known_first->used)
            (void)known_use(session, session->known_first);
    for (; session->unnamed; session->unnamed = session->unnamed->next)
        trie_add(&session->names, session->unnamed->name, &session->unnamed->item);
}

/* ---- from the shard ---- */

void session_known(void *ctx, const struct topic_info *info)
{
    struct session *session = ctx;
    if (quota_any(&info->quota) || info->max_listeners) { /* it counts from the start, and few have one */
        session_topic(session, info);
        return;
    }
    size_t name_size = strlen(info->name) + 1;
    struct known_topic *known =
        slab_alloc(&session->known_topics,
                   sizeof(*known) + info->partition_count * sizeof(known->partitions[0]) + name_size);
    known->partition_count = info->partition_count;
    known->ephemeral = info->ephemeral;
    memcpy(known_name(known), info->name, name_size);
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct partition_info *partition = &info->partitions[i];
        known->partitions[i] =
            (struct known_partition){partition->id, partition->log_start, partition->high_watermark};
        place_of(session, partition->id)->known = known;
    }
    if (session->known_last)
        session->known_last->next = known;
    else
        session->known_first = known;
    session->known_last = known;
}

void session_topic(void *ctx, const struct topic_info *info)
{
    struct session *session = ctx;
    struct topic_view *topic = topic_view_create(session, info->name, info->ephemeral, info->partition_count);
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct partition_info *partition = &info->partitions[i];
        view_init(session, topic, i,
                  &(struct known_partition){partition->id, partition->log_start, partition->high_watermark});
    }
    topic->max_listeners = info->max_listeners;
    quota_topic(session, topic, info->quota);
    pattern_topic(session, topic);
}

/* Cursors below are told when it is their turn: listener_deliver() and read_done() look at it first. */
void session_log_start(void *ctx, const struct partition_info *info)
{
    struct view *view = view_find(ctx, info->id);
    CHECK(view);
    view->log_start = info->log_start;
}

/* ---- a topic goes ---- */

static bool starts_in(const struct listener *listener, const struct topic_view *topic)
{
    for (size_t i = 0; i < listener->start_count && listener->starts; i++)
        for (uint32_t v = 0; v < topic->view_count; v++)
            if (listener->starts[i].partition == topic->views[v].id)
                return true;
    return false;
}

/* Ends who listens to it by name, or is about to listen to it among others; a pattern goes on with its other topics. */
static void listeners_end(struct core_connection *connection, const struct topic_view *topic)
{
    struct listener *listener, *next;
    HASH_ITER (hh, connection->listeners, listener, next) {
        bool resolved = listener->state != LISTENER_RESOLVING;
        if ((resolved && strcmp(listener->topic, topic->name) == 0) ||
            (listener->state != LISTENER_ACTIVE && starts_in(listener, topic)))
            listener_end(listener, WIRE_CRIER_ENOTOPIC, "the topic was deleted");
    }
}

void session_deleted(void *ctx, const struct topic_info *info)
{
    struct session *session = ctx;
    struct view *first = view_find(session, info->partitions[0].id);
    CHECK(first);
    struct topic_view *topic = first->topic;
    struct core_connection *connection, *next;
    HASH_ITER (hh, session->connections, connection, next)
        listeners_end(connection, topic);
    for (uint32_t i = 0; i < topic->view_count; i++) {
        struct view *view = &topic->views[i];
        while (view->cursors)
            cursor_destroy(view->cursors);
        tail_cache_drop(&session->cache, &view->tail);
        session->places[view->id].view = NULL;
    }
    quota_topic(session, topic, (struct quota){0});
    trie_remove(&session->names, &topic->item);
    if (session->unnamed == topic)
        session->unnamed = topic->next;
    DL_DELETE(session->topics, topic);
    free(topic);
}

void views_destroy(struct session *session)
{
    struct topic_view *topic, *next;
    DL_FOREACH_SAFE (session->topics, topic, next) {
        trie_remove(&session->names, &topic->item);
        free(topic);
    }
    free(session->places);
    slab_finish(&session->known_topics);
}
