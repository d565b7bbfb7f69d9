/* test_batch_damage.c: one poisoned batch stops every consumer for ever, so none may pass: not damaged, not forged. */
#include "base/bytes.h"
#include "base/check.h"
#include "proto/batch.h"
#include "proto/crc32c.h"
#include "proto/error.h"
#include "proto/varint.h"
#include "tests/support/events.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct batch_limits limits = {4096, 2048, 65536};

static uint8_t batch[4096];
static size_t batch_size;

static void repair_crc(uint8_t *data, size_t size)
{
    be32_put(data + 17, crc32c(0, data + BATCH_CRC_START, size - BATCH_CRC_START));
}

static void build(uint64_t seed, enum batch_codec codec)
{
    static uint8_t plain[4096];
    struct random random = random_seeded(seed);
    struct batch_builder builder;
    batch_builder_init(&builder, plain, sizeof(plain));
    for (int i = 0; i < 8; i++) {
        struct test_event event = event_next(&random, 60);
        cr_assert_eq(event_append(&builder, &event), 0);
    }
    batch_size = batch_builder_finish(&builder, 5, 1, 77);
    memcpy(batch, plain, batch_size);
    if (codec != BATCH_NONE) {
        batch_size = (size_t)batch_compress(plain, batch_size, codec, batch, sizeof(batch));
        cr_assert_gt(batch_size, BATCH_HEADER_SIZE);
    }
}

static int validate(const char **ret_why)
{
    struct batch_header header;
    return batch_validate(batch, batch_size, &limits, &header, ret_why);
}

Test(batch_damage, no_flipped_bit_under_the_crc_is_accepted)
{
    for (int codec = BATCH_NONE; codec <= BATCH_ZSTD; codec += codec == BATCH_NONE ? BATCH_LZ4 : 1) {
        build(1, (enum batch_codec)codec);
        cr_assert_eq(validate(NULL), 0);
        for (size_t bit = 8 * 8; bit < batch_size * 8; bit++) { /* from the length on */
            if (bit / 8 >= 12 && bit / 8 < 16)
                continue; /* the leader epoch is the broker's, outside the CRC */
            batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
            const char *why = NULL;
            cr_assert_lt(validate(&why), 0, "bit %zu", bit);
            cr_assert_not_null(why);
            batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        cr_assert_eq(validate(NULL), 0);
    }
}

Test(batch_damage, no_truncation_and_no_appendix_is_accepted)
{
    build(2, BATCH_NONE);
    size_t whole = batch_size;
    struct batch_header header = {.count = 42};
    for (batch_size = 0; batch_size < whole; batch_size++) {
        uint8_t *exact = malloc(batch_size ? batch_size : 1);
        memcpy(exact, batch, batch_size);
        cr_assert_eq(batch_validate(exact, batch_size, &limits, &header, NULL), WIRE_CRIER_ECORRUPT);
        cr_assert_eq(batch_header_decode(exact, batch_size, &header), 0, "more is needed");
        cr_assert_eq(batch_validate_deep(exact, batch_size, &limits, NULL), WIRE_CRIER_ECORRUPT);
        struct batch_iterator iterator;
        cr_assert_eq(batch_iterator_init(&iterator, exact, batch_size, 0), WIRE_CRIER_ECORRUPT);
        free(exact);
    }
    cr_assert_eq(header.count, 42, "written on success only");
    batch_size = whole + 1;
    cr_assert_eq(validate(NULL), WIRE_CRIER_ECORRUPT);
}

/* Whatever passes the check can be walked to its end: checked on damaged batches whose CRC was made to fit. */
Test(batch_damage, whatever_is_accepted_can_be_walked)
{
    unsigned accepted = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        build(seed, BATCH_NONE);
        struct random random = random_seeded(seed * 1000);
        uint8_t whole[sizeof(batch)];
        memcpy(whole, batch, batch_size);
        for (int i = 0; i < 1000; i++) {
            memcpy(batch, whole, batch_size);
            for (uint64_t changes = 1 + random_below(&random, 3); changes > 0; changes--)
                batch[BATCH_HEADER_SIZE + random_below(&random, batch_size - BATCH_HEADER_SIZE)] =
                    (uint8_t)random_next(&random);
            repair_crc(batch, batch_size);
            struct batch_iterator iterator;
            struct batch_record record;
            struct batch_string key, value;
            bool valid = validate(NULL) == 0;
            accepted += valid;
            cr_assert_eq(batch_iterator_init(&iterator, batch, batch_size, 0), 0);
            int32_t records = 0;
            int rc;
            while ((rc = batch_iterator_next(&iterator, &record)) == 1) {
                const uint8_t *cursor = record.headers;
                int32_t headers = 0;
                while ((rc = batch_record_header(&record, &cursor, &key, &value)) == 1)
                    headers++;
                cr_assert(!valid || (rc == 0 && headers == record.header_count));
                records++;
            }
            cr_assert(!valid || (rc == 0 && records == 8));
            batch_iterator_finish(&iterator);
        }
    }
    cr_assert_gt(accepted, 1000, "changed text is a valid event, so that many must pass");
}

