/* pages.c: are the pages of an LMDB file what they should be? See pages.h; the layout is in page.h. */
#include "storage/lmdb/pages.h"

#include "storage/lmdb/page.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <unistd.h>

#define WINDOW_PAGES 16

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
    struct window windows[PAGE_DEPTH_MAX];
    bool values;
    pages_row_fn *row; /* NULL: nobody wants them */
    void *row_ctx;
    bool free_tree;                 /* which of the two is walked */
    uint8_t key[PAGE_KEY_SIZE_MAX]; /* the last key seen: the next one is greater */
    size_t key_size;
    bool key_reachable; /* it was a separator: the next one may equal it */
};

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

/* The page's bytes, good until the next call for the same level. As in tree.c a step to the next page brings some more behind
 * it: leaves of a table that is written again and again lie anywhere, and each of them would be read 16 times. */
static int fetch(struct check *check, unsigned level, uint64_t page, const uint8_t **ret_data)
{
    struct window *window = &check->windows[level];
    if (!window->data && !(window->data = malloc(WINDOW_PAGES * check->page_size)))
        return ENOMEM;
    if (page < window->first || page >= window->first + window->count) {
        uint64_t count = window->count > 0 && page == window->first + window->count ? WINDOW_PAGES : 1;
        if (count > check->pages - page)
            count = check->pages - page;
        window->count = 0;
        int rc = page_read(check->fd, window->data, count * check->page_size, page * check->page_size);
        if (rc != 0)
            return rc;
        window->first = page;
        window->count = count;
    }
    *ret_data = window->data + (page - window->first) * check->page_size;
    return 0;
}

/* ---- keys ---- */

/* Rows are in order of memcmp, free pages in order of a number. */
static int compare_key(const struct check *check, const uint8_t *key, size_t size)
{
    if (check->free_tree) {
        uint64_t a = page_u64(key), b = page_u64(check->key);
        return a < b ? -1 : a > b;
    }
    int order = memcmp(key, check->key, size < check->key_size ? size : check->key_size);
    return order ? order : size < check->key_size ? -1 : size > check->key_size;
}

static int next_key(struct check *check, const uint8_t *node, bool separator)
{
    size_t size = page_u16(node + 6);
    const uint8_t *key = node + PAGE_NODE_SIZE;
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
    uint64_t count = page_large_count(size, check->page_size);
    int rc = use_pages(check, page, count);
    if (rc != 0 || !check->values)
        return rc;
    uint8_t header[PAGE_HEADER_SIZE];
    if ((rc = page_read(check->fd, header, sizeof(header), page * check->page_size)) != 0)
        return rc;
    return page_u64(header) == page && page_u16(header + 10) == PAGE_LARGE && page_u32(header + 12) == count
               ? 0
               : MDB_CORRUPTED;
}

/* A list of free pages: how many, then their numbers, descending. None of them is in use, none is free twice. */
static int check_free(struct check *check, const uint8_t *list, size_t size)
{
    if (size < sizeof(uint64_t) || page_u64(list) != size / sizeof(uint64_t) - 1 || size % sizeof(uint64_t))
        return MDB_CORRUPTED;
    for (size_t at = sizeof(uint64_t); at < size; at += sizeof(uint64_t)) {
        if (at > sizeof(uint64_t) && page_u64(list + at) >= page_u64(list + at - sizeof(uint64_t)))
            return MDB_CORRUPTED;
        int rc = use_pages(check, page_u64(list + at), 1);
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
    rc = page_read(check->fd, list, size, page * check->page_size + PAGE_HEADER_SIZE);
    if (rc == 0)
        rc = check_free(check, list, size);
    free(list);
    return rc;
}

static int check_value(struct check *check, const uint8_t *data, const uint8_t *node)
{
    size_t size = page_u32(node), key_size = page_u16(node + 6);
    const uint8_t *value = node + PAGE_NODE_SIZE + key_size;
    size_t room = (size_t)(data + check->page_size - value);
    switch (page_u16(node + 4)) {
    case 0:
        if (size > room)
            return MDB_CORRUPTED;
        return check->free_tree ? check_free(check, value, size) : 0;
    case PAGE_NODE_LARGE:
        if (room < sizeof(uint64_t))
            return MDB_CORRUPTED;
        return check->free_tree ? check_free_large(check, page_u64(value), size)
                                : check_large(check, page_u64(value), size);
    default:
        return MDB_CORRUPTED; /* sub-trees and duplicates: not in files of ours */
    }
}

/* Of a node whose value was found good. */
static int hand_row(const struct check *check, const uint8_t *node)
{
    size_t size = page_u32(node), key_size = page_u16(node + 6);
    const uint8_t *key = node + PAGE_NODE_SIZE, *value = key + key_size;
    if (page_u16(node + 4) != PAGE_NODE_LARGE)
        return check->row(check->row_ctx, key, key_size, value, size);
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes)
        return ENOMEM;
    int rc = page_read(check->fd, bytes, size, page_u64(value) * check->page_size + PAGE_HEADER_SIZE);
    if (rc == 0)
        rc = check->row(check->row_ctx, key, key_size, bytes, size);
    free(bytes);
    return rc;
}

