/* test_store_faults.c: what the store does when the disk fails, and that the test really made it fail. */
#include "tests/support/disk_faults.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

#define FIRST_SEGMENT "0000000001-0.mdb"

static const enum fixture_end both_ends[] = {FIXTURE_CLEAN, FIXTURE_CRASH};

static struct fixture *open_with(uint64_t entries)
{
    struct fixture *f = fixture_open(FIXTURE_LMDB);
    for (uint64_t i = 0; i < entries; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 1000), STORE_OK);
    return f;
}

/* ---- I/O errors: unknown, then read-only until restart ---- */

/* A commit that fails at this place: the outcome is unknown, later appends are refused, reads go on, and a new life has
 * every entry acknowledged before, then goes on. */
static void check_commit_failure(enum disk_op op, int error, const char *part, enum fixture_end end)
{
    struct fixture *f = open_with(5);
    disk_fail_once(part, op, 1, error);
    cr_assert_eq(fixture_emit(f, 1, 5, 1, 5000), STORE_EIO);
    cr_assert_eq(disk_struck(), 1);
    disk_heal();
    cr_assert(fixture_stats(f).read_only);
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, 6, 1, 1000), STORE_EREADONLY, "a failed sync is not retried");
    fixture_expect(f, 1, 0, 5, 1000);
    cr_assert_eq(fixture_flush(f, 5, NULL, 0), STORE_EREADONLY);

    fixture_reopen(f, end);
    cr_assert_geq(f->replayed_last, 5);
    cr_assert_leq(f->replayed_last, 6);
    cr_assert_eq(fixture_stats(f).segments, 2, "what failed is never written again");
    fixture_expect(f, 1, 0, 5, 1000);
    cr_assert_eq(fixture_emit(f, 2, 0, 1, 1000), STORE_OK);
    fixture_destroy(f);
}

Test(store_faults, a_failed_write_leaves_the_outcome_unknown_and_the_shard_read_only)
{
    for (unsigned i = 0; i < 2; i++)
        check_commit_failure(DISK_WRITE, EIO, FIRST_SEGMENT, both_ends[i]);
}

Test(store_faults, a_failed_sync_leaves_the_outcome_unknown_and_the_shard_read_only)
{
    for (unsigned i = 0; i < 2; i++)
        check_commit_failure(DISK_SYNC, EIO, FIRST_SEGMENT, both_ends[i]);
}

Test(store_faults, a_failed_meta_page_leaves_the_outcome_unknown_and_the_shard_read_only)
{
    for (unsigned i = 0; i < 2; i++)
        check_commit_failure(DISK_META, EIO, FIRST_SEGMENT, both_ends[i]);
}

Test(store_faults, a_short_write_is_an_io_error)
{
    check_commit_failure(DISK_WRITE, DISK_SHORT, FIRST_SEGMENT, FIXTURE_CRASH);
}

Test(store_faults, a_full_disk_at_the_meta_page_is_an_io_error)
{
    check_commit_failure(DISK_META, ENOSPC, FIRST_SEGMENT, FIXTURE_CRASH);
}

Test(store_faults, a_failed_flush_leaves_the_state_at_the_cut_before)
{
    struct fixture *f = open_with(5);
    cr_assert_eq(fixture_flush(f, 3, (const char *const[]){"tkey=old"}, 1), STORE_OK);
    disk_fail_once("state.mdb", DISK_SYNC, 1, EIO);
    cr_assert_eq(fixture_flush(f, 5, (const char *const[]){"tkey=new"}, 1), STORE_EIO);
    cr_assert_eq(disk_struck(), 1);
    disk_heal();
    cr_assert(fixture_stats(f).read_only);
    cr_assert_eq(fixture_emit(f, 1, 5, 1, 1000), STORE_EREADONLY);
    fixture_reopen(f, FIXTURE_CLEAN);
    cr_assert_eq(f->applied_index, 3);
    cr_assert_arr_eq(fixture_find_row(f, "tkey")->value, "old", 3);
    cr_assert_eq(f->replayed_first, 4);
    fixture_destroy(f);
}

Test(store_faults, a_failed_read_fails_the_read_and_makes_the_shard_read_only)
{
    struct fixture *f = open_with(1);
    cr_assert_eq(fixture_emit(f, 1, 1, 1, 100000), STORE_OK);
    disk_fail_once(FIRST_SEGMENT, DISK_READ, 1, EIO);
    struct store_read *read = fixture_read(f, 1, 0, 2, 1u << 20);
    cr_assert_eq(disk_struck(), 1);
    disk_heal();
    cr_assert_eq(read->status, STORE_EIO);
    cr_assert_eq(read->count, 0);
    fixture_read_destroy(read);
    cr_assert_eq(fixture_emit(f, 1, 2, 1, 1000), STORE_EREADONLY);
    fixture_destroy(f);
}

