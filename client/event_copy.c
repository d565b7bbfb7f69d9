/* event_copy.c: see event_copy.h. Topic, key, value and encoded headers stand one after the other.
 *
 * Thread:   any; the event that is copied: inside its handler. */
#include "client/event_copy.h"

#include <stdlib.h>
#include <string.h>

static size_t headers_size(const crier_event *event)
{
    const struct batch_record *record = event->internal;

    return record && event->header_count > 0 ? (size_t)(record->headers_end - record->headers) : 0;
}

size_t event_copy_size(const crier_event *event)
{
    return strlen(event->topic) + 1 + event->key_size + event->value_size + headers_size(event);
}

/* NULL stays NULL: no key is not an empty one. */
static const void *put(unsigned char **at, const void *data, size_t size)
{
    unsigned char *place = *at;

    if (!data)
        return NULL;
    memcpy(place, data, size);
    *at += size;
    return place;
}

void event_copy_fill(struct event_copy *to, unsigned char *bytes, const crier_event *event)
{
    const struct batch_record *record = event->internal;
    unsigned char *at = bytes;
    size_t headers = headers_size(event);

    to->event = *event;
    to->event.topic = put(&at, event->topic, strlen(event->topic) + 1);
    to->event.key = put(&at, event->key, event->key_size);
    to->event.value = put(&at, event->value, event->value_size);
    to->event.internal = NULL;
    memset(&to->record, 0, sizeof(to->record));
    if (headers == 0)
        return;
    to->record = *record;
    to->record.headers = put(&at, record->headers, headers);
    to->record.headers_end = to->record.headers + headers;
    to->event.internal = &to->record;
}
