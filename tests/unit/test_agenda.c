/* test_agenda.c: the loop's order: the classic puzzles of Node's event loop, and that nobody can keep others waiting. */
#include "tests/unit/agenda_rig.h"

#include <criterion/criterion.h>

static struct agenda_rig rig;
static struct named tick, tick2, continuation, continuation2, immediate, immediate2, timer, timer2;

static void setup(void)
{
    rig_open(&rig);
    rig_named(&tick, &rig, "tick", NULL);
    rig_named(&tick2, &rig, "tick2", NULL);
    rig_named(&continuation, &rig, "continuation", NULL);
    rig_named(&continuation2, &rig, "continuation2", NULL);
    rig_named(&immediate, &rig, "immediate", NULL);
    rig_named(&immediate2, &rig, "immediate2", NULL);
    rig_named(&timer, &rig, "timer", NULL);
    rig_named(&timer2, &rig, "timer2", NULL);
}

static void teardown(void)
{
    rig_close(&rig);
}

TestSuite(agenda, .init = setup, .fini = teardown);

/* setTimeout, setImmediate, Promise.resolve().then and process.nextTick, asked for in the "wrong" order inside an I/O
 * callback: nextTick, promise, immediate, timeout. */
Test(agenda, ticks_then_continuations_then_immediates_then_timers)
{
    agenda_timer_add(rig.agenda, &timer.timer, 0);
    agenda_add(rig.agenda, AGENDA_IMMEDIATE, &immediate.task);
    agenda_add(rig.agenda, AGENDA_CONTINUATION, &continuation.task);
    agenda_add(rig.agenda, AGENDA_TICK, &tick.task);
    agenda_drain(rig.agenda);
    cr_assert(agenda_immediates(rig.agenda), "it says that something ran: the loop has to look once more");
    cr_assert(agenda_timers(rig.agenda, 0));
    cr_assert_str_eq(rig.trace, "tick continuation immediate timer");
    cr_assert_not(agenda_immediates(rig.agenda));
    cr_assert_not(agenda_timers(rig.agenda, 0));
}

static void add_tick2(struct named *named)
{
    agenda_add(named->rig->agenda, AGENDA_TICK, &tick2.task);
}

/* A tick that a tick asks for comes before the first continuation. */
Test(agenda, ticks_of_ticks_come_before_continuations)
{
    tick.then = add_tick2;
    agenda_add(rig.agenda, AGENDA_CONTINUATION, &continuation.task);
    agenda_add(rig.agenda, AGENDA_TICK, &tick.task);
    rig_turn(&rig);
    cr_assert_str_eq(rig.trace, "tick tick2 continuation");
}

/* A tick that a continuation asks for waits for the continuations there are: Node's microtasks are through before its next
 * tick queue is looked at again. */
Test(agenda, ticks_of_continuations_come_after_continuations)
{
    continuation.then = add_tick2;
    agenda_add(rig.agenda, AGENDA_CONTINUATION, &continuation.task);
    agenda_add(rig.agenda, AGENDA_CONTINUATION, &continuation2.task);
    rig_turn(&rig);
    cr_assert_str_eq(rig.trace, "continuation continuation2 tick2");
}

/* Between two immediates, and between two timers, what the first left behind is done (Node since 11). */
Test(agenda, after_every_callback_the_queues_are_drained)
{
    immediate.then = timer.then = add_tick2;
    agenda_add(rig.agenda, AGENDA_IMMEDIATE, &immediate.task);
    agenda_add(rig.agenda, AGENDA_IMMEDIATE, &immediate2.task);
    agenda_timer_add(rig.agenda, &timer.timer, 0);
    agenda_timer_add(rig.agenda, &timer2.timer, 0);
    rig_turn(&rig);
    cr_assert_str_eq(rig.trace, "immediate tick2 immediate2 timer tick2 timer2");
}

static void add_immediate_and_timer(struct named *named)
{
    agenda_timer_add(named->rig->agenda, &timer2.timer, 0);
    agenda_add(named->rig->agenda, AGENDA_IMMEDIATE, &immediate2.task);
}

/* From inside a timer an immediate is first; from inside an immediate a timer is. Each waits for the next phase of its kind. */
Test(agenda, what_a_phase_adds_to_itself_waits_for_the_next_turn)
{
    timer.then = add_immediate_and_timer;
    agenda_timer_add(rig.agenda, &timer.timer, 0);
    rig_turn(&rig);
    cr_assert_str_eq(rig.trace, "timer");
    rig_turn(&rig);
    cr_assert_str_eq(rig.trace, "timer immediate2 timer2");
    immediate.then = add_immediate_and_timer;
    rig.trace[0] = '\0';
    agenda_add(rig.agenda, AGENDA_IMMEDIATE, &immediate.task);
    rig_turn(&rig);
    cr_assert_str_eq(rig.trace, "immediate timer2");
    rig_turn(&rig);
    cr_assert_str_eq(rig.trace, "immediate timer2 immediate2");
}