Test(store_faults, a_manifest_that_cannot_be_written_stops_the_shard_and_a_new_life_has_everything)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 512u << 10;
    cr_assert_eq(fixture_start(f), 0);
    disk_fail("meta.mdb", DISK_SYNC, 1, EIO);
    uint64_t stored = 0;
    int status = STORE_OK;
    while (status == STORE_OK && stored < 200)
        if ((status = fixture_emit(f, 1, stored, 1, 20000)) == STORE_OK)
            stored++;
    cr_assert_eq(status, STORE_EREADONLY);
    cr_assert_geq(disk_struck(), 1);
    disk_heal();
    cr_assert_gt(stored, 5);
    fixture_expect(f, 1, 0, stored, 20000);
    fixture_reopen(f, FIXTURE_CLEAN);
    cr_assert_eq(f->replayed_last, stored);
    fixture_expect(f, 1, 0, stored, 20000);
    fixture_destroy(f);
}

Test(store_faults, a_start_whose_sync_fails_is_refused)
{
    static const char *const parts[] = {"meta.mdb", "state.mdb", FIRST_SEGMENT};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = open_with(3);
        fixture_end(f, FIXTURE_CRASH);
        disk_fail_once(parts[i], DISK_SYNC, 1, EIO);
        cr_assert_lt(fixture_start(f), 0);
        cr_assert_eq(disk_struck(), 1);
        cr_assert_not_null(strstr(f->error, parts[i]), "%s names the file", f->error);
        disk_heal();
        cr_assert_eq(fixture_start(f), 0);
        fixture_expect(f, 1, 0, 3, 1000);
        fixture_destroy(f);
    }
}

/* ---- a full disk: refused, and later attempts succeed ---- */

/* Appends are refused while the fault lasts, by epoch, and go on afterwards as if nothing had been. */
static void check_full(struct fixture *f, uint64_t next)
{
    cr_assert_eq(fixture_emit(f, 1, next, 1, 300000), STORE_EFULL);
    cr_assert(fixture_stats(f).full);
    cr_assert_not(fixture_stats(f).read_only);
    cr_assert_eq(fixture_emit(f, 1, next, 1, 300000), STORE_EREFUSED, "the rest of the epoch");
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, next, 1, 300000), STORE_EFULL, "a new epoch tries again");
    cr_assert_geq(disk_struck(), 2);
    disk_heal();
    cr_assert_eq(fixture_emit(f, 1, next, 1, 300000), STORE_EREFUSED);
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, next, 1, 300000), STORE_OK);
    cr_assert_not(fixture_stats(f).full);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, next + 1, 300000);
}

Test(store_faults, a_disk_too_full_to_allocate_refuses_by_epoch_and_recovers)
{
    struct fixture *f = fixture_open(FIXTURE_LMDB);
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 300000), STORE_OK);
    disk_fail(FIRST_SEGMENT, DISK_ALLOCATE, 1, ENOSPC);
    check_full(f, 1);
    fixture_destroy(f);
}

Test(store_faults, a_file_system_without_allocation_meets_a_full_disk_in_the_commit)
{
    struct fixture *f = fixture_open(FIXTURE_LMDB);
    disk_fail(FIRST_SEGMENT, DISK_ALLOCATE, 1, EOPNOTSUPP);
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 300000), STORE_OK);
    cr_assert_geq(disk_struck(), 1);
    disk_fail(FIRST_SEGMENT, DISK_WRITE, 1, ENOSPC);
    check_full(f, 1);
    fixture_destroy(f);
}

Test(store_faults, no_space_for_the_next_segment_refuses_at_the_roll_and_recovers)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 1u << 20;
    cr_assert_eq(fixture_start(f), 0);
    disk_fail("0000000002-0.mdb", DISK_ALLOCATE, 1, ENOSPC);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 300000), STORE_OK, "three of them fill the first segment");
    check_full(f, 3);
    fixture_destroy(f);
}

/* LMDB would meet it in a page of its map, and the process would end. */
Test(store_faults, no_space_for_the_lock_file_of_the_next_segment_refuses_at_the_roll_and_recovers)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 1u << 20;
    cr_assert_eq(fixture_start(f), 0);
    disk_fail("0000000002-0.mdb-lock", DISK_WRITE, 1, ENOSPC);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 300000), STORE_OK, "three of them fill the first segment");
    check_full(f, 3);
    fixture_destroy(f);
}

Test(store_faults, a_flush_without_space_is_refused_and_later_ones_succeed)
{
    struct fixture *f = open_with(5);
    static char value[] = "tkey=a value";
    const char *const rows[] = {value};
    cr_assert_eq(fixture_flush(f, 2, rows, 1), STORE_OK);
    /* The first allocation lasts for a while; a file system without it meets the full disk in the write. */
    disk_fail("state.mdb", DISK_WRITE, 1, ENOSPC);
    cr_assert_eq(fixture_flush(f, 4, rows, 1), STORE_EFULL);
    cr_assert_geq(disk_struck(), 1);
    disk_heal();
    cr_assert_not(fixture_stats(f).read_only);
    cr_assert_eq(fixture_stats(f).flushed_index, 2);
    cr_assert_eq(fixture_flush(f, 4, rows, 1), STORE_OK);
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_eq(f->applied_index, 4);
    fixture_destroy(f);
}

