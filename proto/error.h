/* error.h: crier's error codes: one table for number, name and text.
 *
 * The numbers travel on the wire and outlive releases: rows are only ever added. The public header
 * client/include/crier/crier.h shows the same codes to users; tests/unit/test_error.c holds the two together.
 * Pure; any thread. */
#ifndef CRIER_PROTO_ERROR_H
#define CRIER_PROTO_ERROR_H

#include <stdbool.h>

/* X(name, number, retriable, text): the text says what happened and, where it can, what to do. */
#define ERROR_MAP(X)                                                                                         \
    X(CRIER_EINVAL, -1, false, "invalid argument")                                                           \
    X(CRIER_EAGAIN, -2, true, "too many events in flight; retry after drain")                                \
    X(CRIER_ECLOSED, -3, false, "the bus is closed")                                                         \
    X(CRIER_ENOMEM, -4, true, "out of memory")                                                               \
    X(CRIER_ETIMEDOUT, -5, true, "timed out")                                                                \
    X(CRIER_ECONNECT, -6, true, "no broker could be reached; it is tried again")                             \
    X(CRIER_EPROTO, -7, false, "the peer broke the protocol")                                                \
    X(CRIER_EVERSION, -8, false, "the peer speaks another version of the protocol")                          \
    X(CRIER_ETOOBIG, -9, false, "larger than the limit")                                                     \
    X(CRIER_ECORRUPT, -10, false, "checksum or format error")                                                \
    X(CRIER_ENOTOPIC, -11, false, "no such topic; create it, or allow auto-creation")                        \
    X(CRIER_EEXIST, -12, false, "exists already")                                                            \
    X(CRIER_EFULL, -13, true, "the broker's disk is full; free space, emits then work again")                \
    X(CRIER_EIO, -14, false, "the broker's disk failed; the shard is read-only until restart")               \
    X(CRIER_ESEQUENCE, -15, false, "a producer's sequence has a gap")                                        \
    X(CRIER_EFENCED, -16, false, "fenced: somebody newer holds this place")                                  \
    X(CRIER_EBUSY, -17, true, "in use: by members of the group, or the folder by another broker")            \
    X(CRIER_EDEADLK, -18, false, "a blocking call on the loop's own thread")                                 \
    X(CRIER_ESHUTDOWN, -19, true, "the broker is shutting down")                                             \
    X(CRIER_ENOTSUP, -20, false, "not supported")                                                            \
    X(CRIER_EUNKNOWN, -21, false, "the outcome is unknown: it may or may not be stored")                     \
    X(CRIER_ELIMIT, -22, true, "a limit of the broker is reached")                                           \
    X(CRIER_EHANDLER, -23, false, "a handler failed")                                                        \
    X(CRIER_EXSHARD, -24, false, "parts of an atomic emit live in different shards")                         \
    X(CRIER_EOFFSET, -25, false, "the partition does not end where it was expected to")                      \
    X(CRIER_ECANCELED, -26, false, "canceled")                                                               \
    X(CRIER_ENOLISTENER, -27, false, "nobody listens to the topic just now")                                 \
    X(CRIER_EQUOTA, -28, true, "over a quota of the broker; slow down, or have the quota raised")            \
    X(CRIER_EREVOKED, -29, false, "what it was made from is no longer this member's, and comes again")       \
    X(CRIER_ENOSCHEDULE, -31, false, "no such schedule: it has fired, was canceled, or never was")

enum error_code {
#define ERROR_ENUM(name, number, retriable, text) WIRE_##name = (number),
    ERROR_MAP(ERROR_ENUM)
#undef ERROR_ENUM
};

/* The text of a code; 0 is "ok"; never NULL. */
const char *error_text(int code);
/* "CRIER_EFULL"; never NULL. */
const char *error_name(int code);
bool error_retriable(int code);

#endif