/* ---- forged headers: the CRC fits, the rules do not ---- */

struct forgery {
    size_t offset, size; /* the field */
    uint64_t value;
    int code;
    const char *what;
};

static const struct forgery forgeries[] = {
    {16, 1, 0, WIRE_CRIER_ENOTSUP, "magic 0"},
    {16, 1, 1, WIRE_CRIER_ENOTSUP, "magic 1"},
    {16, 1, 3, WIRE_CRIER_ENOTSUP, "a magic to come"},
    {8, 4, 48, WIRE_CRIER_ECORRUPT, "a length below the header's"},
    {8, 4, 0, WIRE_CRIER_ECORRUPT, "no length"},
    {8, 4, 0x7fffffff, WIRE_CRIER_ECORRUPT, "a length beyond everything"},
    {8, 4, 0xffffffff, WIRE_CRIER_ECORRUPT, "a negative length"},
    {21, 2, 1, WIRE_CRIER_ENOTSUP, "gzip"},
    {21, 2, 2, WIRE_CRIER_ENOTSUP, "snappy"},
    {21, 2, 5, WIRE_CRIER_ENOTSUP, "an unknown codec"},
    {21, 2, 0x08, WIRE_CRIER_ENOTSUP, "broker's timestamps"},
    {21, 2, 0x10, WIRE_CRIER_ENOTSUP, "a transaction"},
    {21, 2, 0x20, WIRE_CRIER_ENOTSUP, "a control batch"},
    {21, 2, 0x40, WIRE_CRIER_ENOTSUP, "a delete horizon"},
    {21, 2, 0x8000, WIRE_CRIER_ENOTSUP, "unknown attributes"},
    {23, 4, 6, WIRE_CRIER_ECORRUPT, "last offset delta below the count"},
    {23, 4, 8, WIRE_CRIER_ECORRUPT, "last offset delta above the count"},
    {23, 4, 0xffffffff, WIRE_CRIER_ECORRUPT, "a negative last offset delta"},
    {43, 8, UINT64_MAX - 1, WIRE_CRIER_ECORRUPT, "producer id -2"},
    {51, 2, 0xffff, WIRE_CRIER_ECORRUPT, "a producer without epoch"},
    {53, 4, 0xffffffff, WIRE_CRIER_ECORRUPT, "a producer without sequence"},
    {57, 4, 0, WIRE_CRIER_ECORRUPT, "no events"},
    {57, 4, 7, WIRE_CRIER_ECORRUPT, "a count too small"},
    {57, 4, 9, WIRE_CRIER_ECORRUPT, "a count too large"},
    {57, 4, 0xffffffff, WIRE_CRIER_ECORRUPT, "a negative count"},
    {57, 4, 0x7fffffff, WIRE_CRIER_ECORRUPT, "an endless count"},
    {27, 8, INT64_MAX, WIRE_CRIER_ECORRUPT, "timestamps beyond 64 bits"},
};

static void put_field(uint8_t *to, size_t size, uint64_t value)
{
    for (size_t i = size; i > 0; i--, value >>= 8)
        to[i - 1] = (uint8_t)value;
}

Test(batch_damage, forged_headers_are_refused_with_their_code)
{
    for (size_t i = 0; i < ARRAY_SIZE(forgeries); i++) {
        const struct forgery *forgery = &forgeries[i];
        /* Two events a millisecond apart and six more: a base timestamp at the end of time overflows. */
        struct batch_builder builder;
        batch_builder_init(&builder, batch, sizeof(batch));
        for (int k = 0; k < 8; k++)
            batch_builder_append(&builder, k, "k", 1, "v", 1, NULL, 0);
        batch_size = batch_builder_finish(&builder, 5, 1, 77);
        put_field(batch + forgery->offset, forgery->size, forgery->value);
        repair_crc(batch, batch_size);
        const char *why = NULL;
        cr_assert_eq(validate(&why), forgery->code, "%s: %s", forgery->what, why);
        cr_assert_not_null(why);
    }
}