/* ---- trees ---- */

static int check_leaf(struct check *check, const uint8_t *data)
{
    int rc = page_node_count(data) > 0 ? 0 : MDB_CORRUPTED;
    for (unsigned i = 0; rc == 0 && i < page_node_count(data); i++) {
        const uint8_t *node = page_node(data, check->page_size, i);
        if (!node)
            return MDB_CORRUPTED;
        if ((rc = next_key(check, node, false)) == 0)
            rc = check_value(check, data, node);
        if (rc == 0 && check->row && !check->free_tree)
            rc = hand_row(check, node);
    }
    return rc;
}

static int check_page(struct check *check, uint64_t page, unsigned level, unsigned depth);

static int check_branch(struct check *check, uint64_t page, unsigned level, unsigned depth)
{
    const uint8_t *data;
    int rc = fetch(check, level, page, &data);
    unsigned count = rc == 0 ? page_node_count(data) : 0;
    if (rc == 0 && count < 2)
        return MDB_CORRUPTED;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        const uint8_t *node = page_node(data, check->page_size, i);
        if (!node)
            return MDB_CORRUPTED;
        uint64_t child = page_child(node);
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
    if (rc != 0)
        return rc;
    if (!page_good(data, check->page_size, page, leaf ? PAGE_LEAF : PAGE_BRANCH))
        return MDB_CORRUPTED;
    return leaf ? check_leaf(check, data) : check_branch(check, page, level, depth);
}

static int check_tree(struct check *check, const struct page_tree *tree, bool free_tree)
{
    if (tree->root == PAGE_NO_ROOT)
        return tree->depth == 0 ? 0 : MDB_CORRUPTED;
    if (tree->depth == 0 || tree->depth > PAGE_DEPTH_MAX)
        return MDB_CORRUPTED;
    check->free_tree = free_tree;
    check->key_size = 0;
    return check_page(check, tree->root, 0, tree->depth);
}

static int check_file(struct check *check)
{
    struct page_meta meta;
    int rc = page_read_newest(check->fd, check->page_size, &meta);
    if (rc != 0)
        return rc;
    check->pages = meta.pages;
    if (!(check->used = calloc(check->pages / 8 + 1, 1)))
        return ENOMEM;
    if ((rc = check_tree(check, &meta.rows, false)) == 0)
        rc = check_tree(check, &meta.free_pages, true);
    return rc;
}

static int check_path(struct check *check, const char *path)
{
    check->page_size = (size_t)sysconf(_SC_PAGESIZE);
    check->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (check->fd < 0)
        return errno == ENOENT ? 0 : errno;
    off_t size = lseek(check->fd, 0, SEEK_END);
    int rc = size < 0 ? errno : 0;
    if (rc == 0 && size > 0)
        rc = check_file(check);
    for (unsigned i = 0; i < PAGE_DEPTH_MAX; i++)
        free(check->windows[i].data);
    free(check->used);
    close(check->fd);
    return rc;
}

int pages_check(const char *path, bool values)
{
    struct check check = {.values = values};
    return check_path(&check, path);
}

int pages_check_rows(const char *path, pages_row_fn *fn, void *ctx)
{
    struct check check = {.values = true, .row = fn, .row_ctx = ctx};
    return check_path(&check, path);
}
