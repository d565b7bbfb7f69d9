/* test_store_roll.c: many small segments: rolling, reading and looking up across them, their indexes, the state's copies. */
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEGMENT_SIZE  (512u << 10)
#define BATCH_SIZE    20000
#define FIRST_SEGMENT "0000000001-0.mdb"

static struct fixture *open_sized(uint64_t segment_size)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = segment_size;
    cr_assert_eq(fixture_start(f), 0);
    return f;
}

static struct fixture *open_small(void)
{
    return open_sized(SEGMENT_SIZE);
}

static void emit_many(struct fixture *f, uint64_t partition, uint64_t from, uint64_t to, size_t size)
{
    for (uint64_t i = from; i < to; i++)
        cr_assert_eq(fixture_emit(f, partition, i, 1, size), STORE_OK);
}

/* Calls fn for each file of shard-0 whose name ends so. Returns how many. */
static unsigned each_file(const struct fixture *f, const char *prefix, const char *suffix,
                          void (*fn)(const char *path))
{
    char folder[200];
    (void)snprintf(folder, sizeof(folder), "%s/shard-0", f->path);
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || length < strlen(suffix) ||
            strcmp(entry->d_name + length - strlen(suffix), suffix) != 0)
            continue;
        count++;
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (fn)
            fn(path);
    }
    closedir(dir);
    return count;
}

static void remove_file(const char *path)
{
    cr_assert_eq(unlink(path), 0);
}

/* One byte in the middle. */
static void damage_file(const char *path)
{
    int fd = open(path, O_RDWR);
    struct stat stat;
    cr_assert_eq(fstat(fd, &stat), 0);
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, stat.st_size / 2), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, stat.st_size / 2), 1);
    close(fd);
}

static void cut_file(const char *path)
{
    struct stat file;
    cr_assert_eq(stat(path, &file), 0);
    cr_assert_eq(truncate(path, file.st_size - 7), 0);
}

/* ---- the kernel's cache ---- */

static size_t cached_bytes; /* of the files it was called for */

static void count_cached(const char *path)
{
    static unsigned char pages[(8u << 20) / 4096];
    int fd = open(path, O_RDONLY);
    struct stat file;
    cr_assert_eq(fstat(fd, &file), 0);
    size_t size = (size_t)file.st_size, count = (size + 4095) / 4096;
    cr_assert_leq(count, sizeof(pages));
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert_neq(map, MAP_FAILED);
    cr_assert_eq(mincore(map, size, pages), 0);
    for (size_t i = 0; i < count; i++)
        cached_bytes += (pages[i] & 1) ? 4096 : 0;
    munmap(map, size);
    close(fd);
}

