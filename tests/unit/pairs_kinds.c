/* pairs_kinds.c: requests of every kind, and those that ask for nothing, for too much, or for the same twice; see pairs_rig.h. */
#include "tests/unit/pairs_rig.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_US INT64_C(1000000)
#define EVERY     UINT64_MAX

static void owe(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind,
                enum pairs_owed owed, enum frame_kind answer, uint64_t id)
{
    CHECK(w->ask_count < PAIRS_ASKS_MAX);
    w->asks[w->ask_count++] = (struct pairs_ask){side->peer, kind->name, owed, answer, id};
}

static uint64_t request(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind,
                        enum frame_kind answer)
{
    owe(w, side, kind, OWED_REQUEST, answer, ++w->requests);
    return w->requests;
}

/* ---- topics ---- */

static void send_create(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__TopicCreate m = WIRE__TOPIC_CREATE__INIT;
    m.name = (char *)kind->topic;
    m.partitions = (uint32_t)kind->a;
    m.ephemeral = kind->b;
    m.request = request(w, side, kind, FRAME_TOPICS);
    peer_send(side->peer, FRAME_TOPIC_CREATE, &m.base);
}

static void send_describe(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__TopicDescribe m = WIRE__TOPIC_DESCRIBE__INIT;
    m.name = (char *)kind->topic;
    m.create = kind->a;
    m.ephemeral = kind->b;
    m.request = request(w, side, kind, FRAME_TOPICS);
    peer_send(side->peer, FRAME_TOPIC_DESCRIBE, &m.base);
}

static void send_list(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__TopicList m = WIRE__TOPIC_LIST__INIT;
    m.limit = (uint32_t)kind->a;
    m.request = request(w, side, kind, FRAME_TOPICS);
    peer_send(side->peer, FRAME_TOPIC_LIST, &m.base);
}

static void send_alter(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__TopicAlter m = WIRE__TOPIC_ALTER__INIT;
    Wire__Retention retention = WIRE__RETENTION__INIT;
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    Wire__TopicQuota quota = WIRE__TOPIC_QUOTA__INIT;
    m.name = (char *)kind->topic;
    m.set = (uint32_t)kind->a;
    m.durability = WIRE__DURABILITY__MEMORY;
    retention.count = retention.time_us = kind->b;
    retention.bytes = kind->b * 40;
    retention.until_consumed = true;
    retry.first_ms = 20;
    retry.deliveries = 2;
    retry.dead_letter = (char *)(kind->group ? kind->group : "");
    quota.events = 1000;
    m.retention = &retention;
    m.retry = &retry;
    m.quota = &quota;
    m.request = request(w, side, kind, FRAME_TOPICS);
    peer_send(side->peer, FRAME_TOPIC_ALTER, &m.base);
}

static void send_delete(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__TopicDelete m = WIRE__TOPIC_DELETE__INIT;
    m.name = (char *)kind->topic;
    m.request = request(w, side, kind, FRAME_TOPICS);
    peer_send(side->peer, FRAME_TOPIC_DELETE, &m.base);
}

/* `a` times the place `b` and the next ones, or EVERY; group "time": what is older than all that will come. */
static void send_trim(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__TopicTrim m = WIRE__TOPIC_TRIM__INIT;
    Wire__Position positions[2] = {WIRE__POSITION__INIT, WIRE__POSITION__INIT};
    Wire__Position *pointers[] = {&positions[0], &positions[1]};
    positions[0].partition = positions[1].partition = kind->b;
    positions[0].offset = 2;
    positions[1].offset = 1000;
    m.name = (char *)kind->topic;
    m.positions = pointers;
    m.n_positions = kind->a;
    if (kind->group)
        m.time_us = w->f->wall_us + SECOND_US;
    m.request = request(w, side, kind, FRAME_TOPICS);
    peer_send(side->peer, FRAME_TOPIC_TRIM, &m.base);
}

static void send_confirm_time(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__TopicTrim m = WIRE__TOPIC_TRIM__INIT;
    m.confirm_time = true;
    m.request = request(w, side, kind, FRAME_TOPICS);
    peer_send(side->peer, FRAME_TOPIC_TRIM, &m.base);
}

