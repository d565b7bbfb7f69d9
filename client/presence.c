/* presence.c: events that say who listens, read: see crier/presence.h; docs/protocol.md, "Presence", has their form.
 *
 * Thread:   any, inside the handler that got the event. Owns nothing.
 * Failures: an event of another topic, or one that lacks what it has to have: CRIER_EINVAL. */
#include "crier/presence.h"

#include "client/topic_name.h"

#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {[CRIER_PRESENCE_BEGINS] = "listeners",
                                   [CRIER_PRESENCE_THERE] = "listener",
                                   [CRIER_PRESENCE_JOINED] = "newListener",
                                   [CRIER_PRESENCE_LEFT] = "removeListener"};

static void text_take(char *to, size_t capacity, const void *from, size_t size)
{
    size_t taken = from ? size : 0;

    if (taken >= capacity)
        taken = capacity - 1;
    if (taken > 0)
        memcpy(to, from, taken);
    to[taken] = '\0';
}

static void header_take(const crier_event *event, const char *name, char *to, size_t capacity)
{
    crier_header header;
    bool there = crier_event_header_find(event, name, &header) == 0;

    text_take(to, capacity, there ? header.value : NULL, there ? header.value_size : 0);
}

static uint32_t number_take(const crier_event *event, const char *name)
{
    char text[16];

    header_take(event, name, text, sizeof(text));
    return (uint32_t)strtoul(text, NULL, 10);
}

static bool what_take(const crier_event *event, enum crier_presence_what *ret_what)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (event->key_size != strlen(keys[i]) || memcmp(event->key, keys[i], event->key_size) != 0)
            continue;
        *ret_what = (enum crier_presence_what)i;
        return true;
    }
    return false;
}

int crier_presence_read(const crier_event *event, struct crier_presence *ret_presence)
{
    if (!event || !ret_presence || !event->topic || !event->key || !event->value ||
        !topic_name_is_presence(event->topic) || !what_take(event, &ret_presence->what))
        return CRIER_EINVAL;
    text_take(ret_presence->topic, sizeof(ret_presence->topic), event->value, event->value_size);
    header_take(event, "crier.client", ret_presence->client, sizeof(ret_presence->client));
    header_take(event, "crier.address", ret_presence->address, sizeof(ret_presence->address));
    header_take(event, "crier.group", ret_presence->group, sizeof(ret_presence->group));
    ret_presence->listener_count = number_take(event, "crier.listeners");
    ret_presence->told = number_take(event, "crier.told");
    return 0;
}
