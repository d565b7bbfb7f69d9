/* engine_group.c: questions about groups, for people: list, describe, seek, delete.
 *
 * Role:     what engine_request.c is for topics. A seek first finds out where it leads: a listener without credit (the
 *           probe) is told the offset that `from` means in each partition, whatever it is; then the group is moved there.
 * Thread:   the I/O thread.
 * Owns:     struct group_question, with its request; the probe, until it was told.
 *
 * Happy path:  engine_group_seek -> LISTEN (probe) -> LISTENING -> UNLISTEN, GROUP_SEEK -> GROUPS -> answered
 * Failures:    as engine_request.c; what ends the probe (no such topic) ends the seek. */
#include "client/engine_internal.h"

#include "base/check.h"
#include "client/topic_name.h"
#include "proto/error.h"

#include <stdio.h>
#include <stdlib.h>

#define LIST_PAGE 100

/* The probe's fate is no longer of interest. */
static void probe_detach(struct engine *engine, struct group_question *question)
{
    struct crier_listener *probe = question->probe;

    question->probe = NULL;
    if (!probe)
        return;
    probe->released = NULL;
    probe->listening = NULL;
    listen_finish_one(engine, probe, 0, "");
}

void group_question_free(struct engine *engine, struct group_question *question)
{
    if (!question)
        return;
    probe_detach(engine, question);
    free(question->positions);
    free(question);
}

/* ---- asking ---- */

int engine_group_list(struct engine *engine, engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;

    return request_ask(engine, REQUEST_GROUP_LIST, "", answered, ctx, now_us, &request);
}

int engine_group_delete(struct engine *engine, const char *name, engine_answered *answered, void *ctx,
                        int64_t now_us)
{
    struct request *request;

    if (!text_is_valid(name, GROUP_NAME_MAX))
        return CRIER_EINVAL;
    return request_ask(engine, REQUEST_GROUP_DELETE, name, answered, ctx, now_us, &request);
}

static int question_ask(struct engine *engine, enum request_kind kind, const char *name, const char *topic,
                        engine_answered *answered, void *ctx, int64_t now_us, struct request **ret_request)
{
    struct group_question *question;
    int rc;

    if (!text_is_valid(name, GROUP_NAME_MAX) || (*topic && !topic_name_is_readable(topic)))
        return CRIER_EINVAL;
    if (!(question = calloc(1, sizeof(*question))))
        return CRIER_ENOMEM;
    snprintf(question->topic, sizeof(question->topic), "%s", topic);
    if ((rc = request_ask(engine, kind, name, answered, ctx, now_us, ret_request)) < 0)
        free(question);
    else
        (*ret_request)->group = question;
    return rc;
}

int engine_group_describe(struct engine *engine, const char *name, const char *topic,
                          engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;

    return question_ask(engine, REQUEST_GROUP_DESCRIBE, name, topic, answered, ctx, now_us, &request);
}

/* ---- where a seek leads ---- */

static int probe_hears_nothing(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    return 0;
}

/* Copies what the probe was told; -1 for all partitions. 0 or why not. */
static int positions_take(struct group_question *question)
{
    const struct crier_listener *probe = question->probe;

    if (!(question->positions = calloc(probe->partition_count + 1, sizeof(Wire__Position))))
        return CRIER_ENOMEM;
    for (size_t i = 0; i < probe->partition_count; i++) {
        const struct listen_partition *partition = probe->partitions[i];
        Wire__Position *position = &question->positions[question->position_count];
        if (question->partition >= 0 && partition->index != (uint32_t)question->partition)
            continue;
        wire__position__init(position);
        position->partition = partition->id;
        position->offset = partition->next;
        question->position_count++;
    }
    return question->position_count > 0 ? 0 : CRIER_EINVAL;
}

static void on_probe_listening(void *ctx)
{
    struct group_question *question = ctx;
    int rc = positions_take(question);

    if (rc < 0) {
        request_fail(question->engine, question->request, rc);
        return;
    }
    probe_detach(question->engine, question);
    list_append(&question->engine->requests_waiting, &question->request->link);
}

static void on_probe_released(void *ctx, int code, const char *text)
{
    struct group_question *question = ctx;
    struct engine_answer answer = {.code = code < 0 ? code : CRIER_ECLOSED, .text = text};

    question->probe = NULL;
    request_answer(question->engine, question->request, &answer);
}

static int probe_make(struct engine *engine, struct group_question *question,
                      const struct crier_group_seek_options *options)
{
    struct crier_listen_options listen = crier_listen_options_default();
    int rc;

    listen.from = options->to;
    listen.from_value = options->value;
    listen.listening = on_probe_listening;
    listen.released = on_probe_released;
    rc = engine_listener_create(engine, question->topic, &listen, probe_hears_nothing, question,
                                &question->probe);
    if (rc == 0) {
        question->probe->probe = true;
        question->probe->credit = 0;
    }
    return rc;
}

