/* test_store_retention.c: what is trimmed gives its space back, whole segments first, and nothing else changes. */
#include "storage/offline.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIZE 20000 /* of a batch: 19 to a segment of 512 KiB */

static struct fixture *open_kind(enum fixture_kind kind)
{
    struct fixture *f = fixture_create(kind);
    f->options.segment_size = 512u << 10;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    return f;
}

#define BOTH(name)                                                                                           \
    static void name(struct fixture *f);                                                                     \
    Test(retention_lmdb, name)                                                                               \
    {                                                                                                        \
        struct fixture *f = open_kind(FIXTURE_LMDB);                                                         \
        name(f);                                                                                             \
        fixture_destroy(f);                                                                                  \
    }                                                                                                        \
    Test(retention_memory, name)                                                                             \
    {                                                                                                        \
        struct fixture *f = open_kind(FIXTURE_MEMORY);                                                       \
        name(f);                                                                                             \
        fixture_destroy(f);                                                                                  \
    }                                                                                                        \
    static void name(struct fixture *f)

static void emit_some(struct fixture *f, uint64_t partition, uint64_t from, uint64_t until)
{
    for (uint64_t at = from; at < until; at++)
        cr_assert_eq(fixture_emit(f, partition, at, 1, SIZE), STORE_OK);
}

static void flush(struct fixture *f)
{
    uint64_t last = fixture_stats(f).last_index;
    cr_assert_eq(fixture_flush(f, last, (const char *const[]){"tcut=1"}, 1), STORE_OK);
}

static void trim(struct fixture *f, uint64_t partition, uint64_t log_start)
{
    cr_assert_eq(f->store->ops->trim(f->store, partition, log_start), 0);
}

static struct store_lookup prefix(struct fixture *f, uint64_t partition, uint64_t from, uint64_t until,
                                  uint64_t bytes_max)
{
    struct store_lookup lookup = {.kind = LOOKUP_PREFIX, .partition = partition, .from = from};
    uint64_t bytes = 0;
    do {
        lookup = (struct store_lookup){.kind = LOOKUP_PREFIX,
                                       .partition = partition,
                                       .from = lookup.more ? lookup.offset : from,
                                       .until = until,
                                       .bytes_max = bytes_max - (bytes_max == UINT64_MAX ? 0 : bytes)};
        fixture_look_up(f, &lookup);
        cr_assert_eq(lookup.status, 0);
        bytes += lookup.bytes;
    } while (lookup.more);
    lookup.bytes = bytes;
    return lookup;
}

static void emit_flushed(struct fixture *f, uint64_t partition, uint64_t until)
{
    for (uint64_t at = 0; at < until; at += 10) {
        emit_some(f, partition, at, at + 10);
        flush(f);
    }
}

/* The background thread works when there is a job for it, so jobs bring it there. */
static void until_removed(struct fixture *f, uint64_t removed)
{
    for (unsigned i = 0; i < 20000 && fixture_stats(f).removed < removed; i++)
        flush(f);
    cr_assert_geq(fixture_stats(f).removed, removed);
}

static void until_swept(struct fixture *f, uint64_t swept)
{
    for (unsigned i = 0; i < 20000 && fixture_stats(f).swept < swept; i++)
        flush(f);
    cr_assert_geq(fixture_stats(f).swept, swept);
}

/* ---- both ---- */

BOTH(what_lies_above_the_log_start_is_read_as_before)
{
    emit_some(f, 1, 0, 100);
    emit_some(f, 2, 0, 10);
    trim(f, 1, 60);
    flush(f);
    fixture_expect(f, 1, 60, 100, SIZE);
    fixture_expect(f, 2, 0, 10, SIZE);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 60, 100, SIZE);
    fixture_expect(f, 2, 0, 10, SIZE);
}

BOTH(a_log_start_never_goes_back)
{
    emit_some(f, 1, 0, 100);
    trim(f, 1, 60);
    trim(f, 1, 20);
    flush(f);
    fixture_expect(f, 1, 60, 100, SIZE);
}

