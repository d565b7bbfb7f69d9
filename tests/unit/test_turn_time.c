/* Percentiles of the reactor's turns: never below the truth, and at most an eighth above it. */
#include "broker/turn_time.h"

#include <criterion/criterion.h>

Test(turn_time, nothing_measured_is_zero)
{
    struct turn_time time = {0};
    cr_assert_eq(turn_time_permille_us(&time, 990), 0);
}

Test(turn_time, percentiles_are_at_most_an_eighth_too_large)
{
    struct turn_time time = {0};
    for (int64_t us = 1; us <= 100000; us++)
        turn_time_add(&time, us);
    static const unsigned permilles[] = {1, 500, 990, 999, 1000};
    for (unsigned i = 0; i < 5; i++) {
        int64_t truth = 100 * (int64_t)permilles[i], said = turn_time_permille_us(&time, permilles[i]);
        cr_assert(said >= truth && said <= truth + truth / 8 + 1, "%u: %lld", permilles[i], (long long)said);
    }
    cr_assert_eq(time.max_us, 100000);
}

Test(turn_time, a_rare_long_turn_is_in_the_tail_and_not_in_the_middle)
{
    struct turn_time time = {0};
    for (unsigned i = 0; i < 1000; i++)
        turn_time_add(&time, i == 500 ? 80000 : 20);
    cr_assert_leq(turn_time_permille_us(&time, 990), 23);
    cr_assert_eq(turn_time_permille_us(&time, 1000), 80000);
}

Test(turn_time, one_turn_in_sixteen_is_measured)
{
    struct turn_time time = {0};
    for (unsigned i = 0; i < 160; i++) {
        turn_time_begin(&time);
        turn_time_end(&time);
    }
    cr_assert_eq(time.turns, 160);
    cr_assert_eq(time.measured, 160 / TURN_TIME_EVERY);
}
