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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef FAULT_SHIM
#define FAULT_SHIM "" /* with sanitizers there is none: their runtime has to be loaded first */
#endif

void arena_wait(int ms)
{
    poll(NULL, 0, ms);
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

static void mount_disk(struct arena *arena)
{
    char options[64];
    snprintf(options, sizeof(options), "size=%" PRIu64, ARENA_DISK_SIZE);
    arena->own_disk = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                      mount("tmpfs", arena->disk, "tmpfs", 0, options) == 0;
}

static void make_shim(struct arena *arena)
{
    if (FAULT_SHIM[0] == '\0')
        return;
    snprintf(arena->fault_file, sizeof(arena->fault_file), "CRIER_FAULT_FILE=%s/faults", arena->folder);
    snprintf(arena->preload, sizeof(arena->preload), "LD_PRELOAD=%s", FAULT_SHIM);
    int fd = open(strchr(arena->fault_file, '=') + 1, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*arena->faults)) < 0)
        return;
    void *memory = mmap(NULL, sizeof(*arena->faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED)
        return;
    arena->faults = memory;
    arena->wrapper[0] = "env";
    arena->wrapper[1] = arena->fault_file;
    arena->wrapper[2] = arena->preload;
}

bool arena_enter(struct arena *arena)
{
    snprintf(arena->folder, sizeof(arena->folder), "/tmp/crier-faults.XXXXXX");
    if (mkdtemp(arena->folder) == NULL)
        return false;
    snprintf(arena->disk, sizeof(arena->disk), "%s/disk", arena->folder);
    if (mkdir(arena->disk, 0700) < 0)
        return false;
    arena->own_network = unshare(CLONE_NEWNET) == 0 && loopback_up();
    mount_disk(arena);
    make_shim(arena);
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
    static const char *const often[] = {
        "--ping-interval", "500ms", "--idle-timeout", "2s", "--segment-size", "64M", NULL};
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

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

void arena_leave(struct arena *arena)
{
    if (arena->own_disk)
        umount2(arena->disk, MNT_DETACH);
    nftw(arena->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
