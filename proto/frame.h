/* frame.h: frames on the wire, decoded from and encoded to plain bytes.
 *
 * Frame, big-endian (docs/protocol.md):  u32 length of what follows | u16 header length | u8 kind | u8 flags |
 *                                        protobuf header | attachment
 *
 * frame_decode is pure: the same function serves broker, client, tests and fuzzers. Every length is checked against
 * the limits before anybody allocates by it.
 *
 * Thread: any. Ownership: a decoded frame borrows the bytes it was decoded from. */
#ifndef CRIER_PROTO_FRAME_H
#define CRIER_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_PREFIX_SIZE     8                   /* length, header length, kind, flags */
#define FRAME_SIZE_MAX        (16u * 1024 * 1024) /* a whole frame with its prefix; the default limit */
#define EMIT_PARTS_MAX        1024                /* batches of one EMIT: their answer fits a header */
#define FRAME_HEADER_SIZE_MAX (64u * 1024 - 1)    /* the protobuf header: what a u16 can say */
/* The largest batch: it arrives in an EMIT and leaves in a DELIVER, whose header may be longer by a few bytes. */
#define FRAME_BATCH_SIZE_MAX (FRAME_SIZE_MAX - 1024)

/* The kinds. Numbers are on the wire for ever; gaps are places kept for the kinds DESIGN names. */
#define FRAME_KIND_MAP(X)                                                                                    \
    X(FRAME_HELLO, 1, "HELLO")                                                                               \
    X(FRAME_WELCOME, 2, "WELCOME")                                                                           \
    X(FRAME_EMIT, 3, "EMIT")                                                                                 \
    X(FRAME_EMITTED, 4, "EMITTED")                                                                           \
    X(FRAME_LISTEN, 5, "LISTEN")                                                                             \
    X(FRAME_LISTENING, 6, "LISTENING")                                                                       \
    X(FRAME_UNLISTEN, 7, "UNLISTEN")                                                                         \
    X(FRAME_ENDED, 8, "ENDED")                                                                               \
    X(FRAME_DELIVER, 9, "DELIVER")                                                                           \
    X(FRAME_CREDIT, 10, "CREDIT")                                                                            \
    X(FRAME_CREDIT_WANT, 11, "CREDIT_WANT")                                                                  \
    X(FRAME_COMMIT, 12, "COMMIT")                                                                            \
    X(FRAME_COMMITTED, 13, "COMMITTED")                                                                      \
    X(FRAME_ASSIGN, 14, "ASSIGN")                                                                            \
    X(FRAME_RELEASE, 15, "RELEASE")                                                                          \
    X(FRAME_CREDIT_RETURN, 16, "CREDIT_RETURN")                                                              \
    X(FRAME_ACK, 17, "ACK")                                                                                  \
    X(FRAME_NACK, 18, "NACK")                                                                                \
    X(FRAME_EXTEND, 19, "EXTEND")                                                                            \
    X(FRAME_TOPIC_CREATE, 20, "TOPIC_CREATE")                                                                \
    X(FRAME_TOPIC_DESCRIBE, 21, "TOPIC_DESCRIBE")                                                            \
    X(FRAME_TOPIC_LIST, 22, "TOPIC_LIST")                                                                    \
    X(FRAME_TOPICS, 23, "TOPICS")                                                                            \
    X(FRAME_GROUP_LIST, 24, "GROUP_LIST")                                                                    \
    X(FRAME_GROUP_DESCRIBE, 25, "GROUP_DESCRIBE")                                                            \
    X(FRAME_GROUP_SEEK, 26, "GROUP_SEEK")                                                                    \
    X(FRAME_GROUP_DELETE, 27, "GROUP_DELETE")                                                                \
    X(FRAME_GROUPS, 28, "GROUPS")                                                                            \
    X(FRAME_TOPIC_ALTER, 29, "TOPIC_ALTER")                                                                  \
    X(FRAME_TOPIC_DELETE, 30, "TOPIC_DELETE")                                                                \
    X(FRAME_TOPIC_TRIM, 31, "TOPIC_TRIM")                                                                    \
    X(FRAME_SETTLED, 32, "SETTLED")                                                                          \
    X(FRAME_REDRIVE, 33, "REDRIVE")                                                                          \
    X(FRAME_REDRIVEN, 34, "REDRIVEN")                                                                        \
    X(FRAME_SCHEDULE_CANCEL, 36, "SCHEDULE_CANCEL")                                                          \
    X(FRAME_SCHEDULE_LIST, 37, "SCHEDULE_LIST")                                                              \
    X(FRAME_SCHEDULES, 38, "SCHEDULES")                                                                      \
    X(FRAME_INSPECT, 42, "INSPECT")                                                                          \
    X(FRAME_INSPECTED, 43, "INSPECTED")                                                                      \
    X(FRAME_PING, 50, "PING")                                                                                \
    X(FRAME_PONG, 51, "PONG")                                                                                \
    X(FRAME_GOAWAY, 52, "GOAWAY")                                                                            \
    X(FRAME_ERROR, 53, "ERROR")

enum frame_kind {
#define FRAME_ENUM(name, number, text) name = (number),
    FRAME_KIND_MAP(FRAME_ENUM)
#undef FRAME_ENUM
};

struct frame {
    uint8_t kind;  /* not checked against the table: the receiver answers an unknown kind */
    uint8_t flags; /* 0 so far */
    const uint8_t *header;
    size_t header_size;
    const uint8_t *attachment;
    size_t attachment_size;
};

/* Decodes the frame at the start of data.
 * Returns the bytes it takes (> 0, *ret_frame is filled), 0 (more bytes are needed), CRIER_EPROTO (the lengths
 * contradict each other) or CRIER_ETOOBIG (longer than frame_size_max). */
int64_t frame_decode(const uint8_t *data, size_t size, size_t frame_size_max, struct frame *ret_frame);

/* The whole size of the frame that starts at data, prefix included, once its first 4 bytes are there; else 0.
 * Not checked: frame_decode does that. */
uint64_t frame_size_announced(const uint8_t *data, size_t size);

/* Writes the 8 bytes in front of a header and an attachment of these sizes (within the limits; checked by assertion). */
void frame_prefix_encode(uint8_t to[FRAME_PREFIX_SIZE], enum frame_kind kind, size_t header_size,
                         size_t attachment_size);

/* "EMIT", or "unknown". */
const char *frame_kind_name(uint8_t kind);

#endif
