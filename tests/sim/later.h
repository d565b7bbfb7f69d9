/* later.h: events with a time, in a simulated run: scheduled, canceled, listed, over everything that goes wrong.
 *
 * They go to topics of their own, which stay for ever, beside events without a time from the same clients. What was said and
 * heard is recorded in here; the log, part by part, is the truth it is judged against (later_check.c):
 *
 *   I1   an acknowledged schedule is in the log, under the name that was told; unless it is canceled, it comes
 *   I2   what comes was emitted, byte for byte, and not canceled before; what failed for good is nowhere
 *   I4   nothing comes before its time by the log's clock; a time is what was asked for
 *   I5   each is stored once and comes once, however often it was sent, read or fired
 *   I6   what was answered to a cancel has happened by then; a list has what waited all the while, in order, and nothing
 *        that was canceled before
 *   I13  when all has healed, what is due comes
 *
 * Thread: one. */
#ifndef CRIER_SIM_LATER_H
#define CRIER_SIM_LATER_H

#include "tests/sim/sim.h"

#include "crier/schedule.h"

#define LATER_TOPICS 2 /* l0 and l1, which stay; beyond them those of fleeting.h, which are deleted */
#define LATER_MAGIC  UINT64_C(0x6c617465722e2e2e)

struct later_event {
    uint32_t client, topic, size; /* of its value */
    bool timed;                   /* else: at once */
    int64_t delay_us, at_us;      /* at_us not 0: that one */
    enum emit_state state;
    crier_schedule schedule; /* told; 0 and 0: it was not, or the broker has forgotten */
    uint64_t told_at;        /* place in the order of everything */
    bool heard;              /* by the listener that looks at the end */
};

enum later_question_kind { LATER_CANCEL, LATER_LIST };

/* Something a client asked for. */
struct later_question {
    struct client *client;
    enum later_question_kind kind;
    uint32_t event;         /* CANCEL */
    crier_schedule *listed; /* LIST */
    size_t listed_count, listed_capacity;
    bool answered, whole; /* whole: it was told all there are */
    int code;
    uint64_t asked_at, answered_at;
};

struct later {
    struct later_event *events;
    size_t event_count, event_capacity;
    struct later_question **questions;
    size_t question_count, question_capacity;
    int64_t until_us; /* what is due by then is waited for at the end */
};

static inline bool later_is_mortal(const struct later_event *event)
{
    return event->topic >= LATER_TOPICS;
}

/* The value of an event: exactly size >= 24 bytes that follow from its number. */
void later_value_make(uint8_t *to, uint64_t event, uint32_t size);
/* Its number; HISTORY_NONE: no value of ours, or not to the last byte. */
uint32_t later_value_find(const struct later *later, const void *value, size_t size);
/* Was it canceled, or may it have been, as far as the clients know? */
bool later_may_be_canceled(const struct later *later, uint32_t event);

#endif