Test(agenda, timers_come_by_due_time_and_then_in_the_order_they_were_added)
{
    struct named many[64];
    char names[64][4];

    for (int i = 0; i < 64; i++) {
        names[i][0] = (char)('a' + (i * 37 % 64) / 16); /* due 0..3, as its letter says */
        names[i][1] = (char)('0' + i / 10);
        names[i][2] = (char)('0' + i % 10);
        names[i][3] = '\0';
        rig_named(&many[i], &rig, names[i], NULL);
        cr_assert_eq(agenda_timer_add(rig.agenda, &many[i].timer, names[i][0] - 'a'), 0);
    }
    for (int i = 0; i < 64; i += 3)
        cr_assert(agenda_timer_remove(rig.agenda, &many[i].timer));
    cr_assert_not(agenda_timer_remove(rig.agenda, &many[0].timer), "it is not there any more");
    cr_assert_eq(agenda_due(rig.agenda), 0);
    rig.now_us = 3;
    rig_turn(&rig);
    cr_assert_eq(strlen(rig.trace), (64 - 22) * 4 - 1);
    for (const char *at = rig.trace; strlen(at) > 4; at += 4)
        cr_assert_lt(memcmp(at, at + 4, 3), 0, "%.3s before %.3s", at, at + 4);
    cr_assert_eq(agenda_due(rig.agenda), AGENDA_NEVER);
}

static void add_itself(struct named *named)
{
    named->rig->trace[0] = '\0'; /* it would fill it */
    ++*(int *)named->ctx;
    agenda_add(named->rig->agenda, named == &tick ? AGENDA_TICK : AGENDA_CONTINUATION, &named->task);
}

/* A recursive nextTick starves Node's loop. Here it runs as much as it can, and timers and immediates get their turn. */
Test(agenda, a_queue_that_feeds_itself_cannot_starve_the_others)
{
    static int runs; /* until the teardown */

    tick.ctx = continuation.ctx = &runs;
    tick.then = continuation.then = add_itself;
    agenda_timer_add(rig.agenda, &timer.timer, 0);
    agenda_add(rig.agenda, AGENDA_TICK, &tick.task);
    agenda_add(rig.agenda, AGENDA_CONTINUATION, &continuation.task);
    agenda_add(rig.agenda, AGENDA_IMMEDIATE, &immediate.task);
    rig_turn(&rig);
    cr_assert_eq(timer.timer.node.place, HEAP_NOWHERE, "the timer has run");
    cr_assert(!list_is_linked(&immediate.task.link), "the immediate has run");
    cr_assert_leq(runs, 3 * AGENDA_DRAIN_MAX, "one after each phase's callback");
    cr_assert_eq(agenda_due(rig.agenda), 0, "and the loop comes back at once");
}

Test(agenda, adding_asks_for_a_turn_once)
{
    agenda_add(rig.agenda, AGENDA_TICK, &tick.task);
    agenda_add(rig.agenda, AGENDA_TICK, &tick2.task);
    cr_assert_eq(rig.wakes, 1);
    rig_turn(&rig);
    agenda_add(rig.agenda, AGENDA_TICK, &tick.task);
    cr_assert_eq(rig.wakes, 2);
}

/* The end runs what is there, drops what feeds itself and every timer, and whatever is added later. */
Test(agenda, closing_runs_what_is_there_and_drops_what_never_ends)
{
    static int runs; /* until the teardown */

    continuation.ctx = &runs;
    continuation.then = add_itself;
    agenda_add(rig.agenda, AGENDA_CONTINUATION, &continuation.task);
    agenda_add(rig.agenda, AGENDA_IMMEDIATE, &immediate.task);
    agenda_timer_add(rig.agenda, &timer.timer, 1);
    agenda_close(rig.agenda);
    cr_assert(continuation.dropped);
    cr_assert(timer.dropped);
    cr_assert_not(immediate.dropped);
    agenda_add(rig.agenda, AGENDA_TICK, &tick.task);
    cr_assert(tick.dropped);
    cr_assert_lt(agenda_timer_add(rig.agenda, &timer2.timer, 0), 0);
}
