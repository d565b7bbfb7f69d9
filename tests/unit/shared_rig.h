/* shared_rig.h: members of shared groups on core_fixture.h: what they are delivered, event by event, and what they say of it.
 *
 * A member checks what every client relies on: ranges lie in the batches they come with (or in the last one, if it is held), and
 * each is an event. Events are told apart by their value, which the test gives; values are numbers as text.
 * Thread: one. Failed expectations end the test through Criterion. */
#ifndef CRIER_TESTS_SHARED_RIG_H
#define CRIER_TESTS_SHARED_RIG_H

#include "tests/unit/core_fixture.h"

struct rig_event {
    uint64_t partition, offset;
    uint32_t attempt;
    long value;
    char key[16]; /* "": none */
};

#define RIG_EVENTS_MAX 8192

struct rig_member {
    struct peer *peer;
    uint32_t id;
    uint64_t requests;
    uint64_t generation;
    uint64_t credit, bytes;               /* CREDIT told; attachments received */
    struct rig_event got[RIG_EVENTS_MAX]; /* delivered and not taken by the test */
    size_t got_count;
    struct {
        uint64_t partition;
        uint8_t *bytes;
        size_t size;
    } last[16]; /* the last batch of each partition */
    int settled_code;
    size_t settled_refused; /* events */
    uint64_t settled_request;
    uint64_t redriven;
    int ended; /* the code; 1: it has not */
    size_t deliveries, held_deliveries;
};

struct rig_listen {
    const char *topic, *group;
    Wire__GroupKind kind; /* ORDERED: SHARED */
    bool ordered;
    uint32_t lease_ms, in_flight;
    uint64_t credit; /* 0: plenty */
    Wire__From from;
    const struct rig_event *held;
    size_t held_count;
    uint32_t session_timeout_ms;
};

/* A batch of events with these keys ("": none), numbered from `value` on. Returns the offset of the first. */
uint64_t rig_emit(struct peer *peer, uint64_t partition, const char *const *keys, long value, size_t count);
uint64_t rig_emit_plain(struct peer *peer, uint64_t partition, long value, size_t count);

/* Joins; freed with rig_free. Lets the store finish and takes what comes. */
struct rig_member *rig_join(struct fixture *f, const struct rig_listen *listen);
/* LISTEN over a connection that is there. */
void rig_listen(struct rig_member *m, const struct rig_listen *listen);
void rig_free(struct rig_member *m);
/* Takes every frame that has come: fills got, settled... */
void rig_take(struct rig_member *m);
/* The first event delivered; the test ends if there is none. It is taken out of got. */
struct rig_event rig_next(struct rig_member *m);
/* Says so about events, lets the store finish. Returns SETTLED's code; settled_refused has how many do not count. */
int rig_ack(struct rig_member *m, const struct rig_event *events, size_t count);
int rig_nack(struct rig_member *m, const struct rig_event *events, size_t count, uint64_t delay_ms);
int rig_reject(struct rig_member *m, const struct rig_event *event, const char *reason);
int rig_extend(struct rig_member *m, const struct rig_event *events, size_t count, uint32_t lease_ms);
void rig_ack_send(struct rig_member *m, const struct rig_event *events, size_t count);
void rig_extend_send(struct rig_member *m, const struct rig_event *events, size_t count, uint32_t lease_ms);
void rig_nack_send(struct rig_member *m, const struct rig_event *events, size_t count, uint64_t delay_ms);

/* Reads a topic's partition from its start: the events, with their headers as "name=value\n" in text. */
struct rig_read {
    struct rig_event events[1024];
    char headers[1024][512];
    size_t count;
};
void rig_read_all(struct fixture *f, const char *topic, struct rig_read *ret_read);

#endif
