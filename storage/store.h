/* store.h: the log of one shard, as the broker sees it: append, read, look up, flush state, recover.
 *
 * Two fillings stand behind this table of functions: storage/lmdb/ (segments in LMDB, docs/disk-format.md) and
 * storage/store_memory.c (the twin for the simulator and unit tests: same rules, no disk, seeded faults).
 *
 * Life:    open (takes the folder's lock, checks the files) → load_state → replay → start → append/read/lookup/flush →
 *          stop (finishes what is queued, sets the clean-stop mark) → close.
 * Thread:  all functions here are called by the one owner thread (the reactor) and never wait for a disk once start()
 *          has returned. Work happens on the store's own threads; finished requests come back through poll(),
 *          which calls each request's `done` on the owner thread. completion_fd() is readable when poll() has work.
 * Requests are allocated by the caller, owned by the store from acceptance until `done` runs, and carry their own
 *          queue node, so that neither direction allocates. Slices in a request stay referenced by the caller until done.
 *
 * Codes that have a namesake in proto/error.h share its number; EREFUSED and EREADONLY never leave the broker under
 * these numbers. Storage itself knows no protocol. */
#ifndef CRIER_STORAGE_STORE_H
#define CRIER_STORAGE_STORE_H

#include "base/buffer.h"
#include "base/queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;

enum store_code {
    STORE_OK = 0,
    STORE_EAGAIN = -2, /* queue full: nothing happened, try after the next completion */
    STORE_ENOMEM = -4,
    STORE_ECORRUPT = -10, /* a checksum or format error; named in the log */
    STORE_EFULL = -13,    /* refused: no space; nothing was stored, later attempts may succeed */
    STORE_EIO = -14,   /* outcome unknown: the write began and failed; the shard is read-only until restart */
    STORE_EBUSY = -17, /* another process, or another broker of this one, has the folder */
    STORE_EREFUSED = -15, /* refused: an earlier entry of the same append epoch was refused */
    STORE_EREADONLY = -16 /* refused: the shard is read-only */
};

/* ---- entries and their parts (docs/disk-format.md) ---- */

enum entry_type { ENTRY_NORMAL = 1, ENTRY_CONFIG = 2, ENTRY_NOOP = 3 };
enum part_kind { PART_DATA = 1, PART_COMMAND = 2 };
#define PART_NO_SEQUENCE 0x01 /* written by the broker: skips producer windows */

struct entry_part {
    uint8_t kind;
    uint8_t flags;
    uint16_t command; /* which command; 0 for data */
    uint32_t span;    /* offsets it takes: lastOffsetDelta + 1; 0 for commands */
    uint64_t partition;
    uint64_t base_offset;
    struct slice payload; /* data: the batch, base offset already patched; command: its bytes */
};

/* ---- requests ---- */

struct store_append {
    struct queue_node node; /* the store's */
    void (*done)(struct store_append *append, void *ctx);
    void *ctx;
    uint8_t type;
    uint64_t epoch; /* append epoch; refusal of one entry refuses its epoch's rest */
    uint64_t term;
    int64_t append_time_us; /* shard time */
    struct entry_part *parts;
    uint32_t part_count;
    /* results */
    int status;
    uint64_t index; /* assigned by the writer, contiguous */
};

#define STORE_READ_BATCHES_MAX 64

struct store_batch {
    uint64_t base_offset;
    uint32_t span;
    uint64_t index;
    int64_t append_time_us;
    struct slice batch; /* referenced; whoever takes it out unrefs it */
};

struct store_read {
    struct queue_node node;
    void (*done)(struct store_read *read, void *ctx);
    void *ctx;
    uint64_t partition;
    uint64_t offset; /* the first one wanted; the first batch returned holds it or, over a gap, follows it */
    uint64_t until;  /* exclusive: the high watermark at the request */
    /* NULL, or work on what was read (status 0) that takes too long for the owner's thread: called on the store's, before
     * `done` comes. It touches nothing but the request and what its ctx points to. */
    void (*digest)(struct store_read *read);
    size_t
        bytes_max; /* stops after the batch that passes it: at least one batch is returned if there is one */
    /* NULL: all of them; else only the batches that hold one of these, ascending, the first of which is `offset`. The
     * caller's until done */
    const uint64_t *offsets;
    size_t offset_count;
    /* results: status 0 and count batches in offset order (0: nothing in [offset, until)) */
    int status;
    uint32_t count;
    struct store_batch batches[STORE_READ_BATCHES_MAX];
};

enum store_lookup_kind {
    LOOKUP_TIME, /* the first batch of an entry appended at or after time_us */
    LOOKUP_PREFIX /* how far a prefix reaches that ends at `until` or has bytes_max bytes, whichever comes first */
};

