/* bench_workers.h: the forked processes of a measurement: started together, watched, ended.
 *
 *   worker:  connects -> worker_ready() says so and waits for the start -> works -> exits
 *   parent:  workers_fork -> workers_wait_ready -> workers_go -> workers_wait_end -> workers_finish
 *
 * Thread: main, and in the parent no other at the time of workers_fork(). A worker dies with its parent. */
#ifndef CRIER_TOOLS_BENCH_WORKERS_H
#define CRIER_TOOLS_BENCH_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A worker's end of the pipes. */
struct worker {
    int ready_fd, go_fd;
};

/* Says that this worker is ready and waits for the start. False if the parent has called it off. */
bool worker_ready(struct worker *worker);

struct workers {
    pid_t *pids; /* 0: has ended */
    size_t count, running;
    int ready_fds[2], go_fds[2];
};

/* What the parent does while it waits, a few times a second. False: enough, end them all. */
typedef bool workers_tick(void *ctx);

/* count: how many will be forked at most. 0 or -errno. */
int workers_init(struct workers *workers, size_t count);
/* Forks. In the child: runs main_function(ctx, number, worker) and exits with what it returns. 0 or -errno. */
int workers_fork(struct workers *workers,
                 int (*main_function)(void *ctx, uint64_t number, struct worker *worker), void *ctx,
                 uint64_t number);
/* Waits until every worker is ready. False if one has failed instead or tick() said enough. */
bool workers_wait_ready(struct workers *workers, workers_tick *tick, void *ctx);
void workers_go(struct workers *workers);
/* Waits until every worker has ended. False if one has failed or tick() said enough. */
bool workers_wait_end(struct workers *workers, workers_tick *tick, void *ctx);
/* Kills those that still run, waits for them, frees. */
void workers_finish(struct workers *workers);

#endif
