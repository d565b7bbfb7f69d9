/* test_engine_member.c: a group's member: partitions come and go, and what it does not have it does not touch. */
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A member on the bench, and what its user was told: "+0" given, "-0" taken, "#" released, "." an event. */
struct stage {
    struct rig rig;
    crier_listener *listener;
    uint32_t id;
    char told[256];
};

static void note(struct stage *s, const char *what)
{
    cr_assert_lt(strlen(s->told) + strlen(what), sizeof(s->told));
    strcat(s->told, what);
}

static void on_assigned(void *ctx, uint32_t partition, bool given)
{
    char what[16];
    snprintf(what, sizeof(what), "%c%u", given ? '+' : '-', partition);
    note(ctx, what);
}

static void on_released(void *ctx, int code, const char *text)
{
    (void)code, (void)text;
    note(ctx, "#");
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    char what[32];
    (void)bus;
    snprintf(what, sizeof(what), "%u:%llu ", event->partition, (unsigned long long)event->offset);
    note(ctx, what);
    return 0;
}

static void expect_told(struct stage *s, const char *told)
{
    cr_assert_str_eq(s->told, told);
    s->told[0] = '\0';
}

/* The wire's form of partitions RIG_PARTITION + index, all from `next`. */
struct wire_partitions {
    Wire__ListenPartition items[8], *pointers[8];
};

static Wire__ListenPartition **wire_partitions(struct wire_partitions *block, const char *indexes,
                                               uint64_t next)
{
    for (size_t i = 0; indexes[i]; i++) {
        Wire__ListenPartition *item = &block->items[i];
        wire__listen_partition__init(item);
        item->index = (uint32_t)(indexes[i] - '0');
        item->partition = RIG_PARTITION + item->index;
        item->next = next;
        item->high_watermark = 100;
        block->pointers[i] = item;
    }
    return block->pointers;
}

static const Wire__Listen *listening(struct stage *s, const char *indexes, uint64_t next, uint64_t generation)
{
    static struct sent sent;
    struct wire_partitions block;
    Wire__Listening message = WIRE__LISTENING__INIT;
    sent = rig_expect(&s->rig, FRAME_LISTEN);
    message.listener = s->id = ((const Wire__Listen *)sent.message)->listener;
    message.partitions = wire_partitions(&block, indexes, next);
    message.n_partitions = strlen(indexes);
    message.generation = generation;
    rig_receive(&s->rig, FRAME_LISTENING, &message, NULL, 0);
    return (const Wire__Listen *)sent.message;
}

static void assign_added(struct stage *s, const char *indexes, uint64_t next)
{
    struct wire_partitions block;
    Wire__Assign message = WIRE__ASSIGN__INIT;
    message.listener = s->id;
    message.generation = RIG_GENERATION;
    message.added = wire_partitions(&block, indexes, next);
    message.n_added = strlen(indexes);
    rig_receive(&s->rig, FRAME_ASSIGN, &message, NULL, 0);
}

static void assign_revoked(struct stage *s, const char *indexes)
{
    uint64_t ids[8];
    Wire__Assign message = WIRE__ASSIGN__INIT;
    message.listener = s->id;
    message.generation = RIG_GENERATION;
    for (; indexes[message.n_revoked]; message.n_revoked++)
        ids[message.n_revoked] = RIG_PARTITION + (uint64_t)(indexes[message.n_revoked] - '0');
    message.revoked = ids;
    rig_receive(&s->rig, FRAME_ASSIGN, &message, NULL, 0);
}

/* Returns the bytes of credit it takes. */
static size_t deliver(struct stage *s, uint32_t index, uint64_t base_offset, int count)
{
    Wire__Deliver message = WIRE__DELIVER__INIT;
    size_t size;
    uint8_t *batch = rig_batch(base_offset, count, &size);
    message.listener = s->id;
    message.partition = RIG_PARTITION + index;
    message.high_watermark = 100;
    rig_receive(&s->rig, FRAME_DELIVER, &message, batch, size);
    free(batch);
    return size;
}

static void ended(struct stage *s, int code)
{
    Wire__Ended message = WIRE__ENDED__INIT;
    message.listener = s->id;
    message.code = code;
    rig_receive(&s->rig, FRAME_ENDED, &message, NULL, 0);
}

