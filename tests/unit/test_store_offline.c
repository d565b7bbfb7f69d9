/* test_store_offline.c: folders at rest: every fault is found and named, a backup is a folder, a repaired one starts. */
#include "storage/offline.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_SIZE (512u << 10)
#define ENTRIES      60
#define BATCH_SIZE   20000

struct found {
    unsigned faults, harmless;
    struct offline_fault last; /* not harmless; its pointers are copies below */
    char file[300], what[100];
    uint64_t done, total;
};

static void on_fault(void *ctx, const struct offline_fault *fault)
{
    struct found *found = ctx;
    if (fault->harmless) {
        found->harmless++;
        return;
    }
    found->faults++;
    found->last = *fault;
    (void)snprintf(found->file, sizeof(found->file), "%s", fault->file);
    (void)snprintf(found->what, sizeof(found->what), "%s", fault->what);
}

static void on_progress(void *ctx, const char *file, uint64_t done, uint64_t total)
{
    struct found *found = ctx;
    (void)file;
    cr_assert_geq(done, found->done);
    cr_assert_leq(done, total);
    found->done = done;
    found->total = total;
}

static struct offline_watch watch(struct found *found)
{
    *found = (struct found){0};
    return (struct offline_watch){.fault = on_fault, .progress = on_progress, .ctx = found};
}

