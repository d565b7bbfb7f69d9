/* test_sim_checker.c: each check finds its violation in a history made by hand, and nothing in a good one. */
#include "tests/sim/checker.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { READER_A, READER_B, LIVE, MEMBER, TOPIC = 1 };

struct scene {
    struct history history;
    uint32_t emits[16];
};

static uint32_t emit(struct scene *s, uint32_t client, uint32_t number)
{
    struct history_emit made = {
        .client = client, .number = number, .topic = TOPIC, .partition = -1, .size = VALUE_SIZE_MIN + number};
    return history_emit(&s->history, &made, 1000);
}

static void acknowledge(struct scene *s, uint32_t index, uint64_t offset)
{
    history_outcome(&s->history, index, 0, false, offset, 2000);
}

static void deliver(struct scene *s, uint32_t listener, uint64_t offset, uint32_t index)
{
    const struct history_emit *made = &s->history.emits[index];
    uint8_t value[256];
    value_make(value, made->client, made->number, made->size);
    history_delivered(&s->history, listener, 0, offset, value, made->size, false);
}

static void position(struct scene *s, uint64_t offset)
{
    history_position(&s->history, &(struct history_position){
                                      .group = 0, .topic = TOPIC, .partition = 0, .offset = offset});
}

/* Two readers, one live listener, one member of a group; nothing has happened yet. */
static struct scene scene_make(void)
{
    struct scene s;
    history_init(&s.history);
    s.history.partitions[TOPIC] = 1;
    struct history_listener listener = {
        .topic = TOPIC, .group = HISTORY_NONE, .from = FROM_EARLIEST, .truth = 1};
    history_listen(&s.history, &listener);
    listener.truth = 2;
    history_listen(&s.history, &listener);
    listener.truth = 0;
    listener.from = FROM_LIVE;
    history_listen(&s.history, &listener);
    listener.group = 0;
    history_listen(&s.history, &listener);
    return s;
}

/* The readers see these emits, in this order, both of them. */
static void read_all(struct scene *s, const uint32_t *emits, size_t count)
{
    for (uint32_t reader = READER_A; reader <= READER_B; reader++) {
        history_listening(&s->history, reader);
        for (size_t i = 0; i < count; i++)
            deliver(s, reader, i, emits[i]);
    }
}

/* Client 1 emits 0, 1, 2; all are acknowledged at their places; the live listener got all. */
static struct scene scene_good(void)
{
    struct scene s = scene_make();
    history_listening(&s.history, LIVE);
    for (uint32_t i = 0; i < 3; i++) {
        s.emits[i] = emit(&s, 1, i);
        acknowledge(&s, s.emits[i], i);
        deliver(&s, LIVE, i, s.emits[i]);
    }
    s.history.listeners[LIVE].must_end = true;
    return s;
}

static void member_begins(struct scene *s, uint32_t member)
{
    history_assigned(&s->history, member, 0, true);
    history_listening(&s->history, member);
}

/* invariant 0: nothing is found. */
static void expect(struct scene *s, int invariant)
{
    struct report report = {.count = 0};
    checker_run(&s->history, &report);
    history_finish(&s->history);
    if (invariant == 0)
        cr_assert_eq(report.count, 0, "found in a good history: I%d %s", report.violations[0].invariant,
                     report.violations[0].text);
    for (size_t i = 0; i < report.count; i++)
        if (report.violations[i].invariant == invariant)
            return;
    cr_assert_eq(invariant, 0, "I%d was broken and not found (%zu others were)", invariant, report.count);
}

Test(checker, a_good_history_is_good)
{
    struct scene s = scene_good();
    read_all(&s, s.emits, 3);
    expect(&s, 0);
}

Test(checker, an_empty_history_is_good)
{
    struct scene s = scene_make();
    expect(&s, 0);
}

Test(checker, I1_an_acknowledged_event_that_is_lost_at_the_end_is_found)
{
    struct scene s = scene_good();
    read_all(&s, s.emits, 2);
    expect(&s, 1);
}

