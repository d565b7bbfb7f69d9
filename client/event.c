/* event.c: what a handler may ask of an event, and what error codes mean. Thread: any; events: inside the handler. */
#include "crier/crier.h"

#include "proto/batch.h"
#include "proto/error.h"

#include <string.h>

const char *crier_strerror(int code)
{
    return error_text(code);
}

static void header_fill(crier_header *header, const struct batch_string *name,
                        const struct batch_string *value)
{
    header->name = (const char *)name->data;
    header->name_size = name->size;
    header->value = value->data;
    header->value_size = value->size;
}

int crier_event_header(const crier_event *event, int32_t index, crier_header *ret_header)
{
    const struct batch_record *record = event ? event->internal : NULL;
    const uint8_t *cursor = record ? record->headers : NULL;
    struct batch_string name, value;

    if (!record || !ret_header || index < 0 || index >= event->header_count)
        return CRIER_EINVAL;
    for (int32_t i = 0; i <= index; i++)
        if (batch_record_header(record, &cursor, &name, &value) <= 0)
            return CRIER_EINVAL;
    header_fill(ret_header, &name, &value);
    return 0;
}

int crier_event_header_find(const crier_event *event, const char *name, crier_header *ret_header)
{
    const struct batch_record *record = event ? event->internal : NULL;
    const uint8_t *cursor = record ? record->headers : NULL;
    size_t size = name ? strlen(name) : 0;
    struct batch_string key, value;
    int rc = CRIER_EINVAL;

    if (!record || !name || !ret_header)
        return CRIER_EINVAL;
    while (batch_record_header(record, &cursor, &key, &value) > 0)
        if (key.size == size && memcmp(key.data, name, size) == 0) {
            header_fill(ret_header, &key, &value);
            rc = 0; /* a later one of that name wins, as in Kafka */
        }
    return rc;
}
