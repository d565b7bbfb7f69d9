/* emitter_headers.c: an event and its headers, encoded. See emitter_headers.h. */
#include "client/emitter_headers.h"

#include "proto/varint.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *string_put(uint8_t *to, const void *data, size_t size)
{
    to = varint32_put(to, data ? (int32_t)size : -1);
    if (data && size > 0)
        memcpy(to, data, size);
    return data ? to + size : to;
}

static int headers_encode(const struct crier_emit_options *options, struct batch_record *record,
                          void **ret_memory)
{
    size_t size = 1;
    uint8_t *at;

    if (!options->headers || options->header_count > INT32_MAX / 2)
        return CRIER_EINVAL;
    for (size_t i = 0; i < options->header_count; i++) {
        const crier_header *header = &options->headers[i];
        if (!header->name || header->name_size > INT32_MAX || header->value_size > INT32_MAX)
            return CRIER_EINVAL;
        size += header->name_size + header->value_size + 2 * (size_t)VARINT32_SIZE_MAX;
    }
    if (!(*ret_memory = at = malloc(size)))
        return CRIER_ENOMEM;
    record->header_count = (int32_t)options->header_count;
    record->headers = at;
    for (size_t i = 0; i < options->header_count; i++) {
        at = string_put(at, options->headers[i].name, options->headers[i].name_size);
        at = string_put(at, options->headers[i].value, options->headers[i].value_size);
    }
    record->headers_end = at;
    return 0;
}

int emitter_event_make(struct emitter_event *made, const void *value, size_t value_size,
                       const struct crier_emit_options *options)
{
    if ((!value && value_size > 0) || (!options->key && options->key_size > 0))
        return CRIER_EINVAL;
    made->event = (crier_event){.value = value,
                                .value_size = value_size,
                                .key = options->key,
                                .key_size = options->key_size,
                                .timestamp_ms = options->timestamp_ms,
                                .header_count = (int32_t)options->header_count};
    made->headers = NULL;
    if (options->header_count == 0)
        return 0; /* nobody looks at the record, and zeroing it costs more than all the rest */
    made->record = (struct batch_record){0};
    made->event.internal = &made->record;
    return headers_encode(options, &made->record, &made->headers);
}

void emitter_event_finish(struct emitter_event *made)
{
    free(made->headers);
}
