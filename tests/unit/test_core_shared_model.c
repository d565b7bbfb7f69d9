/* test_core_shared_model.c: random operations on a shared group against a simple model in memory: leases, retries, deaths, the order
 * of keys, over power cuts.
 *
 * Each seed gives a list of operations. The core runs them on the twin, in virtual time, and after each the model says of every event
 * that was delivered whether it might be, and of every other whether it had to be. A list that breaks the model is made short: what
 * can be left out is, and what is left is printed. */
#include "tests/unit/shared_rig.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS      60
#define OPS        60
#define MEMBERS    3
#define EVENTS_MAX 400
#define KEYS       4
#define DELIVERIES 3 /* the policy: 1 s, doubled, 3 deliveries */
#define FIRST_US   1000000
#define LEASE_MS   10000u
#define STEP_US                                                                                              \
    100000 /* time passes in steps of at most so long, and to each moment in which something is due */
#define SKEW_US     20000 /* a lease begins when it is given, and the event may have to be read first */
#define DRAIN_STEPS 3000

enum op_kind { OP_EMIT, OP_ACK, OP_NACK, OP_REJECT, OP_EXTEND, OP_WAIT, OP_LEAVE, OP_CRASH, OP_KINDS };

struct op {
    enum op_kind kind;
    uint32_t member, which, amount;
};

struct model_event {
    uint32_t key; /* 0: none */
    bool done, dead;
    uint32_t failures;
    int64_t earliest_us, latest_us; /* of its next delivery */
    int holder;                     /* -1: nobody has it */
    int64_t until_us;
};

struct model {
    struct fixture *f;
    struct peer *emitter;
    struct rig_member *members[MEMBERS];
    struct rig_listen listen;
    uint64_t partition;
    bool keyed;
    struct model_event events[EVENTS_MAX];
    size_t count;
    struct hand {
        size_t event;
        uint32_t attempt;
    } hands[MEMBERS][4 * EVENTS_MAX];
    size_t hand_count[MEMBERS];
    char broken[200]; /* "": it has kept to the model */
};

#define BREAK(model, ...)                                                                                    \
    do {                                                                                                     \
        if (!(model)->broken[0])                                                                             \
            snprintf((model)->broken, sizeof((model)->broken), __VA_ARGS__);                                 \
    } while (0)

static void fail(struct model_event *event, int64_t at_us, int64_t least_us, int64_t most_us, bool reject)
{
    event->failures++;
    event->holder = -1;
    event->dead = reject || event->failures >= DELIVERIES;
    event->earliest_us = at_us + least_us;
    event->latest_us = at_us + most_us;
}

/* Leases that have run out: a failure each, with the policy's time. */
static void expire(struct model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        struct model_event *event = &model->events[i];
        if (event->holder < 0 || event->until_us > model->f->mono_us)
            continue;
        int64_t us = (int64_t)FIRST_US << event->failures;
        fail(event, event->until_us, us / 2 - SKEW_US, us + STEP_US, false);
    }
}

/* Has it perhaps run out already? */
static bool runs_out(const struct model *model, const struct model_event *event)
{
    return event->holder >= 0 && event->until_us <= model->f->mono_us + SKEW_US;
}

static bool anything_runs_out(const struct model *model)
{
    for (size_t i = 0; i < model->count; i++)
        if (runs_out(model, &model->events[i]))
            return true;
    return false;
}

static bool dies(const struct model *model, const struct model_event *event)
{
    return event->dead || (event->failures + 1 == DELIVERIES && runs_out(model, event));
}

static bool blocked(const struct model *model, size_t index)
{
    const struct model_event *event = &model->events[index];
    for (size_t i = 0; i < index && model->keyed && event->key; i++)
        if (model->events[i].key == event->key && !model->events[i].done && !dies(model, &model->events[i]))
            return true;
    return false;
}

