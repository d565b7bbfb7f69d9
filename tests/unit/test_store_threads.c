/* test_store_threads.c: appends, reads, lookups, flushes and inspections at once, over rolls, for the thread sanitizer to watch;
 * then reads and appends while segments are swept and removed.
 *
 * A plain program: Criterion does not run under it. Everything read is compared with what was written. */
#include "tests/unit/store_fixture.h"

#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

#define PARTITIONS    5
#define APPENDS       1500
#define APPENDS_AHEAD 40
#define READS_AHEAD   6

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                            \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct load {
    struct fixture *f;
    struct random random;
    uint64_t next[PARTITIONS], durable[PARTITIONS]; /* offsets */
    unsigned submitted, finished, appends_under_way;
    unsigned reads_under_way, reads_finished, lookups_finished, flushes_finished;
    uint64_t batches_read, last_index;
    struct store_flush flush;
    bool flushing;
    struct store_inspect inspect; /* through all segments again and again, sealing now and then */
    unsigned inspections, seals;
    bool inspecting;
};

struct load_append {
    struct store_append append;
    struct entry_part part;
    struct load *load;
};

struct load_read {
    struct store_read read;
    struct load *load;
};

struct load_lookup {
    struct store_lookup lookup;
    struct load *load;
};

static size_t size_of(uint64_t partition, uint64_t offset)
{
    static const size_t sizes[] = {61, 300, 1990, 2100, 9000, 70000};
    return sizes[(partition + offset) % 6];
}

static void append_done(struct store_append *append, void *ctx)
{
    struct load_append *a = ctx;
    struct load *load = a->load;
    REQUIRE(append->status == STORE_OK);
    REQUIRE(append->index == ++load->last_index);
    load->durable[a->part.partition] = a->part.base_offset + 1;
    load->appends_under_way--;
    load->finished++;
    slice_unref(&a->part.payload);
    free(a);
}

static void start_append(struct load *load, uint64_t partition)
{
    struct load_append *a = calloc(1, sizeof(*a));
    REQUIRE(a);
    uint64_t offset = load->next[partition];
    a->load = load;
    a->part = (struct entry_part){.kind = PART_DATA,
                                  .partition = partition,
                                  .base_offset = offset,
                                  .span = 1,
                                  .payload = fixture_batch(partition, offset, 1, size_of(partition, offset))};
    a->append = (struct store_append){.done = append_done,
                                      .ctx = a,
                                      .type = ENTRY_NORMAL,
                                      .term = 1,
                                      .append_time_us = load->submitted,
                                      .parts = &a->part,
                                      .part_count = 1};
    REQUIRE(load->f->store->ops->append(load->f->store, &a->append) == 0);
    load->next[partition]++;
    load->submitted++;
    load->appends_under_way++;
}

static void read_done(struct store_read *read, void *ctx)
{
    struct load_read *r = ctx;
    REQUIRE(read->status == 0);
    REQUIRE(read->count > 0);
    for (uint32_t i = 0; i < read->count; i++) {
        uint64_t offset = read->offset + i;
        REQUIRE(fixture_batch_is(&read->batches[i], read->partition, offset, 1,
                                 size_of(read->partition, offset)));
        slice_unref(&read->batches[i].batch);
    }
    r->load->batches_read += read->count;
    r->load->reads_under_way--;
    r->load->reads_finished++;
    free(r);
}

static void start_read(struct load *load, uint64_t partition)
{
    if (load->durable[partition] == 0)
        return;
    struct load_read *r = calloc(1, sizeof(*r));
    REQUIRE(r);
    r->load = load;
    r->read = (struct store_read){.done = read_done,
                                  .ctx = r,
                                  .partition = partition,
                                  .offset = random_below(&load->random, load->durable[partition]),
                                  .until = load->durable[partition],
                                  .bytes_max = random_below(&load->random, 400000)};
    REQUIRE(load->f->store->ops->read(load->f->store, &r->read) == 0);
    load->reads_under_way++;
}

static void lookup_done(struct store_lookup *lookup, void *ctx)
{
    struct load_lookup *l = ctx;
    REQUIRE(lookup->status == 0);
    l->load->reads_under_way--;
    l->load->lookups_finished++;
    free(l);
}

static void start_lookup(struct load *load)
{
    struct load_lookup *l = calloc(1, sizeof(*l));
    REQUIRE(l);
    l->load = load;
    l->lookup = (struct store_lookup){.done = lookup_done,
                                      .ctx = l,
                                      .partition = random_below(&load->random, PARTITIONS),
                                      .time_us = (int64_t)random_below(&load->random, load->submitted + 1)};
    REQUIRE(load->f->store->ops->lookup(load->f->store, &l->lookup) == 0);
    load->reads_under_way++;
}

static void flush_done(struct store_flush *flush, void *ctx)
{
    struct load *load = ctx;
    REQUIRE(flush->status == 0);
    load->flushing = false;
    load->flushes_finished++;
}

