/* test_batch.c: what is built is what is read, byte for byte the format's, with any codec and up to every limit. */
#include "base/bytes.h"
#include "base/check.h"
#include "proto/batch.h"
#include "proto/error.h"
#include "proto/varint.h"
#include "tests/support/allocation.h"
#include "tests/support/events.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY (64 * 1024)

static const struct batch_limits limits = {CAPACITY, 32 * 1024, 16 * CAPACITY};
static uint8_t batch[CAPACITY], packed[CAPACITY];

static size_t build_simple(unsigned count)
{
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(batch_builder_append(&builder, 1000 + i, "key", 3, "value", 5, NULL, 0), 0);
    return batch_builder_finish(&builder, 7, 2, 40);
}

/* ---- the bytes ---- */

Test(batch, bytes_are_those_of_the_format)
{
    struct batch_builder builder;
    struct batch_pair header = {"h", 1, NULL, 0};
    batch_builder_init(&builder, batch, sizeof(batch));
    cr_assert_eq(batch_builder_append(&builder, 0x0102030405060708, NULL, 0, "ab", 2, NULL, 0), 0);
    cr_assert_eq(batch_builder_append(&builder, 0x0102030405060708 + 100, "k", 1, NULL, 0, &header, 1), 0);
    size_t size = batch_builder_finish(&builder, 0x1112131415161718, 0x2122, 0x31323334);
    static const uint8_t expected[] = {
        0,    0,    0,    0,           0,    0,    0,    0,       /* base offset */
        0,    0,    0,    49 + 9 + 12,                            /* length of what follows */
        0xff, 0xff, 0xff, 0xff,                                   /* partition leader epoch */
        2,                                                        /* magic */
        0,    0,    0,    0,                                      /* CRC: below */
        0,    0,                                                  /* attributes */
        0,    0,    0,    1,                                      /* last offset delta */
        1,    2,    3,    4,           5,    6,    7,    8,       /* base timestamp */
        1,    2,    3,    4,           5,    6,    7,    8 + 100, /* max timestamp */
        0x11, 0x12, 0x13, 0x14,        0x15, 0x16, 0x17, 0x18,    /* producer id */
        0x21, 0x22,                                               /* producer epoch */
        0x31, 0x32, 0x33, 0x34,                                   /* base sequence */
        0,    0,    0,    2,                                      /* count */
        16,   0,    0,    0,           1,    4,    'a',  'b',     0, /* 8 bytes: attributes, deltas, null, "ab", no headers */
        22,   0,    0xc8, 1,           2,    2,    'k',  1,       2, 2,
        'h',  1, /* 11 bytes: +100 ms, offset 1, "k", null, one header */
    };
    cr_assert_eq(size, sizeof(expected));
    uint8_t without_crc[sizeof(expected)];
    memcpy(without_crc, batch, size);
    memset(without_crc + 17, 0, 4);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(without_crc[i], expected[i], "byte %zu is %02x", i, without_crc[i]);
    cr_assert_eq(be32_get(batch + 17), 0xdf741cf7, "the CRC of these bytes, computed elsewhere: %08x",
                 be32_get(batch + 17));
}

Test(batch, header_fields_are_read_back)
{
    size_t size = build_simple(3);
    struct batch_header header;
    cr_assert_eq(batch_header_decode(batch, size, &header), (int64_t)size);
    cr_assert_eq(header.base_offset, 0);
    cr_assert_eq(header.size, size);
    cr_assert_eq(header.leader_epoch, -1);
    cr_assert_eq(header.attributes, 0);
    cr_assert_eq(header.last_offset_delta, 2);
    cr_assert_eq(header.base_timestamp_ms, 1000);
    cr_assert_eq(header.max_timestamp_ms, 1002);
    cr_assert_eq(header.producer_id, 7);
    cr_assert_eq(header.producer_epoch, 2);
    cr_assert_eq(header.base_sequence, 40);
    cr_assert_eq(header.count, 3);
    cr_assert_eq(batch_header_codec(&header), BATCH_NONE);
}