static void delivered(struct model *model, int member, const struct rig_event *got)
{
    int64_t now_us = model->f->mono_us;
    size_t index = (size_t)got->value;
    cr_assert(index < model->count);
    struct model_event *event = &model->events[index];
    if (event->done || event->dead)
        BREAK(model, "event %zu is %s, and is delivered", index, event->done ? "done" : "dead");
    if (got->attempt != event->failures + 1)
        BREAK(model, "event %zu has failed %u times, and this is attempt %u", index, event->failures,
              got->attempt);
    if (event->holder >= 0)
        BREAK(model, "event %zu is delivered to member %d, and member %d has it", index, member,
              event->holder);
    if (now_us < event->earliest_us)
        BREAK(model, "event %zu is delivered %lld us too early", index,
              (long long)(event->earliest_us - now_us));
    if (blocked(model, index))
        BREAK(model, "event %zu is delivered before another of its key is done", index);
    event->holder = member;
    event->until_us = now_us + LEASE_MS * INT64_C(1000);
    model->hands[member][model->hand_count[member]++] = (struct hand){index, got->attempt};
}

/* What has come is what may come, and all that had to come has. */
static void look(struct model *model)
{
    expire(model);
    for (int member = 0; member < MEMBERS; member++) {
        struct rig_member *m = model->members[member];
        rig_take(m);
        for (size_t i = 0; i < m->got_count; i++)
            delivered(model, member, &m->got[i]);
        m->got_count = 0;
    }
    for (size_t i = 0; i < model->count; i++) {
        struct model_event *event = &model->events[i];
        int64_t now_us = model->f->mono_us;
        if (event->done || event->dead || event->holder >= 0)
            continue;
        if (blocked(model, i) && event->latest_us < now_us + STEP_US)
            event->latest_us = now_us + STEP_US; /* it may come when the one before it has gone */
        if (now_us > event->latest_us + 2 * STEP_US)
            BREAK(model, "event %zu (key %u, failed %u times) is free for %lld us, and nobody gets it", i,
                  event->key, event->failures, (long long)(now_us - event->latest_us));
    }
}

static void pass(struct model *model, int64_t us)
{
    int64_t end_us = model->f->mono_us + us;
    while (model->f->mono_us < end_us && !model->broken[0]) {
        struct fixture *f = model->f;
        int64_t store_us = store_memory_next_due(f->store),
                next_us = f->due_us < store_us ? f->due_us : store_us;
        int64_t step_us = next_us - f->mono_us < STEP_US ? next_us - f->mono_us : STEP_US;
        fixture_run(f, step_us > 0 ? step_us : 1);
        look(model);
    }
}

static void join(struct model *model, int member)
{
    model->members[member] = rig_join(model->f, &model->listen);
    model->hand_count[member] = 0;
}

static struct model *model_make(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    cr_assert(model);
    model->f = fixture_create();
    model->f->config.idle_timeout_ms = 100000000; /* nobody sends a PING here */
    fixture_start(model->f);
    model->keyed = seed % 2;
    model->listen =
        (struct rig_listen){.topic = "orders",
                            .group = "g",
                            .kind = model->keyed ? WIRE__GROUP_KIND__KEY_ORDERED : WIRE__GROUP_KIND__SHARED,
                            .from = WIRE__FROM__EARLIEST,
                            .lease_ms = LEASE_MS,
                            .session_timeout_ms = 36000000};
    model->emitter = peer_welcome(model->f);
    model->partition = peer_topic(model->emitter, "orders", 1);
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    Wire__TopicAlter alter = WIRE__TOPIC_ALTER__INIT;
    retry.deliveries = DELIVERIES;
    alter.request = 77;
    alter.name = (char *)(uintptr_t) "orders";
    alter.set = 65536;
    alter.retry = &retry;
    peer_send(model->emitter, FRAME_TOPIC_ALTER, &alter.base);
    fixture_settle(model->f);
    cr_assert_eq(((const Wire__Topics *)peer_expect_past(model->emitter, FRAME_TOPICS))->code, 0);
    for (int member = 0; member < MEMBERS; member++)
        join(model, member);
    return model;
}

static void model_free(struct model *model)
{
    for (int member = 0; member < MEMBERS; member++)
        rig_free(model->members[member]);
    fixture_destroy(model->f);
    free(model);
}

/* ---- operations ---- */

static void emit(struct model *model, const struct op *op)
{
    static const char *const names[] = {"", "a", "b", "c", "d"};
    uint32_t count = 1 + op->amount % 3;
    const char *keys[3];
    if (model->count + count > EVENTS_MAX)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = (op->which + i * op->member) % (KEYS + 1);
        keys[i] = names[key];
        model->events[model->count + i] = (struct model_event){.key = key, .holder = -1};
        model->events[model->count + i].latest_us = model->f->mono_us + STEP_US;
    }
    rig_emit(model->emitter, model->partition, keys, (long)model->count, count);
    model->count += count;
}

