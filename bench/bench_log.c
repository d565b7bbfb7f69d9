/* bench_log.c: how much of a bare LMDB append loop is the store? And what would one flush a commit be worth?
 *
 *   bench_log [FOLDER [ROUNDS [TOTAL_MB]]]
 *
 * Everything in turns, ROUNDS rounds (5), the first one thrown away; medians. Values of 256 KiB, commits of 1 MiB.
 *
 *   bare      one thread: begin, 4 × put (MDB_APPEND | MDB_RESERVE, filled by memcpy), commit; default sync; a new file a round
 *   async     the same with MDB_NOMETASYNC: one flush a commit instead of two
 *   store     the whole store: queue, writer thread, checksums, offset index, rolls, allocation ahead
 *   partitions 1, 64, 1024: the store again, each entry made of 64 batches of 4,080 bytes, in turns over the partitions
 *   closed    256 clients with one event of 100 B in flight each, on the bare loop: two flushes a commit and all of them in it,
 *             against one flush and an answer one commit later
 *
 * Then bytes written (to files, as the process counts them) for each byte of payload. Prints one JSON object. */
#include "base/bytes.h"
#include "base/clock.h"
#include "proto/crc32c.h"
#include "storage/entry.h"
#include "storage/store.h"

#include <inttypes.h>
#include <lmdb.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS_MAX   21
#define ENTRY_BYTES  (256u << 10)
#define COMMIT_BYTES (1u << 20)
#define SLOTS        64
#define PARTS_MAX    64

static const char *folder;
static uint64_t total_bytes;

static void die(const char *what, int rc)
{
    (void)fprintf(stderr, "bench_log: %s: %d\n", what, rc);
    exit(1);
}

static double seconds_since(int64_t began_us)
{
    return (double)(clock_monotonic_us() - began_us) / 1e6;
}

static void remove_all(const char *name)
{
    char command[600];
    (void)snprintf(command, sizeof(command), "rm -rf '%s/%s' '%s/%s-lock'", folder, name, folder, name);
    if (system(command) != 0) // NOLINT(cert-env33-c): a folder of our own
        die("rm", 0);
}

/* Bytes this process has given to write calls. */
static uint64_t bytes_written(void)
{
    char line[64];
    uint64_t bytes = 0;
    FILE *io = fopen("/proc/self/io", "re");
    while (io && fgets(line, sizeof(line), io))
        if (sscanf(line, "wchar: %" SCNu64, &bytes) == 1)
            break;
    if (io)
        (void)fclose(io);
    return bytes;
}

/* ---- the bare loop ---- */

struct bare {
    MDB_env *env;
    MDB_dbi table;
    uint64_t next;
    uint8_t *value;
};

static void bare_open(struct bare *bare, unsigned flags)
{
    char path[600];
    remove_all("bare");
    (void)snprintf(path, sizeof(path), "%s/bare", folder);
    *bare = (struct bare){.value = malloc(ENTRY_BYTES)};
    MDB_txn *txn;
    int rc = mdb_env_create(&bare->env);
    if (rc == 0)
        rc = mdb_env_set_mapsize(bare->env, total_bytes * 2 + (64u << 20));
    if (rc == 0)
        rc = mdb_env_open(bare->env, path, MDB_NOSUBDIR | flags, 0600);
    if (rc == 0)
        rc = mdb_txn_begin(bare->env, NULL, 0, &txn);
    if (rc == 0)
        rc = mdb_dbi_open(txn, NULL, 0, &bare->table);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    if (rc != 0 || !bare->value)
        die("bare LMDB", rc);
    for (size_t i = 0; i < ENTRY_BYTES; i++)
        bare->value[i] = (uint8_t)(i * 2654435761u >> 7);
}

static void bare_close(struct bare *bare)
{
    mdb_env_close(bare->env);
    free(bare->value);
    remove_all("bare");
}

static void bare_commit(struct bare *bare, unsigned count, size_t size)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(bare->env, NULL, 0, &txn);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        uint8_t key_bytes[8];
        be64_put(key_bytes, ++bare->next);
        MDB_val key = {8, key_bytes}, value = {size, NULL};
        if ((rc = mdb_put(txn, bare->table, &key, &value, MDB_APPEND | MDB_RESERVE)) == 0)
            memcpy(value.mv_data, bare->value, size);
    }
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    if (rc != 0)
        die("bare commit", rc);
}

/* MB/s */
static double run_bare(unsigned flags)
{
    struct bare bare;
    bare_open(&bare, flags);
    int64_t began_us = clock_monotonic_us();
    for (uint64_t done = 0; done < total_bytes; done += COMMIT_BYTES)
        bare_commit(&bare, COMMIT_BYTES / ENTRY_BYTES, ENTRY_BYTES);
    double rate = (double)total_bytes / 1e6 / seconds_since(began_us);
    bare_close(&bare);
    return rate;
}

#define CLIENTS       256
#define CLOSED_ROUNDS 1500
#define CLOSED_EVENT  171 /* 100 B in a batch of its own */

