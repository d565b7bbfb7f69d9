/* test_store_disk.c: disks that are slow, full in odd places, over quota, read-only, or interrupted; and files beside ours
 * that are not what they should be. Each test says that its fault was met. */
#include "storage/lmdb/folder.h"
#include "tests/support/disk_faults.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_SEGMENT "0000000001-0.mdb"
#define BATCH_SIZE    20000

static struct fixture *open_small(uint64_t entries)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 512u << 10;
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < entries; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    return f;
}

/* Emits until one is refused; returns how many are stored. */
static uint64_t emit_until(struct fixture *f, uint64_t next, int *ret_status)
{
    int status = STORE_OK;
    while (next < 300 && (status = fixture_emit(f, 1, next, 1, BATCH_SIZE)) == STORE_OK)
        next++;
    *ret_status = status;
    return next;
}

/* Nothing that was acknowledged is gone, now and in two more lives. */
static void check_lives(struct fixture *f, uint64_t stored)
{
    fixture_expect(f, 1, 0, stored, BATCH_SIZE);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, stored, BATCH_SIZE);
    cr_assert_eq(fixture_emit(f, 1, stored, 1, BATCH_SIZE), STORE_OK);
    fixture_reopen(f, FIXTURE_CLEAN);
    fixture_expect(f, 1, 0, stored + 1, BATCH_SIZE);
    fixture_destroy(f);
}

/* ---- no room ---- */

/* Wherever a disk or a quota says that it is full: refused by epoch, and emits go on when there is room. */
static void check_no_room(const char *part, enum disk_op op, int error)
{
    struct fixture *f = open_small(2);
    int status;
    disk_fail(part, op, 1, error);
    uint64_t stored = emit_until(f, 2, &status);
    cr_assert_eq(status, STORE_EFULL, "%s: %d", part, status);
    cr_assert_geq(disk_struck(), 1);
    cr_assert(fixture_stats(f).full);
    cr_assert_not(fixture_stats(f).read_only);
    disk_heal();
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, stored, 1, BATCH_SIZE), STORE_OK);
    check_lives(f, stored + 1);
}

Test(store_disk, over_quota_is_a_full_disk)
{
    check_no_room(FIRST_SEGMENT, DISK_ALLOCATE, EDQUOT);
    check_no_room(FIRST_SEGMENT, DISK_WRITE, EDQUOT);
    check_no_room("0000000002-0.mdb", DISK_ALLOCATE, EDQUOT);
}

Test(store_disk, no_room_to_create_the_next_segment)
{
    check_no_room("0000000002-0.mdb", DISK_OPEN, ENOSPC);
    check_no_room("0000000002-0.mdb", DISK_WRITE, ENOSPC); /* its first pages */
    check_no_room("0000000002-0.mdb", DISK_ALLOCATE, ENOSPC);
}

/* Connections may have taken all of the process's descriptors: like no memory, that passes. */
Test(store_disk, no_descriptor_for_the_next_segment_refuses_at_the_roll_and_recovers)
{
    check_no_room("0000000002-0.mdb", DISK_OPEN, EMFILE);
    check_no_room("0000000002-0.mdb-lock", DISK_OPEN, ENFILE);
}

