/* test_store_lmdb.c: the codes of LMDB that are not a disk's: what they make of an append, a read, a flush, a start. */
#include "tests/support/disk_faults.h"
#include "tests/support/lmdb_faults.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <lmdb.h>
#include <string.h>

#define FIRST_SEGMENT "0000000001-0.mdb"

static struct fixture *open_with(uint64_t entries)
{
    struct fixture *f = fixture_open(FIXTURE_LMDB);
    for (uint64_t i = 0; i < entries; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 1000), STORE_OK);
    return f;
}

static void expect_after_restarts(struct fixture *f, uint64_t count)
{
    fixture_expect(f, 1, 0, count, 1000);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, count, 1000);
    cr_assert_eq(fixture_emit(f, 1, count, 1, 1000), STORE_OK);
    fixture_reopen(f, FIXTURE_CLEAN);
    fixture_expect(f, 1, 0, count + 1, 1000);
    fixture_destroy(f);
}

/* A full map in the put or in the commit: undone, and written to the next segment; nobody hears of it. */
Test(store_lmdb, a_full_map_rolls_to_the_next_segment)
{
    static const enum lmdb_call calls[] = {LMDB_PUT, LMDB_COMMIT};
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = open_with(3);
        lmdb_fail(calls[i], FIRST_SEGMENT, MDB_MAP_FULL);
        cr_assert_eq(fixture_emit(f, 1, 3, 1, 1000), STORE_OK);
        cr_assert_eq(lmdb_struck(), 1);
        cr_assert_eq(fixture_stats(f).segments, 2);
        expect_after_restarts(f, 4);
    }
}

/* A map that is full while rows of the state are put or deleted: the flush is refused, a later one succeeds. */
Test(store_lmdb, a_full_map_in_the_state_refuses_the_flush_and_a_later_one_succeeds)
{
    static const enum lmdb_call calls[] = {LMDB_PUT, LMDB_DELETE, LMDB_COMMIT};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = open_with(3);
        const char *const rows[] = {"ta=1", "tb"};
        cr_assert_eq(fixture_flush(f, 1, rows, 2), STORE_OK);
        lmdb_fail(calls[i], "state.mdb", MDB_MAP_FULL);
        cr_assert_eq(fixture_flush(f, 2, rows, 2), STORE_EFULL);
        cr_assert_eq(lmdb_struck(), 1);
        cr_assert_not(fixture_stats(f).read_only);
        cr_assert_eq(fixture_stats(f).flushed_index, 1);
        cr_assert_eq(fixture_flush(f, 3, rows, 2), STORE_OK);
        expect_after_restarts(f, 3);
    }
}

/* The manifest has room for 500,000 segments; should it be full all the same, emits are refused and reads go on. */
Test(store_lmdb, a_full_map_in_the_manifest_refuses_emits_until_there_is_room)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 1u << 20;
    cr_assert_eq(fixture_start(f), 0);
    uint64_t stored = 0;
    int status = STORE_OK;
    lmdb_fail(LMDB_PUT, "meta.mdb", MDB_MAP_FULL); /* the row of the next segment */
    while (stored < 200 && (status = fixture_emit(f, 1, stored, 1, 20000)) == STORE_OK)
        stored++;
    cr_assert_eq(lmdb_struck(), 1);
    if (status !=
        STORE_OK) { /* it was met at the roll itself, and not when the next one was wanted in time */
        cr_assert_eq(status, STORE_EFULL);
        f->epoch++;
        cr_assert_eq(fixture_emit(f, 1, stored, 1, 20000), STORE_OK);
        stored++;
    }
    cr_assert_not(fixture_stats(f).read_only);
    fixture_expect(f, 1, 0, stored, 20000);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, stored, 20000);
    fixture_destroy(f);
}

/* Too many dirty pages cannot come of 2 MiB: nothing explains it, so nothing is written any more; it was not stored. */
Test(store_lmdb, a_full_transaction_stops_the_shard_and_nothing_of_it_is_stored)
{
    struct fixture *f = open_with(3);
    lmdb_fail(LMDB_PUT, FIRST_SEGMENT, MDB_TXN_FULL);
    cr_assert_eq(fixture_emit(f, 1, 3, 1, 1000), STORE_EREADONLY);
    cr_assert_eq(lmdb_struck(), 1);
    cr_assert(fixture_stats(f).read_only);
    fixture_expect(f, 1, 0, 3, 1000);
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_eq(f->replayed_last, 3);
    fixture_destroy(f);
}

