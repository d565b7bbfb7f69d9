/* state_rows.c: see state_rows.h. The encoding is protobuf's (https://protobuf.dev/programming-guides/encoding/): a tag
 * (field number x 8 + wire type), then a varint, or a length and as many bytes. */
#include "proto/state_rows.h"

#include <string.h>

enum { TYPE_VARINT = 0, TYPE_BYTES = 2 };
#define OVERLONG          5 /* the library takes no tag and no length of more bytes */
#define TAG(number, type) ((number) << 3 | (type))

struct fields {
    const uint8_t *at, *end;
    bool bad; /* it ends within a field */
    uint32_t tag;
    uint64_t value;       /* of a varint; of bytes, how many */
    const uint8_t *bytes; /* of TYPE_BYTES */
};

static uint64_t varint_long(struct fields *fields)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && fields->at < fields->end; shift += 7) {
        uint8_t byte = *fields->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    fields->bad = true;
    return 0;
}

/* Most are a byte. */
static inline uint64_t varint(struct fields *fields)
{
    if (fields->at < fields->end && *fields->at < 0x80)
        return *fields->at++;
    return varint_long(fields);
}

/* False: there is none, or none that can be read (`bad`). */
static inline bool next(struct fields *fields)
{
    if (fields->at == fields->end)
        return false;
    const uint8_t *from = fields->at;
    uint64_t tag = varint(fields);
    const uint8_t *behind_tag = fields->at;
    fields->value = varint(fields);
    if ((tag & 7) == TYPE_BYTES && fields->value <= (uint64_t)(fields->end - fields->at)) {
        fields->bad |= fields->at - behind_tag > OVERLONG;
        fields->bytes = fields->at;
        fields->at += fields->value;
    } else if ((tag & 7) != TYPE_VARINT) {
        fields->bad = true;
    }
    fields->tag = behind_tag - from <= OVERLONG && tag <= UINT32_MAX ? (uint32_t)tag : 0;
    return !fields->bad;
}

static struct fields fields_of(const uint8_t *bytes, size_t size)
{
    return (struct fields){.at = bytes, .end = bytes + size};
}

static bool settings_read(const uint8_t *bytes, size_t size, State__TopicSettings *settings)
{
    struct fields fields = fields_of(bytes, size);
    state__topic_settings__init(settings);
    while (next(&fields)) {
        switch (fields.tag) {
        case TAG(1, TYPE_VARINT):
            settings->durability = (uint32_t)fields.value;
            break;
        case TAG(16, TYPE_VARINT):
            settings->retention_time_us = fields.value;
            break;
        case TAG(17, TYPE_VARINT):
            settings->retention_bytes = fields.value;
            break;
        case TAG(18, TYPE_VARINT):
            settings->retention_count = fields.value;
            break;
        case TAG(19, TYPE_VARINT):
            settings->retain_until_consumed = fields.value != 0;
            break;
        case TAG(24, TYPE_VARINT):
            settings->retry_first_ms = (uint32_t)fields.value;
            break;
        case TAG(25, TYPE_VARINT):
            settings->retry_max_ms = (uint32_t)fields.value;
            break;
        case TAG(26, TYPE_VARINT):
            settings->deliveries = (uint32_t)fields.value;
            break;
        case TAG(32, TYPE_VARINT):
            settings->ephemeral = fields.value != 0;
            break;
        case TAG(33, TYPE_VARINT):
            settings->quota_events = fields.value;
            break;
        case TAG(34, TYPE_VARINT):
            settings->quota_bytes = fields.value;
            break;
        default:
            return false;
        }
    }
    return !fields.bad;
}

static bool partitions_read(const uint8_t *bytes, size_t size, State__TopicRow *row,
                            struct topic_row_parts *parts)
{
    struct fields fields = fields_of(bytes, size);
    row->partitions = parts->partitions;
    while (fields.at < fields.end && !fields.bad) {
        if (row->n_partitions == TOPIC_ROW_PARTITIONS_MAX)
            return false;
        parts->partitions[row->n_partitions++] = varint(&fields);
    }
    return !fields.bad;
}

bool topic_row_read(const uint8_t *bytes, size_t size, State__TopicRow *ret_row,
                    struct topic_row_parts *parts)
{
    struct fields fields = fields_of(bytes, size);
    state__topic_row__init(ret_row);
    while (next(&fields)) {
        switch (fields.tag) {
        case TAG(1, TYPE_BYTES):
            if (fields.value > TOPIC_ROW_NAME_MAX)
                return false;
            memcpy(parts->name, fields.bytes, fields.value);
            parts->name[fields.value] = '\0';
            ret_row->name = parts->name;
            break;
        case TAG(2, TYPE_BYTES): /* packed */
            if (!partitions_read(fields.bytes, fields.value, ret_row, parts))
                return false;
            break;
        case TAG(3, TYPE_VARINT):
            ret_row->created_us = (int64_t)fields.value;
            break;
        case TAG(4, TYPE_BYTES):
            if (ret_row->settings || !settings_read(fields.bytes, fields.value, &parts->settings))
                return false; /* a second one would be merged */
            ret_row->settings = &parts->settings;
            break;
        default:
            return false;
        }
    }
    return !fields.bad;
}

bool partition_row_read(const uint8_t *bytes, size_t size, State__PartitionRow *ret_row)
{
    struct fields fields = fields_of(bytes, size);
    state__partition_row__init(ret_row);
    while (next(&fields)) {
        switch (fields.tag) {
        case TAG(1, TYPE_BYTES):
            ret_row->topic = (ProtobufCBinaryData){fields.value, (uint8_t *)(uintptr_t)fields.bytes};
            break;
        case TAG(2, TYPE_VARINT):
            ret_row->next_offset = fields.value;
            break;
        case TAG(3, TYPE_VARINT):
            ret_row->log_start = fields.value;
            break;
        case TAG(4, TYPE_VARINT):
            ret_row->bytes = fields.value;
            break;
        default:
            return false;
        }
    }
    return !fields.bad;
}

bool producer_row_read(const uint8_t *bytes, size_t size, State__ProducerRow *ret_row)
{
    struct fields fields = fields_of(bytes, size);
    state__producer_row__init(ret_row);
    while (next(&fields)) {
        switch (fields.tag) {
        case TAG(1, TYPE_VARINT):
            ret_row->epoch = (uint32_t)fields.value;
            break;
        case TAG(2, TYPE_VARINT):
            ret_row->last_sequence = (uint32_t)fields.value;
            break;
        case TAG(3, TYPE_VARINT):
            ret_row->last_base_offset = fields.value;
            break;
        case TAG(4, TYPE_VARINT):
            ret_row->last_base_sequence = (uint32_t)fields.value;
            break;
        case TAG(5, TYPE_VARINT):
            ret_row->last_used_us = (int64_t)fields.value;
            break;
        default:
            return false;
        }
    }
    return !fields.bad;
}

bool position_row_read(const uint8_t *bytes, size_t size, State__PositionRow *ret_row)
{
    struct fields fields = fields_of(bytes, size);
    state__position_row__init(ret_row);
    while (next(&fields)) {
        if (fields.tag != TAG(1, TYPE_VARINT))
            return false;
        ret_row->offset = fields.value;
    }
    return !fields.bad;
}
