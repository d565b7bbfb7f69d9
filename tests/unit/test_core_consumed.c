/* test_core_consumed.c: an atomic emit moves positions of ordered groups: what it was made from is handled if it is stored, and
 * not otherwise, whoever dies when. */
#include "tests/unit/core_outcome.h"

#include <string.h>

#define EVENTS 10

/* A member of the group "g" on "in", which has EVENTS events and one partition; it emits to "out". */
struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t in, out, generation, next;
};

/* An atomic EMIT: an event to "out" unless `alone`, with positions of "in". */
struct spec {
    uint64_t position, previous; /* of its source */
    bool alone, damaged, memory, plain;
    const Wire__EmitPosition *moves;
    size_t move_count;
};

static Wire__EmitPosition move_make(uint64_t generation, uint64_t partition, uint64_t previous,
                                    uint64_t offset)
{
    Wire__EmitPosition move = WIRE__EMIT_POSITION__INIT;
    move.generation = generation;
    move.partition = partition;
    move.previous = previous;
    move.offset = offset;
    return move;
}

static void emit_send(struct stage *s, struct spec spec)
{
    uint8_t bytes[1024];
    Wire__EmitPart part = WIRE__EMIT_PART__INIT, *parts[] = {&part};
    Wire__EmitPosition *moves[4];
    Wire__Emit emit = WIRE__EMIT__INIT;
    size_t used =
        batch_make(bytes, sizeof(bytes), &(struct batch_spec){.partition = s->out, .damaged = spec.damaged});
    part.partition = s->out;
    part.size = (uint32_t)used;
    emit.n_parts = spec.alone ? 0 : 1;
    emit.parts = parts;
    emit.request = ++s->p->emits;
    emit.atomic = !spec.plain;
    emit.durability = spec.memory ? WIRE__DURABILITY__MEMORY : WIRE__DURABILITY__DURABLE;
    emit.source_position = spec.position;
    emit.source_previous = spec.previous;
    for (size_t i = 0; i < spec.move_count; i++)
        moves[i] = (Wire__EmitPosition *)(uintptr_t)&spec.moves[i];
    emit.positions = moves;
    emit.n_positions = spec.move_count;
    peer_send_attached(s->p, FRAME_EMIT, &emit.base, bytes, spec.alone ? 0 : used);
}

/* The step `position`, made from "in" from `previous` to `offset`. */
static void step_send(struct stage *s, uint64_t position, uint64_t previous, uint64_t offset)
{
    Wire__EmitPosition move = move_make(s->generation, s->in, previous, offset);
    emit_send(s, (struct spec){.position = position, .moves = &move, .move_count = 1});
}

static struct outcome outcome_of(struct stage *s)
{
    const Wire__Emitted *emitted = peer_expect_past(s->p, FRAME_EMITTED);
    cr_assert_eq(emitted->n_parts, 1);
    const Wire__EmittedPart *part = emitted->parts[0];
    return (struct outcome){(int)part->outcome, part->code, part->base_offset, part->duplicate};
}

static struct outcome step(struct stage *s, uint64_t position, uint64_t previous, uint64_t offset)
{
    step_send(s, position, previous, offset);
    fixture_settle(s->f);
    return outcome_of(s);
}

static struct outcome emit_one(struct stage *s, struct spec spec)
{
    emit_send(s, spec);
    fixture_settle(s->f);
    return outcome_of(s);
}

/* s->p joins; where it begins. */
static uint64_t join(struct stage *s)
{
    peer_listen(s->p, &(struct listen_spec){
                          .id = 1, .topic = "in", .group = "g", .from = WIRE__FROM__EARLIEST, .credit = 1});
    fixture_settle(s->f);
    const Wire__Listening *answer = peer_expect_past(s->p, FRAME_LISTENING);
    s->generation = answer->generation;
    s->next = answer->n_partitions ? answer->partitions[0]->next : UINT64_MAX;
    return s->next;
}

static void fill(struct stage *s)
{
    s->p = peer_welcome(s->f);
    s->in = peer_topic(s->p, "in", 1);
    s->out = peer_topic(s->p, "out", 1);
    for (int64_t i = 0; i < EVENTS; i++)
        assert_stored(peer_emit_one(s->p, (struct batch_spec){.partition = s->in}), i);
}

static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    fill(&s);
    cr_assert_eq(join(&s), 0);
    return s;
}

/* How many events "out" has. */
static uint64_t outputs(const struct stage *s)
{
    struct peer *p = peer_welcome(s->f);
    peer_listen(p, &(struct listen_spec){.id = 9, .topic = "out", .credit = 1});
    fixture_settle(s->f);
    const Wire__Listening *answer = peer_expect_past(p, FRAME_LISTENING);
    uint64_t count = answer->partitions[0]->high_watermark;
    peer_close(p);
    return count;
}

