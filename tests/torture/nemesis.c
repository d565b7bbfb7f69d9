/* nemesis.c: the faults. Each strikes, waits for evidence that it hit, and heals; what it may break is looked at by others
 * (arena_flows, the verdict). A fault that this machine does not allow says so.
 *
 * Peers that are no clients of libcrier speak raw bytes here: protocol.md, "frame": u32 length, u16 header length, kind, flags. */
#include "tests/torture/nemesis.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVIDENCE_MS 10000 /* how long a fault may take to show */
#define LORISES     50
#define STRANGERS   200

/* ---- looking and touching ---- */

int nemesis_connect(const struct arena *arena)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(broker_port(arena->broker))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

size_t nemesis_connect_many(const struct arena *arena, int *fds, size_t count)
{
    size_t done = 0;
    while (done < count && (fds[done] = nemesis_connect(arena)) >= 0)
        done++;
    return done;
}

void nemesis_close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

static void close_with_reset(int fd)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

/* ---- processes ---- */

static int strike_kill(struct arena *arena, const char **ret_why)
{
    (void)ret_why;
    broker_kill(arena->broker);
    return broker_restart(arena->broker);
}

static int strike_abort(struct arena *arena, const char **ret_why)
{
    (void)ret_why;
    kill(broker_pid(arena->broker), SIGABRT); /* as a failed check does, in whatever thread */
    bool died = arena_await_death(arena);
    broker_kill(arena->broker);
    return broker_restart(arena->broker) && died;
}

static int strike_stop(struct arena *arena, const char **ret_why)
{
    (void)ret_why;
    return broker_stop(arena->broker) == 0 && broker_restart(arena->broker);
}

static int strike_freeze(struct arena *arena, const char **ret_why)
{
    (void)ret_why;
    return arena_freeze(arena, broker_pid(arena->broker), arena_between(arena, 100, 1200));
}

static int strike_long_freeze(struct arena *arena, const char **ret_why)
{
    struct crier_stats before, after;
    (void)ret_why;
    crier_stats(arena->witness.bus, &before);
    bool nothing =
        arena_freeze(arena, broker_pid(arena->broker), 3500); /* idle-timeout, and the client's grace */
    bool flows = arena_flows(arena);
    crier_stats(arena->witness.bus, &after);
    return nothing && flows && after.reconnects > before.reconnects;
}

static int strike_client_freeze(struct arena *arena, const char **ret_why)
{
    uint64_t seen = broker_log_count(arena->broker, "silent for");
    uint32_t victim = (uint32_t)random_below(&arena->random, PRODUCERS);
    (void)ret_why;
    if (!arena_flows_from(arena, victim)) /* it has a connection */
        return 0;
    kill(arena->producers.pids[victim], SIGSTOP);
    bool found = arena_await_log(arena, "silent for", seen); /* for the idle timeout */
    kill(arena->producers.pids[victim], SIGCONT);
    return found && arena_flows_from(arena, victim);
}

/* ---- the network ---- */

static bool loopback_set(bool up)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    good = good && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static int strike_partition(struct arena *arena, const char **ret_why)
{
    if (!arena->own_network) {
        *ret_why = "no network namespace";
        return -1;
    }
    if (!loopback_set(false))
        return 0;
    arena_wait(50);
    bool nothing = arena_arrivals(arena, arena_between(arena, 200, 4000)) == 0;
    return loopback_set(true) && nothing;
}

static int strike_lossy_network(struct arena *arena, const char **ret_why)
{
    static const char add[] =
        "tc qdisc add dev lo root netem delay 10ms 5ms loss 2% duplicate 1% reorder 5% 2>/dev/null";
    if (!arena->own_network || system(add) != 0) { /* in the arena's own namespace */
        *ret_why = "no network namespace, no tc, or a kernel without netem";
        return -1;
    }
    bool flows = arena_flows(arena);
    arena_wait(arena_between(arena, 200, 1500));
    return system("tc qdisc del dev lo root") == 0 && flows;
}

static int strike_half_frames(struct arena *arena, const char **ret_why)
{
    static const uint8_t half[] = {0, 0, 4, 0, 3, 0, 1, 0, 8, 1}; /* 1024 bytes are to come */
    int sent = 0;
    (void)ret_why;
    for (int i = 0; i < STRANGERS; i++) {
        int fd = nemesis_connect(arena);
        if (fd < 0)
            continue;
        sent += send(fd, half, 1 + random_below(&arena->random, sizeof(half)), MSG_NOSIGNAL) > 0;
        if (random_below(&arena->random, 2))
            close_with_reset(fd);
        else
            close(fd); /* FIN */
    }
    return sent == STRANGERS && arena_flows(arena);
}

static int strike_garbage(struct arena *arena, const char **ret_why)
{
    uint64_t seen = broker_log_count(arena->broker, "SESSION-REFUSED");
    uint8_t bytes[512];
    (void)ret_why;
    for (int i = 0; i < STRANGERS; i++) {
        int fd = nemesis_connect(arena);
        for (size_t at = 0; at < sizeof(bytes); at++)
            bytes[at] = (uint8_t)random_next(&arena->random);
        if (fd >= 0 && send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) < 0 && errno != EPIPE)
            perror("garbage");
        if (fd >= 0)
            close(fd);
    }
    return arena_await_log(arena, "SESSION-REFUSED", seen) && arena_flows(arena);
}

