/* presence.c: who listens to a topic, as events: the topic "$presence." and its name tells of listeners that come and go.
 *
 * Such a topic is ephemeral, in no catalogue, and there while somebody listens to it, as an inbox is. What is behind the
 * prefix may be a pattern. Its events are the broker's: the key says what, the value is the topic, headers say who:
 *
 *   listeners       first, and anew whenever there was more to tell than fits: so many there are, so many are told
 *   listener        those; as many as fit PRESENCE_BLOCK
 *   newListener     one has come                          removeListener  one has gone
 *
 * A listener counts in a topic while it has a cursor there: those to patterns do, and of a group those that have some of it.
 * That is who would hear an event now, and the same number that TOPICS tells.
 *
 * Called:      cursor_create() and cursor_destroy(); LISTEN; session_turn_end().
 * Owns:        one topic_view per name that somebody watches, by number in session.inboxes; what has changed in this turn.
 * Cost:        where nobody watches, two comparisons for each listener that comes or goes. A turn's changes are one batch.
 *
 * Happy path:  LISTEN → presence_open → at the turn's end: `listeners` to the new ones, then changes as they come
 * Failures:    more changes in a turn than PRESENCE_BLOCK holds: everybody is told anew who is there. No memory: the same, a
 *              little later. */
#include "broker/core/session_internal.h"

#include "base/check.h"

#include <stdio.h>

#define PRESENCE_PREFIX "$presence."
#define PRESENCE_ID     (UINT64_C(3) << 62)
#define PRESENCE_BLOCK  (128u * 1024)

struct presence {
    UT_hash_handle hh;     /* by its topic's name, in session.presences */
    struct trie_item item; /* by what it is about, in session.presence_names */
    struct inbox *inbox;
    const char *about;
    uint8_t *block; /* what has changed in this turn; NULL: nothing */
    struct batch_builder changes;
    bool lost;  /* more has, than fitted there */
    bool dirty; /* in session.presences_dirty: something is to be done at the turn's end */
    struct presence *prev, *next;
};

bool presence_is_one(const char *name)
{
    return strncmp(name, PRESENCE_PREFIX, sizeof(PRESENCE_PREFIX) - 1) == 0;
}

static void touch(struct session *session, struct presence *presence)
{
    if (!presence->dirty)
        DL_APPEND(session->presences_dirty, presence);
    presence->dirty = true;
}

static struct presence *presence_find(const struct session *session, const char *name)
{
    struct presence *presence = NULL;
    HASH_FIND_STR(session->presences, name, presence);
    return presence;
}

static struct presence *presence_create(struct session *session, const char *name)
{
    struct presence *presence = core_alloc(sizeof(*presence));
    presence->inbox = inbox_create(session, name, PRESENCE_ID | ++session->presence_last);
    presence->inbox->topic->presence = true;
    presence->about = presence->inbox->topic->name + sizeof(PRESENCE_PREFIX) - 1;
    const char *key = presence->inbox->topic->name;
    HASH_ADD_KEYPTR(hh, session->presences, key, strlen(key), presence);
    trie_add(&session->presence_names, presence->about, &presence->item);
    return presence;
}

static void presence_destroy(struct session *session, struct presence *presence)
{
    HASH_DEL(session->presences, presence);
    trie_remove(&session->presence_names, &presence->item);
    inbox_destroy(session, presence->inbox);
    free(presence->block);
    free(presence);
}

const struct topic_view *presence_open(struct session *session, const char *name)
{
    if (!trie_pattern_valid(name + sizeof(PRESENCE_PREFIX) - 1)) /* a name without a wildcard is one, too */
        return NULL;
    struct presence *presence = presence_find(session, name);
    presence = presence ? presence : presence_create(session, name);
    touch(session, presence);
    return presence->inbox->topic;
}

void presence_leave(struct session *session, const char *name)
{
    struct presence *presence = presence_find(session, name);
    if (presence)
        touch(session, presence);
}

void presences_destroy(struct session *session)
{
    struct presence *presence, *next;
    HASH_ITER (hh, session->presences, presence, next)
        presence_destroy(session, presence);
}

