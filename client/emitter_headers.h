/* emitter_headers.h: the headers of an event that never travels, in the form in which handlers read them: a record's.
 * Pure; any thread. */
#ifndef CRIER_CLIENT_EMITTER_HEADERS_H
#define CRIER_CLIENT_EMITTER_HEADERS_H

#include "crier/crier.h"
#include "proto/batch.h"

/* Sets the header fields of `record`. *ret_memory: to be freed after the event. 0, CRIER_EINVAL (a header without a name,
 * or too many) or CRIER_ENOMEM. */
int emitter_headers_encode(const struct crier_emit_options *options, struct batch_record *record,
                           void **ret_memory);

#endif