Test(batch_damage, a_batch_without_producer_needs_no_sequence)
{
    build(1, BATCH_NONE);
    batch_renumber(batch, batch_size, -1, -1, -1);
    cr_assert_eq(validate(NULL), 0);
}

/* ---- forged records ---- */

/* A batch of one record whose bytes behind the length are `body`. */
static int validate_record(const char *body, size_t size, const char **ret_why)
{
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    batch_builder_append(&builder, 0, NULL, 0, NULL, 0, NULL, 0);
    batch_builder_finish(&builder, -1, -1, -1);
    uint8_t *at = varint32_put(batch + BATCH_HEADER_SIZE, (int32_t)size);
    memcpy(at, body, size);
    batch_size = (size_t)(at - batch) + size;
    be32_put(batch + 8, (uint32_t)(batch_size - BATCH_LENGTH_OFFSET));
    repair_crc(batch, batch_size);
    return validate(ret_why);
}

#define RECORD(bytes) bytes, sizeof(bytes) - 1

Test(batch_damage, forged_records_are_refused)
{
    static const struct {
        const char *body;
        size_t size;
        const char *what;
        bool inside_headers; /* the walk sees it only when it reads the headers */
    } bad[] = {
        {RECORD("\x00\x00\x00\x03\x01\x00"), "key length -2", false},
        {RECORD("\x00\x00\x00\x01\x03\x00"), "value length -2", false},
        {RECORD("\x00\x00\x00\x08\x01\x00"), "a key beyond the record", false},
        {RECORD("\x00\x00\x00\x01\x08v\x00"), "a value beyond the record", false},
        {RECORD("\x00\x00\x00\x01\x01\x01"), "header count -1", false},
        {RECORD("\x00\x00\x00\x01\x01\x02"), "a header that is not there", false},
        {RECORD("\x00\x00\x00\x01\x01\x00z"), "bytes behind the headers", false},
        {RECORD("\x00\x00\x00\x01\x01\x02\x02k\x01z"), "bytes behind the last header", true},
        {RECORD("\x00\x00\x00\x01\x01\x02\x01\x01"), "a header key of null", true},
        {RECORD("\x00\x00\x00\x01\x01\x02\x02k\x08v"), "a header value beyond the record", true},
        {RECORD("\x00\x00\x00\x01\x01\xfe\xff\xff\xff\x0f"), "more headers than bytes", false},
        {RECORD("\x00\x00\x02\x01\x01\x00"), "offset delta 1 in the first record", false},
        {RECORD("\x00\x00\x01\x01\x01\x00"), "offset delta -1", false},
        {RECORD("\x00\x00\x00\x01\x01"), "no header count", false},
        {RECORD("\x00"), "one byte", false},
        {RECORD(""), "an empty record", false},
        {RECORD("\x00\x00\x00\xff\xff\xff\xff\x1f\x01\x00"), "a key length beyond 32 bits", false},
        {RECORD("\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x00\x01\x01\x00"), "an overlong timestamp",
         false},
    };
    const char *why = NULL;
    cr_assert_eq(validate_record(RECORD("\x00\x00\x00\x01\x01\x00"), &why), 0,
                 "the pattern itself is right: %s", why);
    cr_assert_eq(validate_record(RECORD("\x00\x00\x00\x02k\x02v\x02\x02h\x01"), &why), 0, "%s", why);
    cr_assert_eq(validate_record(RECORD("\x7f\x00\x00\x01\x01\x00"), &why), 0,
                 "record attributes are unused: %s", why);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        cr_assert_eq(validate_record(bad[i].body, bad[i].size, &why), WIRE_CRIER_ECORRUPT, "%s", bad[i].what);
        struct batch_iterator iterator;
        struct batch_record record;
        cr_assert_eq(batch_iterator_init(&iterator, batch, batch_size, 0), 0);
        cr_assert_eq(batch_iterator_next(&iterator, &record), bad[i].inside_headers ? 1 : WIRE_CRIER_ECORRUPT,
                     "%s", bad[i].what);
        if (bad[i].inside_headers) {
            const uint8_t *cursor = record.headers;
            struct batch_string key, value;
            int rc;
            while ((rc = batch_record_header(&record, &cursor, &key, &value)) == 1)
                ;
            cr_assert_eq(rc, WIRE_CRIER_ECORRUPT, "%s", bad[i].what);
        }
        batch_iterator_finish(&iterator);
    }
}

