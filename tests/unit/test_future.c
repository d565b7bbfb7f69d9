/* test_future.c: futures settle once, and what follows runs later, in order, with ES2021's rules for adoption and finally. */
#include "tests/unit/agenda_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct agenda_rig rig;

static void setup(void)
{
    rig_open(&rig);
}

static void teardown(void)
{
    rig_close(&rig);
}

TestSuite(future, .init = setup, .fini = teardown);

static struct future *pending(void)
{
    struct future *future = future_create(rig.agenda, 0);

    cr_assert_not_null(future);
    return future;
}

static bool fulfill(struct future *future, uint64_t number)
{
    return future_settle(future, &(struct future_result){.number = number}, NULL);
}

static bool reject(struct future *future, int code)
{
    return future_settle(future, &(struct future_result){.code = code}, NULL);
}

static struct future_result result_of(struct future *future)
{
    struct future_result result = {.code = 1};

    future_result(future, &result);
    return result;
}

static int say(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    rig_say(&rig, ctx);
    ret->result.number = result->number + 1;
    return 0;
}

static int say_and_fail(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    (void)result;
    (void)ret;
    rig_say(&rig, ctx);
    return -7;
}

static int give(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    (void)result;
    ret->future = future_retain(ctx);
    return 0;
}

Test(future, settles_once_and_for_ever)
{
    struct future *future = pending();

    cr_assert_eq(result_of(future).code, 1, "pending");
    cr_assert(fulfill(future, 5));
    cr_assert_not(fulfill(future, 6));
    cr_assert_not(reject(future, -1));
    cr_assert_not(future_cancel(future));
    cr_assert_eq(result_of(future).code, 0);
    cr_assert_eq(result_of(future).number, 5);
    future_release(future);
}

/* Zalgo stays locked up: not even on a settled future does a continuation run inside then(). */
Test(future, continuations_run_later_and_in_order)
{
    struct future *future = pending();

    future_then(future, say, NULL, (void *)"a", NULL);
    fulfill(future, 0);
    future_then(future, say, NULL, (void *)"b", NULL);
    cr_assert_str_eq(rig.trace, "");
    agenda_drain(rig.agenda);
    cr_assert_str_eq(rig.trace, "a b");
    future_release(future);
}

/* The interleaving puzzle: two chains of three take turns. */
Test(future, chains_interleave)
{
    static const char *const names[2][3] = {{"a1", "a2", "a3"}, {"b1", "b2", "b3"}};

    for (int chain = 0; chain < 2; chain++) {
        struct future *at = pending(), *next;
        fulfill(at, 0);
        for (int i = 0; i < 3; i++) {
            future_then(at, say, NULL, (void *)(uintptr_t)names[chain][i], &next);
            future_release(at);
            at = next;
        }
        future_release(at);
    }
    agenda_drain(rig.agenda);
    cr_assert_str_eq(rig.trace, "a1 b1 a2 b2 a3 b3");
}

Test(future, then_gives_its_outcome_to_the_next)
{
    struct future *future = pending(), *next;

    future_then(future, say, NULL, (void *)"x", &next);
    fulfill(future, 41);
    agenda_drain(rig.agenda);
    cr_assert_eq(result_of(next).number, 42);
    future_release(future);
    future_release(next);
}

/* A rejection passes over then until somebody catches it; after that the chain is well again. */
Test(future, a_rejection_runs_down_to_the_first_catch)
{
    struct future *first = pending(), *second, *third, *fourth;

    future_then(first, say_and_fail, NULL, (void *)"fails", &second);
    future_then(second, say, NULL, (void *)"skipped", &third);
    future_then(third, NULL, say, (void *)"caught", &fourth);
    fulfill(first, 0);
    agenda_drain(rig.agenda);
    cr_assert_str_eq(rig.trace, "fails caught");
    cr_assert_eq(result_of(third).code, -7);
    cr_assert_eq(result_of(fourth).code, 0);
    future_release(first);
    future_release(second);
    future_release(third);
    future_release(fourth);
    agenda_drain(rig.agenda);
    cr_assert_eq(rig.unhandled_count, 0);
}

