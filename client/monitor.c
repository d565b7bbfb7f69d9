/* monitor.c: what is measured of a loop. See monitor.h.
 *
 * Role:     numbers, and the rules by which they are counted. What a call took is the time since the mark before it, so that
 *           the clock is read once per call.
 * Thread:   as monitor.h says. The lock is taken per turn and per call.
 * Failures: none but memory for the lock. */
#include "client/monitor.h"

#include <stdio.h>
#include <string.h>

bool monitor_init(struct monitor *monitor)
{
    memset(monitor, 0, sizeof(*monitor));
    return pthread_mutex_init(&monitor->lock, NULL) == 0;
}

void monitor_finish(struct monitor *monitor)
{
    pthread_mutex_destroy(&monitor->lock);
}

bool monitor_start(struct monitor *monitor, const struct crier_loop_monitor_options *options, int64_t now_us)
{
    bool started;

    pthread_mutex_lock(&monitor->lock);
    if ((started = !monitor->running)) {
        monitor->running = true;
        monitor->options = *options;
        monitor->began_us = now_us;
        monitor->turn_us = monitor->active_us = monitor->delay_min_us = 0;
        monitor->delay_sum = monitor->delay_square_sum = 0;
        memset(&monitor->delay, 0, sizeof(monitor->delay));
        monitor->calls_blocked = 0;
        monitor->slowest = (crier_loop_call){.topic = ""};
        monitor->slowest_topic[0] = '\0';
    }
    pthread_mutex_unlock(&monitor->lock);
    return started;
}

static void turn_count(struct monitor *monitor, int64_t now_us)
{
    if (monitor->turn_us > 0)
        monitor->active_us += now_us - monitor->turn_us;
    monitor->turn_us = 0;
}

bool monitor_stop(struct monitor *monitor, int64_t now_us)
{
    bool stopped;

    pthread_mutex_lock(&monitor->lock);
    if ((stopped = monitor->running)) {
        turn_count(monitor, now_us);
        monitor->running = false;
        monitor->ended_us = now_us;
    }
    pthread_mutex_unlock(&monitor->lock);
    return stopped;
}

bool monitor_is_running(struct monitor *monitor)
{
    bool running;

    pthread_mutex_lock(&monitor->lock);
    running = monitor->running;
    pthread_mutex_unlock(&monitor->lock);
    return running;
}

int64_t monitor_resolution_us(struct monitor *monitor)
{
    int64_t resolution_us;

    pthread_mutex_lock(&monitor->lock);
    resolution_us = monitor->options.resolution_us;
    pthread_mutex_unlock(&monitor->lock);
    return resolution_us;
}

void monitor_turn_begin(struct monitor *monitor, int64_t now_us)
{
    pthread_mutex_lock(&monitor->lock);
    if (monitor->running && monitor->turn_us == 0)
        monitor->turn_us = now_us;
    pthread_mutex_unlock(&monitor->lock);
    monitor->mark_us = now_us;
}

void monitor_turn_end(struct monitor *monitor, int64_t now_us)
{
    pthread_mutex_lock(&monitor->lock);
    turn_count(monitor, now_us);
    pthread_mutex_unlock(&monitor->lock);
}

bool monitor_called(struct monitor *monitor, crier_loop_call *call, int64_t now_us,
                    struct crier_loop_monitor_options *ret_options)
{
    bool blocked;

    call->took_us = now_us - monitor->mark_us;
    monitor->mark_us = now_us;
    pthread_mutex_lock(&monitor->lock);
    blocked = monitor->running && call->took_us >= monitor->options.blocked_us;
    monitor->calls_blocked += blocked;
    if (blocked)
        *ret_options = monitor->options;
    if (monitor->running &&
        (monitor->slowest.kind == CRIER_LOOP_NOTHING || call->took_us > monitor->slowest.took_us)) {
        monitor->slowest = *call;
        snprintf(monitor->slowest_topic, sizeof(monitor->slowest_topic), "%s", call->topic);
    }
    pthread_mutex_unlock(&monitor->lock);
    return blocked;
}

void monitor_late(struct monitor *monitor, int64_t late_us)
{
    int64_t late = late_us > 0 ? late_us : 0;

    pthread_mutex_lock(&monitor->lock);
    if (monitor->running) {
        if (monitor->delay.count == 0 || late < monitor->delay_min_us)
            monitor->delay_min_us = late;
        histogram_add(&monitor->delay, (uint64_t)late);
        monitor->delay_sum += (double)late;
        monitor->delay_square_sum += (double)late * (double)late;
    }
    pthread_mutex_unlock(&monitor->lock);
}

/* ---- looking ---- */

/* By Newton's method: libm is not worth being needed for this. */
static double root(double square)
{
    double guess = square > 1 ? square : 1, better = (guess + square / guess) / 2;

    while (better < guess) {
        guess = better;
        better = (guess + square / guess) / 2;
    }
    return guess;
}

static void delay_tell(const struct monitor *monitor, struct crier_loop_stats *stats)
{
    double count = (double)monitor->delay.count, variance;

    stats->delay_count = monitor->delay.count;
    if (monitor->delay.count == 0)
        return;
    stats->delay_min_us = monitor->delay_min_us;
    stats->delay_max_us = (int64_t)monitor->delay.max;
    stats->delay_mean_us = monitor->delay_sum / count;
    variance = monitor->delay_square_sum / count - stats->delay_mean_us * stats->delay_mean_us;
    stats->delay_stddev_us = variance > 0 ? root(variance) : 0; /* rounding may take it below */
}

void monitor_stats(struct monitor *monitor, int64_t now_us, struct crier_loop_stats *ret_stats)
{
    int64_t end;

    *ret_stats = (struct crier_loop_stats){0};
    pthread_mutex_lock(&monitor->lock);
    end = monitor->running ? now_us : monitor->ended_us;
    ret_stats->active_us = monitor->active_us + (monitor->turn_us > 0 ? end - monitor->turn_us : 0);
    ret_stats->idle_us = end - monitor->began_us - ret_stats->active_us;
    delay_tell(monitor, ret_stats);
    ret_stats->calls_blocked = monitor->calls_blocked;
    ret_stats->slowest = monitor->slowest;
    memcpy(ret_stats->slowest_topic, monitor->slowest_topic, sizeof(ret_stats->slowest_topic));
    ret_stats->slowest.topic = ret_stats->slowest_topic;
    pthread_mutex_unlock(&monitor->lock);
}

int64_t monitor_delay(struct monitor *monitor, double percentile)
{
    uint64_t delay;

    pthread_mutex_lock(&monitor->lock);
    delay = histogram_percentile(&monitor->delay, percentile / 100);
    pthread_mutex_unlock(&monitor->lock);
    return (int64_t)delay;
}
