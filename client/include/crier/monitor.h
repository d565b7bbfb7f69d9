/* crier/monitor.h: is the loop of a bus kept waiting, and by whom? Node's perf_hooks: monitorEventLoopDelay() and
 * eventLoopUtilization(), and one thing more: the name of the handler that blocked.
 *
 *     crier_loop_monitor_start(bus, NULL);
 *     ...
 *     struct crier_loop_stats stats;
 *     crier_loop_stats(bus, &stats);
 *     printf("%.0f %% busy, late by %lld us at worst, %s took %lld us\n", 100 * crier_loop_utilization(&stats, NULL),
 *            (long long)stats.delay_max_us, stats.slowest.topic, (long long)stats.slowest.took_us);
 *
 * DELAY. A timer of resolution_us on the loop; counted is how much later than due it went off. Whatever ran meanwhile
 * (a handler, the system, another program) is in it.
 * UTILIZATION. A loop is active inside its turns and idle between them. On a caller's loop (options.base, options.polled) the
 * time between them is the caller's own: active is the share of this bus.
 * CALLS. Every handler, tick, immediate and continuation is timed. The slowest is kept; what took blocked_us or longer is
 * counted and told.
 *
 * COST. Nothing while it is off. While it is on: the clock is read and a lock taken once per call, and an idle loop wakes up every
 * resolution_us.
 * LOCAL. Handlers of a bus of local: run where the event is emitted, not on the loop: it is the rest that is measured.
 * THREADS. Any thread may call any function here. */
#ifndef CRIER_MONITOR_H
#define CRIER_MONITOR_H

#include <crier/crier.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the loop called. */
enum crier_loop_kind {
    CRIER_LOOP_NOTHING = 0,      /* nothing yet */
    CRIER_LOOP_HANDLER = 1,      /* of an event */
    CRIER_LOOP_TICK = 2,         /* crier_next_tick() */
    CRIER_LOOP_IMMEDIATE = 3,    /* crier_immediate() */
    CRIER_LOOP_CONTINUATION = 4, /* of a future */
    CRIER_LOOP_CALLBACK =
        5 /* outcomes of emits and all other callbacks, with the library's own work around them */
};

/** A call of the loop's. Borrowed, with everything it points to. */
typedef struct crier_loop_call {
    enum crier_loop_kind kind; /* which of the above */
    const char *topic;         /* of a handler; else what kind says, in words; NUL-terminated, never NULL */
    void (*function)(void);    /* what was called; NULL: several */
    int64_t took_us;           /* microseconds */
} crier_loop_call;

/** How to measure. From crier_loop_monitor_options_default(). */
struct crier_loop_monitor_options {
    size_t struct_size;    /* set by crier_loop_monitor_options_default() */
    int64_t resolution_us; /* default 10000, as in Node; 1000 .. 60000000 */
    int64_t blocked_us;    /* a call that takes so long has blocked; default 100000; at least 1 */
    /* Called after each call that has blocked, on the loop. default NULL */
    void (*blocked)(crier *bus, const crier_loop_call *call, void *ctx);
    void *ctx; /* for blocked */
};

/** The defaults; see the fields. */
static inline struct crier_loop_monitor_options crier_loop_monitor_options_default(void)
{
    struct crier_loop_monitor_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.resolution_us = 10000;
    options.blocked_us = 100000;
    return options;
}

/** What was measured since the start. Times in microseconds. */
struct crier_loop_stats {
    int64_t active_us;       /* inside turns, the one under way included */
    int64_t idle_us;         /* between them */
    uint64_t delay_count;    /* how often the timer went off; 0: the rest of delay is 0 too */
    int64_t delay_min_us;    /* exact */
    int64_t delay_max_us;    /* exact */
    double delay_mean_us;    /* exact */
    double delay_stddev_us;  /* of all that were counted */
    uint64_t calls_blocked;  /* calls that took blocked_us or longer */
    crier_loop_call slowest; /* its topic: in slowest_topic */
    char slowest_topic[CRIER_TOPIC_NAME_MAX + 1]; /* NUL-terminated */
};

/** Starts to measure, from zero. options: copied; NULL: the defaults. 0, CRIER_EINVAL, CRIER_EEXIST (it measures already),
 *  CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_loop_monitor_start(crier *bus, const struct crier_loop_monitor_options *options);
/** Stops; what was measured can still be asked for. 0, or CRIER_EINVAL (it does not measure). */
CRIER_API int crier_loop_monitor_stop(crier *bus);
/** 0, or CRIER_EINVAL (it was never started). */
CRIER_API int crier_loop_stats(crier *bus, struct crier_loop_stats *ret_stats);
/** The delay that `percentile` percent (0 to 100) of those counted do not exceed, at most 1.6 % too high. 0, or CRIER_EINVAL. */
CRIER_API int crier_loop_delay(crier *bus, double percentile, int64_t *ret_delay_us);

/** Active of all time, 0 to 1: since the start, or (before not NULL) since `before` was asked for. */
static inline double crier_loop_utilization(const struct crier_loop_stats *now,
                                            const struct crier_loop_stats *before)
{
    int64_t active = now->active_us - (before ? before->active_us : 0);
    int64_t idle = now->idle_us - (before ? before->idle_us : 0);
    return active + idle > 0 ? (double)active / (double)(active + idle) : 0.0;
}

#ifdef __cplusplus
}
#endif

#endif
