/* scan.c: everything that is in a segment's file, also behind damage; see scan.h.
 *
 * Happy path:  meta page → root → branches and leaves in order → each entry's bytes → checksums → `entry`
 * Failures:    are what it is for: told, and stepped over. */
#include "storage/lmdb/scan.h"

#include "base/bytes.h"
#include "storage/lmdb/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <unistd.h>

struct walk {
    struct scan *scan;
    int fd;
    size_t page_size;
    struct page_meta meta;
    uint8_t *pages[PAGE_DEPTH_MAX];
    uint8_t *value;
    size_t value_size;
    uint64_t next; /* the next entry expected */
};

/* ---- faults ---- */

static void fault(struct walk *walk, const struct scan_fault *fault)
{
    walk->scan->faults++;
    walk->scan->fault(walk->scan->ctx, fault);
}

/* Everything in first..last that was not seen yet. */
static void fault_range(struct walk *walk, uint64_t first, uint64_t last, const char *what)
{
    if (first < walk->next)
        first = walk->next;
    if (last > walk->scan->last_index)
        last = walk->scan->last_index;
    if (first > last)
        return;
    fault(walk, &(struct scan_fault){.first_index = first, .last_index = last, .what = what});
    walk->next = last == UINT64_MAX ? last : last + 1;
}

static const char *text_of(int rc)
{
    return rc == MDB_CORRUPTED ? "the file ends before it" : mdb_strerror(rc);
}

/* ---- entries ---- */

/* NULL: it is good; else what is not, and of which batch. */
static const char *entry_fault(const uint8_t *data, size_t size, uint64_t index,
                               struct entry_header *ret_header, struct scan_fault *ret_fault)
{
    if (entry_header_decode(data, size, ret_header) < 0)
        return "the entry's header";
    if (ret_header->length != size || ret_header->index != index)
        return "the entry's length or index";
    size_t at = ENTRY_HEADER_SIZE;
    for (uint32_t i = 0; i < ret_header->part_count; i++) {
        struct entry_part part;
        int64_t used = entry_part_decode(data + at, size - at, &part);
        if (used < 0)
            return "the envelope of a part";
        ret_fault->partition = part.partition;
        ret_fault->offset = part.base_offset;
        if (entry_payload_check(&part) < 0)
            return "the checksum of a batch";
        ret_fault->partition = 0;
        at += (size_t)used;
    }
    return at == size ? NULL : "the entry's length";
}

static int value_read(struct walk *walk, const struct tree_row *row, const uint8_t **ret_data)
{
    if (row->value) {
        *ret_data = row->value;
        return 0;
    }
    if (row->size > walk->value_size) {
        uint8_t *value = realloc(walk->value, row->size);
        if (!value)
            return ENOMEM;
        walk->value = value;
        walk->value_size = row->size;
    }
    *ret_data = walk->value;
    return page_read(walk->fd, walk->value, row->size, row->position);
}

static int good_entry(struct walk *walk, const struct entry_header *header, const uint8_t *data)
{
    struct scan *scan = walk->scan;
    scan->entries++;
    if (!scan->found_first) {
        scan->found_first = header->index;
        scan->first_time_us = header->append_time_us;
    }
    scan->found_last = header->index;
    scan->last_time_us = header->append_time_us;
    return scan->entry ? scan->entry(scan->ctx, header, data) : 0;
}

static int scan_entry(struct walk *walk, uint64_t index, const struct tree_row *row)
{
    struct scan *scan = walk->scan;
    const uint8_t *data = NULL;
    struct entry_header header;
    struct scan_fault bad = {.first_index = index, .last_index = index};
    int rc = row->size > ENTRY_SIZE_MAX ? 0 : value_read(walk, row, &data);
    if (rc == ENOMEM)
        return STORE_ENOMEM;
    walk->next = index + 1;
    scan->seen_last = index;
    scan->bytes += row->size;
    if (scan->progress)
        scan->progress(scan->ctx, row->size);
    bad.what = rc != 0 ? text_of(rc)
               : !data ? "the entry's length"
                       : entry_fault(data, row->size, index, &header, &bad);
    if (!bad.what)
        return good_entry(walk, &header, data);
    fault(walk, &bad);
    return 0;
}

void scan_value(struct scan *scan, uint64_t index, const uint8_t *data, size_t size)
{
    struct entry_header header;
    struct walk walk = {.scan = scan};
    struct scan_fault bad = {.first_index = index, .last_index = index};
    scan->seen_last = index;
    scan->bytes += size;
    bad.what = data ? entry_fault(data, size, index, &header, &bad) : "the entry cannot be read";
    if (bad.what)
        fault(&walk, &bad);
    else
        (void)good_entry(&walk, &header, data);
}

/* ---- pages ---- */

