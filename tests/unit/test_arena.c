/* test_arena.c: headers are unpacked inside the arena or not at all, whatever a peer repeats. */
#include "proto/arena.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint8_t memory[64 * 1024];

/* A LISTEN with strings, repeated sub-messages and every other field that allocates. */
static size_t pack_listen(uint8_t *to, size_t positions)
{
    Wire__Position *position = calloc(positions ? positions : 1, sizeof(*position));
    Wire__Position **list = calloc(positions ? positions : 1, sizeof(*list));
    for (size_t i = 0; i < positions; i++) {
        wire__position__init(&position[i]);
        position[i].partition = i + 1;
        position[i].offset = i * 1000 + 1;
        list[i] = &position[i];
    }
    Wire__Listen listen = WIRE__LISTEN__INIT;
    listen.listener = 7;
    listen.topic = (char[]){"orders.placed"};
    listen.group = (char[]){"billing"};
    listen.n_resume = positions;
    listen.resume = list;
    size_t size = wire__listen__pack(&listen, to);
    free(list);
    free(position);
    return size;
}

Test(arena, memory_is_aligned_whatever_it_starts_at)
{
    for (size_t shift = 0; shift < 16; shift++) {
        struct arena arena;
        arena_init(&arena, memory + shift, 1000);
        for (size_t size = 0; size < 20; size++)
            cr_assert_eq((uintptr_t)arena_allocate(&arena, size) % ARENA_ALIGNMENT, 0);
    }
}

Test(arena, gives_out_every_byte_once_and_then_none)
{
    struct arena arena;
    arena_init(&arena, memory, 64);
    uint8_t *first = arena_allocate(&arena, 16), *second = arena_allocate(&arena, 48);
    cr_assert_not_null(first);
    cr_assert_geq(second, first + 16);
    cr_assert_leq(second + 48, memory + 64 + 15);
    cr_assert_null(arena_allocate(&arena, 17));
    arena_reset(&arena);
    cr_assert_eq(arena_allocate(&arena, 16), first);
}

Test(arena, sizes_near_the_end_of_numbers_do_not_wrap)
{
    struct arena arena;
    arena_init(&arena, memory + 1, 100);
    cr_assert_null(arena_allocate(&arena, SIZE_MAX));
    cr_assert_null(arena_allocate(&arena, SIZE_MAX - 15));
    cr_assert_null(arena_allocate(&arena, 101));
    arena_init(&arena, memory + 1, 3);
    cr_assert_null(arena_allocate(&arena, 0), "not even the padding fits");
}

Test(arena, a_header_unpacks_without_malloc)
{
    uint8_t bytes[256];
    size_t size = pack_listen(bytes, 3);
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    for (int i = 0; i < 100; i++) {
        arena_reset(&arena);
        Wire__Listen *listen = wire__listen__unpack(&arena.allocator, size, bytes);
        cr_assert_not_null(listen);
        cr_assert_str_eq(listen->topic, "orders.placed");
        cr_assert_eq(listen->n_resume, 3);
        cr_assert_eq(listen->resume[2]->offset, 2001);
        cr_assert((uint8_t *)listen >= memory && (uint8_t *)listen < memory + sizeof(memory));
    }
    cr_assert_lt(arena.used, 1024);
}

/* protobuf-c meets the failed allocation at each of its places: none may crash, all must fail. */
Test(arena, unpacking_fails_cleanly_at_every_size_that_is_too_small)
{
    uint8_t bytes[4096];
    size_t size = pack_listen(bytes, 200); /* more members than protobuf-c keeps on its stack at first */
    struct arena arena;
    size_t capacity = 0, failures = 0;
    for (;; capacity += 8, failures++) {
        uint8_t *exact = malloc(capacity ? capacity : 1);
        arena_init(&arena, exact, capacity);
        Wire__Listen *listen = wire__listen__unpack(&arena.allocator, size, bytes);
        bool unpacked = listen != NULL;
        cr_assert_leq(arena.used, capacity);
        free(exact);
        if (unpacked)
            break;
    }
    cr_assert_gt(failures, 100);
}

Test(arena, a_repeated_field_bomb_ends_at_the_arena)
{
    /* 32 K empty positions: 64 KiB on the wire, 1.3 MB unpacked. */
    uint8_t *bytes = malloc(FRAME_HEADER_SIZE_MAX);
    size_t size = 0;
    while (size + 2 <= FRAME_HEADER_SIZE_MAX) {
        bytes[size++] = 6 << 3 | 2; /* field resume, length-delimited */
        bytes[size++] = 0;
    }
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    cr_assert_null(wire__listen__unpack(&arena.allocator, size, bytes));
    free(bytes);
}

Test(arena, truncated_headers_fail_or_are_shorter_messages)
{
    uint8_t bytes[256];
    size_t size = pack_listen(bytes, 3);
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, bytes, cut);
        arena_reset(&arena);
        Wire__Listen *listen = wire__listen__unpack(&arena.allocator, cut, exact);
        if (listen)
            cr_assert_leq(listen->n_resume, 3);
        free(exact);
    }
}
