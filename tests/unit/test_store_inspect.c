/* test_store_inspect.c: looking into the files of a store that runs: scan, list, seal, read. */
#include "storage/lmdb/state.h"
#include "tests/support/disk_faults.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES    60
#define BATCH_SIZE 20000

static void on_inspected(struct store_inspect *inspect, void *ctx)
{
    (void)inspect;
    *(bool *)ctx = true;
}

static void ask(struct fixture *f, struct store_inspect *inspect)
{
    bool done = false;
    inspect->done = on_inspected;
    inspect->ctx = &done;
    cr_assert_eq(f->store->ops->inspect(f->store, inspect), 0);
    fixture_wait(f, &done);
}

static struct fixture *open_with(uint64_t entries)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = 512u << 10;
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < entries; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    return f;
}

struct seen {
    uint64_t segments, sealed, entries, faults, last_index;
    struct store_fault fault; /* the last */
};

static struct seen look_through(struct fixture *f, enum store_inspection what)
{
    struct seen seen = {0};
    struct store_inspect inspect = {.what = what};
    do {
        inspect = (struct store_inspect){.what = what, .after = inspect.segment.number};
        ask(f, &inspect);
        cr_assert_eq(inspect.status, 0);
        if (!inspect.found)
            break;
        cr_assert_eq(inspect.segment.first_index, seen.last_index + 1);
        seen.last_index = inspect.segment.last_index;
        seen.segments++;
        seen.sealed += inspect.segment.sealed;
        seen.entries += inspect.entries;
        seen.faults += inspect.faults;
        if (inspect.faults > 0)
            seen.fault = inspect.fault[0];
    } while (inspect.segments_left > 0);
    return seen;
}

static void flip_offset(const struct fixture *f, uint64_t offset)
{
    struct slice batch = fixture_batch(1, offset, 1, BATCH_SIZE);
    bool flipped = false;
    for (unsigned number = 1; !flipped; number++) {
        char path[300];
        (void)snprintf(path, sizeof(path), "%s/shard-0/%010u-0.mdb", f->path, number);
        int fd = open(path, O_RDWR);
        struct stat file;
        cr_assert(fd >= 0 && fstat(fd, &file) == 0);
        uint8_t *bytes = malloc((size_t)file.st_size);
        cr_assert_eq(pread(fd, bytes, (size_t)file.st_size, 0), file.st_size);
        uint8_t *found = memmem(bytes, (size_t)file.st_size, batch.data + 200, 64);
        if (found) {
            uint8_t byte = found[1] ^ 1;
            cr_assert_eq(pwrite(fd, &byte, 1, found + 1 - bytes), 1);
            flipped = true;
        }
        free(bytes);
        close(fd);
    }
    slice_unref(&batch);
}

Test(store_inspect, a_scan_finds_every_entry_also_of_the_segment_being_written)
{
    struct fixture *f = open_with(ENTRIES);
    struct seen seen = look_through(f, STORE_SCAN);
    cr_assert_gt(seen.segments, 2);
    cr_assert_lt(seen.sealed, seen.segments);
    cr_assert_eq(seen.entries, ENTRIES);
    cr_assert_eq(seen.faults, 0);
    fixture_destroy(f);
}

Test(store_inspect, a_scan_names_damage_in_sealed_segments_and_in_the_one_being_written)
{
    static const uint64_t offsets[] = {3, ENTRIES - 1};
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = open_with(ENTRIES);
        flip_offset(f, offsets[i]);
        struct seen seen = look_through(f, STORE_SCAN);
        cr_assert_eq(seen.faults, 1);
        cr_assert_eq(seen.fault.first_index, offsets[i] + 1);
        cr_assert_eq(seen.fault.partition, 1);
        cr_assert_eq(seen.fault.offset, offsets[i]);
        cr_assert_eq(seen.entries, ENTRIES - 1);
        cr_assert_eq(fixture_emit(f, 1, ENTRIES, 1, BATCH_SIZE), STORE_OK, "the store goes on");
        fixture_destroy(f);
    }
}

