/* test_engine_atomic.c: atomic emits on the wire: in order, in flight, refused, sent again byte for byte, out of memory. */
#include "tests/support/allocation.h"
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <string.h>

static int codes[16];
static size_t told;

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)offset, (void)ctx;
    codes[told++ % 16] = code;
}

static void open_rig(struct rig *rig, const char *name)
{
    struct crier_options options = rig_options();
    options.producer_name = name;
    told = 0;
    rig_init(rig, &options);
    rig_ready(rig, 1 << 20);
}

static int emit_raw(struct rig *rig, uint64_t position)
{
    struct crier_atomic_options options = crier_atomic_options_default();
    struct crier_atomic_event events[] = {{"a", "one", 3, NULL}, {"a", "two", 3, NULL}, {"b", "x", 1, NULL}};
    bool wake;
    options.source_position = position;
    options.done = on_done;
    int rc = engine_emit_atomic(rig->engine, events, 3, &options, 1700000000000, &wake);
    rig_turn(rig);
    return rc;
}

static void emit(struct rig *rig, uint64_t position)
{
    cr_assert_eq(emit_raw(rig, position), 0);
}

static void know_topics(struct rig *rig)
{
    for (int i = 0; i < 2; i++) {
        struct sent describe = rig_expect(rig, FRAME_TOPIC_DESCRIBE);
        rig_topics(rig, &describe, 1);
    }
}

static const Wire__Emit *expect_emit(struct rig *rig, struct sent *sent, uint64_t position, uint64_t previous)
{
    *sent = rig_expect(rig, FRAME_EMIT);
    const Wire__Emit *message = (const Wire__Emit *)sent->message;
    cr_assert(message->atomic);
    cr_assert_eq(message->source_position, position);
    cr_assert_eq(message->source_previous, previous);
    return message;
}

static void answer(struct rig *rig, const struct sent *sent, Wire__Outcome outcome, int code)
{
    rig_emitted(rig, sent, outcome, code, outcome == WIRE__OUTCOME__OK ? 5 : -1);
}

Test(atomic, a_step_is_one_frame_with_a_batch_per_partition_and_many_are_in_flight)
{
    struct rig rig;
    struct sent sent[3];
    open_rig(&rig, "file");
    emit(&rig, 10);
    know_topics(&rig);
    emit(&rig, 12);
    emit(&rig, 13);
    expect_emit(&rig, &sent[0], 10, 0);
    const Wire__Emit *message = expect_emit(&rig, &sent[1], 12, 10);
    cr_assert_eq(message->durability, WIRE__DURABILITY__DURABLE);
    expect_emit(&rig, &sent[2], 13, 12);
    cr_assert_eq(rig_sequence(&sent[0], 0), -1, "the position tells it from its repetition");
    cr_assert_eq(rig_count(&sent[0], 0) + (message->n_parts == 2 ? rig_count(&sent[0], 1) : 0), 3);
    cr_assert_eq(emit_raw(&rig, 13), CRIER_EINVAL, "a position grows");
    for (int i = 0; i < 3; i++)
        answer(&rig, &sent[i], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(told, 3);
    uint64_t position;
    cr_assert_eq(engine_source_position(rig.engine, &position), 0);
    cr_assert_eq(position, 13);
    rig_finish(&rig);
}

Test(atomic, a_lost_connection_is_followed_by_the_same_bytes_in_order)
{
    struct rig rig;
    struct sent before[2], after[2];
    open_rig(&rig, "file");
    emit(&rig, 1);
    know_topics(&rig);
    emit(&rig, 2);
    expect_emit(&rig, &before[0], 1, 0);
    expect_emit(&rig, &before[1], 2, 1);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    expect_emit(&rig, &after[0], 1, 0);
    expect_emit(&rig, &after[1], 2, 1);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(before[i].attachment_size, after[i].attachment_size);
        cr_assert_arr_eq(before[i].attachment, after[i].attachment, before[i].attachment_size);
        answer(&rig, &after[i], WIRE__OUTCOME__OK, 0);
    }
    cr_assert_eq(told, 2);
    rig_finish(&rig);
}