/* ---- events ---- */

static struct batch_pair header(const char *key, const char *value)
{
    return (struct batch_pair){key, strlen(key), value, strlen(value)};
}

/* False: no room. */
static bool event_add(const struct session *session, struct batch_builder *builder, const char *what,
                      const struct topic_view *topic, const struct listener *listener)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", topic->listener_count);
    struct batch_pair headers[4] = {header("crier.listeners", text),
                                    header("crier.client", listener->connection->name),
                                    header("crier.address", listener->connection->peer)};
    size_t used = 3;
    if (listener->group)
        headers[used++] = header("crier.group", listener->group);
    return batch_builder_append(builder, session->wall_us / 1000, what, strlen(what), topic->name,
                                strlen(topic->name), headers, used) == 0;
}

/* ---- a listener comes or goes ---- */

struct change {
    const struct session *session;
    const struct listener *listener;
    const struct topic_view *topic;
    const char *what;
};

static void change_tell(void *ctx, struct trie_item *item)
{
    const struct change *change = ctx;
    struct presence *presence = (struct presence *)(void *)((char *)item - offsetof(struct presence, item));
    if (!presence->block) {
        presence->block = malloc(PRESENCE_BLOCK);
        if (presence->block)
            batch_builder_init(&presence->changes, presence->block, PRESENCE_BLOCK);
    }
    presence->lost =
        presence->lost || !presence->block ||
        !event_add(change->session, &presence->changes, change->what, change->topic, change->listener);
    touch(change->listener->connection->session, presence);
}

/* Has its listener no other one in the topic? They follow each other. */
static bool alone(const struct cursor *cursor)
{
    const struct topic_view *topic = cursor->view->topic;
    return cursor_leads(cursor) && !(cursor->next_own && cursor->next_own->view->topic == topic);
}

bool cursor_leads(const struct cursor *cursor)
{
    return cursor == cursor->listener->cursors || cursor->prev->view->topic != cursor->view->topic;
}

/* Once for a topic, as Node does: anew when it was down to one in between. */
static void warn_of_many(struct session *session, struct topic_view *topic, struct listener *listener)
{
    struct who who = {.count = 0};
    char text[400];
    if (topic->warned || topic->max_listeners == 0 || topic->listener_count <= topic->max_listeners)
        return;
    topic->warned = listener->one_too_many = true;
    who_find(topic, &who);
    who_text(&who, text, sizeof(text));
    session_log(session, LOG_LEVEL_WARN, "TOPIC-LISTENERS",
                "%u listeners of %s, more than its max-listeners, %u (told once): %s", topic->listener_count,
                topic->name, topic->max_listeners, text);
}

static void changed(const struct cursor *cursor, int by, const char *what)
{
    struct session *session = cursor->listener->connection->session;
    struct topic_view *topic = cursor->view->topic;
    if (!alone(cursor))
        return;
    topic->listener_count += (uint32_t)by;
    if (by > 0)
        warn_of_many(session, topic, cursor->listener);
    else if (topic->listener_count <= 1)
        topic->warned = false;
    if (!session->presences || cursor->view->id >> 63) /* nobody is told of inboxes, or of who is told */
        return;
    struct change change = {session, cursor->listener, topic, what};
    trie_match_name(&session->presence_names, topic->name, change_tell, &change);
}

void presence_joined(const struct cursor *cursor)
{
    changed(cursor, +1, "newListener");
}

void presence_left(const struct cursor *cursor)
{
    changed(cursor, -1, "removeListener");
}

/* ---- at the turn's end ---- */

/* A batch of what the builder has, to the listeners that have been told who is there, or to those that have not. False: no
 * memory. */
