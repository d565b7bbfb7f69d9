/* monitor.h: what is measured of a loop: how late its timer is, how long it is active, and which call took longest.
 *
 * Knows no clock: every function is told the time. bus_monitor.c is its timer and its public face.
 *
 * Thread: monitor_turn_begin, _turn_end, _mark, _called and _late: the loop's; the others any. */
#ifndef CRIER_CLIENT_MONITOR_H
#define CRIER_CLIENT_MONITOR_H

#include "base/histogram.h"
#include "crier/monitor.h"

#include <pthread.h>
#include <stdbool.h>

struct monitor {
    /* the loop's thread */
    int64_t mark_us; /* the end of the call before */

    /* under the lock */
    pthread_mutex_t lock;
    struct crier_loop_monitor_options options;
    bool running;
    int64_t began_us, ended_us; /* of what is measured; ended: once it is stopped */
    int64_t turn_us;            /* when the turn under way began; 0: there is none */
    int64_t active_us;          /* of turns that have ended */
    struct histogram delay;
    int64_t delay_min_us;
    double delay_sum, delay_square_sum;
    uint64_t calls_blocked;
    crier_loop_call slowest; /* topic: in slowest_topic */
    char slowest_topic[CRIER_TOPIC_NAME_MAX + 1];
};

bool monitor_init(struct monitor *monitor); /* false: no memory */
void monitor_finish(struct monitor *monitor);

/* From zero. false: it is running. */
bool monitor_start(struct monitor *monitor, const struct crier_loop_monitor_options *options, int64_t now_us);
bool monitor_stop(struct monitor *monitor, int64_t now_us); /* false: it is not running */
bool monitor_is_running(struct monitor *monitor);
int64_t monitor_resolution_us(struct monitor *monitor);

void monitor_turn_begin(struct monitor *monitor, int64_t now_us);
void monitor_turn_end(struct monitor *monitor, int64_t now_us);
/* A call begins now that is not the end of another. */
static inline void monitor_mark(struct monitor *monitor, int64_t now_us)
{
    monitor->mark_us = now_us;
}
/* What began at the last mark has ended: marks. Of `call`, took_us is filled in; its topic: borrowed. True: it has blocked; then
 * ret_options has whom to tell. */
bool monitor_called(struct monitor *monitor, crier_loop_call *call, int64_t now_us,
                    struct crier_loop_monitor_options *ret_options);
/* The timer went off so much after it was due. */
void monitor_late(struct monitor *monitor, int64_t late_us);

void monitor_stats(struct monitor *monitor, int64_t now_us, struct crier_loop_stats *ret_stats);
int64_t monitor_delay(struct monitor *monitor, double percentile); /* 0..100 */

#endif
