/* pairs_rig.c: see pairs_rig.h. */
#include "tests/unit/pairs_rig.h"

#include "base/check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_US (86400 * INT64_C(1000000))

/* ---- the world ---- */

static struct peer *hello(struct fixture *f, const char *producer_name)
{
    struct peer *peer = peer_open(f);
    uint8_t instance[16];
    Wire__Hello m = WIRE__HELLO__INIT;
    m.version = 1;
    m.feature_level = 3;
    peer_instance(peer, instance);
    m.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    m.producer_name = (char *)producer_name;
    peer_send(peer, FRAME_HELLO, &m.base);
    fixture_settle(f);
    peer->producer_id = ((const Wire__Welcome *)peer_expect(peer, FRAME_WELCOME))->producer_id;
    return peer;
}

static void listen_as(struct pairs_side *side, uint32_t id, const char *group, Wire__GroupKind kind)
{
    Wire__Listen m = WIRE__LISTEN__INIT;
    m.listener = id;
    m.topic = (char *)"t";
    m.group = (char *)group;
    m.kind = kind;
    m.from = WIRE__FROM__EARLIEST;
    m.credit = 1 << 20;
    m.max_in_flight = kind ? 2 : 0;
    m.lease_ms = kind ? 3600000 : 0;
    peer_send(side->peer, FRAME_LISTEN, &m.base);
    fixture_settle(side->peer->fixture);
}

static void events(struct peer *peer, uint64_t partition, int count)
{
    for (int i = 0; i < count; i++)
        peer_emit(peer, &(struct batch_spec){.partition = partition}, 1);
    fixture_settle(peer->fixture);
    for (int i = 0; i < count; i++)
        cr_assert_eq(peer_outcome(peer).outcome, WIRE__OUTCOME__OK);
}

/* Both are in "g", with a partition each. */
static void ordered_members(struct pairs_world *w)
{
    struct pairs_side *a = &w->sides[0], *b = &w->sides[1];
    listen_as(a, 1, "g", WIRE__GROUP_KIND__ORDERED);
    a->generation = ((const Wire__Listening *)peer_expect_past(a->peer, FRAME_LISTENING))->generation;
    listen_as(b, 1, "g", WIRE__GROUP_KIND__ORDERED);
    b->generation = ((const Wire__Listening *)peer_expect_past(b->peer, FRAME_LISTENING))->generation;
    Wire__Release m = WIRE__RELEASE__INIT;
    b->partition = ((const Wire__Assign *)peer_expect_past(a->peer, FRAME_ASSIGN))->revoked[0];
    a->partition = w->t[b->partition == w->t[0]];
    m.listener = 1;
    m.generation = a->generation;
    m.partitions = &b->partition;
    m.n_partitions = 1;
    peer_send(a->peer, FRAME_RELEASE, &m.base);
    fixture_settle(w->f);
    cr_assert_eq(((const Wire__Assign *)peer_expect_past(b->peer, FRAME_ASSIGN))->n_added, 1);
}

static Wire__Lease lease_taken(struct pairs_side *side)
{
    Wire__Lease lease = WIRE__LEASE__INIT;
    for (;;) {
        const Wire__Deliver *deliver = peer_expect_anywhere(side->peer, FRAME_DELIVER);
        if (deliver->listener != 2)
            continue;
        lease.partition = deliver->partition;
        lease.offset = deliver->base_offset + deliver->ranges[0]->delta;
        lease.attempt = deliver->ranges[0]->attempt;
        return lease;
    }
}

/* Both are in "s", with an event each at least; one has died. */
static void shared_members(struct pairs_world *w)
{
    struct pairs_side *a = &w->sides[0], *b = &w->sides[1];
    listen_as(a, 2, "s", WIRE__GROUP_KIND__SHARED);
    Wire__Lease dead = lease_taken(a), *leases = &dead;
    Wire__Nack m = WIRE__NACK__INIT;
    m.request = 1;
    m.listener = 2;
    m.leases = &leases;
    m.n_leases = 1;
    m.reject = true;
    peer_send(a->peer, FRAME_NACK, &m.base);
    fixture_settle(w->f);
    a->lease = lease_taken(a);
    listen_as(b, 2, "s", WIRE__GROUP_KIND__SHARED);
    b->lease = lease_taken(b);
}

