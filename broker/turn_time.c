/* turn_time.c: how much CPU time the reactor's turns take; see turn_time.h.
 *
 * Bucket b holds times from low(b) up to low(b + 1), in microseconds: eight to a power of two, below 8 µs one each. */
#include "broker/turn_time.h"

#include <time.h>

static unsigned bucket_of(int64_t us)
{
    uint64_t value = us < 0 ? 0 : (uint64_t)us;
    if (value < 8)
        return (unsigned)value;
    unsigned power = 63 - (unsigned)__builtin_clzll(value); /* at least 3 */
    unsigned bucket = (power - 2) * 8 + (unsigned)(value >> (power - 3) & 7);
    return bucket < TURN_TIME_BUCKETS ? bucket : TURN_TIME_BUCKETS - 1;
}

static int64_t low(unsigned bucket)
{
    if (bucket < 8)
        return bucket;
    unsigned power = bucket / 8 + 2;
    return (int64_t)((8 + (uint64_t)bucket % 8) << (power - 3));
}

static int64_t cpu_us(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) < 0)
        return 0;
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

void turn_time_begin(struct turn_time *time)
{
    time->measuring = time->turns++ % TURN_TIME_EVERY == 0;
    if (time->measuring)
        time->began_us = cpu_us();
}

void turn_time_end(struct turn_time *time)
{
    if (time->measuring)
        turn_time_add(time, cpu_us() - time->began_us);
    time->measuring = false;
}

void turn_time_add(struct turn_time *time, int64_t us)
{
    time->measured++;
    time->buckets[bucket_of(us)]++;
    if (us > time->max_us)
        time->max_us = us;
}

int64_t turn_time_permille_us(const struct turn_time *time, unsigned permille)
{
    uint64_t seen = 0, wanted = (time->measured * permille + 999) / 1000;
    for (unsigned bucket = 0; bucket < TURN_TIME_BUCKETS && time->measured > 0; bucket++) {
        seen += time->buckets[bucket];
        if (seen >= wanted)
            return low(bucket + 1) < time->max_us ? low(bucket + 1) : time->max_us;
    }
    return time->max_us;
}
