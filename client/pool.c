/* pool.c: the public face of worker pools: crier/pool.h over base/pool.h. Handlers on a pool are in bus_pool.c.
 *
 * Thread:   any; jobs run on the pool's.
 * Owner:    a job lives in its future's extra memory; the pool has a reference to that until it has run.
 *
 * Happy path:  crier_pool_submit -> a worker: job_run -> future_settle -> continuations on the bus's loop
 * Failures:    full: CRIER_EAGAIN. Canceled while it waits: taken out. The bus is closed first: the future is rejected, the
 *              job runs all the same and its outcome is dropped. */
#include "client/handles.h"
#include "client/pool_internal.h"

#include "base/pool.h"
#include "client/bus_internal.h"
#include "client/future_internal.h"
#include "client/struct_size.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

struct work {
    struct pool_job job;
    crier_pool *pool;
    crier_job *call;
    void *ctx;
};

static unsigned processor_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return count < POOL_THREADS_MAX ? (unsigned)count : POOL_THREADS_MAX;
}

int crier_pool_create(const struct crier_pool_options *options, crier_pool **ret_pool)
{
    struct crier_pool_options copy = crier_pool_options_default();
    crier_pool *pool;

    if (!ret_pool || !struct_take(&copy, sizeof(copy), options) || copy.threads > POOL_THREADS_MAX ||
        copy.jobs_max == 0)
        return CRIER_EINVAL;
    if (!(pool = calloc(1, sizeof(*pool))))
        return CRIER_ENOMEM;
    if (!(pool->pool = pool_create(copy.threads ? copy.threads : processor_count(), copy.jobs_max))) {
        free(pool);
        return CRIER_ENOMEM;
    }
    handle_made(&pool_handles, pool);
    *ret_pool = pool;
    return 0;
}

int crier_pool_destroy(crier_pool *pool)
{
    handle_check(&pool_handles, pool);
    if (!pool)
        return 0;
    if (pool_is_own_thread(pool->pool))
        return CRIER_EDEADLK;
    if (atomic_load(&pool->listeners) > 0)
        return CRIER_EBUSY;
    pool_destroy(pool->pool);
    handle_freed(&pool_handles, pool);
    free(pool);
    return 0;
}

static void job_run(struct pool_job *job)
{
    struct work *work = LIST_ENTRY(job, struct work, job);
    struct future *future = future_of_extra(work);
    crier_outcome outcome = {0};
    int rc = work->call(&outcome, work->ctx);

    if (rc == 0 && outcome.future)
        rc = CRIER_EINVAL;
    outcome.result.code = rc < 0 ? rc : 0;
    future_settle(future, (const struct future_result *)(const void *)&outcome.result, outcome.destroy);
    crier_future_release(outcome.future);
    future_release(future);
}

static void job_cancel(struct future *future)
{
    struct work *work = future_extra(future);

    if (pool_remove(work->pool->pool, &work->job))
        future_release(future); /* the pool's */
}

int crier_pool_submit(crier_pool *pool, crier *bus, crier_job *job, void *ctx, crier_future **ret_future)
{
    handle_check(&pool_handles, pool);
    handle_check(&bus_handles, bus);
    struct future *future;
    struct work *work;
    int rc;

    if (!pool || !bus || !job)
        return CRIER_EINVAL;
    if ((rc = bus_loop_need(bus)) < 0)
        return rc;
    if (!(future = future_create(bus->agenda, sizeof(*work))))
        return agenda_is_closed(bus->agenda) ? CRIER_ECLOSED : CRIER_ENOMEM;
    work = future_extra(future);
    *work = (struct work){.job.run = job_run, .pool = pool, .call = job, .ctx = ctx};
    list_init(&work->job.link);
    future_on_cancel(future, job_cancel);
    future_retain(future);
    if ((rc = pool_submit(pool->pool, &work->job)) < 0) {
        future_cancel(future);
        future_release(future);
        future_release(future);
        return rc == -EAGAIN ? CRIER_EAGAIN : CRIER_ECLOSED;
    }
    if (ret_future)
        *ret_future = future_public(future);
    else
        future_release(future);
    return 0;
}
