/* producers.h: processes that emit numbered events without a pause, and write down what they were told of each.
 *
 * Every event says who emitted it and which number it has, and carries bytes that follow from both, so that whoever
 * reads it can tell if it is whole. A producer's events go to the partitions in turn. At most PRODUCERS_WINDOW of each are
 * without an answer at a time, so that a kill always meets some of them.
 *
 * The processes are forked before their parent has any thread; they see its end and end too. */
#ifndef CRIER_TESTS_TORTURE_PRODUCERS_H
#define CRIER_TESTS_TORTURE_PRODUCERS_H

#include <crier/crier.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PRODUCERS            4
#define PRODUCERS_WINDOW     64
#define PRODUCERS_PARTITIONS 2
#define PRODUCERS_TOPIC      "torture"

/* What a producer knows of an event in the end; a file of these, by number, is its log. */
enum outcome { OUTCOME_UNKNOWN, OUTCOME_OK, OUTCOME_REFUSED };
struct completion {
    uint64_t offset; /* OUTCOME_OK: where it is; UINT64_MAX: not told */
    uint32_t outcome;
    int32_t code;
};

struct producers {
    pid_t pids[PRODUCERS];
    char directory[256]; /* of the logs */
    atomic_bool *stop;   /* shared with the processes */
};

/* What a producer's process does besides; NULL: nothing. 0 or a CRIER_E code, which ends it. */
struct producers_hooks {
    int (*begin)(crier *bus, uint32_t producer, void *ctx); /* its bus is open, nothing was emitted */
    int (*end)(crier *bus, uint32_t producer,
               void *ctx); /* everything has an answer, its bus is still open */
    void *ctx;
};

/* hooks: borrowed for the call (the processes have copies); NULL: none. 0 or -errno. */
int producers_start(struct producers *producers, const char *url, const char *directory,
                    const struct producers_hooks *hooks);
/* Lets them flush and end. How many of them failed. */
int producers_stop(struct producers *producers);
void producers_kill(struct producers *producers); /* at once, on a way out */
/* What a producer wrote down: *ret_log is returned (free), *ret_count events were emitted. 0 or -errno. */
int producers_log(const struct producers *producers, uint32_t producer, struct completion **ret_log,
                  uint64_t *ret_count);

static inline uint32_t producers_partition(uint64_t number)
{
    return (uint32_t)(number % PRODUCERS_PARTITIONS);
}

/* Reads who emitted a value. False: it is not what that producer emitted. */
bool producers_recognise(const void *value, size_t size, uint32_t *ret_producer, uint64_t *ret_number);

#endif
