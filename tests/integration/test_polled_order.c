/* test_polled_order.c: the classic puzzles of a loop's order, on a loop that is nothing but a descriptor, a timeout and
 * crier_process(): the answers are Node's, on local:, embed: and crier://. See docs/loop.md. */
#include "tests/support/broker_fixture.h"

#include "base/clock.h"
#include "crier/future.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_US INT64_C(20000000)

static crier *bus;
static char trace[512];

static void say(const char *name)
{
    size_t size = strlen(trace);
    snprintf(trace + size, sizeof(trace) - size, "%s%s", size > 0 ? " " : "", name);
}

/* Turns the loop until so much was said: nothing else moves the bus. */
static void expect(const char *wanted)
{
    int64_t deadline = clock_monotonic_us() + WAIT_US;
    while (strlen(trace) < strlen(wanted) && clock_monotonic_us() < deadline) {
        struct pollfd fd = {.fd = crier_fd(bus), .events = POLLIN};
        cr_assert_geq(poll(&fd, 1, crier_timeout_ms(bus)), 0);
        cr_assert_eq(crier_process(bus), 0);
    }
    cr_assert_str_eq(trace, wanted);
    trace[0] = '\0';
}

/* ---- what a script does, in C ---- */

struct step {
    const char *name;
    void (*more)(void); /* what it asks for in its turn; NULL: nothing */
};

static void run_step(const struct step *step)
{
    say(step->name);
    if (step->more)
        step->more();
}

static void on_call(crier *a_bus, void *ctx)
{
    (void)a_bus;
    run_step(ctx);
}

static int on_continuation(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result, (void)ret;
    run_step(ctx);
    return 0;
}

static void next_tick(struct step *step)
{
    cr_assert_eq(crier_next_tick(bus, on_call, step), 0);
}

static void set_immediate(struct step *step)
{
    cr_assert_eq(crier_immediate(bus, on_call, step), 0);
}

/* Promise.resolve().then(step) */
static void then(struct step *step)
{
    crier_future *settled;
    cr_assert_eq(crier_future_create(bus, &settled), 0);
    cr_assert_eq(crier_future_settle(settled, &(crier_result){0}, NULL), 0);
    cr_assert_eq(crier_future_then(settled, on_continuation, NULL, step, NULL), 0);
    crier_future_release(settled);
}

static void set_timeout(struct step *step, int64_t delay_us)
{
    crier_future *timer;
    cr_assert_eq(crier_after(bus, delay_us, &timer), 0);
    cr_assert_eq(crier_future_then(timer, on_continuation, NULL, step, NULL), 0);
    crier_future_release(timer);
}

/* ---- on every kind of bus ---- */

static void on_polled(const char *url, void (*puzzle)(void))
{
    struct crier_options options = crier_options_default();
    options.polled = true;
    cr_assert_eq(crier_open(url, &options, &bus), 0, "%s", url);
    puzzle();
    cr_assert_eq(crier_close(bus), 0);
}

static void on_every_kind(void (*puzzle)(void))
{
    char folder[] = "/tmp/crier-order-XXXXXX", url[64], command[64];
    struct broker *broker = broker_start(NULL);
    cr_assert_not_null(broker);
    cr_assert_not_null(mkdtemp(folder));
    snprintf(url, sizeof(url), "embed:%s", folder);
    on_polled("local:", puzzle);
    on_polled(url, puzzle);
    on_polled(broker_url(broker), puzzle);
    cr_assert_eq(broker_destroy(broker), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(polled_order, .timeout = 120);

/* ---- everything at once, asked for in the "wrong" order ---- */

static struct step timer = {"timer", NULL}, immediate = {"immediate", NULL},
                   continuation = {"continuation", NULL}, tick = {"tick", NULL};

static void ask_for_everything(void)
{
    set_timeout(&timer, 0);
    set_immediate(&immediate);
    then(&continuation);
    next_tick(&tick);
}

static void everything(void)
{
    struct step script = {"script", ask_for_everything};
    set_immediate(&script); /* inside the loop, where an immediate comes before a timer */
    expect("script tick continuation timer immediate");
}

Test(polled_order, ticks_then_continuations_then_timers_and_immediates)
{
    on_every_kind(everything);
}

/* ---- ticks and continuations that ask for more ---- */

static struct step inner_tick = {"tick in tick", NULL}, late_tick = {"tick in continuation", NULL},
                   inner_continuation = {"continuation in continuation", NULL};

static void ask_tick(void)
{
    next_tick(&inner_tick);
}

static void ask_both(void)
{
    next_tick(&late_tick);
    then(&inner_continuation);
}

static void nested(void)
{
    struct step first_tick = {"tick", ask_tick}, first = {"first", ask_both}, second = {"second", NULL};
    then(&first);
    then(&second);
    next_tick(&first_tick);
    expect("tick tick in tick first second continuation in continuation tick in continuation");
}

Test(polled_order, what_ticks_and_continuations_ask_for_is_done_in_the_same_round)
{
    on_every_kind(nested);
}

/* ---- a phase does not feed itself ---- */

static struct step again = {"again", NULL}, between = {"tick between", NULL}, other = {"other", NULL};

static void ask_again(void)
{
    set_immediate(&again);
    next_tick(&between);
}

static void phases(void)
{
    struct step once = {"immediate", ask_again};
    set_immediate(&once);
    set_immediate(&other);
    expect("immediate tick between other again");
}

Test(polled_order, what_an_immediate_asks_for_waits_for_the_next_turn)
{
    on_every_kind(phases);
}

/* ---- timers ---- */

static void timers(void)
{
    struct step a = {"a", NULL}, b = {"b", NULL}, c = {"c", NULL}, d = {"d", NULL};
    set_timeout(&a, 20000);
    set_timeout(&b, 10000);
    set_timeout(&c, 0);
    set_timeout(&d, 0);
    expect("c d b a");
}

Test(polled_order, timers_go_off_by_due_time_and_then_in_the_order_they_were_made)
{
    on_every_kind(timers);
}
