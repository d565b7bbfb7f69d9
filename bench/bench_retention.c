/* bench_retention.c: does the log stay as large as it is told to, and as fast, however much is written?
 *
 *   build/release/bench/bench_retention [TOTAL_GB [RETENTION_GB [SECONDS_MAX [FOLDER]]]]        50 2 480, a new folder
 *
 * One thread plays the core: it keeps 8 batches of 256 KiB queued, flushes a row every 64 MiB, and as often looks up how
 * far the prefix reaches that is too much, and trims. Prints one JSON object: the largest the segment files ever were, the
 * times of commits in each tenth, and the longest the writer spent between two syncs outside write and sync calls (which
 * this program times by taking their place), without what it waited for a processor that others had (schedstat). */
#include "base/bytes.h"
#include "base/clock.h"
#include "proto/crc32c.h"
#include "storage/entry.h"
#include "storage/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC      __attribute__((visibility("default")))
#define BATCH_SIZE  (256u << 10)
#define QUEUED      8
#define STEP_BYTES  (64u << 20)
#define TENTHS      10
#define SAMPLES_MAX (1u << 20)
#define SEGMENT     (256u << 20)

/* ---- the writer's system calls, timed ---- */

static _Thread_local int is_writer = -1; /* not known yet */
static _Thread_local int64_t in_calls_us, synced_us;
static _Thread_local int64_t waited_us,
    waited_seen_us; /* for a processor, outside calls; all of it, when a call ended */
static _Atomic int64_t stall_us_max, waited_us_max;

static int64_t waited_for_processor_us(void)
{
    static _Thread_local int fd = -1;
    char text[96] = "";
    unsigned long long ran, waited = 0;
    if (fd < 0)
        fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_pread64, fd, text, sizeof(text) - 1, 0) <= 0 ||
        sscanf(text, "%llu %llu", &ran, &waited) != 2)
        return 0;
    return (int64_t)(waited / 1000);
}

static bool writer_thread(void)
{
    char name[16] = "";
    if (is_writer < 0)
        is_writer = prctl(PR_GET_NAME, name) == 0 && strcmp(name, "crier-writer") == 0;
    return is_writer;
}

static int64_t call_begins(void)
{
    if (!writer_thread())
        return 0;
    waited_us += waited_for_processor_us() - waited_seen_us;
    return clock_monotonic_us();
}

static long timed(long result, int64_t began_us, bool sync)
{
    int64_t now_us = clock_monotonic_us();
    in_calls_us += now_us - began_us;
    if (sync) {
        int64_t stall_us = now_us - synced_us - in_calls_us - waited_us;
        if (synced_us && stall_us > stall_us_max)
            stall_us_max = stall_us;
        if (synced_us && waited_us > waited_us_max)
            waited_us_max = waited_us;
        synced_us = now_us;
        in_calls_us = waited_us = 0;
    }
    waited_seen_us = waited_for_processor_us();
    return result;
}

#define CALL(sync, ...)                                                                                      \
    int64_t began_us = call_begins();                                                                        \
    long result = syscall(__VA_ARGS__);                                                                      \
    return began_us ? timed(result, began_us, sync) : result

PUBLIC ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    CALL(false, SYS_pwrite64, fd, data, size, at);
}

PUBLIC ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    CALL(false, SYS_pwrite64, fd, data, size, at);
}

PUBLIC ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    CALL(false, SYS_writev, fd, pieces, count);
}

static long sync_call(int fd)
{
    CALL(true, SYS_fdatasync, fd);
}

PUBLIC int fdatasync(int fd)
{
    return (int)sync_call(fd);
}

/* ---- the core's part ---- */

struct bench {
    struct store *store;
    char folder[200];
    uint64_t total, retention; /* bytes */
    uint64_t next, applied;    /* offset to append, index durable */
    uint64_t written, kept;    /* bytes durable, and of these not trimmed */
    uint64_t log_start;
    unsigned under_way;
    bool flushing, looking;
    uint64_t flushed_at, looked_at; /* `written` then */
    uint64_t files_max;
    uint64_t commits_seen;
    uint32_t *commit_us[TENTHS];
    size_t commit_count[TENTHS];
    struct store_flush flush;
    struct store_row row;
    struct store_rows rows;
    struct store_lookup lookup;
    struct slot {
        struct store_append append;
        struct entry_part part;
        struct bench *bench;
        bool busy;
    } slots[QUEUED];
};

static void die(const char *what, int rc)
{
    (void)fprintf(stderr, "bench_retention: %s: %d\n", what, rc);
    exit(1);
}

