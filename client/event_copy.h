/* event_copy.h: an event that outlives its handler, with everything it points to, headers too. Any thread. */
#ifndef CRIER_CLIENT_EVENT_COPY_H
#define CRIER_CLIENT_EVENT_COPY_H

#include "crier/crier.h"
#include "proto/batch.h"

struct event_copy {
    crier_event event; /* internal: record, if it has headers */
    struct batch_record record;
};

size_t event_copy_size(const crier_event *event); /* bytes that it points to */
/* bytes: event_copy_size() of them, which must live as long as `to`; neither may move. */
void event_copy_fill(struct event_copy *to, unsigned char *bytes, const crier_event *event);

#endif
