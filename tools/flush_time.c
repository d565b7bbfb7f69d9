/* flush_time.c: how long the disk takes to make 4 KiB safe. See flush_time.h.
 *
 * Thread:      any.
 * Happy path:  a temporary file -> write 4 KiB over the same block, fdatasync, again and again -> percentiles.
 *              The block exists from the first round on, so the flush is timed and not the growing of a file.
 * Failures:    a folder that cannot be written: -errno. The file has no name, so nothing stays behind. */
#include "tools/flush_time.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_SIZE 4096
#define ROUNDS     101 /* odd: the median is one of them */

static int temporary_file(const char *folder)
{
    char path[4096];
    int length = snprintf(path, sizeof(path), "%s/crier-bench-XXXXXX", folder);

    if (length < 0 || (size_t)length >= sizeof(path))
        return -ENAMETOOLONG;
    int fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

/* One write and its flush. The time of the flush, or -errno. */
static int64_t round_us(int fd, char *block, int number)
{
    memset(block, 'a' + number % 26, BLOCK_SIZE);
    ssize_t written = pwrite(fd, block, BLOCK_SIZE, 0);
    if (written != BLOCK_SIZE)
        return written < 0 ? -errno : -EIO;
    int64_t before_us = clock_monotonic_us();
    if (fdatasync(fd) < 0)
        return -errno;
    return clock_monotonic_us() - before_us;
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

int flush_time_measure(const char *folder, struct flush_time *ret_time)
{
    int64_t times_us[ROUNDS];
    char block[BLOCK_SIZE];
    int fd = temporary_file(folder);

    if (fd < 0)
        return fd;
    int64_t rc = round_us(fd, block, 0); /* makes the block; not counted */
    for (int i = 0; i < ROUNDS && rc >= 0; i++)
        rc = times_us[i] = round_us(fd, block, i + 1);
    close(fd);
    if (rc < 0)
        return (int)rc;
    qsort(times_us, ROUNDS, sizeof(times_us[0]), compare);
    *ret_time = (struct flush_time){.p50_us = times_us[ROUNDS / 2], .p99_us = times_us[ROUNDS * 99 / 100]};
    return 0;
}
