/* live.h: verify and backup of a broker that runs, over its socket.
 *
 * Thread: main. */
#ifndef CRIER_TOOLS_LIVE_H
#define CRIER_TOOLS_LIVE_H

#include "tools/command.h"
#include "tools/watch.h"

/* Both print what they find; an enum exit_status. */
int live_verify(crier *bus);
int live_backup(crier *bus, const char *to);

#endif