Test(checker, I1_an_acknowledged_event_that_is_lost_in_the_middle_is_found)
{
    struct scene s = scene_good();
    uint32_t left[] = {s.emits[0], s.emits[2]};
    read_all(&s, left, 2);
    expect(&s, 1);
}

Test(checker, I1_an_acknowledged_event_at_another_offset_is_found)
{
    struct scene s = scene_make();
    uint32_t order[] = {emit(&s, 1, 0), emit(&s, 2, 0)};
    acknowledge(&s, order[0], 1);
    acknowledge(&s, order[1], 0);
    read_all(&s, order, 2);
    expect(&s, 1);
}

Test(checker, I1_a_duplicate_without_an_offset_must_be_somewhere)
{
    struct scene s = scene_make();
    uint32_t index = emit(&s, 1, 0);
    acknowledge(&s, index, HISTORY_NO_OFFSET);
    read_all(&s, &index, 1);
    expect(&s, 0);
    s = scene_make();
    acknowledge(&s, emit(&s, 1, 0), HISTORY_NO_OFFSET);
    expect(&s, 1);
}

Test(checker, I1_a_memory_emit_may_be_lost)
{
    struct scene s = scene_make();
    uint32_t index = emit(&s, 1, 0);
    s.history.emits[index].memory = true;
    acknowledge(&s, index, HISTORY_NO_OFFSET);
    expect(&s, 0);
}

Test(checker, I2_bytes_that_nobody_emitted_are_found)
{
    struct scene s = scene_good();
    read_all(&s, s.emits, 3);
    history_delivered(&s.history, READER_A, 0, 3, "phantom from nowhere", 20, false);
    history_delivered(&s.history, READER_B, 0, 3, "phantom from nowhere", 20, false);
    expect(&s, 2);
}

Test(checker, I2_an_event_with_one_wrong_byte_is_found)
{
    struct scene s = scene_make();
    uint32_t index = emit(&s, 1, 9);
    const struct history_emit *made = &s.history.emits[index];
    uint8_t value[64];
    value_make(value, 1, 9, made->size);
    value[made->size - 1] ^= 0x10;
    for (uint32_t reader = READER_A; reader <= READER_B; reader++) {
        history_listening(&s.history, reader);
        history_delivered(&s.history, reader, 0, 0, value, made->size, false);
    }
    expect(&s, 2);
}

Test(checker, I2_an_event_that_failed_for_good_and_is_there_is_found)
{
    struct scene s = scene_make();
    uint32_t index = emit(&s, 1, 0);
    history_outcome(&s.history, index, -14, false, HISTORY_NO_OFFSET, 1);
    read_all(&s, &index, 1);
    expect(&s, 2);
}

Test(checker, I2_an_unknown_one_may_be_there_or_not)
{
    struct scene s = scene_make();
    uint32_t there = emit(&s, 1, 0), gone = emit(&s, 1, 1);
    history_outcome(&s.history, there, -21, true, HISTORY_NO_OFFSET, 1);
    history_outcome(&s.history, gone, -21, true, HISTORY_NO_OFFSET, 1);
    read_all(&s, &there, 1);
    expect(&s, 0);
}

Test(checker, I3_two_values_at_one_offset_are_found)
{
    struct scene s = scene_make();
    uint32_t stored = emit(&s, 1, 0), other = emit(&s, 2, 0);
    history_listening(&s.history, LIVE);
    deliver(&s, LIVE, 0, other); /* and after a crash the offset was given to another */
    read_all(&s, &stored, 1);
    expect(&s, 3);
}

Test(checker, I4_events_out_of_order_are_found)
{
    struct scene s = scene_make();
    uint32_t first = emit(&s, 1, 0), second = emit(&s, 1, 1), order[] = {second, first};
    read_all(&s, order, 2);
    expect(&s, 4);
}

Test(checker, I4_a_hole_before_a_stored_event_is_found)
{
    struct scene s = scene_make();
    emit(&s, 1, 0);
    uint32_t second = emit(&s, 1, 1);
    read_all(&s, &second, 1);
    expect(&s, 4);
}

