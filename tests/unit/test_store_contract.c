/* test_store_contract.c: what store.h promises, stated once and kept by both fillings. */
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>

/* One body, two tests: on LMDB and on the twin. */
#define BOTH(name)                                                                                           \
    static void name(struct fixture *f);                                                                     \
    Test(store_lmdb, name)                                                                                   \
    {                                                                                                        \
        struct fixture *f = fixture_open(FIXTURE_LMDB);                                                      \
        name(f);                                                                                             \
        fixture_destroy(f);                                                                                  \
    }                                                                                                        \
    Test(store_memory, name)                                                                                 \
    {                                                                                                        \
        struct fixture *f = fixture_open(FIXTURE_MEMORY);                                                    \
        name(f);                                                                                             \
        fixture_destroy(f);                                                                                  \
    }                                                                                                        \
    static void name(struct fixture *f)

BOTH(what_was_appended_is_read_back_byte_for_byte)
{
    /* Sizes around a page, a leaf's inline limit, an entry and a large batch. */
    static const size_t sizes[] = {61, 100, 1900, 2000, 2022, 2023, 4020, 4096, 65536, 262144, 1500000};
    for (uint64_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        cr_assert_eq(fixture_emit(f, 7, i, 1, sizes[i]), STORE_OK);
    for (uint64_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct store_read *read = fixture_read(f, 7, i, i + 1, 1u << 20);
        cr_assert_eq(read->status, 0);
        cr_assert_eq(read->count, 1);
        cr_assert(fixture_batch_is(&read->batches[0], 7, i, 1, sizes[i]));
        cr_assert_eq(read->batches[0].index, i + 1);
        fixture_read_destroy(read);
    }
}

BOTH(indexes_are_contiguous_in_the_order_of_appending)
{
    struct fixture_append *appends[50];
    for (uint64_t i = 0; i < 50; i++) {
        appends[i] = fixture_append_create(f);
        fixture_append_data(appends[i], 1, i, 1, 200);
        fixture_submit(f, appends[i]);
    }
    for (uint64_t i = 0; i < 50; i++) {
        fixture_wait(f, &appends[i]->done);
        cr_assert_eq(appends[i]->append.status, STORE_OK);
        cr_assert_eq(appends[i]->append.index, i + 1);
        fixture_append_destroy(appends[i]);
    }
    cr_assert_eq(fixture_stats(f).last_index, 50);
}

BOTH(a_full_queue_refuses_and_nothing_happens)
{
    /* Made beforehand: pushing more than the queue holds is then a matter of microseconds, less than one sync. */
    struct fixture_append *appends[2000];
    for (unsigned i = 0; i < 2000; i++) {
        appends[i] = fixture_append_create(f);
        fixture_append_data(appends[i], 1, i, 1, 1000);
    }
    unsigned accepted = 0;
    int rc = 0;
    while (accepted < 2000 && (rc = f->store->ops->append(f->store, &appends[accepted]->append)) == 0)
        accepted++;
    cr_assert_eq(rc, STORE_EAGAIN);
    for (unsigned i = 0; i < accepted; i++) {
        fixture_wait(f, &appends[i]->done);
        cr_assert_eq(appends[i]->append.status, STORE_OK);
    }
    cr_assert_not(appends[accepted]->done);
    cr_assert_eq(fixture_stats(f).last_index, accepted);
    for (unsigned i = 0; i < 2000; i++)
        fixture_append_destroy(appends[i]);
}

BOTH(a_read_stays_below_until_and_begins_with_the_batch_that_holds_the_offset)
{
    for (uint64_t i = 0; i < 10; i++)
        cr_assert_eq(fixture_emit(f, 3, i * 10, 10, 300), STORE_OK);
    struct store_read *read = fixture_read(f, 3, 25, 60, 1u << 20);
    cr_assert_eq(read->count, 4);
    for (unsigned i = 0; i < read->count; i++)
        cr_assert(fixture_batch_is(&read->batches[i], 3, (i + 2) * 10, 10, 300));
    fixture_read_destroy(read);
}

BOTH(a_read_stops_after_the_batch_that_passes_its_limit)
{
    for (uint64_t i = 0; i < 10; i++)
        cr_assert_eq(fixture_emit(f, 3, i, 1, 1000), STORE_OK);
    struct store_read *read = fixture_read(f, 3, 0, 10, 2500);
    cr_assert_eq(read->count, 3);
    fixture_read_destroy(read);
    read = fixture_read(f, 3, 4, 10, 0);
    cr_assert_eq(read->count, 1, "a read returns at least one batch");
    cr_assert_eq(read->batches[0].base_offset, 4);
    fixture_read_destroy(read);
}

BOTH(a_read_returns_at_most_so_many_batches)
{
    for (uint64_t i = 0; i < STORE_READ_BATCHES_MAX + 10; i++)
        cr_assert_eq(fixture_emit(f, 3, i, 1, 61), STORE_OK);
    struct store_read *read = fixture_read(f, 3, 0, 1000, 1u << 20);
    cr_assert_eq(read->count, STORE_READ_BATCHES_MAX);
    fixture_read_destroy(read);
}

BOTH(a_read_goes_over_gaps_of_offsets)
{
    cr_assert_eq(fixture_emit(f, 3, 0, 1, 100), STORE_OK);
    cr_assert_eq(fixture_emit(f, 3, 100, 1, 100), STORE_OK);
    struct store_read *read = fixture_read(f, 3, 1, 1000, 1u << 20);
    cr_assert_eq(read->count, 1);
    cr_assert_eq(read->batches[0].base_offset, 100);
    fixture_read_destroy(read);
    read = fixture_read(f, 3, 1, 100, 1u << 20);
    cr_assert_eq(read->count, 0, "nothing below until");
    fixture_read_destroy(read);
}

BOTH(a_partition_nobody_wrote_to_is_empty)
{
    cr_assert_eq(fixture_emit(f, 3, 0, 1, 100), STORE_OK);
    struct store_read *read = fixture_read(f, 4, 0, 10, 1u << 20);
    cr_assert_eq(read->status, 0);
    cr_assert_eq(read->count, 0);
    fixture_read_destroy(read);
    cr_assert_eq(fixture_lookup(f, 4, 0), -1);
}

BOTH(an_entry_holds_parts_of_several_partitions_and_commands)
{
    for (uint64_t i = 0; i < 20; i++) {
        struct fixture_append *a = fixture_append_create(f);
        fixture_append_data(a, 1, i, 1, 500);
        fixture_append_command(a, 9, "position", 8);
        fixture_append_data(a, 2, 2 * i, 1, 70000);
        fixture_append_data(a, 2, 2 * i + 1, 1, 70000);
        fixture_submit(f, a);
        fixture_wait(f, &a->done);
        cr_assert_eq(a->append.status, STORE_OK);
        fixture_append_destroy(a);
    }
    fixture_expect(f, 1, 0, 20, 500);
    fixture_expect(f, 2, 0, 40, 70000);
}

BOTH(a_partition_is_found_among_many_small_ones)
{
    for (uint64_t i = 0; i < 600; i++)
        cr_assert_eq(fixture_emit(f, i % 6, i / 6, 1, 100 + i % 6), STORE_OK);
    for (uint64_t partition = 0; partition < 6; partition++)
        fixture_expect(f, partition, 17, 100, 100 + partition);
}

BOTH(a_lookup_finds_the_first_batch_at_or_after_a_time)
{
    for (uint64_t i = 0; i < 30; i++) {
        struct fixture_append *a = fixture_append_create(f);
        a->append.append_time_us = 1000 + (int64_t)i * 10;
        fixture_append_data(a, 1 + i % 2, i / 2, 1, 3000);
        fixture_submit(f, a);
        fixture_wait(f, &a->done);
        fixture_append_destroy(a);
    }
    cr_assert_eq(fixture_lookup(f, 1, 0), 0);
    cr_assert_eq(fixture_lookup(f, 1, 1000), 0);
    cr_assert_eq(fixture_lookup(f, 1, 1001), 1);
    cr_assert_eq(fixture_lookup(f, 2, 1001), 0);
    cr_assert_eq(fixture_lookup(f, 2, 1290), 14);
    cr_assert_eq(fixture_lookup(f, 1, 1281), -1, "everything is older");
}

BOTH(the_state_is_exactly_its_cut_and_replay_gives_the_rest)
{
    for (uint64_t i = 0; i < 10; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 100), STORE_OK);
    static const char *const first[] = {"ta=1", "tb=2", "tc=3"};
    cr_assert_eq(fixture_flush(f, 4, first, 3), STORE_OK);
    static const char *const second[] = {"ta=one", "tb", "td=4"};
    cr_assert_eq(fixture_flush(f, 7, second, 3), STORE_OK);
    for (int end = FIXTURE_CLEAN; end <= FIXTURE_CRASH; end++) {
        fixture_reopen(f, (enum fixture_end)end);
        cr_assert_eq(f->applied_index, 7);
        cr_assert_eq(f->replayed_first, 8);
        cr_assert_eq(f->replayed_last, 10);
        cr_assert_eq(f->row_count, 3);
        cr_assert_arr_eq(fixture_find_row(f, "ta")->value, "one", 3);
        cr_assert_null(fixture_find_row(f, "tb"));
        cr_assert_not_null(fixture_find_row(f, "td"));
    }
}

