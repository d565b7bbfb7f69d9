/* topics.c: topics and partitions of a shard: looking up, creating, describing, listing.
 *
 * A topic exists for others once its command is durable; until then requests about it wait for that entry. Partition
 * numbers are given out once and never again, also when the entry that would have created them is refused. */
#include "broker/core/shard_internal.h"

#include "base/check.h"

bool topic_name_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > TOPIC_NAME_MAX || name[0] == '.' || name[length - 1] == '.')
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x21 || c == 0x7f || c == '*' || (c == '.' && name[i + 1] == '.'))
            return false;
    }
    return true; /* that it is UTF-8 has been checked with the message */
}

static bool is_dead_letters(const char *name)
{
    return !strncmp(name, DEAD_LETTER_PREFIX, strlen(DEAD_LETTER_PREFIX));
}

/* Dead letters can be listened to before there are any. */
bool topic_name_reserved(const char *name)
{
    return (name[0] == '$' && !is_dead_letters(name)) || !strcmp(name, "error") ||
           !strcmp(name, "newListener") || !strcmp(name, "removeListener");
}

static bool topic_is(const void *topic, const void *name, size_t size)
{
    (void)size;
    return strcmp(((const struct topic *)topic)->name, name) == 0;
}

struct topic *topic_find(const struct shard *shard, const char *name)
{
    return table_find(&shard->topics, table_hash(name, strlen(name)), topic_is, name, 0);
}

static void topic_hide(struct shard *shard, const struct topic *topic)
{
    table_remove(&shard->topics, table_hash(topic->name, strlen(topic->name)), topic);
}

struct partition *partition_find(const struct shard *shard, uint64_t id)
{
    return id < shard->partition_capacity ? shard->partitions[id] : NULL;
}

bool partition_ids_free(const struct shard *shard, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] <= (i ? ids[i - 1] : 0) || ids[i] > PARTITION_IDS_MAX || partition_find(shard, ids[i]))
            return false;
    return count > 0;
}

static void partition_add(struct shard *shard, struct topic *topic, struct partition *partition, uint64_t id)
{
    if (id >= shard->partition_capacity) {
        size_t capacity = shard->partition_capacity ? shard->partition_capacity : 64;
        while (capacity <= id)
            capacity *= 2;
        shard->partitions = realloc(shard->partitions, capacity * sizeof(struct partition *));
        CHECK(shard->partitions);
        memset(shard->partitions + shard->partition_capacity, 0,
               (capacity - shard->partition_capacity) * sizeof(struct partition *));
        shard->partition_capacity = capacity;
    }
    CHECK(!shard->partitions[id]);
    partition->row.kind = ROW_PARTITION;
    partition->topic = topic;
    partition->id = id;
    shard->partitions[id] = partition;
    if (id >= shard->self.next_partition_id_prepared)
        shard->self.next_partition_id_prepared = id + 1;
}

struct topic *topic_add(struct shard *shard, const char *name, const uint8_t *id, const uint64_t *partitions,
                        size_t partition_count, bool memory, int64_t created_us)
{
    size_t name_size = strlen(name) + 1;
    struct topic *topic = core_alloc(
        sizeof(*topic) + partition_count * (sizeof(struct partition) + sizeof(uint64_t)) + name_size);
    topic->row.kind = ROW_TOPIC;
    topic->partitions = (uint64_t *)&topic->own[partition_count];
    topic->name = (char *)&topic->partitions[partition_count];
    memcpy(topic->name, name, name_size);
    topic->reserved = name[0] == '$' && !is_dead_letters(name);
    memcpy(topic->id, id, TOPIC_ID_SIZE);
    memcpy(topic->partitions, partitions, partition_count * sizeof(uint64_t));
    topic->partition_count = (uint32_t)partition_count;
    topic->memory = memory;
    topic->created_us = created_us;
    for (size_t i = 0; i < partition_count; i++)
        partition_add(shard, topic, &topic->own[i], partitions[i]);
    table_add(&shard->topics, table_hash(name, name_size - 1), topic);
    return topic;
}

static struct partition_info partition_info(const struct partition *partition)
{
    return (struct partition_info){.id = partition->id,
                                   .log_start = partition->log_start,
                                   .high_watermark = partition->next,
                                   .bytes = partition->bytes};
}

/* What others are told of a topic. partitions: room for all of its own. */
static void topic_tell(const struct shard *shard, const struct topic *topic,
                       struct partition_info *partitions, struct topic_info *ret_info)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition *partition = partition_find(shard, topic->partitions[i]);
        CHECK(partition);
        partitions[i] = partition_info(partition);
    }
    *ret_info = (struct topic_info){.name = topic->name,
                                    .id = topic->id,
                                    .partitions = partitions,
                                    .partition_count = topic->partition_count,
                                    .memory = topic->memory || topic->ephemeral,
                                    .ephemeral = topic->ephemeral,
                                    .created_us = topic->created_us,
                                    .retention = topic->retention,
                                    .retry = topic->retry,
                                    .quota = topic->quota,
                                    .max_listeners = topic->max_listeners};
}

