/* turn_time.h: how much CPU time the reactor's turns take: what everybody else waits for.
 *
 * One turn in TURN_TIME_EVERY is measured, by the thread's CPU clock, so that measuring costs nothing to speak of. Times are
 * kept in buckets an eighth apart.
 *
 * Thread: the reactor's. */
#ifndef CRIER_BROKER_TURN_TIME_H
#define CRIER_BROKER_TURN_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define TURN_TIME_EVERY   16
#define TURN_TIME_BUCKETS 256

struct turn_time {
    uint64_t turns;
    uint64_t measured;
    uint64_t buckets[TURN_TIME_BUCKETS];
    int64_t max_us;
    int64_t began_us;
    bool measuring; /* this turn */
};

void turn_time_begin(struct turn_time *time);
void turn_time_end(struct turn_time *time);

void turn_time_add(struct turn_time *time,
                   int64_t cpu_us); /* one measurement; for turn_time_end, and for tests */
/* The time below which so many of a thousand measured turns stayed, rounded up to its bucket's end; 0: none was measured. */
int64_t turn_time_permille_us(const struct turn_time *time, unsigned permille);

#endif