Test(checker, I4_an_event_in_the_wrong_partition_is_found)
{
    struct scene s = scene_make();
    s.history.partitions[TOPIC] = 2;
    uint32_t index = emit(&s, 1, 0);
    s.history.emits[index].partition = 1;
    read_all(&s, &index, 1);
    expect(&s, 4);
}

Test(checker, I5_an_event_stored_twice_is_found)
{
    struct scene s = scene_make();
    uint32_t index = emit(&s, 1, 0), twice[] = {index, index};
    acknowledge(&s, index, 0);
    read_all(&s, twice, 2);
    expect(&s, 5);
}

Test(checker, I6_an_event_stored_before_one_that_was_acknowledged_earlier_is_found)
{
    struct scene s = scene_make();
    uint32_t earlier = emit(&s, 1, 0);
    acknowledge(&s, earlier, 1);
    uint32_t later = emit(&s, 2, 0), order[] = {later, earlier};
    acknowledge(&s, later, 0);
    read_all(&s, order, 2);
    expect(&s, 6);
}

Test(checker, I7_something_delivered_that_is_gone_is_found)
{
    struct scene s = scene_make();
    uint32_t index = emit(&s, 1, 0);
    history_listening(&s.history, LIVE);
    deliver(&s, LIVE, 0, index);
    expect(&s, 7);
}

Test(checker, I8_a_gap_a_repetition_and_a_step_back_are_found)
{
    static const uint32_t wrong[][3] = {{0, 2, 2}, {0, 0, 1}, {1, 0, 1}};
    for (size_t i = 0; i < 3; i++) {
        struct scene s = scene_make();
        uint32_t emits[3];
        history_listening(&s.history, LIVE);
        for (uint32_t n = 0; n < 3; n++)
            emits[n] = emit(&s, 1, n);
        for (size_t n = 0; n < 3; n++)
            deliver(&s, LIVE, wrong[i][n], emits[wrong[i][n]]);
        read_all(&s, emits, 3);
        expect(&s, 8);
    }
}

Test(checker, I8_a_gap_or_a_repetition_over_a_reconnect_is_found)
{
    for (uint64_t again = 0; again < 3; again++) {
        struct scene s = scene_good();
        history_disconnected(&s.history, LIVE);
        history_listening(&s.history, LIVE);
        uint32_t emits[] = {s.emits[0], s.emits[1], s.emits[2], emit(&s, 1, 3), emit(&s, 1, 4)};
        uint64_t at = again == 0 ? 2 : again == 1 ? 3 : 4;
        deliver(&s, LIVE, at, emits[at]);
        s.history.listeners[LIVE].must_end = false;
        read_all(&s, emits, 5);
        expect(&s, again == 1 ? 0 : 8);
    }
}

Test(checker, I8_a_listener_from_the_beginning_that_begins_later_is_found)
{
    struct scene s = scene_good();
    uint32_t listener = history_listen(
        &s.history, &(struct history_listener){.topic = TOPIC, .group = HISTORY_NONE, .from = FROM_EARLIEST});
    history_listening(&s.history, listener);
    deliver(&s, listener, 1, s.emits[1]);
    read_all(&s, s.emits, 3);
    expect(&s, 8);
}

Test(checker, I8_a_live_listener_that_misses_what_was_emitted_after_it_was_in_place_is_found)
{
    struct scene s = scene_make();
    history_listening(&s.history, LIVE);
    uint32_t emits[] = {emit(&s, 1, 0), emit(&s, 1, 1)};
    deliver(&s, LIVE, 1, emits[1]);
    read_all(&s, emits, 2);
    expect(&s, 8);
}

Test(checker, I8_a_live_listener_that_gets_what_was_acknowledged_before_it_listened_is_found)
{
    struct scene s = scene_good();
    uint32_t listener = history_listen(
        &s.history, &(struct history_listener){.topic = TOPIC, .group = HISTORY_NONE, .from = FROM_LIVE});
    history_listening(&s.history, listener);
    deliver(&s, listener, 2, s.emits[2]);
    read_all(&s, s.emits, 3);
    expect(&s, 8);
}

