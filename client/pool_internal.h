/* pool_internal.h: what pool.c and bus_pool.c share. */
#ifndef CRIER_CLIENT_POOL_INTERNAL_H
#define CRIER_CLIENT_POOL_INTERNAL_H

#include "crier/pool.h"

#include <stdatomic.h>

struct crier_pool {
    struct pool *pool;
    atomic_uint listeners; /* whose handlers run on it */
};

#endif
