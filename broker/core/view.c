/* view.c: what the session core knows of topics and their partitions: names, starts, ends, and who stands where.
 *
 * Called:      session_topic() by the shard, for every topic there is when recovery is over, and for each new one when its
 *              command is durable; view_find() per batch and per listener.
 * Owns:        views, by partition number; the names of topics, in a trie, for patterns. Where nobody listens to a pattern,
 *              nobody needs the trie, and a start with 100,000 topics is quicker without. */
#include "broker/core/session_internal.h"

#include "base/check.h"

struct view *view_find(const struct session *session, uint64_t partition)
{
    if (partition >> 63)
        return inbox_view(session, partition);
    return partition < session->view_capacity ? session->views[partition] : NULL;
}

static void views_reserve(struct session *session, uint64_t id)
{
    if (id < session->view_capacity)
        return;
    size_t capacity = session->view_capacity ? session->view_capacity : 64;
    while (capacity <= id)
        capacity *= 2;
    session->views = realloc(session->views, capacity * sizeof(struct view *));
    CHECK(session->views);
    memset(session->views + session->view_capacity, 0,
           (capacity - session->view_capacity) * sizeof(struct view *));
    session->view_capacity = capacity;
}

void session_topic(void *ctx, const struct topic_info *info)
{
    struct session *session = ctx;
    size_t name_size = strlen(info->name) + 1;
    struct topic_view *topic =
        core_alloc(sizeof(*topic) + info->partition_count * sizeof(struct view) + name_size);
    topic->name = (char *)&topic->views[info->partition_count]; /* behind them */
    memcpy(topic->name, info->name, name_size);
    topic->view_count = info->partition_count;
    topic->ephemeral = info->ephemeral;
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct partition_info *partition = &info->partitions[i];
        struct view *view = &topic->views[i];
        view->topic = topic;
        view->id = partition->id;
        view->index = i;
        view->log_start = partition->log_start;
        view->high_watermark = partition->high_watermark;
        views_reserve(session, view->id);
        CHECK(!session->views[view->id]);
        session->views[view->id] = view;
    }
    DL_APPEND(session->topics, topic);
    if (!session->unnamed)
        session->unnamed = topic;
    quota_topic(session, topic, info->quota);
    pattern_topic(session, topic);
}

void names_complete(struct session *session)
{
    for (; session->unnamed; session->unnamed = session->unnamed->next)
        trie_add(&session->names, session->unnamed->name, &session->unnamed->item);
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
        session->views[view->id] = NULL;
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
    free(session->views);
}