static void committed(struct stage *s, uint64_t request, int code)
{
    Wire__Committed message = WIRE__COMMITTED__INIT;
    message.request = request;
    message.code = code;
    rig_receive(&s->rig, FRAME_COMMITTED, &message, NULL, 0);
}

/* COMMIT of one position; returns its request. */
static uint64_t expect_commit(struct stage *s, uint32_t index, uint64_t offset)
{
    struct sent sent = rig_expect(&s->rig, FRAME_COMMIT);
    const Wire__Commit *commit = (const Wire__Commit *)sent.message;
    cr_assert_eq(commit->generation, RIG_GENERATION);
    cr_assert_eq(commit->n_positions, 1);
    cr_assert_eq(commit->positions[0]->partition, RIG_PARTITION + index);
    cr_assert_eq(commit->positions[0]->offset, offset);
    return commit->request;
}

static void expect_release(struct stage *s, uint32_t index)
{
    struct sent sent = rig_expect(&s->rig, FRAME_RELEASE);
    const Wire__Release *release = (const Wire__Release *)sent.message;
    cr_assert_eq(release->listener, s->id);
    cr_assert_eq(release->generation, RIG_GENERATION);
    cr_assert_eq(release->n_partitions, 1);
    cr_assert_eq(release->partitions[0], RIG_PARTITION + index);
}

static void stage_make(struct stage *s, int session_timeout_ms)
{
    struct crier_listen_options options = crier_listen_options_default();
    memset(s, 0, sizeof(*s));
    rig_init(&s->rig, NULL);
    rig_ready(&s->rig, 1 << 20);
    options.group = "g";
    options.from = CRIER_EARLIEST;
    options.session_timeout_ms = session_timeout_ms;
    options.assigned = on_assigned;
    options.released = on_released;
    cr_assert_eq(engine_listener_create(s->rig.engine, "t", &options, on_event, s, &s->listener), 0);
    engine_listen(s->rig.engine, s->listener);
    rig_turn(&s->rig);
}

Test(engine_member, it_begins_with_what_listening_names_and_may_have_nothing)
{
    struct stage s;
    stage_make(&s, 4000);
    cr_assert_eq(listening(&s, "", 0, RIG_GENERATION)->session_timeout_ms, 4000);
    expect_told(&s, "");
    assign_added(&s, "52", 7);
    expect_told(&s, "+5+2");
    deliver(&s, 2, 5, 4); /* the batch that offset 7 is in */
    deliver(&s, 5, 7, 1);
    expect_told(&s, "2:7 2:8 5:7 ");
    rig_finish(&s.rig);
}

Test(engine_member, what_is_revoked_is_committed_then_released_and_its_queued_events_are_not_handled)
{
    struct stage s;
    stage_make(&s, 0);
    listening(&s, "01", 0, RIG_GENERATION);
    expect_told(&s, "+0+1");
    deliver(&s, 0, 0, 3);
    deliver(&s, 1, 0, 1);
    expect_told(&s, "0:0 0:1 0:2 1:0 ");
    s.rig.turn_dispatch_max = 0;
    deliver(&s, 0, 3, 3);
    deliver(&s, 1, 1, 2);
    assign_revoked(&s, "0");
    expect_told(&s, "-0");
    expect_commit(&s, 0, 3); /* at once, and before RELEASE */
    expect_release(&s, 0);
    s.rig.turn_dispatch_max = SIZE_MAX;
    rig_turn(&s.rig);
    expect_told(&s, "1:1 1:2 "); /* the other partition goes on */
    rig_wait(&s.rig, 100000);
    expect_commit(&s, 1, 3);
    rig_finish(&s.rig);
}

Test(engine_member, a_partition_revoked_in_the_middle_of_a_batch_stops_there)
{
    struct stage s;
    stage_make(&s, 0);
    listening(&s, "01", 0, RIG_GENERATION);
    s.rig.turn_dispatch_max = 0;
    deliver(&s, 0, 0, 10);
    deliver(&s, 1, 0, 2);
    engine_dispatch(s.rig.engine, 4, s.rig.now);
    assign_revoked(&s, "0");
    expect_commit(&s, 0, 4);
    expect_release(&s, 0);
    s.rig.turn_dispatch_max = SIZE_MAX;
    rig_turn(&s.rig);
    expect_told(&s, "+0+10:0 0:1 0:2 0:3 -01:0 1:1 ");
    rig_finish(&s.rig);
}

