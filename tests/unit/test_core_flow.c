/* test_core_flow.c: grants, the line of those who want more, pauses, and the end: everything that is bounded. */
#include "tests/unit/core_outcome.h"

#include <stdio.h>
#include <string.h>

#define FIRST_GRANT 8192

static struct fixture *fixture_with_budget(size_t ingest_bytes_max)
{
    struct fixture *f = fixture_create();
    f->config.ingest_bytes_max = ingest_bytes_max;
    f->config.producer_window_max = ingest_bytes_max / 2;
    fixture_start(f);
    return f;
}

static void want(struct peer *p, uint64_t bytes)
{
    Wire__CreditWant message = WIRE__CREDIT_WANT__INIT;
    message.bytes = bytes;
    peer_send(p, FRAME_CREDIT_WANT, &message.base);
}

/* Notes the newest grant; true if one was told. */
static bool granted_more(struct peer *p)
{
    bool told = false;
    while (peer_has_frame(p, FRAME_CREDIT)) {
        uint64_t total = ((const Wire__Credit *)peer_expect(p, FRAME_CREDIT))->total;
        cr_assert_geq(total, p->grant, "a grant never goes back");
        p->grant = total;
        told = true;
    }
    return told;
}

Test(flow, an_emit_above_the_grant_breaks_the_protocol)
{
    struct fixture *f = fixture_with_budget(1 << 20);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = p->grant};
    peer_emit(p, &spec, 1);
    peer_expect_error(p, WIRE_CRIER_EPROTO);
    fixture_destroy(f);
}

Test(flow, the_grant_comes_back_when_the_answer_has_left_not_before)
{
    struct fixture *f = fixture_with_budget(1 << 20);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    cr_assert_eq(fixture_stats(f).ingest_bytes_granted, p->grant);
    struct batch_spec spec = {.partition = partition, .value_size = 3000};
    p->holds = true;
    peer_emit(p, &spec, 1);
    fixture_settle(f);
    size_t held = fixture_stats(f).ingest_bytes_granted;
    cr_assert_eq(peer_outcome(p).outcome, WIRE__OUTCOME__OK);
    granted_more(p);
    uint64_t before = p->grant;
    p->holds = false;
    fixture_settle(f);
    cr_assert(granted_more(p));
    cr_assert_gt(p->grant, before);
    cr_assert_leq(fixture_stats(f).ingest_bytes_granted, held);
    fixture_destroy(f);
}

Test(flow, an_active_sender_gets_a_larger_window)
{
    struct fixture *f = fixture_with_budget(1 << 20);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 5000};
    cr_assert_leq(p->grant, FIRST_GRANT);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
        granted_more(p);
    }
    cr_assert_gt(p->grant - p->emitted_bytes, 2 * FIRST_GRANT);
    cr_assert_leq(p->grant - p->emitted_bytes, f->config.producer_window_max);
    fixture_destroy(f);
}

Test(flow, a_frame_larger_than_the_grant_gets_room_when_it_asks)
{
    struct fixture *f = fixture_with_budget(1 << 20);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 300000};
    want(p, emit_frame_size(p, &spec, 1));
    fixture_turn(f);
    cr_assert(granted_more(p));
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    fixture_destroy(f);
}

Test(flow, the_sum_of_all_grants_stays_within_the_budget)
{
    struct fixture *f = fixture_with_budget(100000);
    for (int i = 0; i < 50; i++) {
        peer_welcome(f);
        cr_assert_leq(fixture_stats(f).ingest_bytes_granted, 100000);
    }
    fixture_destroy(f);
}

Test(flow, who_came_when_the_budget_was_out_is_served_when_it_asks_and_in_turn)
{
    struct fixture *f = fixture_with_budget(100000);
    struct peer *first = peer_welcome(f);
    uint64_t partition = peer_topic(first, "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 90000};
    size_t size = emit_frame_size(first, &spec, 1);
    struct peer *waiting[3];
    for (int i = 0; i < 3; i++)
        waiting[i] = peer_welcome(f);
    want(first, size);
    fixture_turn(f);
    cr_assert(granted_more(first));
    for (int i = 0; i < 3; i++)
        want(waiting[i], size);
    fixture_turn(f);
    size_t told = 0;
    for (int round = 0; round < 4; round++) {
        cr_assert_leq(fixture_stats(f).ingest_bytes_granted, 100000 + size, "the budget and one frame");
        if (round == 0)
            cr_assert_eq(peer_emit_one(first, spec).outcome, WIRE__OUTCOME__OK);
        for (size_t i = told; i < 3; i++) {
            if (!granted_more(waiting[i]))
                break;
            told = i + 1;
            cr_assert_eq(peer_emit_one(waiting[i], spec).outcome, WIRE__OUTCOME__OK);
        }
    }
    cr_assert_eq(told, 3, "everyone in the line was served, in its order");
    fixture_destroy(f);
}

Test(flow, who_holds_the_line_may_ask_for_more_without_waiting_for_itself)
{
    struct fixture *f = fixture_with_budget(20000);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 30000};
    want(p, emit_frame_size(p, &spec, 1));
    fixture_turn(f);
    cr_assert(granted_more(p)); /* beyond the budget */
    spec.value_size = 40000;    /* its batch has grown meanwhile */
    want(p, emit_frame_size(p, &spec, 1));
    fixture_turn(f);
    cr_assert(granted_more(p), "it waits for itself");
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    fixture_destroy(f);
}