Test(store_inspect, after_a_seal_everything_from_before_is_sealed_and_the_copy_is_not_ahead_of_it)
{
    struct fixture *f = open_with(5);
    cr_assert_eq(fixture_flush(f, 4, (const char *const[]){"tkey=value"}, 1), STORE_OK);
    for (int i = 0; i < 2; i++) {
        struct store_inspect seal = {.what = STORE_SEAL};
        ask(f, &seal);
        cr_assert_eq(seal.status, 0);
        cr_assert_eq(seal.state_index, 4);
        cr_assert_gt(seal.state_size, 0);
        struct seen seen = look_through(f, STORE_LIST);
        cr_assert_eq(seen.sealed, 1);
        cr_assert_eq(seen.last_index, 5);
        cr_assert_eq(fixture_stats(f).segments, 2, "an empty one is not sealed again");
    }
    cr_assert_eq(fixture_emit(f, 1, 5, 1, BATCH_SIZE), STORE_OK);
    fixture_expect(f, 1, 0, 6, BATCH_SIZE);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, 6, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_inspect, files_are_read_whole_or_not_at_all)
{
    struct fixture *f = open_with(ENTRIES);
    struct store_inspect list = {.what = STORE_LIST}, read;
    ask(f, &list);
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/shard-0/%010u-0.mdb", f->path, (unsigned)list.segment.number);
    uint8_t *bytes = malloc(list.segment.size);
    int fd = open(path, O_RDONLY);
    cr_assert_eq(pread(fd, bytes, list.segment.size, 0), (ssize_t)list.segment.size);
    close(fd);
    read = (struct store_inspect){.what = STORE_FILE,
                                  .file = STORE_FILE_SEGMENT,
                                  .number = list.segment.number,
                                  .position = 4096,
                                  .size = 10000};
    ask(f, &read);
    cr_assert_eq(read.status, 0);
    cr_assert_eq(read.bytes.size, 10000);
    cr_assert_arr_eq(read.bytes.data, bytes + 4096, 10000);
    slice_unref(&read.bytes);
    read.position = list.segment.size - 10; /* beyond the end */
    ask(f, &read);
    cr_assert_lt(read.status, 0);
    cr_assert_null(read.bytes.buffer);
    read.number = 999; /* retention has removed it */
    ask(f, &read);
    cr_assert_eq(read.status, STORE_EAGAIN);
    free(bytes);
    fixture_destroy(f);
}

Test(store_inspect, a_seal_without_room_is_refused_and_a_later_one_succeeds)
{
    struct fixture *f = open_with(3);
    struct store_inspect seal = {.what = STORE_SEAL};
    disk_fail("0000000002-0.mdb", DISK_ALLOCATE, 1, ENOSPC);
    ask(f, &seal);
    cr_assert_eq(seal.status, STORE_EFULL);
    cr_assert_geq(disk_struck(), 1);
    disk_heal();
    seal = (struct store_inspect){.what = STORE_SEAL};
    ask(f, &seal);
    cr_assert_eq(seal.status, 0);
    cr_assert_eq(fixture_emit(f, 1, 3, 1, BATCH_SIZE), STORE_OK);
    fixture_expect(f, 1, 0, 4, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_inspect, a_store_that_cannot_write_any_more_is_looked_through_but_not_sealed)
{
    struct fixture *f = open_with(3);
    disk_fail_once("0000000001-0.mdb", DISK_SYNC, 1, EIO);
    cr_assert_eq(fixture_emit(f, 1, 3, 1, BATCH_SIZE), STORE_EIO);
    cr_assert_eq(disk_struck(), 1);
    disk_heal();
    struct store_inspect seal = {.what = STORE_SEAL};
    ask(f, &seal);
    cr_assert_eq(seal.status, STORE_EREADONLY);
    cr_assert_eq(look_through(f, STORE_SCAN).entries, 3);
    fixture_destroy(f);
}
