/* test_shutdown.c: signals arrive as something to read, in the order of asking, and leave no trace behind. */
#include "base/shutdown.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

Test(shutdown, reports_which_signal_came)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct shutdown shutdown;
    cr_assert_eq(shutdown_open(&shutdown, true), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_not(is_readable(shutdown.fd));
        cr_assert_eq(shutdown_next(&shutdown), 0);
        kill(getpid(), signals[i]);
        cr_assert(is_readable(shutdown.fd));
        cr_assert_eq(shutdown_next(&shutdown), signals[i]);
    }
    shutdown_close(&shutdown);
}

Test(shutdown, restores_the_mask_and_swallows_what_is_pending)
{
    struct shutdown shutdown;
    sigset_t before, after;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    cr_assert_eq(shutdown_open(&shutdown, false), 0);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGINT);
    shutdown_close(&shutdown); /* without the swallowing this would be the end of the test */
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    cr_assert_eq(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    cr_assert_eq(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
}

Test(shutdown, a_hangup_is_left_alone_unless_asked_for, .signal = SIGHUP)
{
    struct shutdown shutdown;
    cr_assert_eq(shutdown_open(&shutdown, false), 0);
    kill(getpid(), SIGHUP);
}

Test(shutdown, the_descriptor_is_not_inherited_and_never_blocks)
{
    struct shutdown shutdown;
    cr_assert_eq(shutdown_open(&shutdown, false), 0);
    cr_assert(fcntl(shutdown.fd, F_GETFD) & FD_CLOEXEC);
    cr_assert(fcntl(shutdown.fd, F_GETFL) & O_NONBLOCK);
    shutdown_close(&shutdown);
}
