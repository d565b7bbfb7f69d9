/* inspect.h: the thread that looks into files for `crier verify` and `crier backup` while the store runs.
 *
 * Thread:  its own, made by the first request; inspector_ask is the owner's and never waits.
 * Owner:   an accepted request is the inspector's until it is posted to the completions. */
#ifndef CRIER_STORAGE_LMDB_INSPECT_H
#define CRIER_STORAGE_LMDB_INSPECT_H

#include "storage/lmdb/writer.h"

#define INSPECT_BYTES_MAX (1u << 20) /* of one read */

struct inspector {
    /* set before the first request */
    const struct folder *folder;
    struct segments *segments;
    struct writer *writer;
    struct background *background;
    struct completions *completions;
    unsigned tag; /* the weight of a finished request */
    /* its own */
    struct queue *queue; /* NULL: nobody has asked yet */
    pthread_t thread;
    bool running;
};

int inspector_ask(struct inspector *inspector,
                  struct store_inspect *inspect); /* 0, STORE_EAGAIN, STORE_ENOMEM */
void inspector_stop(
    struct inspector *inspector); /* answers what is queued; the writer has ended, the background not */
void inspector_finish(struct inspector *inspector);

#endif
