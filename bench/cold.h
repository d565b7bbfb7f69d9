/* cold.h: between the programs' two parts: what crier does (cold.c) and what the disk does without it (cold_disk.c). */
#ifndef CRIER_BENCH_COLD_H
#define CRIER_BENCH_COLD_H

#include <stdbool.h>
#include <stdint.h>

#define COLD_TICK_US 1000 /* what is due within one is due at its beginning */

void cold_sleep_until(int64_t us);

/* The bare disk, in FOLDER/shard-0: as many bytes a second written as crier's producer emits, everything that is due with one pwrite
 * and one fdatasync; beside: another thread reads the segments there, from their start, as the replay does. Returns the 99th
 * percentile of the time from when bytes were due to when they were flushed, in microseconds. */
double cold_disk(const char *folder, double write_bytes_per_us, double read_bytes_per_us, double seconds,
                 bool beside);

/* The segments in FOLDER/shard-0 leave the kernel's cache. */
void cold_drop_cached(const char *folder);

#endif