Test(store_disk, no_descriptor_for_a_copy_of_the_state_stops_nothing)
{
    struct fixture *f = open_small(2);
    disk_fail("state.mdb.new", DISK_OPEN, 1, EMFILE);
    for (uint64_t i = 2; i < 60; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    for (unsigned i = 0; i < 20000 && disk_struck() == 0; i++)
        (void)fixture_flush(f, 1, NULL, 0); /* the copy comes with the seal */
    cr_assert_geq(disk_struck(), 1);
    disk_heal();
    cr_assert_not(fixture_stats(f).read_only);
    cr_assert_eq(fixture_flush(f, 60, NULL, 0), STORE_OK);
    check_lives(f, 60);
}

Test(store_disk, no_descriptor_for_a_sealed_segment_fails_the_read_and_the_next_one_succeeds)
{
    struct fixture *f = open_small(60);
    cr_assert_eq(fixture_flush(f, 60, NULL, 0), STORE_OK); /* a start that replays opens it */
    fixture_reopen(f, FIXTURE_CLEAN);
    const char *const parts[] = {FIRST_SEGMENT, "0000000001-0.idx"};
    for (unsigned i = 0; i < 2; i++) {
        disk_fail(parts[i], DISK_OPEN, 1, EMFILE);
        struct store_read *read = fixture_read(f, 1, 0, 1, 1);
        cr_assert_eq(read->status, STORE_ENOMEM, "%s: %d", parts[i], read->status);
        cr_assert_geq(disk_struck(), 1);
        fixture_read_destroy(read);
        disk_heal();
        fixture_reopen(f, FIXTURE_CLEAN);
    }
    check_lives(f, 60);
}

Test(store_disk, no_room_in_the_manifest)
{
    check_no_room("meta.mdb", DISK_WRITE, ENOSPC);
}

/* LMDB undoes a meta page it could not write, and then refuses to go on: what is in the file is not known. */
Test(store_disk, no_room_at_the_meta_page_of_the_manifest_stops_the_shard)
{
    struct fixture *f = open_small(2);
    int status;
    disk_fail_once("meta.mdb", DISK_META, 1, ENOSPC);
    uint64_t stored = emit_until(f, 2, &status);
    cr_assert_eq(disk_struck(), 1);
    disk_heal();
    if (status == STORE_EFULL) { /* the first sign of it; the next attempt finds the manifest refusing */
        f->epoch++;
        stored = emit_until(f, stored, &status);
    }
    cr_assert_eq(status, STORE_EREADONLY);
    check_lives(f, stored);
}

/* ---- errors in other places ---- */

/* An I/O error that nothing explains: nothing is written any more, reads go on, a new life has everything. */
static void check_stops(const char *part, enum disk_op op, int error)
{
    struct fixture *f = open_small(2);
    int status;
    disk_fail(part, op, 1, error);
    uint64_t stored = emit_until(f, 2, &status);
    cr_assert(status == STORE_EREADONLY || status == STORE_EIO, "%s: %d", part, status);
    cr_assert_geq(disk_struck(), 1);
    disk_heal();
    cr_assert(fixture_stats(f).read_only);
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, stored, 1, BATCH_SIZE), STORE_EREADONLY);
    fixture_expect(f, 1, 0, stored, BATCH_SIZE);
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_geq(f->replayed_last, stored);
    cr_assert_leq(f->replayed_last, stored + 1);
    fixture_expect(f, 1, 0, stored, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_disk, an_error_while_the_next_segment_is_made)
{
    check_stops("0000000002-0.mdb", DISK_OPEN, EIO);
    check_stops("0000000002-0.mdb", DISK_WRITE, EIO);
    check_stops("0000000002-0.mdb", DISK_SYNC, EIO);
    check_stops("0000000002-0.mdb", DISK_ALLOCATE, EIO);
}

/* The name of a new file is durable once its folder is synced: a folder that cannot be synced is an I/O error. */
Test(store_disk, a_folder_that_cannot_be_synced)
{
    struct fixture *f = open_small(2);
    char shard[200];
    int status;
    (void)snprintf(shard, sizeof(shard), "%s/shard-0", f->path);
    /* Only the folder's own path ends there. */
    disk_fail_folder(shard, DISK_SYNC, EIO);
    uint64_t stored = emit_until(f, 2, &status);
    cr_assert_eq(status, STORE_EREADONLY);
    cr_assert_geq(disk_struck(), 1);
    disk_heal();
    check_lives(f, stored);
}

Test(store_disk, a_file_system_that_turned_read_only)
{
    check_stops(FIRST_SEGMENT, DISK_WRITE, EROFS);
    check_stops(FIRST_SEGMENT, DISK_ALLOCATE, EROFS);
    check_stops("meta.mdb", DISK_WRITE, EROFS);
}

