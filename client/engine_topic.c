/* engine_topic.c: what changes a topic: altering, deleting, trimming; and what a topic keeps, on the wire.
 *
 * Role:     as engine_request.c, whose requests these are: asked, sent and answered there.
 * Thread:   the I/O thread. */
#include "client/engine_internal.h"

#include "client/topic_name.h"

#include <string.h>

Wire__Retention retention_to_wire(const struct crier_retention *retention)
{
    Wire__Retention message = WIRE__RETENTION__INIT;

    message.time_us = (uint64_t)retention->time_ms * 1000;
    message.bytes = retention->bytes;
    message.count = retention->count;
    message.until_consumed = retention->until_consumed;
    return message;
}

struct crier_retention retention_from_wire(const Wire__Retention *message)
{
    if (!message)
        return (struct crier_retention){0};
    return (struct crier_retention){.time_ms = (int64_t)(message->time_us / 1000),
                                    .bytes = message->bytes,
                                    .count = message->count,
                                    .until_consumed = message->until_consumed};
}

Wire__RetryPolicy retry_to_wire(const struct request *request)
{
    Wire__RetryPolicy message = WIRE__RETRY_POLICY__INIT;

    message.first_ms = request->retry.first_ms;
    message.max_ms = request->retry.max_ms;
    message.deliveries = request->retry.deliveries;
    if (request->dead_letter)
        message.dead_letter = request->dead_letter;
    return message;
}

struct crier_retry retry_from_wire(const Wire__RetryPolicy *message)
{
    if (!message)
        return (struct crier_retry){0};
    return (struct crier_retry){
        .first_ms = message->first_ms, .max_ms = message->max_ms, .deliveries = message->deliveries};
}

Wire__TopicQuota quota_to_wire(const struct crier_quota *quota)
{
    Wire__TopicQuota message = WIRE__TOPIC_QUOTA__INIT;

    message.events = quota->events_max;
    message.bytes = quota->bytes_max;
    return message;
}

struct crier_quota quota_from_wire(const Wire__TopicQuota *message)
{
    return message ? (struct crier_quota){message->events, message->bytes} : (struct crier_quota){0};
}

bool dead_letter_is_valid(const char *topic, const char *dead_letter)
{
    if (!dead_letter || !dead_letter[0])
        return true;
    return topic_name_is_readable(dead_letter) && strcmp(dead_letter, topic) != 0;
}

bool request_dead_letter(struct engine *engine, struct request *request, const char *dead_letter)
{
    if (!dead_letter || !dead_letter[0] || (request->dead_letter = text_copy(dead_letter)))
        return true;
    request_forget(engine, request);
    return false;
}

bool retention_is_valid(const struct crier_retention *retention)
{
    return retention->time_ms >= 0 && retention->time_ms <= INT64_MAX / 4000;
}

int engine_topic_alter(struct engine *engine, const char *name, const struct crier_topic_changes *changes,
                       engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;
    int rc;

    if (!topic_name_is_readable(name) || !retention_is_valid(&changes->retention) ||
        !dead_letter_is_valid(name, changes->dead_letter))
        return CRIER_EINVAL;
    if ((rc = request_ask(engine, REQUEST_TOPIC_ALTER, name, answered, ctx, now_us, &request)) < 0)
        return rc;
    if (!request_dead_letter(engine, request, changes->dead_letter))
        return CRIER_ENOMEM;
    request->set = changes->set;
    request->durability = changes->durability;
    request->retention = changes->retention;
    request->retry = changes->retry;
    request->quota = changes->quota;
    request->max_listeners = changes->max_listeners;
    return 0;
}

int engine_topic_delete(struct engine *engine, const char *name, engine_answered *answered, void *ctx,
                        int64_t now_us)
{
    struct request *request;

    if (!topic_name_is_readable(name))
        return CRIER_EINVAL;
    return request_ask(engine, REQUEST_TOPIC_DELETE, name, answered, ctx, now_us, &request);
}

int engine_topic_trim(struct engine *engine, const char *name, const struct crier_topic_trim_options *options,
                      engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;
    int rc;

    if (name[0] && (!topic_name_is_readable(name) || options->partition < -1 || options->time_us < 0))
        return CRIER_EINVAL;
    if ((rc = request_ask(engine, REQUEST_TOPIC_TRIM, name, answered, ctx, now_us, &request)) < 0)
        return rc;
    request->trim = *options;
    return 0;
}

/* ---- sending ---- */

void topic_send_alter(struct engine *engine, const struct request *request)
{
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    Wire__Retention retention = retention_to_wire(&request->retention);
    Wire__RetryPolicy retry = retry_to_wire(request);
    Wire__TopicQuota quota = quota_to_wire(&request->quota);

    message.retry = &retry;
    message.quota = &quota;
    message.max_listeners = request->max_listeners;
    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    message.set = request->set;
    message.durability = (Wire__Durability)request->durability;
    message.retention = &retention;
    engine_send(engine, FRAME_TOPIC_ALTER, &message.base);
}

void topic_send_delete(struct engine *engine, const struct request *request)
{
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;

    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    engine_send(engine, FRAME_TOPIC_DELETE, &message.base);
}

void topic_send_trim(struct engine *engine, const struct request *request)
{
    Wire__TopicTrim message = WIRE__TOPIC_TRIM__INIT;
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;

    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    message.confirm_time = request->name[0] == '\0';
    if (!message.confirm_time) {
        position.partition = request->trim.partition < 0 ? UINT64_MAX : (uint64_t)request->trim.partition;
        position.offset = request->trim.offset;
        message.positions = &positions;
        message.n_positions = 1;
        message.time_us = request->trim.time_us;
    }
    engine_send(engine, FRAME_TOPIC_TRIM, &message.base);
}