static void note_files(struct bench *bench)
{
    char path[600];
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof(path), "%s/shard-0", bench->folder);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat stat_of;
        (void)snprintf(path, sizeof(path), "%s/shard-0/%s", bench->folder, entry->d_name);
        if (entry->d_name[0] == '0' && stat(path, &stat_of) == 0)
            bytes += (uint64_t)stat_of.st_size;
    }
    if (dir)
        closedir(dir);
    if (bytes > bench->files_max)
        bench->files_max = bytes;
}

static void flush_done(struct store_flush *flush, void *ctx)
{
    struct bench *bench = ctx;
    if (flush->status != STORE_OK)
        die("flush", flush->status);
    bench->flushing = false;
    note_files(bench);
}

static void flush_begin(struct bench *bench)
{
    bench->row = (struct store_row){(const uint8_t *)"\1", 1, (const uint8_t *)"row", 3};
    bench->rows = (struct store_rows){.rows = &bench->row, .count = 1};
    bench->flush = (struct store_flush){.done = flush_done,
                                        .ctx = bench,
                                        .applied_index = bench->applied,
                                        .rows = &bench->rows,
                                        .row_count = 1};
    bench->flushed_at = bench->written;
    bench->flushing = bench->store->ops->flush(bench->store, &bench->flush) == 0;
}

static void looked_up(struct store_lookup *lookup, void *ctx)
{
    struct bench *bench = ctx;
    if (lookup->status != STORE_OK)
        die("lookup", lookup->status);
    bench->looking = false;
    bench->kept -= lookup->bytes;
    bench->log_start = lookup->offset;
    if (bench->store->ops->trim(bench->store, 1, lookup->offset) < 0)
        die("trim", STORE_ENOMEM);
}

static void look_up(struct bench *bench)
{
    bench->looked_at = bench->written;
    if (bench->kept <= bench->retention)
        return;
    bench->lookup = (struct store_lookup){.done = looked_up,
                                          .ctx = bench,
                                          .kind = LOOKUP_PREFIX,
                                          .partition = 1,
                                          .from = bench->log_start,
                                          .until = bench->next,
                                          .bytes_max = bench->kept - bench->retention};
    bench->looking = bench->store->ops->lookup(bench->store, &bench->lookup) == 0;
}

static size_t tenth_of(const struct bench *bench, uint64_t written)
{
    size_t tenth = (size_t)(written * TENTHS / (bench->total + 1));
    return tenth < TENTHS ? tenth : TENTHS - 1; /* the last batch may go a little beyond the total */
}

static void note_commit(struct bench *bench)
{
    struct store_stats stats;
    bench->store->ops->stats(bench->store, &stats);
    if (stats.commits == bench->commits_seen)
        return;
    bench->commits_seen = stats.commits;
    size_t tenth = tenth_of(bench, bench->written);
    if (bench->commit_count[tenth] < SAMPLES_MAX)
        bench->commit_us[tenth][bench->commit_count[tenth]++] = (uint32_t)stats.commit_us_last;
}

static void append_done(struct store_append *append, void *ctx)
{
    struct slot *slot = ctx;
    struct bench *bench = slot->bench;
    if (append->status != STORE_OK)
        die("append", append->status);
    slot->busy = false;
    bench->under_way--;
    bench->applied = append->index;
    bench->written += BATCH_SIZE;
    bench->kept += BATCH_SIZE;
    note_commit(bench);
}

static void append(struct bench *bench, struct slot *slot, struct slice batch)
{
    slot->part = (struct entry_part){
        .kind = PART_DATA, .span = 1, .partition = 1, .base_offset = bench->next, .payload = batch};
    slot->append = (struct store_append){.done = append_done,
                                         .ctx = slot,
                                         .type = ENTRY_NORMAL,
                                         .epoch = 1,
                                         .term = 1,
                                         .append_time_us = clock_wall_us(),
                                         .parts = &slot->part,
                                         .part_count = 1};
    if (bench->store->ops->append(bench->store, &slot->append) < 0)
        return;
    slot->busy = true;
    bench->under_way++;
    bench->next++;
}

static void run(struct bench *bench, struct slice batch, int64_t until_us)
{
    struct pollfd fd = {.fd = bench->store->ops->completion_fd(bench->store), .events = POLLIN};
    bool more = true;
    while (more || bench->under_way || bench->flushing || bench->looking) {
        more = bench->next * BATCH_SIZE < bench->total && clock_monotonic_us() < until_us;
        for (unsigned i = 0; i < QUEUED && more; i++)
            if (!bench->slots[i].busy)
                append(bench, &bench->slots[i], batch);
        if (!bench->flushing && bench->written - bench->flushed_at >= STEP_BYTES)
            flush_begin(bench);
        if (!bench->looking && bench->written - bench->looked_at >= STEP_BYTES)
            look_up(bench);
        (void)poll(&fd, 1, 1000);
        bench->store->ops->poll(bench->store, 1024);
    }
}

