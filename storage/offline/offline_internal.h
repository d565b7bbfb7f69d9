/* offline_internal.h: what verifying, repairing and copying share: a folder at rest, open. */
#ifndef CRIER_STORAGE_OFFLINE_INTERNAL_H
#define CRIER_STORAGE_OFFLINE_INTERNAL_H

#include "storage/lmdb/meta.h"
#include "storage/lmdb/scan.h"
#include "storage/offline.h"

struct offline {
    struct folder folder;
    struct meta meta;
    struct meta_manifest manifest;
    const struct offline_watch *watch;
    struct offline_summary summary;
    uint64_t reach; /* verify: of the newest good state */
    uint64_t done_bytes, total_bytes;
    struct path file; /* the one at hand */
    uint64_t segment; /* its number */
};

/* Takes the lock and reads the manifest. 0, or a store code with a sentence. */
int offline_open(struct offline *offline, const char *path, const struct offline_watch *watch, char *error,
                 size_t error_size);
void offline_close(struct offline *offline);

/* Is it a segment with entries, or perhaps some? */
static inline bool offline_counts(const struct segment_row *row)
{
    return row->state == SEGMENT_ACTIVE || row->state == SEGMENT_SEALED;
}

void offline_tell(struct offline *offline, const struct scan_fault *fault, bool harmless);
void offline_progress(struct offline *offline, uint64_t bytes);

/* Scans the row's file, telling faults. `entry` and its ctx as in scan.h, may be NULL. */
int offline_scan(struct offline *offline, const struct segment_row *row, struct scan *ret_scan,
                 int (*entry)(void *ctx, const struct entry_header *header, const uint8_t *data), void *ctx);

#endif
