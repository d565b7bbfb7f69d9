/* witness.h: reads the topic from its start and keeps what it saw, to be compared with what others were told.
 *
 * A witness that lives through the kills tells whether a listener is ever shown an event that is gone afterwards, twice,
 * or out of order; one that reads everything at the end is the truth.
 *
 * Thread: seen[] is filled on the bus's thread; the functions are for the main thread. */
#ifndef CRIER_TESTS_TORTURE_WITNESS_H
#define CRIER_TESTS_TORTURE_WITNESS_H

#include "tests/torture/producers.h"

#include <pthread.h>

struct seen {
    uint64_t offset;
    uint64_t number;
    uint32_t producer; /* PRODUCERS: bytes nobody emitted */
};

struct witness_partition {
    struct seen *events; /* in the order they came */
    uint64_t count, capacity;
    uint64_t disorder; /* events whose offset was not above the one before */
    uint64_t high_watermark;
};

struct witness {
    crier *bus;
    bool own_bus;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t news;
    struct witness_partition partitions[PRODUCERS_PARTITIONS];
    int failure; /* a listener ended with this */
};

/* On a bus of its own. 0 or a CRIER_E code. */
int witness_start(struct witness *witness, const char *url);
/* On a bus of the caller's, who closes it. 0 or a CRIER_E code. */
int witness_listen(struct witness *witness, crier *bus);
uint64_t witness_count(struct witness *witness);
/* Waits until more than `count` events were seen. False: not within timeout_ms. */
bool witness_wait(struct witness *witness, uint64_t count, int timeout_ms);
/* Waits until every partition was seen up to the high watermark there is now. False: not within timeout_ms. */
bool witness_wait_end(struct witness *witness, int timeout_ms);
void witness_stop(struct witness *witness); /* closes its own bus; what was seen stays */
/* What was seen, to a file and back: the witness that reads is new. 0 or -errno. */
int witness_write(const struct witness *witness, const char *path);
int witness_read(struct witness *witness, const char *path);
void witness_finish(struct witness *witness);

#endif
