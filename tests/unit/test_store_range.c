/* test_store_range.c: rows of the state read while the store runs, and single batches picked out of many: both fillings. */
#include "base/bytes.h"
#include "storage/lmdb/state.h"
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define BOTH(name)                                                                                           \
    static void name(struct fixture *f);                                                                     \
    Test(store_range_lmdb, name)                                                                             \
    {                                                                                                        \
        struct fixture *f = fixture_open(FIXTURE_LMDB);                                                      \
        name(f);                                                                                             \
        fixture_destroy(f);                                                                                  \
    }                                                                                                        \
    Test(store_range_memory, name)                                                                           \
    {                                                                                                        \
        struct fixture *f = fixture_open(FIXTURE_MEMORY);                                                    \
        name(f);                                                                                             \
        fixture_destroy(f);                                                                                  \
    }                                                                                                        \
    static void name(struct fixture *f)

static void note(struct store_range *range, void *ctx)
{
    (void)range;
    *(bool *)ctx = true;
}

static struct store_range range_of(struct fixture *f, const char *from, size_t count_max)
{
    bool done = false;
    struct store_range range = {
        .done = note, .ctx = &done, .from_size = strlen(from), .count_max = count_max};
    memcpy(range.from, from, range.from_size);
    cr_assert_eq(f->store->ops->range(f->store, &range), 0);
    fixture_wait(f, &done);
    cr_assert_eq(range.status, STORE_OK);
    return range;
}

static void expect_row(const struct store_range *range, size_t at, const char *key, const char *value)
{
    const struct store_row *row = &range->rows[at];
    cr_assert_eq(row->key_size, strlen(key));
    cr_assert_arr_eq(row->key, key, row->key_size);
    cr_assert_eq(row->value_size, strlen(value));
    cr_assert_arr_eq(row->value, value, row->value_size);
}

BOTH(a_range_is_what_the_last_flush_left_of_its_table_from_a_key_on)
{
    static const char *const rows[] = {"s9=before", "t1=a", "t2=b", "t4=d", "u0=behind"};
    static const char *const later[] = {"t2", "t3=c"};
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    cr_assert_eq(fixture_emit(f, 1, 1, 1, 100), STORE_OK);
    struct store_range none = range_of(f, "t", 10);
    cr_assert_eq(none.count, 0);
    cr_assert_null(none.rows);
    cr_assert_eq(fixture_flush(f, 1, rows, 5), STORE_OK);
    struct store_range all = range_of(f, "t", 10);
    cr_assert_eq(all.count, 3);
    expect_row(&all, 0, "t1", "a");
    expect_row(&all, 2, "t4", "d");
    free(all.rows);
    cr_assert_eq(fixture_flush(f, 2, later, 2), STORE_OK);
    struct store_range some = range_of(f, "t2", 1);
    cr_assert_eq(some.count, 1);
    expect_row(&some, 0, "t3", "c");
    free(some.rows);
    struct store_range end = range_of(f, "t5", 10);
    cr_assert_eq(end.count, 0);
}

BOTH(a_range_of_many_rows_is_whole)
{
    enum { COUNT = 600 };
    char *rows[COUNT];
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    for (int i = 0; i < COUNT; i++)
        cr_assert_geq(asprintf(&rows[i], "t%05d=value %d", i, i), 0);
    for (int i = 0; i < COUNT; i += 10)
        cr_assert_eq(fixture_flush(f, 1, (const char *const *)rows + i, 10), STORE_OK);
    struct store_range range = range_of(f, "t00100", 400);
    cr_assert_eq(range.count, 400);
    for (int i = 0; i < 400; i++) {
        char *value = strchr(rows[100 + i], '=');
        *value = '\0';
        expect_row(&range, (size_t)i, rows[100 + i], value + 1);
    }
    free(range.rows);
    for (int i = 0; i < COUNT; i++)
        free(rows[i]);
}

struct seen {
    char keys[16][8];
    size_t count;
};

static int skip_table_t(void *ctx, const struct store_row *row)
{
    struct seen *seen = ctx;
    cr_assert_lt(row->key_size, sizeof(seen->keys[0]));
    memcpy(seen->keys[seen->count++], row->key, row->key_size);
    return row->key[0] == 't' && row->key[1] == '2' ? STORE_NEXT_TABLE : 0;
}

BOTH(the_rest_of_a_table_need_not_be_loaded)
{
    static const char *const rows[] = {"s9=1", "t1=2", "t2=3", "t3=4", "t4=5", "v0=6", "v1=7"};
    static const char *const loaded[] = {"s9", "t1", "t2", "v0", "v1"};
    struct seen seen = {.count = 0};
    uint64_t applied = 0;
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    cr_assert_eq(fixture_flush(f, 1, rows, 7), STORE_OK);
    cr_assert_eq(f->store->ops->load_state(f->store, skip_table_t, &seen, &applied), 0);
    cr_assert_eq(applied, 1);
    cr_assert_eq(seen.count, 5);
    for (size_t i = 0; i < 5; i++)
        cr_assert_str_eq(seen.keys[i], loaded[i]);
}

static const size_t row_sizes[] = {1,    1900, 2020, 2040,
                                   2100, 4096, 20000}; /* around what a page of LMDB holds, and more */