Test(batch_damage, bytes_behind_the_last_record_are_refused)
{
    build(4, BATCH_NONE);
    for (size_t extra = 1; extra <= 20; extra++) {
        memset(batch + batch_size, 0, extra);
        be32_put(batch + 8, (uint32_t)(batch_size + extra - BATCH_LENGTH_OFFSET));
        repair_crc(batch, batch_size + extra);
        struct batch_header header;
        const char *why = NULL;
        cr_assert_eq(batch_validate(batch, batch_size + extra, &limits, &header, &why), WIRE_CRIER_ECORRUPT);
        cr_assert_str_eq(why, "bytes are left behind the last record");
        struct batch_iterator iterator;
        struct batch_record record;
        int rc;
        cr_assert_eq(batch_iterator_init(&iterator, batch, batch_size + extra, 0), 0);
        while ((rc = batch_iterator_next(&iterator, &record)) == 1)
            ;
        cr_assert_eq(rc, WIRE_CRIER_ECORRUPT);
    }
}

Test(batch_damage, impossible_counts_are_refused_before_anything_is_walked)
{
    static const struct {
        uint32_t last_offset_delta, count;
    } bad[] = {{7, 9}, {0xffffffff, 0}, {7, 0xffffffff}, {0x7fffffff, BATCH_COUNT_MAX + 1}};
    build(1, BATCH_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct batch_header header;
        struct batch_iterator iterator;
        be32_put(batch + 23, bad[i].last_offset_delta);
        be32_put(batch + 57, bad[i].count);
        cr_assert_eq(batch_header_decode(batch, batch_size, &header), WIRE_CRIER_ECORRUPT);
        cr_assert_eq(batch_iterator_init(&iterator, batch, batch_size, 0), WIRE_CRIER_ECORRUPT);
    }
}

Test(batch_damage, forged_records_are_refused_inside_compression_too)
{
    build(3, BATCH_NONE);
    uint8_t plain[sizeof(batch)];
    size_t plain_size = batch_size;
    memcpy(plain, batch, batch_size);
    plain[BATCH_HEADER_SIZE + 3] = 0x02; /* the first offset delta */
    repair_crc(plain, plain_size);
    for (int codec = BATCH_LZ4; codec <= BATCH_ZSTD; codec++) {
        batch_size = (size_t)batch_compress(plain, plain_size, (enum batch_codec)codec, batch, sizeof(batch));
        const char *why = NULL;
        cr_assert_eq(validate(&why), 0, "the shallow check does not look inside");
        cr_assert_eq(batch_validate_deep(batch, batch_size, &limits, &why), WIRE_CRIER_ECORRUPT);
        cr_assert_not_null(why);
        batch[batch_size - 5] ^= 0x55;
        cr_assert_lt(batch_validate_deep(batch, batch_size, &limits, NULL), 0);
    }
}

/* ---- a log may hold batches with gaps; the walk gets over them ---- */

Test(batch_damage, a_compacted_batch_is_walked_over_its_gaps)
{
    struct batch_builder builder;
    batch_builder_init(&builder, batch, sizeof(batch));
    for (int i = 0; i < 3; i++)
        batch_builder_append(&builder, 0, NULL, 0, "v", 1, NULL, 0);
    batch_size = batch_builder_finish(&builder, -1, -1, -1);
    batch[BATCH_HEADER_SIZE + 8 + 3] = 2 * 5; /* the second record's offset delta: 5, zig-zag */
    batch[BATCH_HEADER_SIZE + 16 + 3] = 2 * 9;
    be32_put(batch + 23, 9);
    batch_patch(batch, 100, 0);
    repair_crc(batch, batch_size);
    struct batch_iterator iterator;
    struct batch_record record;
    static const int64_t offsets[] = {100, 105, 109};
    cr_assert_eq(batch_iterator_init(&iterator, batch, batch_size, 0), 0);
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
        cr_assert_eq(record.offset, offsets[i]);
    }
    cr_assert_eq(batch_iterator_next(&iterator, &record), 0);
    cr_assert_eq(validate(NULL), WIRE_CRIER_ECORRUPT, "a producer may not send one");

    batch[BATCH_HEADER_SIZE + 16 + 3] = 2 * 5; /* not ascending */
    cr_assert_eq(batch_iterator_init(&iterator, batch, batch_size, 0), 0);
    cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
    cr_assert_eq(batch_iterator_next(&iterator, &record), 1);
    cr_assert_eq(batch_iterator_next(&iterator, &record), WIRE_CRIER_ECORRUPT);
}
