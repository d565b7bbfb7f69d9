/* engine_request.c: questions with one answer: topics (create, describe, list) and ping; groups: engine_group.c.
 *
 * Role:     sends requests as the window allows, matches answers, tells whoever asked; exactly once, but for a list,
 *           which is told page by page.
 * Thread:   the I/O thread.
 * Owns:     struct request, until its answer was told.
 *
 * Happy path:  engine_topic_describe -> waiting -> request_send -> sent -> TOPICS -> answered
 * Failures:    no connection: waits for one. The connection goes: asked again, but for what changes something and was
 *              sent: that ends with CRIER_EUNKNOWN. Too late: CRIER_ETIMEDOUT; a late answer is ignored. */
#include "client/engine_internal.h"

#include "client/topic_name.h"
#include "proto/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_PAGE 500 /* topics an answer may carry; the broker may send fewer */

void request_init(struct engine *engine)
{
    list_init(&engine->requests_waiting);
    list_init(&engine->requests_sent);
    list_init(&engine->requests_timed);
}

static void request_free(struct engine *engine, struct request *request)
{
    group_question_free(engine, request->group);
    free(request->dead_letter);
    free(request);
}

void request_forget(struct engine *engine, struct request *request)
{
    list_remove(&request->link);
    list_remove(&request->by_deadline);
    request_free(engine, request);
}

static void requests_free(struct engine *engine, struct list *requests)
{
    while (!list_is_empty(requests))
        request_forget(engine, LIST_ENTRY(requests->next, struct request, link));
}

void request_finish(struct engine *engine)
{
    requests_free(engine, &engine->requests_waiting);
    requests_free(engine, &engine->requests_sent);
}

/* ---- asking ---- */

/* name: copied into the request if it does not have one of its own (`topic`'s). */
static int request_create(struct engine *engine, enum request_kind kind, struct emit_topic *topic,
                          const char *name, struct request **ret_request)
{
    struct request *request;
    size_t room = topic ? 0 : CRIER_TOPIC_NAME_MAX + 1;

    if (engine->state == ENGINE_DROPPED)
        return CRIER_ECLOSED;
    if (!(request = calloc(1, sizeof(*request) + room)))
        return CRIER_ENOMEM;
    request->kind = kind;
    request->topic = topic;
    request->name = topic ? topic->name : request->own_name;
    if (!topic)
        snprintf(request->own_name, room, "%s", name);
    list_init(&request->by_deadline);
    list_append(&engine->requests_waiting, &request->link);
    *ret_request = request;
    return 0;
}

int request_ask(struct engine *engine, enum request_kind kind, const char *name, engine_answered *answered,
                void *ctx, int64_t now_us, struct request **ret_request)
{
    struct request *request;
    int rc = request_create(engine, kind, NULL, name, &request);

    if (rc < 0)
        return rc;
    request->answered = answered;
    request->ctx = ctx;
    request->due = now_us + engine->config.options.request_timeout_ms * INT64_C(1000);
    list_append(&engine->requests_timed, &request->by_deadline);
    *ret_request = request;
    return 0;
}

int engine_topic_create(struct engine *engine, const char *name, const struct crier_topic_options *options,
                        engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;
    int rc;

    if (!topic_name_is_readable(name) || (options && !retention_is_valid(&options->retention)))
        return CRIER_EINVAL;
    if (options && !dead_letter_is_valid(name, options->dead_letter))
        return CRIER_EINVAL;
    if ((rc = request_ask(engine, REQUEST_TOPIC_CREATE, name, answered, ctx, now_us, &request)) < 0)
        return rc;
    if (options) {
        if (!request_dead_letter(engine, request, options->dead_letter))
            return CRIER_ENOMEM;
        request->partitions = options->partitions;
        request->durability = options->durability;
        request->retention = options->retention;
        request->ephemeral = options->ephemeral;
        request->retry = options->retry;
        request->quota = options->quota;
        request->max_listeners = options->max_listeners;
    }
    return 0;
}

