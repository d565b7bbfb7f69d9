/* page.h: the pages of an LMDB 0.9 file, read by position and believed only after a look.
 *
 * The layout is that of liblmdb 0.9 on 64 bits, in the machine's byte order, as LMDB writes it:
 *
 *   meta page    0 page header · 16 magic · 20 version · 24 address · 32 map size · 40 free tree · 88 row tree ·
 *                136 last page · 144 transaction
 *   tree (48)    0 u32 page size · 4 u16 flags · 6 u16 depth · 8 branch, leaf, overflow pages, entries · 40 root
 *   page (16)    0 u64 number · 10 u16 kind · 12 u16 lower · 14 u16 upper (large values: 12 u32 pages), then u16 offsets
 *                of nodes up to lower; nodes from upper to the end
 *   node (8)     0 u32 size (leaf) or low bits of a page number (branch) · 4 u16 flags (leaf) or its high bits (branch) ·
 *                6 u16 key size, then key, then value
 *
 * Thread: any. */
#ifndef CRIER_STORAGE_LMDB_PAGE_H
#define CRIER_STORAGE_LMDB_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    PAGE_HEADER_SIZE = 16,
    PAGE_NODE_SIZE = 8, /* of a node's header */
    PAGE_KEY_SIZE_MAX = 511,
    PAGE_DEPTH_MAX = 16, /* LMDB's own limit is 32; with 4 KiB pages 6 is beyond any file of ours */
};

enum page_kind { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_LARGE = 4, PAGE_META = 8 };
enum page_node_flag { PAGE_NODE_LARGE = 1 }; /* the value lies in pages of its own */

#define PAGE_NO_ROOT UINT64_MAX

struct page_tree {
    uint16_t depth; /* levels; 0: empty */
    uint64_t root;
};

/* One of the two meta pages: one commit. */
struct page_meta {
    struct page_tree free_pages, rows;
    uint64_t pages; /* in use */
    uint64_t txn;
};

/* In the machine's order, at any alignment. */
static inline uint16_t page_u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint32_t page_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t page_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* pread of all of it. 0, an errno, or MDB_CORRUPTED: the file ends before. */
int page_read(int fd, void *to, size_t size, uint64_t position);
/* These bytes are about to be read of a file that may be cold: if that is near the end of a block of 512 KiB, the kernel is asked for
 * the next one. */
void page_fetch_block(int fd, uint64_t from, uint64_t end);

/* Both meta pages. 0, MDB_INVALID (one of them is none), or as page_read. */
int page_read_metas(int fd, size_t page_size, struct page_meta ret_metas[2]);
/* The one LMDB believes, whose pages must lie in the file. 0 or a code as above, or MDB_CORRUPTED. */
int page_read_newest(int fd, size_t page_size, struct page_meta *ret_meta);

/* Does a branch or leaf page say what its parent says? kind: PAGE_BRANCH or PAGE_LEAF. */
bool page_good(const uint8_t *data, size_t page_size, uint64_t number, unsigned kind);

static inline unsigned page_node_count(const uint8_t *data)
{
    return (page_u16(data + 12) - (unsigned)PAGE_HEADER_SIZE) / 2;
}

/* A node whose header and key lie inside the page; NULL: they do not. */
const uint8_t *page_node(const uint8_t *data, size_t page_size, unsigned number);

static inline uint64_t page_child(const uint8_t *node) /* of a branch */
{
    return (uint64_t)page_u32(node) | (uint64_t)page_u16(node + 4) << 32;
}

/* The pages a large value of so many bytes takes. */
static inline uint64_t page_large_count(size_t size, size_t page_size)
{
    return (PAGE_HEADER_SIZE - 1 + size) / page_size + 1;
}

#endif
