/* test_sim_found.c: what the simulator, and faults of real brokers, found in the client's engine, each as the shortest trace
 * that shows it.
 *
 * A seed means another run as soon as the simulator's plan changes; these traces stay. */
#include "client/engine.h"
#include "tests/unit/engine_rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* Four events in flight, each a batch of its own, numbered 1 to 4. */
static void four_in_flight(struct rig *rig, struct sent *ret_sent)
{
    struct crier_options options = rig_options();
    options.linger_us = 0;
    rig_init(rig, &options);
    rig_ready(rig, 1 << 20);
    rig_know(rig, "t", 1);
    for (int i = 0; i < 4; i++) {
        rig_emit(rig, "t", (const char *[]){"a", "b", "c", "d"}[i], NULL);
        ret_sent[i] = rig_expect(rig, FRAME_EMIT);
        cr_assert_eq(rig_sequence(&ret_sent[i], 0), i + 1);
    }
    rig->done_count = 0;
}

/* An acknowledged event was lost: the last batch was refused at once, the others answered in another order than they were
 * sent, and the refused one was sent again under a number that was taken. */
Test(sim_found, answers_out_of_order_never_free_a_number_that_is_taken)
{
    struct rig rig;
    struct sent sent[4];
    four_in_flight(&rig, sent);
    rig_emitted(&rig, &sent[3], WIRE__OUTCOME__REFUSED, CRIER_ESHUTDOWN, -1);
    rig_emitted(&rig, &sent[2], WIRE__OUTCOME__OK, 0, 3);
    rig_emitted(&rig, &sent[0], WIRE__OUTCOME__OK, 0, 1);
    rig_emitted(&rig, &sent[1], WIRE__OUTCOME__OK, 0, 2);
    cr_assert_eq(rig.done_count, 3);
    rig_wait(&rig, 100000);
    struct sent again = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&again, 0, 0), "d");
    cr_assert_eq(rig_sequence(&again, 0), 4, "sent again as number %d, which is another's",
                 rig_sequence(&again, 0));
    rig_finish(&rig);
}

/* Found by failing a disk's reads under load: a broker that was read-only by then refused the first and called those behind it
 * unknown. They kept their numbers, the first one's were free, and after the broker's restart they were told to be unknown
 * for ever: for the gap. */
Test(sim_found, what_is_unknown_behind_a_refused_one_is_not_stored)
{
    struct rig rig;
    struct sent sent[4];
    four_in_flight(&rig, sent);
    rig_emitted(&rig, &sent[0], WIRE__OUTCOME__REFUSED, CRIER_EIO, -1);
    for (int i = 1; i < 4; i++)
        rig_emitted(&rig, &sent[i], WIRE__OUTCOME__UNKNOWN, CRIER_EIO, -1);
    cr_assert_eq(rig.done_count, 1);
    rig_wait(&rig, 100000);
    for (int i = 1; i < 4; i++) {
        struct sent again = rig_expect(&rig, FRAME_EMIT);
        cr_assert_str_eq(rig_value(&again, 0, 0), ((const char *[]){"b", "c", "d"}[i - 1]));
        cr_assert_eq(rig_sequence(&again, 0), i, "sent again as number %d: a gap", rig_sequence(&again, 0));
    }
    rig_finish(&rig);
}

static size_t wants_sent(struct rig *rig)
{
    size_t count = 0;
    while (!rig_sent_nothing(rig)) {
        rig_expect(rig, FRAME_CREDIT_WANT);
        count++;
    }
    return count;
}

/* A client that lived by CREDIT_WANT, with a durable and a memory event waiting, asked twice for every answer it got: the
 * connection filled with credit. */
Test(sim_found, credit_is_asked_for_once_however_often_it_is_told)
{
    struct rig rig;
    struct crier_emit_options memory = crier_emit_options_default();
    Wire__Credit credit = WIRE__CREDIT__INIT;
    char value[1000];
    memset(value, 'v', sizeof(value));
    memory.durability = CRIER_MEMORY;
    rig_init(&rig, NULL);
    rig_ready(&rig, 400);
    rig_know(&rig, "t", 1);
    cr_assert_eq(rig_emit_raw(&rig, "t", value, sizeof(value), NULL), 0);
    cr_assert_eq(rig_emit_raw(&rig, "t", value, sizeof(value) - 100, &memory), 0);
    size_t asked = wants_sent(&rig);
    cr_assert(asked == 1 || asked == 2);
    for (uint64_t total = 400; total < 410; total++) { /* CREDITs that are not enough for either */
        credit.total = total;
        rig_receive(&rig, FRAME_CREDIT, &credit, NULL, 0);
        asked += wants_sent(&rig);
    }
    cr_assert_leq(asked, 2, "asked %zu times for two frames", asked);
    rig_finish(&rig);
}

/* An acknowledged event was lost: batches that a restarted broker with a smaller limit refused, though its earlier life had
 * stored them, were given up as unknown; the connection went before a new producer id could be asked for; and the next event
 * got their numbers, so the broker took it for a duplicate. */
Test(sim_found, numbers_given_up_as_unknown_are_never_given_to_others)
{
    struct rig rig;
    struct sent sent[4];
    four_in_flight(&rig, sent);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    for (int i = 0; i < 4; i++)
        sent[i] = rig_expect(&rig, FRAME_EMIT);
    rig_know(&rig, "u", 1);
    rig_emit(&rig, "u", "on its way", NULL);
    rig_expect(&rig, FRAME_EMIT);
    for (int i = 0; i < 4; i++)
        rig_emitted(&rig, &sent[i], WIRE__OUTCOME__REFUSED, CRIER_ETOOBIG, -1);
    cr_assert_eq(rig.done_codes[0], CRIER_EUNKNOWN);
    rig_cut(&rig);
    rig_reconnect(&rig, 1 << 20);
    rig_expect(&rig, FRAME_EMIT); /* to "u", once more */
    rig_emit(&rig, "t", "e", NULL);
    struct sent next = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&next, 0, 0), "e");
    cr_assert_gt(rig_sequence(&next, 0), 4, "it got number %d, which may be taken", rig_sequence(&next, 0));
    rig_finish(&rig);
}
