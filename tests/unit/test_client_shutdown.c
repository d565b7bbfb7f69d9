/* test_client_shutdown.c: the end in order: hooks last first, all of them; a deadline; a second signal forces. */
#include "crier/shutdown.h"
#include "tests/support/allocation.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct world {
    crier_shutdown *shutdown;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char trace[128], report[256];
    bool forced;
    int force_signal;
};

static struct world world;

static void say(const char *name)
{
    strncat(world.trace, name, sizeof(world.trace) - strlen(world.trace) - 1);
}

static int good(void *ctx)
{
    say(ctx);
    return 0;
}

static int bad(void *ctx)
{
    say(ctx);
    return -(int)strlen(ctx);
}

static void on_report(void *ctx, const char *name, int code, int64_t took_us)
{
    size_t used = strlen(world.report);

    (void)ctx;
    cr_assert_geq(took_us, 0);
    snprintf(world.report + used, sizeof(world.report) - used, "%s=%d;", name, code);
}

static void on_force(void *ctx, int number)
{
    (void)ctx;
    pthread_mutex_lock(&world.lock);
    world.forced = true;
    world.force_signal = number;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static void open_with(int deadline_ms, bool force)
{
    struct crier_shutdown_options options = crier_shutdown_options_default();

    memset(&world, 0, sizeof(world));
    pthread_mutex_init(&world.lock, NULL);
    pthread_cond_init(&world.changed, NULL);
    options.deadline_ms = deadline_ms;
    options.force = force ? on_force : NULL;
    options.report = on_report;
    cr_assert_eq(crier_shutdown_open(&options, &world.shutdown), 0);
}

Test(shutdown_hooks, run_last_first_and_all_of_them)
{
    open_with(0, true);
    cr_assert_eq(crier_shutdown_add(world.shutdown, "log", good, (void *)"l"), 0);
    cr_assert_eq(crier_shutdown_add(world.shutdown, "files", bad, (void *)"ff"), 0);
    cr_assert_eq(crier_shutdown_add(world.shutdown, "bus", bad, (void *)"b"), 0);
    cr_assert_eq(crier_shutdown_close(world.shutdown), -1, "the first that failed");
    cr_assert_str_eq(world.trace, "bffl");
    cr_assert_str_eq(world.report, "bus=-1;files=-2;log=0;");
}

Test(shutdown_hooks, a_signal_or_the_program_asks_for_the_end)
{
    struct pollfd fd = {.events = POLLIN};

    open_with(0, true);
    fd.fd = crier_shutdown_fd(world.shutdown);
    cr_assert_eq(poll(&fd, 1, 0), 0);
    cr_assert_eq(crier_shutdown_wait(world.shutdown, 0), CRIER_ETIMEDOUT);
    kill(getpid(), SIGTERM);
    cr_assert_eq(crier_shutdown_wait(world.shutdown, -1), 0);
    cr_assert_eq(poll(&fd, 1, 0), 1);
    cr_assert_eq(crier_shutdown_close(world.shutdown), 0);
    cr_assert_not(world.forced, "the one that asked does not force");
    open_with(0, true);
    crier_shutdown_ask(world.shutdown);
    cr_assert_eq(crier_shutdown_wait(world.shutdown, -1), 0);
    cr_assert_eq(crier_shutdown_close(world.shutdown), 0);
}

static int wait_for_force(void *ctx)
{
    if (ctx)
        kill(getpid(), SIGINT); /* the impatient second one */
    pthread_mutex_lock(&world.lock);
    while (!world.forced)
        pthread_cond_wait(&world.changed, &world.lock);
    pthread_mutex_unlock(&world.lock);
    return 0;
}

static int is_readable(void *ctx)
{
    struct pollfd fd = {.fd = crier_shutdown_fd(world.shutdown), .events = POLLIN};

    (void)ctx;
    return poll(&fd, 1, 0) == 1 ? 0 : -1;
}

/* A loop that looks late, on another thread, sees it while the hooks wait for that thread. */
Test(shutdown_hooks, the_descriptor_says_so_until_all_is_through)
{
    for (int by_signal = 0; by_signal < 2; by_signal++) {
        open_with(0, true);
        cr_assert_eq(crier_shutdown_add(world.shutdown, "look", is_readable, NULL), 0);
        cr_assert_eq(is_readable(NULL), -1);
        if (by_signal)
            cr_assert_eq(kill(getpid(), SIGTERM), 0);
        else
            crier_shutdown_ask(world.shutdown);
        cr_assert_eq(crier_shutdown_wait(world.shutdown, 10000), 0);
        cr_assert_eq(crier_shutdown_close(world.shutdown), 0, "not readable any more");
    }
}

Test(shutdown_hooks, a_second_signal_forces)
{
    open_with(0, true);
    crier_shutdown_add(world.shutdown, "hangs", wait_for_force, (void *)"signal");
    kill(getpid(), SIGTERM);
    cr_assert_eq(crier_shutdown_wait(world.shutdown, -1), 0);
    cr_assert_eq(crier_shutdown_close(world.shutdown), 0);
    cr_assert_eq(world.force_signal, SIGINT);
}

Test(shutdown_hooks, the_deadline_forces)
{
    open_with(1, true);
    crier_shutdown_add(world.shutdown, "hangs", wait_for_force, NULL);
    cr_assert_eq(crier_shutdown_close(world.shutdown), 0);
    cr_assert_eq(world.force_signal, 0);
}

Test(shutdown_hooks, by_default_forcing_ends_the_process, .exit_code = 1)
{
    open_with(1, false);
    crier_shutdown_add(world.shutdown, "hangs", wait_for_force, NULL);
    crier_shutdown_close(world.shutdown);
}

Test(shutdown_hooks, the_mask_is_given_back)
{
    sigset_t before, after;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    open_with(0, true);
    crier_shutdown_close(world.shutdown);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    cr_assert_eq(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    cr_assert_eq(crier_shutdown_close(NULL), 0);
}

/* Memory runs out at the n-th allocation, for every n: an error, and what was added still runs. */
Test(shutdown_hooks, the_nth_allocation_fails_for_every_n)
{
    bool done = false;

    for (unsigned skip = 0; !done; skip++) {
        long before = allocation_out();
        size_t added = 0;
        int rc;
        memset(world.trace, 0, sizeof(world.trace));
        allocation_fail_after(skip);
        rc = crier_shutdown_open(NULL, &world.shutdown);
        done = rc == 0;
        for (int i = 0; i < 20 && rc == 0; i++) {
            int code = crier_shutdown_add(world.shutdown, "hook", good, (void *)"x");
            cr_assert(code == 0 || code == CRIER_ENOMEM);
            done = done && code == 0;
            added += code == 0;
        }
        allocation_never_fail();
        if (rc == 0)
            cr_assert_eq(crier_shutdown_close(world.shutdown), 0);
        else
            cr_assert_eq(rc, CRIER_ENOMEM);
        cr_assert_eq(strlen(world.trace), added);
        cr_assert_eq(allocation_out(), before);
        cr_assert_lt(skip, 100);
    }
}
