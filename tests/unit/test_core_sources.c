/* test_core_sources.c: atomic emits, the offsets they expect, and how far a producer's source is stored. */
#include "tests/unit/core_outcome.h"

#include <string.h>

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t orders, stock; /* a partition of each */
};

/* An atomic EMIT: an event to orders and, if both, one to stock. */
struct atomic_spec {
    uint64_t position, previous;
    bool both, expects, damaged, sequenced, memory;
    uint64_t expected; /* of orders */
};

static struct peer *welcome_named(struct fixture *f, const char *name, uint64_t producer_id,
                                  uint64_t position)
{
    struct peer *peer = peer_open(f);
    uint8_t instance[16];
    Wire__Hello hello = WIRE__HELLO__INIT;
    peer_instance(peer, instance);
    hello.version = 1;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    hello.producer_id = producer_id;
    hello.producer_name = (char *)name;
    peer_send(peer, FRAME_HELLO, &hello.base);
    fixture_settle(f);
    if (!peer_has_frame(peer, FRAME_WELCOME))
        return peer;
    const Wire__Welcome *welcome = peer_expect(peer, FRAME_WELCOME);
    cr_assert_eq(welcome->source_position, position, "expected position %llu, got %llu",
                 (unsigned long long)position, (unsigned long long)welcome->source_position);
    peer->producer_id = welcome->producer_id;
    peer->grant = welcome->grant;
    return peer;
}

static struct stage stage_make(const char *name)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = welcome_named(s.f, name, 0, 0);
    s.orders = peer_topic(s.p, "orders", 1);
    s.stock = peer_topic(s.p, "stock", 1);
    return s;
}

static void emit_send(struct stage s, struct atomic_spec spec)
{
    uint8_t bytes[1024];
    Wire__EmitPart parts[2], *pointers[] = {&parts[0], &parts[1]};
    struct batch_spec batches[] = {
        {.partition = s.orders, .damaged = spec.damaged, .producer_id = spec.sequenced ? 7 : 0},
        {.partition = s.stock}};
    Wire__Emit emit = WIRE__EMIT__INIT;
    size_t used = 0;
    emit.n_parts = spec.both ? 2 : 1;
    emit.parts = pointers;
    for (size_t i = 0; i < emit.n_parts; i++) {
        wire__emit_part__init(&parts[i]);
        parts[i].partition = batches[i].partition;
        parts[i].size = (uint32_t)batch_make(bytes + used, sizeof(bytes) - used, &batches[i]);
        used += parts[i].size;
    }
    parts[0].expects = spec.expects;
    parts[0].expected_offset = spec.expected;
    emit.request = ++s.p->emits;
    emit.atomic = true;
    emit.durability = spec.memory ? WIRE__DURABILITY__MEMORY : WIRE__DURABILITY__DURABLE;
    emit.source_position = spec.position;
    emit.source_previous = spec.previous;
    peer_send_attached(s.p, FRAME_EMIT, &emit.base, bytes, used);
}

/* The outcome of the next atomic EMIT: the same for all of its parts. */
static struct outcome outcome_of(struct stage s)
{
    const Wire__Emitted *emitted = peer_expect_beyond_credit(s.p, FRAME_EMITTED);
    const Wire__EmittedPart *part = emitted->parts[0];
    for (size_t i = 1; i < emitted->n_parts; i++) {
        cr_assert_eq(emitted->parts[i]->outcome, part->outcome);
        cr_assert_eq(emitted->parts[i]->code, part->code);
        cr_assert_eq(emitted->parts[i]->duplicate, part->duplicate);
    }
    return (struct outcome){(int)part->outcome, part->code, part->base_offset, part->duplicate};
}

static struct outcome emit_one(struct stage s, struct atomic_spec spec)
{
    emit_send(s, spec);
    fixture_settle(s.f);
    return outcome_of(s);
}

/* The next free offset of a partition. */
static uint64_t end_of(struct stage s, uint64_t partition)
{
    struct outcome outcome = peer_emit_one(s.p, (struct batch_spec){.partition = partition});
    return (uint64_t)outcome.base_offset;
}

Test(sources, a_step_is_stored_once_however_often_it_is_sent)
{
    struct stage s = stage_make("file");
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1, .both = true}), 0);
    assert_duplicate(emit_one(s, (struct atomic_spec){.position = 1, .both = true}), -1);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 5, .both = true}), 1);
    assert_duplicate(emit_one(s, (struct atomic_spec){.position = 4, .both = true}), -1);
    cr_assert_eq(end_of(s, s.orders), 2);
    cr_assert_eq(end_of(s, s.stock), 2);
    fixture_destroy(s.f);
}

Test(sources, the_position_is_told_by_welcome_after_any_restart)
{
    struct stage s = stage_make("file");
    assert_stored(emit_one(s, (struct atomic_spec){.position = 41}), 0);
    fixture_crash(s.f);
    s.p = welcome_named(s.f, "file", 0, 41);
    fixture_run(s.f, 3000000); /* a state flush: the row, and no longer the log */
    fixture_restart(s.f);
    s.p = welcome_named(s.f, "file", 0, 41);
    assert_duplicate(emit_one(s, (struct atomic_spec){.position = 41}), -1);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 42}), 1);
    fixture_destroy(s.f);
}

