/* index.h: the offset index of one segment: which entries hold a partition's offsets.
 *
 * A partition's batches are grouped into *runs*: a run begins with a batch, and takes the partition's later batches
 * until the log has grown by INDEX_RUN_BYTES. So the index is small however small the events are, an offset is found by
 * one search among runs and then by walking at most that much log, and a busy partition's runs follow each other.
 *
 *   log      [P Q P P Q | P Q Q P Q | ...          runs of P:  (entries 1..4) (entries 6..9) ...
 *             ^ 64 KiB   ^                          runs of Q:  (entries 2..5) (entries 7..10) ...
 *
 * The index also knows each living partition's next offset at the segment's start, so that a search over segments
 * needs no entries.
 *
 * Thread:  the writer adds, readers look up, the background thread saves: every function takes the index's own
 *          mutex, which is never held across I/O.
 * Owner:   reference-counted; a segment, its readers and the writer hold references. */
#ifndef CRIER_STORAGE_LMDB_INDEX_H
#define CRIER_STORAGE_LMDB_INDEX_H

#include "storage/store.h"

#define INDEX_RUN_BYTES (64u << 10)

struct index;

struct index_run {
    uint64_t partition;
    uint64_t base_offset; /* of the first batch */
    uint64_t next_offset; /* after the last batch */
    uint64_t first_index, last_index;
    uint64_t bytes; /* of the partition's batches */
};

typedef int index_run_fn(void *ctx, const struct index_run *run);

/* NULL: out of memory. One reference. */
struct index *index_create(void);
/* An index for the segment that follows: every partition starts there where it ends here. */
struct index *index_create_after(struct index *before);
struct index *index_ref(struct index *index);
void index_unref(struct index *index); /* accepts NULL */

/* An entry is indexed in two steps, so that memory can run out only before it is durable: reserve for its parts
 * (0 or STORE_ENOMEM), then add or cancel each reserved entry exactly once. */
int index_reserve(struct index *index, const struct entry_part *parts, uint32_t count);
void index_add(struct index *index, const struct entry_part *parts, uint32_t count, uint64_t entry_index,
               size_t entry_size);
void index_cancel(struct index *index, const struct entry_part *parts, uint32_t count);

/* The partition's next offset at the segment's start and at its end so far; 0: it did not exist. */
uint64_t index_start_offset(struct index *index, uint64_t partition);
uint64_t index_next_offset(struct index *index, uint64_t partition);
/* Does the offset lie between those two? */
bool index_holds(struct index *index, uint64_t partition, uint64_t offset);
/* Up to count_max runs, in order, from the one that holds offset (over a gap: the one after it) on. Returns how many. */
unsigned index_find(struct index *index, uint64_t partition, uint64_t offset, struct index_run *runs,
                    unsigned count_max);
/* The partition's first run that ends at or after the entry. */
bool index_find_entry(struct index *index, uint64_t partition, uint64_t entry_index,
                      struct index_run *ret_run);

/* Calls fn for every run; stops at the first negative result and returns it. fn must not use this index. */
int index_each_run(struct index *index, index_run_fn *fn, void *ctx);

size_t index_memory(struct index *index); /* bytes, about */

/* ---- for index_file.c ---- */

/* Sets the next offset at the start; before anything is added. 0 or STORE_ENOMEM. */
int index_set_start(struct index *index, uint64_t partition, uint64_t next_offset);
/* Takes a run from the file: replaces the last one if it began at the same offset. 0 or STORE_ENOMEM. */
int index_set_run(struct index *index, const struct index_run *run);

typedef int index_start_fn(void *ctx, uint64_t partition, uint64_t next_offset);
size_t index_start_count(struct index *index);
/* Calls fn for each partition known at the start; stops at the first negative result and returns it. */
int index_each_start(struct index *index, index_start_fn *fn, void *ctx);
/* The same for the runs that changed since the last call; forgets them unless fn fails. *ret_covers: with these runs,
 * everything up to this entry has been handed out. */
int index_each_change(struct index *index, index_run_fn *fn, void *ctx, uint64_t *ret_covers);
uint64_t index_covers(struct index *index);
void index_set_covers(struct index *index, uint64_t entry_index);
void index_change_all(struct index *index); /* all of it again: the file begins anew */

#endif
