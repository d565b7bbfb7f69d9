/* test_engine_outcome.c: refused, unknown, lost on the way: every event is told once, in order, and stored once. */
#include "proto/murmur2.h"
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* A ready engine that knows topic "t" (one event stored: sequence 0), with three batches of one event in flight. */
static void three_in_flight(struct rig *rig, struct sent in_flight[3])
{
    static const char *const values[] = {"a", "b", "c"};
    rig_init(rig, NULL);
    rig_ready(rig, 1 << 20);
    rig_know(rig, "t", 1);
    for (int i = 0; i < 3; i++) {
        rig_emit(rig, "t", values[i], NULL);
        rig_wait(rig, 1100);
        in_flight[i] = rig_expect(rig, FRAME_EMIT);
        cr_assert_str_eq(rig_value(&in_flight[i], 0, 0), values[i]);
        cr_assert_eq(rig_sequence(&in_flight[i], 0), i + 1);
    }
}

static bool same_bytes(const struct sent *a, const struct sent *b)
{
    return a->attachment_size == b->attachment_size &&
           memcmp(a->attachment, b->attachment, a->attachment_size) == 0;
}

Test(engine_outcome, after_a_reconnect_the_same_bytes_go_again_in_order)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_emitted(&rig, &before[0], WIRE__OUTCOME__OK, 0, 1);
    rig_cut(&rig);
    rig_emit(&rig, "t", "d", NULL);
    rig_reconnect(&rig, 1 << 20);
    for (int i = 1; i < 3; i++) {
        struct sent again = rig_expect(&rig, FRAME_EMIT);
        cr_assert(same_bytes(&again, &before[i]));
        cr_assert_eq(rig_request(&again), (unsigned)i); /* requests count anew in every connection */
        rig_emitted(&rig, &again, WIRE__OUTCOME__OK, 0, 1 + i);
    }
    struct sent last = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&last, 0, 0), "d");
    cr_assert_eq(rig_sequence(&last, 0), 4);
    cr_assert_eq(rig.done_count, 3);
    rig_finish(&rig);
}

Test(engine_outcome, a_batch_partly_written_when_the_connection_goes_is_sent_again)
{
    struct rig rig;
    struct iovec pieces[8];
    bool wake;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    cr_assert_eq(engine_emit(rig.engine, "t", "half", 4, NULL, 1000, &wake), 0);
    engine_collect(rig.engine, rig.now);
    cr_assert_eq(engine_output(rig.engine, pieces, 8, rig.now), 2); /* head and batch */
    engine_output_consumed(rig.engine, pieces[0].iov_len + 5);
    cr_assert_eq(engine_output(rig.engine, pieces, 8, rig.now), 1);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    struct sent again = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&again, 0, 0), "half");
    cr_assert_eq(rig_sequence(&again, 0), 1);
    rig_finish(&rig);
}

Test(engine_outcome, a_duplicate_is_a_success)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    for (int i = 0; i < 3; i++) {
        struct sent again = rig_expect(&rig, FRAME_EMIT);
        rig_emitted(&rig, &again, WIRE__OUTCOME__OK, 0, -1); /* too old for its offset to be known */
    }
    cr_assert_eq(rig.done_count, 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(rig.done_codes[i], 0);
        cr_assert_eq(rig.done_offsets[i], UINT64_MAX);
    }
    rig_finish(&rig);
}

Test(engine_outcome, a_refusal_that_may_pass_is_tried_again_with_the_same_numbers_after_a_delay)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_emitted(&rig, &before[0], WIRE__OUTCOME__REFUSED, CRIER_EFULL, -1);
    rig_emitted(&rig, &before[1], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE, -1); /* for the gap */
    rig_emitted(&rig, &before[2], WIRE__OUTCOME__REFUSED, CRIER_EFULL, -1);
    cr_assert(rig_sent_nothing(&rig));
    cr_assert_eq(rig.done_count, 0);
    rig_wait(&rig, 50000);
    for (int i = 0; i < 3; i++) {
        struct sent again = rig_expect(&rig, FRAME_EMIT);
        cr_assert(same_bytes(&again, &before[i]));
        rig_emitted(&rig, &again, WIRE__OUTCOME__OK, 0, 1 + i);
    }
    cr_assert_eq(rig.done_count, 3);
    rig_finish(&rig);
}

