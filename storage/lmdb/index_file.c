/* index_file.c: the offset index between memory and its .idx file; see index_file.h. */
#include "storage/lmdb/index_file.h"

#include "base/bytes.h"
#include "proto/crc32c.h"
#include "storage/lmdb/env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_HEADER_SIZE = 32, START_SIZE = 16, RUN_SIZE = 40, BLOCK_CRC_AT = 28 };

#define BLOCK_START   0x58444931u
#define BLOCK_RUNS    0x58444932u
#define FILE_SIZE_MAX ((uint64_t)1 << 30) /* no index of ours comes near it */

struct bytes {
    uint8_t *data;
    size_t size, capacity;
};

static uint8_t *bytes_add(struct bytes *bytes, size_t size)
{
    if (bytes->capacity - bytes->size < size) {
        size_t capacity = bytes->capacity ? bytes->capacity * 2 : 4096;
        while (capacity - bytes->size < size)
            capacity *= 2;
        uint8_t *data = realloc(bytes->data, capacity);
        if (!data)
            return NULL;
        bytes->data = data;
        bytes->capacity = capacity;
    }
    uint8_t *at = bytes->data + bytes->size;
    bytes->size += size;
    return at;
}

/* ---- loading ---- */

struct block {
    uint32_t kind, count;
    uint64_t number;     /* start: the segment's; runs: covers */
    uint64_t generation; /* start */
    const uint8_t *records;
};

static size_t record_size(uint32_t kind)
{
    return kind == BLOCK_START ? START_SIZE : kind == BLOCK_RUNS ? RUN_SIZE : 0;
}

/* The block at data: its size, or 0 if there is no good one. */
static size_t block_decode(const uint8_t *data, size_t size, struct block *ret_block)
{
    if (size < BLOCK_HEADER_SIZE)
        return 0;
    struct block block = {.kind = le32_get(data),
                          .count = le32_get(data + 4),
                          .number = le64_get(data + 8),
                          .generation = le64_get(data + 16),
                          .records = data + BLOCK_HEADER_SIZE};
    size_t each = record_size(block.kind);
    if (each == 0 || block.count > (size - BLOCK_HEADER_SIZE) / each)
        return 0;
    size_t records = block.count * each;
    if (le32_get(data + BLOCK_CRC_AT) != crc32c(crc32c(0, data, BLOCK_CRC_AT), block.records, records))
        return 0;
    *ret_block = block;
    return BLOCK_HEADER_SIZE + records;
}

static int load_starts(struct index *index, const struct block *block)
{
    int rc = 0;
    for (uint32_t i = 0; i < block->count && rc == 0; i++) {
        const uint8_t *at = block->records + (size_t)i * START_SIZE;
        rc = index_set_start(index, le64_get(at), le64_get(at + 8));
    }
    return rc;
}

static int load_runs(struct index *index, const struct block *block)
{
    int rc = 0;
    for (uint32_t i = 0; i < block->count && rc == 0; i++) {
        const uint8_t *at = block->records + (size_t)i * RUN_SIZE;
        struct index_run run = {.partition = le64_get(at),
                                .base_offset = le64_get(at + 8),
                                .next_offset = le64_get(at + 16),
                                .first_index = le64_get(at + 24),
                                .bytes = le32_get(at + 36)};
        run.last_index = run.first_index + le32_get(at + 32);
        rc = index_set_run(index, &run);
    }
    index_set_covers(index, block->number);
    return rc;
}

static int load_blocks(struct index_file *file, struct index *index, const struct bytes *bytes)
{
    struct block block;
    size_t used = block_decode(bytes->data, bytes->size, &block);
    if (used == 0 || block.kind != BLOCK_START || block.number != file->number ||
        block.generation != file->generation)
        return STORE_ECORRUPT;
    int rc = load_starts(index, &block);
    size_t at = used;
    while (rc == 0 && (used = block_decode(bytes->data + at, bytes->size - at, &block)) > 0 &&
           block.kind == BLOCK_RUNS) {
        rc = load_runs(index, &block);
        at += used;
    }
    file->end = at;
    file->covers = index_covers(index);
    return rc;
}