Test(checker, I8_a_start_by_time_or_offset_is_held_to_it)
{
    for (uint64_t start = 0; start < 3; start++) {
        struct scene s = scene_good();
        for (uint64_t i = 0; i < 3; i++)
            history_batch(&s.history, &(struct history_batch){TOPIC, 0, i, 1, (int64_t)(1000 * i)});
        struct history_listener by[2] = {
            {.topic = TOPIC, .group = HISTORY_NONE, .from = FROM_OFFSET, .from_value = 1},
            {.topic = TOPIC, .group = HISTORY_NONE, .from = FROM_TIME, .from_value = 500}};
        for (size_t i = 0; i < 2; i++) {
            uint32_t listener = history_listen(&s.history, &by[i]);
            history_listening(&s.history, listener);
            deliver(&s, listener, start, s.emits[start]);
        }
        read_all(&s, s.emits, 3);
        expect(&s, start == 1 ? 0 : 8);
    }
}

Test(checker, I9_a_group_goes_on_where_its_members_stopped)
{
    struct scene s = scene_good();
    position(&s, 0);
    member_begins(&s, MEMBER);
    deliver(&s, MEMBER, 0, s.emits[0]);
    deliver(&s, MEMBER, 1, s.emits[1]);
    position(&s, 1);
    uint32_t next = history_listen(&s.history, &(struct history_listener){.topic = TOPIC, .group = 0});
    member_begins(&s, next);
    deliver(&s, next, 1, s.emits[1]); /* handled and not committed: again */
    deliver(&s, next, 2, s.emits[2]);
    position(&s, 3);
    s.history.listeners[next].must_end = true;
    read_all(&s, s.emits, 3);
    expect(&s, 0);
}

Test(checker, I9_a_position_that_goes_back_is_found)
{
    struct scene s = scene_good();
    member_begins(&s, MEMBER);
    deliver(&s, MEMBER, 0, s.emits[0]);
    deliver(&s, MEMBER, 1, s.emits[1]);
    position(&s, 2);
    position(&s, 1);
    read_all(&s, s.emits, 3);
    expect(&s, 9);
}

Test(checker, I9_a_position_beyond_what_was_handled_is_found)
{
    struct scene s = scene_good();
    position(&s, 0);
    member_begins(&s, MEMBER);
    deliver(&s, MEMBER, 0, s.emits[0]);
    position(&s, 2);
    read_all(&s, s.emits, 3);
    expect(&s, 9);
}

Test(checker, I9_a_member_that_skips_or_starts_before_the_position_is_found)
{
    for (uint64_t start = 0; start < 3; start += 2) {
        struct scene s = scene_good();
        position(&s, 0);
        member_begins(&s, MEMBER);
        deliver(&s, MEMBER, 0, s.emits[0]);
        position(&s, 1);
        uint32_t next = history_listen(&s.history, &(struct history_listener){.topic = TOPIC, .group = 0});
        member_begins(&s, next);
        deliver(&s, next, start, s.emits[start]);
        read_all(&s, s.emits, 3);
        expect(&s, 9);
    }
}

static void sought(struct scene *s, uint64_t offset)
{
    history_position(&s->history,
                     &(struct history_position){.moved = HISTORY_SOUGHT, .topic = TOPIC, .offset = offset});
}

/* A member was given its partition, and its connection was lost before the seek: what was sent to it arrives nevertheless. */
Test(checker, I9_a_start_of_before_a_seek_may_arrive_after_it)
{
    struct scene s = scene_good();
    position(&s, 0);
    member_begins(&s, MEMBER);
    deliver(&s, MEMBER, 0, s.emits[0]);
    position(&s, 1);
    uint32_t next = history_listen(&s.history, &(struct history_listener){.topic = TOPIC, .group = 0});
    sought(&s, 0);
    member_begins(&s, next);
    deliver(&s, next, 1, s.emits[1]);
    read_all(&s, s.emits, 3);
    expect(&s, 0);
}

