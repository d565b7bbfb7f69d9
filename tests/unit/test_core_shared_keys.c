/* test_core_shared_keys.c: key-ordered groups: never two events of one key at a time, and each key in its order, also when one
 * fails. */
#include "tests/unit/shared_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
};

static const struct rig_listen keyed = {
    .topic = "orders", .group = "g", .kind = WIRE__GROUP_KIND__KEY_ORDERED};

static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 1);
    return s;
}

Test(shared_keys, one_event_of_a_key_is_out_at_a_time)
{
    struct stage s = stage_make();
    const char *keys[] = {"a", "a", "b", "a", "", "c", "b", ""};
    rig_emit(s.p, s.partition, keys, 0, 8);
    struct rig_member *m = rig_join(s.f, &keyed);
    fixture_settle(s.f);
    rig_take(m);
    static const uint64_t first[] = {0, 2, 4, 5, 7};
    cr_assert_eq(m->got_count, 5, "%zu", m->got_count);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(m->got[i].offset, first[i]);
    rig_ack_send(m, &m->got[0], 1);
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    rig_take(m);
    cr_assert_eq(m->got_count, 5, "the next of a key only when that is durably done");
    fixture_settle(s.f);
    rig_take(m);
    cr_assert_eq(m->got_count, 6);
    cr_assert_eq(m->got[5].offset, 1);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared_keys, a_failing_key_waits_and_others_go_on)
{
    struct stage s = stage_make();
    const char *keys[] = {"a", "b", "a", "b"};
    rig_emit(s.p, s.partition, keys, 0, 4);
    struct rig_member *m = rig_join(s.f, &keyed), *other = rig_join(s.f, &keyed);
    fixture_settle(s.f);
    rig_take(m);
    rig_take(other);
    cr_assert_eq(m->got_count + other->got_count, 2);
    struct rig_member *has_a = m->got_count && m->got[0].offset == 0 ? m : other;
    struct rig_event a = rig_next(has_a);
    struct rig_member *has_b = m->got_count ? m : other;
    struct rig_event b = rig_next(has_b);
    cr_assert_eq(rig_nack(has_a, &a, 1, 2000), 0);
    cr_assert_eq(rig_ack(has_b, &b, 1), 0);
    rig_take(m);
    rig_take(other);
    cr_assert_eq(m->got_count + other->got_count, 1);
    struct rig_event next = rig_next(m->got_count ? m : other);
    cr_assert_eq(next.offset, 3, "b goes on, a's second waits for its first");
    fixture_run(s.f, 2100000);
    rig_take(m);
    rig_take(other);
    struct rig_member *again = m->got_count ? m : other;
    struct rig_event retried = rig_next(again);
    cr_assert_eq(retried.offset, 0);
    cr_assert_eq(retried.attempt, 2);
    cr_assert_eq(rig_ack(again, &retried, 1), 0);
    rig_take(m);
    rig_take(other);
    cr_assert_eq(rig_next(m->got_count ? m : other).offset, 2);
    rig_free(m);
    rig_free(other);
    fixture_destroy(s.f);
}

Test(shared_keys, a_dead_event_lets_its_key_go_on)
{
    struct stage s = stage_make();
    const char *keys[] = {"a", "a"};
    rig_emit(s.p, s.partition, keys, 0, 2);
    struct rig_member *m = rig_join(s.f, &keyed);
    fixture_settle(s.f);
    struct rig_event event = rig_next(m);
    cr_assert_eq(rig_reject(m, &event, "no"), 0);
    fixture_run(s.f, 100000);
    event = rig_next(m);
    cr_assert_eq(event.offset, 1);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared_keys, what_was_in_hand_over_a_restart_still_blocks_its_key)
{
    struct stage s = stage_make();
    const char *keys[] = {"a", "a", "b"};
    rig_emit(s.p, s.partition, keys, 0, 3);
    struct rig_member *m = rig_join(s.f, &keyed);
    fixture_settle(s.f);
    rig_take(m);
    cr_assert_eq(m->got_count, 2);
    fixture_crash(s.f);
    struct rig_listen listen = keyed;
    listen.held = m->got;
    listen.held_count = 2;
    struct rig_member *again = rig_join(s.f, &listen), *other = rig_join(s.f, &keyed);
    fixture_settle(s.f);
    rig_take(again);
    rig_take(other);
    cr_assert_eq(again->got_count + other->got_count, 0, "a's second is not out beside its first");
    cr_assert_eq(rig_ack(again, &m->got[0], 1), 0);
    rig_take(again);
    rig_take(other);
    cr_assert_eq(again->got_count + other->got_count, 1);
    rig_free(m);
    rig_free(again);
    rig_free(other);
    fixture_destroy(s.f);
}

Test(shared_keys, a_read_that_failed_is_tried_again)
{
    struct stage s = stage_make();
    const char *keys[] = {"a", "b", "a"};
    rig_emit(s.p, s.partition, keys, 0, 3);
    store_memory_fault_read(s.f->store, 1);
    struct rig_member *m = rig_join(s.f, &keyed);
    fixture_settle(s.f);
    rig_take(m);
    cr_assert_eq(m->got_count, 0);
    cr_assert(fixture_logged(s.f, "SHARED-READ"), "it failed, and was not told");
    fixture_run(s.f, 500000);
    rig_take(m);
    cr_assert_eq(m->got_count, 0);
    store_memory_fault_read(s.f->store, 1); /* and once more */
    fixture_run(s.f, 600000);
    rig_take(m);
    cr_assert_eq(m->got_count, 0);
    cr_assert_eq(m->ended, 1, "it waits, it has not ended");
    fixture_run(s.f, 1100000);
    rig_take(m);
    cr_assert_eq(m->got_count, 2, "the firsts of both keys, %zu", m->got_count);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared_keys, a_compressed_batch_is_ordered_too)
{
    struct stage s = stage_make();
    uint8_t plain[4096], packed[4096];
    struct batch_builder builder;
    batch_builder_init(&builder, plain, sizeof(plain));
    for (int i = 0; i < 40; i++)
        cr_assert_eq(batch_builder_append(&builder, 0, i % 2 ? "a" : "b", 1, "1", 1, NULL, 0), 0);
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    int64_t packed_size = batch_compress(plain, size, BATCH_ZSTD, packed, sizeof(packed));
    cr_assert_gt(packed_size, 0);
    Wire__EmitPart part = WIRE__EMIT_PART__INIT;
    Wire__EmitPart *parts[] = {&part};
    part.partition = s.partition;
    part.size = (uint32_t)packed_size;
    Wire__Emit emit = WIRE__EMIT__INIT;
    emit.request = ++s.p->emits;
    emit.parts = parts;
    emit.n_parts = 1;
    peer_send_attached(s.p, FRAME_EMIT, &emit.base, packed, (size_t)packed_size);
    fixture_settle(s.f);
    struct rig_member *m = rig_join(s.f, &keyed);
    for (uint64_t i = 0; i < 40; i += 2) {
        fixture_settle(s.f);
        rig_take(m);
        cr_assert_eq(m->got_count, 2);
        struct rig_event one = rig_next(m), two = rig_next(m);
        cr_assert_eq(one.offset, i);
        cr_assert_eq(two.offset, i + 1);
        cr_assert_eq(rig_ack(m, &one, 1), 0);
        cr_assert_eq(rig_ack(m, &two, 1), 0);
    }
    rig_free(m);
    fixture_destroy(s.f);
}
