/* test_engine_consumed.c: atomic emits made from events, on the wire: which positions they move, from where, and what comes of
 * those that fail. */
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <string.h>

#define TOLD_MAX 32

/* A listener of a group whose handler emits an event to "out" for each that it hears. */
struct stage {
    struct rig rig;
    crier_listener *listener;
    uint32_t id;
    int codes[TOLD_MAX];
    size_t told, heard, released;
    uint64_t offsets[TOLD_MAX]; /* heard */
    uint32_t assignment;        /* of the last */
    bool mute;                  /* emits nothing: says that it was consumed */
};

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct stage *s = ctx;
    (void)bus, (void)offset;
    cr_assert_lt(s->told, TOLD_MAX);
    s->codes[s->told++] = code;
}

static int emit_from(struct stage *s, struct crier_consumed consumed)
{
    struct crier_atomic_options options = crier_atomic_options_default();
    struct crier_atomic_event event = {.topic = "out", .value = "x", .value_size = 1};
    bool wake;
    options.consumed = &consumed;
    options.consumed_count = 1;
    options.done = on_done;
    options.ctx = s;
    return engine_emit_atomic(s->rig.engine, s->mute ? NULL : &event, s->mute ? 0 : 1, &options, 1, &wake);
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct stage *s = ctx;
    (void)bus;
    cr_assert_lt(s->heard, TOLD_MAX);
    s->offsets[s->heard++] = event->offset;
    s->assignment = event->assignment;
    cr_assert_neq(event->assignment, 0);
    return emit_from(s, crier_consumed_by(event));
}

static void on_released(void *ctx, int code, const char *text)
{
    struct stage *s = ctx;
    (void)text;
    cr_assert_eq(code, 0);
    s->released++;
}

static void stage_open(struct stage *s, uint64_t count)
{
    struct crier_listen_options options = crier_listen_options_default();
    memset(s, 0, sizeof(*s));
    rig_init(&s->rig, NULL);
    rig_ready(&s->rig, 1 << 20);
    rig_know(&s->rig, "out", 1);
    options.group = "g";
    options.commits_atomically = true;
    options.released = on_released;
    options.count = count;
    cr_assert_eq(engine_listener_create(s->rig.engine, "in", &options, on_event, s, &s->listener), 0);
    engine_listen(s->rig.engine, s->listener);
    rig_turn(&s->rig);
    s->id = rig_listening(&s->rig, 10, 100);
}

static struct sent expect_step(struct stage *s, uint64_t previous, uint64_t offset)
{
    struct sent sent = rig_expect(&s->rig, FRAME_EMIT);
    const Wire__Emit *emit = (const Wire__Emit *)sent.message;
    cr_assert(emit->atomic);
    cr_assert_eq(emit->n_positions, 1);
    cr_assert_eq(emit->positions[0]->generation, RIG_GENERATION);
    cr_assert_eq(emit->positions[0]->partition, RIG_PARTITION);
    cr_assert_eq(emit->positions[0]->previous, previous);
    cr_assert_eq(emit->positions[0]->offset, offset);
    return sent;
}

static void answer(struct stage *s, const struct sent *sent, Wire__Outcome outcome, int code)
{
    rig_emitted(&s->rig, sent, outcome, code, outcome == WIRE__OUTCOME__OK ? 5 : -1);
}

static void ended(struct stage *s)
{
    Wire__Ended message = WIRE__ENDED__INIT;
    message.listener = s->id;
    rig_receive(&s->rig, FRAME_ENDED, &message, NULL, 0);
}