/* To the session: it is there from now on, or it goes. */
static void topic_announce(struct shard *shard, const struct topic *topic,
                           void (*tell)(void *ctx, const struct topic_info *info))
{
    struct partition_info one, *partitions = &one; /* as most have */
    struct topic_info info;
    if (topic->partition_count > 1)
        partitions = core_alloc(topic->partition_count * sizeof(*partitions));
    topic_tell(shard, topic, partitions, &info);
    tell(shard->output_ctx, &info);
    if (partitions != &one)
        free(partitions);
}

void topic_announce_end(struct shard *shard, const struct topic *topic)
{
    topic_announce(shard, topic, shard->output->deleted);
}

void topic_announce_limits(struct shard *shard, const struct topic *topic)
{
    topic_announce(shard, topic, shard->output->limits);
}

void topics_announce_all(struct shard *shard)
{
    for (size_t i = 0; i < shard->topics_sorted_count; i++)
        topic_announce(shard, shard->topics_sorted[i], shard->output->known);
}

void topic_applied(struct shard *shard, struct topic *topic)
{
    CHECK(!topic->applied);
    topic->applied = true;
    shard->topics_sorted = core_grow(shard->topics_sorted, shard->topics_sorted_count,
                                     &shard->topics_sorted_capacity, sizeof(struct topic *));
    shard->topics_sorted[shard->topics_sorted_count++] = topic;
    shard->topics_sorted_stale = true;
    retention_settings_changed(shard, topic);
    if (shard->serving)
        topic_announce(shard, topic, shard->output->topic);
}

static void topic_free(struct shard *shard, struct topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++)
        shard->partitions[topic->partitions[i]] = NULL;
    free((char *)topic->retry.dead_letter);
    free(topic);
}

void topic_remove(struct shard *shard, struct topic *topic)
{
    CHECK(!topic->applied && topic->row.flush == 0);
    topic_hide(shard, topic);
    topic_free(shard, topic);
}

void topic_delete(struct shard *shard, struct topic *topic)
{
    CHECK(topic->applied && !topic->deleted);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        struct partition *partition = partition_find(shard, topic->partitions[i]);
        shard_row_will_change(shard, &partition->row);
        partition->deleted = true;
        shard->partitions[partition->id] = NULL;
        if (shard->serving)
            (void)shard->store->ops->trim(shard->store, partition->id, STORE_DELETED);
    }
    shard_row_will_change(shard, &topic->row);
    topic->deleted = true;
    retention_settings_changed(shard, topic); /* out of the list */
    topic_hide(shard, topic);
    size_t at = 0;
    while (shard->topics_sorted[at] != topic)
        at++;
    memmove(&shard->topics_sorted[at], &shard->topics_sorted[at + 1],
            (--shard->topics_sorted_count - at) * sizeof(struct topic *));
}

void topic_bury(struct row *row)
{
    struct topic *topic = (struct topic *)row;
    free((char *)topic->retry.dead_letter);
    free(topic);
}

void topic_free_all(struct shard *shard)
{
    uint32_t at = 0;
    for (struct topic *topic; (topic = table_next(&shard->topics, &at));)
        topic_free(shard, topic);
    table_finish(&shard->topics);
    free(shard->partitions);
    free(shard->topics_sorted);
}

/* ---- requests ---- */

void topics_reply(struct shard *shard, const struct shard_request *request, struct topic *const *topics,
                  size_t count, bool more)
{
    size_t partition_count = 0;
    for (size_t i = 0; i < count; i++)
        partition_count += topics[i]->partition_count;
    struct topic_info *infos = core_alloc((count + 1) * sizeof(*infos));
    struct partition_info *partitions = core_alloc((partition_count + 1) * sizeof(*partitions));
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        topic_tell(shard, topics[i], partitions + used, &infos[i]);
        used += topics[i]->partition_count;
    }
    struct shard_reply reply = {.kind = SHARD_TOPICS,
                                .request_kind = request->kind,
                                .token = request->token,
                                .topics = infos,
                                .topic_count = count,
                                .more = more};
    shard->output->reply(shard->output_ctx, &reply);
    free(partitions);
    free(infos);
}

