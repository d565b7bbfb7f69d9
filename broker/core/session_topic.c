/* session_topic.c: TOPIC_CREATE, _DESCRIBE, _LIST, _ALTER, _DELETE and _TRIM, answered with TOPICS.
 *
 * The same shard reply also answers the first step of a LISTEN: the token says whose it is (a listener's number is marked
 * with TOKEN_LISTENER in session_listen.c). */
#include "broker/core/session_internal.h"

#define TOPIC_LIST_LIMIT_MAX                                                                                 \
    30 /* with 255-byte names, those of their dead-letter topics and their partitions they fit a frame's header */

static void topics_code(struct core_connection *connection, uint64_t request, int code, const char *text)
{
    Wire__Topics topics = WIRE__TOPICS__INIT;
    topics.request = request;
    topics.code = code;
    topics.text = (char *)text;
    connection_send(connection, FRAME_TOPICS, &topics.base, NULL, 0);
}

bool request_refused(struct core_connection *connection, uint64_t request)
{
    if (!(request & TOKEN_LISTENER))
        return false;
    connection_refuse(connection, WIRE_CRIER_EPROTO, "request numbers are below 2^63");
    return true;
}

static bool name_refused(struct core_connection *connection, uint64_t request, const char *name)
{
    if (request_refused(connection, request))
        return true;
    if (text_valid(name, TOPIC_NAME_MAX))
        return false;
    topics_code(connection, request, WIRE_CRIER_EINVAL, "a topic name is 1 to 255 bytes of printable UTF-8");
    return true;
}

static struct retention retention_read(const Wire__Retention *message)
{
    if (!message)
        return (struct retention){0};
    return (struct retention){message->time_us, message->bytes, message->count, message->until_consumed};
}

static struct retry_policy retry_read(const Wire__RetryPolicy *message)
{
    if (!message)
        return (struct retry_policy){0};
    return (struct retry_policy){message->first_ms, message->max_ms, message->deliveries,
                                 message->dead_letter};
}

static struct quota quota_read(const Wire__TopicQuota *message)
{
    return message ? (struct quota){message->events, message->bytes} : (struct quota){0};
}

void frame_topic_create(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    struct session *session = connection->session;
    const Wire__TopicCreate *message = frame_unpack(connection, &wire__topic_create__descriptor, frame);
    if (!message || name_refused(connection, message->request, message->name))
        return;
    struct shard_request request = {.kind = SHARD_TOPIC_CREATE,
                                    .token = {connection->id, message->request},
                                    .name = message->name,
                                    .partitions = message->partitions,
                                    .memory = message->durability == WIRE__DURABILITY__MEMORY ||
                                              session->config.durability_memory,
                                    .ephemeral = message->ephemeral,
                                    .quota = quota_read(message->quota),
                                    .max_listeners = message->max_listeners,
                                    .retention = retention_read(message->retention),
                                    .retry = retry_read(message->retry)};
    session->ops->random(session->ops_ctx, request.topic_id, TOPIC_ID_SIZE);
    connection_unanswered(connection, +1);
    shard_submit(session->shard, &request);
}

void frame_topic_describe(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    struct session *session = connection->session;
    const Wire__TopicDescribe *message = frame_unpack(connection, &wire__topic_describe__descriptor, frame);
    if (!message || name_refused(connection, message->request, message->name))
        return;
    struct shard_request request = {.kind = SHARD_TOPIC_DESCRIBE,
                                    .token = {connection->id, message->request},
                                    .name = message->name,
                                    .create = message->create,
                                    .ephemeral = message->ephemeral,
                                    .memory = session->config.durability_memory};
    session->ops->random(session->ops_ctx, request.topic_id, TOPIC_ID_SIZE);
    connection_unanswered(connection, +1);
    shard_submit(session->shard, &request);
}

void frame_topic_list(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__TopicList *message = frame_unpack(connection, &wire__topic_list__descriptor, frame);
    if (!message || request_refused(connection, message->request))
        return;
    uint32_t limit =
        message->limit && message->limit < TOPIC_LIST_LIMIT_MAX ? message->limit : TOPIC_LIST_LIMIT_MAX;
    struct shard_request request = {.kind = SHARD_TOPIC_LIST,
                                    .token = {connection->id, message->request},
                                    .name = message->after,
                                    .partitions = limit};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
}

/* ---- changing ---- */

void frame_topic_alter(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__TopicAlter *message = frame_unpack(connection, &wire__topic_alter__descriptor, frame);
    if (!message || name_refused(connection, message->request, message->name))
        return;
    struct shard_request request = {.kind = SHARD_TOPIC_ALTER,
                                    .token = {connection->id, message->request},
                                    .name = message->name,
                                    .set = message->set,
                                    .memory = message->durability == WIRE__DURABILITY__MEMORY,
                                    .quota = quota_read(message->quota),
                                    .max_listeners = message->max_listeners,
                                    .retention = retention_read(message->retention),
                                    .retry = retry_read(message->retry)};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
}

void frame_topic_delete(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__TopicDelete *message = frame_unpack(connection, &wire__topic_delete__descriptor, frame);
    if (!message || name_refused(connection, message->request, message->name))
        return;
    struct shard_request request = {
        .kind = SHARD_TOPIC_DELETE, .token = {connection->id, message->request}, .name = message->name};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
}