struct store_lookup {
    struct queue_node node;
    void (*done)(struct store_lookup *lookup, void *ctx);
    void *ctx;
    enum store_lookup_kind kind;
    uint64_t partition;
    int64_t time_us;
    uint64_t from, until; /* PREFIX: it begins here; it ends here at the latest */
    uint64_t bytes_max;   /* PREFIX: UINT64_MAX: whatever its size */
    /* results */
    int status;
    bool found; /* TIME: false: everything is older */
    uint64_t offset;
    /* PREFIX: of its batches, those of whole runs: the run an end lies in counts with the prefix that passes it. A prefix
     * that ends for its size ends between two runs (at most 64 KiB of log), so it never has more than was asked for. */
    uint64_t bytes;
    bool more; /* PREFIX: it goes on at `offset`; so much was looked at for now */
};

/* A row of state.mdb: keys and values are the core's; storage only keeps them. */
struct store_row {
    const uint8_t *key; /* 1..STORE_KEY_SIZE_MAX bytes, first byte is the table */
    size_t key_size;
    const uint8_t *value; /* NULL: delete */
    size_t value_size;
};
#define STORE_KEY_SIZE_MAX  500
#define STORE_RANGE_KEY_MAX 32

/* Some rows of a flush, in order: with a key that is there twice the later row counts. */
struct store_rows {
    const struct store_rows *next;
    const struct store_row *rows;
    size_t count;
};

/* Rows of one table, in order of key, from a key on: as they were at some moment between the question and its answer, and a
 * flush may have finished since. */
struct store_range {
    struct queue_node node;
    void (*done)(struct store_range *range, void *ctx);
    void *ctx;
    uint8_t from[STORE_RANGE_KEY_MAX]; /* the first byte is the table: it ends there */
    size_t from_size;
    size_t count_max;
    /* results */
    int status;
    struct store_row *rows; /* one block with all it points to; whoever takes it frees it. NULL: none */
    size_t count;           /* count_max: there may be more */
};

struct store_flush {
    struct queue_node node;
    void (*done)(struct store_flush *flush, void *ctx);
    void *ctx;
    uint64_t applied_index;        /* the cut: the rows are the state at exactly this index */
    const struct store_rows *rows; /* NULL: none; the caller's until done */
    size_t row_count;              /* of all of them */
    int status;                    /* result */
};

/* What is in the files, asked while the store runs: for verifying and backing up. */
enum store_inspection {
    STORE_SCAN, /* the next segment after number `after`: every entry against its checksums, and its row */
    STORE_LIST, /* the same, only its row */
    STORE_SEAL, /* keeps a copy of the state, then lets the log go on in a new segment: what was there is sealed */
    STORE_FILE, /* bytes of a file */
};
enum store_file { STORE_FILE_STATE, STORE_FILE_SEGMENT, STORE_FILE_INDEX };

struct store_segment {
    uint64_t number;
    uint32_t generation;
    bool sealed;
    uint64_t first_index, last_index;
    int64_t first_time_us, last_time_us;
    uint64_t size, index_size; /* of its files; index_size 0: none */
};

struct store_fault {
    uint64_t first_index, last_index;
    uint64_t partition, offset; /* partition 0: not known */
    const char *what;           /* a constant */
};

#define STORE_FAULTS_MAX 16

struct store_inspect {
    struct queue_node node;
    void (*done)(struct store_inspect *inspect, void *ctx);
    void *ctx;
    enum store_inspection what;
    uint64_t after;       /* SCAN, LIST */
    enum store_file file; /* FILE */
    uint64_t number;      /* FILE: of the segment; of the state: its index */
    uint32_t generation;
    uint64_t position;
    size_t size;
    /* results */
    int status; /* STORE_EAGAIN: busy, or the file is gone meanwhile */
    bool found; /* SCAN, LIST: there was such a segment */
    struct store_segment segment;
    uint64_t segments, segments_left; /* in all; after this one */
    uint64_t entries;                 /* SCAN: good ones */
    uint64_t faults;
    struct store_fault fault[STORE_FAULTS_MAX]; /* the first of them */
    uint64_t state_index, state_size;           /* SEAL: the copy */
    struct slice bytes;                         /* FILE: referenced; whoever takes it out unrefs it */
};

struct store_stats {
    uint64_t last_index;    /* last durable */
    uint64_t flushed_index; /* F of state.mdb */
    uint64_t commits, entries, bytes;
    uint64_t segments;
    uint64_t reads, read_bytes;
    uint64_t refused, errors;
    int64_t commit_us_last, commit_us_max;
    bool read_only, full;
    uint64_t disk_free;    /* bytes that the file system of the folder has left, about a second ago */
    uint64_t removed;      /* segments given back whole */
    uint64_t swept;        /* segments written anew without what nobody wants any more */
    uint64_t swept_bytes;  /* of entries, written by that */
    uint64_t indexes_read; /* times that a segment's offset index was read from its file */
    uint64_t weighed; /* times that a segment's whole index was read to see how much of it is still wanted */
    uint64_t state_bytes; /* of the state's file when it was opened */
};

