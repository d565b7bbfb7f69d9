/* checker.h: judges a recorded history against the promises of DESIGN §12.
 *
 * After everything has healed, two fresh listeners read every partition from its beginning: what they saw is the truth
 * table. Each check is a scan (some over a sorted copy), names the invariant it found broken and says where.
 *
 *   I1  an acknowledged durable emit is in the truth, at the offset that was told
 *   I2  whatever was seen was emitted, byte for byte; what definitely failed was seen by nobody
 *   I3  one value per (partition, offset): everybody who saw it saw the same
 *   I4  events of one producer to one partition are in the order they were emitted, without a hole; a key, or a
 *       partition that was asked for, decides where an event is
 *   I5  an event is stored once; an atomic emit whole or not at all; a position of a source once, and in order
 *   I6  an emit acknowledged before another was invoked has the lower offset
 *   I7  whatever was delivered is still there at the end
 *   I8  within a listener's life offsets follow each other; over its lives too, and it begins where it asked to begin
 *   I9  a group's position never goes back, skips nothing, and a member never starts before it
 *   I11 two replays of everything are the same; `once` and `many` never get one too many
 *   I13 (with the world:) a listener that was there to the end has reached it
 *
 * Thread: any; the history is only read. */
#ifndef CRIER_SIM_CHECKER_H
#define CRIER_SIM_CHECKER_H

#include "tests/sim/history.h"

#define VIOLATIONS_MAX 8 /* more of them would not tell more */

struct violation {
    int invariant; /* 1 for I1, ... */
    char text[200];
};

struct report {
    struct violation violations[VIOLATIONS_MAX];
    size_t count;
};

void report_add(struct report *report, int invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds what it finds. */
void checker_run(const struct history *history, struct report *report);

#endif
