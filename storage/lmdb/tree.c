/* tree.c: a cursor over the rows of an LMDB file, by pread; see tree.h.
 *
 * Happy path:  descend from the root, a page a level → the node → its key and value, checked against the page
 * Failures:    a page that is not what its parent says, a node outside its page, a value outside the file: MDB_CORRUPTED. */
#include "storage/lmdb/tree.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>

#define WINDOW_PAGES 16 /* read at once while leaves follow each other in the file */

void tree_begin(struct tree_cursor *cursor, int fd, bool cold, size_t page_size, const struct page_meta *meta)
{
    *cursor = (struct tree_cursor){
        .fd = fd, .cold = cold, .page_size = page_size, .pages = meta->pages, .rows = meta->rows};
}

void tree_end(struct tree_cursor *cursor)
{
    for (unsigned i = 0; i < PAGE_DEPTH_MAX; i++)
        free(cursor->levels[i].data);
    *cursor = (struct tree_cursor){.fd = -1};
}

static const uint8_t *page_of(const struct tree_cursor *cursor, unsigned depth)
{
    const struct tree_level *level = &cursor->levels[depth];
    return level->data + (level->page - level->first) * cursor->page_size;
}

/* Brings the page into the level's window; a step to the next page of the file brings some more behind it. */
static int fetch(struct tree_cursor *cursor, unsigned depth, uint64_t page)
{
    struct tree_level *level = &cursor->levels[depth];
    if (page < 2 || page >= cursor->pages)
        return MDB_CORRUPTED;
    if (!level->data && !(level->data = malloc(WINDOW_PAGES * cursor->page_size)))
        return ENOMEM;
    if (page < level->first || page >= level->first + level->count) {
        uint64_t count = level->count > 0 && page == level->first + level->count ? WINDOW_PAGES : 1;
        if (count > cursor->pages - page)
            count = cursor->pages - page;
        level->count = 0;
        if (cursor->cold)
            page_fetch_block(cursor->fd, page * cursor->page_size, (page + count) * cursor->page_size);
        int rc = page_read(cursor->fd, level->data, count * cursor->page_size, page * cursor->page_size);
        if (rc != 0)
            return rc;
        level->first = page;
        level->count = count;
    }
    level->page = page;
    bool leaf = depth + 1u == cursor->rows.depth;
    const uint8_t *data = page_of(cursor, depth);
    bool good = page_good(data, cursor->page_size, page, leaf ? PAGE_LEAF : PAGE_BRANCH) &&
                page_node_count(data) >= (leaf ? 1u : 2u);
    return good ? 0 : MDB_CORRUPTED;
}

static int child_at(const struct tree_cursor *cursor, unsigned depth, uint64_t *ret_child)
{
    const uint8_t *node = page_node(page_of(cursor, depth), cursor->page_size, cursor->levels[depth].at);
    if (!node)
        return MDB_CORRUPTED;
    *ret_child = page_child(node);
    return 0;
}

int tree_row_of(const uint8_t *data, size_t page_size, unsigned number, uint64_t pages,
                struct tree_row *ret_row)
{
    const uint8_t *node = page_node(data, page_size, number);
    if (!node || page_u16(node + 6) == 0)
        return MDB_CORRUPTED;
    struct tree_row row = {
        .key = node + PAGE_NODE_SIZE, .key_size = page_u16(node + 6), .size = page_u32(node)};
    const uint8_t *value = row.key + row.key_size;
    size_t room = (size_t)(data + page_size - value);
    switch (page_u16(node + 4)) {
    case 0:
        if (row.size > room)
            return MDB_CORRUPTED;
        row.value = value;
        break;
    case PAGE_NODE_LARGE: {
        uint64_t first = room >= sizeof(uint64_t) ? page_u64(value) : 0;
        uint64_t count = page_large_count(row.size, page_size);
        if (first < 2 || first >= pages || count > pages - first)
            return MDB_CORRUPTED;
        row.position = first * page_size + PAGE_HEADER_SIZE;
        break;
    }
    default:
        return MDB_CORRUPTED; /* sub-trees and duplicates: not in files of ours */
    }
    *ret_row = row;
    return 0;
}

