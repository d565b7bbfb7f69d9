/* test_core_pairs.c: requests of all kinds meet in one turn, two and three at a time, and then whatever can happen does.
 *
 * What the second prepares stands on what the first will have done: it must hold when the entry that has both is applied, refused,
 * answered, or replayed. So each pair is tried, on the same objects, in either order, by one connection and by two. In each
 * case every request is answered exactly once (or its connection is gone), nothing is under way for ever, whoever comes
 * afterwards is served, and two brokers say the same bytes and come to the same state: one that wrote its state after each
 * entry, and one that replays all of its log.
 *
 * CRIER_PAIRS=N: instead of the usual ones, every N-th of all pairs, connections and courses (1: about half an hour). */
#include "tests/unit/pairs_rig.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum course {
    DURABLE,
    RESTARTED, /* at once, before anybody else comes */
    REFUSED,   /* the disk is full, for a while */
    CLOSED,    /* the first connection, before the answer */
    APART,     /* each in its own turn: the first is with the store when the second comes */
    APART_REFUSED,
    BROKEN,  /* the disk fails: nothing is written any more, until a restart */
    CUT,     /* the power goes before the answer */
    CROWDED, /* the store's queue is full: the entry stays open for longer, and emits wait */
    CROWDED_REFUSED,
    COURSES
};
static const char *const course_names[] = {"durable", "restarted",          "refused", "closed",
                                           "apart",   "apart and refused",  "broken",  "cut",
                                           "crowded", "crowded and refused"};

enum { BOTH_A, A_THEN_B, B_THEN_A, WHO };

struct trial {
    size_t kinds[3], count;
    unsigned who;
    enum course course;
};

static const struct pairs_world *tried; /* told if the core ends with it */

static void tell(int number)
{
    (void)!write(STDERR_FILENO, tried->what, strlen(tried->what));
    (void)!write(STDERR_FILENO, "\n", 1);
    signal(number, SIG_DFL);
    raise(number);
}

static void crowd(struct pairs_world *w)
{
    for (int i = 0; i < 66; i++) { /* more than the store is given at a time */
        peer_emit(w->sides[1].peer, &(struct batch_spec){.partition = w->next - 1}, 1);
        fixture_turn(w->f);
    }
}

static void send_all(struct pairs_world *w, const struct trial *trial)
{
    bool apart = trial->course == APART || trial->course == APART_REFUSED;
    for (size_t i = 0; i < trial->count; i++) {
        size_t side = trial->who == BOTH_A ? 0 : (i + (trial->who == B_THEN_A)) % 2;
        pairs_send(w, side, trial->kinds[i]);
        if (apart)
            fixture_turn(w->f);
    }
}

/* Up to the restart. */
static struct pairs_world *attempt(const struct trial *trial, bool eager)
{
    enum course course = trial->course;
    bool full = course == REFUSED || course == APART_REFUSED || course == CROWDED_REFUSED;
    struct pairs_world *w = pairs_create(eager);
    tried = w;
    snprintf(w->what, sizeof(w->what), "%s", course_names[course]);
    store_memory_fault_full(w->f->store, full);
    if (course == CROWDED || course == CROWDED_REFUSED)
        crowd(w);
    if (course == BROKEN)
        store_memory_fault_commit(w->f->store, 1);
    send_all(w, trial);
    if (course == CLOSED || course == CUT)
        fixture_turn(w->f);
    if (course == CLOSED)
        pairs_close(w, trial->who == B_THEN_A);
    if (course != CUT) {
        pairs_settle(w);
        pairs_check(w);
    }
    store_memory_fault_full(w->f->store, false);
    if (course != RESTARTED && course != CUT)
        pairs_probe(w);
    if (course != CUT)
        pairs_leave(w);
    pairs_restart(w);
    return w;
}

static void assert_same_said(const struct pairs_world *one, const struct pairs_world *other)
{
    const struct peer *a = one->f->peers, *b = other->f->peers;
    for (; a && b; a = a->next, b = b->next)
        cr_assert(a->output_size == b->output_size && !memcmp(a->output, b->output, a->output_size),
                  "[%s] the two say something else", one->what);
    cr_assert(!a && !b);
}

static bool any_named(const struct trial *trial, const char *begin)
{
    bool any = false;
    for (size_t i = 0; i < trial->count; i++)
        any |= !strncmp(pairs_kinds[trial->kinds[i]].name, begin, strlen(begin));
    return any;
}

/* What survives the first two is the seed's choice. An event that died is read from the log, and how long what was trimmed can be
 * read there is the store's. */