Test(engine_member, the_credit_of_dropped_events_returns)
{
    struct stage s;
    stage_make(&s, 0); /* listen_credit 4096: told again by the quarter */
    listening(&s, "01", 0, RIG_GENERATION);
    s.rig.turn_dispatch_max = 0;
    size_t size = 0;
    for (uint64_t i = 0; size < 1024; i++)
        size += deliver(&s, 0, 10 * i, 10);
    cr_assert(rig_sent_nothing(&s.rig));
    assign_revoked(&s, "0");
    struct sent sent = rig_expect(&s.rig, FRAME_CREDIT);
    cr_assert_eq(((const Wire__Credit *)sent.message)->total, 4096 + size);
    expect_release(&s, 0); /* nothing was handled: nothing to commit */
    cr_assert(!engine_dispatch_pending(s.rig.engine));
    expect_told(&s, "+0+1-0");
    rig_finish(&s.rig);
}

Test(engine_member, a_position_that_is_committed_already_is_not_sent_again_with_the_release)
{
    struct stage s;
    stage_make(&s, 0);
    listening(&s, "01", 0, RIG_GENERATION);
    deliver(&s, 0, 0, 3);
    rig_wait(&s.rig, 100000);
    expect_commit(&s, 0, 3); /* under way */
    assign_revoked(&s, "0");
    expect_release(&s, 0);
    rig_finish(&s.rig);
}

Test(engine_member, a_commit_under_way_for_others_keeps_its_answer)
{
    struct stage s;
    stage_make(&s, 0);
    listening(&s, "01", 0, RIG_GENERATION);
    deliver(&s, 1, 0, 2);
    rig_wait(&s.rig, 100000);
    uint64_t kept = expect_commit(&s, 1, 2);
    deliver(&s, 0, 0, 3);
    assign_revoked(&s, "0");
    uint64_t left = expect_commit(&s, 0, 3);
    expect_release(&s, 0);
    committed(&s, left, 0);
    committed(&s, kept, CRIER_EFULL); /* may pass: it is tried again */
    rig_wait(&s.rig, 100000);
    expect_commit(&s, 1, 2);
    rig_finish(&s.rig);
}

Test(engine_member, a_partition_comes_back_where_the_broker_says)
{
    struct stage s;
    stage_make(&s, 0);
    listening(&s, "0", 0, RIG_GENERATION);
    deliver(&s, 0, 0, 3);
    assign_revoked(&s, "0");
    expect_commit(&s, 0, 3);
    expect_release(&s, 0);
    assign_added(&s, "0", 20);
    deliver(&s, 0, 18, 3);
    expect_told(&s, "+00:0 0:1 0:2 -0+00:20 ");
    rig_wait(&s.rig, 100000);
    expect_commit(&s, 0, 21);
    rig_finish(&s.rig);
}

Test(engine_member, a_fenced_commit_is_forgotten_and_no_error)
{
    struct stage s;
    stage_make(&s, 0);
    rig_listen_error(&s.rig);
    listening(&s, "0", 0, RIG_GENERATION);
    deliver(&s, 0, 0, 3);
    rig_wait(&s.rig, 100000);
    committed(&s, expect_commit(&s, 0, 3), CRIER_EFENCED);
    rig_wait(&s.rig, 1000000);
    cr_assert(rig_sent_nothing(&s.rig));
    cr_assert_eq(s.rig.error_count, 0);
    cr_assert_eq(engine_error_take(s.rig.engine), 0);
    rig_finish(&s.rig);
}