Test(batch, max_timestamp_is_the_latest_and_base_the_first)
{
    struct batch_builder builder;
    struct batch_header header;
    batch_builder_init(&builder, batch, sizeof(batch));
    static const int64_t times[] = {500, -20, 900, 300};
    for (size_t i = 0; i < ARRAY_SIZE(times); i++)
        batch_builder_append(&builder, times[i], NULL, 0, "x", 1, NULL, 0);
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    cr_assert_eq(batch_validate(batch, size, &limits, &header, NULL), 0);
    cr_assert_eq(header.base_timestamp_ms, 500);
    cr_assert_eq(header.max_timestamp_ms, 900);
}

/* ---- there and back ---- */

static void check_events(const uint8_t *data, size_t size, uint64_t seed, size_t size_max,
                         int64_t base_offset)
{
    struct batch_iterator iterator;
    struct batch_record record;
    cr_assert_eq(batch_iterator_init(&iterator, data, size, limits.uncompressed_size_max), 0);
    struct random random = random_seeded(seed);
    for (int32_t i = 0; i < iterator.header.count; i++) {
        struct test_event event = event_next(&random, size_max);
        cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
        cr_assert_eq(record.offset, base_offset + i);
        const char *difference = event_differs(&event, &record);
        cr_assert_null(difference, "event %d: %s", i, difference);
    }
    cr_assert_eq(batch_iterator_next(&iterator, &record), 0);
    cr_assert_eq(batch_iterator_next(&iterator, &record), 0, "the end stays the end");
    batch_iterator_finish(&iterator);
}

Test(batch, events_of_every_shape_go_there_and_back_with_every_codec)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        size_t size_max = (size_t)(seed * 211 % 30000);
        struct random random = random_seeded(seed);
        struct batch_builder builder;
        batch_builder_init(&builder, batch, sizeof(batch));
        struct test_event event;
        do
            event = event_next(&random, size_max);
        while (builder.count < (int32_t)(seed * 7) && event_append(&builder, &event) == 0);
        if (builder.count == 0)
            continue;
        size_t size = batch_builder_finish(&builder, (int64_t)seed, 1, 0);
        struct batch_header header;
        const char *why = NULL;
        struct batch_limits wide = {CAPACITY, CAPACITY, CAPACITY};
        cr_assert_eq(batch_validate(batch, size, &wide, &header, &why), 0, "seed %lu: %s",
                     (unsigned long)seed, why);
        check_events(batch, size, seed, size_max, 0);

        for (int codec = BATCH_LZ4; codec <= BATCH_ZSTD; codec++) {
            int64_t packed_size =
                batch_compress(batch, size, (enum batch_codec)codec, packed, sizeof(packed));
            cr_assert_geq(packed_size, 0);
            if (packed_size == 0)
                continue;
            cr_assert_lt(packed_size, (int64_t)size);
            cr_assert_eq(batch_validate(packed, (size_t)packed_size, &wide, &header, &why), 0, "%s", why);
            cr_assert_eq((int)batch_header_codec(&header), codec);
            cr_assert_eq(header.producer_id, (int64_t)seed);
            cr_assert_eq(batch_validate_deep(packed, (size_t)packed_size, &wide, &why), 0, "%s", why);
            batch_patch(packed, 1000, 3);
            check_events(packed, (size_t)packed_size, seed, size_max, 1000);
        }
    }
}

/* The records' CRC is taken on the way, in steps: of batches that end before the first, on one and behind it. */
Test(batch, the_crc_is_right_after_every_record)
{
    static uint8_t value[1000], before[CAPACITY];
    struct batch_limits wide = {CAPACITY, CAPACITY, CAPACITY};
    struct random random = random_seeded(5);
    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (uint8_t)random_next(&random);
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    while (batch_builder_append(&builder, 7, "k", 1, value, 1 + random_next(&random) % sizeof(value), NULL,
                                0) == 0) {
        struct batch_builder copy = builder; /* this one ends here */
        memcpy(before, batch, sizeof(batch));
        size_t size = batch_builder_finish(&copy, 7, 2, 40);
        struct batch_header header;
        const char *why = NULL;
        cr_assert_eq(batch_validate(batch, size, &wide, &header, &why), 0, "%d records: %s", copy.count, why);
        batch_renumber(batch, size, 7, 2, 40);
        cr_assert_eq(be32_get(batch + 17), header.crc, "%d records", copy.count);
        memcpy(batch, before, sizeof(batch));
    }
    cr_assert_gt(builder.count, 100);
}