BOTH(a_prefix_ends_where_it_is_told_and_knows_its_bytes)
{
    emit_some(f, 1, 0, 120);
    struct store_lookup all = prefix(f, 1, 0, 120, UINT64_MAX);
    cr_assert_eq(all.offset, 120);
    cr_assert_eq(all.bytes, (uint64_t)120 * SIZE);
    struct store_lookup first = prefix(f, 1, 0, 50, UINT64_MAX);
    struct store_lookup second = prefix(f, 1, 50, 120, UINT64_MAX);
    cr_assert_eq(first.offset, 50);
    cr_assert_eq(first.bytes + second.bytes, all.bytes, "what a part leaves out is in the next one");
    struct store_lookup nothing = prefix(f, 9, 0, 0, UINT64_MAX);
    cr_assert_eq(nothing.offset, 0);
    cr_assert_eq(nothing.bytes, 0);
}

BOTH(a_prefix_never_has_more_bytes_than_were_asked_for)
{
    emit_some(f, 1, 0, 120);
    for (uint64_t bytes = 0; bytes < (uint64_t)130 * SIZE; bytes += 7 * SIZE + 1) {
        struct store_lookup lookup = prefix(f, 1, 0, 120, bytes);
        cr_assert_leq(lookup.bytes, bytes);
        cr_assert_leq(lookup.offset, 120);
        if (bytes < (uint64_t)120 * SIZE)
            cr_assert_eq(lookup.bytes, lookup.offset * SIZE, "its offset and its bytes agree");
        cr_assert_gt(lookup.bytes + (128u << 10), bytes < 120 * SIZE ? bytes : 120 * SIZE,
                     "and it comes near: a run of 64 KiB of log");
    }
}

BOTH(the_space_left_on_the_disk_is_told)
{
    cr_assert_gt(fixture_stats(f).disk_free, 0);
}

/* ---- on the disk ---- */

/* The segment files: how many, and their bytes. */
static unsigned files(const struct fixture *f, uint64_t *ret_bytes)
{
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/shard-0", f->path);
    DIR *dir = opendir(path);
    cr_assert(dir);
    unsigned count = 0;
    uint64_t bytes = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat stat_of;
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] != '0' || length < 4 || strcmp(entry->d_name + length - 4, ".mdb") != 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/shard-0/%s", f->path, entry->d_name);
        if (stat(path, &stat_of) < 0)
            continue; /* gone just now */
        count++;
        bytes += (uint64_t)stat_of.st_size;
    }
    closedir(dir);
    if (ret_bytes)
        *ret_bytes = bytes;
    return count;
}

Test(retention_lmdb, segments_without_anything_wanted_are_removed)
{
    struct fixture *f = open_kind(FIXTURE_LMDB);
    for (uint64_t at = 0; at < 300; at++) {
        emit_some(f, 1, at, at + 1);
        if (at % 10 == 9)
            flush(f);
    }
    unsigned before = files(f, NULL);
    cr_assert_geq(before, 12);
    trim(f, 1, 200);
    until_removed(f, 7);
    cr_assert_leq(files(f, NULL), before - 7);
    fixture_expect(f, 1, 200, 300, SIZE);
    /* The gap in the indexes is explained, whatever the end was. (The fixture's crash copies the folder file by file, so it
     * is for lives in which nothing is removed; test_store_power knows the others.) */
    for (unsigned life = 0; life < 3; life++) {
        fixture_reopen(f, life == 0 ? FIXTURE_CLEAN : FIXTURE_CRASH);
        fixture_expect(f, 1, 200, 300 + life, SIZE);
        emit_some(f, 1, 300 + life, 301 + life);
        cr_assert_eq(fixture_stats(f).last_index, 301 + life);
    }
    fixture_destroy(f);
}

Test(retention_lmdb, a_start_looks_at_no_segment_before_its_time)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 512u << 10;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    emit_flushed(f, 1, 200);
    fixture_end(f, FIXTURE_CLEAN);
    f->options.clean_delay_us = INT64_C(3600) * 1000000;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    trim(f, 1, 200);
    for (unsigned i = 0; i < 100; i++)
        flush(f); /* the background thread has had its chance a hundred times */
    cr_assert_eq(fixture_stats(f).removed, 0);
    fixture_end(f, FIXTURE_CLEAN);
    f->options.clean_delay_us = 0;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    trim(f, 1, 200);
    until_removed(f, 7);
    fixture_expect(f, 1, 200, 200, SIZE);
    fixture_destroy(f);
}

