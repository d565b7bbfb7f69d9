/* test_core_schedules_model.c: schedules against a model that is a list: random operations, each checked; a sequence that fails is
 * made small before it is shown.
 *
 * The broker has a window of four, and flushes often. Operations: emits of one to three batches, with a time and without, by a
 * producer with numbers; the last of them once more; cancels of any there ever was; time that passes; crashes and clean
 * restarts. After each, what the broker lists is what the model says waits. At the end all that was not canceled has come. */
#include "tests/unit/core_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_US   INT64_C(1000000)
#define HOUR_US     (3600 * SECOND_US)
#define SEEDS       150
#define OPS         60
#define ITEMS_MAX   (3 * OPS)
#define SLACK_US    (3 * SECOND_US) /* between due and certainly come */
#define SHRINKS_MAX 400

enum op_kind { OP_EMIT, OP_AGAIN, OP_CANCEL, OP_RUN, OP_CRASH, OP_RESTART, OP_KINDS };

struct op {
    enum op_kind kind;
    uint64_t a;
    int64_t delay_us[3]; /* EMIT: of each; 0: it has none. RUN: the first one */
};

/* One that was scheduled. */
struct item {
    int64_t due_us;
    uint64_t number;
    bool canceled, gone; /* gone: the broker has said that it is no more */
};

struct model {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
    struct item items[ITEMS_MAX];
    size_t count, immediate;
    int32_t sequence;
    struct batch_spec last[3];
    size_t last_count, last_items; /* its schedules are the last ones */
    char why[160];                 /* what is not as the model says; empty: all is */
};

static bool wrong(struct model *m, const char *what, uint64_t a, uint64_t b)
{
    if (!m->why[0])
        snprintf(m->why, sizeof(m->why), "%s (%llx, %llx)", what, (unsigned long long)a,
                 (unsigned long long)b);
    return false;
}

/* ---- operations ---- */

static bool emitted(struct model *m, bool again)
{
    peer_emit(m->p, m->last, m->last_count);
    fixture_settle(m->f);
    const Wire__Emitted *answer = peer_expect_past(m->p, FRAME_EMITTED);
    size_t next = m->count - m->last_items;
    if (!again)
        m->last_items = 0;
    for (size_t i = 0; i < m->last_count; i++) {
        const Wire__EmittedPart *part = answer->parts[i];
        bool timed = m->last[i].delay_us != 0;
        if (part->outcome != WIRE__OUTCOME__OK || part->duplicate != again)
            return wrong(m, again ? "sent again, and no duplicate" : "refused", i, (uint64_t)part->outcome);
        if (!timed) {
            m->immediate += !again;
            continue;
        }
        if (again && (m->items[next].due_us != part->due_us || m->items[next].number != part->schedule))
            return wrong(m, "sent again, and called otherwise", m->items[next].number, part->schedule);
        next++;
        if (!again) {
            m->items[m->count++] = (struct item){.due_us = part->due_us, .number = part->schedule};
            m->last_items++;
        }
    }
    return true;
}

static bool op_emit(struct model *m, const struct op *op)
{
    m->last_count = 1 + op->a % 3;
    for (size_t i = 0; i < m->last_count; i++)
        m->last[i] = (struct batch_spec){.partition = m->partition,
                                         .producer_id = 7,
                                         .sequence = m->sequence++,
                                         .delay_us = (uint64_t)op->delay_us[i]};
    m->last_items = 0;
    return emitted(m, false);
}

