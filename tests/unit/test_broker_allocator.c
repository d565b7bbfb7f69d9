/* test_broker_allocator.c: what is expected fits the heap without growing it again, and what was not needed goes back.
 *
 * A plain program: its heap is malloc's alone. */
#include "broker/allocator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECES     200000
#define PIECE_SIZE 200

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                            \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static void *pieces[PIECES];

static void allocate_all(void)
{
    for (unsigned i = 0; i < PIECES; i++) {
        REQUIRE((pieces[i] = malloc(PIECE_SIZE)));
        memset(pieces[i], (int)i, PIECE_SIZE);
    }
}

static void free_all(void)
{
    for (unsigned i = 0; i < PIECES; i++)
        free(pieces[i]);
}

int main(void)
{
    allocator_setup();
    allocator_expect(ALLOCATOR_LARGE - 1); /* too little to do anything about */
    REQUIRE((pieces[0] = malloc(PIECE_SIZE)));
    free(pieces[0]);
    const char *small = sbrk(0);
    allocator_expect((uint64_t)PIECES * (PIECE_SIZE + 64));
    const char *large = sbrk(0);
    allocate_all();
    REQUIRE(sbrk(0) == large);
    allocator_expect(0);
    free_all();
    const char *rest = sbrk(0);
    REQUIRE(rest - small <= 8 << 20);
    return 0;
}
