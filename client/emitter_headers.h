/* emitter_headers.h: an event that never travels, with everything an emit may carry; its headers in the form in which handlers
 * read them: a record's.
 * Pure; any thread. */
#ifndef CRIER_CLIENT_EMITTER_HEADERS_H
#define CRIER_CLIENT_EMITTER_HEADERS_H

#include "crier/crier.h"
#include "proto/batch.h"

/* Stays where it was made: the event points into it. */
struct emitter_event {
    crier_event event; /* topic, offset and high_watermark are the emit's to fill in */
    struct batch_record record;
    void *headers;
};

/* value and what options point to: borrowed until emitter_event_finish(). 0, CRIER_EINVAL (no value or key, but a size of it; a
 * header without a name, or too many) or CRIER_ENOMEM. */
int emitter_event_make(struct emitter_event *made, const void *value, size_t value_size,
                       const struct crier_emit_options *options);
void emitter_event_finish(struct emitter_event *made);

#endif
