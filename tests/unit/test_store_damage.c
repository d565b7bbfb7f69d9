/* test_store_damage.c: files that are damaged, missing, strange or somebody else's: refused or healed, and always named. */
#include "storage/lmdb/meta.h"
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
#define BATCH_SIZE   20000

static struct path file_of(const struct fixture *f, const char *name)
{
    struct path path;
    (void)snprintf(path.text, sizeof(path.text), "%s/%s", f->path, name);
    return path;
}

static void write_at(const struct path *path, const void *bytes, size_t size, off_t offset)
{
    int fd = open(path->text, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, bytes, size, offset), (ssize_t)size);
    close(fd);
}

/* Flips one bit of the first place in the file that holds these bytes. */
static void flip_in(const struct path *path, const void *needle, size_t size, size_t distance)
{
    int fd = open(path->text, O_RDWR);
    struct stat stat;
    cr_assert_eq(fstat(fd, &stat), 0);
    uint8_t *bytes = malloc((size_t)stat.st_size);
    cr_assert_eq(pread(fd, bytes, (size_t)stat.st_size, 0), stat.st_size);
    uint8_t *found = memmem(bytes, (size_t)stat.st_size, needle, size);
    cr_assert_not_null(found);
    found[distance] ^= 1;
    cr_assert_eq(pwrite(fd, found + distance, 1, found + distance - bytes), 1);
    free(bytes);
    close(fd);
}

/* One bit inside the records of the batch. */
static void flip_batch(const struct path *path, uint64_t partition, uint64_t offset, size_t size)
{
    struct slice batch = fixture_batch(partition, offset, 1, size);
    flip_in(path, batch.data + 200, 64, 32);
    slice_unref(&batch);
}

static struct fixture *open_with(uint64_t entries)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    f->options.segment_size = SEGMENT_SIZE;
    cr_assert_eq(fixture_start(f), 0);
    for (uint64_t i = 0; i < entries; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    return f;
}

static bool file_exists(const struct fixture *f, const char *name)
{
    struct path path = file_of(f, name);
    return access(path.text, F_OK) == 0;
}

static void refuses_naming(struct fixture *f, const char *name)
{
    cr_assert_lt(fixture_start(f), 0);
    cr_assert_not_null(strstr(f->error, name), "\"%s\" names %s", f->error, name);
}

/* ---- entries ---- */

Test(store_damage, a_damaged_batch_is_never_returned)
{
    struct fixture *f = open_with(60);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "shard-0/0000000001-0.mdb");
    flip_batch(&path, 1, 7, BATCH_SIZE);
    f->applied_index = 0;
    /* Sealed entries below F are not read at a start: only the read meets it. */
    struct store *store;
    uint64_t applied;
    cr_assert_eq(store_lmdb_open(&f->options, &store, f->error, sizeof(f->error)), 0);
    cr_assert_eq(store->ops->load_state(store, NULL, NULL, &applied), 0);
    cr_assert_eq(store->ops->start(store), 0);
    f->store = store;
    fixture_expect(f, 1, 0, 7, BATCH_SIZE);
    struct store_read *read = fixture_read(f, 1, 7, 60, 1u << 20);
    cr_assert_eq(read->status, STORE_ECORRUPT);
    cr_assert_eq(read->count, 0);
    fixture_read_destroy(read);
    cr_assert_eq(fixture_stats(f).errors, 1);
    fixture_expect(f, 1, 8, 60, BATCH_SIZE);
    cr_assert_eq(fixture_emit(f, 1, 60, 1, BATCH_SIZE), STORE_OK, "one damaged entry stops nobody else");
    fixture_destroy(f);
}

static unsigned count_up(void *ctx)
{
    return ++*(unsigned *)ctx;
}

static int on_entry(void *ctx, const struct store_entry *entry)
{
    (void)entry;
    count_up(ctx);
    return 0;
}

