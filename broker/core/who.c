/* who.c: those who listen to a topic, as messages and log lines name them.
 *
 * Called:  session_topic.c (TOPICS), session_listen.c (LISTENING), presence.c (the warning of too many). Owns nothing.
 * Cost:    as many listeners as are named, and those of the topic's partitions that are passed on the way. */
#include "broker/core/session_internal.h"

#include <stdio.h>

static void who_add(struct who *who, const struct listener *listener)
{
    Wire__TopicListener *to = who->pointers[who->count] = &who->listeners[who->count];
    who->count++;
    wire__topic_listener__init(to);
    to->client = (char *)listener->connection->name;
    to->address = (char *)listener->connection->peer;
    if (listener->group)
        to->group = listener->group;
}

void who_find(const struct topic_view *topic, struct who *who)
{
    for (uint32_t i = 0; i < topic->view_count; i++)
        for (const struct cursor *cursor = topic->views[i].cursors; cursor; cursor = cursor->view_next) {
            if (who->count == WHO_MAX)
                return;
            if (cursor_leads(cursor))
                who_add(who, cursor->listener);
        }
}

void who_text(const struct who *who, char *to, size_t size)
{
    size_t used = 0;
    to[0] = '\0';
    for (uint32_t i = 0; i < who->count; i++) {
        const Wire__TopicListener *one = who->pointers[i];
        int length = snprintf(to + used, size - used, "%s%s (%s)", used ? ", " : "",
                              one->client[0] ? one->client : "unnamed", one->address);
        if (length < 0 || used + (size_t)length >= size) {
            to[used] = '\0'; /* whole names only */
            return;
        }
        used += (size_t)length;
    }
}
