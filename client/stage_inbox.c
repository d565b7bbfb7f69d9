/* stage_inbox.c: emitting to inboxes, where replies go. An inbox's partition is in its name, so nobody is asked for it.
 *
 * Role:     makes such a topic known at once, and forgets those that nothing waits for: a bus that replies meets many.
 * Thread:   any, with the emit lock; stage_inboxes_trim: the I/O thread, in engine_collect.
 *
 * Happy path:  stage_topic_get -> stage_inbox_resolve -> a memory lane like any other -> (much later) stage_inboxes_trim
 * Failures:    an inbox that is gone: the broker refuses the batch, CRIER_ENOTOPIC. */
#include "client/stage_internal.h"

#include "client/topic_name.h"

#include <stdlib.h>

#define INBOXES_KEPT 256u

int stage_inbox_resolve(struct emit_topic *topic)
{
    if (!(topic->partition_ids = malloc(sizeof(uint64_t))) ||
        !(topic->lanes = calloc(2, sizeof(*topic->lanes)))) {
        free(topic->partition_ids);
        topic->partition_ids = NULL;
        return CRIER_ENOMEM;
    }
    topic->partition_ids[0] = topic_name_inbox_id(topic->name);
    topic->partition_count = 1;
    topic->state = EMIT_TOPIC_KNOWN;
    topic->memory = topic->known = true;
    return 0;
}

static bool lane_is_idle(const struct emit_lane *lane)
{
    return !lane || (!lane->open && list_is_empty(&lane->closed) && list_is_empty(&lane->batches) &&
                     !list_is_linked(&lane->retrying));
}

static bool topic_is_idle(const struct emit_topic *topic)
{
    return topic->inbox && topic->known && !list_is_linked(&topic->link) && lane_is_idle(topic->lanes[0]) &&
           lane_is_idle(topic->lanes[1]);
}

static void lane_unlink(struct emit_lane *lane)
{
    if (!lane)
        return;
    list_remove(&lane->fresh);
    list_remove(&lane->all);
    list_remove(&lane->sendable);
    list_remove(&lane->revisit);
    list_remove(&lane->lingering);
}

void stage_inboxes_trim(struct stage *stage)
{
    if (stage->inbox_count <= INBOXES_KEPT || stage->inbox_count < stage->inbox_trim_at)
        return;
    for (size_t i = 0; i < stage->bucket_count; i++)
        for (struct emit_topic **at = &stage->buckets[i], *topic; (topic = *at);) {
            if (topic == stage->last || !topic_is_idle(topic)) {
                at = &topic->next;
                continue;
            }
            *at = topic->next;
            lane_unlink(topic->lanes[0]);
            lane_unlink(topic->lanes[1]);
            stage_topic_free(stage, topic);
            stage->topic_count--;
            stage->inbox_count--;
        }
    stage->inbox_trim_at = 2 * stage->inbox_count; /* so that looking costs little for each */
}
