/* test_client_parts.c: URLs, names, lists, output and input queues, public codes. */
#include "base/check.h"
#include "base/list.h"
#include "client/input.h"
#include "client/output.h"
#include "client/struct_size.h"
#include "client/topic_name.h"
#include "client/url.h"
#include "crier/crier.h"
#include "proto/error.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(url, one_host_with_and_without_port)
{
    struct url url;
    cr_assert_eq(url_parse("crier://localhost", &url), 0);
    cr_assert_eq(url.endpoint_count, 1);
    cr_assert_str_eq(url.endpoints[0].host, "localhost");
    cr_assert_str_eq(url.endpoints[0].port, "27437");
    cr_assert_eq(url_parse("crier://10.0.0.1:1234/", &url), 0);
    cr_assert_str_eq(url.endpoints[0].host, "10.0.0.1");
    cr_assert_str_eq(url.endpoints[0].port, "1234");
}

Test(url, several_hosts_and_ipv6)
{
    struct url url;
    cr_assert_eq(url_parse("crier://a:1,[::1]:2,[fe80::2],b", &url), 0);
    cr_assert_eq(url.endpoint_count, 4);
    cr_assert_str_eq(url.endpoints[1].host, "::1");
    cr_assert_str_eq(url.endpoints[1].port, "2");
    cr_assert_str_eq(url.endpoints[2].host, "fe80::2");
    cr_assert_str_eq(url.endpoints[2].port, "27437");
    cr_assert_str_eq(url.endpoints[3].host, "b");
    cr_assert_eq(url_parse("crier://[fe80::1%lo]:3,under_score.example", &url), 0);
    cr_assert_str_eq(url.endpoints[0].host, "fe80::1%lo");
}

Test(url, a_unix_socket_is_a_path)
{
    struct url url;
    cr_assert_eq(url_parse("unix:/run/crier.sock", &url), 0);
    cr_assert_str_eq(url.endpoints[0].host, "/run/crier.sock");
    cr_assert_str_eq(url.endpoints[0].port, "");
}

Test(url, what_is_none_is_refused)
{
    static const char *const bad[] = {"",
                                      "crier://",
                                      "crier://:1",
                                      "crier://a:",
                                      "crier://a:0",
                                      "crier://a:65536",
                                      "crier://a:1x",
                                      "crier://a,,b",
                                      "crier://[::1",
                                      "crier://[::1]x",
                                      "http://a",
                                      "unix:relative",
                                      "a:1",
                                      "crier://a:1/path",
                                      "crier://user@a",
                                      "crier://user:secret@a:1",
                                      "crier://a?name=b",
                                      "crier://a#b",
                                      "crier://a%20b",
                                      "crier://a b",
                                      "crier://a\n",
                                      "crier://a\\b",
                                      "crier://[::1]@a",
                                      "crier://[a@::1]",
                                      "crier://a:123456"};
    struct url url;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        cr_assert_eq(url_parse(bad[i], &url), CRIER_EINVAL, "%s", bad[i]);
    char text[400] = "unix:/";
    memset(text + 6, 'x', 200);
    cr_assert_eq(url_parse(text, &url), CRIER_EINVAL);
    strcpy(text, "crier://");
    memset(text + 8, 'x', 300);
    cr_assert_eq(url_parse(text, &url), CRIER_EINVAL);
    cr_assert_eq(url_parse("local:", &url), CRIER_EINVAL);
    cr_assert_eq(url_parse("embed:./data", &url), CRIER_EINVAL);
}

