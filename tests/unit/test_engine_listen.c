/* test_engine_listen.c: listeners: what they see, once and in order, and what the broker hears of it. */
#include "tests/unit/engine_rig.h"

#include "proto/batch.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct crier_listen_options in_group(const char *group)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = group;
    options.from = CRIER_EARLIEST;
    return options;
}

static const Wire__Listen *listen_of(const struct sent *sent)
{
    return (const Wire__Listen *)sent->message;
}

Test(engine_listen, listen_says_all_that_was_asked_for)
{
    struct rig rig;
    struct crier_listen_options options = in_group("billing");
    rig_init(&rig, NULL);
    options.from = CRIER_TIME;
    options.from_value = 1234567;
    options.credit = 9999;
    rig_listen(&rig, "orders", &options);
    cr_assert(rig_sent_nothing(&rig)); /* no connection yet */
    rig_ready(&rig, 1 << 20);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    cr_assert_neq(listen_of(&sent)->listener, 0);
    cr_assert_str_eq(listen_of(&sent)->topic, "orders");
    cr_assert_str_eq(listen_of(&sent)->group, "billing");
    cr_assert_eq(listen_of(&sent)->from, WIRE__FROM__TIME);
    cr_assert_eq(listen_of(&sent)->from_value, 1234567);
    cr_assert_eq(listen_of(&sent)->credit, 9999);
    cr_assert_eq(listen_of(&sent)->n_resume, 0);
    cr_assert(listen_of(&sent)->create);
    rig_finish(&rig);
}

Test(engine_listen, events_arrive_in_order_with_their_offsets)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 10, 10);
    cr_assert_eq(rig.listening_count, 1);
    rig_deliver(&rig, id, 10, 3);
    rig_deliver(&rig, id, 13, 2);
    cr_assert_eq(rig.event_count, 5);
    for (uint64_t i = 0; i < 5; i++) {
        cr_assert_eq(rig.offsets[i], 10 + i);
        cr_assert_eq(strtoull(rig.events[i], NULL, 10), 10 + i);
    }
    rig_finish(&rig);
}

Test(engine_listen, several_batches_in_one_delivery_are_all_handed_out)
{
    struct rig rig;
    size_t size[2];
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 10);
    uint8_t *first = rig_batch(0, 3, &size[0]),
            *second = rig_batch(5, 2, &size[1]); /* 3 and 4 were swept: legal */
    first = realloc(first, size[0] + size[1]);
    memcpy(first + size[0], second, size[1]);
    rig_deliver_bytes(&rig, id, 10, first, size[0] + size[1]);
    cr_assert_eq(rig.event_count, 5);
    cr_assert_eq(rig.offsets[3], 5);
    free(first);
    free(second);
    rig_finish(&rig);
}

Test(engine_listen, events_below_the_start_within_a_batch_are_skipped)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 7, 10);
    rig_deliver(&rig, id, 5, 5);
    cr_assert_eq(rig.event_count, 3);
    cr_assert_eq(rig.offsets[0], 7);
    rig_finish(&rig);
}

Test(engine_listen, a_reconnect_resumes_from_the_next_offset_and_repeats_nothing)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, id, 0, 4);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    struct sent sent = rig.sent[rig.sent_first];
    cr_assert_eq(sent.kind, FRAME_LISTEN);
    cr_assert_eq(listen_of(&sent)->n_resume, 1);
    cr_assert_eq(listen_of(&sent)->resume[0]->partition, RIG_PARTITION);
    cr_assert_eq(listen_of(&sent)->resume[0]->offset, 4);
    id = rig_listening(&rig, 4, 10);
    rig_deliver(&rig, id, 2, 5); /* the batch that offset 4 is in */
    cr_assert_eq(rig.event_count, 7);
    for (uint64_t i = 0; i < 7; i++)
        cr_assert_eq(rig.offsets[i], i);
    rig_finish(&rig);
}

