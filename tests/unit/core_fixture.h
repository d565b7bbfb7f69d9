/* core_fixture.h: a broker core on the memory twin, and peers that speak to it frame by frame.
 *
 * Nothing is mocked but the world: the core and the store's twin are the real ones, time is virtual and passes only when
 * a test lets it. What a test sends between two steps arrives in one turn of the core, as it would in the reactor.
 *
 *   struct fixture *f = fixture_create();              change f->config or f->store_options here
 *   fixture_start(f);
 *   struct peer *p = peer_welcome(f);                  HELLO, WELCOME
 *   uint64_t partition = peer_topic(p, "t", 1);
 *   peer_emit(p, &(struct batch_spec){.partition = partition, .count = 3}, 1);
 *   fixture_settle(f);                                 the store finishes what it was given
 *   const Wire__Emitted *answer = peer_expect(p, FRAME_EMITTED);
 *   fixture_destroy(f);
 *
 * Failed expectations end the test through Criterion, with what was seen instead. Thread: one. */
#ifndef CRIER_TESTS_CORE_FIXTURE_H
#define CRIER_TESTS_CORE_FIXTURE_H

#include "base/random.h"
#include "broker/core/core.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/error.h"
#include "storage/store_memory.h"

#include <stdbool.h>

#define FIXTURE_COMMIT_US 1000 /* every commit of the twin takes exactly so long */
#define FIXTURE_START_US  INT64_C(1700000000000000)

struct fixture;

struct peer {
    struct peer *next;
    struct fixture *fixture;
    struct core_connection *connection; /* NULL: gone */
    uint8_t *output;                    /* all that the core has sent */
    size_t output_size, output_capacity;
    size_t seen;               /* of these, taken by peer_expect */
    size_t unsent;             /* of these, not yet reported as sent */
    bool holds;                /* the kernel takes nothing: nothing is reported as sent */
    bool paused;               /* the core does not want to read */
    bool closing;              /* the core has asked for the end */
    uint64_t emits;            /* the last EMIT's request */
    void *message;             /* what peer_expect returned last */
    const uint8_t *attachment; /* of the frame peer_expect returned last */
    size_t attachment_size;
    uint64_t producer_id;   /* from WELCOME */
    uint64_t grant;         /* bytes of EMIT frames allowed so far */
    uint64_t emitted_bytes; /* of these, used */
};

struct fixture {
    struct core_config config;
    struct store_memory_options store_options;
    struct store *store;
    struct core *core;
    int64_t mono_us, wall_us;
    int64_t due_us; /* when the core wants its next turn */
    bool in_turn;
    struct random random;
    struct peer *peers;
    char log_ids[4096]; /* of the lines of level WARN and above, each followed by a space */
};

struct fixture *fixture_create(void);
/* Opens an empty store, recovers, and runs until the core is ready. */
void fixture_start(struct fixture *f);
void fixture_destroy(struct fixture *f);
struct core *fixture_core(struct fixture *f); /* a core on f->store that has not recovered yet */
/* Power off and on again: what the store had in flight survives or not, as its seed says. All peers are gone. */
void fixture_crash(struct fixture *f);
/* The clean way: the store finishes what it has. All peers are gone. */
void fixture_restart(struct fixture *f);
/* Only the first half of these two: the core is gone, the image is the test's. fixture_resume brings it back. */
struct store_memory_image *fixture_power_off(struct fixture *f);
void fixture_resume(struct fixture *f, struct store_memory_image *image);

/* Ends the turn, if one is open: what was sent in it is handed to the store, what can be delivered is. */
void fixture_turn(struct fixture *f);
/* Lets time pass until the store has nothing more to do. */
void fixture_settle(struct fixture *f);
/* Lets exactly so much time pass, with every turn that falls due. */
void fixture_run(struct fixture *f, int64_t us);
struct core_stats fixture_stats(struct fixture *f);
bool fixture_logged(const struct fixture *f, const char *id);

/* ---- peers ---- */

