/* schedule_admin.c: schedules canceled and listed.
 *
 * A question about what is not in memory asks the store for rows first, and then looks at memory, which knows better.
 * Happy path:  cancel → found → LEAVING in the open entry → durable → answered
 *              list → rows from a key on, and what memory has in their range → answered, in the order of due times
 * Failures:    what has ended, or never was: CRIER_ENOSCHEDULE. Too many questions at a time: CRIER_ELIMIT. */
#include "broker/core/schedules.h"

#define QUESTIONS_MAX 16u
#define LIST_MAX      200u /* in one answer: with names of 255 bytes they fit a header */

struct schedule_question {
    struct store_range range;
    struct schedule_question *prev, *next;
    struct shard *shard;
    struct parked *asked;
};

#define CANCELED 1u /* a request whose entry is durable is told by its generation */

static void question_free(struct schedules *schedules, struct schedule_question *question)
{
    DL_DELETE(schedules->questions, question);
    schedules->question_count--;
    parked_destroy(question->asked);
    free(question);
}

void schedule_questions_free(struct schedules *schedules)
{
    while (schedules->questions)
        question_free(schedules, schedules->questions);
}

static void ask(struct shard *shard, const struct shard_request *request, const struct schedule_key *from,
                size_t count_max, void (*done)(struct store_range *range, void *ctx))
{
    struct schedules *schedules = shard->schedules;
    if (schedules->question_count >= QUESTIONS_MAX) {
        shard_reply_code(shard, request, WIRE_CRIER_ELIMIT);
        return;
    }
    struct schedule_question *question = core_alloc(sizeof(*question));
    question->shard = shard;
    question->asked = parked_create(request);
    question->range = (struct store_range){.done = done, .ctx = question};
    DL_APPEND(schedules->questions, question);
    schedules->question_count++;
    if (schedule_range(shard, &question->range, from, count_max) < 0) {
        question_free(schedules, question);
        shard_reply_code(shard, request, WIRE_CRIER_ELIMIT);
    }
}

static void answered(struct schedule_question *question)
{
    struct shard *shard = question->shard;
    free(question->range.rows);
    question_free(shard->schedules, question);
    schedule_range_over(shard);
}

/* ---- cancel ---- */

static void reply(struct shard *shard, const struct shard_request *request, int code)
{
    shard_reply_code(shard, request, code);
}

static bool is_live(const struct shard *shard, const struct schedule *schedule)
{
    return schedule->place != SCHEDULE_GONE && partition_find(shard, schedule->partition);
}

static void cancel_found(struct shard *shard, struct schedule *schedule, const struct shard_request *request)
{
    if (!schedule || !is_live(shard, schedule)) {
        reply(shard, request, WIRE_CRIER_ENOSCHEDULE);
    } else if (schedule->place == SCHEDULE_LEAVING) { /* that entry decides, and then we look again */
        shard_park(shard, schedule->entry, request);
    } else if (shard->read_only) {
        reply(shard, request, WIRE_CRIER_EIO);
    } else {
        struct shard_request canceled = *request;
        canceled.generation = CANCELED;
        schedule_leave(shard, schedule, false);
        shard_park(shard, schedule->entry, &canceled);
    }
}

static void cancel_looked_up(struct store_range *range, void *ctx)
{
    struct schedule_question *question = ctx;
    struct shard *shard = question->shard;
    const struct shard_request *request = &question->asked->request;
    struct schedule *schedule = schedule_find(shard, &request->schedule);
    struct schedule_key key;
    if (range->status < 0 && !schedule) {
        reply(shard, request, range->status == STORE_ENOMEM ? WIRE_CRIER_ENOMEM : WIRE_CRIER_EIO);
        answered(question);
        return;
    }
    if (!schedule && range->count == 1 && schedule_row_key(&range->rows[0], &key) &&
        schedule_key_order(&key, &request->schedule) == 0) {
        State__ScheduleRow *row =
            state__schedule_row__unpack(NULL, range->rows[0].value_size, range->rows[0].value);
        if (row) {
            schedule = schedule_add(shard, &key);
            schedule_row_unpack(schedule, row);
            state__schedule_row__free_unpacked(row, NULL);
        }
    }
    cancel_found(shard, schedule, request);
    answered(question);
}

static void cancel(struct shard *shard, const struct shard_request *request)
{
    struct schedule *schedule = schedule_find(shard, &request->schedule);
    if (request->generation == CANCELED)
        reply(shard, request, 0);
    else if (schedule || schedule_in_window(shard->schedules, &request->schedule) ||
             request->schedule.due_us < 0)
        cancel_found(shard, schedule, request);
    else
        ask(shard, request, &request->schedule, 1, cancel_looked_up);
}

/* ---- list ---- */

struct item {
    struct schedule_key key;
    uint64_t partition;
    uint32_t size;
    int64_t created_us;
};

