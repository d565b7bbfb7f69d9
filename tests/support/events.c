/* events.c: seeded events. See events.h. */
#include "tests/support/events.h"

#include <string.h>

/* Bytes to take keys and values from: text, so that they compress. */
static const uint8_t *text_at(size_t place)
{
    static uint8_t text[128 * 1024];
    if (text[0] == 0) {
        static const char sentence[] = "the quick brown fox orders 42 jugs of lamp oil; ";
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = (uint8_t)(sentence[i % (sizeof(sentence) - 1)] + (i / 4096) % 3);
    }
    return text + place;
}

/* A string of random shape: null (if it may be), empty, short, or up to size_max. */
static const void *any_string(struct random *random, size_t size_max, bool may_be_null, size_t *ret_size)
{
    uint64_t shape = random_below(random, 8);
    *ret_size = 0;
    if (shape == 0 && may_be_null)
        return NULL;
    if (shape == 1)
        return text_at(1);
    *ret_size = (size_t)random_below(random, shape < 6 ? 100 : size_max) % (size_max + 1);
    return text_at((size_t)random_below(random, 60000));
}

struct test_event event_next(struct random *random, size_t size_max)
{
    struct test_event event = {0};
    event.timestamp_ms = INT64_C(1767225600000) + (int64_t)random_below(random, 2000) - 1000;
    event.key = any_string(random, size_max, true, &event.key_size);
    event.value = any_string(random, size_max, true, &event.value_size);
    event.header_count = random_below(random, 3) ? 0 : (size_t)random_below(random, EVENT_HEADERS_MAX + 1);
    for (size_t i = 0; i < event.header_count; i++) {
        struct batch_pair *header = &event.headers[i];
        header->key = any_string(random, 40, false, &header->key_size);
        header->value = any_string(random, size_max < 200 ? size_max : 200, true, &header->value_size);
    }
    return event;
}

int event_append(struct batch_builder *builder, const struct test_event *event)
{
    return batch_builder_append(builder, event->timestamp_ms, event->key, event->key_size, event->value,
                                event->value_size, event->headers, event->header_count);
}

size_t event_bytes(const struct test_event *event)
{
    size_t size = event->key_size + event->value_size;
    for (size_t i = 0; i < event->header_count; i++)
        size += event->headers[i].key_size + event->headers[i].value_size;
    return size;
}

static bool string_is(const struct batch_string *string, const void *data, size_t size)
{
    if (!data)
        return !string->data && string->size == 0;
    return string->data && string->size == size && memcmp(string->data, data, size) == 0;
}

const char *event_differs(const struct test_event *event, const struct batch_record *record)
{
    if (record->timestamp_ms != event->timestamp_ms)
        return "timestamp";
    if (!string_is(&record->key, event->key, event->key_size))
        return "key";
    if (!string_is(&record->value, event->value, event->value_size))
        return "value";
    if ((size_t)record->header_count != event->header_count)
        return "header count";
    const uint8_t *cursor = record->headers;
    struct batch_string key, value;
    for (size_t i = 0; i < event->header_count; i++) {
        if (batch_record_header(record, &cursor, &key, &value) != 1)
            return "headers end early";
        if (!string_is(&key, event->headers[i].key, event->headers[i].key_size))
            return "header key";
        if (!string_is(&value, event->headers[i].value, event->headers[i].value_size))
            return "header value";
    }
    return batch_record_header(record, &cursor, &key, &value) == 0 ? NULL : "more headers";
}
