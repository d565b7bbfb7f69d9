/* background.h: the thread that keeps house: it alone writes meta.mdb and state.mdb once the store runs.
 *
 * Jobs:    the next segment, made while the current one fills · flushes of the state, and rows of it read · sealing what the writer left ·
 *          giving space back, when nothing else is to do (cleaner.h) · the clean-stop mark at the end. A roll therefore waits for a flush at most, and normally for nothing.
 * Thread:  its own. background_take_next and _want_next and _seal are the writer's, _flush and _range the owner's, _await_seals and
 *          _copy_state the inspector's. */
#ifndef CRIER_STORAGE_LMDB_BACKGROUND_H
#define CRIER_STORAGE_LMDB_BACKGROUND_H

#include "base/queue.h"
#include "storage/lmdb/cleaner.h"
#include "storage/lmdb/health.h"
#include "storage/lmdb/segment.h"
#include "storage/lmdb/state.h"

struct background {
    /* set before start */
    const struct folder *folder;
    struct meta *meta;
    struct state *state;
    struct segments *segments;
    struct health *health;
    struct completions *completions;
    unsigned flush_tag;   /* the weight a finished flush is posted with */
    unsigned range_tag;   /* and a finished range of rows */
    uint64_t next_number; /* of the segment made next */
    struct cleaner cleaner;
    /* its own */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;  /* there is a job, or stopping */
    pthread_cond_t made;  /* next_wanted was answered */
    struct segment *next; /* ready for the writer */
    bool next_wanted;
    int next_status; /* why there is none */
    int next_told;   /* the thread's own: the status of the last attempt, which the log has heard of */
    struct segment *seal_first, *seal_last;
    struct store_flush *flush;
    struct queue_node *ranges; /* asked for; of store_range */
    bool trimmed;              /* the cleaner has something to look at */
    bool sealing;              /* one is being sealed right now */
    bool seal_stuck;           /* there is no room for it: tried again with the next job */
    bool copy_wanted;          /* of the state */
    int copy_status;
    uint64_t copy_index;
    bool stopping;
};

/* Makes a segment: manifest row NEW, file (allocated whole if asked), folder synced, row ACTIVE. Its environment is open.
 * 0 or an LMDB code (see env_code); then the row may say NEW, which the next start cleans up. */
int segment_make(struct meta *meta, const struct folder *folder, uint64_t map_size, uint64_t number,
                 bool allocate, struct segment **ret_segment);

int background_init(struct background *background); /* 0 or STORE_ENOMEM; after the fields were set */
int background_start(struct background *background);
/* Finishes every job, writes the clean-stop mark unless something failed, ends the thread. The writer has ended. */
void background_stop(struct background *background);
void background_finish(struct background *background); /* frees; stopped or never started */

/* The next segment will be needed soon. */
void background_want_next(struct background *background);
/* Waits for it. 0 and the segment is the caller's, or STORE_EFULL, STORE_ENOMEM, STORE_EIO. */
int background_take_next(struct background *background, struct segment **ret_segment);
/* Nothing will be written to this segment any more; every entry in it is durable. */
void background_seal(struct background *background, struct segment *segment);
/* A log start has moved. */
void background_trimmed(struct background *background);
/* Waits until nothing waits to be sealed. 0, STORE_EFULL (no room for it) or STORE_EREADONLY. */
int background_await_seals(struct background *background);
/* Keeps a copy of the state as it is, and waits for that. 0 and its F, or a store code. */
int background_copy_state(struct background *background, uint64_t *ret_index);
/* 0 or STORE_EAGAIN (one is under way). */
int background_flush(struct background *background, struct store_flush *flush);
/* 0 or STORE_EAGAIN (it is stopping). */
int background_range(struct background *background, struct store_range *range);

#endif
