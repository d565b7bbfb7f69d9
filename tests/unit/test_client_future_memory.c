/* test_client_future_memory.c: the public calls of crier/future.h when memory runs out at the n-th allocation, for every n:
 * an error, no leak, no continuation lost. The bus lives on this thread's loop, and nobody answers it. */
#include "base/check.h"
#include "crier/future.h"
#include "tests/support/allocation.h"

#include <criterion/criterion.h>
#include <event2/event.h>

static int count(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result;
    (void)ret;
    ++*(int *)ctx;
    return 0;
}

static void count_call(crier *bus, void *ctx)
{
    (void)bus;
    ++*(int *)ctx;
}

/* As far as memory goes. Returns whether it went all the way; *ret_wanted: how many calls must have come. */
static bool scenario(crier *bus, int *ran, int *ret_wanted)
{
    crier_future *own = NULL, *next = NULL, *timer = NULL, *stored = NULL, *all = NULL;
    int wanted = 0;
    bool good = true, ok;

#define TRY(call, calls)                                                                                     \
    do {                                                                                                     \
        int code = good ? (call) : 1;                                                                        \
        cr_assert(code == 0 || code == 1 || code == CRIER_ENOMEM, "%s: %d", #call, code);                    \
        ok = code == 0;                                                                                      \
        good = good && ok;                                                                                   \
        wanted += ok ? (calls) : 0;                                                                          \
    } while (0)
    TRY(crier_future_create(bus, &own), 0);
    TRY(crier_future_then(own, count, count, ran, &next), 1);
    TRY(crier_future_finally(own, count, ran, NULL), 1);
    TRY(crier_after(bus, 0, &timer), 0);
    TRY(crier_future_catch(timer, count, ran, NULL), 0);
    TRY(crier_emit_future(bus, "t", "x", 1, NULL, &stored), 0);
    TRY(crier_future_all(bus, (crier_future *[]){own, timer, stored}, 3, &all), 0);
    TRY(crier_future_then(all, count, count, ran, NULL), 1);
    TRY(crier_next_tick(bus, count_call, ran), 1);
    TRY(crier_immediate(bus, count_call, ran), 1);
#undef TRY
    if (own)
        cr_assert_eq(crier_future_settle(own, &(crier_result){.number = 1}, NULL), 0);
    crier_future_release(own);
    crier_future_release(next);
    crier_future_release(timer);
    crier_future_release(stored);
    crier_future_release(all);
    *ret_wanted = wanted;
    return good;
}

Test(client_future_memory, the_nth_allocation_fails_for_every_n)
{
    bool good = false;
    unsigned failed = 0;

    for (unsigned skip = 0; !good; skip++) {
        struct crier_options options = crier_options_default();
        long before = allocation_out();
        int ran = 0, wanted = 0;
        crier *bus;
        options.base = event_base_new();
        options.connect_timeout_ms = 0;
        options.close_timeout_ms = 0;
        cr_assert_eq(crier_open("unix:/nobody/is/here", &options, &bus), 0);
        allocation_fail_after(skip);
        good = scenario(bus, &ran, &wanted);
        allocation_never_fail();
        crier_close(bus);
        event_base_free(options.base);
        cr_assert_eq(ran, wanted, "after %u allocations", skip);
        cr_assert_eq(allocation_out(), before, "after %u allocations something leaked", skip);
        failed += !good;
        cr_assert_lt(skip, 200);
    }
    cr_assert_gt(failed, 10);
}
