/* fault_shim.c: a library for LD_PRELOAD that moves the wall clock of a process while it runs, and fails its disk.
 *
 * CRIER_FAULT_FILE names a file that a test maps, too: seconds to add to the wall clock; the errno that every fdatasync and
 * fsync fails with (0: none), without having synced; and how often either was done, counted here. Only CLOCK_REALTIME and
 * its relatives move: a jump of the wall clock leaves the monotonic one alone. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct faults {
    _Atomic int64_t clock_seconds, clock_calls;
    _Atomic int64_t sync_error, sync_calls;
};

static struct faults none;
static struct faults *faults = &none;
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

static int sync_with(long call, int fd)
{
    int64_t error = atomic_load(&faults->sync_error);
    if (error == 0)
        return (int)syscall(call, fd);
    atomic_fetch_add(&faults->sync_calls, 1);
    errno = (int)error;
    return -1;
}

EXPORT int fdatasync(int fd)
{
    return sync_with(SYS_fdatasync, fd);
}

EXPORT int fsync(int fd)
{
    return sync_with(SYS_fsync, fd);
}
