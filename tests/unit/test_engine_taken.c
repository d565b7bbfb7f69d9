/* test_engine_taken.c: events that a pool or an iterator has: position and credit wait for them, in whatever order they end. */
#include "tests/unit/engine_rig.h"

#include "base/check.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define TAKEN_MAX 64

struct bench {
    struct rig rig;
    crier_listener *listener;
    uint32_t id;
    struct engine_taken taken[TAKEN_MAX];
    uint64_t offsets[TAKEN_MAX];
    size_t count, max; /* taken so far; then: pause */
    size_t freed;
};

static struct bench bench;

static void on_release(struct engine_taken *taken)
{
    (void)taken;
    bench.freed++;
}

static int take(crier *bus, const crier_event *event, void *ctx)
{
    struct engine_taken *taken = &bench.taken[bench.count];

    (void)bus;
    (void)ctx;
    if (bench.count == bench.max) {
        engine_pause(bench.rig.engine);
        return 0;
    }
    taken->release = on_release;
    bench.offsets[bench.count++] = event->offset;
    engine_take(bench.rig.engine, taken);
    return 0;
}

static void bench_open(const struct crier_listen_options *options)
{
    struct crier_listen_options member = crier_listen_options_default();

    memset(&bench, 0, sizeof(bench));
    bench.max = TAKEN_MAX;
    member.group = "g";
    rig_init(&bench.rig, NULL);
    rig_ready(&bench.rig, 1 << 20);
    bench.listener = rig_listen(&bench.rig, "t", options ? options : &member);
    engine_listener_divert(bench.listener, take, NULL, NULL);
    bench.id = rig_listening(&bench.rig, 0, 20);
}

static void done(size_t index, int rc)
{
    engine_taken_done(bench.rig.engine, &bench.taken[index], rc);
    rig_turn(&bench.rig);
}

static void expect_commit(uint64_t offset)
{
    struct sent sent;
    const Wire__Commit *commit;
    Wire__Committed committed = WIRE__COMMITTED__INIT;

    rig_wait(&bench.rig, 100000);
    sent = rig_expect(&bench.rig, FRAME_COMMIT);
    commit = (const Wire__Commit *)sent.message;
    cr_assert_eq(commit->positions[0]->offset, offset);
    committed.request = commit->request;
    rig_receive(&bench.rig, FRAME_COMMITTED, &committed, NULL, 0);
}

static void expect_no_commit(void)
{
    rig_wait(&bench.rig, 300000);
    cr_assert(rig_sent_nothing(&bench.rig));
}

/* Events end out of order: the position is what is through from the front. */
Test(engine_taken, the_position_moves_only_past_what_is_through_from_the_front)
{
    bench_open(NULL);
    rig_deliver(&bench.rig, bench.id, 0, 4);
    cr_assert_eq(bench.count, 4);
    done(1, 0);
    done(3, 0);
    expect_no_commit();
    done(0, 0);
    expect_commit(2);
    done(2, 0);
    expect_commit(4);
    cr_assert_eq(bench.freed, 4);
    rig_finish(&bench.rig);
}

/* With one delivery of several events, credit returns when the last of them is through. */
Test(engine_taken, credit_returns_when_a_whole_delivery_is_through)
{
    struct crier_listen_options options = crier_listen_options_default();

    options.credit = 100; /* any delivery is more than a quarter */
    bench_open(&options);
    rig_deliver(&bench.rig, bench.id, 0, 3);
    done(2, 0);
    done(0, 0);
    cr_assert(rig_sent_nothing(&bench.rig));
    done(1, 0);
    rig_expect(&bench.rig, FRAME_CREDIT);
    rig_finish(&bench.rig);
}

/* A paused listener is handed nothing and returns nothing; then it goes on where it was, with nothing lost or twice. */
Test(engine_taken, a_paused_listener_is_handed_the_same_event_again)
{
    bench_open(NULL);
    bench.max = 2;
    rig_deliver(&bench.rig, bench.id, 0, 3);
    rig_deliver(&bench.rig, bench.id, 3, 2);
    cr_assert_eq(bench.count, 2);
    cr_assert_not(engine_dispatch_pending(bench.rig.engine), "what is parked does not keep the loop busy");
    bench.max = TAKEN_MAX;
    engine_resume(bench.rig.engine, bench.listener);
    rig_turn(&bench.rig);
    cr_assert_eq(bench.count, 5);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(bench.offsets[i], i);
    for (size_t i = 0; i < 5; i++)
        done(i, 0);
    expect_commit(5);
    rig_finish(&bench.rig);
}

