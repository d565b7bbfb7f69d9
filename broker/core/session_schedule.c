/* session_schedule.c: SCHEDULE_CANCEL and SCHEDULE_LIST, answered with SCHEDULES.
 *
 * Called:      session.c: frames, and the shard's answers. Thread: the core's. Pure.
 * Happy path:  frame → the shard (schedule_admin.c) → SCHEDULES
 * Failures:    whatever the shard says is the answer's code; a request number that is a listener's ends the connection. */
#include "broker/core/session_internal.h"

void frame_schedule_cancel(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__ScheduleCancel *message = frame_unpack(connection, &wire__schedule_cancel__descriptor, frame);
    if (!message || request_refused(connection, message->request))
        return;
    struct shard_request request = {.kind = SHARD_SCHEDULE_CANCEL,
                                    .token = {connection->id, message->request},
                                    .schedule = {message->due_us, message->schedule}};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
}

void frame_schedule_list(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__ScheduleList *message = frame_unpack(connection, &wire__schedule_list__descriptor, frame);
    if (!message || request_refused(connection, message->request))
        return;
    struct shard_request request = {.kind = SHARD_SCHEDULE_LIST,
                                    .token = {connection->id, message->request},
                                    .name = message->topic,
                                    .partitions = message->limit,
                                    .schedule = {message->after_due_us, message->after_schedule}};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
}

static Wire__ScheduleInfo *info_fill(Wire__ScheduleInfo *to, const struct schedule_info *info)
{
    wire__schedule_info__init(to);
    to->due_us = info->key.due_us;
    to->schedule = info->key.number;
    to->topic = (char *)info->topic;
    to->partition = info->partition;
    to->size = info->size;
    to->created_us = info->created_us;
    return to;
}

void schedules_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    size_t count = reply->schedule_count;
    Wire__ScheduleInfo *infos = core_alloc((count + 1) * sizeof(*infos));
    Wire__ScheduleInfo **pointers = core_alloc((count + 1) * sizeof(Wire__ScheduleInfo *));
    for (size_t i = 0; i < count; i++)
        pointers[i] = info_fill(&infos[i], &reply->schedules[i]);
    Wire__Schedules message = WIRE__SCHEDULES__INIT;
    message.request = reply->token.request;
    message.code = reply->code;
    if (reply->code)
        message.text = (char *)error_text(reply->code);
    message.schedules = pointers;
    message.n_schedules = count;
    message.more = reply->more;
    message.next_due_us = reply->schedule_next.due_us;
    message.next_schedule = reply->schedule_next.number;
    message.pending = reply->schedules_pending;
    connection_send(connection, FRAME_SCHEDULES, &message.base, NULL, 0);
    connection_unanswered(connection, -1);
    free(pointers);
    free(infos);
}