static int check_sized(void *ctx, const struct store_row *row)
{
    size_t *seen = ctx, size = row_sizes[*seen];
    cr_assert_eq(row->key_size, 2);
    cr_assert_eq(row->key[1], '0' + *seen);
    cr_assert_eq(row->value_size, size);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(row->value[i], 'a' + (i + *seen) % 26);
    (*seen)++;
    return 0;
}

BOTH(rows_of_any_size_are_loaded_as_they_were_flushed)
{
    enum { COUNT = sizeof(row_sizes) / sizeof(row_sizes[0]) };
    char *rows[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        rows[i] = malloc(row_sizes[i] + 4);
        (void)snprintf(rows[i], 4, "t%zu=", i);
        for (size_t at = 0; at < row_sizes[i]; at++)
            rows[i][3 + at] = (char)('a' + (at + i) % 26);
        rows[i][3 + row_sizes[i]] = '\0';
    }
    cr_assert_eq(fixture_emit(f, 1, 0, 1, 100), STORE_OK);
    cr_assert_eq(fixture_flush(f, 1, (const char *const *)rows, COUNT), STORE_OK);
    size_t seen = 0;
    uint64_t applied = 0;
    cr_assert_eq(f->store->ops->load_state(f->store, check_sized, &seen, &applied), 0);
    cr_assert_eq(seen, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        free(rows[i]);
}

/* Entries of several batches of two partitions, small ones and large ones; then only some offsets are wanted. */
BOTH(a_read_of_some_offsets_returns_their_batches_and_no_others)
{
    uint64_t next = 0;
    for (int entry = 0; entry < 40; entry++) {
        struct fixture_append *a = fixture_append_create(f);
        for (int i = 0; i < 6; i++, next += 2)
            fixture_append_data(a, 7, next, 2, entry % 3 ? 300 : 30000);
        fixture_append_data(a, 8, (uint64_t)entry, 1, 500);
        fixture_submit(f, a);
        fixture_wait(f, &a->done);
        cr_assert_eq(a->append.status, STORE_OK);
        fixture_append_destroy(a);
    }
    /* Of the first entry, within a batch, neighbours, far away, the last. */
    static const uint64_t offsets[] = {0, 5, 6, 8, 100, 101, 300, 479};
    static const uint64_t bases[] = {0, 4, 6, 8, 100, 300, 478};
    bool done = false;
    struct store_read read = {.done = fixture_read_done,
                              .ctx = &done,
                              .partition = 7,
                              .offset = offsets[0],
                              .until = 480,
                              .bytes_max = SIZE_MAX,
                              .offsets = offsets,
                              .offset_count = sizeof(offsets) / sizeof(offsets[0])};
    cr_assert_eq(f->store->ops->read(f->store, &read), 0);
    fixture_wait(f, &done);
    cr_assert_eq(read.status, STORE_OK);
    cr_assert_eq(read.count, sizeof(bases) / sizeof(bases[0]));
    for (uint32_t i = 0; i < read.count; i++) {
        size_t size = bases[i] / 12 % 3 ? 300 : 30000;
        cr_assert(fixture_batch_is(&read.batches[i], 7, bases[i], 2, size), "batch %u", i);
        slice_unref(&read.batches[i].batch);
    }
}

/* ---- a copy of the state ---- */

enum { STATE_ROWS = 6000, STATE_VALUE_SIZE = 300 };

struct reading {
    struct state *state;
    unsigned times;
};

static void read_the_last_row(void *ctx)
{
    struct reading *reading = ctx;
    struct store_range range = {.from = {'t'}, .from_size = 5, .count_max = 10};
    be32_put(range.from + 1, STATE_ROWS - 1);
    cr_assert_eq(state_range(reading->state, &range), 0);
    cr_assert_eq(range.count, 1);
    cr_assert_eq(range.rows[0].value_size, STATE_VALUE_SIZE);
    free(range.rows);
    reading->times++;
}

static void fill_state(struct state *state)
{
    static uint8_t keys[STATE_ROWS][5], value[STATE_VALUE_SIZE];
    static struct store_row rows[STATE_ROWS];
    for (uint32_t i = 0; i < STATE_ROWS; i++) {
        keys[i][0] = 't';
        be32_put(keys[i] + 1, i);
        rows[i] = (struct store_row){keys[i], sizeof(keys[i]), value, sizeof(value)};
    }
    const struct store_rows all = {.rows = rows, .count = STATE_ROWS};
    const struct store_flush flush = {.rows = &all, .row_count = STATE_ROWS, .applied_index = 1};
    cr_assert_eq(state_flush(state, &flush), 0);
}

/* Two megabytes: several steps. */
Test(store_range, rows_are_read_while_a_large_state_is_copied)
{
    struct fixture *f = fixture_create(FIXTURE_LMDB);
    struct folder folder;
    struct state state;
    uint64_t flushed = 0;
    cr_assert_eq(folder_open(&folder, f->path, true, NULL, f->error, sizeof(f->error)), 0, "%s", f->error);
    state_begin(&state, &folder);
    cr_assert_eq(state_open(&state, true, f->error, sizeof(f->error)), 0, "%s", f->error);
    fill_state(&state);
    struct reading reading = {.state = &state};
    cr_assert_eq(state_copy(&state, &(struct state_pause){read_the_last_row, &reading}), 0);
    cr_assert_geq(reading.times, 3);
    struct path copy = state_copy_path(&folder, 1);
    cr_assert_eq(state_check(&copy, &flushed), 0);
    cr_assert_eq(flushed, 1);
    state_close(&state);
    folder_close(&folder);
    fixture_destroy(f);
}
