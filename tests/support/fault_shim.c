/* fault_shim.c: a library for LD_PRELOAD that moves the wall clock of a process while it runs, and fails its disk; see
 * fault_shim.h. Only CLOCK_REALTIME and its relatives move: a jump of the wall clock leaves the monotonic one alone. */
#include "tests/support/fault_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct fault_shim none;
static struct fault_shim *faults = &none;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("CRIER_FAULT_FILE");
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *memory = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED)
        faults = memory;
    close(fd);
}

EXPORT int clock_gettime(clockid_t id, struct timespec *to)
{
    if (real_clock_gettime == NULL)
        start(); /* somebody's constructor came before ours */
    int rc = real_clock_gettime(id, to);
    int64_t seconds = atomic_load(&faults->clock_seconds);
    if (rc == 0 && seconds != 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        to->tv_sec += seconds;
        atomic_fetch_add(&faults->clock_calls, 1);
    }
    return rc;
}

EXPORT int gettimeofday(struct timeval *restrict to, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    *to = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return rc;
}

EXPORT time_t time(time_t *to)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to)
        *to = now.tv_sec;
    return now.tv_sec;
}

/* The next library's: ours may not be the only shim. */
static int sync_with(const char *name, int fd)
{
    int64_t error = atomic_load(&faults->sync_error);
    int (*real)(int);
    if (error == 0) {
        *(void **)&real = dlsym(RTLD_NEXT, name);
        return real(fd);
    }
    atomic_fetch_add(&faults->sync_calls, 1);
    errno = (int)error;
    return -1;
}

EXPORT int fdatasync(int fd)
{
    return sync_with("fdatasync", fd);
}

EXPORT int fsync(int fd)
{
    return sync_with("fsync", fd);
}

static bool is_meant(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    return strstr(path, faults->read_part) != NULL;
}

EXPORT ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
    int64_t error = atomic_load(&faults->read_error);
    if (error == 0 || !is_meant(fd))
        return syscall(SYS_pread64, fd, to, size, offset);
    atomic_fetch_add(&faults->read_calls, 1);
    errno = (int)error;
    return -1;
}
