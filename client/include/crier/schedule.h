/* crier/schedule.h: events that come later: emitted now, in their topic when it is time.
 *
 *     struct crier_later_options later = crier_later_options_default();
 *     later.delay_us = 30 * 60 * INT64_C(1000000);
 *     later.done = on_scheduled;                         keeps the schedule, to cancel it
 *     crier_emit_later(bus, "cart.reminder", cart, size, &later);
 *     ...
 *     crier_schedule_cancel_with(bus, &schedule, on_canceled, NULL);
 *
 * An event with a time is on the broker's disk when `done` is told, and comes once, over any restart: never before its time,
 * and when the broker is back if it was down then. It gets its offset, and its place among the others, when it comes. Time is
 * the broker's: its clock, which never goes back and is slewed by 1 % at most when somebody sets it.
 *
 * THREADS. Any thread may call any function here. Callbacks run on the bus's loop.
 *
 * OWNERSHIP. What a call is given is borrowed for the call and copied.
 *
 * On "local:" everything here returns CRIER_ENOTSUP: nothing is kept there (crier_after() is a timer). */
#ifndef CRIER_SCHEDULE_H
#define CRIER_SCHEDULE_H

#include <crier/crier.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Which schedule: nobody else ever has it. */
typedef struct crier_schedule {
    int64_t due_us;  /* when it comes, microseconds since 1970 UTC */
    uint64_t number; /* the broker's */
} crier_schedule;

/** The event is stored and will come (code 0; schedule: borrowed for the call), or why not (schedule NULL). A schedule of 0
 *  and 0: it will come, and the broker no longer knows what it is called (more than 32 were in flight when the connection was
 *  lost). */
typedef void crier_scheduled(crier *bus, int code, const crier_schedule *schedule, void *ctx);
/** It will never come (code 0), or why that is not so: as crier_schedule_cancel(). */
typedef void crier_canceled(crier *bus, int code, void *ctx);

/* When. From crier_later_options_default(). */
struct crier_later_options {
    size_t struct_size; /* set by crier_later_options_default() */
    int64_t delay_us;   /* so long after the broker has taken it; 0 or more, 17 years at most; default 0 */
    /* Not 0: then, in microseconds since 1970 UTC, and delay_us does not count; what is past comes at once; default 0 */
    int64_t at_us;
    const struct crier_emit_options *emit; /* NULL: the defaults; without `done`, and durable */
    crier_scheduled *done;                 /* default NULL: a failure becomes an "error" event */
    void *ctx;                             /* for done; kept alive by the caller until then */
};

/** The defaults; see the fields. */
static inline struct crier_later_options crier_later_options_default(void)
{
    struct crier_later_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    return options;
}

/** Emit an event that comes later. Returns as crier_emit_with, and CRIER_EINVAL for a time that is none. The outcome may also be
 *  CRIER_EINVAL: more than 17 years ahead. Topics are created by it as by any emit. */
CRIER_API int crier_emit_later(crier *bus, const char *topic, const void *value, size_t value_size,
                               const struct crier_later_options *options);

/** It will never come: 0, when that is on the broker's disk. CRIER_ENOSCHEDULE (it has come, was canceled, or its topic is gone),
 *  CRIER_EUNKNOWN (the connection was lost before the answer: ask again), CRIER_EFULL, CRIER_ETIMEDOUT, ... Blocking. */
CRIER_API int crier_schedule_cancel(crier *bus, const crier_schedule *schedule);
/** The same without waiting. 0: `done` (which may be NULL) is told; else nothing was asked: CRIER_EINVAL, CRIER_ENOMEM,
 *  CRIER_ECLOSED. */
CRIER_API int crier_schedule_cancel_with(crier *bus, const crier_schedule *schedule, crier_canceled *done,
                                         void *ctx);

/* One that waits. Borrowed, with everything it points to. */
struct crier_schedule_info {
    crier_schedule schedule; /* its id */
    const char *topic;       /* NUL-terminated */
    uint32_t partition;      /* 0-based within the topic */
    uint32_t size;           /* bytes in the log */
    int64_t created_us;      /* when it was stored, microseconds since 1970 UTC */
};

/* Which to list. From crier_schedule_list_options_default(). */
struct crier_schedule_list_options {
    size_t struct_size; /* set by crier_schedule_list_options_default() */
    const char *topic;  /* default NULL: of all topics */
    /* Those that come after this one: the last one of the page before; default 0 and 0: from the first on */
    crier_schedule after;
    uint32_t count_max; /* 1 or more; default 1000 */
};

/** The defaults; see the fields. */
static inline struct crier_schedule_list_options crier_schedule_list_options_default(void)
{
    struct crier_schedule_list_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.count_max = 1000;
    return options;
}

/** Calls each(ctx, info) for those that wait, the next one first. options: NULL: the defaults. ret_pending (may be NULL): how
 *  many wait in all, of all topics. 0, CRIER_ELIMIT (too many such questions at a time), ... Blocking. */
CRIER_API int crier_schedule_list(crier *bus, const struct crier_schedule_list_options *options,
                                  void (*each)(void *ctx, const struct crier_schedule_info *info), void *ctx,
                                  uint64_t *ret_pending);

#define CRIER_SCHEDULE_TEXT_SIZE 40 /* bytes, with the NUL */
/** How people and scripts call it: "5f3a9c21b4d80-11". */
CRIER_API void crier_schedule_to_text(const crier_schedule *schedule, char text[CRIER_SCHEDULE_TEXT_SIZE]);
/** The other way. 0, or CRIER_EINVAL: it is no such text. */
CRIER_API int crier_schedule_from_text(const char *text, crier_schedule *ret_schedule);

#ifdef __cplusplus
}
#endif

#endif
