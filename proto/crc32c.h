/* crc32c.h: CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), in hardware where there is any.
 *
 * The path is chosen once, by the first call: x86-64 with SSE4.2 and PCLMUL runs three interleaved streams of the crc32
 * instruction joined by carry-less multiplication; every other machine the portable slicing-by-8 path, against which
 * the first is tested. Pure; any thread. */
#ifndef CRIER_PROTO_CRC32C_H
#define CRIER_PROTO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of data, continuing from `crc` (0 to begin): crc32c(crc32c(0, a), b) == crc32c(0, a b). */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);
/* The CRC of a b from those of a and b, each begun with 0, and the size of b; no byte is read. Up to a microsecond: worth it from
 * some kilobytes on. Source: M. Adler, crc32_combine() of zlib. */
uint32_t crc32c_join(uint32_t crc_a, uint32_t crc_b, size_t size_b);

#endif