/* Positions of those that have no members. */
static void idle_groups(struct pairs_world *w)
{
    struct pairs_side *a = &w->sides[0];
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;
    Wire__GroupSeek m = WIRE__GROUP_SEEK__INIT;
    position.partition = w->t[0];
    position.offset = 1;
    m.request = 2;
    m.name = (char *)"h";
    m.topic = (char *)"t";
    m.positions = &positions;
    m.n_positions = 1;
    peer_send(a->peer, FRAME_GROUP_SEEK, &m.base);
    listen_as(a, 4, "u", WIRE__GROUP_KIND__SHARED);
    peer_unlisten(a->peer, 4);
    fixture_settle(w->f);
}

static void event_later(struct pairs_world *w)
{
    struct peer *peer = w->sides[0].peer;
    peer_emit(peer, &(struct batch_spec){.partition = w->t[0], .delay_us = DAY_US}, 1);
    fixture_settle(w->f);
    const Wire__EmittedPart *part =
        ((const Wire__Emitted *)peer_expect_beyond_credit(peer, FRAME_EMITTED))->parts[0];
    cr_assert_eq(part->outcome, WIRE__OUTCOME__OK);
    w->due_us = part->due_us;
    w->schedule = part->schedule;
}

static void taken(struct peer *peer)
{
    for (int kind; (kind = peer_next_kind(peer));)
        (void)peer_expect(peer, (enum frame_kind)kind);
}

struct pairs_world *pairs_create(bool eager)
{
    struct pairs_world *w = calloc(1, sizeof(*w));
    CHECK(w);
    struct fixture *f = w->f = fixture_create();
    f->config.idle_timeout_ms = f->config.ping_interval_ms = UINT32_MAX; /* peers here are silent */
    f->config.flush_interval_us = INT64_MAX / 4;
    f->config.flush_log_bytes = eager ? 1 : UINT64_MAX;
    f->store_options.flush =
        (struct store_memory_delay){0, 0}; /* whether there is one makes no difference in time */
    f->store_options.read = (struct store_memory_delay){100, 100};
    fixture_start(f);
    struct pairs_side *a = &w->sides[0], *b = &w->sides[1];
    a->peer = hello(f, "source");
    b->peer = hello(f, "");
    w->t[0] = peer_topic(a->peer, "t", 2);
    w->t[1] = w->t[0] + 1;
    w->e = w->t[0] + 2;
    Wire__TopicCreate m = WIRE__TOPIC_CREATE__INIT;
    m.request = 1;
    m.name = (char *)"e";
    m.partitions = 1;
    m.ephemeral = true;
    peer_send(a->peer, FRAME_TOPIC_CREATE, &m.base);
    fixture_settle(f);
    const Wire__Topics *made = peer_expect(a->peer, FRAME_TOPICS);
    cr_assert_eq(made->topics[0]->partitions[0]->id, w->e);
    events(a->peer, w->t[0], 3);
    events(a->peer, w->t[1], 3);
    event_later(w);
    ordered_members(w);
    shared_members(w);
    idle_groups(w);
    listen_as(a, 3, "", WIRE__GROUP_KIND__ORDERED);
    listen_as(b, 3, "", WIRE__GROUP_KIND__ORDERED);
    taken(a->peer);
    taken(b->peer);
    w->next = peer_topic(b->peer, "last", 1) + 1;
    taken(b->peer);
    w->requests = 100;
    w->listeners = 10;
    return w;
}

void pairs_destroy(struct pairs_world *w)
{
    fixture_destroy(w->f);
    free(w->said);
    free(w);
}

/* ---- asking ---- */

static bool open_still(const struct peer *peer)
{
    return peer->connection && !peer->closing;
}

void pairs_send(struct pairs_world *w, size_t side, size_t kind)
{
    size_t used = strlen(w->what);
    snprintf(w->what + used, sizeof(w->what) - used, "%s%c: %s", used ? "; " : "", (char)('A' + side),
             pairs_kinds[kind].name);
    if (open_still(w->sides[side].peer))
        pairs_kinds[kind].send(w, &w->sides[side], &pairs_kinds[kind]);
}

void pairs_close(struct pairs_world *w, size_t side)
{
    if (w->sides[side].peer->connection)
        peer_close(w->sides[side].peer);
}

/* ---- what was answered ---- */

