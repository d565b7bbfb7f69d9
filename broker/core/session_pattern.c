/* session_pattern.c: listeners to a pattern: all the topics it matches, also those that come later.
 *
 * A pattern's listener has a cursor in every partition that it matches, like any listener in those of its topic: so a batch
 * costs no matching, only a new topic does, and a new listener. Where it starts is as for one topic; a topic that comes
 * later is heard from its first event. After a reconnect the client names what it knows (`resume`), and what it does not
 * know of has come meanwhile.
 *
 * Happy path:  LISTEN → pattern_begin: matching topics found, pattern in the trie → LISTENING (and ASSIGN, when one frame
 *              is not enough) → a new topic: pattern_topic → ASSIGN → delivery.c
 * Failures:    more partitions than PATTERN_PARTITIONS_MAX: ENDED with CRIER_ETOOBIG, also later. */
#include "broker/core/session_internal.h"

#define PATTERN_PARTITIONS_MAX                                                                               \
    2048u /* the client names all of them in a LISTEN after a reconnect: a header holds them */
#define PARTITIONS_IN_FRAME 128u /* with names of 255 bytes they fit a header */

const char *pattern_problem(const Wire__Listen *message)
{
    if (!trie_pattern_valid(message->topic))
        return "in a pattern no level is empty, and a whole one is * (any one level), or the last one ** "
               "(any number of levels)";
    if (message->group[0])
        return "a group listens to a topic, not to a pattern: join it on each topic";
    if (message->from == WIRE__FROM__OFFSET)
        return "a pattern has many partitions: start live, at the earliest event or at a time";
    return NULL;
}

static void too_many(struct listener *listener)
{
    listener_end(listener, WIRE_CRIER_ETOOBIG,
                 "the pattern matches more than 2,048 partitions: listen to a narrower one");
}

/* ---- LISTEN ---- */

static struct topic_view *topic_of(struct trie_item *item)
{
    return (struct topic_view *)(void *)((char *)item - offsetof(struct topic_view, item));
}

static void start_in_topic(struct listener *listener, const struct topic_view *topic)
{
    for (uint32_t i = 0; i < topic->view_count && listener->start_count <= PATTERN_PARTITIONS_MAX; i++)
        listener_start(listener, &topic->views[i]);
}

static void topic_matched(void *ctx, struct trie_item *item)
{
    start_in_topic(ctx, topic_of(item));
}

bool pattern_begin(struct listener *listener)
{
    struct session *session = listener->connection->session;
    names_complete(session);
    trie_match_pattern(&session->names, listener->topic, topic_matched, listener);
    if (listener->start_count > PATTERN_PARTITIONS_MAX) {
        too_many(listener);
        return false;
    }
    trie_add(&session->patterns, listener->topic, &listener->pattern);
    return true;
}

/* ---- what it has ---- */

/* Cursors from `*at` on, as many as fit one frame. */
static size_t frame_fill(struct cursor **at, Wire__ListenPartition *block, Wire__ListenPartition **pointers)
{
    size_t count = 0;
    for (; *at && count < PARTITIONS_IN_FRAME; *at = (*at)->next_own) {
        listen_partition_fill(*at, &block[count]);
        pointers[count] = &block[count];
        count++;
    }
    return count;
}

static void assign_send(struct listener *listener, struct cursor *from)
{
    Wire__ListenPartition block[PARTITIONS_IN_FRAME];
    Wire__ListenPartition *pointers[PARTITIONS_IN_FRAME];
    while (from) {
        Wire__Assign message = WIRE__ASSIGN__INIT;
        message.listener = listener->id;
        message.added = pointers;
        message.n_added = frame_fill(&from, block, pointers);
        message.more = from != NULL;
        connection_send(listener->connection, FRAME_ASSIGN, &message.base, NULL, 0);
    }
}

void pattern_listening(struct listener *listener)
{
    Wire__ListenPartition block[PARTITIONS_IN_FRAME];
    Wire__ListenPartition *pointers[PARTITIONS_IN_FRAME];
    struct cursor *from = listener->cursors;
    Wire__Listening message = WIRE__LISTENING__INIT;
    message.listener = listener->id;
    message.partitions = pointers;
    message.n_partitions = frame_fill(&from, block, pointers);
    message.more = from != NULL;
    connection_send(listener->connection, FRAME_LISTENING, &message.base, NULL, 0);
    assign_send(listener, from);
}

/* ---- a new topic ---- */

struct matched {
    struct listener **listeners;
    size_t count, capacity;
};

static void listener_matched(void *ctx, struct trie_item *item)
{
    struct matched *matched = ctx;
    matched->listeners =
        core_grow(matched->listeners, matched->count, &matched->capacity, sizeof(struct listener *));
    matched->listeners[matched->count++] =
        (struct listener *)(void *)((char *)item - offsetof(struct listener, pattern));
}

static void listener_gains(struct listener *listener, struct topic_view *topic)
{
    if (listener->state != LISTENER_ACTIVE) {
        start_in_topic(listener, topic);
        if (listener->start_count > PATTERN_PARTITIONS_MAX)
            too_many(listener);
        return;
    }
    size_t count = 0;
    const struct cursor *cursor;
    DL_FOREACH2(listener->cursors, cursor, next_own)
    count++;
    if (count + topic->view_count > PATTERN_PARTITIONS_MAX) {
        too_many(listener);
        return;
    }
    struct cursor *first = NULL;
    for (uint32_t i = 0; i < topic->view_count; i++) {
        struct cursor *added = cursor_create(listener, topic->views[i].id, topic->views[i].log_start);
        first = first ? first : added;
    }
    assign_send(listener, first);
}

void pattern_topic(struct session *session, struct topic_view *topic)
{
    struct matched matched = {0};
    trie_match_name(&session->patterns, topic->name, listener_matched, &matched);
    for (size_t i = 0; i < matched.count;
         i++) /* it may end one: that changes the trie, but none of the others */
        listener_gains(matched.listeners[i], topic);
    free(matched.listeners);
}