Test(retention_lmdb, nothing_is_removed_that_a_copy_of_the_state_may_replay)
{
    struct fixture *f = open_kind(FIXTURE_LMDB);
    emit_some(f, 1, 0, 10);
    flush(f); /* the copies made at rolls reach to here and no further */
    emit_some(f, 1, 10, 200);
    trim(f, 1, STORE_DELETED);
    for (unsigned i = 0; i < 50; i++)
        cr_assert_eq(fixture_flush(f, 10, NULL, 0), STORE_OK);
    cr_assert_eq(fixture_stats(f).removed, 0);
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_eq(f->replayed_count, 190);
    fixture_destroy(f);
}

/* Every entry has a batch of partition 1 and a small one of partition 2, so that a segment without 1 is mostly dead. */
static void emit_pairs(struct fixture *f, uint64_t from, uint64_t until)
{
    for (uint64_t at = from; at < until; at++) {
        f->now_us += 10; /* each entry has its own time */
        struct fixture_append *a = fixture_append_create(f);
        fixture_append_command(a, 2, "a command", 9);
        fixture_append_data(a, 1, at, 1, SIZE);
        if (at % 5 == 0)
            fixture_append_data(a, 2, at / 5, 1, 300);
        fixture_submit(f, a);
        fixture_wait(f, &a->done);
        cr_assert_eq(a->append.status, STORE_OK);
        fixture_append_destroy(a);
        if (at % 10 == 9)
            flush(f);
    }
}

static uint64_t folder_bytes(const struct fixture *f)
{
    uint64_t bytes;
    (void)files(f, &bytes);
    return bytes;
}

Test(retention_lmdb, segments_that_are_mostly_dead_are_written_anew)
{
    struct fixture *f = open_kind(FIXTURE_LMDB);
    emit_pairs(f, 0, 300);
    uint64_t before = folder_bytes(f);
    trim(f, 1, 240);
    until_swept(f, 7);
    for (unsigned i = 0; i < 100 && folder_bytes(f) > before * 2 / 3; i++)
        flush(f); /* the files go after the swap */
    cr_assert_leq(folder_bytes(f), before * 2 / 3);
    fixture_expect(f, 1, 240, 300, SIZE);
    fixture_expect(f, 2, 0, 60, 300);
    for (unsigned life = 0; life < 2; life++) {
        fixture_reopen(f, life ? FIXTURE_CRASH : FIXTURE_CLEAN);
        fixture_expect(f, 1, 240, 300, SIZE);
        fixture_expect(f, 2, 0, 60, 300);
    }
    fixture_destroy(f);
}

/* Segments made before the setting was lowered are larger than those that are made now. */
Test(retention_lmdb, a_segment_larger_than_new_ones_are_is_swept_too)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 4u << 20;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    for (uint64_t at = 0; at < 200; at++) /* more than one segment, of two partitions in turns */
        cr_assert_eq(fixture_emit(f, 1 + at % 5 / 3, at / 5 * (at % 5 / 3 ? 2 : 3) + at % 5 % 3, 1, SIZE),
                     STORE_OK);
    flush(f);
    fixture_end(f, FIXTURE_CLEAN);
    f->options.segment_size = 512u << 10;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    emit_flushed(f, 3, 50);
    trim(f, 1, 120);
    until_swept(f, 1);
    fixture_expect(f, 2, 0, 80, SIZE);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 2, 0, 80, SIZE);
    fixture_destroy(f);
}

/* Copying the rest of what is about to go would be for nothing. That segments of another partition are removed shows that
 * those before them were looked at. */
