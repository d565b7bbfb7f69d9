/* session_frames.h: what a peer of fuzz_session.c says: frames of every kind a client may send, made from the script, most of
 * them about the same few topics, groups, listeners and offsets so that they meet. */
#ifndef CRIER_TESTS_FUZZ_SESSION_FRAMES_H
#define CRIER_TESTS_FUZZ_SESSION_FRAMES_H

#include "broker/core/core.h"
#include "tests/fuzz/script.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_SAYS 32 /* what peer_say() knows */

struct peer {
    struct core_connection *connection; /* NULL: none now */
    uint64_t request;                   /* of its next EMIT */
    size_t unsent;
    bool closing;
    int64_t wall_us; /* the broker's time, since 1970 */
};

/* One frame, unless it is none at all. It may end the connection. `what` is below PEER_SAYS. Inside a turn. */
void peer_say(struct peer *peer, unsigned what, struct script *script);

/* Who I am, with one of four instances and eight producer ids. */
void peer_hello(struct peer *peer, struct script *script);

#endif