/* There are two ways to write a record: where there is plenty of room, and where each part is measured first. */
Test(batch, a_record_is_the_same_bytes_in_plenty_of_room_and_in_just_enough)
{
    static uint8_t value[9000], tight[BATCH_HEADER_SIZE + 9200];
    static const char *const keys[] = {NULL, "", "customer-7"};
    memset(value, 'v', sizeof(value));
    for (size_t size = 0; size < sizeof(value); size += size < 300 || size > 7900 ? 1 : 97)
        for (size_t i = 0; i < 3; i++) {
            size_t key_size = keys[i] ? strlen(keys[i]) : 0;
            struct batch_builder wide, exact;
            batch_builder_init(&wide, batch, sizeof(batch));
            cr_assert_eq(batch_builder_append(&wide, 7, keys[i], key_size, value, size, NULL, 0), 0);
            size_t record = wide.size - BATCH_HEADER_SIZE,
                   length = 1; /* of its length, which is no longer than it must be */
            while (varint32_size((int32_t)(record - length)) > length)
                length++;
            int32_t body;
            cr_assert_eq(varint32_get(batch + BATCH_HEADER_SIZE, batch + wide.size, &body),
                         batch + BATCH_HEADER_SIZE + length);
            cr_assert_eq((size_t)body, record - length);
            batch_builder_init(&exact, tight, wide.size);
            cr_assert_eq(batch_builder_append(&exact, 7, keys[i], key_size, value, size, NULL, 0), 0);
            cr_assert_eq(exact.size, wide.size);
            cr_assert_arr_eq(tight + BATCH_HEADER_SIZE, batch + BATCH_HEADER_SIZE,
                             wide.size - BATCH_HEADER_SIZE);
        }
}

Test(batch, record_size_max_is_never_too_small)
{
    struct random random = random_seeded(99);
    for (int i = 0; i < 3000; i++) {
        struct test_event event = event_next(&random, 2000);
        size_t most =
            batch_record_size_max(event.key_size, event.value_size, event.headers, event.header_count);
        struct batch_builder builder;
        batch_builder_init(&builder, batch, BATCH_HEADER_SIZE + most);
        cr_assert_eq(event_append(&builder, &event), 0);
        cr_assert_leq(builder.size, builder.capacity);
    }
}

/* ---- the builder's limits ---- */

Test(batch_builder, what_does_not_fit_changes_nothing)
{
    struct batch_builder builder;
    batch_builder_init(&builder, batch, 210);
    memset(batch, 0xee, sizeof(batch));
    int appended = 0;
    while (batch_builder_append(&builder, 0, NULL, 0, "0123456789", 10, NULL, 0) == 0)
        appended++;
    cr_assert_eq(appended, (210 - BATCH_HEADER_SIZE) / 17);
    struct batch_builder before = builder;
    cr_assert_eq(batch_builder_append(&builder, 5, NULL, 0, "0123456789", 10, NULL, 0), WIRE_CRIER_EAGAIN);
    cr_assert_eq(memcmp(&before, &builder, sizeof(builder)), 0);
    cr_assert_eq(batch[builder.size], 0xee, "nothing was written behind the last record");
    cr_assert_eq(batch_builder_append(&builder, 0, NULL, 0, NULL, 0, NULL, 0), 0, "a smaller one still fits");
}

Test(batch_builder, fills_its_memory_to_the_last_byte_and_not_beyond)
{
    for (size_t capacity = BATCH_HEADER_SIZE + 1; capacity < 400; capacity++) {
        uint8_t *exact = malloc(capacity);
        struct batch_builder builder;
        batch_builder_init(&builder, exact, capacity);
        size_t value_size = capacity;
        while (batch_builder_append(&builder, 0, NULL, 0, batch, value_size, NULL, 0) == WIRE_CRIER_EAGAIN &&
               value_size > 0)
            value_size--;
        cr_assert_leq(builder.size, capacity);
        if (builder.count > 0) {
            size_t size = batch_builder_finish(&builder, -1, -1, -1);
            struct batch_header header;
            cr_assert_eq(batch_validate(exact, size, &limits, &header, NULL), 0);
        }
        free(exact);
    }
}

