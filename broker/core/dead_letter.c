/* dead_letter.c: an event as it goes to the dead-letter topic, and as it comes back.
 *
 * Thread: any: these functions touch nothing but what they are given; the store's reader threads call them. */
#include "broker/core/shared_internal.h"

const char *const dead_header_names[DEAD_HEADERS] = {
    [DEAD_REASON] = "crier.dead.reason",       [DEAD_ATTEMPTS] = "crier.dead.attempts",
    [DEAD_GROUP] = "crier.dead.group",         [DEAD_TOPIC] = "crier.dead.topic",
    [DEAD_PARTITION] = "crier.dead.partition", [DEAD_OFFSET] = "crier.dead.offset"};

bool dead_letter_name(const struct topic *topic, char *to)
{
    const char *name = topic->retry.dead_letter;
    size_t size = strlen(name ? name : topic->name) + 1;
    size_t prefix = name ? 0 : strlen(DEAD_LETTER_PREFIX);
    if (prefix + size > TOPIC_NAME_MAX + 1)
        return false;
    memcpy(to, DEAD_LETTER_PREFIX, prefix);
    memcpy(to + prefix, name ? name : topic->name, size);
    return true;
}

/* ---- the settings ---- */

bool dead_letter_chosen(const struct retry_policy *policy)
{
    return policy->dead_letter && policy->dead_letter[0];
}

int retry_policy_check(const struct shard *shard, const char *topic, const struct retry_policy *policy)
{
    const char *name = policy->dead_letter;
    if (policy->first_ms > RETRY_MS_MAX || policy->max_ms > RETRY_MS_MAX ||
        policy->deliveries > RETRY_DELIVERIES_MAX)
        return WIRE_CRIER_EINVAL;
    if (!dead_letter_chosen(policy))
        return 0;
    if (!topic_name_valid(name) || topic_name_reserved(name) || !strcmp(name, topic))
        return WIRE_CRIER_EINVAL;
    const struct topic *there = topic_find(shard, name);
    return there && there->ephemeral ? WIRE_CRIER_EINVAL : 0;
}

struct retry_policy retry_policy_altered(const struct retry_policy *now, const struct retry_policy *wanted,
                                         uint32_t set)
{
    struct retry_policy policy = *now;
    if (set & (TOPIC_SET_RETRY | TOPIC_SET_RETRY_FIRST))
        policy.first_ms = wanted->first_ms;
    if (set & (TOPIC_SET_RETRY | TOPIC_SET_RETRY_MAX))
        policy.max_ms = wanted->max_ms;
    if (set & (TOPIC_SET_RETRY | TOPIC_SET_DELIVERIES))
        policy.deliveries = wanted->deliveries;
    if (set & (TOPIC_SET_RETRY | TOPIC_SET_DEAD_LETTER))
        policy.dead_letter = wanted->dead_letter;
    return policy;
}

void retry_policy_pack(const struct retry_policy *policy, State__TopicSettings *settings)
{
    settings->retry_first_ms = policy->first_ms;
    settings->retry_max_ms = policy->max_ms;
    settings->deliveries = policy->deliveries;
    if (policy->dead_letter)
        settings->dead_letter = (char *)policy->dead_letter;
}

struct retry_policy retry_policy_unpack(const State__TopicSettings *settings)
{
    return (struct retry_policy){.first_ms = settings->retry_first_ms,
                                 .max_ms = settings->retry_max_ms,
                                 .deliveries = settings->deliveries,
                                 .dead_letter = settings->dead_letter};
}

void retry_policy_set(struct topic *topic, const struct retry_policy *policy)
{
    char *name = dead_letter_chosen(policy) ? core_strdup(policy->dead_letter) : NULL;
    struct retry_policy taken = *policy;
    free((char *)topic->retry.dead_letter); /* may be policy's */
    topic->retry = taken;
    topic->retry.dead_letter = name;
}

/* ---- events ---- */

struct batch_pair *event_headers(const struct batch_record *record, size_t more, size_t *ret_count)
{
    struct batch_pair *headers = calloc((size_t)record->header_count + more + 1, sizeof(*headers));
    const uint8_t *cursor = record->headers;
    struct batch_string key, value;
    size_t count = 0;
    int rc = headers ? 1 : 0;
    while (headers && count < (size_t)record->header_count &&
           (rc = batch_record_header(record, &cursor, &key, &value)) > 0)
        headers[count++] = (struct batch_pair){key.data, key.size, value.data, value.size};
    *ret_count = count;
    if (rc >= 0)
        return headers;
    free(headers);
    return NULL;
}

struct slice event_build(const struct batch_record *record, const struct batch_pair *headers,
                         size_t header_count)
{
    size_t capacity = BATCH_HEADER_SIZE +
                      batch_record_size_max(record->key.size, record->value.size, headers, header_count);
    struct buffer *buffer = buffer_create(capacity);
    if (!buffer)
        return (struct slice){0};
    struct batch_builder builder;
    batch_builder_init(&builder, buffer->data, capacity);
    int rc = batch_builder_append(&builder, record->timestamp_ms, record->key.data, record->key.size,
                                  record->value.data, record->value.size, headers, header_count);
    if (rc < 0) {
        buffer_unref(buffer);
        return (struct slice){0};
    }
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    return (struct slice){buffer, buffer->data, size};
}
