/* engine_frames.h: what a broker says to the client's engine: each kind of frame well formed, with numbers of the script's, and
 * bytes that are none. */
#ifndef CRIER_TESTS_FUZZ_ENGINE_FRAMES_H
#define CRIER_TESTS_FUZZ_ENGINE_FRAMES_H

#include "client/engine.h"
#include "tests/fuzz/script.h"

/* The broker's end of the connection. */
struct far_end {
    struct engine *engine;
    int64_t now_us;
    bool wants, connected; /* the engine wants a connection; it has one */
    uint64_t next_offset;  /* of what is delivered next, mostly */
};

/* One thing; what: any number. Without a connection that the engine wants, it gets one and a WELCOME first. */
void far_end_say(struct far_end *far, unsigned what, struct script *script);

#endif
