/* power_shim.h: a library for LD_PRELOAD that cuts the power of a process: what it wrote and did not sync is lost, in part.
 *
 * CRIER_POWER_FILE names a file that a test maps, too, and that holds struct power_shim. From a start on, `folder` counts as
 * the disk. When the process makes the call number `cut_at` or a later one (disk_power.h says which calls are counted), what
 * the disk would hold is written to `image`, and the process is killed before the call. */
#ifndef CRIER_TESTS_POWER_SHIM_H
#define CRIER_TESTS_POWER_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

struct power_shim {
    char folder[256]; /* exists, and is written by nobody else; "": nothing is noted, no power can be cut */
    _Atomic uint64_t cut_at; /* 0: never */
    _Atomic uint64_t calls;  /* of this life */
    uint64_t seed;           /* of what survives; set before cut_at */
    char image[256];         /* a folder that is not there yet; set before cut_at */
    /* by the process: what this cut cost */
    uint64_t torn, lost, lengths, names;
};

#endif
