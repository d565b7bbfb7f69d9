/* from.h: where `crier on --from` starts: earliest, latest, an offset, a time, or so long ago. Pure; any thread. */
#ifndef CRIER_TOOLS_FROM_H
#define CRIER_TOOLS_FROM_H

#include "client/include/crier/crier.h"

#include <stddef.h>
#include <stdint.h>

struct from {
    enum crier_from from;
    int64_t value; /* as in crier_listen_options.from_value */
};

/* "earliest"; "latest"; "1234" (an offset); "2026-01-31", "2026-01-31T12:00", "2026-01-31T12:00:00.5Z" or with +01:00
 * (a time, UTC unless it says otherwise); "15m" (so long before now_us). 0 or -EINVAL. */
int from_parse(const char *text, int64_t now_us, struct from *ret_from);
/* The same as the parser of an option row (base/options.h), at the time of the machine's clock. */
int option_from(void *target, const char *text, char *error, size_t error_size);
/* Of these only a time, in microseconds since 1970 UTC. 0 or -EINVAL. */
int time_parse(const char *text, int64_t *ret_us);

#endif