Test(future, finally_runs_either_way_and_lets_the_result_pass)
{
    struct future *good = pending(), *bad = pending(), *after_good, *after_bad, *failing;

    future_finally(good, say, (void *)"good", &after_good);
    future_finally(bad, say, (void *)"bad", &after_bad);
    future_finally(good, say_and_fail, (void *)"failing", &failing);
    fulfill(good, 5);
    reject(bad, -9);
    agenda_drain(rig.agenda);
    cr_assert_str_eq(rig.trace, "good failing bad");
    cr_assert_eq(result_of(after_good).number, 5);
    cr_assert_eq(result_of(after_bad).code, -9);
    cr_assert_eq(result_of(failing).code, -7, "what finally throws wins");
    future_release(good);
    future_release(bad);
    future_release(after_good);
    future_release(after_bad);
    future_release(failing);
}

Test(future, finally_waits_for_a_future_and_then_passes_the_first_result)
{
    struct future *first = pending(), *gate = pending(), *wall = pending(), *after, *refused;

    future_finally(first, give, gate, &after);
    future_finally(first, give, wall, &refused);
    fulfill(first, 5);
    agenda_drain(rig.agenda);
    cr_assert_not(future_is_settled(after));
    fulfill(gate, 99);
    reject(wall, -8);
    agenda_drain(rig.agenda);
    cr_assert_eq(result_of(after).number, 5);
    cr_assert_eq(result_of(refused).code, -8);
    future_release(first);
    future_release(gate);
    future_release(wall);
    future_release(after);
    future_release(refused);
}

Test(future, a_continuation_may_give_a_future_which_is_adopted)
{
    struct future *first = pending(), *inner = pending(), *next;

    future_then(first, give, NULL, inner, &next);
    fulfill(first, 1);
    agenda_drain(rig.agenda);
    cr_assert_not(future_is_settled(next));
    reject(inner, -3);
    agenda_drain(rig.agenda);
    cr_assert_eq(result_of(next).code, -3);
    future_release(first);
    future_release(inner);
    future_release(next);
}

static int give_slot(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    (void)result;
    ret->future = future_retain(*(struct future **)ctx);
    return 0;
}

/* JavaScript's TypeError: chaining cycle. */
Test(future, one_that_would_wait_for_itself_is_rejected)
{
    struct future *first = pending(), *itself;

    future_then(first, give_slot, NULL, &itself, &itself);
    fulfill(first, 0);
    agenda_drain(rig.agenda);
    cr_assert_eq(result_of(itself).code, RIG_INVALID);
    future_release(first);
    future_release(itself);
}

static void freed(void *pointer)
{
    rig_say(&rig, pointer);
}

/* What a result points to lives as long as anybody holds a future that shows it. */
Test(future, a_value_lives_as_long_as_a_future_that_shows_it)
{
    struct future *first = pending(), *passed;

    future_then(first, NULL, NULL, NULL, &passed);
    future_settle(first, &(struct future_result){.pointer = "freed"}, freed);
    agenda_drain(rig.agenda);
    future_release(first);
    cr_assert_str_eq(rig.trace, "");
    cr_assert_str_eq(result_of(passed).pointer, "freed");
    future_release(passed);
    cr_assert_str_eq(rig.trace, "freed");
    first = pending();
    fulfill(first, 0);
    future_settle(first, &(struct future_result){.pointer = "late"}, freed);
    cr_assert_str_eq(rig.trace, "freed late", "settled already: the value goes at once");
    future_release(first);
}

Test(future, a_rejection_nobody_looked_at_is_told)
{
    struct future *future = pending(), *next;

    reject(future, -5);
    future_release(future);
    cr_assert_eq(rig.unhandled_count, 0, "not inside release");
    agenda_drain(rig.agenda);
    cr_assert_eq(rig.unhandled, -5);
    future = pending();
    future_then(future, say, NULL, (void *)"never", &next);
    reject(future, -6);
    agenda_drain(rig.agenda);
    future_release(future);
    future_release(next);
    agenda_drain(rig.agenda);
    cr_assert_eq(rig.unhandled, -6, "the end of the chain is where it was not caught");
    cr_assert_eq(rig.unhandled_count, 2);
    future = pending();
    future_cancel(future);
    future_release(future);
    future = pending();
    reject(future, -7);
    result_of(future);
    future_release(future);
    agenda_drain(rig.agenda);
    cr_assert_eq(rig.unhandled_count, 2, "canceled, or looked at");
}

