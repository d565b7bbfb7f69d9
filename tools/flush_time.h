/* flush_time.h: how long the disk takes to make 4 KiB safe: the yardstick beside every durable measurement. */
#ifndef CRIER_TOOLS_FLUSH_TIME_H
#define CRIER_TOOLS_FLUSH_TIME_H

#include <stdint.h>

/* The median of a few dozen fdatasyncs in a temporary file in `folder`. 0 or -errno. Takes milliseconds on a good disk,
 * half a second on a slow one. */
int flush_time_measure(const char *folder, int64_t *ret_median_us);

#endif
