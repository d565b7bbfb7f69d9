/* segment.h: the segments of a shard in order, and their environments and indexes, opened when they are needed.
 *
 *   [ sealed ][ sealed ][ sealed ][ active ]        ascending numbers, ascending indexes, none overlapping
 *                                     ^ the writer's; its index is in memory
 *
 * A sealed segment costs a row here until somebody reads it. Its environment and its index are then opened and kept
 * while they are among the recently used; a reader holds references, so nothing it uses is closed under it.
 *
 * Thread:  any. `lock` guards the list and the rows' fields, for a few instructions at a time; `open_lock` is held
 *          while something is opened or an index is rebuilt, so it is taken by readers and the background thread, never
 *          by the owner or the writer once the store runs. `shape` is for who walks the list by position: held shared
 *          from the first segments_at() to the last use of what it gave, it keeps sealed segments from being removed or
 *          replaced meanwhile (only the background thread does that, so that one needs no hold of its own).
 * Owner:   segments live until they are removed or replaced, or until segments_finish(). */
#ifndef CRIER_STORAGE_LMDB_SEGMENT_H
#define CRIER_STORAGE_LMDB_SEGMENT_H

#include "storage/lmdb/env.h"
#include "storage/lmdb/folder.h"
#include "storage/lmdb/health.h"
#include "storage/lmdb/index.h"
#include "storage/lmdb/index_file.h"
#include "storage/lmdb/meta.h"
#include "storage/lmdb/worth.h"

#include <pthread.h>

#define SEGMENTS_OPEN_MAX 8 /* sealed ones with an open environment: each a descriptor and a map */
#define SEGMENTS_INDEX_SIZE                                                                                  \
    (16u                                                                                                     \
     << 20) /* bytes of loaded indexes of sealed ones, together; one has 3 MB at most if few partitions are busy */
#define SEGMENTS_INDEXES_KEPT                                                                                \
    4 /* but so many in any case: with 100,000 partitions one has 16 MB, and what is in turn lies in a few */

struct segment {
    uint64_t number;
    uint32_t generation;
    struct segment *seal_next; /* background.c */
    struct index_file file;    /* background.c; at a start and for rebuilding, whoever loads */
    /* Guarded by the list's lock. */
    bool sealed;
    uint64_t first_index, last_index; /* 0: no entries yet */
    int64_t first_time_us, last_time_us;
    struct env *env;     /* NULL: not open */
    struct index *index; /* NULL: not loaded */
    uint64_t used_at;    /* tick of the last use */
    /* cleaner.c */
    uint64_t judged; /* the version of the log starts it was last looked at with */
    bool keep;       /* it could not be swept in this life: not tried again */
    struct worth worth;
    int64_t moved_us; /* when some of it was last seen to die */
    int64_t half_us;  /* since when less than half of it is wanted; 0: it is more */
};

struct segments {
    pthread_mutex_t lock, open_lock;
    pthread_rwlock_t shape;
    const struct folder *folder;
    struct health *health;
    uint64_t map_size;
    size_t index_size;     /* SEGMENTS_INDEX_SIZE, but in tests */
    struct segment **rows; /* in order */
    size_t count, capacity;
    uint64_t tick;
};

int segments_init(struct segments *segments, const struct folder *folder, struct health *health,
                  uint64_t map_size);
void segments_finish(struct segments *segments);

/* A segment that is in no list yet. NULL: out of memory. */
struct segment *segment_create(uint64_t number, uint32_t generation);
void segment_destroy(struct segment *segment); /* accepts NULL */
struct segment_row segment_row(const struct segment *segment,
                               enum segment_state state); /* its manifest row */

/* Appends; takes the segment. Room is made by segments_reserve, so that the writer's roll cannot fail. */
int segments_reserve(struct segments *segments); /* room for one more: 0 or STORE_ENOMEM */
void segments_push(struct segments *segments, struct segment *segment);

/* How many, and the one at a position (in order). */
size_t segments_count(struct segments *segments);
struct segment *segments_at(struct segments *segments, size_t position);
/* The position of the segment that holds the entry or, over a gap, the next one; count if none. */
size_t segments_position_of(struct segments *segments, uint64_t index);

void segments_hold(struct segments *segments); /* shape, shared */
void segments_release(struct segments *segments);
/* Takes a sealed segment out of the list and frees it; waits for those who hold the shape. */
void segments_remove(struct segments *segments, struct segment *segment);
/* The same segment in its next generation takes its place; `segment` is freed, `by` taken. */
void segments_replace(struct segments *segments, struct segment *segment, struct segment *by);

/* The writer's commit is durable: the segment reaches to here. */
void segments_extend(struct segments *segments, struct segment *segment, uint64_t first_index,
                     uint64_t last_index, int64_t first_time_us, int64_t last_time_us);
/* The segment is sealed, durably: its writable environment is let go. */
void segments_seal(struct segments *segments, struct segment *segment);

/* What a segment reaches over, at this moment. */
struct segment_range {
    uint64_t first_index, last_index; /* 0: no entries */
    int64_t first_time_us, last_time_us;
};
bool segments_sealed(struct segments *segments, const struct segment *segment);
struct segment_range segments_range(struct segments *segments, const struct segment *segment);

/* Its environment or index with a reference of the caller's, opened or loaded now if need be. 0 or a store code, which
 * has been logged. */
int segments_env(struct segments *segments, struct segment *segment, struct env **ret_env);
int segments_index(struct segments *segments, struct segment *segment, struct index **ret_index);
/* Where the partition's offset is, if the segment's index is in memory. False: of those it is in none. */
bool segments_find_loaded(struct segments *segments, uint64_t partition, uint64_t offset,
                          size_t *ret_position);

/* Adds the entries from..to of an environment to an index. 0 or a store code; *ret_bad_index: the entry that is damaged. */
int segments_index_entries(struct env *env, struct index *index, uint64_t from, uint64_t to,
                           uint64_t *ret_bad_index);

#endif