int engine_topic_describe(struct engine *engine, const char *name, engine_answered *answered, void *ctx,
                          int64_t now_us)
{
    struct request *request;

    if (!topic_name_is_readable(name))
        return CRIER_EINVAL;
    return request_ask(engine, REQUEST_TOPIC_DESCRIBE, name, answered, ctx, now_us, &request);
}

int engine_topic_list(struct engine *engine, engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;

    return request_ask(engine, REQUEST_TOPIC_LIST, "", answered, ctx, now_us, &request);
}

int engine_ping(struct engine *engine, engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;

    return request_ask(engine, REQUEST_PING, "", answered, ctx, now_us, &request);
}

int request_topic(struct engine *engine, struct emit_topic *topic)
{
    struct request *request;

    return request_create(engine, REQUEST_TOPIC_DESCRIBE, topic, topic->name, &request);
}

/* ---- sending ---- */

static void send_create(struct engine *engine, const struct request *request)
{
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;

    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    message.partitions = request->partitions;
    message.durability = (Wire__Durability)request->durability;
    message.ephemeral = request->ephemeral;
    Wire__Retention retention = retention_to_wire(&request->retention);
    if (wire__retention__get_packed_size(&retention))
        message.retention = &retention;
    Wire__RetryPolicy retry = retry_to_wire(request);
    if (wire__retry_policy__get_packed_size(&retry))
        message.retry = &retry;
    Wire__TopicQuota quota = quota_to_wire(&request->quota);
    if (wire__topic_quota__get_packed_size(&quota))
        message.quota = &quota;
    message.max_listeners = request->max_listeners;
    engine_send(engine, FRAME_TOPIC_CREATE, &message.base);
}

static void send_describe(struct engine *engine, const struct request *request)
{
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;

    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    message.create = request->topic != NULL;
    message.ephemeral = request->topic != NULL && atomic_load(&request->topic->ephemeral);
    engine_send(engine, FRAME_TOPIC_DESCRIBE, &message.base);
}

static void send_list(struct engine *engine, const struct request *request)
{
    Wire__TopicList message = WIRE__TOPIC_LIST__INIT;

    message.request = request->id;
    message.after = (char *)(uintptr_t)request->name;
    message.limit = LIST_PAGE;
    engine_send(engine, FRAME_TOPIC_LIST, &message.base);
}

static void send_ping(struct engine *engine, const struct request *request)
{
    Wire__Ping message = WIRE__PING__INIT;

    message.nonce = request->id;
    engine_send(engine, FRAME_PING, &message.base);
}

static void (*const senders[REQUEST_KINDS])(struct engine *engine, const struct request *request) = {
    [REQUEST_TOPIC_CREATE] = send_create,
    [REQUEST_TOPIC_DESCRIBE] = send_describe,
    [REQUEST_TOPIC_LIST] = send_list,
    [REQUEST_TOPIC_ALTER] = topic_send_alter,
    [REQUEST_TOPIC_DELETE] = topic_send_delete,
    [REQUEST_TOPIC_TRIM] = topic_send_trim,
    [REQUEST_GROUP_LIST] = group_send_list,
    [REQUEST_GROUP_DESCRIBE] = group_send_describe,
    [REQUEST_GROUP_SEEK] = group_send_seek,
    [REQUEST_GROUP_DELETE] = group_send_delete,
    [REQUEST_PING] = send_ping,
    [REQUEST_INSPECT] = inspect_send,
    [REQUEST_SCHEDULE_CANCEL] = schedule_send_cancel,
    [REQUEST_SCHEDULE_LIST] = schedule_send_list,
    [REQUEST_REDRIVE] = redrive_send,
};

void request_send(struct engine *engine)
{
    struct list *link;

    while (engine->requests_sent_count < ENGINE_REQUESTS_SENT_MAX &&
           (link = list_take(&engine->requests_waiting))) {
        struct request *request = LIST_ENTRY(link, struct request, link);
        request->id = ++engine->request_id;
        list_append(&engine->requests_sent, link);
        engine->requests_sent_count++;
        senders[request->kind](engine, request);
    }
}