static bool op_cancel(struct model *m, const struct op *op)
{
    if (m->count == 0)
        return true;
    struct item *item = &m->items[op->a % m->count];
    Wire__ScheduleCancel message = WIRE__SCHEDULE_CANCEL__INIT;
    message.request = 3;
    message.due_us = item->due_us;
    message.schedule = item->number;
    int64_t now_us = m->f->wall_us;
    peer_send(m->p, FRAME_SCHEDULE_CANCEL, &message.base);
    fixture_settle(m->f);
    int code = ((const Wire__Schedules *)peer_expect_past(m->p, FRAME_SCHEDULES))->code;
    bool over = item->canceled || item->gone;
    if (code != 0 && code != WIRE_CRIER_ENOSCHEDULE)
        return wrong(m, "a cancel failed", item->number, (uint64_t)-code);
    if (code == 0 && over)
        return wrong(m, "canceled, and was no more", item->number, 0);
    if (code == 0 && item->due_us < now_us - SLACK_US)
        return wrong(m, "canceled, long after its time", item->number, 0);
    if (code != 0 && !over && item->due_us > m->f->wall_us)
        return wrong(m, "cannot be canceled before its time", item->number, 0);
    item->canceled |= code == 0;
    item->gone |= code != 0 && !item->canceled;
    return true;
}

static void peer_anew(struct model *m)
{
    m->p = peer_welcome(m->f);
}

static bool op_run(struct model *m, const struct op *op)
{
    switch (op->kind) {
    case OP_EMIT:
        return op_emit(m, op);
    case OP_AGAIN:
        return m->last_count == 0 || emitted(m, true);
    case OP_CANCEL:
        return op_cancel(m, op);
    case OP_RUN:
        fixture_run(m->f, op->delay_us[0]);
        return true;
    case OP_CRASH:
        fixture_crash(m->f);
        peer_anew(m);
        return true;
    default:
        fixture_restart(m->f);
        peer_anew(m);
        return true;
    }
}

/* ---- what there is ---- */

static bool listed(struct model *m)
{
    bool found[ITEMS_MAX] = {0};
    Wire__ScheduleList message = WIRE__SCHEDULE_LIST__INIT;
    int64_t last_us = 0, from_us = m->f->wall_us;
    uint64_t last_number = 0;
    message.limit = 7;
    for (bool more = true; more;) {
        peer_send(m->p, FRAME_SCHEDULE_LIST, &message.base);
        fixture_settle(m->f);
        const Wire__Schedules *answer = peer_expect_past(m->p, FRAME_SCHEDULES);
        for (size_t i = 0; i < answer->n_schedules; i++) {
            const Wire__ScheduleInfo *info = answer->schedules[i];
            size_t at = 0;
            if (info->due_us < last_us || (info->due_us == last_us && info->schedule <= last_number))
                return wrong(m, "listed out of order", info->schedule, last_number);
            last_us = info->due_us;
            last_number = info->schedule;
            while (at < m->count &&
                   (m->items[at].number != info->schedule || m->items[at].due_us != info->due_us))
                at++;
            if (at == m->count)
                return wrong(m, "listed, and never was", info->schedule, 0);
            if (m->items[at].canceled || m->items[at].gone)
                return wrong(m, "listed, and is no more", info->schedule, 0);
            if (info->due_us < from_us - SLACK_US)
                return wrong(m, "listed long after its time", info->schedule, 0);
            found[at] = true;
        }
        more = answer->more;
        message.after_due_us = answer->next_due_us;
        message.after_schedule = answer->next_schedule;
    }
    for (size_t i = 0; i < m->count; i++)
        if (!found[i] && !m->items[i].canceled && !m->items[i].gone && m->items[i].due_us > m->f->wall_us)
            return wrong(m, "waits, and is not listed", m->items[i].number, i);
    return true;
}