Test(engine_listen, a_connection_lost_in_the_middle_of_a_batch_repeats_nothing)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig.turn_dispatch_max = 3;
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, id, 0, 10);
    cr_assert_eq(rig.event_count, 3);
    cr_assert(engine_dispatch_pending(rig.engine));
    engine_disconnected(rig.engine, rig.now, CRIER_ECONNECT, "cut");
    cr_assert(!engine_dispatch_pending(rig.engine)); /* dropped: they come again */
    rig_reconnect(&rig, 1 << 20);
    id = rig_listening(&rig, 3, 10);
    rig_deliver(&rig, id, 0, 10);
    while (engine_dispatch_pending(rig.engine))
        rig_turn(&rig);
    cr_assert_eq(rig.event_count, 10);
    for (uint64_t i = 0; i < 10; i++)
        cr_assert_eq(rig.offsets[i], i);
    rig_finish(&rig);
}

Test(engine_listen, once_is_once_also_across_reconnects)
{
    struct rig rig;
    struct crier_listen_options options = crier_listen_options_default();
    options.count = 1;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", &options);
    uint32_t id = rig_listening(&rig, 0, 0);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    id = rig_listening(&rig, 0, 5);
    rig_deliver(&rig, id, 0, 5);
    cr_assert_eq(rig.event_count, 1);
    struct sent sent = rig_expect(&rig, FRAME_UNLISTEN);
    cr_assert_eq(((const Wire__Unlisten *)sent.message)->listener, id);
    rig_deliver(&rig, id, 5, 5); /* sent before the broker heard of it */
    rig_cut(&rig);               /* and no answer */
    cr_assert_eq(rig.released_count, 1);
    cr_assert_eq(rig.released_code, 0);
    rig_reconnect(&rig, 1 << 20);
    cr_assert(rig_sent_nothing(&rig));
    cr_assert_eq(rig.event_count, 1);
    rig_finish(&rig);
}

Test(engine_listen, released_follows_the_brokers_ended)
{
    struct rig rig;
    Wire__Ended ended = WIRE__ENDED__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    crier_listener *listener = rig_listen(&rig, "t", NULL);
    ended.listener = rig_listening(&rig, 0, 0);
    engine_listener_stop(listener);
    rig_deliver(&rig, ended.listener, 0, 3);
    cr_assert_eq(rig.event_count, 0); /* no handler call begins after the stop */
    engine_unlisten(rig.engine, listener);
    rig_turn(&rig);
    rig_expect(&rig, FRAME_UNLISTEN);
    cr_assert_eq(rig.released_count, 0);
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert_eq(rig.released_count, 1);
    cr_assert_eq(rig.released, 1);
    rig_finish(&rig);
}

Test(engine_listen, a_listener_that_was_never_sent_is_released_at_once)
{
    struct rig rig;
    rig_init(&rig, NULL);
    crier_listener *listener = rig_listen(&rig, "t", NULL);
    engine_unlisten(rig.engine, listener);
    cr_assert_eq(rig.released_count, 1);
    rig_finish(&rig);
}

Test(engine_listen, credit_returns_as_handlers_finish_a_quarter_at_a_time)
{
    struct rig rig;
    uint64_t delivered = 0, told = 4096;
    rig_init(&rig, NULL); /* listen_credit 4096 */
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 200);
    for (int i = 0; i < 40; i++) {
        size_t size;
        uint8_t *batch = rig_batch((uint64_t)i * 5, 5, &size);
        rig_deliver_bytes(&rig, id, 200, batch, size);
        free(batch);
        delivered += size;
        if (rig_sent_nothing(&rig)) {
            cr_assert_lt(delivered + 4096 - told, 1024);
            continue;
        }
        struct sent sent = rig_expect(&rig, FRAME_CREDIT);
        const Wire__Credit *credit = (const Wire__Credit *)sent.message;
        cr_assert_eq(credit->listener, id);
        cr_assert_eq(credit->total, delivered + 4096);
        cr_assert_geq(credit->total - told, 1024);
        told = credit->total;
    }
    cr_assert_gt(told, 4096);
    rig_finish(&rig);
}

