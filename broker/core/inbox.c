/* inbox.c: where replies come in: ephemeral topics without a name in the catalogue, each there while somebody listens to it.
 *
 * A client that asks listens to "$inbox." and fifteen hexadecimal digits of its own choice, 60 random bits, which nobody can
 * guess; whoever is to reply is told that name with the request. The digits are the partition's number too, with the top bit
 * set, so nobody has to ask for it. Nothing of it is in the log, and patterns do not see it.
 *
 * The topics of presence.c live here by number too: with one more bit, so that no digits name them.
 *
 * Owns:        one topic_view per inbox, in session.inboxes, from the first LISTEN to the last listener's end.
 * Happy path:  LISTEN → inbox_open → a listener of an ephemeral topic like any other (ephemeral.c) → inbox_leave
 * Failures:    a name that is none: ENDED with CRIER_EINVAL. An EMIT to an inbox that is gone: REFUSED with CRIER_ENOTOPIC. */
#include "broker/core/session_internal.h"

#define INBOX_PREFIX "$inbox."
#define INBOX_DIGITS 15
#define INBOX_BIT    (UINT64_C(1) << 63)

bool inbox_is_one(const char *name)
{
    return strncmp(name, INBOX_PREFIX, sizeof(INBOX_PREFIX) - 1) == 0;
}

/* The partition's number; 0: no name of an inbox. */
static uint64_t inbox_id(const char *name)
{
    const char *digits = name + sizeof(INBOX_PREFIX) - 1;
    uint64_t id = 0;
    size_t count = strspn(digits, "0123456789abcdef");
    if (count != INBOX_DIGITS || digits[count] != '\0')
        return 0;
    for (size_t i = 0; i < count; i++)
        id = id << 4 | (uint64_t)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
    return id | INBOX_BIT;
}

struct view *inbox_view(const struct session *session, uint64_t partition)
{
    struct inbox *inbox = NULL;
    HASH_FIND(hh, session->inboxes, &partition, sizeof(partition), inbox);
    return inbox ? &inbox->topic->views[0] : NULL;
}

struct inbox *inbox_create(struct session *session, const char *name, uint64_t id)
{
    struct inbox *inbox = core_alloc(sizeof(*inbox));
    size_t name_size = strlen(name) + 1;
    struct topic_view *topic = core_alloc(sizeof(*topic) + sizeof(struct view) + name_size);
    topic->name = memcpy(&topic->views[1], name, name_size);
    topic->ephemeral = true;
    topic->view_count = 1;
    topic->views[0].topic = topic;
    topic->views[0].id = id;
    inbox->id = id;
    inbox->topic = topic;
    HASH_ADD(hh, session->inboxes, id, sizeof(inbox->id), inbox);
    return inbox;
}

void inbox_destroy(struct session *session, struct inbox *inbox)
{
    HASH_DEL(session->inboxes, inbox);
    free(inbox->topic);
    free(inbox);
}

const struct topic_view *inbox_open(struct session *session, const char *name)
{
    uint64_t id = inbox_id(name);
    if (!id)
        return NULL;
    struct view *view = inbox_view(session, id);
    return view ? view->topic : inbox_create(session, name, id)->topic;
}

void inbox_leave(struct session *session, const char *name)
{
    uint64_t id = inbox_id(name);
    struct inbox *inbox = NULL;
    HASH_FIND(hh, session->inboxes, &id, sizeof(id), inbox);
    if (inbox && !inbox->topic->views[0].cursors)
        inbox_destroy(session, inbox);
}
