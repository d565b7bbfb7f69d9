/* standard_fds.c: descriptors 0, 1 and 2. See standard_fds.h. The same is done by glibc for programs that are set-user-ID
 * (csu/check_fds.c).
 *
 * Thread:    main, before anything else is opened.
 * Failures:  no /dev/null: it stays as it is. */
#include "base/standard_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void standard_fds_occupy(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        /* The lowest number that is free is taken, so it is fd: those below are there. */
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}
