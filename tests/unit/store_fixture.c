/* store_fixture.c: a store of either filling, driven step by step; see store_fixture.h. */
#include "tests/unit/store_fixture.h"

#include "base/bytes.h"
#include "proto/crc32c.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP_MS_MAX 20000

/* Plain programs without Criterion use the fixture too, so a failed step says where and aborts. */
#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                            \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* ---- folders ---- */

static void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(in >= 0 && out >= 0);
    char bytes[65536];
    ssize_t got;
    while ((got = read(in, bytes, sizeof(bytes))) > 0)
        REQUIRE(write(out, bytes, (size_t)got) == got);
    REQUIRE(got == 0);
    close(in);
    close(out);
}

void fixture_copy_folder(const char *from, const char *to)
{
    REQUIRE(mkdir(to, 0700) == 0);
    DIR *dir = opendir(from);
    REQUIRE(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        char a[PATH_MAX], b[PATH_MAX];
        (void)snprintf(a, sizeof(a), "%s/%s", from, entry->d_name);
        (void)snprintf(b, sizeof(b), "%s/%s", to, entry->d_name);
        struct stat stat_of;
        REQUIRE(stat(a, &stat_of) == 0);
        if (S_ISDIR(stat_of.st_mode))
            fixture_copy_folder(a, b);
        else
            copy_file(a, b);
    }
    closedir(dir);
}

void fixture_remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char child[PATH_MAX];
        (void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (unlink(child) < 0)
            fixture_remove_folder(child);
    }
    closedir(dir);
    (void)rmdir(path);
}

static void new_folder(char *path, size_t size)
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(path, size, "%s/crier-store-XXXXXX", parent ? parent : "/tmp");
    REQUIRE(mkdtemp(path));
}

/* ---- lives ---- */

struct fixture *fixture_create(enum fixture_kind kind)
{
    struct fixture *f = calloc(1, sizeof(*f));
    REQUIRE(f);
    f->kind = kind;
    f->memory_options = store_memory_options_default(42);
    f->options = store_options_default();
    if (kind == FIXTURE_LMDB) {
        new_folder(f->path, sizeof(f->path));
        f->options.path = f->path;
        f->options.segment_size = 4u << 20;
        f->options.sweep_settle_us = 0;
        f->options.clean_delay_us = 0;
    }
    return f;
}

struct fixture *fixture_create_at(const char *path)
{
    struct fixture *f = calloc(1, sizeof(*f));
    REQUIRE(f);
    f->kind = FIXTURE_LMDB;
    f->options = store_options_default();
    f->options.sweep_settle_us = 0;
    f->options.clean_delay_us = 0;
    (void)snprintf(f->path, sizeof(f->path), "%s", path);
    f->options.path = f->path;
    f->path_borrowed = true;
    return f;
}

struct fixture *fixture_open(enum fixture_kind kind)
{
    struct fixture *f = fixture_create(kind);
    REQUIRE(fixture_start(f) == 0);
    return f;
}

static int on_row(void *ctx, const struct store_row *row)
{
    struct fixture *f = ctx;
    REQUIRE(f->row_count < 64 && row->key_size <= 64 && row->value_size <= 64);
    struct fixture_row *copy = &f->rows[f->row_count++];
    memcpy(copy->key, row->key, row->key_size);
    memcpy(copy->value, row->value, row->value_size);
    copy->key_size = row->key_size;
    copy->value_size = row->value_size;
    return 0;
}

static int on_entry(void *ctx, const struct store_entry *entry)
{
    struct fixture *f = ctx;
    if (!f->replayed_first)
        f->replayed_first = entry->index;
    else
        REQUIRE(entry->index == f->replayed_last + 1);
    f->replayed_last = entry->index;
    f->replayed_count++;
    return 0;
}

