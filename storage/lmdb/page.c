/* page.c: the pages of an LMDB file, read by position; see page.h. */
#include "storage/lmdb/page.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SIZE            (512u << 10)
#define BLOCK_SLACK           (16u << 10)
#define META_SIZE             152
#define META_MAGIC            0xBEEFC0DEu
#define META_VERSION          1u
#define FREE_TREE_INTEGER_KEY 8

/* Who reads to the end of a block most likely reads on: the kernel is asked for the next one whole. So a replay makes few requests of
 * the disk, each so small that a commit behind it hardly waits (docs/decisions/0026), and no state says that it is one.
 * BLOCK_SLACK: pages of the tree lie between two values, and may be what the block ends with. */
void page_fetch_block(int fd, uint64_t from, uint64_t end)
{
    uint64_t next = end / BLOCK_SIZE;
    if ((from < BLOCK_SLACK ? 0 : from - BLOCK_SLACK) / BLOCK_SIZE != next)
        (void)posix_fadvise(fd, (off_t)(next * BLOCK_SIZE), BLOCK_SIZE, POSIX_FADV_WILLNEED);
}

int page_read(int fd, void *to, size_t size, uint64_t position)
{
    uint8_t *at = to;
    while (size > 0) {
        ssize_t got = pread(fd, at, size, (off_t)position);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            return MDB_CORRUPTED;
        at += got;
        size -= (size_t)got;
        position += (uint64_t)got;
    }
    return 0;
}

/* ---- meta pages ---- */

static struct page_tree tree_decode(const uint8_t *at)
{
    return (struct page_tree){.depth = page_u16(at + 6), .root = page_u64(at + 40)};
}

static bool meta_good(const uint8_t *meta, uint64_t number, size_t page_size)
{
    uint16_t free_flags = page_u16(meta + 44), row_flags = page_u16(meta + 92);
    return page_u64(meta) == number && page_u16(meta + 10) == PAGE_META &&
           page_u32(meta + 16) == META_MAGIC && page_u32(meta + 20) == META_VERSION &&
           page_u32(meta + 40) == page_size && row_flags == 0 &&
           (free_flags & 0x7f & ~FREE_TREE_INTEGER_KEY) == 0 && (free_flags & FREE_TREE_INTEGER_KEY);
}

int page_read_metas(int fd, size_t page_size, struct page_meta ret_metas[2])
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t bytes[META_SIZE];
        int rc = page_read(fd, bytes, META_SIZE, i * page_size);
        if (rc != 0)
            return rc;
        if (!meta_good(bytes, i, page_size))
            return MDB_INVALID;
        ret_metas[i] = (struct page_meta){.free_pages = tree_decode(bytes + 40),
                                          .rows = tree_decode(bytes + 88),
                                          .pages = page_u64(bytes + 136) + 1,
                                          .txn = page_u64(bytes + 144)};
    }
    return 0;
}

int page_read_newest(int fd, size_t page_size, struct page_meta *ret_meta)
{
    struct page_meta metas[2];
    struct stat stat;
    int rc = page_read_metas(fd, page_size, metas);
    if (rc != 0)
        return rc;
    if (fstat(fd, &stat) < 0)
        return errno;
    const struct page_meta *newest = &metas[metas[0].txn < metas[1].txn];
    if (newest->pages < 2 || newest->pages > (uint64_t)stat.st_size / page_size)
        return MDB_CORRUPTED;
    *ret_meta = *newest;
    return 0;
}

/* ---- branches and leaves ---- */

bool page_good(const uint8_t *data, size_t page_size, uint64_t number, unsigned kind)
{
    uint16_t lower = page_u16(data + 12), upper = page_u16(data + 14);
    return page_u64(data) == number && page_u16(data + 10) == kind && lower >= PAGE_HEADER_SIZE &&
           lower % 2 == 0 && lower <= upper && upper <= page_size;
}

const uint8_t *page_node(const uint8_t *data, size_t page_size, unsigned number)
{
    uint16_t at = page_u16(data + PAGE_HEADER_SIZE + number * 2);
    if (at < page_u16(data + 14) || (size_t)at + PAGE_NODE_SIZE > page_size)
        return NULL;
    const uint8_t *node = data + at;
    size_t key_size = page_u16(node + 6);
    return at + PAGE_NODE_SIZE + key_size <= page_size && key_size <= PAGE_KEY_SIZE_MAX ? node : NULL;
}