Test(topic_name, utf8_and_levels_are_checked)
{
    char name[300];
    memset(name, 'x', sizeof(name));
    name[CRIER_TOPIC_NAME_MAX] = '\0';
    cr_assert(topic_name_is_valid(name));
    name[CRIER_TOPIC_NAME_MAX] = 'x';
    name[CRIER_TOPIC_NAME_MAX + 1] = '\0';
    cr_assert(!topic_name_is_valid(name));
    cr_assert(topic_name_is_valid("orders.placed"));
    cr_assert(topic_name_is_valid("größe.日本.\xf0\x9f\x98\x80"));
    static const char *const bad[] = {"\xc0\x80",  "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "a\xe2\x82", "\x80",         "a\x7f"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        cr_assert(!topic_name_is_valid(bad[i]), "%zu", i);
}

Test(public_codes, are_those_of_the_wire)
{
#define SAME(name, number, retriable, text) cr_assert_eq((int)name, (int)WIRE_##name);
    ERROR_MAP(SAME)
#undef SAME
    cr_assert_str_eq(crier_strerror(CRIER_EFULL), error_text(WIRE_CRIER_EFULL));
    cr_assert_not_null(crier_strerror(12345));
}

struct item {
    int value;
    struct list link;
};

Test(list, keeps_order_and_removes_from_anywhere)
{
    struct list head, other, *link;
    struct item items[4];
    int expected = 0;
    list_init(&head);
    list_init(&other);
    cr_assert_null(list_take(&head));
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_init(&items[i].link);
        list_append(i < 2 ? &head : &other, &items[i].link);
    }
    list_move_all(&other, &head);
    cr_assert(list_is_empty(&other));
    list_remove(&items[2].link);
    list_remove(&items[2].link); /* twice does nothing */
    list_prepend(&head, &items[2].link);
    static const int order[] = {2, 0, 1, 3};
    while ((link = list_take(&head)))
        cr_assert_eq(LIST_ENTRY(link, struct item, link)->value, order[expected++]);
    cr_assert_eq(expected, 4);
}

Test(output, pieces_leave_in_order_whatever_the_kernel_takes)
{
    struct output output = {0};
    uint8_t borrowed[100], taken[5000];
    struct iovec pieces[4];
    size_t size = 0, total = 0, step = 1, count;
    for (int i = 0; i < 100; i++)
        borrowed[i] = (uint8_t)i;
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(output_reserve(&output, 2), 0);
        uint8_t *owned = malloc(7);
        memset(owned, 200 + i % 50, 7);
        output_add(&output, owned, 7, owned);
        output_add(&output, borrowed, 100, NULL);
        total += 107;
    }
    cr_assert_eq(output.size, total);
    while ((count = output_gather(&output, pieces, 4)) > 0) {
        size_t available = 0;
        for (size_t i = 0; i < count; i++)
            available += pieces[i].iov_len;
        size_t part = step < available ? step : available, left = part;
        for (size_t i = 0; i < count && left > 0; i++) {
            size_t n = left < pieces[i].iov_len ? left : pieces[i].iov_len;
            memcpy(taken + size, pieces[i].iov_base, n);
            size += n;
            left -= n;
        }
        output_consume(&output, part);
        step = step % 61 + 7;
    }
    cr_assert_eq(size, total);
    for (size_t i = 0; i < total; i++)
        cr_assert_eq(taken[i], i % 107 < 7 ? 200 + (i / 107) % 50 : (i % 107) - 7);
    output_clear(&output);
}

/* Sends `count` frames with attachments of these sizes through an input, a piece at a time, keeping references. */
static void frames_through(const size_t *sizes, size_t count, size_t piece)
{
    struct input input = {0};
    struct buffer *kept[64];
    const uint8_t *attachments[64];
    size_t total = 0, received = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        total += FRAME_PREFIX_SIZE + sizes[i];
    uint8_t *wire = malloc(total);
    for (size_t i = 0; i < count; i++) {
        frame_prefix_encode(wire + at, FRAME_DELIVER, 0, sizes[i]);
        memset(wire + at + FRAME_PREFIX_SIZE, (int)i + 1, sizes[i]);
        at += FRAME_PREFIX_SIZE + sizes[i];
    }
    for (at = 0; at < total;) {
        struct iovec space;
        struct frame frame;
        cr_assert_eq(input_space(&input, FRAME_SIZE_MAX, &space), 0);
        size_t part = total - at < piece ? total - at : piece;
        part = part < space.iov_len ? part : space.iov_len;
        memcpy(space.iov_base, wire + at, part);
        input_received(&input, part);
        at += part;
        while (input_frame(&input, FRAME_SIZE_MAX, &frame) > 0) {
            cr_assert_eq(frame.attachment_size, sizes[received]);
            kept[received] = buffer_ref(input.buffer);
            attachments[received++] = frame.attachment;
        }
    }
    cr_assert_eq(received, count);
    for (size_t i = 0; i < count; i++) { /* nothing was overwritten while it was referenced */
        for (size_t b = 0; b < sizes[i]; b++)
            cr_assert_eq(attachments[i][b], i + 1);
        buffer_unref(kept[i]);
    }
    input_trim(&input);
    cr_assert_null(input.buffer);
    free(wire);
}