/* After a seek back the next member begins there, and nowhere later. */
Test(checker, I9_a_seek_moves_the_position_back_and_the_next_member_with_it)
{
    for (uint64_t start = 0; start < 2; start++) {
        struct scene s = scene_good();
        position(&s, 0);
        member_begins(&s, MEMBER);
        deliver(&s, MEMBER, 0, s.emits[0]);
        deliver(&s, MEMBER, 1, s.emits[1]);
        position(&s, 2);
        sought(&s, 0);
        uint32_t next = history_listen(&s.history, &(struct history_listener){.topic = TOPIC, .group = 0});
        member_begins(&s, next);
        for (uint64_t i = start; i < 3; i++)
            deliver(&s, next, i, s.emits[i]);
        read_all(&s, s.emits, 3);
        expect(&s, start == 0 ? 0 : 9);
    }
}

/* A group that was deleted begins anew, wherever its first member wants to; until then its position does not go back. */
Test(checker, I9_a_deleted_group_begins_anew)
{
    for (int deleted = 0; deleted < 2; deleted++) {
        struct scene s = scene_good();
        position(&s, 0);
        member_begins(&s, MEMBER);
        deliver(&s, MEMBER, 0, s.emits[0]);
        position(&s, 1);
        if (deleted)
            history_position(&s.history, &(struct history_position){.moved = HISTORY_FORGOTTEN});
        position(&s, 0);
        read_all(&s, s.emits, 3);
        expect(&s, deleted ? 0 : 9);
    }
}

Test(checker, I10_what_another_member_handled_in_between_is_no_gap)
{
    struct scene s = scene_good();
    uint32_t other = history_listen(&s.history, &(struct history_listener){.topic = TOPIC, .group = 0});
    position(&s, 0);
    member_begins(&s, MEMBER);
    deliver(&s, MEMBER, 0, s.emits[0]);
    history_assigned(&s.history, MEMBER, 0, false);
    position(&s, 1);
    member_begins(&s, other);
    deliver(&s, other, 1, s.emits[1]);
    history_assigned(&s.history, other, 0, false);
    position(&s, 2);
    history_assigned(&s.history, MEMBER, 0, true);
    deliver(&s, MEMBER, 2, s.emits[2]);
    read_all(&s, s.emits, 3);
    expect(&s, 0);
}

Test(checker, I10_an_event_of_a_partition_that_was_taken_is_found)
{
    struct scene s = scene_good();
    position(&s, 0);
    member_begins(&s, MEMBER);
    deliver(&s, MEMBER, 0, s.emits[0]);
    history_assigned(&s.history, MEMBER, 0, false);
    deliver(&s, MEMBER, 1, s.emits[1]);
    read_all(&s, s.emits, 3);
    expect(&s, 10);
}

Test(checker, I11_a_replay_that_differs_is_found)
{
    struct scene s = scene_good();
    history_listening(&s.history, READER_A);
    history_listening(&s.history, READER_B);
    for (uint64_t i = 0; i < 3; i++) {
        deliver(&s, READER_A, i, s.emits[i]);
        if (i < 2)
            deliver(&s, READER_B, i, s.emits[i]);
    }
    expect(&s, 11);
}

Test(checker, I11_a_once_that_fires_twice_is_found)
{
    struct scene s = scene_good();
    s.history.listeners[LIVE].count = 2;
    read_all(&s, s.emits, 3);
    expect(&s, 11);
}

Test(checker, I13_a_listener_that_never_reaches_the_end_is_found)
{
    struct scene s = scene_good();
    uint32_t emits[] = {s.emits[0], s.emits[1], s.emits[2], emit(&s, 1, 3)};
    read_all(&s, emits, 4);
    expect(&s, 13);
}

Test(checker, I13_a_listener_that_never_got_anything_is_found)
{
    struct scene s = scene_good();
    uint32_t idle = history_listen(
        &s.history, &(struct history_listener){.topic = TOPIC, .group = HISTORY_NONE, .from = FROM_LIVE});
    history_listening(&s.history, idle);
    s.history.listeners[idle].must_end = true;
    uint32_t emits[] = {s.emits[0], s.emits[1], s.emits[2], emit(&s, 1, 3)};
    deliver(&s, LIVE, 3, emits[3]);
    read_all(&s, emits, 4);
    expect(&s, 13);
}
