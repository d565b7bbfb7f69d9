/* pool.h: a fixed number of threads for work that computes or blocks, and a bounded queue in front of them.
 *
 * Jobs come singly, in any order on any thread, or in lanes: those of one lane run one at a time, in the order they were
 * added. What a lane adds is bounded by whoever adds; single jobs are refused when too many wait.
 *
 * Jobs are embedded in what they are about, so adding one allocates nothing. Threads: adding and removing any; jobs run on
 * the pool's threads, which take no signals. */
#ifndef CRIER_BASE_POOL_H
#define CRIER_BASE_POOL_H

#include "base/list.h"

#include <stdint.h>

#define POOL_LANES       256 /* keys that share one wait for each other */
#define POOL_THREADS_MAX 256

struct pool_job {
    struct list link;
    void (*run)(struct pool_job *job); /* may free it */
};

struct pool;

/* threads: 1 .. POOL_THREADS_MAX; waiting_max: single jobs that wait. NULL: no memory, or no threads. */
struct pool *pool_create(unsigned threads, size_t waiting_max);
/* 0, -EAGAIN (full: nothing happened) or -EPIPE (closed). */
int pool_submit(struct pool *pool, struct pool_job *job);
/* lane: any number, taken modulo POOL_LANES. Not after pool_destroy began. */
void pool_submit_lane(struct pool *pool, uint32_t lane, struct pool_job *job);
/* true: the single job was waiting, and will not run. */
bool pool_remove(struct pool *pool, struct pool_job *job);
bool pool_is_own_thread(const struct pool *pool); /* is the caller one of its threads? */
/* Runs what waits, then ends the threads and frees. Not on one of its threads; accepts NULL. */
void pool_destroy(struct pool *pool);

#endif
