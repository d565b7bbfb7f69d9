/* test_frame.c: every frame there and back, every truncation waits, every lie about a length is found out. */
#include "base/bytes.h"
#include "base/check.h"
#include "proto/error.h"
#include "proto/frame.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 1000

/* A frame of header "hhh..." and attachment "aaa...". */
static size_t make_frame(uint8_t *to, size_t header_size, size_t attachment_size)
{
    frame_prefix_encode(to, FRAME_EMIT, header_size, attachment_size);
    memset(to + FRAME_PREFIX_SIZE, 'h', header_size);
    memset(to + FRAME_PREFIX_SIZE + header_size, 'a', attachment_size);
    return FRAME_PREFIX_SIZE + header_size + attachment_size;
}

Test(frame, prefix_bytes_are_those_of_the_format)
{
    uint8_t prefix[FRAME_PREFIX_SIZE];
    frame_prefix_encode(prefix, FRAME_DELIVER, 0x0102, 0x030405);
    const uint8_t expected[] = {0x00, 0x03, 0x05, 0x0b, 0x01, 0x02, 9, 0};
    cr_assert_eq(memcmp(prefix, expected, sizeof(expected)), 0);
}

Test(frame, decodes_what_was_encoded)
{
    static const size_t sizes[] = {0, 1, 7, 300};
    uint8_t bytes[LIMIT];
    for (size_t h = 0; h < ARRAY_SIZE(sizes); h++) {
        for (size_t a = 0; a < ARRAY_SIZE(sizes); a++) {
            size_t size = make_frame(bytes, sizes[h], sizes[a]);
            struct frame frame;
            cr_assert_eq(frame_decode(bytes, size, LIMIT, &frame), (int64_t)size);
            cr_assert_eq(frame_size_announced(bytes, size), size);
            cr_assert_eq(frame.kind, FRAME_EMIT);
            cr_assert_eq(frame.flags, 0);
            cr_assert_eq(frame.header, bytes + FRAME_PREFIX_SIZE);
            cr_assert_eq(frame.header_size, sizes[h]);
            cr_assert_eq(frame.attachment, bytes + FRAME_PREFIX_SIZE + sizes[h]);
            cr_assert_eq(frame.attachment_size, sizes[a]);
        }
    }
}

Test(frame, every_truncation_waits_for_more)
{
    uint8_t bytes[LIMIT];
    size_t size = make_frame(bytes, 20, 30);
    struct frame frame = {.kind = 77};
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1); /* so that a read beyond the end is seen */
        memcpy(exact, bytes, cut);
        cr_assert_eq(frame_decode(exact, cut, LIMIT, &frame), 0, "%zu bytes", cut);
        cr_assert_eq(frame_size_announced(exact, cut), cut < 4 ? 0 : size);
        free(exact);
    }
    cr_assert_eq(frame.kind, 77, "written on success only");
}

Test(frame, what_follows_a_frame_is_left_alone)
{
    uint8_t bytes[LIMIT];
    size_t first = make_frame(bytes, 5, 5), second = make_frame(bytes + first, 2, 0);
    struct frame frame;
    cr_assert_eq(frame_decode(bytes, first + second, LIMIT, &frame), (int64_t)first);
    cr_assert_eq(frame_decode(bytes + first, second, LIMIT, &frame), (int64_t)second);
    cr_assert_eq(frame.header_size, 2);
}

Test(frame, a_length_below_the_rest_of_the_prefix_is_a_protocol_error)
{
    uint8_t bytes[16] = {0};
    struct frame frame;
    for (uint32_t length = 0; length < 4; length++) {
        be32_put(bytes, length);
        cr_assert_eq(frame_decode(bytes, sizeof(bytes), LIMIT, &frame), WIRE_CRIER_EPROTO);
        cr_assert_eq(frame_decode(bytes, 4, LIMIT, &frame), WIRE_CRIER_EPROTO, "as soon as it is there");
    }
}

Test(frame, a_header_longer_than_its_frame_is_a_protocol_error)
{
    uint8_t bytes[64] = {0};
    struct frame frame;
    be32_put(bytes, 4 + 10);
    be16_put(bytes + 4, 11);
    cr_assert_eq(frame_decode(bytes, 18, LIMIT, &frame), WIRE_CRIER_EPROTO);
    cr_assert_eq(frame_decode(bytes, 6, LIMIT, &frame), WIRE_CRIER_EPROTO, "as soon as it is there");
    be16_put(bytes + 4, 10);
    cr_assert_eq(frame_decode(bytes, 18, LIMIT, &frame), 18);
}

Test(frame, the_limit_is_the_whole_frame_and_judged_by_its_first_four_bytes)
{
    uint8_t bytes[LIMIT + 1];
    struct frame frame;
    size_t size = make_frame(bytes, 100, LIMIT - FRAME_PREFIX_SIZE - 100);
    cr_assert_eq(frame_decode(bytes, size, LIMIT, &frame), LIMIT);
    cr_assert_eq(frame_decode(bytes, size, LIMIT - 1, &frame), WIRE_CRIER_ETOOBIG);
    static const uint32_t lengths[] = {LIMIT - 4 + 1, FRAME_SIZE_MAX, 0x7fffffff, 0x80000000u, 0xffffffffu};
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        be32_put(bytes, lengths[i]);
        cr_assert_eq(frame_decode(bytes, 4, LIMIT, &frame), WIRE_CRIER_ETOOBIG, "%u", lengths[i]);
    }
    be32_put(bytes, 0xffffffffu);
    cr_assert_eq(frame_size_announced(bytes, 4), UINT64_C(0x100000003), "no wrap-around");
}

Test(frame, kinds_and_flags_are_passed_on_unjudged)
{
    uint8_t bytes[16];
    struct frame frame;
    size_t size = make_frame(bytes, 0, 0);
    for (int kind = 0; kind < 256; kind++) {
        bytes[6] = (uint8_t)kind;
        bytes[7] = (uint8_t)~kind;
        cr_assert_eq(frame_decode(bytes, size, LIMIT, &frame), FRAME_PREFIX_SIZE);
        cr_assert_eq(frame.kind, kind);
        cr_assert_eq(frame.flags, (uint8_t)~kind);
        cr_assert_not_null(frame_kind_name((uint8_t)kind));
    }
    cr_assert_str_eq(frame_kind_name(FRAME_CREDIT_WANT), "CREDIT_WANT");
    cr_assert_str_eq(frame_kind_name(200), "unknown");
}

Test(frame, a_header_beyond_sixteen_bits_is_our_bug, .signal = SIGABRT)
{
    uint8_t prefix[FRAME_PREFIX_SIZE];
    frame_prefix_encode(prefix, FRAME_EMIT, FRAME_HEADER_SIZE_MAX + 1, 0);
}
