/* bench_store.c: what does the store alone do? Group commits, lone commits, replay, start-up.
 *
 *   build/release/bench/bench_store [FOLDER [BATCH_BYTES [TOTAL_MB [COMMIT_KB]]]]
 *
 * One thread, as the broker's reactor: it keeps 16 MiB of appends queued, then one append at a time, then reads everything
 * back with 1 MiB reads, four at a time, then opens the folder again. Prints one JSON object. */
#include "base/bytes.h"
#include "base/clock.h"
#include "proto/crc32c.h"
#include "storage/entry.h"
#include "storage/store.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define IN_FLIGHT_BYTES (16u << 20)
#define LONE_COUNT      500
#define READS           4

struct bench {
    struct store *store;
    size_t batch_size;
    size_t commit_bytes_max; /* 0: the default */
    uint64_t count;          /* batches in all */
    uint64_t appended, done;
    uint64_t read_bytes, read_next;
    unsigned reads_under_way;
};

struct slot {
    struct store_append append;
    struct entry_part part;
    struct bench *bench;
    bool busy;
};

static void die(const char *what, int rc)
{
    (void)fprintf(stderr, "bench_store: %s: %d\n", what, rc);
    exit(1);
}

static void wait_some(struct bench *bench)
{
    struct pollfd fd = {.fd = bench->store->ops->completion_fd(bench->store), .events = POLLIN};
    (void)poll(&fd, 1, 1000);
    bench->store->ops->poll(bench->store, 1024);
}

static double seconds_since(int64_t began_us)
{
    return (double)(clock_monotonic_us() - began_us) / 1e6;
}

/* ---- appends ---- */

static void append_done(struct store_append *append, void *ctx)
{
    struct slot *slot = ctx;
    if (append->status != 0)
        die("append", append->status);
    slot->busy = false;
    slot->bench->done++;
}

static void slot_init(struct slot *slot, struct bench *bench)
{
    struct buffer *buffer = buffer_create(bench->batch_size);
    if (!buffer)
        die("memory", 0);
    uint8_t *bytes = buffer->data;
    for (size_t i = 0; i < bench->batch_size; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 7);
    be32_put(bytes + ENTRY_BATCH_CRC_AT,
             crc32c(0, bytes + ENTRY_BATCH_UNCRCED, bench->batch_size - ENTRY_BATCH_UNCRCED));
    slot->bench = bench;
    slot->part = (struct entry_part){
        .kind = PART_DATA, .span = 1, .partition = 1, .payload = {buffer, bytes, bench->batch_size}};
    slot->append = (struct store_append){.done = append_done,
                                         .ctx = slot,
                                         .type = ENTRY_NORMAL,
                                         .term = 1,
                                         .parts = &slot->part,
                                         .part_count = 1};
}

static bool submit(struct bench *bench, struct slot *slot)
{
    slot->part.base_offset = bench->appended;
    slot->append.append_time_us = clock_wall_us();
    if (bench->store->ops->append(bench->store, &slot->append) < 0)
        return false;
    slot->busy = true;
    bench->appended++;
    return true;
}