Test(engine_outcome, delays_after_refusals_grow_and_a_success_resets_them)
{
    struct rig rig;
    struct sent before[3], again;
    three_in_flight(&rig, before);
    for (int i = 0; i < 3; i++)
        rig_emitted(&rig, &before[i], WIRE__OUTCOME__REFUSED, CRIER_EFULL, -1);
    int64_t last = 0;
    for (int round = 0; round < 4; round++) {
        int64_t began = rig.now;
        while (rig_sent_nothing(&rig))
            rig_wait(&rig, 1000);
        cr_assert_gt(rig.now - began, last / 2);
        last = rig.now - began;
        again = rig_expect(&rig, FRAME_EMIT);
        struct sent second = rig_expect(&rig, FRAME_EMIT), third = rig_expect(&rig, FRAME_EMIT);
        if (round < 3)
            rig_emitted(&rig, &again, WIRE__OUTCOME__REFUSED, CRIER_EFULL, -1);
        else
            rig_emitted(&rig, &again, WIRE__OUTCOME__OK, 0, 1);
        rig_emitted(&rig, &second, WIRE__OUTCOME__REFUSED, CRIER_EFULL, -1);
        rig_emitted(&rig, &third, WIRE__OUTCOME__REFUSED, CRIER_EFULL, -1);
    }
    cr_assert_gt(last, 100000);
    rig_wait(&rig, 51000);
    rig_expect(&rig, FRAME_EMIT);
    rig_finish(&rig);
}

Test(engine_outcome, after_a_final_refusal_the_batches_behind_it_are_renumbered)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_emitted(&rig, &before[0], WIRE__OUTCOME__REFUSED, CRIER_ETOOBIG, -1);
    cr_assert_eq(rig.done_count, 1);
    cr_assert_eq(rig.done_codes[0], CRIER_ETOOBIG);
    rig_emitted(&rig, &before[1], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE, -1);
    cr_assert(rig_sent_nothing(&rig)); /* not before everything in flight has an outcome */
    rig_emitted(&rig, &before[2], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE, -1);
    for (int i = 1; i < 3; i++) {
        struct sent again = rig_expect(&rig, FRAME_EMIT);
        cr_assert_str_eq(rig_value(&again, 0, 0), i == 1 ? "b" : "c");
        cr_assert_eq(rig_sequence(&again, 0), i); /* one less than before */
        rig_emitted(&rig, &again, WIRE__OUTCOME__OK, 0, i);
    }
    rig_emit(&rig, "t", "d", NULL);
    struct sent last = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(rig_sequence(&last, 0), 3);
    rig_finish(&rig);
}

Test(engine_outcome, a_refusal_in_the_middle_leaves_what_was_stored_before_it)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_emitted(&rig, &before[1], WIRE__OUTCOME__REFUSED, CRIER_ECORRUPT,
                -1); /* told before the first is durable */
    rig_emitted(&rig, &before[2], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE, -1);
    rig_emitted(&rig, &before[0], WIRE__OUTCOME__OK, 0, 1);
    struct sent again = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&again, 0, 0), "c");
    cr_assert_eq(rig_sequence(&again, 0), 2);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_outcome, a_batch_behind_a_refused_one_is_known_not_to_be_stored_when_the_connection_goes)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_emitted(&rig, &before[0], WIRE__OUTCOME__REFUSED, CRIER_ETOOBIG, -1);
    rig_cut(&rig); /* the answers for b and c are lost: they can only be refusals */
    rig_reconnect(&rig, 1 << 20);
    for (int i = 1; i < 3; i++) {
        struct sent again = rig_expect(&rig, FRAME_EMIT);
        cr_assert_str_eq(rig_value(&again, 0, 0), i == 1 ? "b" : "c");
        cr_assert_eq(rig_sequence(&again, 0), i);
    }
    rig_finish(&rig);
}

