/* kafka_wire.h: just enough of the Kafka protocol to put a raw record batch on a broker and to get one back.
 *
 * Two requests, in the versions that carry magic 2: Produce 7 and Fetch 4. Nothing in between touches the batch, so what
 * librdkafka wrote is read as it is on its wire, and what we wrote is what its consumer gets.
 *
 * Thread: the caller's; every call blocks, at most 20 s. */
#ifndef CRIER_TESTS_KAFKA_WIRE_H
#define CRIER_TESTS_KAFKA_WIRE_H

#include <stddef.h>
#include <stdint.h>

struct kafka_wire {
    int fd;
    int32_t correlation; /* of the last request */
};

/* bootstrap: "HOST:PORT". 0 or -1. */
int kafka_wire_connect(struct kafka_wire *wire, const char *bootstrap);
void kafka_wire_close(struct kafka_wire *wire);
/* Appends the batch; returns the base offset it got, or -1. */
int64_t kafka_wire_produce(struct kafka_wire *wire, const char *topic, int32_t partition,
                           const uint8_t *batch, size_t size);
/* Reads what is stored from `offset` on, one batch or more. Returns the bytes put into `to`, 0 (nothing yet) or -1. */
int64_t kafka_wire_fetch(struct kafka_wire *wire, const char *topic, int32_t partition, int64_t offset,
                         uint8_t *to, size_t capacity);

#endif
