/* stage_internal.h: between stage.c (events into batches) and stage_route.c (events that waited for their topic). */
#ifndef CRIER_CLIENT_STAGE_INTERNAL_H
#define CRIER_CLIENT_STAGE_INTERNAL_H

#include "client/stage.h"

/* One event on its way into a batch. */
struct stage_event {
    int64_t timestamp_ms;
    const void *key, *value;
    size_t key_size, value_size;
    const struct batch_pair *headers;
    size_t header_count;
    size_t size_max; /* bytes it may need in a batch */
    bool heard;
    crier_emitted *done;
    void *ctx;
    const struct emit_time *time; /* it gets a batch of its own; NULL: at once, as nearly all */
};

/* ---- stage.c ---- */

/* Fills the event from the arguments of the API and checks them. */
int stage_event_make(const struct stage *stage, const void *value, size_t value_size,
                     const struct crier_emit_options *options, int64_t timestamp_ms,
                     struct stage_event *event);
/* ---- stage_inbox.c ---- */

/* A topic of such a name is known without asking. 0, CRIER_ENOMEM, or CRIER_EINVAL: no name of an inbox. */
int stage_inbox_resolve(struct emit_topic *topic);

/* ---- stage.c ---- */

void stage_topic_free(struct stage *stage, struct emit_topic *topic); /* in no list any more */
int stage_topic_get(struct stage *stage, const char *name, struct emit_topic **ret_topic);
/* CRIER_EAGAIN: drain not before half of the buffer is free, and what was refused has room. */
void stage_drain_want(struct stage *stage, size_t pending_max);

/* The lane at *place, made if need be. NULL: no memory. */
struct emit_lane *stage_lane_get(struct emit_lane **place, struct emit_topic *topic, uint32_t partition,
                                 bool memory);
void stage_lane_touch(struct stage *stage, struct emit_lane *lane,
                      bool *ret_wake); /* engine_collect has to look */
/* route: the partition that was asked for, by key, or the one whose turn it is. */
uint32_t stage_partition_choose(const struct stage *stage, const struct emit_topic *topic, const void *key,
                                size_t key_size, uint32_t route);
/* Puts the event into the lane's open batch, ending the one that is full or goes elsewhere. as_old_as: the batch it comes
 * from, for which flushes already wait; NULL: it is new. *ret_fresh: engine_collect has to look, also on an error.
 * 0 or CRIER_ENOMEM. */
int stage_event_append(struct stage *stage, struct emit_lane *lane, const struct stage_event *event,
                       uint32_t route, struct emit_batch *as_old_as, bool *ret_fresh);

#endif