/* Over a reconnect what is out stays out: it is not handed out again, and still moves the position. */
Test(engine_taken, what_is_out_survives_a_reconnect)
{
    struct sent listen;

    bench_open(NULL);
    rig_deliver(&bench.rig, bench.id, 0, 3);
    rig_cut(&bench.rig);
    done(1, 0);
    rig_reconnect(&bench.rig, 1 << 20);
    listen = bench.rig.sent[bench.rig.sent_first];
    cr_assert_eq(listen.kind, FRAME_LISTEN);
    cr_assert_eq(((const Wire__Listen *)listen.message)->resume[0]->offset, 3);
    bench.id = rig_listening(&bench.rig, 0, 20);
    rig_deliver(&bench.rig, bench.id, 0, 5); /* the committed position was 0: the broker says all again */
    cr_assert_eq(bench.count, 5);
    cr_assert_eq(bench.offsets[3], 3);
    done(0, 0);
    expect_commit(2);
    done(2, 0);
    expect_commit(3);
    rig_finish(&bench.rig);
}

/* A failure nobody hears: the listener ends once nothing of it is out, and the position is before the failed event. */
Test(engine_taken, a_failure_ends_the_listener_with_its_position_before_it)
{
    Wire__Ended ended = WIRE__ENDED__INIT;

    bench_open(NULL);
    rig_deliver(&bench.rig, bench.id, 0, 4);
    done(0, 0);
    done(1, -7);
    cr_assert(engine_listener_is_stopped(bench.listener));
    cr_assert(rig_sent_nothing(&bench.rig), "two are out: their handlers may be running");
    done(2, 0);
    done(3, ENGINE_NOT_HANDLED);
    struct sent sent = rig_expect(&bench.rig, FRAME_COMMIT);
    cr_assert_eq(((const Wire__Commit *)sent.message)->positions[0]->offset, 1);
    rig_expect(&bench.rig, FRAME_UNLISTEN);
    cr_assert_eq(bench.rig.released_count, 0);
    ended.listener = bench.id;
    rig_receive(&bench.rig, FRAME_ENDED, &ended, NULL, 0);
    cr_assert_eq(bench.rig.released_code, CRIER_EHANDLER);
    cr_assert_eq(bench.freed, 4);
    cr_assert_eq(engine_error_take(bench.rig.engine), CRIER_EHANDLER);
    rig_finish(&bench.rig);
}

/* once: the event is out, no other follows, and the listener ends when it is through. */
Test(engine_taken, a_count_ends_when_the_last_of_it_is_through)
{
    struct crier_listen_options options = crier_listen_options_default();

    options.count = 2;
    bench_open(&options);
    rig_deliver(&bench.rig, bench.id, 0, 5);
    cr_assert_eq(bench.count, 2);
    cr_assert_not(engine_listener_is_stopped(bench.listener), "what is out may begin");
    done(1, 0);
    cr_assert(rig_sent_nothing(&bench.rig));
    done(0, 0);
    rig_expect(&bench.rig, FRAME_UNLISTEN);
    rig_finish(&bench.rig);
}

/* The engine goes while something is out: it comes back to nobody, and is let go. */
Test(engine_taken, what_is_out_at_the_end_is_let_go)
{
    bench_open(NULL);
    rig_deliver(&bench.rig, bench.id, 0, 3);
    done(1, 0);
    engine_drop(bench.rig.engine, CRIER_ECLOSED);
    cr_assert_eq(bench.freed, 1, "the one that was through");
    done(0, 0);
    done(2, -1);
    cr_assert_eq(bench.freed, 3);
    rig_finish(&bench.rig);
}

/* Another listener ends while this one is paused, with something newer of it just in: nothing of it changes places. */
Test(engine_taken, what_is_parked_stays_before_what_is_newer_when_another_listener_ends)
{
    crier_listener *other;

    bench_open(NULL);
    bench.max = 1;
    other = rig_listen(&bench.rig, "other", NULL);
    (void)rig_listening(&bench.rig, 0, 20);
    rig_deliver(&bench.rig, bench.id, 0, 2); /* 0 is out, 1 is parked */
    bench.rig.turn_dispatch_max = 0;
    rig_deliver(&bench.rig, bench.id, 2, 2);
    engine_unlisten(bench.rig.engine, other);
    bench.rig.turn_dispatch_max = SIZE_MAX;
    rig_turn(&bench.rig);
    bench.max = TAKEN_MAX;
    engine_resume(bench.rig.engine, bench.listener);
    rig_turn(&bench.rig);
    cr_assert_eq(bench.count, 4);
    for (uint64_t i = 0; i < 4; i++)
        cr_assert_eq(bench.offsets[i], i);
    rig_finish(&bench.rig);
}
