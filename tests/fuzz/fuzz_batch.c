/* fuzz_batch.c: any bytes are a batch that can be walked, or refused.
 *
 * Each input is tried as it is, and once more with its length and CRC made to fit: a checksum keeps out accidents, not
 * somebody who can compute one.
 *
 * Promises: nothing outside the bytes is read; what is accepted walks to its last event; decompression ends at its limit;
 * what was walked, built anew, is accepted and the same; patching changes no verdict. */
#include "tests/fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/check.h"
#include "proto/batch.h"
#include "proto/crc32c.h"
#include "proto/error.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_MAX    (16u * 1024)
#define INFLATED_MAX (64u * 1024)
#define HEADERS_MAX  64

static const struct batch_limits limits = {INPUT_MAX, 8 * 1024, INFLATED_MAX};

/* Collects a record's headers; returns how many, or -1: they make no sense. */
static int headers_of(const struct batch_record *record, struct batch_pair pairs[HEADERS_MAX])
{
    const uint8_t *cursor = record->headers;
    struct batch_string key, value;
    int count = 0, rc;
    while ((rc = batch_record_header(record, &cursor, &key, &value)) == 1) {
        CHECK(key.data && cursor <= record->headers_end);
        if (count < HEADERS_MAX)
            pairs[count] = (struct batch_pair){key.data, key.size, value.data, value.size};
        count++;
    }
    return rc < 0 ? -1 : count;
}

static bool same_string(const struct batch_string *a, const struct batch_string *b)
{
    return (a->data == NULL) == (b->data == NULL) && a->size == b->size &&
           (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* Both walks give the same events. */
static void check_same(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    struct batch_iterator first, second;
    struct batch_record one, other;
    CHECK(batch_iterator_init(&first, a, a_size, INFLATED_MAX) == 0);
    CHECK(batch_iterator_init(&second, b, b_size, INFLATED_MAX) == 0);
    while (batch_iterator_next(&first, &one) == 1) {
        CHECK(batch_iterator_next(&second, &other) == 1);
        CHECK(one.offset == other.offset && one.timestamp_ms == other.timestamp_ms);
        CHECK(same_string(&one.key, &other.key) && same_string(&one.value, &other.value));
        CHECK(one.header_count == other.header_count);
    }
    CHECK(batch_iterator_next(&second, &other) == 0);
    batch_iterator_finish(&first);
    batch_iterator_finish(&second);
}

/* Walks as far as it goes; copies the events to `builder`. Returns true if it came to the end with nothing left out. */
static bool walk(const uint8_t *data, size_t size, struct batch_builder *builder)
{
    struct batch_iterator iterator;
    struct batch_record record;
    struct batch_pair pairs[HEADERS_MAX];
    if (batch_iterator_init(&iterator, data, size, INFLATED_MAX) < 0)
        return false;
    bool whole = true;
    int rc;
    int32_t count = 0;
    while ((rc = batch_iterator_next(&iterator, &record)) == 1) {
        count++;
        int headers = headers_of(&record, pairs);
        whole = whole && headers == record.header_count && headers <= HEADERS_MAX &&
                batch_builder_append(builder, record.timestamp_ms, record.key.data, record.key.size,
                                     record.value.data, record.value.size, pairs, (size_t)headers) == 0;
    }
    whole = whole && rc == 0;
    CHECK(rc < 0 || count == iterator.header.count);
    batch_iterator_finish(&iterator);
    return whole;
}

/* What is right stays right when it is built anew and compressed. */
static void check_rebuilt(const uint8_t *data, size_t size, struct batch_builder *builder)
{
    static uint8_t packed[2 * INFLATED_MAX];
    static const struct batch_limits wide = {2 * INFLATED_MAX, INFLATED_MAX, 2 * INFLATED_MAX};
    struct batch_header header;
    size_t built = batch_builder_finish(builder, -1, -1, -1);
    CHECK(batch_validate(builder->data, built, &wide, &header, NULL) == 0);
    batch_patch(builder->data, (int64_t)be64_get(data), 0);
    check_same(data, size, builder->data, built);
    for (int codec = BATCH_LZ4; codec <= BATCH_ZSTD; codec++) {
        int64_t packed_size =
            batch_compress(builder->data, built, (enum batch_codec)codec, packed, sizeof(packed));
        CHECK(packed_size >= 0);
        if (packed_size == 0)
            continue;
        CHECK(batch_validate(packed, (size_t)packed_size, &wide, &header, NULL) == 0);
        CHECK(batch_validate_deep(packed, (size_t)packed_size, &wide, NULL) == 0);
    }
}

static void check(uint8_t *data, size_t size)
{
    static uint8_t memory[2 * INFLATED_MAX];
    struct batch_builder builder;
    struct batch_header header;
    const char *why = NULL;
    batch_builder_init(&builder, memory, sizeof(memory));
    int verdict = batch_validate(data, size, &limits, &header, &why);
    CHECK(verdict == 0 || why);
    CHECK(verdict == 0 || verdict == WIRE_CRIER_ECORRUPT || verdict == WIRE_CRIER_ETOOBIG ||
          verdict == WIRE_CRIER_ENOTSUP);
    int deep = verdict == 0 ? batch_validate_deep(data, size, &limits, &why) : WIRE_CRIER_ECORRUPT;
    bool walked = walk(data, size, &builder);
    if (verdict < 0)
        return;
    CHECK(batch_crc_matches(data, size) && header.size == size);
    bool plain = batch_header_codec(&header) == BATCH_NONE;
    CHECK(!plain || deep == 0);
    /* A base offset near 2^63 leaves no numbers for the events: the walk says so, the broker patches it anyway. */
    if (header.base_offset > INT64_MAX - header.count || header.base_offset < INT64_MIN + header.count)
        return;
    if (deep == 0 && builder.count == header.count && walked)
        check_rebuilt(data, size, &builder);
    else
        CHECK(deep < 0 || builder.count < header.count); /* more headers than we collect here */
    batch_patch(data, 5, 6);
    CHECK(batch_validate(data, size, &limits, &header, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    uint8_t *copy = malloc(size ? size : 1); /* exactly as large, so that a byte beyond is seen */
    CHECK(copy);
    memcpy(copy, data, size);
    check(copy, size);
    if (size >= BATCH_HEADER_SIZE) {
        memcpy(copy, data, size);
        be32_put(copy + 8, (uint32_t)(size - BATCH_LENGTH_OFFSET));
        copy[16] = 2;
        be32_put(copy + 17, crc32c(0, copy + BATCH_CRC_START, size - BATCH_CRC_START));
        check(copy, size);
    }
    free(copy);
    return 0;
}