Test(engine_outcome, unknown_is_sent_again_byte_for_byte)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    for (int i = 0; i < 3; i++)
        rig_emitted(&rig, &before[i], WIRE__OUTCOME__UNKNOWN, CRIER_EIO, -1);
    cr_assert_eq(rig.done_count, 0);
    rig_wait(&rig, 50000);
    struct sent again[3];
    for (int i = 0; i < 3; i++) {
        again[i] = rig_expect(&rig, FRAME_EMIT);
        cr_assert(same_bytes(&again[i], &before[i]));
    }
    for (int i = 0; i < 3; i++) /* the shard is read-only now: that says nothing about before */
        rig_emitted(&rig, &again[i], WIRE__OUTCOME__REFUSED, CRIER_EIO, -1);
    cr_assert_eq(rig.done_count, 0);
    rig_cut(&rig); /* restarted */
    rig_reconnect(&rig, 1 << 20);
    for (int i = 0; i < 3; i++) {
        struct sent third = rig_expect(&rig, FRAME_EMIT);
        cr_assert(same_bytes(&third, &before[i]));
        rig_emitted(&rig, &third, WIRE__OUTCOME__OK, 0, 1 + i);
    }
    cr_assert_eq(rig.done_count, 3);
    rig_finish(&rig);
}

Test(engine_outcome, an_io_error_fails_what_was_never_written)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    for (int i = 0; i < 3; i++)
        rig_emitted(&rig, &before[i], WIRE__OUTCOME__REFUSED, CRIER_EIO, -1);
    cr_assert_eq(rig.done_count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rig.done_codes[i], CRIER_EIO);
    rig_finish(&rig);
}

Test(engine_outcome, for_a_broker_that_lost_count_a_new_epoch_begins)
{
    struct rig rig;
    struct sent before[3];
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    three_in_flight(&rig, before);
    for (int i = 0; i < 3; i++)
        rig_emitted(&rig, &before[i], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE, -1);
    cr_assert_eq(rig.disconnects, 1);
    rig_wait(&rig, 100000);
    rig_connect(&rig);
    struct sent hello = rig_expect(&rig, FRAME_HELLO);
    uint64_t id = ((const Wire__Hello *)hello.message)->producer_id;
    cr_assert_neq(id, 0, "whose it is can be told");
    cr_assert_eq(((const Wire__Hello *)hello.message)->producer_epoch, 1);
    welcome.version = ENGINE_PROTOCOL_VERSION;
    welcome.producer_id = id;
    welcome.producer_epoch = 1;
    welcome.grant = 1 << 20;
    rig_receive(&rig, FRAME_WELCOME, &welcome, NULL, 0);
    for (int i = 0; i < 3; i++) { /* nothing of it was stored: the same events under new numbers */
        struct sent again = rig_expect(&rig, FRAME_EMIT);
        cr_assert_eq(rig_sequence(&again, 0), i);
        rig_emitted(&rig, &again, WIRE__OUTCOME__OK, 0, 1 + i);
    }
    cr_assert_eq(rig.done_count, 3);
    cr_assert_eq(rig.done_codes[2], 0);
    rig_finish(&rig);
}

Test(engine_outcome, under_another_producer_id_what_may_be_stored_is_told_as_unknown)
{
    struct rig rig;
    struct sent before[3];
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    three_in_flight(&rig, before);
    rig_cut(&rig);
    rig_emit(&rig, "t", "d", NULL);
    rig_wait(&rig, 100000);
    rig_connect(&rig);
    rig_expect(&rig, FRAME_HELLO);
    welcome.version = ENGINE_PROTOCOL_VERSION;
    welcome.producer_id = 99; /* the broker does not know ours any more */
    welcome.grant = 1 << 20;
    rig_receive(&rig, FRAME_WELCOME, &welcome, NULL, 0);
    cr_assert_eq(rig.done_count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rig.done_codes[i], CRIER_EUNKNOWN);
    struct sent last = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&last, 0, 0), "d");
    cr_assert_eq(rig_sequence(&last, 0), 0);
    rig_finish(&rig);
}

