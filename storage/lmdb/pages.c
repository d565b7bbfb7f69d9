/* pages.c: are the pages of an LMDB file what they should be? See pages.h.
 *
 * The layout is that of liblmdb 0.9 on 64 bits, in the machine's byte order, as LMDB writes it:
 *
 *   meta page    0 page header · 16 magic · 20 version · 24 address · 32 map size · 40 free tree · 88 row tree ·
 *                136 last page · 144 transaction
 *   tree (48)    0 u32 page size · 4 u16 flags · 6 u16 depth · 8 branch, leaf, overflow pages, entries · 40 root
 *   page (16)    0 u64 number · 10 u16 kind · 12 u16 lower · 14 u16 upper (large values: 12 u32 pages), then u16 offsets
 *                of nodes up to lower; nodes from upper to the end
 *   node (8)     0 u32 size (leaf) or low bits of a page number (branch) · 4 u16 flags (leaf) or its high bits (branch) ·
 *                6 u16 key size, then key, then value */
#include "storage/lmdb/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_HEADER_SIZE = 16,
    NODE_HEADER_SIZE = 8,
    META_SIZE = 152,
    KEY_SIZE_MAX = 511,
    DEPTH_MAX = 16, /* LMDB's own limit is 32; with 4 KiB pages 6 is beyond any file of ours */
    WINDOW_PAGES = 16,
};

enum {
    KIND_BRANCH = 1,
    KIND_LEAF = 2,
    KIND_LARGE = 4,
    KIND_META = 8,
    NODE_LARGE = 1,
    FREE_TREE_INTEGER_KEY = 8
};

#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u
#define NO_ROOT      UINT64_MAX

/* Some neighbouring pages of one level: leaves written in order lie in order. */
struct window {
    uint8_t *data;
    uint64_t first;
    uint64_t count;
};

struct check {
    int fd;
    size_t page_size;
    uint64_t pages; /* in use */
    uint8_t *used;  /* a bit for each */
    struct window windows[DEPTH_MAX];
    bool values;
    bool free_tree;            /* which of the two is walked */
    uint8_t key[KEY_SIZE_MAX]; /* the last key seen: the next one is greater */
    size_t key_size;
    bool key_reachable; /* it was a separator: the next one may equal it */
};

struct tree {
    uint16_t depth;
    uint64_t root;
};

/* In the machine's order, at any alignment. */
static uint16_t u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static int read_at(int fd, void *to, size_t size, uint64_t position)
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

/* ---- pages ---- */

/* Each page has one place. */
static int use_pages(struct check *check, uint64_t first, uint64_t count)
{
    if (first < 2 || first >= check->pages || count > check->pages - first)
        return MDB_CORRUPTED;
    for (uint64_t page = first; page < first + count; page++) {
        uint8_t bit = (uint8_t)(1 << (page % 8));
        if (check->used[page / 8] & bit)
            return MDB_CORRUPTED;
        check->used[page / 8] |= bit;
    }
    return 0;
}

/* The page's bytes, good until the next call for the same level. */
static int fetch(struct check *check, unsigned level, uint64_t page, const uint8_t **ret_data)
{
    struct window *window = &check->windows[level];
    if (!window->data && !(window->data = malloc(WINDOW_PAGES * check->page_size)))
        return ENOMEM;
    if (page < window->first || page >= window->first + window->count) {
        uint64_t count = check->pages - page < WINDOW_PAGES ? check->pages - page : WINDOW_PAGES;
        window->count = 0;
        int rc = read_at(check->fd, window->data, count * check->page_size, page * check->page_size);
        if (rc != 0)
            return rc;
        window->first = page;
        window->count = count;
    }
    *ret_data = window->data + (page - window->first) * check->page_size;
    return 0;
}

static int check_header(const struct check *check, const uint8_t *data, uint64_t page, unsigned kind)
{
    uint16_t lower = u16(data + 12), upper = u16(data + 14);
    bool good = u64(data) == page && u16(data + 10) == kind && lower >= PAGE_HEADER_SIZE && lower % 2 == 0 &&
                lower <= upper && upper <= check->page_size;
    return good ? 0 : MDB_CORRUPTED;
}

static unsigned node_count(const uint8_t *data)
{
    return (u16(data + 12) - (unsigned)PAGE_HEADER_SIZE) / 2;
}

