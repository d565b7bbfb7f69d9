/* emit_internal.h: between engine_emit.c (batches out) and engine_outcome.c (what became of them). */
#ifndef CRIER_CLIENT_EMIT_INTERNAL_H
#define CRIER_CLIENT_EMIT_INTERNAL_H

#include "client/engine_internal.h"
#include "proto/error.h"

/* Sequences count events of a producer in a partition and wrap as Kafka's do: after INT32_MAX comes 0. */
static inline int32_t sequence_after(int32_t sequence, int32_t count)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)count) & INT32_MAX);
}

/* ---- engine_emit.c ---- */

void emit_lane_schedule(struct engine *engine,
                        struct emit_lane *lane); /* gets in line if it has a batch that may go */
void emit_lane_changed(struct engine *engine,
                       struct emit_lane *lane); /* the same; its open batch may go now, too */

void emit_topic_want(struct engine *engine, struct emit_topic *topic); /* asks for it, once */
bool emit_has_grant(struct engine *engine, size_t size); /* for a frame of this size; asks if not */
/* The frame is in the output: from here on it is unanswered. */
void emit_frame_sent(struct engine *engine, struct emit_frame *frame, size_t size);

/* ---- engine_outcome.c ---- */

/* The broker says it is gone: by its name there may be another one, with other partitions. */
void emit_topic_again(struct engine *engine, struct emit_topic *topic);
/* A batch that cannot be sent at all: fails as if the broker had refused it. */
void emit_refuse_unsent(struct engine *engine, struct emit_batch *batch, int code);
/* The connection is gone: what was in flight comes first, and may have been stored. */
void emit_lane_disconnected(struct engine *engine, struct emit_lane *lane);
/* Another producer id: what may have been stored under the old one fails with CRIER_EUNKNOWN, the rest counts from 0. */
void emit_lane_renumber(struct engine *engine, struct emit_lane *lane);
/* The partitions of a topic that was deleted and made again, before they are its lanes': to a new one the old numbers mean nothing,
 * and what may be stored in the old one would be new to it. Such an outcome is CRIER_EUNKNOWN, told in emit_callbacks(). With the emit
 * lock. */
void emit_topic_moved(struct engine *engine, const struct emit_topic *topic, const uint64_t *ids,
                      uint32_t count);
void emit_retry_arm(struct engine *engine); /* something waits for engine.retry_due */

#endif
