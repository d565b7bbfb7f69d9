/* shared.h: shared groups, as the rest of the shard core sees them; a part of shard_internal.h, which includes it.
 *
 * Who calls what: shard.c (requests, turns), entry.c (what goes into an entry, or comes back), apply.c (commands), groups.c and
 * crew.c (members), rows.c, topics.c and topic_admin.c (settings). How they work: shared_internal.h and the files it names. */
#ifndef CRIER_BROKER_CORE_SHARED_H
#define CRIER_BROKER_CORE_SHARED_H

#include "broker/core/shard_internal.h"

#define DEAD_LETTER_PREFIX "$dead."
void shared_create(struct shard *shard);
void shared_recovered(
    struct shard *shard); /* the log has been replayed: what was dying dies on, members or not */
void shared_destroy(struct shard *shard); /* before positions and groups are freed */
void shared_request(struct shard *shard, const struct shard_request *request); /* WANT to REDRIVE */
int64_t shared_turn(struct shard *shard); /* returns when the next turn is due at the latest */
/* 0, or the code why a member of this kind cannot join. *ret_entry: the one to wait for first; 0: none. */
int shared_join_check(struct shard *shard, struct group *group, const struct topic *topic,
                      const struct shard_request *request, uint64_t *ret_entry);
void shared_join(struct shard *shard, struct member *member, const struct shard_request *request);
void shared_settle_member(struct shard *shard,
                          struct member *member); /* its positions are stored: it begins */
/* Before a member is removed. left_us: its leases run out then at the latest; 0: they are given back. */
void shared_leave(struct shard *shard, struct member *member, int64_t left_us);
void shared_crew_end(struct shard *shard, struct crew *crew);
void shared_data(struct shard *shard, const struct topic *topic); /* there is more of it */
void shared_encode(struct shard *shard, struct shard_entry *entry);
void shared_set_back(struct shard *shard, struct shard_entry *entry);
int apply_shared_progress(struct shard *shard, const uint8_t *bytes, size_t size);
int apply_shared_group(struct shard *shard, const uint8_t *bytes, size_t size);
uint64_t shared_depends(const struct shard *shard, const struct group *group); /* 0: nothing is on its way */
/* A seek: nothing above the position is done or failed any more. Nobody works on it. */
void shared_reset(struct shard *shard, struct group_position *position);
void shared_forget(struct shard *shard, struct group_position *position); /* it is being deleted */
void shared_describe(const struct group_position *position, struct group_partition *to);
bool shared_row_deleted(const struct row *row);
void shared_free(struct shared *shared);                              /* accepts NULL */
bool shared_row_pack(const struct row *row, State__SharedRow *value); /* false: there is none */
void shared_row_packed(State__SharedRow *value);
const struct group_position *shared_row_position(const struct row *row);
int shared_row_load(struct shard *shard, struct group_position *position, const State__SharedRow *value);
bool dead_letter_chosen(const struct retry_policy *policy);
int retry_policy_check(const struct shard *shard, const char *topic,
                       const struct retry_policy *policy); /* 0 or a code */
/* What is not set stays; borrows from both. */
struct retry_policy retry_policy_altered(const struct retry_policy *now, const struct retry_policy *wanted,
                                         uint32_t set);
void retry_policy_pack(const struct retry_policy *policy, State__TopicSettings *settings);
void retry_policy_set(struct topic *topic, const struct retry_policy *policy); /* copies; also from its own */
struct retry_policy retry_policy_unpack(const State__TopicSettings *settings); /* borrows */
/* One log start, in the open entry. */
void retention_move(struct shard *shard, uint64_t partition, uint64_t offset, uint64_t bytes);

#endif