/* The node's header and key lie inside the page. */
static const uint8_t *node_at(const struct check *check, const uint8_t *data, unsigned number)
{
    uint16_t at = u16(data + PAGE_HEADER_SIZE + number * 2);
    if (at < u16(data + 14) || (size_t)at + NODE_HEADER_SIZE > check->page_size)
        return NULL;
    const uint8_t *node = data + at;
    size_t key_size = u16(node + 6);
    return at + NODE_HEADER_SIZE + key_size <= check->page_size && key_size <= KEY_SIZE_MAX ? node : NULL;
}

/* ---- keys ---- */

/* Rows are in order of memcmp, free pages in order of a number. */
static int compare_key(const struct check *check, const uint8_t *key, size_t size)
{
    if (check->free_tree) {
        uint64_t a = u64(key), b = u64(check->key);
        return a < b ? -1 : a > b;
    }
    int order = memcmp(key, check->key, size < check->key_size ? size : check->key_size);
    return order ? order : size < check->key_size ? -1 : size > check->key_size;
}

static int next_key(struct check *check, const uint8_t *node, bool separator)
{
    size_t size = u16(node + 6);
    const uint8_t *key = node + NODE_HEADER_SIZE;
    if (size == 0 || (check->free_tree && size != sizeof(uint64_t)))
        return MDB_CORRUPTED;
    if (check->key_size > 0) {
        int order = compare_key(check, key, size);
        if (order < 0 || (order == 0 && !check->key_reachable))
            return MDB_CORRUPTED;
    }
    memcpy(check->key, key, size);
    check->key_size = size;
    check->key_reachable = separator;
    return 0;
}

/* ---- values ---- */

/* A row's value in pages of its own. */
static int check_large(struct check *check, uint64_t page, size_t size)
{
    uint64_t count = (PAGE_HEADER_SIZE - 1 + size) / check->page_size + 1;
    int rc = use_pages(check, page, count);
    if (rc != 0 || !check->values)
        return rc;
    uint8_t header[PAGE_HEADER_SIZE];
    if ((rc = read_at(check->fd, header, sizeof(header), page * check->page_size)) != 0)
        return rc;
    return u64(header) == page && u16(header + 10) == KIND_LARGE && u32(header + 12) == count ? 0
                                                                                              : MDB_CORRUPTED;
}