/* ---- emits ---- */

enum {
    EMIT_MEMORY = 1,
    EMIT_DELAYED = 2,
    EMIT_ATOMIC = 4,
    EMIT_EXPECTS = 8,
    EMIT_WRONG = 16, /* it expects what is not */
    EMIT_MOVES = 32, /* positions of "g" */
    EMIT_SEQUENCED = 64,
    EMIT_HEARD = 128,
    EMIT_TWICE = 256, /* the same position, or part */
    EMIT_SOON = 512,
    EMIT_DAMAGED = 1024
};

static void emit_parts(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind,
                       Wire__Emit *m, Wire__EmitPart *parts, uint8_t *bytes, size_t capacity,
                       size_t *ret_used)
{
    uint64_t a = kind->a;
    for (size_t i = 0; i < m->n_parts; i++) {
        wire__emit_part__init(&parts[i]);
        uint64_t partition = kind->topic[0] == 'e'   ? w->e
                             : kind->topic[0] == 'n' ? w->next
                                                     : w->t[a & EMIT_TWICE ? 0 : i % 2];
        struct batch_spec spec = {.partition = partition,
                                  .producer_id = a & EMIT_SEQUENCED ? (int64_t)side->peer->producer_id : 0,
                                  .damaged = a & EMIT_DAMAGED};
        parts[i].partition = partition;
        parts[i].size = (uint32_t)batch_make(bytes + *ret_used, capacity - *ret_used, &spec);
        parts[i].expects = a & EMIT_EXPECTS;
        parts[i].expected_offset = a & EMIT_WRONG ? 77 : 3;
        parts[i].delay_us = a & EMIT_DELAYED ? 2 * 86400 * SECOND_US : a & EMIT_SOON ? 1 : 0;
        parts[i].heard = a & EMIT_HEARD;
        *ret_used += parts[i].size;
    }
}

/* `b` parts. */
static void send_emit(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    uint8_t bytes[4096];
    size_t used = 0;
    Wire__EmitPart parts[4], *pointers[] = {&parts[0], &parts[1], &parts[2], &parts[3]};
    Wire__EmitPosition moves[2], *move_pointers[] = {&moves[0], &moves[1]};
    Wire__Emit m = WIRE__EMIT__INIT;
    m.n_parts = kind->b;
    m.parts = pointers;
    emit_parts(w, side, kind, &m, parts, bytes, sizeof(bytes), &used);
    m.durability = kind->a & EMIT_MEMORY ? WIRE__DURABILITY__MEMORY : WIRE__DURABILITY__DURABLE;
    m.atomic = kind->a & EMIT_ATOMIC;
    m.source_position = m.atomic ? side->source + 1 : 0;
    m.source_previous = m.atomic ? side->source : 0;
    side->source += m.atomic;
    if (kind->a & EMIT_MOVES) {
        for (size_t i = 0; i < 2; i++) {
            wire__emit_position__init(&moves[i]);
            moves[i].generation = side->generation;
            moves[i].partition = side->partition;
            moves[i].previous = kind->a & EMIT_WRONG ? 2 : 0;
            moves[i].offset = 3;
        }
        m.positions = move_pointers;
        m.n_positions = kind->a & EMIT_TWICE ? 2 : 1;
    }
    m.request = ++side->peer->emits;
    owe(w, side, kind, OWED_REQUEST, FRAME_EMITTED, m.request);
    peer_send_attached(side->peer, FRAME_EMIT, &m.base, bytes, used);
}

/* a: 0 the producer's name, 1 the instance, 2 the producer id of the side */
static void send_claim(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    struct pairs_side newer = {.peer = peer_open(w->f)};
    uint8_t instance[16];
    Wire__Hello m = WIRE__HELLO__INIT;
    m.version = 1;
    m.feature_level = 3;
    peer_instance(kind->a == 1 ? side->peer : newer.peer, instance);
    m.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    m.producer_name = (char *)(kind->a == 0 ? kind->group : "");
    m.producer_id = kind->a == 2 ? side->peer->producer_id : 0;
    owe(w, &newer, kind, OWED_WELCOME, FRAME_WELCOME, 0);
    peer_send(newer.peer, FRAME_HELLO, &m.base);
}