static struct offline_summary verify(const char *path, struct found *found)
{
    char error[512];
    struct offline_summary summary;
    struct offline_watch of = watch(found);
    cr_assert_eq(offline_verify(path, &of, &summary, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(summary.faults, found->faults);
    return summary;
}

/* A stopped folder of several segments; entry i + 1 holds offset i. */
static struct fixture *make(enum fixture_end end)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = SEGMENT_SIZE;
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < ENTRIES; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    cr_assert_eq(fixture_flush(f, ENTRIES - 5, (const char *const[]){"tkey=value"}, 1), STORE_OK);
    cr_assert_gt(fixture_stats(f).segments, 2);
    fixture_end(f, end);
    return f;
}

static void path_in(char to[300], const char *folder, const char *name)
{
    (void)snprintf(to, 300, "%s/shard-0/%s", folder, name);
}

static void other_folder(const struct fixture *f, const char *suffix, char to[200])
{
    (void)snprintf(to, 200, "%s-%s", f->path, suffix);
}

/* One bit inside the records of the batch at this offset, if it is in this file. */
static bool flip(const char *path, uint64_t offset)
{
    struct slice batch = fixture_batch(1, offset, 1, BATCH_SIZE);
    int fd = open(path, O_RDWR);
    struct stat stat;
    cr_assert_eq(fstat(fd, &stat), 0);
    uint8_t *bytes = malloc((size_t)stat.st_size);
    cr_assert_eq(pread(fd, bytes, (size_t)stat.st_size, 0), stat.st_size);
    uint8_t *found = memmem(bytes, (size_t)stat.st_size, batch.data + 200, 64);
    if (found) {
        uint8_t byte = found[3] ^ 4;
        cr_assert_eq(pwrite(fd, &byte, 1, found + 3 - bytes), 1);
    }
    free(bytes);
    close(fd);
    slice_unref(&batch);
    return found != NULL;
}

static void write_junk(const char *path, off_t at, size_t size)
{
    uint8_t junk[4096];
    memset(junk, 0x5a, sizeof(junk));
    int fd = open(path, O_WRONLY);
    for (; size > 0; size -= size < sizeof(junk) ? size : sizeof(junk), at += sizeof(junk))
        cr_assert_gt(pwrite(fd, junk, size < sizeof(junk) ? size : sizeof(junk), at), 0);
    close(fd);
}

/* ---- verify ---- */

Test(store_offline, a_good_folder_has_no_fault_and_is_not_changed)
{
    for (int end = FIXTURE_CLEAN; end <= FIXTURE_CRASH; end++) {
        struct fixture *f = make((enum fixture_end)end);
        struct found found;
        for (int i = 0; i < 2; i++) {
            struct offline_summary summary = verify(f->path, &found);
            cr_assert_eq(summary.faults, 0);
            cr_assert_eq(summary.entries, ENTRIES);
            cr_assert_eq(summary.last_index, ENTRIES);
            cr_assert_eq(summary.flushed_index, ENTRIES - 5);
            cr_assert_eq(found.done, found.total);
        }
        cr_assert_eq(fixture_start(f), 0);
        fixture_expect(f, 1, 0, ENTRIES, BATCH_SIZE);
        fixture_destroy(f);
    }
}

Test(store_offline, a_damaged_batch_is_named_with_segment_entry_partition_and_offset)
{
    struct fixture *f = make(FIXTURE_CLEAN);
    char path[300];
    path_in(path, f->path, "0000000001-0.mdb");
    cr_assert(flip(path, 7));
    struct found found;
    struct offline_summary summary = verify(f->path, &found);
    cr_assert_eq(found.faults, 1);
    cr_assert_str_eq(found.file, path);
    cr_assert_eq(found.last.segment, 1);
    cr_assert_eq(found.last.first_index, 8);
    cr_assert_eq(found.last.last_index, 8);
    cr_assert_eq(found.last.partition, 1);
    cr_assert_eq(found.last.offset, 7);
    cr_assert_eq(summary.entries, ENTRIES - 1, "and all the others were looked at");
    fixture_destroy(f);
}

Test(store_offline, a_missing_or_cut_or_foreign_segment_is_named_with_its_entries)
{
    for (int kind = 0; kind < 3; kind++) {
        struct fixture *f = make(FIXTURE_CLEAN);
        char path[300];
        path_in(path, f->path, "0000000002-0.mdb");
        if (kind == 0)
            cr_assert_eq(unlink(path), 0);
        else if (kind == 1)
            cr_assert_eq(truncate(path, 40960), 0);
        else
            write_junk(path, 0, 8192);
        struct found found;
        (void)verify(f->path, &found);
        cr_assert_geq(found.faults, 1);
        cr_assert_str_eq(found.file, path);
        cr_assert_eq(found.last.segment, 2);
        cr_assert_gt(found.last.first_index, 1);
        cr_assert_leq(found.last.last_index, ENTRIES);
        fixture_destroy(f);
    }
}

/* Junk in any page of a segment: told, stepped over, never a crash; what is told and what is found is everything. */
Test(store_offline, junk_in_any_page_is_told_and_stepped_over)
{
    struct fixture *f = make(FIXTURE_CLEAN);
    char path[300], folder[200];
    path_in(path, f->path, "0000000001-0.mdb");
    struct stat file;
    cr_assert_eq(stat(path, &file), 0);
    for (off_t at = 0; at < file.st_size; at += 4096) {
        other_folder(f, "junk", folder);
        fixture_copy_folder(f->path, folder);
        path_in(path, folder, "0000000001-0.mdb");
        write_junk(path, at, 4096);
        struct found found;
        struct offline_summary summary = verify(folder, &found);
        cr_assert(found.faults > 0 || summary.entries == ENTRIES, "page %d", (int)(at / 4096));
        fixture_remove_folder(folder);
    }
    fixture_destroy(f);
}

Test(store_offline, a_folder_in_use_is_refused)
{
    struct fixture *f = fixture_open(FIXTURE_LMDB);
    struct found found;
    struct offline_watch of = watch(&found);
    struct offline_summary summary;
    char error[512];
    cr_assert_eq(offline_verify(f->path, &of, &summary, error, sizeof(error)), STORE_EBUSY);
    cr_assert_not_null(strstr(error, "in use"));
    fixture_destroy(f);
}

Test(store_offline, a_folder_that_is_none_is_refused_and_not_made_one)
{
    char folder[] = "/tmp/crier-offline-XXXXXX", error[512], path[200];
    cr_assert_not_null(mkdtemp(folder));
    struct found found;
    struct offline_watch of = watch(&found);
    struct offline_summary summary;
    cr_assert_lt(offline_verify(folder, &of, &summary, error, sizeof(error)), 0);
    (void)snprintf(path, sizeof(path), "%s/meta.mdb", folder);
    cr_assert_neq(access(path, F_OK), 0);
    fixture_remove_folder(folder);
}

/* ---- repair ---- */

/* Everything but the offsets in [lost, lost_end) is there. */
static void expect_but(struct fixture *f, uint64_t lost, uint64_t lost_end)
{
    fixture_expect(f, 1, 0, lost, BATCH_SIZE);
    struct store_read *read = fixture_read(f, 1, lost, ENTRIES, 1u << 20);
    cr_assert_eq(read->status, 0);
    cr_assert_eq(read->batches[0].base_offset, lost_end, "over the gap");
    fixture_read_destroy(read);
    fixture_expect(f, 1, lost_end, ENTRIES, BATCH_SIZE);
}

static void repair(const char *path, uint64_t mended, uint64_t lost)
{
    struct found found;
    struct offline_watch of = watch(&found);
    struct offline_summary summary = {0};
    char error[512];
    cr_assert_eq(offline_repair(path, &of, &summary, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(summary.mended, mended);
    cr_assert_eq(summary.lost, lost);
    (void)verify(path, &found);
    cr_assert_eq(found.faults, 0);
}

Test(store_offline, a_repaired_segment_has_all_but_the_damaged_entry_and_the_folder_goes_on)
{
    /* In a sealed segment, and in the last one, above the state, where it stops the replay. */
    static const uint64_t offsets[] = {7, ENTRIES - 2};
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = make(FIXTURE_CRASH);
        char path[300], name[40];
        bool flipped = false;
        for (unsigned number = 1; !flipped; number++) {
            (void)snprintf(name, sizeof(name), "%010u-0.mdb", number);
            path_in(path, f->path, name);
            cr_assert_eq(access(path, F_OK), 0);
            flipped = flip(path, offsets[i]);
        }
        struct found found;
        (void)verify(f->path, &found);
        cr_assert_eq(found.faults, 1);
        if (i == 1)
            cr_assert_lt(fixture_start(f), 0);
        repair(f->path, 1, 1);
        repair(f->path, 0, 0);
        cr_assert_eq(fixture_start(f), 0, "%s", f->error);
        expect_but(f, offsets[i], offsets[i] + 1);
        cr_assert_eq(fixture_emit(f, 1, ENTRIES, 1, BATCH_SIZE), STORE_OK);
        fixture_reopen(f, FIXTURE_CRASH);
        expect_but(f, offsets[i], offsets[i] + 1);
        fixture_destroy(f);
    }
}

Test(store_offline, a_missing_segment_is_repaired_into_a_gap)
{
    struct fixture *f = make(FIXTURE_CLEAN);
    char path[300];
    path_in(path, f->path, "0000000002-0.mdb");
    cr_assert_eq(unlink(path), 0);
    struct found found;
    (void)verify(f->path, &found);
    uint64_t first = found.last.first_index, last = found.last.last_index;
    cr_assert_lt(fixture_start(f), 0);
    repair(f->path, 1, last - first + 1);
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    expect_but(f, first - 1, last);
    fixture_destroy(f);
}

/* ---- backup and restore ---- */

static struct offline_summary backup(const char *from, const char *to)
{
    struct found found;
    struct offline_watch of = watch(&found);
    struct offline_summary summary;
    char error[512];
    cr_assert_eq(offline_backup(from, to, &of, &summary, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(found.done, found.total);
    return summary;
}

static void start_at(const char *path, uint64_t entries)
{
    struct fixture *f = fixture_create_at(path);
    f->options.segment_size = SEGMENT_SIZE;
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    fixture_expect(f, 1, 0, entries, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_offline, a_backup_is_a_folder_and_made_again_copies_what_is_new)
{
    struct fixture *f = make(FIXTURE_CLEAN);
    char to[200], restored[200];
    other_folder(f, "backup", to);
    other_folder(f, "restored", restored);
    struct offline_summary first = backup(f->path, to);
    cr_assert_gt(first.segments, 2);
    cr_assert_eq(first.last_index, ENTRIES);
    cr_assert_eq(backup(f->path, to).segments, 0);

    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = ENTRIES; i < ENTRIES + 30; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    fixture_end(f, FIXTURE_CRASH);
    struct offline_summary second = backup(f->path, to);
    cr_assert_eq(second.kept, first.segments - 1, "all but the one that was still being written");
    cr_assert_eq(second.last_index, ENTRIES + 30);

    struct found found;
    (void)verify(to, &found);
    cr_assert_eq(found.faults, 0);
    (void)backup(to, restored);
    start_at(restored, ENTRIES + 30);
    start_at(to, ENTRIES + 30);
    fixture_remove_folder(to);
    fixture_remove_folder(restored);
    fixture_destroy(f);
}

/* So many more entries, of this partition, at this time. */
static void go_on(struct fixture *f, uint64_t partition, uint64_t offset, uint64_t count, int64_t time_us)
{
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    f->now_us = time_us;
    for (uint64_t i = 0; i < count; i++)
        cr_assert_eq(fixture_emit(f, partition, offset + i, 1, BATCH_SIZE), STORE_OK);
    fixture_end(f, FIXTURE_CLEAN);
}

/* After an older backup was restored, segments of the same numbers and indexes have other entries. */
Test(store_offline, a_backup_of_a_life_that_was_given_up_lends_nothing_to_the_next_one)
{
    struct fixture *f = make(FIXTURE_CLEAN);
    char path[200], to[200];
    other_folder(f, "restored", path);
    fixture_copy_folder(f->path, path);
    struct fixture *restored = fixture_create_at(path);
    restored->options.segment_size = SEGMENT_SIZE;
    go_on(f, 1, ENTRIES, 5, 1000000);
    go_on(restored, 2, 0, 5, 2000000);
    other_folder(f, "backup", to);
    (void)backup(f->path, to);
    (void)backup(path, to);
    struct fixture *copy = fixture_create_at(to);
    cr_assert_eq(fixture_start(copy), 0, "%s", copy->error);
    fixture_expect(copy, 1, 0, ENTRIES, BATCH_SIZE);
    fixture_expect(copy, 2, 0, 5, BATCH_SIZE);
    fixture_destroy(copy);
    fixture_destroy(restored);
    fixture_destroy(f);
    fixture_remove_folder(path);
    fixture_remove_folder(to);
}

/* The damaged segment is sealed, or is the one that was being written. */
Test(store_offline, a_backup_of_a_life_that_was_given_up_mends_nothing_of_the_next_one)
{
    for (unsigned last = 0; last < 2; last++) {
        struct fixture *f = make(FIXTURE_CLEAN);
        char path[200], to[200], name[300], error[512];
        other_folder(f, "restored", path);
        fixture_copy_folder(f->path, path);
        struct fixture *restored = fixture_create_at(path);
        restored->options.segment_size = SEGMENT_SIZE;
        go_on(f, 1, ENTRIES, 60, 1000000);
        go_on(restored, 2, 0, 60, 2000000);
        other_folder(f, "backup", to);
        unsigned segments = (unsigned)backup(f->path, to).segments;
        (void)snprintf(name, sizeof(name), "%s/shard-0/%010u-0.mdb", path, segments - 1 + last);
        write_junk(name, 20 * 4096, 4096);
        struct found found;
        struct offline_watch of = watch(&found);
        struct offline_summary summary;
        cr_assert_eq(offline_restore(to, path, &of, &summary, error, sizeof(error)), 0, "%s", error);
        cr_assert_eq(summary.mended, 0);
        cr_assert_geq(found.faults, 1);
        fixture_destroy(restored);
        fixture_destroy(f);
        fixture_remove_folder(path);
        fixture_remove_folder(to);
    }
}

Test(store_offline, damage_at_the_source_stops_the_backup_and_leaves_the_older_one)
{
    struct fixture *f = make(FIXTURE_CLEAN);
    char to[200], error[512], path[300];
    other_folder(f, "backup", to);
    (void)backup(f->path, to);
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = ENTRIES; i < ENTRIES + 60; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    uint64_t segments = fixture_stats(f).segments;
    fixture_end(f, FIXTURE_CLEAN);
    (void)snprintf(path, sizeof(path), "%s/shard-0/%010u-0.mdb", f->path, (unsigned)segments - 1);
    write_junk(path, 20 * 4096, 4096);
    struct found found;
    struct offline_watch of = watch(&found);
    struct offline_summary summary;
    cr_assert_lt(offline_backup(f->path, to, &of, &summary, error, sizeof(error)), 0);
    (void)verify(to, &found);
    cr_assert_eq(found.faults, 0);
    start_at(to, ENTRIES);
    fixture_remove_folder(to);
    fixture_destroy(f);
}

Test(store_offline, a_backup_of_another_broker_is_not_overwritten)
{
    struct fixture *a = make(FIXTURE_CLEAN), *b = make(FIXTURE_CLEAN);
    char to[200], error[512];
    other_folder(a, "backup", to);
    (void)backup(a->path, to);
    struct found found;
    struct offline_watch of = watch(&found);
    struct offline_summary summary;
    cr_assert_lt(offline_backup(b->path, to, &of, &summary, error, sizeof(error)), 0);
    cr_assert_not_null(strstr(error, "another broker"));
    start_at(to, ENTRIES);
    fixture_remove_folder(to);
    fixture_destroy(a);
    fixture_destroy(b);
}

Test(store_offline, a_damaged_folder_gets_back_what_the_backup_has_and_nothing_is_lost)
{
    struct fixture *f = make(FIXTURE_CLEAN);
    char to[200], error[512], path[300];
    other_folder(f, "backup", to);
    (void)backup(f->path, to);
    path_in(path, f->path, "0000000001-0.mdb");
    cr_assert(flip(path, 7));
    path_in(path, f->path, "0000000002-0.mdb");
    cr_assert_eq(unlink(path), 0);
    cr_assert_lt(fixture_start(f), 0);
    char command[300];
    (void)snprintf(command, sizeof(command), "crier restore BACKUP %s", f->path);
    cr_assert_not_null(strstr(f->error, command), "%s", f->error);
    struct found found;
    struct offline_watch of = watch(&found);
    struct offline_summary summary;
    cr_assert_eq(offline_restore(to, f->path, &of, &summary, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(summary.mended, 2);
    cr_assert_eq(found.faults, 0);
    path_in(path, f->path, "quarantine-1-0000000001-0.mdb");
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    fixture_expect(f, 1, 0, ENTRIES, BATCH_SIZE);
    fixture_remove_folder(to);
    fixture_destroy(f);
}