static bool hand(struct session *session, struct view *view, struct batch_builder *builder, bool told)
{
    size_t size = batch_builder_finish(builder, -1, -1, -1);
    uint32_t span = (uint32_t)builder->count;
    uint64_t base_offset = view->high_watermark;
    struct buffer *buffer = buffer_create(size);
    if (!buffer)
        return false;
    batch_patch(memcpy(buffer->data, builder->data, size), (int64_t)base_offset, 0);
    struct slice batch = {buffer, buffer->data, size};
    view->high_watermark += span;
    session->count_handed += span;
    for (struct cursor *cursor = view->cursors, *next; cursor; cursor = next) {
        next = cursor->view_next;
        if (cursor->listener->told != told)
            continue;
        cursor->listener->told = true;
        (void)backlog_hand(cursor, base_offset, span, batch); /* it may end its listener */
    }
    slice_unref(&batch);
    return true;
}

struct census {
    struct session *session;
    struct batch_builder builder;
    uint32_t count, told, told_max;
};

static struct topic_view *topic_of(struct trie_item *item)
{
    return (struct topic_view *)(void *)((char *)item - offsetof(struct topic_view, item));
}

static void count_in_topic(void *ctx, struct trie_item *item)
{
    ((struct census *)ctx)->count += topic_of(item)->listener_count;
}

static void tell_of_topic(void *ctx, struct trie_item *item)
{
    struct census *census = ctx;
    const struct topic_view *topic = topic_of(item);
    for (uint32_t i = 0; i < topic->view_count && topic->listener_count > 0; i++)
        for (const struct cursor *cursor = topic->views[i].cursors; cursor; cursor = cursor->view_next)
            if (cursor_leads(cursor) && census->told < census->told_max) {
                bool fits = event_add(census->session, &census->builder, "listener", topic, cursor->listener);
                census->told += fits;
                census->told_max = fits ? census->told_max : census->told;
            }
}

/* A batch of who is there, told_max of them at most. */
static void census_take(struct census *census, uint8_t *block, const struct presence *presence,
                        uint32_t told_max)
{
    char count[16], told[16];
    (void)snprintf(count, sizeof(count), "%u", census->count);
    (void)snprintf(told, sizeof(told), "%u", told_max);
    struct batch_pair headers[2] = {header("crier.listeners", count), header("crier.told", told)};
    census->told = 0;
    census->told_max = told_max;
    batch_builder_init(&census->builder, block, PRESENCE_BLOCK);
    int rc = batch_builder_append(&census->builder, census->session->wall_us / 1000, "listeners", 9,
                                  presence->about, strlen(presence->about), headers, 2);
    CHECK(rc == 0);
    trie_match_pattern(&census->session->names, presence->about, tell_of_topic, census);
}

/* Twice: how many fit is said before them. */
static bool tell_who_is_there(struct session *session, struct presence *presence)
{
    struct census census = {.session = session};
    uint8_t *block = malloc(PRESENCE_BLOCK);
    if (!block)
        return false;
    names_complete(session);
    trie_match_pattern(&session->names, presence->about, count_in_topic, &census);
    census_take(&census, block, presence, UINT32_MAX);
    census_take(&census, block, presence, census.told);
    bool handed = hand(session, &presence->inbox->topic->views[0], &census.builder, false);
    free(block);
    return handed;
}

/* False: somebody has still to be told, there is no memory. */
static bool tell(struct session *session, struct presence *presence)
{
    struct view *view = &presence->inbox->topic->views[0];
    bool untold = false;
    if (presence->block && !presence->lost)
        presence->lost = !hand(session, view, &presence->changes, true);
    for (struct cursor *cursor = view->cursors; cursor; cursor = cursor->view_next) {
        cursor->listener->told = cursor->listener->told && !presence->lost;
        untold = untold || !cursor->listener->told;
    }
    free(presence->block);
    presence->block = NULL;
    presence->lost = false;
    return !untold || tell_who_is_there(session, presence);
}

void presence_turn_end(struct session *session)
{
    bool memory = true;
    while (session->presences_dirty && memory) {
        struct presence *presence = session->presences_dirty;
        DL_DELETE(session->presences_dirty, presence);
        presence->dirty = false;
        if (presence->inbox->topic->views[0].cursors)
            memory = tell(session, presence);
        if (!memory)
            touch(session, presence);
        else if (!presence->inbox->topic->views[0].cursors && !presence->dirty)
            presence_destroy(session, presence);
    }
}
