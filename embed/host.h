/* host.h: a broker on a thread of this process, and the way to it.
 *
 * Thread: as marked. The broker's own threads (reactor, writer, readers, background) have every signal blocked. */
#ifndef CRIER_EMBED_HOST_H
#define CRIER_EMBED_HOST_H

#include "base/log.h"
#include "broker/config.h"

#include <stddef.h>

struct host;

/* Opens the folder in config->data (made already), recovers, and serves. config: borrowed for the call. log: borrowed
 * until host_stop. 0, or a code of crier.h with one sentence in error. Blocking. */
int host_start(const struct config *config, struct log *log, struct host **ret_host, char *error,
               size_t error_size);
/* A new connection to it: a nonblocking stream socket, returned; or -errno. Any thread, until host_stop. Never blocks. */
int host_connect(struct host *host);
/* Finishes what is in flight, stops the broker cleanly and frees. Blocking, for config's drain at most. */
void host_stop(struct host *host);

#endif
