/* shard_time.c: see shard_time.h. */
#include "broker/core/shard_time.h"

#include "base/check.h"

void shard_time_start(struct shard_time *time, int64_t last_us, int64_t mono_us, int64_t wall_us)
{
    time->now_us = wall_us > last_us ? wall_us : last_us;
    time->mono_us = mono_us;
    time->wall_us = wall_us;
    int64_t away_us = wall_us - last_us;
    if (last_us > 0 && (away_us > SHARD_TIME_LEAP_US || away_us < -SHARD_TIME_LEAP_US))
        time->leapt = true;
    time->started = true;
}

void shard_time_confirm(struct shard_time *time)
{
    if (time->wall_us > time->now_us)
        time->now_us = time->wall_us;
    time->leapt = false;
}

void shard_time_advance(struct shard_time *time, int64_t mono_us, int64_t wall_us)
{
    CHECK(time->started && mono_us >= time->mono_us);
    int64_t passed_us = mono_us - time->mono_us;
    int64_t target_us = time->now_us + passed_us;
    int64_t correction_us = wall_us - target_us;
    int64_t jump_us = wall_us - time->wall_us - passed_us;
    if (jump_us > SHARD_TIME_LEAP_US || jump_us < -SHARD_TIME_LEAP_US)
        time->leapt = true;
    time->wall_us = wall_us;
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
