/* sharing.h: a member of a shared group in a simulated run (sharing.c), and what it sends (sharing_frames.c). Thread: one. */
#ifndef CRIER_SIM_SHARING_H
#define CRIER_SIM_SHARING_H

#include "tests/sim/ledger.h"
#include "tests/sim/sim.h"

#define LISTENER       1
#define LEASES_A_FRAME 16

/* An event that a member has. */
struct hand {
    uint64_t partition, offset;
    uint32_t attempt;
    int64_t act_at_us;
};

struct batch_held {
    uint64_t partition;
    uint8_t *bytes;
    size_t size;
};

struct sharer {
    struct sharer *next;
    struct sim *sim;
    uint32_t id, topic, group;
    struct link *link; /* NULL: not connected */
    int64_t connect_at_us, ping_at_us, ping_us, answered_us;
    bool welcome, in_place, leaving, remembers;
    uint64_t request;
    uint64_t credit, received;
    uint32_t window, in_flight_max;
    int64_t lease_ms, session_ms;
    uint32_t from;
    struct hand *hands;
    size_t hand_count, hand_capacity;
    struct batch_held held[64]; /* the last batch of each partition */
    size_t held_count;
    uint8_t *input, *output;
    size_t input_size, input_capacity, output_size, output_capacity;
};

void sharer_send(struct sharer *sharer, enum frame_kind kind, const ProtobufCMessage *message);
void sharer_hello(struct sharer *sharer);
/* The topic, if it is not there; else what it does with what fails. */
void sharer_topic(struct sharer *sharer, bool create);
void sharer_redrive(struct sharer *sharer);
/* With what it has in hand, if it remembers. */
void sharer_listen(struct sharer *sharer);
void sharer_credit_return(struct sharer *sharer, uint64_t bytes);
/* ACK, NACK or EXTEND of so many events, at most LEASES_A_FRAME. */
void sharer_settle(struct sharer *sharer, enum frame_kind kind, const struct hand *hands, size_t count);

#endif
