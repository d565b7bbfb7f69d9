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
#include "base/shutdown.h"
#include "broker/core/core.h"

struct reactor;

struct reactor_options {
    struct core_config core;
    uint32_t connections_max;
    uint32_t drain_ms;
    void (*reload)(
        void *ctx); /* SIGHUP came, and the log has been reopened; may call reactor_reconfigure() */
    void *reload_ctx;
};

/* Sets up everything but the sockets. store: borrowed, open. shutdown: borrowed, open. 0, or a code with an error text. */
int reactor_create(const struct reactor_options *options, struct store *store, struct shutdown *shutdown,
                   struct log *log, struct reactor **ret_reactor, char *error, size_t error_size);
/* Accepts nothing yet: sockets only listen once the core is ready. address: "HOST:PORT" or "unix:/PATH". */
int reactor_listen(struct reactor *reactor, const char *address, char *error, size_t error_size);
/* Recovers, serves until told to stop, drains, stops the store. announce: called once when it serves, with each address
 * actually bound. Returns the process's exit status. */
int reactor_run(struct reactor *reactor, void (*announce)(const char *address));
/* From now on: connections_max, drain_ms and what core_reconfigure() takes. On the reactor's thread. */
void reactor_reconfigure(struct reactor *reactor, const struct reactor_options *options);
void reactor_destroy(struct reactor *reactor); /* accepts NULL */

#endif
