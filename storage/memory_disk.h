/* memory_disk.h: what the memory twin has instead of files: entries as bytes, rows, an index, and nothing that waits.
 *
 * Thread: one. Owner: the store, or the image between two lives. Memory is a test's: running out of it aborts. */
#ifndef CRIER_STORAGE_MEMORY_DISK_H
#define CRIER_STORAGE_MEMORY_DISK_H

#include "storage/log_starts.h"
#include "storage/store.h"

/* Some encoded entries. */
struct memory_entries {
    struct memory_entry {
        uint8_t *data; /* NULL: nobody wants it any more */
        size_t size;
        uint32_t batches; /* durable, and still found by reads */
    } * list;
    size_t count, capacity;
};

struct memory_row {
    uint8_t *key, *value;
    size_t key_size, value_size;
};

struct memory_rows {
    struct memory_row *list; /* in order of key */
    size_t count, capacity;
};

struct memory_disk {
    uint8_t cluster_id[16];
    uint32_t node_id;
    struct memory_entries entries; /* durable; entry i has index i + 1 */
    struct memory_rows rows;
    uint64_t applied_index;
    bool clean;
    struct memory_partition *partitions; /* the index, in order of partition */
    size_t partition_count, partition_capacity;
};

void memory_disk_finish(struct memory_disk *disk);

void memory_entries_add(struct memory_entries *entries, const struct store_append *append, uint64_t index);
void memory_entries_clear(struct memory_entries *entries);

/* The entries become durable and are found by reads; `entries` is empty afterwards. */
void memory_disk_commit(struct memory_disk *disk, struct memory_entries *entries);

void memory_rows_copy(struct memory_rows *to,
                      const struct store_flush *flush); /* a deletion has value NULL */
void memory_rows_clear(struct memory_rows *rows);
/* Applies changed rows at their cut. */
void memory_disk_flush(struct memory_disk *disk, const struct memory_rows *changes, uint64_t applied_index);

void memory_disk_range(const struct memory_disk *disk, struct store_range *range);

int memory_disk_replay(const struct memory_disk *disk, store_entry_fn *fn, void *ctx);
int memory_disk_read(const struct memory_disk *disk, struct store_read *read, uint64_t *ret_bytes);
void memory_disk_lookup(const struct memory_disk *disk, struct store_lookup *lookup);
/* Forgets the batches below the log starts, as far as the state reaches. */
void memory_disk_clean(struct memory_disk *disk, struct log_starts *starts);

#endif