Test(input, frames_of_every_size_stay_where_they_arrived)
{
    static const size_t small[] = {0, 1, 100, 5000, 3, 16000, 20000, 7, 0, 70000, 9};
    static const size_t large[] = {1500000, 10, 3000000, 0, 200000};
    frames_through(small, ARRAY_SIZE(small), 1);
    frames_through(small, ARRAY_SIZE(small), 1000);
    frames_through(small, ARRAY_SIZE(small), SIZE_MAX);
    frames_through(large, ARRAY_SIZE(large), 65536);
    frames_through(large, ARRAY_SIZE(large), SIZE_MAX);
}

Test(input, a_frame_beyond_the_limit_is_refused_before_memory_is_taken_for_it)
{
    struct input input = {0};
    struct iovec space;
    struct frame frame;
    static const uint8_t prefix[] = {0x40, 0, 0, 0, 0, 0, FRAME_DELIVER, 0};
    cr_assert_eq(input_space(&input, FRAME_SIZE_MAX, &space), 0);
    memcpy(space.iov_base, prefix, sizeof(prefix));
    input_received(&input, sizeof(prefix));
    cr_assert_eq(input_frame(&input, FRAME_SIZE_MAX, &frame), CRIER_ETOOBIG);
    cr_assert_eq(input_space(&input, FRAME_SIZE_MAX, &space), 0);
    cr_assert_leq(input.buffer->capacity, 64 * 1024);
    input_clear(&input);
}

/* ---- options structs ---- */

struct known {
    size_t struct_size;
    int first;
    int second;
};

struct newer {
    struct known known;
    int third;
};

Test(struct_size, an_older_programs_struct_leaves_the_defaults)
{
    struct known to = {.struct_size = sizeof(to), .first = 1, .second = 2};
    struct known older = {.struct_size = offsetof(struct known, second), .first = 7, .second = 77};
    cr_assert(struct_take(&to, sizeof(to), &older));
    cr_assert_eq(to.first, 7);
    cr_assert_eq(to.second, 2);
    cr_assert_eq(to.struct_size, sizeof(to));
}

Test(struct_size, a_newer_programs_struct_may_not_ask_for_the_unknown)
{
    struct known to = {.struct_size = sizeof(to)};
    struct newer newer = {.known = {.struct_size = sizeof(newer), .first = 7, .second = 8}};
    cr_assert(struct_take(&to, sizeof(to), &newer));
    cr_assert_eq(to.second, 8);
    cr_assert_eq(to.struct_size, sizeof(to));
    newer.third = 1;
    newer.known.first = 9;
    cr_assert_not(struct_take(&to, sizeof(to), &newer));
    cr_assert_eq(to.first, 7);
}

Test(struct_size, what_no_initializer_made_is_refused)
{
    struct known to = {.struct_size = sizeof(to)}, zero = {0}, tiny = {.struct_size = 1};
    cr_assert_not(struct_take(&to, sizeof(to), &zero));
    cr_assert_not(struct_take(&to, sizeof(to), &tiny));
    cr_assert(struct_take(&to, sizeof(to), NULL));
}
