/* crc32c.c: CRC-32C at the speed of memory.
 *
 * Role:    one function for every checksum of the project, with a portable twin it is tested against.
 * Thread:  any. Tables and the choice of path are made once, by the first call, and constant from then on.
 *
 * A CRC instruction takes three cycles but a new one can start every cycle, so one stream of bytes leaves two thirds
 * of the unit idle. Hence three blocks side by side, each with its own CRC, joined at the end: the CRC of A B is the
 * CRC of A, moved over as many zero bytes as B has, xor the CRC of B. Moving over n bytes is multiplying by x^(8n)
 * modulo the polynomial: one carry-less multiplication by a constant, and the CRC instruction itself reduces.
 *
 * What is checked was often written by another core just now, or comes from a page cache: its lines are asked for one round of
 * three long blocks ahead, which the processor's own look-ahead, made for one stream, does not do.
 *
 * Polynomials are written bit-reflected: the top bit of a word is its lowest power. */
#include "proto/crc32c.h"

#include "base/bytes.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

#define CRC32C_POLYNOMIAL 0x82f63b78u
#define CRC32C_LONG       ((size_t)1024) /* bytes of each of three blocks: long enough to make the joins free */
#define CRC32C_SHORT      ((size_t)128) /* the same for what is left, and for small inputs */
#define CRC32C_LINE       ((size_t)64)
#define CRC32C_AHEAD      (3 * CRC32C_LONG) /* prefetched; beyond the end it is only a hint */
#define SIZE_BITS         (8 * sizeof(size_t))

typedef uint32_t crc32c_fn(uint32_t state, const uint8_t *at, size_t size);

static struct {
    pthread_once_t once;
    crc32c_fn *run;
    uint32_t slice[8][256]; /* slice[k][b]: byte b, moved over k more bytes */
    uint32_t move_long[2];  /* x^(8n - 33) for n = two blocks, one block; see move() */
    uint32_t move_short[2];
    uint32_t power[SIZE_BITS]; /* power[k]: x^(8 * 2^k), which moves over 2^k bytes */
} crc = {.once = PTHREAD_ONCE_INIT};

/* ---- portable: eight bytes a step, by tables ---- */

static uint32_t run_portable(uint32_t state, const uint8_t *at, size_t size)
{
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word = le64_get(at) ^ state;
        state = crc.slice[7][word & 0xff] ^ crc.slice[6][word >> 8 & 0xff] ^ crc.slice[5][word >> 16 & 0xff] ^
                crc.slice[4][word >> 24 & 0xff] ^ crc.slice[3][word >> 32 & 0xff] ^
                crc.slice[2][word >> 40 & 0xff] ^ crc.slice[1][word >> 48 & 0xff] ^ crc.slice[0][word >> 56];
    }
    for (; size > 0; size--, at++)
        state = state >> 8 ^ crc.slice[0][(state ^ *at) & 0xff];
    return state;
}

/* ---- x86-64: the crc32 instruction, three streams at a time ---- */

#if defined(__x86_64__)

/* state * x^(8n) for the constant x^(8n - 33): the product of two reflected words comes out one power too high (x^1),
 * and the CRC instruction on its 64 bits multiplies by x^32 while it reduces. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t move(uint32_t state, uint32_t constant)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)state), _mm_cvtsi32_si128((int)constant), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* Three blocks of `block` bytes each, a multiple of CRC32C_LINE. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t
run_three(uint32_t state, const uint8_t *at, size_t block, const uint32_t constants[2])
{
    uint64_t a = state, b = 0, c = 0;
    for (const uint8_t *end = at + block; at < end; at += CRC32C_LINE) {
        __builtin_prefetch(at + CRC32C_AHEAD);
        __builtin_prefetch(at + block + CRC32C_AHEAD);
        __builtin_prefetch(at + 2 * block + CRC32C_AHEAD);
        for (size_t i = 0; i < CRC32C_LINE; i += 8) {
            a = _mm_crc32_u64(a, le64_get(at + i));
            b = _mm_crc32_u64(b, le64_get(at + block + i));
            c = _mm_crc32_u64(c, le64_get(at + 2 * block + i));
        }
    }
    return move((uint32_t)a, constants[0]) ^ move((uint32_t)b, constants[1]) ^ (uint32_t)c;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t run_sse42(uint32_t state, const uint8_t *at,
                                                                   size_t size)
{
    for (; size >= 3 * CRC32C_LONG; size -= 3 * CRC32C_LONG, at += 3 * CRC32C_LONG)
        state = run_three(state, at, CRC32C_LONG, crc.move_long);
    for (; size >= 3 * CRC32C_SHORT; size -= 3 * CRC32C_SHORT, at += 3 * CRC32C_SHORT)
        state = run_three(state, at, CRC32C_SHORT, crc.move_short);
    for (; size >= 8; size -= 8, at += 8)
        state = (uint32_t)_mm_crc32_u64(state, le64_get(at));
    for (; size > 0; size--, at++)
        state = _mm_crc32_u8(state, *at);
    return state;
}

static crc32c_fn *best_path(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") ? run_sse42 : run_portable;
}

#else

static crc32c_fn *best_path(void)
{
    return run_portable;
}

#endif

/* ---- the tables ---- */

static uint32_t times_x(uint32_t value)
{
    return value >> 1 ^ (value & 1 ? CRC32C_POLYNOMIAL : 0);
}

/* x^power modulo the polynomial. */
static uint32_t power_of_x(size_t power)
{
    uint32_t value = 0x80000000u; /* x^0 */
    while (power-- > 0)
        value = times_x(value);
    return value;
}

/* The product of two polynomials; without branches, as its bits are anybody's guess. */
static uint32_t times(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; b; b <<= 1) { /* from the lowest power up */
        product ^= a & -(b >> 31);
        a = a >> 1 ^ (CRC32C_POLYNOMIAL & -(a & 1));
    }
    return product;
}

static void crc_prepare(void)
{
    crc.power[0] = power_of_x(8);
    for (size_t k = 1; k < SIZE_BITS; k++)
        crc.power[k] = times(crc.power[k - 1], crc.power[k - 1]);
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++)
            value = times_x(value);
        crc.slice[0][byte] = value;
    }
    for (unsigned byte = 0; byte < 256; byte++)
        for (int k = 1; k < 8; k++)
            crc.slice[k][byte] = crc.slice[k - 1][byte] >> 8 ^ crc.slice[0][crc.slice[k - 1][byte] & 0xff];
    for (size_t blocks = 2; blocks >= 1; blocks--) {
        crc.move_long[2 - blocks] = power_of_x(8 * blocks * CRC32C_LONG - 33);
        crc.move_short[2 - blocks] = power_of_x(8 * blocks * CRC32C_SHORT - 33);
    }
    crc.run = best_path();
}

uint32_t crc32c(uint32_t so_far, const void *data, size_t size)
{
    pthread_once(&crc.once, crc_prepare);
    return ~crc.run(~so_far, data, size);
}

uint32_t crc32c_portable(uint32_t so_far, const void *data, size_t size)
{
    pthread_once(&crc.once, crc_prepare);
    return ~run_portable(~so_far, data, size);
}

uint32_t crc32c_join(uint32_t crc_a, uint32_t crc_b, size_t size_b)
{
    pthread_once(&crc.once, crc_prepare);
    for (size_t k = 0; size_b > 0; k++, size_b >>= 1)
        if (size_b & 1)
            crc_a = times(crc_a, crc.power[k]);
    return crc_a ^ crc_b;
}
