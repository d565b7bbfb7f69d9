/* health.h: what every part of one store reports: counters, and whether it may still write.
 *
 * Thread: any; all fields are atomic, and each counter stands for itself. */
#ifndef CRIER_STORAGE_LMDB_HEALTH_H
#define CRIER_STORAGE_LMDB_HEALTH_H

#include "base/log.h"
#include "storage/lmdb/env.h"

struct health {
    struct log *log;
    _Atomic bool read_only; /* an I/O error happened: nothing is written until restart */
    _Atomic bool full;      /* the last attempt to write met a full disk */
    _Atomic uint64_t last_index, flushed_index;
    _Atomic uint64_t commits, entries, bytes, segments, reads, read_bytes, refused, errors;
    _Atomic int64_t commit_us_last, commit_us_max;
    _Atomic uint64_t disk_free, removed, swept, swept_bytes, weighed, indexes_read;
};

/* An I/O error nobody can explain away: from here on the shard is read-only, and says so. rc: an LMDB code. */
static inline void health_fail(struct health *health, const char *what, const char *file, int rc)
{
    atomic_fetch_add(&health->errors, 1);
    atomic_store(&health->read_only, true);
    LOG_ERROR(health->log, "STORE-EIO", "cannot %s %s: %s; the shard is read-only until restart", what, file,
              env_text(rc));
}

#endif