Test(consumed, each_step_moves_the_position_from_where_the_one_before_left_it_and_nothing_else_does)
{
    struct stage s;
    struct sent sent[3];
    stage_open(&s, 0);
    rig_deliver(&s.rig, s.id, 10, 3);
    for (uint64_t i = 0; i < 3; i++)
        sent[i] = expect_step(&s, 10 + i, 11 + i);
    for (int i = 0; i < 3; i++)
        answer(&s, &sent[i], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(s.told, 3);
    rig_wait(&s.rig, 1000000);
    cr_assert(rig_sent_nothing(&s.rig), "no COMMIT");
    rig_finish(&s.rig);
}

Test(consumed, an_event_that_leads_to_nothing_is_told_by_its_position_alone)
{
    struct stage s;
    stage_open(&s, 0);
    s.mute = true;
    rig_deliver(&s.rig, s.id, 10, 1);
    struct sent sent = expect_step(&s, 10, 11);
    Wire__Emitted emitted = WIRE__EMITTED__INIT;
    Wire__EmittedPart part = WIRE__EMITTED_PART__INIT, *parts = &part;
    cr_assert_eq(((const Wire__Emit *)sent.message)->n_parts, 0);
    cr_assert_eq(sent.attachment_size, 0);
    emitted.request = rig_request(&sent);
    emitted.parts = &parts;
    emitted.n_parts = 1;
    part.base_offset = -1;
    rig_receive(&s.rig, FRAME_EMITTED, &emitted, NULL, 0);
    cr_assert_eq(s.told, 1);
    cr_assert_eq(s.codes[0], 0);
    rig_finish(&s.rig);
}

Test(consumed, a_step_that_fails_makes_its_listener_join_anew_and_what_stands_on_it_fails)
{
    struct stage s;
    struct sent sent[3];
    stage_open(&s, 0);
    rig_deliver(&s.rig, s.id, 10, 3);
    for (uint64_t i = 0; i < 3; i++)
        sent[i] = expect_step(&s, 10 + i, 11 + i);
    answer(&s, &sent[0], WIRE__OUTCOME__OK, 0);
    answer(&s, &sent[1], WIRE__OUTCOME__REFUSED, CRIER_EREVOKED);
    (void)rig_expect(&s.rig, FRAME_UNLISTEN);
    answer(&s, &sent[2], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE);
    cr_assert_eq(s.told, 3, "its assignment is over: it is not sent again");
    rig_deliver(&s.rig, s.id, 13, 1); /* on its way before the broker heard */
    cr_assert_eq(s.heard, 3);
    cr_assert_eq(s.codes[1], CRIER_EREVOKED);
    cr_assert_eq(s.codes[2], CRIER_EREVOKED);
    cr_assert_eq(emit_from(&s, (struct crier_consumed){20, s.assignment}), 0, "taken, and told later");
    rig_turn(&s.rig);
    cr_assert_eq(s.told, 4);
    cr_assert_eq(s.codes[3], CRIER_EREVOKED);
    cr_assert(rig_sent_nothing(&s.rig));
    ended(&s);
    rig_wait(&s.rig, 300000);
    s.id = rig_listening(&s.rig, 11, 100);
    rig_deliver(&s.rig, s.id, 11, 1);
    cr_assert_eq(s.offsets[3], 11, "again");
    sent[0] = expect_step(&s, 11, 12);
    answer(&s, &sent[0], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(s.codes[4], 0);
    rig_finish(&s.rig);
}

Test(consumed, a_retriable_refusal_is_sent_again_as_it_was)
{
    struct stage s;
    struct sent sent[2];
    stage_open(&s, 0);
    rig_deliver(&s.rig, s.id, 10, 2);
    for (uint64_t i = 0; i < 2; i++)
        sent[i] = expect_step(&s, 10 + i, 11 + i);
    answer(&s, &sent[0], WIRE__OUTCOME__REFUSED, CRIER_EFULL);
    answer(&s, &sent[1], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE);
    rig_wait(&s.rig, 100000);
    for (uint64_t i = 0; i < 2; i++)
        sent[i] = expect_step(&s, 10 + i, 11 + i);
    for (int i = 0; i < 2; i++)
        answer(&s, &sent[i], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(s.told, 2);
    cr_assert_eq(s.heard, 2);
    rig_finish(&s.rig);
}

Test(consumed, after_a_lost_connection_what_may_be_stored_is_sent_again_and_the_listener_begins_at_what_is)
{
    struct stage s;
    struct sent sent;
    stage_open(&s, 0);
    rig_deliver(&s.rig, s.id, 10, 1);
    (void)expect_step(&s, 10, 11);
    rig_cut(&s.rig);
    cr_assert_eq(emit_from(&s, (struct crier_consumed){11, s.assignment}), 0); /* never sent: over by now */
    rig_reconnect(&s.rig, 1 << 20);
    const Wire__Listen *listen = NULL;
    bool emitted = false;
    for (int i = 0; i < 2; i++) { /* in either order */
        sent = s.rig.sent[s.rig.sent_first].kind == FRAME_LISTEN ? rig_expect(&s.rig, FRAME_LISTEN)
                                                                 : expect_step(&s, 10, 11);
        if (sent.kind == FRAME_LISTEN)
            listen = (const Wire__Listen *)sent.message;
        else
            answer(&s, &sent, WIRE__OUTCOME__OK, 0), emitted = true;
    }
    cr_assert(listen && emitted);
    cr_assert_eq(listen->n_resume, 0, "the broker says where it begins");
    cr_assert_eq(s.told, 2);
    cr_assert_eq(s.codes[0] + s.codes[1], CRIER_EREVOKED, "one, and 0");
    rig_finish(&s.rig);
}

Test(consumed, a_partition_that_is_taken_away_ends_what_was_not_sent)
{
    struct stage s;
    Wire__Assign assign = WIRE__ASSIGN__INIT;
    uint64_t revoked = RIG_PARTITION;
    stage_open(&s, 0);
    rig_deliver(&s.rig, s.id, 10, 1);
    struct sent sent = expect_step(&s, 10, 11);
    assign.listener = s.id;
    assign.generation = RIG_GENERATION;
    assign.revoked = &revoked;
    assign.n_revoked = 1;
    rig_receive(&s.rig, FRAME_ASSIGN, &assign, NULL, 0);
    (void)rig_expect(&s.rig, FRAME_RELEASE);
    cr_assert_eq(emit_from(&s, (struct crier_consumed){11, s.assignment}), 0);
    rig_turn(&s.rig);
    answer(&s, &sent, WIRE__OUTCOME__OK, 0);
    cr_assert_eq(s.told, 2);
    cr_assert_eq(s.codes[0] + s.codes[1], CRIER_EREVOKED, "the one that was sent before RELEASE counts");
    cr_assert(rig_sent_nothing(&s.rig), "nobody leaves the group for that");
    rig_finish(&s.rig);
}

Test(consumed, a_listener_ends_when_what_was_emitted_has_its_outcome)
{
    struct stage s;
    stage_open(&s, 2);
    rig_deliver(&s.rig, s.id, 10, 3);
    cr_assert_eq(s.heard, 2);
    struct sent sent[] = {expect_step(&s, 10, 11), expect_step(&s, 11, 12)};
    answer(&s, &sent[0], WIRE__OUTCOME__OK, 0);
    cr_assert(rig_sent_nothing(&s.rig), "not before the last counts");
    answer(&s, &sent[1], WIRE__OUTCOME__OK, 0);
    (void)rig_expect(&s.rig, FRAME_UNLISTEN);
    ended(&s);
    cr_assert_eq(s.released, 1);
    rig_finish(&s.rig);
}

Test(consumed, a_step_that_goes_back_fails_and_so_does_one_of_nothing)
{
    struct stage s;
    stage_open(&s, 0);
    rig_deliver(&s.rig, s.id, 10, 2);
    struct sent sent[] = {expect_step(&s, 10, 11), expect_step(&s, 11, 12)};
    answer(&s, &sent[0], WIRE__OUTCOME__OK, 0);
    answer(&s, &sent[1], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(emit_from(&s, (struct crier_consumed){10, s.assignment}), 0);
    rig_turn(&s.rig);
    cr_assert_eq(s.codes[2], CRIER_EINVAL);
    cr_assert_eq(emit_from(&s, (struct crier_consumed){12, 0}), CRIER_EINVAL);
    rig_finish(&s.rig);
}

Test(consumed, it_needs_a_group_and_no_pool)
{
    struct rig rig;
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    rig_init(&rig, NULL);
    options.commits_atomically = true;
    cr_assert_eq(engine_listener_create(rig.engine, "in", &options, on_event, NULL, &listener), CRIER_EINVAL);
    options.group = "g";
    options.pool = (crier_pool *)(void *)&rig; /* not looked at */
    cr_assert_eq(engine_listener_create(rig.engine, "in", &options, on_event, NULL, &listener), CRIER_EINVAL);
    rig_finish(&rig);
}
