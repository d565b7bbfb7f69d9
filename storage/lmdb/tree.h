/* tree.h: a cursor over the rows of an LMDB file that reads by position, never through a map.
 *
 * A sector that cannot be read, or a file that was cut, is then an error code and not a signal; and every page is looked at
 * before it is followed, so that damage leads nowhere. What is walked is one commit: it must not be recycled meanwhile, so
 * either nobody writes the file, or a read transaction of LMDB's holds the commit (env.h sees to it).
 *
 * Codes: 0, MDB_NOTFOUND (no such row), MDB_CORRUPTED, ENOMEM, or the errno of a read.
 * Thread: one at a time. */
#ifndef CRIER_STORAGE_LMDB_TREE_H
#define CRIER_STORAGE_LMDB_TREE_H

#include "storage/lmdb/page.h"

/* Some neighbouring pages of one level: leaves written in order lie in order. */
struct tree_level {
    uint8_t *data;
    uint64_t first, count; /* the pages in data */
    uint64_t page;         /* the one the cursor is in */
    unsigned at;           /* its node */
};

struct tree_cursor {
    int fd;
    bool cold; /* the next block is asked for (page.h) */
    size_t page_size;
    uint64_t pages; /* in use */
    struct page_tree rows;
    struct tree_level levels[PAGE_DEPTH_MAX];
};

/* A row. Pointers are good until the cursor moves or ends. */
struct tree_row {
    const uint8_t *key;
    size_t key_size;
    const uint8_t *value; /* NULL: it has pages of its own */
    size_t size;
    uint64_t position; /* in the file, if it has pages of its own; else 0 */
};

void tree_begin(struct tree_cursor *cursor, int fd, bool cold, size_t page_size,
                const struct page_meta *meta);
void tree_end(struct tree_cursor *cursor); /* frees */

int tree_seek(struct tree_cursor *cursor, const void *key, size_t key_size,
              struct tree_row *ret_row); /* >= */
int tree_first(struct tree_cursor *cursor, struct tree_row *ret_row);
int tree_last(struct tree_cursor *cursor, struct tree_row *ret_row);
/* After one of those above succeeded. */
int tree_next(struct tree_cursor *cursor, struct tree_row *ret_row);

/* The row of a leaf page's node, in a file with so many pages in use. 0 or MDB_CORRUPTED. */
int tree_row_of(const uint8_t *data, size_t page_size, unsigned node, uint64_t pages,
                struct tree_row *ret_row);

#endif