static int row_at(const struct tree_cursor *cursor, struct tree_row *ret_row)
{
    unsigned leaf = cursor->rows.depth - 1u;
    return tree_row_of(page_of(cursor, leaf), cursor->page_size, cursor->levels[leaf].at, cursor->pages,
                       ret_row);
}

/* Down from a level whose `at` is set, along the first nodes or (last) the last ones. */
static int descend(struct tree_cursor *cursor, unsigned depth, bool last)
{
    for (; depth + 1u < cursor->rows.depth; depth++) {
        uint64_t child;
        int rc = child_at(cursor, depth, &child);
        if (rc == 0)
            rc = fetch(cursor, depth + 1, child);
        if (rc != 0)
            return rc;
        cursor->levels[depth + 1].at = last ? page_node_count(page_of(cursor, depth + 1)) - 1 : 0;
    }
    return 0;
}

static int fetch_root(struct tree_cursor *cursor)
{
    if (cursor->rows.root == PAGE_NO_ROOT)
        return cursor->rows.depth == 0 ? MDB_NOTFOUND : MDB_CORRUPTED;
    if (cursor->rows.depth == 0 || cursor->rows.depth > PAGE_DEPTH_MAX)
        return MDB_CORRUPTED;
    return fetch(cursor, 0, cursor->rows.root);
}

static int go_to_end(struct tree_cursor *cursor, bool last, struct tree_row *ret_row)
{
    int rc = fetch_root(cursor);
    if (rc != 0)
        return rc;
    cursor->levels[0].at = last ? page_node_count(page_of(cursor, 0)) - 1 : 0;
    if ((rc = descend(cursor, 0, last)) != 0)
        return rc;
    return row_at(cursor, ret_row);
}

int tree_first(struct tree_cursor *cursor, struct tree_row *ret_row)
{
    return go_to_end(cursor, false, ret_row);
}

int tree_last(struct tree_cursor *cursor, struct tree_row *ret_row)
{
    return go_to_end(cursor, true, ret_row);
}

int tree_next(struct tree_cursor *cursor, struct tree_row *ret_row)
{
    unsigned depth = cursor->rows.depth - 1u;
    while (cursor->levels[depth].at + 1 >= page_node_count(page_of(cursor, depth))) {
        if (depth == 0)
            return MDB_NOTFOUND;
        depth--;
    }
    cursor->levels[depth].at++;
    int rc = descend(cursor, depth, false);
    return rc != 0 ? rc : row_at(cursor, ret_row);
}

/* ---- search ---- */

static int compare(const uint8_t *node, const void *key, size_t key_size)
{
    size_t size = page_u16(node + 6);
    int order = memcmp(node + PAGE_NODE_SIZE, key, size < key_size ? size : key_size);
    return order ? order : size < key_size ? -1 : size > key_size;
}

/* In a leaf the first node whose key is not below the one sought, perhaps beyond the last; in a branch, where the first
 * node's key counts as below everything, the last one whose key is not above it. */
static int search(const struct tree_cursor *cursor, unsigned depth, const void *key, size_t key_size,
                  unsigned *ret_at)
{
    const uint8_t *data = page_of(cursor, depth);
    bool leaf = depth + 1u == cursor->rows.depth;
    unsigned low = leaf ? 0 : 1, high = page_node_count(data);
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const uint8_t *node = page_node(data, cursor->page_size, middle);
        if (!node)
            return MDB_CORRUPTED;
        int order = compare(node, key, key_size);
        if (leaf ? order >= 0 : order > 0)
            high = middle;
        else
            low = middle + 1;
    }
    *ret_at = leaf ? low : low - 1;
    return 0;
}

int tree_seek(struct tree_cursor *cursor, const void *key, size_t key_size, struct tree_row *ret_row)
{
    int rc = fetch_root(cursor);
    for (unsigned depth = 0; rc == 0; depth++) {
        if ((rc = search(cursor, depth, key, key_size, &cursor->levels[depth].at)) != 0)
            break;
        if (depth + 1u == cursor->rows.depth) {
            if (cursor->levels[depth].at < page_node_count(page_of(cursor, depth)))
                return row_at(cursor, ret_row);
            return tree_next(cursor, ret_row); /* it is in the next leaf, or nowhere */
        }
        uint64_t child;
        if ((rc = child_at(cursor, depth, &child)) == 0)
            rc = fetch(cursor, depth + 1, child);
    }
    return rc;
}