Test(sources, a_duplicate_is_answered_only_when_what_it_repeats_is_durable)
{
    struct stage s = stage_make("file");
    emit_send(s, (struct atomic_spec){.position = 1});
    fixture_turn(s.f);
    emit_send(s, (struct atomic_spec){.position = 1});
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    cr_assert_not(peer_has_frame(s.p, FRAME_EMITTED));
    fixture_settle(s.f);
    assert_stored(outcome_of(s), 0);
    assert_duplicate(outcome_of(s), -1);
    fixture_destroy(s.f);
}

Test(sources, what_stands_on_a_refused_step_is_refused_and_nothing_is_skipped)
{
    struct stage s = stage_make("file");
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    assert_refused(emit_one(s, (struct atomic_spec){.position = 2, .previous = 1, .damaged = true}),
                   WIRE_CRIER_ECORRUPT);
    assert_refused(emit_one(s, (struct atomic_spec){.position = 3, .previous = 2}), WIRE_CRIER_ESEQUENCE);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 2, .previous = 1}), 1);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 3, .previous = 2}), 2);
    fixture_destroy(s.f);
}

/* A restart with a smaller limit, or one that is under way: what is stored was stored before it. */
Test(sources, a_step_that_is_stored_is_a_duplicate_also_if_it_could_not_be_stored_now)
{
    struct stage s = stage_make("file");
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    assert_duplicate(emit_one(s, (struct atomic_spec){.position = 1, .damaged = true}), -1);
    fixture_destroy(s.f);
}

Test(sources, a_full_disk_takes_back_the_position_and_its_duplicates)
{
    struct stage s = stage_make("file");
    store_memory_fault_full(s.f->store, true);
    for (uint64_t i = 1; i <= 3; i++) {
        emit_send(s, (struct atomic_spec){.position = i, .previous = i - 1, .both = true});
        fixture_turn(s.f);
    }
    emit_send(s, (struct atomic_spec){.position = 2, .both = true});
    fixture_settle(s.f);
    for (int i = 0; i < 4; i++)
        assert_refused(outcome_of(s), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1, .both = true}), 0);
    cr_assert_eq(end_of(s, s.stock), 1);
    fixture_destroy(s.f);
}

Test(sources, one_part_that_cannot_be_stored_refuses_all)
{
    struct stage s = stage_make("file");
    s.stock = 999;
    assert_refused(emit_one(s, (struct atomic_spec){.position = 1, .both = true}), WIRE_CRIER_ENOTOPIC);
    cr_assert_eq(end_of(s, s.orders), 0);
    fixture_destroy(s.f);
}

Test(sources, an_expected_offset_stores_only_at_the_end_it_names)
{
    struct stage s = stage_make("");
    struct atomic_spec first = {.position = 1, .both = true, .expects = true, .expected = 0};
    assert_stored(emit_one(s, first), 0);
    assert_duplicate(emit_one(s, first), -1); /* known as itself, before the offset is looked at */
    struct atomic_spec late = {.position = 2, .both = true, .expects = true, .expected = 0};
    assert_refused(emit_one(s, late), WIRE_CRIER_EOFFSET);
    late.expected = 2;
    assert_refused(emit_one(s, late), WIRE_CRIER_EOFFSET);
    late.expected = 1;
    assert_stored(emit_one(s, late), 1);
    cr_assert_eq(end_of(s, s.stock), 2);
    fixture_destroy(s.f);
}

Test(sources, an_offset_that_was_not_as_expected_is_told_when_that_is_durable)
{
    struct stage s = stage_make("");
    struct batch_spec other = {.partition = s.orders};
    peer_emit(s.p, &other, 1);
    fixture_turn(s.f);
    emit_send(s, (struct atomic_spec){.position = 1, .expects = true, .expected = 0});
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    cr_assert_not(peer_has_frame(s.p, FRAME_EMITTED));
    fixture_settle(s.f);
    assert_stored(peer_outcome(s.p), 0);
    assert_refused(outcome_of(s), WIRE_CRIER_EOFFSET);
    fixture_destroy(s.f);
}

/* The event that was in its way was never stored: to say "another offset" would not have been true. */
Test(sources, an_offset_found_by_a_refused_entry_is_refused_with_its_reason)
{
    struct stage s = stage_make("");
    struct batch_spec other = {.partition = s.orders};
    store_memory_fault_full(s.f->store, true);
    peer_emit(s.p, &other, 1);
    fixture_turn(s.f);
    emit_send(s, (struct atomic_spec){.position = 1, .expects = true, .expected = 0});
    fixture_settle(s.f);
    assert_refused(peer_outcome(s.p), WIRE_CRIER_EFULL);
    assert_refused(outcome_of(s), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1, .expects = true, .expected = 0}), 0);
    fixture_destroy(s.f);
}

