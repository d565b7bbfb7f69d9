/* codec.h: compression of a batch's records: lz4 frames and zstd, bounded on both sides.
 *
 * Used by batch.c and batch_iterator.c only. Compressed bytes are a peer's: whatever they claim about themselves,
 * decompression takes no more memory than the limit it is given, plus the codec's own fixed window.
 *
 * Thread: any that may compute. Ownership: as each function says. */
#ifndef CRIER_PROTO_CODEC_H
#define CRIER_PROTO_CODEC_H

#include "proto/batch.h"

/* 0: lz4 or zstd; CRIER_ENOTSUP: none of the two (BATCH_NONE included). */
int codec_known(enum batch_codec codec);

/* Decompresses everything. *ret_bytes (returned: free()) holds *ret_size <= size_max bytes.
 * 0, CRIER_ECORRUPT (not that format, damaged, cut off), CRIER_ETOOBIG (more than size_max bytes would come out, or a
 * window above what any producer uses), CRIER_ENOTSUP or CRIER_ENOMEM. */
int codec_decompress(enum batch_codec codec, const uint8_t *data, size_t size, size_t size_max,
                     uint8_t **ret_bytes, size_t *ret_size);

/* Compresses into `to`. Returns the bytes written, 0 (they do not fit in `capacity`), CRIER_ENOTSUP or CRIER_ENOMEM. */
int64_t codec_compress(enum batch_codec codec, const uint8_t *data, size_t size, uint8_t *to,
                       size_t capacity);

#endif
