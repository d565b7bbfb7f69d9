/* state_read.c: see state_read.h. */
#include "storage/lmdb/state_read.h"

#include "base/bytes.h"
#include "base/thread.h"
#include "proto/crc32c.h"
#include "storage/lmdb/pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

uint32_t state_row_crc(const void *key, size_t key_size, const void *value, size_t value_size)
{
    return crc32c(crc32c(0, key, key_size), value, value_size);
}

/* In a file, key and value of a row stand side by side. */
static uint32_t crc_of(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    return key + key_size == value ? crc32c(0, key, key_size + value_size)
                                   : state_row_crc(key, key_size, value, value_size);
}

bool state_row_good(const MDB_val *key, const MDB_val *value)
{
    if (value->mv_size < STATE_CRC_SIZE || key->mv_size == 0)
        return false;
    size_t size = value->mv_size - STATE_CRC_SIZE;
    const uint8_t *bytes = value->mv_data;
    return le32_get(bytes + size) == crc_of(key->mv_data, key->mv_size, bytes, size);
}

static bool is_cut(const MDB_val *key)
{
    return key->mv_size == 1 && *(const uint8_t *)key->mv_data == STATE_KEY_CUT;
}

struct reading {
    struct state_rows *rows; /* NULL: they are only checked */
    bool found;
    uint64_t flushed_index;
};

/* Rows are smaller than the pages they are in, and what is not used of this is never there. */
static int rows_reserve(struct state_rows *rows, const char *path)
{
    struct stat stat_of;
    if (stat(path, &stat_of) < 0)
        return errno == ENOENT ? 0 : errno;
    size_t capacity = (size_t)stat_of.st_size;
    if (capacity == 0)
        return 0;
    void *bytes =
        mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED)
        return errno;
    (void)madvise(bytes, capacity, MADV_HUGEPAGE);
    *rows = (struct state_rows){.bytes = bytes, .capacity = capacity};
    return 0;
}

void state_rows_free(struct state_rows *rows)
{
    if (rows->bytes)
        (void)munmap(rows->bytes, rows->capacity);
    *rows = (struct state_rows){0};
}

enum { ROW_HEAD = 8 }; /* u32 key size, u32 value size */

static int rows_add(struct state_rows *rows, const MDB_val *key, const MDB_val *value)
{
    size_t value_size = value->mv_size - STATE_CRC_SIZE;
    if (rows->capacity - rows->size < ROW_HEAD + key->mv_size + value_size)
        return MDB_CORRUPTED;
    uint8_t *at = rows->bytes + rows->size;
    le32_put(at, (uint32_t)key->mv_size);
    le32_put(at + 4, (uint32_t)value_size);
    memcpy(at + ROW_HEAD, key->mv_data, key->mv_size);
    memcpy(at + ROW_HEAD + key->mv_size, value->mv_data, value_size);
    rows->size += ROW_HEAD + key->mv_size + value_size;
    return 0;
}

static int read_row(void *ctx, const void *key, size_t key_size, const void *value, size_t value_size)
{
    struct reading *reading = ctx;
    const MDB_val k = {key_size, (void *)(uintptr_t)key}, v = {value_size, (void *)(uintptr_t)value};
    if (!state_row_good(&k, &v))
        return MDB_CORRUPTED;
    if (!is_cut(&k))
        return reading->rows ? rows_add(reading->rows, &k, &v) : 0;
    if (value_size != STATE_CUT_SIZE || le32_get(value) != STATE_VERSION)
        return 0;
    reading->found = true;
    reading->flushed_index = le64_get((const uint8_t *)value + 8);
    return 0;
}

int state_read(const char *path, struct state_rows *rows, uint64_t *ret_flushed_index)
{
    struct reading reading = {.rows = rows};
    int rc = rows ? rows_reserve(rows, path) : 0;
    if (rc == 0)
        rc = pages_check_rows(path, read_row, &reading);
    if (rc == 0 && !reading.found)
        rc = MDB_CORRUPTED;
    if (rc != 0 && rows)
        state_rows_free(rows);
    *ret_flushed_index = reading.flushed_index;
    return rc;
}

int state_rows_each(const struct state_rows *rows, store_row_fn *fn, void *ctx)
{
    const uint8_t *at = rows->bytes, *end = at + rows->size;
    int code = 0;
    unsigned table = 0; /* rows of those below it are not wanted */
    while (at < end && code >= 0) {
        struct store_row row = {.key_size = le32_get(at), .value_size = le32_get(at + 4)};
        row.key = at + ROW_HEAD;
        row.value = at + ROW_HEAD + row.key_size;
        at += ROW_HEAD + row.key_size + row.value_size;
        if (*(const uint8_t *)row.key < table)
            continue;
        code = fn(ctx, &row);
        table = code == STORE_NEXT_TABLE ? *(const uint8_t *)row.key + 1u : 0;
    }
    return code < 0 ? code : 0;
}

/* ---- on a thread of its own ---- */

static void *read_ahead(void *ctx)
{
    struct state_ahead *ahead = ctx;
    ahead->rc = path_sync(&ahead->path);
    if (ahead->rc == 0)
        ahead->rc = state_read(ahead->path.text, &ahead->rows, &ahead->flushed_index);
    return NULL;
}

void state_ahead_begin(struct state_ahead *ahead, const struct path *path)
{
    *ahead = (struct state_ahead){.path = *path};
    ahead->begun = thread_start(&ahead->thread, "crier-state", read_ahead, ahead) == 0;
}

int state_ahead_end(struct state_ahead *ahead, const struct path *path, struct state_rows *ret_rows,
                    uint64_t *ret_flushed_index)
{
    if (ahead->begun) {
        (void)pthread_join(ahead->thread, NULL);
    } else {
        ahead->path = *path;
        (void)read_ahead(ahead);
    }
    ahead->begun = false;
    *ret_rows = ahead->rows;
    *ret_flushed_index = ahead->flushed_index;
    ahead->rows = (struct state_rows){0};
    return ahead->rc;
}

void state_ahead_drop(struct state_ahead *ahead)
{
    if (ahead->begun)
        (void)pthread_join(ahead->thread, NULL);
    ahead->begun = false;
    state_rows_free(&ahead->rows);
}
