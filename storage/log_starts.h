/* log_starts.h: from which offset on each partition is still wanted: what a store has been told with trim().
 *
 * Partition numbers are given out one after the other and never twice, so this is an array: eight bytes for every
 * partition there ever was, as in the core.
 *
 * Thread: any; the mutex is held for a few instructions. */
#ifndef CRIER_STORAGE_LOG_STARTS_H
#define CRIER_STORAGE_LOG_STARTS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct log_starts {
    pthread_mutex_t lock;
    uint64_t *rows; /* by partition; 0: all of it is wanted, UINT64_MAX: nothing */
    size_t count;
    uint64_t version; /* rises with every change */
};

int log_starts_init(struct log_starts *starts); /* 0 or STORE_ENOMEM */
void log_starts_finish(struct log_starts *starts);

/* Forwards only; an earlier start changes nothing. 0 or STORE_ENOMEM. */
int log_starts_raise(struct log_starts *starts, uint64_t partition, uint64_t log_start);
uint64_t log_starts_get(struct log_starts *starts, uint64_t partition);
uint64_t log_starts_version(struct log_starts *starts);

#endif
