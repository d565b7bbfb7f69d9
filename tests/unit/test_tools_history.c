/* The judge of `bench e2e`: what is lost, comes twice or comes late has to be seen, or its zeros mean nothing. */
#include "tools/history.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

static void note_all(struct history *history, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        history_note(history, numbers[i]);
}

#define NOTE(history, ...)                                                                                   \
    note_all(history, (const uint64_t[]){__VA_ARGS__},                                                       \
             sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void expect(const struct history *history, uint64_t count, uint64_t lost, uint64_t duplicated,
                   uint64_t reordered)
{
    cr_assert(eq(u64, history_lost(history, count), lost));
    cr_assert(eq(u64, history->duplicated, duplicated));
    cr_assert(eq(u64, history->reordered, reordered));
}

Test(history, everything_once_and_in_order_is_right)
{
    struct history history = {0};
    for (uint64_t i = 0; i < 1000; i++)
        cr_assert(history_note(&history, i));
    expect(&history, 1000, 0, 0, 0);
}

Test(history, a_missing_number_is_lost_wherever_it_was)
{
    struct history first = {0}, middle = {0}, last = {0}, all = {0};
    NOTE(&first, 1, 2, 3);
    expect(&first, 4, 1, 0, 0);
    NOTE(&middle, 0, 1, 3);
    expect(&middle, 4, 1, 0, 0);
    NOTE(&last, 0, 1, 2);
    expect(&last, 4, 1, 0, 0);
    expect(&all, 4, 4, 0, 0);
}

Test(history, a_number_that_comes_twice_is_duplicated_and_not_counted_again)
{
    struct history history = {0};
    NOTE(&history, 0, 1, 2);
    cr_assert(not(history_note(&history, 2)));
    cr_assert(not(history_note(&history, 0)));
    cr_assert(history_note(&history, 3));
    expect(&history, 4, 0, 2, 0);
}

Test(history, a_number_that_comes_late_is_reordered_and_not_lost)
{
    struct history history = {0};
    NOTE(&history, 0, 2, 1, 3);
    expect(&history, 4, 0, 0, 1);
}

Test(history, a_late_number_that_comes_again_is_duplicated)
{
    struct history history = {0};
    NOTE(&history, 0, 4, 2, 2, 4);
    expect(&history, 5, 2, 2, 1);
}

Test(history, two_swapped_batches_are_seen)
{
    struct history history = {0};
    NOTE(&history, 0, 1, 5, 6, 7, 8, 2, 3, 4, 9);
    expect(&history, 10, 0, 0, 3);
}

Test(history, a_batch_sent_again_is_seen)
{
    struct history history = {0};
    NOTE(&history, 0, 1, 2, 3, 1, 2, 3, 4);
    expect(&history, 5, 0, 3, 0);
}

Test(history, with_too_many_gaps_a_wrong_history_never_looks_right)
{
    struct history history = {0};
    uint64_t count = 4 * HISTORY_GAPS_MAX;

    for (uint64_t i = 1; i < count; i += 2)
        history_note(&history, i);
    cr_assert(eq(u64, history_lost(&history, count), count / 2));
    for (uint64_t i = 0; i < count; i += 2)
        history_note(&history, i);
    cr_assert(history_lost(&history, count) > 0);
    cr_assert(history.duplicated > 0);
    cr_assert(history.reordered > 0);
}

/* Against a list of what was seen: streams with drops, repeats and late numbers, few enough gaps to be exact. */
Test(history, any_stream_is_judged_as_a_complete_list_would)
{
    enum { COUNT = 400 };
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct random random = random_seeded(seed);
        struct history history = {0};
        bool seen[COUNT] = {false};
        uint64_t highest = 0, lost = 0, duplicated = 0, reordered = 0;

        for (uint64_t step = 0, number = 0; step < 2 * COUNT && number < COUNT; step++) {
            uint64_t arrived = number;
            if (random_below(&random, 20) == 0 && number > 0)
                arrived = random_below(&random, number); /* an old one: late or again */
            else
                number += random_below(&random, 20) == 0 ? 2 + random_below(&random, 3) : 1;
            bool fresh = !seen[arrived];
            if (!fresh)
                duplicated++;
            else if (arrived < highest)
                reordered++;
            highest = arrived > highest ? arrived : highest;
            seen[arrived] = true;
            cr_assert(history_note(&history, arrived) == fresh, "seed %d, number %d", (int)seed,
                      (int)arrived);
        }
        for (int i = 0; i < COUNT; i++)
            lost += !seen[i];
        expect(&history, COUNT, lost, duplicated, reordered);
    }
}
