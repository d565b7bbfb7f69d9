/* handles.h: the kinds of handles that programs have, for handle_check(): the first line of every public call that takes one.
 * tests/integration/handles.sh looks after that. See base/handle.h. */
#ifndef CRIER_CLIENT_HANDLES_H
#define CRIER_CLIENT_HANDLES_H

#include "base/handle.h"

#ifdef CRIER_DEBUG
extern struct handle_kind bus_handles, listener_handles, topic_handles, stream_handles, iterator_handles,
    pool_handles, shutdown_handles;
#endif

#endif
