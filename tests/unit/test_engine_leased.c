/* test_engine_leased.c: a member of a shared group on the wire: ranges in, ACK and NACK out, and what a broker must not say. */
#include "client/engine.h"
#include "crier/shared.h"
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;
static uint32_t id;
static struct crier_shared_options shared;

static void begin(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    shared = crier_shared_options_default();
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    options.group = "g";
    options.shared = &shared;
    rig_listen(&rig, "t", &options);
    id = rig_listening(&rig, 0, 100);
}

static void end(void)
{
    rig_finish(&rig);
}

TestSuite(leased, .init = begin, .fini = end);

/* ranges: {first offset, count, attempt}, of a batch with `count` events from 0 on; 0: of the one before. */
static void deliver(size_t range_count, const uint32_t ranges[][3], int count)
{
    Wire__Deliver message = WIRE__DELIVER__INIT;
    Wire__Range range[8], *pointers[8];
    size_t size = 0;
    uint8_t *bytes = count ? rig_batch(0, count, &size) : NULL;
    for (size_t i = 0; i < range_count; i++) {
        wire__range__init(&range[i]);
        range[i].delta = ranges[i][0];
        range[i].count = ranges[i][1];
        range[i].attempt = ranges[i][2];
        pointers[i] = &range[i];
    }
    message.listener = id;
    message.partition = RIG_PARTITION;
    message.high_watermark = 100;
    message.ranges = pointers;
    message.n_ranges = range_count;
    message.held = count == 0;
    rig_receive(&rig, FRAME_DELIVER, &message, bytes, size);
    free(bytes);
}

static void settled(uint64_t request, int code)
{
    Wire__Settled message = WIRE__SETTLED__INIT;
    message.request = request;
    message.code = code;
    rig_receive(&rig, FRAME_SETTLED, &message, NULL, 0);
}

static const Wire__Ack *expect_ack(void)
{
    return (const Wire__Ack *)(const void *)rig_expect(&rig, FRAME_ACK).message;
}

static void assert_lease(const Wire__Lease *lease, uint64_t offset, uint32_t count, uint32_t attempt)
{
    cr_assert_eq(lease->partition, RIG_PARTITION);
    cr_assert_eq(lease->offset, offset);
    cr_assert_eq(lease->count, count);
    cr_assert_eq(lease->attempt, attempt);
}

Test(leased, only_what_is_leased_is_heard_and_it_is_acknowledged_in_one_frame)
{
    const uint32_t ranges[][3] = {{1, 2, 1}, {5, 1, 3}};
    deliver(2, ranges, 8);
    cr_assert_eq(rig.event_count, 3);
    cr_assert_eq(rig.offsets[0], 1);
    cr_assert_eq(rig.offsets[1], 2);
    cr_assert_eq(rig.offsets[2], 5);
    const Wire__Ack *ack = expect_ack();
    cr_assert_eq(ack->listener, id);
    cr_assert_eq(ack->n_leases, 2);
    assert_lease(ack->leases[0], 1, 2, 1);
    assert_lease(ack->leases[1], 5, 1, 3);
    settled(ack->request, 0);
    cr_assert(rig_sent_nothing(&rig));
}

Test(leased, further_ranges_of_the_last_batch_need_no_bytes_in_any_order)
{
    const uint32_t first[][3] = {{4, 2, 1}}, behind[][3] = {{6, 1, 1}}, before[][3] = {{0, 1, 2}};
    deliver(1, first, 8);
    deliver(1, behind, 0);
    deliver(1, before, 0);
    cr_assert_eq(rig.event_count, 4);
    cr_assert_str_eq(rig.events[2], "6");
    cr_assert_str_eq(rig.events[3], "0");
}

Test(leased, a_failed_handler_is_a_nack_with_why_and_no_error)
{
    const uint32_t ranges[][3] = {{0, 3, 1}};
    rig.handler_fails = 2;
    rig.handler_result = -7;
    rig_listen_error(&rig);
    deliver(1, ranges, 3);
    const Wire__Ack *ack = expect_ack();
    assert_lease(ack->leases[0], 0, 1, 1);
    struct sent sent = rig_expect(&rig, FRAME_NACK);
    const Wire__Nack *nack = (const Wire__Nack *)(const void *)sent.message;
    assert_lease(nack->leases[0], 1, 1, 1);
    cr_assert_str_eq(nack->reason, "its handler returned -7");
    ack = expect_ack();
    assert_lease(ack->leases[0], 2, 1, 1);
    cr_assert_eq(rig.error_count, 0);
}

Test(leased, after_a_lost_connection_it_names_what_it_has_and_tells_again_what_has_no_answer)
{
    const uint32_t ranges[][3] = {{0, 4, 1}};
    rig.turn_dispatch_max = 1;
    deliver(1, ranges, 4);
    assert_lease(expect_ack()->leases[0], 0, 1, 1);
    rig.turn_dispatch_max = 0; /* what is left waits */
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    const Wire__Listen *listen = (const Wire__Listen *)(const void *)sent.message;
    cr_assert_eq(listen->kind, WIRE__GROUP_KIND__SHARED);
    uint32_t events = 0;
    for (size_t i = 0; i < listen->n_held; i++)
        events += listen->held[i]->count;
    cr_assert_eq(events, 4);
}

Test(leased, a_refusal_that_may_pass_is_told_again)
{
    const uint32_t ranges[][3] = {{0, 2, 1}};
    deliver(1, ranges, 2);
    const Wire__Ack *ack = expect_ack();
    settled(ack->request, CRIER_EFULL);
    cr_assert(rig_sent_nothing(&rig));
    rig_wait(&rig, 300000);
    assert_lease(expect_ack()->leases[0], 0, 2, 1);
}

/* ---- bad peers ---- */

static void assert_lost(void)
{
    cr_assert_not(rig.connected);
    cr_assert_eq(rig.connection_code, CRIER_EPROTO);
}

Test(leased, a_batch_that_was_never_sent_is_not_held)
{
    const uint32_t ranges[][3] = {{0, 1, 1}};
    deliver(1, ranges, 0);
    assert_lost();
}

Test(leased, ranges_that_go_back_make_no_sense)
{
    const uint32_t ranges[][3] = {{3, 2, 1}, {4, 1, 1}};
    deliver(2, ranges, 8);
    assert_lost();
}

Test(leased, a_range_of_nothing_makes_no_sense)
{
    const uint32_t ranges[][3] = {{0, 0, 1}};
    deliver(1, ranges, 8);
    assert_lost();
}

Test(leased, no_ranges_make_no_sense)
{
    deliver(0, NULL, 8);
    assert_lost();
}

Test(leased, an_answer_without_a_question_makes_no_sense)
{
    settled(77, 0);
    assert_lost();
}

Test(leased, events_that_the_batch_does_not_have_are_done)
{
    const uint32_t ranges[][3] = {{6, 5, 1}};
    deliver(1, ranges, 8);
    cr_assert_eq(rig.event_count, 2);
    const Wire__Ack *ack = expect_ack();
    assert_lease(ack->leases[0], 6, 5, 1);
}