/* ---- the twin keeps the same rules ---- */

Test(store_memory_faults, a_full_disk_refuses_by_epoch_and_recovers)
{
    struct fixture *f = fixture_open(FIXTURE_MEMORY);
    store_memory_fault_full(f->store, true);
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_EFULL);
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_EREFUSED);
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_EFULL);
    store_memory_fault_full(f->store, false);
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_EREFUSED);
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    fixture_expect(f, 1, 0, 1, 100);
    fixture_destroy(f);
}

Test(store_memory_faults, a_failed_commit_leaves_the_outcome_to_the_seed)
{
    unsigned kept = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct fixture *f = fixture_create(FIXTURE_MEMORY);
        f->memory_options.seed = seed;
        cr_assert_eq(fixture_start(f), 0);
        cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
        store_memory_fault_commit(f->store, 1);
        cr_assert_eq(fixture_emit(f, 1, 1, 1, 100), STORE_EIO);
        cr_assert_eq(fixture_emit(f, 1, 2, 1, 100), STORE_EREADONLY);
        fixture_expect(f, 1, 0, 1, 100);
        fixture_reopen(f, FIXTURE_CRASH);
        cr_assert(f->replayed_last == 1 || f->replayed_last == 2);
        kept += f->replayed_last == 2;
        fixture_destroy(f);
    }
    cr_assert(kept > 5 && kept < 35, "%u of 40 kept", kept);
}

Test(store_memory_faults, a_failed_flush_and_a_corrupt_read_are_reported)
{
    struct fixture *f = fixture_open(FIXTURE_MEMORY);
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    store_memory_fault_read(f->store, 2);
    fixture_expect(f, 1, 0, 1, 100);
    struct store_read *read = fixture_read(f, 1, 0, 1, 100);
    cr_assert_eq(read->status, STORE_ECORRUPT);
    cr_assert_eq(read->count, 0);
    fixture_read_destroy(read);
    store_memory_fault_flush(f->store, 1);
    cr_assert_eq(fixture_flush(f, 1, NULL, 0), STORE_EIO);
    cr_assert_eq(fixture_emit(f, 1, 1, 1, 100), STORE_EREADONLY);
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_eq(f->applied_index, 0);
    fixture_destroy(f);
}

Test(store_memory_faults, a_crash_keeps_a_commit_in_flight_as_a_whole_or_not_at_all)
{
    unsigned kept = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct fixture *f = fixture_create(FIXTURE_MEMORY);
        f->memory_options.seed = seed;
        cr_assert_eq(fixture_start(f), 0);
        struct fixture_append *appends[4];
        for (unsigned i = 0; i < 4; i++) {
            appends[i] = fixture_append_create(f);
            fixture_append_data(appends[i], 1, i, 1, 100);
            cr_assert_eq(f->store->ops->append(f->store, &appends[i]->append), 0);
        }
        /* The first is a commit of its own; the other three gathered behind it. */
        fixture_wait(f, &appends[0]->done);
        fixture_end(f, FIXTURE_CRASH);
        cr_assert_eq(fixture_start(f), 0);
        cr_assert(f->replayed_last == 1 || f->replayed_last == 4, "%u", (unsigned)f->replayed_last);
        kept += f->replayed_last == 4;
        for (unsigned i = 0; i < 4; i++)
            fixture_append_destroy(appends[i]);
        fixture_destroy(f);
    }
    cr_assert(kept > 5 && kept < 35, "%u of 40 kept", kept);
}

Test(store_memory_faults, the_planted_bug_answers_before_it_is_durable)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct fixture *f = fixture_create(FIXTURE_MEMORY);
        f->memory_options.seed = seed;
        f->memory_options.complete_before_durable = true;
        cr_assert_eq(fixture_start(f), 0);
        cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
        fixture_reopen(f, FIXTURE_CRASH);
        lost += f->replayed_last == 0;
        fixture_destroy(f);
    }
    cr_assert_gt(lost, 5, "acknowledged entries are lost, for a simulator to find");
}

Test(store_memory_faults, the_same_seed_gives_the_same_times)
{
    int64_t ends[2];
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = fixture_open(FIXTURE_MEMORY);
        store_memory_fault_slow(f->store, 1, 5000000);
        for (uint64_t n = 0; n < 50; n++)
            cr_assert_eq(fixture_emit(f, 1, n, 1, 100), STORE_OK);
        ends[i] = f->now_us;
        fixture_destroy(f);
    }
    cr_assert_eq(ends[0], ends[1]);
    cr_assert_gt(ends[0], 5000000, "one commit was slow");
}