Test(batch_builder, sizes_near_the_end_of_numbers_do_not_wrap)
{
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    struct batch_pair headers[2] = {{"k", SIZE_MAX - 2, "v", 1}, {"k", 1, "v", SIZE_MAX}};
    cr_assert_eq(batch_builder_append(&builder, 0, "k", SIZE_MAX, "v", 1, NULL, 0), WIRE_CRIER_EAGAIN);
    cr_assert_eq(batch_builder_append(&builder, 0, "k", SIZE_MAX / 2 + 1, "v", SIZE_MAX / 2 + 1, NULL, 0),
                 WIRE_CRIER_EAGAIN);
    cr_assert_eq(batch_builder_append(&builder, 0, "k", 1, "v", 1, &headers[0], 1), WIRE_CRIER_EAGAIN);
    cr_assert_eq(batch_builder_append(&builder, 0, "k", 1, "v", 1, &headers[1], 1), WIRE_CRIER_EAGAIN);
    cr_assert_eq(builder.size, BATCH_HEADER_SIZE);
}

Test(batch_builder, timestamps_farther_apart_than_a_batch_can_say_want_another_batch)
{
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    cr_assert_eq(batch_builder_append(&builder, INT64_MAX, NULL, 0, "a", 1, NULL, 0), 0);
    cr_assert_eq(batch_builder_append(&builder, -2, NULL, 0, "b", 1, NULL, 0), WIRE_CRIER_EAGAIN);
    cr_assert_eq(batch_builder_append(&builder, 0, NULL, 0, "c", 1, NULL, 0), 0);
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    struct batch_iterator iterator;
    struct batch_record record;
    cr_assert_eq(batch_iterator_init(&iterator, batch, size, 0), 0);
    cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
    cr_assert_eq(record.timestamp_ms, INT64_MAX);
    cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
    cr_assert_eq(record.timestamp_ms, 0);
}

Test(batch_builder, the_count_has_a_limit)
{
    size_t capacity = 13 * 1000 * 1000;
    uint8_t *large = malloc(capacity);
    struct batch_builder builder;
    batch_builder_init(&builder, large, capacity);
    while (batch_builder_append(&builder, 0, NULL, 0, NULL, 0, NULL, 0) == 0)
        ;
    cr_assert_eq(builder.count, BATCH_COUNT_MAX);
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    struct batch_header header;
    struct batch_limits large_limits = {capacity, 100, capacity};
    cr_assert_eq(batch_validate(large, size, &large_limits, &header, NULL), 0);
    free(large);
}

Test(batch_builder, a_batch_without_events_is_our_bug, .signal = SIGABRT)
{
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    batch_builder_finish(&builder, -1, -1, -1);
}

/* ---- changes to a finished batch ---- */

Test(batch, a_patch_leaves_the_crc_right)
{
    size_t size = build_simple(10);
    uint32_t crc = be32_get(batch + 17);
    batch_patch(batch, INT64_C(123456789012), 5);
    struct batch_header header;
    cr_assert_eq(batch_validate(batch, size, &limits, &header, NULL), 0);
    cr_assert_eq(header.crc, crc);
    cr_assert_eq(header.base_offset, INT64_C(123456789012));
    cr_assert_eq(header.leader_epoch, 5);
}

Test(batch, a_renumbering_renews_the_crc)
{
    size_t size = build_simple(10);
    batch_renumber(batch, size, 99, 3, 1234);
    struct batch_header header;
    cr_assert_eq(batch_validate(batch, size, &limits, &header, NULL), 0);
    cr_assert_eq(header.producer_id, 99);
    cr_assert_eq(header.producer_epoch, 3);
    cr_assert_eq(header.base_sequence, 1234);
}