Test(engine_outcome, memory_emits_without_answer_are_unknown_and_not_sent_again)
{
    struct rig rig;
    struct crier_emit_options options = crier_emit_options_default();
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    options.durability = CRIER_MEMORY;
    rig_listen_error(&rig);
    rig_emit_raw(&rig, "t", "sent", 4, &options);
    rig_expect(&rig, FRAME_EMIT);
    rig_emit_raw(&rig, "t", "waits", 5, &options);
    rig_cut(&rig);
    cr_assert_eq(rig.error_count, 1);
    cr_assert_eq(rig.error_code, CRIER_EUNKNOWN);
    rig_reconnect(&rig, 1 << 20);
    struct sent next = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&next, 0, 0), "waits");
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_outcome, a_failure_nobody_is_told_of_becomes_an_error_event)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen_error(&rig);
    rig_know(&rig, "t", 1);
    rig_emit_raw(&rig, "t", "x", 1, NULL);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    rig_emitted(&rig, &sent, WIRE__OUTCOME__REFUSED, CRIER_ETOOBIG, -1);
    cr_assert_eq(rig.error_count, 1);
    cr_assert_eq(rig.error_code, CRIER_ETOOBIG);
    cr_assert_not_null(strstr(rig.error_text, "t"));
    cr_assert_eq(engine_error_take(rig.engine), 0);
    rig_finish(&rig);
}

Test(engine_outcome, with_nobody_on_error_the_first_failure_is_kept)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    static const int codes[] = {CRIER_ETOOBIG, CRIER_EIO};
    for (int i = 0; i < 2; i++) {
        rig_emit_raw(&rig, "t", "x", 1, NULL);
        struct sent sent = rig_expect(&rig, FRAME_EMIT);
        rig_emitted(&rig, &sent, WIRE__OUTCOME__REFUSED, codes[i], -1);
    }
    cr_assert_eq(engine_error_take(rig.engine), CRIER_ETOOBIG);
    cr_assert_eq(engine_error_take(rig.engine), 0);
    rig_finish(&rig);
}

Test(engine_outcome, giving_up_tells_every_emit_once_and_honestly)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_cut(&rig);
    rig_emit(&rig, "t", "never sent", NULL);
    rig_emit(&rig, "u", "waits for its topic", NULL);
    engine_emit_close(rig.engine);
    engine_close(rig.engine, rig.now);
    cr_assert(!engine_is_settled(rig.engine));
    engine_drop(rig.engine, CRIER_ECLOSED);
    cr_assert_eq(rig.done_count, 5);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rig.done_codes[i], CRIER_EUNKNOWN);
    cr_assert_eq(rig.done_codes[3], CRIER_ECLOSED);
    cr_assert_eq(rig.done_codes[4], CRIER_ECLOSED);
    rig.progress = engine_collect(rig.engine, rig.now);
    cr_assert_eq(rig.progress.pending_bytes, 0);
    rig_finish(&rig);
}

Test(engine_outcome, counters_add_up)
{
    struct rig rig;
    struct sent before[3];
    struct crier_stats stats;
    three_in_flight(&rig, before);
    rig_emitted(&rig, &before[0], WIRE__OUTCOME__OK, 0, 1);
    rig_emitted(&rig, &before[1], WIRE__OUTCOME__OK, 0, 2);
    rig_emitted(&rig, &before[2], WIRE__OUTCOME__REFUSED, CRIER_ETOOBIG, -1);
    engine_stats(rig.engine, &stats);
    cr_assert_eq(stats.emitted, 4);
    cr_assert_eq(stats.acked, 3);
    cr_assert_eq(stats.failed, 1);
    cr_assert_eq(stats.pending_bytes, 0);
    cr_assert(stats.connected);
    rig_finish(&rig);
}

static void welcome_from(struct rig *rig, const char *cluster_id)
{
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    welcome.version = ENGINE_PROTOCOL_VERSION;
    welcome.producer_id = RIG_PRODUCER; /* by chance the same number */
    welcome.grant = 1 << 20;
    welcome.cluster_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)cluster_id};
    rig_receive(rig, FRAME_WELCOME, &welcome, NULL, 0);
}