Test(atomic, one_that_is_refused_for_good_fails_alone_and_the_next_goes_again)
{
    struct rig rig;
    struct sent sent[3];
    open_rig(&rig, NULL);
    emit(&rig, 0);
    know_topics(&rig);
    emit(&rig, 0);
    emit(&rig, 0);
    expect_emit(&rig, &sent[0], 1, 0);
    expect_emit(&rig, &sent[1], 2, 1);
    expect_emit(&rig, &sent[2], 3, 2);
    answer(&rig, &sent[1], WIRE__OUTCOME__REFUSED, CRIER_EOFFSET);
    answer(&rig, &sent[2], WIRE__OUTCOME__REFUSED, CRIER_ESEQUENCE);
    cr_assert(rig_sent_nothing(&rig), "not before everything in flight has an outcome");
    answer(&rig, &sent[0], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(told, 2);
    cr_assert_eq(codes[0], CRIER_EOFFSET);
    expect_emit(&rig, &sent[2], 3, 0);
    answer(&rig, &sent[2], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(told, 3);
    rig_finish(&rig);
}

Test(atomic, topics_that_are_gone_are_asked_for_anew_and_the_next_step_waits_for_them)
{
    struct rig rig;
    struct sent sent;
    open_rig(&rig, NULL);
    emit(&rig, 0);
    know_topics(&rig);
    expect_emit(&rig, &sent, 1, 0);
    answer(&rig, &sent, WIRE__OUTCOME__REFUSED, CRIER_ENOTOPIC);
    cr_assert_eq(told, 1);
    cr_assert_eq(codes[0], CRIER_ENOTOPIC);
    emit(&rig, 0);
    know_topics(&rig); /* both, each once */
    const Wire__Emit *message = expect_emit(&rig, &sent, 2, 0);
    cr_assert_eq(message->parts[0]->partition, RIG_PARTITION);
    answer(&rig, &sent, WIRE__OUTCOME__OK, 0);
    cr_assert_eq(told, 2);
    cr_assert_eq(codes[1], 0);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(atomic, a_full_disk_and_an_unknown_outcome_are_tried_again_in_order)
{
    struct rig rig;
    struct sent sent[2];
    open_rig(&rig, "file");
    emit(&rig, 1);
    know_topics(&rig);
    emit(&rig, 2);
    expect_emit(&rig, &sent[0], 1, 0);
    expect_emit(&rig, &sent[1], 2, 1);
    answer(&rig, &sent[0], WIRE__OUTCOME__REFUSED, CRIER_EFULL);
    answer(&rig, &sent[1], WIRE__OUTCOME__UNKNOWN, CRIER_EIO);
    cr_assert(rig_sent_nothing(&rig));
    rig_wait(&rig, 100000);
    expect_emit(&rig, &sent[0], 1, 0);
    expect_emit(&rig, &sent[1], 2, 1);
    answer(&rig, &sent[0], WIRE__OUTCOME__OK, 0);
    answer(&rig, &sent[1], WIRE__OUTCOME__OK, 0);
    cr_assert_eq(told, 2);
    rig_finish(&rig);
}

Test(atomic, a_name_that_is_lost_is_lost_by_the_answer_to_hello)
{
    struct rig rig;
    struct sent sent;
    Wire__Error error = WIRE__ERROR__INIT;
    uint64_t position;
    open_rig(&rig, "file");
    emit(&rig, 1);
    know_topics(&rig);
    expect_emit(&rig, &sent, 1, 0);
    error.code = CRIER_EFENCED;
    error.text = (char *)(uintptr_t) "another client";
    rig_receive(&rig, FRAME_ERROR, &error, NULL, 0);
    cr_assert_eq(told, 0, "it may come back");
    rig_wait(&rig, 500000);
    rig_connect(&rig);
    sent = rig_expect(&rig, FRAME_HELLO);
    cr_assert_str_eq(((const Wire__Hello *)sent.message)->producer_name, "file");
    rig_receive(&rig, FRAME_ERROR, &error, NULL, 0);
    cr_assert_eq(told, 1);
    cr_assert_eq(codes[0], CRIER_EUNKNOWN, "it was sent");
    cr_assert_eq(engine_source_position(rig.engine, &position), CRIER_EFENCED);
    cr_assert_eq(emit_raw(&rig, 2), CRIER_EFENCED);
    rig_wait(&rig, 500000);
    rig_connect(&rig);
    sent = rig_expect(&rig, FRAME_HELLO);
    cr_assert_str_eq(((const Wire__Hello *)sent.message)->producer_name, "");
    rig_finish(&rig);
}

Test(atomic, a_source_position_is_a_named_producers)
{
    struct rig rig;
    open_rig(&rig, NULL);
    cr_assert_eq(emit_raw(&rig, 1), CRIER_EINVAL);
    rig_finish(&rig);
    open_rig(&rig, "file");
    cr_assert_eq(emit_raw(&rig, 0), CRIER_EINVAL);
    rig_finish(&rig);
}

/* Any one allocation on the way fails: the call says so, or the step is told, once, and nothing leaks. */
Test(atomic, any_allocation_may_fail)
{
    for (unsigned skip = 0; skip < 40; skip++) {
        struct rig rig;
        struct crier_atomic_options options = crier_atomic_options_default();
        struct crier_atomic_event events[] = {{"a", "one", 3, NULL}, {"b", "two", 3, NULL}};
        bool wake;
        open_rig(&rig, NULL);
        emit(&rig, 0); /* the topics are known by this one */
        know_topics(&rig);
        struct sent sent = rig_expect(&rig, FRAME_EMIT);
        answer(&rig, &sent, WIRE__OUTCOME__OK, 0);
        told = 0;
        options.done = on_done;
        allocation_fail_after(skip);
        int rc = engine_emit_atomic(rig.engine, events, 2, &options, 1, &wake);
        (void)engine_collect(rig.engine, rig.now);
        struct iovec pieces[8];
        (void)engine_output(rig.engine, pieces, 8, rig.now);
        allocation_never_fail();
        cr_assert(rc == 0 || rc == CRIER_ENOMEM);
        engine_drop(rig.engine, CRIER_ECLOSED);
        cr_assert_eq(told, rc == 0 ? 1 : 0, "after %u allocations", skip);
        rig_finish(&rig);
    }
}
