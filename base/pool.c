/* pool.c: worker threads behind one bounded queue, with lanes for work that keeps an order. See pool.h.
 *
 * Role:    one lock, one condition variable, one list of what is ready: single jobs, and lanes that have jobs and are not
 *          being worked on. A lane goes back to the end of the list after each of its jobs, so no lane keeps others waiting.
 * Thread:  any to add; the workers, started with all signals blocked.
 * Owner:   the pool owns lanes and threads; jobs are their makers', from the call of `run` on.
 *
 * Happy path:  pool_submit -> ready -> a worker: job.run      pool_submit_lane -> the lane's list -> ready -> ...
 * Failures:    full: -EAGAIN. A thread cannot be started: the pool is not created. */
#include "base/pool.h"

#include "base/check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct lane {
    struct list link; /* pool.ready_lanes */
    struct list jobs;
    bool working;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct list singles;
    struct list ready_lanes;
    bool lane_next; /* singles and lanes take turns */
    size_t waiting, waiting_max;
    bool closed;
    struct lane lanes[POOL_LANES];
    unsigned thread_count;
    pthread_t threads[];
};

/* ---- workers ---- */

static struct pool_job *job_of(struct list *link)
{
    return link ? LIST_ENTRY(link, struct pool_job, link) : NULL;
}

/* The next job; *ret_lane: whose it is, NULL: nobody's. With the lock. */
static struct pool_job *job_take(struct pool *pool, struct lane **ret_lane)
{
    struct list *link = NULL;

    *ret_lane = NULL;
    pool->lane_next = !pool->lane_next;
    if (pool->lane_next || list_is_empty(&pool->ready_lanes))
        link = list_take(&pool->singles);
    if (link) {
        pool->waiting--;
        return job_of(link);
    }
    if (!(link = list_take(&pool->ready_lanes))) {
        link = list_take(&pool->singles);
        pool->waiting -= link != NULL;
        return job_of(link);
    }
    *ret_lane = LIST_ENTRY(link, struct lane, link);
    (*ret_lane)->working = true;
    return job_of(list_take(&(*ret_lane)->jobs));
}

static void lane_done(struct pool *pool, struct lane *lane)
{
    lane->working = false;
    if (!list_is_empty(&lane->jobs))
        list_append(&pool->ready_lanes, &lane->link); /* this worker looks at the list next */
}

static void *worker_run(void *argument)
{
    struct pool *pool = argument;
    struct pool_job *job;
    struct lane *lane;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!(job = job_take(pool, &lane)) && !pool->closed)
            pthread_cond_wait(&pool->filled, &pool->lock);
        if (!job)
            break; /* what a lane has still to come is its worker's */
        pthread_mutex_unlock(&pool->lock);
        job->run(job);
        pthread_mutex_lock(&pool->lock);
        if (lane)
            lane_done(pool, lane);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- life ---- */

static int threads_start(struct pool *pool, unsigned threads)
{
    sigset_t all, before;
    int rc = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (rc == 0 && pool->thread_count < threads) {
        rc = pthread_create(&pool->threads[pool->thread_count], NULL, worker_run, pool);
        pool->thread_count += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct pool *pool_create(unsigned threads, size_t waiting_max)
{
    struct pool *pool;

    CHECK(threads > 0 && threads <= POOL_THREADS_MAX);
    if (!(pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]))))
        return NULL;
    if (pthread_mutex_init(&pool->lock, NULL) != 0 || pthread_cond_init(&pool->filled, NULL) != 0) {
        free(pool);
        return NULL;
    }
    pool->waiting_max = waiting_max;
    list_init(&pool->singles);
    list_init(&pool->ready_lanes);
    for (size_t i = 0; i < POOL_LANES; i++) {
        list_init(&pool->lanes[i].link);
        list_init(&pool->lanes[i].jobs);
    }
    if (threads_start(pool, threads) != 0) {
        pool_destroy(pool);
        return NULL;
    }
    return pool;
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    CHECK(!pool_is_own_thread(pool));
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    pthread_cond_broadcast(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->filled);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

bool pool_is_own_thread(const struct pool *pool)
{
    for (unsigned i = 0; i < pool->thread_count; i++)
        if (pthread_equal(pool->threads[i], pthread_self()))
            return true;
    return false;
}

/* ---- adding ---- */

int pool_submit(struct pool *pool, struct pool_job *job)
{
    int rc = 0;

    pthread_mutex_lock(&pool->lock);
    if (pool->closed) {
        rc = -EPIPE;
    } else if (pool->waiting >= pool->waiting_max) {
        rc = -EAGAIN;
    } else {
        list_append(&pool->singles, &job->link);
        pool->waiting++;
        pthread_cond_signal(&pool->filled);
    }
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

void pool_submit_lane(struct pool *pool, uint32_t number, struct pool_job *job)
{
    struct lane *lane = &pool->lanes[number % POOL_LANES];

    pthread_mutex_lock(&pool->lock);
    CHECK(!pool->closed);
    list_append(&lane->jobs, &job->link);
    if (!lane->working && !list_is_linked(&lane->link)) {
        list_append(&pool->ready_lanes, &lane->link);
        pthread_cond_signal(&pool->filled);
    }
    pthread_mutex_unlock(&pool->lock);
}

bool pool_remove(struct pool *pool, struct pool_job *job)
{
    bool waiting = false;

    pthread_mutex_lock(&pool->lock);
    for (struct list *link = pool->singles.next; link != &pool->singles && !waiting; link = link->next)
        waiting = link == &job->link;
    if (waiting) {
        list_remove(&job->link);
        pool->waiting--;
    }
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}
