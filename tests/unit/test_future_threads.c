/* test_future_threads.c: futures between threads, for ThreadSanitizer too (so without Criterion).
 *
 * One loop; three threads that make, chain, settle, cancel and free futures against it and against each other. What must hold: every
 * continuation runs exactly once, on the loop's thread, and every future settles exactly once. And nobody touches a signal that was
 * freed: it goes off on the loop, for the last time anybody needs it, while a thread settles what it would cancel. */
#include "base/check.h"
#include "base/future.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS 3
#define ROUNDS  4000
#define DUELS   10000

struct world {
    struct agenda *agenda;
    int wake_fd;
    pthread_t loop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool stop;
    atomic_uint ran, wins;
    struct future *_Atomic shared[64]; /* settled by whoever comes first */
};

static void on_wake(void *ctx)
{
    struct world *world = ctx;
    uint64_t one = 1;

    CHECK(write(world->wake_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
}

static int on_wait(void *ctx, bool (*done)(const void *arg), const void *arg, int64_t deadline_us)
{
    struct world *world = ctx;

    (void)deadline_us;
    pthread_mutex_lock(&world->lock);
    while (!done(arg))
        pthread_cond_wait(&world->changed, &world->lock);
    pthread_mutex_unlock(&world->lock);
    return 0;
}

static void on_unhandled(void *ctx, int code, const char *text)
{
    (void)ctx;
    (void)code;
    (void)text;
    CHECK(false);
}

static const struct agenda_ops ops = {.wake = on_wake, .wait = on_wait, .unhandled = on_unhandled};

static void *loop_run(void *argument)
{
    struct world *world = argument;
    struct pollfd poll_fd = {.fd = world->wake_fd, .events = POLLIN};
    uint64_t count;

    while (!atomic_load(&world->stop)) {
        poll(&poll_fd, 1, agenda_is_pending(world->agenda) ? 0 : 1000);
        CHECK(read(world->wake_fd, &count, sizeof(count)) != 0);
        agenda_drain(world->agenda);
        agenda_immediates(world->agenda);
        agenda_timers(world->agenda, 1);
        pthread_mutex_lock(&world->lock);
        pthread_cond_broadcast(&world->changed);
        pthread_mutex_unlock(&world->lock);
    }
    agenda_close(world->agenda);
    agenda_release(world->agenda);
    return NULL;
}

static int count_one(void *ctx, const struct future_result *result, struct future_outcome *ret)
{
    struct world *world = ctx;

    (void)result;
    (void)ret;
    CHECK(pthread_equal(pthread_self(), world->loop));
    atomic_fetch_add(&world->ran, 1);
    return 0;
}

static void *thread_run(void *argument)
{
    struct world *world = argument;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct future *own = future_create(world->agenda, 0), *timer, *both, *next;
        struct future *shared = world->shared[i % 64];
        CHECK(own && future_timer(world->agenda, i % 2, &timer) == 0);
        CHECK(future_then(own, count_one, count_one, world, &next) == 0);
        CHECK(future_then(shared, count_one, count_one, world, NULL) == 0);
        CHECK(future_cancel_on(own, i % 4 ? timer : shared) == 0);
        CHECK(future_combine(world->agenda, FUTURE_ALL_SETTLED, (struct future *[]){own, next}, 2, &both) ==
              0);
        if (i % 3 == 0)
            future_cancel(timer);
        future_settle(own, &(struct future_result){.number = i}, NULL);
        if (i / 64 == 3)
            atomic_fetch_add(&world->wins, future_settle(shared, &(struct future_result){0}, NULL));
        if (i % 16 == 0)
            CHECK(future_wait(both, AGENDA_NEVER) == 0);
        future_release(own);
        future_release(timer);
        future_release(both);
        future_release(next);
    }
    return NULL;
}

/* ---- a signal, and who needs it no more ---- */

static struct future *_Atomic duel; /* NULL: the other thread has settled it */

static void *settler_run(void *argument)
{
    struct future *future;

    (void)argument;
    for (unsigned i = 0; i < DUELS; i++) {
        while (!(future = atomic_load(&duel)))
            continue;
        for (atomic_uint spin = 0; spin < i % 200 * 20;) /* the loop needs a moment to get there */
            spin++;
        future_settle(future, &(struct future_result){0}, NULL);
        future_release(future);
        atomic_store(&duel, NULL);
    }
    return NULL;
}

static void signals_go_off_while_others_settle(struct world *world)
{
    pthread_t settler;

    pthread_create(&settler, NULL, settler_run, NULL);
    for (unsigned i = 0; i < DUELS; i++) {
        struct future *future = future_create(world->agenda, 0), *signal = future_create(world->agenda, 0);
        CHECK(future && signal && future_cancel_on(future, signal) == 0);
        atomic_store(&duel, future_retain(future));
        future_settle(signal, &(struct future_result){0}, NULL);
        future_release(signal); /* now it is the loop's alone */
        CHECK(future_wait(future, AGENDA_NEVER) == 0);
        future_release(future);
        while (atomic_load(&duel))
            continue;
    }
    pthread_join(settler, NULL);
}

int main(void)
{
    static const struct agenda_codes codes = {.canceled = -1, .closed = -2, .no_memory = -3, .invalid = -4};
    static struct world world;
    pthread_t threads[THREADS];

    pthread_mutex_init(&world.lock, NULL);
    pthread_cond_init(&world.changed, NULL);
    world.wake_fd = eventfd(0, EFD_NONBLOCK);
    world.agenda = agenda_create(&ops, &codes, &world);
    CHECK(world.agenda && world.wake_fd >= 0);
    for (int i = 0; i < 64; i++) {
        struct future *future = future_create(world.agenda, 0);
        CHECK(future);
        atomic_init(&world.shared[i], future);
    }
    pthread_mutex_lock(&world.lock); /* the loop's thread is known before anything runs on it */
    pthread_create(&world.loop, NULL, loop_run, &world);
    pthread_mutex_unlock(&world.lock);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, thread_run, &world);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    signals_go_off_while_others_settle(&world);
    atomic_store(&world.stop, true);
    on_wake(&world);
    pthread_join(world.loop, NULL);
    CHECK(atomic_load(&world.ran) == 2 * THREADS * ROUNDS);
    CHECK(atomic_load(&world.wins) == 64);
    for (int i = 0; i < 64; i++)
        future_release(world.shared[i]);
    close(world.wake_fd);
    printf("%u continuations, each once\n", atomic_load(&world.ran));
    return 0;
}
