/* test_verdict.c: the judge of the kill rounds sees every kind of offence it is there for. */
#include "tests/torture/verdict.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBERS 8 /* of producer 0; even numbers are in partition 0, odd ones in partition 1 */

struct story {
    struct completion log[NUMBERS];
    struct witness truth, listener;
};

static void show(struct witness *witness, uint32_t partition, uint64_t offset, uint32_t producer,
                 uint64_t number)
{
    struct witness_partition *to = &witness->partitions[partition];
    to->events = realloc(to->events, (to->count + 1) * sizeof(*to->events));
    cr_assert_not_null(to->events);
    if (to->count > 0 && offset <= to->events[to->count - 1].offset)
        to->disorder++;
    to->events[to->count++] = (struct seen){.offset = offset, .producer = producer, .number = number};
}

/* Everything acknowledged, stored and shown, as it should be. */
static struct story good_story(void)
{
    struct story story = {0};
    for (uint64_t number = 0; number < NUMBERS; number++) {
        story.log[number] = (struct completion){number / 2, OUTCOME_OK, 0};
        show(&story.truth, producers_partition(number), number / 2, 0, number);
        show(&story.listener, producers_partition(number), number / 2, 0, number);
    }
    return story;
}

static struct verdict judge(struct story *story)
{
    struct verdict verdict = {0};
    verdict_producer(&verdict, &story->truth, 0, story->log, NUMBERS);
    verdict_truth(&verdict, &story->truth);
    verdict_listener(&verdict, &story->truth, &story->listener);
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++) {
        free(story->truth.partitions[i].events);
        free(story->listener.partitions[i].events);
    }
    return verdict;
}

Test(verdict, a_run_without_offence)
{
    struct story story = good_story();
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict_offences(&verdict), 0);
    cr_expect_eq(verdict.acknowledged, NUMBERS);
    cr_expect_eq(verdict.stored, NUMBERS);
}

Test(verdict, an_unknown_event_may_be_there_or_at_the_end_not)
{
    struct story story = good_story();
    story.log[2].outcome = OUTCOME_UNKNOWN; /* and is there */
    story.log[6].outcome = OUTCOME_UNKNOWN;
    story.truth.partitions[0].count--; /* 6 is not, and was shown to nobody */
    story.listener.partitions[0].count--;
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict_offences(&verdict), 0);
}

Test(verdict, an_acknowledged_event_that_is_missing_is_lost)
{
    struct story story = good_story();
    story.truth.partitions[0].count--;
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.lost, 1);
    cr_expect_eq(verdict.changed, 1); /* and the listener was shown it */
}

Test(verdict, an_acknowledged_event_at_another_offset_is_lost)
{
    struct story story = good_story();
    story.log[4].offset = 1;
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.lost, 1);
}

Test(verdict, an_acknowledgement_without_offset_only_asks_that_it_is_there)
{
    struct story story = good_story();
    story.log[4].offset = UINT64_MAX;
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict_offences(&verdict), 0);
}

Test(verdict, an_event_stored_twice_is_a_duplicate)
{
    struct story story = good_story();
    show(&story.truth, 0, 4, 0, 6);
    show(&story.listener, 0, 4, 0, 6);
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.duplicated, 1);
    cr_expect_eq(verdict_offences(&verdict), 1);
}

Test(verdict, events_of_a_producer_out_of_their_order)
{
    struct story story = good_story();
    story.log[2].offset = 2;
    story.log[4].offset = 1;
    story.truth.partitions[0].events[1].number = 4;
    story.truth.partitions[0].events[2].number = 2;
    story.listener.partitions[0].events[1].number = 4;
    story.listener.partitions[0].events[2].number = 2;
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.reordered, 1);
    cr_expect_eq(verdict_offences(&verdict), 1);
}

Test(verdict, an_offset_that_is_shown_again_is_disorder)
{
    struct story story = good_story();
    show(&story.listener, 1, 3, 0, 7);
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.reordered, 1);
}

Test(verdict, an_event_that_the_listener_was_not_shown_is_missed)
{
    struct story story = good_story();
    struct witness_partition *shown = &story.listener.partitions[0];
    memmove(&shown->events[1], &shown->events[2], 2 * sizeof(shown->events[0])); /* in the middle */
    shown->count--;
    story.listener.partitions[1].count--; /* at the end */
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.missed, 2);
    cr_expect_eq(verdict_offences(&verdict), 2);
}

Test(verdict, what_a_witness_saw_survives_a_file)
{
    struct story story = good_story();
    char path[] = "/tmp/crier-test-witness-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    struct witness again;
    story.listener.partitions[1].disorder = 3;
    cr_assert_eq(witness_write(&story.listener, path), 0);
    cr_assert_eq(witness_read(&again, path), 0);
    cr_expect_eq(again.partitions[1].disorder, 3);
    cr_expect_eq(again.partitions[0].count, NUMBERS / 2);
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++)
        for (uint64_t at = 0; at < again.partitions[i].count; at++)
            cr_expect_eq(again.partitions[i].events[at].number,
                         story.listener.partitions[i].events[at].number);
    witness_finish(&again);
    cr_expect_lt(witness_read(&again, "/tmp/crier-no-such-file"), 0);
    witness_finish(&again);
    judge(&story);
    unlink(path);
}

Test(verdict, a_refused_or_unheard_of_event_that_is_there_is_a_phantom)
{
    struct story story = good_story();
    story.log[3].outcome = OUTCOME_REFUSED;
    show(&story.truth, 0, 4, 0, NUMBERS + 2);
    show(&story.truth, 0, 5, PRODUCERS, 0); /* bytes nobody emitted */
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.phantom, 3);
}

Test(verdict, an_event_without_outcome_that_is_missing_below_a_later_one_is_a_gap)
{
    struct story story = good_story();
    story.log[2].outcome = OUTCOME_UNKNOWN;
    struct witness_partition *partition = &story.truth.partitions[0], *shown = &story.listener.partitions[0];
    memmove(&partition->events[1], &partition->events[2], 2 * sizeof(partition->events[0]));
    memmove(&shown->events[1], &shown->events[2], 2 * sizeof(shown->events[0]));
    partition->count--;
    shown->count--;
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.gaps, 1);
    cr_expect_eq(verdict_offences(&verdict), 1);
}

Test(verdict, an_offset_that_changes_its_value)
{
    struct story story = good_story();
    story.listener.partitions[1].events[2].number = 1;
    struct verdict verdict = judge(&story);
    cr_expect_eq(verdict.changed, 1);
}

Test(verdict, damaged_bytes_are_nobodys)
{
    uint8_t value[64] = {0};
    uint32_t producer;
    uint64_t number;
    cr_expect_not(producers_recognise(value, sizeof(value), &producer, &number));
    cr_expect_not(producers_recognise(value, 3, &producer, &number));
}