static void got_fill(struct pairs_got *got, const void *message)
{
    switch (got->kind) { /* each of these has its number first, then the code */
    case FRAME_EMITTED: {
        const Wire__Emitted *m = message;
        got->id = m->request;
        got->code = m->n_parts ? m->parts[0]->code : 0;
        break;
    }
    case FRAME_LISTENING:
        got->id = ((const Wire__Listening *)message)->listener;
        break;
    case FRAME_ENDED:
        got->id = ((const Wire__Ended *)message)->listener;
        got->code = ((const Wire__Ended *)message)->code;
        break;
    case FRAME_COMMITTED:
        got->id = ((const Wire__Committed *)message)->request;
        got->code = ((const Wire__Committed *)message)->code;
        break;
    case FRAME_TOPICS:
        got->id = ((const Wire__Topics *)message)->request;
        got->code = ((const Wire__Topics *)message)->code;
        break;
    case FRAME_GROUPS:
        got->id = ((const Wire__Groups *)message)->request;
        got->code = ((const Wire__Groups *)message)->code;
        break;
    case FRAME_SETTLED:
        got->id = ((const Wire__Settled *)message)->request;
        got->code = ((const Wire__Settled *)message)->code;
        break;
    case FRAME_REDRIVEN:
        got->id = ((const Wire__Redriven *)message)->request;
        got->code = ((const Wire__Redriven *)message)->code;
        break;
    case FRAME_SCHEDULES:
        got->id = ((const Wire__Schedules *)message)->request;
        got->code = ((const Wire__Schedules *)message)->code;
        break;
    case FRAME_INSPECTED:
        got->id = ((const Wire__Inspected *)message)->request;
        got->code = ((const Wire__Inspected *)message)->code;
        break;
    case FRAME_ERROR:
        got->code = ((const Wire__Error *)message)->code;
        break;
    default:
        break;
    }
}

static void collect(struct pairs_world *w)
{
    for (struct peer *peer = w->f->peers; peer; peer = peer->next)
        for (int kind; (kind = peer_next_kind(peer));) {
            const void *message = peer_expect(peer, (enum frame_kind)kind);
            if (kind == FRAME_DELIVER || kind == FRAME_CREDIT || kind == FRAME_ASSIGN)
                continue;
            CHECK(w->got_count < PAIRS_GOT_MAX);
            struct pairs_got *got = &w->got[w->got_count++];
            *got = (struct pairs_got){.peer = peer, .kind = kind};
            got_fill(got, message);
        }
}

void pairs_settle(struct pairs_world *w)
{
    fixture_settle(w->f);
    for (struct peer *peer = w->f->peers; peer; peer = peer->next)
        if (peer->closing && peer->connection)
            peer_close(peer);
    fixture_run(w->f, 50000);
    fixture_settle(w->f);
    collect(w);
}

static size_t answers(const struct pairs_world *w, const struct pairs_ask *ask)
{
    size_t count = 0, ended = 0;
    for (size_t i = 0; i < w->got_count; i++) {
        const struct pairs_got *got = &w->got[i];
        if (got->peer != ask->peer || got->id != ask->id)
            continue;
        count += got->kind == (int)ask->answer;
        ended += got->kind == FRAME_ENDED;
    }
    return ask->owed == OWED_LISTEN && count <= 1 ? (count || ended) : count;
}

static void said(struct pairs_world *w)
{
    for (size_t i = 0; i < w->got_count; i++) {
        const struct pairs_got *got = &w->got[i];
        uint32_t number = 0;
        for (const struct peer *older = got->peer->next; older; older = older->next)
            number++;
        char line[128];
        int size = snprintf(line, sizeof(line), "%u %s %llu %d\n", number,
                            frame_kind_name((uint8_t)got->kind), (unsigned long long)got->id, got->code);
        if (w->said_size + (size_t)size + 1 > w->said_capacity) {
            w->said = realloc(w->said, w->said_capacity = 2 * w->said_capacity + 4096);
            CHECK(w->said);
        }
        memcpy(w->said + w->said_size, line, (size_t)size + 1);
        w->said_size += (size_t)size;
    }
}

void pairs_check(struct pairs_world *w)
{
    for (size_t i = 0; i < w->ask_count; i++) {
        const struct pairs_ask *ask = &w->asks[i];
        if (!open_still(ask->peer))
            continue;
        size_t count = answers(w, ask);
        cr_assert_eq(count, 1, "[%s] %s: %zu answers", w->what, ask->name, count);
    }
    said(w);
    w->ask_count = w->got_count = 0;
    struct core_stats stats = fixture_stats(w->f);
    cr_assert_eq(stats.entries_in_flight, 0, "[%s] something is under way for ever", w->what);
}