Test(store_damage, a_damaged_entry_above_the_state_stops_the_replay)
{
    struct fixture *f = open_with(10);
    fixture_end(f, FIXTURE_CRASH);
    struct path path = file_of(f, "shard-0/0000000001-0.mdb");
    flip_batch(&path, 1, 7, BATCH_SIZE);
    struct store *store;
    uint64_t applied;
    unsigned entries = 0;
    cr_assert_eq(store_lmdb_open(&f->options, &store, f->error, sizeof(f->error)), 0);
    cr_assert_eq(store->ops->load_state(store, NULL, NULL, &applied), 0);
    cr_assert_eq(store->ops->replay(store, on_entry, &entries), STORE_ECORRUPT);
    cr_assert_eq(entries, 7);
    store->ops->close(store);
    fixture_destroy(f);
}

/* ---- segments and the manifest ---- */

Test(store_damage, a_missing_segment_is_refused_by_name)
{
    struct fixture *f = open_with(60);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "shard-0/0000000002-0.mdb"), aside = file_of(f, "aside");
    cr_assert_eq(rename(path.text, aside.text), 0);
    refuses_naming(f, "0000000002-0.mdb");
    cr_assert_eq(rename(aside.text, path.text), 0);
    cr_assert_eq(fixture_start(f), 0);
    fixture_expect(f, 1, 0, 60, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_damage, a_cut_last_segment_is_refused_by_name)
{
    struct fixture *f = open_with(10);
    fixture_end(f, FIXTURE_CRASH);
    struct path path = file_of(f, "shard-0/0000000001-0.mdb");
    cr_assert_eq(truncate(path.text, 100000), 0);
    refuses_naming(f, "0000000001-0.mdb");
    fixture_destroy(f);
}

Test(store_damage, a_cut_sealed_segment_fails_its_reads_and_no_others)
{
    struct fixture *f = open_with(60);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "shard-0/0000000001-0.mdb");
    cr_assert_eq(truncate(path.text, 100000), 0);
    struct store *store;
    uint64_t applied;
    cr_assert_eq(store_lmdb_open(&f->options, &store, f->error, sizeof(f->error)), 0);
    cr_assert_eq(store->ops->load_state(store, NULL, NULL, &applied), 0);
    cr_assert_eq(store->ops->start(store), 0);
    f->store = store;
    struct store_read *read = fixture_read(f, 1, 0, 60, 1u << 20);
    cr_assert_eq(read->status, STORE_ECORRUPT);
    fixture_read_destroy(read);
    fixture_expect(f, 1, 50, 60, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_damage, an_older_copy_of_the_last_segment_is_refused)
{
    struct fixture *f = open_with(5);
    char copy[160];
    (void)snprintf(copy, sizeof(copy), "%s-old", f->path);
    fixture_copy_folder(f->path, copy);
    for (uint64_t i = 5; i < 8; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    cr_assert_eq(fixture_flush(f, 8, NULL, 0), STORE_OK);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "shard-0/0000000001-0.mdb"), old;
    (void)snprintf(old.text, sizeof(old.text), "%s/shard-0/0000000001-0.mdb", copy);
    cr_assert_eq(rename(old.text, path.text), 0);
    refuses_naming(f, "shard-0");
    cr_assert_not_null(strstr(f->error, "entry 5"));
    fixture_remove_folder(copy);
    fixture_destroy(f);
}

Test(store_damage, a_gap_between_segments_is_refused)
{
    struct fixture *f = open_with(100);
    fixture_end(f, FIXTURE_CLEAN);
    struct folder folder;
    struct meta meta;
    struct meta_manifest manifest;
    cr_assert_eq(folder_open(&folder, f->path, false, NULL, f->error, sizeof(f->error)), 0);
    cr_assert_eq(meta_open(&meta, &folder, f->error, sizeof(f->error)), 0);
    cr_assert_eq(meta_load(&meta, &manifest, f->error, sizeof(f->error)), 0);
    struct segment_row gone = manifest.rows[1];
    gone.state = SEGMENT_GONE;
    cr_assert_eq(meta_commit(&meta, &(struct meta_change){.rows = &gone, .count = 1}), 0);
    meta_manifest_finish(&manifest);
    meta_close(&meta);
    folder_close(&folder);
    refuses_naming(f, "entries are missing");
    cr_assert(file_exists(f, "shard-0/0000000002-0.mdb"), "and nothing was touched");
    fixture_destroy(f);
}