int fixture_start(struct fixture *f)
{
    f->row_count = f->replayed_count = 0;
    f->replayed_first = f->replayed_last = f->applied_index = 0;
    f->error[0] = '\0';
    int rc;
    if (f->kind == FIXTURE_LMDB)
        rc = store_lmdb_open(&f->options, &f->store, f->error, sizeof(f->error));
    else if (f->image)
        rc = store_memory_reopen(&f->memory_options, f->image, &f->store);
    else
        rc = store_memory_open(&f->memory_options, &f->store);
    f->image = NULL;
    if (rc == 0) {
        const struct store_ops *ops = f->store->ops;
        if ((rc = ops->load_state(f->store, on_row, f, &f->applied_index)) == 0 &&
            (rc = ops->replay(f->store, on_entry, f)) == 0)
            rc = ops->start(f->store);
        if (rc < 0)
            ops->close(f->store);
    }
    if (rc < 0)
        f->store = NULL;
    f->epoch++;
    return f->start_code = rc;
}

/* Waits until the background thread has nothing to do: each flush comes after the jobs queued before the last one. */
static void settle(struct fixture *f)
{
    for (int i = 0; i < 3; i++)
        (void)fixture_flush(f, fixture_stats(f).flushed_index, NULL, 0);
}

/* A copy of the files of an idle store is what a killed process leaves. */
static void crash_lmdb(struct fixture *f)
{
    settle(f);
    char copy[sizeof(f->path)];
    new_folder(copy, sizeof(copy));
    REQUIRE(rmdir(copy) == 0);
    fixture_copy_folder(f->path, copy);
    f->store->ops->stop(f->store);
    f->store->ops->close(f->store);
    fixture_remove_folder(f->path);
    memcpy(f->path, copy, sizeof(copy));
}

void fixture_end(struct fixture *f, enum fixture_end end)
{
    if (f->kind == FIXTURE_LMDB && end == FIXTURE_CRASH) {
        crash_lmdb(f);
    } else {
        if (end == FIXTURE_CLEAN)
            f->store->ops->stop(f->store);
        if (f->kind == FIXTURE_MEMORY)
            f->image = store_memory_crash(f->store);
        else
            f->store->ops->close(f->store);
    }
    f->store = NULL;
}

void fixture_reopen(struct fixture *f, enum fixture_end end)
{
    fixture_end(f, end);
    int rc = fixture_start(f);
    if (rc < 0)
        (void)fprintf(stderr, "start failed: %d %s\n", rc, f->error);
    REQUIRE(rc == 0);
}

void fixture_destroy(struct fixture *f)
{
    if (f->store)
        fixture_end(f, FIXTURE_CLEAN);
    store_memory_image_destroy(f->image);
    if (f->kind == FIXTURE_LMDB && !f->path_borrowed)
        fixture_remove_folder(f->path);
    free(f);
}

/* ---- time ---- */

void fixture_pump(struct fixture *f)
{
    if (f->kind == FIXTURE_MEMORY) {
        int64_t due_us = store_memory_next_due(f->store);
        if (due_us != INT64_MAX) {
            f->now_us = due_us;
            store_memory_advance(f->store, due_us);
        }
    } else {
        struct pollfd fd = {.fd = f->store->ops->completion_fd(f->store), .events = POLLIN};
        REQUIRE(poll(&fd, 1, STEP_MS_MAX) == 1);
    }
    f->store->ops->poll(f->store, 16);
}

void fixture_wait(struct fixture *f, const bool *done)
{
    while (!*done) {
        if (f->kind == FIXTURE_MEMORY) {
            unsigned ran = f->store->ops->poll(f->store, 16);
            REQUIRE(ran > 0 || *done || store_memory_next_due(f->store) != INT64_MAX);
        }
        if (!*done)
            fixture_pump(f);
    }
}

/* ---- batches ---- */

