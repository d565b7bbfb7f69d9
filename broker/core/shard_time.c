/* shard_time.c: see shard_time.h. */
#include "broker/core/shard_time.h"

#include "base/check.h"

void shard_time_start(struct shard_time *time, int64_t last_us, int64_t mono_us, int64_t wall_us)
{
    time->now_us = wall_us > last_us ? wall_us : last_us;
    time->mono_us = mono_us;
    time->started = true;
}

void shard_time_advance(struct shard_time *time, int64_t mono_us, int64_t wall_us)
{
    CHECK(time->started && mono_us >= time->mono_us);
    int64_t passed_us = mono_us - time->mono_us;
    int64_t target_us = time->now_us + passed_us;
    int64_t correction_us = wall_us - target_us;
    time->unslewed_us += passed_us;
    int64_t limit_us = time->unslewed_us / (1000000 / SHARD_TIME_SLEW_PPM);
    time->unslewed_us -= limit_us * (1000000 / SHARD_TIME_SLEW_PPM);
    if (correction_us > limit_us)
        correction_us = limit_us;
    if (correction_us < -limit_us)
        correction_us = -limit_us;
    time->now_us = target_us + correction_us;
    time->mono_us = mono_us;
}
