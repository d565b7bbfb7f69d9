/* crier/pool.h: worker threads for what would keep a loop waiting: work that computes or blocks.
 *
 *     crier_pool *pool;
 *     crier_pool_create(NULL, &pool);
 *     crier_pool_submit(pool, bus, compute, ctx, &future);       a job -> a future, whose continuations run on the bus's loop
 *
 *     struct crier_listen_options options = crier_listen_options_default();
 *     options.pool = pool;                                       this listener's handler runs on the pool
 *     crier_listen(bus, "orders.placed", &options, on_order, ctx, NULL);
 *
 * HANDLERS ON A POOL. Events with one key run one after the other, in log order; events without a key those of one
 * partition; others at the same time, on any of its threads. A group's position moves only past events all of whose
 * predecessors in the partition succeeded, in whatever order they end. A handler that fails is told as any other; if nobody
 * listens on "error", the listener ends, and the position stays before the event. At most options.pool_events_max events of a
 * listener are on the pool; then it is handed no more, returns no credit, and the broker stops sending. Blocking calls
 * are allowed in these handlers, but not crier_close().
 * What had been handed out when a partition goes to another member is not begun any more; what is running ends, and may
 * be handled again there.
 *
 * LOCAL. On a bus of local: the same, but that nothing is kept: what a pool has no room for is refused where it is emitted, with
 * CRIER_EAGAIN, before anybody has heard it (or crier_emit() waits, with options.emit_blocks). Handlers on local topics stay where
 * the event is.
 *
 * THREADS. Any, but for crier_pool_destroy() on one of the pool's. They block all signals. Close the buses that listen with a
 * pool before the pool. */
#ifndef CRIER_POOL_H
#define CRIER_POOL_H

#include <crier/future.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How a pool is to be. From crier_pool_options_default(). */
struct crier_pool_options {
    size_t struct_size; /* set by crier_pool_options_default() */
    unsigned threads;   /* default 0: one per processor that this process may use; at most 256 */
    size_t jobs_max;    /* jobs of crier_pool_submit() that wait; default 1024 */
};

/** The defaults; see the fields. */
static inline struct crier_pool_options crier_pool_options_default(void)
{
    struct crier_pool_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.jobs_max = 1024;
    return options;
}

/** options: borrowed; NULL: the defaults. 0, CRIER_EINVAL, CRIER_ENOMEM (or no threads to be had). */
CRIER_API int crier_pool_create(const struct crier_pool_options *options, crier_pool **ret_pool);
/** Runs what waits, ends the threads, frees. 0, CRIER_EBUSY (a listener uses it), CRIER_EDEADLK (on one of its threads): then
 *  nothing happened. Accepts NULL. Blocking. */
CRIER_API int crier_pool_destroy(crier_pool *pool);

/** What a job does, on a thread of the pool. Returns 0: its future is fulfilled with ret->result; or < 0: rejected with that.
 *  ret: zeroed before; ret->future is not for jobs. */
typedef int crier_job(crier_outcome *ret, void *ctx);

/** Runs job(ret, ctx) on the pool, once, unless its future is canceled while it waits. ctx: as is. ret_future: NULL: nobody wants
 *  it (its failure becomes an "error" event). 0, CRIER_EAGAIN (jobs_max wait), CRIER_ECLOSED (the bus), CRIER_ENOMEM. */
CRIER_API int crier_pool_submit(crier_pool *pool, crier *bus, crier_job *job, void *ctx,
                                crier_future **ret_future);

#ifdef __cplusplus
}
#endif

#endif