static void fill(uint8_t *bytes, uint64_t partition, uint64_t offset, uint32_t span, size_t size)
{
    memset(bytes, 0, ENTRY_BATCH_SIZE_MIN);
    be64_put(bytes, offset);
    be32_put(bytes + 8, (uint32_t)(size - 12));
    bytes[16] = 2;
    be32_put(bytes + 23, span - 1);
    be32_put(bytes + 57, span);
    uint64_t word = partition * 0x9e3779b97f4a7c15u + offset * 0xbf58476d1ce4e5b9u;
    for (size_t i = ENTRY_BATCH_SIZE_MIN; i < size; i++)
        bytes[i] = (uint8_t)((word >> (i % 57)) + i * 7);
    be32_put(bytes + ENTRY_BATCH_CRC_AT, crc32c(0, bytes + ENTRY_BATCH_UNCRCED, size - ENTRY_BATCH_UNCRCED));
}

struct slice fixture_batch(uint64_t partition, uint64_t offset, uint32_t span, size_t size)
{
    REQUIRE(size >= ENTRY_BATCH_SIZE_MIN);
    struct buffer *buffer = buffer_create(size);
    REQUIRE(buffer);
    fill(buffer->data, partition, offset, span, size);
    return (struct slice){buffer, buffer->data, size};
}

bool fixture_batch_is(const struct store_batch *batch, uint64_t partition, uint64_t offset, uint32_t span,
                      size_t size)
{
    struct slice expected = fixture_batch(partition, offset, span, size);
    bool same = batch->base_offset == offset && batch->span == span && batch->batch.size == size &&
                memcmp(batch->batch.data, expected.data, size) == 0;
    slice_unref(&expected);
    return same;
}

/* ---- requests ---- */

static void append_done(struct store_append *append, void *ctx)
{
    (void)append;
    ((struct fixture_append *)ctx)->done = true;
}

struct fixture_append *fixture_append_create(struct fixture *f)
{
    struct fixture_append *a = calloc(1, sizeof(*a));
    REQUIRE(a);
    a->append = (struct store_append){.done = append_done,
                                      .ctx = a,
                                      .type = ENTRY_NORMAL,
                                      .epoch = f->epoch,
                                      .term = 1,
                                      .append_time_us = f->now_us,
                                      .parts = a->parts,
                                      .status = 1};
    return a;
}

void fixture_append_data(struct fixture_append *a, uint64_t partition, uint64_t offset, uint32_t span,
                         size_t size)
{
    REQUIRE(a->append.part_count < FIXTURE_PARTS_MAX);
    a->parts[a->append.part_count++] =
        (struct entry_part){.kind = PART_DATA,
                            .partition = partition,
                            .base_offset = offset,
                            .span = span,
                            .payload = fixture_batch(partition, offset, span, size)};
}

void fixture_append_command(struct fixture_append *a, uint16_t command, const void *bytes, size_t size)
{
    REQUIRE(a->append.part_count < FIXTURE_PARTS_MAX);
    struct buffer *buffer = buffer_create(size);
    REQUIRE(buffer);
    memcpy(buffer->data, bytes, size);
    a->parts[a->append.part_count++] = (struct entry_part){
        .kind = PART_COMMAND, .command = command, .payload = {buffer, buffer->data, size}};
}

void fixture_append_destroy(struct fixture_append *a)
{
    for (uint32_t i = 0; i < a->append.part_count; i++)
        slice_unref(&a->parts[i].payload);
    free(a);
}

void fixture_submit(struct fixture *f, struct fixture_append *a)
{
    int rc;
    while ((rc = f->store->ops->append(f->store, &a->append)) == STORE_EAGAIN)
        fixture_pump(f);
    REQUIRE(rc == 0);
}

int fixture_emit(struct fixture *f, uint64_t partition, uint64_t offset, uint32_t span, size_t size)
{
    struct fixture_append *a = fixture_append_create(f);
    fixture_append_data(a, partition, offset, span, size);
    fixture_submit(f, a);
    fixture_wait(f, &a->done);
    int status = a->append.status;
    fixture_append_destroy(a);
    return status;
}