/* ---- answers ---- */

struct request *request_sent_find(const struct engine *engine, uint64_t id)
{
    for (struct list *link = engine->requests_sent.next; link != &engine->requests_sent; link = link->next)
        if (LIST_ENTRY(link, struct request, link)->id == id)
            return LIST_ENTRY(link, struct request, link);
    return NULL;
}

static void request_end(struct engine *engine, struct request *request, const struct engine_answer *answer,
                        const Wire__TopicInfo *info)
{
    list_remove(&request->link);
    list_remove(&request->by_deadline);
    if (request->topic)
        emit_topic_answered(engine, request->topic, answer->code, answer->text, info);
    else
        request->answered(request->ctx, answer);
    request_free(engine, request);
}

void request_answer(struct engine *engine, struct request *request, const struct engine_answer *answer)
{
    request_end(engine, request, answer, NULL);
}

static struct engine_answer failure(int code)
{
    return (struct engine_answer){.code = code, .text = error_text(code)};
}

void request_fail(struct engine *engine, struct request *request, int code)
{
    struct engine_answer failed = failure(code);

    request_end(engine, request, &failed, NULL);
}

static void sent_end(struct engine *engine, struct request *request, const struct engine_answer *answer,
                     const Wire__TopicInfo *info)
{
    engine->requests_sent_count--;
    request_end(engine, request, answer, info);
}

void request_sent_answer(struct engine *engine, struct request *request, const struct engine_answer *answer)
{
    sent_end(engine, request, answer, NULL);
}

/* The API's form of an answer, in the arena of the frame. NULL: it does not fit. */
static struct crier_topic_info *topics_convert(struct engine *engine, const Wire__Topics *topics)
{
    struct crier_topic_info *infos = arena_allocate(&engine->arena, (topics->n_topics + 1) * sizeof(*infos));

    for (size_t i = 0; infos && i < topics->n_topics; i++) {
        const Wire__TopicInfo *topic = topics->topics[i];
        struct crier_partition_info *partitions =
            arena_allocate(&engine->arena, (topic->n_partitions + 1) * sizeof(*partitions));
        struct crier_topic_listener *listeners =
            arena_allocate(&engine->arena, (topic->n_who + 1) * sizeof(*listeners));
        if (!partitions || !listeners)
            return NULL;
        for (size_t w = 0; w < topic->n_who; w++)
            listeners[w] = (struct crier_topic_listener){topic->who[w]->client, topic->who[w]->address,
                                                         topic->who[w]->group};
        for (size_t p = 0; p < topic->n_partitions; p++)
            partitions[p] = (struct crier_partition_info){topic->partitions[p]->log_start,
                                                          topic->partitions[p]->high_watermark,
                                                          topic->partitions[p]->bytes};
        infos[i] = (struct crier_topic_info){
            .name = topic->name,
            .partition_count = (uint32_t)topic->n_partitions,
            .partitions = partitions,
            .durability = topic->durability == WIRE__DURABILITY__MEMORY ? CRIER_MEMORY : CRIER_DURABLE,
            .created_us = topic->created_us,
            .ephemeral = topic->ephemeral,
            .listener_count = topic->listeners,
            .listeners = topic->n_who > 0 ? listeners : NULL,
            .listeners_told = topic->n_who,
            .retention = retention_from_wire(topic->retention),
            .retry = retry_from_wire(topic->retry),
            .quota = quota_from_wire(topic->quota),
            .dead_letter = topic->retry && topic->retry->dead_letter[0] ? topic->retry->dead_letter : NULL,
            .max_listeners = topic->max_listeners};
    }
    return infos;
}

