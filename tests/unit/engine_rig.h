/* engine_rig.h: an engine on the bench: the test is its broker, its network and its clock.
 *
 *     struct rig rig;
 *     rig_init(&rig, NULL);
 *     rig_ready(&rig, 1 << 20);                        HELLO, WELCOME with that grant
 *     rig_emit(&rig, "t", "hello", NULL);
 *     struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
 *     rig_topics(&rig, &sent, 1);                      one partition, numbered 100
 *     sent = rig_expect(&rig, FRAME_EMIT);
 *     rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, 7);
 *     rig_finish(&rig);
 *
 * Every call is followed by a turn of the engine, as a driver makes it: collect, dispatch, output. What the engine sends
 * is decoded and queued, in order; rig_expect takes the next and fails the test if it is of another kind. */
#ifndef CRIER_TESTS_ENGINE_RIG_H
#define CRIER_TESTS_ENGINE_RIG_H

#include "client/engine.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"

#define RIG_SENT_MAX   512
#define RIG_PARTITION  100 /* the id of a topic's first partition; the others follow */
#define RIG_PRODUCER   7
#define RIG_EVENTS_MAX 256
#define RIG_GENERATION 3

/* A frame the engine sent. */
struct sent {
    uint8_t kind;
    ProtobufCMessage *message;
    uint8_t *attachment; /* a copy */
    size_t attachment_size;
    size_t frame_size;
};

/* What handlers, done callbacks and ops were told, in order. */
struct rig {
    struct engine *engine;
    int64_t now;
    struct sent sent[RIG_SENT_MAX];
    size_t sent_first, sent_count;
    uint8_t *wire; /* bytes sent that are no whole frame yet */
    size_t wire_size;
    size_t turn_dispatch_max; /* events per turn; default: all */
    struct engine_progress progress;
    uint32_t frame_size_max; /* that WELCOME tells; 0: the default */
    /* ops */
    unsigned connects, disconnects, drains, released;
    unsigned endpoint;
    bool connected;
    int connection_code;
    /* done callbacks */
    size_t done_count;
    int done_codes[RIG_EVENTS_MAX];
    uint64_t done_offsets[RIG_EVENTS_MAX];
    /* rig_handler */
    size_t event_count;
    char events[RIG_EVENTS_MAX][32]; /* values */
    uint64_t offsets[RIG_EVENTS_MAX];
    int handler_result;   /* what the handler returns ... */
    size_t handler_fails; /* ... for this event (1: the next); 0: none */
    /* rig_error_handler */
    size_t error_count;
    int error_code;
    char error_text[512];
    /* rig_released, rig_listening */
    size_t released_count, listening_count;
    int released_code;
};

struct crier_options rig_options(void); /* small buffers, linger 1 ms, reconnect 100 ms .. 400 ms */
void rig_init(struct rig *rig,
              const struct crier_options *options); /* NULL: rig_options(); engine_start is called */
void rig_init_endpoints(struct rig *rig, const struct crier_options *options, unsigned endpoint_count);
void rig_finish(struct rig *rig);

void rig_turn(struct rig *rig);
void rig_wait(struct rig *rig, int64_t us); /* time passes, with a tick whenever one is due */

/* ---- the connection ---- */
void rig_connect(struct rig *rig);                   /* engine_connected; HELLO is on its way */
void rig_welcome(struct rig *rig, uint64_t grant);   /* takes HELLO, answers */
void rig_ready(struct rig *rig, uint64_t grant);     /* both */
void rig_cut(struct rig *rig);                       /* the connection is lost */
void rig_reconnect(struct rig *rig, uint64_t grant); /* the delay passes, then rig_ready */
void rig_receive(struct rig *rig, enum frame_kind kind, const void *message, const void *attachment,
                 size_t size);
void rig_receive_bytes(struct rig *rig, const uint8_t *bytes, size_t size,
                       size_t piece); /* in pieces of that size */

/* ---- what was sent ---- */
struct sent rig_expect(struct rig *rig,
                       enum frame_kind kind); /* valid until rig_finish or rig_discard_taken */
bool rig_sent_nothing(struct rig *rig);       /* nothing that was not taken */
void rig_discard_taken(struct rig *rig);      /* frees the frames taken so far: for tests of very many */

/* ---- emitting ---- */
int rig_emit(struct rig *rig, const char *topic, const char *value, const char *key); /* with `done` */
int rig_emit_raw(struct rig *rig, const char *topic, const void *value, size_t size,
                 const struct crier_emit_options *options);
void rig_topics(struct rig *rig, const struct sent *describe, uint32_t partitions);
void rig_topics_from(struct rig *rig, const struct sent *describe, uint64_t first_id,
                     uint32_t partitions); /* other ones */
void rig_know(struct rig *rig, const char *topic,
              uint32_t partitions); /* one event emitted, asked, sent and acked at offset 0 */
void rig_emitted(struct rig *rig, const struct sent *emit, Wire__Outcome outcome, int code,
                 int64_t base_offset);
/* An event of the one batch in an EMIT: its value as text. */
const char *rig_value(const struct sent *emit, size_t part, int index);
int32_t rig_sequence(const struct sent *emit, size_t part);
int32_t rig_count(const struct sent *emit, size_t part);
uint64_t rig_request(const struct sent *emit);

/* ---- listening ---- */
crier_listener *rig_listen(struct rig *rig, const char *topic, const struct crier_listen_options *options);
crier_listener *rig_listen_error(struct rig *rig);
/* Takes LISTEN and answers LISTENING with one partition from `next`; returns the listener's id. */
uint32_t rig_listening(struct rig *rig, uint64_t next, uint64_t high_watermark);
/* One DELIVER with a batch of `count` events "<offset>" from base_offset. */
void rig_deliver(struct rig *rig, uint32_t listener, uint64_t base_offset, int count);
/* The bytes of such a batch; freed by the caller. */
uint8_t *rig_batch(uint64_t base_offset, int count, size_t *ret_size);
void rig_deliver_bytes(struct rig *rig, uint32_t listener, uint64_t high_watermark, const uint8_t *bytes,
                       size_t size);

#endif