static void inspect_done(struct store_inspect *inspect, void *ctx)
{
    struct load *load = ctx;
    REQUIRE(inspect->status == 0);
    REQUIRE(inspect->faults == 0);
    load->inspecting = false;
}

static void start_inspection(struct load *load)
{
    bool again = load->inspections == 0 || !load->inspect.found || load->inspect.segments_left == 0;
    bool seal = again && load->inspections % 3 == 0;
    load->inspect = (struct store_inspect){.done = inspect_done,
                                           .ctx = load,
                                           .what = seal ? STORE_SEAL : STORE_SCAN,
                                           .after = again ? 0 : load->inspect.segment.number};
    REQUIRE(load->f->store->ops->inspect(load->f->store, &load->inspect) == 0);
    load->inspecting = true;
    load->inspections++;
    load->seals += seal;
}

static void start_flush(struct load *load)
{
    static const struct store_row row = {(const uint8_t *)"trow", 4, (const uint8_t *)"value", 5};
    static const struct store_rows rows = {.rows = &row, .count = 1};
    load->flush = (struct store_flush){
        .done = flush_done, .ctx = load, .applied_index = load->last_index, .rows = &rows, .row_count = 1};
    load->flushing = load->f->store->ops->flush(load->f->store, &load->flush) == 0;
    REQUIRE(load->flushing);
}

/* On a busy machine the appends may be over before the others have come far. */
static bool goes_on(const struct load *load)
{
    return load->finished < APPENDS || load->inspections <= 10 || load->reads_finished <= 50 ||
           load->lookups_finished <= 50 || load->flushes_finished <= 10;
}

static void run(struct load *load)
{
    while (goes_on(load) || load->reads_under_way > 0 || load->flushing || load->inspecting) {
        if (!load->inspecting && goes_on(load) && load->finished > 0)
            start_inspection(load);
        while (load->submitted < APPENDS && load->appends_under_way < APPENDS_AHEAD)
            start_append(load, random_below(&load->random, PARTITIONS));
        while (goes_on(load) && load->reads_under_way < READS_AHEAD && load->finished > 0) {
            start_read(load, random_below(&load->random, PARTITIONS));
            start_lookup(load);
        }
        if (!load->flushing && goes_on(load) && load->last_index > 0)
            start_flush(load);
        fixture_pump(load->f);
        struct store_stats stats = fixture_stats(load->f);
        REQUIRE(stats.errors == 0);
    }
}

/* Of the last partition everything stays, of the others nothing: less than half of each segment, which is written anew. Appends
 * go on one at a time, for only a roll makes the copies of the state that space is given back behind. */
static void clean(struct load *load)
{
    const struct store_ops *ops = load->f->store->ops;
    uint64_t kept = PARTITIONS - 1;
    for (uint64_t partition = 0; partition < kept; partition++)
        REQUIRE(ops->trim(load->f->store, partition, load->durable[partition]) == 0);
    bool trimmed = false;
    while (fixture_stats(load->f).removed == 0 || load->reads_under_way > 0 || load->flushing ||
           load->appends_under_way > 0) {
        bool done = fixture_stats(load->f).removed > 0;
        bool swept = fixture_stats(load->f).swept > 0;
        while (!swept && load->reads_under_way < READS_AHEAD)
            start_read(load, kept);
        if (swept && !trimmed && load->reads_under_way == 0) {
            REQUIRE(ops->trim(load->f->store, kept, load->durable[kept]) == 0);
            trimmed = true;
        }
        if (!done && load->appends_under_way == 0)
            start_append(load, kept);
        if (!done && !load->flushing)
            start_flush(load);
        fixture_pump(load->f);
        REQUIRE(fixture_stats(load->f).errors == 0);
    }
}

int main(void)
{
    struct load load = {.random = random_seeded(7)};
    load.f = fixture_create(FIXTURE_LMDB);
    load.f->options.segment_size = 1u << 20;
    load.f->options.reader_threads = 3;
    load.f->options.sweep_settle_us = 1000;
    REQUIRE(fixture_start(load.f) == 0);
    run(&load);
    struct store_stats stats = fixture_stats(load.f);
    REQUIRE(stats.segments > 5);
    REQUIRE(stats.last_index == APPENDS);
    REQUIRE(load.inspections > 10 && load.seals > 0);
    REQUIRE(load.reads_finished > 50 && load.lookups_finished > 50 && load.flushes_finished > 10);
    clean(&load);
    stats = fixture_stats(load.f);
    fixture_reopen(load.f, FIXTURE_CLEAN);
    REQUIRE(fixture_stats(load.f).last_index == load.submitted);
    fixture_destroy(load.f);
    printf("%u appends, %u reads (%llu batches), %u lookups, %u flushes; %llu segments swept, %llu removed\n",
           load.finished, load.reads_finished, (unsigned long long)load.batches_read, load.lookups_finished,
           load.flushes_finished, (unsigned long long)stats.swept, (unsigned long long)stats.removed);
    return 0;
}
