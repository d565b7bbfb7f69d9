/* flush_time.h: how long the disk takes to make 4 KiB safe: the yardstick beside every durable measurement. */
#ifndef CRIER_TOOLS_FLUSH_TIME_H
#define CRIER_TOOLS_FLUSH_TIME_H

#include <stdint.h>

struct flush_time {
    int64_t p50_us, p99_us;
};

/* Of a hundred fdatasyncs in a temporary file in `folder`. 0 or -errno. Takes a hundredth of a second on a good disk, a second
 * on a slow one. */
int flush_time_measure(const char *folder, struct flush_time *ret_time);

#endif