/* How many of the one event ought to be refused. */
static size_t settle(struct model *model, const struct op *op, int member, const struct hand *hand)
{
    struct model_event *event = &model->events[hand->event];
    int64_t now_us = model->f->mono_us, delay_us = 1000 + op->amount % 5000 * INT64_C(1000);
    bool other = event->holder >= 0 && event->holder != member;
    bool current = event->failures + 1 == hand->attempt;
    switch (op->kind) {
    case OP_ACK:
        if (event->holder >= 0 && !current)
            return 1;
        event->done |= !event->dead;
        event->holder = -1;
        return 0;
    case OP_EXTEND:
        if (event->done || event->dead || event->holder != member || !current)
            return 1;
        event->until_us = now_us + LEASE_MS * INT64_C(1000);
        return 0;
    default:
        if (event->done || event->dead)
            return 1;
        if (event->failures >= hand->attempt)
            return 0; /* it has failed already */
        if (other || !current)
            return 1;
        fail(event, now_us, delay_us, delay_us + STEP_US, op->kind == OP_REJECT);
        return 0;
    }
}

static void outcome(struct model *model, const struct op *op)
{
    int member = (int)(op->member % MEMBERS);
    if (!model->hand_count[member])
        return;
    size_t place = op->which % model->hand_count[member];
    struct hand hand = model->hands[member][place];
    if (runs_out(model, &model->events[hand.event]))
        return; /* of two answers either would be right */
    struct rig_member *m = model->members[member];
    struct rig_event named = {.partition = model->partition, .offset = hand.event, .attempt = hand.attempt};
    size_t refused = settle(model, op, member, &hand);
    bool died = model->events[hand.event].dead; /* on its way to the dead letters an answer may be either */
    int code = op->kind == OP_ACK      ? rig_ack(m, &named, 1)
               : op->kind == OP_NACK   ? rig_nack(m, &named, 1, 1 + op->amount % 5000)
               : op->kind == OP_REJECT ? rig_reject(m, &named, "no")
                                       : rig_extend(m, &named, 1, LEASE_MS);
    if (code != 0)
        BREAK(model, "operation %d on event %zu: code %d", op->kind, hand.event, code);
    if (m->settled_refused != refused && !died)
        BREAK(model, "operation %d on event %zu, attempt %u: %zu are refused", op->kind, hand.event,
              hand.attempt, m->settled_refused);
    if (op->kind != OP_EXTEND)
        model->hands[member][place] = model->hands[member][--model->hand_count[member]];
}

static void leave(struct model *model, int member)
{
    for (size_t i = 0; i < model->count; i++)
        if (model->events[i].holder == member) {
            model->events[i].holder = -1;
            model->events[i].latest_us = model->f->mono_us + STEP_US;
        }
    peer_unlisten(model->members[member]->peer, 1);
    fixture_settle(model->f);
    rig_take(model->members[member]);
    model->members[member]->got_count = 0;
    rig_listen(model->members[member], &model->listen);
    model->hand_count[member] = 0;
}

static void crash(struct model *model)
{
    for (int member = 0; member < MEMBERS; member++)
        rig_free(model->members[member]);
    fixture_crash(model->f);
    for (size_t i = 0; i < model->count; i++)
        model->events[i].holder = -1;
    model->emitter = peer_welcome(model->f);
    for (int member = 0; member < MEMBERS; member++)
        join(model, member);
}

static void run_op(struct model *model, const struct op *op)
{
    bool either = (op->kind == OP_LEAVE || op->kind == OP_CRASH) && anything_runs_out(model);
    if (either)
        return; /* given back, or failed just before: both would be right */
    if (op->kind == OP_EMIT)
        emit(model, op);
    else if (op->kind == OP_WAIT)
        pass(model, op->amount % 15000 * INT64_C(1000));
    else if (op->kind == OP_LEAVE)
        leave(model, (int)(op->member % MEMBERS));
    else if (op->kind == OP_CRASH)
        crash(model);
    else
        outcome(model, op);
    fixture_settle(model->f);
    look(model);
}