Test(engine_outcome, a_broker_with_another_log_gets_nothing_that_was_meant_for_the_old_one)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_listen_error(&rig);
    rig_connect(&rig);
    rig_expect(&rig, FRAME_HELLO);
    welcome_from(&rig, "0123456789abcdef");
    rig_listen(&rig, "t", NULL);
    uint32_t id = rig_listening(&rig, 0, 10);
    rig_deliver(&rig, id, 0, 5);
    rig_know(&rig, "t", 1);
    rig_emit(&rig, "t", "sent", NULL);
    rig_expect(&rig, FRAME_EMIT);
    rig_emit(&rig, "t", "waits", NULL);
    rig_emit(&rig, "u", "has no partition yet", NULL);
    rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_cut(&rig);
    rig_wait(&rig, 100000);
    rig_connect(&rig);
    rig_expect(&rig, FRAME_HELLO);
    welcome_from(&rig, "fedcba9876543210"); /* the folder was replaced */
    cr_assert_eq(rig.disconnects, 1);
    cr_assert_eq(rig.done_count, 2);
    cr_assert_eq(rig.done_codes[0], CRIER_EUNKNOWN);
    cr_assert_eq(rig.done_codes[1], CRIER_ENOTOPIC);
    cr_assert_eq(rig.error_count, 1);
    cr_assert_eq(rig.error_code, CRIER_ENOTOPIC);
    rig_wait(&rig, 400000);
    rig_connect(&rig);
    struct sent sent = rig_expect(&rig, FRAME_HELLO);
    cr_assert_eq(((const Wire__Hello *)sent.message)->producer_id, 0);
    welcome_from(&rig, "fedcba9876543210");
    sent = rig_expect(&rig, FRAME_LISTEN);
    cr_assert_eq(((const Wire__Listen *)sent.message)->n_resume, 0);
    sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE); /* "u" */
    rig_topics(&rig, &sent, 1);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "has no partition yet");
    rig_emit(&rig, "t", "new", NULL);
    sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_topics(&rig, &sent, 2);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(rig_sequence(&sent, 0), 0);
    cr_assert_eq(rig.disconnects, 1);
    rig_finish(&rig);
}

Test(engine_outcome, a_batch_sent_before_that_is_refused_now_is_told_as_unknown)
{
    struct rig rig;
    struct sent before[3];
    three_in_flight(&rig, before);
    rig_cut(&rig); /* nobody knows what became of them */
    rig_reconnect(&rig, 1 << 20);
    for (int i = 0; i < 3; i++)
        before[i] = rig_expect(&rig, FRAME_EMIT);
    for (int i = 0; i < 3; i++)
        rig_emitted(&rig, &before[i], WIRE__OUTCOME__REFUSED, CRIER_EFENCED, -1);
    cr_assert_eq(rig.done_count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rig.done_codes[i], CRIER_EUNKNOWN);
    cr_assert_eq(rig.disconnects, 1); /* whether its numbers are taken is unknown too: new ones */
    rig_wait(&rig, 100000);
    rig_connect(&rig);
    struct sent hello = rig_expect(&rig, FRAME_HELLO);
    cr_assert_neq(((const Wire__Hello *)hello.message)->producer_id, 0);
    cr_assert_eq(((const Wire__Hello *)hello.message)->producer_epoch, 1);
    rig_finish(&rig);
}

Test(engine_outcome, a_partition_the_broker_does_not_know_any_more_is_asked_for_again)
{
    struct rig rig;
    Wire__Topics topics = WIRE__TOPICS__INIT;
    Wire__TopicInfo info = WIRE__TOPIC_INFO__INIT, *infos = &info;
    Wire__PartitionInfo partition = WIRE__PARTITION_INFO__INIT, *partitions = &partition;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    rig_emit(&rig, "t", "lost", NULL);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    rig_emitted(&rig, &sent, WIRE__OUTCOME__REFUSED, CRIER_ENOTOPIC, -1);
    cr_assert_eq(rig.done_codes[0], CRIER_ENOTOPIC);
    sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    info.name = (char *)(uintptr_t) "t";
    info.partitions = &partitions;
    info.n_partitions = 1;
    partition.id = 555;
    topics.request = ((const Wire__TopicDescribe *)sent.message)->request;
    topics.topics = &infos;
    topics.n_topics = 1;
    rig_receive(&rig, FRAME_TOPICS, &topics, NULL, 0);
    rig_emit(&rig, "t", "found", NULL);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(((const Wire__Emit *)sent.message)->parts[0]->partition, 555);
    rig_finish(&rig);
}

