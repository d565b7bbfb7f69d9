/* writer.h: the thread that makes entries durable: group commit into the active segment.
 *
 * Thread:  its own; writer_append is the owner's and never waits.
 * Owner:   an accepted append is the writer's until it is posted to the completions. */
#ifndef CRIER_STORAGE_LMDB_WRITER_H
#define CRIER_STORAGE_LMDB_WRITER_H

#include "storage/lmdb/background.h"

struct writer {
    /* set before start */
    struct segments *segments;
    struct background *background;
    struct health *health;
    struct completions *completions;
    unsigned tag; /* the weight a finished append is posted with */
    size_t commit_bytes_max;
    struct segment *segment; /* the active one */
    uint64_t next_index;
    /* its own */
    struct queue *queue;
    pthread_t thread;
    bool running;
    struct env *env;     /* the active segment's, a reference */
    struct index *index; /* the same */
    bool next_asked;     /* the next segment is being made */
    bool roll_wanted;    /* LMDB says the map is full, whatever we counted */
    bool refused_any;
    uint64_t refused_epoch; /* appends of this epoch and earlier ones are refused */
};

int writer_init(struct writer *writer, unsigned queue_max); /* 0 or STORE_ENOMEM; after the fields were set */
int writer_start(struct writer *writer);
int writer_append(struct writer *writer, struct store_append *append); /* 0 or STORE_EAGAIN */
/* From any thread that may wait: the segment ends here, unless it is empty. 0 or a store code. */
int writer_roll(struct writer *writer);
void writer_stop(struct writer *writer); /* writes what is queued, ends the thread */
void writer_finish(struct writer *writer);

#endif
