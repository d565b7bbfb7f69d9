/* random.c: bytes from the operating system, for ids and seeds. */
#include "base/random.h"

#include "base/check.h"

#include <errno.h>
#include <sys/random.h>

int random_system(void *to, size_t size)
{
    CHECK(size <= 256); /* up to here getrandom() is never cut short once the system's pool is ready */
    ssize_t got;
    do
        got = getrandom(to, size, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    return (size_t)got == size ? 0 : -EIO;
}
