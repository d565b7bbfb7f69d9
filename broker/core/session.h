/* session.h: the session core: connections, listeners, credit both ways, delivery.
 *
 * Role:    everything that ends with a connection. Checks every frame (sizes, state, limits) before anything is built on
 *          it, turns it into requests to the shard core, and turns replies and durable batches into frames.
 * Thread:  the core's owner. Talks to the shard core in the messages of message.h only. */
#ifndef CRIER_BROKER_CORE_SESSION_H
#define CRIER_BROKER_CORE_SESSION_H

#include "broker/core/core.h"
#include "broker/core/message.h"

struct session;
struct shard;

/* NULL: out of memory. shard: set before the first connection. */
struct session *session_create(const struct core_config *config, const struct core_ops *ops, void *ops_ctx,
                               struct store *store);
void session_destroy(struct session *session);                                       /* accepts NULL */
void session_reconfigure(struct session *session, const struct core_config *config); /* core_reconfigure() */
void session_set_shard(struct session *session, struct shard *shard);

void session_turn_begin(struct session *session, int64_t mono_us, int64_t wall_us);
int64_t
session_turn_end(struct session *session); /* delivers; returns when the next turn is due at the latest */

struct core_connection *session_connection_open(struct session *session, void *owner, const char *peer);
void session_drain(struct session *session, uint32_t deadline_ms);
bool session_idle(const struct session *session); /* nothing unanswered and nothing unsent */
void session_stats(const struct session *session, struct core_stats *stats);

/* ---- from the shard ---- */
void session_reply(void *session, const struct shard_reply *reply);
void session_emitted(void *session, const struct emit *emit);
void session_durable(void *session, const struct durable_part *part);
void session_known(void *session, const struct topic_info *info);
void session_topic(void *session, const struct topic_info *info);
void session_log_start(void *session, const struct partition_info *info);
void session_deleted(void *session, const struct topic_info *info);
void session_limits(void *session, const struct topic_info *info);

#endif