Test(engine_listen, no_credit_returns_for_what_handlers_have_not_seen)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig.turn_dispatch_max = 0;
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 1000);
    for (int i = 0; i < 20; i++)
        rig_deliver(&rig, id, (uint64_t)i * 10, 10);
    cr_assert(rig_sent_nothing(&rig));
    cr_assert_eq(rig.event_count, 0);
    rig.turn_dispatch_max = SIZE_MAX;
    rig_turn(&rig);
    cr_assert_eq(rig.event_count, 200);
    rig_expect(&rig, FRAME_CREDIT);
    rig_finish(&rig);
}

Test(engine_listen, a_broker_that_ignores_credit_is_left)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig.turn_dispatch_max = 0;
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 1000);
    for (int i = 0; i < 100 && rig.disconnects == 0; i++)
        rig_deliver(&rig, id, (uint64_t)i * 10, 10);
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.connection_code, CRIER_EPROTO);
    rig_finish(&rig);
}

static const Wire__Commit *expect_commit(struct rig *rig, uint64_t offset)
{
    static struct sent sent;
    sent = rig_expect(rig, FRAME_COMMIT);
    const Wire__Commit *commit = (const Wire__Commit *)sent.message;
    cr_assert_eq(commit->n_positions, 1);
    cr_assert_eq(commit->positions[0]->partition, RIG_PARTITION);
    cr_assert_eq(commit->positions[0]->offset, offset);
    cr_assert_eq(commit->generation, RIG_GENERATION);
    return commit;
}

static void committed(struct rig *rig, uint64_t request, int code)
{
    Wire__Committed message = WIRE__COMMITTED__INIT;
    message.request = request;
    message.code = code;
    rig_receive(rig, FRAME_COMMITTED, &message, NULL, 0);
}

Test(engine_listen, a_groups_position_is_committed_after_success_every_interval)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", &options);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, id, 0, 3);
    cr_assert(rig_sent_nothing(&rig));
    rig_deliver(&rig, id, 3, 2);
    rig_wait(&rig, 99000);
    cr_assert(rig_sent_nothing(&rig));
    rig_wait(&rig, 1000);
    uint64_t request = expect_commit(&rig, 5)->request;
    rig_deliver(&rig, id, 5, 1);
    rig_wait(&rig, 200000);
    cr_assert(rig_sent_nothing(&rig)); /* one at a time */
    committed(&rig, request, 0);
    rig_wait(&rig, 100000);
    expect_commit(&rig, 6);
    rig_finish(&rig);
}

Test(engine_listen, a_failed_handler_leaves_the_position_before_its_event)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", &options);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig.handler_fails = 3;
    rig.handler_result = -77;
    rig_deliver(&rig, id, 0, 10);
    cr_assert_eq(rig.event_count, 3); /* it stopped */
    expect_commit(&rig, 2);
    rig_expect(&rig, FRAME_UNLISTEN);
    Wire__Ended ended = WIRE__ENDED__INIT;
    ended.listener = id;
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert_eq(rig.released_code, CRIER_EHANDLER);
    cr_assert_eq(engine_error_take(rig.engine), CRIER_EHANDLER);
    rig_finish(&rig);
}

Test(engine_listen, with_somebody_on_error_a_failed_handler_does_not_stop_its_listener)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    struct crier_listener_stats stats;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen_error(&rig);
    crier_listener *listener = rig_listen(&rig, "t", &options);
    uint32_t id = rig_listening(&rig, 0, 12);
    rig.handler_fails = 3;
    rig.handler_result = -77;
    rig_deliver(&rig, id, 0, 10);
    cr_assert_eq(rig.event_count, 10);
    cr_assert_eq(rig.error_count, 1);
    cr_assert_eq(rig.error_code, CRIER_EHANDLER);
    cr_assert_not_null(strstr(rig.error_text, "-77"));
    cr_assert_not_null(strstr(rig.error_text, "offset 2"));
    engine_listener_stats(listener, &stats);
    cr_assert_eq(stats.delivered, 10);
    cr_assert_eq(stats.failed, 1);
    cr_assert_eq(stats.lag, 2);
    cr_assert_eq(engine_error_take(rig.engine), 0);
    rig_wait(&rig, 100000);
    expect_commit(&rig, 10);
    rig_finish(&rig);
}

