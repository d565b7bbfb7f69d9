/* event_internal.h: how a record of a batch becomes the crier_event a handler sees. */
#ifndef CRIER_CLIENT_EVENT_INTERNAL_H
#define CRIER_CLIENT_EVENT_INTERNAL_H

#include "crier/crier.h"
#include "proto/batch.h"

/* event->internal points to the record: its headers are read on demand. Topic, partition and watermark are set. */
static inline void event_fill(crier_event *event, const struct batch_record *record)
{
    event->offset = (uint64_t)record->offset;
    event->timestamp_ms = record->timestamp_ms;
    event->key = record->key.data;
    event->key_size = record->key.size;
    event->value = record->value.data;
    event->value_size = record->value.size;
    event->header_count = record->header_count;
}

#endif
