/* limit.h: what the two files of the bare pipeline share; see limit.c. */
#ifndef CRIER_BENCH_LIMIT_H
#define CRIER_BENCH_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMIT_FLIGHT_BYTES (32u << 20) /* sent and not acknowledged; as crier's buffer_size_max */

struct limit_options {
    uint64_t event_size, events, batch_size;
    const char *directory;
    bool no_sync;
};

struct batch { /* `size`, `count` and the records travel, and are stored, as they are */
    struct batch *next;
    uint32_t size, count; /* of the records: bytes, events */
    uint8_t records[];
};
#define BATCH_HEADER 8 /* size and count */

struct limit_times { /* memory shared by the processes */
    int64_t start_us, end_us;
};

struct batch *batch_create(const struct limit_options *options);
/* Both end the process if the peer is gone: there is nothing to measure then. */
void read_all(int fd, void *to, size_t size);
void write_all(int fd, const void *from, size_t size);

/* The two ends; each runs in a process of its own and never returns. port: network order. */
_Noreturn void limit_produce(const struct limit_options *options, uint16_t port, struct limit_times *times);
_Noreturn void limit_consume(const struct limit_options *options, uint16_t port, struct limit_times *times);

#endif