uint64_t topic_create(struct shard *shard, const struct shard_request *request)
{
    uint32_t count = request->partitions ? request->partitions : 1;
    uint64_t *ids = core_alloc(count * sizeof(*ids));
    for (uint32_t i = 0; i < count; i++)
        ids[i] = shard->self.next_partition_id_prepared + i;
    State__TopicSettings settings = STATE__TOPIC_SETTINGS__INIT;
    settings.durability = request->memory;
    settings.ephemeral = request->ephemeral;
    retention_pack(&request->retention, &settings);
    quota_pack(&request->quota, &settings);
    settings.max_listeners = request->max_listeners;
    retry_policy_pack(&request->retry, &settings);
    State__CreateTopic command = STATE__CREATE_TOPIC__INIT;
    command.name = (char *)request->name;
    command.id = (ProtobufCBinaryData){TOPIC_ID_SIZE, (uint8_t *)request->topic_id};
    command.partitions = ids;
    command.n_partitions = count;
    command.created_us = shard->time.now_us;
    command.settings = &settings;
    size_t size = state__create_topic__get_packed_size(&command);
    uint8_t *bytes = core_alloc(size);
    state__create_topic__pack(&command, bytes);
    shard_add_command(shard, COMMAND_CREATE_TOPIC, bytes, size);
    free(bytes);

    struct topic *topic =
        topic_add(shard, request->name, request->topic_id, ids, count, request->memory, command.created_us);
    topic->retention = request->retention;
    topic->quota = request->quota;
    topic->max_listeners = request->max_listeners;
    topic->ephemeral = request->ephemeral;
    retry_policy_set(topic, &request->retry);
    free(ids);
    struct shard_entry *entry = shard->gathering;
    topic->entry = entry->number;
    entry->topics =
        core_grow(entry->topics, entry->topic_count, &entry->topic_capacity, sizeof(struct topic *));
    entry->topics[entry->topic_count++] = topic;
    struct shard_request asked = *request;
    asked.kind = SHARD_TOPIC_DESCRIBE; /* answered with the topic, once it is durable */
    shard_park(shard, topic->entry, &asked);
    return topic->entry;
}

static int create_code(const struct shard *shard, const struct shard_request *request)
{
    if (!topic_name_valid(request->name) || topic_name_reserved(request->name) ||
        request->partitions > TOPIC_PARTITIONS_MAX || retention_check(&request->retention) ||
        (request->ephemeral && (retention_any(&request->retention) || is_dead_letters(request->name) ||
                                dead_letter_chosen(&request->retry))) ||
        retry_policy_check(shard, request->name, &request->retry))
        return WIRE_CRIER_EINVAL;
    if (request->kind == SHARD_TOPIC_DESCRIBE && (!request->create || !shard->config.auto_create))
        return WIRE_CRIER_ENOTOPIC;
    if (shard->topics_sorted_count >= shard->config.topics_max)
        return WIRE_CRIER_EQUOTA;
    if (shard->self.next_partition_id_prepared > PARTITION_IDS_MAX - TOPIC_PARTITIONS_MAX)
        return WIRE_CRIER_ELIMIT;
    return shard->read_only ? WIRE_CRIER_EIO : 0;
}

static void topic_create_or_describe(struct shard *shard, const struct shard_request *request)
{
    struct topic *topic = topic_find(shard, request->name);
    if (topic && (!topic->applied || topic->deleting)) { /* whatever comes of it decides */
        shard_park(shard, topic_depends(shard, topic), request);
        return;
    }
    if (topic && request->kind == SHARD_TOPIC_DESCRIBE) {
        topics_reply(shard, request, &topic, 1, false);
        return;
    }
    int code = topic ? WIRE_CRIER_EEXIST : create_code(shard, request);
    if (code)
        shard_reply_code(shard, request, code);
    else
        (void)topic_create(shard, request);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct topic *const *)a)->name, (*(struct topic *const *)b)->name);
}

static void topic_list(struct shard *shard, const struct shard_request *request)
{
    if (shard->topics_sorted_stale) {
        qsort(shard->topics_sorted, shard->topics_sorted_count, sizeof(struct topic *), by_name);
        shard->topics_sorted_stale = false;
    }
    size_t low = 0, high = shard->topics_sorted_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(shard->topics_sorted[middle]->name, request->name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t count = shard->topics_sorted_count - low, limit = request->partitions;
    size_t shown = 0, partitions = 0;
    while (shown < count && shown < limit && partitions < TOPIC_LIST_PARTITIONS_MAX)
        partitions += shard->topics_sorted[low + shown++]->partition_count;
    topics_reply(shard, request, shown ? shard->topics_sorted + low : NULL, shown, shown < count);
}

void topics_request(struct shard *shard, const struct shard_request *request)
{
    if (request->kind == SHARD_TOPIC_LIST)
        topic_list(shard, request);
    else if (request->kind == SHARD_TOPIC_TRIM)
        retention_request(shard, request);
    else if (request->kind == SHARD_TOPIC_ALTER || request->kind == SHARD_TOPIC_DELETE)
        topic_admin_request(shard, request);
    else
        topic_create_or_describe(shard, request);
}
