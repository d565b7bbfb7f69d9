/* random.h: a seeded pseudo-random source (splitmix64, Steele, Lea and Flood 2014), and bytes from the system.
 *
 * `struct random` is plain data owned by its user: same seed, same sequence, on every machine. Not for secrets. */
#ifndef CRIER_BASE_RANDOM_H
#define CRIER_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline struct random random_seeded(uint64_t seed)
{
    return (struct random){seed};
}

static inline uint64_t random_next(struct random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 .. bound - 1; bound > 0. The bias for bounds far below 2^64 is below anything a test could see. */
static inline uint64_t random_below(struct random *random, uint64_t bound)
{
    __extension__ typedef unsigned __int128 wide; /* gcc and clang have it on every 64-bit machine */
    return (uint64_t)(((wide)random_next(random) * bound) >> 64);
}

/* Fills `size` <= 256 bytes from the operating system. 0 or -errno. */
int random_system(void *to, size_t size);

#endif