struct peer *peer_open(struct fixture *f); /* connected, nothing said */
struct peer *peer_welcome(struct fixture *f);
struct peer *peer_welcome_named(struct fixture *f, const char *name);     /* the client's name in HELLO */
void peer_instance(struct peer *peer, uint8_t to[16]);                    /* another for each peer */
struct peer *peer_welcome_again(struct fixture *f, uint64_t producer_id); /* a reconnect */
void peer_close(struct peer *peer); /* the peer's end: the core is told */
/* The kernel takes what was held, from now on everything. */
void peer_release(struct peer *peer);

/* One frame arrives. header NULL: no header bytes. */
void peer_send(struct peer *peer, enum frame_kind kind, const ProtobufCMessage *header);
void peer_send_attached(struct peer *peer, enum frame_kind kind, const ProtobufCMessage *header,
                        const uint8_t *attachment, size_t attachment_size);
/* Arbitrary bytes arrive, one frame at most. */
void peer_send_bytes(struct peer *peer, const uint8_t *bytes, size_t size);

int peer_next_kind(const struct peer *peer); /* of the next frame; 0: there is none */
/* The next frame is of this kind: its header, valid until the next call. */
void *peer_expect(struct peer *peer, enum frame_kind kind);
/* The same, over CREDIT frames (whose totals are noted). */
void *peer_expect_beyond_credit(struct peer *peer, enum frame_kind kind);
/* The same, over everything that comes by itself: CREDIT, DELIVER, PING, PONG. */
void *peer_expect_past(struct peer *peer, enum frame_kind kind);
/* The same, over everything but ERROR. */
void *peer_expect_anywhere(struct peer *peer, enum frame_kind kind);
bool peer_has_frame(const struct peer *peer, enum frame_kind kind); /* anywhere in what was not taken yet */
size_t peer_frame_count(const struct peer *peer, enum frame_kind kind);
void peer_expect_nothing(const struct peer *peer);
/* ERROR with this code, then the core wants the connection closed. */
void peer_expect_error(struct peer *peer, int code);

/* ---- emitting ---- */

struct batch_spec {
    uint64_t partition;
    int64_t producer_id; /* 0: none (-1 in the batch) */
    int16_t epoch;
    int32_t sequence;
    int32_t count;     /* 0: one */
    size_t value_size; /* 0: a short text */
    bool memory;       /* the first batch's decides for the frame */
    bool damaged;      /* a byte behind the CRC is changed */
    uint64_t delay_us; /* it has a time */
    int64_t at_us;
};
/* Builds the batch at `to`; returns its size. Events are numbered from the sequence on: same spec, same bytes. */
size_t batch_make(uint8_t *to, size_t capacity, const struct batch_spec *spec);
/* One EMIT of `count` batches. */
void peer_emit(struct peer *peer, const struct batch_spec *specs, size_t count);
/* The size of that EMIT, as the grant counts it. */
size_t emit_frame_size(const struct peer *peer, const struct batch_spec *specs, size_t count);

struct outcome {
    int outcome, code;
    int64_t base_offset;
    bool duplicate;
};
/* The next frame but CREDIT is EMITTED with one part: that part. */
struct outcome peer_outcome(struct peer *peer);
/* Emits one batch, lets the store finish, and returns its outcome. */
struct outcome peer_emit_one(struct peer *peer, struct batch_spec spec);

/* ---- topics and listening ---- */

/* Creates the topic; returns its first partition's id (the others follow). Lets the store finish. */
uint64_t peer_topic(struct peer *peer, const char *name, uint32_t partitions);
int peer_topic_code(struct peer *peer, const char *name, uint32_t partitions); /* of a creation */

struct listen_spec {
    uint32_t id;
    const char *topic;
    const char *group;
    Wire__From from;
    int64_t from_value;
    uint64_t credit; /* 0: plenty */
    bool create;
    uint64_t resume_partition, resume_offset; /* offset 0: none */
    bool again;
};
void peer_listen(struct peer *peer, const struct listen_spec *spec);
void peer_unlisten(struct peer *peer, uint32_t id);
void peer_credit(struct peer *peer, uint32_t id, uint64_t total);
void peer_commit(struct peer *peer, uint64_t request, uint32_t id, uint64_t generation, uint64_t partition,
                 uint64_t offset);
/* The offsets in the next DELIVER, which must be whole batches of [*ret_first, *ret_next). Returns its header. */
const Wire__Deliver *peer_delivered(struct peer *peer, uint64_t *ret_first, uint64_t *ret_next);

#endif
