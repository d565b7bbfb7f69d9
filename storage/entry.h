/* entry.h: one row of the log, between its fields and its bytes. docs/disk-format.md has the byte tables.
 *
 * An entry is a header and 1..n parts; a part is an envelope and a payload (a Kafka batch, or a command's bytes).
 * Checksums meet without overlap: the header has its own, an envelope's covers itself and what no other checksum
 * covers of the payload: the 21 bytes Kafka's CRC skips, or the whole of a command. A batch's own CRC, set by the
 * producer, covers the rest and is checked by entry_payload_check(), so that those who only look for a partition
 * do not pay for the bytes of the others.
 *
 * Pure; any thread. Decoded parts borrow the bytes they were decoded from (their slices have buffer NULL). */
#ifndef CRIER_STORAGE_ENTRY_H
#define CRIER_STORAGE_ENTRY_H

#include "storage/store.h"

#define ENTRY_VERSION        1
#define ENTRY_HEADER_SIZE    40
#define ENTRY_ENVELOPE_SIZE  36
#define ENTRY_BATCH_CRC_AT   17 /* where a batch keeps its own CRC-32C, big-endian */
#define ENTRY_BATCH_UNCRCED  21 /* the bytes of a batch its own CRC skips */
#define ENTRY_BATCH_SIZE_MIN 61 /* a batch's header */
#define ENTRY_PARTS_MAX      UINT16_MAX
#define ENTRY_SIZE_MAX       (64u << 20) /* four frames; bounds what a damaged length can ask for */

struct entry_header {
    uint8_t type; /* enum entry_type */
    uint16_t part_count;
    uint32_t length; /* of the whole entry, header included */
    uint64_t index;
    uint64_t term;
    int64_t append_time_us;
};

/* Bytes the entry takes. */
size_t entry_size(const struct entry_part *parts, uint32_t part_count);
/* Writes exactly entry_size() bytes; header->length and part_count are taken from the parts. */
void entry_encode(uint8_t *to, const struct entry_header *header, const struct entry_part *parts,
                  uint32_t part_count);

/* Reads and checks the 40 bytes. size: what is there of the entry, at least. 0 or STORE_ECORRUPT. */
int entry_header_decode(const uint8_t *data, size_t size, struct entry_header *ret_header);

/* Reads the envelope at data and checks its CRC and that the payload lies within size.
 * Returns the bytes the part takes, or STORE_ECORRUPT. */
int64_t entry_part_decode(const uint8_t *data, size_t size, struct entry_part *ret_part);

/* An envelope whose payload is elsewhere: fields only, no CRC checked. ret_part->payload has the size, no data. */
void entry_envelope_decode(const uint8_t data[ENTRY_ENVELOPE_SIZE], struct entry_part *ret_part,
                           uint32_t *ret_crc);
/* The CRC an envelope has to carry: over its first 32 bytes and the first bytes of the payload (all of a command). */
uint32_t entry_envelope_crc(const uint8_t data[ENTRY_ENVELOPE_SIZE], const uint8_t *payload,
                            size_t payload_size);

/* The rest of a decoded part's bytes: the batch's own CRC. 0 or STORE_ECORRUPT. Commands were checked by decoding. */
int entry_payload_check(const struct entry_part *part);

/* The whole entry that fills data exactly: header, every envelope, every payload. Parts are written to `parts`
 * (room for part_count_max; STORE_ENOMEM if there are more). 0 or a code. */
int entry_decode(const uint8_t *data, size_t size, struct entry_header *ret_header, struct entry_part *parts,
                 uint32_t part_count_max);

#endif