void fixture_read_done(struct store_read *read, void *ctx)
{
    (void)read;
    *(bool *)ctx = true;
}

struct store_read *fixture_read(struct fixture *f, uint64_t partition, uint64_t offset, uint64_t until,
                                size_t bytes_max)
{
    bool done = false;
    struct store_read *read = calloc(1, sizeof(*read));
    REQUIRE(read);
    *read = (struct store_read){.done = fixture_read_done,
                                .ctx = &done,
                                .partition = partition,
                                .offset = offset,
                                .until = until,
                                .bytes_max = bytes_max};
    REQUIRE(f->store->ops->read(f->store, read) == 0);
    fixture_wait(f, &done);
    return read;
}

void fixture_read_destroy(struct store_read *read)
{
    for (uint32_t i = 0; i < read->count; i++)
        slice_unref(&read->batches[i].batch);
    free(read);
}

void fixture_expect(struct fixture *f, uint64_t partition, uint64_t offset, uint64_t until, size_t size)
{
    while (offset < until) {
        struct store_read *read = fixture_read(f, partition, offset, until, 1u << 20);
        REQUIRE(read->status == 0);
        REQUIRE(read->count > 0);
        for (uint32_t i = 0; i < read->count; i++)
            REQUIRE(fixture_batch_is(&read->batches[i], partition, offset++, 1, size));
        fixture_read_destroy(read);
    }
    REQUIRE(offset == until);
}

static void lookup_done(struct store_lookup *lookup, void *ctx)
{
    (void)lookup;
    *(bool *)ctx = true;
}

void fixture_look_up(struct fixture *f, struct store_lookup *lookup)
{
    bool done = false;
    lookup->done = lookup_done;
    lookup->ctx = &done;
    REQUIRE(f->store->ops->lookup(f->store, lookup) == 0);
    fixture_wait(f, &done);
}

int64_t fixture_lookup_any(struct fixture *f, uint64_t partition, int64_t time_us)
{
    struct store_lookup lookup = {.partition = partition, .time_us = time_us};
    fixture_look_up(f, &lookup);
    return lookup.status < 0 ? lookup.status : lookup.found ? (int64_t)lookup.offset : -1;
}

int64_t fixture_lookup(struct fixture *f, uint64_t partition, int64_t time_us)
{
    int64_t found = fixture_lookup_any(f, partition, time_us);
    REQUIRE(found >= -1);
    return found;
}

void fixture_flush_done(struct store_flush *flush, void *ctx)
{
    (void)flush;
    *(bool *)ctx = true;
}

int fixture_flush(struct fixture *f, uint64_t applied_index, const char *const *pairs, size_t count)
{
    struct store_row rows[16];
    REQUIRE(count <= 16);
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(pairs[i], '=');
        rows[i] = (struct store_row){.key = (const uint8_t *)pairs[i], .key_size = strlen(pairs[i])};
        if (equals) {
            rows[i].key_size = (size_t)(equals - pairs[i]);
            rows[i].value = (const uint8_t *)equals + 1;
            rows[i].value_size = strlen(equals + 1);
        }
    }
    bool done = false;
    const struct store_rows all = {.rows = rows, .count = count};
    struct store_flush flush = {.done = fixture_flush_done,
                                .ctx = &done,
                                .applied_index = applied_index,
                                .rows = &all,
                                .row_count = count};
    REQUIRE(f->store->ops->flush(f->store, &flush) == 0);
    fixture_wait(f, &done);
    return flush.status;
}

const struct fixture_row *fixture_find_row(const struct fixture *f, const char *key)
{
    for (size_t i = 0; i < f->row_count; i++)
        if (f->rows[i].key_size == strlen(key) && memcmp(f->rows[i].key, key, f->rows[i].key_size) == 0)
            return &f->rows[i];
    return NULL;
}

struct store_stats fixture_stats(struct fixture *f)
{
    struct store_stats stats;
    f->store->ops->stats(f->store, &stats);
    return stats;
}
