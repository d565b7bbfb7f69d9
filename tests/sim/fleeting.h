/* fleeting.h: topics that are created, altered, deleted and created again under the same name, in a simulated run.
 *
 * They are no part of the history, whose topics stay for ever. What was done and heard is recorded in here; the log, part by
 * part, is the truth it is judged against (fleeting_check.c):
 *
 *   I1   an acknowledged event is in the log, at the offset that was told, in one of the topics that had the name
 *   I2   what is there, or heard, was emitted; what was definitely refused is neither
 *   I3   what is heard is what the log has there; within a listener's life it is of one topic only
 *   I5   an event is stored once, however many topics had the name
 *   I6   what was answered has happened: between the question and the answer the log has the creation, change or deletion
 *   I7   after its deletion a topic gets nothing more; a topic that is there for everybody has all that was not let go
 *   I8   a listener hears each partition without a hole, unless its log start has moved there; ENDED tells of a deletion
 *   I11  retention takes no more than the settings of the moment allow
 *   I13  who still listens when all has settled has heard everything
 *
 * Members of ordered, shared and key-ordered groups (g5, d1, d2) listen to them, too: a deletion takes positions, leases, what
 * failed and who has which partition with it, also between a commit or an acknowledgement and its entry. They have to hear
 * what is there (I2 I3), and an ordered group's partitions have one owner (tap_group.c, I10).
 *
 * Thread: one. */
#ifndef CRIER_SIM_FLEETING_H
#define CRIER_SIM_FLEETING_H

#include "tests/sim/sim.h"

#define FLEETING_TOPICS 3
#define FLEETING_PLACES 3 /* partitions of one, at most */
#define FLEETING_MAGIC  UINT64_C(0x666c656574696e67)

struct fleeting_event {
    uint32_t topic;
    uint32_t size; /* of its value */
    enum emit_state state;
    uint64_t offset; /* told */
};

enum fleeting_change_kind { FLEETING_CREATE, FLEETING_ALTER, FLEETING_DELETE };

/* Something a client asked for. */
struct fleeting_change {
    struct client *client;
    enum fleeting_change_kind kind;
    uint32_t topic, partitions, set;
    struct crier_retention retention;
    struct crier_quota quota;
    uint32_t max_listeners;
    bool answered;
    int code;
    uint64_t asked_at, answered_at; /* places in the order of everything */
};

struct fleeting_seen {
    uint32_t event; /* HISTORY_NONE: its bytes are no value of ours */
    uint32_t life;
    uint32_t place;
    uint64_t offset, at;
};

struct fleeting_listener {
    struct fleeting_listener *next;
    struct sim *sim;
    struct client *client; /* NULL: it is released */
    crier_listener *listener;
    uint32_t topic, life;
    bool earliest, in_place;
    bool member;       /* of a group */
    bool must_end;     /* still in place when everything had settled */
    uint64_t ended_at; /* it was told that its topic is gone; 0: it was not */
    struct fleeting_seen *seen;
    size_t seen_count, seen_capacity;
};

struct fleeting {
    struct fleeting_event *events;
    size_t event_count, event_capacity;
    struct fleeting_change **changes;
    size_t change_count, change_capacity;
    struct fleeting_listener *listeners;
};

/* As an event here counts one of later.h, too, which may be stored in such a topic: this, or its number there. */
#define FLEETING_LATER UINT32_C(0x80000000)

void fleeting_delete(struct client *client, uint32_t topic);
/* The value of an event: exactly size >= 24 bytes that follow from its number. */
void fleeting_value_make(uint8_t *to, uint64_t event, uint32_t size);

#endif
