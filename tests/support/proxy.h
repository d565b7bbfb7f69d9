/* proxy.h: a TCP hop between a client and a broker that can do what networks do: keep silent, cut, reset, dribble.
 *
 *     struct proxy *proxy = proxy_start(broker_port(broker));
 *     ... crier_open(proxy_url(proxy), ...) ...
 *     proxy_set(proxy, PROXY_SILENT);     both ends are there, and neither hears of the other any more
 *     proxy_destroy(proxy);
 *
 * Thread: one of its own; the functions are for any other. A change holds when the call returns. */
#ifndef CRIER_TESTS_SUPPORT_PROXY_H
#define CRIER_TESTS_SUPPORT_PROXY_H

#include <stdint.h>

struct proxy;

enum proxy_mode {
    PROXY_PASS,
    PROXY_SILENT, /* takes what comes, and forgets it; connections that come stay unanswered */
    PROXY_DRIBBLE /* one byte a segment */
};

/* To 127.0.0.1:port. NULL: no socket, no thread. */
struct proxy *proxy_start(uint16_t port);
const char *proxy_url(const struct proxy *proxy); /* crier://127.0.0.1:PORT; lives as long as the proxy */
uint16_t proxy_port(const struct proxy *proxy);
/* In every mode but SILENT connections that have lost bytes are gone: the one after SILENT resets them. */
void proxy_set(struct proxy *proxy, enum proxy_mode mode);
/* Resets (RST) each connection after it has carried so many bytes, both ways together; 0: none. */
void proxy_reset_after(struct proxy *proxy, uint64_t bytes);
uint64_t proxy_resets(struct proxy *proxy);      /* so far, by proxy_reset_after */
uint64_t proxy_connections(struct proxy *proxy); /* accepted so far */
void proxy_destroy(struct proxy *proxy);         /* accepts NULL */

#endif