/* Everybody does what it has, until nothing is left; the dead are among the dead letters, and nobody else. */
static void drain(struct model *model)
{
    size_t left = 1;
    for (int step = 0; step < DRAIN_STEPS && left && !model->broken[0]; step++) {
        for (uint32_t member = 0; member < MEMBERS; member++)
            for (size_t most = model->hand_count[member]; most > 0; most--)
                run_op(model, &(struct op){.kind = OP_ACK, .member = member});
        pass(model, STEP_US);
        left = 0;
        for (size_t i = 0; i < model->count; i++)
            left += !model->events[i].done && !model->events[i].dead;
    }
    if (left)
        BREAK(model, "%zu events are never done", left);
    if (model->broken[0])
        return;
    pass(model, 20 * STEP_US);
    static struct rig_read read;
    size_t dead = 0;
    for (size_t i = 0; i < model->count; i++)
        dead += model->events[i].dead;
    if (dead == 0)
        return;
    rig_read_all(model->f, "$dead.orders", &read);
    for (size_t i = 0; i < read.count; i++)
        if (!model->events[read.events[i].value].dead)
            BREAK(model, "event %ld is a dead letter, and has not died", read.events[i].value);
    if (read.count != dead)
        BREAK(model, "%zu events have died, and there are %zu dead letters", dead, read.count);
}

/* ---- lists of operations ---- */

static void ops_draw(uint64_t seed, struct op ops[OPS])
{
    static const enum op_kind kinds[] = {OP_EMIT, OP_EMIT, OP_EMIT, OP_ACK,   OP_ACK,    OP_ACK,
                                         OP_NACK, OP_NACK, OP_NACK, OP_NACK,  OP_REJECT, OP_EXTEND,
                                         OP_WAIT, OP_WAIT, OP_WAIT, OP_LEAVE, OP_CRASH};
    struct random random = random_seeded(seed);
    for (size_t i = 0; i < OPS; i++) {
        ops[i].kind = kinds[random_below(&random, sizeof(kinds) / sizeof(kinds[0]))];
        ops[i].member = (uint32_t)random_below(&random, 1000);
        ops[i].which = (uint32_t)random_below(&random, 1000);
        ops[i].amount = (uint32_t)random_below(&random, 1000000);
    }
}

/* False: it breaks the model, and *ret_broken says how. */
static bool run(uint64_t seed, const struct op *ops, size_t count, char ret_broken[200])
{
    struct model *model = model_make(seed);
    for (size_t i = 0; i < count && !model->broken[0]; i++)
        run_op(model, &ops[i]);
    if (!model->broken[0])
        drain(model);
    memcpy(ret_broken, model->broken, 200);
    bool good = !model->broken[0];
    model_free(model);
    return good;
}

/* Leaves out one operation after the other, as long as what is left breaks the model too. */
static size_t shrink(uint64_t seed, struct op *ops, size_t count, char broken[200])
{
    for (size_t i = count; i-- > 0;) {
        struct op fewer[OPS];
        char other[200];
        memcpy(fewer, ops, i * sizeof(*ops));
        memcpy(fewer + i, ops + i + 1, (count - i - 1) * sizeof(*ops));
        if (run(seed, fewer, count - 1, other))
            continue;
        memcpy(ops, fewer, --count * sizeof(*ops));
        memcpy(broken, other, 200);
    }
    return count;
}

static void seeds_run(uint64_t first, uint64_t count)
{
    static const char *const names[OP_KINDS] = {"emit",   "ack",  "nack",  "reject",
                                                "extend", "wait", "leave", "crash"};
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct op ops[OPS];
        char broken[200];
        ops_draw(seed, ops);
        if (run(seed, ops, OPS, broken))
            continue;
        size_t left = shrink(seed, ops, OPS, broken);
        for (size_t i = 0; i < left; i++)
            fprintf(stderr, "  %s member %u, which %u, amount %u\n", names[ops[i].kind],
                    ops[i].member % MEMBERS, ops[i].which, ops[i].amount);
        cr_assert_fail("seed %llu breaks the model after these %zu operations: %s", (unsigned long long)seed,
                       left, broken);
    }
}

Test(shared_model, random_operations_keep_to_the_model)
{
    const char *more = getenv("CRIER_MODEL_SEEDS"); /* how many beyond the usual ones */
    seeds_run(1, SEEDS + (more ? strtoull(more, NULL, 10) : 0));
}