/* Each sends a byte now and then, of a frame that never ends. */
static int strike_slow_loris(struct arena *arena, const char **ret_why)
{
    static const uint8_t drops[] = {0, 0, 4, 0, 3, 0, 1, 0, 8, 1, 8, 1, 8, 1, 8, 1};
    int fds[LORISES], alive = 0;
    size_t count = nemesis_connect_many(arena, fds, LORISES);
    bool flows = true;
    (void)ret_why;
    for (size_t drop = 0; drop < sizeof(drops) && flows; drop++) {
        alive = 0;
        for (size_t i = 0; i < count; i++)
            alive += send(fds[i], &drops[drop], 1, MSG_NOSIGNAL) == 1;
        flows = arena_flows(arena);
    }
    nemesis_close_all(fds, count);
    return count == LORISES && alive == LORISES && flows;
}

/* ---- the disk ---- */

static int strike_full_disk(struct arena *arena, const char **ret_why)
{
    if (!arena->own_disk) {
        *ret_why = "no file system of its own";
        return -1;
    }
    int ballast = arena_ballast(arena);
    bool full = ballast >= 0 && arena_fill_disk(arena, ballast);
    if (ballast >= 0)
        close(ballast);
    return full;
}

/* A sync that fails is not repeated: what was being written is unknown, the log read-only, until a restart. */
static int strike_failing_disk(struct arena *arena, const char **ret_why)
{
    if (arena->faults == NULL) {
        *ret_why = "no shim with sanitizers";
        return -1;
    }
    uint64_t seen = broker_log_count(arena->broker, "SHARD-READ-ONLY");
    int64_t calls = atomic_load(&arena->faults->sync_calls);
    atomic_store(&arena->faults->sync_error, EIO);
    bool read_only = arena_await_log(arena, "SHARD-READ-ONLY", seen);
    atomic_store(&arena->faults->sync_error, 0);
    bool nothing = arena_falls_silent(arena); /* the disk is well again, and still nothing is written */
    broker_kill(arena->broker);
    return broker_restart(arena->broker) && read_only && nothing &&
           atomic_load(&arena->faults->sync_calls) > calls;
}

/* ---- the clock ---- */

static int strike_clock(struct arena *arena, const char **ret_why)
{
    static const int64_t jumps[] = {3600, -3600, 400 * INT64_C(86400), -10 * INT64_C(31557600)};
    if (arena->faults == NULL) {
        *ret_why = "no shim with sanitizers";
        return -1;
    }
    int64_t calls = atomic_load(&arena->faults->clock_calls);
    bool flows = true;
    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]) && flows; i++) {
        atomic_store(&arena->faults->clock_seconds, jumps[i]);
        flows = arena_flows(arena);
        arena_wait(arena_between(arena, 20, 200));
    }
    if (flows && random_below(&arena->random, 2)) { /* a restart in another decade */
        broker_kill(arena->broker);
        flows = broker_restart(arena->broker) && arena_flows(arena);
    }
    atomic_store(&arena->faults->clock_seconds, 0);
    return flows && atomic_load(&arena->faults->clock_calls) > calls;
}

const struct nemesis nemeses[] = {
    {"kill", "SIGKILL, started again", strike_kill},
    {"abort", "SIGABRT, as a failed check, started again", strike_abort},
    {"stop", "SIGTERM, started again", strike_stop},
    {"freeze", "SIGSTOP for up to a second", strike_freeze},
    {"long-freeze", "SIGSTOP for longer than the idle timeout", strike_long_freeze},
    {"client-freeze", "a client is stopped for longer than the idle timeout", strike_client_freeze},
    {"partition", "no packet arrives for up to 4 s", strike_partition},
    {"lossy-network", "delay, loss, duplicates, reordering (netem)", strike_lossy_network},
    {"half-frames", "200 connections reset, or closed, in the middle of a frame", strike_half_frames},
    {"garbage", "200 connections that send random bytes", strike_garbage},
    {"slow-loris", "50 connections that send a byte now and then", strike_slow_loris},
    {"connections", "very many connections that say nothing", strike_many_connections},
    {"descriptors", "no descriptor left to accept with", strike_descriptors},
    {"memory", "no memory left (RLIMIT_AS)", strike_memory},
    {"oom", "a memory cgroup too small: the OOM killer", strike_oom},
    {"ports", "no port left to connect from, while the broker starts again", strike_ports},
    {"full-disk", "no space left, then space again", strike_full_disk},
    {"failing-disk", "every sync fails (EIO), then a restart", strike_failing_disk},
    {"clock", "the wall clock jumps by hours and years", strike_clock},
};
const size_t nemesis_count = sizeof(nemeses) / sizeof(nemeses[0]);