/* Somebody else joins when the member is gone; where it begins. */
static uint64_t stored_position(struct stage *s)
{
    if (s->p)
        peer_close(s->p);
    s->p = peer_welcome(s->f);
    return join(s);
}

Test(consumed, outputs_and_position_are_stored_together)
{
    struct stage s = stage_make();
    assert_stored(step(&s, 1, 0, 1), 0);
    assert_stored(step(&s, 2, 1, 4), 1);
    cr_assert_eq(outputs(&s), 2);
    cr_assert_eq(stored_position(&s), 4);
    fixture_destroy(s.f);
}

/* Power fails while steps are in flight: the position says exactly how many outputs there are. */
Test(consumed, a_power_cut_leaves_both_or_neither)
{
    bool some[EVENTS + 1] = {false};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct stage s = {.f = fixture_create()};
        s.f->store_options.seed = seed;
        fixture_start(s.f);
        fill(&s);
        join(&s);
        for (uint64_t i = 0; i < EVENTS; i++) {
            step_send(&s, i + 1, i, i + 1);
            if (i % 3 == seed % 3)
                fixture_turn(s.f);
        }
        fixture_run(s.f, (int64_t)(seed % 5) * FIXTURE_COMMIT_US / 2);
        fixture_crash(s.f);
        s.p = NULL;
        uint64_t position = stored_position(&s);
        cr_assert_eq(position, outputs(&s), "seed %llu: position %llu", (unsigned long long)seed,
                     (unsigned long long)position);
        some[position] = true;
        fixture_destroy(s.f);
    }
    cr_assert(some[0] || some[1] || some[2] || some[3], "some of it was lost in some run");
    cr_assert(some[EVENTS], "and nothing in another");
}