static int read_file(const struct path *path, struct bytes *bytes)
{
    int fd = open(path->text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? STORE_ECORRUPT : env_code(errno);
    int rc = STORE_EIO;
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        goto out;
    rc = STORE_ECORRUPT;
    if (stat.st_size <= 0 || (uint64_t)stat.st_size > FILE_SIZE_MAX)
        goto out;
    rc = STORE_ENOMEM;
    if (!bytes_add(bytes, (size_t)stat.st_size))
        goto out;
    size_t at = 0;
    ssize_t got = 1;
    while (at < bytes->size && got > 0) {
        got = pread(fd, bytes->data + at, bytes->size - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            at += (size_t)got;
    }
    rc = got < 0 ? STORE_EIO : 0;
    bytes->size = at;
out:
    close(fd);
    return rc;
}

int index_file_load(struct index_file *file, const struct folder *folder, struct index **ret_index)
{
    struct path path = folder_index(folder, file->number, file->generation);
    struct bytes bytes = {0};
    file->end = 0;
    int rc = read_file(&path, &bytes);
    struct index *index = NULL;
    if (rc == 0 && !(index = index_create()))
        rc = STORE_ENOMEM;
    if (rc == 0)
        rc = load_blocks(file, index, &bytes);
    free(bytes.data);
    if (rc < 0) {
        index_unref(index);
        file->end = 0;
        return rc;
    }
    *ret_index = index;
    return 0;
}

/* ---- saving ---- */

static int save_start(void *ctx, uint64_t partition, uint64_t next_offset)
{
    uint8_t *at = bytes_add(ctx, START_SIZE);
    if (!at)
        return STORE_ENOMEM;
    le64_put(at, partition);
    le64_put(at + 8, next_offset);
    return 0;
}

static int save_run(void *ctx, const struct index_run *run)
{
    uint8_t *at = bytes_add(ctx, RUN_SIZE);
    if (!at)
        return STORE_ENOMEM;
    le64_put(at, run->partition);
    le64_put(at + 8, run->base_offset);
    le64_put(at + 16, run->next_offset);
    le64_put(at + 24, run->first_index);
    le32_put(at + 32, (uint32_t)(run->last_index - run->first_index));
    le32_put(at + 36, run->bytes < UINT32_MAX ? (uint32_t)run->bytes : UINT32_MAX);
    return 0;
}

/* Fills the header of the block whose records reach from `from` to the end of bytes. */
static void block_finish(struct bytes *bytes, size_t from, uint32_t kind, uint64_t number,
                         uint64_t generation)
{
    uint8_t *header = bytes->data + from;
    size_t records = bytes->size - from - BLOCK_HEADER_SIZE;
    le32_put(header, kind);
    le32_put(header + 4, (uint32_t)(records / record_size(kind)));
    le64_put(header + 8, number);
    le64_put(header + 16, generation);
    le32_put(header + 24, 0);
    le32_put(header + BLOCK_CRC_AT,
             crc32c(crc32c(0, header, BLOCK_CRC_AT), header + BLOCK_HEADER_SIZE, records));
}

static int encode(const struct index_file *file, struct index *index, struct bytes *bytes,
                  uint64_t *ret_covers)
{
    int rc;
    if (file->end == 0) {
        if (!bytes_add(bytes, BLOCK_HEADER_SIZE))
            return STORE_ENOMEM;
        if ((rc = index_each_start(index, save_start, bytes)) < 0)
            return rc;
        block_finish(bytes, 0, BLOCK_START, file->number, file->generation);
        index_change_all(index);
    }
    size_t from = bytes->size;
    uint64_t covers;
    if (!bytes_add(bytes, BLOCK_HEADER_SIZE))
        return STORE_ENOMEM;
    if ((rc = index_each_change(index, save_run, bytes, &covers)) < 0)
        return rc;
    block_finish(bytes, from, BLOCK_RUNS, covers, 0);
    *ret_covers = covers;
    return 0;
}

static int write_all(int fd, const struct bytes *bytes, uint64_t position)
{
    size_t at = 0;
    while (at < bytes->size) {
        ssize_t put = pwrite(fd, bytes->data + at, bytes->size - at, (off_t)(position + at));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 && errno != ENOSPC && errno != EDQUOT ? STORE_EIO : STORE_EFULL;
        at += (size_t)put;
    }
    return 0;
}

static int write_file(const struct path *path, const struct bytes *bytes, uint64_t position, bool sync)
{
    int fd = open(path->text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return STORE_EIO;
    /* What lies behind the last good block is torn or of an earlier life. */
    int rc = ftruncate(fd, (off_t)position) == 0 ? write_all(fd, bytes, position) : STORE_EIO;
    if (rc == 0 && sync && fdatasync(fd) < 0)
        rc = STORE_EIO;
    close(fd);
    return rc;
}

int index_file_save(struct index_file *file, const struct folder *folder, struct index *index, bool sync)
{
    if (file->end > 0 && file->covers == index_covers(index))
        return 0;
    struct path path = folder_index(folder, file->number, file->generation);
    struct bytes bytes = {0};
    uint64_t covers = 0;
    int rc = encode(file, index, &bytes, &covers);
    if (rc == 0)
        rc = write_file(&path, &bytes, file->end, sync);
    /* Half a block or a forgotten change: from the beginning next time. */
    file->end = rc == 0 ? file->end + bytes.size : 0;
    file->covers = covers;
    free(bytes.data);
    return rc;
}
