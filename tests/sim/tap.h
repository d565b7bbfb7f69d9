/* tap.h: what passes on the wire between one client and the broker, looked at frame by frame (I12: credit, both ways; I10: owners).
 *
 * The broker's end of a link has a tap: it counts the frames of every kind, and checks what neither side may do, however
 * the two agree about it: a batch delivered without credit (the last one may use up more than is left), EMIT beyond what was
 * granted. Thread: one. */
#ifndef CRIER_SIM_TAP_H
#define CRIER_SIM_TAP_H

#include "base/buffer.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"
#include "tests/sim/checker.h"

#define TAP_KINDS      64 /* more than there are */
#define TAP_GROUPS     8
#define TAP_PARTITIONS 8192                /* ids: more than a run uses up */
#define TAP_AGAIN      (UINT64_C(1) << 62) /* the request number of a COMMIT that comes again */

struct tap;

struct tap_owner {
    const struct tap *tap; /* NULL: nobody */
    uint32_t listener;
};

/* What all taps of a run share. */
struct tap_world {
    uint64_t frames[2]
                   [TAP_KINDS]; /* how many of each kind have passed: [0] to the broker, [1] to the client */
    uint64_t again[2];          /* commits that came again: [0] refused, [1] taken */
    struct tap_owner owners[TAP_GROUPS][TAP_PARTITIONS];
};

struct tap_listener {
    uint32_t id;
    bool grouped;
    uint32_t group;
    uint64_t credit, delivered;
};

struct tap {
    struct tap_world *world;
    struct report *report;
    uint64_t granted, used; /* bytes of EMIT frames */
    struct tap_listener *listeners;
    size_t listener_count, listener_capacity;
    uint64_t commits;
    uint8_t *commit; /* a COMMIT of before, as a frame that may come again; NULL: none */
    size_t commit_size;
    bool again_waits;  /* a COMMIT that came again has no answer yet */
    bool again_counts; /* and its sender had the partitions when it came */
};

void tap_init(struct tap *tap, struct tap_world *world, struct report *report);
void tap_gone(struct tap *tap); /* the connection is over: what its members had is free */
void tap_finish(struct tap *tap);

/* A whole frame that the broker is about to see. */
void tap_up(struct tap *tap, const struct frame *frame);
/* A frame the broker sends: prefix and header, then its batches. false: it is not for the client. */
bool tap_down(struct tap *tap, const uint8_t *head, size_t head_size, const struct slice *batches,
              size_t count);
/* A COMMIT of before once more, as a frame that is the caller's; 0: there is none, or the last one has no answer yet. */
size_t tap_again(struct tap *tap, uint8_t **ret_frame);

struct tap_listener *tap_listener(const struct tap *tap, uint32_t id); /* NULL: none */

/* ---- tap_group.c ---- */
void tap_given(struct tap *tap, const struct tap_listener *listener, uint64_t partition);
void tap_released(struct tap *tap, const struct tap_listener *listener, uint64_t partition);
void tap_left(struct tap *tap, const struct tap_listener *listener);
size_t tap_commit_again(struct tap *tap, const Wire__Commit *commit, uint8_t **ret_frame);
/* A COMMITTED: is it the answer to a COMMIT that came again? */
bool tap_committed_again(struct tap *tap, const uint8_t *header, size_t size);

/* Has every kind of frame of the protocol been sent, in every direction in which it may be? Says which has not. */
bool tap_complete(const struct tap_world *world);
/* How often each kind has passed. */
void tap_print(const struct tap_world *world);

#endif