/* ---- what came of it ---- */

static int by_value(const void *a, const void *b)
{
    return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

static double p99_ms(struct bench *bench, size_t tenth)
{
    size_t count = bench->commit_count[tenth], place = count * 99 / 100;
    qsort(bench->commit_us[tenth], count, sizeof(uint32_t), by_value);
    return count > 0 ? (double)bench->commit_us[tenth][place] / 1e3 : 0;
}

static void print(struct bench *bench, double seconds)
{
    struct store_stats stats;
    bench->store->ops->stats(bench->store, &stats);
    size_t last = tenth_of(bench, bench->written - 1);
    double first_ms = p99_ms(bench, 0), last_ms = p99_ms(bench, last);
    uint64_t bound = bench->retention + (uint64_t)4 * SEGMENT;
    printf("{\"written_gb\": %.1f, \"seconds\": %.1f, \"mb_per_s\": %.0f, \"retention_gb\": %.2f, "
           "\"files_max_gb\": "
           "%.2f, \"bound_gb\": %.2f,\n \"within_bound\": %s, \"removed\": %llu, \"commit_p99_ms\": "
           "{\"first_tenth\": %.2f, "
           "\"last_tenth\": %.2f, \"ratio\": %.2f},\n \"writer_stall_ms_max\": %.1f, "
           "\"writer_waited_for_processor_ms_max\": %.1f}\n",
           (double)bench->written / 1e9, seconds, (double)bench->written / 1e6 / seconds,
           (double)bench->retention / 1e9, (double)bench->files_max / 1e9, (double)bound / 1e9,
           bench->files_max <= bound ? "true" : "false", (unsigned long long)stats.removed, first_ms, last_ms,
           first_ms > 0 ? last_ms / first_ms : 0, (double)stall_us_max / 1e3, (double)waited_us_max / 1e3);
}

/* A batch is what the store wants of one: 61 bytes of header, whose checksum is right. */
static struct slice batch_make(void)
{
    struct buffer *buffer = buffer_create(BATCH_SIZE);
    if (!buffer)
        die("memory", STORE_ENOMEM);
    for (size_t i = 0; i < BATCH_SIZE; i++)
        buffer->data[i] = (uint8_t)(i * 2654435761u >> 13);
    be32_put(buffer->data + 17, crc32c(0, buffer->data + 21, BATCH_SIZE - 21));
    return (struct slice){buffer, buffer->data, BATCH_SIZE};
}

static double argument(int argc, char **argv, int at, double otherwise)
{
    return argc > at ? atof(argv[at]) : otherwise;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    char error[512];
    bench.total = (uint64_t)(argument(argc, argv, 1, 50) * 1e9);
    bench.retention = (uint64_t)(argument(argc, argv, 2, 2) * 1e9);
    double seconds_max = argument(argc, argv, 3, 480);
    (void)snprintf(bench.folder, sizeof(bench.folder), "%s", argc > 4 ? argv[4] : "bench-retention-XXXXXX");
    if (argc <= 4 && !mkdtemp(bench.folder))
        die("folder", 0);
    for (unsigned i = 0; i < QUEUED; i++)
        bench.slots[i].bench = &bench;
    for (unsigned i = 0; i < TENTHS; i++)
        if (!(bench.commit_us[i] = malloc(SAMPLES_MAX * sizeof(uint32_t))))
            die("memory", STORE_ENOMEM);
    struct store_options options = store_options_default();
    options.path = bench.folder;
    options.segment_size = SEGMENT;
    if (store_lmdb_open(&options, &bench.store, error, sizeof(error)) < 0 ||
        bench.store->ops->start(bench.store) < 0)
        die(error, 0);
    struct slice batch = batch_make();
    int64_t began_us = clock_monotonic_us();
    run(&bench, batch, began_us + (int64_t)(seconds_max * 1e6));
    print(&bench, (double)(clock_monotonic_us() - began_us) / 1e6);
    bench.store->ops->stop(bench.store);
    bench.store->ops->close(bench.store);
    slice_unref(&batch);
    if (argc <= 4) {
        char command[300];
        (void)snprintf(command, sizeof(command), "rm -r '%s'", bench.folder);
        return system(command) == 0 ? 0 : 1;
    }
    return 0;
}