Test(engine_listen, unlisten_commits_first)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    crier_listener *listener = rig_listen(&rig, "t", &options);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, id, 0, 4);
    engine_unlisten(rig.engine, listener);
    rig_turn(&rig);
    expect_commit(&rig, 4);
    rig_expect(&rig, FRAME_UNLISTEN);
    rig_finish(&rig);
}

Test(engine_listen, close_is_settled_when_the_last_commit_is_answered)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    Wire__Ended ended = WIRE__ENDED__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", &options);
    ended.listener = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, ended.listener, 0, 4);
    engine_emit_close(rig.engine);
    engine_close(rig.engine, rig.now);
    rig_turn(&rig);
    uint64_t request = expect_commit(&rig, 4)->request;
    rig_expect(&rig, FRAME_UNLISTEN);
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert(!engine_is_settled(rig.engine));
    committed(&rig, request, 0);
    cr_assert(engine_is_settled(rig.engine));
    rig_finish(&rig);
}

Test(engine_listen, positions_not_known_to_be_stored_are_committed_again_after_a_reconnect)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", &options);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, id, 0, 4);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    rig_listening(&rig, 4, 10); /* the broker takes our word for it */
    rig_wait(&rig, 100000);
    expect_commit(&rig, 4);
    rig_finish(&rig);
}

Test(engine_listen, a_groups_position_ahead_of_ours_is_taken)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", &options);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, id, 0, 4);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    id = rig_listening(&rig, 8, 10); /* another member was there meanwhile */
    rig_deliver(&rig, id, 6, 4);
    cr_assert_eq(rig.event_count, 6);
    cr_assert_eq(rig.offsets[4], 8);
    rig_finish(&rig);
}

Test(engine_listen, a_busy_group_is_asked_for_again)
{
    struct rig rig;
    struct crier_listen_options options = in_group("g");
    Wire__Ended ended = WIRE__ENDED__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", &options);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    ended.listener = listen_of(&sent)->listener;
    ended.code = CRIER_EBUSY;
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert(rig_sent_nothing(&rig));
    cr_assert_eq(rig.released_count, 0);
    rig_wait(&rig, 200000);
    uint32_t id = rig_listening(&rig, 0, 1);
    rig_deliver(&rig, id, 0, 1);
    cr_assert_eq(rig.event_count, 1);
    rig_finish(&rig);
}

Test(engine_listen, a_listener_refused_for_good_is_released_with_the_reason)
{
    struct rig rig;
    Wire__Ended ended = WIRE__ENDED__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    struct sent sent = rig_expect(&rig, FRAME_LISTEN);
    ended.listener = listen_of(&sent)->listener;
    ended.code = CRIER_ENOTOPIC;
    rig_receive(&rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert_eq(rig.released_count, 1);
    cr_assert_eq(rig.released_code, CRIER_ENOTOPIC);
    cr_assert_eq(engine_error_take(rig.engine), 0); /* its user was told */
    rig_finish(&rig);
}

Test(engine_listen, a_damaged_batch_is_asked_for_again_and_the_second_time_ends_the_listener)
{
    struct rig rig;
    size_t size;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 5);
    uint8_t *batch = rig_batch(0, 5, &size);
    batch[size - 3] ^= 1;
    rig_deliver_bytes(&rig, id, 5, batch, size);
    cr_assert_eq(rig.event_count, 0);
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.connection_code, CRIER_ECORRUPT);
    rig_reconnect(&rig, 1 << 20);
    id = rig_listening(&rig, 0, 5);
    rig_deliver_bytes(&rig, id, 5, batch, size);
    cr_assert_eq(rig.event_count, 0);
    rig_expect(&rig, FRAME_UNLISTEN);
    rig_cut(&rig);
    cr_assert_eq(rig.released_code, CRIER_ECORRUPT);
    free(batch);
    rig_finish(&rig);
}