/* ---- listening ---- */

enum { LISTEN_CREATE = 1, LISTEN_EPHEMERAL = 2, LISTEN_HELD = 4, LISTEN_RESUME = 8, LISTEN_LIVE = 16 };

/* a: flags; b: the group's kind + 10 × the listener's number, 0: a new one */
static void send_listen(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Listen m = WIRE__LISTEN__INIT;
    Wire__Position resume = WIRE__POSITION__INIT, *resumes = &resume;
    Wire__Lease held = side->lease, *helds = &held;
    m.listener = kind->b / 10 ? (uint32_t)(kind->b / 10) : ++w->listeners;
    m.topic = (char *)kind->topic;
    m.group = (char *)(kind->group ? kind->group : "");
    m.kind = (Wire__GroupKind)(kind->b % 10);
    m.from = kind->a & LISTEN_LIVE ? WIRE__FROM__LIVE : WIRE__FROM__EARLIEST;
    m.create = kind->a & LISTEN_CREATE;
    m.ephemeral = kind->a & LISTEN_EPHEMERAL;
    m.credit = 1 << 20;
    m.max_in_flight = m.kind ? 2 : 0;
    resume.partition = w->t[0];
    resume.offset = 1;
    m.resume = &resumes;
    m.n_resume = kind->a & LISTEN_RESUME ? 1 : 0;
    m.held = &helds;
    m.n_held = kind->a & LISTEN_HELD ? 1 : 0;
    owe(w, side, kind, OWED_LISTEN, FRAME_LISTENING, m.listener);
    peer_send(side->peer, FRAME_LISTEN, &m.base);
}

static void send_unlisten(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    if (kind->a < 9) /* nobody owes an end of what is not there */
        owe(w, side, kind, OWED_ENDED, FRAME_ENDED, kind->a);
    peer_unlisten(side->peer, (uint32_t)kind->a);
}

static void send_credit(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    (void)w;
    peer_credit(side->peer, (uint32_t)kind->a, 1 << 21);
}

/* ---- groups ---- */

static void send_commit(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Commit m = WIRE__COMMIT__INIT;
    Wire__Position positions[2] = {WIRE__POSITION__INIT, WIRE__POSITION__INIT};
    Wire__Position *pointers[] = {&positions[0], &positions[1]};
    positions[0].partition = positions[1].partition = kind->group ? w->e : side->partition;
    positions[0].offset = kind->b;
    positions[1].offset = kind->b + 1;
    m.listener = 1;
    m.generation = side->generation;
    m.positions = pointers;
    m.n_positions = kind->a;
    m.request = request(w, side, kind, FRAME_COMMITTED);
    peer_send(side->peer, FRAME_COMMIT, &m.base);
}

static void send_release(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Release m = WIRE__RELEASE__INIT;
    uint64_t partitions[] = {side->partition, side->partition};
    (void)w;
    m.listener = 1;
    m.generation = side->generation;
    m.partitions = partitions;
    m.n_partitions = kind->a;
    peer_send(side->peer, FRAME_RELEASE, &m.base);
}

/* a: so many positions; b: the offset; EVERY as offset: of a partition of another topic */
static void send_seek(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__GroupSeek m = WIRE__GROUP_SEEK__INIT;
    Wire__Position positions[2] = {WIRE__POSITION__INIT, WIRE__POSITION__INIT};
    Wire__Position *pointers[] = {&positions[0], &positions[1]};
    positions[0].partition = positions[1].partition = kind->b == EVERY ? w->e : w->t[0];
    positions[0].offset = kind->b == EVERY ? 0 : kind->b;
    positions[1].offset = 1;
    m.name = (char *)kind->group;
    m.topic = (char *)kind->topic;
    m.positions = pointers;
    m.n_positions = kind->a;
    m.request = request(w, side, kind, FRAME_GROUPS);
    peer_send(side->peer, FRAME_GROUP_SEEK, &m.base);
}

static void send_group_delete(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__GroupDelete m = WIRE__GROUP_DELETE__INIT;
    m.name = (char *)kind->group;
    m.request = request(w, side, kind, FRAME_GROUPS);
    peer_send(side->peer, FRAME_GROUP_DELETE, &m.base);
}

