/* test_core_trie.c: which patterns match which names, and that the trie agrees with a matcher that is too simple to be wrong. */
#include "base/check.h"
#include "base/random.h"
#include "broker/core/trie.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void count_found(void *ctx, struct trie_item *item)
{
    (void)item;
    ++*(int *)ctx;
}

/* Level against level, as trie.h words it. */
static bool matches(const char *pattern, const char *name)
{
    if (strcmp(pattern, "**") == 0)
        return true;
    size_t level = strcspn(pattern, "."), other = strcspn(name, ".");
    bool same = (level == 1 && *pattern == '*') || (level == other && memcmp(pattern, name, level) == 0);
    if (!same)
        return false;
    pattern += level, name += other;
    if (!*pattern || !*name)
        return !*name && (!*pattern || strcmp(pattern, ".**") == 0);
    return matches(pattern + 1, name + 1);
}

static bool trie_matches(const char *pattern, const char *name)
{
    struct trie patterns = {0}, names = {0};
    struct trie_item of_pattern = {0}, of_name = {0};
    int by_name = 0, by_pattern = 0;

    trie_add(&patterns, pattern, &of_pattern);
    trie_add(&names, name, &of_name);
    trie_match_name(&patterns, name, count_found, &by_name);
    trie_match_pattern(&names, pattern, count_found, &by_pattern);
    trie_remove(&patterns, &of_pattern);
    trie_remove(&names, &of_name);
    cr_assert_null(patterns.root, "what nobody needs is taken away");
    cr_assert_null(names.root);
    cr_assert_eq(by_name, by_pattern, "%s, %s: both ways round", pattern, name);
    cr_assert(by_name <= 1, "told once");
    return by_name == 1;
}

Test(core_trie, a_star_is_one_level)
{
    cr_assert(trie_matches("orders.*", "orders.placed"));
    cr_assert(trie_matches("*.placed", "orders.placed"));
    cr_assert(trie_matches("*", "orders"));
    cr_assert(trie_matches("a.*.c", "a.b.c"));
    cr_assert_not(trie_matches("orders.*", "orders"));
    cr_assert_not(trie_matches("orders.*", "orders.eu.placed"));
    cr_assert_not(trie_matches("*", "orders.placed"));
}

Test(core_trie, two_stars_are_any_number_of_levels)
{
    cr_assert(trie_matches("orders.**", "orders"));
    cr_assert(trie_matches("orders.**", "orders.placed"));
    cr_assert(trie_matches("orders.**", "orders.eu.placed"));
    cr_assert(trie_matches("**", "orders"));
    cr_assert(trie_matches("*.eu.**", "orders.eu.placed.late"));
    cr_assert_not(trie_matches("orders.**", "order"));
    cr_assert_not(trie_matches("orders.**", "ordersx.placed"));
}

Test(core_trie, reserved_names_are_matched_by_their_own_name_only)
{
    cr_assert_not(trie_matches("**", "$presence"));
    cr_assert_not(trie_matches("*", "$presence"));
    cr_assert_not(trie_matches("*.**", "$presence.orders"));
    cr_assert(trie_matches("a.*", "a.$b"), "below the first level '$' is a letter like others");
}

Test(core_trie, wildcards_stand_alone_and_two_stars_last)
{
    cr_assert(trie_pattern_valid("a.*.b.**"));
    cr_assert(trie_pattern_valid("**"));
    cr_assert_not(trie_pattern_valid("a*"));
    cr_assert_not(trie_pattern_valid("a.*b"));
    cr_assert_not(trie_pattern_valid("a.**.b"));
    cr_assert_not(trie_pattern_valid("a.***"));
    cr_assert_not(trie_pattern_valid("a..*"));
    cr_assert_not(trie_pattern_valid(".*"));
    cr_assert_not(trie_pattern_valid("*."));
    cr_assert(trie_is_pattern("a.*"));
    cr_assert_not(trie_is_pattern("a.b"));
}

/* ---- many of both ---- */

#define NAMES    300
#define PATTERNS 200

struct entry {
    char text[64];
    struct trie_item item;
    int found;
};

static void note(void *ctx, struct trie_item *item)
{
    (void)ctx;
    ((struct entry *)(void *)((char *)item - offsetof(struct entry, item)))->found++;
}

static void random_path(struct random *random, bool pattern, char *to)
{
    static const char *const words[] = {"a", "b", "c", "$d"};
    int levels = 1 + (int)random_below(random, 4);

    *to = '\0';
    for (int i = 0; i < levels; i++) {
        bool wildcard = pattern && random_below(random, 3) == 0;
        const char *word = wildcard ? "*" : words[random_below(random, 4)];
        if (wildcard && i == levels - 1 && random_below(random, 2) == 0)
            word = "**";
        sprintf(to + strlen(to), "%s%s", i ? "." : "", word);
    }
}

static bool right_match(const char *pattern, const char *name)
{
    return !(pattern[0] == '*' && name[0] == '$') && matches(pattern, name);
}

static void check_all(const struct trie *patterns, struct entry *pattern_of, const struct trie *names,
                      struct entry *name_of)
{
    for (int n = 0; n < NAMES; n++) {
        trie_match_name(patterns, name_of[n].text, note, NULL);
        for (int p = 0; p < PATTERNS; p++) {
            bool right = pattern_of[p].item.node && right_match(pattern_of[p].text, name_of[n].text);
            cr_assert_eq(pattern_of[p].found, right, "%s among patterns: %s", name_of[n].text,
                         pattern_of[p].text);
            pattern_of[p].found = 0;
        }
    }
    for (int p = 0; p < PATTERNS; p++) {
        trie_match_pattern(names, pattern_of[p].text, note, NULL);
        for (int n = 0; n < NAMES; n++) {
            bool right = name_of[n].item.node && right_match(pattern_of[p].text, name_of[n].text);
            cr_assert_eq(name_of[n].found, right, "%s among names: %s", pattern_of[p].text, name_of[n].text);
            name_of[n].found = 0;
        }
    }
}

Test(core_trie, it_agrees_with_a_simple_matcher_whatever_comes_and_goes)
{
    struct random random = random_seeded(11);
    struct trie patterns = {0}, names = {0};
    struct entry *pattern_of = calloc(PATTERNS, sizeof(*pattern_of)),
                 *name_of = calloc(NAMES, sizeof(*name_of));

    for (int i = 0; i < PATTERNS; i++) {
        random_path(&random, true, pattern_of[i].text);
        trie_add(&patterns, pattern_of[i].text, &pattern_of[i].item);
    }
    for (int i = 0; i < NAMES; i++) {
        random_path(&random, false, name_of[i].text);
        trie_add(&names, name_of[i].text, &name_of[i].item);
    }
    check_all(&patterns, pattern_of, &names, name_of);
    for (int i = 0; i < PATTERNS; i += 2)
        trie_remove(&patterns, &pattern_of[i].item);
    for (int i = 0; i < NAMES; i += 2)
        trie_remove(&names, &name_of[i].item);
    check_all(&patterns, pattern_of, &names, name_of);
    for (int i = 1; i < PATTERNS; i += 2)
        trie_remove(&patterns, &pattern_of[i].item);
    for (int i = 1; i < NAMES; i += 2)
        trie_remove(&names, &name_of[i].item);
    cr_assert_null(patterns.root);
    cr_assert_null(names.root);
    free(pattern_of);
    free(name_of);
}
