/* text.h: numbers, sizes and times as people read them. Pure; any thread. */
#ifndef CRIER_TOOLS_TEXT_H
#define CRIER_TOOLS_TEXT_H

#include <stdint.h>

#define TEXT_SIZE 32 /* holds every result */

/* "1,234,567" */
const char *text_count(uint64_t number, char to[TEXT_SIZE]);
/* "999 B", "1.2 MB" (decimal units) */
const char *text_bytes(uint64_t bytes, char to[TEXT_SIZE]);
/* "85 us", "1.25 ms", "2.5 s" */
const char *text_duration(int64_t duration_us, char to[TEXT_SIZE]);
/* "2026-01-31T12:00:00.123Z"; time_us is since 1970 UTC */
const char *text_time(int64_t time_us, char to[TEXT_SIZE]);

#endif
