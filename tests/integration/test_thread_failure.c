/* test_thread_failure.c: the n-th thread cannot be started (EAGAIN, as at a limit of processes), for every n: what needs it
 * says so, nothing is left behind, and the same works when threads are to be had again. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include "crier/crier.h"
#include "crier/pool.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS_MAX 64

static atomic_int fails_at; /* the n-th from now; 0 or less: none */
static atomic_int struck;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *ctx);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *ctx);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *ctx)
{
    if (atomic_fetch_sub(&fails_at, 1) != 1)
        return __real_pthread_create(thread, attributes, run, ctx);
    atomic_fetch_add(&struck, 1);
    return EAGAIN;
}

/* True: the n-th thread was asked for, and refused. */
static bool fail_at(int n)
{
    bool before = atomic_exchange(&struck, 0) != 0;
    atomic_store(&fails_at, n);
    return before;
}

/* Opens, emits, hears, closes. What crier_open() said. */
static int live(const char *url)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct probe probe;
    crier *bus;
    int rc = crier_open(url, NULL, &bus);
    if (rc < 0)
        return rc;
    probe_init(&probe);
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_emit(bus, "t", "x", 1), 0);
    cr_assert_eq(crier_flush(bus, 10000), 0);
    cr_assert_eq(crier_listen(bus, "t", &options, probe_handler, &probe, NULL), 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 1));
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    return 0;
}

static void fail_each(const char *url, int struck_min)
{
    int n = 1, refused = 0;
    for (; n < THREADS_MAX; n++) {
        fail_at(n);
        int rc = live(url);
        if (!fail_at(0))
            break;
        refused += rc < 0;
        cr_assert_eq(live(url), 0, "after the failure of thread %d", n);
    }
    cr_assert_lt(n, THREADS_MAX);
    cr_assert_geq(n - 1, struck_min, "only %d threads were ever asked for", n - 1);
    cr_assert_gt(refused, 0);
}

Test(thread_failure, a_bus_says_so)
{
    struct broker *broker = broker_start(NULL);
    char url[64];
    cr_assert_not_null(broker);
    snprintf(url, sizeof(url), "crier://localhost:%u",
             broker_port(broker)); /* a name: it is looked up on a thread */
    fail_each(url, 1);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* The broker's threads, those of its disks too; the same code as crierd's. */
Test(thread_failure, a_broker_does_not_start)
{
    char parent[] = "/tmp/crier-thread-XXXXXX", url[64], command[64];
    cr_assert_not_null(mkdtemp(parent));
    snprintf(url, sizeof(url), "embed:%s/data", parent);
    fail_each(url, 4);
    snprintf(command, sizeof(command), "rm -rf '%s'", parent);
    cr_assert_eq(system(command), 0);
}

Test(thread_failure, a_pool_is_not_made)
{
    for (int n = 1; n <= 3; n++) {
        crier_pool *pool = NULL;
        struct crier_pool_options options = crier_pool_options_default();
        options.threads = 3;
        fail_at(n);
        int rc = crier_pool_create(&options, &pool);
        cr_assert(fail_at(0));
        cr_assert_lt(rc, 0);
    }
}
