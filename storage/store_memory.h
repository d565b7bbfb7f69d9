/* store_memory.h: the store's twin without a disk: deterministic, single-threaded, in virtual time, with faults.
 *
 * It keeps the rules of store.h (group commit, contiguous indexes, append epochs, read-only after an I/O error,
 * exact flush cuts, recovery by replay) and lets the simulator decide when things happen and what breaks:
 *
 *   store_memory_open(&options, &store);
 *   store_replay..., store_start..., then in a loop:
 *       store->ops->append(...);                         work gets a due time drawn from the seed
 *       store_memory_advance(store, store_memory_next_due(store));
 *       store->ops->poll(store, UINT_MAX);               `done`s run here and only here
 *   image = store_memory_crash(store);                   power gone: what a disk would still have
 *   store_memory_reopen(&options, image, &store);        a new life on that disk
 *
 * What survives a crash: every finished commit and flush. A commit or flush in flight survives as a whole or not at
 * all, as the seed decides; so does a commit that failed with an I/O error (its outcome is unknown, as it says).
 * Requests the store still held are forgotten: their `done` never runs, and they are the caller's again.
 *
 * Thread: one. Same options, same calls: same results, bit for bit. */
#ifndef CRIER_STORAGE_STORE_MEMORY_H
#define CRIER_STORAGE_STORE_MEMORY_H

#include "storage/store.h"

struct store_memory_image; /* a disk with nothing running on it */

/* How long something takes, in virtual microseconds: min..max, drawn from the seed. */
struct store_memory_delay {
    int64_t us_min, us_max;
};

struct store_memory_options {
    uint64_t seed;
    struct store_memory_delay commit; /* default 100..2,000 */
    struct store_memory_delay read;   /* default 10..500; reads overtake each other */
    struct store_memory_delay flush;  /* default 200..5,000 */
    size_t commit_bytes_max;          /* default 2 MiB */
    unsigned append_queue_max;        /* default 256 entries */
    unsigned read_queue_max;          /* default 256 reads and lookups */
    bool complete_before_durable; /* a planted bug: appends are answered when their commit begins. A simulator
                                         that does not find it finds nothing */
};

static inline struct store_memory_options store_memory_options_default(uint64_t seed)
{
    return (struct store_memory_options){.seed = seed,
                                         .commit = {100, 2000},
                                         .read = {10, 500},
                                         .flush = {200, 5000},
                                         .commit_bytes_max = 2u << 20,
                                         .append_queue_max = 256,
                                         .read_queue_max = 256};
}

/* An empty store; cluster and node id come from the seed. 0 or STORE_ENOMEM. */
int store_memory_open(const struct store_memory_options *options, struct store **ret_store);
/* A new life on an image, which is taken in either case. 0 or STORE_ENOMEM. */
int store_memory_reopen(const struct store_memory_options *options, struct store_memory_image *image,
                        struct store **ret_store);

/* Runs everything due up to now_us; time never goes back (an earlier now_us does nothing). */
void store_memory_advance(struct store *store, int64_t now_us);
/* When the next piece of work is due; INT64_MAX: none. Finished requests waiting for poll() are not work. */
int64_t store_memory_next_due(const struct store *store);

/* Ends the store, at once and in any state (also after stop(), for a clean image). Takes the store; returns the
 * image. */
struct store_memory_image *store_memory_crash(struct store *store);
void store_memory_image_destroy(struct store_memory_image *image); /* accepts NULL */

/* ---- faults: set at any time, gone with the store's life ---- */

/* While full, commits refuse: the first entry STORE_EFULL, the rest of its append epoch STORE_EREFUSED. */
void store_memory_fault_full(struct store *store, bool full);
/* What store_stats says is left of the disk; at first UINT64_MAX. */
void store_memory_fault_disk_free(struct store *store, uint64_t bytes);
/* The nth commit to begin from now on (1: the next) fails with STORE_EIO; 0: none. Read-only from there. */
void store_memory_fault_commit(struct store *store, uint64_t nth);
/* The nth flush from now on fails with STORE_EIO; 0: none. Read-only from there. */
void store_memory_fault_flush(struct store *store, uint64_t nth);
/* The next `count` commits take us_extra longer: a disk that stalls. */
void store_memory_fault_slow(struct store *store, uint64_t count, int64_t us_extra);
/* The nth read from now on finds a bad checksum and fails with STORE_ECORRUPT; 0: none. */
void store_memory_fault_read(struct store *store, uint64_t nth);

#endif
