/* nemesis_limits.c: what runs out: connections, descriptors, memory, ports. See nemesis.c. */
#include "tests/torture/nemesis.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVIDENCE_MS 10000 /* how long a fault may take to show */
#define WAITERS     50    /* connections that the kernel takes and the broker cannot */
#define HOGS        8
#define HOG_QUEUE   (64u << 20) /* the most there may be */
#define SETTLE_MS   200
#define PRESSURE    (INT64_C(4) << 20) /* bytes more than it needs now */

static uint64_t descriptors_of(pid_t pid)
{
    char path[64];
    uint64_t count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

static uint64_t address_space_of(pid_t pid)
{
    char path[64];
    uint64_t pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%" SCNu64, &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Lowers the soft limit of a process; *ret_before puts it back. */
static bool limit(pid_t pid, int resource, uint64_t value, struct rlimit *ret_before)
{
    struct rlimit wanted;
    if (prlimit(pid, resource, NULL, ret_before) < 0)
        return false;
    wanted = *ret_before;
    wanted.rlim_cur = value;
    return prlimit(pid, resource, &wanted, NULL) == 0;
}

/* ---- connections and descriptors ---- */

int strike_many_connections(struct arena *arena, const char **ret_why)
{
    struct rlimit mine, before;
    size_t wanted = arena->connections, count = 0;
    int *fds = malloc(wanted * sizeof(*fds));
    getrlimit(RLIMIT_NOFILE, &mine);
    if (fds == NULL || mine.rlim_max < wanted + 256) {
        free(fds);
        *ret_why = "the hard limit of descriptors is too low";
        return -1;
    }
    limit(getpid(), RLIMIT_NOFILE, mine.rlim_max, &before);
    uint64_t had = descriptors_of(broker_pid(arena->broker));
    count = nemesis_connect_many(arena, fds, wanted);
    bool flows = arena_flows(arena);
    uint64_t has = descriptors_of(broker_pid(arena->broker));
    nemesis_close_all(fds, count);
    free(fds);
    return count == wanted && flows && has >= had + wanted / 2; /* silent ones are closed meanwhile */
}

/* How many a process has once those of strangers who have just gone are closed. */
static uint64_t descriptors_settled(pid_t pid)
{
    uint64_t before, now = descriptors_of(pid);
    do {
        before = now;
        arena_wait(SETTLE_MS);
        now = descriptors_of(pid);
    } while (now < before);
    return now;
}

int strike_descriptors(struct arena *arena, const char **ret_why)
{
    struct rlimit before;
    int fds[WAITERS];
    pid_t pid = broker_pid(arena->broker);
    uint64_t seen = broker_log_count(arena->broker, "ACCEPT-PAUSED");
    if (!limit(pid, RLIMIT_NOFILE, descriptors_settled(pid) + 8, &before)) {
        *ret_why = "another process's limits cannot be set";
        return -1;
    }
    size_t count = nemesis_connect_many(arena, fds, WAITERS); /* the kernel takes them, the broker cannot */
    bool paused = arena_await_log(arena, "ACCEPT-PAUSED", seen);
    bool flows = arena_flows(arena); /* who is there goes on */
    prlimit(pid, RLIMIT_NOFILE, &before, NULL);
    nemesis_close_all(fds, count);
    return paused && flows;
}

/* Buses that emit large events to an ephemeral topic, and a listener that takes none of them: they wait in the broker's
 * memory, up to 64 MiB of them, and nothing goes to its disk. */
struct hogs {
    crier *buses[HOGS];
    size_t count;
    atomic_bool over; /* the listener goes on */
};

static int on_hog(crier *bus, const crier_event *event, void *ctx)
{
    struct hogs *hogs = ctx;
    (void)bus;
    (void)event;
    while (!atomic_load(&hogs->over))
        arena_wait(1);
    return 0;
}

/* Before the limit: what these need, the broker still gets. */
static bool hogs_start(const struct arena *arena, struct hogs *hogs)
{
    struct crier_options options = crier_options_default();
    struct crier_topic_options topic = crier_topic_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    options.close_timeout_ms = 0;
    topic.ephemeral = true;
    listen.queue_size = HOG_QUEUE;
    while (hogs->count < HOGS &&
           crier_open(broker_url(arena->broker), &options, &hogs->buses[hogs->count]) == 0)
        hogs->count++;
    if (hogs->count < HOGS)
        return false;
    int rc = crier_topic_create(hogs->buses[0], "hogs", &topic);
    return (rc == 0 || rc == CRIER_EEXIST) &&
           crier_listen(hogs->buses[0], "hogs", &listen, on_hog, hogs, NULL) == 0;
}

static void hogs_end(struct hogs *hogs)
{
    atomic_store(&hogs->over, true);
    while (hogs->count > 0)
        crier_close(hogs->buses[--hogs->count]);
}

/* Until the broker's log speaks of it, or the broker ends. */
static bool memory_is_short(const struct arena *arena, struct hogs *hogs, uint64_t seen)
{
    static uint8_t large[900 * 1024];
    struct crier_emit_options options = crier_emit_options_default();
    int64_t until_us = clock_monotonic_us() + EVIDENCE_MS * INT64_C(1000);
    options.durability = CRIER_MEMORY;
    while (!broker_has_died(arena->broker) && broker_log_count(arena->broker, "memory") <= seen) {
        if (clock_monotonic_us() > until_us)
            return false;
        for (size_t i = 1; i < hogs->count; i++)
            crier_emit_with(hogs->buses[i], "hogs", large, sizeof(large),
                            &options); /* or enough is on its way */
    }
    return true;
}

/* Not a byte more than it has, and then clients that want much. What it cannot do without ends it (decision 0003). */
int strike_memory(struct arena *arena, const char **ret_why)
{
    struct hogs hogs = {.count = 0};
    struct rlimit before;
    pid_t pid = broker_pid(arena->broker);
    uint64_t seen = broker_log_count(arena->broker, "memory");
    bool hit = hogs_start(arena, &hogs);
    if (!limit(pid, RLIMIT_AS, address_space_of(pid), &before)) {
        hogs_end(&hogs);
        *ret_why = "another process's limits cannot be set";
        return -1;
    }
    hit = hit && memory_is_short(arena, &hogs, seen);
    bool died = broker_has_died(arena->broker);
    if (!died)
        prlimit(pid, RLIMIT_AS, &before, NULL);
    hogs_end(&hogs);
    if (!died && !broker_has_died(arena->broker))
        return hit;
    broker_kill(arena->broker);
    return broker_restart(arena->broker) && hit;
}

/* ---- memory: the OOM killer ---- */

static bool write_text(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

static int64_t read_number(const char *folder, const char *name)
{
    char path[256];
    int64_t value = -1;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%" SCNd64, &value) != 1)
        value = -1;
    if (file)
        fclose(file);
    return value;
}

/* The broker in a cgroup of its own (version 1) that has room for what it holds now and little more; files of a tmpfs count,
 * too, and cannot be written back. The kernel ends it, sooner or later. */
int strike_oom(struct arena *arena, const char **ret_why)
{
    char folder[128], text[32];
    snprintf(folder, sizeof(folder), "/sys/fs/cgroup/memory/crier-%d", (int)getpid());
    snprintf(text, sizeof(text), "%d", (int)broker_pid(arena->broker));
    if (mkdir(folder, 0755) < 0 || !write_text(folder, "cgroup.procs", text)) {
        rmdir(folder);
        *ret_why = "no memory cgroup can be made";
        return -1;
    }
    bool flows = arena_flows(arena); /* it is charged from now on */
    snprintf(text, sizeof(text), "%" PRId64, read_number(folder, "memory.usage_in_bytes") + PRESSURE);
    bool limited = write_text(folder, "memory.limit_in_bytes", text);
    bool died = limited && arena_await_death(arena);
    bool hit = read_number(folder, "memory.failcnt") > 0;
    broker_kill(arena->broker);
    rmdir(folder);
    return broker_restart(arena->broker) && flows && died && hit;
}

/* ---- ports ---- */

static bool port_range(const char *range)
{
    return write_text("/proc/sys/net/ipv4", "ip_local_port_range", range);
}

static int port_take(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The only ports to connect from are somebody else's, just when everybody has to connect again. */
int strike_ports(struct arena *arena, const char **ret_why)
{
    if (!arena->own_network || !port_range("32766 32767")) {
        *ret_why = "no network namespace";
        return -1;
    }
    int fds[2] = {port_take(32766), port_take(32767)};
    broker_kill(arena->broker);
    bool good = broker_restart(arena->broker);
    bool refused = nemesis_connect(arena) < 0 && errno == EADDRNOTAVAIL;
    bool nothing = arena_falls_silent(arena);
    good = port_range("32768 60999") && good;
    nemesis_close_all(fds, 2);
    return good && refused && nothing;
}
