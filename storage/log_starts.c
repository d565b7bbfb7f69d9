/* log_starts.c: see log_starts.h. */
#include "storage/log_starts.h"

#include "storage/store.h"

#include <stdlib.h>
#include <string.h>

int log_starts_init(struct log_starts *starts)
{
    *starts = (struct log_starts){.version = 1};
    return pthread_mutex_init(&starts->lock, NULL) == 0 ? 0 : STORE_ENOMEM;
}

void log_starts_finish(struct log_starts *starts)
{
    free(starts->rows);
    pthread_mutex_destroy(&starts->lock);
}

static int grow_locked(struct log_starts *starts, uint64_t partition)
{
    size_t count = starts->count ? starts->count : 64;
    while (count <= partition)
        count *= 2;
    uint64_t *rows = realloc(starts->rows, count * sizeof(*rows));
    if (!rows)
        return STORE_ENOMEM;
    memset(rows + starts->count, 0, (count - starts->count) * sizeof(*rows));
    starts->rows = rows;
    starts->count = count;
    return 0;
}

int log_starts_raise(struct log_starts *starts, uint64_t partition, uint64_t log_start)
{
    pthread_mutex_lock(&starts->lock);
    int rc = log_start > 0 && partition >= starts->count ? grow_locked(starts, partition) : 0;
    if (rc == 0 && log_start > 0 && starts->rows[partition] < log_start) {
        starts->rows[partition] = log_start;
        starts->version++;
    }
    pthread_mutex_unlock(&starts->lock);
    return rc;
}

uint64_t log_starts_get(struct log_starts *starts, uint64_t partition)
{
    pthread_mutex_lock(&starts->lock);
    uint64_t log_start = partition < starts->count ? starts->rows[partition] : 0;
    pthread_mutex_unlock(&starts->lock);
    return log_start;
}

uint64_t log_starts_version(struct log_starts *starts)
{
    pthread_mutex_lock(&starts->lock);
    uint64_t version = starts->version;
    pthread_mutex_unlock(&starts->lock);
    return version;
}
