/* shard_time.h: the time a shard stamps its entries with: monotonic, slewed to wall time, never going back.
 *
 * A wall clock that jumps (NTP, an operator, a virtual machine that slept) must not make a log's times jump, because
 * retention and lookups by time go by them. So the time advances with the monotonic clock, corrected towards the wall
 * clock by at most SHARD_TIME_SLEW_PPM of the time that passes; and it starts at the last stored time at the least.
 *
 * A leap (the wall clock is more than five minutes away, while the shard runs or since its last entry before a start) does
 * not stop it, but what goes by age must not go by a clock that may be wrong.
 *
 * Pure; the shard core's. */
#ifndef CRIER_BROKER_CORE_SHARD_TIME_H
#define CRIER_BROKER_CORE_SHARD_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define SHARD_TIME_LEAP_US                                                                                   \
    (300 * INT64_C(1000000))      /* a larger difference is a leap: somebody has to look at it */
#define SHARD_TIME_SLEW_PPM 10000 /* 1 %: an hour of error is gone in four days, a second in two minutes */

struct shard_time {
    int64_t now_us; /* what entries are stamped with */
    int64_t wall_us;
    int64_t mono_us;
    int64_t unslewed_us; /* time that has passed without having been used for a correction yet */
    bool leapt;          /* retention by time waits until shard_time_confirm() */
    bool started;
};

/* last_us: the time of the last entry applied, 0 if none. */
void shard_time_start(struct shard_time *time, int64_t last_us, int64_t mono_us, int64_t wall_us);
void shard_time_advance(struct shard_time *time, int64_t mono_us, int64_t wall_us);
/* The wall clock is right, says an operator: the time goes there at once if that is ahead, and is slewed there if not. */
void shard_time_confirm(struct shard_time *time);

#endif