Test(engine_member, after_its_session_timed_out_it_joins_again_and_claims_nothing)
{
    struct stage s;
    stage_make(&s, 0);
    rig_listen_error(&s.rig);
    listening(&s, "01", 0, RIG_GENERATION);
    deliver(&s, 0, 0, 3);
    s.rig.turn_dispatch_max = 0;
    deliver(&s, 0, 3, 3);
    ended(&s, CRIER_ETIMEDOUT);
    s.rig.turn_dispatch_max = SIZE_MAX;
    rig_wait(&s.rig, 200000);
    expect_told(&s, "+0+10:0 0:1 0:2 -0-1");
    const Wire__Listen *listen = listening(&s, "1", 0, RIG_GENERATION + 1);
    cr_assert_eq(listen->n_resume, 0);
    expect_told(&s, "+1");
    rig_wait(&s.rig, 1000000);
    cr_assert(rig_sent_nothing(&s.rig)); /* no COMMIT of what others own */
    cr_assert_eq(s.rig.error_count, 0);
    rig_finish(&s.rig);
}

Test(engine_member, a_lost_connection_takes_everything_and_the_position_reached_is_offered)
{
    struct stage s;
    stage_make(&s, 0);
    listening(&s, "01", 0, RIG_GENERATION);
    deliver(&s, 1, 0, 3);
    rig_cut(&s.rig);
    expect_told(&s, "+0+11:0 1:1 1:2 -0-1");
    rig_reconnect(&s.rig, 1 << 20);
    const Wire__Listen *listen = listening(&s, "1", 3, RIG_GENERATION);
    cr_assert_eq(listen->n_resume, 2);
    cr_assert_eq(listen->resume[1]->offset, 3);
    expect_told(&s, "+1"); /* 0 is another's now */
    rig_wait(&s.rig, 100000);
    expect_commit(&s, 1, 3);
    rig_finish(&s.rig);
}

Test(engine_member, the_end_takes_everything_before_released)
{
    struct stage s;
    stage_make(&s, 0);
    listening(&s, "01", 0, RIG_GENERATION);
    deliver(&s, 1, 0, 1);
    engine_unlisten(s.rig.engine, s.listener);
    rig_turn(&s.rig);
    expect_commit(&s, 1, 1);
    rig_expect(&s.rig, FRAME_UNLISTEN);
    assign_added(&s, "2", 0); /* sent before the broker heard of the end */
    ended(&s, 0);
    expect_told(&s, "+0+11:0 -0-1#");
    cr_assert(rig_sent_nothing(&s.rig));
    rig_finish(&s.rig);
}

Test(engine_member, it_is_heard_of_several_times_within_its_session_timeout)
{
    struct stage s;
    stage_make(&s, 1500); /* the broker asks for a sign of life every 5 s only */
    listening(&s, "0", 0, RIG_GENERATION);
    for (int i = 0; i < 4; i++) {
        deliver(&s, 0, (uint64_t)i, 1); /* hearing is not being heard */
        rig_wait(&s.rig, 100000);
        uint64_t request = expect_commit(&s, 0, (uint64_t)i + 1);
        committed(&s, request, 0);
        rig_wait(&s.rig, 499999);
        cr_assert(rig_sent_nothing(&s.rig));
        rig_wait(&s.rig, 1);
        rig_expect(&s.rig, FRAME_PING);
    }
    rig_finish(&s.rig);
}

Test(engine_member, what_makes_no_sense_ends_the_connection)
{
    for (int kind = 0; kind < 3; kind++) {
        struct stage s;
        stage_make(&s, 0);
        listening(&s, "0", 0, kind == 0 ? RIG_GENERATION + 1 : RIG_GENERATION);
        if (kind == 0)
            assign_added(&s, "1", 0); /* another generation's */
        else if (kind == 1)
            assign_added(&s, "0", 0); /* it has that */
        else
            deliver(&s, 1, 0, 1); /* it does not have that */
        cr_assert_eq(s.rig.disconnects, 1, "%d", kind);
        cr_assert_eq(s.rig.connection_code, CRIER_EPROTO, "%d", kind);
        rig_finish(&s.rig);
    }
}

Test(engine_member, a_session_timeout_below_a_second_is_refused)
{
    struct rig rig;
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    rig_init(&rig, NULL);
    options.group = "g";
    options.session_timeout_ms = 999;
    cr_assert_eq(engine_listener_create(rig.engine, "t", &options, on_event, NULL, &listener), CRIER_EINVAL);
    options.session_timeout_ms = -1;
    cr_assert_eq(engine_listener_create(rig.engine, "t", &options, on_event, NULL, &listener), CRIER_EINVAL);
    rig_finish(&rig);
}