/* Found by the simulator: the two waited for each other until the line's patience was over, 2 s a frame. */
Test(flow, who_holds_the_line_may_ask_for_more_while_others_wait)
{
    struct fixture *f = fixture_with_budget(20000);
    struct peer *holder = peer_welcome(f), *next = peer_welcome(f);
    uint64_t partition = peer_topic(holder, "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 30000};
    want(holder, emit_frame_size(holder, &spec, 1));
    fixture_turn(f);
    cr_assert(granted_more(holder)); /* beyond the budget */
    want(next, 30000);
    spec.value_size = 40000;
    want(holder, emit_frame_size(holder, &spec, 1));
    fixture_turn(f);
    cr_assert(granted_more(holder), "it waits for one that waits for it");
    cr_assert_not(granted_more(next), "one beyond the budget at a time");
    cr_assert_eq(peer_emit_one(holder, spec).outcome, WIRE__OUTCOME__OK);
    fixture_settle(f);
    cr_assert(granted_more(next));
    fixture_destroy(f);
}

/* One that only ever asks does not keep the line longer than one that does nothing. */
Test(flow, asking_again_does_not_hold_the_line_longer)
{
    struct fixture *f = fixture_with_budget(20000);
    struct peer *holder = peer_welcome(f), *next = peer_welcome(f);
    want(holder, 30000);
    fixture_turn(f);
    want(next, 30000);
    for (uint64_t bytes = 31000; bytes < 36000; bytes += 1000) {
        want(holder, bytes);
        fixture_run(f, 500000);
    }
    cr_assert(granted_more(next));
    fixture_destroy(f);
}

Test(flow, producers_live_beside_idle_ones_that_hold_the_whole_budget)
{
    struct fixture *f = fixture_with_budget(20000);
    for (int i = 0; i < 10; i++)
        peer_welcome(f); /* and they never emit */
    struct peer *active[3];
    for (size_t i = 0; i < 3; i++)
        active[i] = peer_welcome(f);
    uint64_t partition = peer_topic(active[0], "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 9000};
    for (int round = 0; round < 30; round++) {
        struct peer *p = active[round % 3];
        want(p, emit_frame_size(p, &spec, 1) +
                    40); /* a client asks for an upper bound, and leaves a little unused */
        fixture_turn(f);
        granted_more(p);
        cr_assert_geq(p->grant - p->emitted_bytes, emit_frame_size(p, &spec, 1), "round %d: not served",
                      round);
        cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    }
    fixture_destroy(f);
}

/* What a client does that has not emitted for a while: all that is unused goes back. */
static void idle(struct peer *p)
{
    Wire__CreditReturn message = WIRE__CREDIT_RETURN__INIT;
    granted_more(p);
    message.bytes = p->grant - p->emitted_bytes;
    p->emitted_bytes += message.bytes;
    peer_send(p, FRAME_CREDIT_RETURN, &message.base);
}

Test(flow, thousands_that_have_emitted_and_are_idle_leave_half_of_the_budget_to_those_who_emit)
{
    enum { IDLE = 4000 };
    static struct peer *quiet[IDLE];
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *busy = peer_welcome(f);
    uint64_t partition = peer_topic(busy, "t", 1);
    struct batch_spec lone = {.partition = partition}, large = {.partition = partition, .value_size = 60000};
    for (size_t i = 0; i < IDLE; i++) {
        quiet[i] = peer_welcome(f);
        want(quiet[i], emit_frame_size(quiet[i], &lone, 1));
        fixture_turn(f);
        granted_more(quiet[i]);
        cr_assert_eq(peer_emit_one(quiet[i], lone).outcome, WIRE__OUTCOME__OK);
        idle(quiet[i]);
    }
    for (size_t i = 0; i < IDLE; i++) /* those that came first have more than their share by now */
        idle(quiet[i]);
    fixture_turn(f);
    cr_assert_leq(fixture_stats(f).ingest_bytes_granted, f->config.ingest_bytes_max / 2 + busy->grant);
    for (size_t i = 0; i < IDLE; i++) {
        granted_more(quiet[i]);
        cr_assert_geq(quiet[i]->grant - quiet[i]->emitted_bytes, emit_frame_size(quiet[i], &lone, 1),
                      "%zu has to ask for a lone emit", i);
    }
    size_t size = emit_frame_size(busy, &large, 1), frames = 0;
    want(busy, size);
    for (size_t trip = 0; trip < 10; trip++) {
        fixture_turn(f);
        granted_more(busy);
        for (frames = 0; busy->grant - busy->emitted_bytes >= size; frames++)
            peer_emit(busy, &large, 1);
        fixture_settle(f);
        for (size_t i = 0; i < frames; i++)
            cr_assert_eq(peer_outcome(busy).outcome, WIRE__OUTCOME__OK);
    }
    cr_assert_geq(frames, 16, "%zu frames a round trip", frames);
    fixture_destroy(f);
}

Test(flow, who_leaves_the_line_does_not_hold_it_up)
{
    struct fixture *f = fixture_with_budget(40000);
    struct peer *big = peer_welcome(f);
    uint64_t partition = peer_topic(big, "t", 1);
    want(big, 60000);
    fixture_turn(f);
    cr_assert(granted_more(big)); /* the budget is exceeded by this one frame: nobody else is served now */
    struct peer *gone = peer_welcome(f), *next = peer_welcome(f);
    want(gone, 50000);
    want(next, 50000);
    fixture_turn(f);
    cr_assert_not(granted_more(next));
    peer_close(gone);
    peer_close(big);
    fixture_turn(f);
    cr_assert(granted_more(next));
    struct batch_spec spec = {.partition = partition, .value_size = 49000};
    cr_assert_eq(peer_emit_one(next, spec).outcome, WIRE__OUTCOME__OK);
    fixture_destroy(f);
}

Test(flow, the_budget_is_whole_again_when_everybody_has_left)
{
    struct fixture *f = fixture_with_budget(1 << 20);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 3000};
    peer_emit(p, &spec, 1); /* in flight when it leaves */
    fixture_turn(f);
    peer_close(p);
    p = peer_welcome(f); /* refused by ERROR with a frame that was counted */
    p->emits = 5;
    peer_emit(p, &spec, 1);
    peer_expect_error(p, WIRE_CRIER_EPROTO);
    peer_close(p);
    p = peer_welcome(f); /* answered, not sent */
    p->holds = true;
    peer_emit(p, &spec, 1);
    fixture_settle(f);
    peer_close(p);
    p = peer_welcome(f); /* waits in line */
    want(p, 100000);
    want(p, 200000);
    peer_close(p);
    fixture_settle(f);
    cr_assert_eq(fixture_stats(f).ingest_bytes_granted, 0);
    fixture_destroy(f);
}

Test(flow, a_want_that_no_frame_can_have_breaks_the_protocol)
{
    static const uint64_t sizes[] = {0, FRAME_SIZE_MAX + 1, UINT64_MAX};
    struct fixture *f = fixture_with_budget(1 << 20);
    for (size_t i = 0; i < 3; i++) {
        struct peer *p = peer_welcome(f);
        want(p, sizes[i]);
        peer_expect_error(p, WIRE_CRIER_EPROTO);
    }
    fixture_destroy(f);
}

/* ---- pauses ---- */

Test(flow, many_unanswered_requests_pause_reading_until_half_are_answered)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    for (int i = 0; i < 255; i++)
        peer_listen(p, &(struct listen_spec){.id = 1 + (uint32_t)i, .topic = "new", .create = true});
    cr_assert_not(p->paused);
    peer_listen(p, &(struct listen_spec){.id = 256, .topic = "new", .create = true});
    cr_assert(p->paused, "256 requests wait for the topic to be durable");
    fixture_settle(f);
    cr_assert_not(p->paused);
    cr_assert_eq(peer_frame_count(p, FRAME_LISTENING), 256);
    fixture_destroy(f);
}

