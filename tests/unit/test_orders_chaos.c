/* test_orders_chaos.c: the plan of kills of the order example's chaos: repeatable, and it hits everybody. */
#include "examples/order-processing/chaos.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const int roles[] = {0, 2, 3};
static const int instances[] = {1, 0, 3, 2};

static struct chaos *plan(uint64_t seed, int count)
{
    struct chaos *chaos = calloc(1, sizeof(*chaos));
    cr_assert_not_null(chaos);
    chaos->seed = seed;
    chaos->count = count;
    chaos_plan(chaos, roles, 3, instances);
    return chaos;
}

Test(chaos, the_same_seed_makes_the_same_plan_and_another_seed_another)
{
    struct chaos *a = plan(7, 40), *b = plan(7, 40), *c = plan(8, 40);
    cr_expect_eq(memcmp(a, b, sizeof(*a)), 0);
    cr_expect_neq(memcmp(a->kills, c->kills, sizeof(a->kills)), 0);
    cr_expect_eq(chaos_duration_ms(a), a->kills[39].at_ms);
    free(a);
    free(b);
    free(c);
}

Test(chaos, every_role_is_hit_in_each_turn_and_only_instances_that_are_there)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct chaos *chaos = plan(seed, 30);
        int before_ms = 0;
        for (int turn = 0; turn < 10; turn++) {
            int hit[4] = {0};
            for (int i = 3 * turn; i < 3 * turn + 3; i++) {
                const struct chaos_kill *kill = &chaos->kills[i];
                hit[kill->role]++;
                cr_assert(kill->instance >= 0 && kill->instance < instances[kill->role]);
                cr_assert(kill->at_ms > before_ms && kill->away_ms >= 0);
                before_ms = kill->at_ms;
            }
            cr_assert(hit[0] == 1 && hit[2] == 1 && hit[3] == 1);
        }
        free(chaos);
    }
}

Test(chaos, a_choice_is_within_its_bounds_and_takes_every_value)
{
    bool seen[4] = {false};
    for (uint64_t seed = 0; seed < 100; seed++) {
        int chosen = chaos_choose(seed, 2, 3);
        cr_assert(chosen >= 1 && chosen <= 3);
        cr_assert_eq(chosen, chaos_choose(seed, 2, 3));
        seen[chosen] = true;
    }
    cr_expect(seen[1] && seen[2] && seen[3]);
}