static void send_group_describe(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__GroupDescribe m = WIRE__GROUP_DESCRIBE__INIT;
    m.name = (char *)kind->group;
    m.topic = (char *)kind->topic;
    m.request = request(w, side, kind, FRAME_GROUPS);
    peer_send(side->peer, FRAME_GROUP_DESCRIBE, &m.base);
}

static void send_group_list(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__GroupList m = WIRE__GROUP_LIST__INIT;
    m.limit = (uint32_t)kind->a;
    m.request = request(w, side, kind, FRAME_GROUPS);
    peer_send(side->peer, FRAME_GROUP_LIST, &m.base);
}

/* ---- shared groups ---- */

enum { LEASE_OTHERS = 1, LEASE_BEYOND = 2, LEASE_REJECT = 4, LEASE_DELAY = 8, LEASE_WIDE = 16 };

/* a: so many leases, all the same; b: flags */
static size_t leases_make(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind,
                          Wire__Lease leases[2], Wire__Lease *pointers[2])
{
    const struct pairs_side *whose = kind->b & LEASE_OTHERS ? &w->sides[side == &w->sides[0]] : side;
    for (size_t i = 0; i < 2; i++) {
        leases[i] = whose->lease;
        if (kind->b & LEASE_BEYOND)
            leases[i].offset = 1000;
        if (kind->b & LEASE_WIDE) {
            leases[i].offset = 0;
            leases[i].count = 100;
        }
        pointers[i] = &leases[i];
    }
    return kind->a;
}

static void send_ack(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Lease leases[2], *pointers[2];
    Wire__Ack m = WIRE__ACK__INIT;
    m.listener = 2;
    m.n_leases = leases_make(w, side, kind, leases, pointers);
    m.leases = pointers;
    m.request = request(w, side, kind, FRAME_SETTLED);
    peer_send(side->peer, FRAME_ACK, &m.base);
}

static void send_nack(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Lease leases[2], *pointers[2];
    Wire__Nack m = WIRE__NACK__INIT;
    m.listener = 2;
    m.n_leases = leases_make(w, side, kind, leases, pointers);
    m.leases = pointers;
    m.reject = kind->b & LEASE_REJECT;
    m.delay_ms = kind->b & LEASE_DELAY ? 3600000 : 0;
    m.reason = (char *)(m.reject ? "bad" : "");
    m.request = request(w, side, kind, FRAME_SETTLED);
    peer_send(side->peer, FRAME_NACK, &m.base);
}

static void send_extend(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Lease leases[2], *pointers[2];
    Wire__Extend m = WIRE__EXTEND__INIT;
    m.listener = 2;
    m.n_leases = leases_make(w, side, kind, leases, pointers);
    m.leases = pointers;
    m.lease_ms = 60000;
    m.request = request(w, side, kind, FRAME_SETTLED);
    peer_send(side->peer, FRAME_EXTEND, &m.base);
}

static void send_redrive(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Redrive m = WIRE__REDRIVE__INIT;
    m.topic = (char *)kind->topic;
    m.limit = kind->a;
    m.request = request(w, side, kind, FRAME_REDRIVEN);
    peer_send(side->peer, FRAME_REDRIVE, &m.base);
}

/* ---- schedules, the rest ---- */

static void send_cancel(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__ScheduleCancel m = WIRE__SCHEDULE_CANCEL__INIT;
    m.due_us = w->due_us;
    m.schedule = w->schedule + kind->a;
    m.request = request(w, side, kind, FRAME_SCHEDULES);
    peer_send(side->peer, FRAME_SCHEDULE_CANCEL, &m.base);
}

static void send_schedules(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__ScheduleList m = WIRE__SCHEDULE_LIST__INIT;
    m.topic = (char *)kind->topic;
    m.limit = (uint32_t)kind->a;
    m.request = request(w, side, kind, FRAME_SCHEDULES);
    peer_send(side->peer, FRAME_SCHEDULE_LIST, &m.base);
}

