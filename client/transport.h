/* transport.h: a bus whose connection is not the network's business: how libcrier-embed brings one to the broker in its
 * own process. Everything above the socket is the same. */
#ifndef CRIER_CLIENT_TRANSPORT_H
#define CRIER_CLIENT_TRANSPORT_H

#include "crier/crier.h"

struct url;

struct bus_transport {
    /* A connected, nonblocking stream socket, taken by the bus; or -errno. I/O thread; must not block. */
    int (*connect)(void *ctx);
    void (*release)(void *ctx); /* the bus is gone; in crier_close(), or in crier_open() when that fails */
    void *ctx;
};

/* Opens a bus and waits as options.connect_timeout_ms says. options: checked. One of url (copied) and transport (copied,
 * released at the bus's end, also when this fails) is NULL. Returns as crier_open(). */
int bus_start(const struct url *url, const struct bus_transport *transport,
              const struct crier_options *options, crier **ret_bus);

#endif
