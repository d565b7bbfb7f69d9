/* test_future_memory.c: memory that runs out at the n-th allocation, for every n: an error, no leak, no half-done work. */
#include "tests/support/allocation.h"
#include "tests/unit/agenda_rig.h"

#include <criterion/criterion.h>

static int next_number(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    ++*(int *)ctx;
    ret->result.number = result->number + 1;
    return 0;
}

static int wait_for(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    (void)result;
    ret->future = future_retain(ctx);
    return 0;
}

/* Everything that allocates, as far as it gets. Returns whether all went well. */
static bool scenario(struct agenda_rig *rig, int *ran)
{
    struct future *first = future_create(rig->agenda, 16), *gate = NULL, *last = NULL, *timer = NULL,
                  *all = NULL;
    bool good = first && (gate = future_create(rig->agenda, 0)) &&
                future_then(first, next_number, NULL, ran, NULL) == 0 &&
                future_finally(first, wait_for, gate, &last) == 0 &&
                future_timer(rig->agenda, 5, &timer) == 0 &&
                future_combine(rig->agenda, FUTURE_ALL, (struct future *[]){last, timer}, 2, &all) == 0;

    if (first)
        future_settle(first, &(struct future_result){.number = 1}, NULL);
    if (gate)
        future_settle(gate, &(struct future_result){.number = 2}, NULL);
    rig->now_us = 5;
    for (int i = 0; i < 3; i++)
        rig_turn(rig);
    if (all && future_is_settled(all))
        good = good && future_settled_result(all)->code == 0;
    future_release(all);
    future_release(timer);
    future_release(last);
    future_release(gate);
    future_release(first);
    return good;
}

Test(future_memory, the_nth_allocation_fails_for_every_n)
{
    bool good = false;
    unsigned failed = 0;

    for (unsigned skip = 0; !good; skip++) {
        struct agenda_rig rig;
        long before = allocation_out();
        int ran = 0;
        rig_open(&rig);
        allocation_fail_after(skip);
        good = scenario(&rig, &ran);
        allocation_never_fail();
        rig_close(&rig);
        cr_assert_eq(allocation_out(), before, "after %u allocations something leaked", skip);
        failed += !good;
        cr_assert_lt(skip, 100);
    }
    cr_assert_gt(failed, 7, "every allocation of the scenario was refused once");
}