static bool all_came(struct model *m)
{
    size_t expected = m->immediate;
    fixture_run(m->f, 3 * HOUR_US);
    for (size_t i = 0; i < m->count; i++)
        expected += !m->items[i].canceled;
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 2;
    message.name = (char *)"t";
    peer_send(m->p, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_turn(m->f);
    const Wire__Topics *topics = peer_expect_past(m->p, FRAME_TOPICS);
    uint64_t came = topics->topics[0]->partitions[0]->high_watermark;
    if (came != expected)
        return wrong(m, "another number of events has come than was to", came, expected);
    return fixture_stats(m->f).schedules == 0 ||
           wrong(m, "some wait for ever", fixture_stats(m->f).schedules, 0);
}

/* ---- a run ---- */

/* skip[i]: not this one. Returns whether all was as the model says; else why. */
static bool run(const struct op *ops, const bool *skip, char why[160])
{
    struct model *m = calloc(1, sizeof(*m));
    cr_assert_not_null(m);
    m->f = fixture_create();
    m->f->config.idle_timeout_ms = m->f->config.ping_interval_ms = UINT32_MAX; /* the peer is silent */
    m->f->config.schedule_window = 4;
    m->f->config.flush_interval_us = 50000;
    fixture_start(m->f);
    peer_anew(m);
    m->partition = peer_topic(m->p, "t", 1);
    bool right = true;
    for (size_t i = 0; i < OPS && right; i++)
        right = (skip && skip[i]) || (op_run(m, &ops[i]) && listed(m));
    right = right && all_came(m);
    memcpy(why, m->why, sizeof(m->why));
    fixture_destroy(m->f);
    free(m);
    return right;
}

static int64_t delay_draw(struct random *random)
{
    static const int64_t delays[] = {0,      0,         1,       1000,          20000,           500000,
                                     900000, SECOND_US, 1500000, 5 * SECOND_US, 100 * SECOND_US, HOUR_US};
    int64_t us = delays[random_below(random, sizeof(delays) / sizeof(delays[0]))];
    return us > 1 ? us - (int64_t)random_below(random, (uint64_t)us / 2) : us;
}

static void ops_draw(struct op *ops, uint64_t seed)
{
    static const enum op_kind kinds[] = {OP_EMIT,   OP_EMIT, OP_EMIT, OP_EMIT,  OP_AGAIN,  OP_CANCEL,
                                         OP_CANCEL, OP_RUN,  OP_RUN,  OP_CRASH, OP_RESTART};
    struct random random = random_seeded(seed);
    for (size_t i = 0; i < OPS; i++) {
        ops[i].kind = kinds[random_below(&random, sizeof(kinds) / sizeof(kinds[0]))];
        ops[i].a = random_below(&random, 1000);
        for (size_t k = 0; k < 3; k++)
            ops[i].delay_us[k] = delay_draw(&random);
        if (ops[i].kind == OP_RUN && ops[i].delay_us[0] == 0)
            ops[i].delay_us[0] = 10000;
    }
}

/* Leaves out whatever it fails without: halves, quarters, ..., single operations. Returns the runs it took. */
static unsigned shrink(const struct op *ops, bool *skip)
{
    unsigned runs = 0;
    char why[160];
    for (size_t size = OPS / 2; size > 0; size /= 2)
        for (size_t from = 0; from < OPS && runs < SHRINKS_MAX; from += size) {
            bool before[OPS];
            memcpy(before, skip, sizeof(before));
            for (size_t i = from; i < from + size && i < OPS; i++)
                skip[i] = true;
            runs++;
            if (memcmp(before, skip, sizeof(before)) != 0 && run(ops, skip, why))
                memcpy(skip, before, sizeof(before));
        }
    return runs;
}

static void show(uint64_t seed, const struct op *ops)
{
    static const char *const names[OP_KINDS] = {"emit", "again", "cancel", "run", "crash", "restart"};
    bool skip[OPS] = {0};
    char why[160];
    unsigned runs = shrink(ops, skip);
    (void)run(ops, skip, why);
    fprintf(stderr, "seed %llu, made smaller in %u runs: %s\n", (unsigned long long)seed, runs, why);
    for (size_t i = 0; i < OPS; i++)
        if (!skip[i])
            fprintf(stderr, "  %2zu %-7s %llu: %lld %lld %lld us\n", i, names[ops[i].kind],
                    (unsigned long long)ops[i].a, (long long)ops[i].delay_us[0],
                    (long long)ops[i].delay_us[1], (long long)ops[i].delay_us[2]);
}

Test(schedules_model, the_broker_is_a_list_of_what_waits, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct op ops[OPS];
        char why[160];
        ops_draw(ops, seed);
        bool right = run(ops, NULL, why);
        if (!right)
            show(seed, ops);
        cr_assert(right, "seed %llu: %s", (unsigned long long)seed, why);
    }
}
