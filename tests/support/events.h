/* events.h: seeded events of every shape, to build batches from and to compare with what comes out again. */
#ifndef CRIER_TESTS_EVENTS_H
#define CRIER_TESTS_EVENTS_H

#include "base/random.h"
#include "proto/batch.h"

#define EVENT_HEADERS_MAX 4

struct test_event {
    int64_t timestamp_ms;
    const void *key; /* NULL: null */
    size_t key_size;
    const void *value; /* NULL: null */
    size_t value_size;
    struct batch_pair headers[EVENT_HEADERS_MAX];
    size_t header_count;
};

/* The next event of the sequence: keys and values null, empty, short or up to `size_max` bytes; 0..4 headers.
 * Its bytes live in static memory. */
struct test_event event_next(struct random *random, size_t size_max);
int event_append(struct batch_builder *builder, const struct test_event *event);
/* What a sender counts: key, value and headers, in bytes. */
size_t event_bytes(const struct test_event *event);
/* Is the record that event? Returns NULL, or what differs. */
const char *event_differs(const struct test_event *event, const struct batch_record *record);

#endif
