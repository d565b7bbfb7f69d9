/* engine_schedule.c: schedules canceled and listed.
 *
 * Role:     as engine_request.c, whose requests these are: asked, sent and answered there.
 * Thread:   the I/O thread. */
#include "client/engine_internal.h"

#include "client/topic_name.h"

#define LIST_PAGE 200

int engine_schedule_cancel(struct engine *engine, const crier_schedule *schedule, engine_answered *answered,
                           void *ctx, int64_t now_us)
{
    struct request *request;
    int rc = request_ask(engine, REQUEST_SCHEDULE_CANCEL, "", answered, ctx, now_us, &request);

    if (rc == 0)
        request->schedule = *schedule;
    return rc;
}

int engine_schedule_list(struct engine *engine, const char *topic, const crier_schedule *after,
                         uint32_t count_max, engine_answered *answered, void *ctx, int64_t now_us)
{
    struct request *request;
    int rc;

    if (topic[0] && !topic_name_is_valid(topic))
        return CRIER_EINVAL;
    if ((rc = request_ask(engine, REQUEST_SCHEDULE_LIST, topic, answered, ctx, now_us, &request)) < 0)
        return rc;
    request->schedule = *after;
    request->count_left = count_max;
    return 0;
}

void schedule_send_cancel(struct engine *engine, const struct request *request)
{
    Wire__ScheduleCancel message = WIRE__SCHEDULE_CANCEL__INIT;

    message.request = request->id;
    message.due_us = request->schedule.due_us;
    message.schedule = request->schedule.number;
    engine_send(engine, FRAME_SCHEDULE_CANCEL, &message.base);
}

void schedule_send_list(struct engine *engine, const struct request *request)
{
    Wire__ScheduleList message = WIRE__SCHEDULE_LIST__INIT;

    message.request = request->id;
    message.topic = (char *)(uintptr_t)request->name;
    message.after_due_us = request->schedule.due_us;
    message.after_schedule = request->schedule.number;
    message.limit = request->count_left < LIST_PAGE ? request->count_left : LIST_PAGE;
    engine_send(engine, FRAME_SCHEDULE_LIST, &message.base);
}

/* In the arena of the frame. NULL: it does not fit. */
static struct crier_schedule_info *infos_convert(struct engine *engine, const Wire__Schedules *schedules)
{
    struct crier_schedule_info *infos =
        arena_allocate(&engine->arena, (schedules->n_schedules + 1) * sizeof(*infos));

    for (size_t i = 0; infos && i < schedules->n_schedules; i++) {
        const Wire__ScheduleInfo *from = schedules->schedules[i];
        infos[i] = (struct crier_schedule_info){.schedule = {from->due_us, from->schedule},
                                                .topic = from->topic,
                                                .partition = from->partition,
                                                .size = from->size,
                                                .created_us = from->created_us};
    }
    return infos;
}

/* It goes on behind what it has seen, or this is no list. */
static bool goes_on(const struct request *request, const Wire__Schedules *schedules)
{
    return schedules->next_due_us > request->schedule.due_us ||
           (schedules->next_due_us == request->schedule.due_us &&
            schedules->next_schedule > request->schedule.number);
}

void request_schedules(struct engine *engine, const Wire__Schedules *schedules)
{
    struct request *request = request_sent_find(engine, schedules->request);
    struct engine_answer answer = {.code = schedules->code,
                                   .text = schedules->code ? schedules->text : "",
                                   .schedule_count = schedules->n_schedules,
                                   .schedules_pending = schedules->pending};
    bool list = request && request->kind == REQUEST_SCHEDULE_LIST;

    if (!request || (!list && request->kind != REQUEST_SCHEDULE_CANCEL))
        return; /* it has timed out meanwhile */
    answer.schedules = infos_convert(engine, schedules);
    if (!answer.schedules || (list && answer.schedule_count > request->count_left) ||
        (list && schedules->more && !goes_on(request, schedules))) {
        engine_fail(engine, CRIER_EPROTO, "a list of schedules that makes no sense");
        return;
    }
    answer.more = list && answer.code == 0 && schedules->more && answer.schedule_count < request->count_left;
    if (!answer.more) {
        request_sent_answer(engine, request, &answer);
        return;
    }
    request->answered(request->ctx, &answer);
    request->count_left -= (uint32_t)answer.schedule_count;
    request->schedule = (crier_schedule){schedules->next_due_us, schedules->next_schedule};
    request_continue(engine, request, NULL);
}
