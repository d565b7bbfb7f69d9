/* reactor.h: the one thread that owns the sockets and the core.
 *
 * Role:    accepts connections, moves bytes between sockets and the core, runs the store's completions, keeps time.
 * Thread:  one; it never waits for a disk and never for a peer. libevent is touched here and in connection.c,
 *          acceptor.c alone.
 * A turn:  libevent's callbacks (bytes in, completions) → core_turn_end (the entry goes to the store, deliveries) →
 *          writev for everything that has output. */
#ifndef CRIER_BROKER_REACTOR_H
#define CRIER_BROKER_REACTOR_H

#include "base/log.h"
#include "broker/core/core.h"

struct reactor;

struct reactor_options {
    struct core_config core;
    uint32_t connections_max;
    uint32_t drain_ms;
    int control_fd; /* when it is readable, control(control_ctx) is called, in a turn; -1: none. borrowed */
    void (*control)(void *ctx);
    void *control_ctx;
};

/* Sets up everything but the sockets. store: borrowed, open. 0, or a code of store.h with an error text. */
int reactor_create(const struct reactor_options *options, struct store *store, struct log *log,
                   struct reactor **ret_reactor, char *error, size_t error_size);
/* Accepts nothing yet: sockets only listen once the core is ready. address: "HOST:PORT" or "unix:/PATH". */
int reactor_listen(struct reactor *reactor, const char *address, char *error, size_t error_size);
/* Recovers; returns when the first entry is durable and the sockets listen. 0, or a code of store.h with an error text
 * ("": told to stop meanwhile), and the store is stopped. */
int reactor_start(struct reactor *reactor, char *error, size_t error_size);
/* Each address actually bound. */
void reactor_addresses(const struct reactor *reactor, void (*each)(void *ctx, const char *address),
                       void *ctx);
/* Serves until told to stop, drains, closes the connections, stops the store. */
void reactor_serve(struct reactor *reactor);
void reactor_destroy(struct reactor *reactor); /* accepts NULL */

/* ---- in a turn: from control ---- */

void reactor_stop(struct reactor *reactor, const char *why); /* why: for the log */
void reactor_adopt(struct reactor *reactor, int fd,
                   const char *peer); /* fd: taken; a connected, nonblocking stream */
/* From now on: connections_max, drain_ms and what core_reconfigure() takes. */
void reactor_reconfigure(struct reactor *reactor, const struct reactor_options *options);

#endif
