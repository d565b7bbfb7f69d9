/* future_internal.h: how other files of the client make futures and hand them out. Any thread. */
#ifndef CRIER_CLIENT_FUTURE_INTERNAL_H
#define CRIER_CLIENT_FUTURE_INTERNAL_H

#include "base/future.h"
#include "crier/future.h"

crier_future *future_public(struct future *future);
int future_error(int rc); /* base's -errno as a code of ours */

#endif