static int page_load(struct walk *walk, unsigned depth, uint64_t page, const char **ret_what)
{
    if (!walk->pages[depth] && !(walk->pages[depth] = malloc(walk->page_size)))
        return STORE_ENOMEM;
    bool leaf = depth + 1u == walk->meta.rows.depth;
    int rc = page < 2 || page >= walk->meta.pages
                 ? MDB_CORRUPTED
                 : page_read(walk->fd, walk->pages[depth], walk->page_size, page * walk->page_size);
    if (rc != 0)
        *ret_what = text_of(rc);
    else if (!page_good(walk->pages[depth], walk->page_size, page, leaf ? PAGE_LEAF : PAGE_BRANCH))
        *ret_what = "a page of the tree";
    else
        *ret_what = NULL;
    return 0;
}

static int scan_leaf(struct walk *walk, unsigned depth, uint64_t last)
{
    const uint8_t *data = walk->pages[depth];
    for (unsigned i = 0; i < page_node_count(data); i++) {
        struct tree_row row;
        if (tree_row_of(data, walk->page_size, i, walk->meta.pages, &row) != 0 || row.key_size != 8) {
            if (i + 1 == page_node_count(data))
                fault_range(walk, walk->next, last, "a node of the tree");
            continue; /* the next good one tells how many are missing */
        }
        uint64_t index = be64_get(row.key);
        if (index > walk->scan->last_index)
            return 0;
        if (index < walk->next || index > last)
            continue; /* a damaged key: what it stood for is found missing */
        if (walk->scan->contiguous && walk->next > 0 && index > walk->next)
            fault_range(walk, walk->next, index - 1, "missing");
        int rc = scan_entry(walk, index, &row);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int scan_page(struct walk *walk, unsigned depth, uint64_t page, uint64_t first, uint64_t last);

/* The key in front of a child is at most the first index below it. */
static bool separator(const struct walk *walk, unsigned depth, unsigned at, uint64_t *ret_index)
{
    const uint8_t *node = page_node(walk->pages[depth], walk->page_size, at);
    if (!node || page_u16(node + 6) != 8)
        return false;
    *ret_index = be64_get(node + PAGE_NODE_SIZE);
    return true;
}

static int scan_branch(struct walk *walk, unsigned depth, uint64_t first, uint64_t last)
{
    unsigned count = page_node_count(walk->pages[depth]);
    for (unsigned i = 0; i < count; i++) {
        uint64_t end = last, next;
        const uint8_t *node = page_node(walk->pages[depth], walk->page_size, i);
        if (i > 0 && !separator(walk, depth, i, &first))
            continue;
        if (i + 1 < count && separator(walk, depth, i + 1, &next) && next > first && next - 1 <= last)
            end = next - 1;
        int rc = node ? scan_page(walk, depth + 1, page_child(node), first, end) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int scan_page(struct walk *walk, unsigned depth, uint64_t page, uint64_t first, uint64_t last)
{
    const char *what;
    int rc = page_load(walk, depth, page, &what);
    if (rc < 0)
        return rc;
    if (what) {
        fault_range(walk, first, last, what);
        return 0;
    }
    return depth + 1u == walk->meta.rows.depth ? scan_leaf(walk, depth, last)
                                               : scan_branch(walk, depth, first, last);
}

static int scan_tree(struct walk *walk)
{
    const struct page_tree *rows = &walk->meta.rows;
    if (rows->root == PAGE_NO_ROOT && rows->depth == 0)
        return 0;
    if (rows->depth == 0 || rows->depth > PAGE_DEPTH_MAX) {
        fault_range(walk, 0, UINT64_MAX, "the root of the tree");
        return 0;
    }
    return scan_page(walk, 0, rows->root, walk->next, UINT64_MAX);
}

int scan_file(struct scan *scan, const char *path)
{
    struct walk walk = {.scan = scan, .page_size = (size_t)sysconf(_SC_PAGESIZE), .next = scan->first_index};
    struct page_meta metas[2];
    walk.fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = walk.fd < 0 ? errno : page_read_metas(walk.fd, walk.page_size, metas), code = 0;
    if (rc == 0) /* a file that was cut still has its beginning */
        walk.meta = metas[metas[0].txn < metas[1].txn];
    if (rc != 0)
        fault_range(&walk, walk.next, UINT64_MAX, mdb_strerror(rc));
    else
        code = scan_tree(&walk);
    if (code == 0 && scan->contiguous && scan->last_index != UINT64_MAX && walk.next > 0)
        fault_range(&walk, walk.next, scan->last_index, "missing");
    for (unsigned i = 0; i < PAGE_DEPTH_MAX; i++)
        free(walk.pages[i]);
    free(walk.value);
    if (walk.fd >= 0)
        close(walk.fd);
    return code;
}