static void send_inspect(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    Wire__Inspect m = WIRE__INSPECT__INIT;
    m.what = (Wire__Inspection)kind->a;
    m.size = 100;
    m.request = request(w, side, kind, FRAME_INSPECTED);
    peer_send(side->peer, FRAME_INSPECT, &m.base);
}

static void send_close(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    (void)w, (void)kind;
    peer_close(side->peer);
}

static void send_time(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind)
{
    (void)side, (void)kind;
    fixture_turn(w->f);
}

const struct pairs_kind pairs_kinds[] = {
    /* what changes most, and lets others wait */
    {"create n", send_create, "n", NULL, 2, 0},
    {"describe or create n", send_describe, "n", NULL, 1, 0},
    {"alter t's count", send_alter, "t", NULL, 8, 1},
    {"alter t's until consumed", send_alter, "t", NULL, 16, 0},
    {"alter t's retry", send_alter, "t", NULL, 65536, 0},
    {"alter t's dead letter to n", send_alter, "t", "n", 1048576, 0},
    {"delete t", send_delete, "t", NULL, 0, 0},
    {"delete n", send_delete, "n", NULL, 0, 0},
    {"delete $dead.t", send_delete, "$dead.t", NULL, 0, 0},
    {"trim t", send_trim, "t", NULL, 1, EVERY},
    {"trim t by time", send_trim, "t", "time", 1, EVERY},
    {"emit to both", send_emit, "t", NULL, 0, 2},
    {"emit to memory", send_emit, "t", NULL, EMIT_MEMORY, 2},
    {"emit later, numbered", send_emit, "t", NULL, EMIT_DELAYED | EMIT_SEQUENCED, 1},
    {"emit soon", send_emit, "t", NULL, EMIT_SOON, 2},
    {"emit numbered", send_emit, "t", NULL, EMIT_SEQUENCED, 2},
    {"emit to n", send_emit, "n", NULL, 0, 1},
    {"emit all or none", send_emit, "t", NULL, EMIT_ATOMIC, 2},
    {"emit what is expected", send_emit, "t", NULL, EMIT_ATOMIC | EMIT_EXPECTS, 1},
    {"emit and move", send_emit, "t", NULL, EMIT_ATOMIC | EMIT_MOVES, 1},
    {"emit nothing and move", send_emit, "t", NULL, EMIT_ATOMIC | EMIT_MOVES, 0},
    {"claim the name", send_claim, NULL, "source", 0, 0},
    {"claim the instance", send_claim, NULL, NULL, 1, 0},
    {"listen to n, created", send_listen, "n", NULL, LISTEN_CREATE, 0},
    {"listen to all", send_listen, "**", NULL, 0, 0},
    {"unlisten 3", send_unlisten, NULL, NULL, 3, 0},
    {"join g", send_listen, "t", "g", 0, 0},
    {"join h", send_listen, "t", "h", 0, 0},
    {"join x", send_listen, "t", "x", LISTEN_LIVE, 0},
    {"leave g", send_unlisten, NULL, NULL, 1, 0},
    {"release", send_release, NULL, NULL, 1, 0},
    {"commit", send_commit, NULL, NULL, 1, 2},
    {"seek h", send_seek, "t", "h", 1, 2},
    {"seek h on nothing", send_seek, "t", "h", 0, 2},
    {"seek g", send_seek, "t", "g", 1, 1},
    {"seek x", send_seek, "t", "x", 1, 1},
    {"delete g", send_group_delete, NULL, "g", 0, 0},
    {"delete h", send_group_delete, NULL, "h", 0, 0},
    {"delete u", send_group_delete, NULL, "u", 0, 0},
    {"join s", send_listen, "t", "s", 0, 1},
    {"join u", send_listen, "t", "u", 0, 1},
    {"join h, shared", send_listen, "t", "h", 0, 1},
    {"join x, shared", send_listen, "t", "x", 0, 1},
    {"leave s", send_unlisten, NULL, NULL, 2, 0},
    {"ack", send_ack, NULL, NULL, 1, 0},
    {"nack", send_nack, NULL, NULL, 1, 0},
    {"reject", send_nack, NULL, NULL, 1, LEASE_REJECT},
    {"extend", send_extend, NULL, NULL, 1, 0},
    {"redrive t", send_redrive, "t", NULL, 0, 0},
    {"cancel", send_cancel, NULL, NULL, 0, 0},
    {"close", send_close, NULL, NULL, 0, 0},
    {"a turn's end", send_time, NULL, NULL, 0, 0},
    /* the rest */
    {"create t", send_create, "t", NULL, 2, 0},
    {"create n of the default", send_create, "n", NULL, 0, 0},
    {"create n, ephemeral", send_create, "n", NULL, 1, 1},
    {"create $dead.n", send_create, "$dead.n", NULL, 1, 0},
    {"create nothing", send_create, "", NULL, 1, 0},
    {"describe t", send_describe, "t", NULL, 0, 0},
    {"describe n", send_describe, "n", NULL, 0, 0},
    {"describe or create n, ephemeral", send_describe, "n", NULL, 1, 1},
    {"list topics", send_list, NULL, NULL, 10, 0},
    {"list no topics", send_list, NULL, NULL, 0, 0},
    {"alter nothing of t", send_alter, "t", NULL, 0, 1},
    {"alter t's durability", send_alter, "t", NULL, 1, 1},
    {"alter t's bytes", send_alter, "t", NULL, 4, 1},
    {"alter t's age", send_alter, "t", NULL, 2, 1},
    {"alter t's quota", send_alter, "t", NULL, 768, 0},
    {"alter n", send_alter, "n", NULL, 8, 5},
    {"alter e", send_alter, "e", NULL, 768, 0},
    {"alter $dead.t", send_alter, "$dead.t", NULL, 8, 1},
    {"delete e", send_delete, "e", NULL, 0, 0},
    {"delete $scheduled", send_delete, "$scheduled", NULL, 0, 0},
    {"trim t.0", send_trim, "t", NULL, 1, 0},
    {"trim t.0 twice", send_trim, "t", NULL, 2, 0},
    {"trim nothing of t", send_trim, "t", NULL, 0, 0},
    {"trim t.9", send_trim, "t", NULL, 1, 9},
    {"trim n", send_trim, "n", NULL, 1, EVERY},
    {"trim e", send_trim, "e", NULL, 1, EVERY},
    {"trim $dead.t", send_trim, "$dead.t", NULL, 1, EVERY},
    {"confirm time", send_confirm_time, NULL, NULL, 0, 0},
    {"emit", send_emit, "t", NULL, 0, 1},
    {"emit twice to one", send_emit, "t", NULL, EMIT_TWICE, 2},
    {"emit nothing", send_emit, "t", NULL, 0, 0},
    {"emit damaged", send_emit, "t", NULL, EMIT_DAMAGED, 1},
    {"emit to be heard", send_emit, "t", NULL, EMIT_MEMORY | EMIT_HEARD, 1},
    {"emit later", send_emit, "t", NULL, EMIT_DELAYED, 1},
    {"emit to e", send_emit, "e", NULL, EMIT_MEMORY, 1},
    {"emit to e, durably", send_emit, "e", NULL, 0, 1},
    {"emit to n later", send_emit, "n", NULL, EMIT_DELAYED, 1},
    {"emit all of nothing", send_emit, "t", NULL, EMIT_ATOMIC, 0},
    {"emit what is not expected", send_emit, "t", NULL, EMIT_ATOMIC | EMIT_EXPECTS | EMIT_WRONG, 1},
    {"emit and move twice", send_emit, "t", NULL, EMIT_ATOMIC | EMIT_MOVES | EMIT_TWICE, 1},
    {"emit and move from elsewhere", send_emit, "t", NULL, EMIT_ATOMIC | EMIT_MOVES | EMIT_WRONG, 1},
    {"claim another name", send_claim, NULL, "other", 0, 0},
    {"claim the producer id", send_claim, NULL, NULL, 2, 0},
    {"listen to t", send_listen, "t", NULL, 0, 0},
    {"listen to t, resumed", send_listen, "t", NULL, LISTEN_RESUME, 0},
    {"listen to t, live", send_listen, "t", NULL, LISTEN_LIVE, 0},
    {"listen to n", send_listen, "n", NULL, 0, 0},
    {"listen to n, created ephemeral", send_listen, "n", NULL, LISTEN_CREATE | LISTEN_EPHEMERAL, 0},
    {"listen to e", send_listen, "e", NULL, 0, 0},
    {"listen with 3", send_listen, "t", NULL, 0, 30},
    {"unlisten 9", send_unlisten, NULL, NULL, 9, 0},
    {"credit 3", send_credit, NULL, NULL, 3, 0},
    {"join h on n, created", send_listen, "n", "h", LISTEN_CREATE, 0},
    {"join e in g", send_listen, "e", "g", 0, 0},
    {"join g with 1", send_listen, "t", "g", 0, 10},
    {"release nothing", send_release, NULL, NULL, 0, 0},
    {"release twice", send_release, NULL, NULL, 2, 0},
    {"commit 0", send_commit, NULL, NULL, 1, 0},
    {"commit nothing", send_commit, NULL, NULL, 0, 2},
    {"commit twice", send_commit, NULL, NULL, 2, 1},
    {"commit beyond the end", send_commit, NULL, NULL, 1, 1000},
    {"commit e", send_commit, NULL, "e", 1, 0},
    {"seek h twice", send_seek, "t", "h", 2, 2},
    {"seek h beyond the end", send_seek, "t", "h", 1, 1000},
    {"seek h on e's", send_seek, "t", "h", 1, EVERY},
    {"seek h on e", send_seek, "e", "h", 1, EVERY},
    {"seek h on n", send_seek, "n", "h", 1, 0},
    {"seek u", send_seek, "t", "u", 1, 1},
    {"seek s", send_seek, "t", "s", 1, 1},
    {"delete x", send_group_delete, NULL, "x", 0, 0},
    {"delete s", send_group_delete, NULL, "s", 0, 0},
    {"describe g", send_group_describe, "t", "g", 0, 0},
    {"describe s", send_group_describe, "t", "s", 0, 0},
    {"list groups", send_group_list, NULL, NULL, 10, 0},
    {"join s, held", send_listen, "t", "s", LISTEN_HELD, 1},
    {"join s by key", send_listen, "t", "s", 0, 2},
    {"join s, ordered", send_listen, "t", "s", 0, 0},
    {"join s on n, created", send_listen, "n", "s", LISTEN_CREATE, 1},
    {"join u by key", send_listen, "t", "u", 0, 2},
    {"join u, ordered", send_listen, "t", "u", 0, 0},
    {"join g, shared", send_listen, "t", "g", 0, 1},
    {"join x by key", send_listen, "t", "x", LISTEN_LIVE, 2},
    {"ack twice", send_ack, NULL, NULL, 2, 0},
    {"ack nothing", send_ack, NULL, NULL, 0, 0},
    {"ack others'", send_ack, NULL, NULL, 1, LEASE_OTHERS},
    {"ack beyond the end", send_ack, NULL, NULL, 1, LEASE_BEYOND},
    {"ack a hundred", send_ack, NULL, NULL, 1, LEASE_WIDE},
    {"nack twice", send_nack, NULL, NULL, 2, LEASE_DELAY},
    {"nack nothing", send_nack, NULL, NULL, 0, 0},
    {"reject a hundred", send_nack, NULL, NULL, 1, LEASE_REJECT | LEASE_WIDE},
    {"extend nothing", send_extend, NULL, NULL, 0, 0},
    {"extend others'", send_extend, NULL, NULL, 2, LEASE_OTHERS},
    {"redrive one of t", send_redrive, "t", NULL, 1, 0},
    {"redrive n", send_redrive, "n", NULL, 0, 0},
    {"cancel another", send_cancel, NULL, NULL, 32, 0},
    {"list schedules", send_schedules, "", NULL, 10, 0},
    {"list t's schedules", send_schedules, "t", NULL, 10, 0},
    {"list no schedules", send_schedules, "t", NULL, 0, 0},
    {"inspect", send_inspect, NULL, NULL, 1, 0},
    {"seal", send_inspect, NULL, NULL, 2, 0},
    {"read a file", send_inspect, NULL, NULL, 3, 0},
};
const size_t pairs_kind_count = sizeof(pairs_kinds) / sizeof(pairs_kinds[0]);
const size_t pairs_main_count = 52;