Test(sources, a_disk_that_fails_leaves_duplicates_told_and_the_rest_unknown)
{
    struct stage s = stage_make("file");
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    store_memory_fault_commit(s.f->store, 1);
    assert_unknown(emit_one(s, (struct atomic_spec){.position = 2}));
    assert_duplicate(emit_one(s, (struct atomic_spec){.position = 1}), -1);
    assert_unknown(emit_one(s, (struct atomic_spec){.position = 2}));
    fixture_destroy(s.f);
}

Test(sources, the_newer_client_of_a_name_fences_the_older_for_ever)
{
    struct stage s = stage_make("file");
    struct peer *old = s.p;
    uint64_t old_id = old->producer_id;
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    s.p = welcome_named(s.f, "file", 0, 1);
    cr_assert_gt(s.p->producer_id, old_id);
    peer_expect_error(old, WIRE_CRIER_EFENCED);
    peer_close(old);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 2}), 1);
    old = welcome_named(s.f, "file", old_id, 0); /* it connects again, and is not let in */
    peer_expect_error(old, WIRE_CRIER_EFENCED);
    fixture_crash(s.f);
    old = welcome_named(s.f, "file", old_id, 0);
    peer_expect_error(old, WIRE_CRIER_EFENCED);
    fixture_destroy(s.f);
}

Test(sources, a_client_that_connects_again_keeps_its_name)
{
    struct stage s = stage_make("file");
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    uint64_t id = s.p->producer_id;
    peer_close(s.p);
    s.p = welcome_named(s.f, "file", id, 1);
    cr_assert_eq(s.p->producer_id, id);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 2}), 1);
    fixture_destroy(s.f);
}

Test(sources, a_claim_that_could_not_be_stored_fences_nobody)
{
    struct stage s = stage_make("file");
    store_memory_fault_full(s.f->store, true);
    struct peer *newer = welcome_named(s.f, "file", 0, 0);
    peer_expect_error(newer, WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    fixture_destroy(s.f);
}

Test(sources, an_id_speaks_for_one_name)
{
    struct stage s = stage_make("file");
    struct peer *other = welcome_named(s.f, "another", s.p->producer_id, 0);
    peer_expect_error(other, WIRE_CRIER_EINVAL);
    other = welcome_named(s.f, "", s.p->producer_id, 0);
    struct stage unnamed = s;
    unnamed.p = other;
    assert_refused(emit_one(unnamed, (struct atomic_spec){.position = 1}), WIRE_CRIER_EFENCED);
    fixture_destroy(s.f);
}

Test(sources, without_a_name_a_client_counts_for_itself_and_is_forgotten_when_idle)
{
    struct stage s = stage_make("");
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    fixture_crash(s.f);
    s.p = peer_welcome_again(s.f, s.p->producer_id);
    assert_duplicate(emit_one(s, (struct atomic_spec){.position = 1}), -1);
    fixture_run(s.f, INT64_C(25) * 3600 * 1000000);
    struct peer *later = peer_welcome(s.f);
    assert_stored(peer_emit_one(later, (struct batch_spec){.partition = s.stock}), 0);
    fixture_run(s.f, 3000000);
    fixture_restart(s.f);
    s.p = peer_welcome_again(s.f, s.p->producer_id);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 1);
    fixture_destroy(s.f);
}

Test(sources, an_emit_that_contradicts_itself_is_refused)
{
    struct stage s = stage_make("file");
    assert_refused(emit_one(s, (struct atomic_spec){.position = 0}), WIRE_CRIER_EINVAL);
    assert_refused(emit_one(s, (struct atomic_spec){.position = 2, .previous = 2}), WIRE_CRIER_EINVAL);
    assert_refused(emit_one(s, (struct atomic_spec){.position = 1, .memory = true}), WIRE_CRIER_EINVAL);
    assert_refused(emit_one(s, (struct atomic_spec){.position = 1, .sequenced = true}), WIRE_CRIER_EINVAL);
    assert_stored(emit_one(s, (struct atomic_spec){.position = 1}), 0);
    fixture_destroy(s.f);
}

Test(sources, a_name_that_is_no_text_is_refused)
{
    struct stage s = stage_make("file");
    peer_expect_error(welcome_named(s.f, "a\nb", 0, 0), WIRE_CRIER_EINVAL);
    fixture_destroy(s.f);
}

/* Found by the simulator: its name was somebody else's, so it came back under another producer id, and emitted; what was on its way
 * over the connection before was stored after that. */
Test(sources, a_client_that_is_back_ends_its_older_connection_whatever_its_producer_id)
{
    struct stage s = stage_make("");
    uint8_t instance[16];
    struct peer *again = peer_open(s.f);
    Wire__Hello hello = WIRE__HELLO__INIT;
    peer_instance(s.p, instance);
    hello.version = 1;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    peer_send(again, FRAME_HELLO, &hello.base);
    fixture_settle(s.f);
    const Wire__Welcome *welcome = peer_expect(again, FRAME_WELCOME);
    cr_assert_neq(welcome->producer_id, s.p->producer_id);
    peer_expect_error(s.p, WIRE_CRIER_EFENCED);
    cr_assert(s.p->closing);
    fixture_destroy(s.f);
}