/* ---- afterwards ---- */

static size_t kind_named(const char *name)
{
    for (size_t i = 0; i < pairs_kind_count; i++)
        if (!strcmp(pairs_kinds[i].name, name))
            return i;
    CHECK(false);
    return 0;
}

void pairs_probe(struct pairs_world *w)
{
    static const char *const names[] = {"describe or create n",
                                        "join g",
                                        "join h",
                                        "join x",
                                        "join s",
                                        "join u",
                                        "seek h",
                                        "seek x",
                                        "delete x",
                                        "alter t's quota",
                                        "trim t",
                                        "emit to both",
                                        "emit all or none",
                                        "emit soon",
                                        "redrive t",
                                        "cancel",
                                        "list schedules",
                                        "claim the name",
                                        "claim another name",
                                        "listen to all",
                                        "delete n",
                                        "delete h"};
    struct pairs_side side = {.peer = hello(w->f, "")};
    wire__lease__init(&side.lease);
    snprintf(w->what + strlen(w->what), sizeof(w->what) - strlen(w->what), "; probed");
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            const struct pairs_kind *kind = &pairs_kinds[kind_named(names[i])];
            kind->send(w, &side, kind);
            if (round)
                fixture_settle(w->f);
        }
    pairs_settle(w);
    pairs_check(w);
}

void pairs_leave(struct pairs_world *w)
{
    for (struct peer *peer = w->f->peers; peer; peer = peer->next)
        if (peer->connection)
            peer_close(peer);
    fixture_settle(w->f);
    struct peer *last = hello(w->f, "");
    Wire__GroupList m = WIRE__GROUP_LIST__INIT;
    m.limit = 100;
    peer_send(last, FRAME_GROUP_LIST, &m.base);
    fixture_settle(w->f);
    const Wire__Groups *groups = peer_expect(last, FRAME_GROUPS);
    for (size_t i = 0; i < groups->n_groups; i++)
        cr_assert_eq(groups->groups[i]->members, 0, "[%s] \"%s\" has a member that nobody is", w->what,
                     groups->groups[i]->name);
    peer_close(last);
    fixture_settle(w->f);
    struct core_stats stats = fixture_stats(w->f);
    cr_assert_eq(stats.connections, 0, "[%s] a connection is left", w->what);
    cr_assert_eq(stats.listeners, 0, "[%s] a listener is left", w->what);
    cr_assert_eq(stats.ingest_bytes_granted, 0, "[%s] credit is lent to nobody", w->what);
}

void pairs_restart(struct pairs_world *w)
{
    snprintf(w->what + strlen(w->what), sizeof(w->what) - strlen(w->what), "; restarted");
    w->f->config.flush_log_bytes = 1;
    fixture_resume(w->f, fixture_power_off(w->f));
    w->ask_count = w->got_count = 0;
    fixture_settle(w->f);
}

struct text {
    char *bytes;
    size_t size, capacity;
};

static void text_add(struct text *text, const uint8_t *bytes, size_t size, char end)
{
    while (text->size + 2 * size + 2 > text->capacity)
        text->bytes = realloc(text->bytes, text->capacity = 2 * text->capacity + 4096);
    CHECK(text->bytes);
    for (size_t i = 0; i < size; i++) {
        snprintf(text->bytes + text->size, 3, "%02x", bytes[i]);
        text->size += 2;
    }
    text->bytes[text->size++] = end;
}

static int row_add(void *ctx, const struct store_row *row)
{
    text_add(ctx, row->key, row->key_size, '=');
    text_add(ctx, row->value, row->value_size, '\n');
    return 0;
}

char *pairs_rows(struct pairs_world *w)
{
    struct text text = {0};
    uint64_t applied = 0;
    cr_assert_eq(w->f->store->ops->load_state(w->f->store, row_add, &text, &applied), 0);
    struct store_stats stats;
    w->f->store->ops->stats(w->f->store, &stats);
    cr_assert_eq(applied, stats.last_index, "[%s] the state is at %llu of %llu", w->what,
                 (unsigned long long)applied, (unsigned long long)stats.last_index);
    text_add(&text, NULL, 0, '\0');
    return text.bytes;
}