static void on_cancel(struct future *future)
{
    rig_say(&rig, future_extra(future));
}

Test(future, canceling_rejects_and_tells_its_source_once)
{
    struct future *future = future_create(rig.agenda, 8);

    memcpy(future_extra(future), "source", 7);
    future_on_cancel(future, on_cancel);
    cr_assert(future_cancel(future));
    cr_assert_not(future_cancel(future));
    cr_assert_str_eq(rig.trace, "source");
    cr_assert_eq(result_of(future).code, RIG_CANCELED);
    future_release(future);
}

/* One abort signal for many waits; what has settled before is left alone, what comes later is canceled at once. */
Test(future, a_signal_cancels_all_that_listen_to_it)
{
    struct future *signal = pending(), *waits[3], *done = pending(), *late = pending();

    for (int i = 0; i < 3; i++) {
        waits[i] = pending();
        cr_assert_eq(future_cancel_on(waits[i], signal), 0);
    }
    cr_assert_lt(future_cancel_on(waits[0], done), 0, "one signal each");
    cr_assert_eq(future_cancel_on(done, signal), 0);
    fulfill(done, 1);
    reject(signal, -4);
    agenda_drain(rig.agenda);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(result_of(waits[i]).code, RIG_CANCELED);
    cr_assert_eq(result_of(done).number, 1);
    cr_assert_eq(future_cancel_on(late, signal), 0);
    cr_assert_eq(result_of(late).code, RIG_CANCELED);
    for (int i = 0; i < 3; i++)
        future_release(waits[i]);
    future_release(done);
    future_release(late);
    future_release(signal);
    agenda_drain(rig.agenda);
    cr_assert_eq(rig.unhandled_count, 0);
}

Test(future, timers_are_futures_and_can_be_canceled_and_waited_for)
{
    struct future *first, *second, *third;

    cr_assert_eq(future_timer(rig.agenda, 10, &first), 0);
    cr_assert_eq(future_timer(rig.agenda, 5, &second), 0);
    cr_assert_eq(future_timer(rig.agenda, 1000, &third), 0);
    cr_assert(future_cancel(second));
    cr_assert_eq(agenda_due(rig.agenda), 10);
    cr_assert_eq(future_wait(first, 100), 0);
    cr_assert_eq(rig.now_us, 10);
    cr_assert_lt(future_wait(third, 100), 0, "timed out");
    cr_assert_not(future_is_settled(third));
    future_release(first);
    future_release(second);
    future_release(third);
}

/* Closing settles what is pending, and every continuation still runs: once, and with the reason. */
Test(future, closing_the_loop_rejects_what_is_pending_and_tells)
{
    struct future *future = pending(), *next, *late;

    future_then(future, NULL, say, (void *)"told", &next);
    agenda_close(rig.agenda);
    cr_assert_str_eq(rig.trace, "told");
    cr_assert_eq(result_of(future).code, RIG_CLOSED);
    cr_assert_lt(future_then(future, say, say, (void *)"late", &late), 0);
    cr_assert_null(future_create(rig.agenda, 0));
    future_release(future);
    future_release(next);
}

/* A chain of any length is held by its end only as far as the value needs: no memory grows, no stack either. */
Test(future, a_long_chain_does_not_hold_its_beginning)
{
    struct future *at = pending(), *next;

    future_settle(at, &(struct future_result){.code = -1, .pointer = "value"}, freed);
    for (int i = 0; i < 100000; i++) {
        cr_assert_eq(future_then(at, say, NULL, NULL, &next), 0);
        future_release(at);
        at = next;
        agenda_drain(rig.agenda);
    }
    cr_assert_str_eq(result_of(at).pointer, "value");
    future_release(at);
    cr_assert_str_eq(rig.trace, "value");
}
