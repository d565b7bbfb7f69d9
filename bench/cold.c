/* cold.c: what does a replay of cold data cost those who emit meanwhile?
 *
 *   crier_cold URL FOLDER TOPIC [MB_PER_S [SECONDS [ROUNDS [EVENTS_PER_S]]]]                      200, 5, 5, 30 % of the most
 *
 * An open loop: events of 1 KB are due at fixed times whatever became of those before, and a latency counts from when its
 * event was due to when it was acknowledged, durably. First as many as can be, for a second: the rate is 30 % of that.
 * Then in turns: SECONDS alone, and SECONDS while another bus replays TOPIC from its start at MB_PER_S, after FOLDER's files
 * were synced and dropped from the kernel's cache. Medians of the rounds' 99th percentiles; one JSON object.
 *
 * Threads: main emits; each bus has its own. The outcomes are all counted by the emitting bus's. */
#include "base/clock.h"
#include "base/histogram.h"

#include <crier/crier.h>
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_SIZE = 1000, TICK_US = 1000, ROUNDS_MAX = 50, SHARE_PERCENT = 30 };

/* What main counts in; the emitting bus's thread writes it while events are on their way. */
struct loop {
    crier *bus;
    struct histogram *latencies; /* NULL: not counted */
    atomic_ulong answered;
    unsigned long emitted;
};

struct replay {
    crier *bus;
    double bytes_per_us;
    int64_t began_us;
    atomic_ulong bytes;
    atomic_bool over;
};

static struct histogram histogram;

static void sleep_until(int64_t us)
{
    int64_t left_us = us - clock_monotonic_us();
    if (left_us > 0) {
        struct timespec left = {.tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000};
        (void)nanosleep(&left, NULL);
    }
}

/* ---- the open loop ---- */

struct due {
    struct loop *loop;
    int64_t us;
};

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct due *due = ctx;
    struct loop *loop = due->loop;
    (void)bus;
    (void)offset;
    if (code < 0)
        errx(1, "an emit failed: %s", crier_strerror(code));
    if (loop->latencies)
        histogram_add(loop->latencies, (uint64_t)(clock_monotonic_us() - due->us));
    free(due);
    atomic_fetch_add(&loop->answered, 1);
}

/* false: no room */
static bool emit(struct loop *loop, int64_t due_us)
{
    static const char value[EVENT_SIZE];
    struct due *due = malloc(sizeof(*due));
    if (!due)
        err(1, "memory");
    *due = (struct due){loop, due_us};
    struct crier_emit_options options = crier_emit_options_default();
    options.done = on_emitted;
    options.ctx = due;
    int rc = crier_emit_with(loop->bus, "cold.live", value, sizeof(value), &options);
    if (rc == CRIER_EAGAIN) {
        free(due);
        return false;
    }
    if (rc < 0)
        errx(1, "emit: %s", crier_strerror(rc));
    loop->emitted++;
    return true;
}

static void settle(struct loop *loop)
{
    int rc = crier_flush(loop->bus, 60000);
    if (rc < 0)
        errx(1, "flush: %s", crier_strerror(rc));
    while (atomic_load(&loop->answered) < loop->emitted)
        sleep_until(clock_monotonic_us() + TICK_US);
}

static double flood(struct loop *loop)
{
    int64_t began_us = clock_monotonic_us();
    unsigned long before = loop->emitted;
    while (clock_monotonic_us() - began_us < 1000000)
        if (!emit(loop, 0))
            sleep_until(clock_monotonic_us() + TICK_US);
    settle(loop);
    return (double)(loop->emitted - before) / ((double)(clock_monotonic_us() - began_us) / 1e6);
}

