/* test_future_combine.c: all, all_settled, race and any, as ECMAScript 2021 (27.2.4) defines them. */
#include "tests/unit/agenda_rig.h"

#include <criterion/criterion.h>

static struct agenda_rig rig;
static struct future *inputs[3];

static void setup(void)
{
    rig_open(&rig);
    for (int i = 0; i < 3; i++)
        inputs[i] = future_create(rig.agenda, 0);
}

static void teardown(void)
{
    for (int i = 0; i < 3; i++)
        future_release(inputs[i]);
    agenda_drain(rig.agenda);
    cr_assert_eq(rig.unhandled_count, 0, "a combinator looks after its inputs");
    rig_close(&rig);
}

TestSuite(combine, .init = setup, .fini = teardown);

static struct future *combine(enum future_combinator how, size_t count)
{
    struct future *future;

    cr_assert_eq(future_combine(rig.agenda, how, inputs, count, &future), 0);
    return future;
}

/* 0: fulfilled with 10 + index; else rejected with that. */
static void settle(int index, int code)
{
    future_settle(inputs[index],
                  &(struct future_result){.code = code, .number = code ? 0 : 10 + (uint64_t)index}, NULL);
    agenda_drain(rig.agenda);
}

static void expect_results(struct future *future, int code, const int *codes, size_t count)
{
    struct future_result result;
    const struct future_result *all;

    cr_assert(future_result(future, &result));
    cr_assert_eq(result.code, code);
    cr_assert_eq(result.size, count);
    all = result.pointer;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(all[i].code, codes[i]);
        if (codes[i] == 0)
            cr_assert_eq(all[i].number, 10 + i, "in the order of the inputs");
    }
    future_release(future);
}

static void expect_one(struct future *future, int code, uint64_t number)
{
    struct future_result result;

    cr_assert(future_result(future, &result));
    cr_assert_eq(result.code, code);
    cr_assert_eq(result.number, number);
    future_release(future);
}

Test(combine, all_gives_the_results_in_order_of_the_inputs)
{
    struct future *future = combine(FUTURE_ALL, 3);

    settle(2, 0);
    settle(0, 0);
    cr_assert_not(future_is_settled(future));
    settle(1, 0);
    expect_results(future, 0, (int[]){0, 0, 0}, 3);
}

Test(combine, all_is_rejected_with_the_first_rejection)
{
    struct future *future = combine(FUTURE_ALL, 3);

    settle(2, -5);
    cr_assert(future_is_settled(future), "without waiting for the others");
    settle(0, -6);
    settle(1, 0);
    expect_one(future, -5, 0);
}

Test(combine, all_settled_never_rejects)
{
    struct future *future = combine(FUTURE_ALL_SETTLED, 3);

    settle(1, -5);
    settle(2, -6);
    cr_assert_not(future_is_settled(future));
    settle(0, 0);
    expect_results(future, 0, (int[]){0, -5, -6}, 3);
}

Test(combine, race_is_as_the_first_that_settles)
{
    struct future *good = combine(FUTURE_RACE, 2), *bad;

    settle(1, 0);
    settle(0, -5);
    expect_one(good, 0, 11);
    bad = combine(FUTURE_RACE, 2); /* both settled: the first in order */
    agenda_drain(rig.agenda);
    expect_one(bad, -5, 0);
}

Test(combine, any_is_as_the_first_that_is_fulfilled)
{
    struct future *future = combine(FUTURE_ANY, 3);

    settle(0, -5);
    cr_assert_not(future_is_settled(future));
    settle(2, 0);
    settle(1, 0);
    expect_one(future, 0, 12);
}

/* The aggregate error: all the reasons, in order of the inputs, not of their coming. */
Test(combine, any_is_rejected_with_all_the_reasons)
{
    struct future *future = combine(FUTURE_ANY, 3);

    settle(2, -7);
    settle(0, -5);
    settle(1, -6);
    expect_results(future, -5, (int[]){-5, -6, -7}, 3);
}

Test(combine, of_nothing)
{
    struct future *race = combine(FUTURE_RACE, 0);

    expect_results(combine(FUTURE_ALL, 0), 0, NULL, 0);
    expect_results(combine(FUTURE_ALL_SETTLED, 0), 0, NULL, 0);
    expect_results(combine(FUTURE_ANY, 0), RIG_INVALID, NULL, 0);
    agenda_drain(rig.agenda);
    cr_assert_not(future_is_settled(race), "for ever");
    future_cancel(race);
    future_release(race);
}

Test(combine, one_future_may_be_there_twice)
{
    struct future *same[2] = {inputs[0], inputs[0]}, *future;

    cr_assert_eq(future_combine(rig.agenda, FUTURE_ALL, same, 2, &future), 0);
    settle(0, 0);
    cr_assert(future_is_settled(future));
    future_release(future);
}

/* The losers of a race go on; when they settle, nobody is there any more, and nothing breaks. */
Test(combine, the_losers_of_a_race_settle_later)
{
    struct future *future = combine(FUTURE_RACE, 3);

    settle(0, 0);
    future_release(future);
    settle(1, -5);
    settle(2, 0);
}

Test(combine, of_two_loops)
{
    struct agenda_rig other;
    struct future *both[2] = {inputs[0], NULL}, *future;

    rig_open(&other);
    both[1] = future_create(other.agenda, 0);
    cr_assert_eq(future_combine(rig.agenda, FUTURE_ALL, both, 2, &future), 0);
    settle(0, 0);
    rig_close(&other); /* rejects the second */
    cr_assert(future_is_settled(future));
    expect_one(future, RIG_CLOSED, 0);
    future_release(both[1]);
}
