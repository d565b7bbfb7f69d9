/* crc32c.h: CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), in hardware where there is any.
 *
 * The hardware path is chosen once, by the first call (SSE4.2 crc32 with three interleaved streams joined by
 * carry-less multiplication or tables; ARMv8 CRC where compiled for it); the portable slicing-by-8 path is tested
 * against it. Pure; any thread. */
#ifndef CRIER_PROTO_CRC32C_H
#define CRIER_PROTO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of data, continuing from `crc` (0 to begin): crc32c(crc32c(0, a), b) == crc32c(0, a b). */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

#endif
