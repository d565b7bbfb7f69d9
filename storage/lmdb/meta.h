/* meta.h: meta.mdb: who the folder is, the manifest of its segments, the clean-stop mark.
 *
 * Every change is one synced transaction, so the manifest moves from one true state to the next.
 *
 * Thread: the owner while opening, then the background thread alone. */
#ifndef CRIER_STORAGE_LMDB_META_H
#define CRIER_STORAGE_LMDB_META_H

#include "storage/lmdb/env.h"
#include "storage/lmdb/folder.h"

#define META_FORMAT_VERSION 1
#define META_SHARD          0

enum segment_state {
    SEGMENT_GONE = 0, /* no row; in a change: remove it */
    SEGMENT_NEW = 1,
    SEGMENT_ACTIVE = 2,
    SEGMENT_SEALED = 3,
    SEGMENT_DEAD = 4
};

struct segment_row {
    uint64_t number;
    uint32_t generation;
    enum segment_state state;
    uint64_t first_index, last_index; /* SEALED only */
    int64_t first_time_us, last_time_us;
};

struct meta {
    struct env *env;
    uint8_t cluster_id[16];
    uint32_t node_id;
    int64_t created_us;
};

struct meta_manifest {
    struct segment_row *rows; /* in order of number; freed by meta_manifest_finish */
    size_t count;
    bool clean; /* the mark is there */
    uint64_t clean_last_index;
};

enum meta_mark { META_MARK_KEEP, META_MARK_SET, META_MARK_CLEAR };

struct meta_change {
    const struct segment_row *rows;
    size_t count;
    enum meta_mark mark;
    uint64_t last_index; /* with META_MARK_SET */
};

/* Opens DATA/meta.mdb, synced before it is believed, making it first in a folder without one.
 * 0, or a store code with a sentence in error. */
int meta_open(struct meta *meta, const struct folder *folder, char *error, size_t error_size);
void meta_close(struct meta *meta);
/* Makes DATA/meta.mdb, in the place of one that may be there, in one step: who `like` is (its created_us too), and these
 * rows. 0 or an LMDB code. */
int meta_replace(const struct folder *folder, const struct meta *like, const struct segment_row *rows,
                 size_t count);
/* 0 or a store code with a sentence in error. */
int meta_load(const struct meta *meta, struct meta_manifest *ret_manifest, char *error, size_t error_size);
void meta_manifest_finish(struct meta_manifest *manifest);
/* Durable on return. 0 or an LMDB code (see env_code). */
int meta_commit(struct meta *meta, const struct meta_change *change);

#endif