static double append_all(struct bench *bench, struct slot *slots, unsigned slot_count)
{
    int64_t began_us = clock_monotonic_us();
    while (bench->done < bench->count) {
        bool full = false;
        for (unsigned i = 0; i < slot_count && !full && bench->appended < bench->count; i++)
            if (!slots[i].busy)
                full = !submit(bench, &slots[i]);
        wait_some(bench);
    }
    return seconds_since(began_us);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void append_lone(struct bench *bench, struct slot *slot, int64_t times_us[LONE_COUNT])
{
    for (unsigned i = 0; i < LONE_COUNT; i++) {
        int64_t began_us = clock_monotonic_us();
        if (!submit(bench, slot))
            die("append", STORE_EAGAIN);
        while (slot->busy)
            wait_some(bench);
        times_us[i] = clock_monotonic_us() - began_us;
    }
    bench->count += LONE_COUNT;
    qsort(times_us, LONE_COUNT, sizeof(times_us[0]), compare);
}

/* ---- reads ---- */

static void read_done(struct store_read *read, void *ctx)
{
    struct bench *bench = ctx;
    if (read->status != 0 || read->count == 0)
        die("read", read->status);
    for (uint32_t i = 0; i < read->count; i++) {
        bench->read_bytes += read->batches[i].batch.size;
        slice_unref(&read->batches[i].batch);
    }
    bench->reads_under_way--;
}

/* Each read covers a quarter of the offsets, in 1 MiB steps. */
static double read_all(struct bench *bench)
{
    static struct store_read reads[READS];
    uint64_t next[READS], end[READS];
    int64_t began_us = clock_monotonic_us();
    for (unsigned i = 0; i < READS; i++) {
        next[i] = bench->count * i / READS;
        end[i] = bench->count * (i + 1) / READS;
    }
    bool more = true;
    while (more) {
        more = false;
        for (unsigned i = 0; i < READS; i++) {
            if (next[i] >= end[i])
                continue;
            more = true;
            reads[i] = (struct store_read){.done = read_done,
                                           .ctx = bench,
                                           .partition = 1,
                                           .offset = next[i],
                                           .until = end[i],
                                           .bytes_max = 1u << 20};
            if (bench->store->ops->read(bench->store, &reads[i]) < 0)
                die("read", STORE_EAGAIN);
            bench->reads_under_way++;
        }
        while (bench->reads_under_way > 0)
            wait_some(bench);
        for (unsigned i = 0; i < READS; i++)
            if (next[i] < end[i])
                next[i] = reads[i].batches[reads[i].count - 1].base_offset + 1;
    }
    return seconds_since(began_us);
}

/* ---- lives ---- */

static int ignore_entry(void *ctx, const struct store_entry *entry)
{
    (void)entry;
    ++*(uint64_t *)ctx;
    return 0;
}

static int ignore_row(void *ctx, const struct store_row *row)
{
    (void)ctx;
    (void)row;
    return 0;
}

static void start(struct bench *bench, const char *path)
{
    struct store_options options = store_options_default();
    options.path = path;
    if (bench->commit_bytes_max)
        options.commit_bytes_max = bench->commit_bytes_max;
    char error[512];
    uint64_t applied = 0, entries = 0;
    int rc = store_lmdb_open(&options, &bench->store, error, sizeof(error));
    if (rc < 0) {
        (void)fprintf(stderr, "bench_store: %s\n", error);
        exit(1);
    }
    if ((rc = bench->store->ops->load_state(bench->store, ignore_row, NULL, &applied)) < 0 ||
        (rc = bench->store->ops->replay(bench->store, ignore_entry, &entries)) < 0 ||
        (rc = bench->store->ops->start(bench->store)) < 0)
        die("start", rc);
}

static void flush_done(struct store_flush *flush, void *ctx)
{
    if (flush->status != 0)
        die("flush", flush->status);
    *(bool *)ctx = true;
}

static void flush(struct bench *bench)
{
    bool done = false;
    struct store_stats stats;
    bench->store->ops->stats(bench->store, &stats);
    struct store_flush request = {.done = flush_done, .ctx = &done, .applied_index = stats.last_index};
    if (bench->store->ops->flush(bench->store, &request) < 0)
        die("flush", STORE_EAGAIN);
    while (!done)
        wait_some(bench);
}

static long anonymous_kb(void)
{
    char line[128];
    long kb = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "RssAnon: %ld", &kb) == 1)
            break;
    if (status)
        (void)fclose(status);
    return kb;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/bench-store-XXXXXX";
    const char *path = argc > 1 ? argv[1] : mkdtemp(folder);
    struct bench bench = {.batch_size = argc > 2 ? strtoul(argv[2], NULL, 10) : 256u << 10};
    bench.commit_bytes_max = (argc > 4 ? strtoul(argv[4], NULL, 10) : 0) << 10;
    uint64_t total = (argc > 3 ? strtoull(argv[3], NULL, 10) : 1024) << 20;
    if (!path || bench.batch_size < ENTRY_BATCH_SIZE_MIN)
        die("usage: bench_store [FOLDER [BATCH_BYTES [TOTAL_MB [COMMIT_KB]]]]", 2);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    bench.count = total / bench.batch_size;
    start(&bench, path);
    long idle_kb = anonymous_kb();

    unsigned slot_count = (unsigned)(IN_FLIGHT_BYTES / bench.batch_size);
    if (slot_count > 4096)
        slot_count = 4096;
    struct slot *slots = calloc(slot_count, sizeof(*slots));
    if (!slots)
        die("memory", 0);
    for (unsigned i = 0; i < slot_count; i++)
        slot_init(&slots[i], &bench);
    double append_s = append_all(&bench, slots, slot_count);
    double append_mb = (double)(bench.count * bench.batch_size) / 1e6;
    struct store_stats stats;
    bench.store->ops->stats(bench.store, &stats);
    static int64_t lone_us[LONE_COUNT];
    append_lone(&bench, &slots[0], lone_us);
    flush(&bench);
    long busy_kb = anonymous_kb() - (long)(slot_count * bench.batch_size / 1024);
    double read_s = read_all(&bench);
    double read_mb = (double)bench.read_bytes / 1e6;
    bench.store->ops->stop(bench.store);
    bench.store->ops->close(bench.store);

    int64_t began_us = clock_monotonic_us();
    start(&bench, path);
    double start_ms = seconds_since(began_us) * 1e3;
    bench.store->ops->stop(bench.store);
    bench.store->ops->close(bench.store);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "{\"batch_bytes\": %zu, \"append_mb_per_s\": %.0f, \"commits_per_s\": %.0f, \"mb_per_commit\": %.2f, "
        "\"lone_us\": {\"p50\": %lld, \"p99\": %lld}, \"read_mb_per_s\": %.0f, \"start_ms\": %.1f, "
        "\"anonymous_kb\": {\"idle\": %ld, \"busy\": %ld}, \"cpu_s\": %.2f}\n",
        bench.batch_size, append_mb / append_s, (double)stats.commits / append_s,
        append_mb / (double)stats.commits, (long long)lone_us[LONE_COUNT / 2],
        (long long)lone_us[LONE_COUNT * 99 / 100], read_mb / read_s, start_ms, idle_kb, busy_kb,
        (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 + (double)usage.ru_stime.tv_sec +
            (double)usage.ru_stime.tv_usec / 1e6);
    for (unsigned i = 0; i < slot_count; i++)
        slice_unref(&slots[i].part.payload);
    free(slots);
    return 0;
}
