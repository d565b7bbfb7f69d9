/* shard.h: the shard core: one replicated log's state machine.
 *
 * Role:    topics, offsets, producers, groups and positions: all that must survive. Two phases: `prepare` decides when a
 *          request comes in (offsets, sequences, against the prepared tail) and adds parts to the entry being gathered;
 *          `apply` changes state when that entry is durable, by the same code that replays the log at start. An answer
 *          that depends on something prepared waits for the entry it depends on.
 * Entries: what one turn gathered, closed at SHARD_ENTRY_SIZE; at most SHARD_IN_FLIGHT_MAX are with the store, beyond
 *          that emits wait in a list that the producers' grants bound. While the store is busy the open entry simply keeps
 *          growing: group commit needs no timer.
 * Refusal: entries carry an append epoch. When the store refuses one (disk full), it refuses the rest of that epoch;
 *          prepared state is set back to applied and the epoch is raised, so nothing is built on what was never stored.
 * Thread:  the core's owner. Called by: session core (requests), store completions, core.c (turns). */
#ifndef CRIER_BROKER_CORE_SHARD_H
#define CRIER_BROKER_CORE_SHARD_H

#include "broker/core/core.h"
#include "broker/core/message.h"

#define SHARD_ENTRY_SIZE    (256u * 1024) /* DESIGN: an entry is closed here; a larger batch travels alone */
#define SHARD_ENTRY_PARTS   8192u /* parts say their count in 16 bits; lone small events never get near */
#define SHARD_IN_FLIGHT_MAX 64u   /* two of the writer's commits: one syncs while the next gathers */

/* What the shard says to the session core. */
struct shard_output {
    void (*reply)(void *ctx, const struct shard_reply *reply);
    void (*emitted)(void *ctx, const struct emit *emit); /* borrowed */
    void (*durable)(void *ctx, const struct durable_part *part);
    void (*known)(void *ctx, const struct topic_info *info);         /* it was there when recovery was over */
    void (*topic)(void *ctx, const struct topic_info *info);         /* it exists from now on */
    void (*log_start)(void *ctx, const struct partition_info *info); /* what is below is gone */
    void (*deleted)(void *ctx, const struct topic_info *info);
    void (*limits)(void *ctx,
                   const struct topic_info *info); /* quota and max_listeners are others from now on */
};

struct shard;

struct shard *shard_create(const struct core_config *config, const struct core_ops *ops, void *ops_ctx,
                           struct store *store, const struct shard_output *output, void *output_ctx);
void shard_reconfigure(struct shard *shard, const struct core_config *config); /* core_reconfigure() */
void shard_destroy(struct shard *shard);                                       /* accepts NULL */
int shard_recover(struct shard *shard, int64_t mono_us, int64_t wall_us, char *error, size_t error_size);

void shard_turn_begin(struct shard *shard, int64_t mono_us, int64_t wall_us);
/* Seals what was gathered, starts a state flush when one is due; returns when the next turn is due at the latest. */
int64_t shard_turn_end(struct shard *shard);

void shard_emit(struct shard *shard, struct emit *emit); /* taken */
void shard_submit(struct shard *shard, const struct shard_request *request);

void shard_drain(struct shard *shard);       /* nothing fires any more: it comes to rest */
void shard_stop(struct shard *shard);        /* and its store with it: nothing is begun any more */
bool shard_ready(const struct shard *shard); /* this life's first entry is durable */
bool shard_read_only(const struct shard *shard);
bool shard_idle(const struct shard *shard); /* nothing is gathered, waiting or with the store */
void shard_stats(const struct shard *shard, struct core_stats *stats);

#endif
