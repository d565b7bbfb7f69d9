/* fault_shim.h: what a test tells fault_shim.c, in the file that CRIER_FAULT_FILE names and both map. Zeros: nothing is wrong. */
#ifndef CRIER_TESTS_FAULT_SHIM_H
#define CRIER_TESTS_FAULT_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

struct fault_shim {
    _Atomic int64_t clock_seconds; /* added to the wall clock ... */
    _Atomic int64_t clock_calls;   /* ... in so many readings of it */
    _Atomic int64_t sync_error;    /* errno of every fdatasync and fsync, which sync nothing; 0: none */
    _Atomic int64_t sync_calls;    /* how many failed */
    _Atomic int64_t read_error;    /* the same of every pread ... */
    _Atomic int64_t read_calls;
    char read_part[64]; /* ... of a file whose path contains this; set before read_error */
};

#endif