/* Nobody looked at its socket meanwhile: the answers come, and the clock's tick with them. */
Test(flow, who_was_not_read_is_not_called_silent_when_its_answers_come)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    store_memory_fault_slow(f->store, 1, 20000000);
    for (uint32_t i = 1; i <= 256; i++)
        peer_listen(p, &(struct listen_spec){.id = i, .topic = "new", .create = true});
    cr_assert(p->paused);
    fixture_settle(f);
    cr_assert_not(p->paused);
    fixture_run(f, 600000);
    cr_assert_not(p->closing);
    cr_assert_eq(peer_frame_count(p, FRAME_LISTENING), 256);
    fixture_destroy(f);
}

Test(flow, a_peer_that_sends_and_never_reads_is_paused_and_then_closed)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    peer_topic(p, "t", 1024);
    p->holds = true;
    Wire__TopicDescribe describe = WIRE__TOPIC_DESCRIBE__INIT;
    describe.name = (char *)"t";
    size_t sent = 0;
    while (!p->paused && sent++ < 100000)
        peer_send(p, FRAME_TOPIC_DESCRIBE, &describe.base);
    cr_assert(p->paused);
    cr_assert_leq(p->unsent, 20u << 20);
    fixture_run(f, 29000000);
    cr_assert_not(p->closing);
    fixture_run(f, 2000000);
    cr_assert(p->closing);
    fixture_destroy(f);
}

