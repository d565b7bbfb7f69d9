/* resolve.h: a host's addresses, without making the loop wait for a name server.
 *
 * Addresses and UNIX paths are answered at once. A name is looked up with getaddrinfo() on a thread that lives for that
 * long and shares nothing but the struct: whoever asked may forget the question at any time.
 *
 * Thread: the loop's; the helper thread is internal. Signals are blocked in it. */
#ifndef CRIER_CLIENT_RESOLVE_H
#define CRIER_CLIENT_RESOLVE_H

#include "client/url.h"

#include <stddef.h>
#include <sys/socket.h>

#define RESOLVE_ADDRESSES_MAX 16

struct address {
    struct sockaddr_storage socket;
    socklen_t size;
};

struct resolve;

/* Looks the endpoint up. 0 (resolve_take will have it), CRIER_ECONNECT or CRIER_ENOMEM. */
int resolve_start(const struct endpoint *endpoint, struct resolve **ret_resolve);
/* Readable when the answer is there; -1: it is there already. Owned by the question. */
int resolve_fd(const struct resolve *resolve);
/* The addresses; 0: none, *ret_error says why (static). Once, when the answer is there; the question ends. */
size_t resolve_take(struct resolve *resolve, struct address to[RESOLVE_ADDRESSES_MAX],
                    const char **ret_error);
void resolve_forget(struct resolve *resolve); /* accepts NULL */

#endif