/* Events a second. With two flushes every client waits for the one commit that has its event. With one flush a commit
 * answers the clients of the commit before, so two halves take turns. */
static double run_closed(bool one_flush)
{
    struct bare bare;
    bare_open(&bare, one_flush ? MDB_NOMETASYNC : 0);
    unsigned in_commit = one_flush ? CLIENTS / 2 : CLIENTS;
    int64_t began_us = clock_monotonic_us();
    for (unsigned i = 0; i < CLOSED_ROUNDS; i++)
        bare_commit(&bare, 1, (size_t)in_commit * CLOSED_EVENT);
    double rate = (double)CLOSED_ROUNDS * in_commit / seconds_since(began_us);
    bare_close(&bare);
    return rate;
}

/* ---- the store ---- */

struct log_bench {
    struct store *store;
    uint64_t next[1024]; /* the next offset of each partition */
    unsigned partitions, at;
    size_t batch_size;
    unsigned parts; /* in an entry */
    uint64_t wanted, submitted, done;
};

struct slot {
    struct store_append append;
    struct entry_part parts[PARTS_MAX];
    struct log_bench *bench;
    bool busy;
};

static int ignore_row(void *ctx, const struct store_row *row)
{
    (void)ctx;
    (void)row;
    return 0;
}

static int ignore_entry(void *ctx, const struct store_entry *entry)
{
    (void)ctx;
    (void)entry;
    return 0;
}

static void store_begin(struct log_bench *bench)
{
    char path[600], error[512];
    remove_all("store");
    (void)snprintf(path, sizeof(path), "%s/store", folder);
    struct store_options options = store_options_default();
    options.path = path;
    options.commit_bytes_max = COMMIT_BYTES;
    uint64_t applied;
    int rc = store_lmdb_open(&options, &bench->store, error, sizeof(error));
    if (rc == 0)
        rc = bench->store->ops->load_state(bench->store, ignore_row, NULL, &applied);
    if (rc == 0)
        rc = bench->store->ops->replay(bench->store, ignore_entry, NULL);
    if (rc == 0)
        rc = bench->store->ops->start(bench->store);
    if (rc < 0)
        die(error, rc);
}

static void store_end(struct log_bench *bench)
{
    bench->store->ops->stop(bench->store);
    bench->store->ops->close(bench->store);
    remove_all("store");
}

static void append_done(struct store_append *append, void *ctx)
{
    struct slot *slot = ctx;
    if (append->status != 0)
        die("append", append->status);
    slot->busy = false;
    slot->bench->done++;
}

static void slot_init(struct slot *slot, struct log_bench *bench)
{
    *slot = (struct slot){.bench = bench};
    for (unsigned i = 0; i < bench->parts; i++) {
        struct buffer *buffer = buffer_create(bench->batch_size);
        if (!buffer)
            die("memory", 0);
        for (size_t byte = 0; byte < bench->batch_size; byte++)
            buffer->data[byte] = (uint8_t)((byte + i) * 2654435761u >> 7);
        be32_put(buffer->data + ENTRY_BATCH_CRC_AT,
                 crc32c(0, buffer->data + ENTRY_BATCH_UNCRCED, bench->batch_size - ENTRY_BATCH_UNCRCED));
        slot->parts[i] = (struct entry_part){
            .kind = PART_DATA, .span = 1, .payload = {buffer, buffer->data, bench->batch_size}};
    }
    slot->append = (struct store_append){.done = append_done,
                                         .ctx = slot,
                                         .type = ENTRY_NORMAL,
                                         .term = 1,
                                         .parts = slot->parts,
                                         .part_count = bench->parts};
}

static bool submit(struct log_bench *bench, struct slot *slot)
{
    for (unsigned i = 0; i < bench->parts; i++) {
        unsigned partition = (bench->at + i) % bench->partitions;
        slot->parts[i].partition = partition + 1;
        slot->parts[i].base_offset = bench->next[partition] + i / bench->partitions;
    }
    slot->append.append_time_us = clock_wall_us();
    if (bench->store->ops->append(bench->store, &slot->append) < 0)
        return false;
    for (unsigned i = 0; i < bench->parts; i++)
        bench->next[(bench->at + i) % bench->partitions]++;
    bench->at = (bench->at + bench->parts) % bench->partitions;
    slot->busy = true;
    bench->submitted++;
    return true;
}

