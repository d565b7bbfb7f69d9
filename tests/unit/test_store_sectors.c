/* test_store_sectors.c: sectors that cannot be read, and files that are cut while they are in use. An error that names the
 * file, never a signal: nothing of a segment is followed through a map. */
#include "base/log.h"
#include "tests/support/disk_faults.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_SIZE (512u << 10)
#define ENTRIES      60

static char log_path[160];

/* Small entries, inside leaf pages, and large ones, in pages of their own. */
static size_t size_of(uint64_t offset)
{
    return offset % 3 ? 30000 : 700;
}

static void expect(struct fixture *f, uint64_t from, uint64_t until)
{
    for (uint64_t at = from; at < until;) {
        struct store_read *read = fixture_read(f, 1, at, until, 1u << 20);
        cr_assert_eq(read->status, 0);
        cr_assert_gt(read->count, 0);
        for (uint32_t i = 0; i < read->count; i++, at++)
            cr_assert(fixture_batch_is(&read->batches[i], 1, at, 1, size_of(at)));
        fixture_read_destroy(read);
    }
}

static struct fixture *open_with_log(void)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = SEGMENT_SIZE;
    (void)snprintf(log_path, sizeof(log_path), "%s-log", f->path);
    cr_assert_eq(log_open(log_path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO, &f->options.log), 0);
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < ENTRIES; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, size_of(i)), STORE_OK);
    cr_assert_gt(fixture_stats(f).segments, 2);
    return f;
}

static void finish(struct fixture *f)
{
    struct log *log = f->options.log;
    fixture_destroy(f);
    log_close(log);
    (void)unlink(log_path);
}

static bool said(const char *text)
{
    static char bytes[1 << 20];
    int fd = open(log_path, O_RDONLY);
    ssize_t size = pread(fd, bytes, sizeof(bytes) - 1, 0);
    close(fd);
    cr_assert_geq(size, 0);
    bytes[size] = '\0';
    return strstr(bytes, text) != NULL;
}

/* The file is named in the refusal or in the log. */
static void refused_naming(const struct fixture *f, const char *part)
{
    cr_assert_lt(f->start_code, 0);
    cr_assert(strstr(f->error, part) || said(part), "%s: %s", part, f->error);
}

static unsigned fail_each_read(struct fixture *f, const char *part)
{
    unsigned struck = 0;
    for (unsigned nth = 1;; nth++) {
        disk_fail_once(part, DISK_READ, nth, EIO);
        int rc = fixture_start(f);
        bool hit = disk_struck() > 0;
        disk_heal();
        if (!hit) {
            cr_assert_eq(rc, 0, "%s", f->error);
            return struck;
        }
        refused_naming(f, part);
        struck++;
    }
}

Test(store_sectors, every_read_of_a_start_may_fail_and_the_file_is_named)
{
    static const char *const parts[] = {"meta.mdb", "state.mdb", ".mdb"};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = open_with_log();
        cr_assert_eq(fixture_flush(f, ENTRIES - 20, (const char *const[]){"tkey=value"}, 1), STORE_OK);
        fixture_end(f, FIXTURE_CRASH);
        cr_assert_gt(fail_each_read(f, parts[i]), 2);
        expect(f, 0, ENTRIES);
        finish(f);
    }
}

Test(store_sectors, a_sector_that_the_replay_cannot_read_is_named_with_its_entry_and_the_way_back)
{
    struct fixture *f = open_with_log();
    fixture_end(f, FIXTURE_CRASH);
    bool named = false;
    for (unsigned nth = 1; !named; nth++) {
        disk_fail_once("0000000001-0.mdb", DISK_READ, nth, EIO);
        int rc = fixture_start(f);
        cr_assert_eq(disk_struck(), 1, "none of them was the replay's");
        disk_heal();
        cr_assert_lt(rc, 0);
        named = said("entry ") && said("0000000001-0.mdb cannot be read");
    }
    char command[300];
    (void)snprintf(command, sizeof(command), "crier verify --repair %s", f->path);
    cr_assert(said(command));
    cr_assert_eq(fixture_start(f), 0);
    expect(f, 0, ENTRIES);
    finish(f);
}

Test(store_sectors, each_read_of_a_reader_may_fail)
{
    for (unsigned nth = 1;; nth++) {
        struct fixture *f = open_with_log();
        fixture_reopen(f, FIXTURE_CLEAN); /* nothing is open or cached */
        disk_fail_once("0000000001-0.mdb", DISK_READ, nth, EIO);
        struct store_read *read = fixture_read(f, 1, 0, 12, 1u << 20);
        bool hit = disk_struck() > 0;
        disk_heal();
        if (hit) {
            cr_assert_eq(read->status, STORE_EIO, "read %u: %d", nth, read->status);
            cr_assert_eq(read->count, 0);
            cr_assert(said("0000000001-0.mdb"));
        } else {
            cr_assert_eq(read->status, 0);
        }
        fixture_read_destroy(read);
        finish(f);
        if (!hit) {
            cr_assert_gt(nth, 5);
            return;
        }
    }
}

Test(store_sectors, a_sealed_file_cut_under_a_running_store_is_an_error)
{
    struct fixture *f = open_with_log();
    expect(f, 0, 12);
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/shard-0/0000000001-0.mdb", f->path);
    cr_assert_eq(truncate(path, 3 * 4096), 0);
    struct store_read *read = fixture_read(f, 1, 0, 12, 1u << 20);
    cr_assert_eq(read->status, STORE_ECORRUPT);
    fixture_read_destroy(read);
    cr_assert_not(fixture_stats(f).read_only, "one segment's damage stops nobody else");
    cr_assert_eq(fixture_emit(f, 1, ENTRIES, 1, size_of(ENTRIES)), STORE_OK);
    expect(f, 40, ENTRIES + 1);
    finish(f);
}

Test(store_sectors, the_active_file_cut_under_a_running_store_is_an_error_for_its_readers)
{
    struct fixture *f = open_with_log();
    uint64_t segments = fixture_stats(f).segments;
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/shard-0/%010u-0.mdb", f->path, (unsigned)segments);
    cr_assert_eq(truncate(path, 2 * 4096), 0); /* the pages it begins with are left */
    struct store_read *read = fixture_read(f, 1, ENTRIES - 1, ENTRIES, 1u << 20);
    cr_assert_eq(read->status, STORE_ECORRUPT);
    fixture_read_destroy(read);
    expect(f, 0, 12);
    finish(f);
}