void request_continue(struct engine *engine, struct request *request, const char *last_name)
{
    if (last_name)
        snprintf(request->own_name, CRIER_TOPIC_NAME_MAX + 1, "%s", last_name);
    list_remove(&request->link);
    engine->requests_sent_count--;
    list_prepend(&engine->requests_waiting, &request->link);
}

static bool asks_about_topics(const struct request *request)
{
    return request->kind <= REQUEST_TOPIC_TRIM;
}

void request_topics(struct engine *engine, const Wire__Topics *topics)
{
    struct request *request = request_sent_find(engine, topics->request);
    struct engine_answer answer = {.code = topics->code,
                                   .text = topics->code ? topics->text : "",
                                   .topic_count = topics->n_topics,
                                   .more = topics->more};

    if (!request || !asks_about_topics(request))
        return; /* it has timed out meanwhile */
    if (request->topic) {
        sent_end(engine, request, &answer, topics->n_topics ? topics->topics[0] : NULL);
        return;
    }
    if (!(answer.topics = topics_convert(engine, topics)) || (answer.more && topics->n_topics == 0)) {
        engine_fail(engine, CRIER_EPROTO, "a list of topics that makes no sense");
        return;
    }
    if (!answer.more || answer.code < 0 || request->kind != REQUEST_TOPIC_LIST) {
        answer.more = false;
        sent_end(engine, request, &answer, NULL);
        return;
    }
    request->answered(request->ctx, &answer);
    request_continue(engine, request, topics->topics[topics->n_topics - 1]->name);
}

void request_pong(struct engine *engine, uint64_t nonce)
{
    struct request *request = nonce ? request_sent_find(engine, nonce) : NULL;
    struct engine_answer answer = {.text = ""};

    if (request && request->kind == REQUEST_PING)
        sent_end(engine, request, &answer, NULL);
}

/* ---- the connection, time, the end ---- */

static bool changes_something(const struct request *request)
{
    return request->kind == REQUEST_TOPIC_CREATE || request->kind == REQUEST_TOPIC_ALTER ||
           request->kind == REQUEST_TOPIC_DELETE || request->kind == REQUEST_TOPIC_TRIM ||
           request->kind == REQUEST_SCHEDULE_CANCEL || request->kind == REQUEST_GROUP_SEEK ||
           request->kind == REQUEST_GROUP_DELETE || request->kind == REQUEST_REDRIVE;
}

void request_disconnected(struct engine *engine)
{
    struct list again, *link;

    list_init(&again);
    engine->requests_sent_count = 0;
    while ((link = list_take(&engine->requests_sent))) {
        struct request *request = LIST_ENTRY(link, struct request, link);
        if (changes_something(request))
            request_fail(engine, request, CRIER_EUNKNOWN);
        else
            list_append(&again, link);
    }
    list_move_all(&engine->requests_waiting, &again); /* those asked before go first */
    list_move_all(&again, &engine->requests_waiting);
}

int64_t request_due(const struct engine *engine)
{
    if (list_is_empty(&engine->requests_timed))
        return ENGINE_NEVER;
    return LIST_ENTRY(engine->requests_timed.next, struct request, by_deadline)->due;
}

static bool request_is_sent(const struct engine *engine, const struct request *request)
{
    return request->id != 0 && request_sent_find(engine, request->id) == request;
}

void request_tick(struct engine *engine)
{
    while (engine->now >= request_due(engine)) {
        struct request *request = LIST_ENTRY(list_take(&engine->requests_timed), struct request, by_deadline);
        if (request_is_sent(engine, request))
            engine->requests_sent_count--;
        request_fail(engine, request, CRIER_ETIMEDOUT);
    }
}

void request_drop(struct engine *engine, int code)
{
    struct list *lists[] = {&engine->requests_sent, &engine->requests_waiting}, *link;

    engine->requests_sent_count = 0;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        while ((link = list_take(lists[i])))
            request_fail(engine, LIST_ENTRY(link, struct request, link), code);
}

bool request_is_settled(const struct engine *engine)
{
    return list_is_empty(&engine->requests_timed);
}