struct items {
    struct item *list;
    size_t count, capacity;
};

static int by_key(const void *a, const void *b)
{
    return schedule_key_order(&((const struct item *)a)->key, &((const struct item *)b)->key);
}

static void add(struct items *items, const struct item *item)
{
    items->list = core_grow(items->list, items->count, &items->capacity, sizeof(*item));
    items->list[items->count++] = *item;
}

static void add_row(struct shard *shard, struct items *items, const struct store_row *row)
{
    struct item item = {0};
    if (!schedule_row_key(row, &item.key) || schedule_find(shard, &item.key))
        return; /* memory says it */
    State__ScheduleRow *value = state__schedule_row__unpack(NULL, row->value_size, row->value);
    if (!value)
        return;
    item.partition = value->partition;
    item.size = value->size;
    item.created_us = value->created_us;
    state__schedule_row__free_unpacked(value, NULL);
    add(items, &item);
}

/* All that wait after `after`, up to `last` (NULL: the end). */
static void add_memory(struct shard *shard, struct items *items, const struct schedule_key *after,
                       const struct schedule_key *last)
{
    for (const struct schedule *s = shard->schedules->all; s; s = s->hh.next)
        if (s->place != SCHEDULE_GONE && schedule_key_order(&s->key, after) > 0 &&
            (!last || schedule_key_order(&s->key, last) <= 0))
            add(items, &(struct item){s->key, s->partition, s->size, s->created_us});
}

static bool is_wanted(const struct partition *partition, const char *topic)
{
    return partition && !partition->topic->deleting &&
           (!topic || !*topic || !strcmp(partition->topic->name, topic));
}

static uint32_t place_of(const struct partition *partition)
{
    uint32_t place = 0;
    while (partition->topic->partitions[place] != partition->id)
        place++;
    return place;
}

/* more: there may be others behind the last item. */
static void list_reply(struct shard *shard, const struct shard_request *request, struct items *items,
                       bool more)
{
    uint32_t limit = request->partitions && request->partitions < LIST_MAX ? request->partitions : LIST_MAX;
    struct schedule_info *infos = core_alloc((limit + 1) * sizeof(*infos));
    struct schedule_key next = request->schedule;
    size_t count = 0, i = 0;
    if (items->count)
        qsort(items->list, items->count, sizeof(items->list[0]), by_key);
    for (; i < items->count && count < limit; i++) {
        const struct item *item = &items->list[i];
        const struct partition *partition = partition_find(shard, item->partition);
        next = item->key;
        if (is_wanted(partition, request->name))
            infos[count++] = (struct schedule_info){item->key, partition->topic->name, place_of(partition),
                                                    item->size, item->created_us};
    }
    struct shard_reply answer = {.kind = SHARD_SCHEDULES,
                                 .request_kind = request->kind,
                                 .token = request->token,
                                 .schedules = infos,
                                 .schedule_count = count,
                                 .schedule_next = next,
                                 .schedules_pending = shard->self.schedules,
                                 .more = more || i < items->count};
    shard->output->reply(shard->output_ctx, &answer);
    free(infos);
    free(items->list);
}

static void list_looked_up(struct store_range *range, void *ctx)
{
    struct schedule_question *question = ctx;
    struct shard *shard = question->shard;
    const struct shard_request *request = &question->asked->request;
    struct items items = {0};
    struct schedule_key last = {0};
    bool more = range->count == range->count_max;
    if (range->status < 0) {
        reply(shard, request, range->status == STORE_ENOMEM ? WIRE_CRIER_ENOMEM : WIRE_CRIER_EIO);
    } else {
        for (size_t i = 0; i < range->count; i++)
            add_row(shard, &items, &range->rows[i]);
        if (more)
            more = schedule_row_key(&range->rows[range->count - 1], &last);
        add_memory(shard, &items, &request->schedule, more ? &last : NULL);
        if (items.count == 0 && more) { /* all of them have ended since: on behind them */
            struct shard_request again = *request;
            again.schedule = last;
            list_reply(shard, &again, &items, true);
        } else {
            list_reply(shard, request, &items, more);
        }
    }
    answered(question);
}

static void list(struct shard *shard, const struct shard_request *request)
{
    struct items items = {0};
    struct schedule_key from = {request->schedule.due_us, request->schedule.number + 1};
    if (request->schedule.due_us < 0 || request->schedule.number == UINT64_MAX) {
        reply(shard, request, WIRE_CRIER_EINVAL);
    } else if (shard->schedules->whole) {
        add_memory(shard, &items, &request->schedule, NULL);
        list_reply(shard, request, &items, false);
    } else {
        ask(shard, request, &from, LIST_MAX, list_looked_up);
    }
}

void schedules_request(struct shard *shard, const struct shard_request *request)
{
    if (request->kind == SHARD_SCHEDULE_CANCEL)
        cancel(shard, request);
    else
        list(shard, request);
}
