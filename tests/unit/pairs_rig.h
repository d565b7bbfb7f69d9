/* pairs_rig.h: a small world on core_fixture.h in which requests of every kind meet, and what must hold whatever meets what.
 *
 * Two connections stand in the same relation to everything: both are members of the ordered group "g" and of the shared group
 * "s" on topic "t" (two partitions, with events, a dead one, and one that is scheduled), hold leases, and listen. The groups
 * "h" (ordered) and "u" (shared) have positions and no members. Topic "e" is ephemeral. The first connection has a producer name.
 *
 * A request is sent as one connection would send it; what it is owed is noted, and pairs_check sees that it comes exactly once.
 * Thread: one. Failed expectations end the test through Criterion, with the name of what was tried. */
#ifndef CRIER_TESTS_PAIRS_RIG_H
#define CRIER_TESTS_PAIRS_RIG_H

#include "tests/unit/core_fixture.h"

struct pairs_side {
    struct peer *peer;
    uint64_t generation, partition; /* in "g" */
    Wire__Lease lease;              /* in "s" */
    uint64_t source;                /* of its last atomic emit */
};

enum pairs_owed {
    OWED_REQUEST, /* a frame of kind `answer` with this request's number */
    OWED_LISTEN,  /* LISTENING or ENDED */
    OWED_ENDED,   /* ENDED */
    OWED_WELCOME
};
struct pairs_ask {
    struct peer *peer;
    const char *name;
    enum pairs_owed owed;
    enum frame_kind answer;
    uint64_t id;
};
struct pairs_got {
    struct peer *peer;
    int kind;
    uint64_t id;
    int code;
};

#define PAIRS_ASKS_MAX 256
#define PAIRS_GOT_MAX  1024
struct pairs_world {
    struct fixture *f;
    struct pairs_side sides[2];
    uint64_t t[2], e, next; /* partitions; the first of the topic that is created next */
    int64_t due_us;         /* of what is scheduled */
    uint64_t schedule;
    uint64_t requests;
    uint32_t listeners;
    char what[256]; /* is being tried */
    char *said;     /* every answer so far: what it was to, its kind, its code */
    size_t said_size, said_capacity;
    struct pairs_ask asks[PAIRS_ASKS_MAX];
    size_t ask_count;
    struct pairs_got got[PAIRS_GOT_MAX];
    size_t got_count;
};

struct pairs_kind {
    const char *name;
    void (*send)(struct pairs_world *w, struct pairs_side *side, const struct pairs_kind *kind);
    const char *topic, *group;
    uint64_t a, b;
};
extern const struct pairs_kind pairs_kinds[];
extern const size_t pairs_kind_count, pairs_main_count; /* the main ones come first */

/* eager: each entry's state is flushed at once; else never, so that a restart replays all of it. */
struct pairs_world *pairs_create(bool eager);
void pairs_destroy(struct pairs_world *w);
void pairs_send(struct pairs_world *w, size_t side, size_t kind);
/* Lets everything come to an end and takes what was answered; connections that are to be closed are. */
void pairs_settle(struct pairs_world *w);
/* Everything asked was answered, exactly once, or its connection is gone. Forgets what was asked. */
void pairs_check(struct pairs_world *w);
void pairs_close(struct pairs_world *w, size_t side);
/* A new connection asks for some of everything; each must be answered. */
void pairs_probe(struct pairs_world *w);
/* All connections end; nothing is left of them: no member, listener, or lease. */
void pairs_leave(struct pairs_world *w);
/* Power off and on again; from then on the state is flushed at once. */
void pairs_restart(struct pairs_world *w);
/* The state's rows, as text: one "key=value" in hex a line, without what restarts alone change. Freed by the caller. */
char *pairs_rows(struct pairs_world *w);

#endif