Test(store_damage, a_file_nothing_explains_is_put_aside)
{
    struct fixture *f = open_with(1);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "shard-0/0000000099-0.mdb");
    write_at(&path, "what is this", 12, 0);
    for (int life = 0; life < 2; life++) {
        cr_assert_eq(fixture_start(f), 0);
        cr_assert_not(file_exists(f, "shard-0/0000000099-0.mdb"));
        cr_assert(file_exists(f, "shard-0/quarantine-1-0000000099-0.mdb"));
        cr_assert_not(file_exists(f, "shard-0/quarantine-2-0000000099-0.mdb"));
        fixture_end(f, FIXTURE_CLEAN);
    }
    fixture_destroy(f);
}

/* A life that ended between two steps of making or removing a segment. */
static void check_leftover(enum segment_state state, bool with_file)
{
    struct fixture *f = open_with(3);
    fixture_end(f, FIXTURE_CRASH);
    struct folder folder;
    struct meta meta;
    cr_assert_eq(folder_open(&folder, f->path, false, NULL, f->error, sizeof(f->error)), 0);
    cr_assert_eq(meta_open(&meta, &folder, f->error, sizeof(f->error)), 0);
    struct segment_row row = {.number = 2, .state = state};
    if (state == SEGMENT_DEAD)
        row.number = 0; /* swept away long ago */
    cr_assert_eq(meta_commit(&meta, &(struct meta_change){.rows = &row, .count = 1}), 0);
    struct path path = folder_segment(&folder, row.number, 0);
    meta_close(&meta);
    folder_close(&folder);
    if (with_file)
        write_at(&path, "half made", 9, 0);
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    fixture_expect(f, 1, 0, 3, BATCH_SIZE);
    for (uint64_t i = 3; i < 60; i++)
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
    if (state == SEGMENT_DEAD)
        cr_assert_neq(access(path.text, F_OK), 0);
    fixture_reopen(f, FIXTURE_CRASH);
    fixture_expect(f, 1, 0, 60, BATCH_SIZE);
    fixture_destroy(f);
}

Test(store_damage, a_segment_that_was_being_made_is_made_anew)
{
    check_leftover(SEGMENT_NEW, false);
    check_leftover(SEGMENT_NEW, true);
}

Test(store_damage, a_dead_segment_is_removed)
{
    check_leftover(SEGMENT_DEAD, false);
    check_leftover(SEGMENT_DEAD, true);
}

Test(store_damage, a_prepared_segment_of_a_killed_life_is_made_anew)
{
    struct fixture *f = open_with(20); /* beyond half: the next one is ready */
    struct stat before, after;
    struct path path = file_of(f, "shard-0/0000000002-0.mdb");
    for (unsigned i = 0; i < 100 && stat(path.text, &before) < 0; i++)
        cr_assert_eq(fixture_flush(f, 20, NULL, 0), STORE_OK); /* behind it in the same thread */
    fixture_end(f, FIXTURE_CRASH);
    path = file_of(f, "shard-0/0000000002-0.mdb");
    cr_assert_eq(stat(path.text, &before), 0);
    cr_assert_eq(before.st_size, SEGMENT_SIZE);
    cr_assert_eq(fixture_start(f), 0);
    cr_assert_eq(stat(path.text, &after), 0);
    cr_assert_lt(after.st_size, SEGMENT_SIZE, "a start does not wait for the allocation");
    cr_assert_eq(fixture_emit(f, 1, 20, 1, BATCH_SIZE), STORE_OK);
    fixture_expect(f, 1, 0, 21, BATCH_SIZE);
    fixture_destroy(f);
}

