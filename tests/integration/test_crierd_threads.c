/* test_crierd_threads.c: under which policy a real crierd's threads run (docs/decisions/0025). */
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* Of every thread of it. */
static void expect_policy(const struct broker *broker, int policy)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)broker_pid(broker));
    DIR *tasks = opendir(path);
    cr_assert_not_null(tasks);
    for (const struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        count++;
        cr_expect_eq(sched_getscheduler((pid_t)strtol(task->d_name, NULL, 10)), policy, "thread %s",
                     task->d_name);
    }
    closedir(tasks);
    cr_assert_gt(count, 2, "the reactor, the writer, a reader, ...");
}

Test(crierd_threads, run_as_a_batch)
{
    struct broker *broker = broker_start(&(struct broker_options){0});
    cr_assert_not_null(broker);
    expect_policy(broker, SCHED_BATCH);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(crierd_threads, keep_the_policy_that_somebody_has_chosen)
{
    cr_assert_eq(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}), 0);
    struct broker *broker = broker_start(&(struct broker_options){0});
    cr_assert_not_null(broker);
    expect_policy(broker, SCHED_IDLE);
    cr_assert_eq(broker_destroy(broker), 0);
}