int engine_group_seek(struct engine *engine, const char *name, const char *topic,
                      const struct crier_group_seek_options *options, engine_answered *answered, void *ctx,
                      int64_t now_us)
{
    struct request *request;
    int rc;

    if (!topic_name_is_readable(topic))
        return CRIER_EINVAL;
    if (engine->closing)
        return CRIER_ECLOSED;
    if ((rc = question_ask(engine, REQUEST_GROUP_SEEK, name, topic, answered, ctx, now_us, &request)) < 0)
        return rc;
    list_remove(&request->link); /* not before the positions are known */
    request->group->engine = engine;
    request->group->request = request;
    request->group->partition = options->partition;
    if ((rc = probe_make(engine, request->group, options)) < 0) {
        request_forget(engine, request);
        return rc;
    }
    engine_listen(engine, request->group->probe);
    return 0;
}

/* ---- sending ---- */

void group_send_list(struct engine *engine, const struct request *request)
{
    Wire__GroupList message = WIRE__GROUP_LIST__INIT;

    message.request = request->id;
    message.after = (char *)(uintptr_t)request->name;
    message.limit = LIST_PAGE;
    engine_send(engine, FRAME_GROUP_LIST, &message.base);
}

void group_send_describe(struct engine *engine, const struct request *request)
{
    Wire__GroupDescribe message = WIRE__GROUP_DESCRIBE__INIT;

    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    message.topic = request->group->topic;
    message.first = request->group->first;
    engine_send(engine, FRAME_GROUP_DESCRIBE, &message.base);
}

void group_send_seek(struct engine *engine, const struct request *request)
{
    struct group_question *question = request->group;
    Wire__GroupSeek message = WIRE__GROUP_SEEK__INIT;
    Wire__Position **pointers = calloc(question->position_count, sizeof(Wire__Position *));

    if (!pointers) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for a GROUP_SEEK frame");
        return;
    }
    for (size_t i = 0; i < question->position_count; i++)
        pointers[i] = &question->positions[i];
    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    message.topic = question->topic;
    message.positions = pointers;
    message.n_positions = question->position_count;
    engine_send(engine, FRAME_GROUP_SEEK, &message.base);
    free(pointers);
}

void group_send_delete(struct engine *engine, const struct request *request)
{
    Wire__GroupDelete message = WIRE__GROUP_DELETE__INIT;

    message.request = request->id;
    message.name = (char *)(uintptr_t)request->name;
    engine_send(engine, FRAME_GROUP_DELETE, &message.base);
}

/* ---- answers ---- */

/* The partitions come in the topic's order. NULL: they do not fit the arena. */
static struct crier_group_partition *partitions_convert(struct engine *engine, const Wire__GroupInfo *group)
{
    struct crier_group_partition *partitions =
        arena_allocate(&engine->arena, (group->n_partitions + 1) * sizeof(*partitions));

    for (size_t i = 0; partitions && i < group->n_partitions; i++) {
        const Wire__GroupPartition *from = group->partitions[i];
        partitions[i] = (struct crier_group_partition){.has_position = from->has_position,
                                                       .position = from->position,
                                                       .high_watermark = from->high_watermark,
                                                       .member = from->owned ? from->member : NULL,
                                                       .done = from->done,
                                                       .leased = from->leased,
                                                       .retries = from->retries};
    }
    return partitions;
}

/* The API's form of an answer, in the arena of the frame. NULL: it does not fit. */
static struct crier_group_info *groups_convert(struct engine *engine, const Wire__Groups *groups)
{
    struct crier_group_info *infos = arena_allocate(&engine->arena, (groups->n_groups + 1) * sizeof(*infos));

    for (size_t i = 0; infos && i < groups->n_groups; i++) {
        const Wire__GroupInfo *group = groups->groups[i];
        const struct crier_group_partition *partitions = partitions_convert(engine, group);
        if (!partitions)
            return NULL;
        infos[i] = (struct crier_group_info){.name = group->name,
                                             .member_count = group->members,
                                             .topics = (const char *const *)group->topics,
                                             .topic_count = group->n_topics,
                                             .partition_count = (uint32_t)group->n_partitions,
                                             .partitions = partitions,
                                             .shared = group->kind != WIRE__GROUP_KIND__ORDERED};
    }
    return infos;
}

/* Groups of a list, or partitions of the one that is described. */
static size_t page_size(const struct request *request, const Wire__Groups *groups)
{
    if (request->kind == REQUEST_GROUP_LIST || groups->n_groups == 0)
        return groups->n_groups;
    return groups->groups[0]->n_partitions;
}

void request_groups(struct engine *engine, const Wire__Groups *groups)
{
    struct request *request = request_sent_find(engine, groups->request);
    struct engine_answer answer = {
        .code = groups->code, .text = groups->code ? groups->text : "", .group_count = groups->n_groups};

    if (!request || request->kind < REQUEST_GROUP_LIST || request->kind > REQUEST_GROUP_DELETE)
        return; /* it has timed out meanwhile */
    answer.more = answer.code == 0 && groups->more &&
                  (request->kind == REQUEST_GROUP_LIST || request->kind == REQUEST_GROUP_DESCRIBE);
    if (!(answer.groups = groups_convert(engine, groups)) ||
        (answer.more && page_size(request, groups) == 0)) {
        engine_fail(engine, CRIER_EPROTO, "a list of groups that makes no sense");
        return;
    }
    if (!answer.more) {
        engine->requests_sent_count--;
        request_answer(engine, request, &answer);
        return;
    }
    request->answered(request->ctx, &answer);
    if (request->group)
        request->group->first += (uint32_t)page_size(request, groups);
    request_continue(engine, request, request->group ? NULL : groups->groups[groups->n_groups - 1]->name);
}