/* Bytes of batches a second, in MB; with so many entries in flight. */
static double run_store(unsigned partitions, size_t batch_size, unsigned parts, unsigned in_flight,
                        uint64_t bytes, double *ret_written_per_byte)
{
    static struct slot slots[SLOTS];
    static struct log_bench bench;
    bench = (struct log_bench){.partitions = partitions, .batch_size = batch_size, .parts = parts};
    bench.wanted = bytes / (batch_size * parts);
    store_begin(&bench);
    for (unsigned i = 0; i < in_flight; i++)
        slot_init(&slots[i], &bench);
    uint64_t written = bytes_written();
    int64_t began_us = clock_monotonic_us();
    while (bench.done < bench.wanted) {
        bool full = false;
        for (unsigned i = 0; i < in_flight && !full && bench.submitted < bench.wanted; i++)
            if (!slots[i].busy)
                full = !submit(&bench, &slots[i]);
        struct pollfd fd = {.fd = bench.store->ops->completion_fd(bench.store), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
        bench.store->ops->poll(bench.store, 1024);
    }
    double seconds = seconds_since(began_us);
    *ret_written_per_byte = (double)(bytes_written() - written) / (double)(bench.wanted * batch_size * parts);
    store_end(&bench);
    for (unsigned i = 0; i < in_flight; i++)
        for (unsigned part = 0; part < parts; part++)
            slice_unref(&slots[i].parts[part].payload);
    return (double)(bench.wanted * batch_size * parts) / 1e6 / seconds;
}

/* ---- medians ---- */

enum { BARE, ASYNC, STORE, ONE, MANY, ALL, CLOSED_TWO, CLOSED_ONE, MEASURES };

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(values[0]), compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void run_round(double results[MEASURES])
{
    double unused;
    results[BARE] = run_bare(0);
    results[STORE] = run_store(1, ENTRY_BYTES - 76, 1, SLOTS, total_bytes, &unused);
    results[ASYNC] = run_bare(MDB_NOMETASYNC);
    results[ONE] = run_store(1, 4080 - 36, PARTS_MAX, SLOTS, total_bytes, &unused);
    results[MANY] = run_store(64, 4080 - 36, PARTS_MAX, SLOTS, total_bytes, &unused);
    results[ALL] = run_store(1024, 4080 - 36, PARTS_MAX, SLOTS, total_bytes, &unused);
    results[CLOSED_TWO] = run_closed(false);
    results[CLOSED_ONE] = run_closed(true);
}

/* What one event costs the disk: a batch header (61) and a record (about 10) around each. */
static void print_written(void)
{
    static const struct {
        const char *name;
        size_t payload, batch;
        unsigned in_flight;
        uint64_t count;
    } cases[] = {{"100 B, one in flight", 100, 171, 1, 3000},
                 {"100 B, 64 in flight", 100, 171, 64, 30000},
                 {"1 KB, one in flight", 1000, 1071, 1, 3000},
                 {"1 KB, 64 in flight", 1000, 1071, 64, 30000},
                 {"64 KiB batches, 64 in flight", 64u << 10, 64u << 10, 64, 2000}};
    printf("\"written_per_payload_byte\": {");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double written;
        (void)run_store(1, cases[i].batch, 1, cases[i].in_flight, cases[i].count * cases[i].batch, &written);
        printf("%s\"%s\": %.2f", i ? ", " : "", cases[i].name,
               written * (double)cases[i].batch / (double)cases[i].payload);
    }
    printf("}");
}

int main(int argc, char **argv)
{
    char made[] = "/tmp/bench-log-XXXXXX";
    folder = argc > 1 ? argv[1] : mkdtemp(made);
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 5;
    total_bytes = (argc > 3 ? strtoull(argv[3], NULL, 10) : 512) << 20;
    if (!folder || rounds < 1 || rounds + 1 > ROUNDS_MAX || total_bytes == 0)
        die("usage: bench_log [FOLDER [ROUNDS [TOTAL_MB]]]", 2);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    static double all[MEASURES][ROUNDS_MAX], results[MEASURES], medians[MEASURES];
    for (unsigned round = 0; round <= rounds; round++) {
        run_round(results);
        for (unsigned i = 0; round > 0 && i < MEASURES; i++)
            all[i][round - 1] = results[i];
    }
    for (unsigned i = 0; i < MEASURES; i++)
        medians[i] = median(all[i], rounds);
    double least = medians[ONE], most = medians[ONE];
    for (unsigned i = MANY; i <= ALL; i++) {
        least = medians[i] < least ? medians[i] : least;
        most = medians[i] > most ? medians[i] : most;
    }
    printf(
        "{\"rounds\": %u, \"bare_mb_per_s\": %.0f, \"store_mb_per_s\": %.0f, \"store_per_bare\": %.2f,\n"
        " \"partitions_mb_per_s\": {\"1\": %.0f, \"64\": %.0f, \"1024\": %.0f}, \"least_per_most\": %.2f,\n"
        " \"one_flush_mb_per_s\": %.0f, \"one_flush_per_two\": %.2f,\n"
        " \"closed_256_events_per_s\": {\"two flushes\": %.0f, \"one flush\": %.0f}, \"closed_one_per_two\": "
        "%.2f,\n ",
        rounds, medians[BARE], medians[STORE], medians[STORE] / medians[BARE], medians[ONE], medians[MANY],
        medians[ALL], least / most, medians[ASYNC], medians[ASYNC] / medians[BARE], medians[CLOSED_TWO],
        medians[CLOSED_ONE], medians[CLOSED_ONE] / medians[CLOSED_TWO]);
    print_written();
    puts("}");
    if (argc <= 1)
        (void)rmdir(folder);
    return 0;
}