void frame_topic_trim(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__TopicTrim *message = frame_unpack(connection, &wire__topic_trim__descriptor, frame);
    if (!message || request_refused(connection, message->request))
        return;
    bool confirm = message->confirm_time && !message->name[0];
    if (!confirm && name_refused(connection, message->request, message->name))
        return;
    struct position *positions = core_alloc((message->n_positions + 1) * sizeof(*positions));
    for (size_t i = 0; i < message->n_positions; i++)
        positions[i] = (struct position){message->positions[i]->partition, message->positions[i]->offset};
    struct shard_request request = {.kind = SHARD_TOPIC_TRIM,
                                    .token = {connection->id, message->request},
                                    .name = message->name,
                                    .confirm_time = confirm,
                                    .time_us = message->time_us,
                                    .positions = positions,
                                    .position_count = message->n_positions};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
    free(positions);
}

/* ---- answering ---- */

static Wire__PartitionInfo *partition_pack(Wire__PartitionInfo *to, const struct partition_info *info)
{
    wire__partition_info__init(to);
    to->id = info->id;
    to->log_start = info->log_start;
    to->high_watermark = info->high_watermark;
    to->bytes = info->bytes;
    return to;
}

/* NULL: everything is kept. */
static Wire__Retention *retention_write(Wire__Retention *to, const struct retention *retention)
{
    wire__retention__init(to);
    to->time_us = retention->time_us;
    to->bytes = retention->bytes;
    to->count = retention->count;
    to->until_consumed = retention->until_consumed;
    return wire__retention__get_packed_size(to) ? to : NULL;
}

/* NULL: the defaults. */
static Wire__RetryPolicy *retry_write(Wire__RetryPolicy *to, const struct retry_policy *retry)
{
    wire__retry_policy__init(to);
    to->first_ms = retry->first_ms;
    to->max_ms = retry->max_ms;
    to->deliveries = retry->deliveries;
    if (retry->dead_letter)
        to->dead_letter = (char *)retry->dead_letter;
    return wire__retry_policy__get_packed_size(to) ? to : NULL;
}

/* NULL: as the broker says. */
static Wire__TopicQuota *quota_write(Wire__TopicQuota *to, const struct quota *quota)
{
    wire__topic_quota__init(to);
    to->events = quota->events;
    to->bytes = quota->bytes;
    return quota->events || quota->bytes ? to : NULL;
}

/* Who listens to it just now, each listener once, patterns too; a group's members that have some of it. */
static uint32_t listeners_find(struct session *session, const struct topic_info *info, struct who *who)
{
    const struct view *first = view_find(session, info->partitions[0].id);
    if (!first)
        return 0;
    who_find(first->topic, who);
    return first->topic->listener_count;
}

static void topics_send(struct core_connection *connection, const struct shard_reply *reply)
{
    size_t partition_count = 0;
    for (size_t i = 0; i < reply->topic_count; i++)
        partition_count += reply->topics[i].partition_count;
    Wire__TopicInfo *infos = core_alloc((reply->topic_count + 1) * sizeof(*infos));
    Wire__TopicInfo **info_pointers = core_alloc((reply->topic_count + 1) * sizeof(Wire__TopicInfo *));
    Wire__PartitionInfo *partitions = core_alloc((partition_count + 1) * sizeof(*partitions));
    Wire__Retention *retentions = core_alloc((reply->topic_count + 1) * sizeof(*retentions));
    Wire__RetryPolicy *retries = core_alloc((reply->topic_count + 1) * sizeof(*retries));
    Wire__TopicQuota *quotas = core_alloc((reply->topic_count + 1) * sizeof(*quotas));
    Wire__PartitionInfo **pointers = core_alloc((partition_count + 1) * sizeof(Wire__PartitionInfo *));
    size_t used = 0;
    struct who who = {.count = 0};
    for (size_t i = 0; i < reply->topic_count; i++) {
        const struct topic_info *topic = &reply->topics[i];
        info_pointers[i] = &infos[i];
        wire__topic_info__init(&infos[i]);
        infos[i].name = (char *)topic->name;
        infos[i].id = (ProtobufCBinaryData){TOPIC_ID_SIZE, (uint8_t *)topic->id};
        infos[i].durability = topic->memory ? WIRE__DURABILITY__MEMORY : WIRE__DURABILITY__DURABLE;
        infos[i].ephemeral = topic->ephemeral;
        if (reply->request_kind != SHARD_TOPIC_LIST) { /* one topic */
            infos[i].listeners = listeners_find(connection->session, topic, &who);
            infos[i].who = who.pointers;
            infos[i].n_who = who.count;
        }
        infos[i].created_us = topic->created_us;
        infos[i].retention = retention_write(&retentions[i], &topic->retention);
        infos[i].retry = retry_write(&retries[i], &topic->retry);
        infos[i].quota = quota_write(&quotas[i], &topic->quota);
        infos[i].max_listeners = topic->max_listeners;
        infos[i].partitions = pointers + used;
        infos[i].n_partitions = topic->partition_count;
        for (uint32_t p = 0; p < topic->partition_count; p++, used++)
            pointers[used] = partition_pack(&partitions[used], &topic->partitions[p]);
    }
    Wire__Topics topics = WIRE__TOPICS__INIT;
    topics.request = reply->token.request;
    topics.topics = info_pointers;
    topics.n_topics = reply->topic_count;
    topics.more = reply->more;
    connection_send(connection, FRAME_TOPICS, &topics.base, NULL, 0);
    free(pointers);
    free(quotas);
    free(retries);
    free(retentions);
    free(partitions);
    free(info_pointers);
    free(infos);
}

void topics_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    if (reply->token.request & TOKEN_LISTENER) {
        listener_replied(connection, reply);
        return;
    }
    if (reply->code)
        topics_code(connection, reply->token.request, reply->code, error_text(reply->code));
    else
        topics_send(connection, reply);
    connection_unanswered(connection, -1);
}
