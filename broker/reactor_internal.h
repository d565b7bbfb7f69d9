/* reactor_internal.h: shared by reactor.c, connection.c, acceptor.c and nobody else. */
#ifndef CRIER_BROKER_REACTOR_INTERNAL_H
#define CRIER_BROKER_REACTOR_INTERNAL_H

#include "broker/reactor.h"
#include "broker/turn_time.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/socket.h>

#define SLAB_SIZE        (512u * 1024)  /* what all connections receive into, one after the other */
#define CONTROL_SIZE     4096u          /* a connection's small frames, gathered */
#define RECEIVE_TURN_MAX (1024u * 1024) /* of one connection in one turn: the others' turn comes */
#define SEND_ONCE_MAX    (512u * 1024)  /* to one connection before the next in the line is served */
#define SEND_TURN_MAX    (2048u * 1024) /* to all of them in one turn: then the sockets are looked at again */
#define BIG_FRAME        (32u * 1024)   /* after one of these, the next is expected to be as large */
#define BIG_FRAME_PEEK   4096u          /* and so little of it is received in front of a buffer of its own */

struct connection {
    struct reactor *reactor;
    struct connection *prev, *next;             /* all of them */
    struct connection *dirty_prev, *dirty_next; /* the line of those with output to write now */
    struct core_connection *core;
    struct event read_event, write_event;
    int fd;
    bool dirty, write_armed, paused, closing, turned_away;
    /* in: either nothing, a few bytes of a frame's prefix, or a frame in a buffer of its own */
    uint8_t prefix[FRAME_PREFIX_SIZE];
    size_t prefix_size;
    struct buffer *frame;
    size_t frame_size, frame_filled;
    bool big;
    int64_t close_by_us; /* closing: whatever is still unsent by then */
    struct slice held;   /* received, and not given to the core yet, which has paused; empty: nothing */
    /* out */
    struct slice *chunks; /* a ring of references */
    size_t chunk_capacity, chunk_count, chunk_first;
    struct buffer *control; /* where small frames are gathered; NULL: none */
    size_t control_used;
    char peer[64];
};

struct acceptor {
    struct reactor *reactor;
    struct acceptor *next;
    struct event event;
    struct event resume; /* after running out of descriptors */
    int fd;
    char address[128];
    char *unix_path; /* unlinked at the end */
};

struct reactor {
    struct reactor_options options;
    struct event_base *base;
    struct store *store;
    struct core *core;
    struct log *log;
    struct event store_event, control_event, timer;
    struct acceptor *acceptors;
    struct connection *connections;
    struct connection *dirty, *dirty_last;
    uint32_t connection_count; /* those turned away not among them */
    uint32_t turned_away_count;
    struct buffer_pool *slabs, *controls;
    struct buffer *slab; /* shared by all receives */
    size_t slab_used;
    int64_t mono_us;
    bool in_turn; /* core_turn_begin has been called */
    struct turn_time turn_time;
    bool stopping;
    int64_t stop_by_us;
};

/* ---- reactor.c ---- */
void reactor_turn_begin(
    struct reactor *reactor); /* first thing in every callback: the core's clock is right */

/* ---- connection.c ---- */
void connection_accept(struct reactor *reactor, int fd, const char *peer); /* fd: taken */
/* The same, but it is told why it cannot stay, and closed. */
void connection_turn_away(struct reactor *reactor, int fd, const char *peer, const char *why);
/* Writes once; who is not done stands at the line's end. Returns the bytes sent. */
size_t connection_flush(struct connection *connection);
void connection_destroy(struct connection *connection, const char *reason);
extern const struct core_ops reactor_core_ops;

/* ---- acceptor.c ---- */
int acceptor_open(struct reactor *reactor, const char *address, char *error, size_t error_size);
void acceptors_start(struct reactor *reactor);
void acceptors_close(struct reactor *reactor);

#endif