/* The 99th percentile, in microseconds. */
static double run(struct loop *loop, double events_per_s, double seconds)
{
    memset(&histogram, 0, sizeof(histogram));
    loop->latencies = &histogram;
    int64_t began_us = clock_monotonic_us();
    unsigned long count = (unsigned long)(events_per_s * seconds);
    for (unsigned long i = 0; i < count; i++) {
        int64_t due_us = began_us + (int64_t)((double)i * 1e6 / events_per_s) / TICK_US * TICK_US;
        sleep_until(due_us);
        while (!emit(loop, due_us)) /* its latency goes on */
            sleep_until(clock_monotonic_us() + TICK_US);
    }
    settle(loop);
    loop->latencies = NULL;
    return (double)histogram_percentile(&histogram, 0.99);
}

/* ---- the replay ---- */

static void drop_cached(const char *folder)
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

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct replay *replay = ctx;
    (void)bus;
    if (atomic_load(&replay->over))
        return 0;
    unsigned long bytes = atomic_fetch_add(&replay->bytes, event->value_size) + event->value_size;
    sleep_until(replay->began_us + (int64_t)((double)bytes / replay->bytes_per_us));
    return 0;
}

static void replay_begin(struct replay *replay, const char *url, const char *topic, double mb_per_s)
{
    *replay = (struct replay){.bytes_per_us = mb_per_s, .began_us = clock_monotonic_us()};
    int rc = crier_open(url, NULL, &replay->bus);
    struct crier_listen_options options = crier_listen_options_default();
    options.from = CRIER_EARLIEST;
    if (rc == 0)
        rc = crier_listen(replay->bus, topic, &options, on_event, replay, NULL);
    if (rc < 0)
        errx(1, "replay: %s", crier_strerror(rc));
}

/* MB/s */
static double replay_end(struct replay *replay)
{
    double rate = (double)atomic_load(&replay->bytes) / (double)(clock_monotonic_us() - replay->began_us);
    atomic_store(&replay->over, true);
    crier_close(replay->bus);
    return rate;
}

/* ---- the rounds ---- */

static int by_value(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[count / 2];
}

static double argument(int argc, char **argv, int at, double otherwise)
{
    return argc > at ? strtod(argv[at], NULL) : otherwise;
}

int main(int argc, char **argv)
{
    double mb_per_s = argument(argc, argv, 4, 200), seconds = argument(argc, argv, 5, 5);
    unsigned rounds = (unsigned)argument(argc, argv, 6, 5);
    if (argc < 4 || rounds < 1 || rounds > ROUNDS_MAX || mb_per_s <= 0 || seconds <= 0)
        errx(2, "usage: crier_cold URL FOLDER TOPIC [MB_PER_S [SECONDS [ROUNDS [EVENTS_PER_S]]]]");
    static struct loop loop;
    int rc = crier_open(argv[1], NULL, &loop.bus);
    if (rc < 0)
        errx(1, "%s: %s", argv[1], crier_strerror(rc));
    double most = flood(&loop), rate = argument(argc, argv, 7, most * SHARE_PERCENT / 100);
    double alone[ROUNDS_MAX], beside[ROUNDS_MAX], ratio[ROUNDS_MAX], replayed[ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++) {
        struct replay replay;
        alone[i] = run(&loop, rate, seconds);
        drop_cached(argv[2]);
        replay_begin(&replay, argv[1], argv[3], mb_per_s);
        beside[i] = run(&loop, rate, seconds);
        replayed[i] = replay_end(&replay);
        ratio[i] = beside[i] / alone[i];
        (void)fprintf(stderr, "  round %u: p99 alone %.0f us, beside %.0f us; replayed %.0f MB/s\n", i + 1,
                      alone[i], beside[i], replayed[i]);
    }
    printf(
        "{\"most_events_per_s\": %.0f, \"events_per_s\": %.0f, \"rounds\": %u, \"p99_us\": {\"alone\": %.0f, "
        "\"beside\": %.0f, \"ratio\": %.2f}, \"replayed_mb_per_s\": %.0f}\n",
        most, rate, rounds, median(alone, rounds), median(beside, rounds), median(ratio, rounds),
        median(replayed, rounds));
    crier_close(loop.bus);
    return 0;
}
