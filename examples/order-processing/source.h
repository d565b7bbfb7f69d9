/* source.h: a source that is killed in the middle of its file and goes on without a gap or a repeat.
 *
 * What a source has emitted is in the log; so a source that starts reads it back, and emits only what is not there. Two
 * things must hold before it believes what it reads:
 *
 *   Nobody else emits.     It joins a group of its name on a topic with one partition, a lease. The broker gives it that
 *                          partition after the connection of whoever had it is gone, and all it had sent is taken.
 *   Nothing is on its way. It emits a marker to every partition: what was taken before is in front of that.
 *
 * Everything up to its markers is then all that there is of this run.
 *
 * Thread: main; what is read comes on the bus's thread. */
#ifndef ORDER_PROCESSING_SOURCE_H
#define ORDER_PROCESSING_SOURCE_H

#include "service.h"

struct source;

/* Takes the lease and reads back. Ends the process with a sentence if it cannot; NULL: a signal came, or the service failed.
 * What it returns lives until the bus is closed. */
struct source *source_open(struct service *service);
/* The line of the file was emitted, as part of an order or as rejected. */
bool source_has(const struct source *source, uint64_t line);
void source_close(struct source *source); /* after service_close(); accepts NULL */

#endif