#define STORE_DELETED UINT64_MAX

/* Called during recovery; returns 0 to go on or a negative code to stop (which is then returned). For a row also
 * STORE_NEXT_TABLE: the rest of its table is not wanted. */
#define STORE_NEXT_TABLE 1
typedef int store_row_fn(void *ctx, const struct store_row *row);
struct store_entry {
    uint8_t type;
    uint64_t index, term;
    int64_t append_time_us;
    const struct entry_part *parts; /* payload slices have buffer NULL: borrowed for the call */
    uint32_t part_count;
};
typedef int store_entry_fn(void *ctx, const struct store_entry *entry);

struct store;

struct store_ops {
    /* Calls fn for every state row, then sets *ret_applied_index to F (0 in a new folder). */
    int (*load_state)(struct store *store, store_row_fn *fn, void *ctx, uint64_t *ret_applied_index);
    /* Calls fn for every entry above F, in order. CRCs are checked; a bad one in a committed entry is STORE_ECORRUPT. */
    int (*replay)(struct store *store, store_entry_fn *fn, void *ctx);
    int (*start)(struct store *store);
    int (*append)(struct store *store, struct store_append *append); /* 0 or STORE_EAGAIN */
    int (*read)(struct store *store, struct store_read *read);       /* 0 or STORE_EAGAIN */
    int (*lookup)(struct store *store, struct store_lookup *lookup); /* 0 or STORE_EAGAIN */
    int (*flush)(struct store *store, struct store_flush *flush);    /* one at a time; 0 or STORE_EAGAIN */
    int (*range)(struct store *store, struct store_range *range);    /* a few at a time; 0 or STORE_EAGAIN */
    /* Nothing of the partition below log_start is read any more; STORE_DELETED: nothing at all. Forwards only, and only what
     * is durable: a start replays it or finds it in the state, and says it again (the store keeps no list of its own). Any
     * time after load_state. Space comes back by whole segments, once the state and its copies are beyond them; reads below
     * find what is still there. 0, or STORE_ENOMEM: the space comes back after the next start. */
    int (*trim)(struct store *store, uint64_t partition, uint64_t log_start);
    int (*inspect)(struct store *store,
                   struct store_inspect *inspect);   /* 0 or STORE_EAGAIN; NULL: no files */
    int (*completion_fd)(const struct store *store); /* -1: none (memory twin) */
    unsigned (*poll)(struct store *store,
                     unsigned count_max); /* runs up to so many `done`s; returns how many */
    void (*stats)(struct store *store, struct store_stats *ret_stats); /* a copy, consistent enough to show */
    /* Finishes everything accepted (their `done`s run inside), writes the clean-stop mark unless there was an I/O
     * error, joins the threads. */
    void (*stop)(struct store *store);
    void (*close)(struct store *store); /* frees; also right after open. Accepts a store that never started */
};

struct store {
    const struct store_ops *ops;
    uint8_t cluster_id[16]; /* made when the folder was created */
    uint32_t node_id;
    int64_t created_us;
};

struct store_options {
    const char *path; /* the data folder; created if missing */
    uint64_t
        segment_size; /* map size of a segment in bytes; default 256 MiB, at least 4 frames (64 MiB); tests go lower */
    size_t
        commit_bytes_max; /* gathered into one transaction; default 2 MiB: what stays in the caches (docs/decisions) */
    unsigned reader_threads;   /* default 1 */
    unsigned append_queue_max; /* entries; default 256 */
    int64_t
        sweep_settle_us; /* a segment that is mostly dead is swept when it has been so unchanged for so long: what
                                * goes on dying is soon removed whole; default 2 s */
    int64_t clean_delay_us; /* no segment is removed or swept so long after a start; default 2 s */
    bool create;            /* false: a missing folder is an error */
    struct log *log;        /* borrowed; NULL: silent */
};

static inline struct store_options store_options_default(void)
{
    return (struct store_options){.segment_size = 256u << 20,
                                  .commit_bytes_max = 2u << 20,
                                  .reader_threads = 1,
                                  .append_queue_max = 256,
                                  .sweep_settle_us = 2000000,
                                  .clean_delay_us = 2000000,
                                  .create = true};
}

/* Makes the folder, durably, unless it is there; what stands above it must be. 0 or STORE_EIO with a sentence. */
int store_lmdb_make_folder(const char *path, char *error, size_t error_size);
/* Opens the folder. 0, or a code with one clear sentence in error (in use, other version, unreadable, damaged);
 * nothing is touched then. */
int store_lmdb_open(const struct store_options *options, struct store **ret_store, char *error,
                    size_t error_size);

#endif
