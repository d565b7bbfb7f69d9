/* state_rows.h: the rows that a start reads by the hundred thousand, out of their bytes (state.proto).
 *
 * The library's unpacking looks up each field in tables, in three passes and with allocations: for rows of five small fields
 * that was half of what a start with 100,000 topics did. These read what crier writes, field by field, into the library's
 * own struct. What they do not know how to read (a field of a newer version, sub-messages within, more than there is room for,
 * bytes that are no message) is left to the library: false, and the struct means nothing.
 *
 * Pure; any thread. `bytes` are borrowed for the call, except where it says so. */
#ifndef CRIER_PROTO_STATE_ROWS_H
#define CRIER_PROTO_STATE_ROWS_H

#include "proto/state.pb-c.h"

#include <stdbool.h>

#define TOPIC_ROW_NAME_MAX       255
#define TOPIC_ROW_PARTITIONS_MAX 8

/* What the row points to. */
struct topic_row_parts {
    State__TopicSettings settings;
    uint64_t partitions[TOPIC_ROW_PARTITIONS_MAX];
    char name[TOPIC_ROW_NAME_MAX + 1];
};

/* Never a topic with a dead-letter topic of its own. */
bool topic_row_read(const uint8_t *bytes, size_t size, State__TopicRow *ret_row,
                    struct topic_row_parts *parts);
/* The row's `topic` is in `bytes`. */
bool partition_row_read(const uint8_t *bytes, size_t size, State__PartitionRow *ret_row);
/* Never one with schedules. */
bool producer_row_read(const uint8_t *bytes, size_t size, State__ProducerRow *ret_row);
bool position_row_read(const uint8_t *bytes, size_t size, State__PositionRow *ret_row);

#endif
