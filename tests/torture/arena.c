/* arena.c: see arena.h.
 *
 * Namespaces: what the arena mounts and what it does to its network is seen by it and its children alone, and is gone with
 * them. Without the right to (CAP_SYS_ADMIN) it does without, and the faults that need them say so. */
#include "tests/torture/arena.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef FAULT_SHIM
#define FAULT_SHIM "" /* with sanitizers there is none: their runtime has to be loaded first */
#define POWER_SHIM ""
#endif

#define EVIDENCE_MS 10000 /* how long a fault may take to show */
#define LOOK_MS     10    /* between looks */
#define FULL_MS     30000
#define SILENCE_MS  200

void arena_wait(int ms)
{
    poll(NULL, 0, ms);
}

void arena_wait_us(int us)
{
    struct timespec time = {.tv_nsec = us * 1000L};
    ppoll(NULL, 0, &time, NULL);
}

int arena_between(struct arena *arena, int low, int high)
{
    return low + (int)random_below(&arena->random, (uint64_t)(high - low));
}

static bool loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags |= IFF_UP;
    good = good && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static bool mount_memory(const char *folder)
{
    char options[64];
    snprintf(options, sizeof(options), "size=%" PRIu64, ARENA_DISK_SIZE);
    return mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

/* The broker's disk; and another one, for what a power cut leaves of it. */
static void mount_disks(struct arena *arena)
{
    arena->own_disk = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                      mount_memory(arena->disk) && mount_memory(arena->spare);
}

/* A file of zeros in the arena's folder, mapped here and by a shim; NULL: there is none. */
static void *map_shared(const struct arena *arena, const char *name, size_t size, char *path,
                        size_t path_size)
{
    snprintf(path, path_size, "%s/%s", arena->folder, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return NULL;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

static void make_shims(struct arena *arena)
{
    char path[200];
    if (FAULT_SHIM[0] == '\0')
        return;
    arena->faults = map_shared(arena, "faults", sizeof(*arena->faults), path, sizeof(path));
    snprintf(arena->fault_file, sizeof(arena->fault_file), "CRIER_FAULT_FILE=%s", path);
    arena->power = map_shared(arena, "power", sizeof(*arena->power), path, sizeof(path));
    snprintf(arena->power_file, sizeof(arena->power_file), "CRIER_POWER_FILE=%s", path);
    if (arena->faults == NULL || arena->power == NULL)
        return;
    snprintf(arena->preload, sizeof(arena->preload), "LD_PRELOAD=%s:%s", FAULT_SHIM, POWER_SHIM);
    arena->wrapper[0] = "env";
    arena->wrapper[1] = arena->fault_file;
    arena->wrapper[2] = arena->power_file;
    arena->wrapper[3] = arena->preload;
}

bool arena_enter(struct arena *arena)
{
    snprintf(arena->folder, sizeof(arena->folder), "/tmp/crier-faults.XXXXXX");
    if (mkdtemp(arena->folder) == NULL)
        return false;
    snprintf(arena->disk, sizeof(arena->disk), "%s/disk", arena->folder);
    snprintf(arena->spare, sizeof(arena->spare), "%s/spare", arena->folder);
    if (mkdir(arena->disk, 0700) < 0 || mkdir(arena->spare, 0700) < 0)
        return false;
    arena->own_network = unshare(CLONE_NEWNET) == 0 && loopback_up();
    mount_disks(arena);
    make_shims(arena);
    return true;
}

static bool create_topic(const char *url)
{
    struct crier_topic_options options = {.struct_size = sizeof(options), .partitions = PRODUCERS_PARTITIONS};
    crier *bus;
    int rc = crier_open(url, NULL, &bus);
    if (rc == 0) {
        rc = crier_topic_create(bus, PRODUCERS_TOPIC, &options);
        crier_close(bus);
    }
    if (rc < 0)
        fprintf(stderr, "topic %s: %s\n", PRODUCERS_TOPIC, crier_strerror(rc));
    return rc == 0;
}

bool arena_start(struct arena *arena)
{
    /* silence is found soon, and a full disk, at the next segment */
    static const char *often[] = {"--ping-interval",
                                  "500ms",
                                  "--idle-timeout",
                                  "2s",
                                  "--segment-size",
                                  "64M",
                                  "--cache-memory",
                                  "8M",
                                  NULL};
    if (arena->cache_size)
        often[7] = arena->cache_size;
    const struct broker_options options = {
        .arguments = often, .data = arena->disk, .wrapper = arena->faults ? arena->wrapper : NULL};
    arena->broker = broker_start(&options);
    if (arena->broker == NULL || !create_topic(broker_url(arena->broker)))
        return false;
    int rc = producers_start(&arena->producers, broker_url(arena->broker), arena->folder, NULL);
    if (rc < 0) {
        fprintf(stderr, "the producers: %s\n", strerror(-rc));
        return false;
    }
    rc = witness_start(&arena->witness, broker_url(arena->broker));
    if (rc < 0)
        fprintf(stderr, "the witness: %s\n", crier_strerror(rc));
    bool good = rc == 0;
    for (uint32_t i = 0; good && i < PRODUCERS; i++) /* a fault must meet all of them at work */
        good = arena_flows_from(arena, i);
    return good;
}

bool arena_flows(struct arena *arena)
{
    return witness_wait(&arena->witness, witness_count(&arena->witness), ARENA_RESUME_MS);
}

/* Events of a producer among those from *next on, per partition; moves *next behind them. */
static bool arrived_from(struct witness *witness, uint32_t producer, uint64_t next[PRODUCERS_PARTITIONS])
{
    bool there = false;
    pthread_mutex_lock(&witness->mutex);
    for (int i = 0; i < PRODUCERS_PARTITIONS; i++)
        for (; next[i] < witness->partitions[i].count; next[i]++)
            there = there || witness->partitions[i].events[next[i]].producer == producer;
    pthread_mutex_unlock(&witness->mutex);
    return there;
}

bool arena_flows_from(struct arena *arena, uint32_t producer)
{
    int64_t until_us = clock_monotonic_us() + ARENA_RESUME_MS * INT64_C(1000);
    uint64_t next[PRODUCERS_PARTITIONS] = {0};
    arrived_from(&arena->witness, PRODUCERS + 1, next); /* what is there already */
    while (!arrived_from(&arena->witness, producer, next)) {
        if (clock_monotonic_us() > until_us || !arena_flows(arena))
            return false;
    }
    return true;
}

uint64_t arena_arrivals(struct arena *arena, int ms)
{
    uint64_t before = witness_count(&arena->witness);
    arena_wait(ms);
    return witness_count(&arena->witness) - before;
}

bool arena_await_log(const struct arena *arena, const char *text, uint64_t more_than)
{
    int64_t until_us = clock_monotonic_us() + EVIDENCE_MS * INT64_C(1000);
    while (broker_log_count(arena->broker, text) <= more_than) {
        if (clock_monotonic_us() > until_us)
            return false;
        arena_wait(LOOK_MS);
    }
    return true;
}

bool arena_await_death(const struct arena *arena)
{
    int64_t until_us = clock_monotonic_us() + EVIDENCE_MS * INT64_C(1000);
    while (!broker_has_died(arena->broker)) {
        if (clock_monotonic_us() > until_us)
            return false;
        arena_wait(1);
    }
    return true;
}

bool arena_falls_silent(struct arena *arena)
{
    for (int64_t waited_ms = 0; waited_ms < EVIDENCE_MS; waited_ms += SILENCE_MS)
        if (arena_arrivals(arena, SILENCE_MS) == 0)
            return true;
    return false;
}

/* Events that were on their way arrive in the first moment. */
bool arena_freeze(struct arena *arena, pid_t pid, int ms)
{
    kill(pid, SIGSTOP);
    arena_wait(50);
    bool nothing = arena_arrivals(arena, ms) == 0;
    kill(pid, SIGCONT);
    return nothing;
}

void arena_take_space(int fd)
{
    static const uint8_t bytes[1 << 20];
    for (size_t size = sizeof(bytes); size >= 4096; size /= 2)
        while (write(fd, bytes, size) == (ssize_t)size)
            continue;
}

/* The broker notices at the next segment: until then what it has reserved is enough. Its log is on the same disk: that
 * nothing arrives any more, while it lives, is the evidence. */
bool arena_fill_disk(struct arena *arena, int fd)
{
    int64_t until_us = clock_monotonic_us() + FULL_MS * INT64_C(1000);
    bool full = false;
    arena_take_space(fd);
    while (!full && !broker_has_died(arena->broker) && clock_monotonic_us() < until_us) {
        full = arena_arrivals(arena, arena_between(arena, 200, 700)) == 0;
        arena_take_space(fd);
    }
    return full;
}

int arena_ballast(const struct arena *arena)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/ballast", arena->disk);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    unlink(path);
    return fd;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

void arena_remove(const char *folder)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

bool arena_clean(struct arena *arena)
{
    if (arena->power)
        arena->power->folder[0] = '\0';
    if (arena->own_disk && umount2(arena->disk, MNT_DETACH) == 0)
        return mount_memory(arena->disk);
    arena_remove(arena->disk);
    return mkdir(arena->disk, 0700) == 0;
}

void arena_leave(struct arena *arena)
{
    if (arena->own_disk) {
        umount2(arena->disk, MNT_DETACH);
        umount2(arena->spare, MNT_DETACH);
    }
    arena_remove(arena->folder);
}