static void note_flush(struct store_flush *flush, void *ctx)
{
    (void)flush;
    *(bool *)ctx = true;
}

BOTH(only_one_flush_is_under_way)
{
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    bool first_done = false, second_done = false;
    struct store_flush first = {.done = note_flush, .ctx = &first_done, .applied_index = 1};
    struct store_flush second = {.done = note_flush, .ctx = &second_done, .applied_index = 1};
    cr_assert_eq(f->store->ops->flush(f->store, &first), 0);
    /* The first may be finished by now: then the second is taken, and both come to an end. */
    int rc = f->store->ops->flush(f->store, &second);
    cr_assert(rc == 0 || rc == STORE_EAGAIN);
    if (f->kind == FIXTURE_MEMORY)
        cr_assert_eq(rc, STORE_EAGAIN);
    fixture_wait(f, &first_done);
    if (rc == 0)
        fixture_wait(f, &second_done);
    cr_assert_eq(second_done, rc == 0);
    cr_assert_eq(fixture_stats(f).flushed_index, 1);
}

BOTH(a_new_life_continues_the_numbers)
{
    uint64_t offset = 0;
    for (int life = 0; life < 6; life++) {
        for (int i = 0; i < 5; i++, offset++)
            cr_assert_eq(fixture_emit(f, 1, offset, 1, 1000), STORE_OK);
        cr_assert_eq(fixture_stats(f).last_index, offset);
        fixture_reopen(f, life % 2 ? FIXTURE_CLEAN : FIXTURE_CRASH);
        cr_assert_eq(f->replayed_last, offset);
        fixture_expect(f, 1, 0, offset, 1000);
    }
}