Test(store_disk, a_start_on_a_read_only_file_system_is_refused_with_its_name)
{
    struct fixture *f = open_small(2);
    fixture_end(f, FIXTURE_CLEAN);
    disk_fail("/LOCK", DISK_OPEN, 1, EROFS);
    cr_assert_lt(fixture_start(f), 0);
    cr_assert_eq(disk_struck(), 1);
    cr_assert_not_null(strstr(f->error, "Read-only file system"), "%s", f->error);
    disk_heal();
    cr_assert_eq(fixture_start(f), 0);
    check_lives(f, 2);
}

/* Several pieces go by writev, a single one by pwrite: both are met. */
Test(store_disk, an_error_in_a_gathered_write)
{
    struct fixture *f = open_small(2);
    struct fixture_append *appends[8];
    disk_hold(FIRST_SEGMENT, DISK_SYNC); /* while the first one syncs, the others gather */
    for (unsigned i = 0; i < 8; i++) {
        appends[i] = fixture_append_create(f);
        fixture_append_data(appends[i], 1, 2 + i, 1, BATCH_SIZE);
        fixture_submit(f, appends[i]);
        if (i == 0)
            disk_await_held();
    }
    disk_fail(FIRST_SEGMENT, DISK_WRITEV, 1, EIO);
    fixture_wait(f, &appends[0]->done);
    cr_assert_eq(appends[0]->append.status, STORE_OK);
    fixture_wait(f, &appends[7]->done);
    cr_assert_geq(disk_struck(), 1);
    disk_heal();
    for (unsigned i = 1; i < 8; i++)
        cr_assert_eq(appends[i]->append.status, STORE_EIO);
    for (unsigned i = 0; i < 8; i++)
        fixture_append_destroy(appends[i]);
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_geq(f->replayed_last, 3);
    fixture_expect(f, 1, 0, 3, BATCH_SIZE);
    fixture_destroy(f);
}

/* ---- interrupted ---- */

Test(store_disk, a_storm_of_interrupts_changes_nothing)
{
    static const enum disk_op ops[] = {DISK_WRITE, DISK_META, DISK_ALLOCATE};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = open_small(2);
        disk_fail_times(".mdb", ops[i], 500, EINTR);
        for (uint64_t at = 2; at < 60; at++)
            cr_assert_eq(fixture_emit(f, 1, at, 1, BATCH_SIZE), STORE_OK);
        cr_assert_eq(fixture_flush(f, 60, (const char *const[]){"ta=1"}, 1), STORE_OK);
        cr_assert_eq(disk_struck(), 500);
        disk_heal();
        check_lives(f, 60);
    }
}

Test(store_disk, a_storm_of_interrupts_does_not_fail_a_read)
{
    struct fixture *f = open_small(60);
    fixture_reopen(f, FIXTURE_CLEAN);
    disk_fail_times(FIRST_SEGMENT, DISK_READ, 500, EINTR);
    fixture_expect(f, 1, 0, 60, BATCH_SIZE);
    cr_assert_eq(disk_struck(), 500);
    disk_heal();
    fixture_destroy(f);
}

/* Whether an interrupted sync did its work nobody knows, and a sync is never repeated. */
Test(store_disk, an_interrupted_sync_counts_as_failed)
{
    check_stops(FIRST_SEGMENT, DISK_SYNC, EINTR);
}

/* ---- slow ---- */

/* While a sync hangs nothing it covers is acknowledged, and reads of what is durable go on. */
Test(store_disk, a_sync_that_hangs_holds_back_its_acknowledgement_and_no_reads)
{
    struct fixture *f = open_small(5);
    struct fixture_append *append = fixture_append_create(f);
    fixture_append_data(append, 1, 5, 1, BATCH_SIZE);
    disk_hold(FIRST_SEGMENT, DISK_SYNC);
    fixture_submit(f, append);
    disk_await_held();
    for (int i = 0; i < 20; i++)
        fixture_expect(f, 1, 0, 5, BATCH_SIZE);
    cr_assert_not(append->done);
    cr_assert_eq(fixture_stats(f).last_index, 5);
    struct store_read *read = fixture_read(f, 1, 5, 6, 1u << 20);
    cr_assert_eq(read->count, 0, "what is not durable is not read");
    fixture_read_destroy(read);
    disk_heal();
    fixture_wait(f, &append->done);
    cr_assert_eq(append->append.status, STORE_OK);
    fixture_append_destroy(append);
    check_lives(f, 6);
}

