/* disk_faults.c: disks that fail where a test says so; see disk_faults.h.
 *
 * The functions here take the place of libc's; the work itself is done by the system call, so that a sanitizer's own
 * interceptors are not needed. */
#include "tests/support/disk_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
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
    bool armed, holds, whole; /* whole: part is all of the path */
    unsigned times;           /* it strikes so often */
    unsigned serial;
    unsigned struck;
} fault;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Atomic bool armed; /* a look without the lock: most programs' writes have nothing to do with a test */

static void arm(const char *part, enum disk_op op, unsigned nth, int error, unsigned times)
{
    pthread_mutex_lock(&lock);
    fault = (struct fault){.op = op,
                           .countdown = nth,
                           .error = error,
                           .armed = true,
                           .times = times,
                           .holds = times == 0,
                           .serial = fault.serial + 1};
    pthread_cond_broadcast(&changed); /* who was held by the one before goes on */
    (void)snprintf(fault.part, sizeof(fault.part), "%s", part);
    armed = true;
    pthread_mutex_unlock(&lock);
}

void disk_fail(const char *part, enum disk_op op, unsigned nth, int error)
{
    arm(part, op, nth, error, UINT_MAX);
}

void disk_fail_once(const char *part, enum disk_op op, unsigned nth, int error)
{
    arm(part, op, nth, error, 1);
}

void disk_fail_times(const char *part, enum disk_op op, unsigned times, int error)
{
    arm(part, op, 1, error, times);
}

void disk_fail_folder(const char *path, enum disk_op op, int error)
{
    arm(path, op, 1, error, UINT_MAX);
    pthread_mutex_lock(&lock);
    fault.whole = true;
    pthread_mutex_unlock(&lock);
}

void disk_hold(const char *part, enum disk_op op)
{
    arm(part, op, 1, 0, 0);
}

void disk_await_held(void)
{
    pthread_mutex_lock(&lock);
    while (fault.struck == 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void disk_heal(void)
{
    pthread_mutex_lock(&lock);
    fault.armed = false;
    armed = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

unsigned disk_struck(void)
{
    pthread_mutex_lock(&lock);
    unsigned struck = fault.struck;
    pthread_mutex_unlock(&lock);
    return struck;
}

/* path NULL: that of the descriptor. */
static bool path_matches(int fd, const char *path_given)
{
    if (path_given)
        return fault.whole ? strcmp(path_given, fault.part) == 0 : strstr(path_given, fault.part) != NULL;
    char link[64], path[4096];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    return fault.whole ? strcmp(path, fault.part) == 0 : strstr(path, fault.part) != NULL;
}

/* The error this call meets; 0: none. */
static int meet(int fd, const char *path, enum disk_op op)
{
    if (!armed)
        return 0;
    int error = 0;
    pthread_mutex_lock(&lock);
    if (fault.armed && fault.op == op && path_matches(fd, path) &&
        (fault.countdown <= 1 || --fault.countdown == 0)) {
        fault.struck++;
        error = fault.error;
        pthread_cond_broadcast(&changed);
        unsigned serial = fault.serial;
        if (!fault.holds && fault.struck >= fault.times)
            fault.armed = false;
        while (fault.holds && fault.armed && fault.serial == serial)
            pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int strikes(int fd, enum disk_op op)
{
    return meet(fd, NULL, op);
}

static int write_error(int fd)
{
    if (!armed)
        return 0;
    int flags = fcntl(fd, F_GETFL);
    return strikes(fd, flags >= 0 && (flags & O_DSYNC) ? DISK_META : DISK_WRITE);
}

PUBLIC int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    int error = meet(-1, path, DISK_OPEN);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
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
    int error = meet(fd, NULL, DISK_WRITEV);
    if (error == 0)
        error = write_error(fd);
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
