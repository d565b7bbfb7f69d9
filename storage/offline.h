/* offline.h: a data folder at rest: verified, repaired, copied, brought back. For `crier verify|backup|restore`.
 *
 * A backup is a data folder itself: its meta.mdb names sealed segments only, so it can be verified, restored and even
 * started like any other. Making it again copies what is new: a segment that is there with the same number, generation and
 * last entry stays. At each moment the backup is a whole one, the old or the new.
 *
 * The folder's lock is taken, so none of this runs beside a broker; a live one is asked over its socket (docs/protocol.md),
 * and offline_backup_from() writes what it answers.
 *
 * Codes as in storage/store.h, with one sentence in `error`. Thread: any, one call at a time for one folder. */
#ifndef CRIER_STORAGE_OFFLINE_H
#define CRIER_STORAGE_OFFLINE_H

#include "storage/store.h"

struct offline_fault {
    const char *file;                 /* its path; borrowed, as is `what` */
    uint64_t segment;                 /* its number; 0: not a segment */
    uint64_t first_index, last_index; /* the entries it touches; 0: none in particular */
    uint64_t partition, offset;       /* the batch it touches; partition 0: not known */
    const char *what;
    bool harmless; /* heals by itself at the next start: only told */
};

struct offline_watch {
    void (*fault)(void *ctx, const struct offline_fault *fault);
    /* May be NULL. So much of all that is to be looked at or copied, now at `file`. */
    void (*progress)(void *ctx, const char *file, uint64_t done_bytes, uint64_t total_bytes);
    /* May be NULL. A command of the log that is good, in its order: names that no state has yet. Borrowed. */
    void (*command)(void *ctx, uint16_t command, const uint8_t *bytes, size_t size);
    void *ctx;
};

struct offline_summary {
    uint64_t segments, entries, bytes; /* looked at, or copied */
    uint64_t kept;                     /* segments that did not have to be copied */
    uint64_t first_index, last_index;  /* of the log */
    uint64_t flushed_index;            /* F of the state */
    uint64_t faults;                   /* not the harmless ones */
    uint64_t mended;                   /* segments made again or brought back */
    uint64_t lost;                     /* entries that a repair had to leave out */
};

/* Everything in the folder against its checksums; changes nothing. 0: done, whatever was found. */
int offline_verify(const char *path, const struct offline_watch *watch, struct offline_summary *ret_summary,
                   char *error, size_t error_size);

/* Makes each damaged segment again from its good entries, as its next generation; what is lost becomes entries without
 * parts, the damaged file is put aside (quarantine-...). watch->fault is told each loss. */
int offline_repair(const char *path, const struct offline_watch *watch, struct offline_summary *ret_summary,
                   char *error, size_t error_size);

/* Calls fn for each state row as of F: what knows the names of topics. */
int offline_rows(const char *path, store_row_fn *fn, void *ctx, char *error, size_t error_size);

/* ---- backup ---- */

struct offline_segment {
    uint64_t number;
    uint32_t generation;
    uint64_t first_index, last_index;
    int64_t first_time_us, last_time_us;
    uint64_t size;       /* of the file */
    uint64_t index_size; /* of its .idx; 0: none, it is made again when it is needed */
};

struct offline_list {
    uint8_t cluster_id[16];
    uint32_t node_id;
    int64_t created_us;
    struct offline_segment *segments; /* in order */
    size_t count;
    uint64_t state_index; /* F of the state that goes with them */
    uint64_t state_size;
};

enum offline_kind { OFFLINE_STATE, OFFLINE_SEGMENT, OFFLINE_INDEX };
struct offline_file {
    enum offline_kind kind;
    uint64_t number; /* of the segment, as its generation; 0 for the state */
    uint32_t generation;
};

/* Where a backup comes from. Reads are whole: size bytes at the position. 0 or a store code. */
struct offline_source {
    int (*read)(void *ctx, const struct offline_file *file, uint64_t position, void *to, size_t size);
    void *ctx;
};

int offline_backup_from(const struct offline_list *list, const struct offline_source *source, const char *to,
                        const struct offline_watch *watch, struct offline_summary *ret_summary, char *error,
                        size_t error_size);
/* From a stopped folder (or another backup). */
int offline_backup(const char *from, const char *to, const struct offline_watch *watch,
                   struct offline_summary *ret_summary, char *error, size_t error_size);

/* Into a folder that is not there or empty: all of the backup. Into a data folder: those of its segments that are missing
 * or damaged, from the backup's copies, which must reach as far; what was there is put aside. */
int offline_restore(const char *backup, const char *to, const struct offline_watch *watch,
                    struct offline_summary *ret_summary, char *error, size_t error_size);

#endif