BOTH(the_ids_of_a_store_stay)
{
    uint8_t id[16];
    memcpy(id, f->store->cluster_id, sizeof(id));
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_arr_eq(f->store->cluster_id, id, sizeof(id));
}

BOTH(stop_finishes_what_was_accepted)
{
    struct fixture_append *appends[100];
    for (uint64_t i = 0; i < 100; i++) {
        appends[i] = fixture_append_create(f);
        fixture_append_data(appends[i], 1, i, 1, 5000);
        fixture_submit(f, appends[i]);
    }
    f->store->ops->stop(f->store);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert(appends[i]->done);
        cr_assert_eq(appends[i]->append.status, STORE_OK);
        fixture_append_destroy(appends[i]);
    }
    fixture_reopen(f, FIXTURE_CLEAN);
    cr_assert_eq(f->replayed_last, 100);
}

BOTH(a_store_that_was_opened_and_never_started_can_be_closed)
{
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    fixture_end(f, FIXTURE_CLEAN);
    int rc = f->kind == FIXTURE_LMDB ? store_lmdb_open(&f->options, &f->store, f->error, sizeof(f->error))
                                     : store_memory_reopen(&f->memory_options, f->image, &f->store);
    f->image = NULL;
    cr_assert_eq(rc, 0);
    f->store->ops->close(f->store);
    f->store = NULL;
}