Test(engine_listen, a_batch_damaged_on_the_way_only_is_delivered_the_second_time)
{
    struct rig rig;
    size_t size;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 5);
    uint8_t *batch = rig_batch(0, 5, &size);
    batch[30] ^= 1;
    rig_deliver_bytes(&rig, id, 5, batch, size);
    free(batch);
    rig_reconnect(&rig, 1 << 20);
    id = rig_listening(&rig, 0, 5);
    rig_deliver(&rig, id, 0, 5);
    cr_assert_eq(rig.event_count, 5);
    rig_finish(&rig);
}

Test(engine_listen, a_gap_made_by_retention_is_told)
{
    struct rig rig;
    Wire__Deliver deliver = WIRE__DELIVER__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen_error(&rig);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 100);
    deliver.listener = id;
    deliver.partition = RIG_PARTITION;
    deliver.high_watermark = 100;
    deliver.skip_to = 90;
    rig_receive(&rig, FRAME_DELIVER, &deliver, NULL, 0);
    cr_assert_eq(rig.error_count, 1);
    cr_assert_not_null(strstr(rig.error_text, "0 to 89"));
    rig_deliver(&rig, id, 88, 4);
    cr_assert_eq(rig.event_count, 2);
    cr_assert_eq(rig.offsets[0], 90);
    rig_finish(&rig);
}

Test(engine_listen, a_delivery_for_nobody_is_ignored_and_one_for_a_strange_partition_is_not)
{
    struct rig rig;
    Wire__Deliver deliver = WIRE__DELIVER__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_deliver(&rig, 12345, 0, 1);
    cr_assert_eq(rig.disconnects, 0);
    rig_listen(&rig, "t", NULL);
    deliver.listener = rig_listening(&rig, 0, 1);
    deliver.partition = 4711;
    rig_receive(&rig, FRAME_DELIVER, &deliver, NULL, 0);
    cr_assert_eq(rig.disconnects, 1);
    rig_finish(&rig);
}

Test(engine_listen, compressed_batches_are_handed_out_like_others)
{
    struct rig rig;
    size_t size;
    uint8_t small[4096];
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 100);
    uint8_t *batch = rig_batch(0, 100, &size);
    int64_t made = batch_compress(batch, size, BATCH_ZSTD, small, sizeof(small));
    cr_assert_gt(made, 0);
    rig_deliver_bytes(&rig, id, 100, small, (size_t)made);
    cr_assert_eq(rig.event_count, 100);
    cr_assert_eq(rig.offsets[99], 99);
    free(batch);
    rig_finish(&rig);
}

Test(engine_listen, bad_arguments_are_refused)
{
    struct rig rig;
    crier_listener *listener;
    struct crier_listen_options options = crier_listen_options_default();
    crier_handler *handler = (crier_handler *)(uintptr_t)1;
    rig_init(&rig, NULL);
    cr_assert_eq(engine_listener_create(rig.engine, "a..b", NULL, handler, NULL, &listener), CRIER_EINVAL);
    cr_assert_eq(engine_listener_create(rig.engine, NULL, NULL, handler, NULL, &listener), CRIER_EINVAL);
    cr_assert_eq(engine_listener_create(rig.engine, "t", NULL, NULL, NULL, &listener), CRIER_EINVAL);
    options.group = "";
    cr_assert_eq(engine_listener_create(rig.engine, "t", &options, handler, NULL, &listener), CRIER_EINVAL);
    options.group = NULL;
    options.from_value = -1;
    cr_assert_eq(engine_listener_create(rig.engine, "t", &options, handler, NULL, &listener), CRIER_EINVAL);
    rig_finish(&rig);
}