Test(engine_outcome, a_batch_no_frame_can_carry_fails_and_the_next_one_goes)
{
    struct rig rig;
    char large[1900];
    memset(large, 'x', sizeof(large));
    rig_init(&rig, NULL);
    rig.frame_size_max = 1024; /* this broker takes small frames only */
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    rig_listen_error(&rig);
    cr_assert_eq(rig_emit_raw(&rig, "t", large, sizeof(large), NULL), 0);
    cr_assert_eq(rig.error_count, 1);
    cr_assert_eq(rig.error_code, CRIER_ETOOBIG);
    rig_emit(&rig, "t", "small", NULL);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "small");
    cr_assert_eq(rig_sequence(&sent, 0), 1); /* the one that failed took no number */
    rig_finish(&rig);
}

/* A topic with a partition for each of two keys. */
static void two_keys(struct rig *rig, char key[2][2])
{
    for (uint32_t i = 0; i < 2; i++)
        for (key[i][0] = 'a', key[i][1] = '\0'; murmur2_partition(key[i], 1, 2) != i;)
            key[i][0]++;
    rig_init(rig, NULL);
    rig_ready(rig, 1 << 20);
    rig_know(rig, "t", 2);
}

/* In a topic that was made again nobody knows the old numbers: what was stored before would be stored twice. */
Test(engine_outcome, what_may_be_stored_does_not_go_to_the_next_topic_of_the_name)
{
    char key[2][2];
    struct rig rig;
    two_keys(&rig, key);
    rig_emit(&rig, "t", "old", key[0]);
    rig_expect(&rig, FRAME_EMIT);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    rig_emitted(&rig, &sent, WIRE__OUTCOME__REFUSED, CRIER_EIO, -1); /* it waits, to be tried again */
    rig_emit(&rig, "t", "other", key[1]);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "other");
    rig_emitted(&rig, &sent, WIRE__OUTCOME__REFUSED, CRIER_ENOTOPIC, -1);
    sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_topics_from(&rig, &sent, RIG_PARTITION + 10, 2);
    cr_assert_eq(rig.done_count, 2);
    cr_assert_eq(rig.done_codes[0], CRIER_ENOTOPIC);
    cr_assert_eq(rig.done_codes[1], CRIER_EUNKNOWN);
    rig_wait(&rig, 1000000);
    cr_assert(rig_sent_nothing(&rig));
    rig_emit(&rig, "t", "new", key[0]);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "new");
    cr_assert_eq(rig_sequence(&sent, 0), 0);
    rig_finish(&rig);
}

Test(engine_outcome, nor_does_it_when_it_was_waiting_for_credit)
{
    char key[2][2];
    struct rig rig;
    struct sent sent;
    two_keys(&rig, key);
    rig_emit(&rig, "t", "old", key[0]);
    rig_expect(&rig, FRAME_EMIT);
    rig_emit(&rig, "t", "other", key[1]);
    sent = rig_expect(&rig, FRAME_EMIT);
    rig_emitted(&rig, &sent, WIRE__OUTCOME__REFUSED, CRIER_ENOTOPIC, -1);
    rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_cut(&rig);
    rig_reconnect(&rig, 0);
    sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_expect(&rig, FRAME_CREDIT_WANT);
    rig_topics_from(&rig, &sent, RIG_PARTITION + 10, 2);
    cr_assert_eq(rig.done_count, 2);
    cr_assert_eq(rig.done_codes[1], CRIER_EUNKNOWN);
    Wire__Credit credit = WIRE__CREDIT__INIT;
    credit.total = 1 << 20;
    rig_receive(&rig, FRAME_CREDIT, &credit, NULL, 0);
    cr_assert(rig_sent_nothing(&rig));
    rig_emit(&rig, "t", "new", key[0]);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(rig_sequence(&sent, 0), 0);
    rig_finish(&rig);
}
