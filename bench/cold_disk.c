/* cold_disk.c: what do cold reads cost the disk's flushes, without a line of crier? See cold.h.
 *
 * Threads: the caller's writes; one more reads, and ends with the call. */
#include "bench/cold.h"

#include "base/clock.h"
#include "base/histogram.h"

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WRITE_MAX = 2 << 20, FILE_SIZE = 256 << 20, FILES_MAX = 256, PIECE = 64 << 10 };

struct reading {
    const char *folder;
    double bytes_per_us;
    atomic_bool over;
};

void cold_sleep_until(int64_t us)
{
    int64_t left_us = us - clock_monotonic_us();
    if (left_us > 0) {
        struct timespec left = {.tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000};
        (void)nanosleep(&left, NULL);
    }
}

void cold_drop_cached(const char *folder)
{
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/shard-0", folder);
    DIR *dir = opendir(path);
    if (!dir)
        err(1, "%s", path);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        (void)snprintf(path, sizeof(path), "%s/shard-0/%s", folder, entry->d_name);
        int fd = entry->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (fdatasync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            warn("%s", path);
        close(fd);
    }
    closedir(dir);
}

/* ---- reading ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static size_t segments_find(const char *folder, char names[FILES_MAX][600])
{
    char path[600];
    size_t count = 0;
    (void)snprintf(path, sizeof(path), "%s/shard-0", folder);
    DIR *dir = opendir(path);
    if (!dir)
        err(1, "%s", path);
    for (const struct dirent *entry; count < FILES_MAX && (entry = readdir(dir));)
        if (strncmp(entry->d_name, "seg-", 4) == 0 && strstr(entry->d_name, ".mdb"))
            (void)snprintf(names[count++], sizeof(names[0]), "%s/shard-0/%s", folder, entry->d_name);
    closedir(dir);
    qsort(names, count, sizeof(names[0]), by_name);
    return count;
}

static void *read_all(void *ctx)
{
    static char names[FILES_MAX][600];
    static char piece[PIECE];
    struct reading *reading = ctx;
    size_t files = segments_find(reading->folder, names);
    int64_t began_us = clock_monotonic_us();
    double bytes = 0;
    for (size_t i = 0; i < files && !atomic_load(&reading->over); i++) {
        int fd = open(names[i], O_RDONLY | O_CLOEXEC);
        off_t at = 0;
        if (fd < 0)
            err(1, "%s", names[i]);
        for (ssize_t got; !atomic_load(&reading->over) && (got = pread(fd, piece, sizeof(piece), at)) > 0;
             at += got) {
            bytes += (double)got;
            cold_sleep_until(began_us + (int64_t)(bytes / reading->bytes_per_us));
        }
        close(fd);
    }
    return NULL;
}

/* ---- writing ---- */

static int file_make(const char *path)
{
    static char zeros[1 << 20];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        err(1, "%s", path);
    for (off_t at = 0; at < FILE_SIZE;
         at += (off_t)sizeof(zeros)) /* blocks that are there, as a segment's mostly are not */
        if (pwrite(fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
            err(1, "%s", path);
    if (fsync(fd) < 0)
        err(1, "%s", path);
    return fd;
}

static double write_all(int fd, double bytes_per_us, double seconds)
{
    static struct histogram latencies;
    static char bytes[WRITE_MAX];
    memset(&latencies, 0, sizeof(latencies));
    int64_t began_us = clock_monotonic_us(), ticks = (int64_t)(seconds * 1e6) / COLD_TICK_US, done = 0;
    double per_tick = bytes_per_us * COLD_TICK_US;
    off_t at = 0;
    while (done < ticks) {
        int64_t due = (clock_monotonic_us() - began_us) / COLD_TICK_US + 1,
                most = (int64_t)(WRITE_MAX / per_tick) + 1;
        due = due < ticks ? due : ticks;
        due = due - done < most ? due : done + most;
        if (due == done) {
            cold_sleep_until(began_us + done * COLD_TICK_US);
            continue;
        }
        size_t size = (size_t)((double)(due - done) * per_tick) & ~(size_t)4095;
        size = size < 4096 ? 4096 : size < WRITE_MAX ? size : WRITE_MAX;
        if (at + (off_t)size > FILE_SIZE)
            at = 0;
        if (pwrite(fd, bytes, size, at) != (ssize_t)size || fdatasync(fd) < 0)
            err(1, "the bare disk");
        at += (off_t)size;
        for (int64_t now_us = clock_monotonic_us(); done < due; done++)
            histogram_add(&latencies, (uint64_t)(now_us - began_us - done * COLD_TICK_US));
    }
    return (double)histogram_percentile(&latencies, 0.99);
}

double cold_disk(const char *folder, double write_bytes_per_us, double read_bytes_per_us, double seconds,
                 bool beside)
{
    struct reading reading = {.folder = folder, .bytes_per_us = read_bytes_per_us};
    char path[600];
    pthread_t reader;
    (void)snprintf(path, sizeof(path), "%s/bare.tmp", folder);
    int fd = file_make(path);
    cold_drop_cached(folder);
    if (beside && pthread_create(&reader, NULL, read_all, &reading) != 0)
        errx(1, "no thread");
    double p99_us = write_all(fd, write_bytes_per_us, seconds);
    atomic_store(&reading.over, true);
    if (beside)
        pthread_join(reader, NULL);
    close(fd);
    (void)unlink(path);
    return p99_us;
}
