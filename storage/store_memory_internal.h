/* store_memory_internal.h: the twin's state: for store_memory.c and, for its faults, store_memory_faults.c. */
#ifndef CRIER_STORAGE_STORE_MEMORY_INTERNAL_H
#define CRIER_STORAGE_STORE_MEMORY_INTERNAL_H

#include "base/random.h"
#include "storage/memory_disk.h"
#include "storage/store_memory.h"

enum tag { TAG_APPEND = 1, TAG_READ, TAG_LOOKUP, TAG_RANGE, TAG_FLUSH };

struct list {
    struct queue_node *first, *last;
    unsigned count;
};

/* A read, lookup or range under way. */
struct pending_read {
    struct queue_node *node;
    enum tag tag;
    int64_t due_us;
    bool corrupt;
    bool taken; /* a range: these are its rows, of the moment when it was asked for */
    struct store_row *rows;
    size_t count;
};

struct store_memory {
    struct store base; /* first */
    struct store_memory_options options;
    struct memory_disk disk;
    struct log_starts starts;
    struct random random;
    int64_t now_us;
    bool started, stopping, read_only, full;
    struct list queued;   /* appends, not begun */
    struct list finished; /* for poll() */

    bool committing;
    int64_t commit_due_us;
    bool commit_fails;
    struct list commit;            /* its appends; empty if they were answered early (the planted bug) */
    struct memory_entries written; /* its entries */
    struct memory_entries
        limbo; /* of a failed commit: on the disk or not, nobody knows before the next life */

    struct store_flush *flush; /* NULL: none */
    int64_t flush_due_us;
    bool flush_fails;
    struct memory_rows flush_rows;
    uint64_t flush_index;

    struct pending_read *reads;
    unsigned read_count;

    bool refused_any;
    uint64_t refused_epoch;
    uint64_t fail_commit, fail_flush, fail_read; /* countdowns; 0: none */
    uint64_t slow_count;
    int64_t slow_us;
    uint64_t disk_free;
    struct store_stats stats;
};

static inline struct store_memory *store_memory_self(const struct store *store)
{
    return (struct store_memory *)(uintptr_t)store;
}

#endif
