/* disk_faults.c: disks that fail where a test says so; see disk_faults.h.
 *
 * The functions here take the place of libc's; the work itself is done by the system call, so that a sanitizer's own
 * interceptors are not needed. */
#include "tests/support/disk_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct fault {
    char part[128];
    enum disk_op op;
    unsigned countdown;
    int error;
    bool armed, once;
    unsigned struck;
} fault;
static _Atomic bool armed; /* a look without the lock: most programs' writes have nothing to do with a test */

static void arm(const char *part, enum disk_op op, unsigned nth, int error, bool once)
{
    pthread_mutex_lock(&lock);
    fault = (struct fault){.op = op, .countdown = nth, .error = error, .armed = true, .once = once};
    (void)snprintf(fault.part, sizeof(fault.part), "%s", part);
    armed = true;
    pthread_mutex_unlock(&lock);
}

void disk_fail(const char *part, enum disk_op op, unsigned nth, int error)
{
    arm(part, op, nth, error, false);
}

void disk_fail_once(const char *part, enum disk_op op, unsigned nth, int error)
{
    arm(part, op, nth, error, true);
}

void disk_heal(void)
{
    pthread_mutex_lock(&lock);
    fault.armed = false;
    armed = false;
    pthread_mutex_unlock(&lock);
}

unsigned disk_struck(void)
{
    pthread_mutex_lock(&lock);
    unsigned struck = fault.struck;
    pthread_mutex_unlock(&lock);
    return struck;
}

static bool path_matches(int fd)
{
    char link[64], path[4096];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    return strstr(path, fault.part) != NULL;
}

/* The error this call meets; 0: none. */
static int strikes(int fd, enum disk_op op)
{
    if (!armed)
        return 0;
    int error = 0;
    pthread_mutex_lock(&lock);
    if (fault.armed && fault.op == op && path_matches(fd) &&
        (fault.countdown <= 1 || --fault.countdown == 0)) {
        error = fault.error;
        fault.struck++;
        fault.armed = !fault.once;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int write_error(int fd)
{
    if (!armed)
        return 0;
    int flags = fcntl(fd, F_GETFL);
    return strikes(fd, flags >= 0 && (flags & O_DSYNC) ? DISK_META : DISK_WRITE);
}

PUBLIC ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    int error = write_error(fd);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, error == DISK_SHORT ? size / 2 : size, offset);
}

PUBLIC ssize_t write(int fd, const void *bytes, size_t size)
{
    int error = write_error(fd);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, error == DISK_SHORT ? size / 2 : size);
}

PUBLIC ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    int error = write_error(fd);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return syscall(SYS_writev, fd, pieces, error == DISK_SHORT ? 1 : count);
}

PUBLIC ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    int error = strikes(fd, DISK_READ);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return syscall(SYS_pread64, fd, bytes, size, offset);
}

PUBLIC int fdatasync(int fd)
{
    int error = strikes(fd, DISK_SYNC);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

PUBLIC int fsync(int fd)
{
    int error = strikes(fd, DISK_SYNC);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

PUBLIC int fallocate(int fd, int mode, off_t offset, off_t length)
{
    int error = strikes(fd, DISK_ALLOCATE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}
