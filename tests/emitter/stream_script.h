/* stream_script.h: random scripts of operations on streams, for stream_differential.c, which says what a script is.
 * Made from a seed alone; printed as JSON, one line each, for Node. */
#ifndef CRIER_TESTS_EMITTER_STREAM_SCRIPT_H
#define CRIER_TESTS_EMITTER_STREAM_SCRIPT_H

#include "crier/stream.h"

#include <stdio.h>

#define STREAMS  4
#define PLANS    3
#define HOOKS    2
#define TURNS    6
#define TURN_OPS 4

enum op {
    WRITE,
    END,
    PUSH,
    END_PUSH,
    UNSHIFT,
    READ,
    RESUME,
    PAUSE,
    ON_DATA,
    OFF_DATA,
    ON_READABLE,
    OFF_READABLE,
    PIPE,
    UNPIPE,
    UNPIPE_ALL,
    DESTROY,
    FINISHED,
    PIPELINE,
    STATE,
    OPS
};

struct operation {
    enum op op;
    unsigned stream;
    int a, b;
};

struct plan {
    unsigned when, error, count, sizes[3];
};

struct config {
    unsigned type, read_high, write_high, ends_both, destroy_when, reads;
    int final_when; /* -1: none */
    struct plan reading[PLANS], writing[PLANS];
    struct {
        enum crier_stream_kind kind;
        unsigned nth;
        struct operation op;
    } hooks[HOOKS];
};

struct script {
    bool items;
    unsigned turns, counts[TURNS];
    struct config streams[STREAMS];
    struct operation ops[TURNS][TURN_OPS];
};

extern const char *const stream_kind_names[CRIER_STREAM_KINDS];

void script_make(struct script *script, uint64_t seed);
void script_print(FILE *to, const struct script *script);
bool script_is_late_only(uint64_t seed); /* no write of it is through before it returns */
/* The traces of scripts from `seed` on, one line each; before Node's stands its version. How many differ (the first is printed whole,
 * of some more where they part); of how many. */
unsigned script_compare(FILE *ours, FILE *nodes, uint64_t seed, unsigned scripts, unsigned *ret_compared);

#endif