/* Events of so many topics, none of them in memory: each has its own read. */
Test(flow, a_peer_with_many_listeners_that_never_reads_holds_no_more_than_eight_reads_bring)
{
    struct fixture *f = fixture_create();
    f->config.cache_bytes_max = 0;
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    for (uint32_t i = 1; i <= 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%u", i);
        struct batch_spec spec = {.partition = peer_topic(p, name, 1), .value_size = 300000};
        for (int k = 0; k < 2; k++) {
            want(p, emit_frame_size(p, &spec, 1));
            assert_stored(peer_emit_one(p, spec), k);
        }
    }
    struct peer *slow = peer_welcome(f);
    slow->holds = true;
    for (uint32_t i = 1; i <= 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%u", i);
        peer_listen(slow, &(struct listen_spec){.id = i, .topic = name, .from = WIRE__FROM__EARLIEST});
    }
    fixture_settle(f);
    cr_assert_lt(slow->unsent, 6u << 20, "%zu bytes wait for it", slow->unsent);
    peer_release(slow);
    fixture_settle(f);
    cr_assert_eq(fixture_stats(f).delivered_batches, 80, "and nothing is left behind");
    fixture_destroy(f);
}

Test(flow, a_paused_peer_that_reads_again_is_read_again)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    peer_topic(p, "t", 1024);
    p->holds = true;
    Wire__TopicDescribe describe = WIRE__TOPIC_DESCRIBE__INIT;
    describe.name = (char *)"t";
    while (!p->paused)
        peer_send(p, FRAME_TOPIC_DESCRIBE, &describe.base);
    fixture_run(f, 20000000);
    peer_release(p);
    cr_assert_not(p->paused);
    cr_assert_not(p->closing);
    fixture_destroy(f);
}

/* ---- the end ---- */

Test(flow, draining_refuses_what_is_new_finishes_what_is_in_flight_and_says_goodbye)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    struct batch_spec spec = {.partition = partition};
    peer_emit(p, &spec, 1);
    fixture_turn(f);
    core_drain(f->core, 5000);
    cr_assert_not(core_drained(f->core));
    cr_assert_eq(((const Wire__Goaway *)peer_expect_beyond_credit(p, FRAME_GOAWAY))->deadline_ms, 5000);
    peer_emit(p, &spec, 1);
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = "t"});
    fixture_turn(f);
    assert_refused(peer_outcome(p), WIRE_CRIER_ESHUTDOWN);
    cr_assert_eq(((const Wire__Ended *)peer_expect(p, FRAME_ENDED))->code, WIRE_CRIER_ESHUTDOWN);
    fixture_settle(f);
    assert_stored(peer_outcome(p), 0);
    cr_assert(core_drained(f->core));
    fixture_destroy(f);
}

Test(flow, is_not_drained_before_the_last_answer_has_left)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    p->holds = true;
    peer_emit(p, &(struct batch_spec){.partition = partition}, 1);
    core_drain(f->core, 5000);
    fixture_settle(f);
    cr_assert_not(core_drained(f->core));
    peer_release(p);
    cr_assert(core_drained(f->core));
    fixture_destroy(f);
}

Test(flow, more_emits_than_the_store_takes_wait_in_line_and_keep_their_order)
{
    struct fixture *f = fixture_create();
    f->store_options.commit_bytes_max = 1; /* every entry is a commit of its own: the queue fills */
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    struct batch_spec spec = {
        .partition = partition, .producer_id = (int64_t)p->producer_id, .value_size = 200000};
    want(p, 100 * 201000);
    peer_expect_error(p, WIRE_CRIER_EPROTO); /* larger than a frame */
    p = peer_welcome(f);
    spec.producer_id = (int64_t)p->producer_id;
    for (int i = 0; i < 150; i++) {
        want(p, 201000);
        fixture_turn(f);
        granted_more(p);
        cr_assert_geq(p->grant - p->emitted_bytes, 201000, "the budget has room for 150 of these");
        peer_emit(p, &spec, 1);
        spec.sequence++;
        if (i % 3 == 0)
            fixture_turn(f);
        if (fixture_stats(f).ingest_bytes_granted + 201000 > f->config.ingest_bytes_max)
            break;
    }
    cr_assert_geq(spec.sequence, 70, "more than the store has in flight");
    fixture_settle(f);
    for (int32_t i = 0; i < spec.sequence; i++)
        assert_stored(peer_outcome(p), i);
    fixture_destroy(f);
}
