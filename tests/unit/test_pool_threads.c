/* test_pool_threads.c: a worker pool under load, for ThreadSanitizer too (so without Criterion).
 *
 * What must hold: every job runs once; those of a lane one at a time and in order, though the lanes are worked on by all threads; a
 * full pool refuses; what was removed does not run. */
#include "base/check.h"
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS   4
#define ADDERS    3
#define LANE_JOBS 3000 /* of each adder, over 7 lanes of its own */
#define SINGLES   3000

struct lane_state {
    atomic_bool running;
    unsigned next;
};

struct laned {
    struct pool_job job;
    struct lane_state *lane;
    unsigned number;
};

struct single {
    struct pool_job job;
    atomic_uint runs;
};

static atomic_uint ran;

static void laned_run(struct pool_job *job)
{
    struct laned *laned = LIST_ENTRY(job, struct laned, job);

    CHECK(!atomic_exchange(&laned->lane->running, true)); /* alone */
    CHECK(laned->number == laned->lane->next++);          /* no lock: the lane is one */
    atomic_store(&laned->lane->running, false);
    atomic_fetch_add(&ran, 1);
}

static void single_run(struct pool_job *job)
{
    atomic_fetch_add(&LIST_ENTRY(job, struct single, job)->runs, 1);
    atomic_fetch_add(&ran, 1);
}

struct adder {
    struct pool *pool;
    unsigned number;
    pthread_t thread;
    struct lane_state lanes[7];
    struct laned laned[LANE_JOBS];
    struct single singles[SINGLES];
    unsigned refused;
};

static void *adder_run(void *argument)
{
    struct adder *adder = argument;

    for (unsigned i = 0; i < LANE_JOBS; i++) {
        struct laned *laned = &adder->laned[i];
        struct single *single = &adder->singles[i];
        int rc;
        *laned = (struct laned){.job.run = laned_run, .lane = &adder->lanes[i % 7], .number = i / 7};
        list_init(&laned->job.link);
        pool_submit_lane(adder->pool, adder->number * 7 + i % 7, &laned->job);
        single->job.run = single_run;
        list_init(&single->job.link);
        while ((rc = pool_submit(adder->pool, &single->job)) == -EAGAIN) {
            adder->refused++;
            sched_yield();
        }
        CHECK(rc == 0);
    }
    return NULL;
}

static void under_load(void)
{
    struct adder *adders = calloc(ADDERS, sizeof(*adders));
    struct pool *pool = pool_create(THREADS, 16);

    CHECK(adders && pool);
    for (unsigned i = 0; i < ADDERS; i++) {
        adders[i].pool = pool;
        adders[i].number = i;
        pthread_create(&adders[i].thread, NULL, adder_run, &adders[i]);
    }
    for (unsigned i = 0; i < ADDERS; i++)
        pthread_join(adders[i].thread, NULL);
    pool_destroy(pool); /* runs what waits */
    CHECK(atomic_load(&ran) == ADDERS * (LANE_JOBS + SINGLES));
    for (unsigned i = 0; i < ADDERS; i++)
        for (unsigned k = 0; k < SINGLES; k++)
            CHECK(atomic_load(&adders[i].singles[k].runs) == 1);
    printf("%u jobs, each once; refused %u times\n", atomic_load(&ran), adders[0].refused);
    free(adders);
}

/* ---- one thread, held by a job of ours ---- */

struct gate {
    struct pool_job job;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool inside, open;
    struct pool *pool;
};

static void gate_run(struct pool_job *job)
{
    struct gate *gate = LIST_ENTRY(job, struct gate, job);

    CHECK(pool_is_own_thread(gate->pool));
    pthread_mutex_lock(&gate->lock);
    gate->inside = true;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void full_and_removed(void)
{
    struct pool *pool = pool_create(1, 2);
    struct gate gate = {.job.run = gate_run, .pool = pool};
    struct single waiting[3] = {{.job.run = single_run}, {.job.run = single_run}, {.job.run = single_run}};

    CHECK(pool && !pool_is_own_thread(pool));
    pthread_mutex_init(&gate.lock, NULL);
    pthread_cond_init(&gate.changed, NULL);
    list_init(&gate.job.link);
    CHECK(pool_submit(pool, &gate.job) == 0);
    pthread_mutex_lock(&gate.lock);
    while (!gate.inside)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < 3; i++) {
        list_init(&waiting[i].job.link);
        CHECK(pool_submit(pool, &waiting[i].job) == (i < 2 ? 0 : -EAGAIN));
    }
    CHECK(pool_remove(pool, &waiting[0].job));
    CHECK(!pool_remove(pool, &waiting[0].job));
    CHECK(!pool_remove(pool, &gate.job)); /* it runs */
    CHECK(pool_submit(pool, &waiting[2].job) == 0);
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    pool_destroy(pool);
    CHECK(atomic_load(&waiting[0].runs) == 0);
    CHECK(atomic_load(&waiting[1].runs) == 1 && atomic_load(&waiting[2].runs) == 1);
}

int main(void)
{
    under_load();
    full_and_removed();
    return 0;
}