/* ---- meta.mdb ---- */

Test(store_damage, a_folder_without_its_manifest_is_never_taken_for_a_new_one)
{
    struct fixture *f = open_with(3);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "meta.mdb");
    cr_assert_eq(unlink(path.text), 0);
    refuses_naming(f, "meta.mdb");
    cr_assert(file_exists(f, "shard-0/0000000001-0.mdb"));
    fixture_destroy(f);
}

Test(store_damage, a_damaged_manifest_row_is_refused)
{
    struct fixture *f = open_with(60);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "meta.mdb");
    /* The row of segment 1, generation 0: its key, then its value. Every copy of it in the file. */
    static const uint8_t key[17] = {'S', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
    int fd = open(path.text, O_RDWR);
    uint8_t bytes[65536];
    ssize_t size = pread(fd, bytes, sizeof(bytes), 0);
    unsigned flipped = 0;
    for (ssize_t at = 0; at + 60 < size; at++)
        if (memcmp(bytes + at, key, sizeof(key)) == 0) {
            bytes[at + 17 + 8] ^= 1; /* its first index */
            flipped++;
        }
    cr_assert_gt(flipped, 0);
    cr_assert_eq(pwrite(fd, bytes, (size_t)size, 0), size);
    close(fd);
    refuses_naming(f, "meta.mdb");
    fixture_destroy(f);
}

Test(store_damage, a_folder_of_another_version_is_refused)
{
    struct fixture *f = open_with(1);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "meta.mdb");
    struct env *env;
    cr_assert_eq(env_open(path.text, ENV_TABLE, 1u << 20, &env), 0);
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(env->mdb, NULL, 0, &txn), 0);
    uint8_t value[36] = {2};
    MDB_val k = {1, (void *)(uintptr_t) "F"}, v = {sizeof(value), value};
    cr_assert_eq(mdb_put(txn, env->table, &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    env_unref(env);
    refuses_naming(f, "version");
    fixture_destroy(f);
}

/* ---- state.mdb ---- */

static struct fixture *open_with_copies(void)
{
    struct fixture *f = open_with(0);
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert_eq(fixture_emit(f, 1, i, 1, BATCH_SIZE), STORE_OK);
        char row[32];
        (void)snprintf(row, sizeof(row), "tcount=%03u", (unsigned)i + 1);
        cr_assert_eq(fixture_flush(f, i + 1, (const char *const[]){row}, 1), STORE_OK);
    }
    fixture_end(f, FIXTURE_CLEAN);
    return f;
}

/* The rows are those of the cut, and replay brings the log's end. */
static void check_state(const struct fixture *f)
{
    char expected[4];
    (void)snprintf(expected, sizeof(expected), "%03u", (unsigned)f->applied_index);
    if (f->applied_index > 0)
        cr_assert_arr_eq(fixture_find_row(f, "tcount")->value, expected, 3);
    cr_assert_eq(f->replayed_count, 100 - f->applied_index);
    if (f->replayed_count > 0)
        cr_assert_eq(f->replayed_last, 100);
}

static void spoil(const struct fixture *f, const char *name)
{
    struct path path = file_of(f, name);
    struct stat file;
    cr_assert_eq(stat(path.text, &file), 0);
    static const uint8_t junk[64] = {0xde, 0xad};
    for (off_t at = 2 * 4096 + 64; at < file.st_size; at += 128)
        write_at(&path, junk, sizeof(junk), at);
}

Test(store_damage, a_damaged_state_falls_back_to_a_copy_and_replays_further)
{
    struct fixture *f = open_with_copies();
    spoil(f, "shard-0/state.mdb");
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    cr_assert(f->applied_index > 0 && f->applied_index < 100);
    check_state(f);
    cr_assert(file_exists(f, "shard-0/quarantine-1-state.mdb"));
    fixture_reopen(f, FIXTURE_CRASH);
    check_state(f);
    fixture_destroy(f);
}

