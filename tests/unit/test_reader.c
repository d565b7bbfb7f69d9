/* test_reader.c: how many indexes a reader has to read from their files, where not all of them are kept in memory. */
#include "storage/lmdb/reader.h"
#include "tests/unit/store_yard.h"

#include <criterion/criterion.h>
#include <poll.h>

/* Readers do the same work whichever thread asks; this one is asked one thing at a time. */
struct rig {
    struct yard *yard;
    struct reader reader;
    struct completions *completions;
};

static void rig_open(struct rig *rig, bool turns)
{
    rig->yard = yard_open(turns);
    rig->yard->segments.index_size = 0; /* as with 100,000 partitions: only SEGMENTS_INDEXES_KEPT of them */
    cr_assert_not_null(rig->completions = completions_create());
    rig->reader = (struct reader){.segments = &rig->yard->segments,
                                  .health = &rig->yard->health,
                                  .completions = rig->completions,
                                  .read_tag = 1,
                                  .lookup_tag = 2};
    cr_assert_eq(reader_init(&rig->reader, 4), 0);
    cr_assert_eq(reader_start(&rig->reader), 0);
    atomic_store(&rig->yard->health.indexes_read, 0);
}

static void rig_close(struct rig *rig)
{
    reader_stop(&rig->reader);
    reader_finish(&rig->reader);
    completions_destroy(rig->completions);
    yard_close(rig->yard);
}

static void await(struct rig *rig, const struct queue_node *node)
{
    struct pollfd fd = {.fd = completions_fd(rig->completions), .events = POLLIN};
    struct queue_node *done;
    while (!(done = completions_take(rig->completions)))
        cr_assert_eq(poll(&fd, 1, 20000), 1);
    cr_assert(done == node && !done->next);
}

static void expect_prefix(struct rig *rig, uint64_t partition, uint64_t from, uint64_t until)
{
    struct store_lookup lookup = {
        .kind = LOOKUP_PREFIX, .partition = partition, .from = from, .until = until, .bytes_max = UINT64_MAX};
    cr_assert_eq(reader_lookup(&rig->reader, &lookup), 0);
    await(rig, &lookup.node);
    cr_assert_eq(lookup.status, 0);
    cr_assert_eq(lookup.offset, until);
}

static void expect_batch(struct rig *rig, uint64_t partition, uint64_t offset)
{
    static struct store_read read;
    read = (struct store_read){
        .partition = partition, .offset = offset, .until = offset + 1, .bytes_max = YARD_SIZE};
    cr_assert_eq(reader_read(&rig->reader, &read), 0);
    await(rig, &read.node);
    cr_assert(read.status == 0 && read.count == 1);
    cr_assert(fixture_batch_is(&read.batches[0], partition, offset, 1, YARD_SIZE));
    slice_unref(&read.batches[0].batch);
}

static uint64_t indexes_read(const struct rig *rig)
{
    return atomic_load(&rig->yard->health.indexes_read);
}

/* What retention asks: of each topic in turn, and the topics' oldest events lie in segments near each other. */
Test(reader, a_round_of_retention_over_all_partitions_reads_each_index_once_or_twice)
{
    struct rig rig;
    rig_open(&rig, false);
    size_t count = segments_count(&rig.yard->segments);
    cr_assert_gt(count, 4 * SEGMENTS_INDEXES_KEPT);
    for (uint64_t partition = 1; partition <= YARD_PARTITIONS; partition++)
        expect_prefix(&rig, partition, 0, YARD_OFFSETS - 1);
    cr_assert_leq(indexes_read(&rig), 2 * count, "%u for %zu segments", (unsigned)indexes_read(&rig), count);
    rig_close(&rig);
}

/* Every partition's first events are in the oldest segments, its last ones in the newest. */
Test(reader, prefixes_that_go_on_in_the_next_segments_read_no_others)
{
    struct rig rig;
    rig_open(&rig, true);
    for (uint64_t partition = 1; partition <= YARD_PARTITIONS; partition++)
        expect_prefix(&rig, partition, 0, 2); /* segments 1 to 3 or 4 */
    cr_assert_leq(indexes_read(&rig), 2 * SEGMENTS_INDEXES_KEPT, "%u", (unsigned)indexes_read(&rig));
    rig_close(&rig);
}

Test(reader, every_offset_is_found_whatever_is_in_memory)
{
    for (unsigned turns = 0; turns < 2; turns++) {
        struct rig rig;
        rig_open(&rig, turns);
        uint64_t random = 7;
        for (unsigned i = 0; i < 500; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            expect_batch(&rig, 1 + (random >> 33) % YARD_PARTITIONS, (random >> 45) % YARD_OFFSETS);
        }
        rig_close(&rig);
    }
}