static bool comparable(const struct trial *trial)
{
    bool dies = any_named(trial, "reject") || any_named(trial, "nack");
    bool trims = any_named(trial, "trim") || any_named(trial, "alter");
    return trial->course != CUT && trial->course != BROKEN && !(dies && trims);
}

static void try(const struct trial *trial)
{
    struct pairs_world *one = attempt(trial, true);
    if (comparable(trial)) {
        struct pairs_world *other = attempt(trial, false);
        char *rows = pairs_rows(one), *replayed = pairs_rows(other);
        cr_assert_str_eq(rows, replayed, "[%s] a replay comes to another state", one->what);
        free(rows);
        free(replayed);
        pairs_probe(other);
        pairs_probe(one);
        assert_same_said(one, other);
        pairs_destroy(other);
    } else {
        pairs_probe(one);
    }
    pairs_destroy(one);
}

/* Every step-th of all there are, from the first on. */
static void try_all(size_t first, size_t step)
{
    size_t count = pairs_kind_count * pairs_kind_count * WHO * COURSES;
    for (size_t i = first; i < count; i += step) {
        size_t pair = i / COURSES / WHO;
        try(&(struct trial){.kinds = {pair / pairs_kind_count, pair % pairs_kind_count},
                            .count = 2,
                            .who = (unsigned)(i / COURSES % WHO),
                            .course = (enum course)(i % COURSES)});
    }
}

static size_t wanted(void)
{
    const char *step = getenv("CRIER_PAIRS");
    signal(SIGABRT, tell);
    signal(SIGSEGV, tell);
    return step ? strtoul(step, NULL, 10) : 0;
}

Test(pairs, whatever_meets_in_a_turn_is_answered_and_replays_to_the_same)
{
    if (wanted())
        return;
    for (size_t i = 0; i < pairs_main_count * pairs_main_count; i++)
        try(&(struct trial){.kinds = {i / pairs_main_count, i % pairs_main_count},
                            .count = 2,
                            .who = (unsigned)(i % WHO),
                            .course = DURABLE});
}

Test(pairs, whatever_becomes_of_the_entry_in_which_they_meet)
{
    if (wanted())
        return;
    for (size_t i = 0; i < pairs_main_count * pairs_main_count; i += 2)
        try(&(struct trial){.kinds = {i / pairs_main_count, i % pairs_main_count},
                            .count = 2,
                            .who = (unsigned)(i / 2 % WHO),
                            .course = (enum course)(1 + i / 2 % (COURSES - 1))});
}

Test(pairs, three_of_any_kind_meet)
{
    const char *seed = getenv("CRIER_PAIRS_SEED");
    struct random random = random_seeded(seed ? strtoul(seed, NULL, 10) : 1);
    if (wanted())
        try_all(0, wanted());
    for (int i = 0; i < (seed ? 20000 : 400); i++) {
        struct trial trial = {.count = 3};
        for (size_t k = 0; k < trial.count; k++)
            trial.kinds[k] =
                random_below(&random, random_below(&random, 2) ? pairs_main_count : pairs_kind_count);
        trial.who = (unsigned)random_below(&random, WHO);
        trial.course = (enum course)random_below(&random, COURSES);
        try(&trial);
    }
}

static size_t kind_named(const char *name)
{
    size_t kind = 0;
    while (strcmp(pairs_kinds[kind].name, name) != 0)
        kind++;
    return kind;
}

/* The name's holder is fenced while its JOIN waits for the seek: both are in the entry. */
Test(pairs, three_that_once_left_a_member_that_nobody_was)
{
    if (wanted())
        return;
    for (enum course course = 0; course < COURSES; course++)
        try(&(struct trial){
            .kinds = {kind_named("seek h"), kind_named("claim the name"), kind_named("join h")},
            .count = 3,
            .who = A_THEN_B,
            .course = course});
}

/* Each had the other's kind when the entry was done, and asked for its own again: one entry followed the other for ever. */
Test(pairs, two_that_once_changed_a_groups_kind_for_ever)
{
    if (wanted())
        return;
    for (enum course course = 0; course < COURSES; course++)
        for (unsigned who = 0; who < WHO; who++) {
            try(&(struct trial){.kinds = {kind_named("join u by key"), kind_named("join u")},
                                .count = 2,
                                .who = who,
                                .course = course});
            try(&(struct trial){.kinds = {kind_named("join x, shared"), kind_named("join x by key")},
                                .count = 2,
                                .who = who,
                                .course = course});
        }
}