static void drop_cached(const char *path)
{
    int fd = open(path, O_RDONLY);
    cr_assert_eq(fdatasync(fd), 0);
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

/* Two segments, the first of which is open in a new life, but not in the kernel's cache. NULL: that cannot be had here. */
static struct fixture *open_cold(uint64_t segment_size, uint64_t events)
{
    struct fixture *f = open_sized(segment_size);
    emit_many(f, 1, 0, events, BATCH_SIZE);
    fixture_reopen(f, FIXTURE_CLEAN); /* no descriptor is left that was open for writing */
    cr_assert_geq(fixture_stats(f).segments, 2);
    fixture_expect(f, 1, 0, 1, BATCH_SIZE); /* its index, too */
    each_file(f, FIRST_SEGMENT, "", drop_cached);
    cached_bytes = 0;
    cr_assert_eq(each_file(f, FIRST_SEGMENT, "", count_cached), 1);
    if (cached_bytes == 0)
        return f;
    fixture_destroy(f);
    return NULL;
}

static _Atomic unsigned asked_for; /* blocks, of any file */

/* The dynamic linker gives this one to all of the program. */
int posix_fadvise(int fd, off_t offset, off_t size, int advice)
{
    asked_for += advice == POSIX_FADV_WILLNEED;
    return syscall(SYS_fadvise64, fd, offset, size, advice) == 0 ? 0 : errno;
}

Test(store_roll, the_kernel_is_asked_for_the_next_block_of_sealed_segments_only)
{
    struct fixture *f = open_sized(4u << 20);
    emit_many(f, 1, 0, 120, BATCH_SIZE); /* all of it in the segment being written */
    asked_for = 0;
    fixture_expect(f, 1, 0, 120, BATCH_SIZE);
    cr_assert_eq(asked_for, 0);
    emit_many(f, 1, 120, 250, BATCH_SIZE);
    fixture_reopen(f, FIXTURE_CLEAN);
    asked_for = 0;
    fixture_expect(f, 1, 0, 120, BATCH_SIZE);
    cr_assert_geq(asked_for, 4);
    fixture_destroy(f);
}

#define NOT_DROPPED "this file system keeps what it is told to drop"

/* Commits wait for what the disk was told to read before them (decision 0026). */
Test(store_roll, a_read_of_cold_data_has_the_disk_read_no_more_than_it_needs)
{
    struct fixture *f = open_cold(SEGMENT_SIZE, 60);
    if (!f)
        cr_skip(NOT_DROPPED);
    fixture_expect(f, 1, 4, 5, BATCH_SIZE);
    each_file(f, FIRST_SEGMENT, "", count_cached);
    cr_assert_gt(cached_bytes, 0);
    cr_assert_leq(cached_bytes, 16 * 4096, "%zu bytes for a batch of %d", cached_bytes, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_roll, a_replay_of_cold_data_has_the_disk_read_the_next_block_of_512_kib_in_one)
{
    struct fixture *f = open_cold(4u << 20, 250);
    if (!f)
        cr_skip(NOT_DROPPED);
    enum { BLOCK = 512 << 10, FIRST = 18, LAST = 30 }; /* the block begins among these */
    fixture_expect(f, 1, FIRST, LAST, BATCH_SIZE);
    for (unsigned i = 0; i < 100000 && cached_bytes < BLOCK;
         i++) { /* the disk is asked, and not waited for */
        cached_bytes = 0;
        each_file(f, FIRST_SEGMENT, "", count_cached);
    }
    cr_assert_geq(cached_bytes, BLOCK);
    cr_assert_leq(cached_bytes, BLOCK + (LAST - FIRST + 8) * 6 * 4096, "%zu bytes", cached_bytes);
    fixture_destroy(f);
}

Test(store_roll, a_log_goes_on_over_many_segments_and_each_entry_stays_where_it_was)
{
    struct fixture *f = open_small();
    emit_many(f, 1, 0, 300, BATCH_SIZE);
    cr_assert_gt(fixture_stats(f).segments, 10);
    fixture_expect(f, 1, 0, 300, BATCH_SIZE);
    for (uint64_t i = 299; i > 0; i -= 13)
        fixture_expect(f, 1, i, i + 1, BATCH_SIZE);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, 300, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_roll, one_transaction_larger_than_a_segment_is_spread_over_several)
{
    struct fixture *f = open_small();
    struct fixture_append *appends[200];
    for (uint64_t i = 0; i < 200; i++) {
        appends[i] = fixture_append_create(f);
        fixture_append_data(appends[i], 1, i, 1, BATCH_SIZE);
        fixture_submit(f, appends[i]);
    }
    for (uint64_t i = 0; i < 200; i++) {
        fixture_wait(f, &appends[i]->done);
        cr_assert_eq(appends[i]->append.status, STORE_OK);
        cr_assert_eq(appends[i]->append.index, i + 1);
        fixture_append_destroy(appends[i]);
    }
    fixture_expect(f, 1, 0, 200, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_roll, small_entries_fill_a_segment_without_meeting_its_end)
{
    struct fixture *f = open_small();
    for (int round = 0; round < 60; round++) {
        struct fixture_append *appends[100];
        for (uint64_t i = 0; i < 100; i++) {
            appends[i] = fixture_append_create(f);
            fixture_append_data(appends[i], 1, (uint64_t)round * 100 + i, 1, 61 + (i * 37) % 1900);
            fixture_submit(f, appends[i]);
        }
        for (uint64_t i = 0; i < 100; i++) {
            fixture_wait(f, &appends[i]->done);
            cr_assert_eq(appends[i]->append.status, STORE_OK);
            fixture_append_destroy(appends[i]);
        }
    }
    cr_assert_gt(fixture_stats(f).segments, 10);
    cr_assert_eq(fixture_stats(f).last_index, 6000);
    for (uint64_t i = 0; i < 6000; i += 97) {
        struct store_read *read = fixture_read(f, 1, i, i + 1, 0);
        cr_assert_eq(read->count, 1);
        cr_assert(fixture_batch_is(&read->batches[0], 1, i, 1, 61 + ((i % 100) * 37) % 1900));
        fixture_read_destroy(read);
    }
    fixture_destroy(f);
}

Test(store_roll, an_entry_larger_than_a_segment_is_refused_and_the_next_epoch_goes_on)
{
    struct fixture *f = open_small();
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    cr_assert_eq(fixture_emit(f, 1, 1, 1, SEGMENT_SIZE), STORE_EFULL);
    cr_assert_eq(fixture_emit(f, 1, 1, 1, 100), STORE_EREFUSED);
    f->epoch++;
    cr_assert_eq(fixture_emit(f, 1, 1, 1, 100), STORE_OK);
    fixture_expect(f, 1, 0, 2, 100);
    fixture_destroy(f);
}

Test(store_roll, a_partition_is_found_in_the_few_segments_that_have_it)
{
    struct fixture *f = open_small();
    cr_assert_eq(fixture_emit(f, 2, 0, 1, 500), STORE_OK);
    emit_many(f, 1, 0, 100, BATCH_SIZE);
    cr_assert_eq(fixture_emit(f, 2, 1, 1, 500), STORE_OK);
    emit_many(f, 1, 100, 200, BATCH_SIZE);
    emit_many(f, 3, 0, 2, 500);
    fixture_expect(f, 2, 0, 2, 500);
    fixture_expect(f, 3, 0, 2, 500);
    fixture_reopen(f, FIXTURE_CLEAN);
    emit_many(f, 1, 200, 220, BATCH_SIZE);
    cr_assert_eq(fixture_emit(f, 2, 2, 1, 500), STORE_OK);
    fixture_expect(f, 2, 0, 3, 500);
    fixture_expect(f, 3, 1, 2, 500);
    fixture_destroy(f);
}

Test(store_roll, a_lookup_finds_its_time_in_any_segment)
{
    struct fixture *f = open_small();
    for (uint64_t i = 0; i < 150; i++) {
        f->now_us = 1000000 + (int64_t)i * 1000;
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
        if (i == 10)
            cr_assert_eq(fixture_emit(f, 2, 0, 1, 100), STORE_OK);
        if (i == 140)
            cr_assert_eq(fixture_emit(f, 2, 1, 1, 100), STORE_OK);
    }
    for (int64_t i = 0; i < 150; i += 7) {
        cr_assert_eq(fixture_lookup(f, 1, 1000000 + i * 1000), i);
        cr_assert_eq(fixture_lookup(f, 1, 1000000 + i * 1000 - 999), i);
    }
    cr_assert_eq(fixture_lookup(f, 2, 1000000 + 11 * 1000), 1, "its next batch lies many segments later");
    cr_assert_eq(fixture_lookup(f, 2, 1000000 + 141 * 1000), -1);
    fixture_destroy(f);
}

static void check_all(struct fixture *f)
{
    fixture_expect(f, 1, 0, 150, BATCH_SIZE);
    fixture_expect(f, 2, 0, 30, 700);
    fixture_expect(f, 1, 149, 150, BATCH_SIZE);
    fixture_expect(f, 2, 3, 4, 700);
}

static struct fixture *open_with_two_partitions(void)
{
    struct fixture *f = open_small();
    for (uint64_t i = 0; i < 150; i++) {
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
        if (i % 5 == 0)
            cr_assert_eq(fixture_emit(f, 2, i / 5, 1, 700), STORE_OK);
    }
    return f;
}

Test(store_roll, missing_indexes_are_made_again)
{
    struct fixture *f = open_with_two_partitions();
    fixture_end(f, FIXTURE_CLEAN);
    cr_assert_gt(each_file(f, "", ".idx", remove_file), 5);
    cr_assert_eq(fixture_start(f), 0);
    check_all(f);
    cr_assert_eq(fixture_stats(f).errors, 0);
    fixture_end(f, FIXTURE_CLEAN);
    cr_assert_gt(each_file(f, "", ".idx", NULL), 5, "and saved");
    cr_assert_eq(fixture_start(f), 0);
    check_all(f);
    fixture_destroy(f);
}

Test(store_roll, damaged_and_torn_indexes_are_made_again)
{
    struct fixture *f = open_with_two_partitions();
    fixture_end(f, FIXTURE_CLEAN);
    each_file(f, "", ".idx", damage_file);
    cr_assert_eq(fixture_start(f), 0);
    check_all(f);
    fixture_end(f, FIXTURE_CLEAN);
    each_file(f, "", ".idx", cut_file);
    cr_assert_eq(fixture_start(f), 0);
    check_all(f);
    fixture_destroy(f);
}

Test(store_roll, the_state_is_copied_at_rolls_and_two_copies_are_kept)
{
    struct fixture *f = open_small();
    for (uint64_t i = 0; i < 200; i++) {
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
        if (i % 10 == 9)
            cr_assert_eq(fixture_flush(f, i, (const char *const[]){"tkey=value"}, 1), STORE_OK);
    }
    f->store->ops->stop(f->store);
    cr_assert_eq(each_file(f, "state-", ".mdb", NULL), 2);
    fixture_destroy(f);
}

Test(store_roll, sealed_segments_are_cut_to_what_they_hold_and_have_no_lock_file)
{
    struct fixture *f = open_small();
    emit_many(f, 1, 0, 100, BATCH_SIZE);
    uint64_t segments = fixture_stats(f).segments;
    fixture_end(f, FIXTURE_CLEAN);
    char folder[200];
    (void)snprintf(folder, sizeof(folder), "%s/shard-0", f->path);
    cr_assert_eq(each_file(f, "", "-lock", NULL), 0);
    for (uint64_t number = 1; number < segments; number++) {
        char path[300];
        (void)snprintf(path, sizeof(path), "%s/%010u-0.mdb", folder, (unsigned)number);
        struct stat file;
        cr_assert_eq(stat(path, &file), 0);
        cr_assert_lt(file.st_size, SEGMENT_SIZE);
    }
    cr_assert_eq(fixture_start(f), 0);
    fixture_expect(f, 1, 0, 100, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_roll, the_first_segment_of_a_folder_is_small)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 256u << 20;
    cr_assert_eq(fixture_start(f), 0);
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/shard-0/0000000001-0.mdb", f->path);
    struct stat file;
    cr_assert_eq(stat(path, &file), 0);
    cr_assert_lt(file.st_size, 1 << 20);
    fixture_destroy(f);
}

Test(store_roll, an_unclean_end_seals_the_last_segment_and_a_clean_one_goes_on_writing_it)
{
    struct fixture *f = open_small();
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    fixture_reopen(f, FIXTURE_CLEAN);
    cr_assert_eq(fixture_emit(f, 1, 1, 1, 100), STORE_OK);
    cr_assert_eq(fixture_stats(f).segments, 1);
    fixture_reopen(f, FIXTURE_CRASH);
    cr_assert_eq(fixture_emit(f, 1, 2, 1, 100), STORE_OK);
    cr_assert_eq(fixture_stats(f).segments, 2);
    fixture_expect(f, 1, 0, 3, 100);
    fixture_destroy(f);
}

Test(store_roll, lives_without_a_single_append_leave_one_segment_to_write_to)
{
    struct fixture *f = open_small();
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    static const enum fixture_end ends[] = {FIXTURE_CRASH, FIXTURE_CLEAN, FIXTURE_CLEAN,
                                            FIXTURE_CRASH, FIXTURE_CRASH, FIXTURE_CLEAN};
    for (unsigned i = 0; i < 6; i++) {
        fixture_reopen(f, ends[i]);
        cr_assert_eq(fixture_stats(f).segments, 2, "the sealed one and an empty one");
        cr_assert_eq(each_file(f, "", ".mdb", NULL), 3, "and the state");
    }
    cr_assert_eq(fixture_emit(f, 1, 1, 1, 100), STORE_OK);
    fixture_reopen(f, FIXTURE_CLEAN);
    cr_assert_eq(fixture_stats(f).segments, 2);
    fixture_expect(f, 1, 0, 2, 100);
    fixture_destroy(f);
}

/* A reader has one queue: whoever asks for much gets 1 MiB, and waits behind the others for more. */
struct turn {
    struct store_read read;
    unsigned *count;
    unsigned place;
    bool done;
};

static void turn_done(struct store_read *read, void *ctx)
{
    struct turn *turn = ctx;
    cr_assert_eq(read->status, 0);
    turn->place = (*turn->count)++;
    turn->done = true;
}

Test(store_roll, reads_are_answered_in_the_order_they_were_asked_in)
{
    struct fixture *f = open_small();
    for (uint64_t i = 0; i < 30; i++)
        for (uint64_t partition = 1; partition <= 3; partition++)
            cr_assert_eq(fixture_emit(f, partition, i, 1, BATCH_SIZE), STORE_OK);
    struct turn turns[12];
    unsigned count = 0;
    for (unsigned i = 0; i < 12; i++) {
        turns[i] = (struct turn){.read = {.done = turn_done,
                                          .ctx = &turns[i],
                                          .partition = 1 + i % 3,
                                          .offset = i, /* also at the end, and beyond it */
                                          .until = i % 4 ? 30 : i,
                                          .bytes_max = 1u << 20},
                                 .count = &count};
        cr_assert_eq(f->store->ops->read(f->store, &turns[i].read), 0);
    }
    for (unsigned i = 0; i < 12; i++) {
        fixture_wait(f, &turns[i].done);
        cr_assert_eq(turns[i].place, i);
        cr_assert_eq(turns[i].read.count > 0, i % 4 != 0);
        for (uint32_t batch = 0; batch < turns[i].read.count; batch++)
            slice_unref(&turns[i].read.batches[batch].batch);
    }
    fixture_destroy(f);
}
