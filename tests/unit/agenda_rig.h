/* agenda_rig.h: a loop on a bench: an agenda whose turns the test makes by hand, and a trace of what ran. */
#ifndef CRIER_TESTS_AGENDA_RIG_H
#define CRIER_TESTS_AGENDA_RIG_H

#include "base/future.h"

#define RIG_CANCELED (-101)
#define RIG_CLOSED   (-102)
#define RIG_NOMEM    (-103)
#define RIG_INVALID  (-104)

struct agenda_rig {
    struct agenda *agenda;
    int64_t now_us;
    unsigned wakes;
    int unhandled, unhandled_count;
    char trace[512]; /* names, separated by blanks */
};

/* Something that writes its name when it runs. */
struct named {
    struct task task;
    struct agenda_timer timer;
    struct agenda_rig *rig;
    const char *name;
    void (*then)(struct named *named); /* called afterwards; NULL: nothing */
    void *ctx;
    bool dropped;
};

void rig_open(struct agenda_rig *rig);
void rig_close(struct agenda_rig *rig);
void rig_say(struct agenda_rig *rig, const char *name);
struct named *rig_named(struct named *named, struct agenda_rig *rig, const char *name,
                        void (*then)(struct named *named));
/* One turn: what I/O left behind, immediates, timers that are due. */
void rig_turn(struct agenda_rig *rig);

#endif
