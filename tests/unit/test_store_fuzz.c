/* test_store_fuzz.c: random damage to the pages of a store's files: any answer is allowed but a crash or a wrong byte.
 *
 * LMDB believes its pages. What a disk may have done to them is found before it looks (storage/lmdb/pages.c). */
#include "base/random.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_SIZE (512u << 10)
#define ENTRIES      700
#define ROUNDS       15 /* or $CRIER_STORE_FUZZ_ROUNDS */
#define PAGE         4096

static size_t size_of(uint64_t offset)
{
    static const size_t sizes[] = {61, 500, 1990, 3000, 9000};
    return sizes[offset % 5];
}

struct bytes {
    uint8_t *data;
    size_t size;
};

static struct bytes read_file(const char *path)
{
    struct stat stat_of;
    cr_assert_eq(stat(path, &stat_of), 0);
    struct bytes bytes = {malloc((size_t)stat_of.st_size), (size_t)stat_of.st_size};
    int fd = open(path, O_RDONLY);
    cr_assert_eq(read(fd, bytes.data, bytes.size), (ssize_t)bytes.size);
    close(fd);
    return bytes;
}

static void write_file(const char *path, const struct bytes *bytes)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    cr_assert_eq(write(fd, bytes->data, bytes->size), (ssize_t)bytes->size);
    close(fd);
}

/* A page of the tree (a branch, a leaf, a meta page) or the first of a value: where a few bytes mean most. */
static void damage(struct bytes *bytes, struct random *random)
{
    for (int tries = 0; tries < 10000; tries++) {
        size_t page = random_below(random, bytes->size / PAGE) * PAGE;
        uint16_t flags;
        memcpy(&flags, bytes->data + page + 10, sizeof(flags));
        if (flags == 0 || flags > 8)
            continue;
        unsigned count = 1 + (unsigned)random_below(random, 4);
        for (unsigned i = 0; i < count; i++) {
            /* Mostly the header and the first pointers; sometimes anywhere. */
            size_t at = random_below(random, 3) ? random_below(random, 64) : random_below(random, PAGE);
            bytes->data[page + at] = (uint8_t)random_next(random);
        }
        return;
    }
}

static struct fixture *open_filled(void)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = SEGMENT_SIZE;
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < ENTRIES; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, size_of(i)), STORE_OK);
    cr_assert_eq(fixture_flush(f, ENTRIES / 2, (const char *const[]){"ta=1", "tb=2"}, 2), STORE_OK);
    cr_assert_gt(fixture_stats(f).segments, 3);
    return f;
}

/* Every batch that comes back is the one that was written. */
static void read_everything(struct fixture *f)
{
    for (uint64_t at = 0; at < ENTRIES;) {
        struct store_read *read = fixture_read(f, 1, at, ENTRIES, 1u << 20);
        uint64_t next = at + 20; /* over what cannot be read */
        for (uint32_t i = 0; i < read->count; i++) {
            uint64_t offset = read->batches[i].base_offset;
            cr_assert(fixture_batch_is(&read->batches[i], 1, offset, 1, size_of(offset)));
            next = offset + 1;
        }
        fixture_read_destroy(read);
        at = next;
    }
}

/* One file of the folder, damaged at random, over and over. */
static void fuzz(const char *name, enum fixture_end end, uint64_t seed)
{
    struct fixture *f = open_filled();
    fixture_end(f, end);
    char pristine[160], path[300];
    (void)snprintf(pristine, sizeof(pristine), "%s-pristine", f->path);
    fixture_copy_folder(f->path, pristine);
    struct random random = random_seeded(seed);
    const char *wanted = getenv("CRIER_STORE_FUZZ_ROUNDS");
    unsigned long rounds = wanted ? strtoul(wanted, NULL, 10) : ROUNDS;
    unsigned refused = 0, noticed = 0;
    for (unsigned round = 0; round < rounds; round++) {
        (void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
        struct bytes bytes = read_file(path);
        damage(&bytes, &random);
        write_file(path, &bytes);
        free(bytes.data);
        if (fixture_start(f) == 0) {
            read_everything(f);
            (void)fixture_lookup_any(f, 1, 0);
            (void)fixture_emit(f, 2, round, 1, 100);
            noticed += fixture_stats(f).errors > 0;
            fixture_end(f, FIXTURE_CLEAN);
        } else {
            refused++;
        }
        fixture_remove_folder(f->path);
        fixture_copy_folder(pristine, f->path);
    }
    cr_log_info("%s: %u refused, %u noticed while reading, of %lu", name, refused, noticed, rounds);
    fixture_remove_folder(pristine);
    fixture_destroy(f);
}

Test(store_fuzz, a_damaged_sealed_segment_never_crashes_the_store)
{
    fuzz("shard-0/0000000001-0.mdb", FIXTURE_CLEAN, 1);
}

Test(store_fuzz, a_damaged_last_segment_never_crashes_the_store)
{
    fuzz("shard-0/0000000004-0.mdb", FIXTURE_CRASH, 2);
    fuzz("shard-0/0000000004-0.mdb", FIXTURE_CLEAN, 3);
}

Test(store_fuzz, a_damaged_state_never_crashes_the_store)
{
    fuzz("shard-0/state.mdb", FIXTURE_CRASH, 4);
}

Test(store_fuzz, a_damaged_manifest_never_crashes_the_store)
{
    fuzz("meta.mdb", FIXTURE_CLEAN, 5);
}