Test(batch_compress, what_does_not_shrink_is_left_as_it_is)
{
    struct random random = random_seeded(3);
    uint8_t noise[2000];
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)random_next(&random);
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    batch_builder_append(&builder, 0, NULL, 0, noise, sizeof(noise), NULL, 0);
    size_t size = batch_builder_finish(&builder, 1, 1, 1);
    cr_assert_eq(batch_compress(batch, size, BATCH_LZ4, packed, sizeof(packed)), 0);
    cr_assert_eq(batch_compress(batch, size, BATCH_ZSTD, packed, sizeof(packed)), 0);
    cr_assert_eq(batch_compress(batch, size, BATCH_ZSTD, packed, 10), 0);
    cr_assert_eq(batch_compress(batch, size, BATCH_GZIP, packed, sizeof(packed)), WIRE_CRIER_ENOTSUP);
    cr_assert_eq(batch_compress(batch, size, BATCH_NONE, packed, sizeof(packed)), WIRE_CRIER_ENOTSUP);
}

Test(batch_compress, out_of_memory_is_an_error)
{
    size_t size = build_simple(1000);
    allocation_fail_after(0);
    cr_assert_eq(batch_compress(batch, size, BATCH_LZ4, packed, size), WIRE_CRIER_ENOMEM);
    cr_assert_gt(batch_compress(batch, size, BATCH_LZ4, packed, size), 0);
    int64_t packed_size = batch_compress(batch, size, BATCH_LZ4, packed, size);
    struct batch_iterator iterator;
    const char *why;
    allocation_fail_after(0);
    cr_assert_eq(batch_iterator_init(&iterator, packed, (size_t)packed_size, CAPACITY), WIRE_CRIER_ENOMEM);
    allocation_fail_after(0);
    cr_assert_eq(batch_validate_deep(packed, (size_t)packed_size, &limits, &why), WIRE_CRIER_ENOMEM);
}

/* ---- limits of what is accepted ---- */

Test(batch_validate, limits_are_inclusive)
{
    struct random random = random_seeded(5);
    for (int i = 0; i < 300; i++) {
        struct test_event event = event_next(&random, 3000);
        struct batch_builder builder;
        batch_builder_init(&builder, batch, sizeof(batch));
        cr_assert_eq(event_append(&builder, &event), 0);
        size_t size = batch_builder_finish(&builder, -1, -1, -1), bytes = event_bytes(&event);
        struct batch_header header;
        struct batch_limits exact = {size, bytes, 0};
        cr_assert_eq(batch_validate(batch, size, &exact, &header, NULL), 0);
        exact.batch_size_max--;
        cr_assert_eq(batch_validate(batch, size, &exact, &header, NULL), WIRE_CRIER_ETOOBIG);
        if (bytes == 0)
            continue;
        exact = (struct batch_limits){size, bytes - 1, 0};
        cr_assert_eq(batch_validate(batch, size, &exact, &header, NULL), WIRE_CRIER_ETOOBIG);
    }
}

Test(batch_validate, a_compressed_event_is_measured_by_the_deep_check)
{
    static uint8_t zeros[50000];
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    batch_builder_append(&builder, 0, NULL, 0, zeros, sizeof(zeros), NULL, 0);
    size_t size = batch_builder_finish(&builder, -1, -1, -1);
    for (int codec = BATCH_LZ4; codec <= BATCH_ZSTD; codec++) {
        size_t packed_size =
            (size_t)batch_compress(batch, size, (enum batch_codec)codec, packed, sizeof(packed));
        struct batch_limits small = {1000, 49999, 100000}, bomb = {1000, 50000, 20000};
        struct batch_header header;
        const char *why;
        cr_assert_eq(batch_validate(packed, packed_size, &small, &header, &why), 0);
        cr_assert_eq(batch_validate_deep(packed, packed_size, &small, &why), WIRE_CRIER_ETOOBIG);
        cr_assert_str_eq(why, "an event is larger than the limit");
        cr_assert_eq(batch_validate_deep(packed, packed_size, &bomb, &why), WIRE_CRIER_ETOOBIG);
        cr_assert_str_eq(why, "the events are larger than the limit once decompressed");
        struct batch_iterator iterator;
        cr_assert_eq(batch_iterator_init(&iterator, packed, packed_size, 20000), WIRE_CRIER_ETOOBIG);
    }
}