Test(consumed, a_full_disk_takes_back_both)
{
    struct stage s = stage_make();
    store_memory_fault_full(s.f->store, true);
    step_send(&s, 1, 0, 1);
    fixture_turn(s.f);
    step_send(&s, 2, 1, 2);
    fixture_settle(s.f);
    assert_refused(outcome_of(&s), WIRE_CRIER_EFULL);
    assert_refused(outcome_of(&s), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    assert_refused(step(&s, 2, 1, 2), WIRE_CRIER_EREVOKED);
    assert_stored(step(&s, 1, 0, 1), 0);
    assert_stored(step(&s, 2, 1, 2), 1);
    fixture_destroy(s.f);
}

Test(consumed, a_step_that_comes_again_is_a_duplicate_though_its_member_is_gone)
{
    struct stage s = stage_make();
    uint64_t producer_id = s.p->producer_id;
    assert_stored(step(&s, 1, 0, 1), 0);
    peer_close(s.p);
    s.p = peer_welcome_again(s.f, producer_id);
    assert_duplicate(step(&s, 1, 0, 1), -1);
    assert_refused(step(&s, 2, 1, 2), WIRE_CRIER_EREVOKED); /* it was not stored, and the member is another */
    cr_assert_eq(join(&s), 1);
    assert_stored(step(&s, 2, 1, 2), 1);
    fixture_destroy(s.f);
}

Test(consumed, what_stands_on_a_step_that_failed_is_refused)
{
    struct stage s = stage_make();
    Wire__EmitPosition move = move_make(s.generation, s.in, 0, 1);
    assert_refused(
        emit_one(&s, (struct spec){.position = 1, .damaged = true, .moves = &move, .move_count = 1}),
        WIRE_CRIER_ECORRUPT);
    assert_refused(step(&s, 2, 1, 2), WIRE_CRIER_EREVOKED); /* though it does not say that it stands on it */
    cr_assert_eq(outputs(&s), 0);
    assert_stored(step(&s, 3, 0, 2), 0);
    fixture_destroy(s.f);
}

Test(consumed, what_another_member_has_done_meanwhile_is_refused)
{
    struct stage s = stage_make(), other = s;
    other.p = peer_welcome(s.f);
    cr_assert_eq(join(&other), UINT64_MAX, "one partition: the first has it");
    assert_refused(step(&other, 1, 0, 1), WIRE_CRIER_EREVOKED);
    uint64_t first = s.generation;
    peer_unlisten(s.p, 1);
    fixture_settle(s.f);
    (void)peer_expect_past(s.p, FRAME_ENDED);
    (void)peer_expect_past(other.p, FRAME_ASSIGN);
    assert_stored(step(&other, 1, 0, 1), 0);
    assert_refused(step(&s, 1, 0, 1), WIRE_CRIER_EREVOKED);
    other.generation = first; /* nobody speaks for another connection's member */
    assert_refused(step(&other, 2, 1, 2), WIRE_CRIER_EREVOKED);
    cr_assert_eq(outputs(&s), 1);
    fixture_destroy(s.f);
}

/* A partition that went and came back is the same member's again: what it had made before is not. */
Test(consumed, what_was_made_before_the_partition_went_and_came_back_is_refused)
{
    struct stage s = stage_make();
    peer_commit(s.p, 1, 1, s.generation, s.in, 3); /* as if another had */
    fixture_settle(s.f);
    (void)peer_expect_past(s.p, FRAME_COMMITTED);
    assert_refused(step(&s, 1, 0, 5), WIRE_CRIER_EREVOKED);
    assert_refused(step(&s, 1, 2, 5), WIRE_CRIER_EREVOKED);
    assert_stored(step(&s, 1, 3, 5), 0);
    fixture_destroy(s.f);
}

Test(consumed, a_position_that_is_elsewhere_is_told_when_that_is_durable)
{
    struct stage s = stage_make();
    peer_commit(s.p, 1, 1, s.generation, s.in, 3);
    fixture_turn(s.f);
    step_send(&s, 1, 0, 1);
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    cr_assert_not(peer_has_frame(s.p, FRAME_EMITTED));
    fixture_settle(s.f);
    assert_refused(outcome_of(&s), WIRE_CRIER_EREVOKED);
    (void)peer_expect_past(s.p, FRAME_COMMITTED);
    store_memory_fault_full(s.f->store, true);
    peer_commit(s.p, 2, 1, s.generation, s.in, 4);
    fixture_turn(s.f);
    step_send(&s, 1, 3, 5);
    fixture_settle(s.f);
    assert_refused(outcome_of(&s), WIRE_CRIER_EFULL); /* it was not there, after all: to be sent again */
    (void)peer_expect_past(s.p, FRAME_COMMITTED);
    store_memory_fault_full(s.f->store, false);
    assert_stored(step(&s, 1, 3, 5), 0);
    fixture_destroy(s.f);
}

Test(consumed, an_event_that_leads_to_nothing_is_handled_too)
{
    struct stage s = stage_make();
    Wire__EmitPosition move = move_make(s.generation, s.in, 0, 1);
    struct spec alone = {.position = 1, .alone = true, .moves = &move, .move_count = 1};
    assert_stored(emit_one(&s, alone), -1);
    assert_duplicate(emit_one(&s, alone), -1);
    alone.position = 2;
    assert_refused(emit_one(&s, alone), WIRE_CRIER_EREVOKED);
    cr_assert_eq(outputs(&s), 0);
    cr_assert_eq(stored_position(&s), 1);
    fixture_destroy(s.f);
}

Test(consumed, positions_of_several_partitions_move_together)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.in = peer_topic(s.p, "in", 2);
    s.out = peer_topic(s.p, "out", 1);
    for (uint64_t i = 0; i < 4; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.in + i % 2}), (int64_t)(i / 2));
    cr_assert_eq(join(&s), 0);
    Wire__EmitPosition moves[] = {move_make(s.generation, s.in, 0, 1),
                                  move_make(s.generation, s.in + 1, 1, 2)};
    struct spec spec = {.position = 1, .moves = moves, .move_count = 2};
    assert_refused(emit_one(&s, spec), WIRE_CRIER_EREVOKED); /* one of them is elsewhere: neither moves */
    moves[1].previous = 0;
    assert_stored(emit_one(&s, spec), 0);
    fixture_destroy(s.f);
}

Test(consumed, an_emit_that_contradicts_itself_is_refused)
{
    struct stage s = stage_make();
    uint64_t outside = s.out;
    struct {
        uint64_t partition, previous, offset;
    } wrong[] = {{s.in, 0, 0}, {s.in, 0, EVENTS + 1}, {outside, 0, 1}, {999, 0, 1}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        Wire__EmitPosition move =
            move_make(s.generation, wrong[i].partition, wrong[i].previous, wrong[i].offset);
        assert_refused(emit_one(&s, (struct spec){.position = 1, .moves = &move, .move_count = 1}),
                       WIRE_CRIER_EINVAL);
    }
    Wire__EmitPosition move = move_make(s.generation, s.in, 0, 1);
    struct spec spec = {.plain = true, .moves = &move, .move_count = 1};
    assert_refused(emit_one(&s, spec), WIRE_CRIER_EINVAL);
    spec = (struct spec){.position = 1, .memory = true, .moves = &move, .move_count = 1};
    assert_refused(emit_one(&s, spec), WIRE_CRIER_EINVAL);
    spec.alone = true;
    assert_refused(emit_one(&s, spec), WIRE_CRIER_EINVAL);
    cr_assert_eq(outputs(&s), 0);
    assert_stored(step(&s, 1, 0, EVENTS), 0);
    emit_send(&s, (struct spec){.position = 2, .alone = true});
    peer_expect_error(s.p, WIRE_CRIER_EPROTO); /* nothing at all */
    fixture_destroy(s.f);
}
