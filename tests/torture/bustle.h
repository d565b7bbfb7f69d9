/* bustle.h: everything a broker does, going on at once, so that a fault meets each of it at work.
 *
 * A topic of its own, BUSTLE_TOPIC: an emitter with events in flight at any time, a listener at its end, one group that
 * commits, another whose members come and go, retention that keeps little. The producers' topic is read from its start again
 * and again. Each operation counts what it has done.
 *
 * Thread: three of its own and two buses'; the functions are for the main thread. Start it after the producers (they fork). */
#ifndef CRIER_TESTS_TORTURE_BUSTLE_H
#define CRIER_TESTS_TORTURE_BUSTLE_H

#include <crier/crier.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUSTLE_TOPIC      "bustle"
#define BUSTLE_PARTITIONS 4
#define BUSTLE_MEMBERS    2

enum bustle_op {
    BUSTLE_APPEND,    /* durable emits that were acknowledged */
    BUSTLE_TAIL,      /* events heard by a live listener */
    BUSTLE_REPLAY,    /* events heard from the earliest on */
    BUSTLE_COMMIT,    /* a group's positions have moved */
    BUSTLE_RETENTION, /* the topic's start has moved */
    BUSTLE_ROLL,      /* a new segment */
    BUSTLE_REBALANCE, /* partitions given to a member */
    BUSTLE_OPS
};

struct bustle_watch { /* offsets that only go up: what somebody was shown */
    uint64_t next[BUSTLE_PARTITIONS];
};

struct bustle_member {
    struct bustle *bustle;
    uint32_t number;
    bool listens; /* guarded by the bustle's mutex */
    crier_listener *listener;
};

struct bustle {
    const char *folder; /* the broker's data */
    crier *bus, *asker; /* the asker's calls block */
    pthread_t mover, questioner, looker;
    atomic_bool stop;
    _Atomic uint64_t counts[BUSTLE_OPS];
    atomic_uint in_flight;
    pthread_mutex_t mutex; /* guards what follows */
    struct bustle_watch tail, replay;
    bool tailing, committing, replaying;
    uint32_t owner[BUSTLE_PARTITIONS]; /* of the group whose members come and go; BUSTLE_MEMBERS: nobody */
    struct bustle_member members[BUSTLE_MEMBERS];
    uint64_t positions[BUSTLE_PARTITIONS], starts[BUSTLE_PARTITIONS];
    /* offences */
    uint64_t disorder;  /* I8: an offset that is not above the one before */
    uint64_t backwards; /* I9: a position, or a log's start, below what was told before */
    uint64_t doubled;   /* I10: a partition given while another has it */
    int failure;        /* a listener ended with this */
};

/* folder: the broker's data, borrowed. 0 or a CRIER_E code. */
int bustle_start(struct bustle *bustle, const char *url, const char *folder);
/* It happens once more. False: not within timeout_ms. */
bool bustle_await(struct bustle *bustle, enum bustle_op op, int timeout_ms);
/* Ends everything; returns the number of offences, and tells them on standard error. */
uint64_t bustle_stop(struct bustle *bustle);

extern const char *const bustle_names[BUSTLE_OPS];

#endif
