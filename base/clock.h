/* clock.h: time as a value that is passed in.
 *
 * The core, the engine and every test receive time from outside; only the outermost threads read these. Any thread. */
#ifndef CRIER_BASE_CLOCK_H
#define CRIER_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_us(void); /* never goes back; unrelated to wall time */
int64_t clock_wall_us(void);      /* since 1970-01-01 UTC; may jump */
int64_t clock_cpu_us(void);       /* what all threads of this process have used */

#endif