/* A reader thread uses one slot of 126; a table of readers that is full means that something leaks. */
Test(store_lmdb, a_full_table_of_readers_fails_the_read_and_stops_the_shard)
{
    struct fixture *f = open_with(3);
    lmdb_fail(LMDB_BEGIN_READ, FIRST_SEGMENT, MDB_READERS_FULL);
    struct store_read *read = fixture_read(f, 1, 0, 3, 1u << 20);
    cr_assert_eq(lmdb_struck(), 1);
    cr_assert_eq(read->status, STORE_EIO);
    cr_assert_eq(read->count, 0);
    fixture_read_destroy(read);
    cr_assert(fixture_stats(f).read_only);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, 3, 1000);
    fixture_destroy(f);
}

/* There are no named tables, so there is no limit to meet; a start that met it would say so. */
Test(store_lmdb, a_table_that_cannot_be_opened_refuses_the_start)
{
    struct fixture *f = open_with(3);
    fixture_end(f, FIXTURE_CLEAN);
    lmdb_fail(LMDB_OPEN_TABLE, "meta.mdb", MDB_DBS_FULL);
    cr_assert_lt(fixture_start(f), 0);
    cr_assert_eq(lmdb_struck(), 1);
    cr_assert_not_null(strstr(f->error, "meta.mdb"));
    cr_assert_eq(fixture_start(f), 0);
    expect_after_restarts(f, 3);
}

/* After a meta page that could not be written LMDB refuses everything (MDB_PANIC), reading too: the file is opened anew. */
Test(store_lmdb, after_a_panic_everything_acknowledged_is_read)
{
    struct fixture *f = open_with(3);
    disk_fail_once(FIRST_SEGMENT, DISK_META, 1, EIO);
    cr_assert_eq(fixture_emit(f, 1, 3, 1, 1000), STORE_EIO);
    cr_assert_eq(disk_struck(), 1);
    disk_heal();
    cr_assert(fixture_stats(f).read_only);
    for (int i = 0; i < 3; i++)
        fixture_expect(f, 1, 0, 3, 1000);
    fixture_destroy(f);
}

/* A reader that hangs in the middle of a read holds its transaction, and pins what later commits free. The log is only
 * appended to, so that is a few pages a commit; the writer goes on, over rolls, and the read ends as it began. */
Test(store_lmdb, a_read_transaction_held_for_long_stops_nobody)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 1u << 20;
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 5000), STORE_OK);
    disk_hold(FIRST_SEGMENT, DISK_READ);
    bool done = false;
    struct store_read read = {
        .done = fixture_read_done, .ctx = &done, .partition = 1, .until = 3, .bytes_max = 1u << 20};
    cr_assert_eq(f->store->ops->read(f->store, &read), 0);
    disk_await_held();
    for (uint64_t i = 3; i < 600; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 5000), STORE_OK);
    cr_assert_not(done);
    cr_assert_gt(fixture_stats(f).segments, 3);
    disk_heal();
    fixture_wait(f, &done);
    cr_assert_eq(read.status, 0);
    cr_assert_eq(read.count, 3);
    for (uint32_t i = 0; i < read.count; i++) {
        cr_assert(fixture_batch_is(&read.batches[i], 1, i, 1, 5000));
        slice_unref(&read.batches[i].batch);
    }
    fixture_expect(f, 1, 0, 600, 5000);
    fixture_destroy(f);
}

Test(store_lmdb, no_map_is_ever_set_while_it_is_open)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 512u << 10;
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, 20000), STORE_OK);
    cr_assert_eq(fixture_flush(f, 100, (const char *const[]){"ta=1"}, 1), STORE_OK);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, 100, 20000);
    cr_assert_gt(lmdb_maps_set(), 5);
    cr_assert_eq(lmdb_maps_set_while_open(), 0);
    fixture_destroy(f);
}