Test(retention_lmdb, a_segment_is_not_swept_before_its_live_bytes_stand_still)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 512u << 10;
    f->options.sweep_settle_us = INT64_C(3600) * 1000000;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    emit_flushed(f, 1, 50);
    emit_flushed(f, 2, 200);
    emit_flushed(f, 3, 100);
    trim(f, 1, 15); /* the first segment, of 19, is mostly dead */
    trim(f, 2, 150);
    until_removed(f, 7); /* segments 4 to 10: one pass */
    trim(f, 2, 200);
    until_removed(f, 8); /* the next one */
    cr_assert_eq(fixture_stats(f).swept, 0);
    trim(f, 1, 50);
    until_removed(f, 11); /* 11 and 12; 1 and 2 */
    cr_assert_eq(fixture_stats(f).swept, 0);
    fixture_expect(f, 3, 0, 100, SIZE);
    fixture_destroy(f);
}

static void on_fault(void *ctx, const struct offline_fault *fault)
{
    (void)ctx;
    cr_assert_fail("%s: entries %llu..%llu %s", fault->file, (unsigned long long)fault->first_index,
                   (unsigned long long)fault->last_index, fault->what);
}

Test(retention_lmdb, verifying_finds_no_fault_where_segments_were_removed_and_swept)
{
    struct fixture *f = open_kind(FIXTURE_LMDB);
    emit_some(f, 1, 0, 100);
    flush(f);
    emit_pairs(f, 100, 300);
    trim(f, 1, 240);
    until_swept(f, 4);
    until_removed(f, 2);
    fixture_end(f, FIXTURE_CLEAN);
    static const struct offline_watch watch = {.fault = on_fault};
    struct offline_summary summary;
    cr_assert_eq(offline_verify(f->path, &watch, &summary, f->error, sizeof(f->error)), 0, "%s", f->error);
    cr_assert_eq(summary.faults, 0);
    cr_assert_eq(fixture_start(f), 0);
    fixture_destroy(f);
}

Test(retention_lmdb, a_swept_segment_is_read_without_its_index_file)
{
    struct fixture *f = open_kind(FIXTURE_LMDB);
    emit_pairs(f, 0, 200);
    trim(f, 1, 150);
    until_swept(f, 4);
    fixture_end(f, FIXTURE_CLEAN);
    char command[300];
    (void)snprintf(command, sizeof(command), "rm %s/shard-0/*.idx", f->path);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    fixture_expect(f, 1, 150, 200, SIZE);
    fixture_expect(f, 2, 0, 40, 300);
    fixture_destroy(f);
}

Test(retention_lmdb, times_are_found_in_swept_segments)
{
    struct fixture *f = open_kind(FIXTURE_LMDB);
    emit_pairs(f, 0, 200);
    int64_t time_us[40];
    for (uint64_t at = 0; at < 40; at++) {
        struct store_read *read = fixture_read(f, 2, at, at + 1, 1000);
        cr_assert_eq(read->count, 1);
        time_us[at] = read->batches[0].append_time_us;
        fixture_read_destroy(read);
    }
    trim(f, 1, STORE_DELETED);
    until_swept(f, 4);
    for (uint64_t at = 0; at < 40; at++)
        cr_assert_eq(fixture_lookup(f, 2, time_us[at]), (int64_t)at);
    fixture_destroy(f);
}

Test(retention_lmdb, the_log_goes_on_where_it_was_when_everything_is_deleted)
{
    struct fixture *f = open_kind(FIXTURE_LMDB);
    emit_pairs(f, 0, 100);
    trim(f, 1, STORE_DELETED);
    trim(f, 2, STORE_DELETED);
    until_removed(f, 1);
    for (unsigned life = 0; life < 4; life++) {
        fixture_reopen(f, FIXTURE_CLEAN);
        fixture_reopen(f, FIXTURE_CRASH);
        trim(f, 1, STORE_DELETED);
        trim(f, 2, STORE_DELETED);
        for (unsigned i = 0; i < 20; i++)
            flush(f);
        cr_assert_eq(fixture_stats(f).last_index, 100);
    }
    emit_some(f, 3, 0, 1);
    cr_assert_eq(fixture_stats(f).last_index, 101);
    fixture_destroy(f);
}