/* A list of free pages: how many, then their numbers, descending. None of them is in use, none is free twice. */
static int check_free(struct check *check, const uint8_t *list, size_t size)
{
    if (size < sizeof(uint64_t) || u64(list) != size / sizeof(uint64_t) - 1 || size % sizeof(uint64_t))
        return MDB_CORRUPTED;
    for (size_t at = sizeof(uint64_t); at < size; at += sizeof(uint64_t)) {
        if (at > sizeof(uint64_t) && u64(list + at) >= u64(list + at - sizeof(uint64_t)))
            return MDB_CORRUPTED;
        int rc = use_pages(check, u64(list + at), 1);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int check_free_large(struct check *check, uint64_t page, size_t size)
{
    int rc = check_large(check, page, size);
    if (rc != 0)
        return rc;
    uint8_t *list = malloc(size);
    if (!list)
        return ENOMEM;
    rc = read_at(check->fd, list, size, page * check->page_size + PAGE_HEADER_SIZE);
    if (rc == 0)
        rc = check_free(check, list, size);
    free(list);
    return rc;
}

static int check_value(struct check *check, const uint8_t *data, const uint8_t *node)
{
    size_t size = u32(node), key_size = u16(node + 6);
    const uint8_t *value = node + NODE_HEADER_SIZE + key_size;
    size_t room = (size_t)(data + check->page_size - value);
    switch (u16(node + 4)) {
    case 0:
        if (size > room)
            return MDB_CORRUPTED;
        return check->free_tree ? check_free(check, value, size) : 0;
    case NODE_LARGE:
        if (room < sizeof(uint64_t))
            return MDB_CORRUPTED;
        return check->free_tree ? check_free_large(check, u64(value), size)
                                : check_large(check, u64(value), size);
    default:
        return MDB_CORRUPTED; /* sub-trees and duplicates: not in files of ours */
    }
}

/* ---- trees ---- */

static int check_leaf(struct check *check, const uint8_t *data)
{
    int rc = node_count(data) > 0 ? 0 : MDB_CORRUPTED;
    for (unsigned i = 0; rc == 0 && i < node_count(data); i++) {
        const uint8_t *node = node_at(check, data, i);
        if (!node)
            return MDB_CORRUPTED;
        if ((rc = next_key(check, node, false)) == 0)
            rc = check_value(check, data, node);
    }
    return rc;
}

static int check_page(struct check *check, uint64_t page, unsigned level, unsigned depth);

static int check_branch(struct check *check, uint64_t page, unsigned level, unsigned depth)
{
    const uint8_t *data;
    int rc = fetch(check, level, page, &data);
    unsigned count = rc == 0 ? node_count(data) : 0;
    if (rc == 0 && count < 2)
        return MDB_CORRUPTED;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        const uint8_t *node = node_at(check, data, i);
        if (!node)
            return MDB_CORRUPTED;
        uint64_t child = (uint64_t)u32(node) | (uint64_t)u16(node + 4) << 32;
        if (i > 0) /* the first one has no key: it is below everything */
            rc = next_key(check, node, true);
        if (rc == 0)
            rc = check_page(check, child, level + 1, depth);
    }
    return rc;
}

static int check_page(struct check *check, uint64_t page, unsigned level, unsigned depth)
{
    const uint8_t *data;
    bool leaf = level + 1 == depth;
    int rc = use_pages(check, page, 1);
    if (rc == 0)
        rc = fetch(check, level, page, &data);
    if (rc == 0)
        rc = check_header(check, data, page, leaf ? KIND_LEAF : KIND_BRANCH);
    if (rc != 0)
        return rc;
    return leaf ? check_leaf(check, data) : check_branch(check, page, level, depth);
}

static int check_tree(struct check *check, const struct tree *tree, bool free_tree)
{
    if (tree->root == NO_ROOT)
        return tree->depth == 0 ? 0 : MDB_CORRUPTED;
    if (tree->depth == 0 || tree->depth > DEPTH_MAX)
        return MDB_CORRUPTED;
    check->free_tree = free_tree;
    check->key_size = 0;
    return check_page(check, tree->root, 0, tree->depth);
}

/* ---- meta pages ---- */

static struct tree tree_decode(const uint8_t *at)
{
    return (struct tree){.depth = u16(at + 6), .root = u64(at + 40)};
}

static bool meta_good(const uint8_t *meta, uint64_t number, size_t page_size)
{
    uint16_t free_flags = u16(meta + 44), row_flags = u16(meta + 92);
    return u64(meta) == number && u16(meta + 10) == KIND_META && u32(meta + 16) == META_MAGIC &&
           u32(meta + 20) == META_VERSION && u32(meta + 40) == page_size && row_flags == 0 &&
           (free_flags & 0x7f & ~FREE_TREE_INTEGER_KEY) == 0 && (free_flags & FREE_TREE_INTEGER_KEY);
}

/* Finds the meta page LMDB will believe, and the number of pages in use. 0 or a code. */
static int read_meta(struct check *check, uint64_t file_size, uint8_t meta[META_SIZE])
{
    uint8_t pages[2][META_SIZE];
    for (unsigned i = 0; i < 2; i++) {
        int rc = read_at(check->fd, pages[i], META_SIZE, i * check->page_size);
        if (rc != 0)
            return rc;
        if (!meta_good(pages[i], i, check->page_size))
            return MDB_INVALID;
    }
    unsigned newest = u64(pages[0] + 144) < u64(pages[1] + 144);
    memcpy(meta, pages[newest], META_SIZE);
    uint64_t last = u64(meta + 136);
    if (last < 1 || last >= file_size / check->page_size)
        return MDB_CORRUPTED;
    check->pages = last + 1;
    return 0;
}

static int check_file(struct check *check, uint64_t file_size)
{
    uint8_t meta[META_SIZE];
    int rc = read_meta(check, file_size, meta);
    if (rc != 0)
        return rc;
    if (!(check->used = calloc(check->pages / 8 + 1, 1)))
        return ENOMEM;
    struct tree free_pages = tree_decode(meta + 40), rows = tree_decode(meta + 88);
    if ((rc = check_tree(check, &rows, false)) == 0)
        rc = check_tree(check, &free_pages, true);
    return rc;
}

int pages_check(const char *path, bool values)
{
    struct check check = {.values = values, .page_size = (size_t)sysconf(_SC_PAGESIZE)};
    check.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (check.fd < 0)
        return errno == ENOENT ? 0 : errno;
    struct stat stat;
    int rc = fstat(check.fd, &stat) < 0 ? errno : 0;
    if (rc == 0 && stat.st_size > 0)
        rc = check_file(&check, (uint64_t)stat.st_size);
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        free(check.windows[i].data);
    free(check.used);
    close(check.fd);
    return rc;
}