Test(store_damage, a_missing_state_falls_back_to_a_copy_and_replays_further)
{
    struct fixture *f = open_with_copies();
    struct path path = file_of(f, "shard-0/state.mdb");
    cr_assert_eq(unlink(path.text), 0);
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    cr_assert(f->applied_index > 0 && f->applied_index < 100);
    check_state(f);
    fixture_destroy(f);
}

Test(store_damage, without_any_good_copy_the_state_is_made_from_the_whole_log)
{
    struct fixture *f = open_with_copies();
    spoil(f, "shard-0/state.mdb");
    char folder[200];
    (void)snprintf(folder, sizeof(folder), "%s/shard-0", f->path);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strncmp(entry->d_name, "state-", 6) == 0) {
            char name[300];
            (void)snprintf(name, sizeof(name), "shard-0/%s", entry->d_name);
            spoil(f, name);
        }
    closedir(dir);
    cr_assert_eq(fixture_start(f), 0, "%s", f->error);
    cr_assert_eq(f->applied_index, 0);
    check_state(f);
    fixture_destroy(f);
}

/* One flipped bit at many places of the file: never a crash, and never rows that were not written. */
Test(store_damage, no_flipped_bit_of_the_state_is_believed)
{
    struct fixture *f = open_with(3);
    cr_assert_eq(fixture_flush(f, 3, (const char *const[]){"tcount=003", "tother=row"}, 2), STORE_OK);
    fixture_end(f, FIXTURE_CLEAN);
    struct path path = file_of(f, "shard-0/state.mdb"),
                quarantine = file_of(f, "shard-0/quarantine-1-state.mdb");
    uint8_t bytes[5 * 4096];
    int fd = open(path.text, O_RDONLY);
    cr_assert_eq(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
    close(fd);
    unsigned healed = 0;
    for (size_t at = 0; at < sizeof(bytes); at += 211) {
        bytes[at] ^= (uint8_t)(1 << (at % 8));
        write_at(&path, bytes, sizeof(bytes), 0);
        bytes[at] ^= (uint8_t)(1 << (at % 8));
        cr_assert_eq(fixture_start(f), 0, "byte %zu: %s", at, f->error);
        cr_assert(f->applied_index == 0 || f->applied_index == 3);
        cr_assert_eq(f->row_count, f->applied_index == 3 ? 2 : 0, "byte %zu", at);
        if (f->applied_index == 3)
            cr_assert_arr_eq(fixture_find_row(f, "tcount")->value, "003", 3);
        healed += unlink(quarantine.text) == 0;
        fixture_end(f, FIXTURE_CLEAN);
    }
    cr_assert_gt(healed, 0, "some bits mattered");
    fixture_destroy(f);
}

/* ---- two at once ---- */

Test(store_damage, a_folder_in_use_is_refused_with_the_holder)
{
    struct fixture *f = open_with(1);
    struct store *second;
    char error[256], pid[32];
    cr_assert_eq(store_lmdb_open(&f->options, &second, error, sizeof(error)), STORE_EBUSY);
    (void)snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
    cr_assert_not_null(strstr(error, pid), "%s", error);
    cr_assert_eq(fixture_emit(f, 1, 1, 1, BATCH_SIZE), STORE_OK);
    fixture_destroy(f);
}

Test(store_damage, a_missing_folder_is_made_only_if_asked)
{
    struct store_options options = store_options_default();
    char path[] = "/tmp/crier-store-XXXXXX", error[256];
    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(rmdir(path), 0);
    options.path = path;
    options.create = false;
    struct store *store;
    cr_assert_lt(store_lmdb_open(&options, &store, error, sizeof(error)), 0);
    cr_assert_not_null(strstr(error, path));
    cr_assert_neq(access(path, F_OK), 0);
}
