/* registry.h: the brokers of this process: one for each folder, however many buses are on it.
 *
 * PROCESS-WIDE STATE, which but for this and the names of local:NAME (client/emitter_name.c) the project has none of, and why: LMDB forbids opening an environment twice in one process (its lock
 * table knows a process once), and two brokers on one folder would be two writers of one log. So the buses of a process
 * that name the same folder, by whatever path, must meet somewhere, and nothing but the process is above them. Folders
 * are known by device and inode.
 *
 * Thread: any. Opening and closing other folders goes on while one folder recovers or stops.
 * fork(): a child that goes on without exec() has no broker thread, yet holds the folder's lock: it must not use the bus,
 * and should end or exec() soon. */
#ifndef CRIER_EMBED_REGISTRY_H
#define CRIER_EMBED_REGISTRY_H

#include "embed/url.h"

struct member; /* one bus's part in a broker */

/* log: called with each of the broker's log lines (borrowed, NUL-terminated, without line end), on any of its threads,
 * until registry_leave(); must not open or close a bus. NULL: none. ctx: for log. */
typedef void embed_log(const char *line, void *ctx);

/* Takes part in the folder's broker, and starts it if nobody did. 0, or a code of crier.h with one sentence in error:
 * CRIER_EBUSY (another process has the folder, or it runs here with other options), CRIER_ECONNECT (no such folder, and
 * create=no), CRIER_EIO, CRIER_ECORRUPT, CRIER_ENOMEM, ... Blocking. */
int registry_join(const struct embed_url *url, embed_log *log, void *ctx, struct member **ret_member,
                  char *error, size_t error_size);
int registry_connect(struct member *member); /* as host_connect() */
/* The last one stops the broker. Blocking then. */
void registry_leave(struct member *member);

#endif