/* A flush of the state that hangs holds up neither appends nor reads. */
Test(store_disk, a_flush_that_hangs_holds_up_nobody)
{
    struct fixture *f = open_small(5);
    bool done = false;
    struct store_flush flush = {.done = fixture_flush_done, .ctx = &done, .applied_index = 5};
    disk_hold("state.mdb", DISK_SYNC);
    cr_assert_eq(f->store->ops->flush(f->store, &flush), 0);
    disk_await_held();
    for (uint64_t i = 5; i < 15; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    fixture_expect(f, 1, 0, 15, BATCH_SIZE);
    cr_assert_not(done);
    disk_heal();
    fixture_wait(f, &done);
    cr_assert_eq(flush.status, STORE_OK);
    check_lives(f, 15);
}

/* ---- files that are not ours ---- */

static void write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* What counts is the lock that a living process holds, not what the file says. */
Test(store_disk, a_stale_or_garbled_lock_file_is_no_obstacle)
{
    static const char *const texts[] = {"", "1\n", "garbage without an end", "\x01\xff\xfe"};
    for (unsigned i = 0; i < 4; i++) {
        struct fixture *f = open_small(30);
        fixture_end(f, FIXTURE_CRASH);
        write_file(f, "LOCK", texts[i]);
        write_file(f, "shard-0/0000000001-0.mdb-lock", "no table of readers");
        write_file(f, "shard-0/0000000002-0.mdb-lock", "none either");
        cr_assert_eq(fixture_start(f), 0, "%s", f->error);
        check_lives(f, 30);
    }
}

/* A segment of another broker under our name: its entries do not follow ours, or do not reach the state. */
Test(store_disk, a_foreign_segment_is_refused)
{
    struct fixture *f = open_small(60), *other = fixture_open(FIXTURE_LMDB);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(fixture_emit(other, 9, i, 1, 500), STORE_OK);
    fixture_end(f, FIXTURE_CRASH);
    fixture_end(other, FIXTURE_CLEAN);
    for (unsigned number = 1; number <= 3; number++) {
        char theirs[300], ours[300], copy[200];
        (void)snprintf(copy, sizeof(copy), "%s-copy", f->path);
        fixture_copy_folder(f->path, copy);
        (void)snprintf(theirs, sizeof(theirs), "%s/shard-0/" FIRST_SEGMENT, other->path);
        (void)snprintf(ours, sizeof(ours), "%s/shard-0/%010u-0.mdb", copy, number);
        cr_assert_eq(unlink(ours), 0);
        cr_assert_eq(link(theirs, ours), 0);
        struct fixture *mixed = fixture_create_at(copy);
        mixed->options.segment_size = 512u << 10;
        cr_assert_lt(fixture_start(mixed), 0, "segment %u", number);
        fixture_destroy(mixed);
        fixture_remove_folder(copy);
    }
    fixture_destroy(f);
    fixture_destroy(other);
}

/* A start that cannot even open its files names them. */
Test(store_disk, a_file_that_cannot_be_opened_is_named)
{
    static const char *const parts[] = {"meta.mdb", "state.mdb", FIRST_SEGMENT};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = open_small(3);
        fixture_end(f, FIXTURE_CRASH);
        disk_fail(parts[i], DISK_OPEN, 1, EACCES);
        cr_assert_lt(fixture_start(f), 0);
        cr_assert_geq(disk_struck(), 1);
        cr_assert_not_null(strstr(f->error, parts[i]), "%s", f->error);
        disk_heal();
        cr_assert_eq(fixture_start(f), 0);
        check_lives(f, 3);
    }
}
